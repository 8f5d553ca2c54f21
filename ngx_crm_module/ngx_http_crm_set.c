/*
 * ngx_http_crm_set.c - keeps each site's campaign set current in this worker.
 *
 * A NOTIFY, or a new connection, makes the worker ask for the whole set of the
 * site, compile it and put it in the place of the old one, which is freed when
 * the last request that renders from it lets go.  A set with a fault is refused
 * whole.  While a question is under way a further NOTIFY is only remembered;
 * a question that failed is asked again after a pause.
 *
 * The last set that compiled is kept in <journal>/campaigns.<site>.json for a
 * start without PostgreSQL.  The worker that compiled it writes the file on the
 * event loop: a set is small and changes by the hour, and the file only takes
 * the way through the page cache.  Compiling is done there too; that of the
 * largest set allowed takes a fraction of a second.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_SET_RETRY_MS 1000
#define NGX_HTTP_CRM_SET_FAULT    512 /* bytes of a fault's sentence */


typedef struct {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_http_crm_site_t      *site;
    ngx_http_crm_campaigns_t *now;  /* NULL: none compiled yet */
    char                     *name; /* of the site, ends in NUL */
    size_t                    len;  /* bytes of the JSON of `now` */
    uint32_t                  crc;  /* of the JSON of `now` */
    ngx_event_t               retry;
    ngx_connection_t          dummy; /* what a timer's data must look like */
    unsigned                  asked : 1;
    unsigned                  again : 1; /* changed since it was asked */
} ngx_http_crm_set_state_t;


static void ngx_http_crm_set_ask(ngx_http_crm_set_state_t *st);


static void
ngx_http_crm_set_release(ngx_http_crm_campaigns_t *campaigns)
{
    if (--campaigns->refs == 0) {
        personalize_set_free(campaigns->set);
        ngx_free(campaigns);
    }
}


static void
ngx_http_crm_set_cleanup(void *data)
{
    ngx_http_crm_ctx_t *ctx = data;

    ngx_http_crm_set_release(ctx->campaigns);
    ctx->campaigns = NULL;
    ctx->set = NULL;
}


