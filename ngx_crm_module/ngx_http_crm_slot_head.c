/*
 * ngx_http_crm_slot_head.c - says which answers are personalised, and how.
 *
 * A page can be personalised when its location has "crm_slot", its site has
 * live campaigns and it is text/html.  Whether it is, ngx_http_crm_peek.c finds
 * out (slots_due): such a page leaves private, in chunks and without
 * validators; every other answer is left as it is.
 *
 * Before the content handler conditions and ranges of the request are hidden,
 * or the origin answers 304 or 206 for a page that differs per visitor; nginx
 * judges them when it knows that this page does not.  Accept-Encoding is hidden
 * likewise, unless the location has gunzip, because there are no slots in what
 * is compressed.  In a header filter before gunzip: a gzipped answer is to be
 * inflated whatever the client takes.  In a header filter after nginx's own
 * headers filter: the head is written and the cookie added, when nothing can
 * change Cache-Control any more.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_EXTEN_MAX 16 /* bytes of a file name's extension */


static ngx_int_t ngx_http_crm_head_init(ngx_conf_t *cf);


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
/* clang-format on */


static ngx_http_output_header_filter_pt ngx_http_crm_next_header_filter;


/* ---- before the content handler ----------------------------------------- */

/* 0 if the name in the URL says that the answer is no page. */
static ngx_uint_t
ngx_http_crm_slot_exten(ngx_http_request_t *r)
{
    u_char                    exten[NGX_HTTP_CRM_EXTEN_MAX];
    ngx_str_t                *type;
    ngx_uint_t                hash;
    ngx_http_core_loc_conf_t *clcf;

    if (r->exten.len == 0 || r->exten.len > sizeof(exten)) {
        return 1;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    hash = ngx_hash_strlow(exten, r->exten.data, r->exten.len);
    type = ngx_hash_find(&clcf->types_hash, hash, exten, r->exten.len);

    return type == NULL
           || (type->len == sizeof("text/html") - 1
               && ngx_strncasecmp(type->data, (u_char *) "text/html", type->len)
                      == 0);
}


/*
 * Hides a header from the shop; nginx itself goes on seeing it.  It cannot be
 * removed from the list, but a hop-by-hop name is forwarded to nobody.
 */
static ngx_int_t
ngx_http_crm_slot_hide(ngx_http_request_t *r, ngx_table_elt_t **header)
{
    ngx_table_elt_t *h = *header, *copy;
    static u_char    name[] = "keep-alive";

    if (h == NULL) {
        return NGX_OK;
    }

    copy = ngx_palloc(r->pool, sizeof(ngx_table_elt_t));
    if (copy == NULL) {
        return NGX_ERROR;
    }

    *copy = *h;
    *header = copy;

    ngx_str_set(&h->key, "Keep-Alive");
    ngx_str_null(&h->value);
    h->lowcase_key = name;
    h->hash = ngx_hash_key(name, sizeof(name) - 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_slot_hide_all(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_table_elt_t **headers[] = {&r->headers_in.if_modified_since,
        &r->headers_in.if_unmodified_since, &r->headers_in.if_match,
        &r->headers_in.if_none_match, &r->headers_in.if_range,
        &r->headers_in.range};

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (ngx_http_crm_slot_hide(r, headers[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

#if (NGX_HTTP_GZIP)
    if (!ngx_http_crm_foreign(r, NGX_HTTP_CRM_FOREIGN_GUNZIP)) {
        return ngx_http_crm_slot_hide(r, &r->headers_in.accept_encoding);
    }
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_slot_handler(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t      *ctx;
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (r != r->main || !clcf->enable || !ngx_http_crm_has_slots(clcf)
        || clcf->dry_run || !(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL || ctx->hidden || ctx->site->set == NULL
        || personalize_set_campaigns(ctx->site->set) == 0
        || !ngx_http_crm_slot_exten(r) || ngx_http_crm_is_bot(r, ctx))
    {
        return NGX_DECLINED;
    }

    ctx->hidden = 1;

    return ngx_http_crm_slot_hide_all(r) == NGX_OK
               ? NGX_DECLINED
               : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* An answer of the shop that lets parts of it be asked for: so do we. */
static void
ngx_http_crm_slot_ranges(ngx_http_request_t *r)
{
    ngx_table_elt_t *h;

    h = r->headers_out.accept_ranges;

    if (r->headers_in.range == NULL || r->upstream == NULL || r->allow_ranges
        || h == NULL || h->hash == 0
        || ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
               (u_char *) "bytes", 5 - 1)
               == NULL)
    {
        return;
    }

    /* nginx adds its own */
    ngx_http_clear_accept_ranges(r);
    r->allow_ranges = 1;
    r->single_range = 1;
}


void
ngx_http_crm_slot_conditions(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (ctx->slots_due) {
        r->disable_not_modified = 1;
        r->allow_ranges = 0;
        r->headers_in.if_modified_since = NULL;
        r->headers_in.if_unmodified_since = NULL;
        r->headers_in.if_match = NULL;
        r->headers_in.if_none_match = NULL;
        r->headers_in.if_range = NULL;
        r->headers_in.range = NULL;
        return;
    }

    if (ctx->hidden) {
        r->disable_not_modified = 0;
        ngx_http_crm_slot_ranges(r);
    }
}


/* ---- the answer's header ------------------------------------------------ */

/*
 * A page of the shop, its error pages included.  nginx's own error texts have
 * no markers: no error_page led to them, and no upstream answered so.
 */
static ngx_uint_t
ngx_http_crm_slot_status(ngx_http_request_t *r)
{
    ngx_uint_t status;

    status = r->headers_out.status;

    if (status < NGX_HTTP_BAD_REQUEST) {
        return status == NGX_HTTP_OK;
    }

    return r->error_page || r->internal
           || (r->upstream != NULL
               && r->upstream->headers_in.status_n == status);
}


ngx_uint_t
ngx_http_crm_slot_wanted(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    personalize_set_t       *set;
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (!clcf->enable || !ngx_http_crm_has_slots(clcf)
        || !ngx_http_crm_slot_status(r) || !ngx_http_crm_is_page(r)
        || ngx_http_crm_is_bot(r, ctx))
    {
        return 0;
    }

    set = ngx_http_crm_set_hold(r, ctx);

    return set != NULL && personalize_set_campaigns(set) > 0;
}


/* 1 if the slots of this answer, or part of an answer, are to be filled. */
static ngx_uint_t
ngx_http_crm_slot_fills(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (r == r->main || !ctx->slots_due) {
        return ctx->slots_due;
    }

    return !r->subrequest_in_memory && !r->background && !r->header_only
           && ngx_http_crm_is_page(r);
}


ngx_uint_t
ngx_http_crm_slot_encoded(ngx_http_request_t *r)
{
    return r->headers_out.content_encoding != NULL
           && r->headers_out.content_encoding->hash != 0
           && r->headers_out.content_encoding->value.len != 0;
}


/* Before gunzip, which inflates when it believes that the client takes no
 * gzip; ngx_http_crm_slot_header lets gzip look again. */
static ngx_int_t
ngx_http_crm_head_filter(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t *ctx;

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx != NULL && ngx_http_crm_slot_encoded(r) && !ngx_http_crm_dry_run(r)
        && ngx_http_crm_slot_fills(r, ctx))
    {
        r->gzip_tested = 1;
        r->gzip_ok = 0;
    }

    return ngx_http_crm_next_header_filter(r);
}


/* What would let a cache keep the answer, or vouch for the origin's bytes. */
static void
ngx_http_crm_slot_strip(ngx_http_request_t *r)
{
    ngx_uint_t       i, n;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    static const ngx_str_t names[] = {ngx_string("Expires"),
        ngx_string("CDN-Cache-Control"), ngx_string("Surrogate-Control"),
        ngx_string("Content-MD5"), ngx_string("Digest"),
        ngx_string("Content-Digest"), ngx_string("Repr-Digest")};

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        for (n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
            if (h[i].key.len == names[n].len
                && ngx_strncasecmp(h[i].key.data, names[n].data, names[n].len)
                       == 0)
            {
                h[i].hash = 0;
                break;
            }
        }
    }
}


/* The first Cache-Control, the next ones by n; NULL at the end. */
static ngx_table_elt_t *
ngx_http_crm_cache_control_nth(ngx_http_request_t *r, ngx_uint_t n)
{
#if (nginx_version >= 1023000)

    ngx_table_elt_t *h;

    for (h = r->headers_out.cache_control; h != NULL && n > 0; h = h->next) {
        n--;
    }

    return h;

#else

    ngx_table_elt_t **list;

    list = r->headers_out.cache_control.elts;

    return n < r->headers_out.cache_control.nelts ? list[n] : NULL;

#endif
}


/* Makes h the only Cache-Control there is. */
static ngx_int_t
ngx_http_crm_cache_control_set(ngx_http_request_t *r, ngx_table_elt_t *h)
{
#if (nginx_version >= 1023000)

    h->next = NULL;
    r->headers_out.cache_control = h;

#else

    ngx_table_elt_t **link;
    ngx_array_t      *list = &r->headers_out.cache_control;

    if (list->elts == NULL
        && ngx_array_init(list, r->pool, 1, sizeof(ngx_table_elt_t *))
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    list->nelts = 0;
    link = ngx_array_push(list);
    if (link == NULL) {
        return NGX_ERROR;
    }

    *link = h;

#endif

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_cache_control(ngx_http_request_t *r, const char *value)
{
    ngx_uint_t       n;
    ngx_table_elt_t *h;

    for (n = 0; /* void */; n++) {
        h = ngx_http_crm_cache_control_nth(r, n);
        if (h == NULL) {
            break;
        }

        h->hash = 0;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->lowcase_key = NULL;
    ngx_str_set(&h->key, "Cache-Control");
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return ngx_http_crm_cache_control_set(r, h);
}


/* Of what the origin said, the prohibitions stay. */
static ngx_int_t
ngx_http_crm_slot_private(ngx_http_request_t *r)
{
    u_char          *last;
    const char      *value;
    ngx_uint_t       n;
    ngx_table_elt_t *h;

    value = "private";

    for (n = 0; /* void */; n++) {
        h = ngx_http_crm_cache_control_nth(r, n);
        if (h == NULL) {
            break;
        }

        last = h->value.data + h->value.len;

        if (ngx_strlcasestrn(h->value.data, last, (u_char *) "no-store", 7)
            != NULL) {
            value = "private, no-store";
            break;
        }

        if (ngx_strlcasestrn(h->value.data, last, (u_char *) "no-cache", 7)
            != NULL) {
            value = "private, no-cache";
        }
    }

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    ngx_http_crm_slot_strip(r);

    return ngx_http_crm_cache_control(r, value);
}


ngx_int_t
ngx_http_crm_slot_header(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_http_crm_ctx_t *ctx;

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (ngx_http_crm_slot_fills(r, ctx)) {
        if (!ngx_http_crm_dry_run(r)) {
            r->gzip_tested = 0;
        }

        if (!ngx_http_crm_slot_encoded(r)) {
            rc = NGX_OK;
        }
    }

    if (r != r->main) {
        return rc;
    }

    if (rc == NGX_OK && !ngx_http_crm_dry_run(r)
        && ngx_http_crm_slot_private(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_crm_visitor_send(r, ctx) == NGX_OK ? rc : NGX_ERROR;
}


static ngx_int_t
ngx_http_crm_head_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt       *h;
    ngx_http_core_main_conf_t *cmcf;
    ngx_http_crm_main_conf_t  *crm;

    crm = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    if (!crm->used) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_crm_slot_handler;

    ngx_http_crm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_head_filter;

    return NGX_OK;
}
