/*
 * ngx_http_crm_event.c - finished request to events, in the log phase.
 *
 * An answer that is a page is one event of type "page"; the first crm_event
 * whose if= holds gives it its name and properties, each further one makes an
 * event of its own.  An answer that is no page is an event only if a crm_event
 * fits, or under "crm_capture all".
 *
 * The event is serialised straight into the journal's ring: no buffer, no
 * allocation beyond the context and no system call lie in between.  Every
 * sixteenth request is measured with the processor's time-stamp counter, so
 * that crm_status can tell what capturing costs on this very machine.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_KEY_MAX   32 /* bytes of a property's key */
#define NGX_HTTP_CRM_RID_MAX   64 /* bytes of X-Request-Id */
#define NGX_HTTP_CRM_ORDER_MS  64 /* ms told apart; a power of two */
#define NGX_HTTP_CRM_ORDER_MAX 999
/* ns; we need one or two thousand, the rest was another process's time slice */
#define NGX_HTTP_CRM_SAMPLE_MAX 50000


/* Of this process: how many requests began in a ms. */
static struct {
    uint64_t ms;
    uint32_t n;
} ngx_http_crm_order[NGX_HTTP_CRM_ORDER_MS];


static ngx_uint_t
ngx_http_crm_is_html(ngx_str_t *type)
{
    return type->len >= sizeof("text/html") - 1
           && ngx_strncasecmp(
                  type->data, (u_char *) "text/html", sizeof("text/html") - 1)
                  == 0
           && (type->len == sizeof("text/html") - 1 || type->data[9] == ';'
               || type->data[9] == ' ');
}


static ngx_table_elt_t *
ngx_http_crm_header(ngx_list_t *headers, const char *name, size_t len)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    for (part = &headers->part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len && h[i].lowcase_key != NULL
                && ngx_memcmp(h[i].lowcase_key, name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


/*
 * A redirect is on the way to a page.  A 304 has lost its type; that a browser
 * wanted a page is told by what it accepts first.
 */
ngx_uint_t
ngx_http_crm_is_page(ngx_http_request_t *r)
{
    ngx_table_elt_t *accept;

    switch (r->headers_out.status) {

    case NGX_HTTP_MOVED_PERMANENTLY:
    case NGX_HTTP_MOVED_TEMPORARILY:
    case NGX_HTTP_SEE_OTHER:
    case NGX_HTTP_TEMPORARY_REDIRECT:
    case NGX_HTTP_PERMANENT_REDIRECT:
        return 0;

    case NGX_HTTP_NOT_MODIFIED:
        if (r->headers_out.content_type.len == 0) {
            accept = ngx_http_crm_header(&r->headers_in.headers, "accept", 6);
            return accept != NULL
                   && accept->value.len >= sizeof("text/html") - 1
                   && ngx_strncmp(accept->value.data, "text/html",
                          sizeof("text/html") - 1)
                          == 0;
        }
    }

    return ngx_http_crm_is_html(&r->headers_out.content_type);
}


/*
 * When the request came in.  nginx knows the ms; within one, requests are
 * numbered as they finish, so that two of one visitor never tie.
 */
static uint64_t
ngx_http_crm_received_us(ngx_http_request_t *r)
{
    uint64_t   ms;
    ngx_uint_t i;

    ms = (uint64_t) r->start_sec * 1000 + r->start_msec;
    i = ms & (NGX_HTTP_CRM_ORDER_MS - 1);

    if (ngx_http_crm_order[i].ms != ms) {
        ngx_http_crm_order[i].ms = ms;
        ngx_http_crm_order[i].n = 0;

    } else if (ngx_http_crm_order[i].n < NGX_HTTP_CRM_ORDER_MAX) {
        ngx_http_crm_order[i].n++;
    }

    return ms * 1000 + ngx_http_crm_order[i].n;
}


static ngx_inline tracker_str_t
ngx_http_crm_str(const ngx_str_t *s)
{
    tracker_str_t t;

    t.data = s->len > 0 ? (const char *) s->data : NULL;
    t.len = s->len;

    return t;
}


static tracker_str_t
ngx_http_crm_rid(const ngx_str_t *value)
{
    size_t        i;
    u_char        c;
    tracker_str_t absent = {NULL, 0};

    if (value->len > NGX_HTTP_CRM_RID_MAX) {
        return absent;
    }

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
        {
            return absent;
        }
    }

    return ngx_http_crm_str(value);
}


/* Both headers in one pass; names are told apart by length first. */
static void
ngx_http_crm_event_headers(ngx_http_request_t *r, tracker_event_t *event)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    for (part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].lowcase_key == NULL) {
                continue;
            }

            if (h[i].key.len == 12
                && ngx_memcmp(h[i].lowcase_key, "x-request-id", 12) == 0) {
                event->rid = ngx_http_crm_rid(&h[i].value);

            } else if (h[i].key.len == 15
                       && ngx_memcmp(h[i].lowcase_key, "accept-language", 15)
                              == 0)
            {
                event->lang = ngx_http_crm_str(&h[i].value);
            }
        }
    }
}


