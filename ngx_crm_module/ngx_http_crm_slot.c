/*
 * ngx_http_crm_slot.c - the slots of one page: where they are, what is in them.
 *
 * A slot is decided when the page first names it, and at most
 * TRACKER_EVENT_SLOTS_MAX different ones are, which is what an event can
 * report.  A slot that occurs again gets the same content.
 *
 * A slot counts as shown when its last byte has left nginx's filters for the
 * client's socket.  Content that was on its way when the request ended is
 * reported as aborted: an experiment that left it out would lose more of the
 * longer variant than of the shorter one.
 */

#include "ngx_http_crm_module.h"


/* ---- configuration ------------------------------------------------------ */

static char *
ngx_http_crm_slot_place(ngx_conf_t *cf, ngx_http_crm_loc_conf_t *clcf)
{
    ngx_str_t             *value;
    const char            *wrong;
    personalize_str_t      text;
    ngx_http_crm_place_e   where;
    ngx_http_crm_places_t *places;

    value = cf->args->elts;

    if (ngx_http_crm_word_is(&value[2], "before")) {
        where = NGX_HTTP_CRM_PLACE_BEFORE;
    } else if (ngx_http_crm_word_is(&value[2], "after")) {
        where = NGX_HTTP_CRM_PLACE_AFTER;
    } else if (ngx_http_crm_word_is(&value[2], "replace")) {
        where = NGX_HTTP_CRM_PLACE_REPLACE;
    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_slot\": use before, after or "
            "replace, and a text of the page",
            &value[2]);
        return NGX_CONF_ERROR;
    }

    if (!ngx_http_crm_slot_name(value[1].data, value[1].len)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid slot \"%V\" in \"crm_slot\": use letters, digits, \".\", "
            "\"_\" and \"-\", at most 64, beginning with a letter or digit",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    if (clcf->places == NGX_CONF_UNSET_PTR) {
        clcf->places = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_places_t));
    }

    places = clcf->places;
    if (places == NULL) {
        return NGX_CONF_ERROR;
    }

    text.data = (char *) value[3].data;
    text.len = value[3].len;
    wrong = personalize_literal_add(&places->literals, text);

    if (wrong != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid text \"%V\" in \"crm_slot\": it %s, use another one",
            &value[3], wrong);
        return NGX_CONF_ERROR;
    }

    places->slot[places->literals.n - 1].data = (char *) value[1].data;
    places->slot[places->literals.n - 1].len = value[1].len;
    places->where[places->literals.n - 1] = where;

    return NGX_CONF_OK;
}


char *
ngx_http_crm_slot_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_str_t *value;

    value = cf->args->elts;

    if (cf->args->nelts == 4) {
        if (clcf->places == NULL) {
            return "stands beside \"crm_slot off\": remove one of them";
        }

        return ngx_http_crm_slot_place(cf, clcf);
    }

    if (clcf->markers != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    if (ngx_http_crm_word_is(&value[1], "markers")) {
        clcf->markers = 1;
        return NGX_CONF_OK;
    }

    if (!ngx_http_crm_word_is(&value[1], "off")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_slot\": use markers, off, or a "
            "slot, a place and a text",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    if (clcf->places != NGX_CONF_UNSET_PTR) {
        return "off stands beside a \"crm_slot\" with a text: remove one of "
               "them";
    }

    clcf->markers = 0;
    clcf->places = NULL;

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_crm_slot_name(const u_char *name, size_t len)
{
    size_t i;

    if (len == 0 || len > PERSONALIZE_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if ((name[i] >= 'a' && name[i] <= 'z')
            || (name[i] >= 'A' && name[i] <= 'Z')
            || (name[i] >= '0' && name[i] <= '9'))
        {
            continue;
        }

        if (i == 0 || (name[i] != '.' && name[i] != '_' && name[i] != '-')) {
            return 0;
        }
    }

    return 1;
}


/* ---- decisions ---------------------------------------------------------- */

ngx_http_crm_page_t *
ngx_http_crm_page_get(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    if (ctx->page == NULL) {
        ctx->page = ngx_pcalloc(r->main->pool, sizeof(ngx_http_crm_page_t));
    }

    return ctx->page;
}


static ngx_int_t
ngx_http_crm_slot_decide(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_fill_t *slot, personalize_str_t name)
{
    ngx_int_t rc;

    /* the name may lie in the scanner */
    slot->name.data = ngx_pnalloc(r->pool, name.len);
    if (slot->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(slot->name.data, name.data, name.len);
    slot->name.len = name.len;
    name.data = (const char *) slot->name.data;

    rc = ngx_http_crm_offer_slot(r, ctx, name, &slot->content, &slot->shown);
    slot->filled = (rc == NGX_OK);

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_crm_slot_find(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t name, ngx_http_crm_fill_t **found)
{
    ngx_uint_t           n;
    ngx_http_crm_page_t *page;
    ngx_http_crm_fill_t *slot;

    *found = NULL;

    page = ngx_http_crm_page_get(r, ctx);
    if (page == NULL) {
        return NGX_ERROR;
    }

    for (n = 0; n < page->nslots; n++) {
        slot = page->slots[n];

        if (slot->name.len == name.len
            && ngx_memcmp(slot->name.data, name.data, name.len) == 0)
        {
            *found = slot->filled ? slot : NULL;
            return NGX_OK;
        }
    }

    if (page->nslots == TRACKER_EVENT_SLOTS_MAX
        || !personalize_slot_known(ctx->set, name))
    {
        return NGX_OK;
    }

    slot = ngx_pcalloc(r->pool, sizeof(ngx_http_crm_fill_t));
    if (slot == NULL) {
        return NGX_ERROR;
    }

    page->slots[page->nslots++] = slot;

    if (ngx_http_crm_slot_decide(r, ctx, slot, name) != NGX_OK) {
        return NGX_ERROR;
    }

    *found = slot->filled ? slot : NULL;

    return NGX_OK;
}


/* ---- what was shown ----------------------------------------------------- */

void
ngx_http_crm_slot_record(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_uint_t                n;
    ngx_http_crm_page_t      *page = ctx->page;
    ngx_http_crm_fill_t      *slot;
    ngx_http_crm_main_conf_t *cmcf;

    if (page->queued == 0) {
        return;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    for (n = 0; n < page->nslots; n++) {
        slot = page->slots[n];

        if (slot->sent == slot->counted) {
            continue;
        }

        ngx_http_crm_count_by(
            cmcf, NGX_HTTP_CRM_SLOTS_FILLED, slot->sent - slot->counted);
        page->queued -= slot->sent - slot->counted;
        slot->counted = slot->sent;

        if (!slot->recorded) {
            slot->recorded = 1;
            ngx_http_crm_offer_shown(r, ctx, &slot->shown);
        }
    }
}


void
ngx_http_crm_slot_abort(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_uint_t                n;
    ngx_http_crm_page_t      *page = ctx->page;
    ngx_http_crm_fill_t      *slot;
    ngx_http_crm_main_conf_t *cmcf;

    if (page == NULL || page->queued == 0) {
        return;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    ngx_http_crm_count_by(cmcf, NGX_HTTP_CRM_SLOTS_ABORTED, page->queued);
    page->queued = 0;

    for (n = 0; n < page->nslots; n++) {
        slot = page->slots[n];

        if (slot->queued > 0 && !slot->recorded) {
            slot->recorded = 1;
            slot->shown.aborted = 1;
            ngx_http_crm_offer_shown(r, ctx, &slot->shown);
        }
    }
}
