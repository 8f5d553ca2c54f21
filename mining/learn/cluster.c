/*
 * cluster.c - k-means and fuzzy c-means, from several drawn starts.
 *
 * Starts are drawn far apart (k-means++, Arthur and Vassilvitskii 2007); every
 * second one of k-means is a swap in the best found so far.  Then
 * all rows move at once (Lloyd) until little changes, and where that is
 * promising one by one (Hartigan and Wong 1979: moving a row changes both
 * centres, so a row may leave its nearest centre and the sum still falls);
 * what is stable then is stable for Lloyd too, and better or equal.
 *
 * Fuzzy c-means alternates memberships and centres (Bezdek 1981).  Memberships
 * are ratios to the nearest distance, so nothing overflows however small the
 * exponent; a row on a centre belongs to it alone.  They are not kept.
 *
 * Rows are copied by column in blocks, so that distances to a centre are taken
 * of LANES rows at once.  Which centre is the nearest is kept as a double, to
 * be chosen in the same lanes.
 */

#include "cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"


#define BLOCK        256 /* rows, a multiple of LANES */
#define LANES        2   /* of SSE2, which every x86-64 has */
#define LLOYD_MAX    200
#define LLOYD_SMALL  1e-4 /* relative fall of the sum that ends it */
#define EXCHANGE_MAX 200
#define PROMISING    1.01 /* times the best sum so far */
#define FUZZY_MAX    2000
#define FUZZY_SMALL  1e-13
#define FUZZY_COARSE 1e-5
#define WIDTH        MINING_CLUSTER_WIDTH

typedef double  lane_t __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t lane_mask_t
    __attribute__((vector_size(LANES * sizeof(int64_t))));

typedef struct {
    const double *rows;
    size_t        n;
    size_t        nblocks;
    unsigned      d;
    unsigned      k;
    double        fuzziness;
    double       *columns; /* nblocks times d times BLOCK */
    double       *nearest; /* squared distance to the nearest centre */
    double       *who;     /* its number */
    double       *centres; /* k times d */
    double       *sums;    /* k times d */
    double        weights[MINING_CLUSTERS_MAX];
    double        leave[MINING_CLUSTERS_MAX]; /* n / (n - 1) of weights */
    double        enter[MINING_CLUSTERS_MAX]; /* n / (n + 1) */
    uint64_t      random;
} cluster_t;


static void
cluster_close(cluster_t *c)
{
    free(c->columns);
    free(c->nearest);
    free(c->who);
    free(c->centres);
    free(c->sums);
}


static mining_result_e
cluster_open(
    cluster_t *c, const mining_points_t *points, unsigned k, uint64_t seed)
{
    size_t   i, at;
    unsigned j;

    memset(c, 0, sizeof(*c));
    if (k == 0 || k > MINING_CLUSTERS_MAX || points->d == 0 || points->d > WIDTH
        || points->n == 0)
    {
        return MINING_INVALID;
    }

    c->rows = points->rows;
    c->n = points->n;
    c->d = points->d;
    c->k = k;
    c->random = seed;
    c->nblocks = (c->n + BLOCK - 1) / BLOCK;
    c->columns = calloc(c->nblocks * c->d, BLOCK * sizeof(double));
    c->nearest = malloc(c->nblocks * BLOCK * sizeof(double));
    c->who = malloc(c->nblocks * BLOCK * sizeof(double));
    c->centres = calloc((size_t) k * c->d, sizeof(double));
    c->sums = calloc((size_t) k * c->d, sizeof(double));
    if (c->columns == NULL || c->nearest == NULL || c->who == NULL
        || c->centres == NULL || c->sums == NULL)
    {
        return MINING_NOMEM;
    }

    for (i = 0; i < c->n; i++) {
        at = i / BLOCK * c->d * BLOCK + i % BLOCK;
        for (j = 0; j < c->d; j++) {
            c->columns[at + j * BLOCK] = c->rows[i * c->d + j];
        }
    }

    return MINING_OK;
}


