/*
 * cluster.h - groups of rows that lie together: k-means and fuzzy c-means.
 */

#ifndef CLUSTER_H_INCLUDED_
#define CLUSTER_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_CLUSTERS_MAX   64 /* k */
#define MINING_CLUSTER_WIDTH  64 /* numbers of a row */
#define MINING_FUZZINESS_LOW  1.05
#define MINING_FUZZINESS_HIGH 10

typedef struct {
    const double *rows; /* n times d, finite */
    size_t        n;
    unsigned      d;
} mining_points_t;

typedef struct {
    double   *centres; /* k times d, ordered by their first number */
    uint32_t *members; /* of each row: its cluster, the nearest one */
    size_t   *sizes;   /* rows of each */
    unsigned  k;
    double    objective; /* what was made small: see below */
    double    partition; /* of fuzzy: mean of the squared memberships */
} mining_clusters_t;

/*
 * k-means: the sum of squared distances to the own centre.  DECLINED: there
 * are fewer than k different rows.  Free the clusters whatever the result.
 */
mining_result_e mining_cluster_means(const mining_points_t *points, unsigned k,
    unsigned starts, uint64_t seed, mining_clusters_t *clusters);
/* Fuzzy c-means: the sum of membership^fuzziness times squared distance. */
mining_result_e mining_cluster_fuzzy(const mining_points_t *points, unsigned k,
    double fuzziness, unsigned starts, uint64_t seed,
    mining_clusters_t *clusters);
void            mining_clusters_free(mining_clusters_t *clusters);

/* How far a row belongs to each cluster; they add up to 1. */
void mining_cluster_membership(const mining_clusters_t *clusters, unsigned d,
    double fuzziness, const double *row, double *memberships);

/* How well clusters are apart: the mean silhouette of up to `most` rows. */
mining_result_e mining_cluster_silhouette(const mining_points_t *points,
    const mining_clusters_t *clusters, size_t most, uint64_t seed,
    double *silhouette);
/* (between / (k - 1)) / (within / (n - k)), of k-means. */
double mining_cluster_ratio(
    const mining_points_t *points, const mining_clusters_t *clusters);


#pragma GCC visibility pop

#endif /* CLUSTER_H_INCLUDED_ */
