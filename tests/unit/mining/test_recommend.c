/*
 * test_recommend.c - models of generated sessions against a naive oracle.
 *
 * The oracle knows the tables of the model and the sessions, and nothing of
 * postings, merging, selection and dense scores; it adds in the same order, so
 * that scores must be equal to the bit.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/tune.h"


#define NSESSIONS 400
#define NITEMS    60
#define NCLICKS   (NSESSIONS * 12)

static mining_view_t       views[NCLICKS];
static uint32_t            nviews;
static mining_names_t      names;
static mining_sessions_t   sessions;
static mining_neighbours_t neighbours;
static personalize_room_t *room;
static uint64_t            state;

typedef struct {
    uint32_t session;
    unsigned step; /* of the newest match */
    uint32_t item; /* that matches there */
    float    weight;
} oracle_near_t;


static uint32_t
draw(uint32_t n)
{
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;

    return (uint32_t) ((state >> 33) % n);
}


/* Sessions walk in a ring of items, with jumps and repeats. */
static void
make(const char *settings, mining_rules_e rules)
{
    char             text[16];
    uint32_t         s, i, n, item, number;
    const char      *at;
    tracker_str_t    name;
    mining_taste_t   taste;
    mining_history_t history;

    state = 11;
    nviews = 0;
    memset(&names, 0, sizeof(names));
    for (i = 0; i < NITEMS; i++) {
        name.data = text;
        name.len = (size_t) snprintf(text, sizeof(text), "sku-%u", i * i);
        assert_int_equal(mining_names_number(&names, name, &number), MINING_OK);
        assert_int_equal(number, i);
    }

    for (s = 0; s < NSESSIONS; s++) {
        n = 1 + draw(12);
        item = draw(NITEMS);
        for (i = 0; i < n; i++) {
            views[nviews].session = s;
            views[nviews].item = item;
            views[nviews++].time = draw(5) == 0 ? 500 : s * 1000 + i;
            item =
                draw(4) == 0 ? draw(NITEMS) : (item + draw(3)) % (NITEMS - 10);
        }
    }

    assert_int_equal(
        mining_sessions_make(&sessions, views, nviews, NSESSIONS), MINING_OK);
    mining_taste_usual(&taste);
    assert_int_equal(mining_taste_parse(&taste, settings, &at), MINING_OK);
    memset(&history, 0, sizeof(history));
    history.sessions = &sessions;
    history.names = &names;
    history.nitems = NITEMS;
    history.sample = (uint32_t) taste.value[MINING_TASTE_SAMPLE];
    history.rules = rules;
    assert_int_equal(mining_neighbours_make(&neighbours, &history), MINING_OK);
    mining_neighbours_set(&neighbours, &taste);
    mining_neighbours_seal(&neighbours);
    room = calloc(1, personalize_room_size(&neighbours.model));
    assert_non_null(room);
}


static void
unmake(void)
{
    free(room);
    mining_neighbours_free(&neighbours);
    mining_sessions_free(&sessions);
    mining_names_free(&names);
}


static float
oracle_away(const personalize_taste_t *taste, int distance)
{
    if (distance < -PERSONALIZE_MODEL_REACH
        || distance > PERSONALIZE_MODEL_REACH) {
        return 0;
    }

    return taste->away[distance + PERSONALIZE_MODEL_REACH];
}


/* Where the item stands in the session looked at, newest 0; -1: nowhere. */
static int
oracle_step(const personalize_model_t *model, const personalize_wish_t *wish,
    uint32_t item)
{
    unsigned i;

    for (i = 0; i < wish->nsession && i < model->taste->last; i++) {
        if (wish->session[wish->nsession - 1 - i] == item) {
            return (int) i;
        }
    }

    return -1;
}


static int
oracle_shares(const personalize_model_t *model, const personalize_wish_t *wish,
    uint32_t s, oracle_near_t *near)
{
    int      found;
    float    weight, sum;
    uint32_t i, k, item, len;
    unsigned a;

    found = 0;
    sum = 0;

    /* the oldest first, as the sum is made */
    for (k = 0; k < model->taste->last; k++) {
        i = model->taste->last - 1 - k;
        if (i >= wish->nsession) {
            continue;
        }
        item = wish->session[wish->nsession - 1 - i];
        if (oracle_step(model, wish, item) != (int) i) {
            continue;
        }
        for (a = model->sessions[s]; a < model->sessions[s + 1]; a++) {
            if (model->clicks[a] == item) {
                weight = model->taste->clicked[i] * model->items[item].match;
                sum += weight;
                near->step = i;
                near->item = item;
                found = 1;
                break;
            }
        }
    }

    len = model->sessions[s + 1] - model->sessions[s];
    for (a = PERSONALIZE_MODEL_AGES - 1; model->taste->from[a] > s; a--) {
    }
    if (model->taste->sharp == 2) {
        sum = sum * sum;
    }
    near->session = s;
    near->weight = sum * model->taste->age[a];
    near->weight *= model->taste->length[len];

    return found;
}


