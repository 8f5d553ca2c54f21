/*
 * snowplow.c - one event of Snowplow's tracker protocol, version 2.
 *
 * A flat object of texts; some hold JSON, plain or in base64url.  What
 * happened is in the event, and what it happened to - products, cart,
 * transaction - in contexts beside it: both become one event in Segment's
 * words, with Segment's properties, so that nobody has to know who sent it.
 * A pixel's query is turned into the same object first.
 */

#include "hit.h"


#define SNOWPLOW_PRODUCTS_MAX 200 /* of one event; more are left out */

enum {
    SNOWPLOW_E,
    SNOWPLOW_EID,
    SNOWPLOW_URL,
    SNOWPLOW_PAGE,
    SNOWPLOW_REFR,
    SNOWPLOW_UE_PR,
    SNOWPLOW_UE_PX,
    SNOWPLOW_CO,
    SNOWPLOW_CX,
    SNOWPLOW_TV,
    SNOWPLOW_AID,
    SNOWPLOW_DTM,
    SNOWPLOW_TTM,
    SNOWPLOW_STM,
    SNOWPLOW_DUID,
    SNOWPLOW_SID,
    SNOWPLOW_UID,
    SNOWPLOW_LANG,
    SNOWPLOW_IP,
    SNOWPLOW_UA,
    SNOWPLOW_SE_CA,
    SNOWPLOW_SE_AC,
    SNOWPLOW_SE_LA,
    SNOWPLOW_SE_PR,
    SNOWPLOW_SE_VA,
    SNOWPLOW_TR_ID,
    SNOWPLOW_TR_TT,
    SNOWPLOW_TR_TX,
    SNOWPLOW_TR_SH,
    SNOWPLOW_TR_CU,
    SNOWPLOW_TI_ID,
    SNOWPLOW_TI_SK,
    SNOWPLOW_TI_NM,
    SNOWPLOW_TI_CA,
    SNOWPLOW_TI_PR,
    SNOWPLOW_TI_QU,
    SNOWPLOW_TI_CU,
    SNOWPLOW_FIELDS
};

static const hit_field_t snowplow_fields[SNOWPLOW_FIELDS] = {
    hit_field("e"),
    hit_field("eid"),
    hit_field("url"),
    hit_field("page"),
    hit_field("refr"),
    hit_field("ue_pr"),
    hit_field("ue_px"),
    hit_field("co"),
    hit_field("cx"),
    hit_field("tv"),
    hit_field("aid"),
    hit_field("dtm"),
    hit_field("ttm"),
    hit_field("stm"),
    hit_field("duid"),
    hit_field("sid"),
    hit_field("uid"),
    hit_field("lang"),
    hit_field("ip"),
    hit_field("ua"),
    hit_field("se_ca"),
    hit_field("se_ac"),
    hit_field("se_la"),
    hit_field("se_pr"),
    hit_field("se_va"),
    hit_field("tr_id"),
    hit_field("tr_tt"),
    hit_field("tr_tx"),
    hit_field("tr_sh"),
    hit_field("tr_cu"),
    hit_field("ti_id"),
    hit_field("ti_sk"),
    hit_field("ti_nm"),
    hit_field("ti_ca"),
    hit_field("ti_pr"),
    hit_field("ti_qu"),
    hit_field("ti_cu"),
};

typedef struct {
    const char *from;
    const char *to; /* NULL: left out */
} snowplow_name_t;

/* Names of the e-commerce action's types. */
static const snowplow_name_t snowplow_actions[] = {
    {"product_view", "Product Viewed"},
    {"add_to_cart", "Product Added"},
    {"remove_from_cart", "Product Removed"},
    {"list_view", "Product List Viewed"},
    {"list_click", "Product Clicked"},
    {"checkout_step", "Checkout Step Viewed"},
    {"transaction", "Order Completed"},
    {"refund", "Order Refunded"},
    {"transaction_error", "Payment Failed"},
    {"promo_view", "Promotion Viewed"},
    {"promo_click", "Promotion Clicked"},
    {NULL, NULL},
};

/* Names of schemas that other events have. */
static const snowplow_name_t snowplow_schemas[] = {
    {"link_click", "Link Clicked"},
    {"site_search", "Products Searched"},
    {"add_to_cart", "Product Added"},
    {"remove_from_cart", "Product Removed"},
    {NULL, NULL},
};

static const snowplow_name_t snowplow_product[] = {
    {"id", "product_id"},
    {NULL, NULL},
};

