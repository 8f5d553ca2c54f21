/*
 * ngx_http_crm_offer.c - decides slots for a visitor, and finds out who it is.
 *
 * What is known of the visitor comes from the zone.  If the zone knows nothing,
 * the running session is asked of Redis and the profile of PostgreSQL, at the
 * same time, and the request waits for both at most its budget.  The look-up is
 * an object of its own: it goes on behind when the budget is spent or the
 * client has gone, and fills the zone for the next page.
 *
 * Attributes are computed when a campaign asks for one; a set knows from its
 * compilation which function gives which.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_BLOB_BYTES   16384 /* of a packed profile */
#define NGX_HTTP_CRM_RENDER_STACK 4096  /* bytes; most contents are shorter */
#define NGX_HTTP_CRM_RENDER_MAX   (256 * 1024) /* bytes of one slot */
#define NGX_HTTP_CRM_UID_BYTES    256


typedef struct {
    ngx_http_request_t   *r;
    ngx_http_crm_ctx_t   *ctx;
    ngx_event_t           wake;  /* budget timer, or posted: go on */
    ngx_connection_t      dummy; /* what a timer's data must look like */
    personalize_request_t request;
    char                  id[TRACKER_UUID_TEXT];
    unsigned              waiting : 1;
} ngx_http_crm_offer_t;

struct ngx_http_crm_lookup_s {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_site_t      *site;
    ngx_http_crm_offer_t     *waiter;   /* NULL: nobody waits any more */
    ngx_uint_t                awaited;  /* answers still to come */
    char                     *blob;     /* packed profile */
    size_t                    blob_len; /* bytes */
    tracker_live_t            live;     /* of Redis; last_us 0: none */
    uint8_t                   vid[TRACKER_UUID_SIZE];
};


static void ngx_http_crm_offer_attr_value(
    void *data, unsigned n, personalize_value_t *value);


/* ---- look-ups ----------------------------------------------------------- */

/* Gives the waiting request what has been answered so far. */
static void
ngx_http_crm_lookup_give(ngx_http_crm_lookup_t *lookup)
{
    ngx_http_crm_ctx_t   *ctx;
    ngx_http_crm_offer_t *offer;

    offer = lookup->waiter;
    ctx = offer->ctx;
    lookup->waiter = NULL;
    ctx->lookup = NULL;

    if (ctx->live != NULL && lookup->live.last_us != 0) {
        *ctx->live = lookup->live;
    }

    if (lookup->blob_len > 0) {
        ctx->profile = ngx_pnalloc(offer->r->pool, lookup->blob_len);

        if (ctx->profile != NULL) {
            ngx_memcpy(ctx->profile, lookup->blob, lookup->blob_len);
            ctx->profile_len = lookup->blob_len;
        }
    }
}


static void
ngx_http_crm_lookup_done(ngx_http_crm_lookup_t *lookup)
{
    ngx_http_crm_offer_t *offer;

    if (--lookup->awaited > 0) {
        return;
    }

    offer = lookup->waiter;

    if (offer != NULL) {
        ngx_http_crm_lookup_give(lookup);

        /* not at once: we are deep inside the connection's event */
        ngx_post_event(&offer->wake, &ngx_posted_events);
    }

    if (lookup->blob != NULL) {
        ngx_free(lookup->blob);
    }

    ngx_free(lookup);
}


static void
ngx_http_crm_lookup_session(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lookup_t *lookup = data;

    (void) elements;
    (void) nelements;

    if (reply != NULL && reply->type == '$'
        && tracker_live_read(&lookup->live, reply->text) == TRACKER_OK)
    {
        ngx_http_crm_zone_put(
            lookup->cmcf, lookup->site, lookup->vid, &lookup->live, NULL);
    } else {
        lookup->live.last_us = 0;
    }

    ngx_http_crm_lookup_done(lookup);
}


/* A profile too large to keep counts as none, so that it is not asked again
 * with every page. */