static int
oracle_by_weight(const void *a, const void *b)
{
    const oracle_near_t *x = a, *y = b;

    if (x->weight != y->weight) {
        return x->weight > y->weight ? -1 : 1;
    }

    return x->session > y->session ? -1 : 1;
}


static int
oracle_by_session(const void *a, const void *b)
{
    const oracle_near_t *x = a, *y = b;

    return x->session > y->session ? -1 : 1;
}


/* Votes for all items; returns how many have one, in order of the first. */
static unsigned
oracle_neighbours(const personalize_model_t *model,
    const personalize_wish_t *wish, float *scores, uint32_t *order)
{
    int           last;
    float         weight, vote;
    uint32_t      s, i, k, n;
    unsigned      norder;
    oracle_near_t near[NSESSIONS];

    n = 0;
    norder = 0;
    for (s = model->head.nsessions; s-- > 0 && n < model->taste->sample;) {
        n += (uint32_t) oracle_shares(model, wish, s, &near[n]);
    }
    qsort(near, n, sizeof(near[0]), oracle_by_weight);
    n = n < model->taste->k ? n : model->taste->k;
    qsort(near, n, sizeof(near[0]), oracle_by_session);

    for (k = 0; k < n; k++) {
        last = 0;
        for (i = model->sessions[near[k].session];
             i < model->sessions[near[k].session + 1]; i++)
        {
            if (model->clicks[i] == near[k].item) {
                last = (int) i;
            }
        }
        weight = near[k].weight * model->taste->matched[near[k].step];
        for (i = model->sessions[near[k].session];
             i < model->sessions[near[k].session + 1]; i++)
        {
            vote = weight * oracle_away(model->taste, (int) i - last);
            if (vote > 0 && scores[model->clicks[i]] == 0) {
                order[norder++] = model->clicks[i];
            }
            scores[model->clicks[i]] += vote;
        }
    }

    return norder;
}


/* Scores of all items, by item. */
static void
oracle(const personalize_model_t *model, const personalize_wish_t *wish,
    float *scores)
{
    int      step, current;
    float    sum, scale;
    uint32_t i, k, item, ruled, order[NITEMS];
    unsigned norder;

    memset(scores, 0, NITEMS * sizeof(*scores));
    norder = oracle_neighbours(model, wish, scores, order);

    current = (int) wish->session[wish->nsession - 1];
    for (i = 0; i < NITEMS; i++) {
        step = oracle_step(model, wish, i);
        if ((int) i == current) {
            scores[i] *= model->taste->current;
        } else if (step >= 0) {
            scores[i] *= model->taste->seen;
        }
        scores[i] *= model->items[i].offer;
    }

    /* a sum of floats has an order: that of the first touch */
    sum = 0;
    for (i = 0; i < norder; i++) {
        sum += scores[order[i]];
    }

    ruled = 0;
    for (k = 0; k < model->taste->last && k < wish->nsession; k++) {
        item = wish->session[wish->nsession - 1 - k];
        if (oracle_step(model, wish, item) != (int) k
            || ruled++ >= PERSONALIZE_MODEL_RULED)
        {
            continue;
        }
        scale = (sum > 0 ? sum : 1) * model->taste->rules
                * model->taste->followed[k] / 65535;
        for (i = model->rows[item]; i < model->rows[item + 1]; i++) {
            scores[model->rules[i]] += (float) model->weights[i] * scale;
        }
    }
}


