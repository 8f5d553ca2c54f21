/*
 * payload.c - features and experiments: the API's JSON in, a set out.
 *
 * Features are numbered before any rule is read, so that a prerequisite is a
 * number and not a name.  Prerequisites may go in circles, which the
 * specification gives a result; feature.c bounds what that costs.
 */

#include "feature.h"

#include <stdlib.h>


uint32_t
personalize_feature_find(const personalize_set_t *set, personalize_str_t name)
{
    uint32_t i;

    if (set->nfeatures == 0) {
        return PERSONALIZE_NO_FEATURE;
    }

    i = personalize_hash_key(name) & set->feature_mask;

    /* ends: the table is at most half full */
    for (; set->feature_index[i] != 0; i = (i + 1) & set->feature_mask) {
        if (personalize_str_equal(
                set->features[set->feature_index[i] - 1].name, name)) {
            return set->feature_index[i] - 1;
        }
    }

    return PERSONALIZE_NO_FEATURE;
}


static personalize_result_e
compile_rollout(
    personalize_compiler_t *c, const json_t *object, personalize_rule_t *rule)
{
    size_t               path;
    json_t              *pair;
    personalize_result_e rc;

    rc = personalize_list_of(c, object, "range", &pair);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_number_of(c, object, "coverage", 0, &rule->range.end);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (pair != NULL) {
        rule->rollout = PERSONALIZE_ROLLOUT_RANGE;
        path = personalize_path_push(c, ".range");
        rc = personalize_range_compile(c, pair, &rule->range);
        if (rc == PERSONALIZE_OK) {
            personalize_path_pop(c, path);
        }
        return rc;
    }

    pair = json_object_get(object, "coverage");
    rule->rollout = pair == NULL ? PERSONALIZE_ROLLOUT_ALL
                    : json_is_number(pair) && rule->range.end == 0
                        ? PERSONALIZE_ROLLOUT_NONE
                        : PERSONALIZE_ROLLOUT_UPTO;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_force(personalize_compiler_t *c, const json_t *object, json_t *value,
    personalize_str_t feature, personalize_rule_t *rule)
{
    size_t               path;
    personalize_result_e rc;

    rule->kind = PERSONALIZE_RULE_FORCE;
    path = personalize_path_push(c, ".force");
    rc = personalize_held_compile(c, value, &rule->held);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }
    personalize_path_pop(c, path);

    rc = personalize_condition_of(c, object, &rule->condition);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_hashing_compile(c, object, feature, &rule->hashing);
    }

    return rc == PERSONALIZE_OK ? compile_rollout(c, object, rule) : rc;
}


