/*
 * ngx_http_crm_link.c - a visitor crosses from one domain of the shop to
 * another.
 *
 * A cookie ends at its domain.  $crm_link is a short-lived token for one other
 * host (tracker/link.c), to be put into links there; a request that brings one
 * and no good cookie of its own goes on as that visitor, in that session.
 *
 * Limits: the token is in a URL, so it is seen by whoever sees the URL, and
 * within its life time it works more than once; there is no store that both
 * domains share and that a request could wait for.  Therefore the life is a
 * minute by default, the host is bound, a cookie of one's own wins, and the
 * token is taken out of the query and the Referer that events keep.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_LINK_TTL     60  /* s */
#define NGX_HTTP_CRM_LINK_TTL_MAX 600 /* s */
#define NGX_HTTP_CRM_LINK_NAME    32  /* bytes */


ngx_int_t
ngx_http_crm_link_take(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_str_t                 arg;
    tracker_str_t             token, host;
    ngx_http_crm_link_t      *link;
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_crm_main_conf_t *cmcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    link = clcf->link;

    if (link == NULL
        || ngx_http_arg(r, link->name.data, link->name.len, &arg) != NGX_OK
        || arg.len == 0)
    {
        return NGX_DECLINED;
    }

    token.data = (char *) arg.data;
    token.len = arg.len;
    host.data = (char *) r->headers_in.server.data;
    host.len = r->headers_in.server.len;

    if (tracker_link_decode(
            &cmcf->keys, token, host, (uint32_t) ngx_time(), &ctx->visitor)
        != TRACKER_OK)
    {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_LINKS_BAD);
        return NGX_DECLINED;
    }

    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_LINKS);

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_link_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    tracker_str_t             host;
    ngx_http_crm_ctx_t       *ctx;
    ngx_http_crm_loc_conf_t  *clcf;
    ngx_http_crm_main_conf_t *cmcf;

    (void) data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 1;

    ctx = ngx_http_crm_get_ctx(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (ctx == NULL || !ctx->has_visitor || clcf->link == NULL
        || clcf->link->to.len == 0)
    {
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, TRACKER_LINK_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    host.data = (char *) clcf->link->to.data;
    host.len = clcf->link->to.len;

    if (tracker_link_encode(&cmcf->keys, &ctx->visitor, host,
            (uint64_t) ngx_time() + clcf->link->ttl, (char *) v->data)
        == TRACKER_OK)
    {
        v->len = TRACKER_LINK_LEN;
        v->not_found = 0;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_crm_link_word(const ngx_str_t *text, const char *more, size_t max)
{
    size_t i;
    u_char c;

    if (text->len == 0 || text->len > max) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                || (c >= '0' && c <= '9') || ngx_strchr(more, c) != NULL))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_crm_link_option(ngx_http_crm_link_t *link, ngx_str_t *arg)
{
    ngx_str_t rest;

    if (ngx_http_crm_argument(arg, "ttl", &rest)) {
        link->ttl = ngx_parse_time(&rest, 1);

        return link->ttl >= 1 && link->ttl <= NGX_HTTP_CRM_LINK_TTL_MAX
                   ? NGX_OK
                   : NGX_DECLINED;
    }

    if (ngx_http_crm_argument(arg, "to", &rest) && link->to.len == 0
        && ngx_http_crm_link_word(&rest, ".-", TRACKER_LINK_HOST_MAX))
    {
        link->to = rest;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


char *
ngx_http_crm_link_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_http_crm_link_t *link;

    if (clcf->link != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && value[1].len == 3
        && ngx_strncmp(value[1].data, "off", 3) == 0)
    {
        clcf->link = NULL;
        return NGX_CONF_OK;
    }

    link = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_link_t));
    if (link == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf->link = link;
    link->name = value[1];
    link->ttl = NGX_HTTP_CRM_LINK_TTL;

    if (!ngx_http_crm_link_word(&link->name, "_", NGX_HTTP_CRM_LINK_NAME)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid name \"%V\" in \"crm_link\": name the argument of the "
            "link with 1 to %d letters, digits and \"_\", for example crm_id",
            &value[1], NGX_HTTP_CRM_LINK_NAME);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_crm_link_option(link, &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_link\": use ttl=TIME from 1s "
                "to 10m and at most one to=HOST, for example "
                "to=pay.shop.example",
                &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
