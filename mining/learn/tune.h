/*
 * tune.h - how well a model foresees sessions, and settings that do better.
 */

#ifndef LEARN_TUNE_H_INCLUDED_
#define LEARN_TUNE_H_INCLUDED_

#include "neighbours.h"

#pragma GCC visibility push(hidden)


#define MINING_TUNE_LIST 20 /* recommendations that count */

/* Sessions to be foreseen, in items of the model (or PERSONALIZE_ITEM_NONE). */
typedef struct {
    uint32_t  n;
    uint32_t *starts; /* n + 1 */
    uint32_t *items;
} mining_exam_t;

typedef struct {
    uint32_t n;          /* predictions: clicks but the first of each */
    uint32_t unknown;    /* of these: the model does not know the item */
    uint32_t hits;       /* the next item is among the 20 */
    double   ranks;      /* sum of 1/rank */
    uint32_t hits_other; /* the same, the item in view is not listed */
    double   ranks_other;
} mining_marks_t;

/* Sessions from..to of *sessions, whose items have the numbers of names. */
mining_result_e mining_exam_make(mining_exam_t *exam,
    const mining_neighbours_t *neighbours, const mining_sessions_t *sessions,
    uint32_t from, uint32_t to);
void            mining_exam_free(mining_exam_t *exam);
/*
 * Every beginning of each step-th session foretells the next click.  shown, if
 * not NULL, has a byte per item, set to 1 for what was recommended.
 */
void mining_exam_marks(const mining_exam_t *exam, uint32_t step,
    const personalize_model_t *model, personalize_room_t *room,
    mining_marks_t *marks, char *shown);

typedef struct {
    unsigned trials;
    uint64_t seed;
    int      other;                 /* 1: the item in view will not be shown */
    unsigned nmarks;                /* predictions of one trial, about */
    int      fixed[MINING_TASTE_N]; /* 1: stays as it is */
    void (*tell)(void *ctx, unsigned done, double best); /* or NULL */
    void *ctx;
} mining_tune_t;

/*
 * Looks for settings that do best on the exam, from *taste on, and leaves them
 * in *taste; the same input gives the same.  *best: sqrt(recall * mrr).
 */
mining_result_e mining_tune(const mining_tune_t *tune,
    mining_neighbours_t *neighbours, const mining_exam_t *exam,
    mining_taste_t *taste, double *best);


#pragma GCC visibility pop

#endif /* LEARN_TUNE_H_INCLUDED_ */
