/*
 * ngx_http_crm_attr.c - gives the attributes that campaigns ask for.
 *
 * One function per source of docs/campaigns.md.  A set looks its functions up
 * once, when it is compiled; a value is computed when a campaign asks for it
 * and points into memory that lives as long as the request.  A value that is
 * left as it came is absent.
 *
 * What a session did is known up to the page before this one: the page being
 * answered becomes an event only when it is finished, so it is added here.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_ITEMS_BYTES                                               \
    (TRACKER_LIVE_ITEMS * (TRACKER_LIVE_ITEM_SIZE + 5))


static void
ngx_http_crm_attr_text(personalize_value_t *value, const void *data, size_t len)
{
    if (len > 0) {
        value->type = PERSONALIZE_TEXT;
        value->text.data = data;
        value->text.len = len;
    }
}


static void
ngx_http_crm_attr_number(personalize_value_t *value, double number)
{
    value->type = PERSONALIZE_NUMBER;
    value->number = number;
}


/* The live state if it belongs to the session that is running now. */
static const tracker_live_t *
ngx_http_crm_attr_live(ngx_http_crm_ctx_t *ctx)
{
    if (ctx->live == NULL || ctx->live->last_us == 0
        || ctx->live->started_s != ctx->visitor.session_started_s)
    {
        return NULL;
    }

    return ctx->live;
}


static void
ngx_http_crm_attr_absent(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) r;
    (void) ctx;
    (void) path;
    value->type = PERSONALIZE_ABSENT;
}


static void
ngx_http_crm_attr_visitor_new(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) r;
    (void) path;
    value->type = PERSONALIZE_BOOL;
    value->number = ctx->visitor_new ? 1 : 0;
}


static void
ngx_http_crm_attr_visitor_id(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) r;
    (void) path;
    ngx_http_crm_attr_text(value, ctx->unit.data, ctx->unit.len);
}


/* visitor.country, .region, .city, .device, .browser, .os */
static void
ngx_http_crm_attr_enrich(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    char              name[16];
    size_t            len;
    tracker_str_t     text;
    tracker_enrich_t *enrich;

    len = path.len - (sizeof("visitor.") - 1);
    ngx_memcpy(name, path.data + sizeof("visitor.") - 1, len);
    name[len] = '\0';

    enrich = ngx_http_crm_enrich_get(r, ctx);

    if (enrich != NULL) {
        text = tracker_enrich_find(enrich, name);
        ngx_http_crm_attr_text(value, text.data, text.len);
    }
}


static void
ngx_http_crm_attr_bot(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) path;
    value->type = PERSONALIZE_BOOL;
    value->number = ngx_http_crm_is_bot(r, ctx) ? 1 : 0;
}


/* The first tag of Accept-Language, without its weight. */
static void
ngx_http_crm_attr_language(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    size_t     n;
    ngx_str_t *text;

    (void) ctx;
    (void) path;

#if (NGX_HTTP_GZIP || NGX_HTTP_HEADERS)
    if (r->headers_in.accept_language == NULL) {
        return;
    }

    text = &r->headers_in.accept_language->value;

    for (n = 0; n < text->len; n++) {
        if (text->data[n] == ',' || text->data[n] == ';'
            || text->data[n] == ' ') {
            break;
        }
    }

    ngx_http_crm_attr_text(value, text->data, n);
#endif
}


/* The page being answered counts: no event has been made of it yet. */
static void
ngx_http_crm_attr_pages(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    double                    pages;
    const tracker_live_t     *live;
    ngx_http_core_loc_conf_t *core;

    (void) path;
    core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    pages = core->handler == ngx_http_crm_decide_handler ? 0 : 1;
    live = ngx_http_crm_attr_live(ctx);

    if (live != NULL) {
        ngx_http_crm_attr_number(value, live->pages + pages);
    } else if (ctx->session_new) {
        ngx_http_crm_attr_number(value, pages);
    }
}


static void
ngx_http_crm_attr_seconds(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    time_t seconds;

    (void) r;
    (void) path;
    seconds = ngx_time() - (time_t) ctx->visitor.session_started_s;
    ngx_http_crm_attr_number(value, (double) ngx_max(seconds, 0));
}


static void
ngx_http_crm_attr_session_number(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) r;
    (void) path;
    ngx_http_crm_attr_number(value, ctx->visitor.session_number);
}


/* As the client sent it, like the path of an event. */
static void
ngx_http_crm_attr_path(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    size_t n;

    (void) ctx;
    (void) path;

    for (n = 0; n < r->unparsed_uri.len; n++) {
        if (r->unparsed_uri.data[n] == '?') {
            break;
        }
    }

    ngx_http_crm_attr_text(value, r->unparsed_uri.data, n);
}


