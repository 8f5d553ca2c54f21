/*
 * network.c - a small neural network for a yes or no, trained off-line.
 *
 * One layer of softsign units, u / (1 + |u|); the loss is the cross entropy,
 * the method Adam with weight decay apart from the gradient (Kingma and Ba,
 * ICLR 2015; Loshchilov and Hutter, ICLR 2019) and a rate that falls as a
 * cosine.  Several members that differ only by what was drawn are trained one
 * after the other; the mean of their logits is one wide network.  That lowers
 * the variance more than a wider member of its own would.
 *
 * Rows are sparse (one level of each category is 1), so both passes touch only
 * the weights of inputs that are not 0.  A member has MINING_NETWORK_WIDTH
 * units: a constant, for the compiler to use vectors.
 */

#include "network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"


#define WIDTH       MINING_NETWORK_WIDTH
#define ADAM_MEAN   0.9f
#define ADAM_SQUARE 0.999f
#define ADAM_TINY   1e-8f

typedef float unit_t __attribute__((vector_size(WIDTH * sizeof(float))));

/* Layout of one member's numbers, in units: weights, bias, out, out_bias. */
#define member_bias(n) (n)
#define member_out(n)  ((n) + 1)
#define member_rest(n) ((n) + 2)
#define member_size(n) ((n) + 3)

typedef struct {
    unsigned  ninputs;
    unit_t   *weights; /* member_size units each */
    unit_t   *gradient;
    unit_t   *mean;
    unit_t   *square;
    uint32_t *order;
    uint64_t  random;
} trainer_t;

const mining_network_options_t mining_network_defaults = {
    5, 12, 32, 0.012, 0.6, 42};


static double
network_normal(uint64_t *random)
{
    double a, b;

    /* Box and Muller, 1958 */
    a = 1 - mining_random_unit(random);
    b = mining_random_unit(random);

    return sqrt(-2 * log(a)) * cos(2 * M_PI * b);
}


static void
member_start(trainer_t *trainer, double rate_yes)
{
    unsigned i, h, n;
    double   spread;
    float   *w;

    n = trainer->ninputs;
    memset(trainer->weights, 0, member_size(n) * sizeof(unit_t));
    memset(trainer->mean, 0, member_size(n) * sizeof(unit_t));
    memset(trainer->square, 0, member_size(n) * sizeof(unit_t));
    memset(trainer->gradient, 0, member_size(n) * sizeof(unit_t));

    spread = 1 / sqrt((double) WIDTH);

    for (i = 0; i < member_rest(n); i++) {
        w = (float *) &trainer->weights[i];
        for (h = 0; h < WIDTH; h++) {
            w[h] = (float) (network_normal(&trainer->random) * spread);
        }
    }

    memset(&trainer->weights[member_bias(n)], 0, sizeof(unit_t));
    w = (float *) &trainer->weights[member_rest(n)];
    w[0] = (float) log(rate_yes / (1 - rate_yes));
}


/* Adds the gradient of one row. */
static void
member_row(trainer_t *trainer, const mining_rows_t *rows, uint32_t row)
{
    float    logit, error, *g;
    unit_t   u, size, active, back;
    unsigned h, n;
    uint32_t i, end;

    n = trainer->ninputs;
    end = rows->start[row + 1];
    u = trainer->weights[member_bias(n)];

    for (i = rows->start[row]; i < end; i++) {
        u += trainer->weights[rows->input[i]] * rows->value[i];
    }

    size = 1.0f + (unit_t) ((__typeof__(u < u)) u & 0x7fffffff);
    active = u / size;

    logit = ((float *) &trainer->weights[member_rest(n)])[0];
    for (h = 0; h < WIDTH; h++) {
        logit += active[h] * trainer->weights[member_out(n)][h];
    }

    error = 1 / (1 + expf(-logit)) - (float) rows->y[row];

    g = (float *) &trainer->gradient[member_rest(n)];
    g[0] += error;
    trainer->gradient[member_out(n)] += active * error;

    back = trainer->weights[member_out(n)] * error / (size * size);
    trainer->gradient[member_bias(n)] += back;

    for (i = rows->start[row]; i < end; i++) {
        trainer->gradient[rows->input[i]] += back * rows->value[i];
    }
}


/* In place: a vector wider than a register is not passed by value. */
static void
unit_root(unit_t *x)
{
    unsigned h;

    for (h = 0; h < WIDTH; h++) {
        (*x)[h] = sqrtf((*x)[h]);
    }
}


/* One step of Adam over all numbers; clears the gradient. */
static void
member_step(
    trainer_t *trainer, double step, float batch, double rate, double decay)
{
    float    keep, scale_mean, scale_square;
    unit_t   g, m, s;
    unsigned i, n;

    n = trainer->ninputs;
    keep = (float) (1 - rate * decay);
    scale_mean = (float) (rate / (1 - pow(ADAM_MEAN, step)));
    scale_square = (float) (1 / (1 - pow(ADAM_SQUARE, step)));

    for (i = 0; i < member_size(n); i++) {
        g = trainer->gradient[i] / batch;
        m = trainer->mean[i] * ADAM_MEAN + g * (1 - ADAM_MEAN);
        s = trainer->square[i] * ADAM_SQUARE + g * g * (1 - ADAM_SQUARE);
        trainer->mean[i] = m;
        trainer->square[i] = s;

        /* biases are not shrunk: they hold the base rate */
        if (i != member_bias(n) && i != member_rest(n)) {
            trainer->weights[i] *= keep;
        }

        s *= scale_square;
        unit_root(&s);
        trainer->weights[i] -= m * scale_mean / (s + ADAM_TINY);
    }

    memset(trainer->gradient, 0, member_size(n) * sizeof(unit_t));
}


