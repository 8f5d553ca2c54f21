/*
 * ngx_http_crm_conf.c - reads the arguments of most directives.
 *
 * nginx's ready-made slots tell "invalid value" and leave the reader to find
 * out which directive and what would be right.  Here every refusal names the
 * directive, the value and the remedy.  Secrets (the Redis password, the
 * PostgreSQL conninfo) are never printed.
 *
 * crm_zone, crm_journal and crm_event are read in the files that use them.
 * All of this runs in the master while it reads the configuration, where
 * blocking and allocating from cf->pool are in order.
 */

#include "ngx_http_crm_module.h"

#include <libpq-fe.h>
#include <arpa/inet.h>


#define NGX_HTTP_CRM_SITE_MAX    32    /* bytes of a site key */
#define NGX_HTTP_CRM_TIMEOUT_MAX 86400 /* s, one day */
#define NGX_HTTP_CRM_BUDGET_MAX  1000  /* ms */
#define NGX_HTTP_CRM_NAME_MAX    64    /* bytes of a cookie's name */
#define NGX_HTTP_CRM_AGE_MIN     3600  /* s */
/* browsers cut a cookie's life to 400 days (RFC 6265bis) */
#define NGX_HTTP_CRM_AGE_MAX     (400 * 86400)
#define NGX_HTTP_CRM_AGE_DEFAULT 34128000 /* s, 13 months of 30.4 days */
#define NGX_HTTP_CRM_KEYS_BYTES  65536    /* of a key or password file */


ngx_uint_t
ngx_http_crm_argument(ngx_str_t *arg, const char *name, ngx_str_t *rest)
{
    size_t len;

    len = ngx_strlen(name);

    if (arg->len <= len || ngx_strncmp(arg->data, name, len) != 0
        || arg->data[len] != '=')
    {
        return 0;
    }

    rest->data = arg->data + len + 1;
    rest->len = arg->len - len - 1;

    return 1;
}


ngx_uint_t
ngx_http_crm_word_is(ngx_str_t *value, const char *word)
{
    return value->len == ngx_strlen(word)
           && ngx_strncmp(value->data, word, value->len) == 0;
}


static ngx_uint_t
ngx_http_crm_alnum(u_char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9');
}


/* Reads a whole file into pool memory; NGX_ERROR and errno when that fails. */
ngx_int_t
ngx_http_crm_read_file(
    ngx_conf_t *cf, ngx_str_t *name, size_t max, ngx_str_t *text)
{
    ssize_t         n;
    ngx_fd_t        fd;
    ngx_int_t       rc;
    ngx_file_info_t fi;

    rc = NGX_ERROR;

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        goto done;
    }

    if (ngx_file_size(&fi) > (off_t) max) {
        ngx_set_errno(EFBIG);
        goto done;
    }

    text->data = ngx_pnalloc(cf->pool, ngx_file_size(&fi) + 1);
    if (text->data == NULL) {
        goto done;
    }

    n = read(fd, text->data, ngx_file_size(&fi));

    if (n >= 0) {
        text->len = n;
        rc = NGX_OK;
    }

done:

    (void) ngx_close_file(fd);

    return rc;
}


char *
ngx_http_crm_site_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    size_t                    i;
    u_char                    c;
    ngx_str_t                *value;
    ngx_uint_t                bad;
    ngx_http_crm_main_conf_t *cmcf;

    if (clcf->site_name.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bad = (value[1].len == 0 || value[1].len > NGX_HTTP_CRM_SITE_MAX
           || value[1].data[0] == '_' || value[1].data[0] == '-');

    for (i = 0; i < value[1].len; i++) {
        c = value[1].data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'
                || c == '-')) {
            bad = 1;
        }
    }

    if (bad) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_site\": use 1 to 32 of a-z, 0-9, "
            "\"_\" and \"-\", beginning with a letter or digit, "
            "for example shop",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->site_name = value[1];
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);

    if (ngx_http_crm_site_get(cmcf, &value[1]) == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * 1 if libpq can connect without asking a name server, which would block the
 * worker: each host is an address or a socket directory.
 */
static ngx_uint_t
ngx_http_crm_pg_host_local(const char *hosts)
{
    char    buf[64];
    size_t  len;
    uint8_t addr[16];

    for (;;) {
        len = strcspn(hosts, ",");

        if (len > 0 && hosts[0] != '/' && hosts[0] != '@') {
            if (len >= sizeof(buf)) {
                return 0;
            }

            ngx_memcpy(buf, hosts, len);
            buf[len] = '\0';

            if (inet_pton(AF_INET, buf, addr) != 1
                && inet_pton(AF_INET6, buf, addr) != 1) {
                return 0;
            }
        }

        if (hosts[len] == '\0') {
            return 1;
        }

        hosts += len + 1;
    }
}


/* The conninfo may hold a password: it is never printed. */
char *
ngx_http_crm_postgres_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    char             *error;
    char             *host;
    char             *hostaddr;
    ngx_str_t        *value;
    PQconninfoOption *options, *o;

    if (cmcf->pg_conninfo.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    error = NULL;
    options = PQconninfoParse((char *) value[1].data, &error);

    if (options == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value in \"crm_postgres\": %*s: use a libpq connection "
            "string, for example "
            "\"host=127.0.0.1 dbname=crm user=crm_edge\"",
            error != NULL ? strcspn(error, "\n") : 13,
            error != NULL ? error : "out of memory");
        PQfreemem(error);
        return NGX_CONF_ERROR;
    }

    host = NULL;
    hostaddr = NULL;

    for (o = options; o->keyword != NULL; o++) {
        if (ngx_strcmp(o->keyword, "host") == 0) {
            host = o->val;
        } else if (ngx_strcmp(o->keyword, "hostaddr") == 0) {
            hostaddr = o->val;
        }
    }

    if (host != NULL && (hostaddr == NULL || *hostaddr == '\0')
        && !ngx_http_crm_pg_host_local(host))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid host \"%s\" in \"crm_postgres\": a name would block a "
            "worker while it is resolved: use an address, a socket "
            "directory, or add hostaddr=ADDRESS",
            host);
        PQconninfoFree(options);
        return NGX_CONF_ERROR;
    }

    PQconninfoFree(options);
    cmcf->pg_conninfo = value[1];

    return NGX_CONF_OK;
}


