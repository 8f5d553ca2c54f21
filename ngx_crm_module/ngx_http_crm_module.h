/*
 * ngx_http_crm_module.h - what the files of the nginx adapter share.
 *
 * The adapter lets nginx use the tracker and personalize cores without ever
 * waiting.  One request context hangs on the main request; per-worker state
 * hangs on the main configuration, so that nothing lives in statics and two
 * generations of workers can run side by side during a reload.
 */

#ifndef NGX_HTTP_CRM_MODULE_H_INCLUDED_
#define NGX_HTTP_CRM_MODULE_H_INCLUDED_

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "../tracker/tracker.h"
#include "../personalize/personalize.h"

#pragma GCC visibility push(hidden)


typedef struct ngx_http_crm_redis_s     ngx_http_crm_redis_t;
typedef struct ngx_http_crm_pg_s        ngx_http_crm_pg_t;
typedef struct ngx_http_crm_zone_s      ngx_http_crm_zone_t;
typedef struct ngx_http_crm_journals_s  ngx_http_crm_journals_t;
typedef struct ngx_http_crm_export_s    ngx_http_crm_export_t;
typedef struct ngx_http_crm_site_s      ngx_http_crm_site_t;
typedef struct ngx_http_crm_lookup_s    ngx_http_crm_lookup_t;
typedef struct ngx_http_crm_campaigns_s ngx_http_crm_campaigns_t;
typedef struct ngx_http_crm_extracts_s  ngx_http_crm_extracts_t;
typedef struct ngx_http_crm_geo_s       ngx_http_crm_geo_t;
typedef struct ngx_http_crm_clients_s   ngx_http_crm_clients_t;
typedef struct ngx_http_crm_model_s     ngx_http_crm_model_t;
typedef struct ngx_http_crm_watch_s     ngx_http_crm_watch_t;
typedef struct ngx_http_crm_watcher_s   ngx_http_crm_watcher_t;
typedef struct ngx_http_crm_health_s    ngx_http_crm_health_t;
typedef struct ngx_http_crm_consent_s   ngx_http_crm_consent_t;
typedef struct ngx_http_crm_anonymize_s ngx_http_crm_anonymize_t;
typedef struct ngx_http_crm_link_s      ngx_http_crm_link_t;
typedef struct ngx_http_crm_places_s    ngx_http_crm_places_t;


/* Counters of all workers, in shared memory; one name and help text each in
 * ngx_http_crm_status.c. */
