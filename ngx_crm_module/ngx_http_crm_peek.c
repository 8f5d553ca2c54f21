/*
 * ngx_http_crm_peek.c - looks into a page before its header leaves.
 *
 * The header says whether a page may be cached, how long it is and which
 * validators it has; the slots come later, in its body.  So this filter, the
 * first of all, keeps the header back until it has seen a slot that is filled,
 * or the end of the page.  A page that ends without one leaves exactly as the
 * shop made it, and nginx judges conditions and ranges of the request, by its
 * own filters, as if nothing had happened.
 *
 * Looking changes nothing: what comes in one piece (static and cached pages)
 * is looked at where it lies, in the file too, and not even sendfile is
 * switched off.  What comes in parts from a shop is copied meanwhile, because
 * nginx may have but one buffer; at most NGX_HTTP_CRM_PEEK_HELD bytes of it.
 *
 * Where looking would cost the shopper something, or cannot tell, the page
 * counts as changed and leaves private: when it is longer than that, when
 * it has no Content-Length and is flushed or not whole NGX_HTTP_CRM_PEEK_MS
 * after its first bytes, when other requests contribute to it (SSI, addition),
 * when gunzip is to inflate it, when files are read with aio or directio, and
 * when a HEAD has no body to look at.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_PEEK_HELD  131072  /* bytes of a page, copied */
#define NGX_HTTP_CRM_PEEK_FILE  1048576 /* bytes of a page, where it lies */
#define NGX_HTTP_CRM_PEEK_FIRST 8192    /* bytes of a file, where slots are */
#define NGX_HTTP_CRM_PEEK_NEXT  32768   /* bytes of a file, at a time */
#define NGX_HTTP_CRM_PEEK_MS    250     /* of a page of unknown length */


/* Of a main request whose answer may have slots. */
typedef struct {
    ngx_http_crm_ctx_t    *ctx;
    ngx_http_crm_places_t *places;
    personalize_scanner_t  scanner;
    ngx_chain_t           *held; /* copies, for when the header has left */
    ngx_chain_t          **last;
    size_t                 nheld;
    off_t                  seen; /* bytes */
    ngx_http_request_t    *request;
    ngx_event_t            late; /* a timer, while a shop takes its time */
    unsigned               markers : 1;
    unsigned               done : 1; /* the header has left */
    unsigned               drop : 1; /* it was all: HEAD, or not modified */
} ngx_http_crm_peek_t;


static ngx_int_t ngx_http_crm_peek_init(ngx_conf_t *cf);


