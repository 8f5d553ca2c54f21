/*
 * neighbours.c - builds the image of a model in a few passes over the clicks.
 *
 * Items get new numbers by falling popularity, so that popular items fill a
 * list by counting up and lie together in memory.  Each item keeps its newest
 * sessions only, which bounds both the file and a request.  Sequence rules
 * weigh a follower by 1/d^2 of its distance, fade with age, and are shrunk
 * where an item was rarely seen; each item keeps its best ones.
 *
 * Cost: linear in clicks, with RULES_REACH additions per click.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "neighbours.h"


#define RULES_REACH  10  /* clicks after an item that count as following */
#define RULES_MAX    32  /* of one item */
#define RULES_SHRINK 2.0 /* clicks of doubt added to what was seen */
#define RULES_AGE    1.0 /* share of the time seen after which 1/e is left */
#define TREND_SHARE  8   /* the newest eighth of sessions is of late */
#define TREND_PRIOR  8.0 /* sessions of doubt */

typedef struct {
    uint32_t item;
    uint32_t count;
} neighbours_rank_t;

typedef struct {
    uint32_t item;
    double   weight;
} neighbours_rule_t;

/* While building. */
typedef struct {
    const mining_history_t *history;
    mining_neighbours_t    *out;
    uint32_t               *clicks;  /* in items of the model */
    uint32_t               *counts;  /* clicks, by item of the model */
    uint32_t               *starts;  /* nitems + 1 of places */
    uint32_t               *places;  /* clicks of each item */
    uint32_t               *ends;    /* of the session, by click */
    double                 *weights; /* of a rule, by item */
    uint32_t               *stamps;  /* last session, by item */
    uint32_t               *rows;    /* nitems + 1 of rules */
    neighbours_rule_t      *rules;
    uint32_t                nrules;
    uint32_t                size; /* of rules */
} neighbours_build_t;


static int
neighbours_by_count(const void *a, const void *b)
{
    const neighbours_rank_t *x, *y;

    x = a;
    y = b;

    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }

    return x->item < y->item ? -1 : x->item > y->item;
}


static int
neighbours_by_weight(const void *a, const void *b)
{
    const neighbours_rule_t *x, *y;

    x = a;
    y = b;

    if (x->weight != y->weight) {
        return x->weight > y->weight ? -1 : 1;
    }

    return x->item < y->item ? -1 : x->item > y->item;
}


/* Numbers items by popularity and rewrites the clicks. */
static mining_result_e
neighbours_number(neighbours_build_t *build)
{
    uint32_t                 i, n;
    neighbours_rank_t       *ranks;
    const mining_sessions_t *sessions;

    sessions = build->history->sessions;
    n = build->history->nitems;

    ranks = calloc(n, sizeof(*ranks));
    if (ranks == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < n; i++) {
        ranks[i].item = i;
    }
    for (i = 0; i < sessions->nclicks; i++) {
        ranks[sessions->items[i]].count++;
    }
    qsort(ranks, n, sizeof(*ranks), neighbours_by_count);

    for (i = 0; i < n; i++) {
        build->out->items[ranks[i].item] = i;
        build->counts[i] = ranks[i].count;
    }
    for (i = 0; i < sessions->nclicks; i++) {
        build->clicks[i] = build->out->items[sessions->items[i]];
    }

    free(ranks);

    return MINING_OK;
}


/* How many sessions have each item, and how it has done of late. */
static void
neighbours_facts(neighbours_build_t *build)
{
    double                   n, late, before;
    uint32_t                 i, s, item, from, *of_late, *all;
    const mining_sessions_t *sessions;

    sessions = build->history->sessions;
    from = sessions->n - sessions->n / TREND_SHARE;
    all = build->starts; /* free until neighbours_places */
    of_late = build->rows;
    memset(build->stamps, 0xff, build->history->nitems * sizeof(uint32_t));

    for (s = 0; s < sessions->n; s++) {
        for (i = sessions->starts[s]; i < sessions->starts[s + 1]; i++) {
            item = build->clicks[i];
            if (build->stamps[item] != s) {
                build->stamps[item] = s;
                all[item]++;
                of_late[item] += s >= from;
            }
        }
    }

    n = (double) sessions->n;
    for (i = 0; i < build->history->nitems; i++) {
        late = (of_late[i] * (n / TREND_SHARE >= 1 ? TREND_SHARE : 0)
                   + TREND_PRIOR)
               / (n + TREND_PRIOR);
        before = (all[i] + TREND_PRIOR) / (n + TREND_PRIOR);
        build->out->facts[i].trend = late / before;
        build->out->facts[i].idf = all[i] == 0 ? 0 : log(n / all[i]);
    }

    memset(all, 0, (build->history->nitems + 1) * sizeof(uint32_t));
    memset(of_late, 0, (build->history->nitems + 1) * sizeof(uint32_t));
}