static void
ngx_http_crm_lookup_pack(
    ngx_http_crm_lookup_t *lookup, const char *text, size_t len)
{
    ngx_str_t            profile;
    personalize_result_e rc;

    lookup->blob = ngx_alloc(NGX_HTTP_CRM_BLOB_BYTES, ngx_cycle->log);
    if (lookup->blob == NULL) {
        return;
    }

    rc = personalize_profile_pack(
        text, len, lookup->blob, NGX_HTTP_CRM_BLOB_BYTES, &lookup->blob_len);

    if (rc == PERSONALIZE_FULL) {
        ngx_http_crm_count(lookup->cmcf, NGX_HTTP_CRM_PROFILES_LARGE);
        lookup->blob_len = 0;

    } else if (rc != PERSONALIZE_OK) {
        ngx_http_crm_count(lookup->cmcf, NGX_HTTP_CRM_PG_ERRORS);
        lookup->blob_len = 0;
        return;
    }

    profile.data = (u_char *) lookup->blob;
    profile.len = lookup->blob_len;
    ngx_http_crm_zone_put(
        lookup->cmcf, lookup->site, lookup->vid, NULL, &profile);
}


static void
ngx_http_crm_lookup_profile(void *data, const char *text, size_t len)
{
    ngx_http_crm_lookup_t *lookup = data;

    if (text != NULL) {
        ngx_http_crm_lookup_pack(lookup, text, len);
    }

    ngx_http_crm_lookup_done(lookup);
}


static ngx_int_t
ngx_http_crm_lookup_ask_redis(ngx_http_crm_lookup_t *lookup)
{
    char          key[128];
    u_char       *k;
    tracker_str_t words[2];

    k = ngx_slprintf((u_char *) key,
        (u_char *) key + sizeof(key) - TRACKER_UUID_TEXT,
        "crm:s:%V:", &lookup->site->name);
    tracker_uuid_text((char *) k, lookup->vid);

    ngx_http_crm_word(words[0], "GET");
    words[1].data = key;
    words[1].len = (char *) k + TRACKER_UUID_TEXT - key;

    return ngx_http_crm_redis_words(
        lookup->cmcf, words, 2, 1, ngx_http_crm_lookup_session, lookup);
}


static ngx_int_t
ngx_http_crm_lookup_ask_pg(
    ngx_http_crm_lookup_t *lookup, ngx_http_crm_ctx_t *ctx)
{
    char        site[64], vid[TRACKER_UUID_TEXT + 1];
    char        uid[NGX_HTTP_CRM_UID_BYTES];
    const char *params[3];

    (void) ngx_cpystrn((u_char *) site, lookup->site->name.data,
        ngx_min(lookup->site->name.len + 1, sizeof(site)));
    tracker_uuid_text(vid, lookup->vid);
    vid[TRACKER_UUID_TEXT] = '\0';

    params[0] = site;
    params[1] = vid;
    params[2] = NULL;

    if (ctx->uid.len > 0 && ctx->uid.len < sizeof(uid)) {
        (void) ngx_cpystrn((u_char *) uid, ctx->uid.data, ctx->uid.len + 1);
        params[2] = uid;

    } else if (ctx->live != NULL && ctx->live->uid_len > 0
               && ctx->live->uid_len <= TRACKER_LIVE_UID_SIZE)
    {
        (void) ngx_cpystrn((u_char *) uid, (u_char *) ctx->live->uid,
            (size_t) ctx->live->uid_len + 1);
        params[2] = uid;
    }

    return ngx_http_crm_pg_call(lookup->cmcf, "visitor", params, 3,
        ngx_http_crm_lookup_profile, lookup);
}