/* Every beginning of 60 sessions gives what the oracle gives. */
static void
agrees(const char *settings)
{
    float              scores[NITEMS];
    uint32_t           s, i, k, at, best, session[12];
    unsigned           n;
    personalize_rec_t  recs[NITEMS];
    personalize_wish_t wish;

    make(settings, MINING_RULES_FOLLOW);

    for (s = 0; s < 60; s++) {
        memset(&wish, 0, sizeof(wish));
        wish.session = session;
        wish.n = 20;
        for (i = 0; i < 12; i++) {
            session[i] = draw(3) == 0 ? draw(NITEMS) : (s + i) % NITEMS;
            wish.nsession = i + 1;
            oracle(&neighbours.model, &wish, scores);
            n = personalize_recommend(&neighbours.model, room, &wish, recs);
            assert_int_equal(n, 20);

            for (at = 0; at < n && recs[at].score > 1e-30F; at++) {
                best = 0;
                for (k = 1; k < NITEMS; k++) {
                    best = scores[k] > scores[best] ? k : best;
                }
                assert_int_equal(recs[at].item, best);
                assert_true(recs[at].score == scores[best]);
                scores[best] = -1;
            }
        }
    }

    unmake();
}


static void
test_agrees_with_the_oracle(void **unused)
{
    (void) unused;
    agrees("sample=400,k=400,last=3");
    agrees("sample=50,k=7,last=16,sharp=2,self=0,age=0.1,current=0.2");
    agrees("sample=20,k=20,length=1,rules=2,seen=3,offer_idf=1.5,trend=1");
    agrees("sample=0,k=0,rules=1");
}


static void
test_items_are_numbered_by_popularity(void **unused)
{
    uint32_t             i, k, counts[NITEMS] = {0};
    personalize_str_t    name;
    personalize_model_t *model;

    (void) unused;
    make("k=10", MINING_RULES_TOGETHER);
    model = &neighbours.model;

    for (i = 0; i < model->head.nclicks; i++) {
        counts[model->clicks[i]]++;
    }
    for (i = 1; i < NITEMS; i++) {
        assert_true(counts[i] <= counts[i - 1]);
    }
    for (i = 0; i < NITEMS; i++) {
        name = personalize_model_name(model, i);
        assert_int_equal(personalize_model_find(model, name), i);
        for (k = model->rows[i]; k < model->rows[i + 1]; k++) {
            assert_true(model->rules[k] != i);
        }
    }
    name.data = "sku-";
    name.len = 4;
    assert_int_equal(
        personalize_model_find(model, name), PERSONALIZE_ITEM_NONE);

    unmake();
}


static void
test_keeps_what_is_not_wanted_out(void **unused)
{
    uint32_t            i, session[2], without[2];
    unsigned            n, same;
    personalize_rec_t   recs[PERSONALIZE_RECS_MAX];
    personalize_wish_t  wish;
    personalize_item_t *items;

    (void) unused;
    make("k=50", MINING_RULES_FOLLOW);
    items = (personalize_item_t *) (uintptr_t) neighbours.model.items;
    for (i = 0; i < NITEMS; i++) {
        items[i].category = 1 + i % 3;
        items[i].flags = i % 2 ? PERSONALIZE_ITEM_HIDDEN : 0;
    }

    memset(&wish, 0, sizeof(wish));
    wish.session = session;
    wish.nsession = 2;
    wish.without = without;
    wish.nwithout = 2;
    wish.n = 6;
    wish.no_current = 1;
    wish.in_stock = 1;
    wish.same_max = 2;
    session[0] = 4;
    session[1] = 6;
    without[0] = 8;
    without[1] = 10;

    n = personalize_recommend(&neighbours.model, room, &wish, recs);
    assert_int_equal(n, 6);
    same = 0;
    for (i = 0; i < n; i++) {
        assert_int_equal(recs[i].item % 2, 0);
        assert_true(
            recs[i].item != 6 && recs[i].item != 8 && recs[i].item != 10);
        same += items[recs[i].item].category == 1;
    }
    assert_int_equal(same, 2);

    wish.category = 3;
    wish.same_max = 0;
    n = personalize_recommend(&neighbours.model, room, &wish, recs);
    for (i = 0; i < n; i++) {
        assert_int_equal(items[recs[i].item].category, 3);
    }

    /* nobody's session, and unknown items only: what is popular */
    memset(&wish, 0, sizeof(wish));
    wish.session = session;
    wish.nsession = 1;
    wish.n = PERSONALIZE_RECS_MAX;
    session[0] = PERSONALIZE_ITEM_NONE;
    n = personalize_recommend(&neighbours.model, room, &wish, recs);
    assert_int_equal(n, NITEMS);
    for (i = 0; i < n; i++) {
        assert_int_equal(recs[i].item, i);
        assert_true(recs[i].score == 0);
    }

    unmake();
}


