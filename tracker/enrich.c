/*
 * enrich.c - what does not change within a session, ready to be written.
 *
 * Place, device and the label of a bot are the same for all pages of a session.
 * They are kept as the very members of `ctx` that an event carries, so that a
 * page of a known session copies some two hundred bytes instead of asking and
 * formatting again.  Whoever wants one value finds it in that text: values are
 * written without quotes and backslashes, so a name between quotes can only be
 * a name.
 *
 * What does not fit is left out, from the end: the bot label comes first, the
 * name of the network last.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif

#include "tracker.h"

#include <string.h>


#define ENRICH_DIGITS 12 /* of a 32-bit number, and room before it */

typedef struct {
    char       *p;
    const char *end;
} enrich_writer_t;


/* Takes all or nothing. */
static unsigned
enrich_put(enrich_writer_t *w, const char *name, tracker_str_t value,
    const char *quote)
{
    char     c;
    size_t   i, len, quotes;
    unsigned bad;

    len = strlen(name);
    quotes = 2 * strlen(quote);

    if (value.data == NULL || value.len == 0
        || (size_t) (w->end - w->p) < len + value.len + quotes)
    {
        return 0;
    }

    memcpy(w->p, name, len);
    w->p += len;

    if (quotes != 0) {
        *w->p++ = '"';
    }

    for (i = 0; i < value.len; i++) {
        c = value.data[i];
        bad = (unsigned char) c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
        *w->p++ = (char) (bad ? ' ' : c);
    }

    if (quotes != 0) {
        *w->p++ = '"';
    }

    return 1;
}


static tracker_str_t
enrich_str(const char *text)
{
    tracker_str_t s = {text, strlen(text)};

    return s;
}


/* UTF-8, cut behind a whole character; anything else is not kept. */
static tracker_str_t
enrich_text(tracker_str_t text, size_t max)
{
    size_t i, n;

    for (i = 0; text.data != NULL && i < text.len && i < max; i += n) {
        n = tracker_utf8_len(text.data + i, text.data + text.len);

        if (n == 0) {
            text.len = 0;
            return text;
        }

        if (i + n > max) {
            break;
        }
    }

    text.len = i;

    return text;
}


static tracker_str_t
enrich_number(char digits[ENRICH_DIGITS], uint32_t n)
{
    size_t        i;
    tracker_str_t s = {NULL, 0};

    for (i = ENRICH_DIGITS - 1; n > 0; n /= 10) {
        digits[i--] = (char) ('0' + n % 10);
    }

    if (i < ENRICH_DIGITS - 1) {
        s.data = digits + i + 1;
        s.len = ENRICH_DIGITS - 1 - i;
    }

    return s;
}


static void
enrich_bot(enrich_writer_t *w, const tracker_bot_t *bot)
{
    tracker_str_t name;

    name = enrich_text(bot->name, TRACKER_BOT_NAME);
    if (name.len == 0) {
        name = enrich_str("unnamed");
    }

    (void) enrich_put(w, ",\"bot\":{\"name\":", name, "\"");
    (void) enrich_put(
        w, ",\"kind\":", enrich_str(tracker_bot_kind_text(bot->kind)), "\"");
    (void) enrich_put(w, ",\"reason\":", enrich_str(bot->reason), "\"");
    *w->p++ = '}';
}


static void
enrich_agent(enrich_writer_t *w, const tracker_agent_t *agent, unsigned bot)
{
    char          digits[ENRICH_DIGITS];
    tracker_str_t browser, os;

    (void) enrich_put(w, ",\"device\":",
        enrich_str(
            tracker_device_text(bot ? TRACKER_DEVICE_BOT : agent->device)),
        "\"");

    browser = enrich_str(tracker_browser_text(agent->browser));
    if (enrich_put(w, ",\"browser\":", browser, "\"")
        && agent->browser_version > 0) {
        (void) enrich_put(w, ",\"browser_version\":",
            enrich_number(digits, agent->browser_version), "\"");
    }

    os = enrich_str(tracker_os_text(agent->os));
    if (enrich_put(w, ",\"os\":", os, "\"")) {
        (void) enrich_put(
            w, ",\"os_version\":", enrich_str(agent->os_version), "\"");
    }
}


static void
enrich_place(enrich_writer_t *w, const tracker_place_t *place)
{
    char            digits[ENRICH_DIGITS];
    char           *start;
    unsigned        i;
    enrich_writer_t inner;

    const struct {
        const char   *name;
        tracker_str_t value;
        const char   *quote;
    } members[] = {
        {"\"country\":", enrich_text(place->country, 2), "\""},
        {"\"region\":", enrich_text(place->region, 32), "\""},
        {"\"city\":", enrich_text(place->city, 48), "\""},
        {"\"asn\":", enrich_number(digits, place->asn), ""},
        {"\"as\":", enrich_text(place->as_name, 48), "\""},
    };

    if ((size_t) (w->end - w->p) < sizeof(",\"geo\":{}")) {
        return;
    }

    start = w->p;
    memcpy(w->p, ",\"geo\":{", sizeof(",\"geo\":{") - 1);
    w->p += sizeof(",\"geo\":{") - 1;

    /* room for the brace and, before each but the first, a comma */
    inner.p = w->p;
    inner.end = w->end - 1 - sizeof(members) / sizeof(members[0]);

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (inner.end - inner.p < 1) {
            break;
        }
        if (inner.p > w->p) {
            *inner.p++ = ',';
            if (!enrich_put(&inner, members[i].name, members[i].value,
                    members[i].quote)) {
                inner.p--;
            }
            continue;
        }
        (void) enrich_put(
            &inner, members[i].name, members[i].value, members[i].quote);
    }

    if (inner.p == w->p) {
        w->p = start; /* nothing is known */
        return;
    }

    w->p = inner.p;
    *w->p++ = '}';
}


void
tracker_enrich_write(tracker_enrich_t *enrich, const tracker_place_t *place,
    const tracker_agent_t *agent, const tracker_bot_t *bot)
{
    enrich_writer_t w;

    memset(enrich, 0, sizeof(*enrich));
    w.p = enrich->text;
    w.end = enrich->text + sizeof(enrich->text);

    enrich->device = bot != NULL ? TRACKER_DEVICE_BOT : agent->device;
    enrich->bot = bot != NULL;

    if (bot != NULL) {
        enrich_bot(&w, bot);
    }

    enrich_agent(&w, agent, bot != NULL);

    if (place != NULL) {
        enrich_place(&w, place);
    }

    /* the comma in front is the reader's to skip */
    enrich->len = (uint16_t) (w.p - enrich->text);
    enrich->known = 1;
}


tracker_str_t
tracker_enrich_find(const tracker_enrich_t *enrich, const char *name)
{
    char          key[32];
    size_t        len;
    const char   *p, *end;
    tracker_str_t value = {NULL, 0};

    len = strlen(name);
    if (len + 4 > sizeof(key)) {
        return value;
    }

    key[0] = '"';
    memcpy(key + 1, name, len);
    memcpy(key + 1 + len, "\":\"", 3);

    p = memmem(enrich->text, enrich->len, key, len + 4);
    if (p == NULL) {
        return value;
    }

    p += len + 4;
    end = memchr(p, '"', (size_t) (enrich->text + enrich->len - p));

    if (end != NULL) {
        value.data = p;
        value.len = (size_t) (end - p);
    }

    return value;
}