/* Squared distances of LANES rows, column by column, to a centre. */
static inline lane_t
cluster_lane(const double *columns, unsigned d, const double *centre)
{
    lane_t   x, sum;
    unsigned j;

    memcpy(&x, columns, sizeof(x));
    x -= centre[0];
    sum = x * x;
    for (j = 1; j < d; j++) {
        memcpy(&x, columns + (size_t) j * BLOCK, sizeof(x));
        x -= centre[j];
        sum += x * x;
    }

    return sum;
}


static inline lane_t
cluster_pick(lane_mask_t first, lane_t a, lane_t b)
{
    return (lane_t) (((lane_mask_t) a & first) | ((lane_mask_t) b & ~first));
}


/* Tells each row whether centre k is nearer than those before. */
static void
cluster_nearer(cluster_t *c, unsigned k)
{
    size_t        i;
    lane_t        apart, nearest, who, number;
    lane_mask_t   nearer;
    const double *columns, *centre;

    number = (lane_t){0} + (double) k;
    centre = c->centres + (size_t) k * c->d;

    for (i = 0; i < c->nblocks * BLOCK; i += LANES) {
        columns = c->columns + i / BLOCK * c->d * BLOCK + i % BLOCK;
        apart = cluster_lane(columns, c->d, centre);
        who = number;
        if (k > 0) {
            memcpy(&nearest, c->nearest + i, sizeof(nearest));
            memcpy(&who, c->who + i, sizeof(who));
            nearer = apart < nearest;
            who = cluster_pick(nearer, number, who);
            apart = cluster_pick(nearer, apart, nearest);
        }
        memcpy(c->nearest + i, &apart, sizeof(apart));
        memcpy(c->who + i, &who, sizeof(who));
    }
}


/*
 * Draws centres with a chance by squared distance to those drawn before.
 * DECLINED: all rows lie on the centres already.
 */
static mining_result_e
cluster_draw(cluster_t *c)
{
    double   sum, at;
    size_t   i, last;
    unsigned k;

    i = (size_t) mining_random_below(&c->random, c->n);
    for (k = 0;; k++) {
        memcpy(c->centres + (size_t) k * c->d, c->rows + i * c->d,
            c->d * sizeof(double));
        cluster_nearer(c, k);
        if (k + 1 == c->k) {
            return MINING_OK;
        }

        for (i = 0, sum = 0; i < c->n; i++) {
            sum += c->nearest[i];
        }
        if (!(sum > 0)) {
            return MINING_DECLINED;
        }

        at = mining_random_unit(&c->random) * sum;
        for (i = 0, last = 0; i < c->n && at >= 0; i++) {
            if (c->nearest[i] > 0) {
                at -= c->nearest[i];
                last = i;
            }
        }
        i = last;
    }
}


/* Centres of those that are nearest; an empty one takes the farthest row. */
static void
cluster_centre(cluster_t *c)
{
    size_t   i, far;
    unsigned j, k;

    memset(c->weights, 0, sizeof(c->weights));
    memset(c->sums, 0, (size_t) c->k * c->d * sizeof(double));

    for (i = 0; i < c->n; i++) {
        k = (unsigned) c->who[i];
        c->weights[k]++;
        for (j = 0; j < c->d; j++) {
            c->sums[k * c->d + j] += c->rows[i * c->d + j];
        }
    }

    for (k = 0; k < c->k; k++) {
        if (c->weights[k] > 0) {
            for (j = 0; j < c->d; j++) {
                c->centres[k * c->d + j] =
                    c->sums[k * c->d + j] / c->weights[k];
            }
            continue;
        }

        for (i = 1, far = 0; i < c->n; i++) {
            far = c->nearest[i] > c->nearest[far] ? i : far;
        }
        memcpy(c->centres + (size_t) k * c->d, c->rows + far * c->d,
            c->d * sizeof(double));
        c->nearest[far] = 0;
    }
}


static double
cluster_assign(cluster_t *c)
{
    double   sum;
    size_t   i;
    unsigned k;

    for (k = 0; k < c->k; k++) {
        cluster_nearer(c, k);
    }
    for (i = 0, sum = 0; i < c->n; i++) {
        sum += c->nearest[i];
    }

    return sum;
}


