/*
 * test_itemsets.c - frequent sets and rules against counting by hand.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/itemsets.h"
#include "mining/learn/random.h"


#define BASKETS_MAX 1000
#define ITEMS_MAX   40000

static uint64_t starts[BASKETS_MAX + 1];
static uint32_t items[ITEMS_MAX];
static uint64_t bits[BASKETS_MAX][3];


/* The baskets as bits: counting by hand has to end one day. */
static void
note(const mining_baskets_t *b)
{
    size_t i, k;

    memset(bits, 0, sizeof(bits));
    for (i = 0; i < b->n; i++) {
        for (k = b->starts[i]; k < b->starts[i + 1]; k++) {
            bits[i][b->items[k] / 64] |= 1ULL << b->items[k] % 64;
        }
    }
}


static mining_baskets_t
draw(uint64_t seed, size_t n, uint32_t nitems, unsigned longest)
{
    size_t           i;
    unsigned         k, len;
    mining_baskets_t baskets = {starts, items, n, nitems};

    starts[0] = 0;
    for (i = 0; i < n; i++) {
        len = (unsigned) mining_random_below(&seed, longest + 1);
        for (k = 0; k < len; k++) {
            /* the square makes low numbers frequent; items repeat */
            double u = mining_random_unit(&seed);
            items[starts[i] + k] = (uint32_t) (u * u * nitems);
        }
        starts[i + 1] = starts[i] + len;
    }
    note(&baskets);

    return baskets;
}


/* Baskets that hold all of the items. */
static uint32_t
count(const mining_baskets_t *b, const uint32_t *set, unsigned n)
{
    size_t   i;
    uint32_t sum;
    uint64_t all[3] = {0};
    unsigned j;

    for (j = 0; j < n; j++) {
        all[set[j] / 64] |= 1ULL << set[j] % 64;
    }
    for (i = 0, sum = 0; i < b->n; i++) {
        sum += (all[0] & ~bits[i][0]) == 0 && (all[1] & ~bits[i][1]) == 0
               && (all[2] & ~bits[i][2]) == 0;
    }

    return sum;
}


/* All frequent sets that add items from `from` on to set[0..n). */
static size_t
oracle(const mining_baskets_t *b, uint32_t least, uint32_t *set, unsigned n,
    uint32_t from)
{
    size_t   sum;
    uint32_t item;

    for (sum = 0, item = from; item < b->nitems; item++) {
        set[n] = item;
        if (count(b, set, n + 1) >= least) {
            sum += 1 + oracle(b, least, set, n + 1, item + 1);
        }
    }

    return sum;
}


static unsigned
members(const mining_itemsets_t *found, uint32_t at, uint32_t *set)
{
    unsigned n;

    for (n = 0; at != 0; at = found->sets[at].parent) {
        set[n++] = found->items[found->sets[at].rank];
    }

    return n;
}


static void
check(const mining_baskets_t *b, uint32_t least)
{
    size_t            i;
    uint32_t          set[32];
    unsigned          n;
    mining_itemsets_t found;
    mining_result_e   rc;

    rc = mining_itemsets_find(b, least, &found);
    if (rc == MINING_DECLINED) {
        assert_int_equal(oracle(b, least, set, 0, 0), 0);
        mining_itemsets_free(&found);
        return;
    }

    assert_int_equal(rc, MINING_OK);
    assert_int_equal(found.n - 1, oracle(b, least, set, 0, 0));
    for (i = 1; i < found.n; i++) {
        n = members(&found, (uint32_t) i, set);
        assert_int_equal(count(b, set, n), found.sets[i].count);
        if (found.sets[i].parent != 0) {
            assert_true(
                found.sets[i].rank < found.sets[found.sets[i].parent].rank);
        }
    }
    mining_itemsets_free(&found);
}


static void
test_drawn_baskets(void **unused)
{
    uint64_t         seed;
    mining_baskets_t b;

    (void) unused;

    for (seed = 1; seed < 30; seed++) {
        b = draw(seed, 40 + seed, 6 + (uint32_t) seed, 9);
        check(&b, 1 + (uint32_t) (seed % 7) + 2);
    }
}


/* Over 64 items at once, so that baskets are no words; then they become. */
static void
test_many_items(void **unused)
{
    mining_baskets_t b;

    (void) unused;

    b = draw(5, 300, 130, 30);
    check(&b, 8);
    b = draw(6, 400, 90, 36);
    check(&b, 22);
}


/* Dense, so that words are merged and sums end the search. */
static void
test_dense(void **unused)
{
    mining_baskets_t b;

    (void) unused;

    b = draw(9, 500, 12, 14);
    check(&b, 20);
}


