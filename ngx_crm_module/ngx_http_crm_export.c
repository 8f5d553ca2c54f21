/*
 * ngx_http_crm_export.c - when journals, sessions and positions meet Redis.
 *
 * Every 10 ms, while there is anything to do, the lanes (ngx_http_crm_lane.c)
 * are given their turn.  Once a second the durable positions that the importer
 * told Redis are fetched for all journals, held by this worker or by nobody.
 *
 * Sessions are written once per visitor and tenth of a second, at most 1024
 * of them: they are a convenience that the next event renews, and Redis is not
 * to pay more for them than for the events.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_FLUSH_MS      10
#define NGX_HTTP_CRM_TICK_MS       1000
#define NGX_HTTP_CRM_SESSIONS_MS   100
#define NGX_HTTP_CRM_SESSIONS      1024
#define NGX_HTTP_CRM_SESSION_TABLE 2048 /* a power of two, twice as many */
#define NGX_HTTP_CRM_ERROR_LOG     60   /* s between two lines */
#define NGX_HTTP_CRM_SESSION_KEY   128  /* bytes: site <= 32 */
#define NGX_HTTP_CRM_WORDS         96   /* of HMGET: 32 held, 64 waiting */


typedef struct {
    ngx_http_crm_site_t *site;
    uint8_t              vid[TRACKER_UUID_SIZE];
} ngx_http_crm_session_t;


struct ngx_http_crm_export_s {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_lane_t       lanes[NGX_HTTP_CRM_JOURNALS_MAX];
    tracker_str_t             batch[NGX_HTTP_CRM_BATCH_EVENTS];

    ngx_http_crm_session_t sessions[NGX_HTTP_CRM_SESSIONS];
    uint16_t               table[NGX_HTTP_CRM_SESSION_TABLE]; /* from 1 */
    ngx_uint_t             nsessions;
    ngx_msec_t             sessions_sent;

    /* producers in the order of the HMGET under way */
    char       asked[NGX_HTTP_CRM_WORDS][TRACKER_PRODUCER_TEXT];
    ngx_uint_t nasked; /* 0: none under way */

    ngx_event_t      flush;
    ngx_event_t      tick;
    ngx_connection_t dummy; /* timers log the fd of their data */
    ngx_uint_t       generation;
    time_t           logged;
    unsigned         exiting : 1;
};


void
ngx_http_crm_export_refused(ngx_http_crm_main_conf_t *cmcf, const char *what,
    const tracker_reply_t *reply)
{
    ngx_http_crm_export_t *drain;

    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_REDIS_ERRORS);
    drain = cmcf->drain;

    if (drain == NULL || ngx_time() - drain->logged < NGX_HTTP_CRM_ERROR_LOG) {
        return;
    }

    drain->logged = ngx_time();

    if (reply->type == '-') {
        ngx_log_error(NGX_LOG_ERR, cmcf->log, 0,
            "crm redis %V refused %s: \"%*s\", events stay in the journal",
            &cmcf->redis_name, what, ngx_min(reply->text.len, 128),
            reply->text.data);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, cmcf->log, 0,
        "crm redis %V answered %s with nonsense, events stay in the journal",
        &cmcf->redis_name, what);
}


