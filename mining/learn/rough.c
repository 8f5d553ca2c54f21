/*
 * rough.c - reducts of a decision table: exact, and by search.
 *
 * Rows that are equal in all attributes are one class; a class of several
 * decisions is in the boundary, and nothing can decide it.  A reduct keeps
 * every other class apart from all classes that are decided otherwise or are
 * in the boundary, and no attribute of it can be spared (Pawlak 1982;
 * Skowron and Rauszer 1992: each such pair of classes is a clause, the
 * attributes that differ, and reducts are the smallest sets that hit every
 * clause).  Clauses that hold another one are dropped as they come, so
 * memory is bounded by the few that stay; the pairs are looked at in bytes.
 * Hitting sets are then listed without repeating one (as MMCS of Murakami and
 * Uno 2014 does): a set is cut off as soon as one of its attributes is not
 * the only one to hit some clause.
 *
 * The pairs grow with the square of the classes: beyond PAIRS_MAX, or
 * MINING_ROUGH_CLAUSES_MAX clauses, the exact way is refused.  The search
 * needs no pairs: genetic, with the share of decided rows first and the number
 * of attributes second.
 */

#include "rough.h"

#include <stdlib.h>
#include <string.h>

#include "genetic.h"


#define PAIRS_MAX 400000000ULL
#define STEPS_MAX 50000000U
#define BOUNDARY  UINT32_MAX
#define SPARED    0.5 /* of a row: what an attribute less is worth */

/* Classes of the table: rows of different attributes. */
typedef struct {
    unsigned  m;
    uint8_t  *bytes;     /* n times MINING_ROUGH_WIDTH: values as bytes */
    uint32_t *rows;      /* one of each class */
    uint32_t *decisions; /* BOUNDARY if there are several */
    size_t    n;
    int       wide; /* an attribute has over 256 values */
} rough_classes_t;

typedef struct {
    uint64_t          clauses[MINING_ROUGH_CLAUSES_MAX];
    size_t            n;
    mining_reducts_t *found;
    uint32_t          steps;
    mining_result_e   rc;
} rough_hit_t;

typedef struct {
    const mining_rough_t *table;
    uint32_t             *slots;
    size_t                mask;
    uint32_t             *class_of; /* of each row: its first equal one */
    uint8_t              *mixed;    /* by that row */
} rough_t;


static mining_result_e
rough_open(rough_t *rough, const mining_rough_t *table)
{
    memset(rough, 0, sizeof(*rough));
    if (table->m == 0 || table->m > MINING_ROUGH_WIDTH || table->n == 0
        || table->n > UINT32_MAX / 4)
    {
        return MINING_INVALID;
    }

    rough->table = table;
    for (rough->mask = 64; rough->mask < 2 * table->n; rough->mask *= 2) {
    }
    rough->slots = malloc(rough->mask * sizeof(*rough->slots));
    rough->class_of = malloc(table->n * sizeof(*rough->class_of));
    rough->mixed = malloc(table->n);
    rough->mask--;

    return rough->slots == NULL || rough->class_of == NULL
                   || rough->mixed == NULL
               ? MINING_NOMEM
               : MINING_OK;
}


static void
rough_close(rough_t *rough)
{
    free(rough->slots);
    free(rough->class_of);
    free(rough->mixed);
}


static int
rough_equal(
    const mining_rough_t *table, uint64_t attributes, size_t a, size_t b)
{
    unsigned k;

    for (; attributes != 0; attributes &= attributes - 1) {
        k = (unsigned) __builtin_ctzll(attributes);
        if (table->cells[a * table->m + k] != table->cells[b * table->m + k]) {
            return 0;
        }
    }

    return 1;
}


