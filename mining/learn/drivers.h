/*
 * drivers.h - what goes with a yes, in words.
 */

#ifndef DRIVERS_H_INCLUDED_
#define DRIVERS_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


/*
 * The strongest cut of one column: "Tenure at most 1: 52 of 100, others 12".
 * levels NULL: numbers.  DECLINED: no cut says anything.
 */
mining_result_e mining_driver(char *text, size_t size, const char *name,
    const double *values, const char *const *levels, const uint8_t *y,
    size_t n);


#pragma GCC visibility pop

#endif /* DRIVERS_H_INCLUDED_ */
