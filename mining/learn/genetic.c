/*
 * genetic.c - a steady population of settings that cross, change and compete.
 *
 * Two parents, each the best of three drawn ones, give one child: each gene
 * from one of them (reals: a point on the line through both, a little beyond
 * it), then a change: a bit turned, a bit swapped against another, which keeps
 * how many are set, or a step of a real that shrinks as the search goes on.
 * The child takes the place of the worst if it is better and no twin of
 * somebody.  So the best always stays, and the result is never worse than the
 * start.  Twins are not evaluated: only a question that is new costs one of
 * the evaluations, though not more than TRIES children are drawn for it.
 *
 * All is drawn from the seed; nothing depends on the clock.
 */

#include "genetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"


#define POPULATION 48
#define CONTEST    3
#define TRIES      50
#define BEYOND     0.25 /* of the distance of two reals */
#define STEP_FIRST 0.2  /* of the range */
#define STEP_LAST  0.005

typedef struct {
    const mining_genetic_t *search;
    mining_fitness_pt       fitness;
    void                   *ctx;
    unsigned                ngenes;
    double                 *genes; /* POPULATION + 1 times ngenes */
    double                  values[POPULATION + 1];
    unsigned                n;
    unsigned                used;
    uint64_t                random;
} genetic_t;


static double *
genetic_of(const genetic_t *g, unsigned i)
{
    return g->genes + (size_t) i * g->ngenes;
}


static void
genetic_evaluate(genetic_t *g, unsigned i)
{
    double value;

    value = g->fitness(g->ctx, genetic_of(g, i));
    g->values[i] = isfinite(value) ? value : -INFINITY;
    g->used++;
}


static unsigned
genetic_parent(genetic_t *g)
{
    unsigned i, best, other;

    best = (unsigned) mining_random_below(&g->random, g->n);
    for (i = 1; i < CONTEST; i++) {
        other = (unsigned) mining_random_below(&g->random, g->n);
        best = g->values[other] > g->values[best] ? other : best;
    }

    return best;
}


static double
genetic_inside(const genetic_t *g, unsigned i, double x)
{
    unsigned real;

    real = i - g->search->nbits;

    return fmin(fmax(x, g->search->low[real]), g->search->high[real]);
}


static void
genetic_cross(genetic_t *g, double *child)
{
    double        u;
    unsigned      i;
    const double *a, *b;

    a = genetic_of(g, genetic_parent(g));
    b = genetic_of(g, genetic_parent(g));
    for (i = 0; i < g->ngenes; i++) {
        u = mining_random_unit(&g->random);
        if (i < g->search->nbits) {
            child[i] = u < 0.5 ? a[i] : b[i];
        } else {
            u = u * (1 + 2 * BEYOND) - BEYOND;
            child[i] = genetic_inside(g, i, a[i] + u * (b[i] - a[i]));
        }
    }
}


static void
genetic_turn(genetic_t *g, double *child)
{
    unsigned i, k, nbits;

    nbits = g->search->nbits;
    i = (unsigned) mining_random_below(&g->random, nbits);
    k = (unsigned) mining_random_below(&g->random, nbits);
    child[i] = 1 - child[i];

    /* every second time a swap, where there is one to swap with */
    if (mining_random_below(&g->random, 2) == 0 && k != i
        && child[k] == child[i]) {
        child[k] = 1 - child[k];
    }
}


static void
genetic_step(genetic_t *g, double *child)
{
    double   range, size, done;
    unsigned i;

    i = (unsigned) mining_random_below(&g->random, g->search->nreals);
    range = g->search->high[i] - g->search->low[i];
    done = (double) g->used / g->search->evaluations;
    size = STEP_FIRST * pow(STEP_LAST / STEP_FIRST, done);
    i += g->search->nbits;
    child[i] = genetic_inside(g, i,
        child[i]
            + range * size
                  * (mining_random_unit(&g->random)
                      + mining_random_unit(&g->random) - 1));
}


static void
genetic_change(genetic_t *g, double *child)
{
    unsigned i, times, at;

    times = 1 + (unsigned) mining_random_below(&g->random, 2);
    for (i = 0; i < times; i++) {
        at = (unsigned) mining_random_below(&g->random, g->ngenes);
        if (at < g->search->nbits) {
            genetic_turn(g, child);
        } else {
            genetic_step(g, child);
        }
    }
}


