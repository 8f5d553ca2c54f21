/*
 * condition.c - who a campaign is for: compiling and testing conditions.
 *
 * The language is the MongoDB-like one of the GrowthBook specification, as
 * far as docs/campaigns.md names it; everything else is refused, because a
 * condition that silently never fits costs a team days.  The form of the
 * result is described in set.h.  Lists keep numbers as text, so a number is
 * compared with an element by reading it; single values are compared strictly,
 * 1 is not "1".
 */

#include "set.h"

#include <stdlib.h>


/* Every path has one clause at least; beside them $and, $or and $not. */
#define MEMBERS_MAX (PERSONALIZE_CLAUSES_MAX + 3)

#define OPERAND_FAULT "must be a text, a number, a boolean or null"

typedef struct {
    int16_t yes; /* where to go on when it holds */
    int16_t no;
} targets_t;

static personalize_result_e compile_condition(
    personalize_compiler_t *c, json_t *condition, targets_t to, int16_t *entry);
static personalize_result_e compile_value(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry);


/* ---- compiling ---------------------------------------------------------- */


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


static personalize_result_e
compile_equal(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    personalize_clause_t clause;
    personalize_result_e rc;

    memset(&clause, 0, sizeof(clause));

    switch (json_typeof(value)) {

    case JSON_NULL:
        clause.test = PERSONALIZE_TEST_NULL;
        break;

    case JSON_TRUE:
    case JSON_FALSE:
        clause.test = PERSONALIZE_TEST_BOOL;
        clause.number = json_is_true(value);
        break;

    case JSON_INTEGER:
    case JSON_REAL:
        clause.test = PERSONALIZE_TEST_NUMBER;
        clause.number = json_number_value(value);
        break;

    case JSON_STRING:
        clause.test = PERSONALIZE_TEST_TEXT;
        rc = personalize_copy(c, value, &clause.operand.text);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        break;

    default:
        return personalize_fault(c, OPERAND_FAULT);
    }

    return emit(c, &clause, to, entry);
}


static personalize_result_e
compile_order(personalize_compiler_t *c, personalize_test_e test, json_t *value,
    targets_t to, int16_t *entry)
{
    personalize_clause_t clause;
    personalize_result_e rc;

    memset(&clause, 0, sizeof(clause));
    clause.test = (uint8_t) test;

    if (json_is_string(value)) {
        rc = personalize_copy(c, value, &clause.operand.text);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        clause.numeric = (uint8_t) personalize_number_parse(
            clause.operand.text, &clause.number);

    } else if (json_is_number(value)) {
        clause.numeric = 1;
        clause.number = json_number_value(value);

    } else {
        return personalize_fault(c, "must be a number or a text");
    }

    return emit(c, &clause, to, entry);
}


static int
compare_texts(const void *one, const void *two)
{
    const personalize_str_t *a = one, *b = two;

    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }

    return a->len == 0 ? 0 : memcmp(a->data, b->data, a->len);
}


static int
compare_numbers(const void *one, const void *two)
{
    double a = *(const double *) one, b = *(const double *) two;

    return (a > b) - (a < b);
}


static personalize_result_e
choice_add(personalize_compiler_t *c, personalize_choice_t *choice,
    const json_t *value)
{
    switch (json_typeof(value)) {

    case JSON_NULL:
        choice->has_null = 1;
        return PERSONALIZE_OK;

    case JSON_TRUE:
        choice->has_true = 1;
        return PERSONALIZE_OK;

    case JSON_FALSE:
        choice->has_false = 1;
        return PERSONALIZE_OK;

    case JSON_INTEGER:
    case JSON_REAL:
        choice->numbers[choice->nnumbers++] = json_number_value(value);
        return PERSONALIZE_OK;

    case JSON_STRING:
        return personalize_copy(c, value, &choice->texts[choice->ntexts++]);

    default:
        return personalize_fault(c, OPERAND_FAULT);
    }
}


