/*
 * ngx_http_crm_collect_conf.c - directives of crm_collect, keys and paths.
 *
 * A write key names the site whose events a client may send; a browser's is
 * known to everybody, a trusted one belongs to a server and is compared in
 * constant time.  Paths are recognised by their end, so that a shop may put
 * the location where it likes.
 *
 * nginx's own client_max_body_size is lifted here: its refusal comes before
 * the location's handler and carries nothing a browser on another origin could
 * read, so crm_collect_max_body is watched by the handler itself.
 */

#include "ngx_http_crm_module.h"

#include <openssl/crypto.h>


#define NGX_HTTP_CRM_COLLECT_MAX   (4 << 20) /* bytes, crm_collect_max_body */
#define NGX_HTTP_CRM_COLLECT_LEAST (64 << 10)
#define NGX_HTTP_CRM_COLLECT_MOST  (64 << 20)
#define NGX_HTTP_CRM_KEY_TEXT_MAX  128 /* bytes of a write key */


typedef struct {
    ngx_str_t word; /* last part of the path */
    ngx_str_t type; /* of its events; empty: they say it themselves */
} ngx_http_crm_word_t;


static ngx_http_crm_word_t ngx_http_crm_segment_words[] = {
    {ngx_string("batch"), ngx_null_string},
    {ngx_string("b"), ngx_null_string},
    {ngx_string("import"), ngx_null_string},
    {ngx_string("track"), ngx_string("track")},
    {ngx_string("t"), ngx_string("track")},
    {ngx_string("page"), ngx_string("page")},
    {ngx_string("p"), ngx_string("page")},
    {ngx_string("identify"), ngx_string("identify")},
    {ngx_string("i"), ngx_string("identify")},
    {ngx_string("screen"), ngx_string("screen")},
    {ngx_string("s"), ngx_string("screen")},
    {ngx_string("group"), ngx_string("group")},
    {ngx_string("g"), ngx_string("group")},
    {ngx_string("alias"), ngx_string("alias")},
    {ngx_string("a"), ngx_string("alias")},
    {ngx_null_string, ngx_null_string},
};


char *
ngx_http_crm_collect_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_str_t                *value;
    ngx_http_core_loc_conf_t *core;

    if (clcf->collect != NGX_HTTP_CRM_COLLECT_OFF) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "segment") == 0) {
        clcf->collect = NGX_HTTP_CRM_COLLECT_SEGMENT;

    } else if (ngx_strcmp(value[1].data, "snowplow") == 0) {
        clcf->collect = NGX_HTTP_CRM_COLLECT_SNOWPLOW;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_collect\": use segment or snowplow",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    core->handler = (ngx_http_handler_pt) cmd->post;

    return NGX_CONF_OK;
}


char *
ngx_http_crm_max_body_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ssize_t    size;
    ngx_str_t *value;

    if (clcf->collect_max != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size < NGX_HTTP_CRM_COLLECT_LEAST || size > NGX_HTTP_CRM_COLLECT_MOST) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_collect_max_body\": use a size "
            "from 64k to 64m, for example 4m",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->collect_max = size;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_crm_site_valid(const ngx_str_t *name)
{
    size_t i;
    u_char c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
                || (i > 0 && (c == '_' || c == '-'))))
        {
            return 0;
        }
    }

    return name->len > 0 && name->len <= 32;
}


/* The key itself is never printed: a trusted one is a secret. */
static char *
ngx_http_crm_write_key_bad(ngx_conf_t *cf, const char *what)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
        "invalid %s in \"crm_write_key\": use KEY [site=SITE] [trusted] with "
        "a key of 1 to 128 visible characters without \":\", given once, for "
        "example crm_write_key Kx7 site=shop",
        what);

    return NGX_CONF_ERROR;
}


