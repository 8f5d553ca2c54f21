/*
 * ngx_http_crm_journal.c - holds this worker's ring files, and adopts orphans.
 *
 * A worker takes the first <n>.journal whose lock is free; slot numbers would
 * not do, because during a reload two generations of workers are alive.  The
 * file of a worker that is gone may still hold events.  A timer therefore looks
 * for files nobody holds and adopts one when
 *
 *   - it has events that Redis has not got, or
 *   - it has events PostgreSQL has not got, and this worker has not yet asked
 *     the present Redis connection whether they are still there, or
 *   - the importer has told a durable position the file does not know yet.
 *
 * It lets go of the file as soon as there is nothing left to do for it; holding
 * on until all is durable would leave the next generation without free files
 * where no importer runs, and each reload would make new ones.
 *
 * Files are numbered without holes, so a look at all of them ends at the first
 * that does not exist.  Nothing is ever deleted.
 *
 * To start the writing of dirty pages takes the kernel milliseconds when many
 * are dirty, so one of nginx's threads does it.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_JOURNAL_DEFAULT (64 << 20)
#define NGX_HTTP_CRM_JOURNAL_MAX     (64LL << 30) /* 64g, addressable */
#define NGX_HTTP_CRM_SYNC_DEFAULT    1000         /* ms */
#define NGX_HTTP_CRM_FILES_MAX       1024 /* ring files in one directory */
#define NGX_HTTP_CRM_WAITING_MAX     64
#define NGX_HTTP_CRM_ADOPT_MS        1000
#define NGX_HTTP_CRM_RETRY_LOG       60 /* s between two lines on one fault */


typedef struct {
    tracker_journal_t journal;
    ngx_uint_t        file; /* its n */
    unsigned          open : 1;
} ngx_http_crm_slot_t;


/* A file nobody held when it was last looked at. */
typedef struct {
    char       producer[TRACKER_PRODUCER_TEXT + 1];
    uint64_t   durable;
    ngx_uint_t file;
} ngx_http_crm_orphan_t;


/* What a thread is to write out. */
typedef struct {
    tracker_journal_span_t spans[NGX_HTTP_CRM_JOURNALS_MAX];
    ngx_uint_t             n;
} ngx_http_crm_sync_t;


struct ngx_http_crm_journals_s {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_slot_t       slots[NGX_HTTP_CRM_JOURNALS_MAX];

    ngx_http_crm_orphan_t waiting[NGX_HTTP_CRM_WAITING_MAX];
    ngx_uint_t            nwaiting;
    ngx_uint_t            asked[NGX_HTTP_CRM_FILES_MAX]; /* generation */

    ngx_event_t      adopt;
    ngx_event_t      sync;
    ngx_connection_t dummy; /* timers log the fd of their data */
#if (NGX_THREADS)
    ngx_thread_task_t *syncing;
#endif
    time_t logged;
};


/*
 * The directory becomes one of nginx's own paths: the master makes it and
 * gives it to the user of the workers, as it does for proxy_cache_path.
 */
