/*
 * ngx_http_crm_slot.h - slots of a page: what the files that fill them share.
 *
 * A page goes through three filters of ours: peek looks, before every other
 * filter, whether it will be changed; head, before gunzip, and body, after it,
 * change it.  A part of ngx_http_crm_module.h, which includes it.
 */

#ifndef NGX_HTTP_CRM_SLOT_H_INCLUDED_
#define NGX_HTTP_CRM_SLOT_H_INCLUDED_

#pragma GCC visibility push(hidden)


/* ---- ngx_http_crm_slot.c: the slots of one page ------------------------- */

typedef enum {
    NGX_HTTP_CRM_PLACE_BEFORE = 0,
    NGX_HTTP_CRM_PLACE_AFTER,
    NGX_HTTP_CRM_PLACE_REPLACE
} ngx_http_crm_place_e;

/* crm_slot NAME before|after|replace "literal", all of a location. */
struct ngx_http_crm_places_s {
    personalize_literals_t literals;
    personalize_str_t      slot[PERSONALIZE_LITERALS_MAX]; /* of each */
    ngx_http_crm_place_e   where[PERSONALIZE_LITERALS_MAX];
};

/* A slot of the page that has been decided. */
typedef struct {
    ngx_str_t       name;
    ngx_str_t       content;
    tracker_shown_t shown;
    ngx_uint_t      queued;  /* contents on their way to the client */
    ngx_uint_t      sent;    /* of them, contents that left */
    ngx_uint_t      counted; /* of them, counted as shown */
    unsigned        filled : 1;
    unsigned        recorded : 1;
} ngx_http_crm_fill_t;

/* Of the main request. */
typedef struct {
    ngx_http_crm_fill_t *slots[TRACKER_EVENT_SLOTS_MAX];
    ngx_uint_t           nslots;
    ngx_uint_t           queued; /* sum over the slots, less what was counted */
    ngx_uint_t           unclosed;
} ngx_http_crm_page_t;

char *ngx_http_crm_slot_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* 1 if it is the name of a slot (docs/campaigns.md). */
ngx_uint_t ngx_http_crm_slot_name(const u_char *name, size_t len);
/* 1 if the location has slots of any kind. */
#define ngx_http_crm_has_slots(clcf) ((clcf)->markers || (clcf)->places != NULL)
/* The page of this request; NULL: memory. */
ngx_http_crm_page_t *ngx_http_crm_page_get(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* The slot of that name if it has content, else NULL; decided once a page. */
ngx_int_t ngx_http_crm_slot_find(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t name, ngx_http_crm_fill_t **found);
/* Notes as shown what has left since the last call. */
void ngx_http_crm_slot_record(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* Notes as aborted what did not leave; no more of it will. */
void ngx_http_crm_slot_abort(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);

/* ---- ngx_http_crm_peek.c: looks before the header leaves ---------------- */

/* Directives of nginx's own filters that matter to ours. */
typedef enum {
    NGX_HTTP_CRM_FOREIGN_GUNZIP = 0,
    NGX_HTTP_CRM_FOREIGN_SSI,
    NGX_HTTP_CRM_FOREIGN_BEFORE, /* add_before_body */
    NGX_HTTP_CRM_FOREIGN_AFTER,  /* add_after_body */
    NGX_HTTP_CRM_NFOREIGN
} ngx_http_crm_foreign_e;

/* 1 if the location has that directive on, or set. */
ngx_uint_t ngx_http_crm_foreign(
    ngx_http_request_t *r, ngx_http_crm_foreign_e which);

/* ---- ngx_http_crm_slot_head.c: what the answer's header says ------------ */

/* 1 if slots of this answer of the main request may be filled. */
ngx_uint_t ngx_http_crm_slot_wanted(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
ngx_uint_t ngx_http_crm_slot_encoded(ngx_http_request_t *r);
/* The conditions and ranges of a request whose answer is changed are void;
 * else they are nginx's to judge, where the shop was not shown them. */
void ngx_http_crm_slot_conditions(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);

/*
 * Writes the head of a personalised answer and sends the cookie.  To be called
 * from the header filter of the BODY module.  NGX_OK: slots are to be filled;
 * NGX_DECLINED: the body passes; NGX_ERROR: memory.
 */
ngx_int_t ngx_http_crm_slot_header(ngx_http_request_t *r);
/* Replaces every Cache-Control of the answer; value ends in NUL and stays. */
ngx_int_t ngx_http_crm_cache_control(ngx_http_request_t *r, const char *value);

/* ---- ngx_http_crm_piece.c: output of the slot filter -------------------- */

#define NGX_HTTP_CRM_DEFAULT_MAX 16384 /* bytes between two markers */

typedef enum {
    NGX_HTTP_CRM_PIECE_PLAIN = 0, /* points to somebody else's bytes */
    NGX_HTTP_CRM_PIECE_SMALL,     /* has room for a marker or a literal */
    NGX_HTTP_CRM_PIECE_LARGE,     /* has room for a marker and a default */
    NGX_HTTP_CRM_PIECE_KINDS
} ngx_http_crm_piece_e;

typedef struct ngx_http_crm_piece_s ngx_http_crm_piece_t;

struct ngx_http_crm_piece_s {
    ngx_buf_t             buf; /* first: a buf with our tag is a piece */
    ngx_http_crm_piece_e  kind;
    u_char               *data; /* its own room */
    ngx_uint_t           *sent; /* raised when its bytes have left; or NULL */
    ngx_http_crm_piece_t *next; /* in the list of free ones */
};

/* Of one request or subrequest; starts zeroed but for `last` = &out. */
typedef struct {
    ngx_chain_t          *out;     /* for the next filter */
    ngx_chain_t         **last;    /* where `out` goes on */
    ngx_chain_t          *busy;    /* given to the next filter, not sent yet */
    ngx_http_crm_piece_t *carrier; /* emitted last */
    ngx_http_crm_piece_t *free[NGX_HTTP_CRM_PIECE_KINDS];
    ngx_uint_t            nbusy[NGX_HTTP_CRM_PIECE_KINDS];
    unsigned              unflushed : 1; /* bytes went out since a flush */
} ngx_http_crm_pieces_t;

/* A piece that is empty as yet; NULL: memory. */
ngx_http_crm_piece_t *ngx_http_crm_piece_get(ngx_http_request_t *r,
    ngx_http_crm_pieces_t *pieces, ngx_http_crm_piece_e kind);
ngx_int_t             ngx_http_crm_piece_emit(ngx_http_request_t *r,
                ngx_http_crm_pieces_t *pieces, ngx_http_crm_piece_t *piece);
/* Passes a buf of somebody else as it is. */
ngx_int_t ngx_http_crm_piece_link(
    ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces, ngx_buf_t *buf);
/* 1 if one more piece of each kind may be emitted. */
ngx_uint_t ngx_http_crm_piece_room(const ngx_http_crm_pieces_t *pieces);
/* The next filter has taken `out`: takes back what it has sent. */
void ngx_http_crm_piece_sent(
    ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces);


#pragma GCC visibility pop

#endif /* NGX_HTTP_CRM_SLOT_H_INCLUDED_ */
