/*
 * json.c - writes JSON strings and steps through the top level of an object.
 *
 * Writing is on the path of every event: 16 (SSE2) or 8 bytes are looked at
 * and copied at once, and only a byte that needs care leaves that loop.
 *
 * Reading is for what others sent.  It is strict (RFC 8259): PostgreSQL's
 * jsonb refuses NUL and lone surrogates, so both are refused here, where the
 * sender can still be told.  Nothing is allocated and nothing recurses: the
 * kinds of the open brackets are the bits of one word, hence depth 32.
 */

#include "tracker.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define JSON_DEPTH 32 /* the object itself is the first level */
#define JSON_ONES  0x0101010101010101
#define JSON_TOPS  0x8080808080808080

typedef struct {
    const char *p;
    const char *end;
} json_input_t;


/* ---- UTF-8 ---- */

size_t
tracker_utf8_len(const char *text, const char *end)
{
    size_t         n, i, left;
    uint8_t        low, high;
    const uint8_t *p;

    p = (const uint8_t *) text;
    left = (size_t) (end - text);

    if (left == 0 || p[0] < 0x80) {
        return left != 0;
    }

    /* RFC 3629: the second byte's range shuts out overlong and surrogates. */
    low = 0x80;
    high = 0xbf;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;
        high = p[0] == 0xed ? 0x9f : 0xbf;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if (left < n || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


/* ---- writing ---- */

/* Not zero if one of eight bytes is a control, a quote, a backslash, not ASCII.
 * The lowest byte marked is right, those above it may be marked for nothing. */
static inline uint64_t
json_special8(uint64_t word)
{
    uint64_t control, quote, slash;

    control = (word - JSON_ONES * 0x20) & ~word;
    quote = word ^ JSON_ONES * '"';
    quote = (quote - JSON_ONES) & ~quote;
    slash = word ^ JSON_ONES * '\\';
    slash = (slash - JSON_ONES) & ~slash;

    return (control | quote | slash | word) & JSON_TOPS;
}


#ifdef __SSE2__

static inline unsigned
json_special16(__m128i bytes)
{
    __m128i quote, slash, low;

    quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

    /* A signed comparison catches 0x80-0xff along with the controls. */
    low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));

    return (unsigned) _mm_movemask_epi8(
        _mm_or_si128(low, _mm_or_si128(quote, slash)));
}

#endif


/* One character or byte that cannot be copied as it is; moves *src. */
static char *
json_escape(char *p, const char *end, const char **src, const char *stop,
    unsigned *replaced)
{
    static const char digits[] = "0123456789abcdef";
    char              text[6];
    size_t            n, used;
    const char       *from;
    uint8_t           c;

    c = (uint8_t) * *src;
    from = text;
    used = 1;
    n = 2;
    text[0] = '\\';

    if (c == '"' || c == '\\') {
        text[1] = (char) c;

    } else if (c >= 0x20) {
        from = *src;
        used = tracker_utf8_len(*src, stop);
        n = used;

    } else if (c == '\0') {
        used = 0;

    } else if (c >= '\b' && c <= '\r' && c != '\v') {
        text[1] = "btn?fr"[c - '\b'];

    } else {
        memcpy(text + 1, "u00", 3);
        text[4] = digits[c >> 4];
        text[5] = digits[c & 0x0f];
        n = 6;
    }

    if (used == 0) {
        from = "\xef\xbf\xbd"; /* U+FFFD */
        n = 3;
        used = 1;
        if (replaced != NULL) {
            ++*replaced;
        }
    }

    if ((size_t) (end - p) < n) {
        return NULL;
    }

    memcpy(p, from, n);
    *src += used;

    return p + n;
}


/* Copies what may be copied as it is, in large steps; moves *src. */
static inline char *
json_copy(char *p, const char *end, const char **src, const char *stop)
{
    uint64_t    word, special;
    const char *s;
#ifdef __SSE2__
    __m128i  bytes;
    unsigned mask, n;
#endif

    s = *src;

#ifdef __SSE2__

    while (stop - s >= 16 && end - p >= 16) {
        bytes = _mm_loadu_si128((const __m128i *) (const void *) s);
        _mm_storeu_si128((__m128i *) (void *) p, bytes);
        mask = json_special16(bytes);

        if (mask != 0) {
            n = (unsigned) __builtin_ctz(mask);
            *src = s + n;
            return p + n;
        }

        s += 16;
        p += 16;
    }

#endif

    while (stop - s >= 8 && end - p >= 8) {
        memcpy(&word, s, 8);
        special = json_special8(word);
        if (special != 0) {
            break;
        }

        memcpy(p, &word, 8);
        s += 8;
        p += 8;
    }

    while (s < stop && p < end) {
        if ((uint8_t) *s < 0x20 || (uint8_t) *s >= 0x80 || *s == '"'
            || *s == '\\') {
            break;
        }
        *p++ = *s++;
    }

    *src = s;

    return p;
}


