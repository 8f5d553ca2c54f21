/*
 * tune.c - searches the settings of a recommendation model on held-out time.
 *
 * First settings far apart on a part of the exam, then small steps from the
 * best one on the whole of it, a step growing when it succeeds and shrinking
 * when it fails (Rechenberg's rule).  What is improved is the geometric mean
 * of recall and MRR, so that neither is bought with the other.  The number of
 * trials bounds the time, not a clock: the same seed gives the same settings.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tune.h"


#define TUNE_WIDE  3   /* of so many trials one looks far away */
#define TUNE_PART  4   /* of the exam is used for these */
#define TUNE_GROW  1.4 /* of the step after a success */
#define TUNE_STEP  0.5 /* at first: of a setting's usual reach */
#define TUNE_LEAST 0.08
#define TUNE_MOST  1.0

typedef struct {
    const mining_tune_t *tune;
    mining_neighbours_t *neighbours;
    const mining_exam_t *exam;
    personalize_room_t  *room;
    uint32_t             step; /* every so many sessions */
    uint64_t             random;
    unsigned             done; /* trials */
} tune_t;


mining_result_e
mining_exam_make(mining_exam_t *exam, const mining_neighbours_t *neighbours,
    const mining_sessions_t *sessions, uint32_t from, uint32_t to)
{
    uint32_t i, at, item;

    at = sessions->starts[from];
    exam->n = to - from;
    exam->starts = calloc((size_t) exam->n + 1, sizeof(uint32_t));
    exam->items =
        calloc((size_t) sessions->starts[to] - at + 1, sizeof(uint32_t));
    if (exam->starts == NULL || exam->items == NULL) {
        mining_exam_free(exam);
        return MINING_NOMEM;
    }

    for (i = 0; i <= exam->n; i++) {
        exam->starts[i] = sessions->starts[from + i] - at;
    }
    for (i = 0; i < exam->starts[exam->n]; i++) {
        item = sessions->items[at + i];
        exam->items[i] = item < neighbours->model.head.nitems
                             ? neighbours->items[item]
                             : PERSONALIZE_ITEM_NONE;
    }

    return MINING_OK;
}


void
mining_exam_free(mining_exam_t *exam)
{
    free(exam->starts);
    free(exam->items);
    memset(exam, 0, sizeof(*exam));
}


/* Where the next item stands, with and without the item in view. */
static void
tune_mark(mining_marks_t *marks, const personalize_rec_t *recs, unsigned n,
    uint32_t current, uint32_t next)
{
    unsigned i, rank;

    rank = 0;
    for (i = 0; i < n; i++) {
        if (recs[i].item == next) {
            if (i < MINING_TUNE_LIST) {
                marks->hits++;
                marks->ranks += 1.0 / (i + 1);
            }
            if (next != current && rank < MINING_TUNE_LIST) {
                marks->hits_other++;
                marks->ranks_other += 1.0 / (rank + 1);
            }
            break;
        }
        rank += recs[i].item != current;
    }
}


void
mining_exam_marks(const mining_exam_t *exam, uint32_t step,
    const personalize_model_t *model, personalize_room_t *room,
    mining_marks_t *marks, char *shown)
{
    uint32_t           s, i, k, next;
    unsigned           n;
    personalize_rec_t  recs[MINING_TUNE_LIST + 1];
    personalize_wish_t wish;

    memset(marks, 0, sizeof(*marks));
    memset(&wish, 0, sizeof(wish));
    wish.n = MINING_TUNE_LIST + 1; /* one more for the item in view */

    for (s = 0; s < exam->n; s += step) {
        wish.session = exam->items + exam->starts[s];
        for (i = exam->starts[s] + 1; i < exam->starts[s + 1]; i++) {
            wish.nsession = i - exam->starts[s];
            n = personalize_recommend(model, room, &wish, recs);
            next = exam->items[i];
            marks->n++;
            if (next == PERSONALIZE_ITEM_NONE) {
                marks->unknown++;
            } else {
                tune_mark(marks, recs, n, exam->items[i - 1], next);
            }
            for (k = 0; shown != NULL && k < n && k < MINING_TUNE_LIST; k++) {
                shown[recs[k].item] = 1;
            }
        }
    }
}


/* SplitMix64, Steele, Lea & Flood 2014: in [0, 1). */
static double
tune_draw(tune_t *tune)
{
    uint64_t z;

    tune->random += 0x9e3779b97f4a7c15u;
    z = tune->random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;

    return (double) ((z ^ z >> 31) >> 11) / 9007199254740992.0;
}


/* About normal: a sum of uniform ones, without a logarithm of 0. */
static double
tune_normal(tune_t *tune)
{
    return (tune_draw(tune) + tune_draw(tune) + tune_draw(tune) - 1.5) * 2;
}


