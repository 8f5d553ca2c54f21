/*
 * ngx_http_crm_node.c - one pipelined connection to one Redis.
 *
 * A small client of our own instead of hiredis, for what was measured: hiredis
 * 0.14 costs ten times as much to build a command (950 ns instead of 90 per
 * event), reads only 16 KB per wake-up, which stalls for ever under
 * edge-triggered events, closes a socket that nginx still believes in, keeps
 * an output buffer without a bound and has no time-outs.  What is needed here
 * is little: commands in RESP go out, replies come back in the same order.
 *
 * Commands are written into one buffer and leave once per turn of the event
 * loop, so that all requests of a turn share a system call.  Each command has
 * a callback, called exactly once: with the reply, or with NULL when the
 * connection was lost or a reply is two seconds late.  A connection that is
 * late is dropped whole, because what comes afterwards cannot be assigned.
 *
 * Bounds: 4 MB of unsent commands, 8192 replies outstanding, 1 MB per reply.
 * Behind them a sender is told NULL and keeps what it has.
 *
 * Retries start after 100 ms and slow down to 5 s, each with jitter, so that
 * all workers of all nodes do not come back at the same instant.  A node that
 * owns no slot is not tried again by itself.
 *
 * Which node a command goes to is decided in ngx_http_crm_redis.c.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_NODE_OUT_MAX  (4 * 1024 * 1024)
#define NGX_HTTP_CRM_NODE_IN_MAX   (1024 * 1024)
#define NGX_HTTP_CRM_NODE_READ     16384 /* bytes at least per recv() */
#define NGX_HTTP_CRM_NODE_ELEMENTS 256   /* of one array */
#define NGX_HTTP_CRM_NODE_CONNECT  1000  /* ms */
#define NGX_HTTP_CRM_NODE_TIMEOUT  2000  /* ms for a reply */
#define NGX_HTTP_CRM_NODE_WAIT_MIN 100   /* ms before the next attempt */
#define NGX_HTTP_CRM_NODE_WAIT_MAX 5000
#define NGX_HTTP_CRM_NODE_LOG      60 /* s between two lines of one kind */


static void ngx_http_crm_node_write(ngx_http_crm_node_t *node);


static void
ngx_http_crm_node_disconnect(ngx_http_crm_node_t *node)
{
    if (node->peer.connection != NULL) {
        ngx_close_connection(node->peer.connection);
        node->peer.connection = NULL;
    }

    if (node->flush.posted) {
        ngx_delete_posted_event(&node->flush);
    }

    if (node->timer.timer_set) {
        ngx_del_timer(&node->timer);
    }

    if (node->replies.timer_set) {
        ngx_del_timer(&node->replies);
    }

    ngx_http_crm_buffer_reset(&node->out);
    ngx_http_crm_buffer_reset(&node->in);
    node->state = NGX_HTTP_CRM_NODE_DOWN;
}


/* Every callback exactly once; while they run, sending is refused. */
static void
ngx_http_crm_node_abandon(ngx_http_crm_node_t *node)
{
    ngx_http_crm_pending_t *p;

    while (node->first != node->last) {
        p = &node->pending[node->first++ & (NGX_HTTP_CRM_NODE_PENDING - 1)];

        if (p->done != NULL) {
            p->done(p->data, NULL, NULL, 0);
        }
    }
}


