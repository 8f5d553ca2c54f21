/*
 * rough_rules.c - if-then rules that cover a decision table.
 *
 * LEM2 (Grzymala-Busse 1992): for each decision, while rows of it are not
 * covered, conditions "attribute is value" are added that most of these rows
 * meet (then: that fewer rows at all meet), until only rows of the decision
 * meet them; conditions, and in the end rules, that can be spared are dropped.
 * Rows that nothing can decide (equal ones with other decisions) are a
 * decision of their own; the rules there name the most frequent one, and
 * support / matches is their certainty.
 *
 * Sets of rows are words of bits.
 */

#include "rough.h"

#include <stdlib.h>
#include <string.h>


#define RULES_MAX      65536
#define RULES_WORK_MAX (1ULL << 34) /* words: some ten seconds */

typedef struct {
    uint64_t *rows;
    uint32_t  row; /* one that has the value */
    unsigned  attribute;
} rule_pair_t;

typedef struct {
    const mining_rough_t *table;
    uint32_t             *decisions; /* with those that are mixed */
    size_t                words;
    rule_pair_t          *pairs;
    size_t                npairs;
    uint64_t             *room;
    uint64_t             *goal;   /* rows of the decision */
    uint64_t             *open;   /* of them, not covered yet */
    uint64_t             *left;   /* of them, that meet the conditions */
    uint64_t             *met;    /* rows that meet the conditions */
    uint32_t             *covers; /* of each row: rules that it meets */
    uint64_t              work;   /* words looked at so far */
} rules_t;

#define RULES_SETS 4

typedef struct {
    uint64_t key; /* attribute and value */
    uint32_t row;
} rule_cell_t;


static int
rules_by_key(const void *a, const void *b)
{
    const rule_cell_t *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }

    return x->row < y->row ? -1 : x->row > y->row;
}


static size_t
rules_count(const uint64_t *a, const uint64_t *b, size_t words)
{
    size_t i, n;

    for (i = 0, n = 0; i < words; i++) {
        n += (size_t) __builtin_popcountll(a[i] & b[i]);
    }

    return n;
}


static int
rules_inside(const uint64_t *a, const uint64_t *b, size_t words)
{
    size_t i;

    for (i = 0; i < words && (a[i] & ~b[i]) == 0; i++) {
    }

    return i == words;
}


/* A set of rows for each value of each attribute. */
static mining_result_e
rules_pairs(rules_t *r)
{
    size_t       i, n, cells;
    unsigned     k;
    rule_cell_t *sorted;

    cells = r->table->n * r->table->m;
    sorted = malloc((cells + 1) * sizeof(*sorted));
    if (sorted == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0, n = 0; i < r->table->n; i++) {
        for (k = 0; k < r->table->m; k++, n++) {
            sorted[n].key = (uint64_t) k << 32 | r->table->cells[n];
            sorted[n].row = (uint32_t) i;
        }
    }
    qsort(sorted, cells, sizeof(*sorted), rules_by_key);

    for (i = 0, n = 0; i < cells; i++) {
        n += i == 0 || sorted[i].key != sorted[i - 1].key;
    }
    if (n * r->words > (1ULL << 27)) {
        free(sorted);
        return MINING_FULL;
    }
    r->pairs = malloc((n + 1) * sizeof(*r->pairs));
    r->room = calloc((n + RULES_SETS) * r->words + 1, sizeof(*r->room));
    if (r->pairs == NULL || r->room == NULL) {
        free(sorted);
        return MINING_NOMEM;
    }

    for (i = 0; i < cells; i++) {
        if (i == 0 || sorted[i].key != sorted[i - 1].key) {
            r->pairs[r->npairs].rows =
                r->room + (RULES_SETS + r->npairs) * r->words;
            r->pairs[r->npairs].attribute = (unsigned) (sorted[i].key >> 32);
            r->pairs[r->npairs++].row = sorted[i].row;
        }
        r->pairs[r->npairs - 1].rows[sorted[i].row / 64] |=
            1ULL << sorted[i].row % 64;
    }
    free(sorted);

    return MINING_OK;
}


/* The condition that most rows left meet, of attributes not asked yet. */
static const rule_pair_t *
rules_best(const rules_t *r, uint64_t asked)
{
    size_t             i, n, all, most, fewest;
    const rule_pair_t *best;

    best = NULL;
    most = fewest = 0;
    for (i = 0; i < r->npairs; i++) {
        if (asked >> r->pairs[i].attribute & 1) {
            continue;
        }
        n = rules_count(r->pairs[i].rows, r->left, r->words);
        if (n == 0 || n < most) {
            continue;
        }
        all = rules_count(r->pairs[i].rows, r->pairs[i].rows, r->words);
        if (n > most || all < fewest) {
            most = n;
            fewest = all;
            best = &r->pairs[i];
        }
    }

    return best;
}