uint64_t
ngx_http_crm_export_sequence(tracker_str_t text)
{
    size_t   i;
    uint64_t n;

    n = 0;

    for (i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
    {
        if (i == 19) {
            return 0;
        }

        n = n * 10 + (uint64_t) (text.data[i] - '0');
    }

    return n;
}


/* ---- sessions ---- */

static void
ngx_http_crm_session_done(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_export_t *drain = data;

    (void) elements;
    (void) nelements;

    if (reply == NULL || reply->type == '+') {
        return;
    }

    ngx_http_crm_count(drain->cmcf, NGX_HTTP_CRM_SESSIONS_UNSENT);
    ngx_http_crm_export_refused(drain->cmcf, "SET", reply);
}


static void
ngx_http_crm_session_deleted(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_export_t *drain = data;

    (void) elements;
    (void) nelements;

    if (reply != NULL && reply->type != ':') {
        ngx_http_crm_export_refused(drain->cmcf, "DEL", reply);
    }
}


/* "crm:s:<site>:<vid>"; key has room for NGX_HTTP_CRM_SESSION_KEY bytes. */
static tracker_str_t
ngx_http_crm_session_key(
    char *key, ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    u_char       *p;
    tracker_str_t text;

    p = ngx_snprintf((u_char *) key,
        NGX_HTTP_CRM_SESSION_KEY - TRACKER_UUID_TEXT, "crm:s:%V:", &site->name);
    tracker_uuid_text((char *) p, vid);

    text.data = key;
    text.len = (char *) p + TRACKER_UUID_TEXT - key;

    return text;
}


static ngx_int_t
ngx_http_crm_session_send(
    ngx_http_crm_export_t *drain, ngx_http_crm_session_t *session)
{
    char           json[TRACKER_LIVE_JSON_MAX];
    char           key[NGX_HTTP_CRM_SESSION_KEY];
    u_char         seconds[NGX_TIME_T_LEN];
    tracker_str_t  words[5];
    tracker_live_t live;

    if (ngx_http_crm_zone_live(drain->cmcf, session->site, session->vid, &live)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_crm_word(words[0], "SET");
    words[1] = ngx_http_crm_session_key(key, session->site, session->vid);
    words[2].data = json;
    words[2].len = tracker_live_write(json, sizeof(json), &live);
    ngx_http_crm_word(words[3], "EX");
    words[4].data = (char *) seconds;
    words[4].len =
        ngx_sprintf(seconds, "%T", session->site->session_timeout) - seconds;

    if (words[2].len == 0) {
        return NGX_DECLINED;
    }

    return ngx_http_crm_redis_words(
        drain->cmcf, words, 5, 1, ngx_http_crm_session_done, drain);
}


static void
ngx_http_crm_sessions_flush(ngx_http_crm_export_t *drain)
{
    ngx_uint_t i, unsent;

    if (drain->nsessions == 0
        || ngx_current_msec - drain->sessions_sent < NGX_HTTP_CRM_SESSIONS_MS)
    {
        return;
    }

    drain->sessions_sent = ngx_current_msec;
    unsent = 0;

    for (i = 0; i < drain->nsessions; i++) {
        if (drain->sessions[i].site == NULL) {
            continue; /* forgotten meanwhile */
        }

        if (ngx_http_crm_session_send(drain, &drain->sessions[i]) != NGX_OK) {
            unsent++;
        }
    }

    if (unsent > 0) {
        ngx_http_crm_count_by(
            drain->cmcf, NGX_HTTP_CRM_SESSIONS_UNSENT, unsent);
    }

    drain->nsessions = 0;
    ngx_memzero(drain->table, sizeof(drain->table));
}


/* Where the visitor's session is queued, or may be: a place in the table. */
static ngx_uint_t
ngx_http_crm_session_place(ngx_http_crm_export_t *drain,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    uint32_t                hash;
    ngx_uint_t              i;
    ngx_http_crm_session_t *session;

    ngx_memcpy(&hash, &vid[NGX_HTTP_CRM_VID_RANDOM], sizeof(hash));

    for (i = hash & (NGX_HTTP_CRM_SESSION_TABLE - 1); drain->table[i] != 0;
         i = (i + 1) & (NGX_HTTP_CRM_SESSION_TABLE - 1))
    {
        session = &drain->sessions[drain->table[i] - 1];

        if (session->site == site
            && ngx_memcmp(session->vid, vid, TRACKER_UUID_SIZE) == 0)
        {
            break;
        }
    }

    return i;
}


void
ngx_http_crm_export_session(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    ngx_uint_t             i, n;
    ngx_http_crm_export_t *drain;

    drain = cmcf->drain;
    if (drain == NULL) {
        return;
    }

    i = ngx_http_crm_session_place(drain, site, vid);
    if (drain->table[i] != 0) {
        return;
    }

    if (drain->nsessions == NGX_HTTP_CRM_SESSIONS) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SESSIONS_UNSENT);
        return;
    }

    n = drain->nsessions++;
    drain->table[i] = (uint16_t) (n + 1);
    drain->sessions[n].site = site;
    ngx_memcpy(drain->sessions[n].vid, vid, TRACKER_UUID_SIZE);
}


