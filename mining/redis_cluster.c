/*
 * redis_cluster.c - a Redis Cluster for crm-mine: nodes, slots, MOVED and ASK.
 *
 * Answers are taken in the order of sending, whichever nodes owe them.  One
 * that says MOVED or ASK is asked for elsewhere on a connection of its own,
 * which is rare enough; MOVED also has the map read again before the next
 * command goes out.
 *
 * A node that is lost costs all connections: the caller starts again from what
 * is committed, as after any other loss, until a replica has taken over.  Nodes
 * once known are remembered, so that one that was named need not live for ever.
 */

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mining.h"


#define CLUSTER_NONE UINT8_MAX
#define CLUSTER_HOPS 5
#define CLUSTER_OWED 256 /* answers there is room for at first */


/* The index of that node, made if it is new; CLUSTER_NONE: no room. */
static unsigned
cluster_node(mining_redis_t *redis, const char *host, size_t len, int port)
{
    unsigned       i;
    mining_node_t *node;

    if (len == 0 || len >= MINING_REDIS_HOST || port < 1 || port > 65535) {
        return CLUSTER_NONE;
    }

    for (i = 0; i < redis->nnodes; i++) {
        node = &redis->nodes[i];
        if (node->where.port == port && strlen(node->where.host) == len
            && memcmp(node->where.host, host, len) == 0)
        {
            return i;
        }
    }

    if (i == MINING_REDIS_NODES) {
        return CLUSTER_NONE;
    }

    node = &redis->nodes[redis->nnodes++];
    memset(node, 0, sizeof(*node));
    memcpy(node->where.host, host, len);
    node->where.host[len] = '\0';
    node->where.port = port;

    return i;
}


/* One range of CLUSTER SLOTS: [first, last, [host, port, ...], ...] */
static int
cluster_range(mining_redis_t *redis, const redisReply *range,
    const mining_endpoint_t *asked)
{
    unsigned          i;
    const char       *host;
    const redisReply *first, *last, *node;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3) {
        return 0;
    }

    first = range->element[0];
    last = range->element[1];
    node = range->element[2];

    if (first->type != REDIS_REPLY_INTEGER || last->type != REDIS_REPLY_INTEGER
        || first->integer < 0 || last->integer >= TRACKER_CLUSTER_SLOTS
        || first->integer > last->integer || node->type != REDIS_REPLY_ARRAY
        || node->elements < 2
        || (node->element[0]->type != REDIS_REPLY_STRING
            && node->element[0]->type != REDIS_REPLY_NIL)
        || node->element[1]->type != REDIS_REPLY_INTEGER)
    {
        return 0;
    }

    host = node->element[0]->type == REDIS_REPLY_STRING
                   && node->element[0]->len > 0
               ? node->element[0]->str
               : asked->host;
    i = cluster_node(
        redis, host, strlen(host), (int) node->element[1]->integer);
    memset(&redis->map[first->integer], (int) i,
        (size_t) (last->integer - first->integer) + 1);

    return 1;
}


static mining_result_e
cluster_ask(mining_redis_t *redis, redisContext *context,
    const mining_endpoint_t *asked)
{
    size_t          i;
    redisReply     *reply;
    const char     *argv[] = {"CLUSTER", "SLOTS"};
    mining_result_e rc;

    reply = mining_redis_call(context, 2, argv);
    if (reply == NULL) {
        redis->error[0] = '\0';
        mining_text(redis->error, sizeof(redis->error),
            "no answer to CLUSTER SLOTS: %s", context->errstr);
        return MINING_LOST;
    }

    /* no cluster, or a user who may not know */
    if (reply->type == REDIS_REPLY_ERROR) {
        rc = strncmp(reply->str, "LOADING", 7) == 0 ? MINING_LOST
                                                    : MINING_DECLINED;
        redis->error[0] = '\0';
        mining_text(redis->error, sizeof(redis->error), "%s", reply->str);
        freeReplyObject(reply);
        return rc;
    }

    memset(redis->map, CLUSTER_NONE, sizeof(redis->map));
    rc = reply->type == REDIS_REPLY_ARRAY ? MINING_OK : MINING_LOST;

    for (i = 0; rc == MINING_OK && i < reply->elements; i++) {
        if (!cluster_range(redis, reply->element[i], asked)) {
            rc = MINING_LOST;
        }
    }
    freeReplyObject(reply);

    if (rc != MINING_OK) {
        redis->error[0] = '\0';
        mining_text(redis->error, sizeof(redis->error),
            "the answer to CLUSTER SLOTS is no map");
    }

    return rc;
}


