/*
 * minimize.c - the minimum of a smooth function of a few variables.
 *
 * BFGS with the line search by bisection of Lewis and Overton ("Nonsmooth
 * optimization via quasi-Newton methods", 2013: the weak Wolfe conditions),
 * then two steps of Newton, whose matrix comes from differences of the
 * gradient: BFGS stops where the value is flat to its last digits, Newton goes
 * on by the gradient alone.  Values that are not finite count as uphill, so a
 * function may refuse places.  Written here and not taken from GSL or NLopt:
 * four variables need no library, and every step is the same on every machine.
 *
 * Variables are best logarithms: steps are of the order of one.
 */

#include <math.h>
#include <string.h>

#include "minimize.h"


#define MINIMIZE_STEPS  400
#define MINIMIZE_PROBES 60    /* bisections in one line search */
#define MINIMIZE_STRIDE 2.0   /* longest first step in one variable */
#define MINIMIZE_ARMIJO 1e-4  /* share of the decrease promised */
#define MINIMIZE_WOLFE  0.9   /* share of the slope that may be left */
#define MINIMIZE_FLAT   1e-14 /* relative gain that is none */
#define MINIMIZE_DELTA  1e-4  /* of a difference, in each variable */
#define MINIMIZE_NEWTON 2     /* steps */

typedef struct {
    mining_objective_pt objective;
    void               *ctx;
    unsigned            n;
    double              x[MINING_MINIMIZE_MAX];
    double              gradient[MINING_MINIMIZE_MAX];
    double              value;
    double inverse[MINING_MINIMIZE_MAX][MINING_MINIMIZE_MAX]; /* of Hessian */
} minimize_t;


static double
minimize_dot(const double *a, const double *b, unsigned n)
{
    double   sum;
    unsigned i;

    sum = 0;
    for (i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }

    return sum;
}


static double
minimize_size(const double *a, unsigned n)
{
    double   size;
    unsigned i;

    size = 0;
    for (i = 0; i < n; i++) {
        size = fmax(size, fabs(a[i]));
    }

    return size;
}


static void
minimize_reset(minimize_t *state, double scale)
{
    unsigned i;

    memset(state->inverse, 0, sizeof(state->inverse));
    for (i = 0; i < state->n; i++) {
        state->inverse[i][i] = scale;
    }
}


static void
minimize_direction(const minimize_t *state, double *direction)
{
    double   most;
    unsigned i;

    for (i = 0; i < state->n; i++) {
        direction[i] =
            -minimize_dot(state->inverse[i], state->gradient, state->n);
    }

    most = minimize_size(direction, state->n);
    for (i = 0; most > MINIMIZE_STRIDE && i < state->n; i++) {
        direction[i] *= MINIMIZE_STRIDE / most;
    }
}


/* The place found in next; 0 when no step goes down. */
static int
minimize_search(
    const minimize_t *state, const double *direction, minimize_t *next)
{
    double   slope, low, high, step;
    unsigned i, probes;

    slope = minimize_dot(direction, state->gradient, state->n);
    if (!(slope < 0)) {
        return 0;
    }

    low = 0;
    high = INFINITY;
    step = 1;

    for (probes = 0; probes < MINIMIZE_PROBES; probes++) {
        for (i = 0; i < state->n; i++) {
            next->x[i] = state->x[i] + step * direction[i];
        }
        next->value = state->objective(state->ctx, next->x, next->gradient);

        if (!(next->value <= state->value + MINIMIZE_ARMIJO * step * slope)) {
            high = step;

        } else if (minimize_dot(direction, next->gradient, state->n)
                   < MINIMIZE_WOLFE * slope)
        {
            low = step;

        } else {
            return 1;
        }

        step = isinf(high) ? 2 * low : (low + high) / 2;
    }

    /* Down it went, if only a little. */
    return next->value < state->value;
}


/* What the step taught about the curvature: the formula of BFGS. */
static void
minimize_learn(minimize_t *state, const minimize_t *next, int first)
{
    double   step[MINING_MINIMIZE_MAX] = {0};
    double   turn[MINING_MINIMIZE_MAX] = {0};
    double   hy[MINING_MINIMIZE_MAX], sy, yhy;
    unsigned i, k;

    for (i = 0; i < state->n; i++) {
        step[i] = next->x[i] - state->x[i];
        turn[i] = next->gradient[i] - state->gradient[i];
    }

    sy = minimize_dot(step, turn, state->n);
    if (!(sy > 0)) {
        return;
    }
    if (first) {
        minimize_reset(state, sy / minimize_dot(turn, turn, state->n));
    }

    for (i = 0; i < state->n; i++) {
        hy[i] = minimize_dot(state->inverse[i], turn, state->n);
    }
    yhy = minimize_dot(turn, hy, state->n);

    for (i = 0; i < state->n; i++) {
        for (k = 0; k < state->n; k++) {
            state->inverse[i][k] += (1 + yhy / sy) * step[i] * step[k] / sy
                                    - (hy[i] * step[k] + step[i] * hy[k]) / sy;
        }
    }
}