static personalize_result_e
choice_compile(
    personalize_compiler_t *c, json_t *list, personalize_choice_t *choice)
{
    size_t               i, n, path;
    personalize_result_e rc;

    n = json_array_size(list);
    memset(choice, 0, sizeof(personalize_choice_t));
    choice->texts = personalize_alloc(c, n * sizeof(personalize_str_t));
    choice->numbers = personalize_alloc(c, n * sizeof(double));

    if (choice->texts == NULL || choice->numbers == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, "[%zu]", i);
        rc = choice_add(c, choice, json_array_get(list, i));
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
        personalize_path_pop(c, path);
    }

    qsort(choice->texts, choice->ntexts, sizeof(personalize_str_t),
        compare_texts);
    qsort(choice->numbers, choice->nnumbers, sizeof(double), compare_numbers);

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_in(
    personalize_compiler_t *c, json_t *list, targets_t to, int16_t *entry)
{
    personalize_choice_t *choice;
    personalize_clause_t  clause;
    personalize_result_e  rc;

    if (!json_is_array(list)) {
        return personalize_fault(c, "must be a list");
    }

    choice = personalize_alloc(c, sizeof(personalize_choice_t));
    if (choice == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = choice_compile(c, list, choice);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_IN;
    clause.operand.choice = choice;

    return emit(c, &clause, to, entry);
}


static personalize_result_e
compile_exists(
    personalize_compiler_t *c, json_t *value, targets_t to, int16_t *entry)
{
    personalize_clause_t clause;

    if (!json_is_boolean(value)) {
        return personalize_fault(c, "must be true or false");
    }

    memset(&clause, 0, sizeof(clause));
    clause.test = PERSONALIZE_TEST_NULL;

    return emit(c, &clause, json_is_true(value) ? swapped(to) : to, entry);
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


/* One operator under a path, for example "$gt": 3. */
static personalize_result_e
compile_operator(
    personalize_compiler_t *c, void *member, targets_t to, int16_t *entry)
{
    size_t               path;
    json_t              *value = json_object_iter_value(member);
    const char          *name = json_object_iter_key(member);
    personalize_result_e rc;

    path = personalize_path_push(c, ".%.64s", name);

    if (strcmp(name, "$eq") == 0) {
        rc = compile_equal(c, value, to, entry);

    } else if (strcmp(name, "$ne") == 0) {
        rc = compile_equal(c, value, swapped(to), entry);

    } else if (strcmp(name, "$in") == 0) {
        rc = compile_in(c, value, to, entry);

    } else if (strcmp(name, "$gt") == 0) {
        rc = compile_order(c, PERSONALIZE_TEST_GT, value, to, entry);

    } else if (strcmp(name, "$lt") == 0) {
        rc = compile_order(c, PERSONALIZE_TEST_LT, value, to, entry);

    } else if (strcmp(name, "$exists") == 0) {
        rc = compile_exists(c, value, to, entry);

    } else if (strcmp(name, "$not") == 0) {
        rc = compile_value_not(c, value, to, entry);

    } else {
        personalize_path_pop(c, path);
        return personalize_fault(c,
            "unknown operator \"%.64s\", use $eq, $ne, $in, $gt, $lt, $not "
            "or $exists",
            name);
    }

    personalize_path_pop(c, path);

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

    if (!json_is_object(value)) {
        return compile_equal(c, value, to, entry);
    }

    rc = members(c, value, found, &n);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (n == 0) {
        return personalize_fault(c, "must be a value or have an operator");
    }

    *entry = to.yes;

    while (n > 0 && rc == PERSONALIZE_OK) {
        each.yes = *entry;
        each.no = to.no;
        rc = compile_operator(c, found[--n], each, entry);
    }

    return rc;
}


static personalize_result_e
compile_path(
    personalize_compiler_t *c, void *member, targets_t to, int16_t *entry)
{
    size_t               path;
    personalize_str_t    name;
    personalize_result_e rc;

    name.data = json_object_iter_key(member);
    name.len = strlen(name.data);

    rc = personalize_intern(c, name, &c->attribute);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".%s", name.data);
    rc = compile_value(c, json_object_iter_value(member), to, entry);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

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

    } else if (strcmp(name, "$not") == 0) {
        rc = compile_condition(c, value, swapped(to), entry);

    } else {
        personalize_path_pop(c, path);
        return personalize_fault(c,
            "unknown operator \"%.64s\", use $and, $or, $not or an attribute",
            name);
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

        rc = json_object_iter_key(found[--n])[0] == '$'
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


/* ---- testing ------------------------------------------------------------ */


static int
has_text(const personalize_choice_t *choice, personalize_str_t text)
{
    return choice->ntexts > 0
           && bsearch(&text, choice->texts, choice->ntexts,
                  sizeof(personalize_str_t), compare_texts)
                  != NULL;
}


static int
has_number(const personalize_choice_t *choice, double number)
{
    return choice->nnumbers > 0
           && bsearch(&number, choice->numbers, choice->nnumbers,
                  sizeof(double), compare_numbers)
                  != NULL;
}


static int
element_holds(const personalize_clause_t *clause, personalize_str_t element)
{
    double                      number;
    const personalize_choice_t *choice;

    switch (clause->test) {

    case PERSONALIZE_TEST_TEXT:
        return personalize_str_equal(clause->operand.text, element);

    case PERSONALIZE_TEST_NUMBER:
        return personalize_number_parse(element, &number)
               && number == clause->number;

    case PERSONALIZE_TEST_IN:
        choice = clause->operand.choice;
        return has_text(choice, element)
               || (choice->nnumbers > 0
                   && personalize_number_parse(element, &number)
                   && has_number(choice, number));

    default:
        return 0;
    }
}


static int
list_holds(const personalize_clause_t *clause, personalize_str_t list)
{
    size_t            pos;
    personalize_str_t element;

    pos = 0;

    while (personalize_list_next(list, &pos, &element)) {
        if (element_holds(clause, element)) {
            return 1;
        }
    }

    return 0;
}


static int
choice_holds(
    const personalize_choice_t *choice, const personalize_value_t *value)
{
    switch (value->type) {

    case PERSONALIZE_BOOL:
        return value->number != 0 ? choice->has_true : choice->has_false;

    case PERSONALIZE_NUMBER:
        return has_number(choice, value->number);

    case PERSONALIZE_TEXT:
        return has_text(choice, value->text);

    default:
        return choice->has_null;
    }
}


static int
order_holds(
    const personalize_clause_t *clause, const personalize_value_t *value)
{
    int               order;
    double            number;
    size_t            len;
    personalize_str_t text = clause->operand.text;

    if (value->type == PERSONALIZE_TEXT && text.data != NULL) {
        len = value->text.len < text.len ? value->text.len : text.len;
        order = len > 0 ? memcmp(value->text.data, text.data, len) : 0;
        if (order == 0) {
            order = (value->text.len > text.len) - (value->text.len < text.len);
        }

        return clause->test == PERSONALIZE_TEST_GT ? order > 0 : order < 0;
    }

    number = value->number;

    if (!clause->numeric
        || (value->type != PERSONALIZE_NUMBER
            && (value->type != PERSONALIZE_TEXT
                || !personalize_number_parse(value->text, &number))))
    {
        return 0;
    }

    return clause->test == PERSONALIZE_TEST_GT ? number > clause->number
                                               : number < clause->number;
}


static int
clause_holds(
    const personalize_clause_t *clause, const personalize_value_t *value)
{
    if (value->type == PERSONALIZE_LIST) {
        return list_holds(clause, value->text);
    }

    switch (clause->test) {

    case PERSONALIZE_TEST_NULL:
        return value->type == PERSONALIZE_ABSENT;

    case PERSONALIZE_TEST_BOOL:
        return value->type == PERSONALIZE_BOOL
               && (value->number != 0) == (clause->number != 0);

    case PERSONALIZE_TEST_NUMBER:
        return value->type == PERSONALIZE_NUMBER
               && value->number == clause->number;

    case PERSONALIZE_TEST_TEXT:
        return value->type == PERSONALIZE_TEXT
               && personalize_str_equal(value->text, clause->operand.text);

    case PERSONALIZE_TEST_IN:
        return choice_holds(clause->operand.choice, value);

    default:
        return order_holds(clause, value);
    }
}


int
personalize_condition_fits(
    const personalize_clause_t *clauses, int entry, personalize_view_t *view)
{
    const personalize_value_t  *value;
    const personalize_clause_t *clause;

    while (entry >= 0) {
        clause = &clauses[entry];
        value = personalize_view_get(view, clause->attribute);
        entry = clause_holds(clause, value) ? clause->yes : clause->no;
    }

    return entry == PERSONALIZE_FITS;
}