typedef enum {
    NGX_HTTP_CRM_EVENTS = 0,      /* appended to a journal */
    NGX_HTTP_CRM_SHED,            /* refused: journal full or record too long */
    NGX_HTTP_CRM_NS,              /* nanoseconds spent capturing, sampled */
    NGX_HTTP_CRM_NS_SAMPLES,      /* requests that were sampled */
    NGX_HTTP_CRM_VISITORS_NEW,    /* cookies made */
    NGX_HTTP_CRM_COOKIE_BAD,      /* forged, truncated or damaged cookies */
    NGX_HTTP_CRM_SESSIONS,        /* sessions begun */
    NGX_HTTP_CRM_INVALID_TEXT,    /* bytes replaced by U+FFFD */
    NGX_HTTP_CRM_BATCHES,         /* accepted by Redis */
    NGX_HTTP_CRM_BATCHES_AGAIN,   /* had been accepted before */
    NGX_HTTP_CRM_REDIS_ERRORS,    /* connections lost, errors, nonsense */
    NGX_HTTP_CRM_REDIS_REWINDS,   /* Redis had lost data, sent again */
    NGX_HTTP_CRM_PG_ERRORS,       /* connections lost, errors, time-outs */
    NGX_HTTP_CRM_ZONE_HITS,       /* visitor state was in the zone */
    NGX_HTTP_CRM_ZONE_MISSES,     /* it was not */
    NGX_HTTP_CRM_ZONE_EVICTED,    /* cells given to another visitor */
    NGX_HTTP_CRM_LOOKUPS,         /* sent to Redis and PostgreSQL */
    NGX_HTTP_CRM_BUDGET_SPENT,    /* decided without waiting any longer */
    NGX_HTTP_CRM_DECISIONS,       /* slots asked for */
    NGX_HTTP_CRM_SLOTS_FILLED,    /* slots whose content left */
    NGX_HTTP_CRM_SLOTS_UNCLOSED,  /* markers without an end, passed unchanged */
    NGX_HTTP_CRM_SLOTS_ABORTED,   /* slots whose content left in part or not */
    NGX_HTTP_CRM_PAGES_HELD,      /* pages kept back until a slot or the end */
    NGX_HTTP_CRM_SETS,            /* campaign sets compiled */
    NGX_HTTP_CRM_SETS_REFUSED,    /* campaign sets with a fault */
    NGX_HTTP_CRM_MODELS,          /* mined models taken */
    NGX_HTTP_CRM_MODELS_REFUSED,  /* mined models with a fault */
    NGX_HTTP_CRM_PROFILES_LARGE,  /* profiles too large for a zone cell */
    NGX_HTTP_CRM_EXPORT_NS,       /* nanoseconds spent on delivery to Redis */
    NGX_HTTP_CRM_SESSIONS_UNSENT, /* session states not written to Redis */
    NGX_HTTP_CRM_IDENTIFY_BAD,    /* X-CRM-Identify headers that were refused */
    NGX_HTTP_CRM_COLLECT_REQUESTS,    /* of client libraries */
    NGX_HTTP_CRM_COLLECT_EVENTS,      /* of theirs, appended to a journal */
    NGX_HTTP_CRM_COLLECT_INVALID,     /* that can be no event, kept with why */
    NGX_HTTP_CRM_COLLECT_BAD_REQUEST, /* refused: no JSON, or no such path */
    NGX_HTTP_CRM_COLLECT_UNKNOWN_KEY, /* refused: 401 */
    NGX_HTTP_CRM_COLLECT_FORBIDDEN,   /* refused: 403, a foreign origin */
    NGX_HTTP_CRM_COLLECT_TOO_LARGE,   /* refused: 413 */
    NGX_HTTP_CRM_COLLECT_FULL,        /* asked to come again: 503 */
    NGX_HTTP_CRM_UPSTREAM_BAD,    /* X-CRM-Event headers that were refused */
    NGX_HTTP_CRM_EXTRACT_SKIPPED, /* forms and replies not looked at */
    NGX_HTTP_CRM_BOT_EVENTS,      /* events labelled as those of a bot */
    NGX_HTTP_CRM_GEOIP_ERRORS,    /* look-ups that met a damaged file */
    NGX_HTTP_CRM_RECS,            /* lists of recommendations made */
    NGX_HTTP_CRM_FILES_LOADED,    /* new versions of files taken */
    NGX_HTTP_CRM_FILES_REFUSED,   /* new versions with a fault */
    NGX_HTTP_CRM_DRY_RUN_EVENTS,  /* kept back by crm_dry_run */
    NGX_HTTP_CRM_DRY_RUN_COOKIES, /* kept back by crm_dry_run */
    NGX_HTTP_CRM_DRY_RUN_SLOTS,   /* decided, and left as they were */
    NGX_HTTP_CRM_REDIS_REDIRECTS, /* MOVED and ASK of a cluster */
    NGX_HTTP_CRM_UNCONSENTED,     /* requests that may not be measured */
    NGX_HTTP_CRM_CONSENTS,        /* changes of consent put on record */
    NGX_HTTP_CRM_LINKS,           /* visitors taken over from another domain */
    NGX_HTTP_CRM_LINKS_BAD,       /* forged, expired or foreign tokens */
    NGX_HTTP_CRM_NCOUNTERS
} ngx_http_crm_counter_e;

typedef struct {
    ngx_atomic_t value[NGX_HTTP_CRM_NCOUNTERS];
} ngx_http_crm_counters_t;


/* What is known of robots; of the main configuration. */
typedef struct {
    tracker_bots_t         *list;     /* crm_bots; NULL: none */
    tracker_ranges_t       *ranges;   /* crm_bots_verified; NULL: none */
    ngx_http_crm_clients_t *clients;  /* in shared memory; NULL: not counted */
    unsigned                told : 1; /* there is a crm_bots */
    unsigned                behaviour : 1;
} ngx_http_crm_robots_t;


/* http{} level: what is configured once, and what a worker owns at run time. */
typedef struct {
    /* configuration */
    ngx_path_t     *journal_path;  /* crm_journal; NULL: nothing is captured */
    size_t          journal_bytes; /* of one ring file */
    ngx_msec_t      journal_sync;  /* ms between msync; 0: never */
    ngx_str_t       keys_file;     /* crm_cookie_keys; empty: made by us */
    ngx_shm_zone_t *counters_zone; /* always there when the module is used */
    ngx_shm_zone_t *zone;          /* crm_zone; NULL: no visitor state kept */
    ngx_addr_t     *redis_addr;    /* crm_redis; NULL: events stay here */
    ngx_uint_t      redis_naddrs;  /* more than one: of a cluster */
    ngx_uint_t      redis_cluster; /* the addresses are nodes of a cluster */
    ngx_str_t       redis_name;    /* for log lines, without password */
    ngx_str_t       redis_user;
    ngx_str_t       redis_password;
    ngx_uint_t      redis_db;
    ngx_str_t       pg_conninfo; /* crm_postgres, NUL-terminated; or empty */
    ngx_str_t   campaigns_file;  /* crm_campaigns: a set without PostgreSQL */
    ngx_array_t sites;           /* of ngx_http_crm_site_t, one per crm_site */
    ngx_uint_t  used;            /* crm on somewhere */
    ngx_uint_t  extracts;        /* crm_extract json somewhere */
    ngx_http_crm_geo_t    *geo;  /* crm_geoip, in their order */
    ngx_http_crm_robots_t *robots;  /* crm_bots; NULL: nobody is one */
    ngx_http_crm_model_t  *models;  /* crm_model */
    ngx_http_crm_watch_t  *watches; /* files that may get a new version */

    struct {
        ngx_module_t  *module; /* NULL: this nginx has no such directive */
        ngx_command_t *command;
    } foreign[4]; /* by ngx_http_crm_foreign_e */

    /* the worker's own, set in init_process, released in exit_process */
    tracker_keys_t           keys;     /* read by the master, kept over fork */
    ngx_http_crm_journals_t *journals; /* NULL: no journal could be had */
    ngx_http_crm_export_t   *drain;
    ngx_http_crm_redis_t    *redis;
    ngx_http_crm_pg_t       *pg;
    ngx_http_crm_watcher_t  *watcher; /* NULL: there is no such file */
    ngx_http_crm_health_t   *health;
    ngx_http_crm_counters_t *counters; /* in counters_zone; never NULL then */
    char                    *hit_room; /* TRACKER_HIT_ROOM bytes, once used */
#if (NGX_THREADS)
    ngx_thread_pool_t *threads; /* nginx's default pool */
#endif
    ngx_log_t *log; /* the cycle's */
} ngx_http_crm_main_conf_t;

