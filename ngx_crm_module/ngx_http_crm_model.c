/*
 * ngx_http_crm_model.c - maps models of recommendations and asks them.
 *
 * A file is mapped, checked wholly, and then put in the place of the one
 * before; requests copy what they are told, so that nobody holds the old one.
 * The first version is read with the configuration and shared by the workers;
 * of later ones each worker maps its own, and the memory is the page cache's.
 * Checking a large file takes tens of ms: one of nginx's threads does it.
 *
 * A session is the products that the visitor has viewed, known to the zone,
 * and the one that this page shows (crm_item).  The item in view is never
 * recommended; where the model knows nothing it tells what is popular.
 */

#include "ngx_http_crm_module.h"

#include <sys/mman.h>


#define NGX_HTTP_CRM_RECS_BYTES 4096 /* of a packed list of their names */
#define NGX_HTTP_CRM_MODELS_MAX 32


/* One version of a file. */
typedef struct {
    int                 fd;   /* -1: there is none */
    void               *data; /* mapped */
    size_t              size; /* bytes */
    personalize_room_t *room; /* of this worker */
    personalize_model_t model;
} ngx_http_crm_mapped_t;

struct ngx_http_crm_model_s {
    ngx_str_t                 site; /* empty: of all that have no other */
    ngx_str_t                 path;
    ngx_http_crm_mapped_t     now;
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_model_t     *next;
#if (NGX_THREADS)
    ngx_thread_task_t *task; /* checks a version; NULL: never yet */
#endif
};

/* What a thread is to do, and what it found. */
typedef struct {
    ngx_http_crm_model_t *model;
    ngx_http_crm_mapped_t mapped;
    ngx_int_t             rc;
    u_char                fault[NGX_HTTP_CRM_FAULT_BYTES];
} ngx_http_crm_model_task_t;


static void
ngx_http_crm_model_unmap(ngx_http_crm_mapped_t *mapped)
{
    if (mapped->data != NULL) {
        (void) munmap(mapped->data, mapped->size);
    }

    if (mapped->fd != -1) {
        (void) close(mapped->fd);
    }

    free(mapped->room);
    ngx_memzero(mapped, sizeof(ngx_http_crm_mapped_t));
    mapped->fd = -1;
}


static void
ngx_http_crm_model_close(void *data)
{
    ngx_http_crm_model_t *model = data;

    ngx_http_crm_model_unmap(&model->now);
}


/* Also runs in a thread: no logging, no pool. */
static ngx_int_t
ngx_http_crm_model_map(
    const char *path, ngx_http_crm_mapped_t *mapped, u_char *fault)
{
    const char *reason;
    struct stat sb;

    ngx_memzero(mapped, sizeof(ngx_http_crm_mapped_t));
    reason = "cannot be read";
    mapped->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (mapped->fd != -1 && fstat(mapped->fd, &sb) == 0 && S_ISREG(sb.st_mode))
    {
        reason = "is empty";

        if (sb.st_size > 0) {
            reason = "cannot be mapped";
            mapped->size = (size_t) sb.st_size;
            mapped->data =
                mmap(NULL, mapped->size, PROT_READ, MAP_SHARED, mapped->fd, 0);
            mapped->data = mapped->data == MAP_FAILED ? NULL : mapped->data;
        }
    }

    if (mapped->data != NULL
        && personalize_model_open(
               &mapped->model, mapped->data, mapped->size, &reason)
               == PERSONALIZE_OK)
    {
        reason = "finds no memory";
        mapped->room = calloc(1, personalize_room_size(&mapped->model));
    }

    if (mapped->room != NULL) {
        return NGX_OK;
    }

    ngx_http_crm_model_unmap(mapped);
    (void) ngx_cpystrn(fault, (u_char *) reason, NGX_HTTP_CRM_FAULT_BYTES);

    return NGX_ERROR;
}


static void
ngx_http_crm_model_swap(
    ngx_http_crm_model_t *model, const ngx_http_crm_mapped_t *mapped)
{
    ngx_http_crm_model_unmap(&model->now);
    model->now = *mapped;
}


/* ---- new versions ------------------------------------------------------- */

#if (NGX_THREADS)

static void
ngx_http_crm_model_thread(void *data, ngx_log_t *log)
{
    ngx_http_crm_model_task_t *task = data;

    (void) log;
    task->rc = ngx_http_crm_model_map(
        (char *) task->model->path.data, &task->mapped, task->fault);
}


