/*
 * ngx_http_crm_lane.c - takes the events of one journal to its Redis stream.
 *
 * New events go out as one stream entry (docs/contracts.md).  One batch per
 * journal is under way at a time, on purpose: were a second one accepted after
 * the first was refused (Redis out of memory, loading), the first would be
 * behind the stream's last id for ever, and its events lost.  A batch holds up
 * to 1000 events, so one per round trip is plenty.
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
 */

#include "ngx_http_crm_module.h"


/* and one record more, 128 KB at most: XINFO's two entries fit its megabyte */
#define NGX_HTTP_CRM_BATCH_BYTES (192 * 1024)
#define NGX_HTTP_CRM_BATCH_HEAD  512  /* the words of XADD around the events */
#define NGX_HTTP_CRM_AGAIN       256  /* events numbered anew per turn */
#define NGX_HTTP_CRM_POSITION    3000 /* ms for the importer to tell it */
#define NGX_HTTP_CRM_BACKLOG     200  /* events: do not wait for the timer */
#define NGX_HTTP_CRM_RETRY_MIN   100  /* ms */
#define NGX_HTTP_CRM_RETRY_MAX   5000
#define NGX_HTTP_CRM_KEY         (sizeof("crm:ev:") + TRACKER_PRODUCER_TEXT)


