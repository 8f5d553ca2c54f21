/*
 * measure.h - how good predicted probabilities of a yes or no are.
 */

#ifndef MEASURE_H_INCLUDED_
#define MEASURE_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


typedef struct {
    double auc;       /* likelihood that a yes is ranked above a no */
    double ap;        /* average precision */
    double log_loss;  /* nats */
    double ece;       /* expected calibration error, ten equal bins */
    double accuracy;  /* at the threshold one half */
    double f1;        /* at the threshold one half */
    double best_f1;   /* at `threshold` */
    double threshold; /* where F1 is best */
    size_t n;
    size_t yes;
} mining_measure_t;

/*
 * p: probabilities, y: 0 or 1.  INVALID: n is 0, one of the classes is empty,
 * or a probability is none; nothing can be measured then.
 */
mining_result_e mining_measure(
    mining_measure_t *measure, const double *p, const uint8_t *y, size_t n);

/* F1 at a threshold, for one that was chosen on other data. */
double mining_measure_f1(
    const double *p, const uint8_t *y, size_t n, double threshold);


#pragma GCC visibility pop

#endif /* MEASURE_H_INCLUDED_ */