static void
ngx_http_crm_attr_entry(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    const tracker_live_t *live;

    live = ngx_http_crm_attr_live(ctx);

    if (live != NULL && live->entry_len > 0) {
        ngx_http_crm_attr_text(value, live->entry,
            ngx_min(live->entry_len, TRACKER_LIVE_TEXT_SIZE));

    } else if (live != NULL || ctx->session_new) {
        ngx_http_crm_attr_path(r, ctx, path, value);
        value->text.len = ngx_min(value->text.len, TRACKER_LIVE_TEXT_SIZE);
    }
}


/* Of the session's first page: kept, or this page's own Referer. */
static void
ngx_http_crm_attr_referrer(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    size_t                n;
    u_char               *p, *end;
    const tracker_live_t *live;

    (void) path;
    live = ngx_http_crm_attr_live(ctx);

    if (live != NULL && live->pages > 0) {
        ngx_http_crm_attr_text(value, live->referrer,
            ngx_min(live->referrer_len, TRACKER_LIVE_TEXT_SIZE));
        return;
    }

    if (r->headers_in.referer == NULL || (live == NULL && !ctx->session_new)) {
        return;
    }

    end = r->headers_in.referer->value.data + r->headers_in.referer->value.len;
    p = memmem(r->headers_in.referer->value.data,
        r->headers_in.referer->value.len, "://", 3);
    if (p == NULL) {
        return;
    }

    p += 3;

    for (n = 0; p + n < end && n < TRACKER_LIVE_TEXT_SIZE; n++) {
        if (p[n] == '/' || p[n] == '?' || p[n] == '#' || p[n] == ':') {
            break;
        }
    }

    ngx_http_crm_attr_text(value, p, n);
}


/* session.source, .medium, .campaign, .traffic: kept, or of this request. */
static void
ngx_http_crm_attr_traffic(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    const char              *text;
    const tracker_live_t    *live;
    const tracker_source_t  *source;
    const tracker_traffic_t *traffic;

    live = ngx_http_crm_attr_live(ctx);

    if (live != NULL && live->source.class != TRACKER_TRAFFIC_UNKNOWN) {
        source = &live->source;

    } else {
        traffic = ngx_http_crm_traffic_get(r, ctx);
        if (traffic == NULL) {
            return;
        }
        source = &traffic->kept;
    }

    switch (path.data[sizeof("session.") - 1]) {

    case 's':
        ngx_http_crm_attr_text(value, source->source, source->source_len);
        break;

    case 'm':
        ngx_http_crm_attr_text(value, source->medium, source->medium_len);
        break;

    case 'c':
        ngx_http_crm_attr_text(value, source->campaign, source->campaign_len);
        break;

    default:
        text = tracker_traffic_text(source->class);
        ngx_http_crm_attr_text(value, text, ngx_strlen(text));
    }
}


static void
ngx_http_crm_attr_items(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    char                 *buf, *p;
    ngx_uint_t            i;
    personalize_str_t     item;
    const tracker_live_t *live;

    (void) path;
    live = ngx_http_crm_attr_live(ctx);

    if (live == NULL || live->nitems == 0) {
        return;
    }

    /* packed once: a content may name it thousands of times */
    if (ctx->items.data == NULL) {
        buf = ngx_pnalloc(r->pool, NGX_HTTP_CRM_ITEMS_BYTES);
        if (buf == NULL) {
            return;
        }

        p = buf;

        for (i = 0; i < ngx_min(live->nitems, TRACKER_LIVE_ITEMS); i++) {
            item.data = live->items[i];
            item.len = ngx_min(live->item_len[i], TRACKER_LIVE_ITEM_SIZE);
            p = personalize_list_put(p, buf + NGX_HTTP_CRM_ITEMS_BYTES, item);
            if (p == NULL) {
                return;
            }
        }

        ctx->items.data = buf;
        ctx->items.len = p - buf;
    }

    value->type = PERSONALIZE_LIST;
    value->text = ctx->items;
}


static void
ngx_http_crm_attr_category(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    const tracker_live_t *live;

    (void) r;
    (void) path;
    live = ngx_http_crm_attr_live(ctx);

    if (live != NULL) {
        ngx_http_crm_attr_text(value, live->category,
            ngx_min(live->category_len, TRACKER_LIVE_ITEM_SIZE));
    }
}


/* session.cart_items, session.cart_value, session.orders */
static void
ngx_http_crm_attr_cart(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    double                number;
    const tracker_live_t *live;

    (void) r;
    live = ngx_http_crm_attr_live(ctx);
    number = 0;

    if (live == NULL && !ctx->session_new) {
        return;
    }

    if (live != NULL) {
        switch (path.data[path.len - 1]) {
        case 'e':
            number = live->cart_value;
            break;
        default:
            number = path.data[sizeof("session.") - 1] == 'o'
                         ? live->orders
                         : live->cart_items;
        }
    }

    ngx_http_crm_attr_number(value, number);
}


static void
ngx_http_crm_attr_customer(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) r;

    if (ctx->profile_len > 0) {
        personalize_profile_get(ctx->profile, ctx->profile_len, path, value);
    }
}