static double
cluster_lloyd(cluster_t *c, double small)
{
    double   sum, before;
    unsigned i;

    sum = cluster_assign(c);
    for (i = 0; i < LLOYD_MAX; i++) {
        before = sum;
        cluster_centre(c);
        sum = cluster_assign(c);
        if (!(before - sum > small * before)) {
            break;
        }
    }

    return sum;
}


static double
cluster_apart(const double *a, const double *b, unsigned d)
{
    double   sum, x;
    unsigned j;

    for (j = 0, sum = 0; j < d; j++) {
        x = a[j] - b[j];
        sum += x * x;
    }

    return sum;
}


static void
cluster_factors(cluster_t *c, unsigned k)
{
    c->leave[k] = c->weights[k] < 2 ? 0 : c->weights[k] / (c->weights[k] - 1);
    c->enter[k] = c->weights[k] / (c->weights[k] + 1);
}


/* Moves a row from one cluster to another; their centres follow. */
static void
cluster_move(cluster_t *c, const double *row, unsigned from, unsigned to)
{
    double  *a, *b;
    unsigned j;

    a = c->centres + (size_t) from * c->d;
    b = c->centres + (size_t) to * c->d;
    for (j = 0; j < c->d; j++) {
        a[j] += (a[j] - row[j]) / (c->weights[from] - 1);
        b[j] += (row[j] - b[j]) / (c->weights[to] + 1);
    }
    c->weights[from]--;
    c->weights[to]++;
    cluster_factors(c, from);
    cluster_factors(c, to);
}


/* Where a row makes the sum smallest; a lone row (leave is 0) stays. */
static unsigned
cluster_better(const cluster_t *c, const double *row, unsigned from)
{
    double   least, other;
    unsigned k, to;

    least = cluster_apart(row, c->centres + (size_t) from * c->d, c->d)
            * c->leave[from] * (1 - 1e-12);
    to = from;
    for (k = 0; k < c->k; k++) {
        if (k != from) {
            other = cluster_apart(row, c->centres + (size_t) k * c->d, c->d)
                    * c->enter[k];
            if (other < least) {
                least = other;
                to = k;
            }
        }
    }

    return to;
}


/* One row after the other, while moving it lets the sum fall. */
static void
cluster_exchange(cluster_t *c)
{
    size_t        i, moved;
    unsigned      from, to, k, pass;
    const double *row;

    for (pass = 0, moved = 1; pass < EXCHANGE_MAX && moved > 0; pass++) {
        cluster_centre(c);
        for (k = 0; k < c->k; k++) {
            cluster_factors(c, k);
        }
        for (i = 0, moved = 0; i < c->n; i++) {
            from = (unsigned) c->who[i];
            row = c->rows + i * c->d;
            to = cluster_better(c, row, from);
            if (to != from) {
                cluster_move(c, row, from, to);
                c->who[i] = to;
                moved++;
            }
        }
    }
    cluster_centre(c);
}


/* ---- fuzzy -------------------------------------------------------------- */

/* Of squared distances: memberships, and the least of the distances. */
static double
cluster_share(const double *apart, unsigned k, double power, double *shares)
{
    double   least, sum;
    unsigned j;

    least = apart[0];
    for (j = 1; j < k; j++) {
        least = apart[j] < least ? apart[j] : least;
    }

    for (j = 0, sum = 0; j < k; j++) {
        shares[j] = apart[j] <= least ? 1 : least / apart[j];
        if (power == 2) {
            shares[j] *= shares[j];
        } else if (power != 1) {
            shares[j] = pow(shares[j], power);
        }
        sum += shares[j];
    }
    for (j = 0; j < k; j++) {
        shares[j] /= sum;
    }

    return least;
}


static double
cluster_weight(double share, double fuzziness)
{
    if (fuzziness == 2) {
        return share * share;
    }

    return fuzziness == 1.5 ? share * sqrt(share) : pow(share, fuzziness);
}