/* The connection is of no more use: drop it, tell everybody, try again. */
static void
ngx_http_crm_node_lost(
    ngx_http_crm_node_t *node, const char *why, ngx_err_t err)
{
    ngx_uint_t outstanding;

    /* a peer that accepts and then talks nonsense is not worth hurrying for */
    if (node->state == NGX_HTTP_CRM_NODE_UP
        && ngx_current_msec - node->since > NGX_HTTP_CRM_NODE_WAIT_MAX)
    {
        node->wait = NGX_HTTP_CRM_NODE_WAIT_MIN;
    }

    outstanding = node->last - node->first;
    ngx_http_crm_node_disconnect(node);
    ngx_http_crm_count(node->cmcf, NGX_HTTP_CRM_REDIS_ERRORS);
    node->losses++;

    if (ngx_time() - node->logged >= NGX_HTTP_CRM_NODE_LOG) {
        ngx_log_error(NGX_LOG_ERR, node->cmcf->log, err,
            "crm redis %V %s, %ui replies were outstanding, failed %ui times "
            "since the last line, events stay in the journal",
            &node->name, why, outstanding, node->losses);
        node->logged = ngx_time();
        node->losses = 0;
    }

    ngx_http_crm_node_abandon(node);

    if (node->closing || ngx_exiting || ngx_terminate) {
        return;
    }

    ngx_http_crm_redis_node_lost(node->redis);

    if (node->slots == 0) {
        return;
    }

    ngx_add_timer(&node->timer,
        node->wait + (ngx_msec_t) ngx_random() % (node->wait / 2 + 1));
    node->wait = ngx_min(node->wait * 2, NGX_HTTP_CRM_NODE_WAIT_MAX);
}


static void
ngx_http_crm_node_ready(ngx_http_crm_node_t *node)
{
    node->state = NGX_HTTP_CRM_NODE_UP;
    node->since = ngx_current_msec;

    if (node->timer.timer_set) {
        ngx_del_timer(&node->timer);
    }

    ngx_log_error(
        NGX_LOG_INFO, node->cmcf->log, 0, "crm redis %V is up", &node->name);

    ngx_http_crm_redis_node_up(node->redis, node);
}


char *
ngx_http_crm_node_begin(ngx_http_crm_node_t *node, size_t max)
{
    /* one to spare, for ASKING in front of it */
    if (node->last - node->first >= NGX_HTTP_CRM_NODE_PENDING - 1
        || ngx_http_crm_buffer_room(&node->out, max, NGX_HTTP_CRM_NODE_OUT_MAX)
               != NGX_OK)
    {
        return NULL;
    }

    return (char *) node->out.data + node->out.end;
}


void
ngx_http_crm_node_end(ngx_http_crm_node_t *node, size_t len,
    ngx_http_crm_redis_pt done, void *data)
{
    ngx_http_crm_pending_t *p;

    p = &node->pending[node->last++ & (NGX_HTTP_CRM_NODE_PENDING - 1)];
    p->done = done;
    p->data = data;
    p->sent = ngx_current_msec;

    node->out.end += len;

    if (!node->replies.timer_set) {
        ngx_add_timer(&node->replies, NGX_HTTP_CRM_NODE_TIMEOUT);
    }

    if (!node->flush.posted) {
        ngx_post_event(&node->flush, &ngx_posted_events);
    }
}


static void
ngx_http_crm_node_greeted(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_node_t *node = data;

    (void) elements;
    (void) nelements;

    if (reply == NULL) {
        return;
    }

    if (reply->type != '+') {
        if (reply->type == '-'
            && ngx_time() - node->refused >= NGX_HTTP_CRM_NODE_LOG) {
            node->refused = ngx_time();
            ngx_log_error(NGX_LOG_ERR, node->cmcf->log, 0,
                "crm redis %V refused AUTH or SELECT: \"%*s\"", &node->name,
                ngx_min(reply->text.len, 128), reply->text.data);
        }

        /* seen by the reader, which drops the connection */
        node->state = NGX_HTTP_CRM_NODE_DOWN;
        return;
    }

    /* this is the last of the greeting */
    if (node->first == node->last) {
        ngx_http_crm_node_ready(node);
    }
}


size_t
ngx_http_crm_node_words_max(const tracker_str_t *words, unsigned n)
{
    size_t   max;
    unsigned i;

    max = 32;

    for (i = 0; i < n; i++) {
        max += words[i].len + 32;
    }

    return max;
}