char *
ngx_http_crm_write_key_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    size_t                    n;
    ngx_str_t                *value, site;
    ngx_uint_t                i;
    ngx_http_crm_key_t       *key;
    ngx_http_crm_main_conf_t *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);
    value = cf->args->elts;

    if (clcf->keys == NGX_CONF_UNSET_PTR) {
        clcf->keys = ngx_array_create(cf->pool, 2, sizeof(ngx_http_crm_key_t));
        if (clcf->keys == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (n = 0; n < value[1].len; n++) {
        if (value[1].data[n] <= 0x20 || value[1].data[n] >= 0x7f
            || value[1].data[n] == ':')
        {
            return ngx_http_crm_write_key_bad(cf, "key");
        }
    }

    if (n == 0 || n > NGX_HTTP_CRM_KEY_TEXT_MAX
        || ngx_http_crm_key_find(clcf, &value[1]) != NULL)
    {
        return ngx_http_crm_write_key_bad(cf, "key");
    }

    key = ngx_array_push(clcf->keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(key, sizeof(ngx_http_crm_key_t));
    key->key = value[1];

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_strcmp(value[i].data, "trusted") == 0) {
            key->trusted = 1;

        } else if (ngx_http_crm_argument(&value[i], "site", &site)
                   && ngx_http_crm_site_valid(&site))
        {
            key->site_name = site;

            if (ngx_http_crm_site_get(cmcf, &site) == NULL) {
                return NGX_CONF_ERROR;
            }

        } else {
            return ngx_http_crm_write_key_bad(cf, "argument");
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_crm_origin_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    u_char    *p;
    ngx_str_t *value, *origin;
    ngx_uint_t i;

    if (clcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    clcf->origins =
        ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (clcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        p = (u_char *) ngx_strstr(value[i].data, "://");

        if (ngx_strcmp(value[i].data, "any") != 0
            && (p == NULL || p[3] == '\0' || ngx_strchr(p + 3, '/') != NULL))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_collect_origin\": use any, or "
                "origins without a path, for example https://shop.example",
                &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(clcf->origins);
        *origin = value[i];
        ngx_strlow(origin->data, origin->data, origin->len);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_crm_collect_merge(ngx_conf_t *cf, ngx_http_crm_loc_conf_t *prev,
    ngx_http_crm_loc_conf_t *conf)
{
    ngx_uint_t                i;
    ngx_http_crm_key_t       *key;
    ngx_http_core_loc_conf_t *core;
    ngx_http_crm_main_conf_t *cmcf;

    ngx_conf_merge_size_value(
        conf->collect_max, prev->collect_max, NGX_HTTP_CRM_COLLECT_MAX);
    ngx_conf_merge_ptr_value(conf->keys, prev->keys, NULL);
    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);

    if (conf->collect == NGX_HTTP_CRM_COLLECT_OFF) {
        return NGX_CONF_OK;
    }

    if (!conf->enable) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm_collect\" needs \"crm on\" in the same place or above it");
        return NGX_CONF_ERROR;
    }

    if (conf->keys == NULL && conf->collect == NGX_HTTP_CRM_COLLECT_SEGMENT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm_collect segment\" needs \"crm_write_key\": add "
            "\"crm_write_key KEY;\" with the key that the libraries are given");
        return NGX_CONF_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);
    key = conf->keys != NULL ? conf->keys->elts : NULL;

    for (i = 0; conf->keys != NULL && i < conf->keys->nelts; i++) {
        if (key[i].site_name.len == 0) {
            continue;
        }

        key[i].site = ngx_http_crm_site_get(cmcf, &key[i].site_name);
        if (key[i].site == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    /* ours is merged after the core's, so this stays */
    core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    core->client_max_body_size = 0;

    return NGX_CONF_OK;
}


ngx_http_crm_key_t *
ngx_http_crm_key_find(ngx_http_crm_loc_conf_t *clcf, const ngx_str_t *key)
{
    ngx_uint_t          i;
    ngx_http_crm_key_t *keys, *found;

    if (clcf->keys == NULL || key->len == 0) {
        return NULL;
    }

    keys = clcf->keys->elts;
    found = NULL;

    for (i = 0; i < clcf->keys->nelts; i++) {
        if (keys[i].key.len == key->len
            && CRYPTO_memcmp(keys[i].key.data, key->data, key->len) == 0)
        {
            found = &keys[i];
        }
    }

    return found;
}


static ngx_uint_t
ngx_http_crm_ends(const ngx_str_t *s, const char *tail, ngx_str_t *before)
{
    size_t len;

    len = ngx_strlen(tail);

    if (s->len < len || ngx_memcmp(s->data + s->len - len, tail, len) != 0) {
        return 0;
    }

    before->data = s->data;
    before->len = s->len - len;

    return 1;
}


/* "/v1/projects/KEY/settings" */
static ngx_uint_t
ngx_http_crm_path_settings(const ngx_str_t *uri, ngx_http_crm_path_t *path)
{
    u_char   *p;
    ngx_str_t before;

    if (!ngx_http_crm_ends(uri, "/settings", &before)) {
        return 0;
    }

    for (p = before.data + before.len; p > before.data && p[-1] != '/'; p--) {
        /* void */
    }

    path->key.data = p;
    path->key.len = before.data + before.len - p;
    before.len = p - before.data;

    return ngx_http_crm_ends(&before, "/v1/projects/", &path->prefix);
}


static void
ngx_http_crm_path_segment(const ngx_str_t *uri, ngx_http_crm_path_t *path)
{
    u_char              *p;
    ngx_str_t            before;
    ngx_http_crm_word_t *word;

    if (ngx_http_crm_path_settings(uri, path)) {
        path->route = NGX_HTTP_CRM_ROUTE_SETTINGS;
        return;
    }

    if (ngx_http_crm_ends(uri, "/sourceConfig/", &path->prefix)
        || ngx_http_crm_ends(uri, "/sourceConfig", &path->prefix))
    {
        path->route = NGX_HTTP_CRM_ROUTE_SOURCE;
        return;
    }

    for (p = uri->data + uri->len; p > uri->data && p[-1] != '/'; p--) {
        /* void */
    }

    before.data = uri->data;
    before.len = p - uri->data;

    if (!ngx_http_crm_ends(&before, "/v1/", &path->prefix)
        && !ngx_http_crm_ends(&before, "/api/s/", &path->prefix)
        && !ngx_http_crm_ends(&before, "/api/s/s2s/", &path->prefix))
    {
        return;
    }

    for (word = ngx_http_crm_segment_words; word->word.len != 0; word++) {
        if (word->word.len == uri->len - before.len
            && ngx_memcmp(word->word.data, p, word->word.len) == 0)
        {
            path->route = NGX_HTTP_CRM_ROUTE_EVENTS;
            path->type = word->type;
            return;
        }
    }
}


void
ngx_http_crm_collect_path(
    ngx_http_request_t *r, ngx_uint_t protocol, ngx_http_crm_path_t *path)
{
    ngx_memzero(path, sizeof(ngx_http_crm_path_t));

    if (protocol == NGX_HTTP_CRM_COLLECT_SEGMENT) {
        ngx_http_crm_path_segment(&r->uri, path);

    } else if (ngx_http_crm_ends(&r->uri, "/com.snowplowanalytics.snowplow/tp2",
                   &path->prefix))
    {
        path->route = NGX_HTTP_CRM_ROUTE_EVENTS;

    } else if (ngx_http_crm_ends(&r->uri, "/i", &path->prefix)) {
        path->route = NGX_HTTP_CRM_ROUTE_PIXEL;
    }
}
