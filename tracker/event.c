/*
 * event.c - writes one finished request as one line of JSON.
 *
 * The members and their order are those of docs/events.md; a member without a
 * value is left out.  Every piece checks the room that is left, so a buffer
 * smaller than tracker_event_bound() is safe: the writer then fails as a whole
 * and stays failed, because its end moves to where it stands.
 */

#include "tracker.h"

#include <string.h>


#define EVENT_ESCAPE  6   /* a byte becomes at most \u00XX */
#define EVENT_FIXED   896 /* names, UUIDs, numbers, quotes of an event: < 750 */
#define EVENT_PER_ONE 64  /* names and quotes of a property or slot: < 58 */
#define EVENT_DIGITS  20  /* of a 64-bit number */

typedef struct {
    char       *p;
    const char *end;
    unsigned    failed;   /* 1: something did not fit */
    unsigned    replaced; /* bytes that were not text */
} event_writer_t;


static inline void
event_fail(event_writer_t *w)
{
    w->failed = 1;
    w->end = w->p;
}


static inline __attribute__((always_inline)) void
event_put(event_writer_t *w, const char *text, size_t len)
{
    if ((size_t) (w->end - w->p) < len) {
        event_fail(w);
        return;
    }

    memcpy(w->p, text, len);
    w->p += len;
}

/* The length of a literal is a constant, and its copy a few moves. */
#define event_literal(w, text) event_put(w, text, sizeof(text) - 1)


static void
event_string(event_writer_t *w, tracker_str_t value)
{
    char *p;

    p = tracker_json_string(w->p, w->end, value, &w->replaced);
    if (p == NULL) {
        event_fail(w);
        return;
    }

    w->p = p;
}


static void
event_number(event_writer_t *w, uint64_t n)
{
    static const char pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334"
        "3536373839404142434445464748495051525354555657585960616263646566676869"
        "707172737475767778798081828384858687888990919293949596979899";
    char  digits[EVENT_DIGITS];
    char *p;

    p = digits + EVENT_DIGITS;

    while (n >= 100) {
        p -= 2;
        memcpy(p, pairs + n % 100 * 2, 2);
        n /= 100;
    }

    if (n >= 10) {
        p -= 2;
        memcpy(p, pairs + n * 2, 2);

    } else {
        *--p = (char) ('0' + n);
    }

    event_put(w, p, (size_t) (digits + EVENT_DIGITS - p));
}


static void
event_uuid(event_writer_t *w, const uint8_t *uuid)
{
    if (w->end - w->p < TRACKER_UUID_TEXT + 2) {
        event_fail(w);
        return;
    }

    *w->p++ = '"';
    tracker_uuid_text(w->p, uuid);
    w->p += TRACKER_UUID_TEXT;
    *w->p++ = '"';
}


/* name is `,"member":`; inside an object's first member the caller passes no
 * comma, see event_member_first. */
#define event_member(w, name, value)                                           \
    do {                                                                       \
        if ((value).len != 0 && (value).data != NULL) {                        \
            event_literal(w, name);                                            \
            event_string(w, value);                                            \
        }                                                                      \
    } while (0)


/* The start of an object, written with its first member only. */
#define event_member_first(w, open, name, value, started)                      \
    do {                                                                       \
        if ((value).len != 0 && (value).data != NULL) {                        \
            if (started) {                                                     \
                event_literal(w, ",");                                         \
            } else {                                                           \
                event_literal(w, open);                                        \
                started = 1;                                                   \
            }                                                                  \
            event_literal(w, name);                                            \
            event_string(w, value);                                            \
        }                                                                      \
    } while (0)


