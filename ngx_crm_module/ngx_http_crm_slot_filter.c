/*
 * ngx_http_crm_slot_filter.c - fills the slots of a page as it streams through.
 *
 * Two filter modules, because of where gunzip stands in the chain.  The head
 * module runs before gunzip: it takes X-CRM-Identify out and asks for plain
 * text.  The body module runs after gunzip and after nginx's own headers
 * filter: it sends the cookie, makes the answer private and rewrites the body.
 *
 * Only an html page with status 200 (or an error page) in a location with
 * "crm_slot markers", for a site with campaigns, is touched.  Whether markers
 * will come is not known from the header, so such a page always leaves without
 * length and validators; any other answer is left alone.
 *
 * The page is not copied: what passes is sent as buffers that point into the
 * input.  Between the markers of a slot that has content the default is kept
 * aside, so that a marker without an end, or with a default longer than 16 KB,
 * passes unchanged.  All memory is bounded, whatever the page's length: at
 * most TRACKER_EVENT_SLOTS_MAX contents and NGX_HTTP_CRM_UNCLOSED_MAX defaults
 * given back; buffers go round.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_HELD_BYTES   16384
#define NGX_HTTP_CRM_UNCLOSED_MAX 4 /* after that the page is left alone */
/* A bit of r->buffered; the image filter's, which never sees html. */
#define NGX_HTTP_CRM_BUFFERED 0x08


typedef struct {
    personalize_scanner_t scanner;
    ngx_chain_t          *in;         /* not scanned yet */
    ngx_chain_t          *out;        /* to be sent */
    ngx_chain_t         **last;       /* where out goes on */
    ngx_chain_t          *busy;       /* sent, not consumed yet */
    ngx_chain_t          *free;       /* buffers without memory of their own */
    ngx_chain_t          *free_small; /* with room for one marker */
    ngx_buf_t            *piece;      /* last of out, if it is of this input */

    u_char         *held; /* marker and default of the slot being filled */
    size_t          nheld;
    ngx_str_t       content; /* that takes their place */
    tracker_shown_t shown;
    ngx_uint_t      unclosed;
    unsigned        holding : 1;
    unsigned        done : 1; /* the rest passes unchanged */
} ngx_http_crm_slots_t;


static ngx_int_t ngx_http_crm_head_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_crm_body_init(ngx_conf_t *cf);


/* clang-format off */
static ngx_http_module_t ngx_http_crm_head_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_crm_head_init,                /* postconfiguration */
    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */
    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */
    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t ngx_http_crm_head_module = {
    NGX_MODULE_V1,
    &ngx_http_crm_head_module_ctx,         /* module context */
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


static ngx_http_output_header_filter_pt ngx_http_crm_next_head_filter;
static ngx_http_output_header_filter_pt ngx_http_crm_next_header_filter;
static ngx_http_output_body_filter_pt   ngx_http_crm_next_body_filter;


/* 1 if this answer, or this part of it, is a page whose slots we may fill. */
static ngx_uint_t
ngx_http_crm_slots_wanted(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_uint_t               status;
    personalize_set_t       *set;
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r->main, ngx_http_crm_module);
    status = r->headers_out.status;

    if (!clcf->markers || !ngx_http_crm_is_page(r)
        || (status != NGX_HTTP_OK && status < NGX_HTTP_BAD_REQUEST))
    {
        return 0;
    }

    set = ngx_http_crm_set_hold(r->main, ctx);

    return set != NULL && personalize_set_campaigns(set) > 0;
}


static ngx_int_t
ngx_http_crm_head_filter(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t *ctx;

    if (r != r->main) {
        return ngx_http_crm_next_head_filter(r);
    }

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx != NULL) {
        ngx_http_crm_visitor_identify(r, ctx);

        if (r->headers_out.content_encoding != NULL
            && r->headers_out.content_encoding->value.len != 0
            && ngx_http_crm_slots_wanted(r, ctx))
        {
            /* the client's gzip is not for us: gunzip inflates, see below */
            r->gzip_tested = 1;
            r->gzip_ok = 0;
        }
    }

    return ngx_http_crm_next_head_filter(r);
}


