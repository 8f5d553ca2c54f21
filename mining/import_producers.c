/*
 * import_producers.c - which importer reads which stream.
 *
 * A producer belongs to the importer whose connection holds the advisory lock
 * of its 64-bit id; the lock falls with the connection, and the transaction
 * that moves the position runs on the same connection, so that nobody can
 * commit for a producer that is no longer his.  Every importer also holds one
 * shared lock that all can count: each keeps at most its share of producers.
 */

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


/* The pair (MINING_LOCK_CLASS, 1) is held shared by every importer. */
#define PRODUCERS_PRESENCE "select pg_try_advisory_lock_shared(5460557, 1)"
#define PRODUCERS_IMPORTERS                                                    \
    "select count(distinct pid) from pg_locks where locktype = 'advisory'"     \
    " and classid = 5460557 and objid = 1 and objsubid = 2 and granted"        \
    " and database = (select oid from pg_database"                             \
    " where datname = current_database())"


static mining_result_e
producers_list(mining_redis_t *redis, redisReply **reply)
{
    mining_result_e rc;
    const char     *argv[] = {"SMEMBERS", "crm:producers"};
    const size_t    lengths[] = {8, 13};

    rc = mining_redis_send(redis, 2, argv, lengths);
    if (rc == MINING_OK) {
        rc = mining_redis_take(redis, reply);
    }

    if (rc == MINING_OK && (*reply)->type != REDIS_REPLY_ARRAY) {
        freeReplyObject(*reply);
        *reply = NULL;
        (void) mining_redis_lost(redis, "the answer to SMEMBERS is no list");
        rc = MINING_LOST;
    }

    return rc;
}


static int
producers_named(const redisReply *name)
{
    size_t i;

    if (name->type != REDIS_REPLY_STRING || name->len != TRACKER_PRODUCER_TEXT)
    {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        if (strchr("0123456789abcdef", name->str[i]) == NULL) {
            return 0;
        }
    }

    return 1;
}


static void
producers_see(mining_producers_t *producers, const char *name)
{
    unsigned           i;
    mining_producer_t *producer;

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        if (memcmp(producer->name, name, TRACKER_PRODUCER_TEXT) == 0) {
            producer->seen = 1;
            return;
        }
    }

    if (producers->n == MINING_PRODUCERS_MAX) {
        return;
    }

    producer = &producers->list[producers->n++];
    memset(producer, 0, sizeof(*producer));
    memcpy(producer->name, name, TRACKER_PRODUCER_TEXT);
    producer->seen = 1;
}


mining_result_e
mining_producers_read(mining_producers_t *producers, mining_redis_t *redis)
{
    size_t          i;
    unsigned        strange;
    redisReply     *reply;
    mining_result_e rc;

    reply = NULL;
    rc = producers_list(redis, &reply);
    if (rc != MINING_OK) {
        if (reply != NULL) {
            freeReplyObject(reply);
        }
        return rc;
    }

    for (i = 0; i < producers->n; i++) {
        producers->list[i].seen = 0;
    }

    strange = 0;
    for (i = 0; i < reply->elements; i++) {
        if (producers_named(reply->element[i])) {
            producers_see(producers, reply->element[i]->str);
        } else {
            strange++;
        }
    }
    freeReplyObject(reply);

    if (strange != producers->strange) {
        mining_say("import: %u members of crm:producers are no 16 hex digits"
                   " and are left alone",
            strange);
        producers->strange = strange;
    }

    return MINING_OK;
}


/* True and false of one advisory function, for one producer. */
static mining_result_e
producers_lock(mining_db_t *db, const char *name, int take, int64_t *done)
{
    const char *values[] = {name};

    return mining_db_number(db, done,
        take ? "select pg_try_advisory_lock(('x' || $1)::bit(64)::bigint)::int"
             : "select pg_advisory_unlock(('x' || $1)::bit(64)::bigint)::int",
        1, values);
}


static mining_result_e
producers_take(mining_producer_t *producer, mining_db_t *db)
{
    int64_t         locked;
    const char     *values[1];
    mining_result_e rc;

    rc = producers_lock(db, producer->name, 1, &locked);
    if (rc != MINING_OK || !locked) {
        return rc;
    }

    /* A statement of its own: its snapshot must be younger than the lock. */
    values[0] = producer->name;
    rc = mining_db_number(
        db, &producer->position, "select etl.position($1)", 1, values);

    if (rc == MINING_OK) {
        producer->taken = producer->position;
        producer->fetched = producer->position;
        producer->gap = 0;
        producer->held = 1;
        producer->published = 0;
    }

    return rc;
}


mining_result_e
mining_producers_share(mining_producers_t *producers, mining_db_t *db)
{
    int64_t            importers, unlocked;
    unsigned           i, held, seen, share;
    mining_result_e    rc;
    mining_producer_t *producer;

    rc = MINING_OK;
    if (!producers->present) {
        rc = mining_db_query(db, NULL, PRODUCERS_PRESENCE, 0, NULL);
        producers->present = rc == MINING_OK;
    }
    if (rc == MINING_OK) {
        rc = mining_db_number(db, &importers, PRODUCERS_IMPORTERS, 0, NULL);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    for (i = 0, held = 0, seen = 0; i < producers->n; i++) {
        held += producers->list[i].held ? 1 : 0;
        seen += producers->list[i].seen ? 1 : 0;
    }

    if (importers < 1) {
        importers = 1;
    }
    share = (seen + (unsigned) importers - 1) / (unsigned) importers;

    for (i = 0; i < producers->n && rc == MINING_OK; i++) {
        producer = &producers->list[i];

        if (producer->held && (held > share || !producer->seen)) {
            rc = producers_lock(db, producer->name, 0, &unlocked);
            producer->held = 0;
            held--;

        } else if (!producer->held && producer->seen && held < share) {
            rc = producers_take(producer, db);
            held += producer->held ? 1 : 0;
        }
    }

    return rc;
}


void
mining_producers_forget(mining_producers_t *producers)
{
    unsigned i;

    producers->present = 0;
    for (i = 0; i < producers->n; i++) {
        producers->list[i].held = 0;
    }
}


void
mining_producers_rewind(mining_producers_t *producers)
{
    unsigned           i;
    mining_producer_t *producer;

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        producer->taken = producer->position;
        producer->fetched = producer->position;
        producer->gap = 0;
    }
}