/* Asks what the zone lacks; NULL when there is nobody to ask. */
static ngx_http_crm_lookup_t *
ngx_http_crm_lookup_start(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_ctx_t *ctx)
{
    ngx_str_t              none = ngx_null_string;
    ngx_http_crm_lookup_t *lookup;

    lookup = ngx_calloc(sizeof(ngx_http_crm_lookup_t), ngx_cycle->log);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->cmcf = cmcf;
    lookup->site = ctx->site;
    ngx_memcpy(lookup->vid, ctx->visitor.id, TRACKER_UUID_SIZE);
    lookup->awaited = 1;

    if ((ctx->live == NULL || ctx->live->last_us == 0)
        && ngx_http_crm_lookup_ask_redis(lookup) == NGX_OK)
    {
        lookup->awaited++;
    }

    if (cmcf->pg_conninfo.len == 0) {
        /* nobody ever knows a profile: the zone need not be asked again */
        ngx_http_crm_zone_put(cmcf, ctx->site, ctx->visitor.id, NULL, &none);

    } else if (ngx_http_crm_lookup_ask_pg(lookup, ctx) == NGX_OK) {
        lookup->awaited++;
    }

    if (lookup->awaited == 1) {
        ngx_free(lookup);
        return NULL;
    }

    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_LOOKUPS);
    lookup->awaited--;

    return lookup;
}


/* ---- what is known of the visitor --------------------------------------- */

static void
ngx_http_crm_offer_cleanup(void *data)
{
    ngx_http_crm_offer_t *offer = data;

    if (offer->wake.posted) {
        ngx_delete_posted_event(&offer->wake);
    }

    if (offer->wake.timer_set) {
        ngx_del_timer(&offer->wake);
    }

    if (offer->ctx->lookup != NULL) {
        offer->ctx->lookup->waiter = NULL;
        offer->ctx->lookup = NULL;
    }
}


static ngx_http_crm_offer_t *
ngx_http_crm_offer_get(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_crm_offer_t    *offer;
    ngx_http_crm_loc_conf_t *clcf;

    if (ctx->offer != NULL) {
        return ctx->offer;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_crm_offer_t));
    if (cln == NULL) {
        return NULL;
    }

    offer = cln->data;
    ngx_memzero(offer, sizeof(ngx_http_crm_offer_t));
    cln->handler = ngx_http_crm_offer_cleanup;

    offer->r = r->main;
    offer->ctx = ctx;
    offer->dummy.fd = (ngx_socket_t) -1;
    offer->dummy.data = offer;
    offer->wake.data = &offer->dummy;
    offer->wake.log = r->connection->log;

    offer->request.get = ngx_http_crm_offer_attr_value;
    offer->request.ctx = offer;
    offer->request.now_s = ngx_time();

    /* an id that the browser never gets would choose anew with each page */
    clcf = ngx_http_get_module_loc_conf(r->main, ngx_http_crm_module);

    if (ctx->has_visitor
        && !(ctx->visitor_new && clcf->capture == NGX_HTTP_CRM_CAPTURE_OFF))
    {
        tracker_uuid_text(offer->id, ctx->visitor.id);
        ctx->unit.data = offer->id;
        ctx->unit.len = TRACKER_UUID_TEXT;
        offer->request.unit = ctx->unit;
    }

    ctx->offer = offer;

    return offer;
}


static ngx_http_crm_zone_e
ngx_http_crm_offer_load(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_str_t                 profile;
    ngx_http_crm_zone_e       state;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (ctx->visitor_new || !ctx->has_visitor || !ctx->personal
        || cmcf->zone == NULL)
    {
        return NGX_HTTP_CRM_ZONE_FRESH;
    }

    if (ctx->live == NULL) {
        ctx->live = ngx_palloc(r->pool, sizeof(tracker_live_t));
        if (ctx->live == NULL) {
            return NGX_HTTP_CRM_ZONE_FRESH;
        }
    }

    state = ngx_http_crm_zone_get(
        cmcf, ctx->site, ctx->visitor.id, ctx->live, r->pool, &profile);

    ctx->profile = (char *) profile.data;
    ctx->profile_len = profile.len;

    return state;
}


/* For whoever cannot wait: what is in the zone, the rest for the next page. */
static void
ngx_http_crm_offer_load_now(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (ctx->state_loaded) {
        return;
    }

    ctx->state_loaded = 1;

    if (ngx_http_crm_offer_load(r, ctx) != NGX_HTTP_CRM_ZONE_FRESH) {
        (void) ngx_http_crm_lookup_start(
            ngx_http_get_module_main_conf(r, ngx_http_crm_module), ctx);
    }
}


/* ---- waiting ------------------------------------------------------------ */

