/*
 * minimize.h - the minimum of a smooth function of a few variables.
 */

#ifndef MINIMIZE_H_INCLUDED_
#define MINIMIZE_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_MINIMIZE_MAX 4 /* variables */

/* The value at x, and its gradient; not finite: x is out of the question. */
typedef double (*mining_objective_pt)(
    void *ctx, const double *x, double *gradient);

/*
 * Goes downhill from x[0..n), which becomes the place found; *value is the
 * function there.  INVALID: the start itself is out of the question.
 */
mining_result_e mining_minimize(mining_objective_pt objective, void *ctx,
    double *x, unsigned n, double *value);


#pragma GCC visibility pop

#endif /* MINIMIZE_H_INCLUDED_ */
