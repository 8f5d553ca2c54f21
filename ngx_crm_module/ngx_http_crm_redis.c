/*
 * ngx_http_crm_redis.c - one pipelined connection to Redis per worker.
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
 * Behind them a sender is told NGX_DECLINED and keeps what it has.
 *
 * Retries start after 100 ms and slow down to 5 s, each with jitter, so that
 * all workers of all nodes do not come back at the same instant.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_REDIS_OUT_MAX  (4 * 1024 * 1024)
#define NGX_HTTP_CRM_REDIS_IN_MAX   (1024 * 1024)
#define NGX_HTTP_CRM_REDIS_READ     16384 /* bytes at least per recv() */
#define NGX_HTTP_CRM_REDIS_PENDING  8192  /* a power of two */
#define NGX_HTTP_CRM_REDIS_ELEMENTS 256   /* of one array */
#define NGX_HTTP_CRM_REDIS_READY    4
#define NGX_HTTP_CRM_REDIS_CONNECT  1000 /* ms */
#define NGX_HTTP_CRM_REDIS_TIMEOUT  2000 /* ms for a reply */
#define NGX_HTTP_CRM_REDIS_WAIT_MIN 100  /* ms before the next attempt */
#define NGX_HTTP_CRM_REDIS_WAIT_MAX 5000
#define NGX_HTTP_CRM_REDIS_LOG      60 /* s between two lines of one kind */


typedef enum {
    NGX_HTTP_CRM_REDIS_DOWN = 0,
    NGX_HTTP_CRM_REDIS_CONNECTING,
    NGX_HTTP_CRM_REDIS_GREETING, /* AUTH and SELECT are under way */
    NGX_HTTP_CRM_REDIS_UP
} ngx_http_crm_redis_state_e;


typedef struct {
    ngx_http_crm_redis_pt done;
    void                 *data;
    ngx_msec_t            sent;
} ngx_http_crm_redis_pending_t;


struct ngx_http_crm_redis_s {
    ngx_http_crm_main_conf_t  *cmcf;
    ngx_peer_connection_t      peer;
    ngx_log_t                  quiet; /* nginx would log each attempt */
    ngx_http_crm_redis_state_e state;

    ngx_http_crm_buffer_t out;
    ngx_http_crm_buffer_t in;

    ngx_http_crm_redis_pending_t pending[NGX_HTTP_CRM_REDIS_PENDING];
    ngx_uint_t                   first; /* free-running */
    ngx_uint_t                   last;

    ngx_http_crm_redis_ready_pt ready[NGX_HTTP_CRM_REDIS_READY];
    void                       *ready_data[NGX_HTTP_CRM_REDIS_READY];
    ngx_uint_t                  nready;

    ngx_event_t      timer;   /* connecting: deadline; down: next attempt */
    ngx_event_t      replies; /* deadline of the oldest outstanding reply */
    ngx_event_t      flush;   /* posted once per turn */
    ngx_connection_t dummy;   /* timers log the fd of their data */

    ngx_msec_t since;  /* when it came up */
    ngx_msec_t wait;   /* ms before the next attempt */
    time_t     logged; /* when a loss was last logged */
    ngx_uint_t losses; /* since then */
    unsigned   exiting : 1;
};


static void ngx_http_crm_redis_connect(ngx_http_crm_redis_t *redis);
static void ngx_http_crm_redis_write(ngx_http_crm_redis_t *redis);


static void
ngx_http_crm_redis_disconnect(ngx_http_crm_redis_t *redis)
{
    if (redis->peer.connection != NULL) {
        ngx_close_connection(redis->peer.connection);
        redis->peer.connection = NULL;
    }

    if (redis->flush.posted) {
        ngx_delete_posted_event(&redis->flush);
    }

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    if (redis->replies.timer_set) {
        ngx_del_timer(&redis->replies);
    }

    ngx_http_crm_buffer_reset(&redis->out);
    ngx_http_crm_buffer_reset(&redis->in);
    redis->state = NGX_HTTP_CRM_REDIS_DOWN;
}


/* Every callback exactly once; while they run, sending is refused. */
static void
ngx_http_crm_redis_abandon(ngx_http_crm_redis_t *redis)
{
    ngx_http_crm_redis_pending_t *p;

    while (redis->first != redis->last) {
        p = &redis->pending[redis->first++ & (NGX_HTTP_CRM_REDIS_PENDING - 1)];

        if (p->done != NULL) {
            p->done(p->data, NULL, NULL, 0);
        }
    }
}


