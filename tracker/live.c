/*
 * live.c - what a visitor has done in the running session.
 *
 * The state is moved event by event, kept as plain bytes in shared memory and
 * shared between nodes as JSON:
 *
 *     {"last":1764000000123456,"started":1763999900,"sn":3,"seq":7,"pages":5,
 *      "cart_items":2,"orders":0,"cart_value":56.00,"items":["A13","B2"],
 *      "category":"trousers","entry":"/","referrer":"search.example",
 *      "uid":"12347","class":"search","source":"google","medium":"cpc",
 *      "campaign":"spring"}
 *
 * Texts are kept as UTF-8 without NUL, so that what is written can be read
 * back.  An id longer than its field is not kept at all, as half an id is
 * another id; a path or host is cut behind a whole character.  Money is kept
 * to the cent, amounts and quantities that no shop has are not believed.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, memrchr */
#endif

#include "tracker.h"

#include <string.h>


#define LIVE_QUANTITY_MAX 1000000         /* of one event */
#define LIVE_PRICE_MAX    1000000000.0    /* of one piece, any currency */
#define LIVE_VALUE_MAX    1000000000000.0 /* of a cart; its cents fit 2^53 */
#define LIVE_FIXED        512 /* names, numbers and quotes in JSON: < 400 */
#define LIVE_DIGITS_MAX   20

#define live_is(value, text)                                                   \
    ((value).len == sizeof(text) - 1                                           \
        && memcmp((value).data, text, sizeof(text) - 1) == 0)


/* ---- texts and numbers ---- */

/* Copies whole characters; what is no text becomes '?'. */
static uint8_t
live_copy(char *field, size_t size, tracker_str_t value)
{
    size_t      n, len;
    const char *p, *end;

    len = 0;
    p = value.data;
    end = p;
    if (end != NULL) {
        end += value.len;
    }

    while (p < end) {
        n = *p != '\0' ? tracker_utf8_len(p, end) : 0;
        if ((n != 0 ? n : 1) > size - len) {
            break;
        }

        if (n != 0) {
            memcpy(field + len, p, n);
            len += n;
            p += n;

        } else {
            field[len++] = '?';
            p++;
        }
    }

    return (uint8_t) len;
}


/* An id is kept whole or not at all. */
static uint8_t
live_copy_id(char *field, size_t size, tracker_str_t value)
{
    return value.len <= size ? live_copy(field, size, value) : 0;
}


static tracker_str_t
live_prop(const tracker_event_t *event, const char *key, size_t len)
{
    unsigned             i;
    static tracker_str_t absent = {NULL, 0};

    for (i = 0; i < event->nprops; i++) {
        if (event->props[i].key.len == len
            && memcmp(event->props[i].key.data, key, len) == 0)
        {
            return event->props[i].value;
        }
    }

    return absent;
}


static tracker_result_e
live_integer(tracker_str_t text, uint64_t max, uint64_t *number)
{
    size_t   i;
    uint64_t n;

    if (text.data == NULL || text.len == 0 || text.len > LIVE_DIGITS_MAX) {
        return TRACKER_INVALID;
    }

    for (i = 0, n = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9'
            || __builtin_mul_overflow(n, 10, &n)
            || __builtin_add_overflow(n, (unsigned) (text.data[i] - '0'), &n)
            || n > max)
        {
            return TRACKER_INVALID;
        }
    }

    *number = n;

    return TRACKER_OK;
}


/* "12", "12.5" or "12.50": no sign, no exponent, no locale. */
static tracker_result_e
live_amount(tracker_str_t text, double max, double *amount)
{
    size_t   i;
    double   n, scale;
    unsigned point;

    if (text.data == NULL || text.len == 0 || text.len > LIVE_DIGITS_MAX
        || text.data[0] == '.' || text.data[text.len - 1] == '.')
    {
        return TRACKER_INVALID;
    }

    n = 0;
    scale = 1;
    point = 0;

    for (i = 0; i < text.len; i++) {
        if (text.data[i] == '.' && !point) {
            point = 1;
            continue;
        }

        if (text.data[i] < '0' || text.data[i] > '9') {
            return TRACKER_INVALID;
        }

        n = n * 10 + (text.data[i] - '0');
        scale *= point ? 10 : 1;
    }

    n /= scale;
    if (n > max) {
        return TRACKER_INVALID;
    }

    *amount = n;

    return TRACKER_OK;
}