char *
ngx_http_crm_journal_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    off_t       size;
    ngx_int_t   sync;
    ngx_str_t  *value, s;
    ngx_uint_t  i;
    ngx_path_t *path;

    if (cmcf->journal_path != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    cmcf->journal_bytes = NGX_HTTP_CRM_JOURNAL_DEFAULT;
    cmcf->journal_sync = NGX_HTTP_CRM_SYNC_DEFAULT;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_crm_argument(&value[i], "size", &s)) {
            size = ngx_parse_offset(&s);

            if (size >= (off_t) TRACKER_JOURNAL_SIZE_MIN
                && size <= NGX_HTTP_CRM_JOURNAL_MAX)
            {
                cmcf->journal_bytes = size;
                continue;
            }

        } else if (ngx_http_crm_argument(&value[i], "sync", &s)) {
            sync = ngx_parse_time(&s, 0);

            if (sync != NGX_ERROR && sync <= 3600 * 1000) {
                cmcf->journal_sync = sync;
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_journal\": use size=SIZE from 1m "
            "to 64g and sync=TIME from 0 (never) to 1h, for example size=64m "
            "sync=1s",
            &value[i]);
        return NGX_CONF_ERROR;
    }

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = value[1];

    if (path->name.len > 1 && path->name.data[path->name.len - 1] == '/') {
        path->name.data[--path->name.len] = '\0';
    }

    if (path->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"\" in \"crm_journal\": name a directory, for "
            "example /var/lib/nginx/crm");
        return NGX_CONF_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (ngx_add_path(cf, &path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cmcf->journal_path = path;

    return NGX_CONF_OK;
}


static void
ngx_http_crm_journal_path(
    ngx_http_crm_main_conf_t *cmcf, ngx_uint_t file, u_char *path, size_t size)
{
    u_char *p;

    p = ngx_snprintf(
        path, size - 1, "%V/%ui.journal", &cmcf->journal_path->name, file);
    *p = '\0';
}


static tracker_result_e
ngx_http_crm_journal_take(
    ngx_http_crm_journals_t *js, ngx_uint_t slot, ngx_uint_t file)
{
    u_char           path[NGX_MAX_PATH];
    uint8_t          seed[8];
    tracker_result_e rc;

    ngx_http_crm_journal_path(js->cmcf, file, path, sizeof(path));
    ngx_http_crm_random(seed, sizeof(seed));

    rc = tracker_journal_open(
        &js->slots[slot].journal, (char *) path, js->cmcf->journal_bytes, seed);

    if (rc == TRACKER_OK) {
        js->slots[slot].open = 1;
        js->slots[slot].file = file;
        return TRACKER_OK;
    }

    if (rc != TRACKER_BUSY && ngx_time() - js->logged >= NGX_HTTP_CRM_RETRY_LOG)
    {
        js->logged = ngx_time();
        ngx_log_error(NGX_LOG_ERR, js->cmcf->log,
            rc == TRACKER_IO ? ngx_errno : 0,
            "crm cannot open journal \"%s\": %s, it is left as it is", path,
            tracker_result_text(rc));
    }

    return rc;
}


/* The first free file becomes the one that takes this worker's events. */
static void
ngx_http_crm_journal_own(ngx_http_crm_journals_t *js)
{
    ngx_uint_t       file;
    tracker_result_e rc;

    for (file = 0; file < NGX_HTTP_CRM_FILES_MAX; file++) {
        rc = ngx_http_crm_journal_take(js, 0, file);

        if (rc == TRACKER_OK
            || (rc == TRACKER_IO
                && (ngx_errno == ENOSPC || ngx_errno == NGX_ENOENT)))
        {
            return;
        }
    }
}


static ngx_uint_t
ngx_http_crm_journal_is_held(ngx_http_crm_journals_t *js, ngx_uint_t file)
{
    ngx_uint_t i;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        if (js->slots[i].open && js->slots[i].file == file) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_crm_journal_adopt(ngx_http_crm_journals_t *js, ngx_uint_t file)
{
    ngx_uint_t i;

    for (i = 1; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        if (js->slots[i].open) {
            continue;
        }

        if (ngx_http_crm_journal_take(js, i, file) != TRACKER_OK) {
            return NGX_DECLINED;
        }

        js->asked[file] = ngx_http_crm_export_generation(js->cmcf);
        ngx_http_crm_export_adopt(js->cmcf, i);

        return i;
    }

    return NGX_DECLINED;
}


/* Lets go of adopted files for which there is nothing left to do. */
static void
ngx_http_crm_journal_release(ngx_http_crm_journals_t *js)
{
    ngx_uint_t             i;
    tracker_journal_stat_t stat;

    for (i = 1; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {

        if (!js->slots[i].open) {
            continue;
        }

        tracker_journal_stat(&js->slots[i].journal, &stat);

        if (stat.sent < stat.written || !ngx_http_crm_export_idle(js->cmcf, i))
        {
            continue;
        }

        tracker_journal_close(&js->slots[i].journal);
        js->slots[i].open = 0;
    }
}


static void
ngx_http_crm_journal_look(ngx_http_crm_journals_t *js)
{
    u_char                 path[NGX_MAX_PATH];
    ngx_uint_t             file, generation;
    tracker_result_e       rc;
    ngx_http_crm_orphan_t *orphan;
    tracker_journal_stat_t stat;

    js->nwaiting = 0;
    generation = ngx_http_crm_export_generation(js->cmcf);

    for (file = 0; file < NGX_HTTP_CRM_FILES_MAX; file++) {

        if (ngx_http_crm_journal_is_held(js, file)) {
            continue;
        }

        ngx_http_crm_journal_path(js->cmcf, file, path, sizeof(path));
        rc = tracker_journal_peek((char *) path, &stat);

        if (rc == TRACKER_IO && ngx_errno == NGX_ENOENT) {
            return;
        }

        if (rc != TRACKER_OK || stat.written <= stat.durable) {
            continue;
        }

        /* most are busy: their owner is alive and well */
        if ((stat.sent < stat.written || js->asked[file] != generation)
            && ngx_http_crm_journal_adopt(js, file) != NGX_DECLINED)
        {
            continue;
        }

        if (js->nwaiting < NGX_HTTP_CRM_WAITING_MAX) {
            orphan = &js->waiting[js->nwaiting++];
            ngx_memcpy(orphan->producer, stat.producer, TRACKER_PRODUCER_TEXT);
            orphan->producer[TRACKER_PRODUCER_TEXT] = '\0';
            orphan->durable = stat.durable;
            orphan->file = file;
        }
    }
}


static void
ngx_http_crm_journal_adopt_handler(ngx_event_t *ev)
{
    ngx_connection_t        *dummy;
    ngx_http_crm_journals_t *js;

    dummy = ev->data;
    js = dummy->data;

    ngx_http_crm_journal_release(js);

    if (!js->slots[0].open) {
        ngx_http_crm_journal_own(js);

        if (js->slots[0].open) {
            ngx_http_crm_export_adopt(js->cmcf, 0);
        }
    }

    /* nobody to send to: the files of others are as safe where they are */
    if (ngx_http_crm_export_generation(js->cmcf) != 0) {
        ngx_http_crm_journal_look(js);
    }

    ngx_add_timer(ev, NGX_HTTP_CRM_ADOPT_MS);
}


static void
ngx_http_crm_journal_sync_all(ngx_http_crm_sync_t *sync)
{
    ngx_uint_t i;

    for (i = 0; i < sync->n; i++) {
        (void) tracker_journal_sync(&sync->spans[i]);
    }
}


static void
ngx_http_crm_journal_sync_open(
    ngx_http_crm_journals_t *js, ngx_http_crm_sync_t *sync)
{
    ngx_uint_t i;

    sync->n = 0;

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        if (js->slots[i].open) {
            tracker_journal_span(
                &js->slots[i].journal, &sync->spans[sync->n++]);
        }
    }
}


#if (NGX_THREADS)

static void
ngx_http_crm_journal_sync_thread(void *data, ngx_log_t *log)
{
    (void) log;

    ngx_http_crm_journal_sync_all(data);
}


static void
ngx_http_crm_journal_sync_done(ngx_event_t *ev)
{
    (void) ev; /* the task is free again, nobody waits for it */
}


/* A file may be closed meanwhile: to write out another one does no harm. */
static void
ngx_http_crm_journal_sync_start(ngx_http_crm_journals_t *js)
{
    if (js->syncing == NULL || js->syncing->event.active) {
        return;
    }

    ngx_http_crm_journal_sync_open(js, js->syncing->ctx);
    (void) ngx_thread_task_post(js->cmcf->threads, js->syncing);
}


static void
ngx_http_crm_journal_sync_init(ngx_http_crm_journals_t *js, ngx_pool_t *pool)
{
    js->syncing = ngx_thread_task_alloc(pool, sizeof(ngx_http_crm_sync_t));

    if (js->syncing != NULL) {
        js->syncing->handler = ngx_http_crm_journal_sync_thread;
        js->syncing->event.handler = ngx_http_crm_journal_sync_done;
        js->syncing->event.data = js->syncing;
    }
}

#else

static void
ngx_http_crm_journal_sync_start(ngx_http_crm_journals_t *js)
{
    ngx_http_crm_sync_t sync;

    ngx_http_crm_journal_sync_open(js, &sync);
    ngx_http_crm_journal_sync_all(&sync);
}


static void
ngx_http_crm_journal_sync_init(ngx_http_crm_journals_t *js, ngx_pool_t *pool)
{
    (void) js;
    (void) pool;
}

#endif


static void
ngx_http_crm_journal_sync_handler(ngx_event_t *ev)
{
    ngx_connection_t        *dummy;
    ngx_http_crm_journals_t *js;

    dummy = ev->data;
    js = dummy->data;

    ngx_http_crm_journal_sync_start(js);
    ngx_add_timer(ev, js->cmcf->journal_sync);
}


static void
ngx_http_crm_journal_timer(ngx_http_crm_journals_t *js, ngx_event_t *ev,
    ngx_event_handler_pt handler, ngx_msec_t ms)
{
    ev->handler = handler;
    ev->data = &js->dummy;
    ev->log = js->cmcf->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, ms);
}


ngx_int_t
ngx_http_crm_journals_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_http_crm_journals_t *js;

    js = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_journals_t));
    if (js == NULL) {
        return NGX_ERROR;
    }

    js->cmcf = cmcf;
    js->dummy.fd = (ngx_socket_t) -1;
    js->dummy.data = js;
    cmcf->journals = js;

    ngx_http_crm_journal_own(js);

    if (!js->slots[0].open) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
            "crm has no journal in \"%V\": events are counted as shed until "
            "one can be opened",
            &cmcf->journal_path->name);
    }

    ngx_http_crm_journal_timer(js, &js->adopt,
        ngx_http_crm_journal_adopt_handler, NGX_HTTP_CRM_ADOPT_MS);

    if (cmcf->journal_sync != 0) {
        ngx_http_crm_journal_sync_init(js, cycle->pool);
        ngx_http_crm_journal_timer(js, &js->sync,
            ngx_http_crm_journal_sync_handler, cmcf->journal_sync);
    }

    return NGX_OK;
}


