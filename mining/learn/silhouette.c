/*
 * silhouette.c - how well clusters are apart, to choose how many there are.
 *
 * The silhouette of a row is (b - a) / max(a, b): a its mean distance to the
 * rows of its own cluster, b the least of the mean distances to those of
 * another (Rousseeuw 1987); a row alone has 0.  It takes the square of the
 * rows, so it is asked of a drawn sample.  The variance ratio (Calinski and
 * Harabasz 1974) needs no distances between rows.
 */

#include "cluster.h"

#include <math.h>
#include <stdlib.h>

#include "random.h"


static double
silhouette_apart(const double *a, const double *b, unsigned d)
{
    double   sum, x;
    unsigned j;

    for (j = 0, sum = 0; j < d; j++) {
        x = a[j] - b[j];
        sum += x * x;
    }

    return sqrt(sum);
}


/* Of row `own` of the sample, with the rows of each cluster in it. */
static double
silhouette_row(const mining_points_t *points, const mining_clusters_t *clusters,
    const size_t *sample, size_t n, const size_t *sizes, size_t own)
{
    size_t        i;
    double        sums[MINING_CLUSTERS_MAX] = {0};
    double        a, b;
    unsigned      k, mine;
    const double *row;

    row = points->rows + sample[own] * points->d;
    mine = clusters->members[sample[own]];
    if (sizes[mine] < 2) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        sums[clusters->members[sample[i]]] += silhouette_apart(
            row, points->rows + sample[i] * points->d, points->d);
    }

    a = sums[mine] / (double) (sizes[mine] - 1);
    b = INFINITY;
    for (k = 0; k < clusters->k; k++) {
        if (k != mine && sizes[k] > 0) {
            b = fmin(b, sums[k] / (double) sizes[k]);
        }
    }

    return isfinite(b) && fmax(a, b) > 0 ? (b - a) / fmax(a, b) : 0;
}


mining_result_e
mining_cluster_silhouette(const mining_points_t *points,
    const mining_clusters_t *clusters, size_t most, uint64_t seed,
    double *silhouette)
{
    size_t i, n, *sample, sizes[MINING_CLUSTERS_MAX] = {0};

    sample = malloc((most + 1) * sizeof(*sample));
    if (sample == NULL) {
        return MINING_NOMEM;
    }

    /* each row with the chance that is left (Knuth 3.4.2, S) */
    for (i = 0, n = 0; i < points->n && n < most; i++) {
        if (mining_random_below(&seed, points->n - i) < most - n) {
            sample[n++] = i;
            sizes[clusters->members[i]]++;
        }
    }

    for (i = 0, *silhouette = 0; i < n; i++) {
        *silhouette += silhouette_row(points, clusters, sample, n, sizes, i);
    }
    *silhouette /= (double) n;
    free(sample);

    return MINING_OK;
}


double
mining_cluster_ratio(
    const mining_points_t *points, const mining_clusters_t *clusters)
{
    size_t   i;
    double   mean[MINING_CLUSTER_WIDTH] = {0};
    double   total, x;
    unsigned j;

    for (i = 0; i < points->n; i++) {
        for (j = 0; j < points->d; j++) {
            mean[j] += points->rows[i * points->d + j] / (double) points->n;
        }
    }

    for (i = 0, total = 0; i < points->n; i++) {
        for (j = 0; j < points->d; j++) {
            x = points->rows[i * points->d + j] - mean[j];
            total += x * x;
        }
    }

    return (total - clusters->objective) / (clusters->k - 1)
           / (clusters->objective / (double) (points->n - clusters->k));
}
