/*
 * taste.c - settings of a recommendation model, and the tables they become.
 *
 * Curves are those of V-STAN (Ludewig, Mauro, Latifi & Jannach 2021): votes
 * fade by position in the session, by distance in the neighbour and by age,
 * each with its own scale.  Beyond it: what stands before the match fades
 * apart from what follows, similarity may be sharpened, items in view have
 * their own factors, items on the rise are lifted.  Ages are shares of the
 * time that the model has seen, not days: so settings mean the same for a week
 * of clicks, for a year, and for sessions without a clock.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "taste.h"


#define TASTE_TEXT_MAX  64  /* bytes of one number */
#define TASTE_IDF_LEAST 0.2 /* an item of every session still counts */

/*
 * Scales are in clicks, and the age in shares of the time seen.  The usual
 * values are what searches on three public sets agree on.
 */
const mining_taste_range_t mining_taste_ranges[MINING_TASTE_N] = {
    {"sample", 0, PERSONALIZE_MODEL_SAMPLE, 100, 1500, 1000,
        MINING_SCALE_WHOLE_LOG},
    {"k", 0, PERSONALIZE_MODEL_SAMPLE, 50, 700, 300, MINING_SCALE_WHOLE_LOG},
    {"last", 1, PERSONALIZE_MODEL_LAST, 1, PERSONALIZE_MODEL_LAST, 8,
        MINING_SCALE_WHOLE},
    {"clicked", 0.05, 100, 0.1, 20, 2, MINING_SCALE_LOG},
    {"matched", 0.1, 100, 0.3, 50, 3, MINING_SCALE_LOG},
    {"after", 0.1, 100, 0.3, 30, 5, MINING_SCALE_LOG},
    {"before", 0.1, 100, 0.3, 30, 3, MINING_SCALE_LOG},
    {"back", 0, 2, 0, 1.5, 0.7, MINING_SCALE_LINEAR},
    {"self", 0, 2, 0, 1.5, 0.5, MINING_SCALE_LINEAR},
    {"age", 0.02, 100, 0.05, 20, 1, MINING_SCALE_LOG},
    {"length", 0, 1, 0, 1, 0.25, MINING_SCALE_LINEAR},
    {"sharp", 0, 2, 0, 2, 0, MINING_SCALE_WHOLE},
    {"match_idf", 0, 3, 0, 2.5, 0.3, MINING_SCALE_LINEAR},
    {"offer_idf", -1, 2, -0.3, 1.5, 0.5, MINING_SCALE_LINEAR},
    {"trend", 0, 1, 0, 0.8, 0.1, MINING_SCALE_LINEAR},
    {"current", 0.01, 100, 0.02, 20, 1, MINING_SCALE_LOG},
    {"seen", 0.01, 100, 0.02, 20, 1, MINING_SCALE_LOG},
    {"rules", 0, 10, 0, 3, 0.3, MINING_SCALE_LINEAR},
    {"followed", 0.1, 10, 0.1, 5, 0.7, MINING_SCALE_LOG},
};


void
mining_taste_usual(mining_taste_t *taste)
{
    unsigned i;

    for (i = 0; i < MINING_TASTE_N; i++) {
        taste->value[i] = mining_taste_ranges[i].usual;
    }
}


/* One "name=number" of len bytes. */
static mining_result_e
taste_one(mining_taste_t *taste, const char *part, size_t len)
{
    char                        text[TASTE_TEXT_MAX], *end;
    size_t                      name;
    double                      value;
    unsigned                    i;
    const mining_taste_range_t *range;

    for (i = 0; i < MINING_TASTE_N; i++) {
        range = &mining_taste_ranges[i];
        name = strlen(range->name);
        if (name < len && part[name] == '='
            && memcmp(part, range->name, name) == 0) {
            break;
        }
    }
    if (i == MINING_TASTE_N || len - name - 1 >= sizeof(text)) {
        return MINING_INVALID;
    }

    memcpy(text, part + name + 1, len - name - 1);
    text[len - name - 1] = '\0';
    value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= range->low)
        || !(value <= range->high)
        || (range->scale >= MINING_SCALE_WHOLE && value != floor(value)))
    {
        return MINING_INVALID;
    }
    taste->value[i] = value;

    return MINING_OK;
}


