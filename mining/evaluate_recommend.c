/*
 * evaluate_recommend.c - foretells the next item of sessions in a file.
 *
 * evaluate recommend --train F --test F: builds a model of the training
 * sessions, searches its settings on the newest of them (or on --valid F),
 * builds the final model of all, opens it as nginx does, and lets every
 * beginning of every test session foretell the next click.  recall@20 and
 * mrr@20 list the items in view too, as papers do; the figures "without
 * current" leave out the one in view, as a page does.  An item that the
 * training does not know cannot be foretold and counts as missed.
 *
 * Seconds are of this process alone; all else is the same in every run.
 */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "evaluate.h"
#include "learn/tune.h"
#include "views.h"


#define RECOMMEND_TRIALS     240
#define RECOMMEND_TRIALS_MAX 100000
#define RECOMMEND_SEED       1
#define RECOMMEND_MARKS      10000 /* predictions of one trial, about */
#define RECOMMEND_VALID      7     /* the newest so many-th of sessions */
#define RECOMMEND_TEXT       512
#define RECOMMEND_NOT_ONE                                                      \
    "evaluate recommend: no session of %s has two clicks: there is nothing "   \
    "to foretell"

typedef struct {
    const char *name;
    const char *settings; /* fixed */
    int         search;
    int         rules; /* mining_rules_e */
    const char *what;
} recommend_algo_t;

static const recommend_algo_t recommend_algos[] = {
    {"vmis", NULL, 1, MINING_RULES_FOLLOW, "session neighbours with rules"},
    {"rules", "sample=0,k=0,rules=1", 1, MINING_RULES_FOLLOW, "what follows"},
    {"cooc", "sample=0,k=0,rules=1", 1, MINING_RULES_TOGETHER,
        "what is seen together"},
    {"popular", "sample=0,k=0,rules=0", 0, MINING_RULES_FOLLOW,
        "what is seen most"},
    {NULL, NULL, 0, 0, NULL}};

typedef struct {
    const char             *train;
    const char             *valid;
    const char             *test;
    const char             *algo_name;
    const char             *settings;
    const char             *model;
    unsigned                trials;
    unsigned                seed;
    int                     other; /* --no-current */
    int                     quiet;
    mining_views_columns_t  columns;
    const recommend_algo_t *algo;
    mining_names_t          items;
    uint32_t                nitems; /* known before the test */
    mining_sessions_t       history;
    uint32_t                nsearch; /* of these, to learn from in a search */
    mining_sessions_t       exam;
    mining_taste_t          taste;
    double                  best;
    double                  build_s;
    mining_neighbours_t     neighbours;
} recommend_eval_t;


static mining_result_e
recommend_said(mining_result_e rc)
{
    if (rc == MINING_NOMEM) {
        mining_say("evaluate recommend: %s", mining_result_text(rc));
    }

    return rc;
}


static mining_result_e
recommend_file(recommend_eval_t *eval, const char *path, mining_views_t *views)
{
    mining_file_t   file;
    mining_result_e rc;

    rc = mining_file_open(&file, path);
    if (rc != MINING_OK) {
        return rc;
    }

    rc = mining_views_read(
        views, &eval->items, &eval->columns, mining_file_read, &file);
    mining_file_close(&file);

    if (rc != MINING_OK && rc != MINING_NOMEM) {
        mining_say("evaluate recommend: %s:%d: %s", path, (int) views->line,
            views->fault);
    }

    return rc;
}


/* Reads one file, or two of which the second is later. */
static mining_result_e
recommend_read(recommend_eval_t *eval, const char *path, const char *later,
    mining_sessions_t *sessions, uint32_t *nfirst)
{
    mining_views_t  views;
    mining_result_e rc;

    memset(&views, 0, sizeof(views));
    rc = recommend_file(eval, path, &views);
    *nfirst = views.nsessions;
    if (rc == MINING_OK && later != NULL) {
        rc = recommend_file(eval, later, &views);
    }
    if (rc == MINING_OK) {
        rc = mining_sessions_make(
            sessions, views.views, views.n, views.nsessions);
    }
    mining_views_free(&views);

    return rc;
}


/* The newest sessions are the validation part, unless there is a file. */
static mining_result_e
recommend_history(recommend_eval_t *eval)
{
    uint32_t        ntrain;
    mining_result_e rc;

    rc =
        recommend_read(eval, eval->train, eval->valid, &eval->history, &ntrain);
    if (rc != MINING_OK) {
        return rc;
    }

    eval->nitems = eval->items.n;
    eval->nsearch = eval->valid != NULL
                        ? ntrain
                        : eval->history.n - eval->history.n / RECOMMEND_VALID;

    return MINING_OK;
}


