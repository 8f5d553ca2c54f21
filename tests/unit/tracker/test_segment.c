/*
 * test_segment.c - events of Segment's protocol, and what hit.c makes of them.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


static char          room[TRACKER_HIT_ROOM];
static tracker_hit_t hit;


static tracker_str_t
str(const char *text)
{
    return (tracker_str_t){text, strlen(text)};
}


static const char *
text(tracker_str_t value)
{
    static char buf[8][512];
    static int  n;

    n = (n + 1) % 8;
    (void) snprintf(buf[n], sizeof(buf[n]), "%.*s", (int) value.len,
        value.data != NULL ? value.data : "");

    return buf[n];
}


static const char *
reads(const char *json)
{
    tracker_result_e rc;

    rc = tracker_segment_read(&hit, room, str(json), str(""));

    return rc == TRACKER_OK ? "ok" : hit.reason;
}


static void
test_members(void **state)
{
    (void) state;

    assert_string_equal(
        reads("{\"type\":\"track\",\"event\":\"A \\\"b\\\"\",\"messageId\":"
              "\"m1\",\"userId\":77,\"anonymousId\":\"an\",\"properties\":{"
              "\"product_id\":\"p\",\"price\":9.90,\"quantity\":null},"
              "\"context\":{\"userAgent\":\"UA\",\"locale\":\"de\",\"ip\":"
              "\"::1\",\"sessionId\":5,\"library\":{\"name\":\"l\",\"version\":"
              "\"v\"},\"page\":{\"url\":\"http://h:81/p?q#f\",\"referrer\":"
              "\"$direct\"}},\"timestamp\":\"2026-01-02T00:00:00Z\",\"sentAt\":"
              "\"2026-01-02T00:00:01Z\"}"),
        "ok");
    assert_string_equal(text(hit.event.type), "track");
    assert_string_equal(text(hit.event.name), "A \"b\"");
    assert_string_equal(text(hit.event.mid), "m1");
    assert_string_equal(text(hit.event.uid), "77");
    assert_string_equal(text(hit.event.anon), "an");
    assert_string_equal(text(hit.event.ua), "UA");
    assert_string_equal(text(hit.event.lang), "de");
    assert_string_equal(text(hit.event.ip), "::1");
    assert_string_equal(text(hit.event.lib), "l");
    assert_string_equal(text(hit.event.lib_version), "v");
    assert_string_equal(text(hit.event.host), "h");
    assert_string_equal(text(hit.event.path), "/p");
    assert_string_equal(text(hit.event.query), "q");
    assert_null(hit.event.ref.data);
    assert_string_equal(text(hit.session), "5");
    assert_string_equal(text(hit.event.json),
        "{\"product_id\":\"p\",\"price\":9.90,\"quantity\":null}");
    assert_int_equal(hit.event.nprops, 2);
    assert_string_equal(text(hit.props[1].value), "9.90");
    assert_int_equal(hit.sent_us - hit.time_us, 1000000);
}


static void
test_properties_by_type(void **state)
{
    static const char *const cases[][2] = {
        {"{\"type\":\"page\",\"name\":\"N\",\"category\":\"C\"}",
            "{\"name\":\"N\",\"category\":\"C\"}"},
        {"{\"type\":\"page\",\"name\":\"N\",\"properties\":{\"name\":\"M\"}}",
            "{\"name\":\"M\"}"},
        {"{\"type\":\"page\"}", ""},
        {"{\"type\":\"identify\",\"traits\":{\"a\":1}}", "{\"a\":1}"},
        {"{\"type\":\"identify\",\"traits\":{},\"context\":{\"traits\":"
         "{\"a\":2}}}",
            "{\"a\":2}"},
        {"{\"type\":\"group\",\"groupId\":\"g\",\"traits\":{\"a\":1}}",
            "{\"group_id\":\"g\",\"a\":1}"},
        {"{\"type\":\"alias\",\"previousId\":\"o\"}",
            "{\"previous_id\":\"o\"}"},
        {"{\"type\":\"track\",\"event\":\"e\",\"properties\":[1]}", ""},
    };
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(reads(cases[i][0]), "ok");
        assert_string_equal(text(hit.event.json), cases[i][1]);
    }

    assert_int_equal(
        tracker_segment_read(&hit, room,
            str("{\"type\":\"page\",\"name\":\"Order Completed\"}"),
            str("track")),
        TRACKER_OK);
    assert_string_equal(text(hit.event.type), "page");
    assert_null(hit.event.name.data);
}


static void
test_refusals(void **state)
{
    char *large;

    (void) state;

    assert_string_equal(reads("{"), "it is not JSON");
    assert_string_equal(reads("7"), "it is no object");
    assert_string_equal(reads("{}"), "it has no type");
    assert_string_equal(reads("{\"type\":\"track\",\"event\":7}"),
        "it is a track without the name of an event");
    assert_string_equal(reads("{\"type\":\"track\",\"event\":\"\"}"),
        "it is a track without the name of an event");

    large = malloc(TRACKER_HIT_MAX + 2);
    memset(large, ' ', TRACKER_HIT_MAX + 1);
    large[TRACKER_HIT_MAX + 1] = '\0';
    assert_string_equal(reads(large), "it is larger than 64 KB");
    free(large);
}


/* Each byte may become three, and the room still holds what follows. */
static void
test_largest(void **state)
{
    char  *json, *out;
    size_t n;

    (void) state;

    json = malloc(TRACKER_HIT_MAX);
    n = (size_t) sprintf(
        json, "{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"a\":\"");
    memset(json + n, 0xff, TRACKER_HIT_MAX - n);
    memcpy(json + TRACKER_HIT_MAX - 3, "\"}}", 3);

    assert_int_equal(tracker_segment_read(&hit, room,
                         (tracker_str_t){json, TRACKER_HIT_MAX}, str("")),
        TRACKER_OK);
    assert_int_equal(hit.replaced, TRACKER_HIT_MAX - n - 3);

    out = malloc(TRACKER_EVENT_MAX);
    hit.event.id = (const uint8_t *) "0123456789abcdef";
    assert_int_equal(
        tracker_event_write(out, TRACKER_EVENT_MAX, &hit.event, NULL), 0);
    free(out);
    free(json);
}


