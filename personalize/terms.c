/*
 * terms.c - what a campaign asks beside its audience: hours, groups, hold-out.
 *
 *     "times":     {"zone": "Europe/Berlin", "weekdays": [1, 5],
 *                   "hours": [18, 2], "offsets": [[0, 3600], …]}
 *     "namespace": ["popups", 0, 0.5]
 *     "holdout":   0.1
 *
 * The core knows no time zones: whoever makes the set writes the zone's
 * offsets from UTC as pairs of "since" and seconds; without them it is UTC.
 * Hours that end before they begin run past midnight and belong to the weekday
 * on which they began.
 *
 * Campaigns that share a namespace with ranges apart never meet in a visitor.
 * Who is held out of a campaign is so for good, by the bucket hash of seed
 * "<key>:holdout", so that a report can tell who was without asking.
 */

#include "set.h"


#define DAY_S     86400
#define HOUR_S    3600
#define HOURS_ALL 24

/* Two changes a year, for longer than anybody leaves a set alone. */
#define OFFSETS_MAX 64

typedef struct {
    int64_t since_s;
    int64_t offset_s;
} offset_t;

struct personalize_terms_s {
    personalize_namespace_t space;
    double                  holdout;
    uint32_t                seed; /* hash state after that of the hold-out */
    offset_t                offsets[OFFSETS_MAX];
    unsigned                noffsets;
    unsigned                weekdays; /* bit 1 is Monday */
    uint8_t                 from;     /* hours */
    uint8_t                 to;
    unsigned                has_space : 1;
    unsigned                has_times : 1;
};


static int
is_whole(const json_t *value, json_int_t min, json_int_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= min
           && json_integer_value(value) <= max;
}


