/*
 * recommend.c - session neighbours with sequence rules and popularity.
 *
 * The family of VMIS-kNN and V-STAN (Kersbergen, Sprangers & Schelter 2022;
 * Ludewig & Jannach 2019): sessions that share items with the current one vote
 * for their other items.  Votes fade with the place of the shared item in the
 * current session, the age of the neighbour and the distance from the shared
 * item in it; what follows it and what precedes it fade apart.  Sequence rules
 * of the newest item are mixed in, popular items fill the rest.
 *
 * Sessions are numbered by time, so the newest of the union of the lists is a
 * merge that stops early.  All curves are tables of the model: no exp() here,
 * no clock, no allocation, and the same sums in the same order everywhere.
 * Cost: sample * last comparisons, then k sessions of at most 2 * REACH + 1
 * clicks each.
 */

#include <float.h>
#include <math.h>

#include "recommend.h"


#define RECOMMEND_AHEAD 8 /* sessions prefetched */


typedef struct {
    uint32_t session;
    uint32_t step; /* distance of the newest match from the newest click */
    float    weight;
} recommend_near_t;

struct personalize_room_s {
    recommend_near_t  near[PERSONALIZE_MODEL_SAMPLE];
    float             order[PERSONALIZE_MODEL_SAMPLE];
    personalize_rec_t best[PERSONALIZE_RECS_MAX + 1];
    uint32_t          ntouched;
    /* then: float scores[nitems], uint32_t touched[nitems] */
};

typedef struct {
    const personalize_model_t *model;
    const personalize_wish_t  *wish;
    personalize_room_t        *room;
    float                     *scores;
    uint32_t                  *touched;
    /* of the current session: distinct items, the newest first */
    uint32_t items[PERSONALIZE_MODEL_LAST];
    float    weights[PERSONALIZE_MODEL_LAST];
    uint32_t steps[PERSONALIZE_MODEL_LAST];
    unsigned nitems;
} recommend_t;


size_t
personalize_room_size(const personalize_model_t *model)
{
    return sizeof(personalize_room_t)
           + (size_t) model->head.nitems * (sizeof(float) + sizeof(uint32_t));
}


/* The newest click back; an item clicked again counts where it is newest. */
static void
recommend_session(recommend_t *ask)
{
    unsigned                   i, j, n;
    uint32_t                   item;
    const personalize_taste_t *taste;

    taste = ask->model->taste;
    n = ask->wish->nsession < taste->last ? ask->wish->nsession : taste->last;

    for (i = 0; i < n; i++) {
        item = ask->wish->session[ask->wish->nsession - 1 - i];
        if (item >= ask->model->head.nitems) {
            continue;
        }

        for (j = 0; j < ask->nitems && ask->items[j] != item; j++) {
        }
        if (j == ask->nitems) {
            ask->items[j] = item;
            ask->steps[j] = i;
            ask->weights[j] = taste->clicked[i] * ask->model->items[item].match;
            ask->nitems++;
        }
    }
}


/* How much a sum of shared weights counts. */
static float
recommend_sharpen(float sum, uint32_t sharp)
{
    switch (sharp) {
    case 0:
        return sum;

    case 1:
        return sum * sqrtf(sum);

    default:
        return sum * sum;
    }
}


/* Merges the lists of the session's items: the most recent sessions of them. */
static unsigned
recommend_merge(recommend_t *ask, recommend_near_t *near)
{
    float                      sum;
    int64_t                    head[PERSONALIZE_MODEL_LAST], newest;
    unsigned                   i, n, age, step;
    const uint32_t            *p[PERSONALIZE_MODEL_LAST];
    const uint32_t            *end[PERSONALIZE_MODEL_LAST];
    const personalize_model_t *model;
    const personalize_taste_t *taste;

    model = ask->model;
    taste = model->taste;

    for (i = 0; i < ask->nitems; i++) {
        p[i] = model->postings + model->posts[ask->items[i]];
        end[i] = model->postings + model->posts[ask->items[i] + 1];
        head[i] = p[i] < end[i] ? (int64_t) *p[i] : -1;
    }

    age = PERSONALIZE_MODEL_AGES - 1;
    for (n = 0; n < taste->sample; n++) {
        newest = -1;
        for (i = 0; i < ask->nitems; i++) {
            newest = head[i] > newest ? head[i] : newest;
        }
        if (newest < 0) {
            break;
        }

        sum = 0;
        step = 0;
        for (i = ask->nitems; i-- > 0;) {
            if (head[i] == newest) {
                sum += ask->weights[i];
                step = i;
                p[i]++;
                head[i] = p[i] < end[i] ? (int64_t) *p[i] : -1;
            }
        }

        while (taste->from[age] > (uint32_t) newest) {
            age--;
        }

        near[n].session = (uint32_t) newest;
        near[n].step = step;
        near[n].weight = recommend_sharpen(sum, taste->sharp) * taste->age[age];
    }

    return n;
}


