/*
 * ngx_http_crm_export.c - brings the journals to Redis, and positions back.
 *
 * Every 10 ms, or at once while a backlog lasts, each journal's new events go
 * out as one stream entry (docs/contracts.md).  One batch per journal is under
 * way at a time, on purpose: were a second one accepted after the first was
 * refused (Redis out of memory, loading), the first would be behind the
 * stream's last id for ever, and its events lost.  A batch holds up to 1000
 * events, so one per round trip is plenty.
 *
 * What can go wrong, and what happens then:
 *
 *   - The connection is lost with a batch under way: it is sent again; if it
 *     had arrived, Redis refuses the id as equal or smaller, and that is fine.
 *   - Redis came back without its data, or with an older state: after each
 *     connect the stream's last id is asked for, and `sent` goes back.
 *   - Redis was emptied while connected: XADD is sent with NOMKSTREAM, so a
 *     stream that vanished answers null instead of silently starting anew
 *     with a gap that the importer would take for lost events.  Where no event
 *     comes, SADD tells each second that the set of producers has vanished.
 *   - Redis answers errors or nonsense: counted, logged once a minute, tried
 *     again after 100 ms to 5 s.  The events stay in the journal.
 *
 * Sessions are written once per visitor and quarter of a second, at most 1024
 * of them: they are a convenience that the next event renews.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_FLUSH_MS      10
#define NGX_HTTP_CRM_TICK_MS       1000
#define NGX_HTTP_CRM_SESSIONS_MS   250
#define NGX_HTTP_CRM_BATCH_EVENTS  1000
#define NGX_HTTP_CRM_BATCH_BYTES   (256 * 1024)
#define NGX_HTTP_CRM_BATCH_HEAD    512 /* the words of XADD around the events */
#define NGX_HTTP_CRM_BACKLOG       200 /* events: do not wait for the timer */
#define NGX_HTTP_CRM_RETRY_MIN     100 /* ms */
#define NGX_HTTP_CRM_RETRY_MAX     5000
#define NGX_HTTP_CRM_SESSIONS      1024
#define NGX_HTTP_CRM_SESSION_TABLE 2048 /* a power of two, twice as many */
#define NGX_HTTP_CRM_ERROR_LOG     60   /* s between two lines */
#define NGX_HTTP_CRM_WORDS         96   /* of HMGET: 2 + 32 held + 62 waiting */
#define NGX_HTTP_CRM_KEY           (sizeof("crm:ev:") + TRACKER_PRODUCER_TEXT)


typedef enum {
    NGX_HTTP_CRM_UNKNOWN = 0, /* this connection knows nothing of it */
    NGX_HTTP_CRM_ASKED,       /* SADD and XINFO are under way */
    NGX_HTTP_CRM_KNOWN        /* `sent` is what Redis has */
} ngx_http_crm_lane_e;


/* The way of one journal to Redis. */
typedef struct {
    ngx_http_crm_export_t *drain;
    ngx_uint_t             slot;
    ngx_http_crm_lane_e    state;
    ngx_uint_t             under_way; /* replies to come */
    uint64_t               last;      /* sequence of the batch under way; 0 */
    ngx_msec_t             retry;     /* ms to wait after the next error */
    ngx_msec_t             not_before;
    unsigned               added : 1;   /* it is in crm:producers */
    unsigned               stream : 1;  /* its stream exists */
    unsigned               waiting : 1; /* not_before counts */
} ngx_http_crm_lane_t;


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


static void ngx_http_crm_lane_flush(ngx_http_crm_lane_t *lane);


static ngx_uint_t
ngx_http_crm_reply_has(const tracker_reply_t *reply, const char *phrase)
{
    size_t len;

    len = ngx_strlen(phrase);

    return reply->type == '-' && reply->text.len >= len
           && memmem(reply->text.data, reply->text.len, phrase, len) != NULL;
}


/* Counts what Redis refused and says so once a minute; no data of ours. */
static void
ngx_http_crm_export_refused(ngx_http_crm_export_t *drain, const char *what,
    const tracker_reply_t *reply)
{
    ngx_http_crm_count(drain->cmcf, NGX_HTTP_CRM_REDIS_ERRORS);

    if (ngx_time() - drain->logged < NGX_HTTP_CRM_ERROR_LOG) {
        return;
    }

    drain->logged = ngx_time();

    if (reply->type == '-') {
        ngx_log_error(NGX_LOG_ERR, drain->cmcf->log, 0,
            "crm redis %V refused %s: \"%*s\", events stay in the journal",
            &drain->cmcf->redis_name, what, ngx_min(reply->text.len, 128),
            reply->text.data);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, drain->cmcf->log, 0,
        "crm redis %V answered %s with nonsense, events stay in the journal",
        &drain->cmcf->redis_name, what);
}


