/*
 * extract.c - finds single values in forms and in JSON texts.
 *
 * A shop that is not to be changed still says what happens: in the fields of a
 * form that is sent, and in the JSON its own scripts get.  Both are looked at
 * after the answer has gone, in one pass and without allocation.
 *
 * The walk through JSON keeps a stack of open brackets and, for every path,
 * how many of its steps the place it stands at has matched; so sixteen paths
 * cost little more than one.  Names are compared as they are written: one that
 * the text escapes is not found.  The walk checks what it needs to find its
 * way and no more, because nothing it passes over is kept.
 */

#include "tracker.h"

#include <string.h>


#define EXTRACT_DEPTH     32
#define EXTRACT_INDEX_MAX 9999

typedef struct {
    const char           *p;
    const char           *end;
    const tracker_path_t *paths;
    tracker_str_t        *values;
    unsigned              n;
    unsigned              depth;                /* open brackets */
    char                  kind[EXTRACT_DEPTH];  /* { or [ */
    uint32_t              index[EXTRACT_DEPTH]; /* of an array's element */
    unsigned              matched[TRACKER_EXTRACT_PATHS]; /* steps */
} extract_walk_t;


/* ---- forms ---- */

static int
form_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}


/* One character of a form; moves *p, which is not at the end. */
static char
form_char(const char **p, const char *end)
{
    int         high, low;
    const char *s;

    s = *p;
    *p = s + 1;

    if (*s == '+') {
        return ' ';
    }

    if (*s != '%' || end - s < 3) {
        return *s;
    }

    high = form_hex(s[1]);
    low = form_hex(s[2]);

    if (high < 0 || low < 0) {
        return *s;
    }

    *p = s + 3;

    return (char) (high << 4 | low);
}


static int
form_equals(const char *p, const char *end, tracker_str_t field)
{
    size_t n;

    for (n = 0; p < end; n++) {
        if (n == field.len || form_char(&p, end) != field.data[n]) {
            return 0;
        }
    }

    return n == field.len;
}


tracker_result_e
tracker_form_value(tracker_str_t form, tracker_str_t field, char *buf,
    size_t size, size_t *len)
{
    const char *p, *end, *stop, *equals;

    if (form.data == NULL) {
        return TRACKER_DECLINED;
    }

    end = form.data + form.len;

    for (p = form.data; p < end; p = stop + 1) {

        stop = memchr(p, '&', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }

        equals = memchr(p, '=', (size_t) (stop - p));
        if (equals == NULL || !form_equals(p, equals, field)) {
            continue;
        }

        for (p = equals + 1, *len = 0; p < stop; ++*len) {
            if (*len == size) {
                return TRACKER_FULL;
            }
            buf[*len] = form_char(&p, stop);
        }

        return TRACKER_OK;
    }

    return TRACKER_DECLINED;
}


/* ---- paths ---- */

static int
path_is_name(char c)
{
    return c != '.' && c != '[' && c != ']' && c != '"' && c != '\\'
           && (unsigned char) c > 0x20;
}


static tracker_result_e
path_index(const char **p, const char *end, uint32_t *index)
{
    const char *start;

    *index = 0;

    for (start = ++*p; *p < end && **p >= '0' && **p <= '9'; ++*p) {
        *index = *index * 10 + (uint32_t) (**p - '0');
        if (*index > EXTRACT_INDEX_MAX) {
            return TRACKER_INVALID;
        }
    }

    if (*p == start || *p == end || **p != ']') {
        return TRACKER_INVALID;
    }

    ++*p;

    return TRACKER_OK;
}


static tracker_result_e
path_step(const char **p, const char *end, tracker_step_t *step)
{
    step->key.data = NULL;
    step->key.len = 0;
    step->index = 0;

    if (**p == '[') {
        return path_index(p, end, &step->index);
    }

    step->key.data = *p;

    while (*p < end && path_is_name(**p)) {
        ++*p;
    }

    step->key.len = (size_t) (*p - step->key.data);

    return step->key.len > 0 ? TRACKER_OK : TRACKER_INVALID;
}