static double
live_cents(double value)
{
    return (double) (uint64_t) (value * 100 + 0.5) / 100;
}


/* ---- moving the state ---- */

static void
live_restart(tracker_live_t *live, uint32_t started_s, uint32_t sn)
{
    char    uid[TRACKER_LIVE_UID_SIZE];
    uint8_t uid_len;

    uid_len = live->uid_len;
    memcpy(uid, live->uid, sizeof(uid));

    memset(live, 0, sizeof(*live));

    live->uid_len = uid_len;
    memcpy(live->uid, uid, sizeof(uid));
    live->started_s = started_s;
    live->sn = sn;
}


/* "https://user@shop.example:8080/x" gives "shop.example". */
static tracker_str_t
live_host(tracker_str_t url)
{
    const char   *p, *end, *at;
    tracker_str_t host = {NULL, 0};

    if (url.data == NULL) {
        return host;
    }

    end = url.data + url.len;
    p = memmem(url.data, url.len, "://", 3);
    if (p == NULL) {
        return host;
    }

    p += 3;
    for (host.data = p; p < end && *p != '/' && *p != '?' && *p != '#'; p++) {
        /* up to the end of the authority */
    }

    at = memrchr(host.data, '@', (size_t) (p - host.data));
    if (at != NULL) {
        host.data = at + 1;
    }

    end = p;
    p = host.data < end && *host.data == '['
            ? memchr(host.data, ']', (size_t) (end - host.data))
            : NULL;
    p = memchr(p != NULL ? p : host.data, ':',
        (size_t) (end - (p != NULL ? p : host.data)));
    host.len = (size_t) ((p != NULL ? p : end) - host.data);

    return host;
}


static void
live_page(tracker_live_t *live, const tracker_event_t *event)
{
    if (live->pages == 0) {
        live->entry_len =
            live_copy(live->entry, sizeof(live->entry), event->path);
        live->referrer_len = live_copy(
            live->referrer, sizeof(live->referrer), live_host(event->ref));
    }

    if (live->pages < UINT32_MAX) {
        live->pages++;
    }
}


/* Puts the item first; it leaves its old place or pushes out the oldest. */
static void
live_viewed(tracker_live_t *live, const tracker_event_t *event)
{
    char     item[TRACKER_LIVE_ITEM_SIZE];
    uint8_t  len;
    unsigned i;

    memset(item, 0, sizeof(item));
    len = live_copy_id(item, sizeof(item), live_prop(event, "product_id", 10));
    if (len == 0) {
        return;
    }

    for (i = 0; i < live->nitems; i++) {
        if (live->item_len[i] == len && memcmp(live->items[i], item, len) == 0)
        {
            break;
        }
    }

    if (i == live->nitems) {
        if (live->nitems < TRACKER_LIVE_ITEMS) {
            live->nitems++;
        } else {
            i--;
        }
    }

    memmove(live->items[1], live->items[0], i * sizeof(item));
    memmove(live->item_len + 1, live->item_len, i);
    memcpy(live->items[0], item, sizeof(item));
    live->item_len[0] = len;

    live->category_len = live_copy_id(live->category, sizeof(live->category),
        live_prop(event, "category", 8));
}


static void
live_cart(tracker_live_t *live, const tracker_event_t *event, unsigned added)
{
    double        price;
    uint64_t      pieces;
    tracker_str_t quantity;

    quantity = live_prop(event, "quantity", 8);
    pieces = 1;

    if (quantity.len > 0
        && live_integer(quantity, LIVE_QUANTITY_MAX, &pieces) != TRACKER_OK)
    {
        return;
    }

    if (live_amount(live_prop(event, "price", 5), LIVE_PRICE_MAX, &price)
        != TRACKER_OK)
    {
        price = 0;
    }

    price *= (double) pieces;

    if (!added) {
        if (pieces >= live->cart_items) {
            live->cart_items = 0;
            live->cart_value = 0;
            return;
        }

        live->cart_items -= (uint32_t) pieces;
        price = live->cart_value - price;
        live->cart_value = price > 0 ? live_cents(price) : 0;
        return;
    }

    if (live->cart_items > UINT32_MAX - (uint32_t) pieces) {
        return;
    }

    live->cart_items += (uint32_t) pieces;
    price = live_cents(live->cart_value + price);
    live->cart_value = price < LIVE_VALUE_MAX ? price : LIVE_VALUE_MAX;
}


