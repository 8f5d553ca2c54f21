/*
 * import_source.c - the streams of Redis as lines, each with its sequence.
 *
 * An entry "<last>-0" holds the events f ... last, one per line.  When the
 * journal lost records there are fewer lines than sequences; then the lines
 * count from f, the last line stands for `last`, and the difference is a gap.
 * Lines whose sequence is not beyond what was taken already are passed over,
 * however the entries are cut: that makes every retry of nginx harmless.
 *
 * Answers of Redis are kept until the batch that points into them is over.
 */

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


/* Entries per answer over all streams: about 64 KB each. */
#define SOURCE_ENTRIES 64
#define SOURCE_KEY     (7 + TRACKER_PRODUCER_TEXT) /* "crm:ev:<producer>" */


typedef struct {
    const char *argv[6 + 2 * MINING_PRODUCERS_MAX];
    size_t      lengths[6 + 2 * MINING_PRODUCERS_MAX];
    char        keys[MINING_PRODUCERS_MAX][SOURCE_KEY + 1];
    char        ids[MINING_PRODUCERS_MAX][32];
    char        count[16];
    char        block[16];
} source_command_t;


static int
source_word(source_command_t *command, int argc, const char *word)
{
    command->argv[argc] = word;
    command->lengths[argc] = strlen(word);

    return argc + 1;
}


static int
source_readable(const mining_producer_t *producer)
{
    return producer->held && !producer->broken;
}


unsigned
mining_source_readable(const mining_producers_t *producers)
{
    unsigned i, n;

    for (i = 0, n = 0; i < producers->n; i++) {
        n += source_readable(&producers->list[i]) ? 1 : 0;
    }

    return n;
}


/*
 * One XREAD for the readable producers from *next on: for all of them, or of a
 * cluster, where each may be elsewhere, for one.
 */
static mining_result_e
source_ask_some(mining_redis_t *redis, const mining_producers_t *producers,
    unsigned count, unsigned block_ms, unsigned *next)
{
    int                     argc;
    unsigned                i, first, last;
    static source_command_t command; /* 100 KB: not for the stack */

    for (first = *next;
         first < producers->n && !source_readable(&producers->list[first]);
         first++)
    {
        /* void */
    }
    last = redis->cluster && first < producers->n ? first + 1 : producers->n;
    *next = last;

    if (first == producers->n) {
        return MINING_DECLINED;
    }

    (void) snprintf(command.count, sizeof(command.count), "%u", count);

    argc = source_word(&command, 0, "XREAD");
    argc = source_word(&command, argc, "COUNT");
    argc = source_word(&command, argc, command.count);
    if (block_ms != 0 && !redis->cluster) {
        (void) snprintf(command.block, sizeof(command.block), "%u", block_ms);
        argc = source_word(&command, argc, "BLOCK");
        argc = source_word(&command, argc, command.block);
    }
    argc = source_word(&command, argc, "STREAMS");

    for (i = first; i < last; i++) {
        if (source_readable(&producers->list[i])) {
            (void) snprintf(command.keys[i], sizeof(command.keys[i]),
                "crm:ev:%s", producers->list[i].name);
            argc = source_word(&command, argc, command.keys[i]);
        }
    }
    for (i = first; i < last; i++) {
        if (source_readable(&producers->list[i])) {
            (void) snprintf(command.ids[i], sizeof(command.ids[i]),
                "%" PRId64 "-0", producers->list[i].fetched);
            argc = source_word(&command, argc, command.ids[i]);
        }
    }

    return mining_redis_send(redis, argc, command.argv, command.lengths);
}


mining_result_e
mining_source_ask(mining_source_t *source, mining_redis_t *redis,
    const mining_producers_t *producers, unsigned block_ms)
{
    unsigned        n, next, asked;
    mining_result_e rc;

    n = mining_source_readable(producers);
    if (n == 0) {
        return MINING_DECLINED;
    }

    n = n > SOURCE_ENTRIES ? 1 : SOURCE_ENTRIES / n;
    asked = 0;
    next = 0;

    do {
        rc = source_ask_some(redis, producers, n, block_ms, &next);
        asked += rc == MINING_OK ? 1 : 0;
    } while (rc == MINING_OK && next < producers->n);

    if (rc == MINING_OK || rc == MINING_DECLINED) {
        rc = mining_redis_flush(redis);
    }
    source->asked = rc == MINING_OK ? asked : 0;

    return rc;
}