/* What is not sent yet is sent by whoever takes the files next. */
void
ngx_http_crm_journals_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t               i;
    ngx_http_crm_journals_t *js;

    js = cmcf->journals;
    if (js == NULL) {
        return;
    }

    cmcf->journals = NULL;

    if (js->adopt.timer_set) {
        ngx_del_timer(&js->adopt);
    }

    if (js->sync.timer_set) {
        ngx_del_timer(&js->sync);
    }

    for (i = 0; i < NGX_HTTP_CRM_JOURNALS_MAX; i++) {
        if (js->slots[i].open) {
            tracker_journal_close(&js->slots[i].journal);
            js->slots[i].open = 0;
        }
    }
}


tracker_journal_t *
ngx_http_crm_journal_nth(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n)
{
    ngx_http_crm_journals_t *js;

    js = cmcf->journals;

    if (js == NULL || n >= NGX_HTTP_CRM_JOURNALS_MAX || !js->slots[n].open) {
        return NULL;
    }

    return &js->slots[n].journal;
}


tracker_journal_t *
ngx_http_crm_journal_current(ngx_http_crm_main_conf_t *cmcf)
{
    return ngx_http_crm_journal_nth(cmcf, 0);
}


const char *
ngx_http_crm_journal_waiting(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t n)
{
    ngx_http_crm_journals_t *js;

    js = cmcf->journals;

    return js != NULL && n < js->nwaiting ? js->waiting[n].producer : NULL;
}


void
ngx_http_crm_journal_durable(
    ngx_http_crm_main_conf_t *cmcf, const char *producer, uint64_t seq)
{
    ngx_int_t                slot;
    ngx_uint_t               i;
    ngx_http_crm_journals_t *js;

    js = cmcf->journals;

    for (i = 0; js != NULL && i < js->nwaiting; i++) {

        if (js->waiting[i].durable >= seq
            || ngx_memcmp(
                   js->waiting[i].producer, producer, TRACKER_PRODUCER_TEXT)
                   != 0)
        {
            continue;
        }

        js->waiting[i].durable = seq;

        if (ngx_http_crm_journal_is_held(js, js->waiting[i].file)) {
            return;
        }

        slot = ngx_http_crm_journal_adopt(js, js->waiting[i].file);

        if (slot != NGX_DECLINED) {
            /* nothing was appended to it since: no number is used twice */
            (void) tracker_journal_advance(&js->slots[slot].journal, seq);
            tracker_journal_set_durable(&js->slots[slot].journal, seq);
        }

        return;
    }
}
