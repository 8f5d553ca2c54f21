/*
 * condition.c - who a campaign is for: compiling conditions.
 *
 * The language is the MongoDB-like one of the GrowthBook specification.  What
 * could only be a mistake is refused, because a condition that silently never
 * fits costs a team days; a lenient set has it false, as the specification
 * does.  The form of the result is described in set.h.  Operands are packed
 * and patterns compiled here, once.
 */

#include "set.h"

#include <stdlib.h>


/* Every path has one clause at least; beside them $and, $or and $not. */
#define MEMBERS_MAX (PERSONALIZE_CLAUSES_MAX + 3)

typedef struct {
    int16_t yes; /* where to go on when it holds */
    int16_t no;
} targets_t;

static personalize_result_e compile_condition(
    personalize_compiler_t *c, json_t *condition, targets_t to, int16_t *entry);
static personalize_result_e compile_value(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry);


static targets_t
swapped(targets_t to)
{
    targets_t other;

    other.yes = to.no;
    other.no = to.yes;

    return other;
}


static personalize_result_e
too_many_clauses(personalize_compiler_t *c)
{
    return personalize_fault(
        c, "more than %d clauses, split the campaign", PERSONALIZE_CLAUSES_MAX);
}


static personalize_result_e
emit(personalize_compiler_t *c, const personalize_clause_t *clause,
    targets_t to, int16_t *entry)
{
    personalize_clause_t *slot;

    if (c->nclauses == PERSONALIZE_CLAUSES_MAX) {
        return too_many_clauses(c);
    }

    slot = &c->clauses[c->nclauses];
    *slot = *clause;
    slot->attribute = c->attribute;
    slot->yes = to.yes;
    slot->no = to.no;
    *entry = (int16_t) c->nclauses++;

    return PERSONALIZE_OK;
}


/* Collects an object's members, to be walked from the last to the first. */
static personalize_result_e
members(personalize_compiler_t *c, json_t *object, void *found[MEMBERS_MAX],
    unsigned *n)
{
    void *iter;

    *n = 0;

    for (iter = json_object_iter(object); iter != NULL;
         iter = json_object_iter_next(object, iter))
    {
        if (*n == MEMBERS_MAX) {
            return too_many_clauses(c);
        }
        found[(*n)++] = iter;
    }

    return PERSONALIZE_OK;
}