/* The set is compiled once here so that a fault is found by "nginx -t". */
char *
ngx_http_crm_campaigns_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    char                 fault[512];
    ngx_str_t           *value, text;
    personalize_set_t   *set;
    personalize_result_e rc;

    if (cmcf->campaigns_file.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    cmcf->campaigns_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &cmcf->campaigns_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_crm_read_file(
            cf, &cmcf->campaigns_file, PERSONALIZE_SET_BYTES_MAX, &text)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
            "invalid value \"%V\" in \"crm_campaigns\": the file cannot be "
            "read: name a campaign set, see docs/campaigns.md",
            &cmcf->campaigns_file);
        return NGX_CONF_ERROR;
    }

    set = NULL;
    fault[0] = '\0';
    rc = personalize_set_compile(
        &set, (char *) text.data, text.len, fault, sizeof(fault));

    if (rc != PERSONALIZE_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid campaign set \"%V\" in \"crm_campaigns\": %s: correct "
            "the file, see docs/campaigns.md",
            &cmcf->campaigns_file,
            fault[0] != '\0' ? fault : personalize_result_text(rc));
        return NGX_CONF_ERROR;
    }

    personalize_set_free(set);

    return NGX_CONF_OK;
}


char *
ngx_http_crm_timeout_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t  seconds;
    ngx_str_t *value;

    if (clcf->session_timeout != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    seconds = ngx_parse_time(&value[1], 1);

    if (seconds < 1 || seconds > NGX_HTTP_CRM_TIMEOUT_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_session_timeout\": use a time from "
            "1s to 24h, for example 30m",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->session_timeout = seconds;

    return NGX_CONF_OK;
}


char *
ngx_http_crm_budget_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t  ms;
    ngx_str_t *value;

    if (clcf->budget != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;
    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR || ms > NGX_HTTP_CRM_BUDGET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_budget\": use a time from 0 to "
            "1s, for example 5ms",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->budget = ms;

    return NGX_CONF_OK;
}


char *
ngx_http_crm_capture_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_str_t *value;

    if (clcf->capture != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_crm_word_is(&value[1], "html")) {
        clcf->capture = NGX_HTTP_CRM_CAPTURE_HTML;
    } else if (ngx_http_crm_word_is(&value[1], "all")) {
        clcf->capture = NGX_HTTP_CRM_CAPTURE_ALL;
    } else if (ngx_http_crm_word_is(&value[1], "off")) {
        clcf->capture = NGX_HTTP_CRM_CAPTURE_OFF;
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_capture\": use html, all or off",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* 1 if the text can stand in an attribute of Set-Cookie. */
static ngx_uint_t
ngx_http_crm_cookie_text(ngx_str_t *text)
{
    size_t i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= 0x20 || text->data[i] >= 0x7f
            || text->data[i] == ';' || text->data[i] == ',')
        {
            return 0;
        }
    }

    return text->len > 0;
}


typedef struct {
    ngx_str_t domain;
    ngx_str_t path;
    ngx_str_t samesite;
    ngx_int_t max_age; /* s */
} ngx_http_crm_cookie_conf_t;