char *
tracker_json_string(
    char *p, const char *end, tracker_str_t value, unsigned *replaced)
{
    const char *src, *stop;

    if (p == end) {
        return NULL;
    }

    *p++ = '"';

    src = value.data;
    stop = src;
    if (stop != NULL) {
        stop += value.len;
    }

    while (src < stop) {
        p = json_copy(p, end, &src, stop);

        if (src < stop) {
            p = json_escape(p, end, &src, stop, replaced);
            if (p == NULL) {
                return NULL;
            }
        }
    }

    if (p == end) {
        return NULL;
    }

    *p++ = '"';

    return p;
}


/* ---- reading ---- */

static void
json_skip_blanks(json_input_t *in)
{
    while (in->p < in->end
           && (*in->p == ' ' || *in->p == '\t' || *in->p == '\n'
               || *in->p == '\r'))
    {
        in->p++;
    }
}


static int
json_take(json_input_t *in, char c)
{
    if (in->p < in->end && *in->p == c) {
        in->p++;
        return 1;
    }

    return 0;
}


/* Four hexadecimal digits, or -1. */
static int
json_hex4(json_input_t *in)
{
    int      n, digit;
    unsigned i;
    char     c;

    if (in->end - in->p < 4) {
        return -1;
    }

    for (i = 0, n = 0; i < 4; i++) {
        c = *in->p++;
        digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (digit < 0) {
            return -1;
        }
        n = n << 4 | digit;
    }

    return n;
}


static size_t
json_utf8_write(char text[4], uint32_t code)
{
    if (code < 0x80) {
        text[0] = (char) code;
        return 1;
    }

    if (code < 0x800) {
        text[0] = (char) (0xc0 | code >> 6);
        text[1] = (char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        text[0] = (char) (0xe0 | code >> 12);
        text[1] = (char) (0x80 | (code >> 6 & 0x3f));
        text[2] = (char) (0x80 | (code & 0x3f));
        return 3;
    }

    text[0] = (char) (0xf0 | code >> 18);
    text[1] = (char) (0x80 | (code >> 12 & 0x3f));
    text[2] = (char) (0x80 | (code >> 6 & 0x3f));
    text[3] = (char) (0x80 | (code & 0x3f));

    return 4;
}


/* What follows a \u: a character other than NUL, with both its surrogates. */
static size_t
json_unicode(json_input_t *in, char text[4])
{
    int high, low;

    high = json_hex4(in);
    if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff)) {
        return 0;
    }

    if (high < 0xd800 || high > 0xdbff) {
        return json_utf8_write(text, (uint32_t) high);
    }

    if (!json_take(in, '\\') || !json_take(in, 'u')) {
        return 0;
    }

    low = json_hex4(in);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }

    return json_utf8_write(text, 0x10000 + ((uint32_t) (high - 0xd800) << 10)
                                     + (uint32_t) (low - 0xdc00));
}


/*
 * One character of a string, escaped or not; 0 if it is none.  *text points to
 * its bytes, in the input or in buf.
 */
static size_t
json_char(json_input_t *in, char buf[4], const char **text)
{
    size_t      n;
    const char *escape;

    *text = in->p;

    if (in->p == in->end || (uint8_t) *in->p < 0x20) {
        return 0;
    }

    if (*in->p != '\\') {
        n = tracker_utf8_len(in->p, in->end);
        in->p += n;
        return n;
    }

    *text = buf;
    in->p++;

    if (json_take(in, 'u')) {
        return json_unicode(in, buf);
    }

    for (escape = "\"\"\\\\//b\bf\fn\nr\rt\t"; *escape; escape += 2) {
        if (json_take(in, escape[0])) {
            buf[0] = escape[1];
            return 1;
        }
    }

    return 0;
}


static tracker_result_e
json_skip_string(json_input_t *in)
{
    char        buf[4];
    const char *text;

    if (!json_take(in, '"')) {
        return TRACKER_INVALID;
    }

    while (!json_take(in, '"')) {
        if (json_char(in, buf, &text) == 0) {
            return TRACKER_INVALID;
        }
    }

    return TRACKER_OK;
}


static int
json_digits(json_input_t *in)
{
    const char *start;

    for (start = in->p; in->p < in->end && *in->p >= '0' && *in->p <= '9';) {
        in->p++;
    }

    return in->p > start;
}


static tracker_result_e
json_skip_number(json_input_t *in)
{
    (void) json_take(in, '-');

    if (!json_take(in, '0') && !json_digits(in)) {
        return TRACKER_INVALID;
    }

    if (json_take(in, '.') && !json_digits(in)) {
        return TRACKER_INVALID;
    }

    if (json_take(in, 'e') || json_take(in, 'E')) {
        if (!json_take(in, '+')) {
            (void) json_take(in, '-');
        }
        if (!json_digits(in)) {
            return TRACKER_INVALID;
        }
    }

    return TRACKER_OK;
}


static tracker_result_e
json_skip_word(json_input_t *in, const char *word)
{
    size_t len;

    len = strlen(word);
    if ((size_t) (in->end - in->p) < len || memcmp(in->p, word, len) != 0) {
        return TRACKER_INVALID;
    }

    in->p += len;

    return TRACKER_OK;
}


