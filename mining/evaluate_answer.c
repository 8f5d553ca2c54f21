/*
 * evaluate_answer.c - learns a yes or no from a table, and measures it.
 *
 * evaluate intent and evaluate churn: CSV with a header; one column is the
 * answer, the others tell of it.  Two models learn: the network that nginx can
 * evaluate, and boosted trees; "both" is the mean of their calibrated logits.
 *
 * --split FILE has a row per row and a column of folds: train, valid, test, or
 * numbers, each of which is tested once with the others learned from.  Without
 * it five folds are drawn.  Likelihoods are calibrated, and the threshold of
 * f1_chosen is found, on rows that the model did not learn from: valid, or a
 * fifth of the rows to learn from, which the model in use then learns too.
 */

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "intent_model.h"
#include "learn/boost.h"
#include "learn/drivers.h"
#include "learn/measure.h"
#include "learn/random.h"


#define ANSWER_FOLDS   100
#define ANSWER_PART    5 /* a fifth is held back to calibrate */
#define ANSWER_DRIVERS 5

enum { ANSWER_NETWORK, ANSWER_TREES, ANSWER_BOTH, ANSWER_MODELS };

static const char *const answer_models[] = {"network", "trees", "both"};

typedef struct {
    const char *data;
    const char *label;
    const char *split;
    const char *fold;
    const char *without;
    const char *texts;
    const char *out;
    unsigned    seed;
    int         quick; /* one fold only */
    int         drivers;

    mining_table_t                table;
    mining_table_t                splits;
    const mining_column_values_t *columns[PERSONALIZE_INTENT_FIELDS];
    unsigned                      ncolumns;
    mining_features_t             features;
    uint8_t                      *y;
    int                          *folds;  /* per row */
    int                           nfolds; /* 0: train, valid, test */
    uint32_t                     *rows;   /* train, then valid, then test */
    double                       *logits[ANSWER_MODELS]; /* calibrated */
    double                       *measured; /* likelihoods of tested rows */
    uint8_t                      *said[ANSWER_MODELS]; /* above threshold */
    double                        auc[ANSWER_MODELS];  /* sums over folds */
    double                        seconds[ANSWER_MODELS];
    unsigned                      tested; /* folds */
} answer_t;

typedef struct {
    mining_intent_t intent;
    mining_boost_t *boost;
} answer_model_t;


/* ---- columns ------------------------------------------------------------ */


static mining_result_e
answer_label(answer_t *answer)
{
    int                           at;
    double                        value, least, most;
    size_t                        i, yes;
    const mining_column_values_t *column;

    at = mining_table_find(&answer->table, answer->label);
    if (at < 0) {
        mining_say("%s: no column \"%s\"", answer->data, answer->label);
        return MINING_INVALID;
    }

    column = &answer->table.columns[at];
    least = INFINITY;
    most = -INFINITY;
    for (i = 0; i < answer->table.nrows; i++) {
        least = fmin(least, column->values[i]);
        most = fmax(most, column->values[i]);
    }

    for (i = 0, yes = 0; i < answer->table.nrows; i++) {
        value = column->values[i];
        if (isnan(value) || (value > least && value < most)) {
            mining_say("%s: row %zu: %s is neither of two answers",
                answer->data, i + 1, answer->label);
            return MINING_INVALID;
        }
        /* of texts the last in order: true, yes */
        answer->y[i] = value >= most && most > least;
        yes += answer->y[i];
    }

    if (yes == 0) {
        mining_say("%s: %s is the same in all rows: nothing to learn",
            answer->data, answer->label);
        return MINING_INVALID;
    }

    return MINING_OK;
}


