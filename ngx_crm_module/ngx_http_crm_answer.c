/*
 * ngx_http_crm_answer.c - what crm_collect answers, also to other origins.
 *
 * A browser hides an answer that does not name its page's origin, and takes a
 * hidden one for a failure: the library sends again for ever what we stored
 * long ago.  So every answer, refusals too, carries the same headers, and a
 * page of an origin that is not allowed is refused before anything is stored.
 * The origin is echoed and never "*", which would not do with credentials.
 *
 * Answers say no-store: they may carry the visitor's cookie.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_ALLOW_MAX 1024 /* bytes echoed of the headers asked for */
#define NGX_HTTP_CRM_RETRY     "5"  /* s, Retry-After of a 503 */


ngx_str_t *
ngx_http_crm_header_in(ngx_http_request_t *r, const char *name)
{
    size_t           len;
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len && h[i].lowcase_key != NULL
                && ngx_memcmp(h[i].lowcase_key, name, len) == 0)
            {
                return &h[i].value;
            }
        }
    }

    return NULL;
}


/* 1 if the origin is that of this very server, as the request names it. */
static ngx_uint_t
ngx_http_crm_origin_same(ngx_http_request_t *r, const ngx_str_t *origin)
{
    size_t     skip;
    ngx_str_t *host;

    if (r->headers_in.host == NULL) {
        return 0;
    }

    host = &r->headers_in.host->value;
    skip = 0;

    if (origin->len > 8 && ngx_strncmp(origin->data, "https://", 8) == 0) {
        skip = 8;

    } else if (origin->len > 7 && ngx_strncmp(origin->data, "http://", 7) == 0)
    {
        skip = 7;
    }

    return skip != 0 && origin->len - skip == host->len
           && ngx_strncasecmp(origin->data + skip, host->data, host->len) == 0;
}