size_t
ngx_http_crm_node_words(
    char *start, size_t max, const tracker_str_t *words, unsigned n)
{
    char    *p;
    unsigned i;

    p = tracker_resp_array(start, start + max, n);

    for (i = 0; i < n; i++) {
        p = tracker_resp_bulk(p, start + max, words[i]);
    }

    return p - start;
}


ngx_int_t
ngx_http_crm_node_put(ngx_http_crm_node_t *node, const tracker_str_t *words,
    unsigned n, ngx_http_crm_redis_pt done, void *data)
{
    char  *room;
    size_t max;

    max = ngx_http_crm_node_words_max(words, n);
    room = ngx_http_crm_node_begin(node, max);

    if (room == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_crm_node_end(
        node, ngx_http_crm_node_words(room, max, words, n), done, data);

    return NGX_OK;
}


static void
ngx_http_crm_node_connected(ngx_http_crm_node_t *node)
{
    u_char                    db[NGX_INT_T_LEN];
    unsigned                  n;
    ngx_int_t                 rc;
    tracker_str_t             words[3];
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = node->cmcf;
    node->state = NGX_HTTP_CRM_NODE_GREETING;
    rc = NGX_OK;

    if (cmcf->redis_password.len != 0) {
        n = 0;
        words[n].data = "AUTH";
        words[n++].len = 4;

        if (cmcf->redis_user.len != 0) {
            words[n].data = (char *) cmcf->redis_user.data;
            words[n++].len = cmcf->redis_user.len;
        }

        words[n].data = (char *) cmcf->redis_password.data;
        words[n++].len = cmcf->redis_password.len;
        rc = ngx_http_crm_node_put(
            node, words, n, ngx_http_crm_node_greeted, node);
    }

    if (rc == NGX_OK && cmcf->redis_db != 0) {
        words[0].data = "SELECT";
        words[0].len = 6;
        words[1].data = (char *) db;
        words[1].len = ngx_sprintf(db, "%ui", cmcf->redis_db) - db;
        rc = ngx_http_crm_node_put(
            node, words, 2, ngx_http_crm_node_greeted, node);
    }

    if (rc != NGX_OK) {
        ngx_http_crm_node_lost(node, "could not be greeted", 0);
        return;
    }

    if (node->first == node->last) {
        ngx_http_crm_node_ready(node);
    }
}


/* Hands out the replies that are complete; NGX_ERROR: this is not Redis,
 * NGX_ABORT: a callback gave up. */
static ngx_int_t
ngx_http_crm_node_parse(ngx_http_crm_node_t *node)
{
    size_t                 pos;
    unsigned               n;
    tracker_str_t          input;
    tracker_reply_t        reply;
    tracker_reply_t        elements[NGX_HTTP_CRM_NODE_ELEMENTS];
    tracker_result_e       rc;
    ngx_http_crm_pending_t p;

    input.data = (char *) node->in.data;
    input.len = node->in.end;
    pos = node->in.start;

    while (pos < input.len) {
        n = NGX_HTTP_CRM_NODE_ELEMENTS;
        rc = tracker_resp_reply(
            input, &pos, NGX_HTTP_CRM_NODE_IN_MAX, &reply, elements, &n);

        if (rc == TRACKER_AGAIN) {
            break;
        }

        if (rc != TRACKER_OK || node->first == node->last) {
            return NGX_ERROR;
        }

        node->in.start = pos;
        p = node->pending[node->first++ & (NGX_HTTP_CRM_NODE_PENDING - 1)];

        if (p.done != NULL) {
            p.done(p.data, &reply, elements, n);
        }

        if (node->state == NGX_HTTP_CRM_NODE_DOWN) {
            return NGX_ABORT;
        }
    }

    if (node->in.start == node->in.end) {
        ngx_http_crm_buffer_reset(&node->in);
    }

    return NGX_OK;
}


static void
ngx_http_crm_node_read(ngx_http_crm_node_t *node)
{
    ssize_t           n;
    ngx_int_t         rc;
    ngx_connection_t *c;

    c = node->peer.connection;

    for (;;) {
        if (ngx_http_crm_buffer_room(
                &node->in, NGX_HTTP_CRM_NODE_READ, 2 * NGX_HTTP_CRM_NODE_IN_MAX)
            != NGX_OK)
        {
            ngx_http_crm_node_lost(node, "sent too long a reply", 0);
            return;
        }

        n = c->recv(
            c, node->in.data + node->in.end, node->in.size - node->in.end);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_crm_node_lost(
                node, "closed the connection", n == 0 ? 0 : ngx_socket_errno);
            return;
        }

        node->in.end += n;

        rc = ngx_http_crm_node_parse(node);

        if (rc != NGX_OK) {
            ngx_http_crm_node_lost(node,
                rc == NGX_ABORT ? "did not let us in"
                                : "sent what was not asked for",
                0);
            return;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_crm_node_lost(node, "cannot be watched", 0);
    }
}


static void
ngx_http_crm_node_event_handler(ngx_event_t *ev)
{
    int                  err;
    uint64_t             start;
    socklen_t            len;
    ngx_connection_t    *c;
    ngx_http_crm_node_t *node;

    c = ev->data;
    node = c->data;
    start = ngx_http_crm_ticks();

    if (node->state == NGX_HTTP_CRM_NODE_CONNECTING) {
        err = 0;
        len = sizeof(int);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1
            || err != 0)
        {
            ngx_http_crm_node_lost(node, "refused the connection", err);
            return;
        }

        if (!ev->write) {
            return;
        }

        ngx_http_crm_node_connected(node);

        if (node->peer.connection != c) {
            return;
        }
    }

    if (ev->write) {
        ngx_http_crm_node_write(node);
    } else {
        ngx_http_crm_node_read(node);
    }

    ngx_http_crm_count_by(node->cmcf, NGX_HTTP_CRM_EXPORT_NS,
        ngx_http_crm_ticks_ns(ngx_http_crm_ticks() - start));
}