static int
source_producer(const mining_producers_t *producers, const redisReply *key,
    unsigned *producer)
{
    unsigned i;

    if (key->type != REDIS_REPLY_STRING || key->len != SOURCE_KEY) {
        return 0;
    }

    for (i = 0; i < producers->n; i++) {
        if (producers->list[i].held
            && memcmp(
                   key->str + 7, producers->list[i].name, TRACKER_PRODUCER_TEXT)
                   == 0)
        {
            *producer = i;
            return 1;
        }
    }

    return 0;
}


/* The sequence of an entry id "<seq>-<n>", or of a field; -1: it is none. */
static int64_t
source_sequence(const redisReply *text, char after)
{
    char     *end;
    long long value;

    if (text->type != REDIS_REPLY_STRING || text->len == 0 || text->str[0] < '0'
        || text->str[0] > '9' || text->len > 40)
    {
        return -1;
    }

    value = strtoll(text->str, &end, 10);

    return *end == after && value < INT64_MAX ? value : -1;
}


/* Checks the shape of the whole answer, so that reading it needs no checks. */
static int
source_shaped(const redisReply *reply, mining_producers_t *producers)
{
    size_t            i, j;
    int64_t           seq;
    unsigned          producer;
    const redisReply *stream, *entries, *entry;

    if (reply->type != REDIS_REPLY_ARRAY) {
        return 0;
    }

    for (i = 0; i < reply->elements; i++) {
        stream = reply->element[i];
        if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2
            || !source_producer(producers, stream->element[0], &producer)
            || stream->element[1]->type != REDIS_REPLY_ARRAY)
        {
            return 0;
        }

        entries = stream->element[1];
        for (j = 0; j < entries->elements; j++) {
            entry = entries->element[j];
            if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2) {
                return 0;
            }
            seq = source_sequence(entry->element[0], '-');
            if (seq < 0) {
                return 0;
            }
            producers->list[producer].fetched = seq;
        }
    }

    return 1;
}


static mining_result_e
source_keep(mining_source_t *source, redisReply *reply)
{
    struct redisReply **kept;

    if (source->nkept == source->size) {
        kept = realloc(
            source->kept, (source->size + 16) * sizeof(struct redisReply *));
        if (kept == NULL) {
            freeReplyObject(reply);
            return MINING_NOMEM;
        }
        source->kept = kept;
        source->size += 16;
    }

    source->kept[source->nkept++] = reply;

    return MINING_OK;
}


/* Goes on to the next answer that is kept; 0: there is none. */
static int
source_turn(mining_source_t *source)
{
    source->reply = NULL;
    source->stream = 0;
    source->entry = 0;
    source->pos = NULL;

    if (source->nused == source->nkept) {
        return 0;
    }

    source->reply = source->kept[source->nused++];

    return 1;
}


/* One of the answers; DECLINED: it holds nothing. */
static mining_result_e
source_answer_one(mining_source_t *source, mining_redis_t *redis,
    mining_producers_t *producers)
{
    redisReply     *reply;
    mining_result_e rc;

    rc = mining_redis_take(redis, &reply);
    if (rc != MINING_OK) {
        if (reply != NULL) {
            freeReplyObject(reply);
        }
        return rc;
    }

    if (reply->type == REDIS_REPLY_NIL
        || (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0))
    {
        freeReplyObject(reply);
        return MINING_DECLINED;
    }

    if (!source_shaped(reply, producers)) {
        freeReplyObject(reply);
        return mining_redis_lost(
            redis, "the answer to XREAD is no list of entries");
    }

    return source_keep(source, reply);
}


/* After a refusal the others are taken all the same: they are owed. */
mining_result_e
mining_source_answer(mining_source_t *source, mining_redis_t *redis,
    mining_producers_t *producers)
{
    char            error[sizeof(redis->error)];
    mining_result_e rc, answer;

    answer = MINING_DECLINED;

    for (; source->asked > 0; source->asked--) {
        rc = source_answer_one(source, redis, producers);

        if (rc == MINING_REFUSED) {
            memcpy(error, redis->error, sizeof(error));
            answer = rc;

        } else if (rc != MINING_OK && rc != MINING_DECLINED) {
            source->asked = 0;
            return rc;
        }
    }

    if (answer == MINING_REFUSED) {
        memcpy(redis->error, error, sizeof(error));
    }

    if (source->reply == NULL && source_turn(source)) {
        return MINING_OK;
    }

    return answer;
}


static const redisReply *
source_field(const redisReply *fields, char name)
{
    size_t i;

    for (i = 0; i + 1 < fields->elements; i += 2) {
        if (fields->element[i]->type == REDIS_REPLY_STRING
            && fields->element[i]->len == 1
            && fields->element[i]->str[0] == name
            && fields->element[i + 1]->type == REDIS_REPLY_STRING)
        {
            return fields->element[i + 1];
        }
    }

    return NULL;
}


