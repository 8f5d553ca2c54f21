/*
 * boost.c - boosted trees for a yes or no.
 *
 * Gradient boosting by Newton steps on the cross entropy (Friedman, 2001; Chen
 * and Guestrin, KDD 2016), trees grown leaf by leaf, best gain first, over
 * histograms of at most 255 bins (Ke et al., NIPS 2017).  Empty cells are a
 * bin of their own, below all others; texts are put in the order of the share
 * of yes among their rows, drawn to the mean where they are few.
 *
 * A tree sees a part of the features, drawn from the seed: it costs less and
 * errs less.  Nothing depends on the order of threads or addresses.
 */

#include "boost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"


#define BOOST_LEAVES_MAX 64
#define BOOST_CUTS       (MINING_BOOST_BINS - 2) /* bins 1 ... 255 */
#define BOOST_SMOOTH     10 /* rows at the mean added to each text */

typedef struct {
    float    value;   /* of a leaf */
    uint16_t feature; /* of a split */
    uint8_t  bin;     /* the last that goes left */
    uint8_t  leaf;
    uint32_t left; /* right follows */
} boost_node_t;

struct mining_boost_s {
    double        start;
    unsigned      ntrees;
    unsigned      nfeatures;
    unsigned      per_tree; /* nodes */
    boost_node_t *nodes;
    double        gains[MINING_BOOST_FEATURES];
    unsigned      ncuts[MINING_BOOST_FEATURES];
    unsigned      nlevels[MINING_BOOST_FEATURES];
    double        cuts[MINING_BOOST_FEATURES][BOOST_CUTS];
    uint8_t       order[MINING_BOOST_FEATURES][MINING_BOOST_BINS];
};

typedef struct {
    double   g, h;
    uint32_t n;
} boost_bin_t;

typedef struct {
    size_t   begin, end; /* of order */
    double   g, h;
    double   gain; /* of its best split; 0: none */
    unsigned feature;
    unsigned bin;
    unsigned node;
} boost_leaf_t;

typedef struct {
    mining_boost_t               *boost;
    const mining_boost_options_t *options;
    size_t                        n;
    uint8_t                      *bins; /* [feature][row of n] */
    const uint8_t                *y;
    const uint32_t               *rows;
    double                       *score;
    double                       *g;
    double                       *h;
    uint32_t                     *order;
    uint32_t                     *spare;
    uint8_t                       used[MINING_BOOST_FEATURES];
    uint64_t                      random;
} boost_trainer_t;

const mining_boost_options_t mining_boost_defaults = {
    250, 24, 8, 0.08, 0.6, 1, 42};


/* ---- bins --------------------------------------------------------------- */


static int
boost_compare(const void *a, const void *b)
{
    double x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return (x > y) - (x < y);
}


/* Cuts between different values; quantiles where these are too many. */
static void
boost_cuts(mining_boost_t *boost, unsigned f, double *sorted, size_t n)
{
    size_t i, different, step, since;

    qsort(sorted, n, sizeof(double), boost_compare);
    for (i = 1, different = n > 0; i < n; i++) {
        different += sorted[i] > sorted[i - 1];
    }

    step = different <= BOOST_CUTS ? 1 : (n + BOOST_CUTS - 1) / BOOST_CUTS;
    boost->ncuts[f] = 0;
    for (i = 1, since = 1; i < n; i++, since++) {
        if (sorted[i] > sorted[i - 1] && since >= step
            && boost->ncuts[f] < BOOST_CUTS) {
            boost->cuts[f][boost->ncuts[f]++] =
                sorted[i - 1] + (sorted[i] - sorted[i - 1]) / 2;
            since = 0;
        }
    }
}