static int
genetic_twin(const genetic_t *g, const double *child)
{
    unsigned i;

    for (i = 0; i < g->n; i++) {
        if (memcmp(genetic_of(g, i), child, g->ngenes * sizeof(*child)) == 0) {
            return 1;
        }
    }

    return 0;
}


/* The first are the start, changed more and more, or drawn. */
static void
genetic_first(genetic_t *g)
{
    double  *child;
    unsigned i, k;

    genetic_evaluate(g, 0);
    g->n = 1;

    for (i = 1; i < POPULATION && g->used < g->search->evaluations; i++) {
        child = genetic_of(g, g->n);
        memcpy(child, genetic_of(g, 0), g->ngenes * sizeof(*child));
        if (i % 2 == 0) {
            for (k = 0; k < i; k++) {
                genetic_change(g, child);
            }
        } else {
            for (k = 0; k < g->ngenes; k++) {
                child[k] = mining_random_unit(&g->random);
                if (k < g->search->nbits) {
                    child[k] = child[k] < 0.5;
                } else {
                    child[k] =
                        g->search->low[k - g->search->nbits]
                        + child[k]
                              * (g->search->high[k - g->search->nbits]
                                  - g->search->low[k - g->search->nbits]);
                }
            }
        }
        if (!genetic_twin(g, child)) {
            genetic_evaluate(g, g->n++);
        }
    }
}


static void
genetic_next(genetic_t *g)
{
    double  *child;
    unsigned i, worst;

    child = genetic_of(g, g->n);
    for (i = 0; i < TRIES; i++) {
        genetic_cross(g, child);
        genetic_change(g, child);
        if (!genetic_twin(g, child)) {
            break;
        }
    }
    genetic_evaluate(g, g->n);

    for (i = 1, worst = 0; i < g->n; i++) {
        worst = g->values[i] < g->values[worst] ? i : worst;
    }
    if (g->values[g->n] >= g->values[worst] && !genetic_twin(g, child)) {
        memcpy(genetic_of(g, worst), child, g->ngenes * sizeof(*child));
        g->values[worst] = g->values[g->n];
    }
}


static int
genetic_valid(const mining_genetic_t *search, const double *genes)
{
    unsigned i, n;

    n = search->nbits + search->nreals;
    if (n == 0 || n > MINING_GENES_MAX || search->nbits > MINING_GENES_MAX
        || search->nreals > MINING_GENES_MAX || search->evaluations == 0)
    {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (i < search->nbits) {
            if (genes[i] != 0 && genes[i] != 1) {
                return 0;
            }
        } else if (!(search->low[i - search->nbits]
                           <= search->high[i - search->nbits]
                       && isfinite(search->low[i - search->nbits])
                       && isfinite(search->high[i - search->nbits])
                       && genes[i] >= search->low[i - search->nbits]
                       && genes[i] <= search->high[i - search->nbits]))
        {
            return 0;
        }
    }

    return 1;
}


mining_result_e
mining_genetic_search(const mining_genetic_t *search, mining_fitness_pt fitness,
    void *ctx, double *genes, double *value, unsigned *used)
{
    unsigned  i, best;
    genetic_t g;

    if (!genetic_valid(search, genes)) {
        return MINING_INVALID;
    }

    memset(&g, 0, sizeof(g));
    g.search = search;
    g.fitness = fitness;
    g.ctx = ctx;
    g.ngenes = search->nbits + search->nreals;
    g.random = search->seed;
    g.genes = calloc((size_t) (POPULATION + 1) * g.ngenes, sizeof(*g.genes));
    if (g.genes == NULL) {
        return MINING_NOMEM;
    }

    memcpy(g.genes, genes, g.ngenes * sizeof(*genes));
    genetic_first(&g);
    while (g.used < search->evaluations) {
        genetic_next(&g);
    }

    for (i = 1, best = 0; i < g.n; i++) {
        best = g.values[i] > g.values[best] ? i : best;
    }
    memcpy(genes, genetic_of(&g, best), g.ngenes * sizeof(*genes));
    *value = g.values[best];
    *used = g.used;
    free(g.genes);

    return MINING_OK;
}
