/*
 * ngx_http_crm_redis_conf.c - the arguments of crm_redis.
 *
 * One address, or "cluster" and some nodes of it, then parameters.  A password
 * is never repeated in a message, nor is a word that might be one.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_REDIS_ADDRS  32 /* nodes that can be named */
#define NGX_HTTP_CRM_SECRET_BYTES 65536


/* password_file: the first line, so that the secret can have its own mode. */
static char *
ngx_http_crm_redis_secret(
    ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf, ngx_str_t *name)
{
    u_char   *end;
    ngx_str_t text;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_crm_read_file(cf, name, NGX_HTTP_CRM_SECRET_BYTES, &text)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
            "invalid value \"password_file=%V\" in \"crm_redis\": the file "
            "cannot be read: name a file whose first line is the password",
            name);
        return NGX_CONF_ERROR;
    }

    end = text.data;

    while (end < text.data + text.len && *end != '\n' && *end != '\r') {
        end++;
    }

    cmcf->redis_password.data = text.data;
    cmcf->redis_password.len = end - text.data;

    return NGX_CONF_OK;
}


static char *
ngx_http_crm_redis_option(
    ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf, ngx_str_t *arg)
{
    ngx_int_t n;
    ngx_str_t s;

    if (ngx_http_crm_argument(arg, "db", &s)) {
        n = ngx_atoi(s.data, s.len);

        if (n != NGX_ERROR && n <= 65535) {
            cmcf->redis_db = n;
            return NGX_CONF_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_redis\": use a number of a "
            "database, for example db=0",
            arg);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_crm_argument(arg, "user", &s)) {
        cmcf->redis_user = s;
        return NGX_CONF_OK;
    }

    if (ngx_http_crm_argument(arg, "password", &s)) {
        cmcf->redis_password = s;
        return NGX_CONF_OK;
    }

    if (ngx_http_crm_argument(arg, "password_file", &s)) {
        return ngx_http_crm_redis_secret(cf, cmcf, &s);
    }

    /* the value may be a mistyped password: it is not repeated */
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
        "invalid parameter in \"crm_redis\": use db=N, user=USER, "
        "password=PASSWORD or password_file=FILE after the address");

    return NGX_CONF_ERROR;
}


static char *
ngx_http_crm_redis_address(
    ngx_conf_t *cf, ngx_array_t *addrs, ngx_str_t *text, ngx_uint_t cluster)
{
    ngx_url_t   url;
    ngx_addr_t *addr;

    ngx_memzero(&url, sizeof(ngx_url_t));
    url.url = *text;
    url.default_port = 6379;

    if (ngx_parse_url(cf->pool, &url) != NGX_OK || url.naddrs == 0
        || (cluster && url.family == AF_UNIX))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_redis\": %s: use an address such "
            "as 127.0.0.1:6379 or unix:/run/redis/redis.sock, or \"cluster\" "
            "and addresses of its nodes",
            text, url.err != NULL ? url.err : "no address");
        return NGX_CONF_ERROR;
    }

    addr = ngx_array_push(addrs);
    if (addr == NULL) {
        return NGX_CONF_ERROR;
    }

    *addr = url.addrs[0];

    return NGX_CONF_OK;
}


/* "ADDRESS" or "cluster ADDRESS ...", then parameters. */
char *
ngx_http_crm_redis_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i, last;
    ngx_array_t *addrs;

    if (cmcf->redis_addr != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    cmcf->redis_cluster = ngx_http_crm_word_is(&value[1], "cluster");
    i = cmcf->redis_cluster ? 2 : 1;
    last = cmcf->redis_cluster ? cf->args->nelts : 2;
    addrs = ngx_array_create(cf->pool, 4, sizeof(ngx_addr_t));

    if (addrs == NULL) {
        return NGX_CONF_ERROR;
    }

    for (/* void */;
         i < last
         && (addrs->nelts == 0
             || ngx_strlchr(value[i].data, value[i].data + value[i].len, '=')
                    == NULL);
         i++)
    {
        if (addrs->nelts == NGX_HTTP_CRM_REDIS_ADDRS) {
            return "names more than 32 nodes: a few of them are enough";
        }

        if (ngx_http_crm_redis_address(
                cf, addrs, &value[i], cmcf->redis_cluster)
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    for (/* void */; i < cf->args->nelts; i++) {
        if (ngx_http_crm_redis_option(cf, cmcf, &value[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (addrs->nelts == 0 || (cmcf->redis_cluster && cmcf->redis_db != 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid \"crm_redis cluster\": name some of its nodes, and no "
            "db, for a cluster has only db=0, for example \"crm_redis cluster "
            "10.0.0.1:7000 10.0.0.2:7000\"");
        return NGX_CONF_ERROR;
    }

    if (cmcf->redis_user.len != 0 && cmcf->redis_password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm_redis\" has user=%V without a password: add "
            "password=PASSWORD or password_file=FILE",
            &cmcf->redis_user);
        return NGX_CONF_ERROR;
    }

    cmcf->redis_addr = addrs->elts;
    cmcf->redis_naddrs = addrs->nelts;
    cmcf->redis_name = cmcf->redis_addr[0].name;

    return NGX_CONF_OK;
}
