/*
 * layout.c - experiments of a payload, compiled.
 *
 * An experiment stands alone in a payload or is the rule of a feature; a rule
 * has no state, no forced variation and no prerequisites of its own, as in the
 * published SDKs.  Ranges are computed here, once.
 */

#include "feature.h"

#include <math.h>
#include <stdio.h>


static personalize_str_t
no_text(void)
{
    static const personalize_str_t none = {"", 0};

    return none;
}


static personalize_result_e
compile_variation(personalize_compiler_t *c, json_t *value, const json_t *meta,
    unsigned place, personalize_variation_t *variation)
{
    char                *digits;
    personalize_str_t    key;
    personalize_result_e rc;

    digits = personalize_alloc(c, PERSONALIZE_NUMBER_MAX);
    if (digits == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(variation, 0, sizeof(personalize_variation_t));
    key.data = digits;
    key.len = personalize_number_text(place, digits);
    variation->keyed = json_is_string(json_object_get(meta, "key"));
    variation->passthrough =
        (unsigned) personalize_truth_of(meta, "passthrough") & 1;

    rc = personalize_held_compile(c, value, &variation->held);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_text_of(c, meta, "key", key, &variation->key);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_text_of(c, meta, "name", no_text(), &variation->name);
    }

    return rc;
}


