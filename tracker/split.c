/*
 * split.c - cuts what a client library sends into events, as it arrives.
 *
 * The body is one object: {"batch":[…], "sentAt":…}, or a single event.  The
 * splitter finds where the elements of the list and the other members begin
 * and end.  It keeps a state of some bytes and no text: the caller holds the
 * body, which may come in any pieces and may move between calls, so results
 * are offsets.
 *
 * It looks at brackets, quotes and commas only.  Whether a piece is JSON is
 * for tracker_json_clean to say; a body that is no JSON is caught there or
 * here, and never taken for another one, since a bracket in a string is not
 * counted and nothing else can hide one.
 */

#include "tracker.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


enum {
    SPLIT_START = 0,
    SPLIT_FIRST_KEY, /* a key or the end */
    SPLIT_KEY,
    SPLIT_IN_KEY,
    SPLIT_COLON,
    SPLIT_VALUE, /* its first byte is due */
    SPLIT_IN_VALUE,
    SPLIT_COMMA,
    SPLIT_FIRST_ELEMENT, /* an element or the end */
    SPLIT_ELEMENT,
    SPLIT_IN_ELEMENT,
    SPLIT_ELEMENT_COMMA,
    SPLIT_END
};


void
tracker_split_init(tracker_split_t *split, const char *list)
{
    memset(split, 0, sizeof(*split));
    split->list = list;
    split->list_len = strlen(list);
}


int
tracker_split_single(const tracker_split_t *split)
{
    return !split->listed;
}


static int
split_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}


/* The next quote or backslash behind p, or where to look for it. */
static inline const char *
split_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    __m128i  bytes;
    unsigned mask;

    while (end - p >= 16) {
        bytes = _mm_loadu_si128((const __m128i *) (const void *) p);
        mask = (unsigned) _mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        if (mask != 0) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
#endif

    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/* To the end of a string, behind its quote: 1; 0: it goes on. */
static int
split_string(tracker_split_t *split, tracker_str_t text)
{
    const char *p, *end;

    p = text.data + split->pos;
    end = text.data + text.len;

    while (p < end) {
        if (split->escape) {
            split->escape = 0;

        } else if (*p == '\\') {
            split->escape = 1;

        } else if (*p == '"') {
            split->pos = (size_t) (p + 1 - text.data);
            return 1;

        } else {
            p = split_plain(p, end);
            continue;
        }

        p++;
    }

    split->pos = text.len;

    return 0;
}


/* To the end of a value: OK, its last byte is before pos. */
static tracker_result_e
split_value(tracker_split_t *split, tracker_str_t text)
{
    char c;

    for (;;) {
        if (split->string) {
            if (!split_string(split, text)) {
                return TRACKER_AGAIN;
            }

            split->string = 0;
            if (split->depth == 0) {
                return TRACKER_OK;
            }
        }

        if (split->pos == text.len) {
            return TRACKER_AGAIN;
        }

        c = text.data[split->pos];

        switch (c) {

        case '"':
            /* a string that touches a scalar is no JSON */
            if (split->depth == 0 && split->pos != split->value) {
                return TRACKER_INVALID;
            }

            split->string = 1;
            break;

        case '{':
        case '[':
            if (split->depth == 0 && split->pos != split->value) {
                return TRACKER_INVALID;
            }

            split->depth++;
            break;

        case '}':
        case ']':
            if (split->depth == 0) {
                return split->pos != split->value ? TRACKER_OK
                                                  : TRACKER_INVALID;
            }

            if (--split->depth == 0) {
                split->pos++;
                return TRACKER_OK;
            }
            break;

        default:
            if (split->depth == 0 && (c == ',' || split_is_blank(c))) {
                return split->pos != split->value ? TRACKER_OK
                                                  : TRACKER_INVALID;
            }
            break;
        }

        split->pos++;
    }
}


static tracker_result_e
split_piece(
    tracker_split_t *split, tracker_piece_e kind, tracker_piece_t *piece)
{
    piece->kind = kind;
    piece->key = split->key;
    piece->key_len = split->key_len;
    piece->value = split->value;
    piece->len = split->pos - split->value;

    split->state =
        kind == TRACKER_PIECE_EVENT ? SPLIT_ELEMENT_COMMA : SPLIT_COMMA;

    return TRACKER_OK;
}


/* One byte that belongs to the frame: the next state, or INVALID. */
static tracker_result_e
split_frame(tracker_split_t *split, tracker_str_t text, char c)
{
    switch (split->state) {

    case SPLIT_START:
        split->object = split->pos;
        split->state = SPLIT_FIRST_KEY;
        return c == '{' ? TRACKER_OK : TRACKER_INVALID;

    case SPLIT_FIRST_KEY:
    case SPLIT_KEY:
        if (c == '}' && split->state == SPLIT_FIRST_KEY) {
            split->state = SPLIT_END;
            return TRACKER_OK;
        }

        split->key = split->pos + 1;
        split->state = SPLIT_IN_KEY;
        return c == '"' ? TRACKER_OK : TRACKER_INVALID;

    case SPLIT_COLON:
        split->state = SPLIT_VALUE;
        return c == ':' ? TRACKER_OK : TRACKER_INVALID;

    case SPLIT_VALUE:
        if (c == '[' && split->key_len == split->list_len
            && memcmp(text.data + split->key, split->list, split->list_len)
                   == 0)
        {
            split->listed = 1;
            split->state = SPLIT_FIRST_ELEMENT;
            return TRACKER_OK;
        }
        break;

    case SPLIT_COMMA:
        split->state = c == ',' ? SPLIT_KEY : SPLIT_END;
        return c == ',' || c == '}' ? TRACKER_OK : TRACKER_INVALID;

    case SPLIT_FIRST_ELEMENT:
        if (c == ']') {
            split->state = SPLIT_COMMA;
            return TRACKER_OK;
        }
        break;

    case SPLIT_ELEMENT_COMMA:
        split->state = c == ',' ? SPLIT_ELEMENT : SPLIT_COMMA;
        return c == ',' || c == ']' ? TRACKER_OK : TRACKER_INVALID;

    case SPLIT_END:
        return TRACKER_INVALID;

    default:
        break;
    }

    /* the first byte of a value is looked at once more */
    split->value = split->pos--;
    split->depth = 0;
    split->string = 0;
    split->state =
        split->state == SPLIT_VALUE ? SPLIT_IN_VALUE : SPLIT_IN_ELEMENT;

    return TRACKER_OK;
}


tracker_result_e
tracker_split_next(
    tracker_split_t *split, tracker_str_t text, tracker_piece_t *piece)
{
    char             c;
    tracker_result_e rc;

    for (;;) {

        if (split->state == SPLIT_IN_VALUE || split->state == SPLIT_IN_ELEMENT)
        {
            rc = split_value(split, text);
            if (rc != TRACKER_OK) {
                return rc;
            }

            return split_piece(split,
                split->state == SPLIT_IN_ELEMENT ? TRACKER_PIECE_EVENT
                                                 : TRACKER_PIECE_MEMBER,
                piece);
        }

        if (split->state == SPLIT_IN_KEY) {
            if (!split_string(split, text)) {
                return TRACKER_AGAIN;
            }

            split->key_len = split->pos - 1 - split->key;
            split->state = SPLIT_COLON;
        }

        if (split->pos == text.len) {
            return split->state == SPLIT_END ? TRACKER_DECLINED : TRACKER_AGAIN;
        }

        c = text.data[split->pos];

        if (!split_is_blank(c)) {
            rc = split_frame(split, text, c);
            if (rc != TRACKER_OK) {
                return rc;
            }
        }

        split->pos++;
    }
}