static void
ngx_http_crm_offer_wake(ngx_event_t *ev)
{
    ngx_connection_t         *c, *dummy = ev->data;
    ngx_http_crm_offer_t     *offer = dummy->data;
    ngx_http_request_t       *r;
    ngx_http_crm_main_conf_t *cmcf;

    r = offer->r;
    c = r->connection;
    ngx_http_set_log_request(c->log, r);

    if (offer->wake.timer_set) {
        ngx_del_timer(&offer->wake);
    }

    if (offer->ctx->lookup != NULL) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_BUDGET_SPENT);
        ngx_http_crm_lookup_give(offer->ctx->lookup);
    }

    offer->waiting = 0;
    offer->ctx->state_loaded = 1;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_crm_offer_wait(ngx_http_request_t *r, ngx_http_crm_offer_t *offer,
    ngx_http_crm_lookup_t *lookup, ngx_msec_t budget)
{
    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    lookup->waiter = offer;
    offer->ctx->lookup = lookup;
    offer->waiting = 1;

    /* not cancelable: a worker that quits still answers this request */
    offer->wake.handler = ngx_http_crm_offer_wake;
    ngx_add_timer(&offer->wake, budget);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


/* 1 if this location may ask for decisions, and there is what decides. */
static ngx_uint_t
ngx_http_crm_offer_wanted(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_core_loc_conf_t *core;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return clcf->enable && clcf->collect == NGX_HTTP_CRM_COLLECT_OFF
           && (ngx_http_crm_has_slots(clcf)
               || core->handler == ngx_http_crm_decide_handler)
           && ((ctx->site->set != NULL
                   && personalize_set_campaigns(ctx->site->set) > 0)
               || (core->handler == ngx_http_crm_decide_handler
                   && cmcf->models != NULL));
}


ngx_int_t
ngx_http_crm_offer_handler(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t      *ctx;
    ngx_http_crm_zone_e      state;
    ngx_http_crm_offer_t    *offer;
    ngx_http_crm_lookup_t   *lookup;
    ngx_http_crm_loc_conf_t *clcf;

    if (r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL || ctx->state_loaded || !ngx_http_crm_offer_wanted(r, ctx)
        || ngx_http_crm_is_bot(r, ctx))
    {
        return NGX_DECLINED;
    }

    offer = ngx_http_crm_offer_get(r, ctx);
    if (offer == NULL) {
        return NGX_DECLINED;
    }

    if (offer->waiting) {
        return NGX_AGAIN;
    }

    state = ngx_http_crm_offer_load(r, ctx);

    if (state == NGX_HTTP_CRM_ZONE_FRESH) {
        ctx->state_loaded = 1;
        return NGX_DECLINED;
    }

    lookup = ngx_http_crm_lookup_start(
        ngx_http_get_module_main_conf(r, ngx_http_crm_module), ctx);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (state == NGX_HTTP_CRM_ZONE_STALE || lookup == NULL || clcf->budget == 0
        || clcf->dry_run)
    {
        ctx->state_loaded = 1;
        return NGX_DECLINED;
    }

    return ngx_http_crm_offer_wait(r, offer, lookup, clcf->budget);
}


/* ---- decisions ---------------------------------------------------------- */

static void
ngx_http_crm_offer_attr_value(
    void *data, unsigned n, personalize_value_t *value)
{
    ngx_http_crm_offer_t *offer = data;
    ngx_http_crm_ctx_t   *ctx = offer->ctx;

    personalize_str_t path;

    ngx_memzero(value, sizeof(personalize_value_t));
    path = personalize_set_attribute(ctx->set, n);

    if (!ngx_http_crm_consent_hides(ctx, path)) {
        ctx->campaigns->attrs[n](offer->r, ctx, path, value);
    }
}


/* Content in pool memory; most are short enough to be written but once. */
static ngx_int_t
ngx_http_crm_offer_render(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    const personalize_decision_t *decision,
    const personalize_request_t *request, ngx_str_t *content)
{
    char                 buf[NGX_HTTP_CRM_RENDER_STACK];
    size_t               len;
    personalize_result_e rc;

    rc = personalize_render(decision, request, buf, sizeof(buf), &len);

    if (rc != PERSONALIZE_OK && rc != PERSONALIZE_FULL) {
        return NGX_DECLINED;
    }

    if (len > NGX_HTTP_CRM_RENDER_MAX) {
        ngx_log_error(NGX_LOG_INFO, ngx_http_crm_consent_log(r, ctx), 0,
            "crm keeps a default: %uz bytes of content for one slot", len);
        return NGX_DECLINED;
    }

    content->len = len;
    content->data = ngx_pnalloc(r->pool, len + 1);
    if (content->data == NULL) {
        return NGX_ERROR;
    }

    if (rc == PERSONALIZE_OK) {
        ngx_memcpy(content->data, buf, len);
        return NGX_OK;
    }

    rc = personalize_render(
        decision, request, (char *) content->data, len, &len);

    return rc == PERSONALIZE_OK ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_crm_offer_slot(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t slot, ngx_str_t *content, tracker_shown_t *shown)
{
    ngx_int_t                 rc;
    personalize_set_t        *set;
    ngx_http_crm_offer_t     *offer;
    personalize_decision_t    decision;
    ngx_http_crm_main_conf_t *cmcf;

    r = r->main;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_DECISIONS);

    set = ngx_http_crm_set_hold(r, ctx);

    /* robots see what everybody sees, and are in no experiment */
    if (set == NULL || !personalize_slot_known(set, slot)
        || ngx_http_crm_is_bot(r, ctx))
    {
        return NGX_DECLINED;
    }

    offer = ngx_http_crm_offer_get(r, ctx);
    if (offer == NULL) {
        return NGX_ERROR;
    }

    ngx_http_crm_offer_load_now(r, ctx);

    if (personalize_decide(set, slot, &offer->request, &decision)
        != PERSONALIZE_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_http_crm_offer_render(r, ctx, &decision, &offer->request, content);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_crm_dry_run(r)) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_DRY_RUN_SLOTS);
        return NGX_DECLINED;
    }

    shown->slot.data = slot.data;
    shown->slot.len = slot.len;
    shown->campaign.data = decision.campaign.data;
    shown->campaign.len = decision.campaign.len;
    shown->variant.data = decision.variant.data;
    shown->variant.len = decision.variant.len;

    return NGX_OK;
}