static void
test_refuses_a_damaged_file(void **unused)
{
    size_t              i;
    unsigned char      *image;
    const char         *fault;
    personalize_model_t model;

    (void) unused;
    make("k=10", MINING_RULES_FOLLOW);
    image = neighbours.image;

    assert_int_equal(
        personalize_model_open(&model, image, neighbours.size, &fault),
        PERSONALIZE_OK);
    assert_null(fault);

    for (i = 0; i < neighbours.size; i += i < 512 ? 1 : 97) {
        image[i] ^= 0x10;
        assert_int_equal(
            personalize_model_open(&model, image, neighbours.size, &fault),
            PERSONALIZE_INVALID);
        assert_non_null(fault);
        image[i] ^= 0x10;
        assert_int_equal(personalize_model_open(&model, image, i, &fault),
            PERSONALIZE_INVALID);
    }

    unmake();
}


/* One damaged number each, under a right checksum. */
static void
test_refuses_numbers_out_of_bounds(void **unused)
{
    unsigned            i;
    uint32_t           *at, old;
    const char         *fault;
    personalize_model_t model;

    (void) unused;
    make("k=10", MINING_RULES_FOLLOW);

    {
        const struct {
            const void *at;
            uint32_t    value;
            const char *fault;
        } cases[] = {
            {&neighbours.model.taste->last, 0, "settings"},
            {&neighbours.model.taste->k, 1u << 30, "settings"},
            {&neighbours.model.taste->age[3], 0x7fc00000, "settings"},
            {&neighbours.model.taste->from[9], NSESSIONS + 1, "settings"},
            {&neighbours.model.items[1].offer, 0xbf800000, "weight"},
            {&neighbours.model.sessions[5], 0, "sessions"},
            {&neighbours.model.clicks[7], NITEMS, "sessions"},
            {&neighbours.model.postings[0], NSESSIONS, "postings"},
            {&neighbours.model.postings[1], neighbours.model.postings[0],
                "postings"},
            {&neighbours.model.rules[0], NITEMS, "rules"},
            {&neighbours.model.rows[2], 0xffffffff, "rules"},
            {&neighbours.model.names[NITEMS], 0, "names"},
            {&neighbours.model.buckets[0], NITEMS + 1, "names"},
        };

        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            at = (uint32_t *) (uintptr_t) cases[i].at;
            old = *at;
            *at = cases[i].value;
            mining_neighbours_seal(&neighbours);
            assert_int_equal(personalize_model_open(&model, neighbours.image,
                                 neighbours.size, &fault),
                PERSONALIZE_INVALID);
            if (strstr(fault, cases[i].fault) == NULL) {
                fail_msg("case %u: %s", i, fault);
            }
            *at = old;
        }
    }

    unmake();
}


/* The search beats its start on its own exam, and the same seed is the same. */
static void
test_search_improves_and_repeats(void **unused)
{
    char           a[512], b[512];
    double         first, best, again;
    mining_exam_t  exam;
    mining_tune_t  tune;
    mining_taste_t taste;
    mining_marks_t marks;

    (void) unused;
    make("k=10", MINING_RULES_FOLLOW);
    assert_int_equal(
        mining_exam_make(&exam, &neighbours, &sessions, 300, 400), MINING_OK);
    memset(&tune, 0, sizeof(tune));
    tune.seed = 5;
    tune.nmarks = 300;
    tune.trials = 1;
    mining_taste_usual(&taste);
    assert_int_equal(
        mining_tune(&tune, &neighbours, &exam, &taste, &first), MINING_OK);

    tune.trials = 40;
    mining_taste_usual(&taste);
    assert_int_equal(
        mining_tune(&tune, &neighbours, &exam, &taste, &best), MINING_OK);
    mining_taste_print(&taste, a, sizeof(a));
    mining_taste_usual(&taste);
    assert_int_equal(
        mining_tune(&tune, &neighbours, &exam, &taste, &again), MINING_OK);
    mining_taste_print(&taste, b, sizeof(b));
    assert_true(best > first);
    assert_true(best == again);
    assert_string_equal(a, b);

    mining_exam_marks(&exam, 1, &neighbours.model, room, &marks, NULL);
    assert_int_equal(marks.n, exam.starts[exam.n] - exam.n);
    assert_int_equal(marks.unknown, 0);
    assert_true(marks.ranks <= marks.hits && marks.hits <= marks.n);

    mining_exam_free(&exam);
    unmake();
}