static personalize_result_e
compile_variations(personalize_compiler_t *c, const json_t *object,
    personalize_experiment_t *experiment)
{
    size_t                   path;
    unsigned                 i, n;
    json_t                  *list, *meta;
    personalize_result_e     rc;
    personalize_variation_t *variations;

    rc = personalize_list_of(c, object, "contextualVariations", &list);
    if (rc == PERSONALIZE_OK && list == NULL) {
        rc = personalize_list_of(c, object, "variations", &list);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_list_of(c, object, "meta", &meta);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    n = (unsigned) json_array_size(list);
    variations = personalize_alloc(c, n * sizeof(personalize_variation_t));
    if (variations == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, ".variations[%u]", i);
        rc = compile_variation(c, json_array_get(list, i),
            json_array_get(meta, i), i, &variations[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    experiment->variations = variations;
    experiment->nvariations = n;

    return PERSONALIZE_OK;
}


/* Ranges of weights, which may be missing. */
static personalize_result_e
compile_weights(personalize_compiler_t *c, const json_t *object, unsigned n,
    double coverage, const personalize_range_t **ranges)
{
    double               weights[PERSONALIZE_ITEMS_MAX];
    unsigned             i;
    json_t              *list, *weight;
    personalize_range_t *made;
    personalize_result_e rc;

    rc = personalize_list_of(c, object, "weights", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    made = personalize_alloc(c, n * sizeof(personalize_range_t));
    if (made == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < json_array_size(list); i++) {
        weight = json_array_get(list, i);
        weights[i] = json_number_value(weight);
        if (!json_is_number(weight)) {
            (void) personalize_path_push(c, ".weights[%u]", i);
            return personalize_fault(c, "must be a number");
        }
    }

    personalize_ranges(
        n, coverage, json_array_size(list) == n ? weights : NULL, made);
    *ranges = made;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_leaves(personalize_compiler_t *c, json_t *list, double coverage,
    personalize_experiment_t *experiment)
{
    size_t               path;
    unsigned             i, n;
    json_t              *object;
    personalize_leaf_t  *leaves;
    personalize_result_e rc;

    n = (unsigned) json_array_size(list);
    leaves = personalize_alloc(c, n * sizeof(personalize_leaf_t));
    if (leaves == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        object = json_array_get(list, i);
        path = personalize_path_push(c, ".contexts[%u]", i);
        rc = personalize_condition_of(c, object, &leaves[i].condition);
        if (rc == PERSONALIZE_OK) {
            rc = compile_weights(c, object, experiment->nvariations, coverage,
                &leaves[i].ranges);
        }
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    experiment->leaves = leaves;
    experiment->nleaves = n;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_bandit(personalize_compiler_t *c, const json_t *object, double coverage,
    personalize_experiment_t *experiment)
{
    json_t              *ref, *bandit, *list;
    personalize_result_e rc;

    ref = json_object_get(object, "contextualBanditRef");
    bandit = json_is_string(ref)
                 ? json_object_get(c->bandits, json_string_value(ref))
                 : NULL;

    if (!json_is_object(bandit)) {
        return PERSONALIZE_OK;
    }

    rc = personalize_list_of(c, bandit, "contexts", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    experiment->bandit = 1;

    return compile_leaves(c, list, coverage, experiment);
}


/* Ranges that are given outright also hold for a bandit's contexts. */
static personalize_result_e
compile_ranges(personalize_compiler_t *c, const json_t *object,
    personalize_experiment_t *experiment)
{
    double               coverage;
    size_t               path;
    unsigned             i;
    json_t              *list;
    personalize_result_e rc;

    rc = personalize_list_of(c, object, "ranges", &list);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_number_of(c, object, "coverage", 1, &coverage);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (list == NULL) {
        experiment->nranges = experiment->nvariations;
        rc = compile_weights(
            c, object, experiment->nvariations, coverage, &experiment->ranges);

    } else {
        path = personalize_path_push(c, ".ranges");
        rc = personalize_ranges_compile(
            c, list, &experiment->ranges, &experiment->nranges);
        personalize_path_pop(c, path);
    }

    if (rc == PERSONALIZE_OK) {
        rc = compile_bandit(c, object, coverage, experiment);
    }

    for (i = 0; i < experiment->nleaves && list != NULL; i++) {
        experiment->leaves[i].ranges = experiment->ranges;
    }

    return rc;
}


static personalize_result_e
compile_namespace(personalize_compiler_t *c, const json_t *object,
    personalize_experiment_t *experiment)
{
    char                *seed;
    size_t               len, path;
    json_t              *list, *name;
    personalize_result_e rc;

    rc = personalize_list_of(c, object, "namespace", &list);
    if (rc != PERSONALIZE_OK || list == NULL) {
        return rc;
    }

    path = personalize_path_push(c, ".namespace");
    name = json_array_get(list, 0);
    if (!json_is_string(name) || !json_is_number(json_array_get(list, 1))
        || !json_is_number(json_array_get(list, 2)))
    {
        return personalize_fault(c, "must be a list of a text and two numbers");
    }
    personalize_path_pop(c, path);

    len = json_string_length(name);
    seed = personalize_alloc(c, len + 2);
    if (seed == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(seed, "__", 2);
    memcpy(seed + 2, json_string_value(name), len);
    experiment->has_space = 1;
    experiment->space.seed.data = seed;
    experiment->space.seed.len = len + 2;
    experiment->space.range.start = json_number_value(json_array_get(list, 1));
    experiment->space.range.end = json_number_value(json_array_get(list, 2));

    return PERSONALIZE_OK;
}


/* The name under which an assignment is stored, and which are blocked. */
static personalize_result_e
compile_sticky(personalize_compiler_t *c, const json_t *object,
    personalize_experiment_t *experiment)
{
    char                *text;
    size_t               len = experiment->key.len;
    double               version, min;
    personalize_str_t    id = {"id", 2};
    personalize_result_e rc;

    rc = personalize_number_of(c, object, "bucketVersion", 0, &version);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_number_of(c, object, "minBucketVersion", 0, &min);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    text = personalize_alloc(c, len + 2 + PERSONALIZE_NUMBER_MAX);
    if (text == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(text, experiment->key.data, len);
    memcpy(text + len, "__", 2);
    experiment->sticky.data = text;
    experiment->sticky.len =
        len + 2 + personalize_number_text(version, text + len + 2);
    experiment->min_version = min > 0 ? (unsigned) fmin(ceil(min), 1e9) : 0;
    experiment->fallback = experiment->hashing.fallback;

    /* as in the SDKs, where a missing name always means "id" */
    return experiment->fallback == PERSONALIZE_NO_ATTRIBUTE
               ? personalize_intern(c, id, &experiment->fallback)
               : PERSONALIZE_OK;
}


/* What only an experiment of the payload has, no rule. */
static personalize_result_e
compile_own(personalize_compiler_t *c, const json_t *object,
    personalize_experiment_t *experiment)
{
    double               force;
    const char          *status;
    personalize_result_e rc;

    status = json_string_value(json_object_get(object, "status"));
    experiment->inactive = json_is_false(json_object_get(object, "active"))
                           || (status != NULL && strcmp(status, "draft") == 0);
    experiment->stopped = status != NULL && strcmp(status, "stopped") == 0;
    experiment->elsewhere = personalize_truth_of(object, "urlPatterns")
                            || personalize_truth_of(object, "url");
    experiment->has_force = json_object_get(object, "force") != NULL;

    rc = personalize_number_of(c, object, "force", -1, &force);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    experiment->force =
        force >= 0 && force < experiment->nvariations ? (int) force : -1;

    return personalize_parents_compile(c, object, &experiment->gate);
}


personalize_result_e
personalize_experiment_compile(personalize_compiler_t *c, const json_t *object,
    personalize_str_t otherwise, int own, personalize_experiment_t *experiment)
{
    personalize_result_e rc;

    memset(experiment, 0, sizeof(personalize_experiment_t));

    if (!json_is_object(object)) {
        return personalize_fault(c, "must be an experiment object");
    }

    rc = personalize_text_of(c, object, "key", otherwise, &experiment->key);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_hashing_compile(
            c, object, experiment->key, &experiment->hashing);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_variations(c, object, experiment);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_ranges(c, object, experiment);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_namespace(c, object, experiment);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_sticky(c, object, experiment);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_condition_of(c, object, &experiment->condition);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_filters_compile(c, object, &experiment->gate);
    }

    return rc == PERSONALIZE_OK && own ? compile_own(c, object, experiment)
                                       : rc;
}
