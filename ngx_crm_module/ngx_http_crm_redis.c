/*
 * ngx_http_crm_redis.c - one Redis, or a cluster of them, reached by key.
 *
 * One Redis is a cluster whose only node has all slots.  Which master of a real
 * one has a slot is known to ngx_http_crm_redis_map.c; a master is connected to
 * when the first command is for it.
 *
 * Commands of words are followed where MOVED and ASK send them, at most five
 * times, for which a copy of the command is kept.  A batch of events is not
 * followed to another master: after a fail-over that one may lack a batch which
 * the old one had acknowledged, and would take the next batch with a gap that
 * nobody could fill any more.  Whatever changes about who has what is therefore
 * told (_on_ready), and each lane asks for its stream's last id before it goes
 * on.  ASK is followed by batches, too: a slot that moves loses nothing, and a
 * fail-over meanwhile makes a new connection, which is told.
 *
 * Other errors of a cluster (TRYAGAIN, CLUSTERDOWN, LOADING, READONLY) are the
 * caller's, who waits and tries again; the events stay in the journal.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_REDIS_HOPS   5
#define NGX_HTTP_CRM_REDIS_COPIES (8 * 1024 * 1024) /* bytes */

#define NGX_HTTP_CRM_ASKING "*1\r\n$6\r\nASKING\r\n"


/* A command to a cluster, kept until it has been answered. */
typedef struct ngx_http_crm_command_s {
    ngx_http_crm_redis_t *redis;
    ngx_http_crm_node_t  *node; /* that was asked last */
    ngx_http_crm_redis_pt done;
    void                 *data;
    size_t                max; /* bytes of room in text */
    size_t                len;
    ngx_uint_t            hops;
    unsigned              bound : 1; /* to its master: not for another one */
    char                  text[];
} ngx_http_crm_command_t;


/* ---- commands ----------------------------------------------------------- */

/* The connection for a key; NULL: there is none as yet. */
static ngx_http_crm_node_t *
ngx_http_crm_redis_route(ngx_http_crm_redis_t *redis, tracker_str_t key)
{
    ngx_uint_t           i;
    ngx_http_crm_node_t *node;

    /* whoever has to ask first what is there, does so first */
    if (redis == NULL || !redis->known || redis->changed.posted) {
        return NULL;
    }

    i = redis->cluster ? redis->map[tracker_cluster_slot(key)] : 0;

    if (i == NGX_HTTP_CRM_REDIS_NONE) {
        ngx_http_crm_redis_refresh(redis);
        return NULL;
    }

    node = redis->nodes[i];
    node->wanted = 1;

    if (node->state == NGX_HTTP_CRM_NODE_UP) {
        return node;
    }

    ngx_http_crm_node_connect(node);

    return NULL;
}


static void
ngx_http_crm_command_free(ngx_http_crm_command_t *command)
{
    command->redis->copied -= command->max;
    free(command);
}


static void ngx_http_crm_command_answered(void *data,
    const tracker_reply_t *reply, const tracker_reply_t *elements,
    unsigned nelements);


static ngx_int_t
ngx_http_crm_command_send(
    ngx_http_crm_command_t *command, ngx_http_crm_node_t *node, ngx_uint_t ask)
{
    char  *room;
    size_t len;

    len = command->len;
    room = ngx_http_crm_node_begin(
        node, len + (ask ? sizeof(NGX_HTTP_CRM_ASKING) - 1 : 0));

    if (room == NULL) {
        return NGX_DECLINED;
    }

    if (ask) {
        ngx_memcpy(room, NGX_HTTP_CRM_ASKING, sizeof(NGX_HTTP_CRM_ASKING) - 1);
        ngx_http_crm_node_end(
            node, sizeof(NGX_HTTP_CRM_ASKING) - 1, NULL, NULL);
        room += sizeof(NGX_HTTP_CRM_ASKING) - 1;
    }

    command->node = node;
    ngx_memcpy(room, command->text, len);
    ngx_http_crm_node_end(node, len, ngx_http_crm_command_answered, command);

    return NGX_OK;
}


/* NGX_OK: the command is on its way again; NGX_DECLINED: the reply is the
 * caller's; NGX_ABORT: the caller is to try again by himself. */
