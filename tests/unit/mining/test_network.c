/*
 * test_network.c - a network learns what no line separates; measures by hand.
 */

#include "mining/learn/measure.h"
#include "mining/learn/network.h"
#include "mining/learn/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define ROWS 2000

static uint32_t start[ROWS + 1];
static uint16_t input[2 * ROWS];
static float    value[2 * ROWS];
static uint8_t  y[ROWS];
static double   p[ROWS];

static const mining_rows_t rows = {ROWS, 2, start, input, value, y};


/* Yes where both inputs have the same sign; one in ten is turned round. */
static void
make_rows(void)
{
    size_t   i;
    uint64_t random = 7;

    for (i = 0; i < ROWS; i++) {
        start[i + 1] = 2 * (uint32_t) (i + 1);
        input[2 * i] = 0;
        input[2 * i + 1] = 1;
        value[2 * i] = (float) (4 * mining_random_unit(&random) - 2);
        value[2 * i + 1] = (float) (4 * mining_random_unit(&random) - 2);
        y[i] = (value[2 * i] > 0) == (value[2 * i + 1] > 0);
        y[i] ^= mining_random_unit(&random) < 0.1;
    }
}


static void
test_learns(void **state)
{
    size_t                   i;
    mining_measure_t         measure;
    mining_network_t         one, two;
    mining_network_options_t options;

    (void) state;

    make_rows();
    options = mining_network_defaults;
    options.members = 2;
    options.epochs = 40;

    assert_int_equal(mining_network_train(&one, &rows, &options), MINING_OK);
    assert_int_equal(mining_network_train(&two, &rows, &options), MINING_OK);

    /* same seed, same bytes */
    assert_memory_equal(
        one.weights, two.weights, one.ninputs * one.hidden * sizeof(float));
    assert_memory_equal(&one.out_bias, &two.out_bias, sizeof(float));

    for (i = 0; i < ROWS; i++) {
        p[i] = 1 / (1 + exp(-mining_network_logit(&one, &rows, i)));
    }

    assert_int_equal(mining_measure(&measure, p, y, ROWS), MINING_OK);
    /* the noise leaves 0.90 to who knows the rule */
    if (measure.auc < 0.88) {
        fail_msg("auc %.4f", measure.auc);
    }

    mining_network_free(&one);
    mining_network_free(&two);
}


static void
test_one_class(void **state)
{
    mining_rows_t    none;
    mining_network_t network;

    (void) state;

    make_rows();
    memset(y, 0, sizeof(y));
    assert_int_equal(
        mining_network_train(&network, &rows, &mining_network_defaults),
        MINING_INVALID);

    none = rows;
    none.nrows = 0;
    assert_int_equal(
        mining_network_train(&network, &none, &mining_network_defaults),
        MINING_INVALID);
}


static void
test_measure(void **state)
{
    mining_measure_t     measure;
    static const double  said[] = {0.9, 0.8, 0.8, 0.3};
    static const double  wrong[] = {0.9, NAN, 0.8, 0.3};
    static const uint8_t seen[] = {1, 0, 1, 0};
    static const uint8_t same[] = {1, 1, 1, 1};

    (void) state;

    assert_int_equal(mining_measure(&measure, said, seen, 4), MINING_OK);
    assert_true(fabs(measure.auc - 3.5 / 4) < 1e-12);
    assert_true(fabs(measure.ap - (0.5 + 0.5 * 2 / 3)) < 1e-12);
    assert_true(fabs(measure.best_f1 - 0.8) < 1e-12);
    assert_true(measure.threshold == 0.8);
    assert_true(fabs(measure.f1 - 0.8) < 1e-12);
    assert_true(fabs(measure.accuracy - 0.75) < 1e-12);
    assert_true(
        fabs(measure.log_loss + (log(0.9) + log(0.2) + log(0.8) + log(0.7)) / 4)
        < 1e-12);
    assert_true(fabs(measure.ece - (0.1 + 0.6 + 0.3) / 4) < 1e-12);

    assert_int_equal(mining_measure(&measure, wrong, seen, 4), MINING_INVALID);
    assert_int_equal(mining_measure(&measure, said, same, 4), MINING_INVALID);
    assert_int_equal(mining_measure(&measure, said, seen, 0), MINING_INVALID);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_one_class),
        cmocka_unit_test(test_measure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