mining_result_e
mining_cluster_map(mining_redis_t *redis, struct redisContext *context,
    const mining_endpoint_t *where)
{
    unsigned        i;
    mining_result_e rc;

    redis->cluster = 0;

    rc = cluster_ask(redis, context, where);
    if (rc == MINING_DECLINED) {
        return rc;
    }

    i = rc == MINING_OK
            ? cluster_node(redis, where->host, strlen(where->host), where->port)
            : CLUSTER_NONE;
    if (i == CLUSTER_NONE) {
        redisFree(context);
        return MINING_LOST;
    }

    redis->cluster = 1;
    redis->stale = 0;
    redis->nodes[i].context = context;
    redis->context = context;

    return MINING_OK;
}


void
mining_cluster_close(mining_redis_t *redis)
{
    unsigned i;

    for (i = 0; i < redis->nnodes; i++) {
        if (redis->nodes[i].context != NULL) {
            redisFree(redis->nodes[i].context);
            redis->nodes[i].context = NULL;
        }
        redis->nodes[i].unflushed = 0; /* what was unsent is void, too */
    }

    for (; redis->owed_first < redis->owed_last; redis->owed_first++) {
        free(redis->owed[redis->owed_first].command);
    }
    free(redis->owed);

    redis->owed = NULL;
    redis->owed_first = 0;
    redis->owed_last = 0;
    redis->owed_size = 0;
}


static mining_result_e
cluster_refresh(mining_redis_t *redis)
{
    unsigned       i;
    mining_node_t *node;

    for (i = 0; i < redis->nnodes; i++) {
        node = &redis->nodes[i];
        if (node->context != NULL
            && cluster_ask(redis, node->context, &node->where) == MINING_OK)
        {
            redis->stale = 0;
            return MINING_OK;
        }
    }

    return mining_redis_lost(redis, "no node of the cluster tells the map");
}


/* Who has the key of the command, connected to; NULL: lost. */
static mining_node_t *
cluster_route(mining_redis_t *redis, const char *key, size_t len)
{
    unsigned       i;
    char           error[sizeof(redis->error)];
    tracker_str_t  text = {key, len};
    mining_node_t *node;

    if (redis->stale && redis->owed_first == redis->owed_last
        && cluster_refresh(redis) != MINING_OK)
    {
        return NULL;
    }

    i = redis->map[tracker_cluster_slot(text)];
    if (i == CLUSTER_NONE) {
        (void) mining_redis_lost(redis, "a slot of the cluster has no master");
        return NULL;
    }

    node = &redis->nodes[i];
    if (node->context == NULL) {
        node->context = mining_redis_connect(redis, &node->where);
    }
    if (node->context == NULL) {
        memcpy(error, redis->error, sizeof(error));
        (void) mining_redis_lost(redis, error);
        return NULL;
    }

    return node;
}


static mining_owed_t *
cluster_owe(mining_redis_t *redis)
{
    size_t         size;
    mining_owed_t *owed;

    if (redis->owed_first == redis->owed_last) {
        redis->owed_first = 0;
        redis->owed_last = 0;
    }

    if (redis->owed_last == redis->owed_size) {
        size = redis->owed_size != 0 ? 2 * redis->owed_size : CLUSTER_OWED;
        owed = realloc(redis->owed, size * sizeof(*owed));
        if (owed == NULL) {
            return NULL;
        }
        redis->owed = owed;
        redis->owed_size = size;
    }

    return &redis->owed[redis->owed_last];
}


mining_result_e
mining_cluster_send(
    mining_redis_t *redis, int argc, const char **argv, const size_t *lengths)
{
    int            key;
    mining_node_t *node;
    mining_owed_t *owed;

    key = strcasecmp(argv[0], "XREAD") == 0 ? argc - 2 : 1;

    node = cluster_route(redis, argv[key], lengths[key]);
    if (node == NULL) {
        return MINING_LOST;
    }

    owed = cluster_owe(redis);
    if (owed == NULL) {
        return mining_redis_lost(redis, "out of memory");
    }

    owed->command = NULL;
    owed->len = redisFormatCommandArgv(&owed->command, argc, argv, lengths);
    owed->node = (unsigned) (node - redis->nodes);

    if (owed->len < 0) {
        return mining_redis_lost(redis, "out of memory");
    }

    redis->owed_last++;
    node->unflushed = 1;

    if (redisAppendFormattedCommand(
            node->context, owed->command, (size_t) owed->len)
        != REDIS_OK)
    {
        return mining_redis_lost(redis, "out of memory");
    }

    return MINING_OK;
}


