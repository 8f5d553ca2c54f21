/*
 * hit.c - what the readers of client libraries' events share.
 *
 * A hit is one report of a client library.  Readers fill it with texts that
 * point into the cleaned event or into the caller's room, a bump allocator
 * that is emptied before each event; nothing is allocated.
 */

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* SHA256_* */

#include "tracker.h"
#include "hit.h"

#include <stdio.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define HIT_AHEAD_US  (24 * 3600 * INT64_C(1000000)) /* a clock may be wrong */
#define HIT_OLDEST_US INT64_C(631152000000000)       /* 1990 */
/* Within it a clock is right: what differs is the way here, and moving events
 * by that would change their order. */
#define HIT_SKEW_US   (10 * INT64_C(1000000))
#define HIT_NEWEST_US INT64_C(4102444800000000) /* 2100 */


void
hit_start(tracker_hit_t *hit, char *room)
{
    memset(hit, 0, sizeof(*hit));
    hit->room = room;
    hit->end = room + TRACKER_HIT_ROOM;
}


tracker_result_e
hit_refuse(tracker_hit_t *hit, const char *reason)
{
    hit->reason = reason;

    return TRACKER_INVALID;
}


tracker_result_e
hit_clean(tracker_hit_t *hit, tracker_str_t json, tracker_str_t *clean)
{
    size_t           len;
    tracker_result_e rc;

    rc = tracker_json_clean(
        json, hit->room, (size_t) (hit->end - hit->room), &len, &hit->replaced);

    if (rc == TRACKER_OK) {
        clean->data = hit->room;
        clean->len = len;
        hit->room += len;
        return TRACKER_OK;
    }

    if (rc == TRACKER_INVALID) {
        hit->reason = "it is not JSON";
        return TRACKER_DECLINED;
    }

    return hit_refuse(hit, rc == TRACKER_DECLINED
                               ? "it is nested deeper than 30 levels"
                               : "it is larger than 64 KB");
}


tracker_str_t
hit_text(tracker_hit_t *hit, tracker_str_t value)
{
    size_t        len;
    tracker_str_t text = {NULL, 0};

    if (value.data == NULL) {
        return text;
    }

    if (*value.data != '"') {
        /* a number or a word stands for its text; null for nothing */
        if (*value.data != 'n' && *value.data != '{' && *value.data != '[') {
            text = value;
        }
        return text;
    }

    if (memchr(value.data, '\\', value.len) == NULL) {
        text.data = value.data + 1;
        text.len = value.len - 2;

    } else if (tracker_json_text(
                   value, hit->room, (size_t) (hit->end - hit->room), &len)
               == TRACKER_OK)
    {
        text.data = hit->room;
        text.len = len;
        hit->room += len;
    }

    if (text.len == 0) {
        text.data = NULL;
    }

    return text;
}


/*
 * Behind the string that begins at p.  What hit_clean has written needs no
 * second check, and steps over strings are what reading an event is made of.
 */
const char *
hit_string_end(const char *p, const char *end)
{
#ifdef __SSE2__
    __m128i  bytes;
    unsigned mask;
#endif

    p++;

    for (;;) {
#ifdef __SSE2__
        while (end - p >= 16) {
            bytes = _mm_loadu_si128((const __m128i *) (const void *) p);
            mask = (unsigned) _mm_movemask_epi8(
                _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
            if (mask != 0) {
                p += __builtin_ctz(mask);
                break;
            }
            p += 16;
        }
#endif
        if (p >= end) {
            return end;
        }
        if (*p == '"') {
            return p + 1;
        }
        p += *p == '\\' ? 2 : 1;
    }
}


const char *
hit_value_end(const char *p, const char *end)
{
    unsigned depth;

    depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = hit_string_end(p, end);
            if (depth == 0) {
                return p;
            }
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0) {
                return p; /* behind a number or a word */
            }
            if (--depth == 0) {
                return p + 1;
            }
            break;
        case ',':
            if (depth == 0) {
                return p;
            }
            break;
        default:
            break;
        }
        p++;
    }

    return end;
}


void
hit_members(const hit_field_t *fields, size_t nfields, tracker_str_t object,
    tracker_str_t *values)
{
    size_t      i, next, len;
    const char *p, *end, *key;

    if (object.data == NULL || *object.data != '{') {
        return;
    }

    p = object.data + 1;
    end = object.data + object.len;
    next = 0;

    while (p < end && *p == '"') {
        key = p + 1;
        p = hit_string_end(p, end);
        len = (size_t) (p - key) - 1;
        key = p - 1 - len;
        p++; /* the colon */

        /* libraries write members in one order: go on where the last was */
        for (i = 0; i < nfields; i++) {
            if (fields[next].len == len
                && memcmp(fields[next].name, key, len) == 0) {
                values[next].data = p;
                break;
            }
            next = next + 1 == nfields ? 0 : next + 1;
        }

        key = p;
        p = hit_value_end(p, end);

        if (i < nfields) {
            values[next].len = (size_t) (p - key);
        }

        p++; /* the comma */
    }
}


