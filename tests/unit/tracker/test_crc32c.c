/*
 * test_crc32c.c - the checksum by instruction and by table.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>


static void
test_known_values(void **state)
{
    uint8_t bytes[32];

    (void) state;
    assert_int_equal(tracker_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(tracker_crc32c_table(0, "123456789", 9), 0xe3069283);

    /* RFC 3720, B.4 */
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(tracker_crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(tracker_crc32c_table(0, bytes, 32), 0x62a8ab43);
    assert_int_equal(tracker_crc32c(7, bytes, 0), 7);
}


static void
test_both_ways_agree(void **state)
{
    char   bytes[300];
    size_t i, len, from;

    (void) state;
    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char) (i * 31 + 7);
    }

    for (from = 0; from < 9; from++) {
        for (len = 0; len < sizeof(bytes) - from; len++) {
            assert_int_equal(tracker_crc32c(0, bytes + from, len),
                tracker_crc32c_table(0, bytes + from, len));
            assert_int_equal(tracker_crc32c(tracker_crc32c(0, bytes, from),
                                 bytes + from, len),
                tracker_crc32c(0, bytes, from + len));
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_both_ways_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
