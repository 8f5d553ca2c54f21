/*
 * drivers.c - what goes with a yes, in words.
 *
 * A model of hundreds of trees convinces nobody; one cut that anybody can count
 * after does.  The cut is the one whose two sides differ most for their sizes
 * (chi square).  It tells what goes together, not what causes what.
 */

#include "drivers.h"

#include <math.h>
#include <stdlib.h>


typedef struct {
    double  value;
    uint8_t y;
} driver_t;

typedef struct {
    double chi;
    double value; /* of the cut, or the level */
    double in;    /* rate of yes on its side */
    double out;
} driver_cut_t;


static int
driver_compare(const void *a, const void *b)
{
    const driver_t *x, *y;

    x = a;
    y = b;

    return (x->value > y->value) - (x->value < y->value);
}


static void
driver_try(driver_cut_t *cut, double value, double in, double in_yes,
    double all, double all_yes)
{
    double chi, one, two, mean;

    if (!(in > 0 && in < all)) {
        return;
    }
    one = in_yes / in;
    two = (all_yes - in_yes) / (all - in);
    mean = all_yes / all;
    chi =
        (one - two) * (one - two) * in * (all - in) / all / (mean * (1 - mean));
    if (chi > cut->chi) {
        cut->chi = chi;
        cut->value = value;
        cut->in = one;
        cut->out = two;
    }
}


mining_result_e
mining_driver(char *text, size_t size, const char *name, const double *values,
    const char *const *levels, const uint8_t *y, size_t n)
{
    double       all, yes, in, in_yes;
    size_t       i, j;
    driver_t    *rows;
    driver_cut_t cut = {0, 0, 0, 0};

    rows = malloc((n + 1) * sizeof(*rows));
    if (rows == NULL) {
        return MINING_NOMEM;
    }
    yes = 0;
    for (i = 0, j = 0; i < n; i++) {
        if (!isnan(values[i])) {
            rows[j].value = values[i];
            rows[j++].y = y[i];
            yes += y[i];
        }
    }
    n = j;
    all = (double) n;
    qsort(rows, n, sizeof(*rows), driver_compare);

    in = in_yes = 0;
    for (i = 0; i < n; i = j) {
        if (levels != NULL) {
            in = in_yes = 0;
        }
        for (j = i; j < n && !(rows[j].value > rows[i].value); j++) {
            in++;
            in_yes += rows[j].y;
        }
        driver_try(&cut, rows[i].value, in, in_yes, all, yes);
    }
    free(rows);

    if (!(cut.chi > 10.83)) { /* chance does that once in a thousand */
        return MINING_DECLINED;
    }
    if (levels != NULL) {
        mining_text(text, size, "%s %s: %.0f of 100, others %.0f", name,
            levels[(size_t) cut.value], 100 * cut.in, 100 * cut.out);
    } else {
        mining_text(text, size, "%s %s %.4g: %.0f of 100, others %.0f", name,
            cut.in > cut.out ? "at most" : "above", cut.value,
            100 * fmax(cut.in, cut.out), 100 * fmin(cut.in, cut.out));
    }

    return MINING_OK;
}
