/*
 * traffic.c - fuzzes queries, referrers and hosts.
 *
 * Input is split at line feeds: query, referrer, own host.  What is kept is
 * written into an event, which must be valid JSON, and into a session's state,
 * which must come back the same.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_event(const tracker_traffic_t *traffic)
{
    static const uint8_t  id[16] = {0};
    char                  buf[4096];
    size_t                pos;
    tracker_str_t         json;
    tracker_event_t       event;
    tracker_result_e      rc;
    tracker_json_member_t member;

    memset(&event, 0, sizeof(event));
    event.id = id;
    event.traffic = traffic;
    json.data = buf;
    json.len = tracker_event_write(buf, sizeof(buf), &event, NULL);

    if (json.len == 0 || json.len > tracker_event_bound(&event)) {
        abort();
    }

    pos = 0;
    while ((rc = tracker_json_next(json, &pos, &member)) == TRACKER_OK) {
        /* every member is one */
    }

    if (rc != TRACKER_DECLINED) {
        abort();
    }
}


static void
check_live(const tracker_traffic_t *traffic)
{
    char           buf[TRACKER_LIVE_JSON_MAX];
    tracker_str_t  json;
    tracker_live_t live, back;

    memset(&live, 0, sizeof(live));
    live.last_us = 1;
    live.started_s = 1;
    live.source = traffic->kept;
    live.source.click_id = 0; /* not shared */
    json.data = buf;
    json.len = tracker_live_write(buf, sizeof(buf), &live);

    if (json.len == 0 || tracker_live_read(&back, json) != TRACKER_OK
        || back.source.class != live.source.class
        || back.source.source_len != live.source.source_len
        || back.source.campaign_len != live.source.campaign_len
        || memcmp(back.source.campaign, live.source.campaign,
               live.source.campaign_len)
               != 0)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned          i;
    const char       *p, *end, *stop;
    tracker_str_t     parts[3];
    tracker_traffic_t traffic;

    memset(parts, 0, sizeof(parts));
    p = (const char *) data;
    end = p + size;

    for (i = 0; i < 3 && p < end; i++, p = stop + 1) {
        stop = memchr(p, '\n', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }
        parts[i].data = p;
        parts[i].len = (size_t) (stop - p);
    }

    (void) tracker_campaign_hash(parts[0]);
    tracker_traffic_read(&traffic, parts[0], parts[1], parts[2]);

    if (traffic.kept.class == TRACKER_TRAFFIC_UNKNOWN
        || traffic.kept.class > TRACKER_TRAFFIC_DIRECT
        || traffic.kept.source_len > sizeof(traffic.kept.source)
        || traffic.term_len > sizeof(traffic.term))
    {
        abort();
    }

    check_event(&traffic);
    check_live(&traffic);

    return 0;
}