static void
ngx_http_crm_event_request(ngx_http_request_t *r, tracker_event_t *event)
{
    u_char        *mark;
    ngx_str_t      path, query;
    ngx_time_t    *tp;
    ngx_msec_int_t ms;

    event->ip = ngx_http_crm_str(&r->connection->addr_text);

    if (r->headers_in.user_agent != NULL) {
        event->ua = ngx_http_crm_str(&r->headers_in.user_agent->value);
    }

    if (r->headers_in.referer != NULL) {
        event->ref = ngx_http_crm_str(&r->headers_in.referer->value);
    }

    ngx_http_crm_event_headers(r, event);

    path = r->unparsed_uri;
    ngx_str_null(&query);
    mark = memchr(path.data, '?', path.len);

    if (mark != NULL) {
        query.data = mark + 1;
        query.len = path.data + path.len - query.data;
        path.len = mark - path.data;
    }

    event->method = ngx_http_crm_str(&r->method_name);
    event->host = ngx_http_crm_str(&r->headers_in.server);
    event->path = ngx_http_crm_str(&path);
    event->query = ngx_http_crm_str(&query);
    event->status = r->err_status ? r->err_status : r->headers_out.status;
    event->bytes = r->connection->sent;

    tp = ngx_timeofday();
    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + ((ngx_msec_int_t) tp->msec
                               - (ngx_msec_int_t) r->start_msec));
    event->duration_ms = ms > 0 ? (uint32_t) ms : 0;
}


/* Evaluates name and properties; NGX_DECLINED: its if= says no. */
static ngx_int_t
ngx_http_crm_event_named(ngx_http_request_t *r, ngx_http_crm_event_conf_t *conf,
    tracker_event_t *event, tracker_prop_t *props)
{
    ngx_str_t                 value;
    ngx_uint_t                i;
    ngx_http_crm_prop_conf_t *prop;

    if (conf->filter != NULL) {
        if (ngx_http_complex_value(r, conf->filter, &value) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (value.len == 0 || (value.len == 1 && value.data[0] == '0')) {
            return NGX_DECLINED;
        }
    }

    if (ngx_http_complex_value(r, &conf->name, &value) != NGX_OK) {
        return NGX_DECLINED;
    }

    event->name = ngx_http_crm_str(&value);
    event->props = props;
    event->nprops = 0;
    prop = conf->props.elts;

    for (i = 0; i < conf->props.nelts; i++) {

        if (ngx_http_complex_value(r, &prop[i].value, &value) != NGX_OK
            || value.len == 0)
        {
            continue;
        }

        props[event->nprops].key = ngx_http_crm_str(&prop[i].key);
        props[event->nprops].value = ngx_http_crm_str(&value);
        event->nprops++;
    }

    return NGX_OK;
}


/* Into the ring; what does not fit is counted, and the page is long gone. */
static void
ngx_http_crm_event_append(
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event)
{
    char              *data;
    size_t             n, max;
    unsigned           replaced;
    tracker_journal_t *journal;

    journal = ngx_http_crm_journal_current(cmcf);

    if (journal == NULL) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SHED);
        return;
    }

    /* the bound takes each byte as escaped, which few are: long texts that
     * pass it may fit all the same */
    max = ngx_min(tracker_event_bound(event), TRACKER_EVENT_MAX);
    n = 0;
    replaced = 0;

    if (tracker_journal_reserve(journal, max, &data) == TRACKER_OK) {
        n = tracker_event_write(data, max, event, &replaced);
        tracker_journal_commit(journal, n, ngx_http_crm_now_us());
    }

    if (n == 0) {
        tracker_journal_shed(journal);
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SHED);
        return;
    }

    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_EVENTS);

    if (replaced > 0) {
        ngx_http_crm_count_by(cmcf, NGX_HTTP_CRM_INVALID_TEXT, replaced);
    }
}