static void
ngx_http_crm_model_done(ngx_event_t *ev)
{
    ngx_http_crm_model_t      *model;
    ngx_http_crm_model_task_t *task = ev->data;

    model = task->model;

    if (task->rc != NGX_OK) {
        ngx_http_crm_count(model->cmcf, NGX_HTTP_CRM_FILES_REFUSED);
        ngx_log_error(NGX_LOG_ERR, model->cmcf->log, 0,
            "crm keeps what it has: \"%V\" %s", &model->path, task->fault);
        return;
    }

    ngx_http_crm_model_swap(model, &task->mapped);
    ngx_http_crm_count(model->cmcf, NGX_HTTP_CRM_FILES_LOADED);
    ngx_log_error(NGX_LOG_NOTICE, model->cmcf->log, 0,
        "crm has taken a new \"%V\": %uD items, %uD sessions", &model->path,
        model->now.model.head.nitems, model->now.model.head.nsessions);
}


static ngx_int_t
ngx_http_crm_model_post(ngx_http_crm_model_t *model, u_char *fault)
{
    ngx_http_crm_model_task_t *task;

    if (model->task == NULL) {
        model->task = ngx_thread_task_alloc(
            ngx_cycle->pool, sizeof(ngx_http_crm_model_task_t));
    }

    if (model->task != NULL) {
        task = model->task->ctx;
        task->model = model;
        task->rc = NGX_ERROR;
        model->task->handler = ngx_http_crm_model_thread;
        model->task->event.handler = ngx_http_crm_model_done;
        model->task->event.data = task;

        if (ngx_thread_task_post(model->cmcf->threads, model->task) == NGX_OK) {
            return NGX_AGAIN;
        }
    }

    (void) ngx_cpystrn(fault, (u_char *) "finds no thread to check it",
        NGX_HTTP_CRM_FAULT_BYTES);

    return NGX_ERROR;
}

#endif


static ngx_int_t
ngx_http_crm_model_load(ngx_http_crm_watch_t *watch, void *data, u_char *fault)
{
    ngx_http_crm_model_t *model = data;
    ngx_http_crm_mapped_t mapped;

    model->path = watch->path;

#if (NGX_THREADS)
    /* the first version is read with the configuration, at once */
    if (model->now.data != NULL) {
        if (model->task != NULL && model->task->event.active) {
            /* looked at again once the one before is done */
            ngx_memzero(&watch->loaded, sizeof(watch->loaded));
            return NGX_AGAIN;
        }

        return ngx_http_crm_model_post(model, fault);
    }
#endif

    if (ngx_http_crm_model_map((char *) watch->path.data, &mapped, fault)
        != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_crm_model_swap(model, &mapped);

    return NGX_OK;
}


char *
ngx_http_crm_model_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ngx_str_t            *value, site;
    ngx_uint_t            n;
    ngx_pool_cleanup_t   *cln;
    ngx_http_crm_model_t *model, **link;

    (void) cmd;
    value = cf->args->elts;
    ngx_str_set(&site, "");

    if (cf->args->nelts == 3
        && (!ngx_http_crm_argument(&value[2], "site", &site) || site.len == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_model\": use site=KEY, or leave it "
            "out for all sites that have no model of their own",
            &value[2]);
        return NGX_CONF_ERROR;
    }

    for (n = 0, link = &cmcf->models; *link != NULL; link = &(*link)->next) {
        if ((*link)->site.len == site.len
            && ngx_strncmp((*link)->site.data, site.data, site.len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "duplicate \"crm_model\" \"%V\": name one file for a site",
                &value[1]);
            return NGX_CONF_ERROR;
        }
        n++;
    }

    if (n == NGX_HTTP_CRM_MODELS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "too many \"crm_model\" for \"%V\": use at most %d files",
            &value[1], NGX_HTTP_CRM_MODELS_MAX);
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_crm_model_t));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    model = cln->data;
    ngx_memzero(model, sizeof(ngx_http_crm_model_t));
    model->now.fd = -1;
    model->site = site;
    model->cmcf = cmcf;
    cln->handler = ngx_http_crm_model_close;

    if (ngx_http_crm_watch_add(
            cf, &value[1], ngx_http_crm_model_load, model, "crm_model")
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    *link = model;

    return NGX_CONF_OK;
}


/* ---- recommendations ---------------------------------------------------- */

