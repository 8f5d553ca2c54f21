/*
 * ngx_http_crm_slot_filter.c - fills the slots of a page while it streams.
 *
 * The page is not copied: what passes leaves as buffers that point into the
 * input, whose owner gets a buffer back when the last of them has been sent.
 * Two things have to be copied.  A marker that straddles two buffers comes out
 * of the scanner, at most PERSONALIZE_MARKER_MAX bytes.  The default of a slot
 * that has content is kept until its end has come, at most 16 KB, because
 * a marker without an end, or with a longer default, passes unchanged; only
 * the part in earlier buffers is copied, since nginx may have but one buffer,
 * and would wait for it forever.
 *
 * Copies go round, a few of each kind (ngx_http_crm_piece.c).  When all are on
 * their way to a slow client the scan stops and the input stays with its owner,
 * who then stops reading: memory is bounded whatever the page holds.
 *
 * Literals of crm_slot are looked for in the page itself, not in what it
 * includes: a banner before "</body>" is wanted once.
 *
 * Parts of a page that nginx includes (SSI) are scanned on their own, and know
 * of their page's decisions.  A marker inside a default is part of the default.
 */

#include "ngx_http_crm_module.h"


/* A bit of r->buffered: the image filter's, which never sees html. */
#define NGX_HTTP_CRM_BUFFERED 0x08


/* Of one request or subrequest. */
typedef struct {
    ngx_http_crm_ctx_t    *ctx; /* of the main request */
    ngx_http_crm_page_t   *page;
    personalize_scanner_t  scanner;
    ngx_http_crm_places_t *places; /* NULL: markers only */

    ngx_chain_t          *in;  /* not scanned to its end yet */
    size_t                pos; /* in the first buffer of `in` */
    ngx_http_crm_pieces_t pieces;

    /* Neighbouring bytes of the first buffer of `in`: text that is to pass or,
     * inside a slot, the end of what is held. */
    u_char *run;
    u_char *run_end;

    ngx_http_crm_fill_t  *slot;        /* being filled; NULL: outside */
    ngx_http_crm_piece_t *held;        /* its marker and default so far */
    size_t                default_len; /* bytes of the default so far */

    unsigned parted : 1;  /* pieces of this buffer went out */
    unsigned markers : 1; /* they are slots here */
} ngx_http_crm_body_t;


static ngx_int_t ngx_http_crm_body_init(ngx_conf_t *cf);


/* clang-format off */
static ngx_http_module_t ngx_http_crm_body_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_crm_body_init,                /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t ngx_http_crm_body_module = {
    NGX_MODULE_V1,
    &ngx_http_crm_body_module_ctx,         /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};
/* clang-format on */


static ngx_http_output_header_filter_pt ngx_http_crm_next_header_filter;
static ngx_http_output_body_filter_pt   ngx_http_crm_next_body_filter;


/* ---- text that passes --------------------------------------------------- */

static ngx_int_t
ngx_http_crm_emit_bytes(
    ngx_http_request_t *r, ngx_http_crm_body_t *body, u_char *data, size_t len)
{
    ngx_http_crm_piece_t *piece;

    if (len == 0) {
        return NGX_OK;
    }

    piece = ngx_http_crm_piece_get(r, &body->pieces, NGX_HTTP_CRM_PIECE_PLAIN);
    if (piece == NULL) {
        return NGX_ERROR;
    }

    piece->buf.pos = data;
    piece->buf.last = data + len;

    return ngx_http_crm_piece_emit(r, &body->pieces, piece);
}


/* Sends the run of text; inside a slot there is none. */
static ngx_int_t
ngx_http_crm_emit_run(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    u_char *run;

    if (body->slot != NULL || body->run == NULL) {
        return NGX_OK;
    }

    run = body->run;
    body->run = NULL;

    return ngx_http_crm_emit_bytes(r, body, run, body->run_end - run);
}


static ngx_int_t
ngx_http_crm_emit_copy(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const personalize_str_t *text)
{
    ngx_http_crm_piece_t *piece;

    piece = ngx_http_crm_piece_get(r, &body->pieces, NGX_HTTP_CRM_PIECE_SMALL);
    if (piece == NULL || piece->data == NULL) {
        return NGX_ERROR;
    }

    piece->buf.last = ngx_cpymem(piece->buf.pos, text->data, text->len);

    return ngx_http_crm_piece_emit(r, &body->pieces, piece);
}