static void
event_identity(event_writer_t *w, const tracker_event_t *event)
{
    event_literal(w, "{\"id\":");
    event_uuid(w, event->id);
    event_member(w, ",\"mid\":", event->mid);
    event_member(w, ",\"site\":", event->site);
    event_member(w, ",\"type\":", event->type);
    event_member(w, ",\"name\":", event->name);

    if (event->ts_us != 0 && event->ts_us != event->rts_us) {
        event_literal(w, ",\"ts\":");
        event_number(w, event->ts_us);
    }

    event_literal(w, ",\"rts\":");
    event_number(w, event->rts_us);

    if (event->vid != NULL) {
        event_literal(w, ",\"vid\":");
        event_uuid(w, event->vid);
    }

    if (event->sid != NULL) {
        event_literal(w, ",\"sid\":");
        event_uuid(w, event->sid);
    }

    if (event->sn != 0) {
        event_literal(w, ",\"sn\":");
        event_number(w, event->sn);
    }

    if (event->seq != 0) {
        event_literal(w, ",\"seq\":");
        event_number(w, event->seq);
    }

    event_member(w, ",\"uid\":", event->uid);
    event_member(w, ",\"src\":", event->src);
}


static void
event_put_open(event_writer_t *w, const char *open, unsigned *started)
{
    if (*started) {
        event_literal(w, ",");
    } else {
        event_put(w, open, strlen(open));
        *started = 1;
    }
}


static void
event_kept(event_writer_t *w, const char *name, size_t name_len,
    const char *text, size_t len)
{
    tracker_str_t value = {text, len};

    if (len > 0) {
        event_put(w, name, name_len);
        event_string(w, value);
    }
}

#define event_kept_member(w, name, text, len)                                  \
    event_kept(w, name, sizeof(name) - 1, text, len)


/* The class is always known, so it comes first and has no comma. */
static void
event_traffic(event_writer_t *w, const tracker_traffic_t *traffic)
{
    const char             *text;
    const tracker_source_t *kept = &traffic->kept;

    text = tracker_traffic_text(kept->class);
    event_kept_member(w, "\"traffic\":{\"class\":", text, strlen(text));
    event_kept_member(w, ",\"source\":", kept->source, kept->source_len);
    event_kept_member(w, ",\"medium\":", kept->medium, kept->medium_len);
    event_kept_member(w, ",\"campaign\":", kept->campaign, kept->campaign_len);
    event_kept_member(w, ",\"term\":", traffic->term, traffic->term_len);
    event_kept_member(
        w, ",\"content\":", traffic->content, traffic->content_len);

    text = tracker_click_text(kept->click_id);
    event_kept_member(w, ",\"click_id\":", text, strlen(text));
    event_literal(w, "}");
}


static void
event_context(event_writer_t *w, const tracker_event_t *event)
{
    unsigned started;

    started = 0;

    event_member_first(w, ",\"ctx\":{", "\"ip\":", event->ip, started);
    event_member_first(w, ",\"ctx\":{", "\"ua\":", event->ua, started);
    event_member_first(w, ",\"ctx\":{", "\"lang\":", event->lang, started);
    event_member_first(w, ",\"ctx\":{", "\"ref\":", event->ref, started);
    event_member_first(w, ",\"ctx\":{", "\"anon\":", event->anon, started);

    if (event->lib.len != 0) {
        event_put_open(w, ",\"ctx\":{", &started);
        event_literal(w, "\"lib\":{\"name\":");
        event_string(w, event->lib);
        event_member(w, ",\"version\":", event->lib_version);
        event_literal(w, "}");
    }

    if (event->trusted) {
        event_put_open(w, ",\"ctx\":{", &started);
        event_literal(w, "\"trusted\":true");
    }

    /* its text begins with a comma */
    if (event->enrich != NULL && event->enrich->len > 1) {
        if (started) {
            event_put(w, event->enrich->text, event->enrich->len);
        } else {
            event_literal(w, ",\"ctx\":{");
            event_put(
                w, event->enrich->text + 1, (size_t) event->enrich->len - 1);
            started = 1;
        }
    }

    if (event->traffic != NULL
        && event->traffic->kept.class != TRACKER_TRAFFIC_UNKNOWN)
    {
        event_put_open(w, ",\"ctx\":{", &started);
        event_traffic(w, event->traffic);
    }

    /* "" says that nothing was allowed, which is not the same as absent */
    if (event->consent.data != NULL) {
        event_put_open(w, ",\"ctx\":{", &started);
        event_literal(w, "\"consent\":");
        event_string(w, event->consent);
    }

    if (started) {
        event_literal(w, "}");
    }
}


