/*
 * ngx_http_crm_decide.c - answers which campaigns fill which slots, as JSON.
 *
 *     GET /crm/decide?slots=home-hero,footer
 *     {"visitor":"0193…","slots":{"home-hero":{"campaign":"welcome",
 *      "variant":"a","content":"<p>…</p>"},"footer":null}}
 *
 * recs=N adds products that the session may want next.
 *
 * For apps and scripts that draw a page by themselves.  What was answered
 * counts as shown.  Names are checked against the alphabet of docs/campaigns.md
 * and answered once each, so that the object has no member twice.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_DECIDE_SLOTS TRACKER_EVENT_SLOTS_MAX
#define NGX_HTTP_CRM_DECIDE_ASKED(r, name, arg)                                \
    (ngx_http_arg(r, (u_char *) name, sizeof(name) - 1, arg) == NGX_OK         \
        && (arg)->len > 0)
/* what surrounds one slot's texts, in bytes, generously */
#define NGX_HTTP_CRM_DECIDE_FRAME 64


typedef struct {
    personalize_str_t name;
    ngx_str_t         content;
    tracker_shown_t   shown;
    ngx_uint_t        filled;
} ngx_http_crm_decided_t;


static ngx_int_t
ngx_http_crm_decide_send(
    ngx_http_request_t *r, ngx_uint_t status, ngx_str_t *type, ngx_str_t *body)
{
    ngx_int_t   rc;
    ngx_buf_t  *b;
    ngx_chain_t out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = (off_t) body->len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_crm_cache_control(r, "private, no-store") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* A problem document (RFC 9457) that names the argument and the remedy. */
static ngx_int_t
ngx_http_crm_decide_problem(
    ngx_http_request_t *r, const char *argument, const char *detail)
{
    u_char   *p;
    ngx_str_t body;
    ngx_str_t type = ngx_string("application/problem+json");

    body.data = ngx_pnalloc(r->pool, 512);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_snprintf(body.data, 512,
        "{\"title\":\"Bad Request\",\"status\":400,\"detail\":\"argument "
        "\\\"%s\\\" %s\"}\n",
        argument, detail);
    body.len = p - body.data;

    return ngx_http_crm_decide_send(r, NGX_HTTP_BAD_REQUEST, &type, &body);
}


/* Reads the names into slots; a sentence tells what is wrong, or NULL. */
static const char *
ngx_http_crm_decide_names(
    ngx_http_request_t *r, ngx_http_crm_decided_t *slots, ngx_uint_t *nslots)
{
    u_char    *p, *end, *src, *dst;
    size_t     len;
    ngx_str_t  arg;
    ngx_uint_t n;

    *nslots = 0;

    if (!NGX_HTTP_CRM_DECIDE_ASKED(r, "slots", &arg)) {
        if (NGX_HTTP_CRM_DECIDE_ASKED(r, "recs", &arg)) {
            return NULL;
        }

        return "is missing: name 1 to 16 slots, for example slots=home-hero";
    }

    dst = ngx_pnalloc(r->pool, arg.len);
    if (dst == NULL) {
        return "cannot be read: there is no memory, try again";
    }

    p = dst;
    src = arg.data;
    ngx_unescape_uri(&dst, &src, arg.len, 0);
    end = dst;

    for (; p <= end; p += len + 1) {
        for (len = 0; p + len < end && p[len] != ','; len++) { /* void */
        }

        if (!ngx_http_crm_slot_name(p, len)) {
            return "has a bad name: use letters, digits, \\\".\\\", \\\"_\\\" "
                   "and \\\"-\\\", at most 64 of them, beginning with a letter "
                   "or digit, and a comma between two names";
        }

        for (n = 0; n < *nslots; n++) {
            if (slots[n].name.len == len
                && ngx_memcmp(slots[n].name.data, p, len) == 0) {
                break;
            }
        }

        if (n < *nslots) {
            continue;
        }

        if (n == NGX_HTTP_CRM_DECIDE_SLOTS) {
            return "names too many slots: ask for at most 16 at a time";
        }

        slots[n].name.data = (char *) p;
        slots[n].name.len = len;
        (*nslots)++;
    }

    return NULL;
}


static char *
ngx_http_crm_decide_text(char *p, const char *end, const char *data, size_t len)
{
    tracker_str_t text;

    text.data = data;
    text.len = len;

    return p != NULL ? tracker_json_string(p, end, text, NULL) : NULL;
}


static char *
ngx_http_crm_decide_put(char *p, const char *end, const char *text)
{
    size_t len = ngx_strlen(text);

    if (p == NULL || (size_t) (end - p) < len) {
        return NULL;
    }

    return (char *) ngx_cpymem(p, text, len);
}


static char *
ngx_http_crm_decide_slot(
    char *p, const char *end, const ngx_http_crm_decided_t *slot)
{
    p = ngx_http_crm_decide_text(p, end, slot->name.data, slot->name.len);

    if (!slot->filled) {
        return ngx_http_crm_decide_put(p, end, ":null");
    }

    p = ngx_http_crm_decide_put(p, end, ":{\"campaign\":");
    p = ngx_http_crm_decide_text(
        p, end, slot->shown.campaign.data, slot->shown.campaign.len);
    p = ngx_http_crm_decide_put(p, end, ",\"variant\":");
    p = ngx_http_crm_decide_text(
        p, end, slot->shown.variant.data, slot->shown.variant.len);
    p = ngx_http_crm_decide_put(p, end, ",\"content\":");
    p = ngx_http_crm_decide_text(
        p, end, (char *) slot->content.data, slot->content.len);

    return ngx_http_crm_decide_put(p, end, "}");
}


/* How many recommendations are asked for; NGX_ERROR: no such number. */
static ngx_int_t
ngx_http_crm_decide_recs_asked(ngx_http_request_t *r)
{
    ngx_int_t n;
    ngx_str_t arg;

    if (!NGX_HTTP_CRM_DECIDE_ASKED(r, "recs", &arg)) {
        return 0;
    }

    n = ngx_atoi(arg.data, arg.len);

    return n >= 1 && n <= NGX_HTTP_CRM_RECS_MAX ? n : NGX_ERROR;
}


/* The first n of the list, as a member of the object. */
static char *
ngx_http_crm_decide_recs(
    char *p, const char *end, personalize_str_t list, ngx_int_t n)
{
    size_t            pos;
    ngx_int_t         i;
    personalize_str_t name;

    p = ngx_http_crm_decide_put(p, end, "},\"recs\":[");
    pos = 0;

    for (i = 0; i < n && personalize_list_next(list, &pos, &name); i++) {
        p = ngx_http_crm_decide_put(p, end, i > 0 ? "," : "");
        p = ngx_http_crm_decide_text(p, end, name.data, name.len);
    }

    return ngx_http_crm_decide_put(p, end, "]}\n");
}


static ngx_int_t
ngx_http_crm_decide_write(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    const ngx_http_crm_decided_t *slots, ngx_uint_t nslots, ngx_str_t *body)
{
    char      *p, *end, id[TRACKER_UUID_TEXT];
    size_t     size;
    ngx_int_t  nrecs;
    ngx_uint_t n;

    nrecs = ngx_http_crm_decide_recs_asked(r);
    size = 2 * NGX_HTTP_CRM_DECIDE_FRAME + TRACKER_UUID_TEXT + 6 * ctx->recs.len
           + 4 * NGX_HTTP_CRM_RECS_MAX;

    for (n = 0; n < nslots; n++) {
        size += NGX_HTTP_CRM_DECIDE_FRAME + slots[n].name.len;

        if (slots[n].filled) {
            size += 6
                    * (slots[n].content.len + slots[n].shown.campaign.len
                        + slots[n].shown.variant.len);
        }
    }

    body->data = ngx_pnalloc(r->pool, size);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    p = (char *) body->data;
    end = p + size;

    p = ngx_http_crm_decide_put(p, end, "{\"visitor\":");

    if (ctx->has_visitor && !ngx_http_crm_dry_run(r)) {
        tracker_uuid_text(id, ctx->visitor.id);
        p = ngx_http_crm_decide_text(p, end, id, TRACKER_UUID_TEXT);
    } else {
        p = ngx_http_crm_decide_put(p, end, "null");
    }

    p = ngx_http_crm_decide_put(p, end, ",\"slots\":{");

    for (n = 0; n < nslots; n++) {
        p = ngx_http_crm_decide_put(p, end, n > 0 ? "," : "");
        p = p != NULL ? ngx_http_crm_decide_slot(p, end, &slots[n]) : NULL;
    }

    p = nrecs > 0 ? ngx_http_crm_decide_recs(p, end, ctx->recs, nrecs)
                  : ngx_http_crm_decide_put(p, end, "}}\n");

    if (p == NULL) {
        return NGX_ERROR;
    }

    body->len = (u_char *) p - body->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_decide_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc, nrecs;
    ngx_str_t                 body;
    ngx_str_t                 type = ngx_string("application/json");
    ngx_uint_t                n, nslots;
    const char               *wrong;
    ngx_http_crm_ctx_t       *ctx;
    ngx_http_crm_decided_t    slots[NGX_HTTP_CRM_DECIDE_SLOTS];
    ngx_http_crm_main_conf_t *cmcf;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_crm_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    ngx_memzero(slots, sizeof(slots));
    wrong = ngx_http_crm_decide_names(r, slots, &nslots);

    if (wrong != NULL) {
        return ngx_http_crm_decide_problem(r, "slots", wrong);
    }

    nrecs = ngx_http_crm_decide_recs_asked(r);

    if (nrecs == NGX_ERROR) {
        return ngx_http_crm_decide_problem(
            r, "recs", "is no number from 1 to 20");
    }

    if (nrecs > 0) {
        ngx_http_crm_offer_recs(r, ctx);
    }

    for (n = 0; n < nslots; n++) {
        rc = ngx_http_crm_offer_slot(
            r, ctx, slots[n].name, &slots[n].content, &slots[n].shown);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        slots[n].filled = (rc == NGX_OK);
    }

    if (ngx_http_crm_decide_write(r, ctx, slots, nslots, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_crm_decide_send(r, NGX_HTTP_OK, &type, &body);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    for (n = 0; n < nslots; n++) {
        if (slots[n].filled) {
            ngx_http_crm_offer_shown(r, ctx, &slots[n].shown);
            ngx_http_crm_count(cmcf, NGX_HTTP_CRM_SLOTS_FILLED);
        }
    }

    return rc;
}
