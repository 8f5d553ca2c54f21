/*
 * platt.h - turns scores into likelihoods that can be believed.
 */

#ifndef PLATT_H_INCLUDED_
#define PLATT_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


typedef struct {
    double slope;
    double shift;
} mining_platt_t;

/* From logits of rows that were not learned from; both classes or INVALID. */
mining_result_e mining_platt_fit(
    mining_platt_t *platt, const double *logits, const uint8_t *y, size_t n);

/* 0 < likelihood < 1. */
double mining_platt(const mining_platt_t *platt, double logit);


#pragma GCC visibility pop

#endif /* PLATT_H_INCLUDED_ */