/* Replaces what a shared cache could read by "private". */
static ngx_int_t
ngx_http_crm_make_private(ngx_http_request_t *r)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {
        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if ((h[i].key.len == sizeof("Cache-Control") - 1
                && ngx_strncasecmp(
                       h[i].key.data, (u_char *) "Cache-Control", h[i].key.len)
                       == 0)
            || (h[i].key.len == sizeof("Expires") - 1
                && ngx_strncasecmp(
                       h[i].key.data, (u_char *) "Expires", h[i].key.len)
                       == 0))
        {
            h[i].hash = 0;
        }
    }

    r->headers_out.expires = NULL;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "private");

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_header_filter(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t   *ctx;
    ngx_http_crm_slots_t *slots;

    ctx = ngx_http_crm_get_ctx(r);
    if (ctx == NULL) {
        return ngx_http_crm_next_header_filter(r);
    }

    if (ngx_http_crm_visitor_send(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_crm_slots_wanted(r, ctx)
        || (r->headers_out.content_encoding != NULL
            && r->headers_out.content_encoding->value.len != 0)
        || (r != r->main
            && ngx_http_get_module_ctx(r->main, ngx_http_crm_body_module)
                   == NULL))
    {
        return ngx_http_crm_next_header_filter(r);
    }

    slots = ngx_pcalloc(r->pool, sizeof(ngx_http_crm_slots_t));
    if (slots == NULL) {
        return NGX_ERROR;
    }

    slots->last = &slots->out;
    ngx_http_set_ctx(r, slots, ngx_http_crm_body_module);
    r->filter_need_in_memory = 1;

    if (r == r->main) {
        ngx_http_clear_content_length(r);
        ngx_http_clear_accept_ranges(r);
        ngx_http_clear_last_modified(r);
        ngx_http_clear_etag(r);
        r->allow_ranges = 0;
        r->gzip_tested = 0;

        if (ngx_http_crm_make_private(r) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_crm_next_header_filter(r);
}


/* Bytes that stay where they are until they are sent; NULL: no memory. */
static ngx_buf_t *
ngx_http_crm_slots_put(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    u_char *data, size_t len)
{
    ngx_buf_t   *b;
    ngx_chain_t *cl;

    cl = ngx_chain_get_free_buf(r->pool, &slots->free);
    if (cl == NULL) {
        return NULL;
    }

    b = cl->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));
    b->tag = (ngx_buf_tag_t) &ngx_http_crm_body_module;
    b->memory = (len != 0);
    b->pos = b->start = data;
    b->last = b->end = data + len;

    *slots->last = cl;
    slots->last = &cl->next;
    slots->piece = NULL;

    return b;
}


/* Bytes of the input; neighbours become one buffer. */
static ngx_int_t
ngx_http_crm_slots_pass(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    u_char *data, size_t len)
{
    if (len == 0) {
        return NGX_OK;
    }

    if (slots->piece != NULL && slots->piece->last == data) {
        slots->piece->last = slots->piece->end = data + len;
        return NGX_OK;
    }

    slots->piece = ngx_http_crm_slots_put(r, slots, data, len);

    return slots->piece == NULL ? NGX_ERROR : NGX_OK;
}


/* Bytes held by the scanner, at most a marker: copied into a small buffer
 * that comes back to free_small when it is sent. */
static ngx_int_t
ngx_http_crm_slots_copy(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    const char *data, size_t len)
{
    ngx_buf_t   *b;
    ngx_chain_t *cl;

    if (len == 0) {
        return NGX_OK;
    }

    cl = slots->free_small;

    if (cl != NULL) {
        slots->free_small = cl->next;
        cl->next = NULL;
        b = cl->buf;

    } else {
        cl = ngx_alloc_chain_link(r->pool);
        b = ngx_create_temp_buf(r->pool, PERSONALIZE_MARKER_MAX);

        if (cl == NULL || b == NULL) {
            return NGX_ERROR;
        }

        cl->buf = b;
        cl->next = NULL;
        b->tag = (ngx_buf_tag_t) &ngx_http_crm_body_module;
    }

    b->pos = b->start;
    b->last = ngx_cpymem(b->pos, data, len);
    b->shadow = NULL;
    b->recycled = 0;

    *slots->last = cl;
    slots->last = &cl->next;
    slots->piece = NULL;

    return NGX_OK;
}


/* The default goes out as it came: there is no end, or it is too long. */
static ngx_int_t
ngx_http_crm_slots_give_back(ngx_http_request_t *r, ngx_http_crm_slots_t *slots)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SLOTS_UNCLOSED);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
        "crm slot \"%*s\" has no end within %d bytes, its default is kept",
        slots->shown.slot.len, slots->shown.slot.data, NGX_HTTP_CRM_HELD_BYTES);

    if (ngx_http_crm_slots_put(r, slots, slots->held, slots->nheld) == NULL) {
        return NGX_ERROR;
    }

    slots->held = NULL; /* belongs to the buffer now */
    slots->holding = 0;
    slots->done = (++slots->unclosed >= NGX_HTTP_CRM_UNCLOSED_MAX);

    return NGX_OK;
}


