/*
 * test_live.c - the running session, moved by events, written, read, merged.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>


#define START 1764000000u
#define AT    (START * UINT64_C(1000000))

#define str_of(text) ((tracker_str_t){text, strlen(text)})
#define has(field, text)                                                       \
    (assert_int_equal(live.field##_len, strlen(text)),                         \
        assert_memory_equal(live.field, text, strlen(text)))


static tracker_event_t
event_of(const char *type, const char *name)
{
    tracker_event_t event;

    memset(&event, 0, sizeof(event));
    event.type = str_of(type);
    event.name = str_of(name);
    event.sn = 1;
    event.rts_us = AT + 1;

    return event;
}


static void
add_product(tracker_live_t *live, const char *name, const char *product,
    const char *price, const char *quantity)
{
    tracker_prop_t  props[4];
    tracker_event_t event;

    memset(props, 0, sizeof(props));
    event = event_of("track", name);
    props[0].key = str_of("product_id");
    props[1].key = str_of("price");
    props[2].key = str_of("quantity");
    props[3].key = str_of("category");

    if (product != NULL) {
        props[0].value = str_of(product);
    }
    if (price != NULL) {
        props[1].value = str_of(price);
    }
    if (quantity != NULL) {
        props[2].value = str_of(quantity);
    }
    props[3].value = str_of("trousers");

    event.props = props;
    event.nprops = 4;
    tracker_live_add(live, &event, START);
}


static void
test_pages(void **state)
{
    tracker_live_t  live;
    tracker_event_t event;

    (void) state;
    memset(&live, 0, sizeof(live));
    event = event_of("page", "");
    event.path = str_of("/start");
    event.ref = str_of("https://me:pw@search.example:8080/q?x=@y:1");
    tracker_live_add(&live, &event, START);
    assert_int_equal(event.seq, 1);
    assert_int_equal(live.started_s, START);
    assert_int_equal(live.sn, 1);
    assert_int_equal(live.pages, 1);
    has(entry, "/start");
    has(referrer, "search.example");

    event.path = str_of("/next");
    event.ref = str_of("https://other.example/");
    event.rts_us = AT + 9;
    tracker_live_add(&live, &event, START);
    assert_int_equal(event.seq, 2);
    assert_int_equal(live.pages, 2);
    assert_int_equal(live.last_us, AT + 9);
    has(entry, "/start");
    has(referrer, "search.example");

    event = event_of("track", "Something");
    tracker_live_add(&live, &event, START);
    assert_int_equal(live.seq, 3);
    assert_int_equal(live.pages, 2);
    assert_int_equal(live.last_us, AT + 9);

    live.seq = live.pages = UINT32_MAX;
    event = event_of("page", "");
    tracker_live_add(&live, &event, START);
    assert_int_equal(event.seq, UINT32_MAX);
    assert_int_equal(live.pages, UINT32_MAX);
}


static void
test_referrer(void **state)
{
    size_t             i;
    tracker_live_t     live;
    tracker_event_t    event;
    static const char *cases[][2] = {{"https://a.example/", "a.example"},
        {"https://a.example", "a.example"}, {"http://a?x", "a"},
        {"http://a#x", "a"}, {"https://[::1]:80/", "[::1]"},
        {"https://[::1", "["}, {"https://u@v@a:1/", "a"}, {"://", ""},
        {"a.example", ""}, {"", ""}, {"android-app://com.x/", "com.x"}};

    (void) state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&live, 0, sizeof(live));
        event = event_of("page", "");
        event.ref = str_of(cases[i][0]);
        tracker_live_add(&live, &event, START);
        has(referrer, cases[i][1]);
    }
}


static void
test_new_session(void **state)
{
    tracker_live_t  live;
    tracker_event_t event;

    (void) state;
    memset(&live, 0, sizeof(live));
    event = event_of("page", "");
    event.uid = str_of("12347");
    tracker_live_add(&live, &event, START);
    add_product(&live, "Product Viewed", "A", NULL, NULL);
    add_product(&live, "Product Added", "A", "5", NULL);
    has(uid, "12347");

    event = event_of("page", "");
    event.sn = 2;
    event.path = str_of("/again");
    tracker_live_add(&live, &event, START + 5000);
    assert_int_equal(event.seq, 1);
    assert_int_equal(live.sn, 2);
    assert_int_equal(live.started_s, START + 5000);
    assert_int_equal(live.nitems, 0);
    assert_int_equal(live.cart_items, 0);
    assert_true(live.cart_value == 0);
    has(entry, "/again");
    has(uid, "12347");

    event.uid = str_of("9");
    tracker_live_add(&live, &event, START + 5000);
    has(uid, "9");
}


static void
test_items(void **state)
{
    char           id[40];
    unsigned       i;
    tracker_live_t live;

    (void) state;
    memset(&live, 0, sizeof(live));

    for (i = 0; i < 12; i++) {
        sprintf(id, "item%u", i);
        add_product(&live, "Product Viewed", id, NULL, NULL);
    }

    assert_int_equal(live.nitems, TRACKER_LIVE_ITEMS);
    assert_memory_equal(live.items[0], "item11", 6);
    assert_memory_equal(live.items[7], "item4", 5);
    has(category, "trousers");

    /* Seen again: to the front, and none twice. */
    add_product(&live, "Product Viewed", "item6", NULL, NULL);
    assert_int_equal(live.nitems, TRACKER_LIVE_ITEMS);
    assert_memory_equal(live.items[0], "item6", 5);
    assert_int_equal(live.item_len[0], 5);
    assert_memory_equal(live.items[1], "item11", 6);
    assert_memory_equal(live.items[5], "item7", 5);
    assert_memory_equal(live.items[6], "item5", 5);
    assert_memory_equal(live.items[7], "item4", 5);

    /* Half an id is another id. */
    memset(id, 'x', 33);
    id[33] = '\0';
    add_product(&live, "Product Viewed", id, NULL, NULL);
    add_product(&live, "Product Viewed", "", NULL, NULL);
    add_product(&live, "Product Viewed", NULL, NULL, NULL);
    assert_memory_equal(live.items[0], "item6", 5);
    id[32] = '\0';
    add_product(&live, "Product Viewed", id, NULL, NULL);
    assert_int_equal(live.item_len[0], 32);
}