/* The connection is of no more use: drop it, tell everybody, try again. */
static void
ngx_http_crm_redis_lost(
    ngx_http_crm_redis_t *redis, const char *why, ngx_err_t err)
{
    ngx_uint_t outstanding;

    /* a peer that accepts and then talks nonsense is not worth hurrying for */
    if (redis->state == NGX_HTTP_CRM_REDIS_UP
        && ngx_current_msec - redis->since > NGX_HTTP_CRM_REDIS_WAIT_MAX)
    {
        redis->wait = NGX_HTTP_CRM_REDIS_WAIT_MIN;
    }

    outstanding = redis->last - redis->first;
    ngx_http_crm_redis_disconnect(redis);
    ngx_http_crm_count(redis->cmcf, NGX_HTTP_CRM_REDIS_ERRORS);
    redis->losses++;

    if (ngx_time() - redis->logged >= NGX_HTTP_CRM_REDIS_LOG) {
        ngx_log_error(NGX_LOG_ERR, redis->cmcf->log, err,
            "crm redis %V %s, %ui replies were outstanding, failed %ui times "
            "since the last line, events stay in the journal",
            &redis->cmcf->redis_name, why, outstanding, redis->losses);
        redis->logged = ngx_time();
        redis->losses = 0;
    }

    ngx_http_crm_redis_abandon(redis);

    if (redis->exiting || ngx_exiting || ngx_terminate) {
        return;
    }

    ngx_add_timer(&redis->timer,
        redis->wait + (ngx_msec_t) ngx_random() % (redis->wait / 2 + 1));
    redis->wait = ngx_min(redis->wait * 2, NGX_HTTP_CRM_REDIS_WAIT_MAX);
}


static void
ngx_http_crm_redis_ready(ngx_http_crm_redis_t *redis)
{
    ngx_uint_t i;

    redis->state = NGX_HTTP_CRM_REDIS_UP;
    redis->since = ngx_current_msec;

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    ngx_log_error(NGX_LOG_INFO, redis->cmcf->log, 0, "crm redis %V is up",
        &redis->cmcf->redis_name);

    for (i = 0; i < redis->nready; i++) {
        redis->ready[i](redis->ready_data[i]);
    }
}


static char *
ngx_http_crm_redis_begin(ngx_http_crm_redis_t *redis, size_t max)
{
    if (redis->last - redis->first == NGX_HTTP_CRM_REDIS_PENDING
        || ngx_http_crm_buffer_room(
               &redis->out, max, NGX_HTTP_CRM_REDIS_OUT_MAX)
               != NGX_OK)
    {
        return NULL;
    }

    return (char *) redis->out.data + redis->out.end;
}


static void
ngx_http_crm_redis_end(ngx_http_crm_redis_t *redis, size_t len,
    ngx_http_crm_redis_pt done, void *data)
{
    ngx_http_crm_redis_pending_t *p;

    p = &redis->pending[redis->last++ & (NGX_HTTP_CRM_REDIS_PENDING - 1)];
    p->done = done;
    p->data = data;
    p->sent = ngx_current_msec;

    redis->out.end += len;

    if (!redis->replies.timer_set) {
        ngx_add_timer(&redis->replies, NGX_HTTP_CRM_REDIS_TIMEOUT);
    }

    if (!redis->flush.posted) {
        ngx_post_event(&redis->flush, &ngx_posted_events);
    }
}


static void
ngx_http_crm_redis_greeted(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements)
{
    ngx_http_crm_redis_t *redis = data;

    (void) elements;
    (void) nelements;

    if (reply == NULL) {
        return;
    }

    if (reply->type != '+') {
        if (reply->type == '-'
            && ngx_time() - redis->logged >= NGX_HTTP_CRM_REDIS_LOG) {
            ngx_log_error(NGX_LOG_ERR, redis->cmcf->log, 0,
                "crm redis %V refused AUTH or SELECT: \"%*s\"",
                &redis->cmcf->redis_name, ngx_min(reply->text.len, 128),
                reply->text.data);
        }

        /* seen by the reader, which drops the connection */
        redis->state = NGX_HTTP_CRM_REDIS_DOWN;
        return;
    }

    /* this is the last of the greeting */
    if (redis->first == redis->last) {
        ngx_http_crm_redis_ready(redis);
    }
}