mining_result_e
mining_taste_parse(mining_taste_t *taste, const char *text, const char **at)
{
    size_t len;

    for (*at = text;; *at += len + 1) {
        len = strcspn(*at, ",");
        if (taste_one(taste, *at, len) != MINING_OK) {
            return MINING_INVALID;
        }
        if ((*at)[len] == '\0') {
            break;
        }
    }

    if (taste->value[MINING_TASTE_K] > taste->value[MINING_TASTE_SAMPLE]) {
        taste->value[MINING_TASTE_K] = taste->value[MINING_TASTE_SAMPLE];
    }

    return MINING_OK;
}


void
mining_taste_print(const mining_taste_t *taste, char *text, size_t size)
{
    unsigned i;

    text[0] = '\0';
    for (i = 0; i < MINING_TASTE_N; i++) {
        mining_text(text, size, "%s%s=%.6g", i == 0 ? "" : ",",
            mining_taste_ranges[i].name, taste->value[i]);
    }
}


/* Steps of equal time, the newest last; each holds its middle's weight. */
static void
taste_ages(personalize_taste_t *tables, const int64_t *times,
    uint32_t nsessions, double scale)
{
    double   first, span, age;
    unsigned i;
    uint32_t s;

    s = 0;
    first = nsessions > 0 ? (double) times[0] : 0;
    span = nsessions > 0 ? (double) times[nsessions - 1] - first : 0;

    for (i = 0; i < PERSONALIZE_MODEL_AGES; i++) {
        while (
            s < nsessions
            && ((double) times[s] - first) * PERSONALIZE_MODEL_AGES < span * i)
        {
            s++;
        }
        tables->from[i] = i == 0 ? 0 : s;
        age = 1 - (i + 0.5) / PERSONALIZE_MODEL_AGES;
        tables->age[i] = (float) exp(-age / scale);
    }
}


void
mining_taste_apply(const mining_taste_t *taste, const int64_t *times,
    const mining_item_fact_t *facts, const personalize_model_head_t *head,
    personalize_taste_t *tables, personalize_item_t *items)
{
    int           d;
    double        idf, away;
    uint32_t      i;
    const double *v;

    v = taste->value;
    memset(tables, 0, sizeof(*tables));

    tables->sample = (uint32_t) v[MINING_TASTE_SAMPLE];
    tables->k = (uint32_t) v[MINING_TASTE_K];
    tables->last = (uint32_t) v[MINING_TASTE_LAST];
    tables->sharp = (uint32_t) v[MINING_TASTE_SHARP];
    tables->current = (float) v[MINING_TASTE_CURRENT];
    tables->seen = (float) v[MINING_TASTE_SEEN];
    tables->rules = (float) v[MINING_TASTE_RULES];

    for (i = 0; i < PERSONALIZE_MODEL_LAST; i++) {
        tables->clicked[i] = (float) exp(-(double) i / v[MINING_TASTE_CLICKED]);
        tables->matched[i] = (float) exp(-(double) i / v[MINING_TASTE_MATCHED]);
        tables->followed[i] =
            (float) exp(-(double) i / v[MINING_TASTE_FOLLOWED]);
    }

    for (d = -PERSONALIZE_MODEL_REACH; d <= PERSONALIZE_MODEL_REACH; d++) {
        if (d < 0) {
            away = v[MINING_TASTE_BACK] * exp((d + 1) / v[MINING_TASTE_BEFORE]);
        } else if (d > 0) {
            away = exp(-(d - 1) / v[MINING_TASTE_AFTER]);
        } else {
            away = v[MINING_TASTE_SELF];
        }
        tables->away[d + PERSONALIZE_MODEL_REACH] = (float) away;
    }

    for (i = 1; i < PERSONALIZE_MODEL_LENGTHS; i++) {
        tables->length[i] = (float) pow(i, -v[MINING_TASTE_LENGTH]);
    }

    taste_ages(tables, times, head->nsessions, v[MINING_TASTE_AGE]);

    for (i = 0; i < head->nitems; i++) {
        idf = fmax(facts[i].idf, TASTE_IDF_LEAST);
        items[i].match = (float) pow(idf, v[MINING_TASTE_MATCH_IDF]);
        items[i].offer =
            (float) fmin(pow(idf, v[MINING_TASTE_OFFER_IDF])
                             * pow(facts[i].trend, v[MINING_TASTE_TREND]),
                100);
    }
}
