/*
 * genetic.h - searches settings that cannot be tried all, within a bound.
 */

#ifndef GENETIC_H_INCLUDED_
#define GENETIC_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_GENES_MAX 256

/* The first nbits genes are 0 or 1, the others from low[i] to high[i]. */
typedef struct {
    unsigned      nbits;
    unsigned      nreals;
    const double *low; /* nreals; NULL without reals */
    const double *high;
    unsigned      evaluations; /* at most, the start included */
    uint64_t      seed;
} mining_genetic_t;

/* How good genes are: more is better; not finite: out of the question. */
typedef double (*mining_fitness_pt)(void *ctx, const double *genes);

/*
 * genes[] is the start and becomes the best found, *value what it is worth:
 * never less than the start.  INVALID: limits or start cannot be.
 */
mining_result_e mining_genetic_search(const mining_genetic_t *search,
    mining_fitness_pt fitness, void *ctx, double *genes, double *value,
    unsigned *used);


#pragma GCC visibility pop

#endif /* GENETIC_H_INCLUDED_ */
