/*
 * clean.c - turns JSON of strangers into JSON that PostgreSQL takes.
 *
 * RFC 8259 allows what jsonb refuses: the NUL escape, lone surrogates, numbers
 * beyond any type.  In a COPY one such value takes the whole batch with it, so
 * they are replaced before anything is stored.  Bytes that are not UTF-8 are
 * replaced as well; what is no JSON at all is told from that, and refused.
 *
 * Blanks go.  Nothing recurses: the kinds of the open brackets are the bits of
 * one word.
 */

#include "tracker.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define CLEAN_NUMBER_MAX   40  /* bytes of a number that stays one */
#define CLEAN_EXPONENT_MAX 300 /* a double holds it */
#define CLEAN_FFFD         "\xef\xbf\xbd"

typedef struct {
    const char *p;
    const char *end;
    char       *out;
    char       *out_end;
    unsigned    replaced;
    unsigned    full;
} clean_t;


static inline void
clean_put(clean_t *c, const char *data, size_t len)
{
    if ((size_t) (c->out_end - c->out) < len) {
        c->full = 1;
        return;
    }

    memcpy(c->out, data, len);
    c->out += len;
}


static inline void
clean_blanks(clean_t *c)
{
    while (c->p < c->end
           && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
    {
        c->p++;
    }
}


/* Copies what stands for itself in a string. */
static inline void
clean_copy(clean_t *c)
{
    uint8_t byte;
#ifdef __SSE2__
    __m128i  bytes, low, quote, slash;
    unsigned mask, n;

    while (c->end - c->p >= 16 && c->out_end - c->out >= 16) {
        bytes = _mm_loadu_si128((const __m128i *) (const void *) c->p);
        _mm_storeu_si128((__m128i *) (void *) c->out, bytes);

        /* signed: 0x80-0xff are less than a blank too */
        low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        mask = (unsigned) _mm_movemask_epi8(
            _mm_or_si128(low, _mm_or_si128(quote, slash)));

        if (mask != 0) {
            n = (unsigned) __builtin_ctz(mask);
            c->p += n;
            c->out += n;
            return;
        }

        c->p += 16;
        c->out += 16;
    }
#endif

    while (c->p < c->end && c->out < c->out_end) {
        byte = (uint8_t) *c->p;
        if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') {
            return;
        }
        *c->out++ = *c->p++;
    }
}


static int
clean_hex4(const char *p, const char *end)
{
    int      n, digit;
    unsigned i;

    if (end - p < 4) {
        return -1;
    }

    for (i = 0, n = 0; i < 4; i++) {
        digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
                : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                             : -1;
        if (digit < 0) {
            return -1;
        }
        n = n << 4 | digit;
    }

    return n;
}


static void
clean_replace(clean_t *c)
{
    clean_put(c, CLEAN_FFFD, sizeof(CLEAN_FFFD) - 1);
    c->replaced++;
}


/* Behind a backslash. */
static tracker_result_e
clean_escape(clean_t *c)
{
    int    high, low;
    size_t len;

    if (c->p[1] != 'u') {
        if (memchr("\"\\/bfnrt", c->p[1], 8) == NULL) {
            return TRACKER_INVALID;
        }

        clean_put(c, c->p, 2);
        c->p += 2;
        return TRACKER_OK;
    }

    high = clean_hex4(c->p + 2, c->end);
    if (high < 0) {
        return TRACKER_INVALID;
    }

    len = 6;
    low = 0;

    if (high >= 0xd800 && high <= 0xdbff && c->end - c->p >= 12
        && c->p[6] == '\\' && c->p[7] == 'u')
    {
        low = clean_hex4(c->p + 8, c->end);
        if (low < 0) {
            return TRACKER_INVALID;
        }
    }

    if (low >= 0xdc00 && low <= 0xdfff) {
        len = 12;

    } else if (high == 0 || (high >= 0xd800 && high <= 0xdfff)) {
        clean_replace(c);
        c->p += 6;
        return TRACKER_OK;
    }

    clean_put(c, c->p, len);
    c->p += len;

    return TRACKER_OK;
}


static tracker_result_e
clean_string(clean_t *c)
{
    size_t n;

    if (c->p == c->end || *c->p != '"') {
        return TRACKER_INVALID;
    }

    clean_put(c, c->p++, 1);

    while (!c->full) {
        clean_copy(c);

        if (c->p == c->end) {
            return TRACKER_INVALID;
        }

        if (*c->p == '"') {
            clean_put(c, c->p++, 1);
            return TRACKER_OK;
        }

        if (*c->p == '\\') {
            if (c->end - c->p < 2 || clean_escape(c) != TRACKER_OK) {
                return TRACKER_INVALID;
            }

        } else if ((uint8_t) *c->p >= 0x80) {
            n = tracker_utf8_len(c->p, c->end);
            if (n == 0) {
                clean_replace(c);
                c->p++;
            } else {
                clean_put(c, c->p, n);
                c->p += n;
            }

        } else if ((uint8_t) *c->p < 0x20) {
            return TRACKER_INVALID;

        } else {
            c->full = c->out == c->out_end;
        }
    }

    return TRACKER_FULL;
}


