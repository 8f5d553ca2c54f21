/*
 * render.c - a variant's content: compiled when the set is, written per visit.
 *
 * Content is split into segments, a literal and then an attribute, so that
 * writing is copying.  Of Mustache only {{path}} is known, always escaped for
 * HTML text and quoted attributes; sections, partials, comments and the
 * unescaped forms are refused, as is an opening that never ends.
 */

#include "set.h"


typedef struct {
    char  *buf;
    size_t size;
    size_t len; /* bytes needed; grows past size, where nothing is written */
} writer_t;


/* ---- compiling ---------------------------------------------------------- */


static const char *
find_pair(const char *p, const char *end, char brace)
{
    while (end - p >= 2) {
        p = memchr(p, brace, (size_t) (end - p) - 1);
        if (p == NULL) {
            return NULL;
        }
        if (p[1] == brace) {
            return p;
        }
        p++;
    }

    return NULL;
}


static int
is_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}


static personalize_str_t
trimmed(const char *p, const char *end)
{
    personalize_str_t text;

    while (p < end && is_space(*p)) {
        p++;
    }

    while (end > p && is_space(end[-1])) {
        end--;
    }

    text.data = p;
    text.len = (size_t) (end - p);

    return text;
}


/* The signs of Mustache and its relatives, and what no path can contain. */
static int
is_path(personalize_str_t tag)
{
    size_t i;

    if (tag.len == 0 || strchr("#^/!>&={|<$*.", tag.data[0]) != NULL) {
        return 0;
    }

    for (i = 0; i < tag.len; i++) {
        if ((unsigned char) tag.data[i] <= 0x20 || tag.data[i] == '{'
            || tag.data[i] == '}')
        {
            return 0;
        }
    }

    return 1;
}


/* Compiles the tag at *p, which begins with "{{", and moves *p behind it. */
static personalize_result_e
compile_tag(personalize_compiler_t *c, const char **p, personalize_str_t text,
    int *attribute)
{
    size_t               at;
    uint16_t             n;
    const char          *end;
    personalize_str_t    tag;
    personalize_result_e rc;

    at = (size_t) (*p - text.data);
    end = find_pair(*p + 2, text.data + text.len, '}');
    if (end == NULL) {
        return personalize_fault(
            c, "\"{{\" at byte %zu is never closed by \"}}\"", at);
    }

    tag = trimmed(*p + 2, end);
    if (!is_path(tag)) {
        return personalize_fault(c,
            "unknown tag \"{{%.*s}}\" at byte %zu, only {{attribute}} is known",
            (int) (tag.len < 64 ? tag.len : 64), tag.data, at);
    }

    rc = personalize_intern(c, tag, &n);
    *attribute = n;
    *p = end + 2;

    return rc;
}


static size_t
count_tags(personalize_str_t text)
{
    size_t      n;
    const char *p, *end;

    n = 0;
    p = text.data;
    end = p + text.len;

    while ((p = find_pair(p, end, '{')) != NULL) {
        n++;
        p += 2;
    }

    return n;
}


personalize_result_e
personalize_content_compile(personalize_compiler_t *c, const json_t *json,
    personalize_content_t *content)
{
    size_t                 n;
    const char            *p, *tag, *end;
    personalize_str_t      text;
    personalize_result_e   rc;
    personalize_segment_t *segment;

    if (!json_is_string(json)) {
        return personalize_fault(c, "must be a text");
    }

    if (json_string_length(json) > PERSONALIZE_CONTENT_MAX) {
        return personalize_fault(c, "%zu bytes, at most %d",
            json_string_length(json), PERSONALIZE_CONTENT_MAX);
    }

    rc = personalize_copy(c, json, &text);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    n = count_tags(text) + 1;
    segment = personalize_alloc(c, n * sizeof(personalize_segment_t));
    if (segment == NULL) {
        return PERSONALIZE_NOMEM;
    }

    content->segments = segment;
    p = text.data;
    end = p + text.len;

    for (;; segment++) {
        tag = find_pair(p, end, '{');
        segment->literal.data = p;
        segment->literal.len = (size_t) ((tag != NULL ? tag : end) - p);
        segment->attribute = -1;

        if (tag == NULL) {
            break;
        }

        p = tag;
        rc = compile_tag(c, &p, text, &segment->attribute);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
    }

    content->nsegments = (size_t) (segment - content->segments) + 1;

    return PERSONALIZE_OK;
}


/* ---- writing ------------------------------------------------------------ */


static void
write_bytes(writer_t *w, const char *data, size_t len)
{
    if (len > 0 && w->len <= w->size && len <= w->size - w->len) {
        memcpy(w->buf + w->len, data, len);
    }

    w->len += len;
}


static void
write_escaped(writer_t *w, personalize_str_t text)
{
    static const struct {
        const char *text;
        size_t      len;
    } entities[] = {
        {"&amp;", 5}, {"&lt;", 4}, {"&gt;", 4}, {"&quot;", 6}, {"&#39;", 5}};
    size_t   i, plain;
    unsigned which;

    plain = 0;

    for (i = 0; i < text.len; i++) {
        switch (text.data[i]) {
        case '&':
            which = 0;
            break;
        case '<':
            which = 1;
            break;
        case '>':
            which = 2;
            break;
        case '"':
            which = 3;
            break;
        case '\'':
            which = 4;
            break;
        default:
            continue;
        }

        write_bytes(w, text.data + plain, i - plain);
        write_bytes(w, entities[which].text, entities[which].len);
        plain = i + 1;
    }

    if (plain < text.len) {
        write_bytes(w, text.data + plain, text.len - plain);
    }
}


static void
write_value(writer_t *w, const personalize_value_t *value)
{
    char              buf[PERSONALIZE_NUMBER_MAX];
    size_t            pos, n;
    personalize_str_t element;

    switch (value->type) {

    case PERSONALIZE_BOOL:
        if (value->number != 0) {
            write_bytes(w, "true", 4);
        } else {
            write_bytes(w, "false", 5);
        }
        break;

    case PERSONALIZE_NUMBER:
        n = personalize_number_text(value->number, buf);
        write_bytes(w, buf, n);
        break;

    case PERSONALIZE_TEXT:
        write_escaped(w, value->text);
        break;

    case PERSONALIZE_LIST:
        pos = 0;
        n = 0;

        while (personalize_list_next(value->text, &pos, &element)) {
            if (n++ > 0) {
                write_bytes(w, ", ", 2);
            }
            write_escaped(w, element);
        }
        break;

    case PERSONALIZE_OBJECT: /* has no text */
    case PERSONALIZE_ABSENT:
        break;
    }
}


personalize_result_e
personalize_render(const personalize_decision_t *decision,
    const personalize_request_t *request, char *buf, size_t size, size_t *len)
{
    size_t                       i;
    writer_t                     w = {buf, size, 0};
    personalize_value_t          value;
    const personalize_content_t *content = decision->content;
    const personalize_segment_t *segment;

    for (i = 0; i < content->nsegments; i++) {
        segment = &content->segments[i];
        write_bytes(&w, segment->literal.data, segment->literal.len);

        if (segment->attribute >= 0) {
            memset(&value, 0, sizeof(value));
            request->get(request->ctx, (unsigned) segment->attribute, &value);
            write_value(&w, &value);
        }
    }

    *len = w.len;

    return w.len > size ? PERSONALIZE_FULL : PERSONALIZE_OK;
}
