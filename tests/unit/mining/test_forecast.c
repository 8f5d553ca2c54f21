/*
 * test_forecast.c - days that follow a rule are forecast; hostile ones hold.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/forecast.h"
#include "mining/learn/random.h"


#define DAYS 300

static double days[DAYS];
static double mean[DAYS], low[DAYS], high[DAYS];


static void
test_a_plain_week_is_repeated(void **unused)
{
    size_t            i;
    unsigned          k;
    mining_forecast_t forecast;

    (void) unused;

    for (i = 0; i < DAYS; i++) {
        days[i] = i % 7 == 6 ? 0 : 10.0 + (double) (i % 7);
    }
    assert_int_equal(mining_forecast_fit(days, DAYS, &forecast), MINING_OK);
    assert_int_equal(
        mining_forecast_ahead(&forecast, days, DAYS, 30, mean, low, high),
        MINING_OK);
    for (k = 0; k < 30; k++) {
        assert_true(fabs(mean[k] - days[(DAYS + k) % 7]) < 1e-6);
        assert_true(low[k] <= mean[k] + 1e-9 && mean[k] <= high[k] + 1e-9);
    }

    mining_forecast_usual(&forecast, days, DAYS, mean, low);
    for (i = 42; i < DAYS; i++) {
        assert_true(fabs(mean[i] - days[i]) < 1e-6 && low[i] < 1e-3);
    }
}


static void
test_intervals_hold_what_they_say(void **unused)
{
    size_t            i, inside, count;
    uint64_t          seed;
    unsigned          k, round;
    mining_forecast_t forecast;

    (void) unused;

    for (seed = 5, inside = 0, count = 0, round = 0; round < 6; round++) {
        for (i = 0; i < DAYS; i++) {
            days[i] = fmax(0, 50 + 10 * (double) (i % 7)
                                  + 40
                                        * (mining_random_unit(&seed)
                                            + mining_random_unit(&seed) - 1));
        }
        assert_int_equal(
            mining_forecast_fit(days, DAYS - 28, &forecast), MINING_OK);
        assert_int_equal(mining_forecast_ahead(
                             &forecast, days, DAYS - 28, 28, mean, low, high),
            MINING_OK);
        for (k = 0; k < 28; k++) {
            i = DAYS - 28 + k;
            inside += days[i] >= low[k] && days[i] <= high[k];
            count++;
        }
    }
    assert_true(inside > count * 7 / 10 && inside < count * 95 / 100);
}


static void
test_changes_are_cut(void **unused)
{
    size_t          i;
    unsigned        n;
    uint64_t        seed;
    mining_change_t changes[MINING_CHANGES_MAX];

    (void) unused;

    for (seed = 3, i = 0; i < DAYS; i++) {
        days[i] = (i < 100      ? 50
                      : i < 200 ? 100
                                : 30)
                  * (0.8 + 0.4 * mining_random_unit(&seed));
    }
    assert_int_equal(
        mining_forecast_changes(days, DAYS, changes, &n), MINING_OK);
    assert_int_equal(n, 2);
    assert_true(changes[0].at >= 98 && changes[0].at <= 102);
    assert_true(changes[1].at >= 198 && changes[1].at <= 202);
    assert_true(changes[0].before < 60 && changes[0].after > 85);
    assert_true(changes[1].before > 85 && changes[1].after < 40);

    for (i = 0; i < DAYS; i++) {
        days[i] = 7;
    }
    assert_int_equal(
        mining_forecast_changes(days, DAYS, changes, &n), MINING_OK);
    assert_int_equal(n, 0);
    assert_int_equal(
        mining_forecast_changes(days, 20, changes, &n), MINING_DECLINED);
}


static void
test_hostile_days(void **unused)
{
    size_t            i;
    unsigned          k, n;
    mining_change_t   changes[MINING_CHANGES_MAX];
    mining_forecast_t forecast;

    (void) unused;

    memset(days, 0, sizeof(days));
    assert_int_equal(mining_forecast_fit(days, DAYS, &forecast), MINING_OK);
    assert_int_equal(
        mining_forecast_ahead(&forecast, days, DAYS, 7, mean, low, high),
        MINING_OK);
    assert_true(mean[0] == 0 && low[6] == 0 && high[6] == 0);
    assert_int_equal(
        mining_forecast_changes(days, DAYS, changes, &n), MINING_OK);
    assert_int_equal(n, 0);

    for (i = 0; i < DAYS; i++) {
        days[i] = i % 2 == 0 ? 0 : 1e15;
    }
    assert_int_equal(mining_forecast_fit(days, DAYS, &forecast), MINING_OK);
    assert_int_equal(
        mining_forecast_ahead(&forecast, days, DAYS, 56, mean, low, high),
        MINING_OK);
    for (k = 0; k < 56; k++) {
        assert_true(isfinite(mean[k]) && isfinite(high[k]) && low[k] >= 0);
    }

    assert_int_equal(mining_forecast_fit(days, 41, &forecast), MINING_DECLINED);
    days[7] = -1;
    assert_int_equal(
        mining_forecast_fit(days, DAYS, &forecast), MINING_INVALID);
    days[7] = NAN;
    assert_int_equal(
        mining_forecast_fit(days, DAYS, &forecast), MINING_INVALID);
    assert_int_equal(
        mining_forecast_ahead(&forecast, days, DAYS, 57, mean, low, high),
        MINING_INVALID);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plain_week_is_repeated),
        cmocka_unit_test(test_intervals_hold_what_they_say),
        cmocka_unit_test(test_changes_are_cut),
        cmocka_unit_test(test_hostile_days),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