static ngx_http_crm_model_t *
ngx_http_crm_model_find(
    ngx_http_crm_main_conf_t *cmcf, const ngx_http_crm_site_t *site)
{
    ngx_http_crm_model_t *model, *any;

    any = NULL;

    for (model = cmcf->models; model != NULL; model = model->next) {
        if (model->site.len == 0) {
            any = model;

        } else if (model->site.len == site->name.len
                   && ngx_memcmp(
                          model->site.data, site->name.data, site->name.len)
                          == 0)
        {
            return model;
        }
    }

    return any;
}


/* 0 if the file has become shorter than what is mapped of it. */
static ngx_uint_t
ngx_http_crm_model_whole(ngx_http_crm_model_t *model)
{
    struct stat sb;

    if (model->now.data == NULL) {
        return 0;
    }

    if (fstat(model->now.fd, &sb) == 0 && sb.st_size >= (off_t) model->now.size)
    {
        return 1;
    }

    ngx_log_error(NGX_LOG_ERR, model->cmcf->log, 0,
        "crm gives up \"%V\": it was cut in place, replace it by rename",
        &model->path);
    ngx_http_crm_count(model->cmcf, NGX_HTTP_CRM_FILES_REFUSED);
    ngx_http_crm_model_unmap(&model->now);

    return 0;
}


/* The visitor's products, oldest first, and the one that the page shows. */
static unsigned
ngx_http_crm_model_session(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    const personalize_model_t *model, uint32_t *session)
{
    unsigned                 i, n;
    uint32_t                 item;
    ngx_str_t                shows;
    personalize_str_t        name;
    const tracker_live_t    *live;
    ngx_http_crm_loc_conf_t *clcf;

    n = 0;
    live = ctx->live;

    if (live != NULL && live->last_us != 0 && ctx->measure && ctx->personal) {
        for (i = ngx_min(live->nitems, TRACKER_LIVE_ITEMS); i-- > 0;) {
            name.data = live->items[i];
            name.len = ngx_min(live->item_len[i], TRACKER_LIVE_ITEM_SIZE);
            session[n++] = personalize_model_find(model, name);
        }
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    ngx_str_null(&shows);

    if (clcf->item != NULL
        && ngx_http_complex_value(r, clcf->item, &shows) == NGX_OK
        && shows.len > 0)
    {
        name.data = (char *) shows.data;
        name.len = shows.len;
        item = personalize_model_find(model, name);

        if (n == 0 || session[n - 1] != item) {
            session[n++] = item;
        }
    }

    return n;
}


/* Makes the packed list of names; none is an empty one. */
static ngx_int_t
ngx_http_crm_model_list(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, ngx_http_crm_model_t *model)
{
    char              *buf, *p, *next;
    unsigned           i, n;
    uint32_t           session[TRACKER_LIVE_ITEMS + 1];
    personalize_rec_t  recs[NGX_HTTP_CRM_RECS_MAX];
    personalize_wish_t wish;

    buf = ngx_pnalloc(r->pool, NGX_HTTP_CRM_RECS_BYTES);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&wish, sizeof(wish));
    wish.session = session;
    wish.nsession =
        ngx_http_crm_model_session(r, ctx, &model->now.model, session);
    wish.n = NGX_HTTP_CRM_RECS_MAX;
    wish.no_current = 1;
    wish.in_stock = 1;

    n = personalize_recommend(&model->now.model, model->now.room, &wish, recs);
    ngx_http_crm_count(model->cmcf, NGX_HTTP_CRM_RECS);

    p = buf;
    for (i = 0; i < n; i++) {
        next = personalize_list_put(p, buf + NGX_HTTP_CRM_RECS_BYTES,
            personalize_model_name(&model->now.model, recs[i].item));
        if (next == NULL) {
            break;
        }
        p = next;
    }

    ctx->recs.data = buf;
    ctx->recs.len = p - buf;

    return NGX_OK;
}


void
ngx_http_crm_model_recs(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    ngx_http_crm_model_t     *model;
    ngx_http_crm_main_conf_t *cmcf;

    (void) path;

    if (ctx->recs.data == NULL) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
        model = ngx_http_crm_model_find(cmcf, ctx->site);

        if (model == NULL || !ngx_http_crm_model_whole(model)
            || ngx_http_crm_model_list(r, ctx, model) != NGX_OK)
        {
            return;
        }
    }

    value->type = PERSONALIZE_LIST;
    value->text = ctx->recs;
}