/* Rows that meet all conditions but number `without`. */
static void
rules_meet(const rules_t *r, const rule_pair_t *const *conditions, unsigned n,
    unsigned without, uint64_t *met)
{
    size_t   i;
    unsigned k;

    memset(met, 0xff, r->words * sizeof(*met));
    if (r->table->n % 64 != 0) {
        met[r->words - 1] = (1ULL << r->table->n % 64) - 1;
    }
    for (k = 0; k < n; k++) {
        for (i = 0; k != without && i < r->words; i++) {
            met[i] &= conditions[k]->rows[i];
        }
    }
}


/* Conditions that only rows of the goal meet; returns how many. */
static unsigned
rules_conditions(rules_t *r, const rule_pair_t **conditions)
{
    size_t             i;
    unsigned           n, k;
    uint64_t           asked;
    const rule_pair_t *pair;

    memcpy(r->left, r->open, r->words * sizeof(*r->left));
    rules_meet(r, conditions, 0, 0, r->met);
    for (n = 0, asked = 0; n == 0 || !rules_inside(r->met, r->goal, r->words);)
    {
        pair = rules_best(r, asked);
        if (pair == NULL) {
            break;
        }
        conditions[n++] = pair;
        asked |= 1ULL << pair->attribute;
        for (i = 0; i < r->words; i++) {
            r->left[i] &= pair->rows[i];
            r->met[i] &= pair->rows[i];
        }
    }

    for (k = n; k-- > 0 && n > 1;) {
        rules_meet(r, conditions, n, k, r->met);
        if (rules_inside(r->met, r->goal, r->words)) {
            for (n--, i = k; i < n; i++) {
                conditions[i] = conditions[i + 1];
            }
        }
    }

    return n;
}


static mining_result_e
rules_add(rules_t *r, mining_rough_rules_t *rules,
    const rule_pair_t *const *conditions, unsigned n)
{
    size_t               i, size;
    unsigned             k;
    mining_rough_rule_t *grown, *rule;

    if (rules->n == RULES_MAX) {
        return MINING_FULL;
    }
    if (rules->n == rules->size) {
        size = 2 * rules->size + 64;
        grown = realloc(rules->rules, size * sizeof(*grown));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        rules->rules = grown;
        rules->size = size;
    }

    rule = &rules->rules[rules->n++];
    memset(rule, 0, sizeof(*rule));
    rules_meet(r, conditions, n, n, r->met);
    for (i = 0; r->met[i] == 0; i++) {
    }
    rule->row = (uint32_t) (64 * i) + (uint32_t) __builtin_ctzll(r->met[i]);
    for (k = 0; k < n; k++) {
        rule->attributes |= 1ULL << conditions[k]->attribute;
    }
    for (i = 0; i < r->words; i++) {
        r->open[i] &= ~r->met[i];
    }

    return MINING_OK;
}


static void
rules_rows(const rules_t *r, const mining_rough_rule_t *rule, uint64_t *met)
{
    size_t             i;
    unsigned           n;
    const rule_pair_t *conditions[MINING_ROUGH_WIDTH];

    for (i = 0, n = 0; i < r->npairs; i++) {
        if ((rule->attributes >> r->pairs[i].attribute & 1) != 0
            && (r->pairs[i].rows[rule->row / 64] >> rule->row % 64 & 1) != 0)
        {
            conditions[n++] = &r->pairs[i];
        }
    }
    rules_meet(r, conditions, n, n, met);
}


/* Adds `by` to the counter of each row that meets a rule of the goal. */
static uint32_t
rules_cover(const rules_t *r, const mining_rough_rule_t *rule, uint32_t by)
{
    size_t   i;
    uint64_t left;
    uint32_t least, *cover;

    least = UINT32_MAX;
    rules_rows(r, rule, r->met);
    for (i = 0; i < r->words; i++) {
        for (left = r->met[i]; left != 0; left &= left - 1) {
            cover = &r->covers[64 * i + (size_t) __builtin_ctzll(left)];
            *cover += by;
            least = *cover < least ? *cover : least;
        }
    }

    return least;
}


/* Drops rules from `first` on whose rows the others cover too. */
static void
rules_spare(const rules_t *r, mining_rough_rules_t *rules, size_t first)
{
    size_t i;

    memset(r->covers, 0, r->table->n * sizeof(*r->covers));
    for (i = first; i < rules->n; i++) {
        (void) rules_cover(r, &rules->rules[i], 1);
    }

    for (i = rules->n; i-- > first;) {
        if (rules_cover(r, &rules->rules[i], 0) > 1) {
            (void) rules_cover(r, &rules->rules[i], (uint32_t) -1);
            memmove(rules->rules + i, rules->rules + i + 1,
                (rules->n - i - 1) * sizeof(*rules->rules));
            rules->n--;
        }
    }
}