static void
test_cart(void **state)
{
    tracker_live_t live;

    (void) state;
    memset(&live, 0, sizeof(live));
    add_product(&live, "Product Added", "A", "19.99", "3");
    assert_int_equal(live.cart_items, 3);
    assert_true(live.cart_value == 59.97);
    add_product(&live, "Product Added", "B", "0.03", NULL);
    assert_int_equal(live.cart_items, 4);
    assert_true(live.cart_value == 60.0);
    add_product(&live, "Product Removed", "A", "19.99", "1");
    assert_int_equal(live.cart_items, 3);
    assert_true(live.cart_value == 40.01);

    /* Never below nothing, in neither. */
    add_product(&live, "Product Removed", "A", "1000", "1");
    assert_int_equal(live.cart_items, 2);
    assert_true(live.cart_value == 0);
    add_product(&live, "Product Removed", "A", "1", "9");
    assert_int_equal(live.cart_items, 0);

    /* Absurd quantities change nothing, absurd prices count as none. */
    add_product(&live, "Product Added", "A", "5", "-1");
    add_product(&live, "Product Added", "A", "5", "1000001");
    add_product(&live, "Product Added", "A", "5", "1e3");
    assert_int_equal(live.cart_items, 0);
    add_product(&live, "Product Added", "A", "-5", "1");
    add_product(&live, "Product Added", "A", "1e9", "1");
    add_product(&live, "Product Added", "A", "nan", "1");
    add_product(&live, "Product Added", "A", "1.2.3", "1");
    add_product(&live, "Product Added", "A", "99999999999", "1");
    add_product(&live, "Product Added", "A", ".5", "1");
    add_product(&live, "Product Added", "A", "5.", "1");
    assert_int_equal(live.cart_items, 7);
    assert_true(live.cart_value == 0);

    add_product(&live, "Product Added", "A", "1000000000", "1000000");
    assert_true(live.cart_value == 1e12);
    live.cart_items = UINT32_MAX;
    add_product(&live, "Product Added", "A", "1", "1");
    assert_int_equal(live.cart_items, UINT32_MAX);

    add_product(&live, "Order Completed", NULL, NULL, NULL);
    assert_int_equal(live.orders, 1);
    assert_int_equal(live.cart_items, 0);
    assert_true(live.cart_value == 0);
}