static ngx_int_t
ngx_http_crm_command_follow(
    ngx_http_crm_command_t *command, tracker_str_t error)
{
    ngx_http_crm_node_t  *node;
    ngx_http_crm_redis_t *redis;
    tracker_redirect_t    redirect;

    redis = command->redis;

    if (tracker_cluster_redirect(error, &redirect) != TRACKER_OK) {
        ngx_http_crm_redis_refresh(redis);
        return NGX_DECLINED;
    }

    ngx_http_crm_count(redis->cmcf, NGX_HTTP_CRM_REDIS_REDIRECTS);
    node = ngx_http_crm_redis_named(
        redis, command->node, redirect.host, redirect.port);

    if (node == NULL || command->hops++ == NGX_HTTP_CRM_REDIS_HOPS) {
        ngx_http_crm_redis_refresh(redis);
        return NGX_DECLINED;
    }

    if (!redirect.ask) {
        redis->wait = NGX_HTTP_CRM_REDIS_REFRESH_MIN;
        ngx_http_crm_redis_refresh(redis);

        if (redis->map[redirect.slot] != NGX_HTTP_CRM_REDIS_NONE) {
            redis->nodes[redis->map[redirect.slot]]->slots--;
        }

        redis->map[redirect.slot] = ngx_http_crm_redis_index(redis, node);
        node->slots++;
        node->wanted = 1;
        ngx_http_crm_redis_tell(redis);

        if (command->bound) {
            return NGX_ABORT;
        }
    }

    if (node->state != NGX_HTTP_CRM_NODE_UP) {
        ngx_http_crm_node_connect(node);
        return NGX_ABORT;
    }

    if (command->bound && redis->changed.posted) {
        return NGX_ABORT;
    }

    return ngx_http_crm_command_send(command, node, redirect.ask) == NGX_OK
               ? NGX_OK
               : NGX_ABORT;
}


static void
ngx_http_crm_command_answered(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_command_t *command = data;

    void                 *owner;
    ngx_int_t             rc;
    ngx_http_crm_redis_pt done;

    if (reply != NULL && reply->type == '-') {
        rc = ngx_http_crm_command_follow(command, reply->text);

        if (rc == NGX_OK) {
            return;
        }

        if (rc == NGX_ABORT) {
            reply = NULL;
        }
    }

    done = command->done;
    owner = command->data;
    ngx_http_crm_command_free(command);

    if (done != NULL) {
        done(owner, reply, elements, nelements);
    }
}


char *
ngx_http_crm_redis_reserve(
    ngx_http_crm_main_conf_t *cmcf, tracker_str_t key, size_t max)
{
    char                   *room;
    ngx_http_crm_node_t    *node;
    ngx_http_crm_redis_t   *redis;
    ngx_http_crm_command_t *command;

    redis = cmcf->redis;
    node = ngx_http_crm_redis_route(redis, key);
    room = node != NULL ? ngx_http_crm_node_begin(node, max) : NULL;

    if (room == NULL) {
        return NULL;
    }

    redis->open_node = node;
    redis->open = NULL;

    /* nobody sends us elsewhere */
    if (!redis->cluster) {
        return room;
    }

    if (redis->copied + max > NGX_HTTP_CRM_REDIS_COPIES) {
        return NULL;
    }

    command = malloc(sizeof(ngx_http_crm_command_t) + max);
    if (command == NULL) {
        return NULL;
    }

    ngx_memzero(command, sizeof(ngx_http_crm_command_t));
    command->redis = redis;
    command->max = max;
    command->bound = 1;
    redis->copied += max;
    redis->open = command;

    return command->text;
}


void
ngx_http_crm_redis_commit(ngx_http_crm_main_conf_t *cmcf, size_t len,
    ngx_http_crm_redis_pt done, void *data)
{
    ngx_http_crm_redis_t   *redis;
    ngx_http_crm_command_t *command;

    redis = cmcf->redis;
    command = redis->open;

    if (command == NULL) {
        ngx_http_crm_node_end(redis->open_node, len, done, data);
        return;
    }

    command->len = len;
    command->done = done;
    command->data = data;
    redis->open = NULL;

    /* there is room: _reserve has asked for it */
    (void) ngx_http_crm_command_send(command, redis->open_node, 0);
}


ngx_int_t
ngx_http_crm_redis_words(ngx_http_crm_main_conf_t *cmcf,
    const tracker_str_t *words, unsigned n, unsigned key,
    ngx_http_crm_redis_pt done, void *data)
{
    char  *room;
    size_t max;

    max = ngx_http_crm_node_words_max(words, n);
    room = ngx_http_crm_redis_reserve(cmcf, words[key], max);

    if (room == NULL) {
        return NGX_DECLINED;
    }

    if (cmcf->redis->open != NULL) {
        cmcf->redis->open->bound = 0;
    }

    ngx_http_crm_redis_commit(
        cmcf, ngx_http_crm_node_words(room, max, words, n), done, data);

    return NGX_OK;
}