static void
test_a_million_equal_baskets_are_one(void **unused)
{
    size_t            i;
    uint32_t          k, *many;
    uint64_t         *begin;
    mining_itemsets_t found;
    mining_baskets_t  b;

    (void) unused;

    begin = malloc((1000001) * sizeof(*begin));
    many = malloc(4000000 * sizeof(*many));
    assert_non_null(begin);
    assert_non_null(many);
    for (i = 0; i <= 1000000; i++) {
        begin[i] = 4 * i;
        for (k = 0; i < 1000000 && k < 4; k++) {
            many[4 * i + k] = k;
        }
    }
    b.starts = begin;
    b.items = many;
    b.n = 1000000;
    b.nitems = 4;
    assert_int_equal(mining_itemsets_find(&b, 10, &found), MINING_OK);
    assert_int_equal(found.n, 1 << 4);
    assert_int_equal(found.sets[found.n - 1].count, 1000000);
    mining_itemsets_free(&found);
    free(begin);
    free(many);
}


static void
test_what_cannot_be(void **unused)
{
    mining_itemsets_t found;
    mining_baskets_t  b;

    (void) unused;

    b = draw(1, 100, 10, 5);
    assert_int_equal(mining_itemsets_find(&b, 0, &found), MINING_INVALID);
    mining_itemsets_free(&found);
    assert_int_equal(mining_itemsets_find(&b, 101, &found), MINING_DECLINED);
    mining_itemsets_free(&found);
    b.n = 0;
    assert_int_equal(mining_itemsets_find(&b, 1, &found), MINING_DECLINED);
    mining_itemsets_free(&found);
}


typedef struct {
    const mining_baskets_t *baskets;
    uint32_t                least;
    size_t                  n;
    size_t                  redundant;
} rules_t;


static int
rule_checked(void *ctx, const mining_rule_t *rule)
{
    double   confidence, best;
    rules_t *rules = ctx;
    uint32_t all, left, right, subset, set[32];
    unsigned i, n, k;

    n = rule->nleft;
    memcpy(set, rule->left, n * sizeof(*set));
    left = count(rules->baskets, set, n);
    set[n] = rule->right;
    all = count(rules->baskets, set, n + 1);
    right = count(rules->baskets, &rule->right, 1);
    assert_int_equal(all, rule->count);
    assert_true(all >= rules->least);
    confidence = (double) all / left;
    assert_true(fabs(rule->confidence - confidence) < 1e-15);
    assert_true(fabs(rule->support - (double) all / (double) rules->baskets->n)
                < 1e-15);
    assert_true(
        fabs(rule->lift - confidence * (double) rules->baskets->n / right)
        < 1e-9);

    best = 0;
    for (subset = 0; subset + 1 < 1U << n; subset++) {
        for (i = 0, k = 0; i < n; i++) {
            if (subset >> i & 1) {
                set[k++] = rule->left[i];
            }
        }
        left = count(rules->baskets, set, k);
        set[k] = rule->right;
        best = fmax(best, (double) count(rules->baskets, set, k + 1) / left);
    }
    assert_int_equal(rule->redundant, best >= confidence);
    rules->n++;
    rules->redundant += rule->redundant != 0;

    return 0;
}


static void
test_rules(void **unused)
{
    size_t            i, n;
    rules_t           rules;
    uint32_t          k, set[32];
    uint64_t          seed;
    unsigned          m;
    mining_itemsets_t found;
    mining_baskets_t  b;

    (void) unused;

    for (seed = 1; seed < 8; seed++) {
        b = draw(seed, 120, 14, 8);
        assert_int_equal(mining_itemsets_find(&b, 3, &found), MINING_OK);
        memset(&rules, 0, sizeof(rules));
        rules.baskets = &b;
        rules.least = 3;
        assert_int_equal(
            mining_rules_each(&found, 0.5, rule_checked, &rules), MINING_OK);

        for (i = 1, n = 0; i < found.n; i++) {
            m = members(&found, (uint32_t) i, set);
            for (k = 0; k < m && m > 1; k++) {
                uint32_t last = set[m - 1];
                set[m - 1] = set[k];
                set[k] = last;
                n += 2 * found.sets[i].count >= count(&b, set, m - 1);
                set[k] = set[m - 1];
                set[m - 1] = last;
            }
        }
        assert_int_equal(rules.n, n);
        assert_true(rules.redundant > 0 && rules.redundant < rules.n);
        mining_itemsets_free(&found);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drawn_baskets),
        cmocka_unit_test(test_many_items),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_a_million_equal_baskets_are_one),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