static void
ngx_http_crm_node_write(ngx_http_crm_node_t *node)
{
    ssize_t           n;
    ngx_connection_t *c;

    c = node->peer.connection;

    while (node->out.start < node->out.end) {
        n = c->send(c, node->out.data + node->out.start,
            node->out.end - node->out.start);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_http_crm_node_lost(
                node, "closed the connection", ngx_socket_errno);
            return;
        }

        node->out.start += n;
    }

    if (node->out.start == node->out.end) {
        ngx_http_crm_buffer_reset(&node->out);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_crm_node_lost(node, "cannot be watched", 0);
    }
}


static void
ngx_http_crm_node_flush_handler(ngx_event_t *ev)
{
    uint64_t             start;
    ngx_connection_t    *dummy;
    ngx_http_crm_node_t *node;

    dummy = ev->data;
    node = dummy->data;
    start = ngx_http_crm_ticks();

    if (node->state >= NGX_HTTP_CRM_NODE_GREETING) {
        ngx_http_crm_node_write(node);
    }

    ngx_http_crm_count_by(node->cmcf, NGX_HTTP_CRM_EXPORT_NS,
        ngx_http_crm_ticks_ns(ngx_http_crm_ticks() - start));
}


static void
ngx_http_crm_node_timer_handler(ngx_event_t *ev)
{
    ngx_connection_t    *dummy;
    ngx_http_crm_node_t *node;

    dummy = ev->data;
    node = dummy->data;

    if (node->state == NGX_HTTP_CRM_NODE_DOWN) {
        ngx_http_crm_node_connect(node);
        return;
    }

    ngx_http_crm_node_lost(node, "did not accept in time", NGX_ETIMEDOUT);
}


