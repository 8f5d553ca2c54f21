/*
 * test_number.c - which texts are numbers, and how numbers are written.
 */

#include "personalize/set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>


static int
parse(const char *text, double *number)
{
    personalize_str_t str = {text, strlen(text)};

    return personalize_number_parse(str, number);
}


static void
test_parse(void **state)
{
    static const struct {
        const char *text;
        double      number;
    } good[] = {{"0", 0}, {"5", 5}, {"007", 7}, {"-3", -3}, {"72.5", 72.5},
        {"1e3", 1000}, {"1E+3", 1000}, {"25e-1", 2.5},
        {"0.30000000000000004", 0.30000000000000004},
        {"9007199254740993", 9007199254740992.0}};
    static const char *const bad[] = {"", "-", "+5", " 5", "5 ", "5.", ".5",
        "0x10", "inf", "nan", "1e", "1e+", "1.e3", "5a", "--5", "1e999", "1,5",
        "1.2.3",
        "00000000000000000000000000000000000000000000000000000000000000001"};
    double                   number;
    unsigned                 i;

    (void) state;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(parse(good[i].text, &number));
        assert_true(number == good[i].number);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse(bad[i], &number)) {
            fail_msg("\"%s\" was taken for a number", bad[i]);
        }
    }
}


static void
test_text(void **state)
{
    static const struct {
        double      number;
        const char *text;
    } cases[] = {{0, "0"}, {-0.0, "0"}, {42, "42"}, {-7, "-7"}, {0.1, "0.1"},
        {72.5, "72.5"}, {0.1 + 0.2, "0.30000000000000004"},
        {999999999999999.0, "999999999999999"}, {1e15, "1000000000000000"},
        {1e21, "1e+21"}, {123e18, "123000000000000000000"},
        {0.000001, "0.000001"}, {1.5e-7, "1.5e-7"},
        {9007199254740991.0, "9007199254740991"},
        {-1.7976931348623157e308, "-1.7976931348623157e+308"}};
    char     buf[PERSONALIZE_NUMBER_MAX];
    size_t   n;
    unsigned i;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        n = personalize_number_text(cases[i].number, buf);
        buf[n] = '\0';
        assert_string_equal(buf, cases[i].text);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
