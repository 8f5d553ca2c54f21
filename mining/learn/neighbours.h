/*
 * neighbours.h - sessions as the model file that nginx recommends from.
 */

#ifndef LEARN_NEIGHBOURS_H_INCLUDED_
#define LEARN_NEIGHBOURS_H_INCLUDED_

#include "names.h"
#include "sessions.h"
#include "taste.h"

#pragma GCC visibility push(hidden)


typedef enum {
    MINING_RULES_FOLLOW,  /* what follows, nearer is more */
    MINING_RULES_TOGETHER /* what shares a session, wherever it stands */
} mining_rules_e;

typedef struct {
    const mining_sessions_t *sessions;
    const mining_names_t    *names;
    uint32_t                 nitems; /* the first ones of names */
    uint32_t                 sample; /* newest sessions kept of each item */
    mining_rules_e           rules;
} mining_history_t;

typedef struct {
    void               *image; /* the bytes of the file */
    size_t              size;
    uint32_t           *items; /* of the model, by item of names */
    mining_item_fact_t *facts; /* by item of the model */
    const int64_t      *times; /* of the sessions, the caller's */
    personalize_model_t model; /* leads into image */
} mining_neighbours_t;

/*
 * Builds all but settings and checksum.  INVALID: no session or no item.
 * FULL: more than a model holds.
 */
mining_result_e mining_neighbours_make(
    mining_neighbours_t *neighbours, const mining_history_t *history);
/* Sets the model to these settings, any number of times. */
void mining_neighbours_set(
    mining_neighbours_t *neighbours, const mining_taste_t *taste);
/* Ends with the checksum: the image is a file now. */
void mining_neighbours_seal(mining_neighbours_t *neighbours);
void mining_neighbours_free(mining_neighbours_t *neighbours);


#pragma GCC visibility pop

#endif /* LEARN_NEIGHBOURS_H_INCLUDED_ */