/* One round: returns the objective of the centres it began with. */
static double
cluster_round(cluster_t *c, double *partition)
{
    double   apart[MINING_CLUSTERS_MAX][BLOCK], row[MINING_CLUSTERS_MAX];
    double   shares[MINING_CLUSTERS_MAX], power, sum, weight, squares;
    size_t   b, i, n;
    lane_t   lane;
    unsigned j, k;

    power = 1 / (c->fuzziness - 1);
    sum = squares = 0;
    memset(c->weights, 0, sizeof(c->weights));
    memset(c->sums, 0, (size_t) c->k * c->d * sizeof(double));

    for (b = 0; b < c->nblocks; b++) {
        for (k = 0; k < c->k; k++) {
            for (i = 0; i < BLOCK; i += LANES) {
                lane = cluster_lane(c->columns + b * c->d * BLOCK + i, c->d,
                    c->centres + (size_t) k * c->d);
                memcpy(apart[k] + i, &lane, sizeof(lane));
            }
        }
        n = b + 1 < c->nblocks ? BLOCK : c->n - b * BLOCK;
        for (i = 0; i < n; i++) {
            for (k = 0; k < c->k; k++) {
                row[k] = apart[k][i];
            }
            (void) cluster_share(row, c->k, power, shares);
            for (k = 0; k < c->k; k++) {
                squares += shares[k] * shares[k];
                weight = cluster_weight(shares[k], c->fuzziness);
                sum += weight * row[k];
                c->weights[k] += weight;
                for (j = 0; j < c->d; j++) {
                    c->sums[k * c->d + j] +=
                        weight * c->columns[(b * c->d + j) * BLOCK + i];
                }
            }
        }
    }

    *partition = squares / (double) c->n;

    return sum;
}


static double
cluster_rounds(cluster_t *c, double small, double *partition)
{
    double   sum, before;
    unsigned i, j, k;

    sum = cluster_round(c, partition);
    for (i = 0; i < FUZZY_MAX; i++) {
        before = sum;
        for (k = 0; k < c->k; k++) {
            for (j = 0; j < c->d && c->weights[k] > 0; j++) {
                c->centres[k * c->d + j] =
                    c->sums[k * c->d + j] / c->weights[k];
            }
        }
        sum = cluster_round(c, partition);
        if (!(before - sum > small * before)) {
            break;
        }
    }

    return sum;
}


/* ---- results ------------------------------------------------------------ */

static mining_result_e
cluster_room(mining_clusters_t *out, const cluster_t *c)
{
    memset(out, 0, sizeof(*out));
    out->k = c->k;
    out->objective = INFINITY;
    out->centres = calloc((size_t) c->k * c->d, sizeof(*out->centres));
    out->members = malloc(c->n * sizeof(*out->members));
    out->sizes = calloc(c->k, sizeof(*out->sizes));

    return out->centres == NULL || out->members == NULL || out->sizes == NULL
               ? MINING_NOMEM
               : MINING_OK;
}


static int
cluster_before(const double *a, const double *b, unsigned d)
{
    unsigned j;

    for (j = 0; j < d; j++) {
        if (a[j] != b[j]) {
            return a[j] < b[j];
        }
    }

    return 0;
}


/* In the order of the centres, whatever the start was; who follows. */
static void
cluster_finish(cluster_t *c, mining_clusters_t *out)
{
    size_t   i;
    double   row[WIDTH] = {0};
    unsigned k, at;

    for (k = 1; k < out->k; k++) {
        memcpy(row, out->centres + (size_t) k * c->d, c->d * sizeof(*row));
        for (at = k; at > 0
                     && cluster_before(
                         row, out->centres + (size_t) (at - 1) * c->d, c->d);
             at--)
        {
            memcpy(out->centres + (size_t) at * c->d,
                out->centres + (size_t) (at - 1) * c->d, c->d * sizeof(*row));
        }
        memcpy(out->centres + (size_t) at * c->d, row, c->d * sizeof(*row));
    }

    memcpy(
        c->centres, out->centres, (size_t) c->k * c->d * sizeof(*out->centres));
    (void) cluster_assign(c);
    memset(out->sizes, 0, c->k * sizeof(*out->sizes));
    for (i = 0; i < c->n; i++) {
        out->members[i] = (uint32_t) c->who[i];
        out->sizes[out->members[i]]++;
    }
}


