/*
 * value.c - values as JSON has them: packed flat, compared and converted.
 *
 *     list     elements
 *     object   per member an element of type text, its name, and its value
 *     element  length << 3 | type (7 bits a byte, low first), then the bytes
 *     bytes    BOOL one, NUMBER a double and its text, TEXT, LIST, OBJECT
 *
 * Equal JSON gives equal bytes, so that deep equality is memcmp; the order of
 * members counts, as it does in the JavaScript SDK.  Conversions are those of
 * JavaScript, which the specification's cases follow.  A text made of a list
 * is cut at PERSONALIZE_VALUE_TEXT bytes.  Reading trusts no length.
 */

#include "set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>


#define HEAD_MAX    5 /* bytes: 35 bits, 7 each */
#define NUMERIC_MAX 63


static char *
put_head(char *p, const char *end, size_t len, personalize_type_e type)
{
    uint64_t head;

    head = (uint64_t) len << 3 | (unsigned) type;

    if (head >> (7 * HEAD_MAX) != 0) {
        return NULL;
    }

    for (; p < end && head >= 0x80; head >>= 7) {
        *p++ = (char) (0x80 | (head & 0x7f));
    }

    if (p >= end || len > (size_t) (end - p) - 1) {
        return NULL;
    }

    *p++ = (char) head;

    return p;
}


char *
personalize_list_put(char *p, const char *end, personalize_str_t text)
{
    p = put_head(p, end, text.len, PERSONALIZE_TEXT);

    if (p != NULL && text.len > 0) {
        memcpy(p, text.data, text.len);
    }

    return p != NULL ? p + text.len : NULL;
}


/* Cuts the next element out; 0 at the end or at a damaged one. */
static int
next_element(personalize_str_t list, size_t *pos, unsigned *type,
    personalize_str_t *bytes)
{
    size_t   i;
    uint64_t head;
    unsigned byte;

    head = 0;

    for (i = 0; i < HEAD_MAX; i++) {
        if (*pos >= list.len) {
            return 0;
        }

        byte = (unsigned char) list.data[(*pos)++];
        head |= (uint64_t) (byte & 0x7f) << (7 * i);

        if (byte < 0x80) {
            break;
        }
    }

    if (i == HEAD_MAX || head >> 3 > list.len - *pos) {
        *pos = list.len;
        return 0;
    }

    *type = head & 7;
    bytes->data = list.data + *pos;
    bytes->len = (size_t) (head >> 3);
    *pos += bytes->len;

    return 1;
}


int
personalize_value_next(
    personalize_str_t list, size_t *pos, personalize_value_t *value)
{
    unsigned          type;
    personalize_str_t bytes;

    if (!next_element(list, pos, &type, &bytes)) {
        return 0;
    }

    memset(value, 0, sizeof(personalize_value_t));

    switch (type) {

    case PERSONALIZE_BOOL:
        value->number = bytes.len > 0 && bytes.data[0] != 0;
        break;

    case PERSONALIZE_NUMBER:
        if (bytes.len < sizeof(double)) {
            return 1;
        }
        memcpy(&value->number, bytes.data, sizeof(double));
        break;

    case PERSONALIZE_TEXT:
    case PERSONALIZE_LIST:
    case PERSONALIZE_OBJECT:
        value->text = bytes;
        break;

    default:
        return 1;
    }

    value->type = (personalize_type_e) type;

    return 1;
}


int
personalize_list_next(
    personalize_str_t list, size_t *pos, personalize_str_t *text)
{
    unsigned type;

    while (next_element(list, pos, &type, text)) {
        if (type == PERSONALIZE_TEXT) {
            return 1;
        }

        if (type == PERSONALIZE_NUMBER && text->len > sizeof(double)) {
            text->data += sizeof(double);
            text->len -= sizeof(double);
            return 1;
        }
    }

    return 0;
}


/* Packs the members of an object or the elements of a list. */
static char *
pack_inner(char *p, const char *end, json_t *json, unsigned depth)
{
    void             *iter;
    size_t            i;
    personalize_str_t name;

    if (json_is_array(json)) {
        for (i = 0; i < json_array_size(json) && p != NULL; i++) {
            p = personalize_pack(p, end, json_array_get(json, i), depth + 1);
        }
        return p;
    }

    for (iter = json_object_iter(json); iter != NULL && p != NULL;
         iter = json_object_iter_next(json, iter))
    {
        name.data = json_object_iter_key(iter);
        name.len = strlen(name.data);
        p = personalize_list_put(p, end, name);
        if (p != NULL) {
            p = personalize_pack(
                p, end, json_object_iter_value(iter), depth + 1);
        }
    }

    return p;
}


