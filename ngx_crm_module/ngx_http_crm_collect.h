/*
 * ngx_http_crm_collect.h - what client libraries send, and their answers.
 *
 * A part of ngx_http_crm_module.h, which includes it.
 */

#ifndef NGX_HTTP_CRM_COLLECT_H_INCLUDED_
#define NGX_HTTP_CRM_COLLECT_H_INCLUDED_

#pragma GCC visibility push(hidden)


/* ---- ngx_http_crm_collect.c: what client libraries send ----------------- */

/* Content handler of crm_collect. */
ngx_int_t ngx_http_crm_collect_handler(ngx_http_request_t *r);

/* ---- ngx_http_crm_collect_conf.c: its directives, keys and paths -------- */

char *ngx_http_crm_collect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_max_body_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_write_key_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_origin_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_collect_merge(ngx_conf_t *cf, ngx_http_crm_loc_conf_t *prev,
    ngx_http_crm_loc_conf_t *conf);
/* NULL: no such key. */
ngx_http_crm_key_t *ngx_http_crm_key_find(
    ngx_http_crm_loc_conf_t *clcf, const ngx_str_t *key);

typedef enum {
    NGX_HTTP_CRM_ROUTE_NONE = 0,
    NGX_HTTP_CRM_ROUTE_EVENTS,   /* POST */
    NGX_HTTP_CRM_ROUTE_PIXEL,    /* GET, the event is the query */
    NGX_HTTP_CRM_ROUTE_SETTINGS, /* GET, of Segment's browser client */
    NGX_HTTP_CRM_ROUTE_SOURCE    /* GET, of RudderStack's */
} ngx_http_crm_route_e;

typedef struct {
    ngx_http_crm_route_e route;
    ngx_str_t            type;   /* of the events, as the path says; or "" */
    ngx_str_t            key;    /* in the path of SETTINGS */
    ngx_str_t            prefix; /* the path before the protocol's own */
} ngx_http_crm_path_t;

void ngx_http_crm_collect_path(
    ngx_http_request_t *r, ngx_uint_t protocol, ngx_http_crm_path_t *path);

/* ---- ngx_http_crm_answer.c: answers of crm_collect, across origins ------ */

/* A request header by its lower-case name, or NULL. */
ngx_str_t *ngx_http_crm_header_in(ngx_http_request_t *r, const char *name);
typedef enum {
    NGX_HTTP_CRM_ORIGIN_NONE = 0, /* no browser, or it does not say */
    NGX_HTTP_CRM_ORIGIN_SAME,
    NGX_HTTP_CRM_ORIGIN_ALLOWED,
    NGX_HTTP_CRM_ORIGIN_FOREIGN
} ngx_http_crm_origin_e;

ngx_http_crm_origin_e ngx_http_crm_origin(ngx_http_request_t *r);
/* Answers a preflight. */
ngx_int_t ngx_http_crm_preflight(ngx_http_request_t *r);
/* Sends status and body, with what other origins need; counts refusals. */
ngx_int_t ngx_http_crm_answer(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const ngx_str_t *body);
/* A refusal: the body says why. */
ngx_int_t ngx_http_crm_refuse(
    ngx_http_request_t *r, ngx_uint_t status, const char *reason);
/* The two settings documents. */
ngx_int_t ngx_http_crm_settings(ngx_http_request_t *r,
    const ngx_http_crm_path_t *path, const ngx_str_t *key);

/* ---- ngx_http_crm_hit.c: events of client libraries -> journal ---------- */

typedef struct {
    ngx_http_request_t       *request;
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_crm_ctx_t       *ctx;
    ngx_http_crm_site_t      *site;
    tracker_str_t             protocol;
    tracker_str_t             type; /* of the path */
    int64_t                   sent_us;
    ngx_uint_t                stored;                 /* events */
    ngx_uint_t                invalid;                /* events */
    ngx_uint_t                not_json;               /* of the invalid ones */
    uint8_t                   id[TRACKER_UUID_SIZE];  /* of the event */
    uint8_t                   vid[TRACKER_UUID_SIZE]; /* if derived */
    uint8_t                   sid[TRACKER_UUID_SIZE];
    unsigned                  trusted : 1;
    unsigned                  browser : 1;
    unsigned                  cookie : 1; /* ctx->visitor counts */
    unsigned                  snowplow : 1;
} ngx_http_crm_hits_t;

/* NGX_OK: it is in the journal, as an event or as refused with a reason;
 * NGX_BUSY: the journal has no room. */
ngx_int_t ngx_http_crm_hit(ngx_http_crm_hits_t *hits, tracker_str_t text);
/* Keeps a text that is no event. */
ngx_int_t ngx_http_crm_hit_refuse(
    ngx_http_crm_hits_t *hits, tracker_str_t text, const char *reason);
/* All of the request was given. */
void ngx_http_crm_hits_end(ngx_http_crm_hits_t *hits);


#pragma GCC visibility pop

#endif /* NGX_HTTP_CRM_COLLECT_H_INCLUDED_ */
