/*
 * conformance.c - runs a case file of the GrowthBook SDK specification: FILE.
 *
 * Prints per section and in all "N passed, N failed"; exits 1 on failures.
 * Left out is urlRedirect, which is about rewriting pages in a browser.  Knows
 * no case: the file's layout is that of the published cases.json, of version
 * 0.7.0 or 0.8.0.  Members that a result has beyond the expected ones are no
 * failure, because the versions differ in them.
 */

#include "conformance.h"

#include <math.h>


static context_t           at;
static personalize_trial_t trial;


static json_t *
item(json_t *row, size_t i)
{
    return json_array_get(row, i);
}


static personalize_str_t
str_of(const json_t *text)
{
    personalize_str_t str = {json_string_value(text), json_string_length(text)};

    return str;
}


/* A scalar as the text that is hashed. */
static personalize_str_t
hashed_of(json_t *json)
{
    static char         packed[1 << 16], buf[PERSONALIZE_VALUE_TEXT];
    char               *end;
    size_t              pos = 0;
    personalize_str_t   list;
    personalize_value_t value;

    memset(&value, 0, sizeof(value));
    end = personalize_pack(packed, packed + sizeof(packed), json, 1);
    list.data = packed;
    list.len = end != NULL ? (size_t) (end - packed) : 0;
    (void) personalize_value_next(list, &pos, &value);

    return personalize_value_text(&value, buf);
}


/* Rounded down to 8 decimals, as the specification's runner does. */
static int
near(double a, const json_t *b)
{
    return json_is_number(b)
           && floor(a * 1e8) == floor(json_number_value(b) * 1e8);
}


static int
case_condition(json_t *row)
{
    int                             ok;
    json_t                         *context, *experiment;
    const personalize_experiment_t *compiled;

    context = json_pack("{s:O,s:o}", "attributes", item(row, 2), "savedGroups",
        item(row, 4) != NULL ? json_incref(item(row, 4)) : json_object());
    experiment = json_pack("{s:O}", "condition", item(row, 1));

    ok = context_open(&at, context, experiment);
    if (ok) {
        compiled = &at.set->experiments[0];
        personalize_trial_start(&trial, at.set, &at.context);
        ok = personalize_condition_fits(compiled->condition.clauses,
                 compiled->condition.entry, &trial.view)
             == json_is_true(item(row, 3));
        context_close(&at);
    }

    json_decref(experiment);
    json_decref(context);

    return ok;
}


static int
case_hash(json_t *row)
{
    double  n;
    json_t *expected = item(row, 3);

    if (!personalize_bucket(str_of(item(row, 0)), hashed_of(item(row, 1)),
            (int64_t) json_number_value(item(row, 2)), &n))
    {
        return json_is_null(expected);
    }

    return json_is_number(expected) && json_number_value(expected) == n;
}


static int
case_ranges(json_t *row)
{
    static double              weights[PERSONALIZE_ITEMS_MAX];
    static personalize_range_t ranges[PERSONALIZE_ITEMS_MAX];

    size_t  i, n;
    json_t *list = item(item(row, 1), 2), *expected = item(row, 2), *pair;

    n = (size_t) fmax(json_number_value(item(item(row, 1), 0)), 0);
    if (n > PERSONALIZE_ITEMS_MAX || json_array_size(expected) != n) {
        return 0;
    }

    for (i = 0; i < json_array_size(list) && i < PERSONALIZE_ITEMS_MAX; i++) {
        weights[i] = json_number_value(item(list, i));
    }

    personalize_ranges((unsigned) n, json_number_value(item(item(row, 1), 1)),
        json_array_size(list) == n ? weights : NULL, ranges);

    for (i = 0; i < n; i++) {
        pair = item(expected, i);
        if (!near(ranges[i].start, item(pair, 0))
            || !near(ranges[i].end, item(pair, 1)))
        {
            return 0;
        }
    }

    return 1;
}


static int
case_choose(json_t *row)
{
    static personalize_range_t ranges[PERSONALIZE_ITEMS_MAX];

    size_t  i, n;
    json_t *list = item(row, 2);

    n = json_array_size(list);
    if (n > PERSONALIZE_ITEMS_MAX) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        ranges[i].start = json_number_value(item(item(list, i), 0));
        ranges[i].end = json_number_value(item(item(list, i), 1));
    }

    return personalize_ranges_choose(
               ranges, (unsigned) n, json_number_value(item(row, 1)))
           == json_number_value(item(row, 3));
}


static int
case_query(json_t *row)
{
    unsigned index;

    if (!personalize_query_override(str_of(item(row, 1)), str_of(item(row, 2)),
            (unsigned) json_number_value(item(row, 3)), &index))
    {
        return json_is_null(item(row, 4));
    }

    return json_is_number(item(row, 4))
           && json_number_value(item(row, 4)) == index;
}


static int
case_namespace(json_t *row)
{
    char                    seed[4096];
    int                     len;
    json_t                 *list = item(row, 2);
    personalize_namespace_t space;

    len =
        snprintf(seed, sizeof(seed), "__%s", json_string_value(item(list, 0)));
    space.seed.data = seed;
    space.seed.len = (size_t) len;
    space.range.start = json_number_value(item(list, 1));
    space.range.end = json_number_value(item(list, 2));

    return personalize_namespace_has(&space, hashed_of(item(row, 1)))
           == json_is_true(item(row, 3));
}


