/*
 * test_feature.c - features and experiments: bounds, faults and the store.
 *
 * What a feature comes to is shown by the specification's cases
 * (tests/conformance); here is what no case file covers.
 */

#include "personalize/feature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>


typedef struct {
    personalize_set_t    *set;
    personalize_context_t context;
    unsigned              asked;
} visit_t;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    visit_t          *visit = ctx;
    personalize_str_t name = personalize_set_attribute(visit->set, n);

    visit->asked++;

    if (name.len == 2 && memcmp(name.data, "id", 2) == 0) {
        value->type = PERSONALIZE_TEXT;
        value->text.data = "u1";
        value->text.len = 2;
    }
}


static void
compile(const char *json, visit_t *visit)
{
    char fault[256];

    memset(visit, 0, sizeof(visit_t));

    if (personalize_features_compile(
            &visit->set, json, strlen(json), fault, sizeof(fault))
        != PERSONALIZE_OK)
    {
        fail_msg("%s", fault);
    }

    visit->context.get = get;
    visit->context.ctx = visit;
}


static personalize_flag_t
evaluate(visit_t *visit, const char *name)
{
    personalize_str_t  key = {name, strlen(name)};
    personalize_flag_t flag;

    personalize_feature_evaluate(visit->set, key, &visit->context, &flag);

    return flag;
}


static void
refused(const char *json, const char *fault)
{
    char               said[256];
    personalize_set_t *set;

    assert_int_equal(personalize_features_compile(
                         &set, json, strlen(json), said, sizeof(said)),
        PERSONALIZE_INVALID);
    assert_null(set);
    assert_string_equal(said, fault);
}


static void
test_faults(void **state)
{
    (void) state;

    refused("[]", "set: must be an object");
    refused("{\"features\":[]}", "features: must be an object");
    refused("{\"features\":{\"f\":7}}", "features.f: must be a feature object");
    refused("{\"features\":{\"f\":{\"rules\":{}}}}",
        "features.f.rules: must be a list");
    refused("{\"features\":{\"f\":{\"rules\":[{\"force\":1},7]}}}",
        "features.f.rules[1]: must be a rule object");
    refused("{\"features\":{\"f\":{\"rules\":[{\"variations\":[1,2],"
            "\"weights\":[1,\"x\"]}]}}}",
        "features.f.rules[0].weights[1]: must be a number");
    refused("{\"features\":{\"f\":{\"rules\":[{\"variations\":[1,2],"
            "\"ranges\":[[0,1],[1]]}]}}}",
        "features.f.rules[0].ranges[1]: must be a list of two numbers");
    refused("{\"features\":{\"f\":{\"rules\":[{\"force\":1,\"filters\":"
            "[{\"ranges\":7}]}]}}}",
        "features.f.rules[0].filters[0].ranges: must be a list");
    refused("{\"features\":{\"f\":{\"rules\":[{\"force\":1,"
            "\"parentConditions\":[{}]}]}}}",
        "features.f.rules[0].parentConditions[0]: must be an object with an "
        "id");
    refused("{\"experiments\":[{\"key\":\"k\",\"variations\":[1,2],"
            "\"namespace\":[\"n\",0]}]}",
        "experiments[0].namespace: must be a list of a text and two numbers");
    refused("{\"experiments\":[{\"key\":\"k\",\"coverage\":\"x\"}]}",
        "experiments[0].coverage: must be a number");
    refused("{\"features\":{\"f\":{\"defaultValue\":"
            "[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}}}",
        "features.f.defaultValue: is a value nested more than 14 deep");
}


/* Each feature asks the next twice: 2^60 evaluations if nobody counted. */
static void
test_prerequisites_are_bounded(void **state)
{
    char    *json, *p;
    visit_t  visit;
    unsigned i;

    (void) state;

    json = malloc(1 << 16);
    p = json + sprintf(json, "{\"features\":{");

    for (i = 0; i < 60; i++) {
        p += sprintf(p,
            "\"f%u\":{\"defaultValue\":%u,\"rules\":[{\"parentConditions\":["
            "{\"id\":\"f%u\",\"condition\":{\"value\":{\"$gte\":0}}},"
            "{\"id\":\"f%u\",\"condition\":{\"value\":-1}}],\"force\":1}]},",
            i, i, i + 1, i + 1);
    }
    p += sprintf(p, "\"f60\":{\"defaultValue\":60}}}");

    compile(json, &visit);
    assert_int_equal(evaluate(&visit, "f0").source, PERSONALIZE_SOURCE_CIRCLE);
    assert_int_equal(
        evaluate(&visit, "f55").source, PERSONALIZE_SOURCE_DEFAULT);

    personalize_set_free(visit.set);
    free(json);
}


