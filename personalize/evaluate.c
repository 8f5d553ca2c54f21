/*
 * evaluate.c - does a condition hold: walking the clauses of condition.c.
 *
 * Allocates nothing.  A nested condition ($elemMatch, $all, $size) recurses
 * once per level of the compiled one, PERSONALIZE_DEPTH_MAX at most; every
 * clause, element and listed text costs a step, and a condition whose steps
 * are spent does not hold.
 */

#include "set.h"

#include <math.h>


typedef struct {
    personalize_view_t         *view;
    const personalize_clause_t *clauses;
    const personalize_value_t  *root; /* of paths; NULL: the view */
    const personalize_value_t  *self; /* the value at hand */
} scope_t;

static int run(const scope_t *scope, int entry);


/* By UTF-16 code units, as JavaScript does: surrogates before U+E000. */
static int
compare_units(personalize_str_t a, personalize_str_t b)
{
    size_t        i;
    unsigned char x, y;

    for (i = 0; i < a.len && i < b.len; i++) {
        x = (unsigned char) a.data[i];
        y = (unsigned char) b.data[i];
        if (x == y) {
            continue;
        }
        if (x >= 0xee && y >= 0xee && (x >= 0xf0) != (y >= 0xf0)) {
            return x >= 0xf0 ? -1 : 1;
        }
        return x < y ? -1 : 1;
    }

    return (a.len > b.len) - (a.len < b.len);
}


/* Equal with both in lower case. */
static int
equal_folded(personalize_str_t a, personalize_str_t b)
{
    size_t   i, k;
    uint32_t x, y;

    for (i = k = 0; i < a.len && k < b.len;) {
        i += personalize_decode(a.data + i, a.len - i, &x);
        k += personalize_decode(b.data + k, b.len - k, &y);
        if (x != y && personalize_lower(x) != personalize_lower(y)) {
            return 0;
        }
    }

    return i == a.len && k == b.len;
}


/* Apart, for its buffers would be in the frame of every step. */
static int __attribute__((noinline))
order_texts(const personalize_value_t *a, const personalize_value_t *b)
{
    char left[PERSONALIZE_VALUE_TEXT];
    char right[PERSONALIZE_VALUE_TEXT];

    return compare_units(
        personalize_value_text(a, left), personalize_value_text(b, right));
}


static int
order_holds(
    const personalize_clause_t *clause, const personalize_value_t *value)
{
    double                     a, b;
    const personalize_value_t *other = &clause->operand.value;

    if (value->type == PERSONALIZE_NUMBER && other->type == PERSONALIZE_NUMBER)
    {
        a = value->number;
        b = other->number;

    } else if (value->type >= PERSONALIZE_TEXT
               && other->type >= PERSONALIZE_TEXT) {
        a = order_texts(value, other);
        b = 0;

    } else {
        a = personalize_value_number(value);
        b = personalize_value_number(other);
    }

    switch (clause->test) {
    case PERSONALIZE_TEST_GT:
        return a > b;
    case PERSONALIZE_TEST_GTE:
        return a >= b;
    case PERSONALIZE_TEST_LT:
        return a < b;
    default:
        return a <= b;
    }
}


static int
same(const personalize_value_t *a, const personalize_value_t *b)
{
    if (a->type != b->type) {
        return 0;
    }

    switch (a->type) {
    case PERSONALIZE_ABSENT:
        return 1;
    case PERSONALIZE_BOOL:
    case PERSONALIZE_NUMBER:
        return a->number == b->number;
    case PERSONALIZE_TEXT:
        return personalize_str_equal(a->text, b->text);
    default:
        return 0;
    }
}


static int
spend(personalize_view_t *view, unsigned n)
{
    if (view->steps < n) {
        view->steps = 0;
        return 0;
    }

    view->steps -= n;

    return 1;
}


static int
text_chosen(const scope_t *scope, const personalize_clause_t *clause,
    personalize_str_t text)
{
    unsigned                    i;
    const personalize_choice_t *choice = clause->operand.choice;

    if (!clause->fold) {
        return personalize_choice_text(choice, text);
    }

    for (i = 0; i < choice->ntexts && spend(scope->view, 1); i++) {
        if (equal_folded(choice->texts[i], text)) {
            return 1;
        }
    }

    return 0;
}


static int
chosen(const scope_t *scope, const personalize_clause_t *clause,
    const personalize_value_t *value)
{
    const personalize_choice_t *choice = clause->operand.choice;

    switch (value->type) {
    case PERSONALIZE_ABSENT:
        return choice->has_null;
    case PERSONALIZE_BOOL:
        return value->number != 0 ? choice->has_true : choice->has_false;
    case PERSONALIZE_NUMBER:
        return personalize_choice_number(choice, value->number);
    case PERSONALIZE_TEXT:
        return text_chosen(scope, clause, value->text);
    default:
        return 0;
    }
}


static int
in_holds(const scope_t *scope, const personalize_clause_t *clause,
    const personalize_value_t *value)
{
    size_t              pos;
    personalize_value_t element;

    if (value->type != PERSONALIZE_LIST) {
        return chosen(scope, clause, value);
    }

    pos = 0;

    while (personalize_value_next(value->text, &pos, &element)
           && spend(scope->view, 1))
    {
        if (chosen(scope, clause, &element)) {
            return 1;
        }
    }

    return 0;
}


/* Whether some element fits; absent ones are passed over if asked. */
static int
some_fits(const scope_t *scope, personalize_str_t list, int entry, int absent)
{
    size_t              pos;
    scope_t             inner = *scope;
    personalize_value_t element;

    inner.self = inner.root = &element;
    pos = 0;

    while (
        personalize_value_next(list, &pos, &element) && spend(scope->view, 1)) {
        if ((absent || element.type != PERSONALIZE_ABSENT)
            && run(&inner, entry)) {
            return 1;
        }
    }

    return 0;
}


