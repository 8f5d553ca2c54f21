/*
 * test_event.c - events as docs/events.md has them, of any size and content.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define URL 8192

#define str_of(text) ((tracker_str_t){text, sizeof(text) - 1})

static const uint8_t id[16] = {0x01, 0x93, 0x4b, 0x7e, 0x6f, 0x2a, 0x7c, 0x3d,
    0x8e, 0x4f, 0x5a, 0x6b, 0x7c, 0x8d, 0x9e, 0x0f};

static const tracker_prop_t props[] = {
    {{"product_id", 10}, {"A13", 3}},
    {{"none", 4}, {NULL, 0}},
    {{"note", 4}, {"", 0}},
    {{"price", 5}, {"28", 2}},
};

static const tracker_shown_t shown[] = {
    {{"home-hero", 9}, {"welcome", 7}, {"a", 1}, 0},
    {{"side", 4}, {"sale", 4}, {"b\"", 2}, 1},
};


static tracker_event_t
full_event(void)
{
    tracker_event_t event;

    memset(&event, 0, sizeof(event));
    event.id = event.vid = event.sid = id;
    event.site = str_of("demo");
    event.type = str_of("page");
    event.name = str_of("Product Viewed");
    event.src = str_of("origin");
    event.uid = str_of("12347");
    event.rts_us = 1764000000123456;
    event.sn = 3;
    event.seq = 7;
    event.ip = str_of("127.0.0.1");
    event.ua = str_of("Mozilla/5.0 \"x\"");
    event.lang = str_of("en-GB");
    event.ref = str_of("https://search.example/");
    event.rid = str_of("b7");
    event.method = str_of("GET");
    event.host = str_of("shop.example");
    event.path = str_of("/p/A13.html");
    event.query = str_of("a=1");
    event.status = 200;
    event.duration_ms = 3;
    event.bytes = 1290;
    event.props = props;
    event.nprops = 4;
    event.shown = shown;
    event.nshown = 2;

    return event;
}


static const char full_text[] =
    "{\"id\":\"01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f\",\"site\":\"demo\","
    "\"type\":\"page\",\"name\":\"Product Viewed\",\"rts\":1764000000123456,"
    "\"vid\":\"01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f\","
    "\"sid\":\"01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f\",\"sn\":3,\"seq\":7,"
    "\"uid\":\"12347\",\"src\":\"origin\",\"ctx\":{\"ip\":\"127.0.0.1\","
    "\"ua\":\"Mozilla/5.0 \\\"x\\\"\",\"lang\":\"en-GB\","
    "\"ref\":\"https://search.example/\"},\"req\":{\"rid\":\"b7\","
    "\"method\":\"GET\",\"host\":\"shop.example\",\"path\":\"/p/A13.html\","
    "\"query\":\"a=1\",\"status\":200,\"ms\":3,\"bytes\":1290},"
    "\"props\":{\"product_id\":\"A13\",\"note\":\"\",\"price\":\"28\"},"
    "\"dec\":[{\"slot\":\"home-hero\",\"campaign\":\"welcome\",\"variant\":"
    "\"a\"},"
    "{\"slot\":\"side\",\"campaign\":\"sale\",\"variant\":\"b\\\"\","
    "\"aborted\":true}]}";


static void
test_full(void **state)
{
    char            buf[4096];
    size_t          n;
    unsigned        replaced;
    tracker_event_t event;

    (void) state;
    event = full_event();
    replaced = 2;
    n = tracker_event_write(buf, sizeof(buf), &event, &replaced);
    assert_int_equal(n, sizeof(full_text) - 1);
    assert_memory_equal(buf, full_text, n);
    assert_int_equal(replaced, 2);
    assert_true(tracker_event_bound(&event) >= n);
}


static void
test_least(void **state)
{
    char              buf[4096];
    size_t            n;
    tracker_event_t   event;
    static const char text[] =
        "{\"id\":\"01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f\",\"rts\":0}";

    (void) state;
    memset(&event, 0, sizeof(event));
    event.id = id;
    event.name = str_of("");
    n = tracker_event_write(buf, sizeof(buf), &event, NULL);
    assert_int_equal(n, sizeof(text) - 1);
    assert_memory_equal(buf, text, n);

    /* Absent first members leave no comma behind. */
    event.ref = str_of("r");
    event.query = str_of("q");
    event.status = 200;
    event.props = props + 1;
    event.nprops = 1;
    n = tracker_event_write(buf, sizeof(buf), &event, NULL);
    buf[n] = '\0';
    assert_non_null(strstr(buf, "\"rts\":0,\"ctx\":{\"ref\":\"r\"},\"req\":{"
                                "\"query\":\"q\",\"status\""));
    assert_null(strstr(buf, "props"));
}