void
ngx_http_crm_export_forget(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    char                   key[NGX_HTTP_CRM_SESSION_KEY];
    ngx_uint_t             i;
    tracker_str_t          words[2];
    ngx_http_crm_export_t *drain;

    drain = cmcf->drain;
    if (drain == NULL) {
        return;
    }

    i = ngx_http_crm_session_place(drain, site, vid);
    if (drain->table[i] != 0) {
        drain->sessions[drain->table[i] - 1].site = NULL;
    }

    ngx_http_crm_word(words[0], "DEL");
    words[1] = ngx_http_crm_session_key(key, site, vid);

    /* if Redis is away the key expires by itself */
    (void) ngx_http_crm_redis_words(
        cmcf, words, 2, 1, ngx_http_crm_session_deleted, drain);
}


/* ---- positions ---- */

static void
ngx_http_crm_export_durable_of(
    ngx_http_crm_export_t *drain, const char *producer, uint64_t seq)
{
    ngx_uint_t             i;
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        journal = ngx_http_crm_lane_journal(&drain->lanes[i], &stat);

        if (journal != NULL
            && ngx_memcmp(stat.producer, producer, TRACKER_PRODUCER_TEXT) == 0)
        {
            if (!drain->lanes[i].positioned) {
                drain->lanes[i].positioned = 1;
                drain->lanes[i].waiting = 0;
            }

            ngx_http_crm_lane_ahead(&drain->lanes[i], seq);

            if (seq > stat.durable && drain->lanes[i].again == 0) {
                tracker_journal_set_durable(journal, seq);
            }
            return;
        }
    }

    ngx_http_crm_journal_durable(drain->cmcf, producer, seq);
}


static void
ngx_http_crm_export_durable(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_export_t *drain = data;

    unsigned i, n;

    n = (unsigned) drain->nasked;
    drain->nasked = 0;

    if (reply == NULL) {
        return;
    }

    if (reply->type != '*' || nelements != n) {
        ngx_http_crm_export_refused(drain->cmcf, "HMGET", reply);
        return;
    }

    for (i = 0; i < n; i++) {
        if (elements[i].type == '$') {
            ngx_http_crm_export_durable_of(drain, drain->asked[i],
                ngx_http_crm_export_sequence(elements[i].text));
        }
    }
}


static void
ngx_http_crm_export_ask(ngx_http_crm_export_t *drain)
{
    ngx_uint_t             i, n;
    const char            *producer;
    tracker_str_t          words[2 + NGX_HTTP_CRM_WORDS];
    tracker_journal_stat_t stat;

    if (drain->nasked != 0) {
        return;
    }

    n = 0;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        if (ngx_http_crm_lane_journal(&drain->lanes[i], &stat) != NULL
            && stat.durable < stat.written)
        {
            ngx_memcpy(drain->asked[n++], stat.producer, TRACKER_PRODUCER_TEXT);
        }
    }

    for (i = 0; n < NGX_HTTP_CRM_WORDS; i++) {
        producer = ngx_http_crm_journal_waiting(drain->cmcf, i);

        if (producer == NULL) {
            break;
        }

        ngx_memcpy(drain->asked[n++], producer, TRACKER_PRODUCER_TEXT);
    }

    if (n == 0) {
        return;
    }

    ngx_http_crm_word(words[0], "HMGET");
    ngx_http_crm_word(words[1], "crm:durable");

    for (i = 0; i < n; i++) {
        words[2 + i].data = drain->asked[i];
        words[2 + i].len = TRACKER_PRODUCER_TEXT;
    }

    if (ngx_http_crm_redis_words(drain->cmcf, words, (unsigned) n + 2, 1,
            ngx_http_crm_export_durable, drain)
        == NGX_OK)
    {
        drain->nasked = n;
    }
}


/* ---- when ---- */

static void
ngx_http_crm_export_flush_handler(ngx_event_t *ev)
{
    uint64_t               start;
    ngx_uint_t             i;
    ngx_connection_t      *dummy;
    ngx_http_crm_export_t *drain;

    dummy = ev->data;
    drain = dummy->data;
    start = ngx_http_crm_ticks();

    if (!ngx_http_crm_redis_usable(drain->cmcf)) {
        return;
    }

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        ngx_http_crm_lane_flush(&drain->lanes[i]);
    }

    ngx_http_crm_sessions_flush(drain);

    if (drain->nsessions > 0) {
        ngx_http_crm_export_wake(drain->cmcf);
    }

    ngx_http_crm_count_by(drain->cmcf, NGX_HTTP_CRM_EXPORT_NS,
        ngx_http_crm_ticks_ns(ngx_http_crm_ticks() - start));
}


