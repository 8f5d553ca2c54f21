/*
 * taste.h - the settings of a recommendation model, by name.
 */

#ifndef LEARN_TASTE_H_INCLUDED_
#define LEARN_TASTE_H_INCLUDED_

#include "../../personalize/personalize.h"
#include "../mining.h"

#pragma GCC visibility push(hidden)


typedef enum {
    MINING_TASTE_SAMPLE,
    MINING_TASTE_K,
    MINING_TASTE_LAST,
    MINING_TASTE_CLICKED,
    MINING_TASTE_MATCHED,
    MINING_TASTE_AFTER,
    MINING_TASTE_BEFORE,
    MINING_TASTE_BACK,
    MINING_TASTE_SELF,
    MINING_TASTE_AGE,
    MINING_TASTE_LENGTH,
    MINING_TASTE_SHARP,
    MINING_TASTE_MATCH_IDF,
    MINING_TASTE_OFFER_IDF,
    MINING_TASTE_TREND,
    MINING_TASTE_CURRENT,
    MINING_TASTE_SEEN,
    MINING_TASTE_RULES,
    MINING_TASTE_FOLLOWED,
    MINING_TASTE_N
} mining_taste_e;

typedef struct {
    double value[MINING_TASTE_N];
} mining_taste_t;

typedef enum {
    MINING_SCALE_LINEAR,
    MINING_SCALE_LOG,
    MINING_SCALE_WHOLE,    /* numbers, linear */
    MINING_SCALE_WHOLE_LOG /*  numbers, by ratio */
} mining_scale_e;

typedef struct {
    const char    *name;
    double         low; /* allowed */
    double         high;
    double         low_tried; /* by a search */
    double         high_tried;
    double         usual;
    mining_scale_e scale;
} mining_taste_range_t;

extern const mining_taste_range_t mining_taste_ranges[MINING_TASTE_N];

void mining_taste_usual(mining_taste_t *taste);
/*
 * Changes what a text like "k=200,age=1.5" names.  INVALID: *at is the part
 * that names no setting or is out of its range.
 */
mining_result_e mining_taste_parse(
    mining_taste_t *taste, const char *text, const char **at);
/* The text that mining_taste_parse reads back to the same numbers. */
void mining_taste_print(const mining_taste_t *taste, char *text, size_t size);

/* What the items' weights are made of, by item of the model. */
typedef struct {
    double idf;   /* log of sessions by sessions with it, 0 or more */
    double trend; /* of late by before, about 1 */
} mining_item_fact_t;

/*
 * Writes the tables of the settings and the weights of the items;
 * times: of nsessions sessions, never falling.
 */
void mining_taste_apply(const mining_taste_t *taste, const int64_t *times,
    const mining_item_fact_t *facts, const personalize_model_head_t *head,
    personalize_taste_t *tables, personalize_item_t *items);


#pragma GCC visibility pop

#endif /* LEARN_TASTE_H_INCLUDED_ */
