/*
 * redis.c - Redis through hiredis, with a deadline on every answer.
 *
 * Commands are pipelined: send any number, then take as many answers.  After
 * LOST (no connection, no answer in time, an answer that is not RESP) the
 * connection is closed, and answers still owed are gone with it.
 */

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mining.h"


typedef struct {
    char unix_path[108];
    char host[128];
    char db[8];
    int  port;
} redis_address_t;


static mining_result_e
redis_lost(mining_redis_t *redis, const char *why)
{
    redis->error[0] = '\0';
    mining_text(redis->error, sizeof(redis->error), "%s", why);

    mining_redis_close(redis);

    return MINING_LOST;
}


static mining_result_e
redis_address(mining_redis_t *redis, redis_address_t *address, const char *text)
{
    char *colon, *slash, *end;
    long  port;

    memset(address, 0, sizeof(*address));

    if (strncmp(text, "unix:", 5) == 0) {
        if (strlen(text + 5) < sizeof(address->unix_path)) {
            mining_text(
                address->unix_path, sizeof(address->unix_path), "%s", text + 5);
            return MINING_OK;
        }
        goto invalid;
    }

    if (strncmp(text, "redis://", 8) == 0) {
        text += 8;
    }

    if (strlen(text) >= sizeof(address->host)) {
        goto invalid;
    }
    mining_text(address->host, sizeof(address->host), "%s", text);

    slash = strchr(address->host, '/');
    if (slash != NULL) {
        *slash++ = '\0';
        if (strlen(slash) >= sizeof(address->db)
            || strspn(slash, "0123456789") != strlen(slash))
        {
            goto invalid;
        }
        mining_text(address->db, sizeof(address->db), "%s", slash);
    }

    address->port = 6379;
    colon = strrchr(address->host, ':');
    if (colon != NULL) {
        *colon++ = '\0';
        port = strtol(colon, &end, 10);
        if (end == colon || *end != '\0' || port < 1 || port > 65535) {
            goto invalid;
        }
        address->port = (int) port;
    }

    if (address->host[0] != '\0') {
        return MINING_OK;
    }

invalid:

    (void) redis_lost(redis, "the address is not HOST:PORT, "
                             "redis://HOST:PORT/DB or unix:PATH");

    return MINING_INVALID;
}


static mining_result_e
redis_select(mining_redis_t *redis, const char *db)
{
    mining_result_e rc;
    redisReply     *reply;
    const char     *argv[] = {"SELECT", db};
    const size_t    lengths[] = {6, strlen(db)};

    rc = mining_redis_send(redis, 2, argv, lengths);
    if (rc == MINING_OK) {
        rc = mining_redis_take(redis, &reply);
        freeReplyObject(reply);
    }

    return rc;
}


mining_result_e
mining_redis_open(mining_redis_t *redis, const char *address, unsigned wait_ms)
{
    struct timeval  wait;
    mining_result_e rc;
    redis_address_t parsed;

    redis->context = NULL;
    redis->where[0] = '\0';

    if (address == NULL) {
        (void) redis_lost(redis, "no address: give --redis or set CRM_REDIS");
        return MINING_INVALID;
    }

    rc = redis_address(redis, &parsed, address);
    if (rc != MINING_OK) {
        return rc;
    }
    mining_text(redis->where, sizeof(redis->where), "%s", address);

    wait.tv_sec = wait_ms / 1000;
    wait.tv_usec = (suseconds_t) (wait_ms % 1000) * 1000;

    redis->context =
        parsed.unix_path[0] != '\0'
            ? redisConnectUnixWithTimeout(parsed.unix_path, wait)
            : redisConnectWithTimeout(parsed.host, parsed.port, wait);

    if (redis->context == NULL) {
        return redis_lost(redis, "out of memory");
    }

    if (redis->context->err != 0) {
        return redis_lost(redis, redis->context->errstr);
    }

    if (redisSetTimeout(redis->context, wait) != REDIS_OK) {
        return redis_lost(redis, "cannot set a time-out");
    }

    return parsed.db[0] != '\0' ? redis_select(redis, parsed.db) : MINING_OK;
}


void
mining_redis_close(mining_redis_t *redis)
{
    if (redis->context != NULL) {
        redisFree(redis->context);
        redis->context = NULL;
    }
}


mining_result_e
mining_redis_send(
    mining_redis_t *redis, int argc, const char **argv, const size_t *lengths)
{
    if (redis->context == NULL) {
        return redis_lost(redis, "not connected");
    }

    if (redisAppendCommandArgv(redis->context, argc, argv, lengths) != REDIS_OK)
    {
        return redis_lost(redis, "out of memory");
    }

    return MINING_OK;
}


mining_result_e
mining_redis_flush(mining_redis_t *redis)
{
    int done;

    if (redis->context == NULL) {
        return redis_lost(redis, "not connected");
    }

    do {
        if (redisBufferWrite(redis->context, &done) != REDIS_OK) {
            return redis_lost(redis, redis->context->errstr);
        }
    } while (!done);

    return MINING_OK;
}


mining_result_e
mining_redis_take(mining_redis_t *redis, struct redisReply **reply)
{
    void *got;

    *reply = NULL;

    if (redis->context == NULL) {
        return redis_lost(redis, "not connected");
    }

    if (redisGetReply(redis->context, &got) != REDIS_OK || got == NULL) {
        if (redis->context->err == REDIS_ERR_IO
            && (errno == EAGAIN || errno == EWOULDBLOCK))
        {
            return redis_lost(redis, "no answer in time");
        }
        return redis_lost(redis, redis->context->errstr[0] != '\0'
                                     ? redis->context->errstr
                                     : "no answer");
    }

    *reply = got;
    if ((*reply)->type == REDIS_REPLY_ERROR) {
        redis->error[0] = '\0';
        mining_text(redis->error, sizeof(redis->error), "%s", (*reply)->str);
        return MINING_REFUSED;
    }

    return MINING_OK;
}