static void
test_every_size(void **state)
{
    char           *buf;
    size_t          size, n;
    tracker_event_t event;

    (void) state;
    event = full_event();
    n = sizeof(full_text) - 1;

    for (size = 0; size <= n; size++) {
        buf = malloc(size + 1);
        assert_int_equal(
            tracker_event_write(buf, size, &event, NULL), size == n ? n : 0);
        free(buf);
    }
}


static void
test_numbers(void **state)
{
    char            buf[4096], expected[128];
    size_t          i, n;
    tracker_event_t event;
    const uint64_t  numbers[] = {1, 9, 10, 99, 100, 101, 999, 1000, 123456789,
         UINT32_MAX, 9999999999, UINT64_MAX};

    (void) state;
    event = full_event();

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        event.bytes = numbers[i];
        event.status = (uint32_t) numbers[i];
        n = tracker_event_write(buf, sizeof(buf), &event, NULL);
        buf[n] = '\0';
        sprintf(expected, "\"status\":%u,\"ms\":3,\"bytes\":%llu}",
            event.status, (unsigned long long) event.bytes);
        assert_non_null(strstr(buf, expected));
    }
}


/* Hostile bytes everywhere: still one line of valid JSON within the bound. */
static void
test_hostile(void **state)
{
    char           *text, *buf;
    size_t          i, n, bound;
    json_t         *value;
    unsigned        round, replaced;
    tracker_prop_t  many[TRACKER_EVENT_PROPS_MAX];
    tracker_shown_t slots[TRACKER_EVENT_SLOTS_MAX];
    tracker_event_t event;
    tracker_str_t   large;

    (void) state;
    text = malloc(URL);
    large = (tracker_str_t){text, 300};

    for (i = 0; i < TRACKER_EVENT_PROPS_MAX; i++) {
        many[i].key = many[i].value = large;
    }
    for (i = 0; i < TRACKER_EVENT_SLOTS_MAX; i++) {
        slots[i].slot = slots[i].campaign = slots[i].variant = large;
    }

    for (round = 0; round < 300; round++) {
        for (i = 0; i < URL; i++) {
            text[i] = (char) (round == 0 ? 1 : round == 1 ? 0xff : random());
        }

        event = full_event();
        event.site = event.type = event.name = event.src = event.uid = large;
        event.ip = event.lang = event.rid = event.method = event.host = large;
        event.ua = event.ref = event.query = large;
        event.path = (tracker_str_t){text, URL};
        event.rts_us = event.bytes = INT64_MAX; /* what jansson reads */
        event.sn = event.seq = event.status = event.duration_ms = UINT32_MAX;
        event.props = many;
        event.nprops = TRACKER_EVENT_PROPS_MAX;
        event.shown = slots;
        event.nshown = TRACKER_EVENT_SLOTS_MAX;

        bound = tracker_event_bound(&event);
        buf = malloc(bound);
        replaced = 0;
        n = tracker_event_write(buf, bound, &event, &replaced);
        assert_true(n > 0 && n <= bound);
        assert_null(memchr(buf, '\n', n));
        assert_null(memchr(buf, '\0', n));
        assert_int_equal(replaced == 0, round == 0);

        value = json_loadb(buf, n, 0, NULL);
        assert_non_null(value);
        assert_int_equal(
            json_array_size(json_object_get(value, "dec")), event.nshown);
        json_decref(value);
        free(buf);
    }

    free(text);
}


/* docs/events.md: 8 KB URLs with every byte escaped fit a record. */
static void
test_long_url_fits(void **state)
{
    char           *text, *buf;
    tracker_event_t event;

    (void) state;
    text = malloc(URL);
    buf = malloc(TRACKER_EVENT_MAX);
    memset(text, 2, URL);
    event = full_event();
    event.path = event.ref = (tracker_str_t){text, URL};
    assert_true(tracker_event_bound(&event) <= TRACKER_EVENT_MAX);
    assert_true(
        tracker_event_write(buf, TRACKER_EVENT_MAX, &event, NULL) > 12 * URL);
    free(text);
    free(buf);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_url_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
