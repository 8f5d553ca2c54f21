/*
 * itemsets.h - what is often bought together, and the rules that follow.
 */

#ifndef ITEMSETS_H_INCLUDED_
#define ITEMSETS_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


/* All subsets of a frequent set are frequent: no set has more items than 23. */
#define MINING_ITEMSETS_MAX      (1 << 23)
#define MINING_ITEMSETS_SIZE_MAX 23

/* Basket i holds items[starts[i] ... starts[i + 1]), each below nitems. */
typedef struct {
    const uint64_t *starts; /* n + 1 of them, from 0 */
    const uint32_t *items;  /* in any order; one twice in a basket is one */
    size_t          n;
    uint32_t        nitems;
} mining_baskets_t;

/* A set is its parent and one item more, of a lower rank than any of those. */
typedef struct {
    uint32_t rank;
    uint32_t count; /* baskets that hold the set */
    uint32_t parent;
    uint32_t child; /* the first; they lie together, by rank */
    uint32_t nchildren;
} mining_itemset_t;

typedef struct {
    mining_itemset_t *sets; /* [0] is the empty one; a subset comes first */
    size_t            n;
    size_t            size;
    uint32_t         *items; /* by rank: 0 is the most frequent */
    uint32_t          nitems;
} mining_itemsets_t;

typedef struct {
    const uint32_t *left; /* items */
    unsigned        nleft;
    uint32_t        right;
    uint32_t        count; /* baskets that hold all of them */
    double          support;
    double          confidence;
    double          lift;
    int             redundant; /* fewer items on the left say as much */
} mining_rule_t;

/* Not 0 ends it. */
typedef int (*mining_rule_pt)(void *ctx, const mining_rule_t *rule);

/*
 * All sets in at least `least` (from 1) baskets.  DECLINED: none.  FULL: over
 * MINING_ITEMSETS_MAX.  What was found is to be freed whatever the result.
 */
mining_result_e mining_itemsets_find(
    const mining_baskets_t *baskets, uint32_t least, mining_itemsets_t *found);
void mining_itemsets_free(mining_itemsets_t *found);

/* Rules with one item on the right and at least one on the left. */
mining_result_e mining_rules_each(const mining_itemsets_t *found,
    double confidence, mining_rule_pt rule, void *ctx);


#pragma GCC visibility pop

#endif /* ITEMSETS_H_INCLUDED_ */
