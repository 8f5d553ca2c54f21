/*
 * status.c - how far everything is: producers, events, partitions, runs.
 *
 * Lag is what Redis holds beyond the position in PostgreSQL.  Without Redis
 * the rest is shown all the same, and the exit code says that a part failed.
 */

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define STATUS_WAIT_MS 5000

static const char status_producers[] =
    "select producer, last_seq, events, gap,"
    " to_char(modified_at, 'YYYY-MM-DD HH24:MI:SS')"
    " from crm.producer order by producer";

static const char status_days[] =
    "select count(*), coalesce(min(substr(c.relname, 7)), '-'),"
    " coalesce(max(substr(c.relname, 7)), '-')"
    " from pg_inherits i join pg_class c on c.oid = i.inhrelid"
    " where i.inhparent = 'crm.event'::regclass";

static const char status_runs[] =
    "select distinct on (site, task) site, task, id, state,"
    " to_char(started_at, 'YYYY-MM-DD HH24:MI:SS'),"
    " coalesce(round(extract(epoch from ended_at - started_at)::numeric, 1)"
    " || ' s', '-'), coalesce(rows_out::text, '-'), coalesce(summary, '')"
    " from crm.run order by site, task, id desc";


/* The last entry's id of a producer's stream, -1: unknown. */
static int64_t
status_stream(mining_redis_t *redis, const char *producer)
{
    char              key[64];
    int64_t           last;
    redisReply       *reply;
    mining_result_e   rc;
    const redisReply *entry;

    if (redis->context == NULL) {
        return -1;
    }

    (void) snprintf(key, sizeof(key), "crm:ev:%s", producer);

    {
        const char  *argv[] = {"XREVRANGE", key, "+", "-", "COUNT", "1"};
        const size_t lengths[] = {9, strlen(key), 1, 1, 5, 1};

        rc = mining_redis_send(redis, 6, argv, lengths);
    }
    if (rc != MINING_OK) {
        return -1;
    }

    last = -1;
    rc = mining_redis_take(redis, &reply);
    if (rc == MINING_OK && reply->type == REDIS_REPLY_ARRAY) {
        last = 0;
        entry = reply->elements == 1 ? reply->element[0] : NULL;
        if (entry != NULL && entry->type == REDIS_REPLY_ARRAY
            && entry->elements == 2
            && entry->element[0]->type == REDIS_REPLY_STRING)
        {
            last = strtoll(entry->element[0]->str, NULL, 10);
        }
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }

    return last;
}


static mining_result_e
status_show_producers(mining_db_t *db, mining_redis_t *redis)
{
    int             i;
    int64_t         last, position;
    PGresult       *res;
    mining_result_e rc;

    rc = mining_db_query(db, &res, status_producers, 0, NULL);
    if (rc != MINING_OK) {
        return rc;
    }

    (void) printf("%-16s %12s %12s %8s %8s  %s\n", "producer", "position",
        "events", "gap", "lag", "moved at (UTC)");

    for (i = 0; i < PQntuples(res); i++) {
        position = strtoll(PQgetvalue(res, i, 1), NULL, 10);
        last = status_stream(redis, PQgetvalue(res, i, 0));

        (void) printf("%-16s %12s %12s %8s ", PQgetvalue(res, i, 0),
            PQgetvalue(res, i, 1), PQgetvalue(res, i, 2),
            PQgetvalue(res, i, 3));
        if (last < 0) {
            (void) printf("%8s", "?");
        } else {
            (void) printf("%8" PRId64, last > position ? last - position : 0);
        }
        (void) printf("  %s\n", PQgetvalue(res, i, 4));
    }
    PQclear(res);

    return MINING_OK;
}


static mining_result_e
status_show_days(mining_db_t *db)
{
    PGresult       *res;
    mining_result_e rc;

    rc = mining_db_query(db, &res, status_days, 0, NULL);
    if (rc == MINING_OK) {
        (void) printf("\npartitions: %s days, %s to %s\n",
            PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1),
            PQgetvalue(res, 0, 2));
        PQclear(res);
    }

    return rc;
}


static mining_result_e
status_show_runs(mining_db_t *db)
{
    int             i;
    PGresult       *res;
    mining_result_e rc;

    rc = mining_db_query(db, &res, status_runs, 0, NULL);
    if (rc != MINING_OK) {
        return rc;
    }

    (void) printf("\nlast runs:%s\n", PQntuples(res) == 0 ? " none" : "");
    for (i = 0; i < PQntuples(res); i++) {
        (void) printf("%s %s: run %s %s, %s, %s, %s rows%s%s\n",
            PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), PQgetvalue(res, i, 2),
            PQgetvalue(res, i, 3), PQgetvalue(res, i, 4), PQgetvalue(res, i, 5),
            PQgetvalue(res, i, 6), *PQgetvalue(res, i, 7) ? ": " : "",
            PQgetvalue(res, i, 7));
    }
    PQclear(res);

    return MINING_OK;
}


int
mining_status(const mining_settings_t *settings, int argc, char **argv)
{
    int             code;
    unsigned        nwords;
    mining_db_t     db;
    const char     *words[64];
    mining_redis_t  redis;
    mining_result_e rc;

    static const mining_option_t options[] = {
        {NULL, NULL, MINING_OPTION_FLAG, 0}};

    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK
        || nwords != 0)
    {
        mining_say("usage: status");
        return MINING_EXIT_USAGE;
    }

    memset(&db, 0, sizeof(db));
    memset(&redis, 0, sizeof(redis));
    db.stoppable = 1;
    code = MINING_EXIT_OK;

    rc = mining_redis_open(&redis, settings->redis, STATUS_WAIT_MS);
    if (rc != MINING_OK) {
        mining_say("status: redis %s: %s", redis.where, redis.error);
        code = MINING_EXIT_FAILED;
    }

    rc = mining_db_open(&db, settings->pg);
    if (rc == MINING_OK) {
        rc = status_show_producers(&db, &redis);
    }
    if (rc == MINING_OK) {
        rc = status_show_days(&db);
    }
    if (rc == MINING_OK) {
        rc = status_show_runs(&db);
    }
    if (rc != MINING_OK) {
        mining_say("status: postgresql: %s", db.error);
        code = MINING_EXIT_FAILED;
    }

    mining_redis_close(&redis);
    mining_db_close(&db);

    return code;
}