/* ---- life --------------------------------------------------------------- */

static void
ngx_http_crm_redis_start(ngx_http_crm_redis_t *redis)
{
    ngx_uint_t           i;
    ngx_addr_t          *addr;
    ngx_http_crm_node_t *node;

    for (i = 0; i < redis->cmcf->redis_naddrs; i++) {
        addr = &redis->cmcf->redis_addr[i];
        node = ngx_http_crm_redis_node(redis, addr->sockaddr, addr->socklen);

        if (node != NULL && !redis->cluster) {
            node->slots = TRACKER_CLUSTER_SLOTS;
            node->wanted = 1;
            node->name = redis->cmcf->redis_name;
            ngx_add_timer(&node->timer, 1);
        }
    }
}


ngx_int_t
ngx_http_crm_redis_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_http_crm_redis_t *redis;

    if (cmcf->redis_addr == NULL) {
        return NGX_OK;
    }

    redis = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_redis_t));
    if (redis == NULL) {
        return NGX_ERROR;
    }

    redis->cmcf = cmcf;
    redis->pool = cycle->pool;
    redis->cluster = cmcf->redis_cluster;
    redis->known = !redis->cluster;
    redis->wait = NGX_HTTP_CRM_REDIS_REFRESH_MIN;
    redis->turn = ngx_random();
    redis->dummy.fd = (ngx_socket_t) -1;
    redis->dummy.data = redis;

    redis->refresh.handler = ngx_http_crm_redis_refresh_handler;
    redis->refresh.data = &redis->dummy;
    redis->refresh.log = cycle->log;
    redis->refresh.cancelable = 1;
    redis->changed = redis->refresh;
    redis->changed.handler = ngx_http_crm_redis_changed_handler;

    cmcf->redis = redis;

    /* from the loop: whoever wants to be told of it asks after this */
    ngx_http_crm_redis_start(redis);

    if (redis->cluster) {
        ngx_add_timer(&redis->refresh, 1);
    }

    return NGX_OK;
}


void
ngx_http_crm_redis_on_ready(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_redis_ready_pt ready, void *data)
{
    ngx_http_crm_redis_t *redis;

    redis = cmcf->redis;

    if (redis == NULL || redis->nready == NGX_HTTP_CRM_REDIS_READY) {
        return;
    }

    redis->ready[redis->nready] = ready;
    redis->ready_data[redis->nready++] = data;

    if (ngx_http_crm_redis_usable(cmcf)) {
        ready(data);
    }
}


ngx_uint_t
ngx_http_crm_redis_usable(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t up, all;

    ngx_http_crm_redis_nodes(cmcf, &up, &all);

    return up > 0 || (all > 0 && cmcf->redis_cluster);
}


const char *
ngx_http_crm_redis_state(ngx_http_crm_main_conf_t *cmcf)
{
    if (cmcf->redis_addr == NULL) {
        return "off";
    }

    return cmcf->redis != NULL && !ngx_http_crm_redis_lacks(cmcf->redis)
               ? "up"
               : "down";
}


void
ngx_http_crm_redis_nodes(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t *up, ngx_uint_t *all)
{
    ngx_uint_t           i;
    ngx_http_crm_node_t *node;

    *up = 0;
    *all = 0;

    for (i = 0; cmcf->redis != NULL && i < cmcf->redis->nnodes; i++) {
        node = cmcf->redis->nodes[i];

        if (node->slots > 0) {
            *all += 1;
            *up += (node->state == NGX_HTTP_CRM_NODE_UP);
        }
    }
}


void
ngx_http_crm_redis_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t            i;
    ngx_http_crm_redis_t *redis;

    redis = cmcf->redis;
    if (redis == NULL) {
        return;
    }

    redis->exiting = 1;
    cmcf->redis = NULL;

    for (i = 0; i < redis->nnodes; i++) {
        ngx_http_crm_node_close(redis->nodes[i]);
    }

    if (redis->refresh.timer_set) {
        ngx_del_timer(&redis->refresh);
    }

    if (redis->changed.posted) {
        ngx_delete_posted_event(&redis->changed);
    }
}