static size_t
clean_digits(const char *p, const char *end)
{
    const char *start;

    for (start = p; p < end && *p >= '0' && *p <= '9'; p++) {
        /* void */
    }

    return (size_t) (p - start);
}


static tracker_result_e
clean_number(clean_t *c)
{
    size_t      n;
    unsigned    exponent;
    const char *p, *end;

    p = c->p;
    end = c->end;
    exponent = 0;

    p += p < end && *p == '-';
    n = p < end && *p == '0' ? 1 : clean_digits(p, end);
    if (n == 0) {
        return TRACKER_INVALID;
    }
    p += n;

    if (p < end && *p == '.') {
        p++;
        n = clean_digits(p, end);
        if (n == 0) {
            return TRACKER_INVALID;
        }
        p += n;
    }

    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        n = clean_digits(p, end);
        if (n == 0) {
            return TRACKER_INVALID;
        }

        for (/* void */; n > 0; n--, p++) {
            if (exponent <= CLEAN_EXPONENT_MAX) {
                exponent = exponent * 10 + (unsigned) (*p - '0');
            }
        }
    }

    n = (size_t) (p - c->p);

    if (n > CLEAN_NUMBER_MAX || exponent > CLEAN_EXPONENT_MAX) {
        clean_put(c, "\"", 1);
        clean_put(c, c->p, n);
        clean_put(c, "\"", 1);
    } else {
        clean_put(c, c->p, n);
    }

    c->p = p;

    return TRACKER_OK;
}


static tracker_result_e
clean_word(clean_t *c, const char *word, size_t len)
{
    if ((size_t) (c->end - c->p) < len || memcmp(c->p, word, len) != 0) {
        return TRACKER_INVALID;
    }

    clean_put(c, word, len);
    c->p += len;

    return TRACKER_OK;
}


static tracker_result_e
clean_scalar(clean_t *c)
{
    switch (*c->p) {
    case '"':
        return clean_string(c);
    case 't':
        return clean_word(c, "true", 4);
    case 'f':
        return clean_word(c, "false", 5);
    case 'n':
        return clean_word(c, "null", 4);
    default:
        return clean_number(c);
    }
}


static tracker_result_e
clean_key(clean_t *c)
{
    tracker_result_e rc;

    clean_blanks(c);
    rc = clean_string(c);
    if (rc != TRACKER_OK) {
        return rc;
    }

    clean_blanks(c);
    if (c->p == c->end || *c->p != ':') {
        return TRACKER_INVALID;
    }

    clean_put(c, c->p++, 1);

    return TRACKER_OK;
}


/* Behind a value: closes what ends here, passes a comma. */
static tracker_result_e
clean_close(clean_t *c, uint32_t objects, unsigned *depth)
{
    unsigned is_object;

    while (*depth > 0) {
        is_object = objects >> (*depth - 1) & 1;
        clean_blanks(c);

        if (c->p == c->end) {
            return TRACKER_INVALID;
        }

        if (*c->p == ',') {
            clean_put(c, c->p++, 1);
            return is_object ? clean_key(c) : TRACKER_OK;
        }

        if (*c->p != (is_object ? '}' : ']')) {
            return TRACKER_INVALID;
        }

        clean_put(c, c->p++, 1);
        --*depth;
    }

    return TRACKER_OK;
}


static tracker_result_e
clean_open(clean_t *c, uint32_t *objects, unsigned *depth)
{
    char bracket;

    if (*depth == TRACKER_CLEAN_DEPTH) {
        return TRACKER_DECLINED;
    }

    bracket = *c->p;
    *objects &= ~(UINT32_C(1) << *depth);
    *objects |= (uint32_t) (bracket == '{') << *depth;
    ++*depth;

    clean_put(c, c->p++, 1);
    clean_blanks(c);

    if (c->p < c->end && *c->p == (bracket == '{' ? '}' : ']')) {
        return TRACKER_AGAIN; /* nothing in it */
    }

    return bracket == '{' ? clean_key(c) : TRACKER_OK;
}


tracker_result_e
tracker_json_clean(
    tracker_str_t text, char *buf, size_t size, size_t *len, unsigned *replaced)
{
    clean_t          c;
    uint32_t         objects;
    unsigned         depth;
    tracker_result_e rc;

    c.p = text.data;
    c.end = text.data + text.len;
    c.out = buf;
    c.out_end = buf + size;
    c.replaced = 0;
    c.full = 0;
    objects = 0;
    depth = 0;

    do {
        clean_blanks(&c);
        if (c.p == c.end) {
            return TRACKER_INVALID;
        }

        if (*c.p == '{' || *c.p == '[') {
            rc = clean_open(&c, &objects, &depth);
            if (rc == TRACKER_OK) {
                continue;
            }
            if (rc == TRACKER_AGAIN) {
                rc = TRACKER_OK;
            }

        } else {
            rc = clean_scalar(&c);
        }

        if (rc == TRACKER_OK) {
            rc = clean_close(&c, objects, &depth);
        }
        if (rc != TRACKER_OK) {
            return c.full ? TRACKER_FULL : rc;
        }

    } while (depth > 0);

    clean_blanks(&c);
    if (c.p != c.end) {
        return TRACKER_INVALID;
    }

    *len = (size_t) (c.out - buf);
    *replaced += c.replaced;

    return c.full ? TRACKER_FULL : TRACKER_OK;
}
