/*
 * test_uuid.c - UUIDs of version 7, made, written and read.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>


/* The example of RFC 9562, appendix A.6. */
#define RFC_TEXT "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"

static const uint8_t rfc_bytes[16] = {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c,
    0xc3, 0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};


static void
test_make(void **state)
{
    uint8_t uuid[16], random[10];

    (void) state;
    memcpy(random, rfc_bytes + 6, 10);
    random[0] |= 0xf0;
    random[2] |= 0xc0;
    tracker_uuid_v7(uuid, 0x017f22e279b0, random);
    assert_memory_equal(uuid, rfc_bytes, 16);
}


static void
test_text(void **state)
{
    char     text[37];
    uint8_t  uuid[16];
    unsigned i, j;

    (void) state;
    text[36] = 'x';
    tracker_uuid_text(text, rfc_bytes);
    assert_memory_equal(text, RFC_TEXT "x", 37);

    for (i = 0; i < 256; i++) {
        for (j = 0; j < 16; j++) {
            uuid[j] = (uint8_t) (i + 17 * j);
        }
        tracker_uuid_text(text, uuid);
        memset(uuid, 0, sizeof(uuid));
        assert_int_equal(tracker_uuid_parse(uuid, text, 36), TRACKER_OK);
        for (j = 0; j < 16; j++) {
            assert_int_equal(uuid[j], (uint8_t) (i + 17 * j));
        }
    }
}


static void
test_parse(void **state)
{
    int      c, ok;
    char     text[] = RFC_TEXT;
    size_t   len;
    uint8_t  uuid[16];
    unsigned i;

    (void) state;
    assert_int_equal(
        tracker_uuid_parse(uuid, "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 36),
        TRACKER_OK);
    assert_memory_equal(uuid, rfc_bytes, 16);

    for (len = 0; len < 36; len++) {
        assert_int_equal(
            tracker_uuid_parse(uuid, RFC_TEXT, len), TRACKER_INVALID);
    }
    assert_int_equal(
        tracker_uuid_parse(uuid, RFC_TEXT "0", 37), TRACKER_INVALID);
    assert_int_equal(tracker_uuid_parse(uuid, NULL, 0), TRACKER_INVALID);

    for (i = 0; i < 36; i++) {
        for (c = 0; c < 256; c++) {
            ok = strchr("0123456789abcdefABCDEF", c) != NULL && c != 0;
            if (RFC_TEXT[i] == '-') {
                ok = c == '-';
            }
            text[i] = (char) c;
            assert_int_equal(tracker_uuid_parse(uuid, text, 36),
                ok ? TRACKER_OK : TRACKER_INVALID);
        }
        text[i] = RFC_TEXT[i];
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
