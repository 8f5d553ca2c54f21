/*
 * ngx_http_crm_module.c - directives, configuration and phases.
 *
 * No logic lives here: each directive fills the structures of the header, and
 * each phase, variable and content handler belongs to the file of its concern.
 * Arguments are read in ngx_http_crm_conf.c.
 *
 * Nothing is paid for what is not configured: without "crm on" anywhere no
 * handler is installed and no worker opens anything.  A wrong configuration
 * stops nginx with a sentence; after that nothing here may fail, because a
 * worker whose init_process fails takes the whole site down.
 */

#include "ngx_http_crm_module.h"

#include <sys/random.h>


#define NGX_HTTP_CRM_TIMEOUT_DEFAULT 1800 /* s of silence, 30 minutes */
#define NGX_HTTP_CRM_BUDGET_DEFAULT  5    /* ms per request */
/* a comment and a line per key */
#define NGX_HTTP_CRM_KEYS_FILE_BYTES 4096
/* counters take less than a page; a slab pool needs eight */
#define NGX_HTTP_CRM_COUNTERS_BYTES (8 * ngx_pagesize)


static ngx_int_t ngx_http_crm_postconfiguration(ngx_conf_t *cf);
static void     *ngx_http_crm_create_main_conf(ngx_conf_t *cf);
static char     *ngx_http_crm_init_main_conf(ngx_conf_t *cf, void *conf);
static void     *ngx_http_crm_create_loc_conf(ngx_conf_t *cf);
static char     *ngx_http_crm_merge_loc_conf(
        ngx_conf_t *cf, void *parent, void *child);