/* One crm_site: its campaign set and where that stands. */
struct ngx_http_crm_site_s {
    ngx_str_t          name;
    uint32_t           hash; /* of the name: part of the zone's key */
    personalize_set_t *set;  /* NULL: none compiled yet */
    time_t             session_timeout; /* seconds; longest of its locations */
    void              *set_state;       /* of ngx_http_crm_set.c */
    void              *intent_state;    /* of ngx_http_crm_intent.c */
};

typedef enum {
    NGX_HTTP_CRM_CAPTURE_OFF = 0,
    NGX_HTTP_CRM_CAPTURE_HTML, /* text/html answers and named events */
    NGX_HTTP_CRM_CAPTURE_ALL
} ngx_http_crm_capture_e;

typedef enum {
    NGX_HTTP_CRM_COLLECT_OFF = 0,
    NGX_HTTP_CRM_COLLECT_SEGMENT,
    NGX_HTTP_CRM_COLLECT_SNOWPLOW
} ngx_http_crm_collect_e;

/* One crm_write_key. */
typedef struct {
    ngx_str_t            key;
    ngx_str_t            site_name; /* empty: the location's */
    ngx_http_crm_site_t *site;      /* of site_name; NULL: the location's */
    ngx_uint_t           trusted;   /* 1: a server's */
} ngx_http_crm_key_t;

typedef struct {
    ngx_http_complex_value_t  name;
    ngx_array_t               props;  /* of ngx_http_crm_prop_conf_t */
    ngx_http_complex_value_t *filter; /* if=: skipped when "" or "0" */
} ngx_http_crm_event_conf_t;

typedef struct {
    ngx_str_t                key;
    ngx_http_complex_value_t value;
} ngx_http_crm_prop_conf_t;

typedef struct {
    ngx_flag_t             enable;  /* crm */
    ngx_flag_t             dry_run; /* crm_dry_run: nothing leaves */
    ngx_uint_t             capture; /* crm_capture */
    ngx_http_crm_site_t   *site;    /* crm_site */
    ngx_str_t              site_name;
    ngx_str_t              cookie_name;     /* crm_cookie */
    ngx_str_t              cookie_tail;     /* "; Path=/; Max-Age=…" ready */
    ngx_uint_t             cookie_secure;   /* 0 off, 1 on, 2 auto: on TLS */
    time_t                 session_timeout; /* seconds */
    ngx_array_t           *events;          /* of ngx_http_crm_event_conf_t */
    ngx_flag_t             markers;         /* crm_slot markers */
    ngx_http_crm_places_t *places;          /* crm_slot NAME …; NULL: none */
    ngx_msec_t             budget;          /* crm_budget, ms per request */
    ngx_uint_t             collect;         /* crm_collect */
    size_t                 collect_max;     /* bytes of a body, inflated too */
    ngx_array_t           *keys;            /* of ngx_http_crm_key_t */
    ngx_array_t           *origins;         /* of ngx_str_t; "any" for all */

    ngx_http_complex_value_t *item; /* crm_item; NULL: pages show none */

    ngx_http_crm_extracts_t *extracts;    /* crm_extract; NULL: none */
    size_t                   extract_max; /* crm_extract_max, bytes */

    ngx_http_crm_consent_t   *consent;   /* crm_consent; NULL: not asked */
    ngx_http_crm_anonymize_t *anonymize; /* crm_anonymize */
    ngx_http_crm_link_t      *link;      /* crm_link; NULL: none is taken */
} ngx_http_crm_loc_conf_t;

/* crm_link */
struct ngx_http_crm_link_s {
    ngx_str_t name; /* of the argument */
    ngx_str_t to;   /* host that tokens are made for; empty: none are */
    time_t    ttl;  /* seconds */
};