static ngx_int_t
ngx_http_crm_cookie_option(ngx_http_crm_loc_conf_t *clcf,
    ngx_http_crm_cookie_conf_t *cookie, ngx_str_t *arg)
{
    ngx_str_t s;

    if (ngx_http_crm_argument(arg, "domain", &s)) {
        cookie->domain = s;
        return ngx_http_crm_cookie_text(&s) ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_crm_argument(arg, "path", &s)) {
        cookie->path = s;
        return ngx_http_crm_cookie_text(&s) && s.data[0] == '/' ? NGX_OK
                                                                : NGX_DECLINED;
    }

    if (ngx_http_crm_argument(arg, "max_age", &s)) {
        cookie->max_age = ngx_parse_time(&s, 1);
        return cookie->max_age >= NGX_HTTP_CRM_AGE_MIN
                       && cookie->max_age <= NGX_HTTP_CRM_AGE_MAX
                   ? NGX_OK
                   : NGX_DECLINED;
    }

    if (ngx_http_crm_argument(arg, "secure", &s)) {
        if (ngx_http_crm_word_is(&s, "auto")) {
            clcf->cookie_secure = 2;
        } else if (ngx_http_crm_word_is(&s, "on")) {
            clcf->cookie_secure = 1;
        } else if (ngx_http_crm_word_is(&s, "off")) {
            clcf->cookie_secure = 0;
        } else {
            return NGX_DECLINED;
        }
        return NGX_OK;
    }

    if (ngx_http_crm_argument(arg, "samesite", &s)) {
        if (ngx_http_crm_word_is(&s, "lax")) {
            ngx_str_set(&cookie->samesite, "Lax");
        } else if (ngx_http_crm_word_is(&s, "strict")) {
            ngx_str_set(&cookie->samesite, "Strict");
        } else if (ngx_http_crm_word_is(&s, "none")) {
            ngx_str_set(&cookie->samesite, "None");
        } else {
            return NGX_DECLINED;
        }
        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* What follows the value in Set-Cookie, made once. */
static ngx_int_t
ngx_http_crm_cookie_tail(
    ngx_conf_t *cf, ngx_http_crm_cookie_conf_t *cookie, ngx_str_t *tail)
{
    u_char *p;

    p = ngx_pnalloc(
        cf->pool, sizeof("; Path=; Max-Age=; Domain=; HttpOnly; SameSite=")
                      + cookie->path.len + NGX_TIME_T_LEN + cookie->domain.len
                      + cookie->samesite.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    tail->data = p;
    p = ngx_sprintf(p, "; Path=%V; Max-Age=%i", &cookie->path, cookie->max_age);

    if (cookie->domain.len != 0) {
        p = ngx_sprintf(p, "; Domain=%V", &cookie->domain);
    }

    p = ngx_sprintf(p, "; HttpOnly; SameSite=%V", &cookie->samesite);
    tail->len = p - tail->data;

    return NGX_OK;
}


char *
ngx_http_crm_cookie_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    size_t                     i;
    ngx_str_t                 *value;
    ngx_uint_t                 n, bad;
    ngx_http_crm_cookie_conf_t cookie;

    if (clcf->cookie_name.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bad = (value[1].len == 0 || value[1].len > NGX_HTTP_CRM_NAME_MAX);

    for (i = 0; i < value[1].len; i++) {
        if (!ngx_http_crm_alnum(value[1].data[i]) && value[1].data[i] != '_'
            && value[1].data[i] != '-')
        {
            bad = 1;
        }
    }

    if (bad) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid name \"%V\" in \"crm_cookie\": use 1 to 64 letters, "
            "digits, \"_\" and \"-\", for example crm",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->cookie_name = value[1];
    clcf->cookie_secure = 2;
    ngx_str_null(&cookie.domain);
    ngx_str_set(&cookie.path, "/");
    ngx_str_set(&cookie.samesite, "Lax");
    cookie.max_age = NGX_HTTP_CRM_AGE_DEFAULT;

    for (n = 2; n < cf->args->nelts; n++) {
        if (ngx_http_crm_cookie_option(clcf, &cookie, &value[n]) == NGX_OK) {
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_cookie\": use domain=DOMAIN, "
            "path=/PATH, max_age=TIME from 1h to 400d, secure=auto|on|off or "
            "samesite=lax|strict|none",
            &value[n]);
        return NGX_CONF_ERROR;
    }

    if (clcf->cookie_secure != 1 && cookie.samesite.data[0] == 'N') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"samesite=none\" in \"crm_cookie\": browsers "
            "refuse it without Secure: add secure=on or use samesite=lax");
        return NGX_CONF_ERROR;
    }

    if (ngx_http_crm_cookie_tail(cf, &cookie, &clcf->cookie_tail) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_crm_keys_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    unsigned         line;
    ngx_str_t       *value, text;
    tracker_result_e rc;

    if (cmcf->keys_file.data != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    cmcf->keys_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &cmcf->keys_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_crm_read_file(
            cf, &cmcf->keys_file, NGX_HTTP_CRM_KEYS_BYTES, &text)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
            "invalid value \"%V\" in \"crm_cookie_keys\": the file cannot be "
            "read: make one with a line \"1 <64 hex digits>\", mode 0600",
            &cmcf->keys_file);
        return NGX_CONF_ERROR;
    }

    line = 0;
    rc = tracker_keys_parse(
        &cmcf->keys, (const char *) text.data, text.len, &line);
    ngx_explicit_memzero(text.data, text.len);

    if (rc != TRACKER_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid line %ui of \"%V\" in \"crm_cookie_keys\": use 1 to %d "
            "lines \"<id 0-255> <64 hex digits>\", the first one signs",
            (ngx_uint_t) line, &cmcf->keys_file, TRACKER_KEYS_MAX);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