/* The decision most rows have that meet a rule; counts[] is 0 and stays so. */
static void
rules_judge(const rules_t *r, mining_rough_rule_t *rule, uint32_t *counts)
{
    size_t   i;
    uint64_t left;
    uint32_t decision;

    rules_rows(r, rule, r->met);
    for (i = 0; i < r->words; i++) {
        for (left = r->met[i]; left != 0; left &= left - 1) {
            decision =
                r->table->decisions[64 * i + (size_t) __builtin_ctzll(left)];
            rule->matches++;
            if (++counts[decision] > rule->support) {
                rule->support = counts[decision];
                rule->decision = decision;
            }
        }
    }
    memset(counts, 0, r->table->ndecisions * sizeof(*counts));
}


static mining_result_e
rules_of(rules_t *r, uint32_t decision, mining_rough_rules_t *rules)
{
    size_t             i, first;
    unsigned           n;
    mining_result_e    rc;
    const rule_pair_t *conditions[MINING_ROUGH_WIDTH];

    memset(r->goal, 0, r->words * sizeof(*r->goal));
    for (i = 0; i < r->table->n; i++) {
        r->goal[i / 64] |= (uint64_t) (r->decisions[i] == decision) << i % 64;
    }
    memcpy(r->open, r->goal, r->words * sizeof(*r->open));

    rc = MINING_OK;
    first = rules->n;
    while (rc == MINING_OK && rules_count(r->open, r->open, r->words) > 0) {
        n = rules_conditions(r, conditions);
        r->work += (uint64_t) (n + 1) * r->npairs * r->words;
        rc = r->work > RULES_WORK_MAX ? MINING_FULL
                                      : rules_add(r, rules, conditions, n);
    }
    if (rc == MINING_OK) {
        rules_spare(r, rules, first);
    }

    return rc;
}


static mining_result_e
rules_open(rules_t *r, const mining_rough_t *table)
{
    size_t          i;
    uint8_t        *mixed;
    mining_result_e rc;

    memset(r, 0, sizeof(*r));
    r->table = table;
    r->words = (table->n + 63) / 64;
    r->decisions = malloc((table->n + 1) * sizeof(*r->decisions));
    r->covers = malloc((table->n + 1) * sizeof(*r->covers));
    mixed = malloc(table->n + 1);
    if (r->decisions == NULL || r->covers == NULL || mixed == NULL) {
        free(mixed);
        return MINING_NOMEM;
    }

    rc = mining_rough_boundary(table, mixed);
    for (i = 0; rc == MINING_OK && i < table->n; i++) {
        r->decisions[i] = mixed[i] ? table->ndecisions : table->decisions[i];
    }
    free(mixed);
    if (rc == MINING_OK) {
        rc = rules_pairs(r);
    }
    if (rc == MINING_OK) {
        r->goal = r->room;
        r->open = r->goal + r->words;
        r->left = r->open + r->words;
        r->met = r->left + r->words;
    }

    return rc;
}


mining_result_e
mining_rough_learn(const mining_rough_t *table, mining_rough_rules_t *rules)
{
    size_t          i;
    rules_t         r;
    uint32_t        decision, *counts;
    mining_result_e rc;

    memset(rules, 0, sizeof(*rules));
    counts = calloc((size_t) table->ndecisions + 1, sizeof(*counts));
    rc = counts == NULL ? MINING_NOMEM : rules_open(&r, table);

    for (decision = 0; rc == MINING_OK && decision <= table->ndecisions;
         decision++) {
        rc = rules_of(&r, decision, rules);
    }
    for (i = 0; rc == MINING_OK && i < rules->n; i++) {
        rules_judge(&r, &rules->rules[i], counts);
    }

    if (counts != NULL) {
        free(r.pairs);
        free(r.room);
        free(r.decisions);
        free(r.covers);
    }
    free(counts);

    return rc;
}


/* Rules that fit vote with certainty times support. */
int
mining_rough_decide(const mining_rough_t *table,
    const mining_rough_rules_t *rules, const uint32_t *row, double *votes,
    uint32_t *decision)
{
    size_t                     i;
    uint64_t                   left;
    unsigned                   k;
    uint32_t                   best;
    const mining_rough_rule_t *rule;

    memset(votes, 0, table->ndecisions * sizeof(*votes));
    for (i = 0; i < rules->n; i++) {
        rule = &rules->rules[i];
        for (left = rule->attributes; left != 0; left &= left - 1) {
            k = (unsigned) __builtin_ctzll(left);
            if (row[k] != table->cells[(size_t) rule->row * table->m + k]) {
                break;
            }
        }
        if (left == 0) {
            votes[rule->decision] +=
                (double) rule->support * rule->support / rule->matches;
        }
    }

    for (i = 1, best = 0; i < table->ndecisions; i++) {
        best = votes[i] > votes[best] ? (uint32_t) i : best;
    }
    *decision = best;

    return votes[best] > 0;
}


void
mining_rough_rules_free(mining_rough_rules_t *rules)
{
    free(rules->rules);
    memset(rules, 0, sizeof(*rules));
}
