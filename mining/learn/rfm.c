/*
 * rfm.c - recency, frequency and monetary value as scores from 1 to 5.
 *
 * By rank as etl.mine_rfm does it: equal values get equal scores, and a lone
 * customer is neither the best nor the worst.  By fixed cuts where scores are
 * to mean the same from one month to the next; with `less` a value on a cut
 * still has the better score, as "bought within 30 days" has it.
 */

#include "rfm.h"

#include <stdlib.h>


typedef struct {
    double value;
    size_t at;
} rfm_t;


static int
rfm_compare(const void *a, const void *b)
{
    const rfm_t *x, *y;

    x = a;
    y = b;

    return (x->value > y->value) - (x->value < y->value);
}


mining_result_e
mining_rfm_quantiles(const double *values, size_t n, int less, uint8_t *scores)
{
    size_t   i, j, k;
    double   worse;
    rfm_t   *sorted;
    unsigned score;

    if (n == 0) {
        return MINING_OK;
    }

    sorted = malloc(n * sizeof(*sorted));
    if (sorted == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < n; i++) {
        sorted[i].value = less ? -values[i] : values[i];
        sorted[i].at = i;
    }
    qsort(sorted, n, sizeof(*sorted), rfm_compare);

    for (i = 0; i < n; i = j) {
        for (j = i + 1; j < n && !(sorted[j].value > sorted[i].value); j++) {
            /* equal ones */
        }
        worse = ((double) i + (double) j) / 2 / (double) n;
        score = 1 + (unsigned) (worse * MINING_RFM_SCORES);
        for (k = i; k < j; k++) {
            scores[sorted[k].at] =
                (uint8_t) (score > MINING_RFM_SCORES ? MINING_RFM_SCORES
                                                     : score);
        }
    }
    free(sorted);

    return MINING_OK;
}


void
mining_rfm_cuts(const double *values, size_t n, int less,
    const double cuts[MINING_RFM_SCORES - 1], uint8_t *scores)
{
    size_t   i;
    unsigned k, passed;

    for (i = 0; i < n; i++) {
        passed = 0;
        for (k = 0; k < MINING_RFM_SCORES - 1; k++) {
            passed += less ? values[i] > cuts[k] : values[i] >= cuts[k];
        }
        scores[i] = (uint8_t) (less ? MINING_RFM_SCORES - passed : 1 + passed);
    }
}