/* The clicks of each item, and the end of the session of each click. */
static void
neighbours_places(neighbours_build_t *build)
{
    uint32_t                 i, s, at;
    const mining_sessions_t *sessions;

    sessions = build->history->sessions;

    at = 0;
    for (i = 0; i < build->history->nitems; i++) {
        build->starts[i] = at;
        at += build->counts[i];
    }

    for (s = 0; s < sessions->n; s++) {
        for (i = sessions->starts[s]; i < sessions->starts[s + 1]; i++) {
            build->places[build->starts[build->clicks[i]]++] = i;
            build->ends[i] = s;
        }
    }

    for (i = build->history->nitems; i > 0; i--) {
        build->starts[i] = build->starts[i - 1];
    }
    build->starts[0] = 0;
}


static void
neighbours_add(neighbours_build_t *build, neighbours_rule_t *found, uint32_t *n,
    uint32_t item, double weight)
{
    if (build->weights[item] == 0) {
        found[(*n)++].item = item;
    }
    build->weights[item] += weight;
}


/* All that goes with the item; returns the number, *sum is of the weights. */
static uint32_t
neighbours_follow(neighbours_build_t *build, uint32_t item,
    neighbours_rule_t *found, double *sum)
{
    double                   weight, span, newest;
    uint32_t                 i, k, at, from, to, s, n;
    const int64_t           *times;
    const mining_sessions_t *sessions;

    n = 0;
    sessions = build->history->sessions;
    times = sessions->times;
    newest = (double) times[sessions->n - 1];
    span = newest - (double) times[0];
    span = span > 0 ? span : 1;

    for (i = build->starts[item]; i < build->starts[item + 1]; i++) {
        at = build->places[i];
        s = build->ends[at];
        from = at + 1;
        to = sessions->starts[s + 1];
        if (build->history->rules == MINING_RULES_TOGETHER) {
            from = sessions->starts[s];
            from = at - from > RULES_REACH ? at - RULES_REACH : from;
        }
        to = to - at > RULES_REACH ? at + RULES_REACH + 1 : to;

        weight = exp((times[s] - newest) / span / RULES_AGE);
        for (k = from; k < to; k++) {
            if (build->history->rules == MINING_RULES_FOLLOW) {
                neighbours_add(build, found, &n, build->clicks[k],
                    weight / ((k - at) * (double) (k - at)));
            } else if (build->clicks[k] != item) {
                neighbours_add(build, found, &n, build->clicks[k], 1);
            }
        }
    }

    *sum = RULES_SHRINK;
    for (i = 0; i < n; i++) {
        found[i].weight = build->weights[found[i].item];
        build->weights[found[i].item] = 0;
        *sum += found[i].weight;
    }

    return n;
}


static mining_result_e
neighbours_rules(neighbours_build_t *build, neighbours_rule_t *found)
{
    void    *grown;
    double   sum;
    uint32_t i, k, n, size;

    for (i = 0; i < build->history->nitems; i++) {
        build->rows[i] = build->nrules;
        n = neighbours_follow(build, i, found, &sum);
        qsort(found, n, sizeof(*found), neighbours_by_weight);

        if (build->size - build->nrules < RULES_MAX) {
            size = 2 * build->size + 1024;
            grown = realloc(build->rules, size * sizeof(*build->rules));
            if (grown == NULL) {
                return MINING_NOMEM;
            }
            build->rules = grown;
            build->size = size;
        }

        for (k = 0; k < n && k < RULES_MAX; k++) {
            found[k].weight *= 65535 / sum;
            if (found[k].weight < 1) {
                break;
            }
            build->rules[build->nrules++] = found[k];
        }
    }
    build->rows[i] = build->nrules;

    return MINING_OK;
}


