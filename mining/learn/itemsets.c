/*
 * itemsets.c - finds all sets of items that are often in one basket.
 *
 * Pattern growth: the baskets that hold an item, cut before it, are a smaller
 * set of baskets, in which the same question is asked again.  Items have ranks
 * by frequency, the most frequent first, so that what is cut off is long where
 * few baskets are left (Han, Pei and Yin, SIGMOD 2000, keep a tree for this;
 * flat arrays copied without the rare items need less memory and no pointers).
 *
 * Two short cuts carry the speed.  With at most 64 items left a basket is a
 * word, and equal words are merged.  With at most GROW_SUMS left, one table of
 * counters by word, summed over supersets, answers all subsets at once and
 * the search ends.
 *
 * Children of a set lie together and by rank, and sets are visited by rank:
 * so every subset of a set stands before it, which rules.c relies on.  A set
 * of s items has 2^s frequent subsets; hence the limit on sets is a limit of
 * 23 on the depth of recursion.
 */

#include "itemsets.h"

#include <stdlib.h>
#include <string.h>


#define GROW_WORD   64
#define GROW_SUMS   8
#define GROW_MERGE  48 /* fewer words are not worth a table */
#define GROW_INSERT 24
#define GROW_NONE   UINT32_MAX

typedef struct {
    const uint32_t *items; /* ranks, rising */
    uint32_t        n;
    uint32_t        count; /* baskets it stands for */
} grow_basket_t;

typedef struct {
    uint64_t items; /* bit i: the i-th item left */
    uint32_t count;
} grow_word_t;

typedef struct {
    mining_itemsets_t *found;
    uint32_t           least;
    uint32_t          *counts; /* by rank; 0 between uses */
    uint32_t          *local;  /* by rank: its place among those left */
    uint32_t          *left;   /* ranks met while counting */
    mining_result_e    rc;     /* not OK: everything returns */
} grow_t;

static void grow_baskets(
    grow_t *grow, uint32_t set, const grow_basket_t *baskets, size_t n);


static int
grow_by_number(const void *a, const void *b)
{
    uint32_t x, y;

    x = *(const uint32_t *) a;
    y = *(const uint32_t *) b;

    return x < y ? -1 : x > y;
}


/* Room for n children of a set; returns the first, 0 if there is none. */
static uint32_t
grow_children(grow_t *grow, uint32_t set, uint32_t n)
{
    size_t             size;
    mining_itemset_t  *sets;
    mining_itemsets_t *found;

    found = grow->found;

    if (found->n + n > MINING_ITEMSETS_MAX) {
        grow->rc = MINING_FULL;
        return 0;
    }

    if (found->n + n > found->size) {
        size = 2 * (found->n + n);
        sets = realloc(found->sets, size * sizeof(*sets));
        if (sets == NULL) {
            grow->rc = MINING_NOMEM;
            return 0;
        }
        found->sets = sets;
        found->size = size;
    }

    found->sets[set].child = (uint32_t) found->n;
    found->sets[set].nchildren = n;
    found->n += n;

    return found->sets[set].child;
}


static void
grow_child(
    grow_t *grow, uint32_t child, uint32_t set, uint32_t rank, uint32_t count)
{
    mining_itemset_t *it;

    it = &grow->found->sets[child];
    it->rank = rank;
    it->count = count;
    it->parent = set;
    it->child = 0;
    it->nchildren = 0;
}


/* The sets below one that ends with item `last` of the table. */
static void
grow_summed(grow_t *grow, uint32_t set, const uint32_t *sums,
    const uint32_t *ranks, unsigned items, unsigned last)
{
    unsigned i, n, at;
    uint32_t first;
    unsigned left[GROW_SUMS];

    for (i = 0, n = 0; i < last; i++) {
        if (sums[items | 1U << i] >= grow->least) {
            left[n++] = i;
        }
    }

    if (n == 0) {
        return;
    }
    first = grow_children(grow, set, n);
    if (first == 0) {
        return;
    }

    for (i = 0; i < n; i++) {
        at = items | 1U << left[i];
        grow_child(grow, first + i, set, ranks[left[i]], sums[at]);
    }

    for (i = 1; i < n && grow->rc == MINING_OK; i++) {
        grow_summed(
            grow, first + i, sums, ranks, items | 1U << left[i], left[i]);
    }
}