/* As much work as in earnest, and then the event is thrown away. */
static void
ngx_http_crm_event_dry_run(ngx_http_request_t *r,
    ngx_http_crm_main_conf_t *cmcf, const tracker_event_t *event)
{
    char    *data;
    size_t   max;
    unsigned replaced;

    max = ngx_min(tracker_event_bound(event), TRACKER_EVENT_MAX);
    data = ngx_pnalloc(r->pool, max);
    replaced = 0;

    if (data != NULL && tracker_event_write(data, max, event, &replaced) > 0) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_DRY_RUN_EVENTS);
    }
}


/* Moves the session kept for the visitor and takes over what it knows. */
static void
ngx_http_crm_event_session(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_ctx_t *ctx, tracker_event_t *event,
    char uid[TRACKER_LIVE_UID_SIZE])
{
    size_t len;

    event->seq = event->vid != NULL ? 1 : 0;

    if (event->vid == NULL || cmcf->zone == NULL) {
        return;
    }

    /* a robot that never brings its cookie back would fill the zone */
    if (ctx->visitor_new && ctx->enrich->bot) {
        return;
    }

    len = ngx_http_crm_zone_add(cmcf, ctx->site, ctx->visitor.id, event,
        ctx->visitor.session_started_s, uid, ctx->enrich);

    if (event->uid.len == 0 && len > 0) {
        event->uid.data = uid;
        event->uid.len = len;
    }
}


void
ngx_http_crm_event_put(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event)
{
    char    uid[TRACKER_LIVE_UID_SIZE];
    uint8_t id[TRACKER_UUID_SIZE], random[10];

    event->rts_us = ngx_http_crm_received_us(r);
    ngx_http_crm_random(random, sizeof(random));
    tracker_uuid_v7(id, event->rts_us / 1000, random);
    event->id = id;
    event->uid = ngx_http_crm_str(&ctx->uid);

    ngx_http_crm_consent_event(r, ctx, event);

    if (ngx_http_crm_dry_run(r)) {
        event->seq = event->vid != NULL ? 1 : 0;
        ngx_http_crm_enrich_event(r, ctx, cmcf, event);
        ngx_http_crm_event_dry_run(r, cmcf, event);

    } else {
        ngx_http_crm_event_session(cmcf, ctx, event, uid);
        ngx_http_crm_enrich_event(r, ctx, cmcf, event);
        ngx_http_crm_event_append(cmcf, event);
    }

    event->traffic = NULL; /* of the first event only */

    /* both pointed into this frame */
    event->id = NULL;
    event->uid.data = NULL;
    event->uid.len = 0;
}


/* Who allows what is proved once, when the cookie that says so went out. */
static void
ngx_http_crm_event_consent(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf)
{
    uint8_t         id[TRACKER_UUID_SIZE], random[10];
    tracker_prop_t  prop;
    tracker_event_t event;

    ngx_http_crm_consent_record(r, ctx, &event, &prop);

    event.rts_us = ngx_http_crm_received_us(r);
    ngx_http_crm_random(random, sizeof(random));
    tracker_uuid_v7(id, event.rts_us / 1000, random);
    event.id = id;

    ngx_http_crm_event_append(cmcf, &event);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_CONSENTS);
    ngx_http_crm_export_wake(cmcf);

    if (!ctx->measure) {
        ngx_http_crm_zone_forget(cmcf, ctx->site, ctx->visitor.id);
    }

    if (!ctx->measure || !ctx->personal) {
        ngx_http_crm_export_forget(cmcf, ctx->site, ctx->visitor.id);
    }
}