static const snowplow_name_t snowplow_transaction[] = {
    {"transaction_id", "order_id"},
    {"revenue", "total"},
    {"discount_code", "coupon"},
    {"discount_amount", "discount"},
    {NULL, NULL},
};

static const snowplow_name_t snowplow_refund[] = {
    {"transaction_id", "order_id"},
    {"refund_amount", "total"},
    {NULL, NULL},
};

static const snowplow_name_t snowplow_cart[] = {
    {"total_value", "cart_value"},
    {"currency", NULL}, /* that of the product */
    {NULL, NULL},
};

static const snowplow_name_t snowplow_action_data[] = {
    {"type", NULL},
    {"name", "list_id"},
    {NULL, NULL},
};

static const snowplow_name_t snowplow_as_it_is[] = {
    {NULL, NULL},
};

typedef struct {
    tracker_str_t products[SNOWPLOW_PRODUCTS_MAX];
    size_t        nproducts;
    tracker_str_t transaction;
    tracker_str_t refund;
    tracker_str_t cart;
    tracker_str_t step;
} snowplow_contexts_t;


/* ---- self-describing JSON ---- */

/* JSON in a text, plain or in base64url, cleaned; absent if there is none. */
static tracker_result_e
snowplow_json(tracker_hit_t *hit, tracker_str_t plain, tracker_str_t base64,
    tracker_str_t *json)
{
    tracker_str_t text;

    json->data = NULL;
    json->len = 0;

    text = hit_text(hit, plain);

    if (text.data == NULL) {
        text = hit_text(hit, base64);
        if (text.data == NULL) {
            return TRACKER_OK;
        }

        text = hit_base64(hit, text);
        if (text.data == NULL) {
            return hit_refuse(hit, "its JSON is no base64url");
        }
    }

    switch (hit_clean(hit, text, json)) {
    case TRACKER_OK:
        return TRACKER_OK;
    case TRACKER_DECLINED:
        return hit_refuse(hit, "a text that should hold JSON does not");
    default:
        return TRACKER_INVALID;
    }
}


/* vendor and name of "iglu:vendor/name/format/version". */
static void
snowplow_schema(
    tracker_str_t schema, tracker_str_t *vendor, tracker_str_t *name)
{
    const char *p, *end, *slash;

    memset(vendor, 0, sizeof(*vendor));
    memset(name, 0, sizeof(*name));

    if (schema.len < 5 || memcmp(schema.data, "iglu:", 5) != 0) {
        return;
    }

    p = schema.data + 5;
    end = schema.data + schema.len;
    slash = memchr(p, '/', (size_t) (end - p));

    if (slash != NULL) {
        vendor->data = p;
        vendor->len = (size_t) (slash - p);
        p = slash + 1;
        slash = memchr(p, '/', (size_t) (end - p));
        name->data = p;
        name->len = (size_t) ((slash != NULL ? slash : end) - p);
    }
}


static void
snowplow_described(tracker_hit_t *hit, tracker_str_t json,
    tracker_str_t *vendor, tracker_str_t *name, tracker_str_t *data)
{
    static const hit_field_t fields[] = {
        hit_field("schema"), hit_field("data")};
    tracker_str_t values[2] = {{NULL, 0}};

    hit_members(fields, 2, json, values);
    snowplow_schema(hit_text(hit, values[0]), vendor, name);
    *data = values[1];
}


static tracker_result_e
snowplow_contexts(tracker_hit_t *hit, const tracker_str_t *values,
    snowplow_contexts_t *contexts)
{
    tracker_str_t    json, one, vendor, name, data;
    tracker_split_t  split;
    tracker_piece_t  piece;
    tracker_result_e rc;

    contexts->nproducts = 0;
    memset(&contexts->transaction, 0, sizeof(tracker_str_t));
    memset(&contexts->refund, 0, sizeof(tracker_str_t));
    memset(&contexts->cart, 0, sizeof(tracker_str_t));
    memset(&contexts->step, 0, sizeof(tracker_str_t));

    rc = snowplow_json(hit, values[SNOWPLOW_CO], values[SNOWPLOW_CX], &json);
    if (rc != TRACKER_OK || json.data == NULL) {
        return rc;
    }

    tracker_split_init(&split, "data");

    while (tracker_split_next(&split, json, &piece) == TRACKER_OK) {
        if (piece.kind != TRACKER_PIECE_EVENT) {
            continue;
        }

        one.data = json.data + piece.value;
        one.len = piece.len;
        snowplow_described(hit, one, &vendor, &name, &data);

        if (!hit_is(vendor, "com.snowplowanalytics.snowplow.ecommerce")
            || data.data == NULL || *data.data != '{')
        {
            continue;
        }

        if (hit_is(name, "product")) {
            if (contexts->nproducts < SNOWPLOW_PRODUCTS_MAX) {
                contexts->products[contexts->nproducts++] = data;
            }

        } else if (hit_is(name, "transaction")) {
            contexts->transaction = data;

        } else if (hit_is(name, "refund")) {
            contexts->refund = data;

        } else if (hit_is(name, "cart")) {
            contexts->cart = data;

        } else if (hit_is(name, "checkout_step")) {
            contexts->step = data;
        }
    }

    return TRACKER_OK;
}