/* All sets of the few items left at once; `set` has its children already. */
static void
grow_sums(grow_t *grow, uint32_t set, const uint32_t *ranks, uint64_t left,
    const grow_word_t *words, size_t n)
{
    size_t   i;
    unsigned k, m, bit, at;
    uint32_t sums[1U << GROW_SUMS], names[GROW_SUMS];
    unsigned bits[GROW_SUMS];

    for (m = 0; left != 0; left &= left - 1) {
        bits[m] = (unsigned) __builtin_ctzll(left);
        names[m] = ranks[bits[m]];
        m++;
    }

    memset(sums, 0, sizeof(*sums) << m);
    for (i = 0; i < n; i++) {
        for (at = 0, k = 0; k < m; k++) {
            at |= (unsigned) (words[i].items >> bits[k] & 1) << k;
        }
        sums[at] += words[i].count;
    }

    for (bit = 1; bit < 1U << m; bit <<= 1) {
        for (at = 0; at < 1U << m; at += 2 * bit) {
            for (k = at; k < at + bit; k++) {
                sums[k] += sums[k + bit];
            }
        }
    }

    for (k = 1; k < m && grow->rc == MINING_OK; k++) {
        grow_summed(
            grow, grow->found->sets[set].child + k, sums, names, 1U << k, k);
    }
}


/* Equal words become one; returns how many are left. */
static size_t
grow_merge(grow_word_t *words, size_t n)
{
    size_t    i, used, at, mask;
    uint32_t *table;

    if (n < GROW_MERGE) {
        return n;
    }

    for (mask = 128; mask < 2 * n; mask *= 2) {
    }
    table = calloc(mask, sizeof(*table));
    if (table == NULL) {
        return n; /* slower, not wrong */
    }
    mask--;

    for (i = 0, used = 0; i < n; i++) {
        at = (size_t) (words[i].items * 0x9e3779b97f4a7c15ULL >> 32) & mask;
        while (table[at] != 0 && words[table[at] - 1].items != words[i].items) {
            at = (at + 1) & mask;
        }
        if (table[at] != 0) {
            words[table[at] - 1].count += words[i].count;
        } else {
            words[used++] = words[i];
            table[at] = (uint32_t) used;
        }
    }
    free(table);

    return used;
}


/* The words that hold the bit, cut before it, and the items left in them. */
static uint64_t
grow_cut(const grow_t *grow, const grow_word_t *words, size_t n, unsigned bit,
    grow_word_t *cut, size_t *ncut, uint32_t *counts)
{
    size_t   i, used;
    uint64_t below, left, items;

    below = (1ULL << bit) - 1;
    memset(counts, 0, bit * sizeof(*counts));

    for (i = 0, used = 0; i < n; i++) {
        items = words[i].items & below;
        if ((words[i].items >> bit & 1) == 0 || items == 0) {
            continue;
        }
        cut[used].items = items;
        cut[used++].count = words[i].count;
        for (; items != 0; items &= items - 1) {
            counts[__builtin_ctzll(items)] += words[i].count;
        }
    }

    for (left = 0, i = 0; i < bit; i++) {
        if (counts[i] >= grow->least) {
            left |= 1ULL << i;
        }
    }

    for (i = 0, *ncut = 0; i < used; i++) {
        cut[*ncut].items = cut[i].items & left;
        cut[*ncut].count = cut[i].count;
        *ncut += cut[*ncut].items != 0;
    }

    return left;
}