/* The page or what crm_event makes of the answer, and further events. */
static void
ngx_http_crm_event_all(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_loc_conf_t *clcf,
    ngx_uint_t page)
{
    ngx_uint_t                 i, n, put;
    tracker_prop_t             props[TRACKER_EVENT_PROPS_MAX];
    tracker_event_t            event;
    tracker_enrich_t           enrich;
    ngx_http_crm_event_conf_t *conf;

    ngx_memzero(&event, sizeof(tracker_event_t));
    ngx_http_crm_event_request(r, &event);

    event.site = ngx_http_crm_str(&clcf->site->name);
    ngx_http_crm_literal(&event.src, "origin");

    if (ctx->has_visitor && (!ctx->visitor_new || ctx->cookie_sent)) {
        event.vid = ctx->visitor.id;
        event.sid = ctx->sid;
        event.sn = ctx->visitor.session_number;
    }

    ngx_http_crm_slot_abort(r, ctx);
    event.shown = ctx->shown;
    event.nshown = ctx->nshown;
    event.traffic = ngx_http_crm_traffic_get(r, ctx);
    ngx_http_crm_enrich_begin(r, ctx, cmcf, page, &enrich);

    if (page) {
        ngx_http_crm_literal(&event.type, "page");
    } else {
        ngx_http_crm_literal(&event.type, "track");
    }

    conf = clcf->events != NULL ? clcf->events->elts : NULL;
    n = clcf->events != NULL ? clcf->events->nelts : 0;
    put = 0;

    for (i = 0; i < n; i++) {
        if (ngx_http_crm_event_named(r, &conf[i], &event, props) != NGX_OK) {
            continue;
        }

        ngx_http_crm_event_put(r, ctx, cmcf, &event);
        put = 1;

        /* what follows happened as well, but was neither page nor shown */
        ngx_http_crm_literal(&event.type, "track");
        event.nshown = 0;
    }

    if (!put
        && (page || clcf->capture == NGX_HTTP_CRM_CAPTURE_ALL
            || (ctx->uid.len != 0
                && clcf->capture != NGX_HTTP_CRM_CAPTURE_OFF)))
    {
        event.name.len = 0;
        event.nprops = 0;
        ngx_http_crm_event_put(r, ctx, cmcf, &event);
        put = 1;
    }

    put += ngx_http_crm_upstream_put(r, ctx, cmcf, &event);

    if (clcf->dry_run) {
        put = 0;

    } else if (ctx->consent_new && ctx->cookie_sent) {
        ngx_http_crm_event_consent(r, ctx, cmcf);
    }

    if (put) {
        ngx_http_crm_export_wake(cmcf);
    }

    /* robots, visitors who never brought a cookie back and those who are not to
     * be personalized are not worth a key in Redis */
    if (put && event.vid != NULL && !ctx->visitor_new && ctx->personal
        && !ctx->enrich->bot && cmcf->zone != NULL)
    {
        ngx_http_crm_export_session(cmcf, ctx->site, ctx->visitor.id);
    }

    ngx_http_crm_enrich_end(ctx, &enrich);
}