/* Classes by some attributes; returns how many rows are decided. */
static size_t
rough_classes(rough_t *rough, uint64_t attributes)
{
    size_t                i, at, decided;
    uint64_t              hash, left;
    uint32_t              first;
    const mining_rough_t *table;

    table = rough->table;
    memset(rough->slots, 0, (rough->mask + 1) * sizeof(*rough->slots));

    for (i = 0; i < table->n; i++) {
        hash = 14695981039346656037ULL;
        for (left = attributes; left != 0; left &= left - 1) {
            hash ^=
                table->cells[i * table->m + (unsigned) __builtin_ctzll(left)];
            hash *= 0x9e3779b97f4a7c15ULL;
            hash ^= hash >> 29;
        }
        at = (size_t) hash & rough->mask;
        while (rough->slots[at] != 0
               && !rough_equal(table, attributes, rough->slots[at] - 1, i))
        {
            at = (at + 1) & rough->mask;
        }
        if (rough->slots[at] == 0) {
            rough->slots[at] = (uint32_t) i + 1;
            rough->mixed[i] = 0;
        }
        first = rough->slots[at] - 1;
        rough->class_of[i] = first;
        rough->mixed[first] |= table->decisions[i] != table->decisions[first];
    }

    for (i = 0, decided = 0; i < table->n; i++) {
        decided += !rough->mixed[rough->class_of[i]];
    }

    return decided;
}


static uint64_t
rough_all(const mining_rough_t *table)
{
    return table->m == 64 ? ~0ULL : (1ULL << table->m) - 1;
}


mining_result_e
mining_rough_quality(
    const mining_rough_t *table, uint64_t attributes, double *quality)
{
    rough_t         rough;
    mining_result_e rc;

    rc = rough_open(&rough, table);
    if (rc == MINING_OK) {
        *quality =
            (double) rough_classes(&rough, attributes) / (double) table->n;
    }
    rough_close(&rough);

    return rc;
}


mining_result_e
mining_rough_boundary(const mining_rough_t *table, uint8_t *flags)
{
    size_t          i;
    rough_t         rough;
    mining_result_e rc;

    rc = rough_open(&rough, table);
    if (rc == MINING_OK) {
        (void) rough_classes(&rough, rough_all(table));
        for (i = 0; i < table->n; i++) {
            flags[i] = rough.mixed[rough.class_of[i]];
        }
    }
    rough_close(&rough);

    return rc;
}


/* ---- clauses ------------------------------------------------------------ */

/* Values of each attribute as bytes, by the order they come. */
static void
rough_bytes(const mining_rough_t *table, rough_classes_t *c)
{
    size_t   i;
    uint32_t value, values[256];
    unsigned k, j, n;

    for (k = 0; k < table->m && !c->wide; k++) {
        for (i = 0, n = 0; i < c->n; i++) {
            value = table->cells[(size_t) c->rows[i] * table->m + k];
            for (j = 0; j < n && values[j] != value; j++) {
            }
            if (j == n && n == 256) {
                c->wide = 1;
                break;
            }
            if (j == n) {
                values[n++] = value;
            }
            c->bytes[i * MINING_ROUGH_WIDTH + k] = (uint8_t) j;
        }
    }
}


static mining_result_e
rough_gather(const mining_rough_t *table, rough_classes_t *c)
{
    size_t          i;
    rough_t         rough;
    mining_result_e rc;

    memset(c, 0, sizeof(*c));
    c->m = table->m;
    rc = rough_open(&rough, table);
    if (rc != MINING_OK) {
        rough_close(&rough);
        return rc;
    }

    (void) rough_classes(&rough, rough_all(table));
    c->rows = malloc(table->n * sizeof(*c->rows));
    c->decisions = malloc(table->n * sizeof(*c->decisions));
    for (i = 0; c->rows != NULL && c->decisions != NULL && i < table->n; i++) {
        if (rough.class_of[i] == i) {
            c->rows[c->n] = (uint32_t) i;
            c->decisions[c->n++] =
                rough.mixed[i] ? BOUNDARY : table->decisions[i];
        }
    }
    rough_close(&rough);

    c->bytes = calloc(c->n + 1, MINING_ROUGH_WIDTH);
    if (c->bytes == NULL || c->n == 0) {
        return MINING_NOMEM;
    }
    rough_bytes(table, c);

    return MINING_OK;
}