static ngx_int_t
ngx_http_crm_redis_put(ngx_http_crm_redis_t *redis, const tracker_str_t *words,
    unsigned n, ngx_http_crm_redis_pt done, void *data)
{
    char    *start, *p;
    size_t   max;
    unsigned i;

    max = 32;

    for (i = 0; i < n; i++) {
        max += words[i].len + 32;
    }

    start = ngx_http_crm_redis_begin(redis, max);
    if (start == NULL) {
        return NGX_DECLINED;
    }

    p = tracker_resp_array(start, start + max, n);

    for (i = 0; p != NULL && i < n; i++) {
        p = tracker_resp_bulk(p, start + max, words[i]);
    }

    if (p == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_crm_redis_end(redis, p - start, done, data);

    return NGX_OK;
}


static void
ngx_http_crm_redis_connected(ngx_http_crm_redis_t *redis)
{
    u_char                    db[NGX_INT_T_LEN];
    unsigned                  n;
    ngx_int_t                 rc;
    tracker_str_t             words[3];
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = redis->cmcf;
    redis->state = NGX_HTTP_CRM_REDIS_GREETING;
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
        rc = ngx_http_crm_redis_put(
            redis, words, n, ngx_http_crm_redis_greeted, redis);
    }

    if (rc == NGX_OK && cmcf->redis_db != 0) {
        words[0].data = "SELECT";
        words[0].len = 6;
        words[1].data = (char *) db;
        words[1].len = ngx_sprintf(db, "%ui", cmcf->redis_db) - db;
        rc = ngx_http_crm_redis_put(
            redis, words, 2, ngx_http_crm_redis_greeted, redis);
    }

    if (rc != NGX_OK) {
        ngx_http_crm_redis_lost(redis, "could not be greeted", 0);
        return;
    }

    if (redis->first == redis->last) {
        ngx_http_crm_redis_ready(redis);
    }
}


/* Hands out the replies that are complete; NGX_ERROR: this is not Redis,
 * NGX_ABORT: a callback gave up. */
static ngx_int_t
ngx_http_crm_redis_parse(ngx_http_crm_redis_t *redis)
{
    size_t                       pos;
    unsigned                     n;
    tracker_str_t                input;
    tracker_reply_t              reply;
    tracker_reply_t              elements[NGX_HTTP_CRM_REDIS_ELEMENTS];
    tracker_result_e             rc;
    ngx_http_crm_redis_pending_t p;

    input.data = (char *) redis->in.data;
    input.len = redis->in.end;
    pos = redis->in.start;

    while (pos < input.len) {
        n = NGX_HTTP_CRM_REDIS_ELEMENTS;
        rc = tracker_resp_reply(
            input, &pos, NGX_HTTP_CRM_REDIS_IN_MAX, &reply, elements, &n);

        if (rc == TRACKER_AGAIN) {
            break;
        }

        if (rc != TRACKER_OK || redis->first == redis->last) {
            return NGX_ERROR;
        }

        redis->in.start = pos;
        p = redis->pending[redis->first++ & (NGX_HTTP_CRM_REDIS_PENDING - 1)];

        if (p.done != NULL) {
            p.done(p.data, &reply, elements, n);
        }

        if (redis->state == NGX_HTTP_CRM_REDIS_DOWN) {
            return NGX_ABORT;
        }
    }

    if (redis->in.start == redis->in.end) {
        ngx_http_crm_buffer_reset(&redis->in);
    }

    return NGX_OK;
}


static void
ngx_http_crm_redis_read(ngx_http_crm_redis_t *redis)
{
    ssize_t           n;
    ngx_int_t         rc;
    ngx_connection_t *c;

    c = redis->peer.connection;

    for (;;) {
        if (ngx_http_crm_buffer_room(&redis->in, NGX_HTTP_CRM_REDIS_READ,
                2 * NGX_HTTP_CRM_REDIS_IN_MAX)
            != NGX_OK)
        {
            ngx_http_crm_redis_lost(redis, "sent too long a reply", 0);
            return;
        }

        n = c->recv(
            c, redis->in.data + redis->in.end, redis->in.size - redis->in.end);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_http_crm_redis_lost(
                redis, "closed the connection", n == 0 ? 0 : ngx_socket_errno);
            return;
        }

        redis->in.end += n;

        rc = ngx_http_crm_redis_parse(redis);

        if (rc != NGX_OK) {
            ngx_http_crm_redis_lost(redis,
                rc == NGX_ABORT ? "did not let us in"
                                : "sent what was not asked for",
                0);
            return;
        }
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_crm_redis_lost(redis, "cannot be watched", 0);
    }
}