ngx_http_crm_origin_e
ngx_http_crm_origin(ngx_http_request_t *r)
{
    ngx_str_t               *origin, *site, *allowed;
    ngx_uint_t               i;
    ngx_http_crm_loc_conf_t *clcf;

    origin = ngx_http_crm_header_in(r, "origin");

    if (origin == NULL) {
        site = ngx_http_crm_header_in(r, "sec-fetch-site");

        return site != NULL && site->len == 11
                       && ngx_strncmp(site->data, "same-origin", 11) == 0
                   ? NGX_HTTP_CRM_ORIGIN_SAME
                   : NGX_HTTP_CRM_ORIGIN_NONE;
    }

    if (ngx_http_crm_origin_same(r, origin)) {
        return NGX_HTTP_CRM_ORIGIN_SAME;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    allowed = clcf->origins != NULL ? clcf->origins->elts : NULL;

    for (i = 0; clcf->origins != NULL && i < clcf->origins->nelts; i++) {
        if (ngx_strcmp(allowed[i].data, "any") == 0
            || (allowed[i].len == origin->len
                && ngx_strncasecmp(allowed[i].data, origin->data, origin->len)
                       == 0))
        {
            return NGX_HTTP_CRM_ORIGIN_ALLOWED;
        }
    }

    return NGX_HTTP_CRM_ORIGIN_FOREIGN;
}


static ngx_int_t
ngx_http_crm_header_out(
    ngx_http_request_t *r, const char *name, const ngx_str_t *value)
{
    ngx_table_elt_t *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    h->lowcase_key = NULL;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_header_text(
    ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_str_t s;

    s.data = (u_char *) value;
    s.len = ngx_strlen(value);

    return ngx_http_crm_header_out(r, name, &s);
}


/* What a browser wants to see on every answer to another origin. */
static ngx_int_t
ngx_http_crm_cross(ngx_http_request_t *r)
{
    ngx_int_t rc;

    if (ngx_http_crm_origin(r) != NGX_HTTP_CRM_ORIGIN_ALLOWED) {
        return NGX_OK;
    }

    rc = ngx_http_crm_header_out(
        r, "Access-Control-Allow-Origin", ngx_http_crm_header_in(r, "origin"));
    rc |=
        ngx_http_crm_header_text(r, "Access-Control-Allow-Credentials", "true");
    rc |= ngx_http_crm_header_text(
        r, "Access-Control-Expose-Headers", "Retry-After");
    rc |= ngx_http_crm_header_text(r, "Vary", "Origin");

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


/* Names of headers and commas only: they go into a header of ours. */
static ngx_uint_t
ngx_http_crm_names_valid(const ngx_str_t *names)
{
    size_t i;
    u_char c;

    for (i = 0; i < names->len; i++) {
        c = names->data[i] | 0x20;

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
                || c == ',' || c == ' ' || names->data[i] == '_'))
        {
            return 0;
        }
    }

    return names->len > 0 && names->len <= NGX_HTTP_CRM_ALLOW_MAX;
}


ngx_int_t
ngx_http_crm_preflight(ngx_http_request_t *r)
{
    ngx_int_t  rc;
    ngx_str_t *names;

    if (ngx_http_crm_origin(r) == NGX_HTTP_CRM_ORIGIN_FOREIGN) {
        return ngx_http_crm_refuse(r, NGX_HTTP_FORBIDDEN,
            "this origin may not send: see crm_collect_origin");
    }

    rc = ngx_http_crm_cross(r);
    rc |= ngx_http_crm_header_text(
        r, "Access-Control-Allow-Methods", "POST, GET, OPTIONS");
    rc |= ngx_http_crm_header_text(r, "Access-Control-Max-Age", "7200");

    /* a later release of a library may need one more: echo what it asks for */
    names = ngx_http_crm_header_in(r, "access-control-request-headers");

    if (names != NULL && ngx_http_crm_names_valid(names)) {
        rc |= ngx_http_crm_header_out(r, "Access-Control-Allow-Headers", names);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


static void
ngx_http_crm_answer_count(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_http_crm_counter_e    counter;
    ngx_http_crm_main_conf_t *cmcf;

    switch (status) {
    case NGX_HTTP_OK:
        return;
    case NGX_HTTP_UNAUTHORIZED:
        counter = NGX_HTTP_CRM_COLLECT_UNKNOWN_KEY;
        break;
    case NGX_HTTP_FORBIDDEN:
        counter = NGX_HTTP_CRM_COLLECT_FORBIDDEN;
        break;
    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        counter = NGX_HTTP_CRM_COLLECT_TOO_LARGE;
        break;
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        counter = NGX_HTTP_CRM_COLLECT_FULL;
        break;
    default:
        counter = NGX_HTTP_CRM_COLLECT_BAD_REQUEST;
        break;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, counter);
}


ngx_int_t
ngx_http_crm_answer(ngx_http_request_t *r, ngx_uint_t status, const char *type,
    const ngx_str_t *body)
{
    ngx_int_t   rc;
    ngx_buf_t  *b;
    ngx_chain_t out;

    ngx_http_crm_answer_count(r, status);

    if (ngx_http_crm_cross(r) != NGX_OK
        || ngx_http_crm_cache_control(r, "no-store") != NGX_OK
        || (status == NGX_HTTP_SERVICE_UNAVAILABLE
            && ngx_http_crm_header_text(r, "Retry-After", NGX_HTTP_CRM_RETRY)
                   != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = (off_t) body->len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_crm_refuse(
    ngx_http_request_t *r, ngx_uint_t status, const char *reason)
{
    u_char   *p;
    ngx_str_t body;

    body.data = ngx_pnalloc(r->pool, 64 + ngx_strlen(reason));
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
        "crm answered a client library with %ui: %s", status, reason);

    p = ngx_sprintf(
        body.data, "{\"success\":false,\"error\":\"%s\"}\n", reason);
    body.len = p - body.data;

    return ngx_http_crm_answer(r, status, "application/json", &body);
}


static char *
ngx_http_crm_settings_put(char *p, const char *text)
{
    return (char *) ngx_cpymem(p, text, ngx_strlen(text));
}


ngx_int_t
ngx_http_crm_settings(ngx_http_request_t *r, const ngx_http_crm_path_t *path,
    const ngx_str_t *key)
{
    char         *p, *end;
    u_char       *host;
    size_t        size;
    ngx_str_t     body, name;
    tracker_str_t text;

    ngx_str_null(&name);

    if (r->headers_in.host != NULL) {
        name = r->headers_in.host->value;
    }

    /* each text may be escaped, and a UTF-8 replacement is three bytes */
    size = 512 + 12 * key->len + 6 * (name.len + path->prefix.len + 4);
    body.data = ngx_pnalloc(r->pool, size);
    host = ngx_pnalloc(r->pool, name.len + path->prefix.len + 4);
    if (body.data == NULL || host == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = (char *) body.data;
    end = p + size;
    text.data = (char *) key->data;
    text.len = key->len;

    if (path->route == NGX_HTTP_CRM_ROUTE_SETTINGS) {
        p = ngx_http_crm_settings_put(
            p, "{\"integrations\":{\"Segment.io\":{\"apiKey\":");
        p = tracker_json_string(p, end, text, NULL);
        p = ngx_http_crm_settings_put(p, ",\"apiHost\":");
        text.data = (char *) host;
        text.len = ngx_sprintf(host, "%V%V/v1", &name, &path->prefix) - host;
        p = tracker_json_string(p, end, text, NULL);
        p = ngx_http_crm_settings_put(p, ",\"protocol\":");
#if (NGX_HTTP_SSL)
        p = ngx_http_crm_settings_put(
            p, r->connection->ssl != NULL ? "\"https\"" : "\"http\"");
#else
        p = ngx_http_crm_settings_put(p, "\"http\"");
#endif
        p = ngx_http_crm_settings_put(p, "}},\"plan\":{},\"edgeFunction\":{}}");

    } else {
        p = ngx_http_crm_settings_put(
            p, "{\"source\":{\"id\":\"crm\",\"name\":\"crm\",\"writeKey\":");
        p = tracker_json_string(p, end, text, NULL);
        p = ngx_http_crm_settings_put(p,
            ",\"enabled\":true,\"config\":{},\"connections\":[],"
            "\"destinations\":[],\"workspaceId\":\"crm\",\"dataplanes\":{}},"
            "\"updatedAt\":\"2026-01-01T00:00:00.000Z\"}");
    }

    body.len = (u_char *) p - body.data;

    return ngx_http_crm_answer(r, NGX_HTTP_OK, "application/json", &body);
}