static void
recommend_tell(void *ctx, unsigned done, double best)
{
    recommend_eval_t *eval = ctx;

    if (done % 20 == 0 && !eval->quiet) {
        mining_say("evaluate recommend: trial %u of %u, best %.5f", done,
            eval->trials, best);
    }
}


static mining_result_e
recommend_search(recommend_eval_t *eval)
{
    unsigned            i;
    mining_exam_t       exam;
    mining_tune_t       tune;
    mining_result_e     rc;
    mining_history_t    history;
    mining_sessions_t   older;
    mining_neighbours_t neighbours;

    older = eval->history;
    older.n = eval->nsearch;
    older.nclicks = older.starts[older.n];

    memset(&history, 0, sizeof(history));
    history.sessions = &older;
    history.names = &eval->items;
    history.nitems = eval->nitems;
    history.sample = PERSONALIZE_MODEL_SAMPLE;
    history.rules = (mining_rules_e) eval->algo->rules;

    memset(&tune, 0, sizeof(tune));
    tune.trials = eval->trials;
    tune.seed = eval->seed;
    tune.other = eval->other;
    tune.nmarks = RECOMMEND_MARKS;
    tune.tell = recommend_tell;
    tune.ctx = eval;
    for (i = 0; eval->algo->settings != NULL && i < MINING_TASTE_N; i++) {
        tune.fixed[i] = i != MINING_TASTE_FOLLOWED;
    }

    rc = mining_neighbours_make(&neighbours, &history);
    if (rc != MINING_OK) {
        return rc;
    }

    rc = mining_exam_make(
        &exam, &neighbours, &eval->history, eval->nsearch, eval->history.n);
    if (rc == MINING_OK) {
        if (exam.n == 0 || exam.starts[exam.n] == exam.n) {
            mining_say("evaluate recommend: the newest sessions have no second "
                       "click to search settings on: the usual ones are taken");
        } else {
            rc = mining_tune(
                &tune, &neighbours, &exam, &eval->taste, &eval->best);
        }
        mining_exam_free(&exam);
    }
    mining_neighbours_free(&neighbours);

    return rc;
}


static mining_result_e
recommend_build(recommend_eval_t *eval)
{
    double           start;
    const char      *fault;
    mining_result_e  rc;
    mining_history_t history;

    memset(&history, 0, sizeof(history));
    history.sessions = &eval->history;
    history.names = &eval->items;
    history.nitems = eval->nitems;
    history.sample = (uint32_t) eval->taste.value[MINING_TASTE_SAMPLE];
    history.rules = (mining_rules_e) eval->algo->rules;

    start = mining_evaluate_seconds();
    rc = mining_neighbours_make(&eval->neighbours, &history);
    if (rc != MINING_OK) {
        return rc;
    }
    mining_neighbours_set(&eval->neighbours, &eval->taste);
    mining_neighbours_seal(&eval->neighbours);
    eval->build_s = mining_evaluate_seconds() - start;

    /* as nginx will */
    if (personalize_model_open(&eval->neighbours.model, eval->neighbours.image,
            eval->neighbours.size, &fault)
        != PERSONALIZE_OK)
    {
        mining_say("evaluate recommend: the model was refused: %s", fault);
        return MINING_INVALID;
    }

    return MINING_OK;
}


static int
recommend_by_value(const void *a, const void *b)
{
    const float *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}


/* The time of each single answer, in us; a clock costs its share of it. */
static mining_result_e
recommend_latency(const recommend_eval_t *eval, const mining_exam_t *exam,
    personalize_room_t *room)
{
    float             *us;
    uint32_t           s, i, n;
    struct timespec    a, b;
    personalize_rec_t  recs[MINING_TUNE_LIST];
    personalize_wish_t wish;

    us = calloc((size_t) exam->starts[exam->n] + 1, sizeof(*us));
    if (us == NULL) {
        return MINING_NOMEM;
    }
    memset(&wish, 0, sizeof(wish));
    wish.n = MINING_TUNE_LIST;
    wish.no_current = 1;
    n = 0;

    for (s = 0; s < exam->n; s++) {
        wish.session = exam->items + exam->starts[s];
        for (i = exam->starts[s] + 1; i < exam->starts[s + 1]; i++) {
            wish.nsession = i - exam->starts[s];
            (void) clock_gettime(CLOCK_MONOTONIC, &a);
            (void) personalize_recommend(
                &eval->neighbours.model, room, &wish, recs);
            (void) clock_gettime(CLOCK_MONOTONIC, &b);
            us[n++] = (float) ((double) (b.tv_sec - a.tv_sec) * 1e6
                               + (double) (b.tv_nsec - a.tv_nsec) / 1e3);
        }
    }

    qsort(us, n, sizeof(*us), recommend_by_value);
    (void) printf("p50_us %.1f\np90_us %.1f\np99_us %.1f\n", us[n / 2],
        us[(uint64_t) n * 90 / 100], us[(uint64_t) n * 99 / 100]);
    free(us);

    return MINING_OK;
}


