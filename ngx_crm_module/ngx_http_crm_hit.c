/*
 * ngx_http_crm_hit.c - events of client libraries into the journal.
 *
 * Who a visitor is, is never taken from what a client says: a valid cookie
 * decides, and without one the id is derived from the client's own by a
 * digest, so that nobody can be somebody else by sending his id.  A userId is
 * written down with the event; that it is true is believed of trusted keys
 * only, which the mark in ctx tells the importer.
 *
 * An event that cannot be one goes the same way as a record of type "reject",
 * with the reason and its text, so that it can be read and tried again.  A
 * request may cost only so many of those: the rest is counted in one.
 */

#include "ngx_http_crm_consent.h"


#define NGX_HTTP_CRM_HIT_REJECTS 100  /* kept with their text, per request */
#define NGX_HTTP_CRM_HIT_RAW     4096 /* bytes kept of what is too large */
/* escaped six times over it still fits a record */
#define NGX_HTTP_CRM_HIT_RAW_SAFE 16384


/* Of this process: no two events of client libraries have the same time. */
static uint64_t ngx_http_crm_hit_us;


static uint64_t
ngx_http_crm_hit_now(void)
{
    uint64_t now;

    now = ngx_http_crm_now_us();
    ngx_http_crm_hit_us =
        now > ngx_http_crm_hit_us ? now : ngx_http_crm_hit_us + 1;

    return ngx_http_crm_hit_us;
}


static ngx_inline tracker_str_t
ngx_http_crm_hit_str(const ngx_str_t *s)
{
    tracker_str_t t;

    t.data = s != NULL && s->len > 0 ? (const char *) s->data : NULL;
    t.len = s != NULL ? s->len : 0;

    return t;
}