static ngx_uint_t
ngx_http_crm_reply_has(const tracker_reply_t *reply, const char *phrase)
{
    size_t len;

    len = ngx_strlen(phrase);

    return reply->type == '-' && reply->text.len >= len
           && memmem(reply->text.data, reply->text.len, phrase, len) != NULL;
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


void
ngx_http_crm_lane_reset(ngx_http_crm_lane_t *lane)
{
    lane->state = NGX_HTTP_CRM_LANE_UNKNOWN;
    lane->last = 0;
    lane->added = 0;
    lane->stream = 0;
    lane->waiting = 0;
    lane->retry = NGX_HTTP_CRM_RETRY_MIN;
}


void
ngx_http_crm_lane_init(ngx_http_crm_lane_t *lane)
{
    lane->tried = 0;
    lane->ahead = 0;
    lane->again = 0;
    lane->positioned = 0;
    ngx_http_crm_lane_reset(lane);
}


tracker_journal_t *
ngx_http_crm_lane_journal(
    ngx_http_crm_lane_t *lane, tracker_journal_stat_t *stat)
{
    tracker_journal_t *journal;

    journal = ngx_http_crm_journal_nth(lane->cmcf, lane->slot);

    if (journal != NULL) {
        tracker_journal_stat(journal, stat);
    }

    return journal;
}


static size_t
ngx_http_crm_export_key(char *key, const char *producer)
{
    u_char *p;

    p = ngx_cpymem(key, "crm:ev:", sizeof("crm:ev:") - 1);
    p = ngx_cpymem(p, producer, TRACKER_PRODUCER_TEXT);

    return p - (u_char *) key;
}


/* ---- getting to know what Redis has of a journal ---- */

static void
ngx_http_crm_lane_added(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lane_t *lane = data;

    (void) elements;
    (void) nelements;

    lane->under_way--;

    if (reply == NULL && !lane->added) {
        lane->state = NGX_HTTP_CRM_LANE_UNKNOWN;
    }

    if (reply == NULL || lane->state == NGX_HTTP_CRM_LANE_UNKNOWN) {
        ngx_http_crm_export_wake(lane->cmcf);
        return;
    }

    if (reply->type != ':') {
        ngx_http_crm_export_refused(lane->cmcf, "SADD", reply);
        lane->state = NGX_HTTP_CRM_LANE_UNKNOWN;
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


/* ---- a store that is ahead of the journal ---- */

void
ngx_http_crm_lane_ahead(ngx_http_crm_lane_t *lane, uint64_t position)
{
    uint64_t                  known, last;
    tracker_result_e          rc;
    tracker_journal_t        *journal;
    tracker_journal_stat_t    stat;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = lane->cmcf;
    journal = ngx_http_crm_lane_journal(lane, &stat);

    if (journal == NULL) {
        return;
    }

    known = ngx_max(tracker_journal_opened(journal), lane->ahead);

    if (position <= known || position <= lane->tried) {
        return;
    }

    rc = tracker_journal_advance(journal, position);
    last = ngx_min(position, stat.written);

    ngx_log_error(NGX_LOG_ERR, cmcf->log, 0,
        "crm redis %V is ahead of producer %*s by %uL events that the journal "
        "lost, as after a power failure, %uL events since then are numbered "
        "anew: %s",
        &cmcf->redis_name, (size_t) TRACKER_PRODUCER_TEXT, stat.producer,
        position - known, last > known ? last - known : (uint64_t) 0,
        tracker_result_text(rc));

    if (rc != TRACKER_OK) {
        ngx_http_crm_lane_backoff(lane);
        return;
    }

    if (lane->again == 0 && known < last) {
        lane->again = known + 1;
    }

    lane->again_last = last;
    lane->ahead = position;
}


/*
 * Appends some more events with numbers nobody has seen.  Until all are done,
 * neither `sent` nor `durable` may pass them, or their room would be given up.
 */
static void
ngx_http_crm_lane_renumber(
    ngx_http_crm_lane_t *lane, tracker_journal_t *journal)
{
    char            *room, *copy;
    ngx_uint_t       n;
    tracker_record_t record;

    copy = malloc(TRACKER_JOURNAL_RECORD_MAX);

    for (n = 0; copy != NULL && n < NGX_HTTP_CRM_AGAIN; n++) {

        if (tracker_journal_next(journal, lane->again - 1, &record)
                != TRACKER_OK
            || record.seq > lane->again_last)
        {
            lane->again = 0;
            tracker_journal_set_sent(journal, lane->ahead);
            break;
        }

        /* reserving may give up the record's own place */
        ngx_memcpy(copy, record.data.data, record.data.len);
        tracker_journal_set_sent(journal, record.seq);
        lane->again = record.seq + 1;

        if (tracker_journal_reserve(journal, record.data.len, &room)
            != TRACKER_OK) {
            tracker_journal_shed(journal);
            ngx_http_crm_count(lane->cmcf, NGX_HTTP_CRM_SHED);
            continue;
        }

        ngx_memcpy(room, copy, record.data.len);
        tracker_journal_commit(journal, record.data.len, record.at_us);
    }

    free(copy);
    ngx_http_crm_export_wake(lane->cmcf);
}


static void
ngx_http_crm_lane_learned(ngx_http_crm_lane_t *lane, uint64_t last)
{
    tracker_journal_t        *journal;
    tracker_journal_stat_t    stat;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = lane->cmcf;
    lane->state = NGX_HTTP_CRM_LANE_KNOWN;
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

    ngx_http_crm_lane_ahead(lane, last);

    if (lane->again == 0) {
        tracker_journal_set_sent(journal, last);
    }

    /* Redis was emptied, perhaps by the power failure that cost the journal
     * its end: only PostgreSQL can tell, through the importer, if it runs */
    if (last == 0 && lane->tried == 0 && !lane->positioned
        && tracker_journal_opened(journal) > 0)
    {
        lane->waiting = 1;
        lane->not_before = ngx_current_msec + NGX_HTTP_CRM_POSITION;
    }

    ngx_http_crm_lane_flush(lane);
}


static void
ngx_http_crm_lane_info(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_lane_t *lane = data;

    unsigned i;

    lane->under_way--;

    if (lane->state != NGX_HTTP_CRM_LANE_ASKED) {
        ngx_http_crm_export_wake(lane->cmcf);
        return;
    }

    if (reply == NULL) {
        lane->state = NGX_HTTP_CRM_LANE_UNKNOWN;
        return;
    }

    /* SADD may go to another node: if it fails, the lane asks again */
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

    ngx_http_crm_export_refused(lane->cmcf, "XINFO", reply);
    lane->state = NGX_HTTP_CRM_LANE_UNKNOWN;
    ngx_http_crm_lane_backoff(lane);
}


ngx_int_t
ngx_http_crm_lane_add(ngx_http_crm_lane_t *lane, const char *producer)
{
    tracker_str_t words[3];

    ngx_http_crm_word(words[0], "SADD");
    ngx_http_crm_word(words[1], "crm:producers");
    words[2].data = producer;
    words[2].len = TRACKER_PRODUCER_TEXT;

    if (ngx_http_crm_redis_words(
            lane->cmcf, words, 3, 1, ngx_http_crm_lane_added, lane)
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

    if (ngx_http_crm_redis_words(
            lane->cmcf, words, 3, 2, ngx_http_crm_lane_info, lane)
        == NGX_OK)
    {
        lane->under_way++;
        lane->state = NGX_HTTP_CRM_LANE_ASKED;
    }
}


/* ---- batches ---- */

static void
ngx_http_crm_lane_accepted(ngx_http_crm_lane_t *lane)
{
    uint64_t               left;
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    lane->stream = 1;
    lane->retry = NGX_HTTP_CRM_RETRY_MIN;

    journal = ngx_http_crm_lane_journal(lane, &stat);
    if (journal == NULL) {
        return;
    }

    if (lane->last > stat.sent && lane->again == 0) {
        tracker_journal_set_sent(journal, lane->last);
    }

    left = stat.written - ngx_min(lane->last, stat.written);
    lane->last = 0;

    if (left >= NGX_HTTP_CRM_BACKLOG) {
        ngx_http_crm_lane_flush(lane);
    } else if (left > 0) {
        ngx_http_crm_export_wake(lane->cmcf);
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
        ngx_http_crm_export_wake(lane->cmcf);
        return;
    }

    if (reply->type == '$' || reply->type == '+') {
        ngx_http_crm_count(lane->cmcf, NGX_HTTP_CRM_BATCHES);
        ngx_http_crm_lane_accepted(lane);
        return;
    }

    if (ngx_http_crm_reply_has(reply, "equal or smaller")) {
        ngx_http_crm_count(lane->cmcf, NGX_HTTP_CRM_BATCHES_AGAIN);
        ngx_http_crm_lane_accepted(lane);
        return;
    }

    if (reply->type == 'N') {
        ngx_http_crm_lane_reset(lane);
        ngx_http_crm_export_wake(lane->cmcf);
        return;
    }

    ngx_http_crm_export_refused(lane->cmcf, "XADD", reply);
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

    /* a record read is a record taken: reading it again would make the
     * journal search from its tail */
    for (n = 0;
         n < NGX_HTTP_CRM_BATCH_EVENTS && *bytes < NGX_HTTP_CRM_BATCH_BYTES;
         n++)
    {
        if (tracker_journal_next(journal, after, &record) != TRACKER_OK) {
            break;
        }

        if (n == 0) {
            *first = record.seq;
        }

        lane->batch[n] = record.data;
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
    char          text[NGX_HTTP_CRM_KEY], *start, *p;
    size_t        bytes;
    uint64_t      first;
    ngx_uint_t    i, n;
    tracker_str_t key, record;

    first = 0;
    n = ngx_http_crm_lane_collect(lane, journal, stat->sent, &first, &bytes);

    if (n == 0) {
        lane->last = 0;
        return;
    }

    key.data = text;
    key.len = ngx_http_crm_export_key(text, stat->producer);
    start = ngx_http_crm_redis_reserve(
        lane->cmcf, key, NGX_HTTP_CRM_BATCH_HEAD + bytes + 2);

    if (start == NULL) {
        lane->last = 0;
        return;
    }

    p = ngx_http_crm_lane_head(lane, start, stat->producer, first, n, bytes);

    for (i = 0; i < n; i++) {
        record = lane->batch[i];

        if (i > 0) {
            *p++ = '\n';
        }

        p = (char *) ngx_cpymem(p, record.data, record.len);
    }

    *p++ = '\r';
    *p++ = '\n';

    ngx_http_crm_redis_commit(
        lane->cmcf, p - start, ngx_http_crm_lane_batched, lane);
    lane->under_way++;
    lane->tried = ngx_max(lane->tried, lane->last);
}


/* Whatever can be done for this journal now. */
void
ngx_http_crm_lane_flush(ngx_http_crm_lane_t *lane)
{
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    if (ngx_http_crm_lane_waits(lane)) {
        return;
    }

    journal = ngx_http_crm_lane_journal(lane, &stat);
    if (journal == NULL) {
        return;
    }

    if (lane->state == NGX_HTTP_CRM_LANE_UNKNOWN) {
        /* replies to what was sent before it was reset come first */
        if (lane->under_way == 0) {
            ngx_http_crm_lane_ask(lane, stat.producer);
        }
        return;
    }

    if (lane->again != 0) {
        ngx_http_crm_lane_renumber(lane, journal);
        return;
    }

    if (lane->state == NGX_HTTP_CRM_LANE_KNOWN && lane->last == 0
        && stat.sent < stat.written)
    {
        ngx_http_crm_lane_send(lane, journal, &stat);
    }
}