static void
ngx_http_crm_attr_customer_id(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    const tracker_live_t *live = ctx->live;

    if (ctx->uid.len > 0) {
        ngx_http_crm_attr_text(value, ctx->uid.data, ctx->uid.len);

    } else if (live != NULL && live->last_us != 0 && live->uid_len > 0) {
        ngx_http_crm_attr_text(
            value, live->uid, ngx_min(live->uid_len, TRACKER_LIVE_UID_SIZE));

    } else {
        ngx_http_crm_attr_customer(r, ctx, path, value);
    }
}


static void
ngx_http_crm_attr_host(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) ctx;
    (void) path;
    ngx_http_crm_attr_text(
        value, r->headers_in.server.data, r->headers_in.server.len);
}


static void
ngx_http_crm_attr_query(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    ngx_str_t    arg;
    const size_t prefix = sizeof("page.query.") - 1;

    (void) ctx;

    if (ngx_http_arg(r, (u_char *) path.data + prefix, path.len - prefix, &arg)
        == NGX_OK)
    {
        ngx_http_crm_attr_text(value, arg.data, arg.len);
    }
}


/* time.hour, time.weekday: UTC; 1970-01-01 was a Thursday. */
static void
ngx_http_crm_attr_time(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    time_t now;

    (void) r;
    (void) ctx;
    now = ngx_time();

    ngx_http_crm_attr_number(
        value, (double) (path.data[sizeof("time.") - 1] == 'h'
                             ? now / 3600 % 24
                             : (now / 86400 + 3) % 7 + 1));
}


/* A name that ends in "." stands for every path that begins so. */
static const struct {
    ngx_str_t            path;
    ngx_http_crm_attr_pt get;
} ngx_http_crm_attrs[] = {
    {ngx_string("visitor.new"), ngx_http_crm_attr_visitor_new},
    {ngx_string("visitor.id"), ngx_http_crm_attr_visitor_id},
    {ngx_string("visitor.language"), ngx_http_crm_attr_language},
    {ngx_string("visitor.country"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.region"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.city"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.device"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.browser"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.os"), ngx_http_crm_attr_enrich},
    {ngx_string("visitor.bot"), ngx_http_crm_attr_bot},
    {ngx_string("session.source"), ngx_http_crm_attr_traffic},
    {ngx_string("session.medium"), ngx_http_crm_attr_traffic},
    {ngx_string("session.campaign"), ngx_http_crm_attr_traffic},
    {ngx_string("session.traffic"), ngx_http_crm_attr_traffic},
    {ngx_string("session.pages"), ngx_http_crm_attr_pages},
    {ngx_string("session.seconds"), ngx_http_crm_attr_seconds},
    {ngx_string("session.number"), ngx_http_crm_attr_session_number},
    {ngx_string("session.entry"), ngx_http_crm_attr_entry},
    {ngx_string("session.referrer"), ngx_http_crm_attr_referrer},
    {ngx_string("session.items"), ngx_http_crm_attr_items},
    {ngx_string("session.recs"), ngx_http_crm_model_recs},
    {ngx_string("session.category"), ngx_http_crm_attr_category},
    {ngx_string("session.cart_items"), ngx_http_crm_attr_cart},
    {ngx_string("session.cart_value"), ngx_http_crm_attr_cart},
    {ngx_string("session.orders"), ngx_http_crm_attr_cart},
    {ngx_string("session.intent"), ngx_http_crm_intent_attr},
    {ngx_string("customer.id"), ngx_http_crm_attr_customer_id},
    {ngx_string("customer.greeting"), ngx_http_crm_attr_greeting},
    {ngx_string("customer.birthday_today"), ngx_http_crm_attr_birthday},
    {ngx_string("customer."), ngx_http_crm_attr_customer},
    {ngx_string("page.host"), ngx_http_crm_attr_host},
    {ngx_string("page.path"), ngx_http_crm_attr_path},
    {ngx_string("page.query."), ngx_http_crm_attr_query},
    {ngx_string("time.hour"), ngx_http_crm_attr_time},
    {ngx_string("time.weekday"), ngx_http_crm_attr_time},
};


ngx_http_crm_attr_pt
ngx_http_crm_attr_find(personalize_str_t path)
{
    size_t           i;
    const ngx_str_t *known;

    for (i = 0; i < sizeof(ngx_http_crm_attrs) / sizeof(ngx_http_crm_attrs[0]);
         i++) {
        known = &ngx_http_crm_attrs[i].path;

        if (path.len < known->len
            || ngx_memcmp(path.data, known->data, known->len) != 0)
        {
            continue;
        }

        if (path.len == known->len ? known->data[known->len - 1] != '.'
                                   : known->data[known->len - 1] == '.')
        {
            return ngx_http_crm_attrs[i].get;
        }
    }

    return ngx_http_crm_attr_absent;
}