/* A constant, where a fault is none: lenient sets have it false. */
static personalize_result_e
wrong(personalize_compiler_t *c, targets_t to, int16_t *entry, const char *why)
{
    if (!c->lenient) {
        return personalize_fault(c, "%s", why);
    }

    *entry = to.no;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_test(personalize_compiler_t *c, personalize_test_e test, int fold,
    json_t *value, targets_t to, int16_t *entry)
{
    personalize_clause_t clause;
    personalize_result_e rc;

    memset(&clause, 0, sizeof(clause));
    clause.test = (uint8_t) test;
    clause.fold = (uint8_t) fold;

    rc = personalize_operand(c, value, &clause.operand.value);

    return rc == PERSONALIZE_OK ? emit(c, &clause, to, entry) : rc;
}


/* What stands plainly under a path or in $all: compared as the table says. */
static personalize_result_e
compile_plain(personalize_compiler_t *c, json_t *value, int fold, targets_t to,
    int16_t *entry)
{
    static const personalize_test_e tests[] = {
        [JSON_OBJECT] = PERSONALIZE_TEST_DEEP,
        [JSON_ARRAY] = PERSONALIZE_TEST_DEEP,
        [JSON_STRING] = PERSONALIZE_TEST_AS_TEXT,
        [JSON_INTEGER] = PERSONALIZE_TEST_AS_NUMBER,
        [JSON_REAL] = PERSONALIZE_TEST_AS_NUMBER,
        [JSON_TRUE] = PERSONALIZE_TEST_TRUTH,
        [JSON_FALSE] = PERSONALIZE_TEST_TRUTH,
        [JSON_NULL] = PERSONALIZE_TEST_NULL};

    return compile_test(c, tests[json_typeof(value)], fold, value, to, entry);
}


/* Strict equality: no list or object is the same as another. */
static personalize_result_e
compile_same(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    if (json_is_array(value) || json_is_object(value)) {
        *entry = to.no;
        return c->lenient ? PERSONALIZE_OK
                          : personalize_fault(c, PERSONALIZE_OPERAND_FAULT);
    }

    return compile_test(c, PERSONALIZE_TEST_SAME, 0, value, to, entry);
}


/* NULL is an empty list. */
static personalize_result_e
compile_in(personalize_compiler_t *c, json_t *list, int fold, targets_t to,
    int16_t *entry)
{
    personalize_choice_t *choice;
    personalize_clause_t  clause;
    personalize_result_e  rc;

    choice = personalize_alloc(c, sizeof(personalize_choice_t));
    if (choice == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = personalize_choice_compile(c, list, choice);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_IN;
    clause.fold = (uint8_t) fold;
    clause.operand.choice = choice;

    return emit(c, &clause, to, entry);
}


static personalize_result_e
compile_exists(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    int                  yes;
    personalize_value_t  truth;
    personalize_result_e rc;

    if (!json_is_boolean(value) && !c->lenient) {
        return personalize_fault(c, "must be true or false");
    }

    rc = personalize_operand(c, value, &truth);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    yes = personalize_value_true(&truth);

    return compile_test(
        c, PERSONALIZE_TEST_NULL, 0, value, yes ? swapped(to) : to, entry);
}


static personalize_result_e
deeper(personalize_compiler_t *c)
{
    if (++c->depth > PERSONALIZE_DEPTH_MAX) {
        return personalize_fault(
            c, "nested more than %d deep", PERSONALIZE_DEPTH_MAX);
    }

    return PERSONALIZE_OK;
}


/* A nested condition that is about a value of its own. */
static personalize_result_e
compile_sub(
    personalize_compiler_t *c, json_t *value, int plain, int fold, int16_t *sub)
{
    uint16_t             outer = c->attribute;
    targets_t            to = {PERSONALIZE_FITS, PERSONALIZE_FAILS};
    personalize_result_e rc;

    rc = deeper(c);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    c->attribute = PERSONALIZE_SELF;
    rc = !plain                  ? compile_condition(c, value, to, sub)
         : json_is_object(value) ? compile_value(c, value, to, sub)
                                 : compile_plain(c, value, fold, to, sub);
    c->attribute = outer;
    c->depth--;

    return rc;
}


static int
has_only_operators(json_t *object)
{
    void *iter;

    iter = json_object_iter(object);
    if (iter == NULL) {
        return 0;
    }

    for (; iter != NULL; iter = json_object_iter_next(object, iter)) {
        if (json_object_iter_key(iter)[0] != '$') {
            return 0;
        }
    }

    return 1;
}


static personalize_result_e
compile_nested(personalize_compiler_t *c, personalize_test_e test,
    json_t *value, targets_t to, int16_t *entry)
{
    personalize_clause_t clause;
    personalize_result_e rc;

    memset(&clause, 0, sizeof(clause));
    clause.test = (uint8_t) test;

    if (test == PERSONALIZE_TEST_ELEM && !json_is_object(value)) {
        return wrong(c, to, entry, "must be a condition or operators");
    }

    rc = compile_sub(c, value,
        test == PERSONALIZE_TEST_SIZE || has_only_operators(value), 0,
        &clause.sub);

    return rc == PERSONALIZE_OK ? emit(c, &clause, to, entry) : rc;
}


static personalize_result_e
compile_all(personalize_compiler_t *c, json_t *list, int fold, targets_t to,
    int16_t *entry)
{
    size_t               i, n, path;
    int16_t             *subs;
    personalize_clause_t clause;
    personalize_result_e rc;

    n = json_array_size(list);
    if (n > PERSONALIZE_CLAUSES_MAX) {
        return too_many_clauses(c);
    }

    subs = personalize_alloc(c, n * sizeof(int16_t));
    if (subs == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, "[%zu]", i);
        rc = compile_sub(c, json_array_get(list, i), 1, fold, &subs[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_ALL;
    clause.nsubs = (uint16_t) n;
    clause.operand.subs = subs;

    return emit(c, &clause, to, entry);
}


static personalize_result_e
compile_version(personalize_compiler_t *c, personalize_test_e test,
    json_t *value, targets_t to, int16_t *entry)
{
    char                 buf[PERSONALIZE_VERSION_TEXT];
    json_t              *padded;
    personalize_str_t    text;
    personalize_value_t  version;
    personalize_result_e rc;

    rc = personalize_operand(c, value, &version);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    text = personalize_version(&version, buf);
    padded = json_stringn_nocheck(text.data, text.len);
    if (padded == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = compile_test(c, test, 0, padded, to, entry);
    json_decref(padded);

    return rc;
}


static personalize_result_e
compile_regex(personalize_compiler_t *c, json_t *pattern, int fold,
    targets_t to, int16_t *entry)
{
    personalize_clause_t clause;
    personalize_result_e rc;

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_REGEX;

    if (!json_is_string(pattern)) {
        return wrong(c, to, entry, "must be a pattern in a text");
    }

    rc = personalize_regex_compile(c, pattern, fold, &clause.operand.regex);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (clause.operand.regex == NULL) {
        return wrong(c, to, entry, "is no regular expression");
    }

    return emit(c, &clause, to, entry);
}


/* $inGroup: a list in savedGroups; an unknown group is an empty one. */
static personalize_result_e
compile_group(personalize_compiler_t *c, json_t *name, int in, targets_t to,
    int16_t *entry)
{
    json_t *list;

    if (!json_is_string(name) && !c->lenient) {
        return personalize_fault(c, "must be the name of a saved group");
    }

    list = json_object_get(c->groups, json_string_value(name));

    if (list == NULL && !c->lenient) {
        return personalize_fault(c, "names a saved group that is not there");
    }

    if (list != NULL) {
        list = personalize_group_values(list);
        if (list == NULL) {
            return wrong(c, to, entry, "names a saved group without a list");
        }
    }

    return compile_in(c, list, 0, in ? to : swapped(to), entry);
}


static personalize_result_e
compile_type(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    static const char *const names[] = {
        "null", "boolean", "number", "string", "array", "object"};
    unsigned             i;
    personalize_clause_t clause;

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_TYPE;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (json_is_string(value)
            && strcmp(json_string_value(value), names[i]) == 0) {
            clause.operand.value.type = (personalize_type_e) i;
            return emit(c, &clause, to, entry);
        }
    }

    return wrong(
        c, to, entry, "must be string, number, boolean, array, object or null");
}


static personalize_result_e
compile_value_not(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    personalize_result_e rc;

    rc = deeper(c);
    if (rc == PERSONALIZE_OK) {
        rc = compile_value(c, value, swapped(to), entry);
        c->depth--;
    }

    return rc;
}


static const struct {
    const char        *name;
    personalize_test_e test;
    unsigned           list : 1;    /* the operand must be one */
    unsigned           negated : 1; /* after the check of the operand */
    unsigned           fold : 1;
} operators[] = {{"$eq", PERSONALIZE_TEST_SAME, 0, 0, 0},
    {"$ne", PERSONALIZE_TEST_SAME, 0, 1, 0},
    {"$gt", PERSONALIZE_TEST_GT, 0, 0, 0},
    {"$gte", PERSONALIZE_TEST_GTE, 0, 0, 0},
    {"$lt", PERSONALIZE_TEST_LT, 0, 0, 0},
    {"$lte", PERSONALIZE_TEST_LTE, 0, 0, 0},
    {"$in", PERSONALIZE_TEST_IN, 1, 0, 0},
    {"$nin", PERSONALIZE_TEST_IN, 1, 1, 0},
    {"$ini", PERSONALIZE_TEST_IN, 1, 0, 1},
    {"$nini", PERSONALIZE_TEST_IN, 1, 1, 1},
    {"$all", PERSONALIZE_TEST_ALL, 1, 0, 0},
    {"$alli", PERSONALIZE_TEST_ALL, 1, 0, 1},
    {"$regex", PERSONALIZE_TEST_REGEX, 0, 0, 0},
    {"$regexi", PERSONALIZE_TEST_REGEX, 0, 0, 1},
    {"$size", PERSONALIZE_TEST_SIZE, 0, 0, 0},
    {"$elemMatch", PERSONALIZE_TEST_ELEM, 0, 0, 0},
    {"$type", PERSONALIZE_TEST_TYPE, 0, 0, 0},
    {"$veq", PERSONALIZE_TEST_VEQ, 0, 0, 0},
    {"$vne", PERSONALIZE_TEST_VEQ, 0, 1, 0},
    {"$vgt", PERSONALIZE_TEST_VGT, 0, 0, 0},
    {"$vgte", PERSONALIZE_TEST_VLT, 0, 1, 0},
    {"$vlt", PERSONALIZE_TEST_VLT, 0, 0, 0},
    {"$vlte", PERSONALIZE_TEST_VGT, 0, 1, 0}};


static personalize_result_e
compile_known(personalize_compiler_t *c, size_t i, json_t *value, targets_t to,
    int16_t *entry)
{
    targets_t          then;
    personalize_test_e test = operators[i].test;

    if (operators[i].list && !json_is_array(value)) {
        return wrong(c, to, entry, "must be a list");
    }

    then = operators[i].negated ? swapped(to) : to;

    switch (test) {
    case PERSONALIZE_TEST_SAME:
        return compile_same(c, value, then, entry);
    case PERSONALIZE_TEST_IN:
        return compile_in(c, value, operators[i].fold, then, entry);
    case PERSONALIZE_TEST_ALL:
        return compile_all(c, value, operators[i].fold, then, entry);
    case PERSONALIZE_TEST_REGEX:
        return compile_regex(c, value, operators[i].fold, then, entry);
    case PERSONALIZE_TEST_SIZE:
    case PERSONALIZE_TEST_ELEM:
        return compile_nested(c, test, value, then, entry);
    case PERSONALIZE_TEST_TYPE:
        return compile_type(c, value, then, entry);
    case PERSONALIZE_TEST_VEQ:
    case PERSONALIZE_TEST_VGT:
    case PERSONALIZE_TEST_VLT:
        return compile_version(c, test, value, then, entry);
    default:
        return !c->lenient && !json_is_string(value) && !json_is_number(value)
                   ? personalize_fault(c, "must be a number or a text")
                   : compile_test(c, test, 0, value, then, entry);
    }
}


static personalize_result_e
compile_operator(
    personalize_compiler_t *c, void *member, targets_t to, int16_t *entry)
{
    size_t               i, path;
    json_t              *value = json_object_iter_value(member);
    const char          *name = json_object_iter_key(member);
    personalize_result_e rc;

    path = personalize_path_push(c, ".%.64s", name);

    for (i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (strcmp(operators[i].name, name) == 0) {
            break;
        }
    }

    if (i < sizeof(operators) / sizeof(operators[0])) {
        rc = compile_known(c, i, value, to, entry);

    } else if (strcmp(name, "$exists") == 0) {
        rc = compile_exists(c, value, to, entry);

    } else if (strcmp(name, "$not") == 0) {
        rc = compile_value_not(c, value, to, entry);

    } else if (strcmp(name, "$inGroup") == 0
               || strcmp(name, "$notInGroup") == 0) {
        rc = compile_group(c, value, name[1] == 'i', to, entry);

    } else if (c->lenient) {
        *entry = to.no;
        rc = PERSONALIZE_OK;

    } else {
        personalize_path_pop(c, path);
        return personalize_fault(c,
            "unknown operator \"%.64s\", docs/campaigns.md has the known ones",
            name);
    }

    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    return rc;
}


/* What stands under a path: a value, or operators joined by and. */
static personalize_result_e
compile_value(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    void                *found[MEMBERS_MAX];
    unsigned             n;
    targets_t            each;
    personalize_result_e rc;

    if (!json_is_object(value) || !has_only_operators(value)) {
        return compile_plain(c, value, 0, to, entry);
    }

    rc = members(c, value, found, &n);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    *entry = to.yes;

    while (n > 0 && rc == PERSONALIZE_OK) {
        each.yes = *entry;
        each.no = to.no;
        rc = compile_operator(c, found[--n], each, entry);
    }

    return rc;
}


/* Beside these, also a name with "$" is an attribute's. */
static int
is_logic(const char *name)
{
    return strcmp(name, "$and") == 0 || strcmp(name, "$or") == 0
           || strcmp(name, "$nor") == 0 || strcmp(name, "$not") == 0
           || strcmp(name, "$savedGroup") == 0;
}


static personalize_result_e
compile_path(
    personalize_compiler_t *c, void *member, targets_t to, int16_t *entry)
{
    size_t               path;
    uint16_t             outer = c->attribute;
    personalize_str_t    name;
    personalize_result_e rc;

    name.data = json_object_iter_key(member);
    name.len = strlen(name.data);

    if (name.data[0] == '$' && !c->lenient) {
        return personalize_fault(c,
            "unknown operator \"%.64s\", use $and, $or, $nor, $not, "
            "$savedGroup or an attribute",
            name.data);
    }

    rc = personalize_intern(c, name, &c->attribute);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".%s", name.data);
    rc = compile_value(c, json_object_iter_value(member), to, entry);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }
    c->attribute = outer;

    return rc;
}


/* $and, and with `any` $or; empty lists are true for both. */
static personalize_result_e
compile_list(personalize_compiler_t *c, json_t *list, int any, targets_t to,
    int16_t *entry)
{
    size_t               i, path;
    targets_t            each;
    personalize_result_e rc;

    if (!json_is_array(list)) {
        return personalize_fault(c, "must be a list of conditions");
    }

    i = json_array_size(list);
    *entry = any && i > 0 ? to.no : to.yes;

    while (i-- > 0) {
        each.yes = any ? to.yes : *entry;
        each.no = any ? *entry : to.no;

        path = personalize_path_push(c, "[%zu]", i);
        rc = compile_condition(c, json_array_get(list, i), each, entry);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    return PERSONALIZE_OK;
}


/*
 * A group used as a condition: {"id": its name}.  Of a list the attribute is
 * asked that the reference or the group names.
 */
static personalize_result_e
compile_saved_group(personalize_compiler_t *c, const json_t *reference,
    targets_t to, int16_t *entry)
{
    uint16_t             outer = c->attribute;
    personalize_group_t  group;
    personalize_str_t    name;
    personalize_result_e rc;

    if (!personalize_group_find(c, reference, &group)) {
        return wrong(c, to, entry, "names no saved group that can be used");
    }

    if (group.condition != NULL) {
        c->visited[c->nvisited++] = group.id;
        rc = compile_condition(c, group.condition, to, entry);
        c->nvisited--;
        return rc;
    }

    name.data = json_string_value(group.attribute);
    name.len = json_string_length(group.attribute);

    rc = personalize_intern(c, name, &c->attribute);
    if (rc == PERSONALIZE_OK) {
        rc = compile_in(c, group.values, 0, to, entry);
    }
    c->attribute = outer;

    return rc;
}


static personalize_result_e
compile_logic(
    personalize_compiler_t *c, void *member, targets_t to, int16_t *entry)
{
    size_t               path;
    json_t              *value = json_object_iter_value(member);
    const char          *name = json_object_iter_key(member);
    personalize_result_e rc;

    path = personalize_path_push(c, ".%.64s", name);

    if (strcmp(name, "$and") == 0) {
        rc = compile_list(c, value, 0, to, entry);

    } else if (strcmp(name, "$or") == 0) {
        rc = compile_list(c, value, 1, to, entry);

    } else if (strcmp(name, "$nor") == 0) {
        rc = compile_list(c, value, 1, swapped(to), entry);

    } else if (name[1] == 's') {
        rc = compile_saved_group(c, value, to, entry);

    } else {
        rc = compile_condition(c, value, swapped(to), entry);
    }

    personalize_path_pop(c, path);

    return rc;
}


/* Recurses PERSONALIZE_DEPTH_MAX times at most. */
static personalize_result_e
compile_condition(
    personalize_compiler_t *c, json_t *condition, targets_t to, int16_t *entry)
{
    void                *found[MEMBERS_MAX];
    unsigned             n;
    targets_t            each;
    personalize_result_e rc;

    if (!json_is_object(condition)) {
        return personalize_fault(c, "must be a condition object");
    }

    rc = deeper(c);
    if (rc == PERSONALIZE_OK) {
        rc = members(c, condition, found, &n);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    *entry = to.yes;

    while (n > 0) {
        each.yes = *entry;
        each.no = to.no;

        rc = is_logic(json_object_iter_key(found[--n]))
                 ? compile_logic(c, found[n], each, entry)
                 : compile_path(c, found[n], each, entry);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
    }

    c->depth--;

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_condition_compile(
    personalize_compiler_t *c, json_t *when, int16_t *entry)
{
    targets_t to = {PERSONALIZE_FITS, PERSONALIZE_FAILS};

    c->depth = 0;
    c->nclauses = 0;

    return compile_condition(c, when, to, entry);
}