/* The head's length depends on what follows: packed behind, moved up. */
static char *
pack_nested(char *p, const char *end, json_t *json, unsigned depth)
{
    char  *from, *to, *stop;
    size_t len;

    if (end - p < HEAD_MAX) {
        return NULL;
    }

    from = p + HEAD_MAX;
    stop = pack_inner(from, end, json, depth);
    if (stop == NULL) {
        return NULL;
    }

    len = (size_t) (stop - from);
    to = put_head(p, end, len,
        json_is_array(json) ? PERSONALIZE_LIST : PERSONALIZE_OBJECT);
    if (to == NULL) {
        return NULL;
    }

    memmove(to, from, len);

    return to + len;
}


static char *
pack_number(char *p, const char *end, const json_t *json)
{
    char   text[PERSONALIZE_NUMBER_MAX];
    int    n;
    size_t len;
    double number;

    number = json_number_value(json) + 0.0; /* no negative zero */

    if (json_is_integer(json)) {
        /* not through a double: identifiers may need all 64 bits */
        n = snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
            json_integer_value(json));
        len = (size_t) n;
    } else {
        len = personalize_number_text(number, text);
    }

    p = put_head(p, end, sizeof(double) + len, PERSONALIZE_NUMBER);
    if (p == NULL) {
        return NULL;
    }

    memcpy(p, &number, sizeof(double));
    memcpy(p + sizeof(double), text, len);

    return p + sizeof(double) + len;
}


/* Recurses PERSONALIZE_DEPTH_MAX times at most: what is deeper is null. */
char *
personalize_pack(char *p, const char *end, json_t *json, unsigned depth)
{
    personalize_str_t text;

    if (depth > PERSONALIZE_DEPTH_MAX) {
        return put_head(p, end, 0, PERSONALIZE_ABSENT);
    }

    switch (json_typeof(json)) {

    case JSON_TRUE:
    case JSON_FALSE:
        p = put_head(p, end, 1, PERSONALIZE_BOOL);
        if (p != NULL) {
            *p++ = (char) json_is_true(json);
        }
        return p;

    case JSON_INTEGER:
    case JSON_REAL:
        return pack_number(p, end, json);

    case JSON_STRING:
        text.data = json_string_value(json);
        text.len = json_string_length(json);
        return personalize_list_put(p, end, text);

    case JSON_ARRAY:
    case JSON_OBJECT:
        return pack_nested(p, end, json, depth);

    default:
        return put_head(p, end, 0, PERSONALIZE_ABSENT);
    }
}


/* The elements of a list or the members of an object, without a head. */
char *
personalize_pack_list(char *p, const char *end, json_t *list)
{
    return pack_inner(p, end, list, 1);
}


static int
find_member(personalize_str_t object, personalize_str_t name,
    personalize_value_t *value)
{
    size_t              pos;
    personalize_value_t key;

    pos = 0;

    while (personalize_value_next(object, &pos, &key)
           && personalize_value_next(object, &pos, value))
    {
        if (personalize_str_equal(key.text, name)) {
            return 1;
        }
    }

    return 0;
}


static int
find_element(
    personalize_str_t list, personalize_str_t name, personalize_value_t *value)
{
    double                         n, i;
    size_t                         pos;
    static const personalize_str_t length = {"length", 6};

    if (personalize_str_equal(name, length)) {
        value->type = PERSONALIZE_NUMBER;
        value->number = personalize_value_count(list);
        return 1;
    }

    if (!personalize_number_parse(name, &n)
        || (name.len > 1 && name.data[0] == '0'))
    {
        return 0;
    }

    pos = 0;

    for (i = 0; personalize_value_next(list, &pos, value); i++) {
        if (i == n) {
            return 1;
        }
    }

    return 0;
}


void
personalize_value_path(const personalize_value_t *root, personalize_str_t path,
    personalize_value_t *value)
{
    int                 found;
    const char         *dot, *end = path.data + path.len;
    personalize_str_t   name;
    personalize_value_t at = *root;

    for (;;) {
        dot = memchr(path.data, '.', (size_t) (end - path.data));
        name.data = path.data;
        name.len = (size_t) ((dot != NULL ? dot : end) - path.data);

        found =
            at.type == PERSONALIZE_OBJECT ? find_member(at.text, name, value)
            : at.type == PERSONALIZE_LIST ? find_element(at.text, name, value)
                                          : 0;
        if (!found) {
            memset(value, 0, sizeof(personalize_value_t));
            return;
        }

        if (dot == NULL) {
            return;
        }

        at = *value;
        path.data = dot + 1;
    }
}


unsigned
personalize_value_count(personalize_str_t list)
{
    size_t              pos;
    unsigned            n;
    personalize_value_t value;

    pos = 0;

    for (n = 0; personalize_value_next(list, &pos, &value); n++) {
        /* void */
    }

    return n;
}


int
personalize_value_true(const personalize_value_t *value)
{
    switch (value->type) {

    case PERSONALIZE_BOOL:
    case PERSONALIZE_NUMBER:
        return value->number != 0;

    case PERSONALIZE_TEXT:
        return value->text.len > 0;

    case PERSONALIZE_ABSENT:
        return 0;

    default:
        return 1;
    }
}


