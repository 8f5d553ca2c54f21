/*
 * template.c - compiles a variant's content, a Mustache template.
 *
 * Of the Mustache specification: comments, delimiters, interpolation, sections
 * and inverted sections, with its rules for tags that stand alone on a line.
 * Partials are refused, as a content has no other file to include; so are tags
 * of its optional modules.  What is wrong is a fault when the set is loaded,
 * never a surprise on a page.
 *
 * A value is escaped unless {{{name}}} or {{&name}} says otherwise, and then
 * the name must end in "_html": whoever reviews a content sees by the name
 * that a value is markup, and render.c lets only the warehouse give it.
 */

#include "set.h"


#define DELIMITER_MAX 8 /* bytes */
#define RAW_SUFFIX    "_html"

typedef struct {
    uint32_t          segment;
    uint32_t          at;
    personalize_str_t name;
    unsigned          inverted;
} open_t;

typedef struct {
    personalize_compiler_t *c;
    personalize_str_t       text;
    const char             *p; /* what comes next */
    personalize_str_t       opening;
    personalize_str_t       closing;
    char                    delimiters[2][DELIMITER_MAX + 1];
    personalize_segment_t  *segments; /* NULL: they are only counted */
    uint32_t                n;
    unsigned                depth;
    open_t                  open[PERSONALIZE_SECTIONS_MAX];
} parser_t;