mining_result_e
mining_cluster_flush(mining_redis_t *redis)
{
    int            done;
    unsigned       i;
    mining_node_t *node;

    for (i = 0; i < redis->nnodes; i++) {
        node = &redis->nodes[i];

        for (done = 0; node->unflushed && !done; node->unflushed = !done) {
            if (node->context == NULL
                || redisBufferWrite(node->context, &done) != REDIS_OK) {
                return mining_redis_lost(redis, node->context != NULL
                                                    ? node->context->errstr
                                                    : "not connected");
            }
        }
    }

    return MINING_OK;
}


/* Asks one node for one command, on a connection of its own; NULL: lost. */
static redisReply *
cluster_elsewhere(mining_redis_t *redis, const mining_endpoint_t *where,
    int asking, const mining_owed_t *owed)
{
    void         *got;
    redisReply   *reply;
    redisContext *context;
    const char   *argv[] = {"ASKING"};

    context = mining_redis_connect(redis, where);
    if (context == NULL) {
        return NULL;
    }

    got = NULL;
    reply = asking ? mining_redis_call(context, 1, argv) : NULL;

    if ((reply == NULL) == asking
        || redisAppendFormattedCommand(
               context, owed->command, (size_t) owed->len)
               != REDIS_OK
        || redisGetReply(context, &got) != REDIS_OK)
    {
        redis->error[0] = '\0';
        mining_text(redis->error, sizeof(redis->error), "%s", context->errstr);
        got = NULL;
    }

    if (reply != NULL) {
        freeReplyObject(reply);
    }
    redisFree(context);

    return got;
}


static mining_result_e
cluster_follow(
    mining_redis_t *redis, const mining_owed_t *owed, redisReply **reply)
{
    char               error[sizeof(redis->error)];
    unsigned           i, hops, node;
    tracker_str_t      text;
    tracker_redirect_t redirect;

    node = owed->node;

    for (hops = 0; (*reply)->type == REDIS_REPLY_ERROR; hops++) {
        text.data = (*reply)->str;
        text.len = strlen((*reply)->str);
        if (tracker_cluster_redirect(text, &redirect) != TRACKER_OK) {
            return MINING_OK;
        }

        if (!redirect.ask) {
            redis->stale = 1;
        }

        i = redirect.host.len > 0
                ? cluster_node(redis, redirect.host.data, redirect.host.len,
                    (int) redirect.port)
                : cluster_node(redis, redis->nodes[node].where.host,
                    strlen(redis->nodes[node].where.host), (int) redirect.port);

        freeReplyObject(*reply);
        *reply = NULL;

        if (i == CLUSTER_NONE || hops == CLUSTER_HOPS) {
            return mining_redis_lost(redis, "the cluster sends us in circles");
        }

        node = i;
        *reply = cluster_elsewhere(
            redis, &redis->nodes[i].where, (int) redirect.ask, owed);
        if (*reply == NULL) {
            memcpy(error, redis->error, sizeof(error));
            return mining_redis_lost(redis, error);
        }
    }

    return MINING_OK;
}


mining_result_e
mining_cluster_take(mining_redis_t *redis, struct redisReply **reply)
{
    void           *got;
    mining_owed_t   owed;
    mining_node_t  *node;
    mining_result_e rc;

    if (redis->owed_first == redis->owed_last) {
        return mining_redis_lost(redis, "no answer is owed");
    }

    rc = mining_cluster_flush(redis);
    if (rc != MINING_OK) {
        return rc;
    }

    node = &redis->nodes[redis->owed[redis->owed_first].node];
    if (node->context == NULL || redisGetReply(node->context, &got) != REDIS_OK
        || got == NULL)
    {
        return mining_redis_lost(
            redis, node->context != NULL && node->context->errstr[0] != '\0'
                       ? node->context->errstr
                       : "no answer in time");
    }

    *reply = got;
    owed = redis->owed[redis->owed_first++];
    rc = cluster_follow(redis, &owed, reply);
    free(owed.command);

    return rc;
}