void
ngx_http_crm_offer_shown(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    const tracker_shown_t *shown)
{
    if (ctx->shown == NULL) {
        ctx->shown = ngx_palloc(
            r->main->pool, TRACKER_EVENT_SLOTS_MAX * sizeof(tracker_shown_t));
    }

    if (ctx->shown != NULL && ctx->nshown < TRACKER_EVENT_SLOTS_MAX) {
        ctx->shown[ctx->nshown++] = *shown;
    }
}


/* For whoever asks beside all slots: ctx->recs, which stays empty for robots
 * and without a model. */
void
ngx_http_crm_offer_recs(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    personalize_str_t   path = {"session.recs", 12};
    personalize_value_t value;

    if (ngx_http_crm_is_bot(r, ctx) || ngx_http_crm_dry_run(r)
        || ngx_http_crm_consent_hides(ctx, path))
    {
        return;
    }

    ngx_http_crm_offer_load_now(r->main, ctx);
    ngx_http_crm_model_recs(r->main, ctx, path, &value);
}


ngx_int_t
ngx_http_crm_offer_segment(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_crm_ctx_t     *ctx;
    personalize_value_t     value;
    const personalize_str_t path = {"customer.rfm.segment", 20};

    (void) data;

    ctx = ngx_http_crm_get_ctx(r);
    ngx_memzero(&value, sizeof(personalize_value_t));

    if (ctx != NULL && !ngx_http_crm_is_bot(r, ctx)) {
        ngx_http_crm_offer_load_now(r->main, ctx);

        if (ctx->profile_len > 0) {
            personalize_profile_get(
                ctx->profile, ctx->profile_len, path, &value);
        }
    }

    if (value.type != PERSONALIZE_TEXT) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = (u_char *) value.text.data;
    v->len = value.text.len;

    return NGX_OK;
}