typedef struct {
    const char       *begin; /* of the tag, and where it ends */
    const char       *end;
    size_t            at; /* bytes from the beginning of the content */
    char              sign;
    personalize_str_t name;
} tag_t;


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

    if (tag.len == 1 && tag.data[0] == '.') {
        return 1;
    }

    if (tag.len == 0 || strchr("#^/!>&={|<$*.@", tag.data[0]) != NULL) {
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


static int
ends_raw(personalize_str_t name)
{
    size_t n = sizeof(RAW_SUFFIX) - 1;

    return name.len > n && memcmp(name.data + name.len - n, RAW_SUFFIX, n) == 0;
}


/* ---- tags --------------------------------------------------------------- */


static personalize_result_e
tag_fault(const parser_t *parser, const tag_t *tag, const char *why)
{
    size_t len = (size_t) (tag->end - tag->begin);

    return personalize_fault(parser->c, "\"%.*s\" at byte %zu %s",
        (int) (len < 64 ? len : 64), tag->begin, tag->at, why);
}


/* Cuts out the tag that begins at tag->begin. */
static personalize_result_e
tag_read(const parser_t *parser, tag_t *tag)
{
    char        closing[DELIMITER_MAX + 2];
    size_t      n;
    const char *p, *end = parser->text.data + parser->text.len, *stop;

    tag->at = (size_t) (tag->begin - parser->text.data);
    tag->end = tag->begin;
    tag->name.data = tag->begin;
    tag->name.len = 0;
    p = tag->begin + parser->opening.len;
    n = 0;
    tag->sign = '\0';

    if (p < end && strchr("#^/!>&={", *p) != NULL && *p != '\0') {
        tag->sign = *p++;
    }

    if (tag->sign == '{') {
        closing[n++] = '}';
    } else if (tag->sign == '=') {
        closing[n++] = '=';
    }

    memcpy(closing + n, parser->closing.data, parser->closing.len);
    n += parser->closing.len;

    stop = memmem(p, (size_t) (end - p), closing, n);
    if (stop == NULL) {
        return personalize_fault(parser->c,
            "\"%.*s\" at byte %zu is never closed by \"%.*s\"",
            (int) parser->opening.len, tag->begin, tag->at, (int) n, closing);
    }

    tag->end = stop + n;
    tag->name = trimmed(p, stop);

    return PERSONALIZE_OK;
}


/*
 * A tag that only steers and is alone on its line takes the line with it:
 * *begin and *end widen to it.
 */
static void
tag_alone(const parser_t *parser, const char **begin, const char **end)
{
    const char *from = *begin, *to = *end;
    const char *stop = parser->text.data + parser->text.len;

    while (from > parser->text.data && (from[-1] == ' ' || from[-1] == '\t')) {
        from--;
    }

    if (from > parser->text.data && from[-1] != '\n') {
        return;
    }

    while (to < stop && (*to == ' ' || *to == '\t')) {
        to++;
    }

    if (to < stop) {
        if (stop - to > 1 && to[0] == '\r' && to[1] == '\n') {
            to++;
        }
        if (*to != '\n') {
            return;
        }
        to++;
    }

    *begin = from;
    *end = to;
}


/* "{{=<% %>=}}" */
static personalize_result_e
tag_delimiters(parser_t *parser, const tag_t *tag)
{
    size_t            i;
    const char       *p, *end = tag->name.data + tag->name.len;
    personalize_str_t part[2];

    for (p = tag->name.data; p < end && !is_space(*p); p++) { /* void */
    }

    part[0].data = tag->name.data;
    part[0].len = (size_t) (p - tag->name.data);
    part[1] = trimmed(p, end);

    for (i = 0; i < 2; i++) {
        if (part[i].len == 0 || part[i].len > DELIMITER_MAX
            || memchr(part[i].data, '=', part[i].len) != NULL
            || memchr(part[i].data, ' ', part[i].len) != NULL)
        {
            return tag_fault(parser, tag,
                "must name two delimiters of 1 to 8 bytes, without \"=\"");
        }

        memcpy(parser->delimiters[i], part[i].data, part[i].len);
    }

    parser->opening.data = parser->delimiters[0];
    parser->opening.len = part[0].len;
    parser->closing.data = parser->delimiters[1];
    parser->closing.len = part[1].len;

    return PERSONALIZE_OK;
}


/* ---- segments ----------------------------------------------------------- */


static personalize_result_e
put(parser_t *parser, const char *literal, size_t len,
    personalize_write_e write, personalize_str_t name)
{
    personalize_segment_t *segment;

    if (parser->segments == NULL) {
        parser->n++;
        return PERSONALIZE_OK;
    }

    segment = &parser->segments[parser->n++];
    memset(segment, 0, sizeof(personalize_segment_t));
    segment->literal.data = literal;
    segment->literal.len = len;
    segment->write = (uint8_t) write;
    segment->name = name;

    if (write == PERSONALIZE_WRITE_NONE || write == PERSONALIZE_WRITE_CLOSE) {
        return PERSONALIZE_OK;
    }

    return personalize_intern(parser->c, name, &segment->attribute);
}


static personalize_result_e
put_open(parser_t *parser, const tag_t *tag, size_t len)
{
    open_t *open;

    if (parser->depth == PERSONALIZE_SECTIONS_MAX) {
        return tag_fault(parser, tag, "is a section in 16 others");
    }

    open = &parser->open[parser->depth++];
    open->segment = parser->n;
    open->at = (uint32_t) tag->at;
    open->name = tag->name;
    open->inverted = (tag->sign == '^');

    return put(parser, parser->p, len,
        open->inverted ? PERSONALIZE_WRITE_INVERT : PERSONALIZE_WRITE_OPEN,
        tag->name);
}


static personalize_result_e
put_close(parser_t *parser, const tag_t *tag, size_t len)
{
    open_t *open;

    if (parser->depth == 0) {
        return tag_fault(parser, tag, "closes no section");
    }

    open = &parser->open[--parser->depth];

    if (!personalize_str_equal(open->name, tag->name)) {
        return personalize_fault(parser->c,
            "\"%.*s\" at byte %zu closes section \"%.*s\" of byte %u",
            (int) (tag->end - tag->begin < 64 ? tag->end - tag->begin : 64),
            tag->begin, tag->at,
            (int) (open->name.len < 64 ? open->name.len : 64), open->name.data,
            open->at);
    }

    if (parser->segments != NULL) {
        parser->segments[open->segment].target = parser->n;
    }

    return put(parser, parser->p, len,
        open->inverted ? PERSONALIZE_WRITE_NONE : PERSONALIZE_WRITE_CLOSE,
        tag->name);
}


static personalize_result_e
put_value(parser_t *parser, const tag_t *tag, size_t len)
{
    if (tag->sign == '\0') {
        return put(parser, parser->p, len, PERSONALIZE_WRITE_VALUE, tag->name);
    }

    if (parser->c->lenient) {
        return put(
            parser, parser->p, len, PERSONALIZE_WRITE_RAW_ANY, tag->name);
    }

    if (!ends_raw(tag->name)) {
        return tag_fault(parser, tag,
            "is not escaped: its name must end in \"_html\", or use \"{{\"");
    }

    return put(parser, parser->p, len, PERSONALIZE_WRITE_RAW, tag->name);
}


static personalize_result_e
put_tag(parser_t *parser, const tag_t *tag, size_t len)
{
    personalize_str_t none = {"", 0};

    switch (tag->sign) {

    case '!':
        return put(parser, parser->p, len, PERSONALIZE_WRITE_NONE, none);

    case '=':
        return put(parser, parser->p, len, PERSONALIZE_WRITE_NONE, none)
                       == PERSONALIZE_OK
                   ? tag_delimiters(parser, tag)
                   : PERSONALIZE_NOMEM;

    case '>':
        return tag_fault(parser, tag, "is a partial: write it out");

    default:
        break;
    }

    if (!is_path(tag->name)) {
        return tag_fault(parser, tag, "names no attribute");
    }

    switch (tag->sign) {

    case '#':
    case '^':
        return put_open(parser, tag, len);

    case '/':
        return put_close(parser, tag, len);

    default:
        return put_value(parser, tag, len);
    }
}


/* ---- the whole ---------------------------------------------------------- */


static personalize_result_e
parse(parser_t *parser)
{
    tag_t                tag;
    const char          *begin, *end = parser->text.data + parser->text.len;
    const char          *next;
    personalize_str_t    none = {"", 0};
    personalize_result_e rc;

    parser->p = parser->text.data;
    parser->opening.data = "{{";
    parser->closing.data = "}}";
    parser->opening.len = parser->closing.len = 2;
    parser->n = 0;
    parser->depth = 0;

    while ((tag.begin = memmem(parser->p, (size_t) (end - parser->p),
                parser->opening.data, parser->opening.len))
           != NULL)
    {
        rc = tag_read(parser, &tag);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }

        begin = tag.begin;
        next = tag.end;

        if (tag.sign != '\0' && strchr("#^/!=", tag.sign) != NULL) {
            tag_alone(parser, &begin, &next);
        }

        rc = put_tag(parser, &tag, (size_t) (begin - parser->p));
        if (rc != PERSONALIZE_OK) {
            return rc;
        }

        parser->p = next;
    }

    if (parser->depth > 0) {
        return personalize_fault(parser->c,
            "section \"%.*s\" at byte %u is never closed",
            (int) (parser->open[parser->depth - 1].name.len < 64
                       ? parser->open[parser->depth - 1].name.len
                       : 64),
            parser->open[parser->depth - 1].name.data,
            parser->open[parser->depth - 1].at);
    }

    return put(parser, parser->p, (size_t) (end - parser->p),
        PERSONALIZE_WRITE_NONE, none);
}


personalize_result_e
personalize_content_compile(personalize_compiler_t *c, const json_t *json,
    personalize_content_t *content)
{
    parser_t             parser;
    personalize_result_e rc;

    if (!json_is_string(json)) {
        return personalize_fault(c, "must be a text");
    }

    if (json_string_length(json) > PERSONALIZE_CONTENT_MAX) {
        return personalize_fault(c, "%zu bytes, at most %d",
            json_string_length(json), PERSONALIZE_CONTENT_MAX);
    }

    memset(&parser, 0, sizeof(parser_t));
    parser.c = c;

    rc = personalize_copy(c, json, &parser.text);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    rc = parse(&parser);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    parser.segments =
        personalize_alloc(c, parser.n * sizeof(personalize_segment_t));
    if (parser.segments == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = parse(&parser);
    content->segments = parser.segments;
    content->nsegments = parser.n;

    return rc;
}