static mining_result_e
answer_columns(answer_t *answer)
{
    unsigned                      i, n;
    const mining_column_values_t *column;

    for (i = 0, n = 0; i < answer->table.ncolumns; i++) {
        column = &answer->table.columns[i];
        if (strcmp(column->name, answer->label) == 0
            || mining_table_listed(answer->without, column->name))
        {
            continue;
        }
        if (column->nlevels >= MINING_BOOST_BINS) {
            mining_say("%s: column \"%s\" has %u different texts: leave it "
                       "out with --without",
                answer->data, column->name, column->nlevels);
            return MINING_INVALID;
        }
        answer->columns[n] = column;
        answer->features.values[n] = column->values;
        answer->features.nlevels[n] = column->nlevels;
        n++;
    }
    answer->ncolumns = answer->features.nfeatures = n;
    if (n == 0) {
        mining_say("%s: no column beside %s", answer->data, answer->label);
    }

    return n == 0 ? MINING_INVALID : MINING_OK;
}


/* ---- folds -------------------------------------------------------------- */


static void
answer_draw(answer_t *answer)
{
    size_t   i;
    uint64_t random;

    random = answer->seed;
    answer->nfolds = ANSWER_PART;
    for (i = 0; i < answer->table.nrows; i++) {
        answer->folds[i] = (int) mining_random_below(&random, ANSWER_PART);
    }
}


