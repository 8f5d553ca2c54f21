/*
 * test_clv.c - customer value: fits, forecasts, and what cannot be fitted.
 *
 * Customers are drawn from the models themselves with a fixed seed, so that
 * the parameters to be found are known.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/clv.h"


#define NBUYERS 4000

static mining_buyer_t buyers[NBUYERS];
static uint64_t       state;


/* In (0, 1): the generator of Knuth's MMIX. */
static double
draw(void)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;

    return ((double) (state >> 11) + 0.5) / 9007199254740992.0;
}


/* Of a whole shape, as a sum of exponentials. */
static double
draw_gamma(unsigned shape, double rate)
{
    double sum;

    sum = 0;
    for (; shape > 0; shape--) {
        sum -= log(draw());
    }

    return sum / rate;
}


/* r = 1, alpha = 4, a = 1, b = 3 (or nobody leaves); p = 6, q = 4, v = 15. */
static void
draw_buyers(int leave)
{
    unsigned        i;
    double          rate, stop, now, x, nu;
    mining_buyer_t *buyer;

    state = 42;
    for (i = 0; i < NBUYERS; i++) {
        buyer = &buyers[i];
        memset(buyer, 0, sizeof(*buyer));
        buyer->T = 30 + floor(10 * draw());
        rate = draw_gamma(1, 4);
        x = draw_gamma(1, 1);
        stop = leave ? x / (x + draw_gamma(3, 1)) : 0;
        for (now = -log(draw()) / rate; now < buyer->T;
             now -= log(draw()) / rate) {
            buyer->x++;
            buyer->t_x = now;
            if (draw() < stop) {
                break;
            }
        }
        if (buyer->x > 0) {
            nu = draw_gamma(4, 15);
            buyer->spend = draw_gamma(6 * buyer->x, nu) / buyer->x;
        }
    }
}


static void
test_finds_what_it_was_drawn_from(void **unused)
{
    size_t         bad;
    mining_bgnbd_t model;
    mining_spend_t spend;

    (void) unused;
    draw_buyers(1);

    assert_int_equal(
        mining_bgnbd_fit(buyers, NBUYERS, &model, &bad), MINING_OK);
    assert_true(fabs(model.r - 1) < 0.1);
    assert_true(fabs(model.alpha - 4) < 0.5);
    assert_true(fabs(model.a / (model.a + model.b) - 0.25) < 0.02);

    assert_int_equal(
        mining_spend_fit(buyers, NBUYERS, &spend, &bad), MINING_OK);
    assert_true(fabs(spend.p - 6) < 0.5);
    assert_true(fabs(spend.q - 4) < 0.4);
    assert_true(fabs(spend.v - 15) < 2.5);
}


static void
test_survives_that_nobody_leaves(void **unused)
{
    size_t         bad;
    double         expected;
    mining_bgnbd_t model;

    (void) unused;
    draw_buyers(0);

    assert_int_equal(
        mining_bgnbd_fit(buyers, NBUYERS, &model, &bad), MINING_OK);
    assert_true(isfinite(model.log_likelihood));
    assert_true(fabs(model.r - 1) < 0.1);
    assert_true(model.a / (model.a + model.b) < 0.005);

    /* then a customer buys on as (r + x) / (alpha + T) says */
    expected = (model.r + buyers[0].x) / (model.alpha + buyers[0].T) * 10;
    assert_true(
        fabs(mining_bgnbd_expected(&model, &buyers[0], 10) / expected - 1)
        < 0.05);
}


/*
 * Published: lifetimes' tests, at the maximum of the likelihood (the three
 * decimals of the paper move the fourth digit of a forecast).  For 78 weeks
 * they have 1.8576, the series cut after 150 terms: its sum is 1.857973.
 */
