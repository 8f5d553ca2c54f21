/*
 * consent.c - what a visitor allowed, and what is left of a request otherwise.
 *
 * Consent managers keep the choice in a cookie of a form of their own.  Three
 * tests cope with the common ones, each against the value with its %XX
 * undone:
 *
 *     WORD    the value is exactly this: yes, granted, 1
 *     ~TEXT   the value contains this as a whole word: measure:1,
 *             "analytics":true, C0002:1.  A letter, digit, "_" or "-" beside
 *             it makes it another word, so that ~ads does not fit no-ads
 *     tcf:N   a TC string of IAB's framework consents to purpose N, 1-24
 *
 * The rest cuts: an address to its network, a Referer to its origin, a browser
 * to its class, values of named arguments out of a query.  Everything works on
 * hostile bytes and writes no more than it read.
 */

#include "tracker.h"

#include <string.h>


#define CONSENT_TCF_VERSION 2
#define CONSENT_TCF_BIT     152 /* of purpose 1 in the core string */
#define CONSENT_TCF_CHARS   30  /* base64url characters up to purpose 24 */
#define CONSENT_LANG_MAX    3   /* letters of a primary language */


static int
consent_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* One character of the text at *p, %XX undone; moves *p behind it. */
static char
consent_char(const char **p, const char *end)
{
    int high, low;

    if (**p == '%' && end - *p >= 3) {
        high = consent_hex((*p)[1]);
        low = consent_hex((*p)[2]);

        if (high >= 0 && low >= 0) {
            *p += 3;
            return (char) (high << 4 | low);
        }
    }

    return *(*p)++;
}


size_t
tracker_unescape(char *buf, size_t size, tracker_str_t text)
{
    size_t      n;
    const char *p, *end;

    if (text.len == 0) {
        return 0;
    }

    p = text.data;
    end = p + text.len;

    for (n = 0; p < end && n < size; n++) {
        buf[n] = consent_char(&p, end);
    }

    return n;
}


/* ---- tests ---- */

static unsigned
consent_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '-';
}


tracker_result_e
tracker_consent_test(tracker_consent_test_t *test, tracker_str_t text)
{
    size_t i;

    memset(test, 0, sizeof(*test));

    if (text.len == 0) {
        return TRACKER_INVALID;
    }

    if (text.len > 4 && memcmp(text.data, "tcf:", 4) == 0) {
        test->kind = TRACKER_CONSENT_TCF;

        for (i = 4; i < text.len; i++) {
            if (text.data[i] < '0' || text.data[i] > '9' || i > 5) {
                return TRACKER_INVALID;
            }
            test->purpose =
                test->purpose * 10 + (unsigned) (text.data[i] - '0');
        }

        return test->purpose >= 1 && test->purpose <= 24 ? TRACKER_OK
                                                         : TRACKER_INVALID;
    }

    test->kind = TRACKER_CONSENT_EQUALS;

    if (text.data[0] == '~') {
        test->kind = TRACKER_CONSENT_CONTAINS;
        text.data++;
        text.len--;
    }

    test->text = text;

    return text.len > 0 ? TRACKER_OK : TRACKER_INVALID;
}


static unsigned
consent_contains(tracker_str_t text, tracker_str_t value)
{
    const char *p, *end;

    end = value.data + value.len;

    for (p = value.data; p != NULL && p < end; p++) {
        p = memmem(p, (size_t) (end - p), text.data, text.len);
        if (p == NULL) {
            break;
        }

        /* only where the text itself ends in a word can it go on as one */
        if ((p == value.data || !consent_word_char(text.data[0])
                || !consent_word_char(p[-1]))
            && (p + text.len == end
                || !consent_word_char(text.data[text.len - 1])
                || !consent_word_char(p[text.len])))
        {
            return 1;
        }
    }

    return 0;
}


static unsigned
consent_tcf(unsigned purpose, tracker_str_t value)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char        c;
    unsigned    i, bit;
    const char *digit;

    if (value.len < CONSENT_TCF_CHARS || value.data[0] != digits[2]) {
        return 0;
    }

    _Static_assert(CONSENT_TCF_VERSION == 2, "the first digit is the version");
    bit = CONSENT_TCF_BIT + purpose - 1;

    for (i = 0; i < CONSENT_TCF_CHARS; i++) {
        c = value.data[i];
        digit = c != '\0' ? strchr(digits, c) : NULL;

        if (digit == NULL) {
            return 0;
        }

        if (i == bit / 6) {
            return (unsigned) (digit - digits) >> (5 - bit % 6) & 1;
        }
    }

    return 0;
}


