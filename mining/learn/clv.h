/*
 * clv.h - how often a customer will buy again, for how much, and its worth.
 */

#ifndef CLV_H_INCLUDED_
#define CLV_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_CLV_REPEATS_MAX 20000 /* of one customer */
#define MINING_CLV_PERIODS_MAX 1200  /* of a forecast */

/* One customer: times in one unit, which the caller chooses. */
typedef struct {
    uint32_t x;     /* times it bought again, not more than once a day */
    double   t_x;   /* from its first purchase to its last; 0 if x is 0 */
    double   T;     /* from its first purchase to the end of what is known */
    double   spend; /* mean of what it spent when it bought again */
} mining_buyer_t;

typedef struct {
    double r, alpha, a, b;
    double log_likelihood;
    size_t groups; /* different rows */
} mining_bgnbd_t;

typedef struct {
    double p, q, v;
    double log_likelihood;
    double mean; /* of what was spent, for where the model has no mean */
    size_t n;    /* customers that bought again for money */
} mining_spend_t;

/* INVALID: buyers[*bad] cannot be.  DECLINED: nobody bought again. */
mining_result_e mining_bgnbd_fit(
    const mining_buyer_t *buyers, size_t n, mining_bgnbd_t *model, size_t *bad);
/* DECLINED: fewer than two customers bought again for money. */
mining_result_e mining_spend_fit(
    const mining_buyer_t *buyers, size_t n, mining_spend_t *model, size_t *bad);

/* How likely it will buy again at all. */
double mining_bgnbd_alive(
    const mining_bgnbd_t *model, const mining_buyer_t *buyer);
/* Purchases in the time t from now on. */
double mining_bgnbd_expected(
    const mining_bgnbd_t *model, const mining_buyer_t *buyer, double t);
/* What it will spend at a time. */
double mining_spend_expected(
    const mining_spend_t *model, const mining_buyer_t *buyer);
/*
 * The sum over periods 1 ... n of length `length`: spend * purchases in it /
 * (1 + discount)^period.
 */
double mining_clv(const mining_bgnbd_t *model, const mining_spend_t *spend,
    const mining_buyer_t *buyer, unsigned n, double length, double discount);


#pragma GCC visibility pop

#endif /* CLV_H_INCLUDED_ */
