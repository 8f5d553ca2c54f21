/*
 * member.c - what rules and experiments are made of, read out of a payload.
 *
 * The readers follow JavaScript where the specification's cases do: missing,
 * null, "", 0 and false all leave a default in force.  A member of a type
 * that no SDK could use is a fault with its path.
 */

#include "feature.h"


static int
truthy(const json_t *json)
{
    switch (json != NULL ? json_typeof(json) : JSON_NULL) {
    case JSON_NULL:
    case JSON_FALSE:
        return 0;
    case JSON_STRING:
        return json_string_length(json) > 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(json) != 0;
    default:
        return 1;
    }
}


int
personalize_truth_of(const json_t *object, const char *member)
{
    return truthy(json_object_get(object, member));
}


static personalize_result_e
fault_of(personalize_compiler_t *c, const char *member, const char *why)
{
    (void) personalize_path_push(c, ".%s", member);

    return personalize_fault(c, "%s", why);
}


static int
deeper_than(json_t *json, unsigned levels)
{
    void  *iter;
    size_t i;

    if (!json_is_array(json) && !json_is_object(json)) {
        return 0;
    }

    if (levels == 0) {
        return 1;
    }

    for (i = 0; i < json_array_size(json); i++) {
        if (deeper_than(json_array_get(json, i), levels - 1)) {
            return 1;
        }
    }

    for (iter = json_object_iter(json); iter != NULL;
         iter = json_object_iter_next(json, iter))
    {
        if (deeper_than(json_object_iter_value(iter), levels - 1)) {
            return 1;
        }
    }

    return 0;
}


personalize_result_e
personalize_held_compile(
    personalize_compiler_t *c, json_t *json, personalize_held_t *held)
{
    json_t                        *object;
    personalize_result_e           rc;
    static const personalize_str_t value = {"value", 5};

    if (deeper_than(json, PERSONALIZE_DEPTH_MAX - 2)) {
        return personalize_fault(c, "is a value nested more than %d deep",
            PERSONALIZE_DEPTH_MAX - 2);
    }

    object = json_object();
    if (object == NULL || json_object_set(object, "value", json) != 0) {
        json_decref(object);
        return PERSONALIZE_NOMEM;
    }

    rc = personalize_operand(c, object, &held->object);
    json_decref(object);

    if (rc == PERSONALIZE_OK) {
        personalize_value_path(&held->object, value, &held->value);
    }

    return rc;
}


