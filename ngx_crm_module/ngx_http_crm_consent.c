/*
 * ngx_http_crm_consent.c - what a visitor allowed, enforced before anything
 * is set, stored or sent.
 *
 * The state is found when the context of a request is made, before the cookie
 * is looked at, and never changes within the request:
 *
 *     measure       a cookie, ids, the whole event
 *     personalize   besides: the session kept for others, profile, customer.*
 *
 * Without "measure" there is no visitor at all: what the event still says is
 * that a page of that path was answered.  A cookie that comes all the same is
 * taken back, and if it verifies the withdrawal is put on record.  Consent to
 * personalize somebody whom we may not measure has nothing to work on.
 *
 * ngx_http_crm_consent_event is the only door to the journal for an event made
 * of a request: it cuts whatever the state, and crm_anonymize, do not allow.
 * Events of a shop's servers pass ngx_http_crm_anonymize_event instead, since
 * the consent of their connection is nobody's.
 * When memory for a cut is missing the field is left out, never kept.
 */

#include "ngx_http_crm_consent.h"


#define NGX_HTTP_CRM_CONSENT_BYTES 4096 /* of a consent manager's cookie */
/* bits of an address kept without consent */
#define NGX_HTTP_CRM_KEEP_IPV4 24
#define NGX_HTTP_CRM_KEEP_IPV6 48


/* ---- the state ---------------------------------------------------------- */

/* 1 if the header of that lower-case name is there and begins with "1". */
static ngx_uint_t
ngx_http_crm_consent_signal(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_uint_t       i;
    ngx_list_part_t *part;
    ngx_table_elt_t *h;

    for (part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len && h[i].lowcase_key != NULL
                && ngx_memcmp(h[i].lowcase_key, name, len) == 0
                && h[i].value.len > 0 && h[i].value.data[0] == '1')
            {
                return 1;
            }
        }
    }

    return 0;
}


static unsigned
ngx_http_crm_consent_answer(
    const ngx_http_crm_consent_t *consent, tracker_str_t value)
{
    unsigned i, n, allowed;

    allowed = 0;

    for (n = 0; n < 2; n++) {
        if (consent->ntests[n] == 0) {
            allowed |= consent->given & (1U << n);
        }

        for (i = 0; i < consent->ntests[n]; i++) {
            if (tracker_consent_fits(&consent->tests[n][i], value)) {
                allowed |= 1U << n;
                break;
            }
        }
    }

    return allowed;
}


static void
ngx_http_crm_consent_ask(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_consent_t *consent)
{
    char          buf[NGX_HTTP_CRM_CONSENT_BYTES];
    unsigned      allowed;
    ngx_str_t     text;
    tracker_str_t value;

    allowed = consent->given;
    ctx->consent_source = "default";

    /* what cannot be read was not said */
    if (ngx_http_complex_value(r, &consent->value, &text) != NGX_OK) {
        text.len = 0;
    }

    if (text.len > 0) {
        value.data = (char *) text.data;
        value.len = text.len;
        value.len = tracker_unescape(buf, sizeof(buf), value);
        value.data = buf;
        allowed = ngx_http_crm_consent_answer(consent, value);
        ctx->consent_source = "answer";
    }

    if ((allowed & consent->gpc)
        && ngx_http_crm_consent_signal(r, "sec-gpc", 7)) {
        allowed &= ~consent->gpc;
        ctx->consent_source = "gpc";
    }

    if ((allowed & consent->dnt) && ngx_http_crm_consent_signal(r, "dnt", 3)) {
        allowed &= ~consent->dnt;
        ctx->consent_source = "dnt";
    }

    ctx->measure = (allowed & NGX_HTTP_CRM_MEASURE) != 0;
    ctx->personal = (allowed & NGX_HTTP_CRM_PERSONALIZE) != 0;
}


void
ngx_http_crm_consent(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (clcf->consent == NULL) {
        ctx->measure = 1;
        ctx->personal = 1;
        return;
    }

    ngx_http_crm_consent_ask(r, ctx, clcf->consent);
}


void
ngx_http_crm_consent_visitor(ngx_http_crm_ctx_t *ctx)
{
    uint8_t want;

    if (ctx->consent_source == NULL) {
        return;
    }

    want =
        TRACKER_VISITOR_ASKED | (ctx->personal ? TRACKER_VISITOR_PERSONAL : 0);

    if ((ctx->visitor.flags
            & (TRACKER_VISITOR_ASKED | TRACKER_VISITOR_PERSONAL))
        == want)
    {
        return;
    }

    ctx->visitor.flags &=
        (uint8_t) ~(TRACKER_VISITOR_ASKED | TRACKER_VISITOR_PERSONAL);
    ctx->visitor.flags |= want;
    ctx->consent_new = 1;
    ctx->cookie_due = 1;
}


