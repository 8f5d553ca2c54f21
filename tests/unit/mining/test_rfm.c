/*
 * test_rfm.c - scores by rank and by cuts.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mining/learn/rfm.h"


static void
test_ranks(void **state)
{
    size_t       i;
    uint8_t      scores[10];
    const double values[10] = {9, 1, 5, 5, 5, 5, 2, 3, 8, 7};

    (void) state;
    assert_int_equal(mining_rfm_quantiles(values, 10, 0, scores), MINING_OK);
    assert_int_equal(scores[1], 1); /* the worst */
    assert_int_equal(scores[0], 5); /* the best */
    for (i = 2; i < 6; i++) {
        assert_int_equal(scores[i], 3); /* equal ones share the middle */
    }

    assert_int_equal(mining_rfm_quantiles(values, 10, 1, scores), MINING_OK);
    assert_int_equal(scores[1], 5);
    assert_int_equal(scores[0], 1);
}


static void
test_few(void **state)
{
    uint8_t      scores[3] = {0, 0, 0};
    const double same[3] = {4, 4, 4};

    (void) state;
    assert_int_equal(mining_rfm_quantiles(same, 0, 0, scores), MINING_OK);
    assert_int_equal(scores[0], 0);
    assert_int_equal(mining_rfm_quantiles(same, 1, 0, scores), MINING_OK);
    assert_int_equal(scores[0], 3);
    assert_int_equal(mining_rfm_quantiles(same, 3, 1, scores), MINING_OK);
    assert_int_equal(scores[2], 3);
}


static void
test_cuts(void **state)
{
    uint8_t      scores[4];
    const double values[4] = {0, 30, 31, 1000};
    const double cuts[4] = {30, 90, 180, 365};

    (void) state;
    mining_rfm_cuts(values, 4, 1, cuts, scores);
    assert_int_equal(scores[0], 5);
    assert_int_equal(scores[1], 5);
    assert_int_equal(scores[2], 4);
    assert_int_equal(scores[3], 1);

    mining_rfm_cuts(values, 4, 0, cuts, scores);
    assert_int_equal(scores[0], 1);
    assert_int_equal(scores[1], 2);
    assert_int_equal(scores[3], 5);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_few), cmocka_unit_test(test_cuts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