/* Counts the postings; writes them too if there is where to. */
static uint32_t
neighbours_postings(
    neighbours_build_t *build, uint32_t *posts, uint32_t *postings)
{
    uint32_t                 i, s, item, n, *counts;
    const mining_sessions_t *sessions;

    n = 0;
    sessions = build->history->sessions;
    counts = build->counts; /* no longer needed */
    memset(counts, 0, build->history->nitems * sizeof(uint32_t));
    memset(build->stamps, 0xff, build->history->nitems * sizeof(uint32_t));

    for (s = sessions->n; s-- > 0;) {
        for (i = sessions->starts[s]; i < sessions->starts[s + 1]; i++) {
            item = build->clicks[i];
            if (build->stamps[item] != s
                && counts[item] < build->history->sample) {
                build->stamps[item] = s;
                if (postings != NULL) {
                    postings[posts[item] + counts[item]] = s;
                }
                counts[item]++;
                n++;
            }
        }
    }

    for (i = 0; postings == NULL && i < build->history->nitems; i++) {
        posts[i + 1] = posts[i] + counts[i];
    }

    return n;
}


static void
neighbours_names(neighbours_build_t *build, personalize_model_t *model)
{
    char             *text;
    uint32_t          i, at, *starts, *buckets, *old;
    tracker_str_t     name;
    personalize_str_t text_name;

    text = (char *) (uintptr_t) model->text;
    starts = (uint32_t *) (uintptr_t) model->names;
    buckets = (uint32_t *) (uintptr_t) model->buckets;

    old = build->stamps;
    for (i = 0; i < build->history->nitems; i++) {
        old[build->out->items[i]] = i;
    }

    for (i = 0; i < build->history->nitems; i++) {
        name = mining_names_word(build->history->names, old[i]);
        memcpy(text + starts[i], name.data, name.len);
        starts[i + 1] = starts[i] + (uint32_t) name.len;

        text_name.data = name.data;
        text_name.len = name.len;
        at = personalize_model_hash(text_name) & (model->head.nbucket - 1);
        while (buckets[at] != 0) {
            at = (at + 1) & (model->head.nbucket - 1);
        }
        buckets[at] = i + 1;
    }
}


static void
neighbours_write(neighbours_build_t *build, const uint32_t *posts)
{
    uint32_t             i, nitems;
    uint16_t            *weights;
    uint32_t            *rules;
    personalize_model_t *model;

    model = &build->out->model;
    nitems = build->history->nitems;

    memcpy((void *) (uintptr_t) model->sessions,
        build->history->sessions->starts,
        (model->head.nsessions + 1) * sizeof(uint32_t));
    memcpy((void *) (uintptr_t) model->clicks, build->clicks,
        model->head.nclicks * sizeof(uint32_t));
    memcpy((void *) (uintptr_t) model->posts, posts,
        (nitems + 1) * sizeof(uint32_t));
    memcpy((void *) (uintptr_t) model->rows, build->rows,
        (nitems + 1) * sizeof(uint32_t));

    rules = (uint32_t *) (uintptr_t) model->rules;
    weights = (uint16_t *) (uintptr_t) model->weights;
    for (i = 0; i < build->nrules; i++) {
        rules[i] = build->rules[i].item;
        weights[i] = (uint16_t) build->rules[i].weight;
    }

    (void) neighbours_postings(build, (uint32_t *) (uintptr_t) model->posts,
        (uint32_t *) (uintptr_t) model->postings);
    neighbours_names(build, model);
}


static mining_result_e
neighbours_image(neighbours_build_t *build)
{
    uint32_t                 *posts, bytes;
    mining_result_e           rc;
    mining_neighbours_t      *out;
    personalize_model_head_t *head;

    out = build->out;
    head = &out->model.head;
    rc = MINING_FULL;

    posts = calloc((size_t) build->history->nitems + 1, sizeof(*posts));
    if (posts == NULL) {
        return MINING_NOMEM;
    }

    memcpy(head->magic, PERSONALIZE_MODEL_MAGIC, sizeof(head->magic));
    head->version = PERSONALIZE_MODEL_VERSION;
    head->order = PERSONALIZE_MODEL_ORDER;
    head->nitems = build->history->nitems;
    head->nsessions = build->history->sessions->n;
    head->nclicks = build->history->sessions->nclicks;
    head->npostings = neighbours_postings(build, posts, NULL);
    head->nrules = build->nrules;
    bytes = build->history->names->starts[head->nitems];
    head->nnames = bytes;
    for (head->nbucket = 2; head->nbucket < 2 * head->nitems;) {
        head->nbucket *= 2;
    }

    head->size = personalize_model_size(head);
    out->size = (size_t) head->size;
    if (out->size > 0) {
        rc = MINING_NOMEM;
        out->image = calloc(1, out->size);
    }
    if (out->image != NULL) {
        memcpy(out->image, head, sizeof(*head));
        personalize_model_lay(&out->model, out->image);
        neighbours_write(build, posts);
        rc = MINING_OK;
    }
    free(posts);

    return rc;
}