static int64_t
source_lines(const char *p, const char *end)
{
    int64_t n;

    for (n = 1; (p = memchr(p, '\n', (size_t) (end - p))) != NULL; n++) {
        p++;
    }

    return n;
}


/* Sets the item up for the first line of an entry. */
static void
source_open(mining_source_t *source, const mining_producer_t *producer,
    const redisReply *entry)
{
    int64_t           first, lines;
    mining_item_t    *item;
    const redisReply *f, *e;

    item = &source->item;
    source->last = source_sequence(entry->element[0], '-');

    f = NULL;
    e = NULL;
    if (entry->element[1]->type == REDIS_REPLY_ARRAY) {
        f = source_field(entry->element[1], 'f');
        e = source_field(entry->element[1], 'e');
    }

    first = f != NULL ? source_sequence(f, '\0') : -1;
    item->reason = NULL;
    item->gap = 0;

    source->pos = e != NULL ? e->str : "";
    source->end = source->pos + (e != NULL ? e->len : 0);
    if (source->end > source->pos && source->end[-1] == '\n') {
        source->end--;
    }
    lines = source_lines(source->pos, source->end);

    if (first < 1 || first > source->last) {
        item->reason = "entry without a field f of 1 up to its id";
    } else if (e == NULL) {
        item->reason = "entry without a field e";
    } else if (lines > source->last - first + 1) {
        item->reason = "entry with more events than sequences f ... id";
    }

    if (item->reason != NULL) {
        item->seq = source->last;
        item->gap = source->last - producer->taken;
        return;
    }

    item->seq = first;
    if (first > producer->taken + 1) {
        item->gap = first - producer->taken - 1;
    }
}


/* Cuts the line at pos and gives it its sequence; 0 at the entry's end. */
static int
source_line(mining_source_t *source, const mining_producer_t *producer)
{
    int64_t        skipped;
    const char    *end;
    mining_item_t *item;

    item = &source->item;

    while (source->pos <= source->end) {

        end = item->reason != NULL ? source->end
                                   : memchr(source->pos, '\n',
                                       (size_t) (source->end - source->pos));
        if (end == NULL) {
            end = source->end;
        }

        if (end == source->end && item->seq < source->last) {
            skipped =
                item->seq > producer->taken ? item->seq : producer->taken + 1;
            item->gap += source->last - skipped;
            item->seq = source->last;
        }

        item->line.data = source->pos;
        item->line.len = (size_t) (end - source->pos);

        if (item->seq > producer->taken) {
            return 1;
        }

        source->pos = end + 1;
        item->seq++;
        item->gap = 0;
    }

    return 0;
}


mining_result_e
mining_source_next(mining_source_t *source, const mining_producers_t *producers,
    mining_item_t *item)
{
    const redisReply        *stream, *entries;
    const mining_producer_t *producer;

    while (source->reply != NULL) {

        if (source->stream == source->reply->elements) {
            (void) source_turn(source);
            continue;
        }

        stream = source->reply->element[source->stream];
        entries = stream->element[1];

        if (source->entry == entries->elements
            || !source_producer(
                producers, stream->element[0], &source->item.producer))
        {
            source->stream++;
            source->entry = 0;
            source->pos = NULL;
            continue;
        }

        producer = &producers->list[source->item.producer];
        if (source->pos == NULL) {
            source_open(source, producer, entries->element[source->entry]);
        }

        if (source_line(source, producer)) {
            *item = source->item;
            return MINING_OK;
        }

        source->entry++;
        source->pos = NULL;
    }

    return MINING_DECLINED;
}


void
mining_source_taken(mining_source_t *source, mining_producers_t *producers)
{
    mining_item_t     *item;
    mining_producer_t *producer;

    item = &source->item;
    producer = &producers->list[item->producer];

    producer->taken = item->seq;
    producer->gap += item->gap;

    source->pos = item->line.data + item->line.len + 1;
    item->seq++;
    item->gap = 0;
}


void
mining_source_release(mining_source_t *source)
{
    unsigned i, n;

    /* what is being read, and what is still to be read, stays */
    n = source->nused - (source->reply != NULL ? 1 : 0);

    for (i = 0; i < n; i++) {
        freeReplyObject(source->kept[i]);
    }
    if (n > 0) {
        memmove(source->kept, source->kept + n,
            (source->nkept - n) * sizeof(struct redisReply *));
    }

    source->nkept -= n;
    source->nused -= n;
}


void
mining_source_reset(mining_source_t *source)
{
    source->reply = NULL;
    source->nused = source->nkept;
    mining_source_release(source);
    free(source->kept);
    memset(source, 0, sizeof(*source));
}