static void
recommend_lengths(
    const personalize_model_t *model, recommend_near_t *near, unsigned n)
{
    unsigned        i;
    uint32_t        len;
    const uint32_t *starts;

    for (i = 0; i < n; i++) {
        if (i + RECOMMEND_AHEAD < n) {
            __builtin_prefetch(
                model->sessions + near[i + RECOMMEND_AHEAD].session);
        }
        starts = model->sessions + near[i].session;
        len = starts[1] - starts[0];
        if (len >= PERSONALIZE_MODEL_LENGTHS) {
            len = PERSONALIZE_MODEL_LENGTHS - 1;
        }
        near[i].weight *= model->taste->length[len];
    }
}


/* The k-th largest of n values, by Hoare's selection. */
static float
recommend_kth(float *order, unsigned n, unsigned k)
{
    int   i, j, lo, hi, at;
    float pivot, swap;

    lo = 0;
    hi = (int) n - 1;
    at = (int) k - 1;

    while (lo < hi) {
        pivot = order[at];
        i = lo;
        j = hi;
        do {
            while (order[i] > pivot) {
                i++;
            }
            while (order[j] < pivot) {
                j--;
            }
            if (i <= j) {
                swap = order[i];
                order[i++] = order[j];
                order[j--] = swap;
            }
        } while (i <= j);

        if (j < at) {
            lo = i;
        }
        if (at < i) {
            hi = j;
        }
    }

    return order[at];
}


/* Keeps the k most similar, in their order; among equals the newer ones. */
static unsigned
recommend_nearest(personalize_room_t *room, unsigned n, unsigned k)
{
    float    least;
    unsigned i, kept, equal;

    if (n <= k) {
        return n;
    }

    for (i = 0; i < n; i++) {
        room->order[i] = room->near[i].weight;
    }
    least = recommend_kth(room->order, n, k);

    equal = k;
    for (i = 0; i < n; i++) {
        equal -= room->near[i].weight > least;
    }

    for (i = 0, kept = 0; i < n && kept < k; i++) {
        if (room->near[i].weight == least) {
            if (equal == 0) {
                continue;
            }
            equal--;

        } else if (room->near[i].weight < least) {
            continue;
        }

        room->near[kept++] = room->near[i];
    }

    return kept;
}


static void
recommend_add(recommend_t *ask, uint32_t item, float score)
{
    if (score > 0) {
        if (ask->scores[item] == 0) {
            ask->touched[ask->room->ntouched++] = item;
        }
        ask->scores[item] += score;
    }
}


/* One neighbour votes for what stands around its newest match. */
static void
recommend_vote(recommend_t *ask, const recommend_near_t *near)
{
    float                      weight;
    int32_t                    i, at, len, least, from, to;
    uint32_t                   match;
    const uint32_t            *clicks;
    const personalize_model_t *model;

    model = ask->model;
    clicks = model->clicks + model->sessions[near->session];
    len = (int32_t) (model->sessions[near->session + 1]
                     - model->sessions[near->session]);
    match = ask->items[near->step];

    /* a robot's endless session costs no more than a person's */
    least = len > PERSONALIZE_MODEL_TAIL ? len - PERSONALIZE_MODEL_TAIL : 0;
    for (at = len - 1; at >= least && clicks[at] != match; at--) {
    }
    if (at < least) {
        return;
    }

    weight = near->weight * model->taste->matched[ask->steps[near->step]];
    from = at > PERSONALIZE_MODEL_REACH ? at - PERSONALIZE_MODEL_REACH : 0;
    to = len - at > PERSONALIZE_MODEL_REACH ? at + PERSONALIZE_MODEL_REACH + 1
                                            : len;

    for (i = from; i < to; i++) {
        recommend_add(ask, clicks[i],
            weight * model->taste->away[i - at + PERSONALIZE_MODEL_REACH]);
    }
}


static void
recommend_neighbours(recommend_t *ask)
{
    unsigned                   i, n;
    recommend_near_t          *near;
    const personalize_model_t *model;

    model = ask->model;
    near = ask->room->near;

    n = recommend_merge(ask, near);
    recommend_lengths(model, near, n);
    n = recommend_nearest(ask->room, n, model->taste->k);

    for (i = 0; i < n; i++) {
        if (i + RECOMMEND_AHEAD < n) {
            __builtin_prefetch(
                model->clicks
                + model->sessions[near[i + RECOMMEND_AHEAD].session]);
        }
        recommend_vote(ask, &near[i]);
    }
}


/* What neighbours say of each item, weighted; returns the sum. */
static float
recommend_offers(recommend_t *ask)
{
    float                      sum;
    uint32_t                   i, item;
    const personalize_model_t *model;

    model = ask->model;

    for (i = 1; i < ask->nitems; i++) {
        ask->scores[ask->items[i]] *= model->taste->seen;
    }
    if (ask->nitems > 0) {
        ask->scores[ask->items[0]] *= model->taste->current;
    }

    sum = 0;
    for (i = 0; i < ask->room->ntouched; i++) {
        item = ask->touched[i];
        ask->scores[item] *= model->items[item].offer;
        sum += ask->scores[item];
        if (ask->scores[item] == 0) {
            ask->scores[item] = FLT_MIN; /* touched only once */
        }
    }

    return sum;
}


