/*
 * ngx_http_crm_enrich.h - place, device and nature of a visitor, and the
 * files that tell them.
 *
 * A part of ngx_http_crm_module.h, which includes it.
 */

#ifndef NGX_HTTP_CRM_ENRICH_H_INCLUDED_
#define NGX_HTTP_CRM_ENRICH_H_INCLUDED_

#pragma GCC visibility push(hidden)


/* ---- ngx_http_crm_watch.c: files that may get a new version ------------- */

#define NGX_HTTP_CRM_FAULT_BYTES 256

typedef struct {
    ino_t  ino;
    off_t  size;
    time_t mtime;
    long   mtime_ns;
} ngx_http_crm_file_mark_t;

/* Loads and checks the file and puts it in the place of the one before.
 * NGX_ERROR: that one stays, and `fault` says what is wrong.  NGX_AGAIN: the
 * loader itself will count it and say how it went. */
typedef ngx_int_t (*ngx_http_crm_load_pt)(
    ngx_http_crm_watch_t *watch, void *data, u_char *fault);

struct ngx_http_crm_watch_s {
    ngx_str_t                path; /* a full one, ends in NUL */
    ngx_http_crm_load_pt     load;
    void                    *data;
    ngx_http_crm_file_mark_t loaded; /* the version that was tried last */
    ngx_http_crm_file_mark_t seen;   /* at the last look */
    ngx_http_crm_watch_t    *next;
    unsigned                 missing : 1; /* and the log says so */
};

/* Loads the file now, and again whenever it changes.  NULL: said in the log. */
ngx_http_crm_watch_t *ngx_http_crm_watch_add(ngx_conf_t *cf, ngx_str_t *path,
    ngx_http_crm_load_pt load, void *data, const char *directive);
ngx_int_t             ngx_http_crm_watch_init(
                ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle);
void ngx_http_crm_watch_exit(ngx_http_crm_main_conf_t *cmcf);
/* The whole file, to be freed with ngx_free; NULL: `fault` says why. */
u_char *ngx_http_crm_watch_read(
    ngx_http_crm_watch_t *watch, size_t max, size_t *len, u_char *fault);

/* ---- ngx_http_crm_model.c: what a session may want next ------------------ */

#define NGX_HTTP_CRM_RECS_MAX 20

char *ngx_http_crm_model_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Gives the list session.recs; absent without a model. */
void ngx_http_crm_model_recs(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value);

/* ---- ngx_http_crm_geo.c: where an address is ---------------------------- */

char *ngx_http_crm_geoip_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* Texts stay valid until the next turn of the event loop. */
void ngx_http_crm_geo_find(ngx_http_crm_main_conf_t *cmcf, struct sockaddr *sa,
    tracker_place_t *place);

/* ---- ngx_http_crm_bots.c: robots by list and address -------------------- */

char *ngx_http_crm_bots_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_crm_verified_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_crm_bots_default(
    ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf);
/* NGX_OK: the user agent is that of a robot. */
ngx_int_t ngx_http_crm_bots_find(ngx_http_crm_main_conf_t *cmcf,
    struct sockaddr *sa, tracker_str_t agent, tracker_bot_t *bot);

/* ---- ngx_http_crm_behave.c: robots by what they do ---------------------- */

ngx_int_t ngx_http_crm_behave_conf(
    ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf);
/* Counts a finished page or asset.  The reason to take the visitor for a
 * robot, a static text, or NULL. */
const char *ngx_http_crm_behave_page(ngx_http_request_t *r,
    ngx_http_crm_ctx_t *ctx, ngx_http_crm_main_conf_t *cmcf);
void        ngx_http_crm_behave_asset(
           ngx_http_request_t *r, ngx_http_crm_main_conf_t *cmcf);
/* The same without counting, of somebody who brought no cookie. */
const char *ngx_http_crm_behave_known(ngx_http_request_t *r,
    ngx_http_crm_ctx_t *ctx, ngx_http_crm_main_conf_t *cmcf);

/* ---- ngx_http_crm_enrich.c: what does not change within a session ------- */

/* A hash of address and user agent, never 0. */
uint32_t ngx_http_crm_enrich_client(ngx_http_request_t *r);
/* What is known of this visitor's place, device and nature; NULL: memory. */
tracker_enrich_t *ngx_http_crm_enrich_get(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
ngx_uint_t ngx_http_crm_is_bot(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* Log phase: before the first event of a request, for each one, and after the
 * last.  `frame` is room of the caller that lives until the end. */
void ngx_http_crm_enrich_begin(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t page, tracker_enrich_t *frame);
void ngx_http_crm_enrich_end(ngx_http_crm_ctx_t *ctx, tracker_enrich_t *frame);
void ngx_http_crm_enrich_event(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf, tracker_event_t *event);
/* Where the session came from, if this is its first request; else NULL. */
const tracker_traffic_t *ngx_http_crm_traffic_get(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx);
/* The query as the client sent it, without "?". */
void      ngx_http_crm_enrich_query(ngx_http_request_t *r, ngx_str_t *query);
ngx_int_t ngx_http_crm_enrich_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);


#pragma GCC visibility pop

#endif /* NGX_HTTP_CRM_ENRICH_H_INCLUDED_ */