personalize_set_t *
ngx_http_crm_set_hold(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_crm_set_state_t *st;

    if (ctx->set != NULL) {
        return ctx->set;
    }

    st = ctx->site->set_state;

    if (st == NULL || st->now == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_crm_set_cleanup;
    cln->data = ctx;

    ctx->campaigns = st->now;
    ctx->campaigns->refs++;
    ctx->set = ctx->campaigns->set;

    return ctx->set;
}


/* NGX_OK: the JSON names this site, or none. */
static ngx_int_t
ngx_http_crm_set_check_site(
    ngx_http_crm_set_state_t *st, const char *json, size_t len)
{
    size_t                pos, n;
    char                  name[256];
    tracker_str_t         text;
    tracker_json_member_t member;

    text.data = json;
    text.len = len;
    pos = 0;

    while (tracker_json_next(text, &pos, &member) == TRACKER_OK) {
        if (member.key.len != 4 || ngx_memcmp(member.key.data, "site", 4) != 0)
        {
            continue;
        }

        if (tracker_json_text(member.value, name, sizeof(name), &n)
                != TRACKER_OK
            || n != st->site->name.len
            || ngx_memcmp(name, st->site->name.data, n) != 0)
        {
            return NGX_DECLINED;
        }

        break;
    }

    return NGX_OK;
}


static ngx_http_crm_campaigns_t *
ngx_http_crm_set_make(personalize_set_t *set)
{
    unsigned                  n, nattrs;
    ngx_http_crm_campaigns_t *campaigns;

    nattrs = personalize_set_attributes(set);

    campaigns = ngx_alloc(sizeof(ngx_http_crm_campaigns_t)
                              + nattrs * sizeof(ngx_http_crm_attr_pt),
        ngx_cycle->log);
    if (campaigns == NULL) {
        return NULL;
    }

    campaigns->set = set;
    campaigns->attrs = (ngx_http_crm_attr_pt *) (campaigns + 1);
    campaigns->refs = 1;

    for (n = 0; n < nattrs; n++) {
        campaigns->attrs[n] =
            ngx_http_crm_attr_find(personalize_set_attribute(set, n));
    }

    return campaigns;
}


/* Compiles the JSON and puts it in force; else the set before stays. */
static ngx_int_t
ngx_http_crm_set_take(ngx_http_crm_set_state_t *st, const char *json,
    size_t len, const char *source)
{
    char                      fault[NGX_HTTP_CRM_SET_FAULT];
    uint32_t                  crc;
    personalize_set_t        *set;
    personalize_result_e      rc;
    ngx_http_crm_campaigns_t *campaigns;

    crc = ngx_crc32_long((u_char *) json, len);

    if (st->now != NULL && st->len == len && st->crc == crc) {
        return NGX_DECLINED;
    }

    fault[0] = '\0';
    set = NULL;
    campaigns = NULL;

    if (ngx_http_crm_set_check_site(st, json, len) != NGX_OK) {
        (void) ngx_cpystrn((u_char *) fault,
            (u_char *) "site: names another site", sizeof(fault));

    } else {
        rc = personalize_set_compile(&set, json, len, fault, sizeof(fault));

        if (rc == PERSONALIZE_OK) {
            campaigns = ngx_http_crm_set_make(set);
        } else if (fault[0] == '\0') {
            (void) ngx_cpystrn((u_char *) fault,
                (u_char *) personalize_result_text(rc), sizeof(fault));
        }
    }

    if (campaigns == NULL) {
        personalize_set_free(set);
        ngx_http_crm_count(st->cmcf, NGX_HTTP_CRM_SETS_REFUSED);
        ngx_log_error(NGX_LOG_ERR, st->cmcf->log, 0,
            "crm refused the campaign set of site \"%s\" from %s: %s, the one "
            "before stays",
            st->name, source, fault);
        return NGX_ERROR;
    }

    if (st->now != NULL) {
        ngx_http_crm_set_release(st->now);
    }

    st->now = campaigns;
    st->len = len;
    st->crc = crc;
    st->site->set = set;
    ngx_http_crm_count(st->cmcf, NGX_HTTP_CRM_SETS);

    ngx_log_error(NGX_LOG_INFO, st->cmcf->log, 0,
        "crm took campaign set version %uL of site \"%s\" from %s: %ui "
        "campaigns",
        personalize_set_version(set), st->name, source,
        (ngx_uint_t) personalize_set_campaigns(set));

    return NGX_OK;
}


/* ---- the copy on disk --------------------------------------------------- */

static void
ngx_http_crm_set_save(
    ngx_http_crm_set_state_t *st, const char *json, size_t len)
{
    u_char    name[NGX_MAX_PATH], temp[NGX_MAX_PATH];
    ngx_fd_t  fd;
    ngx_int_t rc;

    if (st->cmcf->journal_path == NULL) {
        return;
    }

    (void) ngx_snprintf(name, sizeof(name), "%V/campaigns.%s.json%Z",
        &st->cmcf->journal_path->name, st->name);
    (void) ngx_snprintf(temp, sizeof(temp), "%V/campaigns.%s.json.%P%Z",
        &st->cmcf->journal_path->name, st->name, ngx_pid);
    name[sizeof(name) - 1] = '\0';
    temp[sizeof(temp) - 1] = '\0';

    fd = open((char *) temp,
        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    rc = NGX_ERROR;

    if (fd != NGX_INVALID_FILE) {
        rc = write(fd, json, len) == (ssize_t) len ? NGX_OK : NGX_ERROR;
        (void) ngx_close_file(fd);
    }

    if (rc != NGX_OK || ngx_rename_file(temp, name) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ERR, st->cmcf->log, ngx_errno,
            "crm could not keep the campaign set in \"%s\"", name);
        (void) ngx_delete_file(temp);
    }
}


/* Reads a whole file into memory of its own; NULL: errno tells why. */
static char *
ngx_http_crm_set_read(const char *name, size_t *len)
{
    int             fd;
    char           *text;
    ssize_t         n;
    ngx_file_info_t fi;

    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return NULL;
    }

    text = NULL;
    n = -1;

    if (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR && ngx_file_size(&fi) > 0
        && ngx_file_size(&fi) <= (off_t) PERSONALIZE_SET_BYTES_MAX)
    {
        text = ngx_alloc(ngx_file_size(&fi), ngx_cycle->log);
    } else {
        ngx_set_errno(EINVAL);
    }

    if (text != NULL) {
        n = read(fd, text, ngx_file_size(&fi));
    }

    (void) close(fd);

    if (text != NULL && n <= 0) {
        ngx_free(text);
        return NULL;
    }

    *len = (size_t) n;

    return text;
}


/* With PostgreSQL the copy of its last set, else the file of crm_campaigns. */
static void
ngx_http_crm_set_load(ngx_http_crm_set_state_t *st)
{
    char      *text;
    size_t     len;
    u_char     name[NGX_MAX_PATH];
    ngx_uint_t local;

    local = (st->cmcf->pg_conninfo.len == 0);

    if (local && st->cmcf->campaigns_file.len != 0) {
        (void) ngx_snprintf(
            name, sizeof(name), "%V%Z", &st->cmcf->campaigns_file);
    } else if (!local && st->cmcf->journal_path != NULL) {
        (void) ngx_snprintf(name, sizeof(name), "%V/campaigns.%s.json%Z",
            &st->cmcf->journal_path->name, st->name);
    } else {
        return;
    }

    name[sizeof(name) - 1] = '\0';
    text = ngx_http_crm_set_read((char *) name, &len);

    if (text == NULL) {
        if (local || ngx_errno != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, st->cmcf->log, ngx_errno,
                "crm could not read the campaign set \"%s\"", name);
        }

        return;
    }

    (void) ngx_http_crm_set_take(st, text, len, (char *) name);
    ngx_free(text);
}


/* ---- questions to PostgreSQL -------------------------------------------- */