ngx_uint_t
ngx_http_crm_consent_hides(ngx_http_crm_ctx_t *ctx, personalize_str_t path)
{
    ngx_uint_t i;

    static const ngx_str_t personal[] = {ngx_string("customer."),
        ngx_string("session."), ngx_string("visitor.id"),
        ngx_string("visitor.new"), ngx_string("visitor.city"),
        ngx_string("visitor.region")};

    if (ctx->measure && ctx->personal) {
        return 0;
    }

    for (i = 0; i < sizeof(personal) / sizeof(personal[0]); i++) {
        if (path.len >= personal[i].len
            && ngx_memcmp(path.data, personal[i].data, personal[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_log_t *
ngx_http_crm_consent_log(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    ngx_http_crm_main_conf_t *cmcf;

    if (ctx->measure) {
        return r->connection->log;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    return cmcf->log;
}


/* ---- what an event may say ---------------------------------------------- */

static void
ngx_http_crm_consent_absent(tracker_str_t *text)
{
    text->data = NULL;
    text->len = 0;
}


static void
ngx_http_crm_consent_address(ngx_http_request_t *r, tracker_event_t *event,
    ngx_uint_t keep4, ngx_uint_t keep6)
{
    u_char             *text;
    ngx_addr_t          told;
    ngx_sockaddr_t      address;
    struct sockaddr    *from;
    struct sockaddr_in *in;

#if (NGX_HAVE_INET6)
    struct sockaddr_in6 *in6;
#endif

    told.sockaddr = r->connection->sockaddr;
    told.socklen = r->connection->socklen;

    if (event->ip.data != (char *) r->connection->addr_text.data
        && ngx_parse_addr(
               r->pool, &told, (u_char *) event->ip.data, event->ip.len)
               != NGX_OK)
    {
        told.socklen = sizeof(address) + 1;
    }

    ngx_http_crm_consent_absent(&event->ip);

    if (told.socklen > (socklen_t) sizeof(address)) {
        return;
    }

    from = told.sockaddr;
    ngx_memzero(&address, sizeof(address));
    ngx_memcpy(&address, from, told.socklen);

    switch (from->sa_family) {

    case AF_INET:
        in = &address.sockaddr_in;
        tracker_address_cut((uint8_t *) &in->sin_addr, 4, keep4);
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        in6 = &address.sockaddr_in6;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            tracker_address_cut(&in6->sin6_addr.s6_addr[12], 4, keep4);
        } else {
            tracker_address_cut(in6->sin6_addr.s6_addr, 16, keep6);
        }
        break;
#endif

    default:
        return;
    }

    text = ngx_pnalloc(r->pool, NGX_SOCKADDR_STRLEN);
    if (text == NULL) {
        return;
    }

    event->ip.len = ngx_sock_ntop(
        &address.sockaddr, told.socklen, text, NGX_SOCKADDR_STRLEN, 0);
    event->ip.data = (char *) text;
}


/* A page was answered: nothing of it leads to whom. */
static void
ngx_http_crm_consent_count(tracker_event_t *event)
{
    event->vid = NULL;
    event->sid = NULL;
    event->sn = 0;
    event->seq = 0;
    event->nprops = 0;

    ngx_http_crm_consent_absent(&event->uid);
    ngx_http_crm_consent_absent(&event->rid);
    ngx_http_crm_consent_absent(&event->query);
    ngx_http_crm_consent_absent(&event->anon);
    ngx_http_crm_consent_absent(&event->json);

    /* of people, that is: a robot allows nothing and has nothing to hide */
    if (event->enrich != NULL && !event->enrich->bot) {
        event->enrich = NULL;
    }

    event->ua = tracker_agent_class(event->ua);
    event->lang = tracker_language(event->lang);
    event->ref = tracker_url_origin(event->ref);
}


static tracker_str_t
ngx_http_crm_consent_hide(ngx_http_request_t *r, const tracker_str_t *names,
    unsigned nnames, tracker_str_t text)
{
    char         *buf;
    tracker_str_t hidden = {NULL, 0};

    if (text.len == 0 || memchr(text.data, '=', text.len) == NULL) {
        return text;
    }

    buf = ngx_pnalloc(r->pool, text.len);
    if (buf == NULL) {
        return hidden;
    }

    hidden.len = tracker_query_hide(buf, text, names, nnames);
    hidden.data = buf;

    return hidden;
}


static void
ngx_http_crm_consent_urls(ngx_http_request_t *r, tracker_event_t *event,
    const tracker_str_t *names, unsigned nnames)
{
    event->query = ngx_http_crm_consent_hide(r, names, nnames, event->query);
    event->ref = ngx_http_crm_consent_hide(r, names, nnames, event->ref);
}


void
ngx_http_crm_anonymize_names(const ngx_http_crm_main_conf_t *cmcf,
    const ngx_http_crm_anonymize_t *anonymize, tracker_hide_t *hide)
{
    hide->key = &cmcf->keys.keys[0];
    hide->names = anonymize->hash;
    hide->nnames = anonymize->nhash;
}


static void
ngx_http_crm_consent_props(ngx_http_request_t *r,
    const ngx_http_crm_anonymize_t *anonymize, tracker_event_t *event)
{
    char           *buf;
    size_t          size;
    unsigned        i, n;
    tracker_hide_t  hide;
    tracker_prop_t *props;

    if (event->nprops == 0) {
        return;
    }

    props = ngx_palloc(r->pool, event->nprops * sizeof(tracker_prop_t));
    if (props == NULL) {
        event->nprops = 0;
        return;
    }

    ngx_http_crm_anonymize_names(
        ngx_http_get_module_main_conf(r, ngx_http_crm_module), anonymize,
        &hide);

    for (i = 0, n = 0; i < event->nprops; i++) {
        props[n] = event->props[i];
        size = tracker_prop_hide_bound(&hide, &props[n]);

        if (size == 0) {
            n++;
            continue;
        }

        buf = ngx_pnalloc(r->pool, size);

        if (buf != NULL) {
            tracker_prop_hide(&hide, &props[n++], buf, size);
        }
    }

    event->props = props;
    event->nprops = n;
}


static tracker_str_t
ngx_http_crm_consent_text(ngx_http_crm_ctx_t *ctx)
{
    tracker_str_t text;

    text.data = ctx->measure ? (ctx->personal ? "mp" : "m")
                             : (ctx->personal ? "p" : "");
    text.len = ngx_strlen(text.data);

    return text;
}


/* What crm_anonymize says, and at most so many bits of an address. */
static void
ngx_http_crm_anonymize_cut(ngx_http_request_t *r, tracker_event_t *event,
    ngx_uint_t keep4, ngx_uint_t keep6)
{
    ngx_http_crm_loc_conf_t        *clcf;
    const ngx_http_crm_anonymize_t *anonymize;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    anonymize = clcf->anonymize;

    if (anonymize != NULL) {
        keep4 = ngx_min(keep4, anonymize->keep4);
        keep6 = ngx_min(keep6, anonymize->keep6);

        if (anonymize->nhash > 0) {
            ngx_http_crm_consent_urls(
                r, event, anonymize->hash, anonymize->nhash);
            ngx_http_crm_consent_props(r, anonymize, event);
        }
    }

    if (keep4 < NGX_HTTP_CRM_WHOLE_IPV4 || keep6 < NGX_HTTP_CRM_WHOLE_IPV6) {
        ngx_http_crm_consent_address(r, event, keep4, keep6);
    }
}


void
ngx_http_crm_consent_event(
    ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx, tracker_event_t *event)
{
    ngx_uint_t               keep4, keep6;
    tracker_str_t            name;
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);
    keep4 = NGX_HTTP_CRM_WHOLE_IPV4;
    keep6 = NGX_HTTP_CRM_WHOLE_IPV6;

    if (ctx->consent_source != NULL) {
        event->consent = ngx_http_crm_consent_text(ctx);
    }

    if (!ctx->measure) {
        ngx_http_crm_consent_count(event);
        keep4 = NGX_HTTP_CRM_KEEP_IPV4;
        keep6 = NGX_HTTP_CRM_KEEP_IPV6;
    }

    if (clcf->link != NULL) {
        /* whoever reads a token may be that visitor for a minute */
        name.data = (char *) clcf->link->name.data;
        name.len = clcf->link->name.len;
        ngx_http_crm_consent_urls(r, event, &name, 1);
    }

    ngx_http_crm_anonymize_cut(r, event, keep4, keep6);
}


void
ngx_http_crm_anonymize_event(ngx_http_request_t *r, tracker_event_t *event)
{
    ngx_http_crm_anonymize_cut(
        r, event, NGX_HTTP_CRM_WHOLE_IPV4, NGX_HTTP_CRM_WHOLE_IPV6);
}


/* The proof: whose consent became what, and what said so; nothing else. */
void
ngx_http_crm_consent_record(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    tracker_event_t *event, tracker_prop_t *props)
{
    ngx_memzero(event, sizeof(tracker_event_t));

    event->site.data = (char *) ctx->site->name.data;
    event->site.len = ctx->site->name.len;
    event->type.data = "consent";
    event->type.len = sizeof("consent") - 1;
    event->src.data = "origin";
    event->src.len = sizeof("origin") - 1;
    event->vid = ctx->visitor.id;
    event->status = (uint32_t) r->headers_out.status;
    event->consent = ngx_http_crm_consent_text(ctx);

    props[0].key.data = "source";
    props[0].key.len = sizeof("source") - 1;
    props[0].value.data = ctx->consent_source;
    props[0].value.len = ngx_strlen(ctx->consent_source);
    event->props = props;
    event->nprops = 1;
}