static void
ngx_http_crm_lane_backoff(ngx_http_crm_lane_t *lane)
{
    lane->waiting = 1;
    lane->not_before = ngx_current_msec + lane->retry;
    lane->retry = ngx_min(lane->retry * 2, NGX_HTTP_CRM_RETRY_MAX);
}


static ngx_uint_t
ngx_http_crm_lane_waits(ngx_http_crm_lane_t *lane)
{
    if (lane->waiting
        && (ngx_msec_int_t) (lane->not_before - ngx_current_msec) <= 0)
    {
        lane->waiting = 0;
    }

    return lane->waiting;
}


static void
ngx_http_crm_lane_reset(ngx_http_crm_lane_t *lane)
{
    lane->state = NGX_HTTP_CRM_UNKNOWN;
    lane->last = 0;
    lane->added = 0;
    lane->stream = 0;
    lane->waiting = 0;
    lane->retry = NGX_HTTP_CRM_RETRY_MIN;
}


static tracker_journal_t *
ngx_http_crm_lane_journal(
    ngx_http_crm_lane_t *lane, tracker_journal_stat_t *stat)
{
    tracker_journal_t *journal;

    journal = ngx_http_crm_journal_nth(lane->drain->cmcf, lane->slot);

    if (journal != NULL) {
        tracker_journal_stat(journal, stat);
    }

    return journal;
}


/* One command of plain words; NGX_DECLINED: Redis takes nothing now. */
static ngx_int_t
ngx_http_crm_export_command(ngx_http_crm_main_conf_t *cmcf,
    const tracker_str_t *words, unsigned n, ngx_http_crm_redis_pt done,
    void *data)
{
    char    *start, *p;
    size_t   max;
    unsigned i;

    max = 32;

    for (i = 0; i < n; i++) {
        max += words[i].len + 32;
    }

    start = ngx_http_crm_redis_reserve(cmcf, max);
    if (start == NULL) {
        return NGX_DECLINED;
    }

    p = tracker_resp_array(start, start + max, n);

    for (i = 0; p != NULL && i < n; i++) {
        p = tracker_resp_bulk(p, start + max, words[i]);
    }

    if (p == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_crm_redis_commit(cmcf, p - start, done, data);

    return NGX_OK;
}


static size_t
ngx_http_crm_export_key(char *key, const char *producer)
{
    u_char *p;

    p = ngx_cpymem(key, "crm:ev:", sizeof("crm:ev:") - 1);
    p = ngx_cpymem(p, producer, TRACKER_PRODUCER_TEXT);

    return p - (u_char *) key;
}


#define ngx_http_crm_word(word, text)                                          \
    (word).data = text;                                                        \
    (word).len = sizeof(text) - 1


/* ---- getting to know what Redis has of a journal ---- */

static void
ngx_http_crm_lane_added(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lane_t *lane = data;

    (void) elements;
    (void) nelements;

    lane->under_way--;

    if (reply == NULL || lane->state == NGX_HTTP_CRM_UNKNOWN) {
        return;
    }

    if (reply->type != ':') {
        ngx_http_crm_export_refused(lane->drain, "SADD", reply);
        lane->state = NGX_HTTP_CRM_UNKNOWN;
        ngx_http_crm_lane_backoff(lane);
        return;
    }

    /* it was there and is not any more: Redis has been emptied */
    if (lane->added && reply->integer == 1) {
        ngx_http_crm_lane_reset(lane);
        return;
    }

    lane->added = 1;
}


/* The sequence in "<sequence>-0". */
static uint64_t
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


static void
ngx_http_crm_lane_learned(ngx_http_crm_lane_t *lane, uint64_t last)
{
    tracker_journal_t        *journal;
    tracker_journal_stat_t    stat;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = lane->drain->cmcf;
    lane->state = NGX_HTTP_CRM_KNOWN;
    lane->retry = NGX_HTTP_CRM_RETRY_MIN;

    journal = ngx_http_crm_lane_journal(lane, &stat);
    if (journal == NULL) {
        return;
    }

    if (last < stat.sent && stat.durable < stat.sent) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_REDIS_REWINDS);
        ngx_log_error(NGX_LOG_WARN, cmcf->log, 0,
            "crm redis %V lost what producer %*s had sent, sending %uL events "
            "again",
            &cmcf->redis_name, (size_t) TRACKER_PRODUCER_TEXT, stat.producer,
            stat.sent - ngx_max(last, stat.durable));
    }

    if (last > stat.written) {
        ngx_log_error(NGX_LOG_ERR, cmcf->log, 0,
            "crm redis %V is ahead of producer %*s by %uL events that the "
            "journal lost, as after a power failure",
            &cmcf->redis_name, (size_t) TRACKER_PRODUCER_TEXT, stat.producer,
            last - stat.written);
    }

    tracker_journal_set_sent(journal, last);
    ngx_http_crm_lane_flush(lane);
}