static void
member_shuffle(trainer_t *trainer, size_t n)
{
    size_t   i, j;
    uint32_t other;

    for (i = n - 1; i > 0; i--) {
        j = mining_random_below(&trainer->random, i + 1);
        other = trainer->order[i];
        trainer->order[i] = trainer->order[j];
        trainer->order[j] = other;
    }
}


static void
member_train(trainer_t *trainer, const mining_rows_t *rows,
    const mining_network_options_t *options)
{
    double   step, steps, rate;
    size_t   i, j, end;
    unsigned epoch;

    step = 0;
    steps =
        (double) options->epochs * ceil((double) rows->nrows / options->batch);

    for (epoch = 0; epoch < options->epochs; epoch++) {
        member_shuffle(trainer, rows->nrows);

        for (i = 0; i < rows->nrows; i = end) {
            end = i + options->batch;
            end = end < rows->nrows ? end : rows->nrows;

            rate = options->rate * (1 + cos(M_PI * step / steps)) / 2;
            step++;

            for (j = i; j < end; j++) {
                member_row(trainer, rows, trainer->order[j]);
            }

            member_step(trainer, step, (float) (end - i), rate,
                options->decay / sqrt(steps));
        }
    }
}


/* Copies a member into its columns of the wide network. */
static void
member_keep(const trainer_t *trainer, mining_network_t *network,
    unsigned member, unsigned members)
{
    unsigned h, i, n, at;

    n = trainer->ninputs;

    for (h = 0; h < WIDTH; h++) {
        at = member * WIDTH + h;
        for (i = 0; i < n; i++) {
            network->weights[(size_t) i * network->hidden + at] =
                trainer->weights[i][h];
        }
        network->bias[at] = trainer->weights[member_bias(n)][h];
        network->out[at] = trainer->weights[member_out(n)][h] / (float) members;
    }

    network->out_bias += trainer->weights[member_rest(n)][0] / (float) members;
}


static mining_result_e
network_alloc(mining_network_t *network, unsigned ninputs, unsigned hidden)
{
    memset(network, 0, sizeof(*network));
    network->ninputs = ninputs;
    network->hidden = hidden;
    network->weights = calloc((size_t) ninputs * hidden, sizeof(float));
    network->bias = calloc(hidden, sizeof(float));
    network->out = calloc(hidden, sizeof(float));

    if (network->weights == NULL || network->bias == NULL
        || network->out == NULL) {
        mining_network_free(network);
        return MINING_NOMEM;
    }

    return MINING_OK;
}


mining_result_e
mining_network_train(mining_network_t *network, const mining_rows_t *rows,
    const mining_network_options_t *options)
{
    size_t          i, yes, size;
    unsigned        member;
    trainer_t       trainer;
    mining_result_e rc;

    for (i = 0, yes = 0; i < rows->nrows; i++) {
        yes += rows->y[i];
    }
    if (yes == 0 || yes == rows->nrows || rows->nrows > UINT32_MAX) {
        return MINING_INVALID;
    }

    rc = network_alloc(network, rows->ninputs, options->members * WIDTH);
    if (rc != MINING_OK) {
        return rc;
    }

    trainer.ninputs = rows->ninputs;
    trainer.random = options->seed;
    size = member_size((size_t) rows->ninputs) * sizeof(unit_t);
    trainer.weights = aligned_alloc(sizeof(unit_t), 4 * size);
    trainer.order = malloc(rows->nrows * sizeof(uint32_t));

    if (trainer.weights == NULL || trainer.order == NULL) {
        mining_network_free(network);
        rc = MINING_NOMEM;

    } else {
        trainer.gradient = trainer.weights + member_size(rows->ninputs);
        trainer.mean = trainer.gradient + member_size(rows->ninputs);
        trainer.square = trainer.mean + member_size(rows->ninputs);

        for (i = 0; i < rows->nrows; i++) {
            trainer.order[i] = (uint32_t) i;
        }

        for (member = 0; member < options->members; member++) {
            member_start(&trainer, (double) yes / (double) rows->nrows);
            member_train(&trainer, rows, options);
            member_keep(&trainer, network, member, options->members);
        }
    }

    free(trainer.weights);
    free(trainer.order);

    return rc;
}


void
mining_network_free(mining_network_t *network)
{
    free(network->weights);
    free(network->bias);
    free(network->out);
    memset(network, 0, sizeof(*network));
}


double
mining_network_logit(
    const mining_network_t *network, const mining_rows_t *rows, size_t row)
{
    float    u;
    double   logit;
    unsigned h;
    uint32_t i;

    logit = network->out_bias;

    for (h = 0; h < network->hidden; h++) {
        u = network->bias[h];
        for (i = rows->start[row]; i < rows->start[row + 1]; i++) {
            u += network->weights[(size_t) rows->input[i] * network->hidden + h]
                 * rows->value[i];
        }
        logit += network->out[h] * (u / (1 + fabsf(u)));
    }

    return logit;
}