static personalize_result_e
compile_weekdays(
    personalize_compiler_t *c, json_t *list, personalize_terms_t *terms)
{
    size_t i;

    if (list == NULL) {
        return PERSONALIZE_OK;
    }

    terms->weekdays = 0;

    for (i = 0; i < json_array_size(list); i++) {
        if (!is_whole(json_array_get(list, i), 1, 7)) {
            terms->weekdays = 0;
            break;
        }
        terms->weekdays |= 1U << json_integer_value(json_array_get(list, i));
    }

    if (terms->weekdays == 0) {
        (void) personalize_path_push(c, ".weekdays");
        return personalize_fault(
            c, "must be a list of weekdays, 1 (Monday) to 7");
    }

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_hours(
    personalize_compiler_t *c, json_t *pair, personalize_terms_t *terms)
{
    json_t *from = json_array_get(pair, 0), *to = json_array_get(pair, 1);

    if (pair == NULL) {
        return PERSONALIZE_OK;
    }

    if (json_array_size(pair) != 2 || !is_whole(from, 0, HOURS_ALL - 1)
        || !is_whole(to, 0, HOURS_ALL)
        || json_integer_value(from) == json_integer_value(to))
    {
        (void) personalize_path_push(c, ".hours");
        return personalize_fault(
            c, "must be two different hours, from 0 to 23 and to 0 to 24");
    }

    terms->from = (uint8_t) json_integer_value(from);
    terms->to = (uint8_t) json_integer_value(to);

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_offsets(
    personalize_compiler_t *c, json_t *list, personalize_terms_t *terms)
{
    size_t  i;
    json_t *since, *offset;

    if (list == NULL) {
        return PERSONALIZE_OK;
    }

    for (i = 0; i < json_array_size(list) && i < OFFSETS_MAX; i++) {
        since = json_array_get(json_array_get(list, i), 0);
        offset = json_array_get(json_array_get(list, i), 1);

        if (!json_is_integer(since) || !is_whole(offset, -DAY_S, DAY_S)
            || (i > 0
                && json_integer_value(since) <= terms->offsets[i - 1].since_s))
        {
            break;
        }

        terms->offsets[i].since_s = json_integer_value(since);
        terms->offsets[i].offset_s = json_integer_value(offset);
    }

    if (!json_is_array(list) || i < json_array_size(list)) {
        (void) personalize_path_push(c, ".offsets");
        return personalize_fault(c,
            "must be at most %d pairs of since and seconds, in order",
            OFFSETS_MAX);
    }

    terms->noffsets = (unsigned) i;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_times(
    personalize_compiler_t *c, json_t *times, personalize_terms_t *terms)
{
    void                *iter;
    size_t               path;
    const char          *name;
    personalize_result_e rc;

    if (times == NULL) {
        return PERSONALIZE_OK;
    }

    path = personalize_path_push(c, ".times");

    if (!json_is_object(times)) {
        return personalize_fault(c, "must be an object");
    }

    for (iter = json_object_iter(times); iter != NULL;
         iter = json_object_iter_next(times, iter))
    {
        name = json_object_iter_key(iter);
        if (strcmp(name, "zone") != 0 && strcmp(name, "weekdays") != 0
            && strcmp(name, "hours") != 0 && strcmp(name, "offsets") != 0)
        {
            return personalize_fault(c,
                "unknown member \"%.64s\", use zone, weekdays and hours", name);
        }
    }

    terms->has_times = 1;
    rc = compile_weekdays(c, json_object_get(times, "weekdays"), terms);
    if (rc == PERSONALIZE_OK) {
        rc = compile_hours(c, json_object_get(times, "hours"), terms);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_offsets(c, json_object_get(times, "offsets"), terms);
    }
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    return rc;
}


static int
is_share(const json_t *value)
{
    return json_is_number(value) && json_number_value(value) >= 0
           && json_number_value(value) <= 1;
}


static personalize_result_e
compile_space(
    personalize_compiler_t *c, json_t *list, personalize_terms_t *terms)
{
    char   *seed;
    size_t  len;
    json_t *name = json_array_get(list, 0);

    if (list == NULL) {
        return PERSONALIZE_OK;
    }

    len = json_string_length(name);

    if (json_array_size(list) != 3 || len == 0 || len > PERSONALIZE_NAME_MAX
        || !is_share(json_array_get(list, 1))
        || !is_share(json_array_get(list, 2))
        || json_number_value(json_array_get(list, 1))
               >= json_number_value(json_array_get(list, 2)))
    {
        (void) personalize_path_push(c, ".namespace");
        return personalize_fault(
            c, "must be a name, and a range from 0 to 1: [\"popups\", 0, 0.5]");
    }

    seed = personalize_alloc(c, len + 2);
    if (seed == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(seed, "__", 2);
    memcpy(seed + 2, json_string_value(name), len);
    terms->has_space = 1;
    terms->space.seed.data = seed;
    terms->space.seed.len = len + 2;
    terms->space.range.start = json_number_value(json_array_get(list, 1));
    terms->space.range.end = json_number_value(json_array_get(list, 2));

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_holdout_compile(personalize_compiler_t *c, const json_t *object,
    personalize_str_t key, double *share, uint32_t *seed)
{
    json_t                        *value = json_object_get(object, "holdout");
    static const personalize_str_t suffix = {":holdout", 8};

    *share = 0;
    *seed = personalize_hash_add(
        personalize_hash_add(PERSONALIZE_HASH_START, key), suffix);

    if (value == NULL) {
        return PERSONALIZE_OK;
    }

    if (!is_share(value)) {
        (void) personalize_path_push(
            c, c->path_len > 0 ? ".%s" : "%s", "holdout");
        return personalize_fault(c, "must be a share from 0 to 1");
    }

    *share = json_number_value(value);

    return PERSONALIZE_OK;
}


int
personalize_holdout_has(double share, uint32_t seed, personalize_str_t unit)
{
    return share > 0
           && personalize_hash_end(personalize_hash_add(seed, unit)) < share;
}


personalize_result_e
personalize_terms_compile(personalize_compiler_t *c, const json_t *object,
    personalize_str_t key, const personalize_terms_t **terms)
{
    personalize_terms_t *made;
    personalize_result_e rc;

    *terms = NULL;

    if (json_object_get(object, "times") == NULL
        && json_object_get(object, "namespace") == NULL
        && json_object_get(object, "holdout") == NULL)
    {
        return PERSONALIZE_OK;
    }

    made = personalize_alloc(c, sizeof(personalize_terms_t));
    if (made == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(made, 0, sizeof(personalize_terms_t));
    made->weekdays = ~0U;
    made->to = HOURS_ALL;
    *terms = made;

    rc = compile_times(c, json_object_get(object, "times"), made);
    if (rc == PERSONALIZE_OK) {
        rc = compile_space(c, json_object_get(object, "namespace"), made);
    }

    return rc == PERSONALIZE_OK ? personalize_holdout_compile(
               c, object, key, &made->holdout, &made->seed)
                                : rc;
}


static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}


static int
times_fit(const personalize_terms_t *terms, int64_t now_s)
{
    int      hour;
    int64_t  day;
    unsigned i, weekday;

    for (i = terms->noffsets; i > 0; i--) {
        if (i == 1 || terms->offsets[i - 1].since_s <= now_s) {
            now_s += terms->offsets[i - 1].offset_s;
            break;
        }
    }

    day = floor_div(now_s, DAY_S);
    hour = (int) ((now_s - day * DAY_S) / HOUR_S);

    if (terms->from < terms->to) {
        if (hour < terms->from || hour >= terms->to) {
            return 0;
        }

    } else if (hour < terms->from) {
        if (hour >= terms->to) {
            return 0;
        }
        day--; /* it began the evening before */
    }

    /* 1970-01-01 was a Thursday */
    weekday = (unsigned) ((day + 3) - floor_div(day + 3, 7) * 7) + 1;

    return (terms->weekdays >> weekday & 1) != 0;
}


int
personalize_terms_fit(
    const personalize_terms_t *terms, int64_t now_s, personalize_str_t unit)
{
    return terms == NULL
           || ((!terms->has_times || times_fit(terms, now_s))
               && (!terms->has_space
                   || personalize_namespace_has(&terms->space, unit))
               && !personalize_holdout_has(terms->holdout, terms->seed, unit));
}
