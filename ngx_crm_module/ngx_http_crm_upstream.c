/*
 * ngx_http_crm_upstream.c - the shop's own words: X-CRM-Event, X-CRM-Identify.
 *
 * The shop behind nginx is trusted, and may say in its answers what happened
 * and who the visitor is.  Both headers are taken out of every answer, whether
 * or not they can be read and whether or not anything is captured there, so
 * that they never reach a client.
 *
 * Who the visitor is must be known while the page is made.  An answer from
 * nginx's cache was meant for another visitor, so it identifies nobody; what
 * it says happened, happened again.  Everything else waits for the log phase,
 * where the headers are still in the request's pool: the answer is not delayed
 * by a line of parsing.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_SAID_MAX 16 /* headers of each kind in one answer */
#define NGX_HTTP_CRM_UID_MAX  64 /* bytes of a customer id */

/* Values as they came, in the pool of the main request. */
typedef struct {
    ngx_str_t  events[NGX_HTTP_CRM_SAID_MAX];
    ngx_str_t  identities[NGX_HTTP_CRM_SAID_MAX]; /* with aliases */
    ngx_uint_t nevents;
    ngx_uint_t nidentities;
} ngx_http_crm_said_t;


/* An id goes into logs, JSON, SQL parameters and pages: only plain text may. */
static ngx_uint_t
ngx_http_crm_uid_valid(tracker_str_t id)
{
    u_char *p, *end;

    if (id.len == 0 || id.len > NGX_HTTP_CRM_UID_MAX) {
        return 0;
    }

    p = (u_char *) id.data;
    end = p + id.len;

    while (p < end) {
        if (*p >= 0x80) {
            if (ngx_utf8_decode(&p, end - p) > 0x10ffff) {
                return 0;
            }
            continue;
        }

        if (*p <= 0x20 || *p == 0x7f || *p == '"' || *p == '\'' || *p == '\\'
            || *p == '<' || *p == '>')
        {
            return 0;
        }

        p++;
    }

    return 1;
}


static ngx_http_crm_said_t *
ngx_http_crm_said(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (ctx->said == NULL) {
        ctx->said = ngx_pcalloc(r->pool, sizeof(ngx_http_crm_said_t));
    }

    return ctx->said;
}


static void
ngx_http_crm_said_bad(ngx_http_request_t *r, ngx_http_crm_counter_e counter,
    const char *name, size_t len)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, counter);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
        "crm ignored a header %s of %uz bytes: it has a fault, or there are "
        "more than %d of them",
        name, len, NGX_HTTP_CRM_SAID_MAX);
}