static void
ngx_http_crm_run_add(ngx_http_crm_body_t *body, const personalize_str_t *text)
{
    if (body->run == NULL) {
        body->run = (u_char *) text->data;
    }

    body->run_end = (u_char *) text->data + text->len;
}


static ngx_int_t
ngx_http_crm_emit_text(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const personalize_token_t *token)
{
    if (!token->copied) {
        ngx_http_crm_run_add(body, &token->out);
        return NGX_OK;
    }

    if (ngx_http_crm_emit_run(r, body) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_crm_emit_copy(r, body, &token->out);
}


/* ---- the default of a slot that has content ----------------------------- */

/* There is always room: the sum is checked as the bytes come. */
static ngx_int_t
ngx_http_crm_held_copy(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const void *data, size_t len)
{
    if (body->held == NULL) {
        body->held =
            ngx_http_crm_piece_get(r, &body->pieces, NGX_HTTP_CRM_PIECE_LARGE);

        if (body->held == NULL) {
            return NGX_ERROR;
        }
    }

    body->held->buf.last = ngx_cpymem(body->held->buf.last, data, len);

    return NGX_OK;
}


/* Moves the run over to the held bytes: its buffer is about to go. */
static ngx_int_t
ngx_http_crm_held_run(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    u_char *run;

    if (body->run == NULL) {
        return NGX_OK;
    }

    run = body->run;
    body->run = NULL;

    return ngx_http_crm_held_copy(r, body, run, body->run_end - run);
}


/* The slot is none after all: what was held passes, the run goes on as text. */
static ngx_int_t
ngx_http_crm_held_pass(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    ngx_http_crm_piece_t     *held;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SLOTS_UNCLOSED);

    if (body->page->unclosed++ == 0) {
        ngx_log_error(NGX_LOG_INFO, ngx_http_crm_consent_log(r, body->ctx), 0,
            "crm slot \"%V\" has no end within %d bytes, its default stays",
            &body->slot->name, NGX_HTTP_CRM_DEFAULT_MAX);
    }

    held = body->held;
    body->slot = NULL;
    body->held = NULL;

    return held == NULL ? NGX_OK
                        : ngx_http_crm_piece_emit(r, &body->pieces, held);
}


