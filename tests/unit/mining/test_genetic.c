/*
 * test_genetic.c - the search finds, stays in bounds, and never loses.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/genetic.h"


#define REALS 5

static const double low[REALS] = {-5, -5, 0, 1, 2};
static const double high[REALS] = {5, 5, 9, 1, 3};
static unsigned     asked;


/* Pairs of bits that differ: no bit alone says anything. */
static double
pairs(void *ctx, const double *genes)
{
    unsigned i, n;

    (void) ctx;

    asked++;
    for (i = 0, n = 0; i < 40; i += 2) {
        n += genes[i] != genes[i + 1];
    }

    return n;
}


static double
mixed(void *ctx, const double *genes)
{
    double   sum;
    unsigned i;

    (void) ctx;

    asked++;
    sum = genes[0] - genes[1];
    for (i = 0; i < REALS; i++) {
        assert_true(genes[2 + i] >= low[i] && genes[2 + i] <= high[i]);
        sum -= pow(genes[2 + i] - 2.5, 2);
    }

    return genes[0] == 0 && genes[1] == 1 ? NAN : sum;
}


static double
flat(void *ctx, const double *genes)
{
    (void) ctx;
    (void) genes;

    return -INFINITY;
}


static void
test_bits(void **unused)
{
    double           genes[40], again[40], value, first;
    unsigned         used;
    mining_genetic_t search = {40, 0, NULL, NULL, 3000, 1};

    (void) unused;

    for (search.seed = 1; search.seed < 6; search.seed++) {
        memset(genes, 0, sizeof(genes));
        asked = 0;
        assert_int_equal(
            mining_genetic_search(&search, pairs, NULL, genes, &value, &used),
            MINING_OK);
        assert_int_equal(used, 3000);
        assert_int_equal(asked, used);
        assert_true(value == 20 && pairs(NULL, genes) == value);

        memset(again, 0, sizeof(again));
        assert_int_equal(
            mining_genetic_search(&search, pairs, NULL, again, &first, &used),
            MINING_OK);
        assert_memory_equal(genes, again, sizeof(genes));

        search.evaluations = 1 + (unsigned) search.seed; /* never worse */
        assert_int_equal(
            mining_genetic_search(&search, pairs, NULL, again, &first, &used),
            MINING_OK);
        assert_true(first == 20);
        search.evaluations = 3000;
    }
}


static void
test_reals_and_bits(void **unused)
{
    double           genes[2 + REALS] = {0, 0, -5, 5, 0, 1, 2}, value;
    unsigned         used;
    mining_genetic_t search = {2, REALS, low, high, 4000, 9};

    (void) unused;

    assert_int_equal(
        mining_genetic_search(&search, mixed, NULL, genes, &value, &used),
        MINING_OK);
    assert_true(genes[0] == 1 && genes[1] == 0);
    assert_true(value > 1 - 2.25 - 0.01); /* the gene that is 1 always */
}


static void
test_what_cannot_be_searched(void **unused)
{
    double           genes[MINING_GENES_MAX + 1] = {0}, value;
    double           wrong[REALS] = {NAN, 0, 0, 0, 0};
    unsigned         used;
    mining_genetic_t search = {3, 0, NULL, NULL, 0, 1};

    (void) unused;

#define search_is(rc)                                                          \
    assert_int_equal(                                                          \
        mining_genetic_search(&search, flat, NULL, genes, &value, &used), rc)

    search_is(MINING_INVALID); /* no evaluation */
    search.evaluations = 200;
    search_is(MINING_OK);
    assert_true(value == -INFINITY && genes[0] == 0);
    genes[1] = 0.5;
    search_is(MINING_INVALID);
    genes[1] = 0;
    search.nbits = 0;
    search_is(MINING_INVALID);
    search.nbits = MINING_GENES_MAX + 1;
    search_is(MINING_INVALID);
    search.nbits = 1; /* no more than two different ones */
    search_is(MINING_OK);
    search.nbits = 0;
    search.nreals = REALS;
    search.low = wrong;
    search.high = high;
    search_is(MINING_INVALID);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_reals_and_bits),
        cmocka_unit_test(test_what_cannot_be_searched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
