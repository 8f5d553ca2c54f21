/*
 * ngx_http_crm_watch.c - takes new versions of files without a restart.
 *
 * A timer looks once a second at the files that geo data, bot lists and models
 * come from.  One that has become another, and has stood still for a second, is
 * loaded and checked; only a good one replaces what is there.  A bad or
 * missing one changes nothing but a counter and one line in the log.
 *
 * The first version is read while nginx reads its configuration, so that the
 * workers share its memory; later ones each worker reads for itself.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_WATCH_MS 1000

struct ngx_http_crm_watcher_s {
    ngx_event_t               timer;
    ngx_connection_t          dummy; /* what a timer's data must look like */
    ngx_http_crm_main_conf_t *cmcf;
};


static void
ngx_http_crm_watch_mark(ngx_http_crm_file_mark_t *mark, struct stat *sb)
{
    mark->ino = sb->st_ino;
    mark->size = sb->st_size;
    mark->mtime = sb->st_mtim.tv_sec;
    mark->mtime_ns = sb->st_mtim.tv_nsec;
}


static ngx_uint_t
ngx_http_crm_watch_same(
    const ngx_http_crm_file_mark_t *a, const ngx_http_crm_file_mark_t *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime == b->mtime
           && a->mtime_ns == b->mtime_ns;
}


ngx_http_crm_watch_t *
ngx_http_crm_watch_add(ngx_conf_t *cf, ngx_str_t *path,
    ngx_http_crm_load_pt load, void *data, const char *directive)
{
    u_char                    fault[NGX_HTTP_CRM_FAULT_BYTES];
    struct stat               sb;
    ngx_http_crm_watch_t     *watch, **link;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    watch = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_watch_t));
    if (watch == NULL) {
        return NULL;
    }

    watch->path = *path;
    watch->load = load;
    watch->data = data;

    /* the name ends in NUL once it is a full one */
    if (ngx_conf_full_name(cf->cycle, &watch->path, 1) != NGX_OK) {
        return NULL;
    }

    if (stat((char *) watch->path.data, &sb) == -1 || !S_ISREG(sb.st_mode)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
            "invalid file \"%V\" in \"%s\": name a file that nginx can read",
            &watch->path, directive);
        return NULL;
    }

    ngx_http_crm_watch_mark(&watch->loaded, &sb);
    watch->seen = watch->loaded;
    fault[0] = '\0';

    if (load(watch, data, fault) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid file \"%V\" in \"%s\": %s", &watch->path, directive,
            fault);
        return NULL;
    }

    for (link = &cmcf->watches; *link != NULL; link = &(*link)->next) {
        /* void */
    }

    *link = watch;

    return watch;
}


static void
ngx_http_crm_watch_look(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_watch_t *watch)
{
    u_char                   fault[NGX_HTTP_CRM_FAULT_BYTES];
    ngx_int_t                rc;
    struct stat              sb;
    ngx_http_crm_file_mark_t now;

    if (stat((char *) watch->path.data, &sb) == -1 || !S_ISREG(sb.st_mode)) {
        if (!watch->missing) {
            watch->missing = 1;
            ngx_log_error(NGX_LOG_ERR, cmcf->log, ngx_errno,
                "crm keeps what it has: \"%V\" cannot be read", &watch->path);
        }
        return;
    }

    watch->missing = 0;
    ngx_http_crm_watch_mark(&now, &sb);

    if (ngx_http_crm_watch_same(&now, &watch->loaded)) {
        return;
    }

    /* somebody may be writing it: let it stand still first */
    if (!ngx_http_crm_watch_same(&now, &watch->seen)) {
        watch->seen = now;
        return;
    }

    watch->loaded = now;
    fault[0] = '\0';

    rc = watch->load(watch, watch->data, fault);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_FILES_LOADED);
        ngx_log_error(NGX_LOG_NOTICE, cmcf->log, 0,
            "crm has taken a new \"%V\"", &watch->path);
        return;
    }

    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_FILES_REFUSED);
    ngx_log_error(NGX_LOG_ERR, cmcf->log, 0, "crm keeps what it has: \"%V\" %s",
        &watch->path, fault);
}


static void
ngx_http_crm_watch_timer(ngx_event_t *ev)
{
    ngx_connection_t         *dummy = ev->data;
    ngx_http_crm_watch_t     *watch;
    ngx_http_crm_watcher_t   *watcher = dummy->data;
    ngx_http_crm_main_conf_t *cmcf = watcher->cmcf;

    for (watch = cmcf->watches; watch != NULL; watch = watch->next) {
        ngx_http_crm_watch_look(cmcf, watch);
    }

    if (!ngx_exiting && !ngx_quit) {
        ngx_add_timer(ev, NGX_HTTP_CRM_WATCH_MS);
    }
}


ngx_int_t
ngx_http_crm_watch_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_http_crm_watcher_t *watcher;

    if (cmcf->watches == NULL) {
        return NGX_OK;
    }

    watcher = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_watcher_t));
    if (watcher == NULL) {
        return NGX_ERROR;
    }

    watcher->cmcf = cmcf;
    watcher->dummy.fd = (ngx_socket_t) -1;
    watcher->dummy.data = watcher;
    watcher->timer.handler = ngx_http_crm_watch_timer;
    watcher->timer.data = &watcher->dummy;
    watcher->timer.log = cycle->log;
    watcher->timer.cancelable = 1;
    cmcf->watcher = watcher;

    ngx_add_timer(&watcher->timer, NGX_HTTP_CRM_WATCH_MS);

    return NGX_OK;
}


void
ngx_http_crm_watch_exit(ngx_http_crm_main_conf_t *cmcf)
{
    if (cmcf->watcher != NULL && cmcf->watcher->timer.timer_set) {
        ngx_del_timer(&cmcf->watcher->timer);
    }
}


u_char *
ngx_http_crm_watch_read(
    ngx_http_crm_watch_t *watch, size_t max, size_t *len, u_char *fault)
{
    u_char *text;
    size_t  size;
    ssize_t n;
    int     fd;

    fd = open((char *) watch->path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1) {
        (void) ngx_cpystrn(
            fault, (u_char *) "cannot be read", NGX_HTTP_CRM_FAULT_BYTES);
        return NULL;
    }

    size = ngx_min((size_t) watch->loaded.size, max) + 1;
    text = ngx_alloc(size, ngx_cycle->log);
    *len = 0;

    while (text != NULL && *len < size) {
        n = read(fd, text + *len, size - *len);
        if (n <= 0) {
            break;
        }
        *len += (size_t) n;
    }

    (void) close(fd);

    /* one byte more than there may be: it is too large, or grows */
    if (text == NULL || *len == size) {
        (void) ngx_snprintf(
            fault, NGX_HTTP_CRM_FAULT_BYTES, "is larger than %uz bytes%Z", max);
        ngx_free(text);
        return NULL;
    }

    return text;
}