static void
recommend_print(const recommend_eval_t *eval, const mining_marks_t *marks,
    const char *shown, double seconds)
{
    char                            text[RECOMMEND_TEXT];
    uint32_t                        i, n;
    const personalize_model_head_t *head;

    head = &eval->neighbours.model.head;
    n = 0;
    for (i = 0; i < head->nitems; i++) {
        n += (uint32_t) shown[i];
    }
    mining_taste_print(&eval->taste, text, sizeof(text));

    (void) printf("algo %s\nsettings %s\n", eval->algo->name, text);
    (void) printf("sessions %u\nclicks %u\nitems %u\n", head->nsessions,
        head->nclicks, head->nitems);
    (void) printf(
        "predictions %u\nunknown_items %u\n", marks->n, marks->unknown);
    (void) printf("recall@20 %.4f\nmrr@20 %.4f\n",
        (double) marks->hits / marks->n, marks->ranks / marks->n);
    (void) printf("recall@20_without_current %.4f\n"
                  "mrr@20_without_current %.4f\n",
        (double) marks->hits_other / marks->n, marks->ranks_other / marks->n);
    (void) printf("coverage@20 %.4f\n", (double) n / head->nitems);
    (void) printf("predictions_per_second %.0f\n",
        marks->n / (seconds > 0 ? seconds : 1e-9));
    (void) printf("index_bytes %zu\nbytes_per_click %.2f\n"
                  "bytes_per_item %.1f\nbytes_per_session %.1f\n",
        eval->neighbours.size, (double) eval->neighbours.size / head->nclicks,
        (double) eval->neighbours.size / head->nitems,
        (double) eval->neighbours.size / head->nsessions);
    (void) printf("build_seconds %.3f\n", eval->build_s);
}


static mining_result_e
recommend_examine(const recommend_eval_t *eval)
{
    char               *shown;
    double              start, seconds;
    mining_exam_t       exam;
    mining_marks_t      marks;
    mining_result_e     rc;
    personalize_room_t *room;

    shown = calloc(1, eval->nitems);
    room = calloc(1, personalize_room_size(&eval->neighbours.model));
    rc = mining_exam_make(
        &exam, &eval->neighbours, &eval->exam, 0, eval->exam.n);
    if (rc != MINING_OK || shown == NULL || room == NULL) {
        rc = MINING_NOMEM;

    } else if (exam.starts[exam.n] == exam.n) {
        mining_say(RECOMMEND_NOT_ONE, eval->test);
        rc = MINING_INVALID;

    } else {
        start = mining_evaluate_seconds();
        mining_exam_marks(
            &exam, 1, &eval->neighbours.model, room, &marks, shown);
        seconds = mining_evaluate_seconds() - start;
        recommend_print(eval, &marks, shown, seconds);
        rc = recommend_latency(eval, &exam, room);
    }

    mining_exam_free(&exam);
    free(room);
    free(shown);

    return rc;
}


/* By rename: nobody sees half a file. */
static mining_result_e
recommend_save(const recommend_eval_t *eval)
{
    FILE           *file;
    char            path[4096];
    mining_result_e rc;

    path[0] = '\0';
    mining_text(path, sizeof(path), "%s.new", eval->model);
    file = fopen(path, "wb");
    rc = MINING_OK;

    if (file == NULL
        || fwrite(eval->neighbours.image, 1, eval->neighbours.size, file)
               != eval->neighbours.size)
    {
        rc = MINING_LOST;
    }
    if (file != NULL && fclose(file) != 0) {
        rc = MINING_LOST;
    }
    if (rc == MINING_OK && rename(path, eval->model) != 0) {
        rc = MINING_LOST;
    }
    if (rc != MINING_OK) {
        mining_say("evaluate recommend: %s cannot be written: %m", path);
    }

    return rc;
}


