/*
 * ngx_http_crm_redis_map.c - which node of a Redis Cluster has a slot.
 *
 * Some nodes are configured; CLUSTER SLOTS of any of them tells the masters.
 * The map is asked for again when a node says MOVED or CLUSTERDOWN, when a
 * connection is lost, and until every master that is needed is there.  Whenever
 * a connection is new or a slot has got another master, whoever is interested
 * is told, before any further command goes out.
 *
 * Limits: 64 masters; their names must be addresses, because a worker cannot
 * wait for a name server (Redis: cluster-preferred-endpoint-type ip).
 */

#include "ngx_http_crm_module.h"

#include <arpa/inet.h>


#define NGX_HTTP_CRM_REDIS_REFRESH_MAX 1000 /* ms between two looks */
#define NGX_HTTP_CRM_REDIS_LOG         60   /* s between two lines */
#define NGX_HTTP_CRM_REDIS_HOST        64   /* bytes of an address */


/* ---- nodes -------------------------------------------------------------- */

/* The node of that address; NULL: there is no room for another one. */
ngx_http_crm_node_t *
ngx_http_crm_redis_node(
    ngx_http_crm_redis_t *redis, struct sockaddr *sockaddr, socklen_t socklen)
{
    ngx_uint_t           i;
    ngx_http_crm_node_t *node;

    for (i = 0; i < redis->nnodes; i++) {
        node = redis->nodes[i];

        if (ngx_cmp_sockaddr(
                &node->sockaddr.sockaddr, node->socklen, sockaddr, socklen, 1)
            == NGX_OK)
        {
            return node;
        }
    }

    for (i = 0; i < redis->nnodes; i++) {
        node = redis->nodes[i];

        if (redis->nnodes == NGX_HTTP_CRM_REDIS_NODES && node->slots == 0
            && node->state == NGX_HTTP_CRM_NODE_DOWN
            && memchr(redis->fresh, (int) i, sizeof(redis->fresh)) == NULL)
        {
            ngx_http_crm_node_close(node);
            ngx_http_crm_node_init(node, redis, redis->cmcf, sockaddr, socklen);
            return node;
        }
    }

    if (redis->nnodes == NGX_HTTP_CRM_REDIS_NODES) {
        return NULL;
    }

    node = ngx_palloc(redis->pool, sizeof(ngx_http_crm_node_t));
    if (node == NULL) {
        return NULL;
    }

    ngx_http_crm_node_init(node, redis, redis->cmcf, sockaddr, socklen);
    redis->nodes[redis->nnodes++] = node;

    return node;
}


/* As a node named it to us; an empty host is the node that was asked. */
ngx_http_crm_node_t *
ngx_http_crm_redis_named(ngx_http_crm_redis_t *redis,
    ngx_http_crm_node_t *asked, tracker_str_t host, unsigned port)
{
    char           text[NGX_HTTP_CRM_REDIS_HOST];
    socklen_t      socklen;
    ngx_sockaddr_t sa;

    if (port == 0 || host.len >= sizeof(text)) {
        return NULL;
    }

    ngx_memzero(&sa, sizeof(ngx_sockaddr_t));

    if (host.len == 0) {
        sa = asked->sockaddr;
        socklen = asked->socklen;

    } else {
        ngx_memcpy(text, host.data, host.len);
        text[host.len] = '\0';

        if (inet_pton(AF_INET, text, &sa.sockaddr_in.sin_addr) == 1) {
            sa.sockaddr.sa_family = AF_INET;
            socklen = sizeof(struct sockaddr_in);

#if (NGX_HAVE_INET6)
        } else if (inet_pton(AF_INET6, text, &sa.sockaddr_in6.sin6_addr) == 1) {
            sa.sockaddr.sa_family = AF_INET6;
            socklen = sizeof(struct sockaddr_in6);
#endif

        } else {
            return NULL;
        }
    }

    ngx_inet_set_port(&sa.sockaddr, (in_port_t) port);

    return ngx_http_crm_redis_node(redis, &sa.sockaddr, socklen);
}


