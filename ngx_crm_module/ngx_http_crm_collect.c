/*
 * ngx_http_crm_collect.c - takes what existing client libraries send.
 *
 * The body is read without nginx's buffering and taken apart as it arrives:
 * inflated if need be, cut into events, and given up at the first byte that
 * makes it nonsense or too large.  Events are put into the journal when the
 * body is whole, because the key and the sender's clock may stand behind them;
 * a connection that breaks before has stored nothing.
 *
 * 200 is answered when every event is in the journal, and 503 when it is full:
 * a client then sends the batch again, and the importer knows by their message
 * ids what it has already.  One bad event fails no batch: it is kept with the
 * reason.  A redirect is never answered, since clients take it for success.
 */

#include "ngx_http_crm_module.h"

#include <zlib.h>


#define NGX_HTTP_CRM_COLLECT_EVENTS  10000        /* of one request */
#define NGX_HTTP_CRM_COLLECT_CHUNK   16384        /* bytes inflated at once */
#define NGX_HTTP_CRM_COLLECT_RATIO   200          /* inflated / sent, beyond */
#define NGX_HTTP_CRM_COLLECT_FREE    (256 * 1024) /* bytes of any ratio */
#define NGX_HTTP_CRM_COLLECT_KEY_MAX 128
#define NGX_HTTP_CRM_COLLECT_TIME    64 /* bytes of a sentAt */


typedef struct {
    size_t start; /* offset in the text */
    size_t len;
} ngx_http_crm_span_t;

/* One request; lives in its pool. */
typedef struct {
    ngx_http_request_t      *request;
    ngx_http_crm_loc_conf_t *clcf;
    ngx_http_crm_ctx_t      *ctx;
    ngx_http_crm_key_t      *key; /* NULL: not known yet, or none needed */
    ngx_http_crm_path_t      path;
    ngx_http_crm_origin_e    origin;
    ngx_http_crm_buffer_t    text;  /* the body, inflated */
    size_t                   taken; /* bytes of the body as sent */
    tracker_split_t          split;
    ngx_array_t              events;       /* of ngx_http_crm_span_t */
    ngx_http_crm_span_t      sent;         /* value of sentAt */
    ngx_http_crm_span_t      name;         /* value of writeKey */
    z_stream                *zlib;         /* NULL: not compressed */
    unsigned                 inflated : 1; /* the stream has ended */
    unsigned                 whole : 1;    /* so has the object */
    unsigned                 cookie : 1;   /* ctx->visitor counts */
    unsigned                 cookie_due : 1;
} ngx_http_crm_collect_t;


static void
ngx_http_crm_collect_cleanup(void *data)
{
    ngx_http_crm_collect_t *c = data;

    if (c->zlib != NULL) {
        (void) inflateEnd(c->zlib);
    }

    ngx_http_crm_buffer_free(&c->text);
}


static void *
ngx_http_crm_collect_zalloc(void *opaque, unsigned items, unsigned size)
{
    ngx_pool_t *pool = opaque;

    return ngx_palloc(pool, (size_t) items * size);
}


static void
ngx_http_crm_collect_zfree(void *opaque, void *address)
{
    ngx_pool_t *pool = opaque;

    (void) ngx_pfree(pool, address);
}