/* ---- properties ---- */

/* The members of `from` under their new names; first: no comma before. */
static void
snowplow_rename(hit_object_t *object, tracker_str_t from,
    const snowplow_name_t *names, int first)
{
    size_t                 pos;
    const char            *to;
    const snowplow_name_t *name;
    tracker_json_member_t  member;

    pos = 0;

    if (from.data == NULL || *from.data != '{') {
        return;
    }

    while (tracker_json_next(from, &pos, &member) == TRACKER_OK) {
        for (name = names; name->from != NULL; name++) {
            if (strlen(name->from) == member.key.len
                && memcmp(name->from, member.key.data, member.key.len) == 0)
            {
                break;
            }
        }

        to = name->from != NULL ? name->to : member.key.data;

        if (to == NULL || member.type == 'n') {
            continue;
        }

        hit_object_put(object, first ? "\"" : ",\"", first ? 1 : 2);
        first = 0;
        hit_object_put(
            object, to, name->from != NULL ? strlen(to) : member.key.len);
        hit_object_put(object, "\":", 2);
        hit_object_put(object, member.value.data, member.value.len);

        if (object->failed) {
            return;
        }
    }
}


static void
snowplow_join(
    hit_object_t *object, tracker_str_t from, const snowplow_name_t *names)
{
    snowplow_rename(object, from, names, object->p - object->start == 1);
}


static void
snowplow_products(
    hit_object_t *object, const snowplow_contexts_t *contexts, int single)
{
    size_t i;

    if (contexts->nproducts == 0) {
        return;
    }

    if (single && contexts->nproducts == 1) {
        snowplow_join(object, contexts->products[0], snowplow_product);
        return;
    }

    hit_object_key(object, "products");

    for (i = 0; i < contexts->nproducts; i++) {
        hit_object_put(object, i == 0 ? "[{" : ",{", 2);
        snowplow_rename(object, contexts->products[i], snowplow_product, 1);
        hit_object_put(object, "}", 1);
    }

    hit_object_put(object, "]", 1);
}


static const char *
snowplow_find(const snowplow_name_t *names, tracker_str_t key)
{
    const snowplow_name_t *name;

    for (name = names; name->from != NULL; name++) {
        if (strlen(name->from) == key.len
            && memcmp(name->from, key.data, key.len) == 0) {
            return name->to;
        }
    }

    return NULL;
}


static void
snowplow_name(tracker_hit_t *hit, const char *name)
{
    hit->event.name.data = name;
    hit->event.name.len = strlen(name);
}


/* The first step is what Segment calls the start. */
static int
snowplow_is_start(tracker_hit_t *hit, tracker_str_t step)
{
    static const hit_field_t fields[] = {hit_field("step")};
    tracker_str_t            value = {NULL, 0};

    hit_members(fields, 1, step, &value);
    value = hit_text(hit, value);

    return hit_is(value, "1");
}


static tracker_result_e
snowplow_action(
    tracker_hit_t *hit, const snowplow_contexts_t *contexts, tracker_str_t data)
{
    static const hit_field_t fields[] = {hit_field("type")};
    int                      single;
    const char              *name;
    hit_object_t             object;
    tracker_str_t            type = {NULL, 0};

    hit_members(fields, 1, data, &type);
    type = hit_text(hit, type);
    name = snowplow_find(snowplow_actions, type);

    if (name == NULL) {
        return hit_refuse(hit, "its e-commerce action has an unknown type");
    }

    if (hit_is(type, "checkout_step") && snowplow_is_start(hit, contexts->step))
    {
        name = "Checkout Started";
    }

    snowplow_name(hit, name);

    single = hit_is(type, "product_view") || hit_is(type, "add_to_cart")
             || hit_is(type, "remove_from_cart") || hit_is(type, "list_click");

    hit_object_open(hit, &object);
    snowplow_join(&object, contexts->transaction, snowplow_transaction);
    snowplow_join(&object, contexts->refund, snowplow_refund);
    snowplow_join(&object, contexts->step, snowplow_as_it_is);
    snowplow_products(&object, contexts, single);
    snowplow_join(&object, contexts->cart, snowplow_cart);
    snowplow_join(&object, data, snowplow_action_data);
    hit->event.json = hit_object_close(hit, &object);

    if (object.failed) {
        return hit_refuse(hit, "it is larger than 64 KB");
    }

    hit_session_props(hit, hit->event.json);

    return TRACKER_OK;
}