#define NGX_HTTP_CRM_MEASURE     0x01U /* purposes of crm_consent */
#define NGX_HTTP_CRM_PERSONALIZE 0x02U


/* What one main request knows; subrequests reach it through r->main. */
typedef struct {
    tracker_visitor_t visitor;
    uint8_t           sid[TRACKER_UUID_SIZE];
    ngx_str_t         uid;         /* customer id; empty if unknown */
    tracker_live_t   *live;        /* copy of the session as of this request */
    char             *profile;     /* packed blob, copied from the zone */
    size_t            profile_len; /* bytes */

    ngx_http_crm_site_t      *site;
    personalize_set_t        *set;       /* held from the first decision on */
    ngx_http_crm_campaigns_t *campaigns; /* that hold `set`, once held */
    ngx_http_crm_lookup_t    *lookup;    /* under way for this request */
    void                     *offer;     /* of ngx_http_crm_offer.c */
    void                     *page;      /* of ngx_http_crm_slot.c */
    void                     *collect;   /* of ngx_http_crm_collect.c */
    void                     *said;      /* of ngx_http_crm_upstream.c */
    void                     *extract;   /* of ngx_http_crm_extract.c */

    tracker_enrich_t  *enrich;  /* place, device, bot; NULL: not asked for */
    tracker_traffic_t *traffic; /* of a session's first request, once asked */

    tracker_shown_t *shown; /* really sent; room for all once there is one */
    unsigned         nshown;
    uint64_t         ns; /* clock ticks spent capturing, when sampled */

    const char *consent_source; /* what said so; NULL: nobody was asked */

    personalize_str_t unit;  /* visitor id as text: what variants hash */
    personalize_str_t items; /* session.items as a packed list, once made */
    personalize_str_t recs;  /* session.recs likewise */
    double intent; /* session.intent, once made; below 0: there is none */

    unsigned intent_made : 1;
    unsigned has_visitor : 1; /* visitor and sid are set */
    unsigned visitor_new : 1; /* no good cookie came */
    unsigned session_new : 1;
    unsigned cookie_due : 1; /* something material changed */
    unsigned cookie_sent : 1;
    unsigned state_loaded : 1; /* live and profile were asked for */
    unsigned sampled : 1;
    unsigned measure : 1;     /* consent: a visitor may be known */
    unsigned personal : 1;    /* consent: and served by what is known */
    unsigned consent_new : 1; /* it changed; recorded once the cookie went */
    unsigned cookie_seen : 1; /* one of our name came, good or bad */
    unsigned hidden : 1;      /* conditions and ranges, from the shop */
    unsigned slots_due : 1;   /* this page is changed, or may be: private */
} ngx_http_crm_ctx_t;


/* Gives the value of one attribute that a campaign set reads. */
typedef void (*ngx_http_crm_attr_pt)(ngx_http_request_t *r,
    ngx_http_crm_ctx_t *ctx, personalize_str_t path,
    personalize_value_t *value);

/* A compiled set, how to get what it reads, and who still uses it. */
struct ngx_http_crm_campaigns_s {
    personalize_set_t    *set;
    ngx_http_crm_attr_pt *attrs; /* one per attribute of the set */
    ngx_uint_t            refs;  /* its site and the requests holding it */
};


extern ngx_module_t ngx_http_crm_module;      /* conf, phases, variables */
extern ngx_module_t ngx_http_crm_head_module; /* header filter, before gunzip */
extern ngx_module_t ngx_http_crm_body_module; /* slot filter, after gunzip */
extern ngx_module_t ngx_http_crm_peek_module; /* before every other filter */

#define ngx_http_crm_count(cmcf, which)                                        \
    (void) ngx_atomic_fetch_add(&(cmcf)->counters->value[which], 1)
#define ngx_http_crm_count_by(cmcf, which, n)                                  \
    (void) ngx_atomic_fetch_add(&(cmcf)->counters->value[which], n)


/* 1: everything is computed, but nothing of it may be seen or leave */
#define ngx_http_crm_dry_run(r)                                                \
    (((ngx_http_crm_loc_conf_t *) ngx_http_get_module_loc_conf(                \
          (r)->main, ngx_http_crm_module))                                     \
            ->dry_run)


/* ---- ngx_http_crm_module.c ---------------------------------------------- */

/* The site of that name, added if it is new. */
ngx_http_crm_site_t *ngx_http_crm_site_get(
    ngx_http_crm_main_conf_t *cmcf, ngx_str_t *name);

/* ---- ngx_http_crm_variables.c ------------------------------------------- */

ngx_int_t ngx_http_crm_variables_add(ngx_conf_t *cf);

/* ---- ngx_http_crm_conf.c: arguments of directives ----------------------- */

/* 1 if the argument begins with "<name>=", and then its value in *rest. */
ngx_uint_t ngx_http_crm_argument(
    ngx_str_t *arg, const char *name, ngx_str_t *rest);