/* The sets of at most 64 items; `set` has its children already. */
static void
grow_words(grow_t *grow, uint32_t set, const uint32_t *ranks, uint64_t items,
    const grow_word_t *words, size_t n)
{
    size_t       ncut;
    uint32_t     first, child, counts[GROW_WORD];
    uint64_t     left, rest;
    unsigned     bit;
    grow_word_t *cut;

    if ((items & (items - 1)) == 0) {
        return;
    }

    if (__builtin_popcountll(items) <= GROW_SUMS) {
        grow_sums(grow, set, ranks, items, words, n);
        return;
    }

    cut = malloc(n * sizeof(*cut) + 1);
    if (cut == NULL) {
        grow->rc = MINING_NOMEM;
        return;
    }

    child = grow->found->sets[set].child;
    for (; items != 0 && grow->rc == MINING_OK; items &= items - 1, child++) {
        bit = (unsigned) __builtin_ctzll(items);
        left = grow_cut(grow, words, n, bit, cut, &ncut, counts);
        if (left == 0) {
            continue;
        }

        first =
            grow_children(grow, child, (uint32_t) __builtin_popcountll(left));
        if (first == 0) {
            break;
        }
        for (rest = left; rest != 0; rest &= rest - 1) {
            bit = (unsigned) __builtin_ctzll(rest);
            grow_child(grow, first++, child, ranks[bit], counts[bit]);
        }

        if ((left & (left - 1)) != 0) {
            grow_words(grow, child, ranks, left, cut, grow_merge(cut, ncut));
        }
    }

    free(cut);
}


static void
grow_as_words(grow_t *grow, uint32_t set, const uint32_t *ranks, uint32_t m,
    const grow_basket_t *baskets, size_t n)
{
    size_t       i, used;
    uint32_t     k, at;
    uint64_t     items;
    grow_word_t *words;

    words = malloc(n * sizeof(*words) + 1);
    if (words == NULL) {
        grow->rc = MINING_NOMEM;
        return;
    }

    for (i = 0, used = 0; i < n; i++) {
        items = 0;
        for (k = 0; k < baskets[i].n; k++) {
            at = grow->local[baskets[i].items[k]];
            items |= at == GROW_NONE ? 0 : 1ULL << at;
        }
        words[used].items = items;
        words[used].count = baskets[i].count;
        used += items != 0;
    }

    for (k = 0; k < m; k++) {
        grow->local[ranks[k]] = GROW_NONE;
    }

    used = grow_merge(words, used);
    grow_words(grow, set, ranks, m == GROW_WORD ? ~0ULL : (1ULL << m) - 1,
        words, used);
    free(words);
}


/*
 * Copies the baskets without the rare items.  places[k] ... places[k + 1] are
 * then the baskets that hold the k-th item left, cut before it; those that it
 * comes first in leave places at the end that stay empty.
 */
static mining_result_e
grow_copy(grow_t *grow, uint32_t m, const grow_basket_t *baskets, size_t n,
    const size_t *starts, uint32_t **copy, grow_basket_t **places)
{
    size_t    i, total, used, *ends;
    uint32_t  k, at, len;
    uint32_t *items;

    total = starts[m];
    items = malloc((total + 1) * sizeof(*items));
    *copy = items;
    *places = calloc(total + 1, sizeof(**places));
    ends = malloc((m + 1) * sizeof(*ends));
    if (items == NULL || *places == NULL || ends == NULL) {
        free(ends);
        return MINING_NOMEM;
    }
    memcpy(ends, starts, m * sizeof(*ends));

    for (i = 0, used = 0; i < n; i++) {
        for (k = 0, len = 0; k < baskets[i].n; k++) {
            at = grow->local[baskets[i].items[k]];
            if (at == GROW_NONE) {
                continue;
            }
            if (len > 0) {
                (*places)[ends[at]].items = items + used;
                (*places)[ends[at]].n = len;
                (*places)[ends[at]++].count = baskets[i].count;
            }
            items[used + len++] = baskets[i].items[k];
        }
        used += len;
    }

    free(ends);

    return MINING_OK;
}


/* The sets below one with many items left: each item's baskets in turn. */
static void
grow_as_baskets(grow_t *grow, uint32_t set, const uint32_t *ranks, uint32_t m,
    const grow_basket_t *baskets, size_t n)
{
    size_t         i, *starts, end;
    uint32_t       k, at, *copy;
    grow_basket_t *places;

    copy = NULL;
    places = NULL;
    starts = calloc((size_t) m + 2, sizeof(*starts));
    if (starts == NULL) {
        grow->rc = MINING_NOMEM;
        return;
    }

    for (i = 0; i < n; i++) {
        for (k = 0; k < baskets[i].n; k++) {
            at = grow->local[baskets[i].items[k]];
            if (at != GROW_NONE) {
                starts[at + 1]++;
            }
        }
    }
    for (k = 0; k < m; k++) {
        starts[k + 1] += starts[k];
    }

    grow->rc = grow_copy(grow, m, baskets, n, starts, &copy, &places);
    for (k = 0; k < m; k++) {
        grow->local[ranks[k]] = GROW_NONE;
    }

    for (k = 1; k < m && grow->rc == MINING_OK; k++) {
        for (end = starts[k + 1]; end > starts[k] && places[end - 1].n == 0;
             end--) {
        }
        if (end > starts[k]) {
            grow_baskets(grow, grow->found->sets[set].child + k,
                places + starts[k], end - starts[k]);
        }
    }

    free(copy);
    free(places);
    free(starts);
}