personalize_result_e
personalize_text_of(personalize_compiler_t *c, const json_t *object,
    const char *member, personalize_str_t otherwise, personalize_str_t *text)
{
    char                 buf[PERSONALIZE_VALUE_TEXT];
    char                *copy;
    json_t              *json = json_object_get(object, member);
    personalize_value_t  value;
    personalize_result_e rc;

    *text = otherwise;

    if (!truthy(json)) {
        return PERSONALIZE_OK;
    }

    if (json_is_string(json)) {
        return personalize_copy(c, json, text);
    }

    if (json_is_object(json) || json_is_array(json)) {
        return fault_of(c, member, "must be a text");
    }

    rc = personalize_operand(c, json, &value);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    *text = personalize_value_text(&value, buf);
    copy = personalize_alloc(c, text->len);
    if (copy == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(copy, text->data, text->len);
    text->data = copy;

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_number_of(personalize_compiler_t *c, const json_t *object,
    const char *member, double otherwise, double *number)
{
    json_t *json = json_object_get(object, member);

    *number = otherwise;

    if (json == NULL) {
        return PERSONALIZE_OK;
    }

    if (!json_is_number(json) && !json_is_null(json)) {
        return fault_of(c, member, "must be a number");
    }

    *number = json_number_value(json);

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_list_of(personalize_compiler_t *c, const json_t *object,
    const char *member, json_t **list)
{
    *list = json_object_get(object, member);

    if (!truthy(*list)) {
        *list = NULL;
        return PERSONALIZE_OK;
    }

    if (!json_is_array(*list)) {
        return fault_of(c, member, "must be a list");
    }

    if (json_array_size(*list) > PERSONALIZE_ITEMS_MAX) {
        (void) personalize_path_push(c, ".%s", member);
        return personalize_fault(c, "%zu items, at most %d",
            json_array_size(*list), PERSONALIZE_ITEMS_MAX);
    }

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_condition_of(personalize_compiler_t *c, const json_t *object,
    personalize_condition_t *condition)
{
    size_t               path;
    json_t              *json = json_object_get(object, "condition");
    personalize_result_e rc;

    condition->clauses = NULL;
    condition->entry = PERSONALIZE_FITS;

    if (!truthy(json)) {
        return PERSONALIZE_OK;
    }

    path = personalize_path_push(c, ".condition");
    rc = personalize_condition_compile(c, json, &condition->entry);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }
    personalize_path_pop(c, path);

    return personalize_condition_keep(c, &condition->clauses);
}


personalize_result_e
personalize_range_compile(
    personalize_compiler_t *c, const json_t *pair, personalize_range_t *range)
{
    const json_t *start = json_array_get(pair, 0);
    const json_t *end = json_array_get(pair, 1);

    if (!json_is_number(start) || !json_is_number(end)) {
        return personalize_fault(c, "must be a list of two numbers");
    }

    range->start = json_number_value(start);
    range->end = json_number_value(end);

    return PERSONALIZE_OK;
}


/* The path already names the list. */
personalize_result_e
personalize_ranges_compile(personalize_compiler_t *c, json_t *list,
    const personalize_range_t **ranges, unsigned *nranges)
{
    size_t               path;
    unsigned             i, n;
    personalize_range_t *made;
    personalize_result_e rc;

    n = (unsigned) json_array_size(list);
    made = personalize_alloc(c, n * sizeof(personalize_range_t));
    if (made == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, "[%u]", i);
        rc = personalize_range_compile(c, json_array_get(list, i), &made[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    *ranges = made;
    *nranges = n;

    return PERSONALIZE_OK;
}


static personalize_result_e
attribute_of(personalize_compiler_t *c, const json_t *object,
    const char *member, const char *otherwise, uint16_t *attribute)
{
    size_t               path;
    personalize_str_t    text, fallback = {otherwise, strlen(otherwise)};
    personalize_result_e rc;

    rc = personalize_text_of(c, object, member, fallback, &text);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (text.len == 0) {
        *attribute = PERSONALIZE_NO_ATTRIBUTE;
        return PERSONALIZE_OK;
    }

    path = personalize_path_push(c, ".%s", member);
    rc = personalize_intern(c, text, attribute);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    return rc;
}


static uint8_t
version_of(const json_t *object, uint8_t otherwise)
{
    double        number;
    const json_t *json = json_object_get(object, "hashVersion");

    if (!truthy(json)) {
        return otherwise;
    }

    number = json_number_value(json);

    return number == 1 ? 1 : number == 2 ? 2 : 0;
}


personalize_result_e
personalize_hashing_compile(personalize_compiler_t *c, const json_t *object,
    personalize_str_t seed, personalize_hashing_t *hashing)
{
    personalize_result_e rc;

    rc = personalize_text_of(c, object, "seed", seed, &hashing->seed);
    if (rc == PERSONALIZE_OK) {
        rc =
            attribute_of(c, object, "hashAttribute", "id", &hashing->attribute);
    }
    if (rc == PERSONALIZE_OK) {
        rc = attribute_of(
            c, object, "fallbackAttribute", "", &hashing->fallback);
    }

    hashing->version = version_of(object, 1);
    hashing->loose =
        (uint8_t) personalize_truth_of(object, "disableStickyBucketing");

    return rc;
}


static personalize_result_e
compile_filter(personalize_compiler_t *c, const json_t *object,
    personalize_filter_t *filter)
{
    size_t               path;
    json_t              *ranges;
    personalize_result_e rc;

    static const personalize_str_t none = {"", 0};

    if (!json_is_object(object)) {
        return personalize_fault(c, "must be an object");
    }

    rc = personalize_text_of(c, object, "seed", none, &filter->seed);
    if (rc == PERSONALIZE_OK) {
        rc = attribute_of(c, object, "attribute", "id", &filter->attribute);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_list_of(c, object, "ranges", &ranges);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    filter->version = version_of(object, 2);
    path = personalize_path_push(c, ".ranges");
    rc = personalize_ranges_compile(
        c, ranges, &filter->ranges, &filter->nranges);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    return rc;
}


personalize_result_e
personalize_filters_compile(
    personalize_compiler_t *c, const json_t *object, personalize_gate_t *gate)
{
    size_t                path;
    unsigned              i, n;
    json_t               *list;
    personalize_filter_t *filters;
    personalize_result_e  rc;

    rc = personalize_list_of(c, object, "filters", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    n = (unsigned) json_array_size(list);
    filters = personalize_alloc(c, n * sizeof(personalize_filter_t));
    if (filters == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, ".filters[%u]", i);
        rc = compile_filter(c, json_array_get(list, i), &filters[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    gate->filters = filters;
    gate->nfilters = n;
    gate->has_filters = list != NULL;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_parent(personalize_compiler_t *c, const json_t *object,
    personalize_parent_t *parent)
{
    const json_t     *id = json_object_get(object, "id");
    personalize_str_t name;

    if (!json_is_string(id)) {
        return personalize_fault(c, "must be an object with an id");
    }

    name.data = json_string_value(id);
    name.len = json_string_length(id);
    parent->feature = personalize_feature_find(c->set, name);
    parent->gate = (unsigned) personalize_truth_of(object, "gate") & 1;

    return personalize_condition_of(c, object, &parent->condition);
}


personalize_result_e
personalize_parents_compile(
    personalize_compiler_t *c, const json_t *object, personalize_gate_t *gate)
{
    size_t                path;
    unsigned              i, n;
    json_t               *list;
    personalize_parent_t *parents;
    personalize_result_e  rc;

    rc = personalize_list_of(c, object, "parentConditions", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    n = (unsigned) json_array_size(list);
    parents = personalize_alloc(c, n * sizeof(personalize_parent_t));
    if (parents == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, ".parentConditions[%u]", i);
        rc = compile_parent(c, json_array_get(list, i), &parents[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    gate->parents = parents;
    gate->nparents = n;

    return PERSONALIZE_OK;
}