/* HSET crm:durable and XTRIM, two answers owed per producer. */
static mining_result_e
producers_tell(const mining_producer_t *producer, mining_redis_t *redis)
{
    char            key[32], position[24], after[24];
    mining_result_e rc;

    (void) snprintf(key, sizeof(key), "crm:ev:%s", producer->name);
    (void) snprintf(position, sizeof(position), "%" PRId64, producer->position);
    (void) snprintf(after, sizeof(after), "%" PRId64, producer->position + 1);

    {
        const char  *argv[] = {"HSET", "crm:durable", producer->name, position};
        const size_t lengths[] = {
            4, 11, TRACKER_PRODUCER_TEXT, strlen(position)};

        rc = mining_redis_send(redis, 4, argv, lengths);
    }

    if (rc == MINING_OK) {
        const char  *argv[] = {"XTRIM", key, "MINID", after};
        const size_t lengths[] = {5, strlen(key), 5, strlen(after)};

        rc = mining_redis_send(redis, 4, argv, lengths);
    }

    return rc;
}


mining_result_e
mining_producers_publish(
    mining_producers_t *producers, mining_redis_t *redis, unsigned *owed)
{
    unsigned           i;
    mining_result_e    rc;
    mining_producer_t *producer;

    rc = MINING_OK;

    for (i = 0; i < producers->n && rc == MINING_OK; i++) {
        producer = &producers->list[i];

        if (!producer->held
            || (producer->published && producer->told == producer->position))
        {
            continue;
        }

        rc = producers_tell(producer, redis);
        producer->told = producer->position;
        producer->published = 1;
        *owed += 2;
    }

    return rc;
}


mining_result_e
mining_producers_published(mining_redis_t *redis, unsigned owed)
{
    redisReply     *reply;
    mining_result_e rc;

    for (; owed > 0; owed--) {
        rc = mining_redis_take(redis, &reply);
        if (reply != NULL) {
            freeReplyObject(reply);
        }

        if (rc == MINING_REFUSED) {
            mining_say("import: redis %s refused a durable position: %s",
                redis->where, redis->error);
        } else if (rc != MINING_OK) {
            return rc;
        }
    }

    return MINING_OK;
}


/* The last entry id of a stream, 0 when it is empty. */
static mining_result_e
producers_end(
    const mining_producer_t *producer, mining_redis_t *redis, int64_t *last)
{
    char              key[32];
    redisReply       *reply;
    mining_result_e   rc;
    const redisReply *entry;

    *last = 0;
    (void) snprintf(key, sizeof(key), "crm:ev:%s", producer->name);

    {
        const char  *argv[] = {"XREVRANGE", key, "+", "-", "COUNT", "1"};
        const size_t lengths[] = {9, strlen(key), 1, 1, 5, 1};

        rc = mining_redis_send(redis, 6, argv, lengths);
    }
    if (rc == MINING_OK) {
        rc = mining_redis_take(redis, &reply);
    } else {
        return rc;
    }

    if (rc == MINING_OK && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == 1) {
        entry = reply->element[0];
        if (entry->type == REDIS_REPLY_ARRAY && entry->elements == 2
            && entry->element[0]->type == REDIS_REPLY_STRING)
        {
            *last = strtoll(entry->element[0]->str, NULL, 10);
        }
    }

    if (reply != NULL) {
        freeReplyObject(reply);
    }

    return rc;
}


mining_result_e
mining_producers_drained(mining_producers_t *producers, mining_db_t *db,
    mining_redis_t *redis, int64_t *sum)
{
    int64_t            last, position;
    unsigned           i;
    const char        *values[1];
    mining_result_e    rc, answer;
    mining_producer_t *producer;

    answer = MINING_OK;
    *sum = 0;

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        if (!producer->seen || producer->broken) {
            continue;
        }

        rc = producers_end(producer, redis, &last);
        if (rc == MINING_REFUSED) {
            continue;
        }
        if (rc != MINING_OK) {
            return rc;
        }

        values[0] = producer->name;
        rc = mining_db_number(
            db, &position, "select etl.position($1)", 1, values);
        if (rc != MINING_OK) {
            return rc;
        }

        *sum += position;
        if (last > position) {
            answer = MINING_DECLINED;
        }
    }

    return answer;
}


mining_result_e
mining_producers_probe(mining_producers_t *producers, mining_redis_t *redis)
{
    int64_t            last;
    unsigned           i;
    mining_result_e    rc, answer;
    mining_producer_t *producer;

    answer = MINING_DECLINED;

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        if (!producer->held || producer->broken) {
            continue;
        }

        rc = producers_end(producer, redis, &last);
        if (rc == MINING_REFUSED) {
            mining_say("import: crm:ev:%s cannot be read (%s) and is left"
                       " alone",
                producer->name, redis->error);
            producer->broken = 1;
            answer = MINING_OK;

        } else if (rc != MINING_OK) {
            return rc;
        }
    }

    return answer;
}
