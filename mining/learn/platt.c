/*
 * platt.c - turns scores into likelihoods that can be believed.
 *
 * Platt, 1999: a logistic curve over the logits, with the targets drawn a
 * little to the middle so that few rows do not make it a step; by Newton's
 * method with halved steps (Lin, Lin and Weng, 2007).  Two numbers, learned
 * from some hundred rows, where an isotonic curve wants thousands.
 */

#include "platt.h"

#include <math.h>


#define PLATT_STEPS    100
#define PLATT_HALVINGS 34
#define PLATT_TINY     1e-12
#define PLATT_FAR      30 /* logits beyond say no more */


static double
platt_loss(double slope, double shift, const double *logits, const uint8_t *y,
    size_t n, const double target[2])
{
    double z, sum;
    size_t i;

    sum = 0;
    for (i = 0; i < n; i++) {
        z = slope * fmax(fmin(logits[i], PLATT_FAR), -PLATT_FAR) + shift;
        sum += fmax(z, 0) + log1p(exp(-fabs(z))) - target[y[i] != 0] * z;
    }

    return sum;
}


/* One Newton step; returns the loss after it. */
static double
platt_step(mining_platt_t *platt, const double *logits, const uint8_t *y,
    size_t n, const double target[2], double loss)
{
    double z, p, w, x, g[2], h[3], d, step, ds, dt, now;
    size_t i;

    g[0] = g[1] = 0;
    h[0] = h[2] = PLATT_TINY;
    h[1] = 0;
    for (i = 0; i < n; i++) {
        x = fmax(fmin(logits[i], PLATT_FAR), -PLATT_FAR);
        z = platt->slope * x + platt->shift;
        p = 1 / (1 + exp(-z));
        w = p * (1 - p);
        g[0] += (p - target[y[i] != 0]) * x;
        g[1] += p - target[y[i] != 0];
        h[0] += w * x * x;
        h[1] += w * x;
        h[2] += w;
    }

    d = h[0] * h[2] - h[1] * h[1];
    if (!(d > PLATT_TINY)) {
        return loss;
    }
    ds = -(h[2] * g[0] - h[1] * g[1]) / d;
    dt = -(h[0] * g[1] - h[1] * g[0]) / d;

    step = 1;
    for (i = 0; i < PLATT_HALVINGS; i++, step /= 2) {
        now = platt_loss(platt->slope + step * ds, platt->shift + step * dt,
            logits, y, n, target);
        if (now < loss) {
            platt->slope += step * ds;
            platt->shift += step * dt;
            return now;
        }
    }

    return loss;
}


mining_result_e
mining_platt_fit(
    mining_platt_t *platt, const double *logits, const uint8_t *y, size_t n)
{
    double   loss, before, target[2];
    size_t   i, yes;
    unsigned step;

    for (i = 0, yes = 0; i < n; i++) {
        yes += y[i];
    }
    platt->slope = 1;
    platt->shift = 0;
    if (yes == 0 || yes == n) {
        return MINING_INVALID;
    }

    target[0] = 1 / ((double) (n - yes) + 2);
    target[1] = ((double) yes + 1) / ((double) yes + 2);

    loss = platt_loss(1, 0, logits, y, n, target);
    for (step = 0; step < PLATT_STEPS; step++) {
        before = loss;
        loss = platt_step(platt, logits, y, n, target, loss);
        if (!(loss < before - 1e-10 * before)) {
            break;
        }
    }

    /* Scores that rank worse than chance are not turned round. */
    if (!(platt->slope > 0)) {
        platt->slope = 0;
        platt->shift = log((double) yes / (double) (n - yes));
    }

    return MINING_OK;
}


double
mining_platt(const mining_platt_t *platt, double logit)
{
    double z;

    z = platt->slope * fmax(fmin(logit, PLATT_FAR), -PLATT_FAR) + platt->shift;

    return 1 / (1 + exp(-fmax(fmin(z, PLATT_FAR), -PLATT_FAR)));
}
