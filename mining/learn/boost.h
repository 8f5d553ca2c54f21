/*
 * boost.h - boosted trees for a yes or no.
 */

#ifndef BOOST_H_INCLUDED_
#define BOOST_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_BOOST_FEATURES 64
#define MINING_BOOST_BINS     256

/* Column by column: numbers, or indexes of texts; NAN is an empty cell. */
typedef struct {
    const double *values[MINING_BOOST_FEATURES];  /* per row */
    unsigned      nlevels[MINING_BOOST_FEATURES]; /* 0: numbers; else <= 255 */
    unsigned      nfeatures;
} mining_features_t;

typedef struct {
    unsigned trees;
    unsigned leaves;   /* of a tree, 2 ... 64 */
    unsigned min_rows; /* of a leaf */
    double   rate;
    double   share; /* of the features that a tree may use */
    double   l2;
    uint64_t seed;
} mining_boost_options_t;

extern const mining_boost_options_t mining_boost_defaults;

typedef struct mining_boost_s mining_boost_t;

/*
 * Learns from rows[0..n).  INVALID: no rows, or all of one class.  Freed with
 * mining_boost_free, which takes NULL.
 */
mining_result_e mining_boost_train(mining_boost_t **boost,
    const mining_features_t *features, const uint8_t *y, const uint32_t *rows,
    size_t n, const mining_boost_options_t *options);
void            mining_boost_free(mining_boost_t *boost);

double mining_boost_logit(
    const mining_boost_t *boost, const mining_features_t *features, size_t row);
/* How much of what was learned came from a feature; all sum to 1. */
double mining_boost_gain(const mining_boost_t *boost, unsigned feature);


#pragma GCC visibility pop

#endif /* BOOST_H_INCLUDED_ */