static void
event_request(event_writer_t *w, const tracker_event_t *event)
{
    unsigned started;

    started = 0;

    event_member_first(w, ",\"req\":{", "\"rid\":", event->rid, started);
    event_member_first(w, ",\"req\":{", "\"method\":", event->method, started);
    event_member_first(w, ",\"req\":{", "\"host\":", event->host, started);
    event_member_first(w, ",\"req\":{", "\"path\":", event->path, started);
    event_member_first(w, ",\"req\":{", "\"query\":", event->query, started);

    if (event->status == 0) {
        event_put(w, "}", started);
        return;
    }

    if (started) {
        event_literal(w, ",\"status\":");
    } else {
        event_literal(w, ",\"req\":{\"status\":");
    }

    event_number(w, event->status);
    event_literal(w, ",\"ms\":");
    event_number(w, event->duration_ms);
    event_literal(w, ",\"bytes\":");
    event_number(w, event->bytes);
    event_literal(w, "}");
}


/* A property may be empty, but not absent. */
static void
event_props(event_writer_t *w, const tracker_event_t *event)
{
    unsigned i, started;

    if (event->json.data != NULL) {
        event_literal(w, ",\"props\":");
        event_put(w, event->json.data, event->json.len);
        return;
    }

    started = 0;

    for (i = 0; i < event->nprops; i++) {
        if (event->props[i].value.data == NULL) {
            continue;
        }

        if (started) {
            event_literal(w, ",");
        } else {
            event_literal(w, ",\"props\":{");
            started = 1;
        }

        event_string(w, event->props[i].key);
        event_literal(w, ":");
        event_string(w, event->props[i].value);
    }

    if (started) {
        event_literal(w, "}");
    }
}


static void
event_decisions(event_writer_t *w, const tracker_event_t *event)
{
    unsigned i;

    for (i = 0; i < event->nshown; i++) {
        if (i == 0) {
            event_literal(w, ",\"dec\":[{\"slot\":");
        } else {
            event_literal(w, ",{\"slot\":");
        }

        event_string(w, event->shown[i].slot);
        event_literal(w, ",\"campaign\":");
        event_string(w, event->shown[i].campaign);
        event_literal(w, ",\"variant\":");
        event_string(w, event->shown[i].variant);

        if (event->shown[i].aborted) {
            event_literal(w, ",\"aborted\":true");
        }

        event_literal(w, "}");
    }

    if (event->nshown > 0) {
        event_literal(w, "]");
    }
}


size_t
tracker_event_bound(const tracker_event_t *event)
{
    size_t   n;
    unsigned i;

    n = event->site.len + event->type.len + event->name.len + event->src.len
        + event->uid.len + event->ip.len + event->ua.len + event->lang.len
        + event->ref.len + event->consent.len + event->rid.len
        + event->method.len + event->host.len + event->path.len
        + event->query.len + event->mid.len + event->anon.len + event->lib.len
        + event->lib_version.len;

    if (event->traffic != NULL) {
        n += sizeof(*event->traffic);
    }

    for (i = 0; i < event->nprops; i++) {
        n += event->props[i].key.len + event->props[i].value.len;
    }

    for (i = 0; i < event->nshown; i++) {
        n += event->shown[i].slot.len + event->shown[i].campaign.len
             + event->shown[i].variant.len;
    }

    return EVENT_ESCAPE * n + EVENT_FIXED + event->json.len
           + (event->enrich != NULL ? event->enrich->len : 0)
           + EVENT_PER_ONE * ((size_t) event->nprops + event->nshown);
}


size_t
tracker_event_write(
    char *buf, size_t size, const tracker_event_t *event, unsigned *replaced)
{
    event_writer_t w;

    w.p = buf;
    w.end = buf + size;
    w.failed = 0;
    w.replaced = 0;

    event_identity(&w, event);
    event_context(&w, event);
    event_request(&w, event);
    event_props(&w, event);
    event_decisions(&w, event);
    event_literal(&w, "}");

    if (w.failed) {
        return 0;
    }

    if (replaced != NULL) {
        *replaced += w.replaced;
    }

    return (size_t) (w.p - buf);
}