static void
live_named(tracker_live_t *live, const tracker_event_t *event)
{
    if (live_is(event->name, "Product Viewed")) {
        live_viewed(live, event);

    } else if (live_is(event->name, "Product Added")) {
        live_cart(live, event, 1);

    } else if (live_is(event->name, "Product Removed")) {
        live_cart(live, event, 0);

    } else if (live_is(event->name, "Order Completed")) {
        if (live->orders < UINT32_MAX) {
            live->orders++;
        }

        /* What was in the cart has been bought. */
        live->cart_items = 0;
        live->cart_value = 0;
    }
}


void
tracker_live_add(
    tracker_live_t *live, tracker_event_t *event, uint32_t session_started_s)
{
    uint8_t uid_len;
    char    uid[TRACKER_LIVE_UID_SIZE];

    if (live->started_s != session_started_s || live->sn != event->sn) {
        live_restart(live, session_started_s, event->sn);
    }

    if (live->seq < UINT32_MAX) {
        live->seq++;
    }

    event->seq = live->seq;

    if (event->traffic != NULL && live->source.class == TRACKER_TRAFFIC_UNKNOWN)
    {
        live->source = event->traffic->kept;
    }

    if (event->rts_us > live->last_us) {
        live->last_us = event->rts_us;
    }

    if (live_is(event->type, "page")) {
        live_page(live, event);
    }

    if (event->name.len > 0) {
        live_named(live, event);
    }

    memset(uid, 0, sizeof(uid));
    uid_len = live_copy_id(uid, sizeof(uid), event->uid);
    if (uid_len > 0) {
        live->uid_len = uid_len;
        memcpy(live->uid, uid, sizeof(uid));
    }
}


void
tracker_live_merge(tracker_live_t *live, const tracker_live_t *other)
{
    tracker_live_t older;

    if (other->last_us > live->last_us) {
        older = *live;
        *live = *other;
    } else {
        older = *other;
    }

    if (live->uid_len == 0) {
        live->uid_len = older.uid_len;
        memcpy(live->uid, older.uid, sizeof(live->uid));
    }

    /* Counts of two sessions have nothing to do with each other. */
    if (live->started_s != older.started_s || live->sn != older.sn) {
        return;
    }

    if (older.seq > live->seq) {
        live->seq = older.seq;
    }

    if (older.pages > live->pages) {
        live->pages = older.pages;
    }

    if (live->source.class == TRACKER_TRAFFIC_UNKNOWN) {
        live->source = older.source;
    }
}


/* ---- writing ---- */

static char *
live_put(char *p, const char *name)
{
    size_t len;

    len = strlen(name);
    memcpy(p, name, len);

    return p + len;
}