/* ---- time ---- */

static int
hit_digits(const char **p, const char *end, unsigned n, unsigned *number)
{
    unsigned i;

    for (i = 0, *number = 0; i < n; i++) {
        if (*p == end || **p < '0' || **p > '9') {
            return 0;
        }
        *number = *number * 10 + (unsigned) (*(*p)++ - '0');
    }

    return 1;
}


static int
hit_take(const char **p, const char *end, char c)
{
    if (*p < end && **p == c) {
        (*p)++;
        return 1;
    }

    return 0;
}


/* Days since 1970 of the proleptic Gregorian calendar (Hinnant). */
static int64_t
hit_days(unsigned year, unsigned month, unsigned day)
{
    unsigned y, era, yoe, doy;

    y = year - (month <= 2);
    era = y / 400;
    yoe = y - era * 400;
    doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return (int64_t) era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy
           - 719468;
}


static int64_t
hit_number_ms(tracker_str_t text)
{
    size_t  i;
    int64_t ms;

    for (i = 0, ms = 0; i < text.len && text.data[i] != '.'; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 14) {
            return 0;
        }
        ms = ms * 10 + (text.data[i] - '0');
    }

    return ms * 1000;
}


/* "Z", "+01:00", "-0500" or nothing: how far before UTC, in seconds. */
static int
hit_zone(const char **p, const char *end, int64_t *seconds)
{
    int      east;
    unsigned hours, minutes;

    *seconds = 0;
    if (*p == end || hit_take(p, end, 'Z') || hit_take(p, end, 'z')) {
        return *p == end;
    }

    east = hit_take(p, end, '+');
    if (!east && !hit_take(p, end, '-')) {
        return 0;
    }

    minutes = 0;
    if (!hit_digits(p, end, 2, &hours)) {
        return 0;
    }
    (void) hit_take(p, end, ':');
    if (*p != end && !hit_digits(p, end, 2, &minutes)) {
        return 0;
    }

    *seconds = (int64_t) hours * 3600 + minutes * 60;
    *seconds = east ? *seconds : -*seconds;

    return *p == end;
}


