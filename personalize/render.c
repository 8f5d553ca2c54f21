/*
 * render.c - writes a variant's content for one visitor.
 *
 * The content is a list of segments (template.c), walked with a stack of
 * frames, one for each section that is open.  A name is looked for in the
 * objects of the frames, from the innermost one outwards, and then it is the
 * path of an attribute; of a dotted name the first part decides where.
 *
 * Nothing is allocated.  Lists in lists multiply, so every tag is a step, and
 * there are PERSONALIZE_WRITE_STEPS of them.
 *
 * What is not escaped must be named so by the content and come from the
 * warehouse: a member of an object, which only a profile has, or an attribute
 * "customer.…".  A query argument of such a name is escaped all the same.
 */

#include "set.h"


#define RAW_ROOT "customer."

typedef struct {
    char    *buf;
    size_t   size;
    size_t   len; /* bytes needed; grows past size, where nothing is written */
    unsigned raw; /* texts go out as they are */
} writer_t;

typedef struct {
    personalize_value_t value; /* of the section, or of the list's element */
    personalize_str_t   list;
    size_t              pos;  /* of the next element */
    size_t              body; /* the section's first segment */
    unsigned            is_list;
} frame_t;

typedef struct {
    const personalize_request_t *request;
    unsigned                     steps;
    unsigned                     nframes;
    frame_t                      frames[PERSONALIZE_SECTIONS_MAX];
} walk_t;


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
write_text(writer_t *w, personalize_str_t text)
{
    static const struct {
        const char *text;
        size_t      len;
    } entities[] = {
        {"&amp;", 5}, {"&lt;", 4}, {"&gt;", 4}, {"&quot;", 6}, {"&#39;", 5}};
    size_t   i, plain;
    unsigned which;

    if (w->raw) {
        write_bytes(w, text.data, text.len);
        return;
    }

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
        write_text(w, value->text);
        break;

    case PERSONALIZE_LIST:
        pos = 0;
        n = 0;

        while (personalize_list_next(value->text, &pos, &element)) {
            if (n++ > 0) {
                write_bytes(w, ", ", 2);
            }
            write_text(w, element);
        }
        break;

    case PERSONALIZE_OBJECT: /* has no text */
    case PERSONALIZE_ABSENT:
        break;
    }
}


/* ---- looking names up --------------------------------------------------- */


/* Looks in the frames; 1 if the name's first part is there. */
static int
find_framed(walk_t *walk, personalize_str_t name, personalize_value_t *value)
{
    unsigned            i;
    const char         *dot;
    personalize_str_t   first;
    personalize_value_t found;

    first = name;
    dot = memchr(name.data, '.', name.len);
    if (dot != NULL) {
        first.len = (size_t) (dot - name.data);
    }

    for (i = walk->nframes; i > 0; i--) {
        if (walk->frames[i - 1].value.type != PERSONALIZE_OBJECT) {
            continue;
        }

        walk->steps++;
        memset(&found, 0, sizeof(found));
        personalize_value_path(&walk->frames[i - 1].value, first, &found);

        if (found.type != PERSONALIZE_ABSENT) {
            personalize_value_path(&walk->frames[i - 1].value, name, value);
            return 1;
        }
    }

    return 0;
}


/* Gives the value of a segment's name; 1 if it may go out as it is. */
static int
look_up(walk_t *walk, const personalize_segment_t *segment,
    personalize_value_t *value)
{
    personalize_str_t name = segment->name;

    memset(value, 0, sizeof(personalize_value_t));

    if (name.len == 1 && name.data[0] == '.' && walk->nframes > 0) {
        *value = walk->frames[walk->nframes - 1].value;
        return 0;
    }

    if (find_framed(walk, name, value)) {
        return 1;
    }

    walk->request->get(walk->request->ctx, segment->attribute, value);

    return name.len > sizeof(RAW_ROOT) - 1
           && memcmp(name.data, RAW_ROOT, sizeof(RAW_ROOT) - 1) == 0;
}


static int
is_true(const personalize_value_t *value)
{
    switch (value->type) {

    case PERSONALIZE_BOOL:
    case PERSONALIZE_NUMBER:
        return value->number != 0;

    case PERSONALIZE_TEXT:
    case PERSONALIZE_LIST:
        return value->text.len > 0;

    case PERSONALIZE_OBJECT:
        return 1;

    case PERSONALIZE_ABSENT:
        break;
    }

    return 0;
}


/* ---- sections ----------------------------------------------------------- */


/* Opens a section that is true; 0: its list cannot be read. */
static int
open_section(walk_t *walk, const personalize_value_t *value, size_t body)
{
    frame_t *frame;

    /* template.c has counted: there is a frame */
    frame = &walk->frames[walk->nframes];
    frame->value = *value;
    frame->list = value->text;
    frame->pos = 0;
    frame->body = body;
    frame->is_list = value->type == PERSONALIZE_LIST;

    if (frame->is_list
        && !personalize_value_next(frame->list, &frame->pos, &frame->value))
    {
        return 0;
    }

    walk->nframes++;

    return 1;
}


/* Does what stands behind a segment's literal; returns the next segment. */
static size_t
step(walk_t *walk, writer_t *w, const personalize_segment_t *segment, size_t i)
{
    int                 from_us;
    frame_t            *frame;
    personalize_value_t value;

    walk->steps++;

    switch (segment->write) {

    case PERSONALIZE_WRITE_VALUE:
    case PERSONALIZE_WRITE_RAW:
    case PERSONALIZE_WRITE_RAW_ANY:
        from_us = look_up(walk, segment, &value);
        w->raw = segment->write == PERSONALIZE_WRITE_RAW_ANY
                 || (segment->write == PERSONALIZE_WRITE_RAW && from_us);
        write_value(w, &value);
        break;

    case PERSONALIZE_WRITE_OPEN:
        (void) look_up(walk, segment, &value);
        if (!is_true(&value) || !open_section(walk, &value, i + 1)) {
            return (size_t) segment->target + 1;
        }
        break;

    case PERSONALIZE_WRITE_INVERT:
        (void) look_up(walk, segment, &value);
        if (is_true(&value)) {
            return (size_t) segment->target + 1;
        }
        break;

    case PERSONALIZE_WRITE_CLOSE:
        /* template.c has paired them: there is one */
        if (walk->nframes == 0) {
            break;
        }

        frame = &walk->frames[walk->nframes - 1];
        if (frame->is_list
            && personalize_value_next(frame->list, &frame->pos, &frame->value))
        {
            return frame->body;
        }
        walk->nframes--;
        break;

    default:
        break;
    }

    return i + 1;
}


personalize_result_e
personalize_render(const personalize_decision_t *decision,
    const personalize_request_t *request, char *buf, size_t size, size_t *len)
{
    size_t                       i;
    walk_t                       walk;
    writer_t                     w = {buf, size, 0, 0};
    const personalize_content_t *content = decision->content;
    const personalize_segment_t *segment;

    /* frames are filled as they open: clearing them would cost more */
    walk.request = request;
    walk.steps = 0;
    walk.nframes = 0;

    for (i = 0; i < content->nsegments; /* void */) {
        segment = &content->segments[i];
        write_bytes(&w, segment->literal.data, segment->literal.len);

        if (segment->write == PERSONALIZE_WRITE_NONE) {
            i++;
            continue;
        }

        if (walk.steps > PERSONALIZE_WRITE_STEPS) {
            return PERSONALIZE_DECLINED;
        }

        i = step(&walk, &w, segment, i);
    }

    *len = w.len;

    return w.len > size ? PERSONALIZE_FULL : PERSONALIZE_OK;
}
