/*
 * measure.c - how good predicted probabilities of a yes or no are.
 *
 * AUC is the rank sum of Mann and Whitney, with half a point for ties.
 * Average precision is the sum of precision times gain of recall over distinct
 * scores, without interpolation.  The calibration error is the mean distance
 * between predicted and seen rates in ten bins of equal width, by their sizes
 * (Naeini, Cooper and Hauskrecht, AAAI 2015).
 */

#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


#define BINS    10
#define P_FLOOR 1e-15


typedef struct {
    double  p;
    uint8_t y;
} pair_t;


static int
pair_compare(const void *one, const void *two)
{
    const pair_t *a = one, *b = two;

    return (a->p < b->p) - (a->p > b->p);
}


/* Walks groups of equal scores from the highest. */
static void
measure_ranks(mining_measure_t *measure, const pair_t *pairs)
{
    double auc, ap, f1, yes, no, step_yes, step_no, all_yes, all_no;
    size_t i, n;

    auc = ap = yes = no = 0;
    all_yes = (double) measure->yes;
    all_no = (double) (measure->n - measure->yes);
    n = measure->n;

    for (i = 0; i < n;) {
        step_yes = step_no = 0;

        do {
            step_yes += pairs[i].y;
            step_no += !pairs[i].y;
            i++;
        } while (i < n && !(pairs[i].p < pairs[i - 1].p));

        auc += step_no * (yes + step_yes / 2);
        yes += step_yes;
        no += step_no;
        ap += step_yes / all_yes * yes / (yes + no);

        f1 = 2 * yes / (all_yes + yes + no);
        if (f1 > measure->best_f1) {
            measure->best_f1 = f1;
            measure->threshold = pairs[i - 1].p;
        }
    }

    measure->auc = auc / all_yes / all_no;
    measure->ap = ap;
}


double
mining_measure_f1(const double *p, const uint8_t *y, size_t n, double threshold)
{
    size_t i, hits, said, yes;

    hits = said = yes = 0;

    for (i = 0; i < n; i++) {
        hits += p[i] >= threshold && y[i];
        said += p[i] >= threshold;
        yes += y[i];
    }

    return said + yes > 0 ? 2 * (double) hits / (double) (said + yes) : 0;
}


static void
measure_sums(mining_measure_t *measure, const double *p, const uint8_t *y)
{
    double   q, loss, right, said[BINS], seen[BINS];
    size_t   i;
    unsigned b;

    memset(said, 0, sizeof(said));
    memset(seen, 0, sizeof(seen));
    loss = right = 0;

    for (i = 0; i < measure->n; i++) {
        q = fmin(fmax(p[i], P_FLOOR), 1 - P_FLOOR);
        loss -= log(y[i] ? q : 1 - q);
        right += (p[i] >= 0.5) == y[i];
        b = (unsigned) fmin(p[i] * BINS, BINS - 1);
        said[b] += p[i];
        seen[b] += y[i];
    }

    measure->ece = 0;
    for (b = 0; b < BINS; b++) {
        measure->ece += fabs(said[b] - seen[b]) / (double) measure->n;
    }

    measure->log_loss = loss / (double) measure->n;
    measure->accuracy = right / (double) measure->n;
    measure->f1 = mining_measure_f1(p, y, measure->n, 0.5);
}


mining_result_e
mining_measure(
    mining_measure_t *measure, const double *p, const uint8_t *y, size_t n)
{
    size_t  i;
    pair_t *pairs;

    memset(measure, 0, sizeof(*measure));
    measure->n = n;

    for (i = 0; i < n; i++) {
        if (!(p[i] >= 0 && p[i] <= 1)) {
            return MINING_INVALID;
        }
        measure->yes += y[i];
    }

    if (n == 0 || measure->yes == 0 || measure->yes == n) {
        return MINING_INVALID;
    }

    pairs = malloc(n * sizeof(pair_t));
    if (pairs == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < n; i++) {
        pairs[i].p = p[i];
        pairs[i].y = y[i];
    }

    qsort(pairs, n, sizeof(pair_t), pair_compare);
    measure_ranks(measure, pairs);
    measure_sums(measure, p, y);
    free(pairs);

    return MINING_OK;
}
