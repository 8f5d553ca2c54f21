/*
 * test_values.c - times, prices, quantities, ids; each side of each limit.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "mining/mining.h"

#define TEXT(s) ((tracker_str_t){(s), strlen(s)})


static void
assert_time(const char *text, int64_t expected_s)
{
    int64_t us;

    assert_int_equal(mining_csv_time(TEXT(text), &us), MINING_OK);
    assert_true(us == expected_s * MINING_US_PER_S);
}


static void
test_times(void **state)
{
    int64_t us;

    (void) state;
    assert_time("1990-01-01", 631152000);
    assert_time("2000-02-29", 951782400);
    assert_time("2010-12-01 08:26", 1291191960);
    assert_time("2010-12-01 08:26:30", 1291191990);
    assert_time("2010-12-01T08:26:30Z", 1291191990);
    assert_time("2010-12-01t10:26:30+02:00", 1291191990);
    assert_time("2010-11-30T23:26:30-09:00", 1291191990);
    assert_int_equal(
        mining_csv_time(TEXT("2010-12-01T08:26:30.25Z"), &us), MINING_OK);
    assert_true(us == 1291191990250000);
}


static void
test_what_is_no_time(void **state)
{
    int64_t     us;
    unsigned    i;
    const char *bad[] = {"", "x", "1989-12-31", "1989-12-31T23:59:59Z",
        "2010-02-29", "2010-13-01", "2010-00-10", "2010-04-31", "2010-1-1",
        "2010-12-01 24:00", "2010-12-01 08:60", "2010-12-01 08:26:60",
        "2010-12-01 08", "2010-12-01 08:26:30.", "2010-12-01T08:26:30+2",
        "2010-12-01T08:26:30Zx", "2010-12-01 ", " 2010-12-01", "2999-01-01",
        "12/01/2010", "2010-12-01T08:26:30+24:00"};

    (void) state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mining_csv_time(TEXT(bad[i]), &us), MINING_INVALID);
    }
}


static void
test_prices(void **state)
{
    unsigned    i;
    const char *good[] = {
        "0", "0.001", "2.55", "1000000", "1000000.00", "999999.999999"};
    const char *bad[] = {"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1",
        "1000000.01", "1000001", "99999999", "0.1234567", "nan", "0x1",
        "1.2.3"};

    (void) state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(mining_csv_price(TEXT(good[i])), MINING_OK);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mining_csv_price(TEXT(bad[i])), MINING_INVALID);
    }
}


static void
test_quantities(void **state)
{
    int32_t     n;
    unsigned    i;
    const char *bad[] = {"", "-", "0", "-0", "1.5", "1000001", "-1000001", "+1",
        "99999999999", "1 "};

    (void) state;
    assert_int_equal(mining_csv_quantity(TEXT("-1000000"), &n), MINING_OK);
    assert_int_equal(n, -1000000);
    assert_int_equal(mining_csv_quantity(TEXT("1000000"), &n), MINING_OK);
    assert_int_equal(n, 1000000);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mining_csv_quantity(TEXT(bad[i]), &n), MINING_INVALID);
    }
}


static void
test_ids(void **state)
{
    char     text[MINING_ID_MAX + 2];
    unsigned i;

    static const char *const bad[] = {"", "a\tb", "a\x7f", "\xff", "\xc0\x80",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xc3"};

    (void) state;
    memset(text, 'x', sizeof(text));
    text[MINING_ID_MAX + 1] = '\0';
    assert_int_equal(mining_csv_id(TEXT(text)), MINING_INVALID);
    text[MINING_ID_MAX] = '\0';
    assert_int_equal(mining_csv_id(TEXT(text)), MINING_OK);
    assert_int_equal(mining_csv_id(TEXT("J\xc3\xa4ger 7")), MINING_OK);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mining_csv_id(TEXT(bad[i])), MINING_INVALID);
    }
}


static void
assert_numeric(const char *text, const char *bytes, size_t len)
{
    mining_copy_t copy;

    memset(&copy, 0, sizeof(copy));
    mining_copy_numeric(&copy, text, strlen(text));
    assert_int_equal(copy.len, len);
    assert_memory_equal(copy.data, bytes, len);
    mining_copy_free(&copy);
}


static void
test_numeric_in_binary(void **state)
{
    (void) state;
    /* length, digits, weight, sign, scale, digits of base 10000 */
    assert_numeric("12.5", "\0\0\0\014\0\2\0\0\0\0\0\1\0\014\023\210", 16);
    assert_numeric("1000000", "\0\0\0\014\0\2\0\1\0\0\0\0\0\144\0\0", 16);
    assert_numeric("0", "\0\0\0\012\0\1\0\0\0\0\0\0\0\0", 14);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_what_is_no_time),
        cmocka_unit_test(test_prices),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_numeric_in_binary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