/* NGX_DECLINED: an encoding nobody uses. */
static ngx_int_t
ngx_http_crm_collect_encoding(ngx_http_crm_collect_t *c)
{
    ngx_str_t *encoding;

    encoding = ngx_http_crm_header_in(c->request, "content-encoding");

    if (encoding == NULL || encoding->len == 0
        || (encoding->len == 8
            && ngx_strncasecmp(encoding->data, (u_char *) "identity", 8) == 0))
    {
        return NGX_OK;
    }

    if (encoding->len != 4
        || ngx_strncasecmp(encoding->data, (u_char *) "gzip", 4) != 0)
    {
        return NGX_DECLINED;
    }

    c->zlib = ngx_pcalloc(c->request->pool, sizeof(z_stream));
    if (c->zlib == NULL) {
        return NGX_ERROR;
    }

    c->zlib->zalloc = ngx_http_crm_collect_zalloc;
    c->zlib->zfree = ngx_http_crm_collect_zfree;
    c->zlib->opaque = c->request->pool;

    if (inflateInit2(c->zlib, MAX_WBITS + 16) != Z_OK) {
        c->zlib = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static tracker_str_t
ngx_http_crm_collect_text(
    ngx_http_crm_collect_t *c, const ngx_http_crm_span_t *span)
{
    tracker_str_t text;

    text.data = (const char *) c->text.data + span->start;
    text.len = span->len;

    return text;
}


static ngx_uint_t
ngx_http_crm_collect_is(
    ngx_http_crm_collect_t *c, const tracker_piece_t *piece, const char *name)
{
    return piece->key_len == ngx_strlen(name)
           && ngx_memcmp(c->text.data + piece->key, name, piece->key_len) == 0;
}


/* Cuts what has come; 0, or the status that it deserves. */
static ngx_uint_t
ngx_http_crm_collect_cut(ngx_http_crm_collect_t *c)
{
    tracker_str_t        text;
    tracker_piece_t      piece;
    tracker_result_e     rc;
    ngx_http_crm_span_t *span;

    text.data = (const char *) c->text.data;
    text.len = c->text.end;

    while ((rc = tracker_split_next(&c->split, text, &piece)) == TRACKER_OK) {

        if (piece.kind == TRACKER_PIECE_EVENT) {
            if (c->events.nelts == NGX_HTTP_CRM_COLLECT_EVENTS) {
                return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
            }

            span = ngx_array_push(&c->events);
            if (span == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

        } else if (ngx_http_crm_collect_is(c, &piece, "sentAt")) {
            span = &c->sent;

        } else if (ngx_http_crm_collect_is(c, &piece, "writeKey")) {
            span = &c->name;

        } else {
            continue;
        }

        span->start = piece.value;
        span->len = piece.len;
    }

    c->whole = rc == TRACKER_DECLINED;

    return rc == TRACKER_INVALID ? NGX_HTTP_BAD_REQUEST : 0;
}


static ngx_uint_t
ngx_http_crm_collect_inflate(
    ngx_http_crm_collect_t *c, u_char *data, size_t len)
{
    int    rc;
    size_t max, room;

    max = c->clcf->collect_max;
    c->zlib->next_in = data;
    c->zlib->avail_in = (uInt) len;

    while (!c->inflated) {
        if (c->text.end == max) {
            return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        }

        room = ngx_min(NGX_HTTP_CRM_COLLECT_CHUNK, max - c->text.end);

        if (ngx_http_crm_buffer_room(&c->text, room, max) != NGX_OK) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        c->zlib->next_out = c->text.data + c->text.end;
        c->zlib->avail_out = (uInt) room;

        rc = inflate(c->zlib, Z_NO_FLUSH);
        c->text.end += room - c->zlib->avail_out;
        c->inflated = (rc == Z_STREAM_END);

        if (rc == Z_BUF_ERROR || (rc == Z_OK && c->zlib->avail_out != 0)) {
            break; /* it wants more */
        }

        if (rc != Z_OK && rc != Z_STREAM_END) {
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    if (c->text.end > NGX_HTTP_CRM_COLLECT_FREE
        && c->text.end / NGX_HTTP_CRM_COLLECT_RATIO > c->taken)
    {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    return 0;
}


/* One piece of the body; 0, or the status that it deserves. */
static ngx_uint_t
ngx_http_crm_collect_take(ngx_http_crm_collect_t *c, u_char *data, size_t len)
{
    ngx_uint_t status;

    c->taken += len;

    if (c->taken > c->clcf->collect_max) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    if (c->zlib != NULL) {
        status = ngx_http_crm_collect_inflate(c, data, len);
        if (status != 0) {
            return status;
        }

    } else {
        if (ngx_http_crm_buffer_room(&c->text, len, c->clcf->collect_max)
            != NGX_OK) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        ngx_memcpy(c->text.data + c->text.end, data, len);
        c->text.end += len;
    }

    return ngx_http_crm_collect_cut(c);
}


/* All that nginx has read so far. */
static ngx_uint_t
ngx_http_crm_collect_bufs(ngx_http_crm_collect_t *c)
{
    ngx_buf_t          *b;
    ngx_uint_t          status;
    ngx_chain_t        *cl, *next;
    ngx_http_request_t *r;

    r = c->request;
    status = 0;

    for (cl = r->request_body->bufs; cl != NULL; cl = next) {
        next = cl->next;
        b = cl->buf;

        if (status == 0 && b->last > b->pos) {
            status = ngx_http_crm_collect_take(c, b->pos, b->last - b->pos);
        }

        b->pos = b->last;
        ngx_free_chain(r->pool, cl);
    }

    r->request_body->bufs = NULL;

    return status;
}


/* The key as the header, the body, the query or X-Write-Key has it. */
static ngx_http_crm_key_t *
ngx_http_crm_collect_key(ngx_http_crm_collect_t *c)
{
    char                text[NGX_HTTP_CRM_COLLECT_KEY_MAX];
    size_t              len;
    ngx_str_t           key, *header;
    ngx_http_request_t *r;

    r = c->request;

    if (ngx_http_auth_basic_user(r) == NGX_OK) {
        return ngx_http_crm_key_find(c->clcf, &r->headers_in.user);
    }

    if (c->name.len != 0
        && tracker_json_text(
               ngx_http_crm_collect_text(c, &c->name), text, sizeof(text), &len)
               == TRACKER_OK
        && memchr(text, '*', len) == NULL) /* Jitsu masks it */
    {
        key.data = (u_char *) text;
        key.len = len;
        return ngx_http_crm_key_find(c->clcf, &key);
    }

    if (ngx_http_arg(r, (u_char *) "writeKey", 8, &key) == NGX_OK) {
        return ngx_http_crm_key_find(c->clcf, &key);
    }

    header = ngx_http_crm_header_in(r, "x-write-key");

    return header != NULL ? ngx_http_crm_key_find(c->clcf, header) : NULL;
}


static int64_t
ngx_http_crm_collect_sent(ngx_http_crm_collect_t *c)
{
    char          text[NGX_HTTP_CRM_COLLECT_TIME];
    size_t        len;
    tracker_str_t time;

    if (c->sent.len == 0
        || tracker_json_text(
               ngx_http_crm_collect_text(c, &c->sent), text, sizeof(text), &len)
               != TRACKER_OK)
    {
        return 0;
    }

    time.data = text;
    time.len = len;

    return tracker_hit_iso(time);
}


static void
ngx_http_crm_collect_hits(ngx_http_crm_collect_t *c, ngx_http_crm_hits_t *hits)
{
    hits->request = c->request;
    hits->clcf = c->clcf;
    hits->ctx = c->ctx;
    hits->browser = c->origin != NGX_HTTP_CRM_ORIGIN_NONE;
    hits->cookie = c->cookie;
    hits->cmcf = ngx_http_get_module_main_conf(c->request, ngx_http_crm_module);
    hits->site =
        c->key != NULL && c->key->site != NULL ? c->key->site : c->clcf->site;
    hits->trusted = c->key != NULL && c->key->trusted;
    hits->snowplow = c->clcf->collect == NGX_HTTP_CRM_COLLECT_SNOWPLOW;
    hits->protocol.data = hits->snowplow ? "snowplow" : "segment";
    hits->protocol.len = ngx_strlen(hits->protocol.data);
    hits->type.data = (const char *) c->path.type.data;
    hits->type.len = c->path.type.len;
}


static ngx_int_t
ngx_http_crm_collect_ok(ngx_http_crm_collect_t *c)
{
    static const u_char gif[] =
        "GIF89a\1\0\1\0\200\0\0\0\0\0\0\0\0!\371\4\1\0\0\0\0,\0\0\0\0\1\0\1"
        "\0\0\2\2D\1\0;";
    ngx_str_t success = ngx_string("{\"success\":true}\n");
    ngx_str_t ok = ngx_string("ok");
    ngx_str_t pixel;

    c->ctx->cookie_due = c->cookie && c->cookie_due;

    if (c->clcf->collect == NGX_HTTP_CRM_COLLECT_SEGMENT) {
        return ngx_http_crm_answer(
            c->request, NGX_HTTP_OK, "application/json", &success);
    }

    if (c->path.route == NGX_HTTP_CRM_ROUTE_EVENTS) {
        return ngx_http_crm_answer(c->request, NGX_HTTP_OK, "text/plain", &ok);
    }

    pixel.data = (u_char *) gif;
    pixel.len = sizeof(gif) - 1;

    return ngx_http_crm_answer(c->request, NGX_HTTP_OK, "image/gif", &pixel);
}


/* Puts the events into the journal: NGX_OK, or NGX_BUSY. */
static ngx_int_t
ngx_http_crm_collect_store(ngx_http_crm_collect_t *c, ngx_http_crm_hits_t *hits)
{
    ngx_int_t           rc;
    ngx_uint_t          i;
    ngx_http_crm_span_t single, *span;

    span = c->events.elts;
    rc = NGX_OK;

    for (i = 0; i < c->events.nelts && rc == NGX_OK; i++) {
        rc = ngx_http_crm_hit(hits, ngx_http_crm_collect_text(c, &span[i]));
    }

    if (tracker_split_single(&c->split)) {
        single.start = c->split.object;
        single.len = c->text.end - single.start;
        rc = ngx_http_crm_hit(hits, ngx_http_crm_collect_text(c, &single));
    }

    ngx_http_crm_hits_end(hits);

    return rc;
}


static const char *
ngx_http_crm_collect_reason(ngx_uint_t status)
{
    switch (status) {
    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return "the body is larger than crm_collect_max_body";
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return "there is no room at the moment, send it again";
    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        return "out of memory";
    default:
        return "the body is not the JSON of this protocol";
    }
}


/* The body is whole. */
static ngx_int_t
ngx_http_crm_collect_end(ngx_http_crm_collect_t *c, ngx_uint_t status)
{
    ngx_int_t           rc;
    tracker_str_t       text;
    ngx_http_request_t *r;
    ngx_http_crm_hits_t hits;

    r = c->request;

    if (status == 0 && (!c->whole || (c->zlib != NULL && !c->inflated))) {
        status = NGX_HTTP_BAD_REQUEST;
    }

    if (status != 0 && status != NGX_HTTP_BAD_REQUEST) {
        return ngx_http_crm_refuse(
            r, status, ngx_http_crm_collect_reason(status));
    }

    if (c->key == NULL && c->clcf->collect == NGX_HTTP_CRM_COLLECT_SEGMENT) {
        c->key = ngx_http_crm_collect_key(c);

        if (c->key == NULL) {
            return ngx_http_crm_refuse(
                r, NGX_HTTP_UNAUTHORIZED, "the write key is unknown");
        }
    }

    ngx_memzero(&hits, sizeof(ngx_http_crm_hits_t));
    ngx_http_crm_collect_hits(c, &hits);

    if (status == NGX_HTTP_BAD_REQUEST) {
        text.data = (const char *) c->text.data;
        text.len = c->text.end;
        rc = ngx_http_crm_hit_refuse(&hits, text, "the body is not JSON");
        ngx_http_crm_hits_end(&hits);

    } else {
        hits.sent_us = ngx_http_crm_collect_sent(c);
        rc = ngx_http_crm_collect_store(c, &hits);

        if (rc == NGX_OK && hits.stored == 0 && hits.not_json > 0) {
            status = NGX_HTTP_BAD_REQUEST;
        }
    }

    if (rc != NGX_OK) {
        status = NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return status != 0 ? ngx_http_crm_refuse(
               r, status, ngx_http_crm_collect_reason(status))
                       : ngx_http_crm_collect_ok(c);
}


/* nginx has read something, or all; called again until it has. */
static void
ngx_http_crm_collect_read(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_uint_t              status;
    ngx_http_crm_ctx_t     *ctx;
    ngx_http_crm_collect_t *c;

    ctx = ngx_http_get_module_ctx(r, ngx_http_crm_module);
    c = ctx->collect;

    for (;;) {
        status = ngx_http_crm_collect_bufs(c);

        if (status != 0 || !r->reading_body) {
            ngx_http_finalize_request(r, ngx_http_crm_collect_end(c, status));
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_ERROR) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_crm_collect_read;
            return;
        }
    }
}


static ngx_int_t
ngx_http_crm_collect_body(ngx_http_crm_collect_t *c)
{
    ngx_int_t           rc;
    ngx_http_request_t *r;

    r = c->request;

    if (r->headers_in.content_length_n > (off_t) c->clcf->collect_max) {
        (void) ngx_http_discard_request_body(r);
        return ngx_http_crm_refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
            ngx_http_crm_collect_reason(NGX_HTTP_REQUEST_ENTITY_TOO_LARGE));
    }

    rc = ngx_http_crm_collect_encoding(c);

    if (rc != NGX_OK) {
        (void) ngx_http_discard_request_body(r);
        return rc == NGX_DECLINED
                   ? ngx_http_crm_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                       "use Content-Encoding gzip or none")
                   : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    tracker_split_init(&c->split,
        c->clcf->collect == NGX_HTTP_CRM_COLLECT_SEGMENT ? "batch" : "data");

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_crm_collect_read);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* GET: a settings document, or Snowplow's pixel. */
static ngx_int_t
ngx_http_crm_collect_get(ngx_http_crm_collect_t *c)
{
    ngx_int_t           rc;
    ngx_str_t           key;
    ngx_http_request_t *r;

    r = c->request;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (c->path.route == NGX_HTTP_CRM_ROUTE_SETTINGS) {
        c->key = ngx_http_crm_key_find(c->clcf, &c->path.key);
        key = c->path.key;

    } else {
        c->key = ngx_http_crm_collect_key(c);
        if (c->key != NULL) {
            key = c->key->key;
        }
    }

    if (c->key == NULL) {
        return ngx_http_crm_refuse(
            r, NGX_HTTP_UNAUTHORIZED, "the write key is unknown");
    }

    return ngx_http_crm_settings(r, &c->path, &key);
}


/* GET /i: the query is the event. */
static ngx_int_t
ngx_http_crm_collect_pixel(ngx_http_crm_collect_t *c)
{
    char               *json;
    size_t              size;
    ngx_int_t           rc;
    tracker_str_t       text;
    ngx_http_request_t *r;
    ngx_http_crm_hits_t hits;

    r = c->request;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    size = 8 * r->args.len + 64; /* escaped, and unescaped beside it */
    json = ngx_pnalloc(r->pool, size);
    if (json == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.data = (const char *) r->args.data;
    text.len = r->args.len;

    if (tracker_snowplow_query(text, json, size, &text.len) != TRACKER_OK) {
        return ngx_http_crm_refuse(
            r, NGX_HTTP_BAD_REQUEST, "the query is not that of a tracker");
    }

    text.data = json;
    ngx_memzero(&hits, sizeof(ngx_http_crm_hits_t));
    ngx_http_crm_collect_hits(c, &hits);
    rc = ngx_http_crm_hit(&hits, text);
    ngx_http_crm_hits_end(&hits);

    if (rc != NGX_OK) {
        return ngx_http_crm_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
            ngx_http_crm_collect_reason(NGX_HTTP_SERVICE_UNAVAILABLE));
    }

    return ngx_http_crm_collect_ok(c);
}


static ngx_http_crm_collect_t *
ngx_http_crm_collect_create(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_crm_collect_t *c;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_crm_collect_t));
    if (cln == NULL) {
        return NULL;
    }

    c = cln->data;
    ngx_memzero(c, sizeof(ngx_http_crm_collect_t));
    cln->handler = ngx_http_crm_collect_cleanup;

    c->request = r;
    c->clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    c->origin = ngx_http_crm_origin(r);
    ngx_http_crm_collect_path(r, c->clcf->collect, &c->path);

    if (ngx_array_init(&c->events, r->pool, 16, sizeof(ngx_http_crm_span_t))
        != NGX_OK)
    {
        return NULL;
    }

    c->ctx = ngx_http_crm_get_ctx(r);
    if (c->ctx == NULL) {
        return NULL;
    }

    c->ctx->collect = c;

    /* a browser that came without a cookie gets one on its own site, and
     * only with an answer that says stored */
    c->cookie =
        c->ctx->measure
        && (!c->ctx->visitor_new || c->origin == NGX_HTTP_CRM_ORIGIN_SAME);
    c->cookie_due = c->ctx->cookie_due;
    c->ctx->cookie_due = 0;
    c->ctx->has_visitor = c->cookie;

    return c;
}


ngx_int_t
ngx_http_crm_collect_handler(ngx_http_request_t *r)
{
    ngx_http_crm_collect_t   *c;
    ngx_http_crm_main_conf_t *cmcf;

    if (r != r->main) {
        return NGX_HTTP_NOT_FOUND;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_COLLECT_REQUESTS);

    c = ngx_http_crm_collect_create(r);
    if (c == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        return ngx_http_crm_preflight(r);
    }

    if (c->origin == NGX_HTTP_CRM_ORIGIN_FOREIGN) {
        (void) ngx_http_discard_request_body(r);
        return ngx_http_crm_refuse(r, NGX_HTTP_FORBIDDEN,
            "this origin may not send: see crm_collect_origin");
    }

    if (r->method == NGX_HTTP_POST
        && c->path.route == NGX_HTTP_CRM_ROUTE_EVENTS) {
        return ngx_http_crm_collect_body(c);
    }

    if (r->method == NGX_HTTP_GET && c->path.route == NGX_HTTP_CRM_ROUTE_PIXEL)
    {
        return ngx_http_crm_collect_pixel(c);
    }

    if (r->method == NGX_HTTP_GET
        && (c->path.route == NGX_HTTP_CRM_ROUTE_SETTINGS
            || c->path.route == NGX_HTTP_CRM_ROUTE_SOURCE))
    {
        return ngx_http_crm_collect_get(c);
    }

    (void) ngx_http_discard_request_body(r);

    return ngx_http_crm_refuse(r,
        c->path.route == NGX_HTTP_CRM_ROUTE_NONE ? NGX_HTTP_NOT_FOUND
                                                 : NGX_HTTP_NOT_ALLOWED,
        c->path.route == NGX_HTTP_CRM_ROUTE_NONE
            ? "this path is none of the protocol's"
            : "this method is none of the protocol's");
}