static tracker_result_e
snowplow_described_event(tracker_hit_t *hit, const tracker_str_t *values)
{
    const char         *known;
    tracker_str_t       json, outer, vendor, name, data;
    tracker_result_e    rc;
    snowplow_contexts_t contexts;

    rc = snowplow_json(
        hit, values[SNOWPLOW_UE_PR], values[SNOWPLOW_UE_PX], &outer);
    if (rc != TRACKER_OK) {
        return rc;
    }

    snowplow_described(hit, outer, &vendor, &name, &json);
    snowplow_described(hit, json, &vendor, &name, &data);

    if (name.len == 0 || name.len > TRACKER_NAME_MAX) {
        return hit_refuse(hit, "its self-describing event has no schema");
    }

    if (hit_is(name, "snowplow_ecommerce_action")) {
        rc = snowplow_contexts(hit, values, &contexts);
        return rc == TRACKER_OK ? snowplow_action(hit, &contexts, data) : rc;
    }

    hit->event.name = name;
    known = snowplow_find(snowplow_schemas, name);
    if (known != NULL) {
        snowplow_name(hit, known);
    }

    if (data.data != NULL && *data.data == '{') {
        hit->event.json = data;
        hit_session_props(hit, data);
    }

    return TRACKER_OK;
}


static void
snowplow_page(tracker_hit_t *hit, const tracker_str_t *values)
{
    hit_object_t  object;
    tracker_str_t search;

    search = hit->event.query;
    if (search.len != 0) {
        search.data--; /* with its question mark */
        search.len++;
    }

    hit_object_open(hit, &object);
    hit_object_add(&object, "url", values[SNOWPLOW_URL]);
    hit_object_text(&object, "path", hit->event.path);
    hit_object_text(&object, "search", search);
    hit_object_add(&object, "title", values[SNOWPLOW_PAGE]);
    hit_object_add(&object, "referrer", values[SNOWPLOW_REFR]);
    hit->event.json = hit_object_close(hit, &object);
}


static void
snowplow_structured(tracker_hit_t *hit, const tracker_str_t *values)
{
    hit_object_t object;

    hit_object_open(hit, &object);
    hit_object_add(&object, "category", values[SNOWPLOW_SE_CA]);
    hit_object_add(&object, "label", values[SNOWPLOW_SE_LA]);
    hit_object_add(&object, "property", values[SNOWPLOW_SE_PR]);
    hit_object_number(&object, "value", values[SNOWPLOW_SE_VA]);
    hit->event.json = hit_object_close(hit, &object);
}


/* The e-commerce of old trackers: the order, and one event per item. */
static void
snowplow_order(tracker_hit_t *hit, const tracker_str_t *values)
{
    hit_object_t object;

    snowplow_name(hit, "Order Completed");
    hit_object_open(hit, &object);
    hit_object_add(&object, "order_id", values[SNOWPLOW_TR_ID]);
    hit_object_number(&object, "total", values[SNOWPLOW_TR_TT]);
    hit_object_number(&object, "tax", values[SNOWPLOW_TR_TX]);
    hit_object_number(&object, "shipping", values[SNOWPLOW_TR_SH]);
    hit_object_add(&object, "currency", values[SNOWPLOW_TR_CU]);
    hit->event.json = hit_object_close(hit, &object);
}


static void
snowplow_item(tracker_hit_t *hit, const tracker_str_t *values)
{
    hit_object_t object;

    snowplow_name(hit, "Order Item");
    hit_object_open(hit, &object);
    hit_object_add(&object, "order_id", values[SNOWPLOW_TI_ID]);
    hit_object_add(&object, "product_id", values[SNOWPLOW_TI_SK]);
    hit_object_add(&object, "name", values[SNOWPLOW_TI_NM]);
    hit_object_add(&object, "category", values[SNOWPLOW_TI_CA]);
    hit_object_number(&object, "price", values[SNOWPLOW_TI_PR]);
    hit_object_number(&object, "quantity", values[SNOWPLOW_TI_QU]);
    hit_object_add(&object, "currency", values[SNOWPLOW_TI_CU]);
    hit->event.json = hit_object_close(hit, &object);
}