static mining_result_e
neighbours_build(neighbours_build_t *build)
{
    mining_result_e    rc;
    neighbours_rule_t *found;

    found = calloc(build->history->nitems, sizeof(*found));
    rc = found == NULL ? MINING_NOMEM : neighbours_number(build);
    if (rc == MINING_OK) {
        neighbours_facts(build);
        neighbours_places(build);
        rc = neighbours_rules(build, found);
    }
    if (rc == MINING_OK) {
        rc = neighbours_image(build);
    }
    free(found);

    return rc;
}


mining_result_e
mining_neighbours_make(
    mining_neighbours_t *neighbours, const mining_history_t *history)
{
    size_t             nitems, nclicks;
    mining_result_e    rc;
    neighbours_build_t build;

    memset(neighbours, 0, sizeof(*neighbours));
    memset(&build, 0, sizeof(build));
    build.history = history;
    build.out = neighbours;

    nitems = (size_t) history->nitems + 1;
    nclicks = history->sessions->nclicks;
    if (history->nitems == 0 || history->sessions->n == 0 || nclicks == 0) {
        return MINING_INVALID;
    }
    if (nclicks > PERSONALIZE_MODEL_CLICKS_MAX
        || history->nitems > PERSONALIZE_MODEL_ITEMS_MAX)
    {
        return MINING_FULL;
    }

    neighbours->times = history->sessions->times;
    neighbours->items = calloc(nitems, sizeof(uint32_t));
    neighbours->facts = calloc(nitems, sizeof(*neighbours->facts));
    build.clicks = calloc(nclicks, sizeof(uint32_t));
    build.places = calloc(nclicks, sizeof(uint32_t));
    build.ends = calloc(nclicks, sizeof(uint32_t));
    build.counts = calloc(nitems, sizeof(uint32_t));
    build.starts = calloc(nitems, sizeof(uint32_t));
    build.stamps = calloc(nitems, sizeof(uint32_t));
    build.rows = calloc(nitems, sizeof(uint32_t));
    build.weights = calloc(nitems, sizeof(double));

    rc = MINING_NOMEM;
    if (neighbours->items != NULL && neighbours->facts != NULL
        && build.clicks != NULL && build.places != NULL && build.ends != NULL
        && build.counts != NULL && build.starts != NULL && build.stamps != NULL
        && build.rows != NULL && build.weights != NULL)
    {
        rc = neighbours_build(&build);
    }

    free(build.clicks);
    free(build.places);
    free(build.ends);
    free(build.counts);
    free(build.starts);
    free(build.stamps);
    free(build.rows);
    free(build.weights);
    free(build.rules);
    if (rc != MINING_OK) {
        mining_neighbours_free(neighbours);
    }

    return rc;
}


void
mining_neighbours_set(
    mining_neighbours_t *neighbours, const mining_taste_t *taste)
{
    mining_taste_apply(taste, neighbours->times, neighbours->facts,
        &neighbours->model.head,
        (personalize_taste_t *) (uintptr_t) neighbours->model.taste,
        (personalize_item_t *) (uintptr_t) neighbours->model.items);
}


void
mining_neighbours_seal(mining_neighbours_t *neighbours)
{
    personalize_model_head_t *head;

    head = neighbours->image;
    head->check = personalize_model_check(neighbours->image, neighbours->size);
    neighbours->model.head.check = head->check;
}


void
mining_neighbours_free(mining_neighbours_t *neighbours)
{
    free(neighbours->image);
    free(neighbours->items);
    free(neighbours->facts);
    memset(neighbours, 0, sizeof(*neighbours));
}