static int
case_weights(json_t *row)
{
    static personalize_range_t ranges[PERSONALIZE_ITEMS_MAX];

    size_t  i, n;
    json_t *expected = item(row, 1);

    n = (size_t) fmax(json_number_value(item(row, 0)), 0);
    if (n > PERSONALIZE_ITEMS_MAX || json_array_size(expected) != n) {
        return 0;
    }

    personalize_ranges((unsigned) n, 1, NULL, ranges);

    for (i = 0; i < n; i++) {
        if (fabs(ranges[i].end - ranges[i].start
                 - json_number_value(item(expected, i)))
            > 1e-8)
        {
            return 0;
        }
    }

    return 1;
}


static int
case_decrypt(json_t *row)
{
    int     ok;
    json_t *text;

    text = decrypt_text(
        json_string_value(item(row, 1)), json_string_value(item(row, 2)));
    ok = json_same(item(row, 3), text);
    json_decref(text);

    return ok;
}


static int
case_run(json_t *row)
{
    int                   ok;
    personalize_outcome_t outcome;
    personalize_value_t   value;
    json_t               *got;

    if (!context_open(&at, item(row, 1), item(row, 2))) {
        return 0;
    }

    (void) personalize_experiment_evaluate(at.set, 0, &at.context, &outcome);
    value = personalize_held_value(outcome.held);
    got = json_of_value(&value);
    ok = json_same(item(row, 3), got)
         && outcome.in_experiment == (unsigned) json_is_true(item(row, 4))
         && outcome.hash_used == (unsigned) json_is_true(item(row, 5));
    json_decref(got);
    context_close(&at);

    return ok;
}


static int
case_feature(json_t *row)
{
    json_t     *got;
    const char *wrong;

    if (!context_open(&at, item(row, 1), NULL)) {
        return 0;
    }

    got = context_feature(&at, item(row, 1), json_string_value(item(row, 2)));
    wrong = json_misses(item(row, 3), got);

    if (wrong[0] != '\0') {
        printf("    \"%s\" differs, the result is ", wrong);
        (void) json_dumpf(got, stdout, 0);
        printf("\n");
    }

    json_decref(got);
    context_close(&at);

    return wrong[0] == '\0';
}


static int
case_sticky(json_t *row)
{
    int         ok;
    json_t     *got, *documents;
    const char *wrong;

    if (!context_open(&at, item(row, 1), NULL)) {
        return 0;
    }

    context_stick(&at, item(row, 1), item(row, 2));
    got = context_feature(&at, item(row, 1), json_string_value(item(row, 3)));
    documents = context_documents(&at);
    wrong = json_misses(item(row, 4), json_object_get(got, "experimentResult"));
    ok = wrong[0] == '\0' && json_same(item(row, 5), documents);

    if (!ok) {
        printf("    \"%s\" differs, the result is ", wrong);
        (void) json_dumpf(got, stdout, 0);
        printf(", stored is ");
        (void) json_dumpf(documents, stdout, 0);
        printf("\n");
    }

    json_decref(documents);
    json_decref(got);
    context_close(&at);

    return ok;
}


static const struct {
    const char *name;
    int (*check)(json_t *row);
} sections[] = {{"evalCondition", case_condition}, {"hash", case_hash},
    {"getBucketRange", case_ranges}, {"feature", case_feature},
    {"run", case_run}, {"chooseVariation", case_choose},
    {"getQueryStringOverride", case_query}, {"inNamespace", case_namespace},
    {"getEqualWeights", case_weights}, {"decrypt", case_decrypt},
    {"stickyBucket", case_sticky}, {"contextualBandit", case_feature}};


static void
run_section(const char *name, json_t *rows, unsigned totals[2])
{
    int         ok;
    size_t      i, k;
    json_t     *row;
    unsigned    counts[2] = {0, 0};
    const char *title;

    for (k = 0; k < sizeof(sections) / sizeof(sections[0]); k++) {
        if (strcmp(sections[k].name, name) == 0) {
            break;
        }
    }

    if (k == sizeof(sections) / sizeof(sections[0])) {
        printf("%s: left out, %zu cases\n", name, json_array_size(rows));
        return;
    }

    json_array_foreach(rows, i, row)
    {
        ok = sections[k].check(row);
        counts[!ok]++;
        if (!ok) {
            title = json_string_value(json_array_get(row, 0));
            printf("    failed: %s[%zu] %s\n", name, i,
                title != NULL ? title : "");
        }
    }

    printf("%s: %u passed, %u failed\n", name, counts[0], counts[1]);
    totals[0] += counts[0];
    totals[1] += counts[1];
}


int
main(int argc, char **argv)
{
    json_t      *root, *rows;
    unsigned     totals[2] = {0, 0};
    const char  *name;
    json_error_t error;

    if (argc != 2) {
        fprintf(stderr, "usage: conformance FILE (a case file in JSON)\n");
        return 2;
    }

    root = json_load_file(
        argv[1], JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
    if (!json_is_object(root)) {
        fprintf(stderr, "conformance: %s, line %d: %s\n", argv[1],
            root != NULL ? 1 : error.line,
            root != NULL ? "must be an object of sections" : error.text);
        return 2;
    }

    json_object_foreach(root, name, rows)
    {
        if (json_is_array(rows)) {
            run_section(name, rows, totals);
        }
    }

    printf("in all: %u passed, %u failed\n", totals[0], totals[1]);
    json_decref(root);

    return totals[1] != 0;
}