static ngx_int_t
ngx_http_crm_held_add(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const personalize_token_t *token)
{
    body->default_len += token->out.len;

    if (body->default_len > NGX_HTTP_CRM_DEFAULT_MAX) {
        if (ngx_http_crm_held_pass(r, body) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_crm_emit_text(r, body, token);
    }

    if (!token->copied) {
        ngx_http_crm_run_add(body, &token->out);
        return NGX_OK;
    }

    if (ngx_http_crm_held_run(r, body) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_crm_held_copy(r, body, token->out.data, token->out.len);
}


/* ---- slots -------------------------------------------------------------- */

static ngx_int_t
ngx_http_crm_slot_open(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const personalize_token_t *token)
{
    ngx_http_crm_fill_t *slot;

    if (!body->markers) {
        return ngx_http_crm_emit_text(r, body, token);
    }

    if (ngx_http_crm_slot_find(r, body->ctx, token->name, &slot) != NGX_OK) {
        return NGX_ERROR;
    }

    if (slot == NULL) {
        return ngx_http_crm_emit_text(r, body, token);
    }

    if (ngx_http_crm_emit_run(r, body) != NGX_OK) {
        return NGX_ERROR;
    }

    body->slot = slot;
    body->default_len = 0;

    if (token->copied) {
        return ngx_http_crm_held_copy(r, body, token->out.data, token->out.len);
    }

    ngx_http_crm_run_add(body, &token->out);

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_emit_content(
    ngx_http_request_t *r, ngx_http_crm_body_t *body, ngx_http_crm_fill_t *slot)
{
    slot->queued++;
    body->page->queued++;

    if (slot->content.len == 0) {
        slot->sent++;
        return NGX_OK;
    }

    if (ngx_http_crm_emit_bytes(r, body, slot->content.data, slot->content.len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    body->pieces.carrier->sent = &slot->sent;

    return NGX_OK;
}


/* A text of the page that has a slot beside it, or in its place. */
static ngx_int_t
ngx_http_crm_slot_literal(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    const personalize_token_t *token)
{
    ngx_http_crm_fill_t *slot;
    ngx_http_crm_place_e where;

    where = body->places->where[token->literal];

    if (ngx_http_crm_slot_find(
            r, body->ctx, body->places->slot[token->literal], &slot)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((slot == NULL || where == NGX_HTTP_CRM_PLACE_AFTER)
        && ngx_http_crm_emit_text(r, body, token) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (slot == NULL) {
        return NGX_OK;
    }

    if (ngx_http_crm_emit_run(r, body) != NGX_OK
        || ngx_http_crm_emit_content(r, body, slot) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return where == NGX_HTTP_CRM_PLACE_BEFORE
               ? ngx_http_crm_emit_text(r, body, token)
               : NGX_OK;
}


/* The content goes out in the place of both markers and what is between. */
static ngx_int_t
ngx_http_crm_slot_close(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    ngx_http_crm_fill_t *slot = body->slot;

    body->slot = NULL;
    body->run = NULL;

    if (body->held != NULL) {
        body->held->buf.last = body->held->buf.pos;
    }

    return ngx_http_crm_emit_content(r, body, slot);
}


static ngx_int_t
ngx_http_crm_body_token(ngx_http_request_t *r, ngx_http_crm_body_t *body,
    personalize_slot_e kind, const personalize_token_t *token)
{
    if (body->slot == NULL) {
        switch (kind) {

        case PERSONALIZE_SLOT_OPEN:
            return ngx_http_crm_slot_open(r, body, token);

        case PERSONALIZE_SLOT_LITERAL:
            return ngx_http_crm_slot_literal(r, body, token);

        default:
            return ngx_http_crm_emit_text(r, body, token);
        }
    }

    return kind == PERSONALIZE_SLOT_CLOSE
               ? ngx_http_crm_slot_close(r, body)
               : ngx_http_crm_held_add(r, body, token);
}


/* ---- buffers of input --------------------------------------------------- */

/* At the end, or before bytes that cannot be read, all that is kept passes. */
static ngx_int_t
ngx_http_crm_body_finish(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    personalize_token_t token;

    ngx_memzero(&token, sizeof(personalize_token_t));
    token.out = personalize_slot_rest(&body->scanner);
    token.copied = 1;

    if (token.out.len > 0
        && ngx_http_crm_body_token(r, body, PERSONALIZE_SLOT_TEXT, &token)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (body->slot != NULL && ngx_http_crm_held_pass(r, body) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_crm_emit_run(r, body);
}


/* NGX_AGAIN: all copies are on their way, the rest must wait. */
static ngx_int_t
ngx_http_crm_body_scan(
    ngx_http_request_t *r, ngx_http_crm_body_t *body, ngx_buf_t *b)
{
    personalize_slot_e  kind;
    personalize_token_t token;

    do {
        if (!ngx_http_crm_piece_room(&body->pieces)) {
            if (ngx_http_crm_emit_run(r, body) != NGX_OK) {
                return NGX_ERROR;
            }

            body->parted |= (body->pieces.carrier != NULL);
            body->pieces.carrier = NULL;

            return NGX_AGAIN;
        }

        kind = personalize_slot_next(&body->scanner, (const char *) b->pos,
            b->last - b->pos, &body->pos, &token);

        if (kind != PERSONALIZE_SLOT_MORE
            && ngx_http_crm_body_token(r, body, kind, &token) != NGX_OK)
        {
            return NGX_ERROR;
        }

    } while (kind != PERSONALIZE_SLOT_MORE);

    if (b->last_buf || b->last_in_chain) {
        return ngx_http_crm_body_finish(r, body);
    }

    return body->slot != NULL ? ngx_http_crm_held_run(r, body)
                              : ngx_http_crm_emit_run(r, body);
}


/*
 * The last piece made of a buffer carries its flags, and gives it back to its
 * owner when sent.  If nothing was made of it, it is given back at once; if
 * pieces of it are on their way, by an empty one that follows them.
 */
static ngx_int_t
ngx_http_crm_body_flags(
    ngx_http_request_t *r, ngx_http_crm_body_t *body, ngx_buf_t *b)
{
    ngx_http_crm_piece_t *piece;

    piece = body->pieces.carrier;

    if (piece == NULL) {
        if (!body->parted) {
            b->pos = b->last;
            b->file_pos = b->file_last;

            if (!b->last_buf && !b->last_in_chain
                && !(b->flush && body->pieces.unflushed)) {
                return NGX_OK;
            }
        }

        piece =
            ngx_http_crm_piece_get(r, &body->pieces, NGX_HTTP_CRM_PIECE_PLAIN);
        if (piece == NULL
            || ngx_http_crm_piece_emit(r, &body->pieces, piece) != NGX_OK) {
            return NGX_ERROR;
        }

        piece->buf.memory = 0;
        piece->buf.sync = 1;
    }

    piece->buf.shadow = b;
    piece->buf.recycled = b->recycled;
    piece->buf.last_buf = b->last_buf;
    piece->buf.last_in_chain = b->last_in_chain;
    piece->buf.flush = b->flush;

    if (b->flush) {
        body->pieces.unflushed = 0;
    }

    return NGX_OK;
}


/* Takes what is in: NGX_OK all of it, NGX_AGAIN as much as now goes. */
static ngx_int_t
ngx_http_crm_body_take(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t *cl;

    for (cl = body->in; cl != NULL; cl = body->in) {
        b = cl->buf;

        if (ngx_buf_in_memory(b) && b->pos != b->last) {
            rc = ngx_http_crm_body_scan(r, body, b);
            if (rc != NGX_OK) {
                return rc;
            }

            rc = ngx_http_crm_body_flags(r, body, b);

        } else {
            rc = NGX_OK;

            if (b->last_buf || b->last_in_chain || b->in_file) {
                rc = ngx_http_crm_body_finish(r, body);
            }

            if (rc == NGX_OK) {
                rc = ngx_http_crm_piece_link(r, &body->pieces, b);
            }
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        body->pos = 0;
        body->parted = 0;
        body->pieces.carrier = NULL;
        body->in = cl->next;
        ngx_free_chain(r->pool, cl);
    }

    return NGX_OK;
}


/* ---- output ------------------------------------------------------------- */

static ngx_int_t
ngx_http_crm_body_send(ngx_http_request_t *r, ngx_http_crm_body_t *body)
{
    ngx_int_t rc;

    rc = ngx_http_crm_next_body_filter(r, body->pieces.out);

    /* after an error too: what left before it has left */
    ngx_http_crm_piece_sent(r, &body->pieces);
    ngx_http_crm_slot_record(r, body->ctx);

    return rc;
}


static ngx_int_t
ngx_http_crm_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t            rc, taken;
    ngx_http_crm_body_t *body;

    body = ngx_http_get_module_ctx(r, ngx_http_crm_body_module);

    if (body == NULL
        || (in == NULL && body->in == NULL && body->pieces.busy == NULL))
    {
        return ngx_http_crm_next_body_filter(r, in);
    }

    if (in != NULL && ngx_chain_add_copy(r->pool, &body->in, in) != NGX_OK) {
        return NGX_ERROR;
    }

    do {
        taken = ngx_http_crm_body_take(r, body);
        if (taken == NGX_ERROR) {
            return NGX_ERROR;
        }

        rc = ngx_http_crm_body_send(r, body);

    } while (rc != NGX_ERROR && taken == NGX_AGAIN
             && ngx_http_crm_piece_room(&body->pieces));

    if (body->in != NULL) {
        r->buffered |= NGX_HTTP_CRM_BUFFERED;
    } else {
        r->buffered &= ~NGX_HTTP_CRM_BUFFERED;
    }

    return rc;
}


static ngx_int_t
ngx_http_crm_body_start(ngx_http_request_t *r)
{
    ngx_http_crm_body_t     *body;
    ngx_http_crm_loc_conf_t *clcf;

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_crm_body_t));
    if (body == NULL) {
        return NGX_ERROR;
    }

    body->ctx = ngx_http_crm_get_ctx(r);
    body->page = ngx_http_crm_page_get(r, body->ctx);
    if (body->page == NULL) {
        return NGX_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r->main, ngx_http_crm_module);
    body->markers = clcf->markers;

    if (r == r->main && clcf->places != NULL) {
        body->places = clcf->places;
        body->scanner.literals = &clcf->places->literals;
    }

    body->pieces.last = &body->pieces.out;
    ngx_http_set_ctx(r, body, ngx_http_crm_body_module);
    r->filter_need_in_memory = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_header_filter(ngx_http_request_t *r)
{
    ngx_int_t rc;

    rc = ngx_http_crm_slot_header(r);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && ngx_http_crm_body_start(r) != NGX_OK)) {
        return NGX_ERROR;
    }

    return ngx_http_crm_next_header_filter(r);
}


static ngx_int_t
ngx_http_crm_body_init(ngx_conf_t *cf)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    if (!cmcf->used) {
        return NGX_OK;
    }

    ngx_http_crm_extract_init(cmcf);

    ngx_http_crm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_header_filter;

    ngx_http_crm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_crm_body_filter;

    return NGX_OK;
}