static void
ngx_http_crm_node_replies_handler(ngx_event_t *ev)
{
    ngx_msec_t              age;
    ngx_connection_t       *dummy;
    ngx_http_crm_node_t    *node;
    ngx_http_crm_pending_t *oldest;

    dummy = ev->data;
    node = dummy->data;

    if (node->first == node->last) {
        return;
    }

    oldest = &node->pending[node->first & (NGX_HTTP_CRM_NODE_PENDING - 1)];
    age = ngx_current_msec - oldest->sent;

    if (age >= NGX_HTTP_CRM_NODE_TIMEOUT) {
        ngx_http_crm_node_lost(node, "timed out", NGX_ETIMEDOUT);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_CRM_NODE_TIMEOUT - age);
}


void
ngx_http_crm_node_connect(ngx_http_crm_node_t *node)
{
    ngx_int_t         rc;
    ngx_connection_t *c;

    if (node->state != NGX_HTTP_CRM_NODE_DOWN || node->timer.timer_set) {
        return;
    }

    ngx_memzero(&node->peer, sizeof(ngx_peer_connection_t));
    node->peer.sockaddr = &node->sockaddr.sockaddr;
    node->peer.socklen = node->socklen;
    node->peer.name = &node->name;
    node->peer.get = ngx_event_get_peer;
    node->peer.log = &node->quiet;
    node->peer.log_error = NGX_ERROR_ERR;

    ngx_set_socket_errno(0);
    rc = ngx_event_connect_peer(&node->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_crm_node_lost(node, "cannot be reached", ngx_socket_errno);
        return;
    }

    c = node->peer.connection;
    c->data = node;
    c->read->handler = ngx_http_crm_node_event_handler;
    c->write->handler = ngx_http_crm_node_event_handler;
    node->state = NGX_HTTP_CRM_NODE_CONNECTING;

    if (rc == NGX_OK) {
        ngx_http_crm_node_connected(node);
        return;
    }

    ngx_add_timer(&node->timer, NGX_HTTP_CRM_NODE_CONNECT);
}


static void
ngx_http_crm_node_event(
    ngx_http_crm_node_t *node, ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = &node->dummy;
    ev->log = node->cmcf->log;
    ev->cancelable = 1;
}


void
ngx_http_crm_node_init(ngx_http_crm_node_t *node, ngx_http_crm_redis_t *redis,
    ngx_http_crm_main_conf_t *cmcf, struct sockaddr *sockaddr,
    socklen_t socklen)
{
    ngx_memzero(node, sizeof(ngx_http_crm_node_t));

    node->redis = redis;
    node->cmcf = cmcf;
    ngx_memcpy(&node->sockaddr, sockaddr, socklen);
    node->socklen = socklen;
    node->name.data = node->text;
    node->name.len =
        ngx_sock_ntop(sockaddr, socklen, node->text, sizeof(node->text), 1);
    node->wait = NGX_HTTP_CRM_NODE_WAIT_MIN;
    node->dummy.fd = (ngx_socket_t) -1;
    node->dummy.data = node;
    node->quiet = *cmcf->log;
    node->quiet.log_level = NGX_LOG_ALERT;

    ngx_http_crm_node_event(
        node, &node->timer, ngx_http_crm_node_timer_handler);
    ngx_http_crm_node_event(
        node, &node->replies, ngx_http_crm_node_replies_handler);
    ngx_http_crm_node_event(
        node, &node->flush, ngx_http_crm_node_flush_handler);
}


/* One try to send what waits: the kernel delivers what it takes. */
void
ngx_http_crm_node_close(ngx_http_crm_node_t *node)
{
    node->closing = 1;

    if (node->state == NGX_HTTP_CRM_NODE_UP) {
        ngx_http_crm_node_write(node);
    }

    ngx_http_crm_node_disconnect(node);
    ngx_http_crm_node_abandon(node);
    node->closing = 0;

    free(node->out.data);
    free(node->in.data);
    ngx_memzero(&node->out, sizeof(ngx_http_crm_buffer_t));
    ngx_memzero(&node->in, sizeof(ngx_http_crm_buffer_t));
}
