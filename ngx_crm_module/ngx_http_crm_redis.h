/*
 * ngx_http_crm_redis.h - connections to Redis, and commands by key.
 *
 * A part of ngx_http_crm_module.h, which includes it.
 */

#ifndef NGX_HTTP_CRM_REDIS_H_INCLUDED_
#define NGX_HTTP_CRM_REDIS_H_INCLUDED_

#pragma GCC visibility push(hidden)


/* ---- ngx_http_crm_node.c: one pipelined connection to one Redis --------- */

#define NGX_HTTP_CRM_NODE_PENDING 8192 /* replies to come; a power of two */

typedef struct ngx_http_crm_node_s ngx_http_crm_node_t;

/* reply NULL: the connection was lost or timed out.  Called exactly once. */
typedef void (*ngx_http_crm_redis_pt)(void *data, const tracker_reply_t *reply,
    const tracker_reply_t *elements, unsigned nelements);

typedef enum {
    NGX_HTTP_CRM_NODE_DOWN = 0,
    NGX_HTTP_CRM_NODE_CONNECTING,
    NGX_HTTP_CRM_NODE_GREETING, /* AUTH and SELECT are under way */
    NGX_HTTP_CRM_NODE_UP
} ngx_http_crm_node_state_e;

typedef struct {
    ngx_http_crm_redis_pt done; /* NULL: nobody wants to know */
    void                 *data;
    ngx_msec_t            sent;
} ngx_http_crm_pending_t;

struct ngx_http_crm_node_s {
    ngx_http_crm_redis_t     *redis; /* whose node it is */
    ngx_http_crm_main_conf_t *cmcf;
    ngx_sockaddr_t            sockaddr;
    socklen_t                 socklen;
    ngx_str_t                 name; /* for log lines */
    u_char                    text[NGX_SOCKADDR_STRLEN];
    ngx_uint_t                slots;      /* that it owns; 0: not needed */
    unsigned                  wanted : 1; /* commands were to go to it */

    ngx_peer_connection_t     peer;
    ngx_log_t                 quiet; /* nginx would log each attempt */
    ngx_http_crm_node_state_e state;
    ngx_http_crm_buffer_t     out;
    ngx_http_crm_buffer_t     in;

    ngx_http_crm_pending_t pending[NGX_HTTP_CRM_NODE_PENDING];
    ngx_uint_t             first; /* free-running */
    ngx_uint_t             last;

    ngx_event_t      timer;   /* connecting: deadline; down: next attempt */
    ngx_event_t      replies; /* deadline of the oldest outstanding reply */
    ngx_event_t      flush;   /* posted once per turn */
    ngx_connection_t dummy;   /* timers log the fd of their data */

    ngx_msec_t since;   /* when it came up */
    ngx_msec_t wait;    /* ms before the next attempt */
    time_t     logged;  /* when a loss was last logged */
    time_t     refused; /* when a refused AUTH or SELECT was last logged */
    ngx_uint_t losses;  /* since `logged` */
    unsigned   closing : 1;
};

void ngx_http_crm_node_init(ngx_http_crm_node_t *node,
    ngx_http_crm_redis_t *redis, ngx_http_crm_main_conf_t *cmcf,
    struct sockaddr *sockaddr, socklen_t socklen);
/* Connects if it is down and no attempt is due by itself. */
void ngx_http_crm_node_connect(ngx_http_crm_node_t *node);
/* Tells everybody who waits, and frees what it holds. */
void ngx_http_crm_node_close(ngx_http_crm_node_t *node);
/* Room for one command of at most max bytes, of an open connection; NULL: too
 * much is in flight.  _end sends the first len of them. */
char *ngx_http_crm_node_begin(ngx_http_crm_node_t *node, size_t max);
void  ngx_http_crm_node_end(ngx_http_crm_node_t *node, size_t len,
     ngx_http_crm_redis_pt done, void *data);
/* A command of plain words: how long at most, written, and sent. */
size_t ngx_http_crm_node_words_max(const tracker_str_t *words, unsigned n);
size_t ngx_http_crm_node_words(
    char *start, size_t max, const tracker_str_t *words, unsigned n);
ngx_int_t ngx_http_crm_node_put(ngx_http_crm_node_t *node,
    const tracker_str_t *words, unsigned n, ngx_http_crm_redis_pt done,
    void *data);

/* ---- ngx_http_crm_redis.c: one Redis or a cluster, commands by key ------ */

/* Called each time something changed about who has what: a connection is new,
 * or slots have moved. */
typedef void (*ngx_http_crm_redis_ready_pt)(void *data);

ngx_int_t ngx_http_crm_redis_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
void ngx_http_crm_redis_on_ready(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_redis_ready_pt ready, void *data);
/*
 * Room for max bytes of one command in RESP, to whoever has the key; NULL: not
 * connected, or too much in flight.  _commit sends the first len of them, and
 * the callback will come.  Such a command is not sent again to another master:
 * that one may have lost what the first had acknowledged.
 */