static void
ngx_http_crm_redis_event_handler(ngx_event_t *ev)
{
    int                   err;
    uint64_t              start;
    socklen_t             len;
    ngx_connection_t     *c;
    ngx_http_crm_redis_t *redis;

    c = ev->data;
    redis = c->data;
    start = ngx_http_crm_ticks();

    if (redis->state == NGX_HTTP_CRM_REDIS_CONNECTING) {
        err = 0;
        len = sizeof(int);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1
            || err != 0)
        {
            ngx_http_crm_redis_lost(redis, "refused the connection", err);
            return;
        }

        if (!ev->write) {
            return;
        }

        ngx_http_crm_redis_connected(redis);

        if (redis->peer.connection != c) {
            return;
        }
    }

    if (ev->write) {
        ngx_http_crm_redis_write(redis);
    } else {
        ngx_http_crm_redis_read(redis);
    }

    ngx_http_crm_count_by(redis->cmcf, NGX_HTTP_CRM_EXPORT_NS,
        ngx_http_crm_ticks_ns(ngx_http_crm_ticks() - start));
}


static void
ngx_http_crm_redis_write(ngx_http_crm_redis_t *redis)
{
    ssize_t           n;
    ngx_connection_t *c;

    c = redis->peer.connection;

    while (redis->out.start < redis->out.end) {
        n = c->send(c, redis->out.data + redis->out.start,
            redis->out.end - redis->out.start);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_http_crm_redis_lost(
                redis, "closed the connection", ngx_socket_errno);
            return;
        }

        redis->out.start += n;
    }

    if (redis->out.start == redis->out.end) {
        ngx_http_crm_buffer_reset(&redis->out);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_http_crm_redis_lost(redis, "cannot be watched", 0);
    }
}


static void
ngx_http_crm_redis_flush_handler(ngx_event_t *ev)
{
    uint64_t              start;
    ngx_connection_t     *dummy;
    ngx_http_crm_redis_t *redis;

    dummy = ev->data;
    redis = dummy->data;
    start = ngx_http_crm_ticks();

    if (redis->state >= NGX_HTTP_CRM_REDIS_GREETING) {
        ngx_http_crm_redis_write(redis);
    }

    ngx_http_crm_count_by(redis->cmcf, NGX_HTTP_CRM_EXPORT_NS,
        ngx_http_crm_ticks_ns(ngx_http_crm_ticks() - start));
}


static void
ngx_http_crm_redis_timer_handler(ngx_event_t *ev)
{
    ngx_connection_t     *dummy;
    ngx_http_crm_redis_t *redis;

    dummy = ev->data;
    redis = dummy->data;

    if (redis->state == NGX_HTTP_CRM_REDIS_DOWN) {
        ngx_http_crm_redis_connect(redis);
        return;
    }

    ngx_http_crm_redis_lost(redis, "did not accept in time", NGX_ETIMEDOUT);
}


static void
ngx_http_crm_redis_replies_handler(ngx_event_t *ev)
{
    ngx_msec_t                    age;
    ngx_connection_t             *dummy;
    ngx_http_crm_redis_t         *redis;
    ngx_http_crm_redis_pending_t *oldest;

    dummy = ev->data;
    redis = dummy->data;

    if (redis->first == redis->last) {
        return;
    }

    oldest = &redis->pending[redis->first & (NGX_HTTP_CRM_REDIS_PENDING - 1)];
    age = ngx_current_msec - oldest->sent;

    if (age >= NGX_HTTP_CRM_REDIS_TIMEOUT) {
        ngx_http_crm_redis_lost(redis, "timed out", NGX_ETIMEDOUT);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_CRM_REDIS_TIMEOUT - age);
}