int64_t
tracker_hit_iso(tracker_str_t text)
{
    int64_t     us, zone;
    unsigned    year, month, day, hour, minute, second, scale, digit;
    const char *p, *end;

    if (text.data == NULL) {
        return 0;
    }

    p = text.data;
    end = p + text.len;

    if (!hit_digits(&p, end, 4, &year) || !hit_take(&p, end, '-')) {
        return hit_number_ms(text);
    }

    if (!hit_digits(&p, end, 2, &month) || !hit_take(&p, end, '-')
        || !hit_digits(&p, end, 2, &day) || month < 1 || month > 12 || day < 1
        || day > 31 || year < 1970)
    {
        return 0;
    }

    hour = minute = second = 0;

    if (p != end) {
        if ((!hit_take(&p, end, 'T') && !hit_take(&p, end, ' '))
            || !hit_digits(&p, end, 2, &hour) || !hit_take(&p, end, ':')
            || !hit_digits(&p, end, 2, &minute))
        {
            return 0;
        }

        if (hit_take(&p, end, ':') && !hit_digits(&p, end, 2, &second)) {
            return 0;
        }
    }

    us = ((hit_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    us *= 1000000;

    if (hit_take(&p, end, '.')) {
        for (scale = 100000; p < end && *p >= '0' && *p <= '9'; scale /= 10) {
            digit = (unsigned) (*p++ - '0');
            us += (int64_t) digit * scale;
        }
    }

    if (hour > 24 || minute > 59 || second > 60 || !hit_zone(&p, end, &zone)) {
        return 0;
    }

    return us - zone * 1000000;
}


void
tracker_hit_time(tracker_hit_t *hit, int64_t sent_us, uint64_t rts_us)
{
    int64_t now, us;

    now = (int64_t) rts_us;
    us = hit->time_us;
    hit->event.ts_us = 0;

    if (sent_us == 0) {
        sent_us = hit->sent_us;
    }

    if (us < HIT_OLDEST_US || us > HIT_NEWEST_US) {
        return;
    }

    if (sent_us >= HIT_OLDEST_US && sent_us <= HIT_NEWEST_US
        && (now - sent_us > HIT_SKEW_US || sent_us - now > HIT_SKEW_US))
    {
        us += now - sent_us;
    }

    if (us >= HIT_OLDEST_US && us <= now + HIT_AHEAD_US) {
        hit->event.ts_us = (uint64_t) us;
    }
}


/* ---- who ---- */

void
tracker_hit_uuid(uint8_t uuid[TRACKER_UUID_SIZE], tracker_str_t site,
    const char *kind, tracker_str_t value)
{
    uint8_t    digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX sha;

    SHA256_Init(&sha);
    SHA256_Update(&sha, site.data, site.len);
    SHA256_Update(&sha, "", 1);
    SHA256_Update(&sha, kind, strlen(kind) + 1);
    SHA256_Update(&sha, value.data, value.len);
    SHA256_Final(digest, &sha);

    memcpy(uuid, digest, TRACKER_UUID_SIZE);
    uuid[6] = (uint8_t) (0x80 | (uuid[6] & 0x0f));
    uuid[8] = (uint8_t) (0x80 | (uuid[8] & 0x3f));
}


/* ---- where ---- */

/* host, path and query of a page's URL; what is no URL of a page is left. */
void
hit_url(tracker_hit_t *hit, tracker_str_t url)
{
    const char      *p, *end, *stop;
    tracker_event_t *event;

    event = &hit->event;
    p = url.data;

    if (p == NULL) {
        return;
    }

    end = p + url.len;
    stop = memchr(p, '#', url.len);
    end = stop != NULL ? stop : end;

    if (end - p > 8 && memcmp(p, "https://", 8) == 0) {
        p += 8;
    } else if (end - p > 7 && memcmp(p, "http://", 7) == 0) {
        p += 7;
    } else {
        return;
    }

    event->host.data = p;
    while (p < end && *p != '/' && *p != '?' && *p != ':') {
        p++;
    }
    event->host.len = (size_t) (p - event->host.data);

    while (p < end && *p != '/' && *p != '?') {
        p++; /* the port, which r->headers_in.server has not either */
    }

    stop = memchr(p, '?', (size_t) (end - p));
    event->path.data = p;
    event->path.len = (size_t) ((stop != NULL ? stop : end) - p);

    if (stop != NULL && end - stop > 1) {
        event->query.data = stop + 1;
        event->query.len = (size_t) (end - stop - 1);
    }
}


/* What the running session looks at: scalars of the properties. */
void
hit_session_props(tracker_hit_t *hit, tracker_str_t object)
{
    static const hit_field_t fields[TRACKER_HIT_PROPS] = {
        hit_field("product_id"), hit_field("category"), hit_field("price"),
        hit_field("quantity")};
    size_t           i;
    tracker_str_t    values[TRACKER_HIT_PROPS] = {{NULL, 0}};
    tracker_event_t *event;

    event = &hit->event;

    hit_members(fields, TRACKER_HIT_PROPS, object, values);

    for (i = 0; i < TRACKER_HIT_PROPS; i++) {
        values[i] = hit_text(hit, values[i]);

        if (values[i].data != NULL) {
            hit->props[event->nprops].key.data = fields[i].name;
            hit->props[event->nprops].key.len = fields[i].len;
            hit->props[event->nprops].value = values[i];
            event->nprops++;
        }
    }

    event->props = hit->props;
}


/* ---- properties that are put together ---- */

void
hit_object_open(tracker_hit_t *hit, hit_object_t *object)
{
    object->start = hit->room;
    object->p = hit->room;
    object->end = hit->end;
    object->failed = 0;
    hit_object_put(object, "{", 1);
}


void
hit_object_put(hit_object_t *object, const char *data, size_t len)
{
    if ((size_t) (object->end - object->p) < len) {
        object->failed = 1;
        return;
    }

    memcpy(object->p, data, len);
    object->p += len;
}


void
hit_object_key(hit_object_t *object, const char *name)
{
    if (object->p - object->start > 1) {
        hit_object_put(object, ",", 1);
    }

    hit_object_put(object, "\"", 1);
    hit_object_put(object, name, strlen(name));
    hit_object_put(object, "\":", 2);
}


void
hit_object_add(hit_object_t *object, const char *name, tracker_str_t value)
{
    if (value.data != NULL && !(value.len == 4 && *value.data == 'n')) {
        hit_object_key(object, name);
        hit_object_put(object, value.data, value.len);
    }
}


void
hit_object_text(hit_object_t *object, const char *name, tracker_str_t text)
{
    char *p;

    if (text.data == NULL || text.len == 0) {
        return;
    }

    hit_object_key(object, name);
    p = tracker_json_string(object->p, object->end, text, NULL);

    if (p == NULL) {
        object->failed = 1;
        return;
    }

    object->p = p;
}


/* Some protocols send numbers as texts: "19.80" becomes 19.80. */
void
hit_object_number(hit_object_t *object, const char *name, tracker_str_t value)
{
    size_t        i, points;
    tracker_str_t digits;

    digits = value;

    if (value.len > 2 && value.len < 20 && *value.data == '"') {
        digits.data++;
        digits.len -= 2;

        for (i = 0, points = 0; i < digits.len; i++) {
            points += digits.data[i] == '.';

            if ((digits.data[i] < '0' || digits.data[i] > '9')
                && digits.data[i] != '.') {
                points = 2;
            }
        }

        if (points > 1 || digits.data[0] == '.'
            || digits.data[digits.len - 1] == '.'
            || (digits.data[0] == '0' && digits.len > 1
                && digits.data[1] != '.'))
        {
            digits = value;
        }
    }

    hit_object_add(object, name, digits);
}


/* The members of another object, without its brackets. */
void
hit_object_join(hit_object_t *object, tracker_str_t other)
{
    if (other.len > 2) {
        if (object->p - object->start > 1) {
            hit_object_put(object, ",", 1);
        }
        hit_object_put(object, other.data + 1, other.len - 2);
    }
}


tracker_str_t
hit_object_close(tracker_hit_t *hit, hit_object_t *object)
{
    tracker_str_t json = {NULL, 0};

    hit_object_put(object, "}", 1);

    if (!object->failed && object->p - object->start > 2) {
        json.data = object->start;
        json.len = (size_t) (object->p - object->start);
        hit->room = object->p;
    }

    return json;
}


/* ---- refused ---- */

typedef struct {
    char       *p;
    const char *end;
} hit_writer_t;


static void
hit_write(hit_writer_t *w, const char *text)
{
    size_t len;

    len = strlen(text);
    if (w->p == NULL || (size_t) (w->end - w->p) < len) {
        w->p = NULL;
        return;
    }

    memcpy(w->p, text, len);
    w->p += len;
}


static void
hit_write_string(hit_writer_t *w, const char *name, tracker_str_t value)
{
    if (value.len != 0) {
        hit_write(w, name);
        if (w->p != NULL) {
            w->p = tracker_json_string(w->p, w->end, value, NULL);
        }
    }
}


static void
hit_write_uuid(hit_writer_t *w, const char *name, const uint8_t *uuid)
{
    char text[TRACKER_UUID_TEXT];

    if (uuid != NULL) {
        tracker_uuid_text(text, uuid);
        hit_write_string(w, name, (tracker_str_t){text, sizeof(text)});
    }
}


static void
hit_write_number(hit_writer_t *w, const char *name, uint64_t number)
{
    char text[32];

    hit_write(w, name);
    (void) snprintf(text, sizeof(text), "%llu", (unsigned long long) number);
    hit_write(w, text);
}


size_t
tracker_refusal_write(char *buf, size_t size, const tracker_refusal_t *refusal)
{
    hit_writer_t           w;
    const tracker_event_t *event;

    event = &refusal->hit->event;
    w.p = buf;
    w.end = buf + size;

    hit_write(&w, "{");
    hit_write_uuid(&w, "\"id\":", event->id);
    hit_write_string(&w, ",\"site\":", event->site);
    hit_write(&w, ",\"type\":\"reject\"");
    hit_write_number(&w, ",\"rts\":", event->rts_us);
    hit_write_uuid(&w, ",\"vid\":", event->vid);
    hit_write_uuid(&w, ",\"sid\":", event->sid);
    hit_write_string(&w, ",\"src\":", event->src);
    hit_write_string(&w, ",\"reason\":",
        (tracker_str_t){refusal->reason, strlen(refusal->reason)});
    hit_write_string(&w, ",\"protocol\":", refusal->protocol);
    hit_write_string(&w, ",\"path_type\":", refusal->type);
    hit_write_number(&w, ",\"size\":", refusal->size);

    if (refusal->sent_us > 0) {
        hit_write_number(&w, ",\"sent\":", (uint64_t) refusal->sent_us);
    }
    if (event->sn != 0) {
        hit_write_number(&w, ",\"sn\":", event->sn);
    }

    hit_write_string(&w, ",\"ip\":", event->ip);
    hit_write_string(&w, ",\"ua\":", event->ua);
    hit_write(&w, event->trusted ? ",\"trusted\":true" : "");
    hit_write_string(&w, ",\"raw\":", refusal->raw);
    hit_write(&w, "}");

    return w.p == NULL ? 0 : (size_t) (w.p - buf);
}