static void
minimize_take(minimize_t *state, const minimize_t *next)
{
    memcpy(state->x, next->x, sizeof(state->x));
    memcpy(state->gradient, next->gradient, sizeof(state->gradient));
    state->value = next->value;
}


/* Solves matrix * x = x by Cholesky; 0 unless it is positive definite. */
static int
minimize_solve(double matrix[MINING_MINIMIZE_MAX][MINING_MINIMIZE_MAX],
    double *x, unsigned n)
{
    unsigned i, j, k;

    for (j = 0; j < n; j++) {
        for (k = 0; k < j; k++) {
            for (i = j; i < n; i++) {
                matrix[i][j] -= matrix[i][k] * matrix[j][k];
            }
        }
        if (!(matrix[j][j] > 0)) {
            return 0;
        }
        matrix[j][j] = sqrt(matrix[j][j]);
        for (i = j + 1; i < n; i++) {
            matrix[i][j] /= matrix[j][j];
        }
    }

    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) {
            x[i] -= matrix[i][k] * x[k];
        }
        x[i] /= matrix[i][i];
    }
    for (i = n; i-- > 0;) {
        for (k = i + 1; k < n; k++) {
            x[i] -= matrix[k][i] * x[k];
        }
        x[i] /= matrix[i][i];
    }

    return 1;
}


/* One step of Newton; 0 when it did not help. */
static int
minimize_newton(minimize_t *state)
{
    double     matrix[MINING_MINIMIZE_MAX][MINING_MINIMIZE_MAX];
    double     up[MINING_MINIMIZE_MAX], down[MINING_MINIMIZE_MAX];
    double     step[MINING_MINIMIZE_MAX];
    unsigned   i, k;
    minimize_t next;

    for (i = 0; i < state->n; i++) {
        memcpy(next.x, state->x, sizeof(next.x));
        next.x[i] = state->x[i] + MINIMIZE_DELTA;
        if (!isfinite(state->objective(state->ctx, next.x, up))) {
            return 0;
        }
        next.x[i] = state->x[i] - MINIMIZE_DELTA;
        if (!isfinite(state->objective(state->ctx, next.x, down))) {
            return 0;
        }
        for (k = 0; k < state->n; k++) {
            matrix[i][k] = (up[k] - down[k]) / (2 * MINIMIZE_DELTA);
        }
        step[i] = -state->gradient[i];
    }

    if (!minimize_solve(matrix, step, state->n)
        || minimize_size(step, state->n) > MINIMIZE_STRIDE)
    {
        return 0;
    }

    for (i = 0; i < state->n; i++) {
        next.x[i] = state->x[i] + step[i];
    }
    next.value = state->objective(state->ctx, next.x, next.gradient);
    if (!(next.value <= state->value + 1e-12 * fabs(state->value))
        || minimize_size(next.gradient, state->n)
               >= minimize_size(state->gradient, state->n))
    {
        return 0;
    }

    minimize_take(state, &next);

    return 1;
}


mining_result_e
mining_minimize(mining_objective_pt objective, void *ctx, double *x, unsigned n,
    double *value)
{
    double     gain, direction[MINING_MINIMIZE_MAX];
    unsigned   i;
    minimize_t state, next;

    memset(&state, 0, sizeof(state));
    memset(&next, 0, sizeof(next));
    state.objective = objective;
    state.ctx = ctx;
    state.n = n;
    memcpy(state.x, x, n * sizeof(double));

    state.value = objective(ctx, state.x, state.gradient);
    if (!isfinite(state.value)) {
        return MINING_INVALID;
    }
    minimize_reset(&state, 1 / (1 + minimize_size(state.gradient, state.n)));

    for (i = 0; i < MINIMIZE_STEPS; i++) {
        minimize_direction(&state, direction);
        if (!minimize_search(&state, direction, &next)) {
            break;
        }
        minimize_learn(&state, &next, i == 0);
        gain = state.value - next.value;
        minimize_take(&state, &next);
        if (gain <= MINIMIZE_FLAT * (1 + fabs(state.value))) {
            break;
        }
    }

    for (i = 0; i < MINIMIZE_NEWTON && minimize_newton(&state); i++) {
        /* until it no longer helps */
    }

    memcpy(x, state.x, n * sizeof(double));
    *value = state.value;

    return MINING_OK;
}