static void
rough_free(rough_classes_t *c)
{
    free(c->bytes);
    free(c->rows);
    free(c->decisions);
}


static uint64_t
rough_differ(
    const mining_rough_t *table, const rough_classes_t *c, size_t a, size_t b)
{
    uint64_t        set;
    unsigned        k;
    const uint8_t  *x, *y;
    const uint32_t *p, *q;

    set = 0;
    if (c->wide) {
        p = table->cells + (size_t) c->rows[a] * c->m;
        q = table->cells + (size_t) c->rows[b] * c->m;
        for (k = 0; k < c->m; k++) {
            set |= (uint64_t) (p[k] != q[k]) << k;
        }
        return set;
    }

    x = c->bytes + a * MINING_ROUGH_WIDTH;
    y = c->bytes + b * MINING_ROUGH_WIDTH;
    for (k = 0; k < c->m; k++) {
        set |= (uint64_t) (x[k] != y[k]) << k;
    }

    return set;
}


/* Keeps a clause unless one that is kept lies in it. */
static mining_result_e
rough_clause(rough_hit_t *hit, uint64_t clause)
{
    size_t   i, n;
    uint64_t other;

    for (i = 0; i < hit->n; i++) {
        if ((hit->clauses[i] & ~clause) == 0) {
            /* what absorbs much comes to the front */
            if (i > 0) {
                other = hit->clauses[i / 2];
                hit->clauses[i / 2] = hit->clauses[i];
                hit->clauses[i] = other;
            }
            return MINING_OK;
        }
    }

    for (i = 0, n = 0; i < hit->n; i++) {
        if ((clause & ~hit->clauses[i]) != 0) {
            hit->clauses[n++] = hit->clauses[i];
        }
    }
    hit->n = n;
    if (n == MINING_ROUGH_CLAUSES_MAX) {
        return MINING_FULL;
    }
    hit->clauses[hit->n++] = clause;

    return MINING_OK;
}


static mining_result_e
rough_clauses(const mining_rough_t *table, rough_hit_t *hit)
{
    size_t          i, k;
    uint64_t        clause, last;
    rough_classes_t c;
    mining_result_e rc;

    rc = rough_gather(table, &c);
    if (rc == MINING_OK && (uint64_t) c.n * c.n / 2 > PAIRS_MAX) {
        rc = MINING_FULL;
    }

    last = 0;
    for (i = 0; i < c.n && rc == MINING_OK; i++) {
        for (k = 0; k < i && rc == MINING_OK; k++) {
            if (c.decisions[i] == c.decisions[k]) {
                continue;
            }
            clause = rough_differ(table, &c, i, k);
            if (clause != last) {
                rc = rough_clause(hit, clause);
                last = clause;
            }
        }
    }
    rough_free(&c);

    return rc;
}


/* ---- hitting sets ------------------------------------------------------- */

/* Each attribute chosen is the only one in some clause. */
static int
rough_needed(const rough_hit_t *hit, uint64_t chosen)
{
    size_t   i;
    uint64_t met, alone;

    for (i = 0, alone = 0; i < hit->n && alone != chosen; i++) {
        met = hit->clauses[i] & chosen;
        if ((met & (met - 1)) == 0) {
            alone |= met;
        }
    }

    return alone == chosen;
}