ngx_uint_t
ngx_http_crm_redis_index(
    ngx_http_crm_redis_t *redis, const ngx_http_crm_node_t *node)
{
    ngx_uint_t i;

    for (i = 0; i < redis->nnodes; i++) {
        if (redis->nodes[i] == node) {
            return i;
        }
    }

    return NGX_HTTP_CRM_REDIS_NONE;
}


/* ---- the map ------------------------------------------------------------ */

void
ngx_http_crm_redis_tell(ngx_http_crm_redis_t *redis)
{
    if (!redis->exiting) {
        ngx_post_event(&redis->changed, &ngx_posted_events);
    }
}


void
ngx_http_crm_redis_changed_handler(ngx_event_t *ev)
{
    ngx_uint_t            i;
    ngx_connection_t     *dummy;
    ngx_http_crm_redis_t *redis;

    dummy = ev->data;
    redis = dummy->data;

    for (i = 0; i < redis->nready; i++) {
        redis->ready[i](redis->ready_data[i]);
    }
}


void
ngx_http_crm_redis_refresh(ngx_http_crm_redis_t *redis)
{
    if (redis->cluster && !redis->exiting && !redis->refresh.timer_set) {
        ngx_add_timer(&redis->refresh, redis->wait);
        redis->wait = ngx_min(redis->wait * 2, NGX_HTTP_CRM_REDIS_REFRESH_MAX);
    }
}


static void
ngx_http_crm_redis_complain(
    ngx_http_crm_redis_t *redis, ngx_http_crm_node_t *node, const char *what)
{
    ngx_http_crm_count(redis->cmcf, NGX_HTTP_CRM_REDIS_ERRORS);

    if (ngx_time() - redis->logged >= NGX_HTTP_CRM_REDIS_LOG) {
        redis->logged = ngx_time();
        ngx_log_error(NGX_LOG_ERR, redis->cmcf->log, 0, "crm redis %V %s",
            &node->name, what);
    }
}


/* Reads the ranges into `fresh`; NGX_ERROR: it is no such answer. */
static ngx_int_t
ngx_http_crm_redis_read_map(ngx_http_crm_redis_t *redis,
    ngx_http_crm_node_t *asked, tracker_str_t reply)
{
    tracker_result_e        rc;
    ngx_http_crm_node_t    *node;
    tracker_cluster_slots_t slots;
    tracker_cluster_range_t range;

    ngx_memset(redis->fresh, NGX_HTTP_CRM_REDIS_NONE, sizeof(redis->fresh));
    ngx_memzero(&slots, sizeof(tracker_cluster_slots_t));
    slots.reply = reply;

    for (;;) {
        rc = tracker_cluster_next(&slots, &range);
        if (rc != TRACKER_OK) {
            break;
        }

        node = ngx_http_crm_redis_named(redis, asked, range.host, range.port);

        if (node == NULL) {
            ngx_http_crm_redis_complain(redis, asked,
                "names a master without an address or more than 64 of them, "
                "their slots cannot be reached");
            continue;
        }

        ngx_memset(&redis->fresh[range.first],
            (int) ngx_http_crm_redis_index(redis, node),
            range.last - range.first + 1);
    }

    return rc == TRACKER_DECLINED ? NGX_OK : NGX_ERROR;
}


/* Takes `fresh` over; tells when a slot has got another master. */
static void
ngx_http_crm_redis_take_map(ngx_http_crm_redis_t *redis)
{
    ngx_uint_t i, differs;

    differs = !redis->known
              || ngx_memcmp(redis->map, redis->fresh, sizeof(redis->map)) != 0;
    redis->known = 1;

    if (!differs) {
        return;
    }

    ngx_memcpy(redis->map, redis->fresh, sizeof(redis->map));

    for (i = 0; i < redis->nnodes; i++) {
        redis->nodes[i]->slots = 0;
    }

    for (i = 0; i < TRACKER_CLUSTER_SLOTS; i++) {
        if (redis->map[i] != NGX_HTTP_CRM_REDIS_NONE) {
            redis->nodes[redis->map[i]]->slots++;
        }
    }

    ngx_http_crm_redis_tell(redis);
}