/* Folds 0, 1, 2 are train, valid, test where nfolds is 0. */
static mining_result_e
answer_split(answer_t *answer)
{
    int                           at;
    size_t                        i;
    unsigned                      k;
    const char                   *text;
    mining_result_e               rc;
    const mining_column_values_t *column;

    static const char *const names[] = {"train", "valid", "test"};

    if (answer->split == NULL) {
        answer_draw(answer);
        return MINING_OK;
    }

    rc = mining_table_read(&answer->splits, answer->split, NULL);
    if (rc != MINING_OK) {
        return rc;
    }

    at = mining_table_find(&answer->splits, answer->fold);
    if (at < 0 || answer->splits.nrows != answer->table.nrows) {
        mining_say("%s: a column \"%s\" and a row for each of %zu rows are "
                   "wanted",
            answer->split, answer->fold, answer->table.nrows);
        return MINING_INVALID;
    }

    column = &answer->splits.columns[at];
    for (i = 0; i < answer->table.nrows; i++) {
        if (column->nlevels > 0) {
            text = isnan(column->values[i])
                       ? ""
                       : column->levels[(unsigned) column->values[i]];
            for (k = 0; k < 3 && strcmp(text, names[k]) != 0; k++) {
                /* looking for it */
            }
            answer->folds[i] = k < 3 ? (int) k : -1;
        } else {
            answer->folds[i] =
                column->values[i] >= 0 && column->values[i] < ANSWER_FOLDS
                    ? (int) column->values[i]
                    : -1;
            if (answer->folds[i] >= answer->nfolds) {
                answer->nfolds = answer->folds[i] + 1;
            }
        }
        if (answer->folds[i] < 0) {
            mining_say("%s: row %zu: %s is no fold: train, valid, test, or "
                       "0 to %d",
                answer->split, i + 1, answer->fold, ANSWER_FOLDS - 1);
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


/* ---- learning ----------------------------------------------------------- */


static void
answer_free_model(answer_model_t *model)
{
    mining_intent_free(&model->intent);
    mining_boost_free(model->boost);
    memset(model, 0, sizeof(*model));
}


static mining_result_e
answer_learn(
    answer_t *answer, answer_model_t *model, const uint32_t *rows, size_t n)
{
    double                   start;
    mining_result_e          rc;
    mining_boost_options_t   trees;
    mining_network_options_t network;

    memset(model, 0, sizeof(*model));
    network = mining_network_defaults;
    network.seed = answer->seed;
    trees = mining_boost_defaults;
    trees.seed = answer->seed;

    start = mining_evaluate_seconds();
    rc = mining_intent_learn(&model->intent, answer->columns, answer->ncolumns,
        answer->y, rows, n, &network);
    answer->seconds[ANSWER_NETWORK] = mining_evaluate_seconds() - start;

    if (rc == MINING_OK) {
        start = mining_evaluate_seconds();
        rc = mining_boost_train(
            &model->boost, &answer->features, answer->y, rows, n, &trees);
        answer->seconds[ANSWER_TREES] = mining_evaluate_seconds() - start;
    }
    if (rc == MINING_INVALID) {
        mining_say("%s: a part to learn from has one answer only, or the "
                   "columns are more than a network takes",
            answer->data);
    }

    return rc;
}


static double
answer_logit(const answer_t *answer, const answer_model_t *model,
    unsigned which, size_t row)
{
    return which == ANSWER_NETWORK
               ? mining_intent_logit(&model->intent, answer->columns, row)
               : mining_boost_logit(model->boost, &answer->features, row);
}


/* Calibrates on rows that the model did not learn from. */
static mining_result_e
answer_calibrate(answer_t *answer, const answer_model_t *model,
    const uint32_t *rows, size_t n, mining_platt_t platt[2],
    double threshold[ANSWER_MODELS])
{
    double          *logits, *p;
    size_t           i;
    uint8_t         *y;
    unsigned         k;
    mining_result_e  rc;
    mining_measure_t measure;

    logits = calloc(n + 1, sizeof(double));
    p = calloc(ANSWER_MODELS * (n + 1), sizeof(double));
    y = calloc(n + 1, 1);
    rc = logits == NULL || p == NULL || y == NULL ? MINING_NOMEM : MINING_OK;

    for (k = 0; k < ANSWER_MODELS && rc == MINING_OK; k++) {
        for (i = 0; i < n; i++) {
            y[i] = answer->y[rows[i]];
            logits[i] =
                k < ANSWER_BOTH ? answer_logit(answer, model, k, rows[i]) : 0;
        }
        if (k < ANSWER_BOTH) {
            rc = mining_platt_fit(&platt[k], logits, y, n);
        }
        for (i = 0; i < n && rc == MINING_OK; i++) {
            p[k * n + i] = k < ANSWER_BOTH
                               ? platt[k].slope * logits[i] + platt[k].shift
                               : (p[i] + p[n + i]) / 2;
            logits[i] = 1 / (1 + exp(-p[k * n + i]));
        }
        if (rc == MINING_OK) {
            rc = mining_measure(&measure, logits, y, n);
            threshold[k] = measure.threshold;
        }
    }
    if (rc == MINING_INVALID) {
        mining_say(
            "%s: a part to calibrate on has one answer only", answer->data);
    }

    free(logits);
    free(p);
    free(y);

    return rc;
}


/* Tests rows[0..n) with what was learned and calibrated. */
static mining_result_e
answer_test(answer_t *answer, const answer_model_t *model, const uint32_t *rows,
    size_t n, const mining_platt_t platt[2],
    const double threshold[ANSWER_MODELS])
{
    double           sum, *p;
    size_t           i;
    uint8_t         *y;
    unsigned         k;
    mining_result_e  rc;
    mining_measure_t measure;

    p = calloc(n + 1, sizeof(double));
    y = calloc(n + 1, 1);
    rc = p == NULL || y == NULL ? MINING_NOMEM : MINING_OK;

    for (k = 0; k < ANSWER_MODELS && rc == MINING_OK; k++) {
        for (i = 0; i < n; i++) {
            sum =
                k < ANSWER_BOTH
                    ? platt[k].slope * answer_logit(answer, model, k, rows[i])
                          + platt[k].shift
                    : (answer->logits[0][rows[i]] + answer->logits[1][rows[i]])
                          / 2;
            answer->logits[k][rows[i]] = sum;
            p[i] = 1 / (1 + exp(-sum));
            y[i] = answer->y[rows[i]];
            answer->said[k][rows[i]] = p[i] >= threshold[k];
        }
        rc = mining_measure(&measure, p, y, n);
        answer->auc[k] += measure.auc;
    }
    answer->tested++;
    if (rc == MINING_INVALID) {
        mining_say("%s: a part to test on has one answer only", answer->data);
    }

    free(p);
    free(y);

    return rc;
}


/* Shuffles, so that the fifth held back is a fair one. */
static void
answer_shuffle(answer_t *answer, uint32_t *rows, size_t n)
{
    size_t   i, j;
    uint32_t other;
    uint64_t random;

    random = answer->seed + 1;
    for (i = n; i > 1; i--) {
        j = mining_random_below(&random, i);
        other = rows[i - 1];
        rows[i - 1] = rows[j];
        rows[j] = other;
    }
}


static mining_result_e
answer_round(answer_t *answer, size_t train, size_t valid, size_t test)
{
    double          threshold[ANSWER_MODELS];
    uint32_t       *rows;
    mining_platt_t  platt[2];
    answer_model_t  model;
    mining_result_e rc;

    rows = answer->rows;
    if (train < 2 * ANSWER_PART || test == 0) {
        mining_say("%s: a part is too small: %zu rows to learn from, %zu to "
                   "test",
            answer->data, train, test);
        return MINING_INVALID;
    }

    memset(&model, 0, sizeof(model));
    if (valid > 0) {
        rc = answer_learn(answer, &model, rows, train);
        if (rc == MINING_OK) {
            rc = answer_calibrate(
                answer, &model, rows + train, valid, platt, threshold);
        }
    } else {
        answer_shuffle(answer, rows, train);
        rc = answer_learn(answer, &model, rows, train - train / ANSWER_PART);
        if (rc == MINING_OK) {
            rc = answer_calibrate(answer, &model,
                rows + train - train / ANSWER_PART, train / ANSWER_PART, platt,
                threshold);
        }
        answer_free_model(&model);
        if (rc == MINING_OK) {
            rc = answer_learn(answer, &model, rows, train);
        }
    }

    if (rc == MINING_OK) {
        rc = answer_test(
            answer, &model, rows + train + valid, test, platt, threshold);
    }
    answer_free_model(&model);

    return rc;
}


static mining_result_e
answer_rounds(answer_t *answer)
{
    int             fold, part;
    size_t          i, n[3];
    uint32_t       *to;
    mining_result_e rc;

    rc = MINING_OK;
    for (fold = 0; fold < (answer->nfolds > 0 ? answer->nfolds : 1)
                   && rc == MINING_OK && !(answer->quick && answer->tested > 0);
         fold++)
    {
        to = answer->rows;
        for (part = 0; part < 3; part++) {
            n[part] = 0;
            for (i = 0; i < answer->table.nrows; i++) {
                if (answer->nfolds == 0
                        ? answer->folds[i] == part
                        : part != 1
                              && (answer->folds[i] == fold) == (part == 2))
                {
                    *to++ = (uint32_t) i;
                    n[part]++;
                }
            }
        }
        rc = answer_round(answer, n[0], n[1], n[2]);
    }

    return rc;
}


/* ---- what is said ------------------------------------------------------- */


static int
answer_tested(const answer_t *answer, size_t row)
{
    return answer->nfolds == 0 ? answer->folds[row] == 2
                               : !answer->quick || answer->folds[row] == 0;
}


static mining_result_e
answer_say(const answer_t *answer)
{
    double           hits, said, yes;
    size_t           i, n;
    uint8_t         *y;
    unsigned         k;
    mining_result_e  rc;
    mining_measure_t measure;

    y = calloc(answer->table.nrows, 1);
    if (y == NULL) {
        return MINING_NOMEM;
    }

    rc = MINING_OK;
    (void) printf("rows %zu\ncolumns %u\nfolds_tested %u\n",
        answer->table.nrows, answer->ncolumns, answer->tested);
    for (k = 0; k < ANSWER_MODELS && rc == MINING_OK; k++) {
        hits = said = yes = 0;
        for (i = 0, n = 0; i < answer->table.nrows; i++) {
            if (!answer_tested(answer, i)) {
                continue;
            }
            answer->measured[n] = 1 / (1 + exp(-answer->logits[k][i]));
            y[n++] = answer->y[i];
            hits += answer->said[k][i] && answer->y[i];
            said += answer->said[k][i];
            yes += answer->y[i];
        }
        rc = mining_measure(&measure, answer->measured, y, n);
        (void) printf("%s_auc %.6f\n%s_ap %.6f\n%s_accuracy %.6f\n"
                      "%s_f1 %.6f\n%s_f1_chosen %.6f\n%s_log_loss %.6f\n"
                      "%s_calibration_error %.6f\n",
            answer_models[k], answer->auc[k] / answer->tested, answer_models[k],
            measure.ap, answer_models[k], measure.accuracy, answer_models[k],
            measure.f1, answer_models[k],
            said + yes > 0 ? 2 * hits / (said + yes) : 0, answer_models[k],
            measure.log_loss, answer_models[k], measure.ece);
        if (k < ANSWER_BOTH) {
            (void) printf("%s_train_seconds %.6f\n", answer_models[k],
                answer->seconds[k]);
        }
    }
    free(y);

    return rc;
}


/* The column that the trees used most of those not told yet. */
static unsigned
answer_best(
    const answer_t *answer, const answer_model_t *model, const uint8_t *told)
{
    double   most;
    unsigned i, best;

    most = -1;
    best = 0;
    for (i = 0; i < answer->ncolumns; i++) {
        if (!told[i] && mining_boost_gain(model->boost, i) > most) {
            most = mining_boost_gain(model->boost, i);
            best = i;
        }
    }

    return best;
}


static void
answer_drivers(const answer_t *answer, const answer_model_t *model)
{
    char     text[200];
    uint8_t  told[PERSONALIZE_INTENT_FIELDS] = {0};
    unsigned k, best;

    for (k = 0; k < ANSWER_DRIVERS && k < answer->ncolumns; k++) {
        best = answer_best(answer, model, told);
        told[best] = 1;
        text[0] = '\0';
        if (mining_driver(text, sizeof(text), answer->columns[best]->name,
                answer->columns[best]->values, answer->columns[best]->levels,
                answer->y, answer->table.nrows)
            == MINING_OK)
        {
            (void) printf("driver_%u %s\n", k + 1, text);
        }
    }
}


/* The last model learns from every row: it is the one to be used. */
static mining_result_e
answer_keep(answer_t *answer)
{
    char           *text;
    double          threshold[ANSWER_MODELS];
    FILE           *out;
    size_t          i, n;
    mining_platt_t  platt[2];
    answer_model_t  model;
    mining_result_e rc;

    if (answer->out == NULL && !answer->drivers) {
        return MINING_OK;
    }

    n = answer->table.nrows;
    for (i = 0; i < n; i++) {
        answer->rows[i] = (uint32_t) i;
    }
    answer_shuffle(answer, answer->rows, n);

    rc = answer_learn(answer, &model, answer->rows, n - n / ANSWER_PART);
    if (rc == MINING_OK) {
        rc =
            answer_calibrate(answer, &model, answer->rows + n - n / ANSWER_PART,
                n / ANSWER_PART, platt, threshold);
    }
    if (rc == MINING_OK && answer->drivers) {
        answer_drivers(answer, &model);
    }
    answer_free_model(&model);
    if (rc != MINING_OK || answer->out == NULL) {
        return rc;
    }

    rc = answer_learn(answer, &model, answer->rows, n);
    if (rc != MINING_OK) {
        return rc;
    }
    text = mining_intent_document(&model.intent, &platt[ANSWER_NETWORK], 0);
    out = text == NULL ? NULL : fopen(answer->out, "we");
    if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0) {
        mining_say("evaluate: %s: could not be written", answer->out);
        rc = MINING_INVALID;
    } else {
        (void) printf("document_bytes %zu\n", strlen(text));
    }
    free(text);
    answer_free_model(&model);

    return rc;
}


/* ---- the command -------------------------------------------------------- */


static mining_result_e
answer_do(answer_t *answer)
{
    size_t          n;
    unsigned        k;
    mining_result_e rc;

    rc = mining_table_read(&answer->table, answer->data, answer->texts);
    if (rc != MINING_OK) {
        return rc;
    }

    n = answer->table.nrows;
    answer->y = calloc(n, 1);
    answer->folds = calloc(n, sizeof(int));
    answer->rows = calloc(n, sizeof(uint32_t));
    answer->measured = calloc(n, sizeof(double));
    for (k = 0; k < ANSWER_MODELS; k++) {
        answer->logits[k] = calloc(n, sizeof(double));
        answer->said[k] = calloc(n, 1);
        if (answer->logits[k] == NULL || answer->said[k] == NULL) {
            return MINING_NOMEM;
        }
    }
    if (answer->y == NULL || answer->folds == NULL || answer->rows == NULL
        || answer->measured == NULL)
    {
        return MINING_NOMEM;
    }

    rc = answer_label(answer);
    if (rc == MINING_OK) {
        rc = answer_columns(answer);
    }
    if (rc == MINING_OK) {
        rc = answer_split(answer);
    }
    if (rc == MINING_OK) {
        rc = answer_rounds(answer);
    }
    if (rc == MINING_OK) {
        rc = answer_say(answer);
    }

    return rc == MINING_OK ? answer_keep(answer) : rc;
}


static int
answer_main(int argc, char **argv, const char *label, int drivers)
{
    answer_t       *answer;
    unsigned        nwords, k;
    const char     *words[32];
    mining_result_e rc;

    answer = calloc(1, sizeof(*answer));
    if (answer == NULL) {
        return MINING_EXIT_FAILED;
    }
    answer->label = label;
    answer->fold = "fold";
    answer->seed = 42;
    answer->drivers = drivers;

    {
        const mining_option_t options[] = {
            {"--data", (void *) &answer->data, MINING_OPTION_TEXT, 0},
            {"--label", (void *) &answer->label, MINING_OPTION_TEXT, 0},
            {"--split", (void *) &answer->split, MINING_OPTION_TEXT, 0},
            {"--fold", (void *) &answer->fold, MINING_OPTION_TEXT, 0},
            {"--without", (void *) &answer->without, MINING_OPTION_TEXT, 0},
            {"--texts", (void *) &answer->texts, MINING_OPTION_TEXT, 0},
            {"--out", (void *) &answer->out, MINING_OPTION_TEXT, 0},
            {"--seed", &answer->seed, MINING_OPTION_COUNT, 2147483647},
            {"--one-fold", &answer->quick, MINING_OPTION_FLAG, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 32
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || answer->data == NULL)
        {
            mining_say("usage: evaluate %s --data FILE [--label NAME] [--split "
                       "FILE] [--fold NAME] [--without NAMES] [--texts NAMES] "
                       "[--out FILE] [--seed NUMBER] [--one-fold]",
                argv[0]);
            free(answer);
            return MINING_EXIT_USAGE;
        }
    }

    rc = answer_do(answer);
    if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }

    mining_table_free(&answer->table);
    mining_table_free(&answer->splits);
    free(answer->y);
    free(answer->folds);
    free(answer->rows);
    free(answer->measured);
    for (k = 0; k < ANSWER_MODELS; k++) {
        free(answer->logits[k]);
        free(answer->said[k]);
    }
    free(answer);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_evaluate_intent(int argc, char **argv)
{
    return answer_main(argc, argv, "Revenue", 0);
}


int
mining_evaluate_churn(int argc, char **argv)
{
    return answer_main(argc, argv, "Churn", 1);
}
