/*
 * network.h - a small neural network for a yes or no, trained off-line.
 */

#ifndef NETWORK_H_INCLUDED_
#define NETWORK_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_NETWORK_WIDTH   16 /* hidden units of one member */
#define MINING_NETWORK_MEMBERS 16

/* Rows hold only the inputs that are not 0. */
typedef struct {
    size_t          nrows;
    unsigned        ninputs;
    const uint32_t *start; /* nrows + 1: where a row begins in input, value */
    const uint16_t *input; /* < ninputs */
    const float    *value; /* finite */
    const uint8_t  *y;     /* 0 or 1 */
} mining_rows_t;

typedef struct {
    unsigned members; /* 1 ... MINING_NETWORK_MEMBERS */
    unsigned epochs;  /* passes over the rows */
    unsigned batch;   /* rows of one step */
    double   rate;    /* of learning, at the start; falls as a cosine */
    double   decay;   /* of weights, per step and rate */
    uint64_t seed;
} mining_network_options_t;

typedef struct {
    unsigned ninputs;
    unsigned hidden;
    float   *weights; /* [input][hidden unit] */
    float   *bias;    /* [hidden unit] */
    float   *out;     /* [hidden unit] */
    float    out_bias;
} mining_network_t;

extern const mining_network_options_t mining_network_defaults;

/* INVALID: no rows, or all of one class. */
mining_result_e mining_network_train(mining_network_t *network,
    const mining_rows_t *rows, const mining_network_options_t *options);
void            mining_network_free(mining_network_t *network);

/* The logit of one row. */
double mining_network_logit(
    const mining_network_t *network, const mining_rows_t *rows, size_t row);


#pragma GCC visibility pop

#endif /* NETWORK_H_INCLUDED_ */
