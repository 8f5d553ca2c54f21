/*
 * ngx_http_crm_enrich.c - place, device, bot label and source of a session.
 *
 * None of it changes within a session, so it is found out once, kept in the
 * visitor's cell of the zone and copied into each further event.  A key over
 * address, user agent and session tells whether what is kept is still right.
 * Without a zone, or for visitors without a cookie, it is found out per event:
 * a few hundred nanoseconds.
 */

#include "ngx_http_crm_module.h"


static ngx_inline tracker_str_t
ngx_http_crm_enrich_str(const ngx_str_t *s)
{
    tracker_str_t t;

    t.data = s->len > 0 ? (const char *) s->data : NULL;
    t.len = s->len;

    return t;
}


uint32_t
ngx_http_crm_enrich_client(ngx_http_request_t *r)
{
    uint32_t         crc;
    ngx_table_elt_t *agent;

    crc = tracker_crc32c(
        0, r->connection->addr_text.data, r->connection->addr_text.len);
    agent = r->headers_in.user_agent;

    if (agent != NULL) {
        crc = tracker_crc32c(crc, agent->value.data, agent->value.len);
    }

    return crc != 0 ? crc : 1; /* 0 is an empty place */
}


static void
ngx_http_crm_enrich_key(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (ctx->enrich->key == 0) {
        ctx->enrich->key =
            ngx_http_crm_enrich_client(r) + ctx->visitor.session_started_s;
        ctx->enrich->key += ctx->enrich->key == 0;
    }
}


static void
ngx_http_crm_enrich_hints(ngx_http_request_t *r, tracker_hints_t *hints)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    ngx_memzero(hints, sizeof(tracker_hints_t));

    for (part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len < 16 || h[i].lowcase_key == NULL
                || ngx_memcmp(h[i].lowcase_key, "sec-ch-ua-", 10) != 0)
            {
                continue;
            }

            if (h[i].key.len == 16
                && ngx_memcmp(h[i].lowcase_key + 10, "mobile", 6) == 0) {
                hints->mobile = ngx_http_crm_enrich_str(&h[i].value);

            } else if (h[i].key.len == 18
                       && ngx_memcmp(h[i].lowcase_key + 10, "platform", 8) == 0)
            {
                hints->platform = ngx_http_crm_enrich_str(&h[i].value);

            } else if (h[i].key.len == 26
                       && ngx_memcmp(
                              h[i].lowcase_key + 10, "platform-version", 16)
                              == 0)
            {
                hints->platform_version = ngx_http_crm_enrich_str(&h[i].value);
            }
        }
    }
}


/* Finds everything out; reason: what its behaviour tells, or NULL. */
static void
ngx_http_crm_enrich_make(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, const char *reason)
{
    uint32_t         key;
    tracker_bot_t    bot, *label;
    tracker_str_t    agent_text;
    tracker_agent_t  agent;
    tracker_hints_t  hints;
    tracker_place_t  place;
    struct sockaddr *sa;

    agent_text.data = NULL;
    agent_text.len = 0;

    if (r->headers_in.user_agent != NULL) {
        agent_text = ngx_http_crm_enrich_str(&r->headers_in.user_agent->value);
    }

    ngx_http_crm_enrich_hints(r, &hints);
    tracker_agent_read(&agent, agent_text, &hints);

    sa = r->connection->sockaddr;
    label = NULL;

    if (ngx_http_crm_bots_find(cmcf, sa, agent_text, &bot) == NGX_OK) {
        label = &bot;

    } else if (reason != NULL) {
        ngx_memzero(&bot, sizeof(tracker_bot_t));
        bot.reason = reason;
        label = &bot;
    }

    ngx_http_crm_geo_find(cmcf, sa, &place);

    key = ctx->enrich->key;
    tracker_enrich_write(ctx->enrich, &place, &agent, label);
    ctx->enrich->key = key;
}


/* All but the text, of which nobody reads more than `len`. */
static void
ngx_http_crm_enrich_clear(tracker_enrich_t *enrich)
{
    ngx_memzero(enrich, offsetof(tracker_enrich_t, text));
}


