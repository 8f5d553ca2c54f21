/*
 * rfm.h - recency, frequency and monetary value as scores from 1 to 5.
 */

#ifndef RFM_H_INCLUDED_
#define RFM_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_RFM_SCORES 5

/*
 * Scores by rank: the share of values that are worse plus half of those that
 * are equal, cut into fifths.  `less` is 1 where a smaller value is better.
 */
mining_result_e mining_rfm_quantiles(
    const double *values, size_t n, int less, uint8_t *scores);
/* Scores by fixed cuts, ascending: 1 + how many a value passes or reaches. */
void mining_rfm_cuts(const double *values, size_t n, int less,
    const double cuts[MINING_RFM_SCORES - 1], uint8_t *scores);


#pragma GCC visibility pop

#endif /* RFM_H_INCLUDED_ */