/* Joined by commas, absent elements as nothing; nested lists likewise. */
static size_t
join(personalize_str_t list, char *buf, size_t room, unsigned depth)
{
    char                scratch[PERSONALIZE_NUMBER_MAX];
    size_t              pos, len;
    personalize_str_t   text;
    personalize_value_t value;

    pos = len = 0;

    while (personalize_value_next(list, &pos, &value)) {
        text.data = scratch;
        text.len = 0;

        if (value.type == PERSONALIZE_LIST) {
            if (depth < PERSONALIZE_DEPTH_MAX) {
                len += join(value.text, buf + len, room - len, depth + 1);
            }
        } else if (value.type == PERSONALIZE_NUMBER) {
            text.len = personalize_number_text(value.number, scratch);
        } else if (value.type != PERSONALIZE_ABSENT) {
            text = personalize_value_text(&value, NULL);
        }

        if (text.len > room - len) {
            text.len = room - len;
        }

        memcpy(buf + len, text.data, text.len);
        len += text.len;

        if (pos < list.len && len < room) {
            buf[len++] = ',';
        }
    }

    return len;
}


/* buf holds PERSONALIZE_VALUE_TEXT bytes; only numbers and lists use it. */
personalize_str_t
personalize_value_text(const personalize_value_t *value, char *buf)
{
    personalize_str_t text;

    switch (value->type) {

    case PERSONALIZE_TEXT:
        return value->text;

    case PERSONALIZE_BOOL:
        text.data = value->number != 0 ? "true" : "false";
        break;

    case PERSONALIZE_NUMBER:
        text.data = buf;
        text.len = personalize_number_text(value->number, buf);
        return text;

    case PERSONALIZE_LIST:
        text.data = buf;
        text.len = join(value->text, buf, PERSONALIZE_VALUE_TEXT, 1);
        return text;

    case PERSONALIZE_OBJECT:
        text.data = "[object Object]";
        break;

    default:
        text.data = "null";
        break;
    }

    text.len = strlen(text.data);

    return text;
}


/* JavaScript's Number(): blanks around, 0x; what is no number is NAN. */
static double
text_number(personalize_str_t text)
{
    char   copy[NUMERIC_MAX + 1];
    char  *end;
    double number;

    while (text.len > 0 && strchr(" \t\n\v\f\r", text.data[0]) != NULL
           && text.data[0] != '\0')
    {
        text.data++;
        text.len--;
    }

    while (text.len > 0
           && strchr(" \t\n\v\f\r", text.data[text.len - 1]) != NULL
           && text.data[text.len - 1] != '\0')
    {
        text.len--;
    }

    if (text.len == 0) {
        return 0;
    }

    if (text.len > NUMERIC_MAX) {
        return NAN;
    }

    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';

    if (strspn(copy, "+-.0123456789eE") != text.len
        && (copy[0] != '0' || (copy[1] | 0x20) != 'x'
            || strspn(copy + 2, "0123456789abcdefABCDEF") != text.len - 2
            || text.len == 2))
    {
        return strcmp(copy, "Infinity") == 0 || strcmp(copy, "+Infinity") == 0
                   ? INFINITY
               : strcmp(copy, "-Infinity") == 0 ? -INFINITY
                                                : NAN;
    }

    number = strtod(copy, &end);

    return end == copy + text.len ? number : NAN;
}


double
personalize_value_number(const personalize_value_t *value)
{
    char buf[PERSONALIZE_VALUE_TEXT];

    switch (value->type) {

    case PERSONALIZE_BOOL:
    case PERSONALIZE_NUMBER:
        return value->number;

    case PERSONALIZE_ABSENT:
        return 0;

    default:
        return text_number(personalize_value_text(value, buf));
    }
}


/* Packs JSON into the memory of the set, for as long as it lives. */
personalize_result_e
personalize_operand(
    personalize_compiler_t *c, json_t *json, personalize_value_t *value)
{
    char             *buf, *end;
    size_t            pos, size;
    personalize_str_t packed;

    for (size = 4096; size <= PERSONALIZE_CONTENT_MAX * 4; size *= 4) {
        buf = malloc(size);
        if (buf == NULL) {
            return PERSONALIZE_NOMEM;
        }

        end = personalize_pack(buf, buf + size, json, 1);
        if (end == NULL) {
            free(buf);
            continue;
        }

        packed.len = (size_t) (end - buf);
        end = personalize_alloc(c, packed.len);
        if (end != NULL) {
            memcpy(end, buf, packed.len);
        }
        free(buf);
        if (end == NULL) {
            return PERSONALIZE_NOMEM;
        }

        packed.data = end;
        pos = 0;
        (void) personalize_value_next(packed, &pos, value);

        return PERSONALIZE_OK;
    }

    return personalize_fault(c, "is too large a value");
}