static double
tune_trial(tune_t *tune, const mining_taste_t *taste, uint32_t step)
{
    double         hits, ranks;
    mining_marks_t marks;

    mining_neighbours_set(tune->neighbours, taste);
    mining_exam_marks(tune->exam, tune->step * step, &tune->neighbours->model,
        tune->room, &marks, NULL);
    if (marks.n == marks.unknown) {
        return 0;
    }

    hits = tune->tune->other ? marks.hits_other : marks.hits;
    ranks = tune->tune->other ? marks.ranks_other : marks.ranks;

    return sqrt(hits * ranks) / (marks.n - marks.unknown);
}


/* Moves one setting by a normal step of so many of its reaches. */
static void
tune_move(tune_t *tune, mining_taste_t *taste, unsigned i, double step)
{
    double                      value;
    const mining_taste_range_t *range;

    range = &mining_taste_ranges[i];
    value = taste->value[i];
    step *= tune_normal(tune);

    switch (range->scale) {
    case MINING_SCALE_LINEAR:
        value += step * (range->high_tried - range->low_tried) / 2;
        break;

    case MINING_SCALE_LOG:
        value *= exp(step * log(range->high_tried / range->low_tried) / 3);
        break;

    case MINING_SCALE_WHOLE:
        value += step * (range->high_tried - range->low_tried) / 2;
        value = round(value);
        break;

    case MINING_SCALE_WHOLE_LOG:
        value *= exp(step * log(range->high_tried / range->low_tried) / 3);
        value = round(value);
        break;
    }

    taste->value[i] = fmin(fmax(value, range->low_tried), range->high_tried);
}


/* Changes some settings, one at least. */
static void
tune_change(tune_t *tune, const mining_taste_t *from, mining_taste_t *to,
    double share, double step)
{
    unsigned i, nfree, moved, only;

    *to = *from;
    nfree = 0;
    moved = 0;
    for (i = 0; i < MINING_TASTE_N; i++) {
        nfree += !tune->tune->fixed[i];
        if (!tune->tune->fixed[i] && tune_draw(tune) < share) {
            tune_move(tune, to, i, step);
            moved++;
        }
    }

    if (moved == 0 && nfree > 0) {
        only = (unsigned) (tune_draw(tune) * nfree);
        for (i = 0; i < MINING_TASTE_N; i++) {
            if (!tune->tune->fixed[i] && only-- == 0) {
                tune_move(tune, to, i, step);
                break;
            }
        }
    }

    if (to->value[MINING_TASTE_K] > to->value[MINING_TASTE_SAMPLE]) {
        to->value[MINING_TASTE_K] = to->value[MINING_TASTE_SAMPLE];
    }
}


static void
tune_told(tune_t *tune, double best)
{
    tune->done++;
    if (tune->tune->tell != NULL) {
        tune->tune->tell(tune->tune->ctx, tune->done, best);
    }
}


static void
tune_search(tune_t *tune, mining_taste_t *taste, double *best)
{
    double         got, part, step;
    unsigned       wide;
    mining_taste_t tried, from;

    from = *taste;
    part = tune_trial(tune, taste, TUNE_PART);
    wide = tune->tune->trials / TUNE_WIDE;
    while (tune->done < wide) {
        tune_change(tune, &from, &tried, 0.5, 1);
        got = tune_trial(tune, &tried, TUNE_PART);
        if (got > part) {
            part = got;
            *taste = tried;
        }
        tune_told(tune, part);
    }

    *best = tune_trial(tune, taste, 1);
    step = TUNE_STEP;
    while (tune->done < tune->tune->trials) {
        tune_change(tune, taste, &tried, 0.15, step);
        got = tune_trial(tune, &tried, 1);
        if (got > *best) {
            *best = got;
            *taste = tried;
            step = fmin(step * TUNE_GROW, TUNE_MOST);
        } else {
            step = fmax(step * pow(TUNE_GROW, -0.25), TUNE_LEAST);
        }
        tune_told(tune, *best);
    }
}


mining_result_e
mining_tune(const mining_tune_t *settings, mining_neighbours_t *neighbours,
    const mining_exam_t *exam, mining_taste_t *taste, double *best)
{
    tune_t   tune;
    uint32_t n;

    memset(&tune, 0, sizeof(tune));
    tune.tune = settings;
    tune.neighbours = neighbours;
    tune.exam = exam;
    tune.random = settings->seed;
    tune.room = calloc(1, personalize_room_size(&neighbours->model));
    if (tune.room == NULL) {
        return MINING_NOMEM;
    }

    n = exam->starts[exam->n] - exam->n;
    tune.step = n / (settings->nmarks > 0 ? settings->nmarks : 1);
    tune.step = tune.step > 0 ? tune.step : 1;

    tune_search(&tune, taste, best);
    mining_neighbours_set(neighbours, taste);
    free(tune.room);

    return MINING_OK;
}
