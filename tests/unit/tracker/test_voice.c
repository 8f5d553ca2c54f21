/*
 * test_voice.c - what the shop's two headers say, well and badly put.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


typedef tracker_result_e (*parse_pt)(
    tracker_str_t value, char *buf, size_t size, tracker_voice_t *voice);

/* "name|key=value|key=value", or "!" for a header that is refused. */
static void
expect(parse_pt parse, const char *header, const char *wanted)
{
    char            *value, *buf, text[65536];
    size_t           len, n;
    unsigned         i;
    tracker_voice_t  voice;
    tracker_result_e rc;

    /* blocks of their own, for the sanitizer to see */
    len = strlen(header);
    value = malloc(len + 1);
    memcpy(value + 1, header, len);
    buf = malloc(len + 1);

    rc = parse((tracker_str_t){value + 1, len}, buf, len, &voice);

    if (rc != TRACKER_OK) {
        strcpy(text, "!");

    } else {
        n = (size_t) sprintf(text, "%.*s", (int) voice.name.len,
            voice.name.len > 0 ? voice.name.data : "");
        for (i = 0; i < voice.nprops; i++) {
            n += (size_t) sprintf(text + n, "|%.*s=%.*s",
                (int) voice.props[i].key.len, voice.props[i].key.data,
                (int) voice.props[i].value.len, voice.props[i].value.data);
        }
    }

    assert_string_equal(text, wanted);
    free(value);
    free(buf);
}


static void
test_events_in_plain_form(void **state)
{
    (void) state;

    expect(tracker_voice_event, "Product Added", "Product Added");
    expect(tracker_voice_event, " Product Added ; ", "Product Added");
    expect(tracker_voice_event, "Product Added; product_id=A13; price=28",
        "Product Added|product_id=A13|price=28");
    expect(tracker_voice_event, "A;b=1;c = 2 ;d=;e=x=y", "A|b=1|c=2|e=x=y");
    expect(tracker_voice_event, "\"A; B\"; note=\"a; \\\"b\\\" \\\\ \"; c=1",
        "A; B|note=a; \"b\" \\ |c=1");
    expect(tracker_voice_event, "A; b=1; b=2", "A|b=1");
    expect(tracker_voice_event, "Größe; maß=1", "!");
    expect(tracker_voice_event, "Größe; m=ß", "Größe|m=ß");
}


static void
test_events_in_json(void **state)
{
    (void) state;

    expect(tracker_voice_event,
        "{\"event\":\"Product Added\",\"properties\":{\"product_id\":\"A13\","
        "\"price\":28.5,\"gift\":true,\"note\":null,\"list\":[1, 2]}}",
        "Product Added|product_id=A13|price=28.5|gift=true|list=[1, 2]");
    expect(
        tracker_voice_event, " { \"event\" : \"\\u0041\", \"more\": 1 } ", "A");
    expect(tracker_voice_event,
        "{\"event\":\"A\",\"properties\":{\"a\\\"b\":\"c\\nd\",\"x\":1,"
        "\"x\":2}}",
        "A|a\"b=c\nd|x=1");
}


static void
test_events_with_a_fault_are_refused_whole(void **state)
{
    static const char *const bad[] = {"", " ", ";", "; a=1", "A; b", "A; =1",
        "A; 1b=2", "A; b=\"x", "A; b=\"x\\", "A; b=\"x\"y", "A;; b=1", "\"\"",
        "{", "{}", "{\"event\":1}", "{\"event\":\"\"}", "{\"event\":\"A\"",
        "{\"event\":\"A\"} x", "{\"event\":\"A\",\"properties\":1}",
        "{\"event\":\"A\",\"properties\":{\"\":1}}",
        "{\"event\":\"A\",\"properties\":{\"a\":\"\\u0000\"}}",
        "{\"properties\":{\"a\":1}}"};
    char                     text[8300];
    size_t                   n;
    unsigned                 i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect(tracker_voice_event, bad[i], "!");
    }

    memset(text, 'a', 201);
    text[201] = '\0';
    expect(tracker_voice_event, text, "!");
    text[200] = '\0';
    expect(tracker_voice_event, text, text);

    n = (size_t) sprintf(text, "A; b=");
    memset(text + n, 'x', TRACKER_VOICE_MAX);
    text[TRACKER_VOICE_MAX + 1] = '\0';
    expect(tracker_voice_event, text, "!");

    n = (size_t) sprintf(text, "A");
    for (i = 0; i < TRACKER_EVENT_PROPS_MAX + 1; i++) {
        n += (size_t) sprintf(text + n, "; k%u=v", i);
    }
    expect(tracker_voice_event, text, "!");
}


static void
test_identifications(void **state)
{
    (void) state;

    expect(tracker_voice_identify, "C-77", "C-77");
    expect(tracker_voice_identify, "id=C-77", "C-77");
    expect(tracker_voice_identify, "C-77; loyalty=L9", "C-77|loyalty=L9");
    expect(tracker_voice_identify, "loyalty=L9; id=C-77; email_sha256=9f",
        "C-77|loyalty=L9|email_sha256=9f");
    expect(tracker_voice_identify, "loyalty=L9", "|loyalty=L9");
    expect(tracker_voice_identify, "id=1; id=2", "1");
    expect(tracker_voice_identify, "{\"id\":\"C-77\",\"loyalty\":9}",
        "C-77|loyalty=9");
    expect(tracker_voice_identify, "{\"id\":77}", "77");
    expect(tracker_voice_identify, "", "!");
    expect(tracker_voice_identify, "id=", "!");
    expect(tracker_voice_identify, "C-77; L9", "!");
    expect(tracker_voice_identify, "{\"id\":{\"a\":1}}", "!");
    expect(tracker_voice_identify, "{\"id\":\"\"}", "!");
    expect(tracker_voice_identify, "{\"id\":null}", "!");
    expect(tracker_voice_identify, "[\"id\"]; x", "!");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_in_plain_form),
        cmocka_unit_test(test_events_in_json),
        cmocka_unit_test(test_events_with_a_fault_are_refused_whole),
        cmocka_unit_test(test_identifications),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
