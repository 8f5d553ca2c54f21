/*
 * json.c - the engine's values as JSON, and comparing JSON.
 */

#include "conformance.h"

#include <math.h>


json_t *
json_of_str(personalize_str_t text)
{
    return json_stringn_nocheck(text.len > 0 ? text.data : "", text.len);
}


static json_t *
json_of_object(personalize_str_t packed)
{
    char                name[4096];
    size_t              pos = 0;
    json_t             *object = json_object();
    personalize_value_t key, value;

    while (personalize_value_next(packed, &pos, &key)
           && personalize_value_next(packed, &pos, &value))
    {
        (void) snprintf(name, sizeof(name), "%.*s", (int) key.text.len,
            key.text.len > 0 ? key.text.data : "");
        (void) json_object_set_new_nocheck(object, name, json_of_value(&value));
    }

    return object;
}


json_t *
json_of_value(const personalize_value_t *value)
{
    size_t              pos = 0;
    json_t             *list;
    personalize_value_t element;

    switch (value->type) {
    case PERSONALIZE_BOOL:
        return json_boolean(value->number != 0);
    case PERSONALIZE_NUMBER:
        return json_real(value->number);
    case PERSONALIZE_TEXT:
        return json_of_str(value->text);
    case PERSONALIZE_OBJECT:
        return json_of_object(value->text);
    case PERSONALIZE_LIST:
        list = json_array();
        while (personalize_value_next(value->text, &pos, &element)) {
            (void) json_array_append_new(list, json_of_value(&element));
        }
        return list;
    default:
        return json_null();
    }
}


int
json_same(const json_t *a, const json_t *b)
{
    size_t      i;
    json_t     *member;
    const char *name;

    if (a == NULL || b == NULL) {
        return (a == NULL || json_is_null(a)) && (b == NULL || json_is_null(b));
    }

    if (json_is_number(a) && json_is_number(b)) {
        return json_number_value(a) == json_number_value(b);
    }

    if (json_typeof(a) != json_typeof(b)) {
        return 0;
    }

    if (json_is_array(a)) {
        for (i = 0; i < json_array_size(a); i++) {
            if (!json_same(json_array_get(a, i), json_array_get(b, i))) {
                return 0;
            }
        }
        return json_array_size(a) == json_array_size(b);
    }

    if (json_is_object(a)) {
        json_object_foreach((json_t *) a, name, member)
        {
            if (!json_same(member, json_object_get(b, name))) {
                return 0;
            }
        }
        return json_object_size(a) == json_object_size(b);
    }

    return json_equal(a, b);
}


/* The members that grew between versions of the specification. */
static int
grows(const char *name)
{
    return strcmp(name, "experiment") == 0
           || strcmp(name, "experimentResult") == 0;
}


/* Version 0.7.0 of the cases has hashed numbers as texts. */
static int
same_hashed(json_t *expected, json_t *got)
{
    char   text[64];
    double number;

    if (!json_is_string(expected) || !json_is_number(got)) {
        return json_same(expected, got);
    }

    number = json_number_value(got);
    text[personalize_number_text(number, text)] = '\0';

    return strcmp(text, json_string_value(expected)) == 0;
}


const char *
json_misses(const json_t *expected, const json_t *got)
{
    json_t            *member;
    const char        *name, *inner;
    static const char *whole = "the whole";

    if (!json_is_object(expected) || !json_is_object(got)) {
        return json_same(expected, got) ? "" : whole;
    }

    json_object_foreach((json_t *) expected, name, member)
    {
        if (grows(name)) {
            inner = json_misses(member, json_object_get(got, name));
            if (inner[0] != '\0') {
                return inner == whole ? name : inner;
            }

        } else if (strcmp(name, "hashValue") == 0) {
            if (!same_hashed(member, json_object_get(got, name))) {
                return name;
            }

        } else if (!json_same(member, json_object_get(got, name))) {
            return name;
        }
    }

    return "";
}