/* 1 if the argument is that word. */
ngx_uint_t ngx_http_crm_word_is(ngx_str_t *arg, const char *word);
/* The whole of a file of at most max bytes, in cf->pool. */
ngx_int_t ngx_http_crm_read_file(
    ngx_conf_t *cf, ngx_str_t *name, size_t max, ngx_str_t *text);

char *ngx_http_crm_site_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_journal_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_redis_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_postgres_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_campaigns_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_cookie_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_keys_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_timeout_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_capture_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_event_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_budget_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ---- ngx_http_crm_visitor.c: cookie in, cookie out ---------------------- */

/* The context of r->main; made, and the cookie read, at first use.  NULL: out
 * of memory, or crm is off in this location. */
ngx_http_crm_ctx_t *ngx_http_crm_get_ctx(ngx_http_request_t *r);
/*
 * Adds Set-Cookie when due and allowed.  To be called from the header filter
 * of the BODY module: only that one runs after nginx's own headers filter and
 * so sees the Cache-Control that "expires" and "add_header" make.  (The same
 * holds for replacing Cache-Control on a personalised answer.)
 */
ngx_int_t ngx_http_crm_visitor_send(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);

/* ---- ngx_http_crm_consent.c: what a visitor allowed --------------------- */

/* Finds the state; to be called once, before the cookie is looked at. */
void ngx_http_crm_consent(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* Keeps the state in the visitor's cookie, so that each change is put on
 * record once. */
void ngx_http_crm_consent_visitor(ngx_http_crm_ctx_t *ctx);
/* 1 if a campaign must not see that attribute. */
ngx_uint_t ngx_http_crm_consent_hides(
    ngx_http_crm_ctx_t *ctx, personalize_str_t path);
/* The log that may be told about this request: nginx adds address and URL to
 * what a connection's log says. */
ngx_log_t *ngx_http_crm_consent_log(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* Cuts what the event may not say.  To be called for each event, last before
 * it is used; what was cut lies in the request's pool. */
void ngx_http_crm_consent_event(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, tracker_event_t *event);
/* crm_anonymize alone, for an event of which no consent is known. */
void ngx_http_crm_anonymize_event(
    ngx_http_request_t *r, tracker_event_t *event);
/* Fills the event that records a change of consent. */
void ngx_http_crm_consent_record(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    tracker_event_t *event, tracker_prop_t *props);
char *ngx_http_crm_consent_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_anonymize_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ---- ngx_http_crm_link.c: a visitor from another domain ----------------- */

/* Sets ctx->visitor to the one that the request's token hands over. */
ngx_int_t ngx_http_crm_link_take(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
ngx_int_t ngx_http_crm_link_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
char *ngx_http_crm_link_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ---- ngx_http_crm_clock.c: time and randomness -------------------------- */

/* Current time in µs from nginx's cached clock plus the cycle's fine clock. */
uint64_t ngx_http_crm_now_us(void);
/* n random bytes from a pool refilled by getrandom(2); never blocks. */
void ngx_http_crm_random(uint8_t *buf, size_t n);
/* A fast clock for measuring ourselves, and its unit in nanoseconds. */
uint64_t ngx_http_crm_ticks(void);
uint64_t ngx_http_crm_ticks_ns(uint64_t ticks);

/* ---- ngx_http_crm_event.c: finished request -> event, log phase --------- */

ngx_int_t ngx_http_crm_log_handler(ngx_http_request_t *r);
/* 1 if the answer is a page for the visitor: text/html. */
ngx_uint_t ngx_http_crm_is_page(ngx_http_request_t *r);
/* Gives the event id, time and customer, moves the session, appends it. */
void ngx_http_crm_event_put(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event);
#define ngx_http_crm_literal(t, text)                                          \
    (t)->data = text;                                                          \
    (t)->len = sizeof(text) - 1

/* ---- ngx_http_crm_upstream.c: what the shop says in headers ------------- */

/* Takes X-CRM-Event and X-CRM-Identify out of an upstream's answer, and into
 * the context if there is one; from the header filter of the HEAD module. */
void ngx_http_crm_upstream_take(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* Log phase: the events that were said; `event` holds what they share.  How
 * many there were. */
ngx_uint_t ngx_http_crm_upstream_put(ngx_http_request_t *r,
    ngx_http_crm_ctx_t *ctx, ngx_http_crm_main_conf_t *cmcf,
    tracker_event_t *event);

/* ---- ngx_http_crm_extract.c: variables from forms and JSON replies ------ */

#define NGX_HTTP_CRM_EXTRACT_MAX_DEFAULT 65536 /* bytes */

char *ngx_http_crm_extract_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_extract_max_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Adds the filters that copy replies, where any are wanted; after gunzip. */
void ngx_http_crm_extract_init(ngx_http_crm_main_conf_t *cmcf);

/* ---- ngx_http_crm_journal.c: this worker's ring files ------------------- */

ngx_int_t ngx_http_crm_journals_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
void ngx_http_crm_journals_exit(ngx_http_crm_main_conf_t *cmcf);
/* The journal that takes new events, or NULL. */
tracker_journal_t *ngx_http_crm_journal_current(ngx_http_crm_main_conf_t *cmcf);
/* The journals this worker holds by slot, n < NGX_HTTP_CRM_JOURNALS_MAX: 0 its
 * own, then those it adopted; NULL: the slot is empty. */
#define NGX_HTTP_CRM_JOURNALS_MAX 32
tracker_journal_t *ngx_http_crm_journal_nth(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n);
/* Producers of files nobody holds whose durable cursor is behind; NULL at the
 * end.  When Redis knows a later position, the file is adopted for a moment. */
const char *ngx_http_crm_journal_waiting(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n);
void ngx_http_crm_journal_durable(
    ngx_http_crm_main_conf_t *cmcf, const char *producer, uint64_t seq);

/* ---- ngx_http_crm_export.c: journal -> Redis, durable positions back ---- */

ngx_int_t ngx_http_crm_export_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
/* Wakes the drain; called after an append, cheap when it is awake. */
void ngx_http_crm_export_wake(ngx_http_crm_main_conf_t *cmcf);
/* Queues SET crm:s:… for a session that changed (one per visitor and flush). */
void ngx_http_crm_export_session(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE]);
/* Deletes that key, and what is queued for it. */
void ngx_http_crm_export_forget(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE]);
void ngx_http_crm_export_exit(ngx_http_crm_main_conf_t *cmcf);
/* 1 if the journal of slot n may be closed: nothing is under way for it, and
 * this connection to Redis has been told about it. */
ngx_uint_t ngx_http_crm_export_idle(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n);
/* Slot n has got another journal. */
void ngx_http_crm_export_adopt(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n);
/* Counts the connections made to Redis; 0: none yet. */
ngx_uint_t ngx_http_crm_export_generation(ngx_http_crm_main_conf_t *cmcf);

/* Counts what Redis refused, and says so once a minute. */
void ngx_http_crm_export_refused(ngx_http_crm_main_conf_t *cmcf,
    const char *what, const tracker_reply_t *reply);
/* The sequence in "<sequence>-0" or "<sequence>"; 0 for anything else. */
uint64_t ngx_http_crm_export_sequence(tracker_str_t text);

/* ---- ngx_http_crm_lane.c: one journal's way to its stream --------------- */

#define NGX_HTTP_CRM_BATCH_EVENTS 1000

typedef enum {
    NGX_HTTP_CRM_LANE_UNKNOWN = 0, /* this connection knows nothing of it */
    NGX_HTTP_CRM_LANE_ASKED,       /* SADD and XINFO are under way */
    NGX_HTTP_CRM_LANE_KNOWN        /* `sent` is what Redis has */
} ngx_http_crm_lane_e;

typedef struct {
    ngx_http_crm_main_conf_t *cmcf;
    tracker_str_t            *batch; /* room for NGX_HTTP_CRM_BATCH_EVENTS */
    ngx_uint_t                slot;
    ngx_http_crm_lane_e       state;
    ngx_uint_t                under_way; /* replies to come */
    uint64_t                  last;  /* sequence of the batch under way; or 0 */
    uint64_t                  tried; /* last sequence that went out */
    uint64_t   ahead; /* position of a store, beyond the file's */
    uint64_t   again; /* next event to be numbered anew; or 0 */
    uint64_t   again_last;
    ngx_msec_t retry; /* ms to wait after the next error */
    ngx_msec_t not_before;
    unsigned   added : 1;      /* it is in crm:producers */
    unsigned   stream : 1;     /* its stream exists */
    unsigned   waiting : 1;    /* not_before counts */
    unsigned   positioned : 1; /* PostgreSQL's is known */
} ngx_http_crm_lane_t;

/* Forgets what Redis was told, and asks at the next flush. */
void ngx_http_crm_lane_reset(ngx_http_crm_lane_t *lane);
/* The slot has got another journal. */
void ngx_http_crm_lane_init(ngx_http_crm_lane_t *lane);
/* A store knows this position: if it is beyond what the journal knew when it
 * was opened, events since then have used numbers, and get new ones. */
void ngx_http_crm_lane_ahead(ngx_http_crm_lane_t *lane, uint64_t position);
/* Does whatever can be done for this journal now. */
void ngx_http_crm_lane_flush(ngx_http_crm_lane_t *lane);
/* SADD; learns whether Redis was emptied. */
ngx_int_t ngx_http_crm_lane_add(
    ngx_http_crm_lane_t *lane, const char *producer);
/* The lane's journal and its state; NULL: the slot is empty. */
tracker_journal_t *ngx_http_crm_lane_journal(
    ngx_http_crm_lane_t *lane, tracker_journal_stat_t *stat);

/* ---- ngx_http_crm_buffer.c: bytes that wait ----------------------------- */

typedef struct {
    u_char *data;  /* of malloc; NULL: nothing yet */
    size_t  start; /* of what is still to be used */
    size_t  end;
    size_t  size;
} ngx_http_crm_buffer_t; /* start zeroed */

/* Makes room for n bytes behind `end`, moving or growing what is there.
 * NGX_DECLINED: more than max bytes would be held, or out of memory. */
ngx_int_t ngx_http_crm_buffer_room(
    ngx_http_crm_buffer_t *b, size_t n, size_t max);
/* All was used, or is not wanted any more. */
void ngx_http_crm_buffer_reset(ngx_http_crm_buffer_t *b);
/* Gives all memory back. */
void ngx_http_crm_buffer_free(ngx_http_crm_buffer_t *b);

/* ---- ngx_http_crm_pg.c: libpq on the event loop ------------------------- */

/* text NULL: error, time-out or connection lost.  Called exactly once. */
typedef void (*ngx_http_crm_pg_pt)(void *data, const char *text, size_t len);

ngx_int_t ngx_http_crm_pg_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
/*
 * Calls a function of schema edge with text parameters (NULL: SQL null); the
 * single text it returns goes to the callback.  NGX_DECLINED: not connected or
 * too many under way, no callback.
 */
ngx_int_t ngx_http_crm_pg_call(ngx_http_crm_main_conf_t *cmcf,
    const char *function, const char *const *params, ngx_uint_t nparams,
    ngx_http_crm_pg_pt done, void *data);
void      ngx_http_crm_pg_exit(ngx_http_crm_main_conf_t *cmcf);
/* For crm_status, of this worker: "up", "down", or "off" (not configured). */
const char *ngx_http_crm_pg_state(ngx_http_crm_main_conf_t *cmcf);

/* The last four bytes of a visitor id are random, and signed: nobody chooses
 * them, so they are a hash. */
#define NGX_HTTP_CRM_VID_RANDOM 12

/* ---- ngx_http_crm_zone.c: visitor state in shared memory ---------------- */

typedef enum {
    NGX_HTTP_CRM_ZONE_MISSING = 0,
    NGX_HTTP_CRM_ZONE_STALE, /* use it, and refresh behind */
    NGX_HTTP_CRM_ZONE_FRESH
} ngx_http_crm_zone_e;

char     *ngx_http_crm_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_crm_zone_init(ngx_shm_zone_t *shm_zone, void *data);
/*
 * Copies the visitor's state out: live (may be NULL), and the profile blob into
 * pool memory.  STALE is returned to one caller per second only, which is to
 * refresh; the others get FRESH.
 */
ngx_http_crm_zone_e ngx_http_crm_zone_get(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_live_t *live, ngx_pool_t *pool, ngx_str_t *profile);
/* Applies one event to the session kept (making the cell if need be), sets
 * event->seq, and returns the bytes of the customer id put into uid; 0: nobody
 * is known.  *enrich, if not NULL, is kept when it is known, else taken from
 * what is kept for its key. */
size_t ngx_http_crm_zone_add(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_event_t *event, uint32_t session_started_s,
    char uid[TRACKER_LIVE_UID_SIZE], tracker_enrich_t *enrich);
/* The same with *enrich alone, if the visitor has a cell; NGX_DECLINED: it is
 * not known after that either. */
ngx_int_t ngx_http_crm_zone_enrich(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_enrich_t *enrich);
/* Merges what Redis had (live) and PostgreSQL had (profile); NULL: none. */
void ngx_http_crm_zone_put(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    const tracker_live_t *live, const ngx_str_t *profile);
/* NOTIFY: one visitor's profile, or with vid NULL all of the site, is stale. */
void ngx_http_crm_zone_invalidate(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t *vid);
/* NOTIFY: that visitor was erased; nothing of it stays. */
void ngx_http_crm_zone_forget(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE]);
/* Copies the session kept, if any, leaving everything else as it is. */
ngx_int_t ngx_http_crm_zone_live(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_live_t *live);
/* The visitor turned out to be uid: a profile kept for anybody else goes. */
void ngx_http_crm_zone_identify(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    const ngx_str_t *uid);
void ngx_http_crm_zone_stat(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t *cells,
    ngx_uint_t *used, size_t *cell_bytes);

/* ---- ngx_http_crm_set.c: campaign sets, compiled per worker ------------- */

ngx_int_t ngx_http_crm_set_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
/* Called by pg.c on each NOTIFY and after each (re)connect (payload empty). */
void ngx_http_crm_set_notified(
    ngx_http_crm_main_conf_t *cmcf, const char *channel, const char *payload);
/* Holds the site's set for this request; NULL when there is none. */
personalize_set_t *ngx_http_crm_set_hold(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
void ngx_http_crm_set_exit(ngx_http_crm_main_conf_t *cmcf);

/* ---- ngx_http_crm_intent.c: likelihood to buy, session.intent ------------ */

ngx_int_t ngx_http_crm_intent_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
/* Asks for the site's model again. */
void ngx_http_crm_intent_ask(ngx_http_crm_site_t *site);
void ngx_http_crm_intent_attr(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value);
void ngx_http_crm_intent_exit(ngx_http_crm_main_conf_t *cmcf);

/* ---- ngx_http_crm_offer.c: asks personalize, waits at most the budget --- */

/* Preaccess: starts the look-up of an unknown visitor, waits crm_budget. */
ngx_int_t ngx_http_crm_offer_handler(ngx_http_request_t *r);
/* Decides one slot.  NGX_DECLINED: keep the default.  NGX_OK: content is in
 * pool memory and shown tells which; NGX_ERROR: memory. */
ngx_int_t ngx_http_crm_offer_slot(ngx_http_request_t *r,
    ngx_http_crm_ctx_t *ctx, personalize_str_t slot, ngx_str_t *content,
    tracker_shown_t *shown);
/* Notes for the request's event what was really sent; more than an event can
 * report is not noted. */
void ngx_http_crm_offer_shown(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    const tracker_shown_t *shown);
/* Makes ctx->recs for whoever asks beside all slots. */
void ngx_http_crm_offer_recs(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* $crm_segment: customer.rfm.segment of the profile. */
ngx_int_t ngx_http_crm_offer_segment(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);

/* ---- ngx_http_crm_attr.c: attributes for campaigns ---------------------- */

/* Where the attribute of that path comes from; never NULL. */
ngx_http_crm_attr_pt ngx_http_crm_attr_find(personalize_str_t path);

/* ---- ngx_http_crm_greet.c: attributes made of a customer's profile ------ */

void ngx_http_crm_attr_greeting(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value);
void ngx_http_crm_attr_birthday(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value);

/* ---- ngx_http_crm_decide.c: decisions as JSON --------------------------- */

/* Content handler of crm_decide: GET …?slots=a,b */
ngx_int_t ngx_http_crm_decide_handler(ngx_http_request_t *r);

/* ---- ngx_http_crm_status.c: counters for the operator ------------------- */

#define NGX_HTTP_CRM_VERSION "0.1.0"

typedef struct {
    const char *name;    /* in crm_status */
    const char *metric;  /* in crm_metrics: crm_<metric>_total; NULL: name */
    ngx_uint_t  seconds; /* counts ns, and the metric is in seconds */
    const char *help;
} ngx_http_crm_counter_t;

typedef struct {
    ngx_str_t              name; /* of the file */
    tracker_journal_stat_t stat;
} ngx_http_crm_status_journal_t;

/* Names and meanings, for every page that shows counters. */
extern const ngx_http_crm_counter_t
    ngx_http_crm_counter[NGX_HTTP_CRM_NCOUNTERS];

ngx_int_t ngx_http_crm_status_handler(ngx_http_request_t *r);
/* Refuses what is no GET or HEAD, or comes while "crm on" is nowhere. */
ngx_int_t ngx_http_crm_status_begin(ngx_http_request_t *r);
/* Sends a page that is in one buffer. */
ngx_int_t ngx_http_crm_status_send(
    ngx_http_request_t *r, ngx_uint_t status, const char *type, ngx_buf_t *b);
/* Of ngx_http_crm_status_journal_t, all ring files there are; NULL: memory. */
ngx_array_t *ngx_http_crm_status_journals(
    ngx_http_request_t *r, ngx_str_t *dir);
/* How old the oldest of so many events is; 0: there is none. */
uint64_t ngx_http_crm_status_age_ms(
    uint64_t now_us, uint64_t events, uint64_t oldest_us);

/* ---- ngx_http_crm_metrics.c: the same for Prometheus -------------------- */

ngx_int_t ngx_http_crm_metrics_handler(ngx_http_request_t *r);

/* ---- ngx_http_crm_health.c: can events be taken, and who is away -------- */

typedef enum {
    NGX_HTTP_CRM_SINK_REDIS = 0,
    NGX_HTTP_CRM_SINK_POSTGRES,
    NGX_HTTP_CRM_NSINKS
} ngx_http_crm_sink_e;

ngx_int_t ngx_http_crm_health_init(
    ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
void ngx_http_crm_health_exit(ngx_http_crm_main_conf_t *cmcf);
/* "up", "down" or "off", as this worker sees it. */
const char *ngx_http_crm_health_state(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_sink_e sink);
/* Seconds for which this worker has not reached it; 0: it is there. */
time_t ngx_http_crm_health_away(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_sink_e sink);
ngx_int_t ngx_http_crm_health_handler(ngx_http_request_t *r);


#pragma GCC visibility pop

#include "ngx_http_crm_redis.h"
#include "ngx_http_crm_slot.h"
#include "ngx_http_crm_enrich.h"
#include "ngx_http_crm_collect.h"

#endif /* NGX_HTTP_CRM_MODULE_H_INCLUDED_ */