static void
test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t     us;
    } times[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-02", INT64_C(86400000000)},
        {"2026-11-22T03:58:13.428Z", INT64_C(1795319893428000)},
        {"2026-11-22T04:58:13.428+01:00", INT64_C(1795319893428000)},
        {"2026-11-21T22:28:13.428123-0530", INT64_C(1795319893428123)},
        {"2024-02-29 12:00:00", INT64_C(1709208000000000)},
        {"1795319893428", INT64_C(1795319893428000)},
        {"1795319893428.7", INT64_C(1795319893428000)},
        {"2026-13-01T00:00:00Z", 0},
        {"2026-11-22T03:58:13Zulu", 0},
        {"2026-11-22T25:00:00Z", 0},
        {"99999999999999999999", 0},
        {"", 0},
        {"now", 0},
    };
    size_t         i;
    const uint64_t now = 1795319900000000;

    (void) state;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_int_equal(tracker_hit_iso(str(times[i].text)), times[i].us);
    }

    hit.time_us = (int64_t) now - 3600000000;
    hit.sent_us = 0;
    tracker_hit_time(&hit, (int64_t) now - 3600000000 + 5, now);
    assert_int_equal(hit.event.ts_us, now - 5);
    tracker_hit_time(&hit, 0, now);
    assert_int_equal(hit.event.ts_us, now - 3600000000);
    hit.sent_us = 7; /* nonsense moves nothing */
    tracker_hit_time(&hit, 0, now);
    assert_int_equal(hit.event.ts_us, now - 3600000000);
    hit.time_us = (int64_t) now + INT64_C(86400000001);
    tracker_hit_time(&hit, 0, now);
    assert_int_equal(hit.event.ts_us, 0);
}


static void
test_ids(void **state)
{
    uint8_t a[16], b[16];

    (void) state;

    tracker_hit_uuid(a, str("shop"), "anon", str("x"));
    tracker_hit_uuid(b, str("shop"), "anon", str("x"));
    assert_memory_equal(a, b, 16);
    assert_int_equal(a[6] >> 4, 8);
    assert_int_equal(a[8] >> 6, 2);
    tracker_hit_uuid(b, str("shop"), "user", str("x"));
    assert_memory_not_equal(a, b, 16);
    tracker_hit_uuid(b, str("other"), "anon", str("x"));
    assert_memory_not_equal(a, b, 16);
}


static void
test_refusal_record(void **state)
{
    char              out[512];
    size_t            len;
    tracker_refusal_t refusal;

    (void) state;

    memset(&refusal, 0, sizeof(refusal));
    memset(&hit, 0, sizeof(hit));
    hit.event.id = (const uint8_t *) "0123456789abcdef";
    hit.event.site = str("s");
    hit.event.src = str("client");
    hit.event.rts_us = 5;
    hit.event.trusted = 1;
    refusal.hit = &hit;
    refusal.protocol = str("segment");
    refusal.reason = "why";
    refusal.raw = str("{\"");
    refusal.size = 2;

    len = tracker_refusal_write(out, sizeof(out), &refusal);
    out[len] = '\0';
    assert_string_equal(out,
        "{\"id\":\"30313233-3435-3637-3839-616263646566\",\"site\":\"s\","
        "\"type\":\"reject\",\"rts\":5,\"src\":\"client\",\"reason\":\"why\","
        "\"protocol\":\"segment\",\"size\":2,\"trusted\":true,"
        "\"raw\":\"{\\\"\"}");

    while (len > 0) {
        assert_int_equal(tracker_refusal_write(out, --len, &refusal), 0);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_properties_by_type),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_refusal_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
