/*
 * redis.c - Redis through hiredis, with a deadline on every answer.
 *
 * Commands are pipelined: send any number, then take as many answers.  After
 * LOST (no connection, no answer in time, an answer that is not RESP) the
 * connection is closed, and answers still owed are gone with it.
 *
 * Whether there is one Redis or a cluster is found out when the connection is
 * made; redis_cluster.c knows what to do with the latter.
 */

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mining.h"


/* Errors that pass by themselves: whoever asked comes again later. */
static const char *const redis_passing[] = {
    "LOADING ", "CLUSTERDOWN ", "MASTERDOWN ", "TRYAGAIN ", "READONLY "};


mining_result_e
mining_redis_lost(mining_redis_t *redis, const char *why)
{
    char error[sizeof(redis->error)];

    /* why may lie in what is closed */
    error[0] = '\0';
    mining_text(error, sizeof(error), "%s", why);
    memcpy(redis->error, error, sizeof(error));

    mining_redis_close(redis);

    return MINING_LOST;
}


struct redisReply *
mining_redis_call(struct redisContext *context, int argc, const char **argv)
{
    int    i;
    size_t lengths[4];

    for (i = 0; i < argc && i < 4; i++) {
        lengths[i] = strlen(argv[i]);
    }

    return redisCommandArgv(context, argc, argv, lengths);
}