static char *ngx_http_crm_content_conf(
    ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_crm_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_crm_init_process(ngx_cycle_t *cycle);
static void      ngx_http_crm_exit_process(ngx_cycle_t *cycle);


/* clang-format off */
static ngx_command_t ngx_http_crm_commands[] = {

    { ngx_string("crm"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_crm_loc_conf_t, enable),
      NULL },

    { ngx_string("crm_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_crm_loc_conf_t, dry_run),
      NULL },

    { ngx_string("crm_site"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_site_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_journal"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_crm_journal_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_crm_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_crm_redis_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_postgres"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_postgres_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_campaigns"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_campaigns_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_cookie"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_crm_cookie_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_cookie_keys"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_keys_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_session_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_timeout_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_capture"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_capture_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_event"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_crm_event_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_extract"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE3,
      ngx_http_crm_extract_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_extract_max"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_extract_max_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_geoip"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_crm_geoip_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_model"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_crm_model_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_item"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_crm_loc_conf_t, item),
      NULL },

    { ngx_string("crm_bots"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_crm_bots_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_bots_verified"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_verified_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_slot"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE13,
      ngx_http_crm_slot_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_budget"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_budget_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_link"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_crm_link_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_consent"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_crm_consent_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_anonymize"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_crm_anonymize_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_crm_content_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_http_crm_status_handler },

    { ngx_string("crm_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_crm_content_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_http_crm_metrics_handler },

    { ngx_string("crm_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_crm_content_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_http_crm_health_handler },

    { ngx_string("crm_decide"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_crm_content_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_http_crm_decide_handler },

    { ngx_string("crm_collect"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_collect_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_http_crm_collect_handler },

    { ngx_string("crm_collect_max_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_crm_max_body_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_write_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_crm_write_key_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("crm_collect_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_crm_origin_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t ngx_http_crm_module_ctx = {
    ngx_http_crm_variables_add,            /* preconfiguration */
    ngx_http_crm_postconfiguration,        /* postconfiguration */

    ngx_http_crm_create_main_conf,         /* create main configuration */
    ngx_http_crm_init_main_conf,           /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_crm_create_loc_conf,          /* create location configuration */
    ngx_http_crm_merge_loc_conf            /* merge location configuration */
};


ngx_module_t ngx_http_crm_module = {
    NGX_MODULE_V1,
    &ngx_http_crm_module_ctx,              /* module context */
    ngx_http_crm_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_crm_init_module,              /* init module */
    ngx_http_crm_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_crm_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};
/* clang-format on */


static void *
ngx_http_crm_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&cmcf->sites, cf->pool, 4, sizeof(ngx_http_crm_site_t))
        != NGX_OK)
    {
        return NULL;
    }

    cmcf->log = cf->log;

    return cmcf;
}


/*
 * Locations keep pointers into `sites`, taken while they are merged.  All
 * crm_site directives have been read by now, and one spare element is kept for
 * "default", so that the array does not move any more.
 */
static char *
ngx_http_crm_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    if (ngx_array_push(&cmcf->sites) == NULL) {
        return NGX_CONF_ERROR;
    }

    cmcf->sites.nelts--;

    return NGX_CONF_OK;
}


ngx_http_crm_site_t *
ngx_http_crm_site_get(ngx_http_crm_main_conf_t *cmcf, ngx_str_t *name)
{
    ngx_uint_t           i;
    ngx_http_crm_site_t *site;

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        if (site[i].name.len == name->len
            && ngx_memcmp(site[i].name.data, name->data, name->len) == 0)
        {
            return &site[i];
        }
    }

    site = ngx_array_push(&cmcf->sites);
    if (site == NULL) {
        return NULL;
    }

    ngx_memzero(site, sizeof(ngx_http_crm_site_t));
    site->name = *name;
    site->hash = ngx_crc32_short(name->data, name->len);

    return site;
}


static void *
ngx_http_crm_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_loc_conf_t));
    if (clcf == NULL) {
        return NULL;
    }

    clcf->enable = NGX_CONF_UNSET;
    clcf->dry_run = NGX_CONF_UNSET;
    clcf->capture = NGX_CONF_UNSET_UINT;
    clcf->cookie_secure = NGX_CONF_UNSET_UINT;
    clcf->session_timeout = NGX_CONF_UNSET;
    clcf->events = NGX_CONF_UNSET_PTR;
    clcf->markers = NGX_CONF_UNSET;
    clcf->places = NGX_CONF_UNSET_PTR;
    clcf->budget = NGX_CONF_UNSET_MSEC;
    clcf->collect_max = NGX_CONF_UNSET_SIZE;
    clcf->keys = NGX_CONF_UNSET_PTR;
    clcf->origins = NGX_CONF_UNSET_PTR;
    clcf->extracts = NGX_CONF_UNSET_PTR;
    clcf->extract_max = NGX_CONF_UNSET_SIZE;
    clcf->consent = NGX_CONF_UNSET_PTR;
    clcf->link = NGX_CONF_UNSET_PTR;
    clcf->anonymize = NGX_CONF_UNSET_PTR;

    return clcf;
}


static char *
ngx_http_crm_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_crm_loc_conf_t *prev = parent;
    ngx_http_crm_loc_conf_t *conf = child;

    ngx_http_crm_main_conf_t *cmcf;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_uint_value(
        conf->capture, prev->capture, NGX_HTTP_CRM_CAPTURE_HTML);
    ngx_conf_merge_str_value(conf->site_name, prev->site_name, "default");
    ngx_conf_merge_str_value(conf->cookie_name, prev->cookie_name, "crm");
    ngx_conf_merge_str_value(conf->cookie_tail, prev->cookie_tail,
        "; Path=/; Max-Age=34128000; HttpOnly; SameSite=Lax");
    ngx_conf_merge_uint_value(conf->cookie_secure, prev->cookie_secure, 2);
    ngx_conf_merge_sec_value(conf->session_timeout, prev->session_timeout,
        NGX_HTTP_CRM_TIMEOUT_DEFAULT);
    ngx_conf_merge_ptr_value(conf->events, prev->events, NULL);
    ngx_conf_merge_value(conf->markers, prev->markers, 0);
    ngx_conf_merge_ptr_value(conf->places, prev->places, NULL);
    ngx_conf_merge_msec_value(
        conf->budget, prev->budget, NGX_HTTP_CRM_BUDGET_DEFAULT);
    if (conf->item == NULL) {
        conf->item = prev->item;
    }

    ngx_conf_merge_ptr_value(conf->link, prev->link, NULL);
    ngx_conf_merge_ptr_value(conf->consent, prev->consent, NULL);
    ngx_conf_merge_ptr_value(conf->anonymize, prev->anonymize, NULL);
    ngx_conf_merge_ptr_value(conf->extracts, prev->extracts, NULL);
    ngx_conf_merge_size_value(
        conf->extract_max, prev->extract_max, NGX_HTTP_CRM_EXTRACT_MAX_DEFAULT);

    if (ngx_http_crm_collect_merge(cf, prev, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);
    cmcf->used = 1;

    conf->site = ngx_http_crm_site_get(cmcf, &conf->site_name);
    if (conf->site == NULL) {
        return NGX_CONF_ERROR;
    }

    if (conf->site->session_timeout < conf->session_timeout) {
        conf->site->session_timeout = conf->session_timeout;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_crm_content_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == (ngx_http_handler_pt) cmd->post) {
        return "is duplicate";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;

    return NGX_CONF_OK;
}


/* Gives the counters their memory; a reload finds and keeps them. */
static ngx_int_t
ngx_http_crm_counters_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_crm_main_conf_t *cmcf = shm_zone->data;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data == NULL && !shm_zone->shm.exists) {
        shpool->data = ngx_slab_calloc(shpool, sizeof(ngx_http_crm_counters_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    cmcf->counters = shpool->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_handler_add(
    ngx_conf_t *cf, ngx_http_phases phase, ngx_http_handler_pt handler)
{
    ngx_http_handler_pt       *h;
    ngx_http_core_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[phase].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                 name = ngx_string("crm_counters");
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    if (!cmcf->used) {
        return NGX_OK;
    }

    if (cmcf->journal_path == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm on\" needs \"crm_journal\": add \"crm_journal DIR;\" to "
            "http");
        return NGX_ERROR;
    }

#if (NGX_THREADS)
    cmcf->threads = ngx_thread_pool_add(cf, NULL);
    if (cmcf->threads == NULL) {
        return NGX_ERROR;
    }
#endif

    cmcf->counters_zone = ngx_shared_memory_add(
        cf, &name, NGX_HTTP_CRM_COUNTERS_BYTES, &ngx_http_crm_module);
    if (cmcf->counters_zone == NULL) {
        return NGX_ERROR;
    }

    cmcf->counters_zone->init = ngx_http_crm_counters_init;
    cmcf->counters_zone->data = cmcf;

    if (ngx_http_crm_bots_default(cf, cmcf) != NGX_OK
        || ngx_http_crm_behave_conf(cf, cmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_crm_handler_add(
            cf, NGX_HTTP_LOG_PHASE, ngx_http_crm_log_handler)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a look-up can only be waited for where there is somebody to ask */
    if (cmcf->redis_addr == NULL && cmcf->pg_conninfo.len == 0) {
        return NGX_OK;
    }

    return ngx_http_crm_handler_add(
        cf, NGX_HTTP_PREACCESS_PHASE, ngx_http_crm_offer_handler);
}


/* Writes a file with one fresh key; NGX_DECLINED: it is there already. */
static ngx_int_t
ngx_http_crm_keys_make(u_char *name, u_char *temp)
{
    size_t   n;
    u_char   text[NGX_HTTP_CRM_KEYS_FILE_BYTES], *p;
    uint8_t  key[TRACKER_KEY_BYTES];
    ngx_fd_t fd;

    if (getrandom(key, sizeof(key), 0) != (ssize_t) sizeof(key)) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(text,
        "# signs visitors' cookies: <id> <key>, the first line signs\n1 ");
    p = ngx_hex_dump(p, key, sizeof(key));
    *p++ = '\n';
    n = p - text;

    (void) ngx_delete_file(temp);
    fd = open((char *) temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    if (write(fd, text, n) != (ssize_t) n || fsync(fd) != 0) {
        (void) ngx_close_file(fd);
        (void) ngx_delete_file(temp);
        return NGX_ERROR;
    }

    (void) ngx_close_file(fd);

    /* a whole file or none, and never over an existing one */
    n = (link((char *) temp, (char *) name) == 0 || ngx_errno == NGX_EEXIST);
    (void) ngx_delete_file(temp);
    ngx_explicit_memzero(text, sizeof(text));

    return n ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_crm_keys_read(tracker_keys_t *keys, u_char *name)
{
    char     text[NGX_HTTP_CRM_KEYS_FILE_BYTES];
    ssize_t  n;
    unsigned line;
    ngx_fd_t fd;

    fd = open((char *) name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    n = read(fd, text, sizeof(text));
    (void) ngx_close_file(fd);

    if (n <= 0 || tracker_keys_parse(keys, text, n, &line) != TRACKER_OK) {
        ngx_set_errno(EINVAL);
        return NGX_ERROR;
    }

    ngx_explicit_memzero(text, sizeof(text));

    return NGX_OK;
}


/*
 * Without a usable file the workers still sign, with a key that dies with this
 * master: visitors are then new after a restart, which beats no visitors.
 */
static void
ngx_http_crm_keys_load(ngx_http_crm_main_conf_t *cmcf, ngx_log_t *log)
{
    u_char   name[NGX_MAX_PATH], temp[NGX_MAX_PATH], *p;
    unsigned line;
    uint8_t  key[TRACKER_KEY_BYTES];

    (void) ngx_snprintf(
        name, sizeof(name) - 1, "%V/cookie.keys%Z", &cmcf->journal_path->name);
    (void) ngx_snprintf(temp, sizeof(temp) - 1, "%V/cookie.keys.%P%Z",
        &cmcf->journal_path->name, ngx_pid);
    name[sizeof(name) - 1] = '\0';
    temp[sizeof(temp) - 1] = '\0';

    if (ngx_http_crm_keys_read(&cmcf->keys, name) == NGX_OK) {
        return;
    }

    if (ngx_errno == NGX_ENOENT && ngx_http_crm_keys_make(name, temp) == NGX_OK
        && ngx_http_crm_keys_read(&cmcf->keys, name) == NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
        "crm cannot use \"%s\", cookies are signed with a key that is lost at "
        "the next start",
        name);

    ngx_http_crm_random(key, sizeof(key));
    p = ngx_cpymem(name, "0 ", 2);
    p = ngx_hex_dump(p, key, sizeof(key));
    (void) tracker_keys_parse(&cmcf->keys, (char *) name, p - name, &line);
    ngx_explicit_memzero(name, sizeof(name));
}


/* Runs in the master, as root; a failure here would end nginx on a reload. */
static ngx_int_t
ngx_http_crm_init_module(ngx_cycle_t *cycle)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_crm_module);

    if (cmcf == NULL || !cmcf->used || ngx_test_config) {
        return NGX_OK;
    }

    if (cmcf->keys_file.len == 0) {
        ngx_http_crm_keys_load(cmcf, cycle->log);
    }

    return NGX_OK;
}


/* Each part logs what it could not have, and the worker does without it. */
static ngx_int_t
ngx_http_crm_init_process(ngx_cycle_t *cycle)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_crm_module);

    if (cmcf == NULL || !cmcf->used
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    cmcf->log = cycle->log;

    (void) ngx_http_crm_journals_init(cmcf, cycle);
    (void) ngx_http_crm_redis_init(cmcf, cycle);
    (void) ngx_http_crm_export_init(cmcf, cycle);
    (void) ngx_http_crm_pg_init(cmcf, cycle);
    (void) ngx_http_crm_set_init(cmcf, cycle);
    (void) ngx_http_crm_intent_init(cmcf, cycle);
    (void) ngx_http_crm_watch_init(cmcf, cycle);
    (void) ngx_http_crm_health_init(cmcf, cycle);

    return NGX_OK;
}


/* In the order in which callbacks may still come: users before their means. */
static void
ngx_http_crm_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_crm_module);

    if (cmcf == NULL || !cmcf->used
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return;
    }

    ngx_http_crm_watch_exit(cmcf);
    ngx_http_crm_health_exit(cmcf);
    ngx_http_crm_pg_exit(cmcf);
    ngx_http_crm_set_exit(cmcf);
    ngx_http_crm_intent_exit(cmcf);
    ngx_http_crm_redis_exit(cmcf);
    ngx_http_crm_export_exit(cmcf);
    ngx_http_crm_journals_exit(cmcf);
}