static void
ngx_http_crm_lane_info(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lane_t *lane = data;

    unsigned i;

    lane->under_way--;

    if (reply == NULL || lane->state != NGX_HTTP_CRM_ASKED) {
        return;
    }

    /* SADD came before and was answered well, or the state would be another */
    if (ngx_http_crm_reply_has(reply, "no such key")) {
        lane->stream = 0;
        ngx_http_crm_lane_learned(lane, 0);
        return;
    }

    for (i = 0; reply->type == '*' && i + 1 < nelements; i += 2) {
        if (elements[i].text.len == sizeof("last-generated-id") - 1
            && ngx_memcmp(elements[i].text.data, "last-generated-id",
                   sizeof("last-generated-id") - 1)
                   == 0)
        {
            lane->stream = 1;
            ngx_http_crm_lane_learned(
                lane, ngx_http_crm_export_sequence(elements[i + 1].text));
            return;
        }
    }

    ngx_http_crm_export_refused(lane->drain, "XINFO", reply);
    lane->state = NGX_HTTP_CRM_UNKNOWN;
    ngx_http_crm_lane_backoff(lane);
}


static ngx_int_t
ngx_http_crm_lane_add(ngx_http_crm_lane_t *lane, const char *producer)
{
    tracker_str_t words[3];

    ngx_http_crm_word(words[0], "SADD");
    ngx_http_crm_word(words[1], "crm:producers");
    words[2].data = producer;
    words[2].len = TRACKER_PRODUCER_TEXT;

    if (ngx_http_crm_export_command(
            lane->drain->cmcf, words, 3, ngx_http_crm_lane_added, lane)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    lane->under_way++;

    return NGX_OK;
}


static void
ngx_http_crm_lane_ask(ngx_http_crm_lane_t *lane, const char *producer)
{
    char          key[NGX_HTTP_CRM_KEY];
    tracker_str_t words[3];

    if (ngx_http_crm_lane_add(lane, producer) != NGX_OK) {
        return;
    }

    ngx_http_crm_word(words[0], "XINFO");
    ngx_http_crm_word(words[1], "STREAM");
    words[2].data = key;
    words[2].len = ngx_http_crm_export_key(key, producer);

    if (ngx_http_crm_export_command(
            lane->drain->cmcf, words, 3, ngx_http_crm_lane_info, lane)
        == NGX_OK)
    {
        lane->under_way++;
        lane->state = NGX_HTTP_CRM_ASKED;
    }
}


/* ---- batches ---- */

static void
ngx_http_crm_lane_accepted(ngx_http_crm_lane_t *lane)
{
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    lane->stream = 1;
    lane->retry = NGX_HTTP_CRM_RETRY_MIN;

    journal = ngx_http_crm_lane_journal(lane, &stat);
    if (journal == NULL) {
        return;
    }

    if (lane->last > stat.sent) {
        tracker_journal_set_sent(journal, lane->last);
    }

    if (stat.written - lane->last >= NGX_HTTP_CRM_BACKLOG) {
        lane->last = 0;
        ngx_http_crm_lane_flush(lane);
        return;
    }

    lane->last = 0;

    if (stat.written > stat.sent) {
        ngx_http_crm_export_wake(lane->drain->cmcf);
    }
}


static void
ngx_http_crm_lane_batched(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lane_t *lane = data;

    (void) elements;
    (void) nelements;

    lane->under_way--;

    /* lost, or the lane was reset: `last` says so */
    if (reply == NULL || lane->last == 0) {
        lane->last = 0;
        return;
    }

    if (reply->type == '$' || reply->type == '+') {
        ngx_http_crm_count(lane->drain->cmcf, NGX_HTTP_CRM_BATCHES);
        ngx_http_crm_lane_accepted(lane);
        return;
    }

    if (ngx_http_crm_reply_has(reply, "equal or smaller")) {
        ngx_http_crm_count(lane->drain->cmcf, NGX_HTTP_CRM_BATCHES_AGAIN);
        ngx_http_crm_lane_accepted(lane);
        return;
    }

    if (reply->type == 'N') {
        ngx_http_crm_lane_reset(lane);
        ngx_http_crm_export_wake(lane->drain->cmcf);
        return;
    }

    ngx_http_crm_export_refused(lane->drain, "XADD", reply);
    lane->last = 0;
    ngx_http_crm_lane_backoff(lane);
}


/* Collects the records behind `sent`; returns how many there are. */
static ngx_uint_t
ngx_http_crm_lane_collect(ngx_http_crm_lane_t *lane, tracker_journal_t *journal,
    uint64_t after, uint64_t *first, size_t *bytes)
{
    ngx_uint_t       n;
    tracker_record_t record;

    *bytes = 0;

    for (n = 0; n < NGX_HTTP_CRM_BATCH_EVENTS; n++) {

        if (tracker_journal_next(journal, after, &record) != TRACKER_OK
            || (n > 0 && *bytes + record.data.len > NGX_HTTP_CRM_BATCH_BYTES))
        {
            break;
        }

        if (n == 0) {
            *first = record.seq;
        }

        lane->drain->batch[n] = record.data;
        *bytes += record.data.len + 1;
        after = record.seq;
        lane->last = record.seq;
    }

    *bytes -= (n > 0);

    return n;
}


/* "XADD key [NOMKSTREAM] <last>-0 f <first> n <events> e ..." up to the events;
 * the room was computed by the caller and is always enough. */
static char *
ngx_http_crm_lane_head(ngx_http_crm_lane_t *lane, char *p, const char *producer,
    uint64_t first, ngx_uint_t n, size_t bytes)
{
    char        key[NGX_HTTP_CRM_KEY];
    u_char      number[NGX_INT64_LEN + 2];
    const char *end;

    tracker_str_t words[9];
    unsigned      i, nwords;

    end = p + NGX_HTTP_CRM_BATCH_HEAD;
    nwords = 0;

    ngx_http_crm_word(words[nwords], "XADD");
    nwords++;
    words[nwords].data = key;
    words[nwords++].len = ngx_http_crm_export_key(key, producer);

    if (lane->stream) {
        ngx_http_crm_word(words[nwords], "NOMKSTREAM");
        nwords++;
    }

    p = tracker_resp_array(p, end, nwords + 7);

    for (i = 0; i < nwords; i++) {
        p = tracker_resp_bulk(p, end, words[i]);
    }

    words[0].data = (char *) number;
    words[0].len = ngx_sprintf(number, "%uL-0", lane->last) - number;
    p = tracker_resp_bulk(p, end, words[0]);

    p = (char *) ngx_cpymem(p, "$1\r\nf\r\n", sizeof("$1\r\nf\r\n") - 1);
    words[0].len = ngx_sprintf(number, "%uL", first) - number;
    p = tracker_resp_bulk(p, end, words[0]);

    p = (char *) ngx_cpymem(p, "$1\r\nn\r\n", sizeof("$1\r\nn\r\n") - 1);
    words[0].len = ngx_sprintf(number, "%ui", n) - number;
    p = tracker_resp_bulk(p, end, words[0]);

    return (char *) ngx_sprintf((u_char *) p, "$1\r\ne\r\n$%uz\r\n", bytes);
}


static void
ngx_http_crm_lane_send(ngx_http_crm_lane_t *lane, tracker_journal_t *journal,
    tracker_journal_stat_t *stat)
{
    char         *start, *p;
    size_t        bytes;
    uint64_t      first;
    ngx_uint_t    i, n;
    tracker_str_t record;

    first = 0;
    n = ngx_http_crm_lane_collect(lane, journal, stat->sent, &first, &bytes);

    if (n == 0) {
        lane->last = 0;
        return;
    }

    start = ngx_http_crm_redis_reserve(
        lane->drain->cmcf, NGX_HTTP_CRM_BATCH_HEAD + bytes + 2);

    if (start == NULL) {
        lane->last = 0;
        return;
    }

    p = ngx_http_crm_lane_head(lane, start, stat->producer, first, n, bytes);

    for (i = 0; i < n; i++) {
        record = lane->drain->batch[i];

        if (i > 0) {
            *p++ = '\n';
        }

        p = (char *) ngx_cpymem(p, record.data, record.len);
    }

    *p++ = '\r';
    *p++ = '\n';

    ngx_http_crm_redis_commit(
        lane->drain->cmcf, p - start, ngx_http_crm_lane_batched, lane);
    lane->under_way++;
}


/* Whatever can be done for this journal now. */
static void
ngx_http_crm_lane_flush(ngx_http_crm_lane_t *lane)
{
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    if (lane->drain->exiting || ngx_http_crm_lane_waits(lane)) {
        return;
    }

    journal = ngx_http_crm_lane_journal(lane, &stat);
    if (journal == NULL) {
        return;
    }

    if (lane->state == NGX_HTTP_CRM_UNKNOWN) {
        /* replies to what was sent before it was reset come first */
        if (lane->under_way == 0) {
            ngx_http_crm_lane_ask(lane, stat.producer);
        }
        return;
    }

    if (lane->state == NGX_HTTP_CRM_KNOWN && lane->last == 0
        && stat.sent < stat.written)
    {
        ngx_http_crm_lane_send(lane, journal, &stat);
    }
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
    ngx_http_crm_export_refused(drain, "SET", reply);
}


static ngx_int_t
ngx_http_crm_session_send(
    ngx_http_crm_export_t *drain, ngx_http_crm_session_t *session)
{
    char           json[TRACKER_LIVE_JSON_MAX];
    char           key[128];
    u_char         seconds[NGX_TIME_T_LEN], *p;
    tracker_str_t  words[5];
    tracker_live_t live;

    if (ngx_http_crm_zone_live(drain->cmcf, session->site, session->vid, &live)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_crm_word(words[0], "SET");
    p = ngx_snprintf((u_char *) key, sizeof(key) - TRACKER_UUID_TEXT,
        "crm:s:%V:", &session->site->name);
    tracker_uuid_text((char *) p, session->vid);
    words[1].data = key;
    words[1].len = (char *) p + TRACKER_UUID_TEXT - key;
    words[2].data = json;
    words[2].len = tracker_live_write(json, sizeof(json), &live);
    ngx_http_crm_word(words[3], "EX");
    words[4].data = (char *) seconds;
    words[4].len =
        ngx_sprintf(seconds, "%T", session->site->session_timeout) - seconds;

    if (words[2].len == 0) {
        return NGX_DECLINED;
    }

    return ngx_http_crm_export_command(
        drain->cmcf, words, 5, ngx_http_crm_session_done, drain);
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


void
ngx_http_crm_export_session(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    uint32_t                hash;
    ngx_uint_t              i, n;
    ngx_http_crm_export_t  *drain;
    ngx_http_crm_session_t *session;

    drain = cmcf->drain;
    if (drain == NULL) {
        return;
    }

    ngx_memcpy(&hash, vid + TRACKER_UUID_SIZE - sizeof(hash), sizeof(hash));

    for (i = hash & (NGX_HTTP_CRM_SESSION_TABLE - 1); drain->table[i] != 0;
         i = (i + 1) & (NGX_HTTP_CRM_SESSION_TABLE - 1))
    {
        session = &drain->sessions[drain->table[i] - 1];

        if (session->site == site
            && ngx_memcmp(session->vid, vid, TRACKER_UUID_SIZE) == 0)
        {
            return;
        }
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
            if (seq > stat.durable) {
                tracker_journal_set_durable(
                    journal, ngx_min(seq, stat.written));
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
        ngx_http_crm_export_refused(drain, "HMGET", reply);
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

    if (ngx_http_crm_export_command(drain->cmcf, words, (unsigned) n + 2,
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

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        ngx_http_crm_lane_flush(&drain->lanes[i]);
    }

    ngx_http_crm_sessions_flush(drain);

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

        if (lane->state == NGX_HTTP_CRM_KNOWN && lane->under_way == 0
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
        drain->lanes[i].drain = drain;
        drain->lanes[i].slot = i;
        ngx_http_crm_lane_reset(&drain->lanes[i]);
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

    return lane->state == NGX_HTTP_CRM_KNOWN && lane->under_way == 0;
}


void
ngx_http_crm_export_adopt(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n)
{
    if (cmcf->drain != NULL) {
        ngx_http_crm_lane_reset(&cmcf->drain->lanes[n]);
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