static void
test_published_forecasts(void **unused)
{
    unsigned       i;
    mining_buyer_t buyer = {2, 30.43, 38.86, 22.35};
    mining_buyer_t nobody = {0, 0, 0, 0};
    mining_bgnbd_t model = {
        .r = 0.242593, .alpha = 4.413532, .a = 0.792886, .b = 2.425754};
    mining_spend_t spend = {.p = 6.248803, .q = 3.744588, .v = 15.447748};

    static const double times[] = {0.1429, 1, 3, 31.8571, 32, 78};
    static const double counts[] = {
        0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.857973};

    (void) unused;

    assert_true(fabs(mining_bgnbd_expected(&model, &buyer, 39) - 1.226) < 5e-4);
    for (i = 0; i < 6; i++) {
        assert_true(
            fabs(mining_bgnbd_expected(&model, &nobody, times[i]) - counts[i])
            < 1e-4);
    }
    assert_true(fabs(mining_spend_expected(&spend, &buyer) - 24.65) < 0.01);
    assert_true(fabs(mining_spend_expected(&spend, &nobody) - 35.17) < 0.01);
    assert_true(mining_bgnbd_expected(&model, &buyer, 0) == 0);

    /* no step where the formula has 0 / 0 */
    model.a = 1;
    assert_true(isfinite(mining_bgnbd_expected(&model, &buyer, 39)));
}


static void
test_refuses_what_cannot_be(void **unused)
{
    size_t         bad;
    unsigned       i;
    mining_bgnbd_t model;
    mining_spend_t spend;

    static const mining_buyer_t wrong[] = {{1, 5, 4, 1}, {1, 0, 4, 1},
        {1, NAN, 4, 1}, {1, 1, INFINITY, 1}, {0, 0, -1, 1},
        {MINING_CLV_REPEATS_MAX + 1, 1, 2, 1}};

    (void) unused;

    for (i = 0; i < 6; i++) {
        draw_buyers(1);
        buyers[7] = wrong[i];
        bad = 0;
        assert_int_equal(
            mining_bgnbd_fit(buyers, NBUYERS, &model, &bad), MINING_INVALID);
        assert_int_equal(bad, 7);
    }

    memset(buyers, 0, sizeof(buyers));
    assert_int_equal(
        mining_bgnbd_fit(buyers, NBUYERS, &model, &bad), MINING_DECLINED);
    assert_int_equal(
        mining_bgnbd_fit(buyers, 0, &model, &bad), MINING_DECLINED);
    assert_int_equal(
        mining_spend_fit(buyers, NBUYERS, &spend, &bad), MINING_DECLINED);

    /* equal rows: no spread to learn from, but an answer */
    for (i = 0; i < NBUYERS; i++) {
        buyers[i] = (mining_buyer_t){3, 20, 30, 10};
    }
    assert_int_equal(
        mining_bgnbd_fit(buyers, NBUYERS, &model, &bad), MINING_OK);
    assert_int_equal(model.groups, 1);
    assert_true(isfinite(mining_bgnbd_expected(&model, &buyers[0], 39)));
    assert_int_equal(
        mining_spend_fit(buyers, NBUYERS, &spend, &bad), MINING_OK);
    assert_true(fabs(mining_spend_expected(&spend, &buyers[0]) - 10) < 0.1);
}


/* Nearly everybody leaves at the same rate: a and b grow without end. */
static void
test_large_parameters_stay_numbers(void **state)
{
    double         n, before;
    mining_buyer_t buyer = {3, 10, 25, 1};
    mining_bgnbd_t model = {0.5, 4, 99.9, 299.7, 0, 0};

    (void) state;
    before = mining_bgnbd_expected(&model, &buyer, 12);
    model.a = 100.1;
    model.b = 300.3;
    n = mining_bgnbd_expected(&model, &buyer, 12);
    assert_true(fabs(n / before - 1) < 1e-3);

    model.a = 2416818;
    model.b = 8858641;
    n = mining_bgnbd_expected(&model, &buyer, 12);
    assert_true(n > 0 && n < 1);
    model.alpha = 1e-7;
    n = mining_bgnbd_expected(&model, &buyer, 1e6);
    assert_true(isfinite(n) && n >= 0);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_parameters_stay_numbers),
        cmocka_unit_test(test_finds_what_it_was_drawn_from),
        cmocka_unit_test(test_survives_that_nobody_leaves),
        cmocka_unit_test(test_published_forecasts),
        cmocka_unit_test(test_refuses_what_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