static void
boost_order(boost_trainer_t *trainer, unsigned f, const double *values,
    unsigned nlevels)
{
    double   rate[MINING_BOOST_BINS], count[MINING_BOOST_BINS], mean;
    size_t   i;
    unsigned a, b, rank, level;

    memset(rate, 0, sizeof(rate));
    memset(count, 0, sizeof(count));
    mean = 0;
    for (i = 0; i < trainer->n; i++) {
        mean += trainer->y[trainer->rows[i]] / (double) trainer->n;
        if (!isnan(values[trainer->rows[i]])) {
            level = (unsigned) values[trainer->rows[i]];
            rate[level] += trainer->y[trainer->rows[i]];
            count[level]++;
        }
    }
    for (a = 0; a < nlevels; a++) {
        rate[a] = (rate[a] + BOOST_SMOOTH * mean) / (count[a] + BOOST_SMOOTH);
    }
    for (a = 0; a < nlevels; a++) {
        rank = 1;
        for (b = 0; b < nlevels; b++) {
            rank += rate[b] < rate[a] || (!(rate[a] < rate[b]) && b < a);
        }
        trainer->boost->order[f][a] = (uint8_t) rank;
    }
}


static uint8_t
boost_bin(const mining_boost_t *boost, unsigned f, double value)
{
    unsigned low, high, middle;

    if (isnan(value)) {
        return 0;
    }
    if (boost->nlevels[f] > 0) {
        return value < boost->nlevels[f] ? boost->order[f][(unsigned) value]
                                         : 0;
    }

    low = 0;
    high = boost->ncuts[f];
    while (low < high) {
        middle = (low + high) / 2;
        if (value > boost->cuts[f][middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return (uint8_t) (low + 1);
}


static void
boost_bins(boost_trainer_t *trainer, const mining_features_t *features)
{
    double   value;
    size_t   i, n;
    unsigned f;

    for (f = 0; f < features->nfeatures; f++) {
        trainer->boost->nlevels[f] = features->nlevels[f];
        if (features->nlevels[f] > 0) {
            boost_order(trainer, f, features->values[f], features->nlevels[f]);
        } else {
            for (i = 0, n = 0; i < trainer->n; i++) {
                value = features->values[f][trainer->rows[i]];
                if (!isnan(value)) {
                    trainer->g[n++] = value;
                }
            }
            boost_cuts(trainer->boost, f, trainer->g, n);
        }
        for (i = 0; i < trainer->n; i++) {
            trainer->bins[f * trainer->n + i] = boost_bin(
                trainer->boost, f, features->values[f][trainer->rows[i]]);
        }
    }
}


/* ---- one tree ----------------------------------------------------------- */


static void
boost_scan(const boost_trainer_t *trainer, boost_leaf_t *leaf, unsigned f,
    const boost_bin_t *bins)
{
    double   g, h, gain, whole, l2;
    unsigned b, left, n;

    l2 = trainer->options->l2;
    whole = leaf->g * leaf->g / (leaf->h + l2);
    g = h = 0;
    left = 0;
    n = (unsigned) (leaf->end - leaf->begin);

    for (b = 0; b + 1 < MINING_BOOST_BINS; b++) {
        if (bins[b].n == 0) {
            continue;
        }
        g += bins[b].g;
        h += bins[b].h;
        left += bins[b].n;
        if (left < trainer->options->min_rows) {
            continue;
        }
        if (n - left < trainer->options->min_rows) {
            break;
        }
        gain = g * g / (h + l2)
               + (leaf->g - g) * (leaf->g - g) / (leaf->h - h + l2) - whole;
        if (gain > leaf->gain) {
            leaf->gain = gain;
            leaf->feature = f;
            leaf->bin = b;
        }
    }
}


static void
boost_search(const boost_trainer_t *trainer, boost_leaf_t *leaf)
{
    size_t         i;
    uint32_t       row;
    unsigned       f;
    boost_bin_t    bins[MINING_BOOST_BINS], *bin;
    const uint8_t *column;

    leaf->gain = 0;
    if (leaf->end - leaf->begin < 2 * (size_t) trainer->options->min_rows) {
        return;
    }

    for (f = 0; f < trainer->boost->nfeatures; f++) {
        if (!trainer->used[f]) {
            continue;
        }
        memset(bins, 0, sizeof(bins));
        column = trainer->bins + f * trainer->n;
        for (i = leaf->begin; i < leaf->end; i++) {
            row = trainer->order[i];
            bin = &bins[column[row]];
            bin->g += trainer->g[row];
            bin->h += trainer->h[row];
            bin->n++;
        }
        boost_scan(trainer, leaf, f, bins);
    }
}


/* Parts a leaf's rows, keeping their order; returns where the right begins. */
static size_t
boost_part(boost_trainer_t *trainer, const boost_leaf_t *leaf)
{
    size_t         i, left, right;
    uint32_t       row;
    const uint8_t *column;

    column = trainer->bins + leaf->feature * trainer->n;
    left = leaf->begin;
    right = 0;
    for (i = leaf->begin; i < leaf->end; i++) {
        row = trainer->order[i];
        if (column[row] <= leaf->bin) {
            trainer->order[left++] = row;
        } else {
            trainer->spare[right++] = row;
        }
    }
    memcpy(trainer->order + left, trainer->spare, right * sizeof(uint32_t));

    return left;
}


static void
boost_sum(const boost_trainer_t *trainer, boost_leaf_t *leaf)
{
    size_t i;

    leaf->g = leaf->h = 0;
    for (i = leaf->begin; i < leaf->end; i++) {
        leaf->g += trainer->g[trainer->order[i]];
        leaf->h += trainer->h[trainer->order[i]];
    }
    boost_search(trainer, leaf);
}


static void
boost_leaves_end(boost_trainer_t *trainer, boost_node_t *nodes,
    const boost_leaf_t *leaves, unsigned nleaves)
{
    double   value;
    size_t   i;
    unsigned k;

    for (k = 0; k < nleaves; k++) {
        value = -trainer->options->rate * leaves[k].g
                / (leaves[k].h + trainer->options->l2);
        nodes[leaves[k].node].leaf = 1;
        nodes[leaves[k].node].value = (float) value;
        for (i = leaves[k].begin; i < leaves[k].end; i++) {
            trainer->score[trainer->order[i]] +=
                (double) nodes[leaves[k].node].value;
        }
    }
}


static void
boost_tree(boost_trainer_t *trainer, boost_node_t *nodes)
{
    size_t       i, middle;
    unsigned     k, best, nleaves, nnodes;
    boost_leaf_t leaves[BOOST_LEAVES_MAX];

    for (i = 0; i < trainer->n; i++) {
        trainer->order[i] = (uint32_t) i;
    }
    memset(leaves, 0, sizeof(leaves));
    leaves[0].end = trainer->n;
    boost_sum(trainer, &leaves[0]);
    nleaves = nnodes = 1;

    while (nleaves < trainer->options->leaves) {
        for (k = 1, best = 0; k < nleaves; k++) {
            best = leaves[k].gain > leaves[best].gain ? k : best;
        }
        if (!(leaves[best].gain > 1e-9)) {
            break;
        }

        trainer->boost->gains[leaves[best].feature] += leaves[best].gain;
        nodes[leaves[best].node].feature = (uint16_t) leaves[best].feature;
        nodes[leaves[best].node].bin = (uint8_t) leaves[best].bin;
        nodes[leaves[best].node].left = nnodes;

        middle = boost_part(trainer, &leaves[best]);
        leaves[nleaves].begin = middle;
        leaves[nleaves].end = leaves[best].end;
        leaves[nleaves].node = nnodes + 1;
        leaves[best].end = middle;
        leaves[best].node = nnodes;
        nnodes += 2;
        boost_sum(trainer, &leaves[best]);
        boost_sum(trainer, &leaves[nleaves]);
        nleaves++;
    }

    boost_leaves_end(trainer, nodes, leaves, nleaves);
}


/* ---- all trees ---------------------------------------------------------- */


static void
boost_draw(boost_trainer_t *trainer)
{
    unsigned f, any;

    any = 0;
    for (f = 0; f < trainer->boost->nfeatures; f++) {
        trainer->used[f] =
            mining_random_unit(&trainer->random) < trainer->options->share;
        any += trainer->used[f];
    }
    if (any == 0) {
        memset(trainer->used, 1, sizeof(trainer->used));
    }
}


static void
boost_grow(boost_trainer_t *trainer)
{
    double   p, sum;
    size_t   i;
    unsigned t;

    for (t = 0; t < trainer->boost->ntrees; t++) {
        for (i = 0; i < trainer->n; i++) {
            p = 1 / (1 + exp(-trainer->score[i]));
            trainer->g[i] = p - trainer->y[trainer->rows[i]];
            trainer->h[i] = fmax(p * (1 - p), 1e-12);
        }
        boost_draw(trainer);
        boost_tree(trainer,
            trainer->boost->nodes + (size_t) t * trainer->boost->per_tree);
    }

    for (i = 0, sum = 0; i < trainer->boost->nfeatures; i++) {
        sum += trainer->boost->gains[i];
    }
    for (i = 0; i < trainer->boost->nfeatures && sum > 0; i++) {
        trainer->boost->gains[i] /= sum;
    }
}


static mining_result_e
boost_alloc(boost_trainer_t *trainer, const mining_features_t *features)
{
    mining_boost_t *boost;

    boost = calloc(1, sizeof(*boost));
    trainer->boost = boost;
    if (boost == NULL) {
        return MINING_NOMEM;
    }

    boost->nfeatures = features->nfeatures;
    boost->ntrees = trainer->options->trees;
    boost->per_tree = 2 * trainer->options->leaves;
    boost->nodes =
        calloc((size_t) boost->ntrees * boost->per_tree, sizeof(boost_node_t));
    trainer->bins = malloc(features->nfeatures * trainer->n);
    trainer->score = malloc(trainer->n * sizeof(double));
    trainer->g = malloc(trainer->n * sizeof(double));
    trainer->h = malloc(trainer->n * sizeof(double));
    trainer->order = malloc(trainer->n * sizeof(uint32_t));
    trainer->spare = malloc(trainer->n * sizeof(uint32_t));

    return boost->nodes != NULL && trainer->bins != NULL
                   && trainer->score != NULL && trainer->g != NULL
                   && trainer->h != NULL && trainer->order != NULL
                   && trainer->spare != NULL
               ? MINING_OK
               : MINING_NOMEM;
}


mining_result_e
mining_boost_train(mining_boost_t **boost, const mining_features_t *features,
    const uint8_t *y, const uint32_t *rows, size_t n,
    const mining_boost_options_t *options)
{
    size_t          i, yes;
    mining_result_e rc;
    boost_trainer_t trainer;

    *boost = NULL;
    for (i = 0, yes = 0; i < n; i++) {
        yes += y[rows[i]];
    }
    if (yes == 0 || yes == n || features->nfeatures == 0
        || features->nfeatures > MINING_BOOST_FEATURES || options->leaves < 2
        || options->leaves > BOOST_LEAVES_MAX)
    {
        return MINING_INVALID;
    }

    memset(&trainer, 0, sizeof(trainer));
    trainer.options = options;
    trainer.n = n;
    trainer.y = y;
    trainer.rows = rows;
    trainer.random = options->seed;

    rc = boost_alloc(&trainer, features);
    if (rc == MINING_OK) {
        boost_bins(&trainer, features);
        trainer.boost->start = log((double) yes / (double) (n - yes));
        for (i = 0; i < n; i++) {
            trainer.score[i] = trainer.boost->start;
        }
        boost_grow(&trainer);
        *boost = trainer.boost;
    } else {
        mining_boost_free(trainer.boost);
    }

    free(trainer.bins);
    free(trainer.score);
    free(trainer.g);
    free(trainer.h);
    free(trainer.order);
    free(trainer.spare);

    return rc;
}


void
mining_boost_free(mining_boost_t *boost)
{
    if (boost != NULL) {
        free(boost->nodes);
        free(boost);
    }
}


double
mining_boost_logit(
    const mining_boost_t *boost, const mining_features_t *features, size_t row)
{
    double              logit;
    uint8_t             bins[MINING_BOOST_FEATURES];
    unsigned            t, f;
    const boost_node_t *nodes, *node;

    memset(bins, 0, sizeof(bins));
    for (f = 0; f < boost->nfeatures; f++) {
        bins[f] = boost_bin(boost, f, features->values[f][row]);
    }

    logit = boost->start;
    for (t = 0; t < boost->ntrees; t++) {
        nodes = boost->nodes + (size_t) t * boost->per_tree;
        node = nodes;
        while (!node->leaf) {
            node = nodes + node->left + (bins[node->feature] > node->bin);
        }
        logit += (double) node->value;
    }

    return logit;
}


double
mining_boost_gain(const mining_boost_t *boost, unsigned feature)
{
    return boost->gains[feature];
}