ngx_int_t
ngx_http_crm_log_handler(ngx_http_request_t *r)
{
    uint64_t                  start, ns;
    ngx_uint_t                page;
    ngx_http_crm_ctx_t       *ctx;
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_crm_main_conf_t *cmcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    /* no header: nobody was answered (444, 499); no URI: nothing was asked */
    if (!clcf->enable || clcf->collect != NGX_HTTP_CRM_COLLECT_OFF
        || r != r->main || !r->header_sent || r->unparsed_uri.len == 0)
    {
        return NGX_OK;
    }

    page = clcf->capture != NGX_HTTP_CRM_CAPTURE_OFF && ngx_http_crm_is_page(r);

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (!page) {
        ngx_http_crm_behave_asset(r, cmcf);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_crm_module);

    /* a log-in, or a word of the shop, with a redirect counts as well */
    if (!page && clcf->events == NULL
        && clcf->capture != NGX_HTTP_CRM_CAPTURE_ALL
        && (ctx == NULL || (ctx->uid.len == 0 && ctx->said == NULL)))
    {
        return NGX_OK;
    }

    ctx = ngx_http_crm_get_ctx(r);
    if (ctx == NULL) {
        return NGX_OK;
    }

    start = ctx->sampled ? ngx_http_crm_ticks() : 0;

    ngx_http_crm_event_all(r, ctx, cmcf, clcf, page);

    if (ctx->sampled) {
        ns = ngx_http_crm_ticks_ns(ctx->ns + (ngx_http_crm_ticks() - start));

        if (ns != 0 && ns <= NGX_HTTP_CRM_SAMPLE_MAX) {
            ngx_http_crm_count_by(cmcf, NGX_HTTP_CRM_NS, ns);
            ngx_http_crm_count(cmcf, NGX_HTTP_CRM_NS_SAMPLES);
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_crm_key_valid(const u_char *key, size_t len)
{
    size_t i;

    if (len == 0 || len > NGX_HTTP_CRM_KEY_MAX
        || (key[0] >= '0' && key[0] <= '9')) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((key[i] >= 'a' && key[i] <= 'z')
                || (key[i] >= 'A' && key[i] <= 'Z')
                || (key[i] >= '0' && key[i] <= '9') || key[i] == '_'))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_crm_complex(
    ngx_conf_t *cf, ngx_str_t *text, ngx_http_complex_value_t *value)
{
    ngx_http_compile_complex_value_t ccv;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = value;

    return ngx_http_compile_complex_value(&ccv);
}


/* Reads "key=value" or "if=value"; DECLINED: it is neither. */
static ngx_int_t
ngx_http_crm_event_argument(
    ngx_conf_t *cf, ngx_http_crm_event_conf_t *event, ngx_str_t *arg)
{
    size_t                    i, len;
    u_char                   *eq;
    ngx_str_t                 value;
    ngx_http_crm_prop_conf_t *prop;

    eq = ngx_strlchr(arg->data, arg->data + arg->len, '=');
    len = eq != NULL ? (size_t) (eq - arg->data) : 0;

    if (!ngx_http_crm_key_valid(arg->data, len)) {
        return NGX_DECLINED;
    }

    value.data = eq + 1;
    value.len = arg->len - len - 1;

    if (len == 2 && ngx_strncmp(arg->data, "if", 2) == 0) {
        if (event->filter != NULL) {
            return NGX_DECLINED;
        }

        event->filter = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
        if (event->filter == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_crm_complex(cf, &value, event->filter);
    }

    prop = event->props.elts;

    for (i = 0; i < event->props.nelts; i++) {
        if (prop[i].key.len == len
            && ngx_strncmp(prop[i].key.data, arg->data, len) == 0)
        {
            return NGX_DECLINED;
        }
    }

    if (event->props.nelts == TRACKER_EVENT_PROPS_MAX) {
        return NGX_DECLINED;
    }

    prop = ngx_array_push(&event->props);
    if (prop == NULL) {
        return NGX_ERROR;
    }

    prop->key.data = arg->data;
    prop->key.len = len;

    return ngx_http_crm_complex(cf, &value, &prop->value);
}


char *
ngx_http_crm_event_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t                  rc;
    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_crm_event_conf_t *event;

    if (clcf->events == NGX_CONF_UNSET_PTR) {
        clcf->events =
            ngx_array_create(cf->pool, 2, sizeof(ngx_http_crm_event_conf_t));
        if (clcf->events == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid name \"\" in \"crm_event\": name the event, for example "
            "\"Product Viewed\"");
        return NGX_CONF_ERROR;
    }

    event = ngx_array_push(clcf->events);
    if (event == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(event, sizeof(ngx_http_crm_event_conf_t));

    if (ngx_array_init(
            &event->props, cf->pool, 4, sizeof(ngx_http_crm_prop_conf_t))
            != NGX_OK
        || ngx_http_crm_complex(cf, &value[1], &event->name) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_crm_event_argument(cf, event, &value[i]);

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_event\": use KEY=VALUE, at "
                "most %d different keys of letters, digits and \"_\", and at "
                "most one if=VALUE, for example product_id=$arg_id",
                &value[i], TRACKER_EVENT_PROPS_MAX);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