static int
list_holds(const scope_t *scope, const personalize_clause_t *clause,
    const personalize_value_t *value)
{
    unsigned            i;
    scope_t             inner = *scope;
    personalize_value_t size;

    if (value->type != PERSONALIZE_LIST) {
        return 0;
    }

    if (clause->test == PERSONALIZE_TEST_ELEM) {
        return some_fits(scope, value->text, clause->sub, 0);
    }

    if (clause->test == PERSONALIZE_TEST_SIZE) {
        memset(&size, 0, sizeof(size));
        size.type = PERSONALIZE_NUMBER;
        size.number = personalize_value_count(value->text);
        inner.self = &size;
        return run(&inner, clause->sub);
    }

    for (i = 0; i < clause->nsubs; i++) {
        if (!some_fits(scope, value->text, clause->operand.subs[i], 1)) {
            return 0;
        }
    }

    return 1;
}


static int __attribute__((noinline)) version_holds(
    const personalize_clause_t *clause, const personalize_value_t *value)
{
    int  order;
    char buf[PERSONALIZE_VERSION_TEXT];

    order = compare_units(
        personalize_version(value, buf), clause->operand.value.text);

    return clause->test == PERSONALIZE_TEST_VEQ   ? order == 0
           : clause->test == PERSONALIZE_TEST_VGT ? order > 0
                                                  : order < 0;
}


static int __attribute__((noinline)) text_holds(const scope_t *scope,
    const personalize_clause_t *clause, const personalize_value_t *value)
{
    char              buf[PERSONALIZE_VALUE_TEXT];
    personalize_str_t text;

    text = personalize_value_text(value, buf);

    if (clause->test == PERSONALIZE_TEST_REGEX) {
        return pcre2_match(clause->operand.regex, (PCRE2_SPTR) text.data,
                   text.len, 0, 0, scope->view->set->match,
                   scope->view->set->limits)
               >= 0;
    }

    return clause->fold
               ? equal_folded(text, clause->operand.value.text)
               : personalize_str_equal(text, clause->operand.value.text);
}


static int
clause_holds(const scope_t *scope, const personalize_clause_t *clause,
    const personalize_value_t *value)
{
    switch (clause->test) {

    case PERSONALIZE_TEST_NULL:
        return value->type == PERSONALIZE_ABSENT;

    case PERSONALIZE_TEST_SAME:
        return same(value, &clause->operand.value);

    case PERSONALIZE_TEST_TRUTH:
        return value->type != PERSONALIZE_ABSENT
               && personalize_value_true(value)
                      == (clause->operand.value.number != 0);

    case PERSONALIZE_TEST_AS_NUMBER:
        return personalize_value_number(value) == clause->operand.value.number;

    case PERSONALIZE_TEST_DEEP:
        return value->type == clause->operand.value.type
               && personalize_str_equal(
                   value->text, clause->operand.value.text);

    case PERSONALIZE_TEST_IN:
        return in_holds(scope, clause, value);

    case PERSONALIZE_TEST_TYPE:
        return value->type == clause->operand.value.type;

    case PERSONALIZE_TEST_AS_TEXT:
        if (value->type == PERSONALIZE_TEXT && !clause->fold) {
            return personalize_str_equal(
                value->text, clause->operand.value.text);
        }
        return text_holds(scope, clause, value);

    case PERSONALIZE_TEST_REGEX:
        return text_holds(scope, clause, value);

    case PERSONALIZE_TEST_SIZE:
    case PERSONALIZE_TEST_ELEM:
    case PERSONALIZE_TEST_ALL:
        return list_holds(scope, clause, value);

    case PERSONALIZE_TEST_VEQ:
    case PERSONALIZE_TEST_VGT:
    case PERSONALIZE_TEST_VLT:
        return version_holds(clause, value);

    default:
        return order_holds(clause, value);
    }
}


static int
run(const scope_t *scope, int entry)
{
    personalize_value_t         found;
    const personalize_value_t  *value;
    const personalize_clause_t *clause;

    while (entry >= 0) {
        if (!spend(scope->view, 1)) {
            return 0;
        }

        clause = &scope->clauses[entry];

        if (clause->attribute == PERSONALIZE_SELF) {
            value = scope->self;

        } else if (scope->root == NULL) {
            value = personalize_view_get(scope->view, clause->attribute);

        } else {
            personalize_value_path(scope->root,
                scope->view->set->attributes[clause->attribute], &found);
            value = &found;
        }

        entry = clause_holds(scope, clause, value) ? clause->yes : clause->no;
    }

    return entry == PERSONALIZE_FITS;
}


int
personalize_condition_fits(
    const personalize_clause_t *clauses, int entry, personalize_view_t *view)
{
    static const personalize_value_t absent; /* at the top there is no self */

    scope_t scope = {view, clauses, NULL, &absent};

    return run(&scope, entry);
}


int
personalize_condition_fits_value(const personalize_clause_t *clauses, int entry,
    personalize_view_t *view, const personalize_value_t *root)
{
    scope_t scope = {view, clauses, root, root};

    return run(&scope, entry);
}


int
personalize_clause_holds(const personalize_clause_t *clause,
    const personalize_clause_t *clauses, personalize_view_t *view,
    const personalize_value_t *value)
{
    scope_t scope = {view, clauses, NULL, value};

    return clause_holds(&scope, clause, value);
}
