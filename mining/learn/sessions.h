/*
 * sessions.h - clicks as sessions that are numbered by time.
 */

#ifndef LEARN_SESSIONS_H_INCLUDED_
#define LEARN_SESSIONS_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


typedef struct {
    uint32_t session; /* any numbers, dense from 0 */
    uint32_t item;    /* dense from 0 */
    int64_t  time;    /* of any unit */
} mining_view_t;

typedef struct {
    uint32_t  n;
    uint32_t  nclicks;
    uint32_t *starts; /* n + 1 */
    uint32_t *items;  /* of the clicks, session by session, in time order */
    int64_t  *times;  /* of the last click of each session, never falling */
} mining_sessions_t;

/*
 * Sorts clicks: sessions by their last click, clicks of one time
 * in the order given.  NOMEM: nothing is kept.
 */
mining_result_e mining_sessions_make(mining_sessions_t *sessions,
    const mining_view_t *views, uint32_t n, uint32_t nsessions);
void            mining_sessions_free(mining_sessions_t *sessions);


#pragma GCC visibility pop

#endif /* LEARN_SESSIONS_H_INCLUDED_ */