static void
cluster_keep(
    const cluster_t *c, mining_clusters_t *out, double sum, double partition)
{
    if (sum < out->objective) {
        out->objective = sum;
        out->partition = partition;
        memcpy(out->centres, c->centres,
            (size_t) c->k * c->d * sizeof(*out->centres));
    }
}


/*
 * The best centres so far with one of them on a drawn row: what a start cannot
 * reach is often one such swap away (Franti 2018).
 */
static mining_result_e
cluster_swap(cluster_t *c, const mining_clusters_t *best)
{
    size_t   row;
    unsigned k;

    memcpy(
        c->centres, best->centres, (size_t) c->k * c->d * sizeof(*c->centres));
    row = (size_t) mining_random_below(&c->random, c->n);
    k = (unsigned) mining_random_below(&c->random, c->k);
    memcpy(c->centres + (size_t) k * c->d, c->rows + row * c->d,
        c->d * sizeof(*c->centres));

    return MINING_OK;
}


mining_result_e
mining_cluster_means(const mining_points_t *points, unsigned k, unsigned starts,
    uint64_t seed, mining_clusters_t *clusters)
{
    double          sum;
    unsigned        i;
    cluster_t       c;
    mining_result_e rc;

    memset(clusters, 0, sizeof(*clusters));
    rc = cluster_open(&c, points, k, seed);
    if (rc == MINING_OK) {
        rc = cluster_room(clusters, &c);
    }

    for (i = 0; i < starts && rc == MINING_OK; i++) {
        rc = i % 2 == 0 ? cluster_draw(&c) : cluster_swap(&c, clusters);
        if (rc == MINING_OK) {
            sum = cluster_lloyd(&c, LLOYD_SMALL);
            if (sum <= clusters->objective * PROMISING) {
                cluster_exchange(&c);
                cluster_keep(&c, clusters, cluster_assign(&c), 1);
            }
        }
    }

    if (rc == MINING_OK) {
        cluster_finish(&c, clusters);
    }
    cluster_close(&c);

    return rc;
}


mining_result_e
mining_cluster_fuzzy(const mining_points_t *points, unsigned k,
    double fuzziness, unsigned starts, uint64_t seed,
    mining_clusters_t *clusters)
{
    double          sum, partition;
    unsigned        i;
    cluster_t       c;
    mining_result_e rc;

    memset(clusters, 0, sizeof(*clusters));
    if (!(fuzziness >= MINING_FUZZINESS_LOW
            && fuzziness <= MINING_FUZZINESS_HIGH)) {
        return MINING_INVALID;
    }

    rc = cluster_open(&c, points, k, seed);
    if (rc == MINING_OK) {
        rc = cluster_room(clusters, &c);
    }
    c.fuzziness = fuzziness;

    for (i = 0; i < starts && rc == MINING_OK; i++) {
        rc = cluster_draw(&c);
        if (rc == MINING_OK) {
            sum = cluster_rounds(&c, FUZZY_COARSE, &partition);
            if (sum <= clusters->objective * PROMISING) {
                sum = cluster_rounds(&c, FUZZY_SMALL, &partition);
                cluster_keep(&c, clusters, sum, partition);
            }
        }
    }

    if (rc == MINING_OK) {
        cluster_finish(&c, clusters);
    }
    cluster_close(&c);

    return rc;
}


void
mining_clusters_free(mining_clusters_t *clusters)
{
    free(clusters->centres);
    free(clusters->members);
    free(clusters->sizes);
    memset(clusters, 0, sizeof(*clusters));
}


void
mining_cluster_membership(const mining_clusters_t *clusters, unsigned d,
    double fuzziness, const double *row, double *memberships)
{
    double   apart[MINING_CLUSTERS_MAX] = {0};
    unsigned k;

    for (k = 0; k < clusters->k; k++) {
        apart[k] = cluster_apart(row, clusters->centres + (size_t) k * d, d);
    }
    (void) cluster_share(apart, clusters->k, 1 / (fuzziness - 1), memberships);
}