static void
ngx_http_crm_redis_connect(ngx_http_crm_redis_t *redis)
{
    ngx_int_t         rc;
    ngx_connection_t *c;

    ngx_memzero(&redis->peer, sizeof(ngx_peer_connection_t));
    redis->peer.sockaddr = redis->cmcf->redis_addr->sockaddr;
    redis->peer.socklen = redis->cmcf->redis_addr->socklen;
    redis->peer.name = &redis->cmcf->redis_name;
    redis->peer.get = ngx_event_get_peer;
    redis->peer.log = &redis->quiet;
    redis->peer.log_error = NGX_ERROR_ERR;

    ngx_set_socket_errno(0);
    rc = ngx_event_connect_peer(&redis->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_crm_redis_lost(redis, "cannot be reached", ngx_socket_errno);
        return;
    }

    c = redis->peer.connection;
    c->data = redis;
    c->read->handler = ngx_http_crm_redis_event_handler;
    c->write->handler = ngx_http_crm_redis_event_handler;
    redis->state = NGX_HTTP_CRM_REDIS_CONNECTING;

    if (rc == NGX_OK) {
        ngx_http_crm_redis_connected(redis);
        return;
    }

    ngx_add_timer(&redis->timer, NGX_HTTP_CRM_REDIS_CONNECT);
}


static void
ngx_http_crm_redis_event(
    ngx_http_crm_redis_t *redis, ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = &redis->dummy;
    ev->log = redis->cmcf->log;
    ev->cancelable = 1;
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
    redis->wait = NGX_HTTP_CRM_REDIS_WAIT_MIN;
    redis->dummy.fd = (ngx_socket_t) -1;
    redis->dummy.data = redis;
    redis->quiet = *cycle->log;
    redis->quiet.log_level = NGX_LOG_ALERT;

    ngx_http_crm_redis_event(
        redis, &redis->timer, ngx_http_crm_redis_timer_handler);
    ngx_http_crm_redis_event(
        redis, &redis->replies, ngx_http_crm_redis_replies_handler);
    ngx_http_crm_redis_event(
        redis, &redis->flush, ngx_http_crm_redis_flush_handler);

    cmcf->redis = redis;

    /* from the loop: whoever wants to be told of it asks after this */
    ngx_add_timer(&redis->timer, 1);

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

    if (redis->state == NGX_HTTP_CRM_REDIS_UP) {
        ready(data);
    }
}


char *
ngx_http_crm_redis_reserve(ngx_http_crm_main_conf_t *cmcf, size_t max)
{
    if (cmcf->redis == NULL || cmcf->redis->state != NGX_HTTP_CRM_REDIS_UP) {
        return NULL;
    }

    return ngx_http_crm_redis_begin(cmcf->redis, max);
}


void
ngx_http_crm_redis_commit(ngx_http_crm_main_conf_t *cmcf, size_t len,
    ngx_http_crm_redis_pt done, void *data)
{
    ngx_http_crm_redis_end(cmcf->redis, len, done, data);
}


ngx_int_t
ngx_http_crm_redis_send(ngx_http_crm_main_conf_t *cmcf, const char *command,
    size_t len, ngx_http_crm_redis_pt done, void *data)
{
    char *room;

    room = ngx_http_crm_redis_reserve(cmcf, len);
    if (room == NULL) {
        return NGX_DECLINED;
    }

    ngx_memcpy(room, command, len);
    ngx_http_crm_redis_end(cmcf->redis, len, done, data);

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_redis_words(ngx_http_crm_main_conf_t *cmcf,
    const tracker_str_t *words, unsigned n, ngx_http_crm_redis_pt done,
    void *data)
{
    if (cmcf->redis == NULL || cmcf->redis->state != NGX_HTTP_CRM_REDIS_UP) {
        return NGX_DECLINED;
    }

    return ngx_http_crm_redis_put(cmcf->redis, words, n, done, data);
}


const char *
ngx_http_crm_redis_state(ngx_http_crm_main_conf_t *cmcf)
{
    if (cmcf->redis_addr == NULL) {
        return "off";
    }

    return cmcf->redis != NULL && cmcf->redis->state == NGX_HTTP_CRM_REDIS_UP
               ? "up"
               : "down";
}


void
ngx_http_crm_redis_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_redis_t *redis;

    redis = cmcf->redis;
    if (redis == NULL) {
        return;
    }

    redis->exiting = 1;

    /* one try, without waiting: the kernel delivers what it takes */
    if (redis->state == NGX_HTTP_CRM_REDIS_UP) {
        ngx_http_crm_redis_write(redis);
    }

    ngx_http_crm_redis_disconnect(redis);
    ngx_http_crm_redis_abandon(redis);

    free(redis->out.data);
    free(redis->in.data);
    cmcf->redis = NULL;
}