/* Once a second, whatever was missed comes right. */
static void
ngx_http_crm_export_tick_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_connection_t      *dummy;
    ngx_http_crm_lane_t   *lane;
    ngx_http_crm_export_t *drain;
    tracker_journal_stat_t stat;

    dummy = ev->data;
    drain = dummy->data;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        lane = &drain->lanes[i];

        if (lane->state == NGX_HTTP_CRM_LANE_KNOWN && lane->under_way == 0
            && ngx_http_crm_lane_journal(lane, &stat) != NULL
            && stat.durable < stat.sent)
        {
            (void) ngx_http_crm_lane_add(lane, stat.producer);
        }
    }

    ngx_http_crm_export_ask(drain);
    ngx_http_crm_export_wake(drain->cmcf);

    ngx_add_timer(ev, NGX_HTTP_CRM_TICK_MS);
}


/* A new connection knows nothing of what the last one was told. */
static void
ngx_http_crm_export_ready(void *data)
{
    ngx_http_crm_export_t *drain = data;

    ngx_uint_t i;

    drain->generation++;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        ngx_http_crm_lane_reset(&drain->lanes[i]);
        ngx_http_crm_lane_flush(&drain->lanes[i]);
    }
}


ngx_int_t
ngx_http_crm_export_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ngx_http_crm_export_t *drain;

    if (cmcf->redis == NULL || cmcf->journals == NULL) {
        return NGX_OK;
    }

    drain = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_export_t));
    if (drain == NULL) {
        return NGX_ERROR;
    }

    drain->cmcf = cmcf;
    drain->dummy.fd = (ngx_socket_t) -1;
    drain->dummy.data = drain;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        drain->lanes[i].cmcf = cmcf;
        drain->lanes[i].batch = drain->batch;
        drain->lanes[i].slot = i;
        ngx_http_crm_lane_init(&drain->lanes[i]);
    }

    drain->flush.handler = ngx_http_crm_export_flush_handler;
    drain->flush.data = &drain->dummy;
    drain->flush.log = cycle->log;
    drain->flush.cancelable = 1;

    drain->tick = drain->flush;
    drain->tick.handler = ngx_http_crm_export_tick_handler;

    cmcf->drain = drain;
    ngx_http_crm_redis_on_ready(cmcf, ngx_http_crm_export_ready, drain);
    ngx_add_timer(&drain->tick, NGX_HTTP_CRM_TICK_MS);

    return NGX_OK;
}


void
ngx_http_crm_export_wake(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_export_t *drain;

    drain = cmcf->drain;

    if (drain != NULL && !drain->flush.timer_set && !drain->exiting) {
        ngx_add_timer(&drain->flush, NGX_HTTP_CRM_FLUSH_MS);
    }
}


ngx_uint_t
ngx_http_crm_export_idle(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n)
{
    ngx_http_crm_lane_t *lane;

    if (cmcf->drain == NULL) {
        return 1;
    }

    lane = &cmcf->drain->lanes[n];

    return lane->state == NGX_HTTP_CRM_LANE_KNOWN && lane->under_way == 0;
}


void
ngx_http_crm_export_adopt(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n)
{
    if (cmcf->drain != NULL) {
        ngx_http_crm_lane_init(&cmcf->drain->lanes[n]);
        ngx_http_crm_lane_flush(&cmcf->drain->lanes[n]);
    }
}


ngx_uint_t
ngx_http_crm_export_generation(ngx_http_crm_main_conf_t *cmcf)
{
    return cmcf->drain != NULL ? cmcf->drain->generation : 0;
}


/* What is under way is answered to nobody; who takes the file next asks. */
void
ngx_http_crm_export_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_export_t *drain;

    drain = cmcf->drain;
    if (drain == NULL) {
        return;
    }

    drain->exiting = 1;

    if (drain->flush.timer_set) {
        ngx_del_timer(&drain->flush);
    }

    if (drain->tick.timer_set) {
        ngx_del_timer(&drain->tick);
    }

    cmcf->drain = NULL;
}