/* Keeps bytes of a default aside; the rest of it passes when it is full. */
static ngx_int_t
ngx_http_crm_slots_hold(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    personalize_token_t *token)
{
    if (token->out.len <= NGX_HTTP_CRM_HELD_BYTES - slots->nheld) {
        ngx_memcpy(slots->held + slots->nheld, token->out.data, token->out.len);
        slots->nheld += token->out.len;
        return NGX_OK;
    }

    if (ngx_http_crm_slots_give_back(r, slots) != NGX_OK) {
        return NGX_ERROR;
    }

    if (token->copied) {
        return ngx_http_crm_slots_copy(
            r, slots, token->out.data, token->out.len);
    }

    return ngx_http_crm_slots_pass(
        r, slots, (u_char *) token->out.data, token->out.len);
}


/* A marker opens a slot: NGX_OK when it is to be filled. */
static ngx_int_t
ngx_http_crm_slots_open(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    personalize_token_t *token)
{
    ngx_int_t           rc;
    ngx_http_crm_ctx_t *ctx;

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL || ctx->nshown == TRACKER_EVENT_SLOTS_MAX) {
        return NGX_DECLINED;
    }

    rc = ngx_http_crm_offer_slot(
        r->main, ctx, token->name, &slots->content, &slots->shown);
    if (rc != NGX_OK) {
        return rc;
    }

    if (slots->held == NULL) {
        slots->held = ngx_pnalloc(r->pool, NGX_HTTP_CRM_HELD_BYTES);
        if (slots->held == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memcpy(slots->held, token->out.data, token->out.len);
    slots->nheld = token->out.len;
    slots->holding = 1;

    return NGX_OK;
}


/* The content takes the place of marker, default and marker. */
static ngx_int_t
ngx_http_crm_slots_close(ngx_http_request_t *r, ngx_http_crm_slots_t *slots)
{
    ngx_http_crm_ctx_t       *ctx;
    ngx_http_crm_main_conf_t *cmcf;

    ctx = ngx_http_crm_get_ctx(r);
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    slots->holding = 0;

    if (slots->content.len != 0
        && ngx_http_crm_slots_put(
               r, slots, slots->content.data, slots->content.len)
               == NULL)
    {
        return NGX_ERROR;
    }

    ctx->shown[ctx->nshown++] = slots->shown;
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SLOTS_FILLED);

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_slots_token(ngx_http_request_t *r, ngx_http_crm_slots_t *slots,
    personalize_slot_e kind, personalize_token_t *token)
{
    ngx_int_t rc;

    if (slots->holding) {
        return kind == PERSONALIZE_SLOT_CLOSE
                   ? ngx_http_crm_slots_close(r, slots)
                   : ngx_http_crm_slots_hold(r, slots, token);
    }

    if (kind == PERSONALIZE_SLOT_OPEN && !slots->done) {
        rc = ngx_http_crm_slots_open(r, slots, token);
        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (token->copied) {
        return ngx_http_crm_slots_copy(
            r, slots, token->out.data, token->out.len);
    }

    return ngx_http_crm_slots_pass(
        r, slots, (u_char *) token->out.data, token->out.len);
}


/* What is still held when the page ends goes out unchanged. */
static ngx_int_t
ngx_http_crm_slots_finish(ngx_http_request_t *r, ngx_http_crm_slots_t *slots)
{
    personalize_token_t token;

    ngx_memzero(&token, sizeof(personalize_token_t));
    token.out = personalize_slot_rest(&slots->scanner);
    token.copied = 1;

    if (token.out.len != 0
        && ngx_http_crm_slots_token(r, slots, PERSONALIZE_SLOT_TEXT, &token)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    return slots->holding ? ngx_http_crm_slots_give_back(r, slots) : NGX_OK;
}


/* Scans one buffer of the input; its last piece carries its flags. */
static ngx_int_t
ngx_http_crm_slots_scan(
    ngx_http_request_t *r, ngx_http_crm_slots_t *slots, ngx_buf_t *in)
{
    size_t              pos, len;
    ngx_buf_t          *b;
    personalize_slot_e  kind;
    personalize_token_t token;

    slots->piece = NULL;

    if (ngx_buf_in_memory(in) && in->pos != in->last) {
        pos = 0;
        len = in->last - in->pos;

        for (;;) {
            kind = personalize_slot_next(
                &slots->scanner, (char *) in->pos, len, &pos, &token);

            if (kind == PERSONALIZE_SLOT_MORE) {
                break;
            }

            if (ngx_http_crm_slots_token(r, slots, kind, &token) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    if ((in->last_buf || in->last_in_chain)
        && ngx_http_crm_slots_finish(r, slots) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b = slots->piece;

    if (b == NULL) {
        b = ngx_http_crm_slots_put(r, slots, NULL, 0);
        if (b == NULL) {
            return NGX_ERROR;
        }

        b->sync = 1;
    }

    b->last_buf = in->last_buf;
    b->last_in_chain = in->last_in_chain;
    b->flush = in->flush;
    b->recycled = in->recycled;
    b->shadow = in;
    slots->piece = NULL;

    return NGX_OK;
}


/* Sends out and takes back what was consumed, telling the input's owner. */
static ngx_int_t
ngx_http_crm_slots_send(ngx_http_request_t *r, ngx_http_crm_slots_t *slots)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t *cl, **ll;

    rc = ngx_http_crm_next_body_filter(r, slots->out);

    for (ll = &slots->busy; *ll != NULL; ll = &(*ll)->next) { /* void */
    }

    *ll = slots->out;
    slots->out = NULL;
    slots->last = &slots->out;

    while (slots->busy != NULL) {
        cl = slots->busy;
        b = cl->buf;

        if (ngx_buf_size(b) != 0) {
            break;
        }

        slots->busy = cl->next;

        if (b->shadow != NULL) {
            b->shadow->pos = b->shadow->last;
            b->shadow = NULL;
        }

        if (b->temporary) {
            cl->next = slots->free_small;
            slots->free_small = cl;

        } else {
            cl->next = slots->free;
            slots->free = cl;
        }
    }

    if (slots->in != NULL || slots->busy != NULL) {
        r->buffered |= NGX_HTTP_CRM_BUFFERED;
    } else {
        r->buffered &= ~NGX_HTTP_CRM_BUFFERED;
    }

    return rc;
}


static ngx_int_t
ngx_http_crm_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t          *cl;
    ngx_http_crm_slots_t *slots;

    slots = ngx_http_get_module_ctx(r, ngx_http_crm_body_module);

    if (slots == NULL || r->header_only
        || (in == NULL && slots->in == NULL && slots->busy == NULL))
    {
        return ngx_http_crm_next_body_filter(r, in);
    }

    if (in != NULL && ngx_chain_add_copy(r->pool, &slots->in, in) != NGX_OK) {
        return NGX_ERROR;
    }

    while (slots->in != NULL) {
        cl = slots->in;

        if (ngx_http_crm_slots_scan(r, slots, cl->buf) != NGX_OK) {
            return NGX_ERROR;
        }

        slots->in = cl->next;
        ngx_free_chain(r->pool, cl);
    }

    if (slots->out == NULL && slots->busy == NULL) {
        return NGX_OK;
    }

    return ngx_http_crm_slots_send(r, slots);
}


static ngx_int_t
ngx_http_crm_head_init(ngx_conf_t *cf)
{
    ngx_http_crm_next_head_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_head_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_body_init(ngx_conf_t *cf)
{
    ngx_http_crm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_header_filter;

    ngx_http_crm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_crm_body_filter;

    return NGX_OK;
}