char *ngx_http_crm_redis_reserve(
    ngx_http_crm_main_conf_t *cmcf, tracker_str_t key, size_t max);
void ngx_http_crm_redis_commit(ngx_http_crm_main_conf_t *cmcf, size_t len,
    ngx_http_crm_redis_pt done, void *data);
/* A command of plain words, followed to whoever has the key, words[key].
 * NGX_OK: the callback will come; NGX_DECLINED: it will not. */
ngx_int_t ngx_http_crm_redis_words(ngx_http_crm_main_conf_t *cmcf,
    const tracker_str_t *words, unsigned n, unsigned key,
    ngx_http_crm_redis_pt done, void *data);
#define ngx_http_crm_word(word, text)                                          \
    (word).data = text;                                                        \
    (word).len = sizeof(text) - 1
void ngx_http_crm_redis_exit(ngx_http_crm_main_conf_t *cmcf);
/* 1 if some command may find its way. */
ngx_uint_t ngx_http_crm_redis_usable(ngx_http_crm_main_conf_t *cmcf);
/* For crm_status, of this worker: "up": all that are needed, "down", or "off"
 * (not configured). */
const char *ngx_http_crm_redis_state(ngx_http_crm_main_conf_t *cmcf);
/* How many masters are connected, of how many. */
void ngx_http_crm_redis_nodes(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t *up, ngx_uint_t *all);
/* ---- ngx_http_crm_redis_map.c: which node has a slot -------------------- */

#define NGX_HTTP_CRM_REDIS_NODES       64  /* masters, and those configured */
#define NGX_HTTP_CRM_REDIS_NONE        255 /* no index of a node */
#define NGX_HTTP_CRM_REDIS_READY       4
#define NGX_HTTP_CRM_REDIS_REFRESH_MIN 50 /* ms before the map is asked for */

struct ngx_http_crm_redis_s {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_pool_t               *pool;

    ngx_http_crm_node_t *nodes[NGX_HTTP_CRM_REDIS_NODES];
    ngx_uint_t           nnodes;
    uint8_t              map[TRACKER_CLUSTER_SLOTS];   /* index, or _NONE */
    uint8_t              fresh[TRACKER_CLUSTER_SLOTS]; /* map being read */

    ngx_http_crm_redis_ready_pt ready[NGX_HTTP_CRM_REDIS_READY];
    void                       *ready_data[NGX_HTTP_CRM_REDIS_READY];
    ngx_uint_t                  nready;

    /* between _reserve and _commit */
    ngx_http_crm_node_t           *open_node;
    struct ngx_http_crm_command_s *open;

    size_t           copied;  /* bytes of commands kept */
    ngx_event_t      refresh; /* the map is to be asked for */
    ngx_event_t      changed; /* posted: whoever is interested is to be told */
    ngx_connection_t dummy;   /* timers log the fd of their data */
    ngx_msec_t       wait;    /* ms before the next look */
    ngx_uint_t       turn;    /* which node is asked next */
    time_t           logged;

    unsigned cluster : 1;
    unsigned known : 1; /* there is a map */
    unsigned exiting : 1;
};

/* The node of that address; NULL: there is no room for another one. */
ngx_http_crm_node_t *ngx_http_crm_redis_node(
    ngx_http_crm_redis_t *redis, struct sockaddr *sockaddr, socklen_t socklen);
/* As `asked` names it; an empty host is `asked` itself.  NULL: no address. */
ngx_http_crm_node_t *ngx_http_crm_redis_named(ngx_http_crm_redis_t *redis,
    ngx_http_crm_node_t *asked, tracker_str_t host, unsigned port);
ngx_uint_t           ngx_http_crm_redis_index(
              ngx_http_crm_redis_t *redis, const ngx_http_crm_node_t *node);
/* Tells whoever is interested, at the end of this turn of the loop. */
void ngx_http_crm_redis_tell(ngx_http_crm_redis_t *redis);
void ngx_http_crm_redis_changed_handler(ngx_event_t *ev);
/* The map is to be asked for, soon. */
void ngx_http_crm_redis_refresh(ngx_http_crm_redis_t *redis);
void ngx_http_crm_redis_refresh_handler(ngx_event_t *ev);
/* 1 while a master that is needed is not there. */
ngx_uint_t ngx_http_crm_redis_lacks(ngx_http_crm_redis_t *redis);
/* Of a node to its owner. */
void ngx_http_crm_redis_node_up(
    ngx_http_crm_redis_t *redis, ngx_http_crm_node_t *node);
void ngx_http_crm_redis_node_lost(ngx_http_crm_redis_t *redis);


#pragma GCC visibility pop

#endif /* NGX_HTTP_CRM_REDIS_H_INCLUDED_ */
