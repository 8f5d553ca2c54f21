/*
 * ngx_http_crm_visitor.c - reads the visitor's cookie and sends it back.
 *
 * The first Cookie of our name that verifies counts; the bad ones before it
 * are counted.  Without one a visitor is made, tentatively: it exists only
 * once the answer really carried Set-Cookie.
 *
 * Set-Cookie never goes out on an answer that a shared cache may store, since
 * the cache would hand one visitor's identity to everybody.  An answer without
 * any Cache-Control gets "private" together with the cookie, because a cache
 * may store such an answer by its own judgement (RFC 9111, 4.2.2).
 *
 * An internal redirect (index, try_files, error_page) wipes the module
 * contexts of a request.  The context therefore lives in a pool cleanup, where
 * it is found again, so that one request never becomes two visitors.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_SAMPLE_EVERY 16 /* requests; a power of two */


/* of this process; every sixteenth is measured */
static ngx_uint_t ngx_http_crm_requests;


/* Next value of a cookie of that name in one Cookie header; 0 at its end. */
static ngx_uint_t
ngx_http_crm_cookie_next(
    u_char **pos, u_char *end, ngx_str_t *name, ngx_str_t *value)
{
    u_char *p, *last;

    for (p = *pos; p < end; p = last + 1) {

        while (p < end && (*p == ' ' || *p == ';')) {
            p++;
        }

        last = memchr(p, ';', end - p);
        if (last == NULL) {
            last = end;
        }

        if ((size_t) (last - p) > name->len && p[name->len] == '='
            && ngx_memcmp(p, name->data, name->len) == 0)
        {
            value->data = p + name->len + 1;
            value->len = last - value->data;

            while (value->len > 0 && value->data[value->len - 1] == ' ') {
                value->len--;
            }

            *pos = last;
            return 1;
        }
    }

    *pos = end;

    return 0;
}


