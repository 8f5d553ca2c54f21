/*
 * test_greeting.c - forms of address in two languages, birthdays on the day.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>


static personalize_str_t
str_of(const char *text)
{
    personalize_str_t str;

    str.data = text;
    str.len = strlen(text);

    return str;
}


static void
test_greetings(void **state)
{
    static const struct {
        const char *language, *form, *family, *given, *name, *text;
    } cases[] = {
        {"en-GB", "ms", "Miller", "Anna", "", "Dear Ms Miller"},
        {"en", "Mr.", "Miller", "", "", "Dear Mr Miller"},
        {"en", "Dr", "王", "", "", "Dear Dr 王"},
        {"de", "Sir", "Miller", "", "", "Dear Sir Miller"},
        {"", "女士", "Wang", "", "", "Dear Ms Wang"},
        {"en", "", "Miller", "Anna", "Anna Miller", "Dear Anna"},
        {"en", "mr", "", "", "Anna Miller", "Dear Anna Miller"},
        {"en", "", "Miller", "", "", ""},
        {"en", "", "", "", "", ""},
        {"zh-CN", "ms", "王", "安娜", "", "尊敬的王女士"},
        {"ZH", "先生", "李", "", "", "尊敬的李先生"},
        {"zh", "总经理", "李", "", "", "尊敬的李总经理"},
        {"zh", "mx", "李", "安", "", "亲爱的安"},
        {"zh", "", "", "安娜", "", "亲爱的安娜"},
        {"zh", "", "", "", "王安娜", "尊敬的王安娜"},
    };
    char                *buf;
    size_t               i, len, size;
    personalize_person_t person;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        person.language = str_of(cases[i].language);
        person.form = str_of(cases[i].form);
        person.family_name = str_of(cases[i].family);
        person.given_name = str_of(cases[i].given);
        person.name = str_of(cases[i].name);
        len = strlen(cases[i].text);

        for (size = 0; size <= len; size++) {
            buf = malloc(size + 1);
            assert_int_equal(personalize_greeting(&person, buf, size),
                size == len ? len : 0);
            if (size == len) {
                assert_memory_equal(buf, cases[i].text, len);
            }
            free(buf);
        }
    }
}


/* Each day of forty years, against the C library. */
static void
test_birthdays(void **state)
{
    char      date[32];
    time_t    day;
    struct tm tm;

    (void) state;

    for (day = 0; day < 40 * 366; day++) {
        time_t now = day * 86400 + 86399;

        gmtime_r(&now, &tm);
        strftime(date, sizeof(date), "1980-%m-%d", &tm);
        assert_true(personalize_is_birthday(str_of(date), now));
        assert_true(personalize_is_birthday(str_of(date + 5), now));
        assert_false(personalize_is_birthday(str_of(date), now + 1));
    }
}


static void
test_odd_birthdays(void **state)
{
    const int64_t leap = 1709164800, /* 29 February 2024 */
        other = 1740700800,          /* 28 February 2025 */
        old = -86400;                /* 31 December 1969 */

    (void) state;

    assert_true(personalize_is_birthday(str_of("2000-02-29"), leap));
    assert_false(personalize_is_birthday(str_of("2000-02-29"), leap - 86400));
    assert_true(personalize_is_birthday(str_of("--02-29"), other));
    assert_true(personalize_is_birthday(str_of("1999-02-28"), other));
    assert_true(personalize_is_birthday(str_of("1999-12-31"), old));
    assert_true(personalize_is_birthday(str_of("1999-12-31T00:00:00Z"), old));

    assert_false(personalize_is_birthday(str_of(""), leap));
    assert_false(personalize_is_birthday(str_of("02"), leap));
    assert_false(personalize_is_birthday(str_of("0229"), leap));
    assert_false(personalize_is_birthday(str_of("02.29"), leap));
    assert_false(personalize_is_birthday(str_of("2000-2-29"), leap));
    assert_false(personalize_is_birthday(str_of("2000-13-29"), leap));
    assert_false(personalize_is_birthday(str_of("2000-00-00"), leap));
    assert_false(personalize_is_birthday(str_of("2000-02-299"), leap));
    assert_false(personalize_is_birthday(str_of("2000-xx-yy"), leap));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greetings),
        cmocka_unit_test(test_birthdays),
        cmocka_unit_test(test_odd_birthdays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