static mining_result_e
recommend_run(recommend_eval_t *eval)
{
    uint32_t        ntest;
    mining_result_e rc;

    rc = recommend_history(eval);
    if (rc == MINING_OK && eval->settings == NULL && eval->algo->search) {
        rc = recommend_search(eval);
    }
    if (rc == MINING_OK) {
        rc = recommend_read(eval, eval->test, NULL, &eval->exam, &ntest);
    }
    if (rc == MINING_OK) {
        rc = recommend_build(eval);
    }
    if (rc == MINING_OK) {
        rc = recommend_examine(eval);
    }
    if (rc == MINING_OK && eval->model != NULL) {
        rc = recommend_save(eval);
    }
    if (rc == MINING_OK) {
        mining_evaluate_memory();
    }

    return recommend_said(rc);
}


static int
recommend_usage(void)
{
    const recommend_algo_t *algo;

    mining_say("usage: evaluate recommend --train FILE --test FILE "
               "[--valid FILE] [--algo NAME] [--trials N] [--seed N] "
               "[--settings LIST] [--no-current] [--quiet] [--model FILE] "
               "[--session COLUMN] [--item COLUMN] [--time COLUMN]");
    for (algo = recommend_algos; algo->name != NULL; algo++) {
        mining_say("  --algo %s: %s", algo->name, algo->what);
    }

    return MINING_EXIT_USAGE;
}


static mining_result_e
recommend_words(recommend_eval_t *eval, int argc, char **argv)
{
    unsigned    nwords;
    const char *at, *words[64];

    const mining_option_t options[] = {
        {"--train", (void *) &eval->train, MINING_OPTION_TEXT, 0},
        {"--valid", (void *) &eval->valid, MINING_OPTION_TEXT, 0},
        {"--test", (void *) &eval->test, MINING_OPTION_TEXT, 0},
        {"--algo", (void *) &eval->algo_name, MINING_OPTION_TEXT, 0},
        {"--settings", (void *) &eval->settings, MINING_OPTION_TEXT, 0},
        {"--model", (void *) &eval->model, MINING_OPTION_TEXT, 0},
        {"--session", (void *) &eval->columns.session, MINING_OPTION_TEXT, 0},
        {"--item", (void *) &eval->columns.item, MINING_OPTION_TEXT, 0},
        {"--time", (void *) &eval->columns.time, MINING_OPTION_TEXT, 0},
        {"--trials", &eval->trials, MINING_OPTION_COUNT, RECOMMEND_TRIALS_MAX},
        {"--seed", &eval->seed, MINING_OPTION_COUNT, 1000000000},
        {"--no-current", &eval->other, MINING_OPTION_FLAG, 0},
        {"--quiet", &eval->quiet, MINING_OPTION_FLAG, 0},
        {NULL, NULL, MINING_OPTION_FLAG, 0}};

    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK
        || nwords != 0 || eval->train == NULL || eval->test == NULL)
    {
        return MINING_INVALID;
    }

    for (eval->algo = recommend_algos;
         eval->algo->name != NULL
         && strcmp(eval->algo->name, eval->algo_name) != 0;)
    {
        eval->algo++;
    }
    if (eval->algo->name == NULL) {
        mining_say("evaluate recommend: no algorithm \"%s\"", eval->algo_name);
        return MINING_INVALID;
    }

    if ((eval->algo->settings != NULL
            && mining_taste_parse(&eval->taste, eval->algo->settings, &at)
                   != MINING_OK)
        || (eval->settings != NULL
            && mining_taste_parse(&eval->taste, eval->settings, &at)
                   != MINING_OK))
    {
        mining_say("evaluate recommend: --settings: \"%s\" is no setting or "
                   "out of its range",
            at);
        return MINING_INVALID;
    }

    return MINING_OK;
}


int
mining_evaluate_recommend(int argc, char **argv)
{
    mining_result_e  rc;
    recommend_eval_t eval;

    memset(&eval, 0, sizeof(eval));
    eval.algo_name = recommend_algos[0].name;
    eval.trials = RECOMMEND_TRIALS;
    eval.seed = RECOMMEND_SEED;
    mining_taste_usual(&eval.taste);

    if (recommend_words(&eval, argc, argv) != MINING_OK) {
        return recommend_usage();
    }

    rc = recommend_run(&eval);

    mining_neighbours_free(&eval.neighbours);
    mining_sessions_free(&eval.history);
    mining_sessions_free(&eval.exam);
    mining_names_free(&eval.items);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
