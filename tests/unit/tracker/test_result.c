/*
 * test_result.c - each result has words of its own.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>


static void
test_words(void **state)
{
    int i, j;

    (void) state;
    for (i = TRACKER_OK; i <= TRACKER_IO; i++) {
        assert_true(strlen(tracker_result_text((tracker_result_e) i)) > 1);
        for (j = TRACKER_OK; j < i; j++) {
            assert_string_not_equal(tracker_result_text((tracker_result_e) i),
                tracker_result_text((tracker_result_e) j));
        }
    }

    assert_string_equal(
        tracker_result_text((tracker_result_e) 7), "unknown result");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