tracker_result_e
tracker_path_parse(tracker_path_t *path, tracker_str_t text)
{
    int         first;
    const char *p, *end;

    path->nsteps = 0;

    if (text.data == NULL) {
        return TRACKER_INVALID;
    }

    p = text.data;
    end = p + text.len;
    first = 1;

    if (p < end && *p == '$') {
        p++;
        first = 0;
    }

    while (p < end) {

        /* a dot before each name but the first, which may do without */
        if (*p != '[' && !first) {
            if (*p != '.' || ++p == end || *p == '[') {
                return TRACKER_INVALID;
            }
        }

        if (path->nsteps == TRACKER_PATH_STEPS
            || path_step(&p, end, &path->steps[path->nsteps]) != TRACKER_OK)
        {
            return TRACKER_INVALID;
        }

        path->nsteps++;
        first = 0;
    }

    return path->nsteps > 0 ? TRACKER_OK : TRACKER_INVALID;
}


/* ---- JSON ---- */

static void
extract_blanks(extract_walk_t *in)
{
    while (in->p < in->end
           && (*in->p == ' ' || *in->p == '\t' || *in->p == '\n'
               || *in->p == '\r'))
    {
        in->p++;
    }
}


/* Passes a string; *text is what stands between its quotes. */
static tracker_result_e
extract_string(extract_walk_t *in, tracker_str_t *text)
{
    const char *quote, *p;

    if (in->p == in->end || *in->p != '"') {
        return TRACKER_INVALID;
    }

    text->data = ++in->p;

    for (;;) {
        quote = memchr(in->p, '"', (size_t) (in->end - in->p));
        if (quote == NULL) {
            return TRACKER_INVALID;
        }

        in->p = quote + 1;

        /* an odd number of backslashes makes it a character of the text */
        for (p = quote; p > text->data && p[-1] == '\\'; p--) { /* void */
        }

        if ((quote - p) % 2 == 0) {
            text->len = (size_t) (quote - text->data);
            return TRACKER_OK;
        }
    }
}


/* The walk has come to a member or element: which paths go on here? */
static void
extract_enter(extract_walk_t *in, tracker_str_t key)
{
    unsigned              i, level;
    const tracker_step_t *step;

    level = in->depth - 1;

    for (i = 0; i < in->n; i++) {

        if (in->matched[i] > level) {
            in->matched[i] = level; /* of the neighbour before */
        }

        if (in->matched[i] < level || in->paths[i].nsteps <= level) {
            continue;
        }

        step = &in->paths[i].steps[level];

        if (in->kind[level] == '['
                ? step->key.data == NULL && step->index == in->index[level]
                : step->key.data != NULL && step->key.len == key.len
                      && memcmp(step->key.data, key.data, key.len) == 0)
        {
            in->matched[i] = level + 1;
        }
    }
}


/* A scalar that ends at in->p; the first one at a place counts. */
static void
extract_take(extract_walk_t *in, const char *start)
{
    unsigned i;

    for (i = 0; i < in->n; i++) {
        if (in->paths[i].nsteps == in->depth && in->matched[i] == in->depth
            && in->values[i].data == NULL)
        {
            in->values[i].data = start;
            in->values[i].len = (size_t) (in->p - start);
        }
    }
}


