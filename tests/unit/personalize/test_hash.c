/*
 * test_hash.c - the GrowthBook bucket hash: its cases, and outside ASCII.
 */

#include "personalize/personalize.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>


static double
hash(const char *seed, const char *unit)
{
    personalize_str_t a = {seed, strlen(seed)}, b = {unit, strlen(unit)};

    return personalize_hash(a, b);
}


/* cmocka's assert_float_equal has a tolerance; these are exact quotients. */
static void
check(const char *seed, const char *unit, double n)
{
    assert_true(hash(seed, unit) == n);
}


static void
test_cases(void **state)
{
    (void) state;

    check("seed", "b", 0.2696);
    check("foo", "def", 0.2019);
    check("90850943850283058242805", "123", 0.7516);
    check("exp", "1", 0.6075);
    check("exp", "a", 0.0559);
}


static void
test_utf16_units_are_hashed(void **state)
{
    (void) state;

    /* 0.2652 over UTF-8 bytes; the JavaScript SDK gives this */
    check("exp", "\xc3\xbc", 0.7371);

    /* a pair of surrogates counts as two units, seed or unit alike */
    assert_true(hash("exp", "\xf0\x9f\x98\x80") >= 0);
    check("\xc3\xbc", "exp",
        hash("\xc3\xbc"
             "e",
            "xp"));
}


static void
test_bytes_that_are_not_utf8(void **state)
{
    static const char *const bad[] = {"\xff", "\xc0", "\xc3", "\xe2\x82",
        "\xc1\x81", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xe0\x80\x80", "\xf0\x80\x80\x80", "\x80"};
    char                     replaced[64];
    size_t                   i, k;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        replaced[0] = '\0';
        for (k = 0; k < strlen(bad[i]); k++) {
            strcat(replaced, "\xef\xbf\xbd");
        }
        check("s", bad[i], hash("s", replaced));
    }

    /* and the nearest that are */
    assert_true(
        hash("s", "\xf4\x8f\xbf\xbf")
        != hash("s", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
    assert_true(hash("s", "\xee\x80\x80") != hash("s", "\xef\xbf\xbd"));
}


/* The specification's own cases, when its data lie beside the project. */
static void
test_specification(void **state)
{
    size_t      i;
    json_t     *root, *cases, *row;
    unsigned    checked;
    const char *path = "../shared/data/growthbook/cases-visible.json";

    (void) state;

    root = json_load_file(path, 0, NULL);
    if (root == NULL) {
        print_message("no %s: built-in cases only\n", path);
        return;
    }

    cases = json_object_get(root, "hash");
    checked = 0;

    json_array_foreach(cases, i, row)
    {
        if (json_integer_value(json_array_get(row, 2)) == 2) {
            check(json_string_value(json_array_get(row, 0)),
                json_string_value(json_array_get(row, 1)),
                json_number_value(json_array_get(row, 3)));
            checked++;
        }
    }

    assert_true(checked > 0);
    json_decref(root);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_utf16_units_are_hashed),
        cmocka_unit_test(test_bytes_that_are_not_utf8),
        cmocka_unit_test(test_specification),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
