/*
 * ngx_http_crm_variables.c - the table of variables, and those of the visitor.
 *
 * A variable is computed at its first use; what belongs to another concern is
 * computed in the file of that concern.
 */

#include "ngx_http_crm_module.h"


/* Text of a variable: 36 characters of a UUID in pool memory. */
static ngx_int_t
ngx_http_crm_uuid_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_crm_ctx_t *ctx;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    ctx = ngx_http_crm_get_ctx(r);

    /* a new visitor whose answer left without a cookie never existed */
    if (ctx == NULL || !ctx->has_visitor || ngx_http_crm_dry_run(r)
        || (ctx->visitor_new && !ctx->cookie_sent && r->main->header_sent))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, TRACKER_UUID_TEXT);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = TRACKER_UUID_TEXT;
    tracker_uuid_text((char *) v->data, data == 0 ? ctx->visitor.id : ctx->sid);

    return NGX_OK;
}


/* clang-format off */
static ngx_http_variable_t ngx_http_crm_variables[] = {

    { ngx_string("crm_visitor"), NULL, ngx_http_crm_uuid_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_session"), NULL, ngx_http_crm_uuid_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_link"), NULL, ngx_http_crm_link_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_segment"), NULL, ngx_http_crm_offer_segment, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_country"), NULL, ngx_http_crm_enrich_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_device"), NULL, ngx_http_crm_enrich_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("crm_bot"), NULL, ngx_http_crm_enrich_variable, 2,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};
/* clang-format on */


ngx_int_t
ngx_http_crm_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t *var, *v;

    for (v = ngx_http_crm_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