tracker_enrich_t *
ngx_http_crm_enrich_get(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_http_crm_main_conf_t *cmcf;

    if (ctx->enrich != NULL && ctx->enrich->known) {
        return ctx->enrich;
    }

    r = r->main;

    if (ctx->enrich == NULL) {
        ctx->enrich = ngx_palloc(r->pool, sizeof(tracker_enrich_t));
        if (ctx->enrich == NULL) {
            return NULL;
        }

        ngx_http_crm_enrich_clear(ctx->enrich);
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_enrich_key(r, ctx);

    if (ctx->visitor_new || !ctx->has_visitor
        || ngx_http_crm_zone_enrich(
               cmcf, ctx->site, ctx->visitor.id, ctx->enrich)
               != NGX_OK)
    {
        ngx_http_crm_enrich_make(
            r, ctx, cmcf, ngx_http_crm_behave_known(r, ctx, cmcf));
    }

    return ctx->enrich;
}


ngx_uint_t
ngx_http_crm_is_bot(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    tracker_enrich_t *enrich;

    enrich = ngx_http_crm_enrich_get(r, ctx);

    return enrich != NULL && enrich->bot;
}


/* ---- the log phase ------------------------------------------------------ */

void
ngx_http_crm_enrich_begin(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t page, tracker_enrich_t *frame)
{
    const char *reason;

    /* mostly nobody has asked, and the caller's frame is at hand */
    if (ctx->enrich == NULL) {
        ngx_http_crm_enrich_clear(frame);
        ctx->enrich = frame;
    }

    ngx_http_crm_enrich_key(r, ctx);
    reason = page ? ngx_http_crm_behave_page(r, ctx, cmcf) : NULL;

    if (reason != NULL ? !ctx->enrich->bot
                       : (ctx->visitor_new && !ctx->enrich->known))
    {
        ngx_http_crm_enrich_make(r, ctx, cmcf, reason);
    }
}


void
ngx_http_crm_enrich_end(ngx_http_crm_ctx_t *ctx, tracker_enrich_t *frame)
{
    if (ctx->enrich == frame) {
        ctx->enrich = NULL;
    }
}


void
ngx_http_crm_enrich_event(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event)
{
    if (!ctx->enrich->known) {
        ngx_http_crm_enrich_make(
            r, ctx, cmcf, ngx_http_crm_behave_known(r, ctx, cmcf));

        if (event->vid != NULL) {
            (void) ngx_http_crm_zone_enrich(
                cmcf, ctx->site, ctx->visitor.id, ctx->enrich);
        }
    }

    event->enrich = ctx->measure || ctx->enrich->bot ? ctx->enrich : NULL;

    if (ctx->enrich->bot) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_BOT_EVENTS);
    }
}


const tracker_traffic_t *
ngx_http_crm_traffic_get(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_str_t     query;
    tracker_str_t referrer;

    if (ctx->traffic != NULL || !ctx->session_new) {
        return ctx->traffic;
    }

    r = r->main;
    ctx->traffic = ngx_palloc(r->pool, sizeof(tracker_traffic_t));
    if (ctx->traffic == NULL) {
        return NULL;
    }

    referrer.data = NULL;
    referrer.len = 0;

    if (r->headers_in.referer != NULL) {
        referrer = ngx_http_crm_enrich_str(&r->headers_in.referer->value);
    }

    ngx_http_crm_enrich_query(r, &query);
    tracker_traffic_read(ctx->traffic, ngx_http_crm_enrich_str(&query),
        referrer, ngx_http_crm_enrich_str(&r->headers_in.server));

    return ctx->traffic;
}


/* As the client sent it: an internal redirect may have another one. */
void
ngx_http_crm_enrich_query(ngx_http_request_t *r, ngx_str_t *query)
{
    u_char *mark;

    ngx_str_null(query);

    if (r->unparsed_uri.len == 0) {
        return;
    }

    mark = memchr(r->unparsed_uri.data, '?', r->unparsed_uri.len);

    if (mark != NULL) {
        query->data = mark + 1;
        query->len = r->unparsed_uri.data + r->unparsed_uri.len - query->data;
    }
}


/* ---- variables ---------------------------------------------------------- */

/* $crm_country, $crm_device, $crm_bot: the member that `data` names. */
ngx_int_t
ngx_http_crm_enrich_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    tracker_str_t       text;
    ngx_http_crm_ctx_t *ctx;
    tracker_enrich_t   *enrich;

    static const char *const names[] = {"country", "device", "name"};

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    enrich = ngx_http_crm_enrich_get(r, ctx);
    if (enrich == NULL) {
        return NGX_ERROR;
    }

    text = tracker_enrich_find(enrich, names[data]);

    if (text.len == 0 || (data == 2 && !enrich->bot)) {
        v->not_found = 1;
        return NGX_OK;
    }

    /* a copy: the log phase may write the text anew */
    v->data = ngx_pnalloc(r->pool, text.len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, text.data, text.len);
    v->len = text.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