unsigned
tracker_consent_fits(const tracker_consent_test_t *test, tracker_str_t value)
{
    if (value.len == 0) {
        return 0;
    }

    switch (test->kind) {
    case TRACKER_CONSENT_EQUALS:
        return value.len == test->text.len
               && memcmp(value.data, test->text.data, value.len) == 0;
    case TRACKER_CONSENT_CONTAINS:
        return consent_contains(test->text, value);
    case TRACKER_CONSENT_TCF:
        return consent_tcf(test->purpose, value);
    }

    return 0;
}


/* ---- cuts ---- */

void
tracker_address_cut(uint8_t *address, size_t size, unsigned bits)
{
    size_t i;

    for (i = 0; i < size; i++) {
        if (bits >= 8) {
            bits -= 8;
            continue;
        }

        address[i] &= (uint8_t) (0xff00U >> bits);
        bits = 0;
    }
}


tracker_str_t
tracker_url_origin(tracker_str_t url)
{
    size_t        i;
    const char   *p;
    tracker_str_t origin = {NULL, 0};

    p = url.len > 0 ? memmem(url.data, url.len, "://", 3) : NULL;
    if (p == NULL || p == url.data || p - url.data > 16) {
        return origin;
    }

    for (i = (size_t) (p - url.data) + 3; i < url.len; i++) {
        if (url.data[i] == '@') {
            return origin; /* a name, perhaps with its password */
        }

        if (url.data[i] == '/' || url.data[i] == '?' || url.data[i] == '#'
            || url.data[i] == '\\')
        {
            break;
        }
    }

    origin.data = url.data;
    origin.len = i;

    return origin;
}


static unsigned
consent_has(tracker_str_t text, const char *word)
{
    return memmem(text.data, text.len, word, strlen(word)) != NULL;
}


tracker_str_t
tracker_agent_class(tracker_str_t agent)
{
    tracker_str_t name = {NULL, 0};

    if (agent.len == 0) {
        return name;
    }

    if (consent_has(agent, "bot") || consent_has(agent, "Bot")
        || consent_has(agent, "crawl") || consent_has(agent, "spider"))
    {
        name.data = "bot";

    } else if (consent_has(agent, "Mobi")) {
        name.data = "mobile";

    } else if (consent_has(agent, "iPad") || consent_has(agent, "Android")) {
        name.data = "tablet";

    } else {
        name.data = "desktop";
    }

    name.len = strlen(name.data);

    return name;
}


tracker_str_t
tracker_language(tracker_str_t accept)
{
    size_t        n;
    char          c;
    tracker_str_t none = {NULL, 0};

    for (n = 0; n < accept.len; n++) {
        c = (char) (accept.data[n] | 0x20);

        if (c < 'a' || c > 'z') {
            break;
        }
    }

    if (n < 2 || n > CONSENT_LANG_MAX) {
        return none;
    }

    accept.len = n;

    return accept;
}


static char
consent_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


/* 1 if the argument's name, %XX undone, is one of the names in any case: so
 * does nginx find $arg_name. */
static unsigned
consent_named(
    const char *p, const char *end, const tracker_str_t *names, unsigned nnames)
{
    size_t      n;
    unsigned    i;
    const char *q;

    for (i = 0; i < nnames; i++) {
        for (q = p, n = 0; q < end && n < names[i].len; n++) {
            if (consent_lower(consent_char(&q, end))
                != consent_lower(names[i].data[n])) {
                break;
            }
        }

        if (q == end && n == names[i].len) {
            return 1;
        }
    }

    return 0;
}


static unsigned
consent_mark(char c)
{
    return c == '?' || c == '&' || c == ';' || c == '#';
}


size_t
tracker_query_hide(
    char *buf, tracker_str_t query, const tracker_str_t *names, unsigned nnames)
{
    char       *out;
    size_t      n;
    const char *p, *end, *stop, *equals;

    if (query.len == 0) {
        return 0;
    }

    out = buf;
    end = query.data + query.len;

    for (p = query.data; p < end; p = stop + 1) {
        for (stop = p; stop < end && !consent_mark(*stop); stop++) {
            /* void */
        }

        equals = memchr(p, '=', (size_t) (stop - p));
        n = (size_t) (stop - p);

        if (equals != NULL && consent_named(p, equals, names, nnames)) {
            n = (size_t) (equals + 1 - p);
        }

        memmove(out, p, n); /* buf may be the query itself */
        out += n;

        if (stop < end) {
            *out++ = *stop;
        }
    }

    return (size_t) (out - buf);
}