/* An address and nothing else: it goes where addresses are expected. */
static ngx_uint_t
ngx_http_crm_hit_is_address(tracker_str_t ip)
{
    size_t     i;
    u_char     c;
    ngx_uint_t marks;

    for (i = 0, marks = 0; i < ip.len; i++) {
        c = (u_char) ip.data[i];

        if (c == '.' || c == ':') {
            marks++;

        } else if (!((c >= '0' && c <= '9')
                       || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')))
        {
            return 0;
        }
    }

    return ip.len >= 2 && ip.len <= NGX_INET6_ADDRSTRLEN && marks >= 2;
}


/* What the connection says, where the client may not or did not say it. */
static void
ngx_http_crm_hit_context(ngx_http_crm_hits_t *hits, tracker_event_t *event)
{
    ngx_http_request_t *r;

    r = hits->request;

    if (!hits->trusted || !ngx_http_crm_hit_is_address(event->ip)) {
        event->ip = ngx_http_crm_hit_str(&r->connection->addr_text);
    }

    if (!hits->browser) {
        return;
    }

    if (event->ua.len == 0 && r->headers_in.user_agent != NULL) {
        event->ua = ngx_http_crm_hit_str(&r->headers_in.user_agent->value);
    }

    if (event->lang.len == 0) {
        event->lang =
            ngx_http_crm_hit_str(ngx_http_crm_header_in(r, "accept-language"));
    }
}


/* The visitor of the cookie, or one derived from the client's own name. */
static void
ngx_http_crm_hit_visitor(ngx_http_crm_hits_t *hits, tracker_hit_t *hit)
{
    tracker_str_t    text;
    tracker_event_t *event;

    event = &hit->event;

    if (hits->cookie) {
        event->vid = hits->ctx->visitor.id;
        event->sid = hits->ctx->sid;
        event->sn = hits->ctx->visitor.session_number;
        return;
    }

    if (event->anon.len != 0) {
        tracker_hit_uuid(hits->vid, event->site, "anon", event->anon);

    } else if (event->uid.len != 0) {
        tracker_hit_uuid(hits->vid, event->site, "user", event->uid);

    } else {
        return;
    }

    event->vid = hits->vid;

    if (hit->session.len != 0) {
        text.data = (const char *) hits->vid;
        text.len = TRACKER_UUID_SIZE;
        tracker_hit_uuid(hits->sid, text, "session", hit->session);
        event->sid = hits->sid;
    }
}


/* Moves the session of a visitor with a cookie, without believing a userId. */
static void
ngx_http_crm_hit_session(ngx_http_crm_hits_t *hits, tracker_event_t *event,
    char known[TRACKER_LIVE_UID_SIZE])
{
    size_t        len;
    tracker_str_t uid;

    event->seq = event->vid != NULL ? 1 : 0;

    if (!hits->cookie || hits->cmcf->zone == NULL) {
        return;
    }

    uid = event->uid;

    if (!hits->trusted) {
        event->uid.data = NULL;
        event->uid.len = 0;
    }

    len = ngx_http_crm_zone_add(hits->cmcf, hits->site, event->vid, event,
        hits->ctx->visitor.session_started_s, known, NULL);
    event->uid = uid;

    if (event->uid.len == 0 && len > 0) {
        event->uid.data = known;
        event->uid.len = len;
    }
}


static ngx_int_t
ngx_http_crm_hit_append(ngx_http_crm_hits_t *hits, tracker_hit_t *hit,
    const tracker_refusal_t *refusal)
{
    char              *data;
    size_t             n, max;
    unsigned           replaced;
    tracker_journal_t *journal;

    journal = ngx_http_crm_journal_current(hits->cmcf);

    if (journal == NULL) {
        return NGX_BUSY;
    }

    max = TRACKER_EVENT_MAX;

    if (refusal == NULL) {
        max = ngx_min(tracker_event_bound(&hit->event), TRACKER_EVENT_MAX);
    }

    if (tracker_journal_reserve(journal, max, &data) != TRACKER_OK) {
        return NGX_BUSY;
    }

    replaced = hit->replaced;

    n = refusal != NULL
            ? tracker_refusal_write(data, max, refusal)
            : tracker_event_write(data, max, &hit->event, &replaced);

    tracker_journal_commit(journal, n, ngx_http_crm_now_us());

    if (n == 0) {
        return NGX_DECLINED;
    }

    ngx_http_crm_count(hits->cmcf, NGX_HTTP_CRM_EVENTS);

    if (replaced > 0) {
        ngx_http_crm_count_by(hits->cmcf, NGX_HTTP_CRM_INVALID_TEXT, replaced);
    }

    return NGX_OK;
}


/* Time, id, site and visitor: what every record has. */
static void
ngx_http_crm_hit_frame(ngx_http_crm_hits_t *hits, tracker_hit_t *hit)
{
    uint8_t          random[10];
    tracker_event_t *event;

    event = &hit->event;
    event->rts_us = ngx_http_crm_hit_now();
    ngx_http_crm_random(random, sizeof(random));
    tracker_uuid_v7(hits->id, event->rts_us / 1000, random);

    event->id = hits->id;
    event->src.data = "client";
    event->src.len = sizeof("client") - 1;
    event->site = ngx_http_crm_hit_str(&hits->site->name);
    event->trusted = hits->trusted;

    ngx_http_crm_hit_context(hits, event);
    ngx_http_crm_hit_visitor(hits, hit);

    /* a server speaks for others: neither place, device nor consent is its */
    if (hits->browser) {
        event->enrich = ngx_http_crm_enrich_get(hits->request, hits->ctx);
        ngx_http_crm_consent_event(hits->request, hits->ctx, event);

    } else {
        ngx_http_crm_anonymize_event(hits->request, event);
    }
}


/* Takes out of the properties what crm_anonymize names. */
static ngx_int_t
ngx_http_crm_hit_hide(ngx_http_crm_hits_t *hits, tracker_hit_t *hit)
{
    size_t                          len;
    tracker_hide_t                  hide;
    const ngx_http_crm_anonymize_t *anonymize = hits->clcf->anonymize;

    if (anonymize == NULL || anonymize->nhash == 0
        || hit->event.json.data == NULL) {
        return NGX_OK;
    }

    ngx_http_crm_anonymize_names(hits->cmcf, anonymize, &hide);

    if (tracker_json_hide(&hide, hit->event.json, hit->room,
            (size_t) (hit->end - hit->room), &len)
        != TRACKER_OK)
    {
        return NGX_DECLINED;
    }

    hit->event.json.data = hit->room;
    hit->event.json.len = len;
    hit->room += len;

    return NGX_OK;
}


/* The text of an event that is refused, as far as it may be kept. */
static tracker_str_t
ngx_http_crm_hit_raw(
    ngx_http_crm_hits_t *hits, tracker_hit_t *hit, tracker_str_t text)
{
    tracker_hit_t                   copy;
    tracker_str_t                   none = {NULL, 0};
    const ngx_http_crm_anonymize_t *anonymize = hits->clcf->anonymize;

    if (hits->browser && !hits->ctx->measure) {
        return none;
    }

    if (anonymize == NULL || anonymize->nhash == 0) {
        return text;
    }

    /* what cannot be taken apart may hide anything */
    if (hit->room == NULL || text.len > TRACKER_HIT_MAX
        || tracker_json_clean(text, hit->room, (size_t) (hit->end - hit->room),
               &text.len, &hit->replaced)
               != TRACKER_OK)
    {
        return none;
    }

    copy = *hit;
    copy.event.json.data = hit->room;
    copy.event.json.len = text.len;
    copy.room += text.len;

    return ngx_http_crm_hit_hide(hits, &copy) == NGX_OK ? copy.event.json
                                                        : none;
}


static ngx_int_t
ngx_http_crm_hit_keep(ngx_http_crm_hits_t *hits, tracker_hit_t *hit,
    tracker_str_t text, const char *reason)
{
    ngx_int_t         rc;
    tracker_refusal_t refusal;

    ngx_http_crm_hit_frame(hits, hit);

    ngx_memzero(&refusal, sizeof(tracker_refusal_t));
    refusal.size = text.len;
    text = ngx_http_crm_hit_raw(hits, hit, text);
    refusal.hit = hit;
    refusal.protocol = hits->protocol;
    refusal.type = hits->type;
    refusal.reason = reason;
    refusal.raw = text;
    refusal.sent_us = hits->sent_us;

    if (text.len > TRACKER_HIT_MAX) {
        refusal.raw.len = NGX_HTTP_CRM_HIT_RAW;
    }

    rc = ngx_http_crm_hit_append(hits, hit, &refusal);

    if (rc == NGX_DECLINED) {
        refusal.raw.len = ngx_min(text.len, NGX_HTTP_CRM_HIT_RAW_SAFE);
        rc = ngx_http_crm_hit_append(hits, hit, &refusal);
    }

    return rc == NGX_BUSY ? NGX_BUSY : NGX_OK;
}


static ngx_int_t
ngx_http_crm_hit_invalid(ngx_http_crm_hits_t *hits, tracker_hit_t *hit,
    tracker_str_t text, const char *reason)
{
    ngx_http_crm_count(hits->cmcf, NGX_HTTP_CRM_COLLECT_INVALID);

    if (++hits->invalid > NGX_HTTP_CRM_HIT_REJECTS) {
        return NGX_OK;
    }

    if (hits->invalid == NGX_HTTP_CRM_HIT_REJECTS) {
        text.len = 0;
        reason = "this request had 100 invalid events or more, of which the "
                 "first 99 are kept";
    }

    return ngx_http_crm_hit_keep(hits, hit, text, reason);
}


ngx_int_t
ngx_http_crm_hit_refuse(
    ngx_http_crm_hits_t *hits, tracker_str_t text, const char *reason)
{
    tracker_hit_t hit;

    ngx_memzero(&hit, sizeof(tracker_hit_t));

    return ngx_http_crm_hit_invalid(hits, &hit, text, reason);
}


/* Snowplow has no key but an application's id, which may be one. */
static void
ngx_http_crm_hit_app(ngx_http_crm_hits_t *hits, tracker_hit_t *hit)
{
    ngx_str_t           app;
    ngx_http_crm_key_t *key;

    app.data = (u_char *) hit->app.data;
    app.len = hit->app.len;
    key = ngx_http_crm_key_find(hits->clcf, &app);

    hits->trusted = key != NULL && key->trusted;
    hits->site =
        key != NULL && key->site != NULL ? key->site : hits->clcf->site;
}


ngx_int_t
ngx_http_crm_hit(ngx_http_crm_hits_t *hits, tracker_str_t text)
{
    ngx_int_t        rc;
    tracker_hit_t    hit;
    char             known[TRACKER_LIVE_UID_SIZE];
    tracker_result_e read;

    if (hits->cmcf->hit_room == NULL) {
        hits->cmcf->hit_room = malloc(TRACKER_HIT_ROOM);
        if (hits->cmcf->hit_room == NULL) {
            return NGX_BUSY;
        }
    }

    read = hits->snowplow
               ? tracker_snowplow_read(&hit, hits->cmcf->hit_room, text)
               : tracker_segment_read(
                   &hit, hits->cmcf->hit_room, text, hits->type);

    if (hits->snowplow) {
        ngx_http_crm_hit_app(hits, &hit);
    }

    if (read != TRACKER_OK) {
        hits->not_json += read == TRACKER_DECLINED;
        return ngx_http_crm_hit_invalid(hits, &hit, text, hit.reason);
    }

    ngx_http_crm_hit_frame(hits, &hit);

    if (ngx_http_crm_hit_hide(hits, &hit) != NGX_OK) {
        return ngx_http_crm_hit_invalid(
            hits, &hit, text, "it is larger than 128 KB once written");
    }

    tracker_hit_time(&hit, hits->sent_us, hit.event.rts_us);
    ngx_http_crm_hit_session(hits, &hit.event, known);

    rc = ngx_http_crm_hit_append(hits, &hit, NULL);

    if (rc == NGX_DECLINED) {
        return ngx_http_crm_hit_invalid(
            hits, &hit, text, "it is larger than 128 KB once written");
    }

    if (rc == NGX_OK) {
        hits->stored++;
        ngx_http_crm_count(hits->cmcf, NGX_HTTP_CRM_COLLECT_EVENTS);
    }

    return rc;
}


void
ngx_http_crm_hits_end(ngx_http_crm_hits_t *hits)
{
    if (hits->stored + hits->invalid == 0) {
        return;
    }

    ngx_http_crm_export_wake(hits->cmcf);

    if (hits->cookie && !hits->ctx->visitor_new && hits->cmcf->zone != NULL) {
        ngx_http_crm_export_session(
            hits->cmcf, hits->site, hits->ctx->visitor.id);
    }
}