static tracker_live_t
live_full(void)
{
    char            text[200];
    unsigned        i;
    tracker_live_t  live;
    tracker_event_t event;

    memset(&live, 0, sizeof(live));
    memset(text, 1, sizeof(text));
    event = event_of("page", "");
    event.path = (tracker_str_t){text, sizeof(text)};
    event.uid = (tracker_str_t){text, 64};
    tracker_live_add(&live, &event, START);

    for (i = 0; i < TRACKER_LIVE_ITEMS; i++) {
        memset(text, 2 + (int) i, 32);
        text[32] = '\0';
        add_product(&live, "Product Viewed", text, NULL, NULL);
    }
    live.category_len = 32;
    memset(live.category, 3, 32);
    live.referrer_len = 64;
    memset(live.referrer, 3, 64);
    live.cart_items = live.orders = live.seq = live.pages = UINT32_MAX;
    live.cart_value = 1e12;
    live.last_us = INT64_MAX;

    return live;
}


static void
test_round_trip(void **state)
{
    char           buf[TRACKER_LIVE_JSON_MAX], again[TRACKER_LIVE_JSON_MAX];
    size_t         n, size;
    json_t        *value;
    tracker_live_t live, back;

    (void) state;
    live = live_full();
    n = tracker_live_write(buf, sizeof(buf), &live);
    assert_true(n > 2500 && n <= sizeof(buf));
    value = json_loadb(buf, n, 0, NULL);
    assert_non_null(value);
    assert_int_equal(json_array_size(json_object_get(value, "items")), 8);
    json_decref(value);

    memset(&back, 0xee, sizeof(back));
    assert_int_equal(
        tracker_live_read(&back, (tracker_str_t){buf, n}), TRACKER_OK);
    assert_memory_equal(&back, &live, sizeof(live));
    assert_int_equal(tracker_live_write(again, sizeof(again), &back), n);
    assert_memory_equal(buf, again, n);

    for (size = 0; size < n; size++) {
        assert_int_equal(tracker_live_write(again, size, &live), 0);
        assert_int_equal(tracker_live_read(&back, (tracker_str_t){buf, size}),
            TRACKER_INVALID);
    }

    /* Bytes that are not text do not grow into something unreadable. */
    memset(&live, 0, sizeof(live));
    add_product(&live, "Product Viewed", "\xff\xc3\xbc\xe2\x82", NULL, NULL);
    assert_memory_equal(live.items[0], "?\xc3\xbc??", 5);
    n = tracker_live_write(buf, sizeof(buf), &live);
    assert_int_equal(
        tracker_live_read(&back, (tracker_str_t){buf, n}), TRACKER_OK);
    assert_memory_equal(&back, &live, sizeof(live));
}


/* A text is cut behind a whole character. */
static void
test_cut(void **state)
{
    char            text[80];
    tracker_live_t  live;
    tracker_event_t event;

    (void) state;
    memset(&live, 0, sizeof(live));
    memset(text, 'a', 63);
    strcpy(text + 63, "\xc3\xbc");
    event = event_of("page", "");
    event.path = str_of(text);
    tracker_live_add(&live, &event, START);
    assert_int_equal(live.entry_len, 63);

    memset(&live, 0, sizeof(live));
    event.path = str_of(text + 1);
    tracker_live_add(&live, &event, START);
    assert_int_equal(live.entry_len, 64);
}


