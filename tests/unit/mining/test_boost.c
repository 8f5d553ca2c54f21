/*
 * test_boost.c - boosted trees, calibration, drivers in words.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/boost.h"
#include "mining/learn/drivers.h"
#include "mining/learn/measure.h"
#include "mining/learn/platt.h"
#include "mining/learn/random.h"


#define ROWS 2000

static double            x[3][ROWS];
static uint8_t           y[ROWS];
static uint32_t          rows[ROWS];
static mining_features_t features;


/* Yes where a number and a text agree: no line parts that. */
static int
setup(void **state)
{
    size_t   i;
    uint64_t random = 7;

    (void) state;
    memset(&features, 0, sizeof(features));
    for (i = 0; i < ROWS; i++) {
        x[0][i] = mining_random_unit(&random);
        x[1][i] = (double) mining_random_below(&random, 4);
        x[2][i] = mining_random_unit(&random) < 0.1
                      ? NAN
                      : mining_random_unit(&random);
        y[i] = (x[0][i] > 0.5) == (x[1][i] < 2);
        y[i] ^= mining_random_unit(&random) < 0.05;
        rows[i] = (uint32_t) i;
    }
    features.nfeatures = 3;
    features.nlevels[1] = 4;
    features.values[0] = x[0];
    features.values[1] = x[1];
    features.values[2] = x[2];

    return 0;
}


static void
test_learns(void **state)
{
    double                 p[ROWS], first;
    size_t                 i;
    mining_boost_t        *boost, *again;
    mining_measure_t       measure;
    mining_boost_options_t options;

    (void) state;
    options = mining_boost_defaults;
    options.trees = 60;
    assert_int_equal(
        mining_boost_train(&boost, &features, y, rows, ROWS / 2, &options),
        MINING_OK);
    for (i = 0; i < ROWS / 2; i++) {
        p[i] =
            1 / (1 + exp(-mining_boost_logit(boost, &features, i + ROWS / 2)));
    }
    assert_int_equal(
        mining_measure(&measure, p, y + ROWS / 2, ROWS / 2), MINING_OK);
    if (measure.auc < 0.93) {
        fail_msg("auc %.4f", measure.auc);
    }
    assert_true(mining_boost_gain(boost, 2) < 0.1);
    assert_true(fabs(mining_boost_gain(boost, 0) + mining_boost_gain(boost, 1)
                     + mining_boost_gain(boost, 2) - 1)
                < 1e-9);

    first = mining_boost_logit(boost, &features, 0);
    mining_boost_free(boost);
    assert_int_equal(
        mining_boost_train(&again, &features, y, rows, ROWS / 2, &options),
        MINING_OK);
    assert_true(!(mining_boost_logit(again, &features, 0) > first)
                && !(mining_boost_logit(again, &features, 0) < first));

    /* a text and a number never seen have an answer too */
    x[0][0] = INFINITY;
    x[1][0] = 77;
    assert_true(isfinite(mining_boost_logit(again, &features, 0)));
    mining_boost_free(again);
}


static void
test_nothing_to_learn(void **state)
{
    mining_boost_t *boost;
    uint8_t         same[ROWS];

    (void) state;
    memset(same, 1, sizeof(same));
    assert_int_equal(mining_boost_train(&boost, &features, same, rows, ROWS,
                         &mining_boost_defaults),
        MINING_INVALID);
    assert_null(boost);
    assert_int_equal(mining_boost_train(
                         &boost, &features, y, rows, 0, &mining_boost_defaults),
        MINING_INVALID);
    mining_boost_free(NULL);
}


/* All rows equal: the rate, nothing else. */
static void
test_a_column_that_never_moves(void **state)
{
    double          flat[ROWS];
    size_t          i;
    mining_boost_t *boost;

    (void) state;
    for (i = 0; i < ROWS; i++) {
        flat[i] = 3;
    }
    features.values[0] = features.values[2] = flat;
    features.values[1] = flat;
    features.nlevels[1] = 0;
    assert_int_equal(mining_boost_train(&boost, &features, y, rows, ROWS,
                         &mining_boost_defaults),
        MINING_OK);
    assert_true(fabs(mining_boost_logit(boost, &features, 0)) < 0.3);
    assert_true(!(mining_boost_gain(boost, 0) > 0));
    mining_boost_free(boost);
}


static void
test_calibrates(void **state)
{
    double         logits[ROWS], said, seen;
    size_t         i;
    uint64_t       random = 3;
    mining_platt_t platt;

    (void) state;
    /* scores three times too sure, and shifted */
    for (i = 0; i < ROWS; i++) {
        logits[i] = mining_random_unit(&random) * 4 - 2;
        y[i] = mining_random_unit(&random) < 1 / (1 + exp(-logits[i]));
        logits[i] = 3 * logits[i] + 1;
    }
    assert_int_equal(mining_platt_fit(&platt, logits, y, ROWS), MINING_OK);
    assert_true(fabs(platt.slope - 1.0 / 3) < 0.05);
    said = seen = 0;
    for (i = 0; i < ROWS; i++) {
        said += mining_platt(&platt, logits[i]);
        seen += y[i];
    }
    assert_true(fabs(said - seen) < 2);

    for (i = 0; i < ROWS; i++) {
        logits[i] = -logits[i];
    }
    assert_int_equal(mining_platt_fit(&platt, logits, y, ROWS), MINING_OK);
    assert_true(!(platt.slope > 0) && !(platt.slope < 0));
    logits[0] = INFINITY;
    assert_true(isfinite(mining_platt(&platt, INFINITY)));
    memset(y, 0, sizeof(y));
    assert_int_equal(mining_platt_fit(&platt, logits, y, ROWS), MINING_INVALID);
}


static void
test_drivers(void **state)
{
    char              text[128];
    double            colour[40], months[40], none[40];
    size_t            i;
    uint8_t           left[40];
    const char *const names[] = {"red", "blue"};

    (void) state;
    for (i = 0; i < 40; i++) {
        left[i] = i < 16;
        colour[i] = i < 20 ? 0 : 1;
        months[i] = i < 16 ? 1 + (double) (i % 2) : 9;
        none[i] = NAN;
    }
    none[0] = 1;

    text[0] = '\0';
    assert_int_equal(
        mining_driver(text, sizeof(text), "colour", colour, names, left, 40),
        MINING_OK);
    assert_string_equal(text, "colour red: 80 of 100, others 0");
    text[0] = '\0';
    assert_int_equal(
        mining_driver(text, sizeof(text), "months", months, NULL, left, 40),
        MINING_OK);
    assert_string_equal(text, "months at most 2: 100 of 100, others 0");
    assert_int_equal(
        mining_driver(text, sizeof(text), "none", none, NULL, left, 40),
        MINING_DECLINED);
    assert_int_equal(
        mining_driver(text, sizeof(text), "none", none, NULL, left, 0),
        MINING_DECLINED);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_learns, setup),
        cmocka_unit_test_setup(test_nothing_to_learn, setup),
        cmocka_unit_test_setup(test_a_column_that_never_moves, setup),
        cmocka_unit_test(test_calibrates), cmocka_unit_test(test_drivers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