/* Adds the rules of the newest items, as a share of the neighbours' sum. */
static void
recommend_rules(recommend_t *ask, float sum)
{
    float                      scale;
    unsigned                   n;
    uint32_t                   i, item;
    const personalize_model_t *model;
    const personalize_taste_t *taste;

    model = ask->model;
    taste = model->taste;

    for (n = 0; n < ask->nitems && n < PERSONALIZE_MODEL_RULED; n++) {
        item = ask->items[n];
        scale = (sum > 0 ? sum : 1) * taste->rules
                * taste->followed[ask->steps[n]] / 65535;
        for (i = model->rows[item]; i < model->rows[item + 1]; i++) {
            recommend_add(
                ask, model->rules[i], (float) model->weights[i] * scale);
        }
    }
}


static int
recommend_refused(const recommend_t *ask, uint32_t item)
{
    unsigned                  i;
    const personalize_item_t *about;
    const personalize_wish_t *wish;

    wish = ask->wish;
    about = &ask->model->items[item];

    if ((wish->in_stock && (about->flags & PERSONALIZE_ITEM_HIDDEN) != 0)
        || (wish->category != 0 && about->category != wish->category)
        || (wish->no_current && ask->nitems > 0 && ask->items[0] == item))
    {
        return 1;
    }

    for (i = 0; i < wish->nwithout; i++) {
        if (wish->without[i] == item) {
            return 1;
        }
    }

    return 0;
}


/* Among equal scores the more popular item, which has the lower number. */
static void
recommend_best(recommend_t *ask, unsigned *nbest, unsigned most)
{
    float              score;
    uint32_t           i, item;
    unsigned           at;
    personalize_rec_t *best;

    best = ask->room->best;

    for (i = 0; i < ask->room->ntouched; i++) {
        item = ask->touched[i];
        score = ask->scores[item];
        ask->scores[item] = 0;

        if (score <= 0
            || (*nbest == most
                && (score < best[most - 1].score
                    || (score == best[most - 1].score
                        && item > best[most - 1].item)))
            || recommend_refused(ask, item))
        {
            continue;
        }

        at = *nbest < most ? (*nbest)++ : most - 1;
        while (
            at > 0
            && (score > best[at - 1].score
                || (score == best[at - 1].score && item < best[at - 1].item)))
        {
            best[at] = best[at - 1];
            at--;
        }
        best[at].item = item;
        best[at].score = score;
    }

    ask->room->ntouched = 0;
}


/* 1: as many of its category were taken as may be. */
static int
recommend_crowded(const recommend_t *ask, const personalize_rec_t *recs,
    unsigned n, uint32_t item)
{
    unsigned i, same;
    uint32_t category;

    category = ask->model->items[item].category;
    if (ask->wish->same_max == 0 || category == 0) {
        return 0;
    }

    same = 0;
    for (i = 0; i < n; i++) {
        same += ask->model->items[recs[i].item].category == category;
    }

    return same >= ask->wish->same_max;
}


static int
recommend_taken(const personalize_rec_t *recs, unsigned n, uint32_t item)
{
    unsigned i;

    for (i = 0; i < n && recs[i].item != item; i++) {
    }

    return i < n;
}


/* Popular items fill up; looks at no more than are surely enough. */
static unsigned
recommend_fill(
    const recommend_t *ask, personalize_rec_t *recs, unsigned n, unsigned most)
{
    uint32_t item, tries;

    tries = most * 8 + ask->wish->nwithout + 1;

    for (item = 0; item < ask->model->head.nitems && n < most && tries > 0;
         item++, tries--)
    {
        if (!recommend_taken(recs, n, item) && !recommend_refused(ask, item)
            && !recommend_crowded(ask, recs, n, item))
        {
            recs[n].item = item;
            recs[n++].score = 0;
        }
    }

    return n;
}


unsigned
personalize_recommend(const personalize_model_t *model,
    personalize_room_t *room, const personalize_wish_t *wish,
    personalize_rec_t *recs)
{
    unsigned    i, n, most, nbest;
    recommend_t ask;

    ask.model = model;
    ask.wish = wish;
    ask.room = room;
    ask.scores = (float *) (room + 1);
    ask.touched = (void *) (ask.scores + model->head.nitems);
    ask.nitems = 0;
    nbest = 0;

    most = wish->n < PERSONALIZE_RECS_MAX ? wish->n : PERSONALIZE_RECS_MAX;
    if (most == 0) {
        return 0;
    }

    recommend_session(&ask);
    if (ask.nitems > 0) {
        recommend_neighbours(&ask);
        recommend_rules(&ask, recommend_offers(&ask));
        recommend_best(
            &ask, &nbest, wish->same_max == 0 ? most : PERSONALIZE_RECS_MAX);
    }

    for (i = 0, n = 0; i < nbest && n < most; i++) {
        if (!recommend_crowded(&ask, recs, n, room->best[i].item)) {
            recs[n++] = room->best[i];
        }
    }

    return recommend_fill(&ask, recs, n, most);
}