static void
snowplow_context(tracker_hit_t *hit, const tracker_str_t *values)
{
    size_t           i;
    tracker_str_t    version;
    tracker_event_t *event;

    event = &hit->event;
    event->mid = hit_text(hit, values[SNOWPLOW_EID]);
    event->uid = hit_text(hit, values[SNOWPLOW_UID]);
    event->anon = hit_text(hit, values[SNOWPLOW_DUID]);
    event->ip = hit_text(hit, values[SNOWPLOW_IP]);
    event->ua = hit_text(hit, values[SNOWPLOW_UA]);
    event->lang = hit_text(hit, values[SNOWPLOW_LANG]);
    event->ref = hit_text(hit, values[SNOWPLOW_REFR]);
    hit->session = hit_text(hit, values[SNOWPLOW_SID]);
    hit->app = hit_text(hit, values[SNOWPLOW_AID]);
    hit_url(hit, hit_text(hit, values[SNOWPLOW_URL]));

    hit->time_us = tracker_hit_iso(hit_text(
        hit, values[values[SNOWPLOW_TTM].data != NULL ? SNOWPLOW_TTM
                                                      : SNOWPLOW_DTM]));
    hit->sent_us = tracker_hit_iso(hit_text(hit, values[SNOWPLOW_STM]));

    /* "js-4.10.1": name and version */
    event->lib = hit_text(hit, values[SNOWPLOW_TV]);

    for (i = event->lib.len; i > 0; i--) {
        if (event->lib.data[i - 1] == '-') {
            version.data = event->lib.data + i;
            version.len = event->lib.len - i;
            event->lib_version = version;
            event->lib.len = i - 1;
            break;
        }
    }
}


static tracker_result_e
snowplow_event(tracker_hit_t *hit, const tracker_str_t *values)
{
    tracker_str_t kind;

    kind = hit_text(hit, values[SNOWPLOW_E]);
    hit->event.type.data = "track";
    hit->event.type.len = 5;

    if (hit_is(kind, "pv")) {
        hit->event.type.data = "page";
        hit->event.type.len = 4;
        snowplow_page(hit, values);
        return TRACKER_OK;
    }

    if (hit_is(kind, "ue")) {
        return snowplow_described_event(hit, values);
    }

    if (hit_is(kind, "pp")) {
        snowplow_name(hit, "Page Pinged");
        snowplow_page(hit, values);
        return TRACKER_OK;
    }

    if (hit_is(kind, "tr")) {
        snowplow_order(hit, values);
        return TRACKER_OK;
    }

    if (hit_is(kind, "ti")) {
        snowplow_item(hit, values);
        return TRACKER_OK;
    }

    if (!hit_is(kind, "se")) {
        return hit_refuse(hit, "its e is none of pv, pp, ue, se, tr, ti");
    }

    hit->event.name = hit_text(hit, values[SNOWPLOW_SE_AC]);

    if (hit->event.name.len == 0 || hit->event.name.len > TRACKER_NAME_MAX) {
        return hit_refuse(hit, "its action is no name of 1 to 200 bytes");
    }

    snowplow_structured(hit, values);

    return TRACKER_OK;
}


tracker_result_e
tracker_snowplow_read(tracker_hit_t *hit, char *room, tracker_str_t json)
{
    tracker_str_t    clean;
    tracker_str_t    values[SNOWPLOW_FIELDS] = {{NULL, 0}};
    tracker_result_e rc;

    hit_start(hit, room);

    if (json.len > TRACKER_HIT_MAX) {
        return hit_refuse(hit, "it is larger than 64 KB");
    }

    rc = hit_clean(hit, json, &clean);
    if (rc != TRACKER_OK) {
        return rc;
    }

    if (*clean.data != '{') {
        return hit_refuse(hit, "it is no object");
    }

    hit_members(snowplow_fields, SNOWPLOW_FIELDS, clean, values);
    snowplow_context(hit, values);

    if (hit->event.mid.len > TRACKER_MID_MAX) {
        return hit_refuse(hit, "its eid is longer than 100 bytes");
    }

    return snowplow_event(hit, values);
}