/* 1 while a master that is needed is not there. */
ngx_uint_t
ngx_http_crm_redis_lacks(ngx_http_crm_redis_t *redis)
{
    ngx_uint_t           i;
    ngx_http_crm_node_t *node;

    if (!redis->known) {
        return 1;
    }

    for (i = 0; i < redis->nnodes; i++) {
        node = redis->nodes[i];

        if (node->slots > 0 && node->wanted
            && node->state != NGX_HTTP_CRM_NODE_UP) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_crm_redis_slots(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_node_t  *node = data;
    ngx_http_crm_redis_t *redis;

    (void) elements;
    (void) nelements;

    redis = node->redis;

    if (reply == NULL) {
        return;
    }

    if (reply->type == '*'
        && ngx_http_crm_redis_read_map(redis, node, reply->text) == NGX_OK)
    {
        ngx_http_crm_redis_take_map(redis);

        if (!ngx_http_crm_redis_lacks(redis)) {
            redis->wait = NGX_HTTP_CRM_REDIS_REFRESH_MIN;

            if (redis->refresh.timer_set) {
                ngx_del_timer(&redis->refresh);
            }
        }

        return;
    }

    if (reply->type == '-' && reply->text.len > 4
        && memmem(reply->text.data, reply->text.len, "cluster support", 15)
               != NULL)
    {
        ngx_http_crm_redis_complain(redis, node,
            "is no node of a cluster: take the word \"cluster\" out of "
            "\"crm_redis\"");
        return;
    }

    ngx_http_crm_redis_complain(
        redis, node, "did not answer CLUSTER SLOTS with a map");
}


static void
ngx_http_crm_redis_ask(ngx_http_crm_node_t *node)
{
    tracker_str_t words[2];

    ngx_http_crm_word(words[0], "CLUSTER");
    ngx_http_crm_word(words[1], "SLOTS");

    (void) ngx_http_crm_node_put(
        node, words, 2, ngx_http_crm_redis_slots, node);
}


/* Asks one that is there, and tries one that is not: it may know more. */
void
ngx_http_crm_redis_refresh_handler(ngx_event_t *ev)
{
    ngx_uint_t            i, asked, tried;
    ngx_connection_t     *dummy;
    ngx_http_crm_node_t  *node;
    ngx_http_crm_redis_t *redis;

    dummy = ev->data;
    redis = dummy->data;
    asked = 0;
    tried = 0;
    redis->turn++;

    for (i = 0; i < redis->nnodes; i++) {
        node = redis->nodes[(redis->turn + i) % redis->nnodes];

        if (node->state == NGX_HTTP_CRM_NODE_UP) {
            if (!asked) {
                ngx_http_crm_redis_ask(node);
                asked = 1;
            }

        } else if (!tried && !asked && !node->timer.timer_set) {
            ngx_http_crm_node_connect(node);
            tried = 1;
        }
    }

    ngx_http_crm_redis_refresh(redis);
}


void
ngx_http_crm_redis_node_up(
    ngx_http_crm_redis_t *redis, ngx_http_crm_node_t *node)
{
    if (redis->cluster && (!redis->known || redis->refresh.timer_set)) {
        ngx_http_crm_redis_ask(node);
    }

    if (redis->known) {
        ngx_http_crm_redis_tell(redis);
    }
}


void
ngx_http_crm_redis_node_lost(ngx_http_crm_redis_t *redis)
{
    ngx_http_crm_redis_refresh(redis);
}