/* clang-format off */
static ngx_http_module_t ngx_http_crm_peek_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_crm_peek_init,                /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t ngx_http_crm_peek_module = {
    NGX_MODULE_V1,
    &ngx_http_crm_peek_module_ctx,         /* module context */
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


/* ---- directives of others ----------------------------------------------- */

static const struct {
    const char *module;
    const char *directive;
} ngx_http_crm_foreigners[NGX_HTTP_CRM_NFOREIGN] = {
    {"ngx_http_gunzip_filter_module", "gunzip"},
    {"ngx_http_ssi_filter_module", "ssi"},
    {"ngx_http_addition_filter_module", "add_before_body"},
    {"ngx_http_addition_filter_module", "add_after_body"},
};


/* The structures are private to their files, but a command tells where in it
 * its value is: an ngx_flag_t, or an ngx_str_t, which begins with its length.
 */
ngx_uint_t
ngx_http_crm_foreign(ngx_http_request_t *r, ngx_http_crm_foreign_e which)
{
    u_char                   *conf;
    ngx_module_t             *module;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    module = cmcf->foreign[which].module;

    if (module == NULL) {
        return 0;
    }

    conf = r->loc_conf[module->ctx_index];

    return *(ngx_uint_t *) (conf + cmcf->foreign[which].command->offset) != 0;
}


static void
ngx_http_crm_foreign_init(ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t     i, m;
    ngx_module_t  *module;
    ngx_command_t *command;

    for (m = 0; cf->cycle->modules[m] != NULL; m++) {
        module = cf->cycle->modules[m];

        for (i = 0; i < NGX_HTTP_CRM_NFOREIGN; i++) {
            if (ngx_strcmp(module->name, ngx_http_crm_foreigners[i].module)
                != 0) {
                continue;
            }

            for (command = module->commands; command->name.len > 0; command++) {
                if (ngx_http_crm_word_is(
                        &command->name, ngx_http_crm_foreigners[i].directive)) {
                    cmcf->foreign[i].module = module;
                    cmcf->foreign[i].command = command;
                }
            }
        }
    }
}


/* ---- looking ------------------------------------------------------------ */

/* NGX_OK: a slot is filled here; NGX_DECLINED: none is so far. */
static ngx_int_t
ngx_http_crm_peek_bytes(ngx_http_request_t *r, ngx_http_crm_peek_t *peek,
    const u_char *data, size_t len)
{
    size_t               pos;
    personalize_str_t    name;
    personalize_slot_e   kind;
    ngx_http_crm_fill_t *slot;
    personalize_token_t  token;

    pos = 0;
    peek->seen += (off_t) len;

    for (;;) {
        kind = personalize_slot_next(
            &peek->scanner, (const char *) data, len, &pos, &token);

        if (kind == PERSONALIZE_SLOT_MORE) {
            return NGX_DECLINED;
        }

        if (kind == PERSONALIZE_SLOT_OPEN && peek->markers) {
            name = token.name;

        } else if (kind == PERSONALIZE_SLOT_LITERAL) {
            name = peek->places->slot[token.literal];

        } else {
            continue;
        }

        if (ngx_http_crm_slot_find(r, peek->ctx, name, &slot) != NGX_OK) {
            return NGX_ERROR;
        }

        if (slot != NULL) {
            return NGX_OK;
        }
    }
}


static ngx_int_t
ngx_http_crm_peek_file(
    ngx_http_request_t *r, ngx_http_crm_peek_t *peek, ngx_buf_t *b)
{
    off_t                     at;
    size_t                    want;
    u_char                    data[NGX_HTTP_CRM_PEEK_NEXT];
    ssize_t                   n;
    ngx_int_t                 rc;
    ngx_http_core_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (b->file->directio || clcf->aio != NGX_HTTP_AIO_OFF) {
        return NGX_OK;
    }

    for (at = b->file_pos; at < b->file_last; at += n) {
        if (peek->seen >= NGX_HTTP_CRM_PEEK_FILE) {
            return NGX_OK;
        }

        want =
            peek->seen == 0 ? NGX_HTTP_CRM_PEEK_FIRST : NGX_HTTP_CRM_PEEK_NEXT;
        want = (size_t) ngx_min(b->file_last - at, (off_t) want);
        n = ngx_read_file(b->file, data, want, at);

        /* truncated meanwhile: whoever sends it will say so */
        if (n <= 0) {
            return NGX_OK;
        }

        rc = ngx_http_crm_peek_bytes(r, peek, data, (size_t) n);
        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_crm_peek_buf(
    ngx_http_request_t *r, ngx_http_crm_peek_t *peek, ngx_buf_t *b)
{
    if (ngx_buf_in_memory(b)) {
        return ngx_http_crm_peek_bytes(r, peek, b->pos, b->last - b->pos);
    }

    return b->in_file ? ngx_http_crm_peek_file(r, peek, b) : NGX_DECLINED;
}


/* 1 if waiting for more would keep back what is meant to be seen now, or what
 * is all that will come. */
static ngx_uint_t
ngx_http_crm_peek_urged(ngx_http_request_t *r, ngx_buf_t *b)
{
    if (!b->flush) {
        return 0;
    }

    return r->headers_out.content_length_n == -1 || r->upstream == NULL
           || r->upstream->peer.connection == NULL;
}


/* NGX_OK: changed, or to be treated so; NGX_DECLINED: it is at its end and has
 * no filled slot; NGX_AGAIN: more is needed. */
static ngx_int_t
ngx_http_crm_peek_look(
    ngx_http_request_t *r, ngx_http_crm_peek_t *peek, ngx_chain_t *in)
{
    off_t        bytes;
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t *cl;

    bytes = 0;

    for (cl = in; cl != NULL; cl = cl->next) {
        b = cl->buf;

        rc = ngx_http_crm_peek_buf(r, peek, b);
        if (rc != NGX_DECLINED) {
            return rc;
        }

        if (b->last_buf) {
            return r->method == NGX_HTTP_HEAD && peek->seen == 0
                           && r->headers_out.content_length_n != 0
                       ? NGX_OK
                       : NGX_DECLINED;
        }

        if (ngx_http_crm_peek_urged(r, b)) {
            return NGX_OK;
        }

        bytes += ngx_buf_size(b);
    }

    return (off_t) peek->nheld + bytes > NGX_HTTP_CRM_PEEK_HELD ? NGX_OK
                                                                : NGX_AGAIN;
}


/* ---- holding ------------------------------------------------------------ */

static void
ngx_http_crm_peek_consume(ngx_buf_t *b)
{
    b->pos = b->last;

    if (b->in_file) {
        b->file_pos = b->file_last;
    }
}


static ngx_int_t
ngx_http_crm_peek_copy(
    ngx_http_request_t *r, ngx_http_crm_peek_t *peek, ngx_buf_t *b)
{
    size_t       len;
    ssize_t      n;
    ngx_buf_t   *copy;
    ngx_chain_t *cl;

    ngx_http_crm_main_conf_t *cmcf;

    len = (size_t) ngx_buf_size(b);

    if (ngx_buf_special(b) || len == 0) {
        return NGX_OK;
    }

    copy = ngx_create_temp_buf(r->pool, len);
    cl = ngx_alloc_chain_link(r->pool);
    if (copy == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    if (ngx_buf_in_memory(b)) {
        copy->last = ngx_cpymem(copy->pos, b->pos, len);

    } else {
        n = ngx_read_file(b->file, copy->pos, len, b->file_pos);
        if (n != (ssize_t) len) {
            return NGX_ERROR;
        }

        copy->last += n;
    }

    ngx_http_crm_peek_consume(b);

    if (peek->held == NULL) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_PAGES_HELD);
    }

    cl->buf = copy;
    cl->next = NULL;
    *peek->last = cl;
    peek->last = &cl->next;
    peek->nheld += len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_peek_hold(
    ngx_http_request_t *r, ngx_http_crm_peek_t *peek, ngx_chain_t *in)
{
    for (/* void */; in != NULL; in = in->next) {
        if (ngx_http_crm_peek_copy(r, peek, in->buf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (peek->held != NULL && r->headers_out.content_length_n == -1
        && r->upstream != NULL && !peek->late.timer_set)
    {
        ngx_add_timer(&peek->late, NGX_HTTP_CRM_PEEK_MS);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_peek_drop(ngx_chain_t *in)
{
    for (/* void */; in != NULL; in = in->next) {
        ngx_http_crm_peek_consume(in->buf);
    }

    return NGX_OK;
}


/*
 * A header filter wants another answer: a range that cannot be had.  The owner
 * of the page believes its header sent and goes on, so what comes is dropped,
 * and an error_page, which would start the request anew, is not looked for.
 */
static ngx_int_t
ngx_http_crm_peek_refuse(ngx_http_request_t *r, ngx_http_crm_peek_t *peek,
    ngx_chain_t *in, ngx_int_t status)
{
    ngx_int_t rc;

    r->error_page = 1;
    rc = ngx_http_special_response_handler(r, status);

    /* it has gone through this very filter */
    ngx_http_set_ctx(r, peek, ngx_http_crm_peek_module);
    peek->drop = 1;
    (void) ngx_http_crm_peek_drop(in);

    return rc;
}


/* It is known now: the header leaves, then all that was held, then `in`. */
static ngx_int_t
ngx_http_crm_peek_release(ngx_http_request_t *r, ngx_http_crm_peek_t *peek,
    ngx_chain_t *in, ngx_uint_t due)
{
    ngx_int_t rc;

    peek->done = 1;
    peek->ctx->slots_due = due;

    if (peek->late.timer_set) {
        ngx_del_timer(&peek->late);
    }

    ngx_http_crm_slot_conditions(r, peek->ctx);

    rc = ngx_http_crm_next_header_filter(r);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc > NGX_OK) {
        return ngx_http_crm_peek_refuse(r, peek, in, rc);
    }

    if (r->header_only) {
        peek->drop = 1;
        return ngx_http_crm_peek_drop(in);
    }

    if (peek->held != NULL) {
        *peek->last = in;
        in = peek->held;
        peek->held = NULL;
    }

    return ngx_http_crm_next_body_filter(r, in);
}


/* The shop keeps us waiting: what has come leaves, as a page that changes. */
static void
ngx_http_crm_peek_late(ngx_event_t *ev)
{
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_chain_t          flush;
    ngx_connection_t    *c;
    ngx_http_crm_peek_t *peek = ev->data;

    c = peek->request->connection;
    b = ngx_calloc_buf(peek->request->pool);
    rc = NGX_ERROR;

    if (b != NULL) {
        b->flush = 1;
        flush.buf = b;
        flush.next = NULL;
        rc = ngx_http_crm_peek_release(peek->request, peek, &flush, 1);
    }

    if (rc == NGX_ERROR) {
        c->error = 1;
    }

    /* whoever writes to the client ends the request, or sends what is left */
    ngx_post_event(c->write, &ngx_posted_events);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_crm_peek_cleanup(void *data)
{
    ngx_http_crm_peek_t *peek = data;

    if (peek->late.timer_set) {
        ngx_del_timer(&peek->late);
    }
}


static ngx_int_t
ngx_http_crm_peek_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t            rc;
    ngx_http_crm_peek_t *peek;

    peek = ngx_http_get_module_ctx(r, ngx_http_crm_peek_module);

    if (peek == NULL || (peek->done && !peek->drop)) {
        return ngx_http_crm_next_body_filter(r, in);
    }

    if (peek->drop) {
        return ngx_http_crm_peek_drop(in);
    }

    rc = ngx_http_crm_peek_look(r, peek, in);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_crm_peek_hold(r, peek, in);
    }

    return ngx_http_crm_peek_release(r, peek, in, rc == NGX_OK);
}


/* ---- the header --------------------------------------------------------- */

/* NGX_OK: the page counts as changed; NGX_DECLINED: it is not, and has no slot
 * that is filled; NGX_AGAIN: its body tells. */
static ngx_int_t
ngx_http_crm_peek_judge(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (!ngx_http_crm_slot_wanted(r, ctx)) {
        return NGX_DECLINED;
    }

    if (ngx_http_crm_dry_run(r)) {
        return NGX_OK;
    }

    if (ngx_http_crm_slot_encoded(r)) {
        return ngx_http_crm_foreign(r, NGX_HTTP_CRM_FOREIGN_GUNZIP)
                   ? NGX_OK
                   : NGX_DECLINED;
    }

    if (r->header_only || ngx_http_crm_foreign(r, NGX_HTTP_CRM_FOREIGN_SSI)
        || ngx_http_crm_foreign(r, NGX_HTTP_CRM_FOREIGN_BEFORE)
        || ngx_http_crm_foreign(r, NGX_HTTP_CRM_FOREIGN_AFTER))
    {
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_crm_peek_begin(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_crm_peek_t     *peek;
    ngx_http_crm_loc_conf_t *clcf;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_crm_peek_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    peek = cln->data;
    ngx_memzero(peek, sizeof(ngx_http_crm_peek_t));
    cln->handler = ngx_http_crm_peek_cleanup;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (clcf->places != NULL) {
        peek->places = clcf->places;
        peek->scanner.literals = &clcf->places->literals;
    }

    peek->ctx = ctx;
    peek->markers = clcf->markers;
    peek->last = &peek->held;
    peek->request = r;
    peek->late.handler = ngx_http_crm_peek_late;
    peek->late.data = peek;
    peek->late.log = r->connection->log;
    ngx_http_set_ctx(r, peek, ngx_http_crm_peek_module);

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_peek_header_filter(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_http_crm_ctx_t *ctx;

    if (r != r->main) {
        return ngx_http_crm_next_header_filter(r);
    }

    ctx = ngx_http_crm_get_ctx(r);

    /* only the shop behind us has a say */
    if (r->upstream != NULL) {
        ngx_http_crm_upstream_take(r, ctx);
    }

    if (ctx == NULL) {
        return ngx_http_crm_next_header_filter(r);
    }

    ngx_http_set_ctx(r, NULL, ngx_http_crm_peek_module);
    rc = ngx_http_crm_peek_judge(r, ctx);

    if (rc == NGX_AGAIN) {
        return ngx_http_crm_peek_begin(r, ctx);
    }

    ctx->slots_due = (rc == NGX_OK);

    if (!ngx_http_crm_dry_run(r)) {
        ngx_http_crm_slot_conditions(r, ctx);
    }

    return ngx_http_crm_next_header_filter(r);
}


static ngx_int_t
ngx_http_crm_peek_init(ngx_conf_t *cf)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    if (!cmcf->used) {
        return NGX_OK;
    }

    ngx_http_crm_foreign_init(cf, cmcf);

    ngx_http_crm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_peek_header_filter;

    ngx_http_crm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_crm_peek_body_filter;

    return NGX_OK;
}
