/*
 * snowplow.c - fuzzes events of Snowplow and its queries: what is accepted is
 * written as one line that the importer's reader accepts, too.
 */

#include "tracker/tracker.h"
#include "mining/mining.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char room[TRACKER_HIT_ROOM];
static char line[TRACKER_EVENT_MAX];


static void
written(tracker_hit_t *hit)
{
    size_t                len;
    const char           *reason;
    uint8_t               id[16], vid[16];
    static mining_event_t event;
    const int64_t         now = 1795319900000000;

    memset(id, 7, sizeof(id));
    tracker_hit_uuid(vid, (tracker_str_t){"s", 1}, "anon", hit->event.anon);
    hit->event.id = id;
    hit->event.vid = vid;
    hit->event.site = (tracker_str_t){"shop", 4};
    hit->event.src = (tracker_str_t){"client", 6};
    hit->event.rts_us = (uint64_t) now;
    tracker_hit_time(hit, 0, (uint64_t) now);

    len = tracker_event_write(line, sizeof(line), &hit->event, NULL);

    if (len != 0
        && (memchr(line, '\n', len) != NULL
            || mining_event_slice(
                   &event, (tracker_str_t){line, len}, now, &reason)
                   != MINING_OK))
    {
        abort();
    }
}


/* A query becomes clean JSON, or does not fit. */
static void
query(tracker_str_t text)
{
    char            *buf;
    size_t           size, len, pos;
    tracker_str_t    json;
    tracker_result_e rc;

    size = 8 * text.len + 64;
    buf = malloc(size);

    if (tracker_snowplow_query(text, buf, size, &len) != TRACKER_OK) {
        abort();
    }

    json.data = buf;
    json.len = len;
    pos = 0;

    do {
        tracker_json_member_t member;

        rc = tracker_json_next(json, &pos, &member);
    } while (rc == TRACKER_OK);

    if (rc != TRACKER_DECLINED) {
        abort();
    }

    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tracker_hit_t     hit;
    tracker_str_t     text;
    tracker_refusal_t refusal;

    text.data = (const char *) data;
    text.len = size;

    if (size == 0) {
        return 0;
    }

    query(text);

    if (tracker_snowplow_read(&hit, room, text) == TRACKER_OK) {
        written(&hit);
        return 0;
    }

    if (hit.reason == NULL) {
        abort();
    }

    memset(&refusal, 0, sizeof(refusal));
    refusal.hit = &hit;
    refusal.raw = text;
    refusal.reason = hit.reason;
    (void) tracker_refusal_write(line, sizeof(line), &refusal);

    return 0;
}