static void
rough_hit(rough_hit_t *hit, uint64_t chosen, uint64_t free_)
{
    size_t   i, best;
    uint64_t open, left, one;
    unsigned n, least;

    if (hit->rc != MINING_OK) {
        return;
    }
    if (++hit->steps > STEPS_MAX) {
        hit->rc = MINING_FULL;
        return;
    }

    for (i = 0, best = hit->n, least = 65; i < hit->n; i++) {
        if ((hit->clauses[i] & chosen) == 0) {
            n = (unsigned) __builtin_popcountll(hit->clauses[i] & free_);
            if (n < least) {
                least = n;
                best = i;
            }
        }
    }

    if (best == hit->n) {
        if (hit->found->n == MINING_ROUGH_REDUCTS_MAX) {
            hit->rc = MINING_FULL;
            return;
        }
        hit->found->sets[hit->found->n++] = chosen;
        return;
    }

    open = hit->clauses[best] & free_;
    free_ &= ~open;
    for (left = open; left != 0; left &= left - 1) {
        one = left & -left;
        if (rough_needed(hit, chosen | one)) {
            rough_hit(hit, chosen | one, free_);
        }
        free_ |= one;
    }
}


static int
rough_by_size(const void *a, const void *b)
{
    int      m, n;
    uint64_t x, y;

    x = *(const uint64_t *) a;
    y = *(const uint64_t *) b;
    m = __builtin_popcountll(x);
    n = __builtin_popcountll(y);
    if (m != n) {
        return m < n ? -1 : 1;
    }

    return x < y ? -1 : x > y;
}


mining_result_e
mining_rough_reducts(const mining_rough_t *table, mining_reducts_t *reducts)
{
    size_t          i;
    rough_hit_t    *hit;
    mining_result_e rc;

    memset(reducts, 0, sizeof(*reducts));
    hit = calloc(1, sizeof(*hit));
    reducts->sets = malloc(MINING_ROUGH_REDUCTS_MAX * sizeof(*reducts->sets));
    if (hit == NULL || reducts->sets == NULL) {
        free(hit);
        return MINING_NOMEM;
    }

    hit->found = reducts;
    rc = rough_clauses(table, hit);
    if (rc == MINING_OK) {
        for (i = 0; i < hit->n; i++) {
            if ((hit->clauses[i] & (hit->clauses[i] - 1)) == 0) {
                reducts->core |= hit->clauses[i];
            }
        }
        rough_hit(hit, 0, rough_all(table));
        reducts->all = hit->rc == MINING_OK;
        qsort(reducts->sets, reducts->n, sizeof(*reducts->sets), rough_by_size);
    }
    free(hit);

    return rc;
}


void
mining_reducts_free(mining_reducts_t *reducts)
{
    free(reducts->sets);
    memset(reducts, 0, sizeof(*reducts));
}


/* ---- search ------------------------------------------------------------- */

static double
rough_fitness(void *ctx, const double *genes)
{
    rough_t *rough = ctx;
    unsigned k, n;
    uint64_t set;

    for (k = 0, n = 0, set = 0; k < rough->table->m; k++) {
        if (genes[k] != 0) {
            set |= 1ULL << k;
            n++;
        }
    }

    return (double) rough_classes(rough, set) - SPARED * n / rough->table->m;
}


mining_result_e
mining_rough_search(const mining_rough_t *table, unsigned evaluations,
    uint64_t seed, uint64_t *reduct, unsigned *used)
{
    size_t           decided;
    double           genes[MINING_ROUGH_WIDTH], value;
    rough_t          rough;
    unsigned         k;
    uint64_t         set;
    mining_result_e  rc;
    mining_genetic_t search = {table->m, 0, NULL, NULL, evaluations, seed};

    rc = rough_open(&rough, table);
    if (rc == MINING_OK) {
        for (k = 0; k < table->m; k++) {
            genes[k] = 1;
        }
        rc = mining_genetic_search(
            &search, rough_fitness, &rough, genes, &value, used);
    }

    if (rc == MINING_OK) {
        for (k = 0, set = 0; k < table->m; k++) {
            set |= (uint64_t) (genes[k] != 0) << k;
        }
        /* few evaluations may leave some that can be spared */
        decided = rough_classes(&rough, rough_all(table));
        for (k = table->m; k-- > 0;) {
            if ((set >> k & 1) != 0
                && rough_classes(&rough, set & ~(1ULL << k)) == decided) {
                set &= ~(1ULL << k);
            }
        }
        *reduct = set;
    }
    rough_close(&rough);

    return rc;
}
