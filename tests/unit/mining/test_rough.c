/*
 * test_rough.c - reducts and rules against trying every set of attributes.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/random.h"
#include "mining/learn/rough.h"


#define ROWS_MAX 400

static uint32_t cells[ROWS_MAX * 64];
static uint32_t decisions[ROWS_MAX];


static mining_rough_t
draw(uint64_t seed, size_t n, unsigned m, unsigned values, unsigned kinds)
{
    size_t         i;
    mining_rough_t table = {cells, decisions, kinds, n, m};

    for (i = 0; i < n * m; i++) {
        cells[i] = (uint32_t) mining_random_below(&seed, values) + 1000;
    }
    for (i = 0; i < n; i++) {
        decisions[i] = (uint32_t) mining_random_below(&seed, kinds);
    }

    return table;
}


static int
equal(const mining_rough_t *t, uint64_t set, size_t a, size_t b)
{
    unsigned k;

    for (k = 0; k < t->m; k++) {
        if ((set >> k & 1) != 0
            && t->cells[a * t->m + k] != t->cells[b * t->m + k]) {
            return 0;
        }
    }

    return 1;
}


static size_t
decided(const mining_rough_t *t, uint64_t set)
{
    size_t i, k, n;

    for (i = 0, n = 0; i < t->n; i++) {
        for (k = 0;
             k < t->n
             && (!equal(t, set, i, k) || t->decisions[i] == t->decisions[k]);
             k++)
        {
        }
        n += k == t->n;
    }

    return n;
}


static void
check(const mining_rough_t *t)
{
    size_t           i, n, all;
    double           quality;
    uint64_t         set, full, core;
    unsigned         k, used;
    mining_reducts_t got;

    full = (1ULL << t->m) - 1;
    all = decided(t, full);
    assert_int_equal(mining_rough_quality(t, full, &quality), MINING_OK);
    assert_true(fabs(quality - (double) all / (double) t->n) < 1e-15);
    assert_int_equal(mining_rough_reducts(t, &got), MINING_OK);
    assert_true(got.all);

    for (set = 0, n = 0, core = full; set <= full; set++) {
        if (decided(t, set) != all) {
            continue;
        }
        for (k = 0; k < t->m; k++) {
            if ((set >> k & 1) && decided(t, set & ~(1ULL << k)) == all) {
                break;
            }
        }
        if (k < t->m) {
            continue;
        }
        n++;
        core &= set;
        for (i = 0; i < got.n && got.sets[i] != set; i++) {
        }
        assert_true(i < got.n);
    }
    assert_int_equal(n, got.n);
    assert_true(core == got.core);

    assert_int_equal(mining_rough_search(t, 300, 7, &set, &used), MINING_OK);
    assert_int_equal(used, 300);
    for (i = 0; i < got.n && got.sets[i] != set; i++) {
    }
    assert_true(i < got.n);
    mining_reducts_free(&got);
}


static void
test_reducts_are_those_of_trying_all(void **unused)
{
    uint64_t       seed;
    mining_rough_t table;

    (void) unused;

    for (seed = 1; seed < 6; seed++) {
        table = draw(seed, 14, 7, 2, 2); /* contradicts itself */
        check(&table);
        table = draw(seed, 24, 6, 3, 3);
        check(&table);
        table = draw(seed, 30, 4, 300, 2);
        check(&table);
    }
    table = draw(1, 1, 3, 2, 1);
    check(&table);
}


static void
test_rules_cover_and_do_not_lie(void **unused)
{
    size_t               i, k, matches, support;
    double               votes[4];
    uint32_t             decision;
    uint64_t             seed;
    mining_rough_t       table;
    mining_rough_rules_t rules;

    (void) unused;

    for (seed = 1; seed < 12; seed++) {
        table = draw(seed, 90, 5, 3, 3);
        assert_int_equal(mining_rough_learn(&table, &rules), MINING_OK);
        for (i = 0; i < rules.n; i++) {
            for (k = 0, matches = 0, support = 0; k < table.n; k++) {
                if (equal(&table, rules.rules[i].attributes, rules.rules[i].row,
                        k)) {
                    matches++;
                    support += decisions[k] == rules.rules[i].decision;
                }
            }
            assert_int_equal(matches, rules.rules[i].matches);
            assert_int_equal(support, rules.rules[i].support);
        }
        for (i = 0; i < table.n; i++) {
            for (k = 0, matches = 0; k < rules.n; k++) {
                matches += equal(&table, rules.rules[k].attributes,
                               rules.rules[k].row, i)
                           != 0;
            }
            assert_true(matches > 0);
            assert_true(mining_rough_decide(
                &table, &rules, cells + i * table.m, votes, &decision));
            for (k = 0;
                 k < table.n
                 && (!equal(&table, 31, i, k) || decisions[i] == decisions[k]);
                 k++)
            {
            }
            if (k == table.n) { /* not in the boundary */
                assert_int_equal(decision, decisions[i]);
            }
        }
        mining_rough_rules_free(&rules);
    }
}


static void
test_equal_rows_and_wide_tables(void **unused)
{
    size_t               i;
    unsigned             used;
    uint64_t             set;
    mining_rough_t       table;
    mining_reducts_t     got;
    mining_rough_rules_t rules;

    (void) unused;

    table = draw(3, 300, 8, 1, 2); /* all equal, decided at random */
    assert_int_equal(mining_rough_reducts(&table, &got), MINING_OK);
    assert_true(got.n == 1 && got.sets[0] == 0);
    mining_reducts_free(&got);
    assert_int_equal(mining_rough_learn(&table, &rules), MINING_OK);
    assert_int_equal(rules.n, 1);
    assert_true(rules.rules[0].support < rules.rules[0].matches);
    mining_rough_rules_free(&rules);

    table = draw(4, 200, 64, 2, 2);
    for (i = 0; i < table.n; i++) {
        decisions[i] = cells[i * 64 + 63] != cells[i * 64 + 5];
    }
    assert_int_equal(
        mining_rough_search(&table, 2000, 1, &set, &used), MINING_OK);
    assert_true(
        set == (1ULL << 63 | 1ULL << 5) || __builtin_popcountll(set) <= 9);
    assert_int_equal(mining_rough_learn(&table, &rules), MINING_OK);
    assert_true(rules.n > 0);
    mining_rough_rules_free(&rules);

    table.m = 65;
    assert_int_equal(mining_rough_reducts(&table, &got), MINING_INVALID);
    mining_reducts_free(&got);
    table.m = 64;
    table.n = 0;
    assert_int_equal(mining_rough_learn(&table, &rules), MINING_INVALID);
    mining_rough_rules_free(&rules);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reducts_are_those_of_trying_all),
        cmocka_unit_test(test_rules_cover_and_do_not_lie),
        cmocka_unit_test(test_equal_rows_and_wide_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