/* AUTH and SELECT; 0: the error of redis says why not. */
static int
redis_greet(mining_redis_t *redis, redisContext *context)
{
    int         i, n, good;
    redisReply *reply;
    const char *auth[3] = {
        "AUTH", redis->address.user, redis->address.password};
    const char *select[2] = {"SELECT", redis->address.db};

    if (redis->address.user[0] == '\0') {
        auth[1] = redis->address.password;
    }

    for (i = 0; i < 2; i++) {
        if (i == 0 ? redis->address.password[0] == '\0'
                   : redis->address.db[0] == '\0') {
            continue;
        }

        n = i == 0 && redis->address.user[0] != '\0' ? 3 : 2;
        reply = mining_redis_call(context, n, i == 0 ? auth : select);
        good = reply != NULL && reply->type == REDIS_REPLY_STATUS;

        if (!good) {
            redis->error[0] = '\0';
            mining_text(redis->error, sizeof(redis->error), "%s",
                reply != NULL && reply->type == REDIS_REPLY_ERROR
                    ? reply->str
                    : "no answer to AUTH or SELECT");
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
        if (!good) {
            return 0;
        }
    }

    return 1;
}


struct redisContext *
mining_redis_connect(mining_redis_t *redis, const mining_endpoint_t *where)
{
    redisContext  *context;
    struct timeval wait;

    wait.tv_sec = redis->wait_ms / 1000;
    wait.tv_usec = (suseconds_t) (redis->wait_ms % 1000) * 1000;

    context = where == NULL
                  ? redisConnectUnixWithTimeout(redis->address.unix_path, wait)
                  : redisConnectWithTimeout(where->host, where->port, wait);

    redis->error[0] = '\0';

    if (context == NULL) {
        mining_text(redis->error, sizeof(redis->error), "out of memory");
        return NULL;
    }

    if (context->err != 0) {
        mining_text(redis->error, sizeof(redis->error), "%s", context->errstr);

    } else if (redisSetTimeout(context, wait) != REDIS_OK) {
        mining_text(
            redis->error, sizeof(redis->error), "cannot set a time-out");

    } else if (redis_greet(redis, context)) {
        return context;
    }

    redisFree(context);

    return NULL;
}


/* Any of the seeds, or of the nodes that were known before. */
static mining_result_e
redis_open_any(mining_redis_t *redis)
{
    unsigned          i;
    redisContext     *context;
    mining_result_e   rc;
    mining_endpoint_t where;

    rc = MINING_LOST;

    for (i = 0; i < redis->address.nseeds + redis->nnodes; i++) {
        where = i < redis->address.nseeds
                    ? redis->address.seeds[i]
                    : redis->nodes[i - redis->address.nseeds].where;

        context = mining_redis_connect(redis, &where);
        if (context == NULL) {
            continue;
        }

        rc = mining_cluster_map(redis, context, &where);

        if (rc == MINING_DECLINED && !redis->address.cluster) {
            redis->context = context;
            return MINING_OK;
        }

        if (rc == MINING_OK) {
            return rc;
        }

        if (rc == MINING_DECLINED) {
            redisFree(context);
            redis->error[0] = '\0';
            mining_text(redis->error, sizeof(redis->error),
                "%s:%d is no node of a cluster", where.host, where.port);
            rc = MINING_LOST;
        }
    }

    return rc;
}


mining_result_e
mining_redis_open(mining_redis_t *redis, const char *address, unsigned wait_ms)
{
    const char     *fault;
    mining_result_e rc;

    redis->context = NULL;
    redis->where[0] = '\0';
    redis->wait_ms = wait_ms;

    if (address == NULL) {
        (void) mining_redis_lost(
            redis, "no address: give --redis or set CRM_REDIS");
        return MINING_INVALID;
    }

    rc = mining_redis_parse(&redis->address, address, &fault);
    if (rc != MINING_OK) {
        (void) mining_redis_lost(redis, fault);
        return rc;
    }
    mining_redis_shown(redis->where, sizeof(redis->where), address);

    if (redis->address.unix_path[0] == '\0') {
        return redis_open_any(redis);
    }

    redis->context = mining_redis_connect(redis, NULL);

    return redis->context != NULL ? MINING_OK : MINING_LOST;
}


void
mining_redis_close(mining_redis_t *redis)
{
    if (redis->cluster) {
        mining_cluster_close(redis);

    } else if (redis->context != NULL) {
        redisFree(redis->context);
    }

    redis->context = NULL;
}


mining_result_e
mining_redis_send(
    mining_redis_t *redis, int argc, const char **argv, const size_t *lengths)
{
    if (redis->context == NULL) {
        return mining_redis_lost(redis, "not connected");
    }

    if (redis->cluster) {
        return mining_cluster_send(redis, argc, argv, lengths);
    }

    if (redisAppendCommandArgv(redis->context, argc, argv, lengths) != REDIS_OK)
    {
        return mining_redis_lost(redis, "out of memory");
    }

    return MINING_OK;
}


mining_result_e
mining_redis_flush(mining_redis_t *redis)
{
    int done;

    if (redis->context == NULL) {
        return mining_redis_lost(redis, "not connected");
    }

    if (redis->cluster) {
        return mining_cluster_flush(redis);
    }

    do {
        if (redisBufferWrite(redis->context, &done) != REDIS_OK) {
            return mining_redis_lost(redis, redis->context->errstr);
        }
    } while (!done);

    return MINING_OK;
}


static mining_result_e
redis_take_one(mining_redis_t *redis, struct redisReply **reply)
{
    void *got;

    if (redisGetReply(redis->context, &got) != REDIS_OK || got == NULL) {
        if (redis->context->err == REDIS_ERR_IO
            && (errno == EAGAIN || errno == EWOULDBLOCK))
        {
            return mining_redis_lost(redis, "no answer in time");
        }
        return mining_redis_lost(redis, redis->context->errstr[0] != '\0'
                                            ? redis->context->errstr
                                            : "no answer");
    }

    *reply = got;

    return MINING_OK;
}


mining_result_e
mining_redis_take(mining_redis_t *redis, struct redisReply **reply)
{
    size_t          i;
    mining_result_e rc;

    *reply = NULL;

    if (redis->context == NULL) {
        return mining_redis_lost(redis, "not connected");
    }

    rc = redis->cluster ? mining_cluster_take(redis, reply)
                        : redis_take_one(redis, reply);

    if (rc != MINING_OK || (*reply)->type != REDIS_REPLY_ERROR) {
        return rc;
    }

    for (i = 0; i < sizeof(redis_passing) / sizeof(redis_passing[0]); i++) {
        if (strncmp((*reply)->str, redis_passing[i], strlen(redis_passing[i]))
            == 0) {
            rc = mining_redis_lost(redis, (*reply)->str);
            freeReplyObject(*reply);
            *reply = NULL;
            return rc;
        }
    }

    redis->error[0] = '\0';
    mining_text(redis->error, sizeof(redis->error), "%s", (*reply)->str);

    return MINING_REFUSED;
}