static personalize_result_e
compile_rule(personalize_compiler_t *c, const json_t *object,
    personalize_str_t feature, personalize_rule_t *rule)
{
    json_t              *force;
    personalize_str_t    none = {"", 0};
    personalize_result_e rc;

    memset(rule, 0, sizeof(personalize_rule_t));

    if (!json_is_object(object)) {
        return personalize_fault(c, "must be a rule object");
    }

    rc = personalize_text_of(c, object, "id", none, &rule->id);
    if (rc == PERSONALIZE_OK) {
        rc = personalize_parents_compile(c, object, &rule->gate);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_filters_compile(c, object, &rule->gate);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    force = json_object_get(object, "force");
    if (force != NULL) {
        return compile_force(c, object, force, feature, rule);
    }

    if (!personalize_truth_of(object, "variations")
        && !personalize_truth_of(object, "contextualVariations"))
    {
        return PERSONALIZE_OK;
    }

    rule->kind = PERSONALIZE_RULE_EXPERIMENT;
    rule->experiment = personalize_alloc(c, sizeof(personalize_experiment_t));
    if (rule->experiment == NULL) {
        return PERSONALIZE_NOMEM;
    }

    return personalize_experiment_compile(
        c, object, feature, 0, rule->experiment);
}


static personalize_result_e
compile_rules(personalize_compiler_t *c, const json_t *object,
    personalize_feature_t *feature)
{
    size_t               path;
    unsigned             i, n;
    json_t              *list;
    personalize_rule_t  *rules;
    personalize_result_e rc;

    rc = personalize_list_of(c, object, "rules", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    n = (unsigned) json_array_size(list);
    rules = personalize_alloc(c, n * sizeof(personalize_rule_t));
    if (rules == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, ".rules[%u]", i);
        rc = compile_rule(c, json_array_get(list, i), feature->name, &rules[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    feature->rules = rules;
    feature->nrules = n;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_feature(personalize_compiler_t *c, const json_t *object,
    personalize_feature_t *feature)
{
    size_t               path;
    json_t              *value;
    personalize_result_e rc;

    if (!json_is_object(object)) {
        feature->absent = json_is_null(object) || json_is_false(object);
        return feature->absent
                   ? PERSONALIZE_OK
                   : personalize_fault(c, "must be a feature object");
    }

    value = json_object_get(object, "defaultValue");

    if (value != NULL) {
        path = personalize_path_push(c, ".defaultValue");
        rc = personalize_held_compile(c, value, &feature->otherwise);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    return compile_rules(c, object, feature);
}


/* Gives each feature its name and number. */
static personalize_result_e
name_features(personalize_compiler_t *c, json_t *features)
{
    void              *iter;
    char              *copy;
    size_t             n = json_object_size(features);
    personalize_str_t *name;
    personalize_set_t *set = c->set;

    if (n > PERSONALIZE_FEATURES_MAX) {
        return personalize_fault(
            c, "%zu features, at most %d", n, PERSONALIZE_FEATURES_MAX);
    }

    set->features = personalize_alloc(c, n * sizeof(personalize_feature_t));
    if (set->features == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(set->features, 0, n * sizeof(personalize_feature_t));

    for (iter = json_object_iter(features); iter != NULL;
         iter = json_object_iter_next(features, iter))
    {
        name = &set->features[set->nfeatures].name;
        name->len = strlen(json_object_iter_key(iter));
        copy = personalize_alloc(c, name->len);
        if (copy == NULL) {
            return PERSONALIZE_NOMEM;
        }
        memcpy(copy, json_object_iter_key(iter), name->len);
        name->data = copy;
        set->nfeatures++;
    }

    return personalize_index_make(c, &set->features->name,
        sizeof(personalize_feature_t), set->nfeatures, &set->feature_index,
        &set->feature_mask);
}


static personalize_result_e
compile_features(personalize_compiler_t *c, json_t *features)
{
    void                *iter;
    size_t               path;
    unsigned             i;
    personalize_result_e rc;

    (void) personalize_path_push(c, "features");
    rc = name_features(c, features);
    i = 0;

    for (iter = json_object_iter(features);
         iter != NULL && rc == PERSONALIZE_OK;
         iter = json_object_iter_next(features, iter))
    {
        path = personalize_path_push(c, ".%.64s", json_object_iter_key(iter));
        rc = compile_feature(
            c, json_object_iter_value(iter), &c->set->features[i++]);
        if (rc == PERSONALIZE_OK) {
            personalize_path_pop(c, path);
        }
    }

    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, 0);
    }

    return rc;
}


static personalize_result_e
compile_experiments(personalize_compiler_t *c, const json_t *root)
{
    size_t               path;
    unsigned             i;
    json_t              *list;
    personalize_str_t    none = {"", 0};
    personalize_set_t   *set = c->set;
    personalize_result_e rc;

    rc = personalize_list_of(c, root, "experiments", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    set->experiments = personalize_alloc(
        c, json_array_size(list) * sizeof(personalize_experiment_t));
    if (set->experiments == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < json_array_size(list); i++) {
        path = personalize_path_push(c, "experiments[%u]", i);
        rc = personalize_experiment_compile(
            c, json_array_get(list, i), none, 1, &set->experiments[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    set->nexperiments = i;

    return PERSONALIZE_OK;
}


/* An object of the payload; missing and null are none. */
static personalize_result_e
part(personalize_compiler_t *c, const json_t *root, const char *member,
    json_t **object)
{
    *object = json_object_get(root, member);

    if (*object == NULL || json_is_null(*object)) {
        *object = NULL;
        return PERSONALIZE_OK;
    }

    if (!json_is_object(*object)) {
        (void) personalize_path_push(c, "%s", member);
        return personalize_fault(c, "must be an object");
    }

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_payload(personalize_compiler_t *c, json_t *root)
{
    json_t              *features;
    personalize_result_e rc;

    if (!json_is_object(root)) {
        return personalize_fault(c, "must be an object");
    }

    rc = part(c, root, "savedGroups", &c->groups);
    if (rc == PERSONALIZE_OK) {
        rc = part(c, root, "contextualBandits", &c->bandits);
    }
    if (rc == PERSONALIZE_OK) {
        rc = part(c, root, "features", &features);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_features(c, features);
    }

    return rc == PERSONALIZE_OK ? compile_experiments(c, root) : rc;
}


personalize_result_e
personalize_features_compile(personalize_set_t **set, const char *json,
    size_t len, char *fault, size_t fault_size)
{
    /* numbers as JavaScript has them: an integer may exceed 64 bits */
    personalize_source_t source = {json, len,
        JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, compile_payload, 1};

    return personalize_compile(set, &source, fault, fault_size);
}