static char *
live_number(char *p, uint64_t n)
{
    char   digits[LIVE_DIGITS_MAX];
    size_t i;

    i = LIVE_DIGITS_MAX;

    do {
        digits[--i] = (char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    memcpy(p, digits + i, LIVE_DIGITS_MAX - i);

    return p + (LIVE_DIGITS_MAX - i);
}


static char *
live_text(char *p, const char *end, const char *text, uint8_t len)
{
    tracker_str_t value = {text, len};

    return tracker_json_string(p, end, value, NULL);
}


static char *
live_items(char *p, const char *end, const tracker_live_t *live)
{
    unsigned i;

    p = live_put(p, ",\"items\":[");

    for (i = 0; i < live->nitems; i++) {
        if (i > 0) {
            *p++ = ',';
        }
        p = live_text(p, end, live->items[i], live->item_len[i]);
    }

    *p++ = ']';

    return p;
}


static size_t
live_bound(const tracker_live_t *live)
{
    size_t   n;
    unsigned i;

    n = live->category_len + live->entry_len + live->referrer_len
        + live->uid_len + live->source.source_len + live->source.medium_len
        + live->source.campaign_len;

    for (i = 0; i < live->nitems; i++) {
        n += live->item_len[i];
    }

    return LIVE_FIXED + 6 * n; /* a byte becomes at most \u00XX */
}


static char *
live_source(char *p, const char *end, const tracker_source_t *source)
{
    const char *name;

    if (source->class == TRACKER_TRAFFIC_UNKNOWN) {
        return p;
    }

    name = tracker_traffic_text(source->class);
    p = live_text(
        live_put(p, ",\"class\":"), end, name, (uint8_t) strlen(name));
    p = live_text(
        live_put(p, ",\"source\":"), end, source->source, source->source_len);
    p = live_text(
        live_put(p, ",\"medium\":"), end, source->medium, source->medium_len);

    return live_text(live_put(p, ",\"campaign\":"), end, source->campaign,
        source->campaign_len);
}


/*
 * The room for the worst case is asked for at once, so nothing after that can
 * fail: TRACKER_LIVE_JSON_MAX is more than any state needs.
 */
size_t
tracker_live_write(char *buf, size_t size, const tracker_live_t *live)
{
    char       *p;
    uint64_t    cents;
    const char *end;

    if (size < live_bound(live)) {
        return 0;
    }

    end = buf + size;
    p = live_number(live_put(buf, "{\"last\":"), live->last_us);
    p = live_number(live_put(p, ",\"started\":"), live->started_s);
    p = live_number(live_put(p, ",\"sn\":"), live->sn);
    p = live_number(live_put(p, ",\"seq\":"), live->seq);
    p = live_number(live_put(p, ",\"pages\":"), live->pages);
    p = live_number(live_put(p, ",\"cart_items\":"), live->cart_items);
    p = live_number(live_put(p, ",\"orders\":"), live->orders);

    cents = (uint64_t) (live->cart_value * 100 + 0.5);
    p = live_number(live_put(p, ",\"cart_value\":"), cents / 100);
    *p++ = '.';
    *p++ = (char) ('0' + cents / 10 % 10);
    *p++ = (char) ('0' + cents % 10);

    p = live_items(p, end, live);
    p = live_text(
        live_put(p, ",\"category\":"), end, live->category, live->category_len);
    p = live_text(
        live_put(p, ",\"entry\":"), end, live->entry, live->entry_len);
    p = live_text(
        live_put(p, ",\"referrer\":"), end, live->referrer, live->referrer_len);
    p = live_text(live_put(p, ",\"uid\":"), end, live->uid, live->uid_len);
    p = live_source(p, end, &live->source);
    *p++ = '}';

    return (size_t) (p - buf);
}


/* ---- reading ---- */

static tracker_result_e
live_read_u32(tracker_str_t value, uint32_t *number)
{
    uint64_t n;

    if (live_integer(value, UINT32_MAX, &n) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    *number = (uint32_t) n;

    return TRACKER_OK;
}


static tracker_result_e
live_read_text(tracker_str_t value, char *field, size_t size, uint8_t *len)
{
    size_t n;

    if (tracker_json_text(value, field, size, &n) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    *len = (uint8_t) n;

    return TRACKER_OK;
}


/* value is an array that tracker_json_next found valid. */
static tracker_result_e
live_read_items(tracker_live_t *live, tracker_str_t value)
{
    const char   *p, *end;
    tracker_str_t item;

    live->nitems = 0;
    p = value.data + 1;
    end = value.data + value.len;

    for (;;) {
        while (p < end && *p != '"' && *p != ']') {
            if (*p != ',' && *p != ' ' && *p != '\t' && *p != '\n'
                && *p != '\r') {
                return TRACKER_INVALID;
            }
            p++;
        }

        if (p == end || *p == ']') {
            return p == end ? TRACKER_INVALID : TRACKER_OK;
        }

        for (item.data = p++; p < end && *p != '"'; p++) {
            p += *p == '\\';
        }

        if (p >= end || live->nitems == TRACKER_LIVE_ITEMS) {
            return TRACKER_INVALID;
        }

        item.len = (size_t) (++p - item.data);
        if (live_read_text(item, live->items[live->nitems],
                TRACKER_LIVE_ITEM_SIZE, &live->item_len[live->nitems])
            != TRACKER_OK)
        {
            return TRACKER_INVALID;
        }

        live->nitems++;
    }
}


/* A class that only a newer node knows is none to us. */
static tracker_result_e
live_read_source(tracker_source_t *s, tracker_str_t key, tracker_str_t value)
{
    char    name[16];
    uint8_t i, len;
    if (live_is(key, "source")) {
        return live_read_text(
            value, s->source, sizeof(s->source), &s->source_len);
    }

    if (live_is(key, "medium")) {
        return live_read_text(
            value, s->medium, sizeof(s->medium), &s->medium_len);
    }

    if (live_is(key, "campaign")) {
        return live_read_text(
            value, s->campaign, sizeof(s->campaign), &s->campaign_len);
    }

    len = 0;
    if (live_is(key, "class")) {
        (void) live_read_text(value, name, sizeof(name), &len);
    }
    for (i = TRACKER_TRAFFIC_DIRECT; len > 0 && i > 0; i--) {
        if (strlen(tracker_traffic_text(i)) == len
            && memcmp(tracker_traffic_text(i), name, len) == 0)
        {
            s->class = i;
        }
    }

    return TRACKER_OK;
}


/* Members that a newer node may have added are passed over. */
static tracker_result_e
live_read_member(tracker_live_t *live, const tracker_json_member_t *member)
{
    tracker_str_t key = member->key;
    tracker_str_t value = member->value;

    if (live_is(key, "last")) {
        return live_integer(value, INT64_MAX, &live->last_us);
    }

    if (live_is(key, "started")) {
        return live_read_u32(value, &live->started_s);
    }

    if (live_is(key, "sn")) {
        return live_read_u32(value, &live->sn);
    }

    if (live_is(key, "seq")) {
        return live_read_u32(value, &live->seq);
    }

    if (live_is(key, "pages")) {
        return live_read_u32(value, &live->pages);
    }

    if (live_is(key, "cart_items")) {
        return live_read_u32(value, &live->cart_items);
    }

    if (live_is(key, "orders")) {
        return live_read_u32(value, &live->orders);
    }

    if (live_is(key, "cart_value")) {
        return live_amount(value, LIVE_VALUE_MAX, &live->cart_value);
    }

    if (live_is(key, "items")) {
        return member->type == '[' ? live_read_items(live, value)
                                   : TRACKER_INVALID;
    }

    if (live_is(key, "category")) {
        return live_read_text(
            value, live->category, sizeof(live->category), &live->category_len);
    }

    if (live_is(key, "entry")) {
        return live_read_text(
            value, live->entry, sizeof(live->entry), &live->entry_len);
    }

    if (live_is(key, "referrer")) {
        return live_read_text(
            value, live->referrer, sizeof(live->referrer), &live->referrer_len);
    }

    if (live_is(key, "uid")) {
        return live_read_text(
            value, live->uid, sizeof(live->uid), &live->uid_len);
    }

    return live_read_source(&live->source, key, value);
}


tracker_result_e
tracker_live_read(tracker_live_t *live, tracker_str_t json)
{
    size_t                pos;
    tracker_live_t        read;
    tracker_result_e      rc;
    tracker_json_member_t member;

    if (json.len > TRACKER_LIVE_JSON_MAX) {
        return TRACKER_INVALID;
    }

    memset(&read, 0, sizeof(read));
    pos = 0;

    while ((rc = tracker_json_next(json, &pos, &member)) == TRACKER_OK) {
        if (live_read_member(&read, &member) != TRACKER_OK) {
            return TRACKER_INVALID;
        }
    }

    if (rc != TRACKER_DECLINED || read.last_us == 0 || read.started_s == 0) {
        return TRACKER_INVALID;
    }

    read.cart_value = live_cents(read.cart_value);
    *live = read;

    return TRACKER_OK;
}
