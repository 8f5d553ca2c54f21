/*
 * snowplow_text.c - the forms that Snowplow's trackers wrap texts in.
 *
 * base64url without padding, and a pixel's query, which becomes the object
 * that a POST would have held.
 */

#include "hit.h"


static int
snowplow_base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-' || c == '+') {
        return 62;
    }

    return c == '_' || c == '/' ? 63 : -1;
}


tracker_str_t
hit_base64(tracker_hit_t *hit, tracker_str_t text)
{
    int           digit;
    size_t        i;
    uint32_t      bits;
    unsigned      nbits;
    tracker_str_t out = {NULL, 0};

    if ((size_t) (hit->end - hit->room) < text.len) {
        return out;
    }

    out.data = hit->room;
    bits = 0;
    nbits = 0;

    for (i = 0; i < text.len && text.data[i] != '='; i++) {
        digit = snowplow_base64_digit(text.data[i]);
        if (digit < 0) {
            out.data = NULL;
            return out;
        }

        bits = (bits << 6 | (uint32_t) digit) & 0xfff;
        nbits += 6;

        if (nbits >= 8) {
            nbits -= 8;
            *hit->room++ = (char) (bits >> nbits & 0xff);
        }
    }

    out.len = (size_t) (hit->room - out.data);

    return out;
}


static int
snowplow_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* One part of a query as a JSON string; its escapes are undone in place. */
static char *
snowplow_query_part(char *p, char *end, tracker_str_t part)
{
    int           high, low;
    char         *out, *start;
    size_t        i;
    tracker_str_t text;

    /* the text behind its own string's longest form, at the buffer's end */
    if ((size_t) (end - p) < part.len) {
        return NULL;
    }

    start = end - part.len;
    out = start;

    for (i = 0; i < part.len; i++) {
        high = low = -1;

        if (part.data[i] == '%' && part.len - i > 2) {
            high = snowplow_hex(part.data[i + 1]);
            low = snowplow_hex(part.data[i + 2]);
        }

        if (high >= 0 && low >= 0) {
            *out++ = (char) (high * 16 + low);
            i += 2;

        } else {
            *out++ = part.data[i] == '+' ? ' ' : part.data[i];
        }
    }

    text.data = start;
    text.len = (size_t) (out - start);

    return tracker_json_string(p, start, text, NULL);
}


tracker_result_e
tracker_snowplow_query(tracker_str_t query, char *buf, size_t size, size_t *len)
{
    char         *p, *end;
    const char   *s, *stop, *eq, *amp;
    tracker_str_t name, value;

    p = buf;
    end = buf + size;
    s = query.data;
    stop = s + query.len;

    if (query.len == 0 || size < 2) {
        return TRACKER_INVALID;
    }

    *p++ = '{';

    for (/* void */; s < stop; s = amp + 1) {
        amp = memchr(s, '&', (size_t) (stop - s));
        amp = amp != NULL ? amp : stop;
        eq = memchr(s, '=', (size_t) (amp - s));

        if (eq == NULL || eq == s) {
            continue;
        }

        name.data = s;
        name.len = (size_t) (eq - s);
        value.data = eq + 1;
        value.len = (size_t) (amp - eq - 1);

        if (p - buf > 1 && p < end) {
            *p++ = ',';
        }

        p = snowplow_query_part(p, end, name);
        if (p == NULL || p == end) {
            return TRACKER_FULL;
        }

        *p++ = ':';
        p = snowplow_query_part(p, end, value);
        if (p == NULL || p == end) {
            return TRACKER_FULL;
        }
    }

    *p++ = '}';
    *len = (size_t) (p - buf);

    return TRACKER_OK;
}