/* The path may be PERSONALIZE_PARENT_DEPTH_MAX features long. */
static void
test_depth_is_bounded(void **state)
{
    char    *json, *p;
    visit_t  visit;
    unsigned i;

    (void) state;

    json = malloc(1 << 16);
    p = json + sprintf(json, "{\"features\":{");

    for (i = 0; i < 80; i++) {
        p += sprintf(p,
            "\"f%u\":{\"rules\":[{\"parentConditions\":[{\"id\":\"f%u\"}],"
            "\"force\":\"yes\"}]},",
            i, i + 1);
    }
    p += sprintf(p, "\"f80\":{\"defaultValue\":1}}}");

    compile(json, &visit);
    assert_int_equal(
        evaluate(&visit, "f80").source, PERSONALIZE_SOURCE_DEFAULT);
    assert_int_equal(evaluate(&visit, "f17").source, PERSONALIZE_SOURCE_FORCE);
    assert_int_equal(evaluate(&visit, "f16").source, PERSONALIZE_SOURCE_CIRCLE);

    personalize_set_free(visit.set);
    free(json);
}


static void
test_store(void **state)
{
    visit_t                visit;
    personalize_flag_t     flag;
    personalize_sticky_t   entries[1];
    personalize_stickies_t stickies = {entries, 0, 0, 0, 0};

    (void) state;

    compile("{\"features\":{\"f\":{\"rules\":[{\"variations\":[\"x\",\"y\"],"
            "\"key\":\"e\",\"meta\":[{\"key\":\"a\"},{\"key\":\"b\"}],"
            "\"bucketVersion\":3,\"minBucketVersion\":2}]}}}",
        &visit);
    visit.context.stickies = &stickies;

    flag = evaluate(&visit, "f");
    assert_true(flag.outcome.hash_used);
    assert_int_equal(stickies.lost, 1);

    stickies.max = 1;
    flag = evaluate(&visit, "f");
    assert_int_equal(stickies.n, 1);
    assert_int_equal(stickies.changed, 1);
    assert_memory_equal(entries[0].experiment.data, "e__3", 4);
    assert_false(flag.outcome.sticky_used);

    /* the store wins over the hash */
    entries[0].variation.data = flag.outcome.variation == 0 ? "b" : "a";
    entries[0].variation.len = 1;
    assert_int_equal(evaluate(&visit, "f").outcome.variation,
        flag.outcome.variation == 0 ? 1 : 0);
    assert_true(evaluate(&visit, "f").outcome.sticky_used);
    assert_int_equal(stickies.changed, 1);

    /* a variation that is gone is bucketed anew, and kept */
    entries[0].variation.data = "z";
    assert_int_equal(
        evaluate(&visit, "f").outcome.variation, flag.outcome.variation);
    assert_int_equal(stickies.changed, 2);

    /* an old bucket version keeps the visitor out */
    entries[0].experiment.data = "e__1";
    assert_int_equal(evaluate(&visit, "f").source, PERSONALIZE_SOURCE_DEFAULT);
    entries[0].experiment.data = "e__2";
    stickies.max = 1;
    assert_true(evaluate(&visit, "f").outcome.hash_used);

    personalize_set_free(visit.set);
}


static void
test_attributes_are_asked_once(void **state)
{
    visit_t visit;

    (void) state;

    compile("{\"features\":{\"f\":{\"rules\":["
            "{\"variations\":[1,2],\"coverage\":0},"
            "{\"variations\":[1,2],\"condition\":{\"a\":1}},"
            "{\"force\":3,\"condition\":{\"id\":\"u1\"}}]}}}",
        &visit);

    assert_int_equal(evaluate(&visit, "f").place, 2);
    assert_int_equal(visit.asked, 2);

    personalize_set_free(visit.set);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_prerequisites_are_bounded),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_attributes_are_asked_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