static ngx_int_t
ngx_http_crm_cookie_header(ngx_http_crm_main_conf_t *cmcf, ngx_str_t *name,
    ngx_table_elt_t *header, ngx_http_crm_ctx_t *ctx)
{
    u_char   *p, *end;
    ngx_str_t value;

    p = header->value.data;
    end = p + header->value.len;

    while (ngx_http_crm_cookie_next(&p, end, name, &value)) {
        ctx->cookie_seen = 1;

        if (tracker_visitor_decode(&cmcf->keys, (char *) value.data, value.len,
                (uint32_t) ngx_time(), &ctx->visitor)
            == TRACKER_OK)
        {
            return NGX_OK;
        }

        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_COOKIE_BAD);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_crm_cookie_read(ngx_http_request_t *r, ngx_http_crm_main_conf_t *cmcf,
    ngx_str_t *name, ngx_http_crm_ctx_t *ctx)
{
    ngx_table_elt_t *h;

#if (nginx_version >= 1023000)

    for (h = r->headers_in.cookie; h != NULL; h = h->next) {
        if (ngx_http_crm_cookie_header(cmcf, name, h, ctx) == NGX_OK) {
            return NGX_OK;
        }
    }

#else

    ngx_uint_t        i;
    ngx_table_elt_t **cookies;

    cookies = r->headers_in.cookies.elts;

    for (i = 0; i < r->headers_in.cookies.nelts; i++) {
        h = cookies[i];

        if (ngx_http_crm_cookie_header(cmcf, name, h, ctx) == NGX_OK) {
            return NGX_OK;
        }
    }

#endif

    return NGX_DECLINED;
}


/* Marks the cleanup that holds our context; the pool frees it. */
static void
ngx_http_crm_ctx_cleanup(void *data)
{
    ngx_http_crm_ctx_t *ctx = data;

    ctx->has_visitor = 0;
}


static ngx_http_crm_ctx_t *
ngx_http_crm_ctx_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t *cln;

    for (cln = r->pool->cleanup; cln != NULL; cln = cln->next) {
        if (cln->handler == ngx_http_crm_ctx_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_crm_visitor_read(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_loc_conf_t *clcf)
{
    uint8_t           random[10];
    uint16_t          campaign;
    ngx_str_t         query;
    ngx_int_t         rc;
    ngx_time_t       *tp;
    tracker_str_t     text;
    tracker_session_e session;

    tp = ngx_timeofday();
    ngx_http_crm_enrich_query(r, &query);
    text.data = (char *) query.data;
    text.len = query.len;
    campaign = tracker_campaign_hash(text);
    rc = ngx_http_crm_cookie_read(r, cmcf, &clcf->cookie_name, ctx);

    if (!ctx->measure) {
        /* whatever came is taken back; who took consent back is on record */
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_UNCONSENTED);
        ctx->cookie_due = ctx->cookie_seen;
        ctx->consent_new = (rc == NGX_OK);
        return;
    }

    if (rc != NGX_OK && ngx_http_crm_link_take(r, ctx) == NGX_OK) {
        (void) tracker_session_touch(&ctx->visitor, (uint32_t) tp->sec,
            (uint32_t) clcf->session_timeout, 0);
        ctx->cookie_due = 1;

    } else if (rc == NGX_OK) {
        session = tracker_session_touch(&ctx->visitor, (uint32_t) tp->sec,
            (uint32_t) clcf->session_timeout, campaign);

        ctx->visitor.flags |= TRACKER_VISITOR_RETURNED;
        ctx->session_new = (session == TRACKER_SESSION_NEW);
        ctx->cookie_due = (session != TRACKER_SESSION_SAME
                           || ctx->visitor.key_id != cmcf->keys.keys[0].id);

    } else {
        ngx_http_crm_random(random, sizeof(random));
        tracker_visitor_new(
            &ctx->visitor, (uint64_t) tp->sec * 1000 + tp->msec, random);

        ctx->visitor.campaign = campaign;
        ctx->visitor_new = 1;
        ctx->session_new = 1;
        ctx->cookie_due = 1;
    }

    tracker_session_id(ctx->sid, &ctx->visitor);
    ctx->has_visitor = 1;
    ngx_http_crm_consent_visitor(ctx);
}


static ngx_http_crm_ctx_t *
ngx_http_crm_ctx_create(ngx_http_request_t *r, ngx_http_crm_loc_conf_t *clcf)
{
    uint64_t                  start;
    ngx_http_crm_ctx_t       *ctx;
    ngx_pool_cleanup_t       *cln;
    ngx_http_crm_main_conf_t *cmcf;

    start = 0;

    if ((++ngx_http_crm_requests & (NGX_HTTP_CRM_SAMPLE_EVERY - 1)) == 0) {
        start = ngx_http_crm_ticks();
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_crm_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_crm_ctx_cleanup;
    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_crm_ctx_t));
    ctx->site = clcf->site;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_consent(r, ctx);
    ngx_http_crm_visitor_read(r, ctx, cmcf, clcf);

    if (start != 0) {
        ctx->sampled = 1;
        ctx->ns = ngx_http_crm_ticks() - start;
    }

    return ctx;
}


ngx_http_crm_ctx_t *
ngx_http_crm_get_ctx(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t      *ctx;
    ngx_http_crm_loc_conf_t *clcf;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_crm_module);
    if (ctx != NULL) {
        return ctx;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    if (!clcf->enable) {
        return NULL;
    }

    if (r->internal || r->filter_finalize) {
        ctx = ngx_http_crm_ctx_find(r);
    }

    if (ctx == NULL) {
        ctx = ngx_http_crm_ctx_create(r, clcf);

        if (ctx == NULL) {
            return NULL;
        }
    }

    ngx_http_set_ctx(r, ctx, ngx_http_crm_module);

    return ctx;
}


typedef struct {
    unsigned any : 1;        /* there is a Cache-Control */
    unsigned shared : 1;     /* it invites shared caches */
    unsigned not_shared : 1; /* private or no-store: it forbids them */
} ngx_http_crm_caching_t;


/* Reads one Cache-Control; directives are few, their names case-insensitive. */
static void
ngx_http_crm_caching_read(ngx_str_t *value, ngx_http_crm_caching_t *caching)
{
    size_t  n;
    u_char *p, *end;

    caching->any = 1;
    end = value->data + value->len;

    for (p = value->data; p < end; p += n + 1) {

        while (p < end && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        for (n = 0; p + n < end && p[n] != ','; n++) { /* void */
        }

        if (n >= 7 && ngx_strncasecmp(p, (u_char *) "private", 7) == 0) {
            caching->not_shared = 1;

        } else if (n >= 8 && ngx_strncasecmp(p, (u_char *) "no-store", 8) == 0)
        {
            caching->not_shared = 1;

        } else if ((n >= 6 && ngx_strncasecmp(p, (u_char *) "public", 6) == 0)
                   || (n >= 9
                       && ngx_strncasecmp(p, (u_char *) "s-maxage=", 9) == 0))
        {
            caching->shared = 1;

        } else if (n >= 8 && ngx_strncasecmp(p, (u_char *) "max-age=", 8) == 0)
        {
            /* anything but a plain 0 is taken as a life time */
            if (!(n >= 9 && p[8] == '0' && (n == 9 || p[9] == ' '))) {
                caching->shared = 1;
            }
        }
    }
}


static void
ngx_http_crm_caching_find(
    ngx_http_request_t *r, ngx_http_crm_caching_t *caching)
{
    ngx_table_elt_t *h;

    ngx_memzero(caching, sizeof(ngx_http_crm_caching_t));

#if (nginx_version >= 1023000)

    for (h = r->headers_out.cache_control; h != NULL; h = h->next) {
        if (h->hash != 0) {
            ngx_http_crm_caching_read(&h->value, caching);
        }
    }

#else

    ngx_uint_t        i;
    ngx_table_elt_t **list;

    list = r->headers_out.cache_control.elts;

    for (i = 0; i < r->headers_out.cache_control.nelts; i++) {
        h = list[i];

        if (h->hash != 0) {
            ngx_http_crm_caching_read(&h->value, caching);
        }
    }

#endif
}


/* 1 if a shared cache has reason to store the answer. */
static ngx_uint_t
ngx_http_crm_storable(
    ngx_http_request_t *r, const ngx_http_crm_caching_t *caching)
{
    time_t           expires;
    ngx_table_elt_t *h;

    if (caching->any) {
        return caching->shared && !caching->not_shared;
    }

    h = r->headers_out.expires;
    if (h == NULL || h->hash == 0) {
        return 0;
    }

    expires = ngx_parse_http_time(h->value.data, h->value.len);

    return expires != NGX_ERROR && expires > ngx_time();
}


static ngx_table_elt_t *
ngx_http_crm_header_add(ngx_http_request_t *r)
{
    ngx_table_elt_t *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->lowcase_key = NULL;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}


static ngx_int_t
ngx_http_crm_private_add(ngx_http_request_t *r)
{
    ngx_table_elt_t *h;

#if (nginx_version < 1023000)

    ngx_array_t      *list;
    ngx_table_elt_t **link;

    list = &r->headers_out.cache_control;

    if (list->elts == NULL
        && ngx_array_init(list, r->pool, 1, sizeof(ngx_table_elt_t *))
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    link = ngx_array_push(list);
    if (link == NULL) {
        return NGX_ERROR;
    }

    *link = NULL;

#endif

    h = ngx_http_crm_header_add(r);

#if (nginx_version >= 1023000)
    r->headers_out.cache_control = h;
#else
    if (h == NULL) {
        list->nelts--;
    } else {
        *link = h;
    }
#endif

    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "private");

    return NGX_OK;
}


/* "; Path=/; Max-Age=0; ..." of "; Path=/; Max-Age=34128000; ...". */
static u_char *
ngx_http_crm_cookie_expired(u_char *p, ngx_str_t *tail)
{
    u_char *age, *end;

    static u_char name[] = "; Max-Age=";

    end = tail->data + tail->len;
    age = ngx_strlcasestrn(tail->data, end, name, sizeof(name) - 2);

    if (age == NULL) {
        return ngx_cpymem(p, tail->data, tail->len);
    }

    age += sizeof(name) - 1;
    p = ngx_cpymem(p, tail->data, age - tail->data);
    *p++ = '0';

    while (age < end && *age >= '0' && *age <= '9') {
        age++;
    }

    return ngx_cpymem(p, age, end - age);
}


static ngx_int_t
ngx_http_crm_cookie_add(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_loc_conf_t *clcf)
{
    u_char          *p;
    ngx_uint_t       secure;
    ngx_table_elt_t *h;

    secure = (clcf->cookie_secure == 1);

#if (NGX_HTTP_SSL)
    if (clcf->cookie_secure == 2 && r->connection->ssl != NULL) {
        secure = 1;
    }
#endif

    p = ngx_pnalloc(r->pool, clcf->cookie_name.len + 1 + TRACKER_COOKIE_LEN
                                 + clcf->cookie_tail.len + sizeof("; Secure"));
    h = p != NULL ? ngx_http_crm_header_add(r) : NULL;

    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&h->key, "Set-Cookie");
    h->value.data = p;

    p = ngx_cpymem(p, clcf->cookie_name.data, clcf->cookie_name.len);
    *p++ = '=';

    if (ctx->has_visitor) {
        tracker_visitor_encode(&cmcf->keys, &ctx->visitor, (char *) p);
        p = ngx_cpymem(p + TRACKER_COOKIE_LEN, clcf->cookie_tail.data,
            clcf->cookie_tail.len);
    } else {
        p = ngx_http_crm_cookie_expired(p, &clcf->cookie_tail);
    }

    if (secure) {
        p = ngx_cpymem(p, "; Secure", sizeof("; Secure") - 1);
    }

    h->value.len = p - h->value.data;

    return NGX_OK;
}


/* 1 if the answer is about the visitor: a page, or a redirect after a log-in
 * or an order, or a decision; 0 for an image or a style sheet. */
static ngx_uint_t
ngx_http_crm_visitor_concerned(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_loc_conf_t *clcf)
{
    ngx_http_core_loc_conf_t *core;

    if (clcf->capture == NGX_HTTP_CRM_CAPTURE_ALL || clcf->events != NULL
        || clcf->collect != NGX_HTTP_CRM_COLLECT_OFF || ctx->uid.len != 0
        || ctx->said != NULL || ngx_http_crm_is_page(r))
    {
        return 1;
    }

    core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return core->handler == ngx_http_crm_decide_handler;
}


static ngx_int_t
ngx_http_crm_visitor_answer(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_http_crm_caching_t    caching;
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_crm_main_conf_t *cmcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    /* a 304 changes the headers of a page that somebody else may hold */
    if (!clcf->enable || clcf->capture == NGX_HTTP_CRM_CAPTURE_OFF
        || r->headers_out.status == NGX_HTTP_NOT_MODIFIED
        || !ngx_http_crm_visitor_concerned(r, ctx, clcf))
    {
        return NGX_OK;
    }

    ngx_http_crm_caching_find(r, &caching);

    if (ngx_http_crm_storable(r, &caching)) {
        return NGX_OK;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (clcf->dry_run) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_DRY_RUN_COOKIES);
        return NGX_OK;
    }

    if (!caching.any && ngx_http_crm_private_add(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_crm_cookie_add(r, ctx, cmcf, clcf) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->cookie_sent = 1;

    if (ctx->visitor_new) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_VISITORS_NEW);
    }

    if (ctx->session_new) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SESSIONS);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_visitor_send(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    uint64_t  start;
    ngx_int_t rc;

    if (r != r->main || !ctx->cookie_due || ctx->cookie_sent) {
        return NGX_OK;
    }

    start = ctx->sampled ? ngx_http_crm_ticks() : 0;
    rc = ngx_http_crm_visitor_answer(r, ctx);

    if (ctx->sampled) {
        ctx->ns += ngx_http_crm_ticks() - start;
    }

    return rc;
}