/* Counts the items and leaves the frequent ones in grow->left, by rank. */
static uint32_t
grow_count(grow_t *grow, const grow_basket_t *baskets, size_t n)
{
    size_t   i;
    uint32_t k, rank, met, used;

    for (i = 0, met = 0; i < n; i++) {
        for (k = 0; k < baskets[i].n; k++) {
            rank = baskets[i].items[k];
            if (grow->counts[rank] == 0) {
                grow->left[met++] = rank;
            }
            grow->counts[rank] += baskets[i].count;
        }
    }

    for (k = 0, used = 0; k < met; k++) {
        rank = grow->left[k];
        if (grow->counts[rank] >= grow->least) {
            grow->left[used++] = rank;
        } else {
            grow->counts[rank] = 0;
        }
    }
    qsort(grow->left, used, sizeof(*grow->left), grow_by_number);

    return used;
}


/* Adds all sets that the baskets add to one; each basket is cut before it. */
static void
grow_baskets(grow_t *grow, uint32_t set, const grow_basket_t *baskets, size_t n)
{
    uint32_t k, m, first, *ranks;

    m = grow_count(grow, baskets, n);
    if (m == 0) {
        return;
    }

    ranks = malloc(m * sizeof(*ranks));
    first = ranks == NULL ? 0 : grow_children(grow, set, m);
    if (ranks == NULL) {
        grow->rc = MINING_NOMEM;
    }

    for (k = 0; k < m; k++) {
        if (first != 0) {
            ranks[k] = grow->left[k];
            grow->local[ranks[k]] = k;
            grow_child(grow, first + k, set, ranks[k], grow->counts[ranks[k]]);
        }
        grow->counts[grow->left[k]] = 0;
    }

    if (first != 0) {
        if (m > GROW_WORD) {
            grow_as_baskets(grow, set, ranks, m, baskets, n);
        } else {
            grow_as_words(grow, set, ranks, m, baskets, n);
        }
    }
    free(ranks);
}


/* ---- the baskets as they come in ----------------------------------------- */

typedef struct {
    uint32_t item;
    uint32_t count;
} grow_item_t;


static int
grow_by_count(const void *a, const void *b)
{
    const grow_item_t *x = a, *y = b;

    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }

    return x->item < y->item ? -1 : x->item > y->item;
}


/* Ranks of the frequent items into ranks[], GROW_NONE for the others. */
static mining_result_e
grow_rank(const mining_baskets_t *baskets, uint32_t least,
    mining_itemsets_t *found, uint32_t *ranks)
{
    size_t       i, k, *last;
    uint32_t     item, n;
    grow_item_t *items;

    items = calloc((size_t) baskets->nitems + 1, sizeof(*items));
    last = calloc((size_t) baskets->nitems + 1, sizeof(*last));
    if (items == NULL || last == NULL) {
        free(items);
        free(last);
        return MINING_NOMEM;
    }

    for (i = 0; i < baskets->n; i++) {
        for (k = baskets->starts[i]; k < baskets->starts[i + 1]; k++) {
            item = baskets->items[k];
            items[item].count += last[item] != i + 1;
            last[item] = i + 1;
        }
    }
    free(last);

    for (item = 0, n = 0; item < baskets->nitems; item++) {
        ranks[item] = GROW_NONE;
        if (items[item].count >= least) {
            items[n].count = items[item].count;
            items[n++].item = item;
        }
    }
    qsort(items, n, sizeof(*items), grow_by_count);

    found->nitems = n;
    found->items = malloc((n + 1) * sizeof(*found->items));
    for (item = 0; found->items != NULL && item < n; item++) {
        found->items[item] = items[item].item;
        ranks[items[item].item] = item;
    }
    free(items);

    return found->items == NULL ? MINING_NOMEM : MINING_OK;
}


