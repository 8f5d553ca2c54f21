/*
 * segments.h - clusters of customers as words that a person understands.
 */

#ifndef SEGMENTS_H_INCLUDED_
#define SEGMENTS_H_INCLUDED_

#include "cluster.h"

#pragma GCC visibility push(hidden)


#define MINING_SEGMENT_NAME_MAX 160 /* bytes with the NUL */
#define MINING_SEGMENT_TEXT_MAX 512

typedef enum {
    MINING_SCALE_Z,   /* minus mean, over deviation of all rows */
    MINING_SCALE_LOG, /* the same of ln(1 + x), for x of 0 or more */
    MINING_SCALE_NONE
} mining_scale_e;

/* The columns of a table, as they were and as they are compared. */
typedef struct {
    const double      *values; /* n times d */
    double            *scaled; /* n times d */
    size_t             n;
    unsigned           d;
    mining_scale_e     scale;
    const char *const *names; /* of the columns */
    double             means[MINING_CLUSTER_WIDTH];
    double             deviations[MINING_CLUSTER_WIDTH];
} mining_scaled_t;

typedef struct {
    char name[MINING_SEGMENT_NAME_MAX];
    char text[MINING_SEGMENT_TEXT_MAX];
} mining_segment_t;

/*
 * Fills scaled, means and deviations.  INVALID: a value below 0 for LOG, at
 * row *bad and column *column.  A column of one value becomes 0.
 */
mining_result_e mining_scale(
    mining_scaled_t *table, size_t *bad, unsigned *column);
/* A name and a sentence for each cluster of the table. */
mining_result_e mining_segments_describe(const mining_scaled_t *table,
    const mining_clusters_t *clusters, mining_segment_t *segments);


#pragma GCC visibility pop

#endif /* SEGMENTS_H_INCLUDED_ */
