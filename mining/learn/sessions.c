/*
 * sessions.c - sorts clicks into sessions and numbers these by time.
 *
 * The number of a session then is its age: lists of sessions are sorted by
 * time without looking a time up.  One counting sort over clicks, one sort over
 * sessions, and within a session only where clicks are out of order.
 */

#include <stdlib.h>
#include <string.h>

#include "sessions.h"


typedef struct {
    int64_t  last;
    uint32_t session;
    uint32_t n;
} sessions_rank_t;

typedef struct {
    int64_t  time;
    uint32_t at;
    uint32_t item;
} sessions_click_t;


static int
sessions_by_time(const void *a, const void *b)
{
    const sessions_rank_t *x, *y;

    x = a;
    y = b;

    if (x->last != y->last) {
        return x->last < y->last ? -1 : 1;
    }

    return x->session < y->session ? -1 : x->session > y->session;
}


static int
sessions_clicks_by_time(const void *a, const void *b)
{
    const sessions_click_t *x, *y;

    x = a;
    y = b;

    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }

    return x->at < y->at ? -1 : x->at > y->at;
}


static void
sessions_rank(sessions_rank_t *ranks, uint32_t nsessions,
    const mining_view_t *views, uint32_t n)
{
    uint32_t         i;
    sessions_rank_t *rank;

    for (i = 0; i < nsessions; i++) {
        ranks[i].session = i;
        ranks[i].last = INT64_MIN;
        ranks[i].n = 0;
    }

    for (i = 0; i < n; i++) {
        rank = &ranks[views[i].session];
        rank->n++;
        if (views[i].time > rank->last) {
            rank->last = views[i].time;
        }
    }

    qsort(ranks, nsessions, sizeof(*ranks), sessions_by_time);
}


static void
sessions_sort(sessions_click_t *clicks, uint32_t n)
{
    uint32_t i;

    for (i = 1; i < n; i++) {
        if (clicks[i].time < clicks[i - 1].time) {
            qsort(clicks, n, sizeof(*clicks), sessions_clicks_by_time);
            return;
        }
    }
}


/* place[session] is where its next click goes. */
static void
sessions_fill(mining_sessions_t *sessions, const sessions_rank_t *ranks,
    const mining_view_t *views, sessions_click_t *clicks, uint32_t *place)
{
    uint32_t i, at;

    at = 0;
    for (i = 0; i < sessions->n; i++) {
        sessions->starts[i] = at;
        sessions->times[i] = ranks[i].last;
        place[ranks[i].session] = at;
        at += ranks[i].n;
    }
    sessions->starts[sessions->n] = at;

    for (i = 0; i < sessions->nclicks; i++) {
        at = place[views[i].session]++;
        clicks[at].time = views[i].time;
        clicks[at].at = i;
        clicks[at].item = views[i].item;
    }

    for (i = 0; i < sessions->n; i++) {
        sessions_sort(clicks + sessions->starts[i],
            sessions->starts[i + 1] - sessions->starts[i]);
    }

    for (i = 0; i < sessions->nclicks; i++) {
        sessions->items[i] = clicks[i].item;
    }
}


mining_result_e
mining_sessions_make(mining_sessions_t *sessions, const mining_view_t *views,
    uint32_t n, uint32_t nsessions)
{
    uint32_t         *place;
    sessions_rank_t  *ranks;
    sessions_click_t *clicks;
    mining_result_e   rc;

    sessions->n = nsessions;
    sessions->nclicks = n;
    sessions->starts = calloc((size_t) nsessions + 1, sizeof(uint32_t));
    sessions->items = calloc((size_t) n + 1, sizeof(uint32_t));
    sessions->times = calloc((size_t) nsessions + 1, sizeof(int64_t));
    place = calloc((size_t) nsessions + 1, sizeof(*place));
    ranks = calloc((size_t) nsessions + 1, sizeof(*ranks));
    clicks = calloc((size_t) n + 1, sizeof(*clicks));

    rc = MINING_NOMEM;
    if (sessions->starts != NULL && sessions->items != NULL
        && sessions->times != NULL && place != NULL && ranks != NULL
        && clicks != NULL)
    {
        sessions_rank(ranks, nsessions, views, n);
        sessions_fill(sessions, ranks, views, clicks, place);
        rc = MINING_OK;
    }

    free(place);
    free(ranks);
    free(clicks);
    if (rc != MINING_OK) {
        mining_sessions_free(sessions);
    }

    return rc;
}


void
mining_sessions_free(mining_sessions_t *sessions)
{
    free(sessions->starts);
    free(sessions->items);
    free(sessions->times);
    memset(sessions, 0, sizeof(*sessions));
}