static void
ngx_http_crm_set_answered(void *data, const char *text, size_t len)
{
    ngx_http_crm_set_state_t *st = data;

    st->asked = 0;

    if (text == NULL) {
        st->again = 0;

        if (st->cmcf->pg != NULL && !st->retry.timer_set) {
            ngx_add_timer(&st->retry, NGX_HTTP_CRM_SET_RETRY_MS);
        }

        return;
    }

    if (ngx_http_crm_set_take(st, text, len, "postgres") == NGX_OK) {
        ngx_http_crm_set_save(st, text, len);
    }

    if (st->again) {
        ngx_http_crm_set_ask(st);
    }
}


static void
ngx_http_crm_set_ask(ngx_http_crm_set_state_t *st)
{
    const char *params[1];

    if (st->asked) {
        st->again = 1;
        return;
    }

    st->again = 0;
    params[0] = st->name;

    if (ngx_http_crm_pg_call(
            st->cmcf, "campaign_set", params, 1, ngx_http_crm_set_answered, st)
        == NGX_OK)
    {
        st->asked = 1;

    } else if (!st->retry.timer_set) {
        ngx_add_timer(&st->retry, NGX_HTTP_CRM_SET_RETRY_MS);
    }
}


static void
ngx_http_crm_set_retry(ngx_event_t *ev)
{
    ngx_connection_t *dummy = ev->data;

    ngx_http_crm_set_ask(dummy->data);
}


/* The payload is "<site>", which may have a colon itself, "<site>:<vid>", or
 * "<site>:<vid>:erased" when nothing of that visitor may be kept. */
static void
ngx_http_crm_set_profiles(ngx_http_crm_main_conf_t *cmcf, const char *payload)
{
    size_t               len, site_len;
    uint8_t              vid[TRACKER_UUID_SIZE], *which;
    ngx_uint_t           i, erased;
    ngx_http_crm_site_t *site;

    static const char suffix[] = ":erased";

    len = ngx_strlen(payload);
    erased = 0;

    if (len > sizeof(suffix)
        && ngx_strcmp(payload + len - (sizeof(suffix) - 1), suffix) == 0)
    {
        len -= sizeof(suffix) - 1;
        erased = 1;
    }

    site_len = len;
    which = NULL;

    if (len > TRACKER_UUID_TEXT + 1
        && payload[len - TRACKER_UUID_TEXT - 1] == ':'
        && tracker_uuid_parse(
               vid, payload + len - TRACKER_UUID_TEXT, TRACKER_UUID_TEXT)
               == TRACKER_OK)
    {
        site_len = len - TRACKER_UUID_TEXT - 1;
        which = vid;
    }

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        if (len == 0
            || (site[i].name.len == site_len
                && ngx_memcmp(site[i].name.data, payload, site_len) == 0))
        {
            if (erased && which != NULL) {
                ngx_http_crm_zone_forget(cmcf, &site[i], which);
            } else {
                ngx_http_crm_zone_invalidate(cmcf, &site[i], which);
            }

            if (which == NULL) {
                ngx_http_crm_intent_ask(&site[i]);
            }
        }
    }
}


void
ngx_http_crm_set_notified(
    ngx_http_crm_main_conf_t *cmcf, const char *channel, const char *payload)
{
    ngx_uint_t                i;
    ngx_http_crm_site_t      *site;
    ngx_http_crm_set_state_t *st;

    if (ngx_strcmp(channel, "crm_profiles") == 0) {
        ngx_http_crm_set_profiles(cmcf, payload);
        return;
    }

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        st = site[i].set_state;

        if (st != NULL
            && (*payload == '\0' || ngx_strcmp(payload, st->name) == 0)) {
            ngx_http_crm_set_ask(st);
        }
    }
}


ngx_int_t
ngx_http_crm_set_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_uint_t                i;
    ngx_http_crm_site_t      *site;
    ngx_http_crm_set_state_t *st;

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        st = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_set_state_t));
        if (st == NULL) {
            return NGX_ERROR;
        }

        st->name = ngx_pnalloc(cycle->pool, site[i].name.len + 1);
        if (st->name == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(
            (u_char *) st->name, site[i].name.data, site[i].name.len + 1);

        st->cmcf = cmcf;
        st->site = &site[i];
        st->dummy.fd = (ngx_socket_t) -1;
        st->dummy.data = st;
        st->retry.data = &st->dummy;
        st->retry.handler = ngx_http_crm_set_retry;
        st->retry.log = cycle->log;
        st->retry.cancelable = 1;
        site[i].set_state = st;

        ngx_http_crm_set_load(st);
    }

    return NGX_OK;
}


/* Runs after every request has ended, so that nobody holds a set any more. */
void
ngx_http_crm_set_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t                i;
    ngx_http_crm_site_t      *site;
    ngx_http_crm_set_state_t *st;

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        st = site[i].set_state;

        if (st == NULL) {
            continue;
        }

        if (st->retry.timer_set) {
            ngx_del_timer(&st->retry);
        }

        if (st->now != NULL) {
            ngx_http_crm_set_release(st->now);
            st->now = NULL;
        }

        site[i].set = NULL;
        site[i].set_state = NULL;
    }
}