static tracker_result_e
json_skip_scalar(json_input_t *in)
{
    switch (*in->p) {
    case '"':
        return json_skip_string(in);
    case 't':
        return json_skip_word(in, "true");
    case 'f':
        return json_skip_word(in, "false");
    case 'n':
        return json_skip_word(in, "null");
    default:
        return json_skip_number(in);
    }
}


static tracker_result_e
json_skip_key(json_input_t *in)
{
    json_skip_blanks(in);
    if (json_skip_string(in) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    json_skip_blanks(in);

    return json_take(in, ':') ? TRACKER_OK : TRACKER_INVALID;
}


/*
 * Behind a value inside `depth` brackets: closes those that end here, then
 * passes a comma (and an object's next key).  Depth 0: the value is whole.
 */
static tracker_result_e
json_skip_close(json_input_t *in, uint32_t objects, unsigned *depth)
{
    unsigned is_object;

    while (*depth > 0) {
        is_object = objects >> (*depth - 1) & 1;
        json_skip_blanks(in);

        if (json_take(in, ',')) {
            return is_object ? json_skip_key(in) : TRACKER_OK;
        }

        if (!json_take(in, is_object ? '}' : ']')) {
            return TRACKER_INVALID;
        }
        --*depth;
    }

    return TRACKER_OK;
}


/* A whole value; bit n of objects tells whether bracket n is a brace. */
static tracker_result_e
json_skip_value(json_input_t *in)
{
    uint32_t objects;
    unsigned depth;
    char     c;

    objects = 0;
    depth = 0;

    do {
        json_skip_blanks(in);
        if (in->p == in->end) {
            return TRACKER_INVALID;
        }

        c = *in->p;

        if (c == '{' || c == '[') {
            if (depth == JSON_DEPTH - 1) {
                return TRACKER_INVALID;
            }

            objects &= ~(UINT32_C(1) << depth);
            objects |= (uint32_t) (c == '{') << depth;
            depth++;
            in->p++;
            json_skip_blanks(in);

            if (!json_take(in, c == '{' ? '}' : ']')) {
                if (c == '{' && json_skip_key(in) != TRACKER_OK) {
                    return TRACKER_INVALID;
                }
                continue;
            }
            depth--;

        } else if (json_skip_scalar(in) != TRACKER_OK) {
            return TRACKER_INVALID;
        }

        if (json_skip_close(in, objects, &depth) != TRACKER_OK) {
            return TRACKER_INVALID;
        }

    } while (depth > 0);

    return TRACKER_OK;
}


/* Up to the next key: OK, or DECLINED behind a whole object. */
static tracker_result_e
json_next_start(json_input_t *in, int first)
{
    json_skip_blanks(in);

    if (first) {
        if (!json_take(in, '{')) {
            return TRACKER_INVALID;
        }
        json_skip_blanks(in);
    }

    if (json_take(in, '}')) {
        json_skip_blanks(in);
        return in->p == in->end ? TRACKER_DECLINED : TRACKER_INVALID;
    }

    if (!first && !json_take(in, ',')) {
        return TRACKER_INVALID;
    }

    json_skip_blanks(in);

    return TRACKER_OK;
}


tracker_result_e
tracker_json_next(
    tracker_str_t object, size_t *pos, tracker_json_member_t *member)
{
    json_input_t     in;
    const char      *start;
    tracker_result_e rc;

    if (object.data == NULL || *pos > object.len) {
        return TRACKER_INVALID;
    }

    in.p = object.data + *pos;
    in.end = object.data + object.len;

    rc = json_next_start(&in, *pos == 0);
    if (rc != TRACKER_OK) {
        return rc;
    }

    start = in.p;
    if (json_skip_string(&in) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    member->key.data = start + 1;
    member->key.len = (size_t) (in.p - start) - 2;

    json_skip_blanks(&in);
    if (!json_take(&in, ':')) {
        return TRACKER_INVALID;
    }

    json_skip_blanks(&in);
    start = in.p;
    if (json_skip_value(&in) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    member->value.data = start;
    member->value.len = (size_t) (in.p - start);
    member->type =
        *start == '-' || (*start >= '0' && *start <= '9') ? '0' : *start;
    *pos = (size_t) (in.p - object.data);

    return TRACKER_OK;
}


tracker_result_e
tracker_json_text(tracker_str_t value, char *buf, size_t size, size_t *len)
{
    char         text[4];
    size_t       n, done;
    const char  *from;
    json_input_t in;

    if (value.data == NULL || value.len < 2) {
        return TRACKER_INVALID;
    }

    in.p = value.data;
    in.end = value.data + value.len;
    done = 0;

    if (!json_take(&in, '"')) {
        return TRACKER_INVALID;
    }

    while (!json_take(&in, '"')) {
        n = json_char(&in, text, &from);
        if (n == 0) {
            return TRACKER_INVALID;
        }

        if (n > size - done) {
            return TRACKER_FULL;
        }

        memcpy(buf + done, from, n);
        done += n;
    }

    if (in.p != in.end) {
        return TRACKER_INVALID;
    }

    *len = done;

    return TRACKER_OK;
}