static void
test_read_refuses(void **state)
{
    char               large[TRACKER_LIVE_JSON_MAX + 16];
    size_t             i;
    tracker_live_t     live, before;
    static const char *bad[] = {"", "{}", "[]", "{\"last\":1}",
        "{\"started\":1}", "{\"last\":-1,\"started\":1}",
        "{\"last\":1.5,\"started\":1}", "{\"last\":\"1\",\"started\":1}",
        "{\"last\":1,\"started\":4294967296}",
        "{\"last\":9223372036854775808,\"started\":1}",
        "{\"last\":1,\"started\":1,\"seq\":null}",
        "{\"last\":1,\"started\":1,\"cart_value\":-1}",
        "{\"last\":1,\"started\":1,\"cart_value\":1e3}",
        "{\"last\":1,\"started\":1,\"cart_value\":9000000000000}",
        "{\"last\":1,\"started\":1,\"items\":1}",
        "{\"last\":1,\"started\":1,\"items\":[1]}",
        "{\"last\":1,\"started\":1,\"items\":[[]]}",
        "{\"last\":1,\"started\":1,\"items\":{\"a\":1}}",
        "{\"last\":1,\"started\":1,\"items\":[\"1\",\"2\",\"3\",\"4\",\"5\","
        "\"6\",\"7\",\"8\",\"9\"]}",
        "{\"last\":1,\"started\":1,\"items\":"
        "[\"123456789012345678901234567890123\"]}",
        "{\"last\":1,\"started\":1,\"category\":"
        "\"123456789012345678901234567890123\"}",
        "{\"last\":1,\"started\":1,\"uid\":7}",
        "{\"last\":1,\"started\":1,\"uid\":\"\\u0000\"}",
        "{\"last\":1,\"started\":1} "
        "x"};

    (void) state;
    memset(&live, 7, sizeof(live));
    before = live;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (tracker_live_read(&live, str_of(bad[i])) != TRACKER_INVALID) {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_memory_equal(&live, &before, sizeof(live));
    }

    memset(large, ' ', sizeof(large));
    memcpy(large, "{\"last\":1,\"started\":1", 21);
    large[TRACKER_LIVE_JSON_MAX] = '}';
    assert_int_equal(tracker_live_read(&live,
                         (tracker_str_t){large, TRACKER_LIVE_JSON_MAX + 1}),
        TRACKER_INVALID);

    /* Members of a newer node are passed over. */
    assert_int_equal(
        tracker_live_read(&live,
            str_of("{\"new\":[{}],\"last\":1,\"started\":2,\"items\":[ \"a\" , "
                   "\"\\\"]\" ],\"sn\":3}")),
        TRACKER_OK);
    assert_int_equal(live.last_us, 1);
    assert_int_equal(live.started_s, 2);
    assert_int_equal(live.sn, 3);
    assert_int_equal(live.nitems, 2);
    assert_memory_equal(live.items[1], "\"]", 2);
}


static void
test_merge(void **state)
{
    tracker_live_t a, b, live;

    (void) state;
    memset(&a, 0, sizeof(a));
    add_product(&a, "Product Viewed", "A", NULL, NULL);
    b = a;
    add_product(&b, "Product Viewed", "B", NULL, NULL);
    a.last_us = AT + 10;
    a.seq = 5;
    a.pages = 2;
    b.last_us = AT + 20;
    b.seq = 3;
    b.pages = 4;
    a.uid_len = 1;
    a.uid[0] = '7';

    live = a;
    tracker_live_merge(&live, &b);
    assert_int_equal(live.last_us, AT + 20);
    assert_int_equal(live.seq, 5);
    assert_int_equal(live.pages, 4);
    assert_memory_equal(live.items[0], "B", 1);
    has(uid, "7");

    live = b;
    tracker_live_merge(&live, &a);
    assert_int_equal(live.seq, 5);
    assert_int_equal(live.pages, 4);
    assert_memory_equal(live.items[0], "B", 1);
    has(uid, "7");

    /* Of another session only the newer counts. */
    live = b;
    a.started_s++;
    tracker_live_merge(&live, &a);
    assert_int_equal(live.seq, 3);
    live = b;
    a.last_us = AT + 30;
    tracker_live_merge(&live, &a);
    assert_int_equal(live.seq, 5);
    assert_int_equal(live.pages, 2);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_referrer),
        cmocka_unit_test(test_new_session),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_cart),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_read_refuses),
        cmocka_unit_test(test_merge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