static tracker_result_e
extract_scalar(extract_walk_t *in)
{
    size_t        len;
    const char   *start;
    tracker_str_t text;

    start = in->p;

    if (*start == '"') {
        if (extract_string(in, &text) != TRACKER_OK) {
            return TRACKER_INVALID;
        }

        extract_take(in, start);
        return TRACKER_OK;
    }

    while (in->p < in->end
           && ((*in->p >= 'a' && *in->p <= 'z')
               || (*in->p >= '0' && *in->p <= '9') || *in->p == '+'
               || *in->p == '-' || *in->p == '.' || *in->p == 'E'))
    {
        in->p++;
    }

    len = (size_t) (in->p - start);

    if (len == 4 && memcmp(start, "null", 4) == 0) {
        return TRACKER_OK;
    }

    if ((len == 4 && memcmp(start, "true", 4) == 0)
        || (len == 5 && memcmp(start, "false", 5) == 0)
        || (len > 0 && (*start == '-' || (*start >= '0' && *start <= '9'))))
    {
        extract_take(in, start);
        return TRACKER_OK;
    }

    return TRACKER_INVALID;
}


/* A member's name and colon, or the next element of an array. */
static tracker_result_e
extract_next(extract_walk_t *in)
{
    tracker_str_t key;

    key.data = NULL;
    key.len = 0;

    extract_blanks(in);

    if (in->kind[in->depth - 1] == '{') {

        if (extract_string(in, &key) != TRACKER_OK) {
            return TRACKER_INVALID;
        }

        extract_blanks(in);

        if (in->p == in->end || *in->p++ != ':') {
            return TRACKER_INVALID;
        }
    }

    extract_enter(in, key);

    return TRACKER_OK;
}


/* An open bracket; *closed: it was shut at once. */
static tracker_result_e
extract_open(extract_walk_t *in, int *closed)
{
    if (in->depth == EXTRACT_DEPTH) {
        return TRACKER_INVALID;
    }

    in->kind[in->depth] = *in->p;
    in->index[in->depth] = 0;
    in->p++;
    extract_blanks(in);

    *closed =
        in->p < in->end && *in->p == (in->kind[in->depth] == '{' ? '}' : ']');

    if (*closed) {
        in->p++;
        return TRACKER_OK;
    }

    in->depth++;

    return extract_next(in);
}


/* Behind a value: closes brackets, or goes on to the next one. */
static tracker_result_e
extract_after(extract_walk_t *in)
{
    char kind;

    while (in->depth > 0) {

        extract_blanks(in);
        if (in->p == in->end) {
            return TRACKER_INVALID;
        }

        kind = in->kind[in->depth - 1];

        if (*in->p == ',') {
            in->p++;
            in->index[in->depth - 1]++;
            return extract_next(in);
        }

        if (*in->p++ != (kind == '{' ? '}' : ']')) {
            return TRACKER_INVALID;
        }

        in->depth--;
    }

    return TRACKER_OK;
}


static tracker_result_e
extract_all(extract_walk_t *in)
{
    int              closed;
    tracker_result_e rc;

    do {
        extract_blanks(in);
        if (in->p == in->end) {
            return TRACKER_INVALID;
        }

        if (*in->p == '{' || *in->p == '[') {
            rc = extract_open(in, &closed);
            if (rc == TRACKER_OK && !closed) {
                continue;
            }

        } else {
            rc = extract_scalar(in);
        }

        if (rc == TRACKER_OK) {
            rc = extract_after(in);
        }

        if (rc != TRACKER_OK) {
            return rc;
        }

    } while (in->depth > 0);

    extract_blanks(in);

    return in->p == in->end ? TRACKER_OK : TRACKER_INVALID;
}


tracker_result_e
tracker_json_extract(tracker_str_t json, const tracker_path_t *paths,
    unsigned n, tracker_str_t *values)
{
    extract_walk_t walk;

    memset(values, 0, n * sizeof(tracker_str_t));

    if (json.data == NULL || n > TRACKER_EXTRACT_PATHS) {
        return TRACKER_INVALID;
    }

    walk.p = json.data;
    walk.end = json.data + json.len;
    walk.paths = paths;
    walk.values = values;
    walk.n = n;
    walk.depth = 0;
    memset(walk.matched, 0, sizeof(walk.matched));

    if (extract_all(&walk) != TRACKER_OK) {
        memset(values, 0, n * sizeof(tracker_str_t));
        return TRACKER_INVALID;
    }

    return TRACKER_OK;
}
