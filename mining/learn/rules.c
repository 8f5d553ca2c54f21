/*
 * rules.c - "who buys these also buys that", from the frequent sets.
 *
 * One item on the right.  Confidence is count(all) / count(left), lift is
 * confidence / support(right).  A rule is redundant if one with fewer items on
 * the left, none included, has at least its confidence: the longer one says
 * nothing new (Bayardo, Agrawal and Gunopulos 2000: no improvement).
 *
 * Sets come with every subset before them, so one pass is enough.  For each
 * set and each of its items two things are kept: the set without the item, and
 * the best confidence of the item after any subset of the others.  The former
 * is the child, by the last item, of what the parent has; the latter a maximum
 * over sets one smaller.  Equal fractions give equal doubles, as a division
 * rounds correctly: so "at least" needs no tolerance.
 */

#include "itemsets.h"

#include <stdlib.h>


/* Of a confidence, which is written as a decimal. */
#define RULES_TOLERANCE 1e-12

typedef struct {
    const mining_itemsets_t *found;
    uint64_t                *starts;  /* by set: its first of the following */
    uint32_t                *without; /* the set without its i-th item */
    double                  *best;    /* confidence of the i-th item */
} rules_t;


static uint32_t
rules_child(const mining_itemsets_t *found, uint32_t set, uint32_t rank)
{
    uint32_t low, high, middle;

    low = found->sets[set].child;
    high = low + found->sets[set].nchildren;

    if (set == 0) {
        return low + rank; /* every frequent item is there */
    }

    while (high - low > 1) {
        middle = low + (high - low) / 2;
        if (found->sets[middle].rank <= rank) {
            low = middle;
        } else {
            high = middle;
        }
    }

    return low;
}


/* How many items each set has, as where its entries start. */
static uint64_t
rules_sizes(rules_t *rules)
{
    size_t   i;
    uint64_t total;
    uint32_t parent, size;

    total = 0;
    rules->starts[0] = 0;
    for (i = 1; i <= rules->found->n; i++) {
        rules->starts[i] = total;
        if (i < rules->found->n) {
            parent = rules->found->sets[i].parent;
            size =
                (uint32_t) (rules->starts[parent + 1] - rules->starts[parent]);
            total += size + 1;
        }
    }

    return total;
}


/* The best any smaller left side does for item k of a set. */
static double
rules_less(const rules_t *rules, uint32_t set, uint32_t size, uint32_t k)
{
    double          best, other;
    uint32_t        i, sub;
    const uint32_t *without;

    without = rules->without + rules->starts[set];
    best = 0;

    for (i = 0; i < size; i++) {
        if (i != k) {
            sub = without[i];
            other = rules->best[rules->starts[sub] + k - (i < k)];
            best = other > best ? other : best;
        }
    }

    return best;
}


/* The entries of a set, from those of its parent. */
static void
rules_subsets(rules_t *rules, uint32_t set, uint32_t size)
{
    uint32_t                k, at, *without;
    const mining_itemset_t *sets;

    sets = rules->found->sets;
    without = rules->without + rules->starts[set];

    for (k = 0; k + 1 < size; k++) {
        at = rules->without[rules->starts[sets[set].parent] + k];
        without[k] = rules_child(rules->found, at, sets[set].rank);
    }
    without[k] = sets[set].parent;
}


static void
rules_name(const rules_t *rules, uint32_t set, uint32_t size, uint32_t k,
    uint32_t *left, mining_rule_t *rule)
{
    uint32_t                 i;
    const mining_itemset_t  *sets;
    const mining_itemsets_t *found;

    found = rules->found;
    sets = found->sets;

    rule->left = left;
    rule->nleft = size - 1;
    rule->count = sets[set].count;
    rule->support = (double) rule->count / sets[0].count;

    for (i = size; i-- > 0; set = sets[set].parent) {
        if (i == k) {
            rule->right = found->items[sets[set].rank];
            rule->lift = sets[rules_child(found, 0, sets[set].rank)].count;
        } else {
            left[i - (i > k)] = found->items[sets[set].rank];
        }
    }
    rule->lift = rule->confidence / (rule->lift / sets[0].count);
}


static int
rules_of_set(rules_t *rules, uint32_t set, double confidence,
    mining_rule_pt give, void *ctx)
{
    double                  own, less;
    uint64_t                start;
    uint32_t                k, size, left[MINING_ITEMSETS_SIZE_MAX];
    mining_rule_t           rule;
    const mining_itemset_t *sets;

    sets = rules->found->sets;
    start = rules->starts[set];
    size = (uint32_t) (rules->starts[set + 1] - start);
    rules_subsets(rules, set, size);

    for (k = 0; k < size; k++) {
        own = (double) sets[set].count / sets[rules->without[start + k]].count;
        less = rules_less(rules, set, size, k);
        rules->best[start + k] = own > less ? own : less;

        if (size > 1 && own >= confidence - RULES_TOLERANCE) {
            rule.confidence = own;
            rule.redundant = less >= own;
            rules_name(rules, set, size, k, left, &rule);
            if (give(ctx, &rule) != 0) {
                return 1;
            }
        }
    }

    return 0;
}


mining_result_e
mining_rules_each(const mining_itemsets_t *found, double confidence,
    mining_rule_pt give, void *ctx)
{
    size_t          i;
    rules_t         rules;
    uint64_t        total;
    mining_result_e rc;

    rc = MINING_OK;
    rules.found = found;
    rules.without = NULL;
    rules.best = NULL;
    rules.starts = malloc((found->n + 1) * sizeof(*rules.starts));

    if (rules.starts != NULL) {
        total = rules_sizes(&rules);
        rules.without = malloc((total + 1) * sizeof(*rules.without));
        rules.best = malloc((total + 1) * sizeof(*rules.best));
    }

    if (rules.without == NULL || rules.best == NULL) {
        rc = MINING_NOMEM;
    }

    for (i = 1; i < found->n && rc == MINING_OK; i++) {
        if (rules_of_set(&rules, (uint32_t) i, confidence, give, ctx)) {
            break;
        }
    }

    free(rules.starts);
    free(rules.without);
    free(rules.best);

    return rc;
}
