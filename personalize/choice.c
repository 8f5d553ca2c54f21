/*
 * choice.c - the operand of $in: sorted once, searched by halves.
 *
 * Only scalars can be the same as anything, so a list or an object in an
 * operand is a fault, or in a lenient set left out.
 */

#include "set.h"

#include <stdlib.h>


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

    default: /* never the same as anything */
        return c->lenient ? PERSONALIZE_OK
                          : personalize_fault(c, PERSONALIZE_OPERAND_FAULT);
    }
}


personalize_result_e
personalize_choice_compile(
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


int
personalize_choice_text(
    const personalize_choice_t *choice, personalize_str_t text)
{
    return choice->ntexts > 0
           && bsearch(&text, choice->texts, choice->ntexts,
                  sizeof(personalize_str_t), compare_texts)
                  != NULL;
}


int
personalize_choice_number(const personalize_choice_t *choice, double number)
{
    return choice->nnumbers > 0
           && bsearch(&number, choice->numbers, choice->nnumbers,
                  sizeof(double), compare_numbers)
                  != NULL;
}