static void
test_settings_are_read_and_refused(void **unused)
{
    char           text[512];
    const char    *at;
    unsigned       i;
    mining_taste_t taste, again;

    static const char *const wrong[] = {"k", "k=", "k=1.5", "k=9999999",
        "nothing=1", "age=nan", "age=1e999", "k=3,,", "k=3,last=0", "=1"};

    (void) unused;
    mining_taste_usual(&taste);
    assert_int_equal(
        mining_taste_parse(&taste, "k=77,age=0.125,sharp=1", &at), MINING_OK);
    mining_taste_print(&taste, text, sizeof(text));
    mining_taste_usual(&again);
    assert_int_equal(mining_taste_parse(&again, text, &at), MINING_OK);
    assert_memory_equal(&taste, &again, sizeof(taste));

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(
            mining_taste_parse(&taste, wrong[i], &at), MINING_INVALID);
    }
}


static void
test_one_session_or_none(void **unused)
{
    uint32_t            number;
    tracker_str_t       name = {"a", 1};
    mining_view_t       view[] = {{0, 0, 7}, {0, 0, 7}};
    mining_history_t    history;
    mining_sessions_t   one;
    mining_neighbours_t model;

    (void) unused;
    memset(&names, 0, sizeof(names));
    memset(&history, 0, sizeof(history));
    assert_int_equal(mining_names_number(&names, name, &number), MINING_OK);
    history.sessions = &one;
    history.names = &names;
    history.sample = 10;
    history.nitems = 1;

    assert_int_equal(mining_sessions_make(&one, view, 0, 0), MINING_OK);
    assert_int_equal(mining_neighbours_make(&model, &history), MINING_INVALID);
    mining_sessions_free(&one);

    assert_int_equal(mining_sessions_make(&one, view, 2, 1), MINING_OK);
    assert_int_equal(mining_neighbours_make(&model, &history), MINING_OK);
    mining_neighbours_free(&model);
    mining_sessions_free(&one);
    mining_names_free(&names);
}


/* What lies further back than the tail of a session does not vote. */
static void
test_an_endless_session_is_cut(void **unused)
{
    uint32_t            i, number, item;
    const char         *at;
    tracker_str_t       name;
    mining_taste_t      taste;
    personalize_rec_t   recs[2];
    mining_history_t    history;
    mining_sessions_t   two;
    personalize_wish_t  wish;
    mining_neighbours_t model;

    (void) unused;
    memset(&names, 0, sizeof(names));
    memset(&history, 0, sizeof(history));
    memset(&wish, 0, sizeof(wish));
    for (i = 0; i < 3; i++) {
        name.data = &"abc"[i];
        name.len = 1;
        assert_int_equal(mining_names_number(&names, name, &number), MINING_OK);
    }
    for (i = 0; i <= PERSONALIZE_MODEL_TAIL; i++) {
        views[i].session = 0;
        views[i].item = i == 0 ? 0 : 1;
        views[i].time = i;
    }
    views[i].session = views[i + 1].session = 1;
    views[i].item = 0;
    views[i + 1].item = 2;
    views[i].time = views[i + 1].time = i;
    assert_int_equal(mining_sessions_make(&two, views, i + 2, 2), MINING_OK);

    history.sessions = &two;
    history.names = &names;
    history.nitems = 3;
    history.sample = 10;
    mining_taste_usual(&taste);
    assert_int_equal(
        mining_taste_parse(&taste, "sample=10,rules=0", &at), MINING_OK);
    assert_int_equal(mining_neighbours_make(&model, &history), MINING_OK);
    mining_neighbours_set(&model, &taste);
    room = calloc(1, personalize_room_size(&model.model));
    assert_non_null(room);

    item = model.items[0];
    wish.session = &item;
    wish.nsession = 1;
    wish.n = 2;
    wish.no_current = 1;
    assert_int_equal(personalize_recommend(&model.model, room, &wish, recs), 2);
    assert_int_equal(recs[0].item, model.items[2]);
    assert_true(recs[0].score > 0 && recs[1].score == 0);

    free(room);
    mining_neighbours_free(&model);
    mining_sessions_free(&two);
    mining_names_free(&names);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_oracle),
        cmocka_unit_test(test_items_are_numbered_by_popularity),
        cmocka_unit_test(test_keeps_what_is_not_wanted_out),
        cmocka_unit_test(test_refuses_a_damaged_file),
        cmocka_unit_test(test_refuses_numbers_out_of_bounds),
        cmocka_unit_test(test_search_improves_and_repeats),
        cmocka_unit_test(test_settings_are_read_and_refused),
        cmocka_unit_test(test_one_session_or_none),
        cmocka_unit_test(test_an_endless_session_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