/* Most baskets are so short that a call of qsort would cost more. */
static void
grow_sort(uint32_t *ranks, uint32_t n)
{
    uint32_t i, k, rank;

    if (n > GROW_INSERT) {
        qsort(ranks, n, sizeof(*ranks), grow_by_number);
        return;
    }

    for (i = 1; i < n; i++) {
        rank = ranks[i];
        for (k = i; k > 0 && ranks[k - 1] > rank; k--) {
            ranks[k] = ranks[k - 1];
        }
        ranks[k] = rank;
    }
}


/* The frequent items of each basket as rising ranks, each once. */
static size_t
grow_ranked(const mining_baskets_t *baskets, const uint32_t *ranks,
    uint32_t *copy, grow_basket_t *out)
{
    size_t   i, k, n, used;
    uint32_t rank, len, *to;

    for (i = 0, n = 0, used = 0; i < baskets->n; i++) {
        to = copy + used;
        for (k = baskets->starts[i], len = 0; k < baskets->starts[i + 1]; k++) {
            rank = ranks[baskets->items[k]];
            if (rank != GROW_NONE) {
                to[len++] = rank;
            }
        }
        grow_sort(to, len);

        for (k = 0, rank = 0; k < len; k++) {
            if (k == 0 || to[k] != to[k - 1]) {
                to[rank++] = to[k];
            }
        }

        if (rank > 0) {
            out[n].items = to;
            out[n].n = rank;
            out[n++].count = 1;
            used += rank;
        }
    }

    return n;
}


static mining_result_e
grow_start(grow_t *grow, const mining_baskets_t *baskets, const uint32_t *ranks)
{
    size_t         n, m;
    uint32_t       i, *copy;
    grow_basket_t *ranked;

    m = grow->found->nitems;
    copy = malloc((baskets->starts[baskets->n] + 1) * sizeof(*copy));
    ranked = malloc((baskets->n + 1) * sizeof(*ranked));
    grow->counts = calloc(m + 1, sizeof(*grow->counts));
    grow->local = malloc((m + 1) * sizeof(*grow->local));
    grow->left = malloc((m + 1) * sizeof(*grow->left));
    grow->found->sets = calloc(1024, sizeof(*grow->found->sets));

    if (copy == NULL || ranked == NULL || grow->counts == NULL
        || grow->local == NULL || grow->left == NULL
        || grow->found->sets == NULL)
    {
        grow->rc = MINING_NOMEM;

    } else {
        for (i = 0; i < m; i++) {
            grow->local[i] = GROW_NONE;
        }
        grow->found->size = 1024;
        grow->found->n = 1;
        grow->found->sets[0].count = (uint32_t) baskets->n;

        n = grow_ranked(baskets, ranks, copy, ranked);
        grow_baskets(grow, 0, ranked, n);
    }

    free(copy);
    free(ranked);
    free(grow->counts);
    free(grow->local);
    free(grow->left);

    return grow->rc;
}


mining_result_e
mining_itemsets_find(
    const mining_baskets_t *baskets, uint32_t least, mining_itemsets_t *found)
{
    grow_t          grow;
    uint32_t       *ranks;
    mining_result_e rc;

    memset(found, 0, sizeof(*found));
    memset(&grow, 0, sizeof(grow));

    if (least == 0 || baskets->n >= UINT32_MAX
        || baskets->nitems >= UINT32_MAX - 2) {
        return MINING_INVALID;
    }

    grow.found = found;
    grow.least = least;

    ranks = malloc(((size_t) baskets->nitems + 1) * sizeof(*ranks));
    rc = ranks == NULL ? MINING_NOMEM : grow_rank(baskets, least, found, ranks);
    if (rc == MINING_OK) {
        rc = found->nitems == 0 ? MINING_DECLINED
                                : grow_start(&grow, baskets, ranks);
    }
    free(ranks);

    return rc;
}


void
mining_itemsets_free(mining_itemsets_t *found)
{
    free(found->sets);
    free(found->items);
    memset(found, 0, sizeof(*found));
}