/* The first good id of the answer is the customer. */
static ngx_int_t
ngx_http_crm_said_uid(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, tracker_str_t id)
{
    ngx_http_crm_main_conf_t *cmcf;

    if (id.len == 0 || ctx->uid.len != 0) {
        return NGX_OK;
    }

    if (!ngx_http_crm_uid_valid(id)) {
        return NGX_DECLINED;
    }

    ctx->uid.data = ngx_pnalloc(r->pool, id.len);
    if (ctx->uid.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ctx->uid.data, id.data, id.len);
    ctx->uid.len = id.len;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (cmcf->zone != NULL && ctx->has_visitor && !ngx_http_crm_dry_run(r)) {
        ngx_http_crm_zone_identify(cmcf, ctx->site, ctx->visitor.id, &ctx->uid);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_said_identity(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, ngx_str_t *value)
{
    char                 buf[TRACKER_VOICE_MAX];
    tracker_str_t        text;
    tracker_voice_t      voice;
    ngx_http_crm_said_t *said;

    text.data = (char *) value->data;
    text.len = value->len;

    if (tracker_voice_identify(text, buf, sizeof(buf), &voice) != TRACKER_OK
        || ngx_http_crm_said_uid(r, ctx, voice.name) == NGX_DECLINED)
    {
        return NGX_DECLINED;
    }

    if (voice.nprops == 0) {
        return NGX_OK;
    }

    said = ngx_http_crm_said(r, ctx);

    if (said == NULL || said->nidentities == NGX_HTTP_CRM_SAID_MAX) {
        return NGX_DECLINED;
    }

    said->identities[said->nidentities++] = *value;

    return NGX_OK;
}


/* Of an answer that is captured, or served to somebody else before. */
static ngx_uint_t
ngx_http_crm_said_cached(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)
    return r->cached;
#else
    return 0;
#endif
}


static void
ngx_http_crm_said_take(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, ngx_table_elt_t *h)
{
    ngx_http_crm_said_t *said;

    if (h->key.len == sizeof("X-CRM-Identify") - 1) {

        if (!ngx_http_crm_said_cached(r)
            && ngx_http_crm_said_identity(r, ctx, &h->value) != NGX_OK)
        {
            ngx_http_crm_said_bad(
                r, NGX_HTTP_CRM_IDENTIFY_BAD, "X-CRM-Identify", h->value.len);
        }

        return;
    }

    said = ngx_http_crm_said(r, ctx);

    if (said == NULL || said->nevents == NGX_HTTP_CRM_SAID_MAX) {
        ngx_http_crm_said_bad(
            r, NGX_HTTP_CRM_UPSTREAM_BAD, "X-CRM-Event", h->value.len);
        return;
    }

    said->events[said->nevents++] = h->value;
}


static ngx_uint_t
ngx_http_crm_said_named(ngx_table_elt_t *h)
{
    static u_char event[] = "X-CRM-Event";
    static u_char identify[] = "X-CRM-Identify";

    switch (h->key.len) {

    case sizeof(event) - 1:
        return ngx_strncasecmp(h->key.data, event, h->key.len) == 0;

    case sizeof(identify) - 1:
        return ngx_strncasecmp(h->key.data, identify, h->key.len) == 0;

    default:
        return 0;
    }
}


void
ngx_http_crm_upstream_take(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    for (part = &r->headers_out.headers.part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash == 0 || !ngx_http_crm_said_named(&h[i])) {
                continue;
            }

            h[i].hash = 0;

            if (ctx != NULL) {
                ngx_http_crm_said_take(r, ctx, &h[i]);
            }
        }
    }
}


/* ---- log phase ---------------------------------------------------------- */

static void
ngx_http_crm_said_put(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event, ngx_str_t *value)
{
    char             buf[TRACKER_VOICE_MAX];
    ngx_uint_t       identify;
    tracker_str_t    text;
    tracker_voice_t  voice;
    tracker_result_e rc;

    text.data = (char *) value->data;
    text.len = value->len;
    identify = (event->type.len == sizeof("identify") - 1);

    rc = identify ? tracker_voice_identify(text, buf, sizeof(buf), &voice)
                  : tracker_voice_event(text, buf, sizeof(buf), &voice);

    if (rc != TRACKER_OK) {
        ngx_http_crm_said_bad(
            r, NGX_HTTP_CRM_UPSTREAM_BAD, "X-CRM-Event", value->len);
        return;
    }

    if (!identify) {
        event->name = voice.name;
    }

    event->props = voice.props;
    event->nprops = voice.nprops;

    ngx_http_crm_event_put(r, ctx, cmcf, event);

    /* all of it pointed into this frame */
    event->name.len = 0;
    event->props = NULL;
    event->nprops = 0;
}


ngx_uint_t
ngx_http_crm_upstream_put(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event)
{
    ngx_uint_t           i;
    ngx_http_crm_said_t *said = ctx->said;

    if (said == NULL) {
        return 0;
    }

    ngx_http_crm_literal(&event->src, "upstream");
    event->name.len = 0;
    event->nprops = 0;
    event->nshown = 0;

    ngx_http_crm_literal(&event->type, "identify");

    for (i = 0; i < said->nidentities; i++) {
        ngx_http_crm_said_put(r, ctx, cmcf, event, &said->identities[i]);
    }

    ngx_http_crm_literal(&event->type, "track");

    for (i = 0; i < said->nevents; i++) {
        ngx_http_crm_said_put(r, ctx, cmcf, event, &said->events[i]);
    }

    return said->nevents + said->nidentities;
}
