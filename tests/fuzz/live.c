/*
 * live.c - fuzzes reading of the session state that Redis gives back.
 *
 * What can be read can be written, and is then read as the same; events with
 * hostile texts leave a state of which that is true as well.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
round_trip(const tracker_live_t *live)
{
    char           buf[TRACKER_LIVE_JSON_MAX], again[TRACKER_LIVE_JSON_MAX];
    size_t         len;
    tracker_live_t back;

    len = tracker_live_write(buf, sizeof(buf), live);

    if (len == 0
        || tracker_live_read(&back, (tracker_str_t){buf, len}) != TRACKER_OK
        || tracker_live_write(again, sizeof(again), &back) != len
        || memcmp(buf, again, len) != 0)
    {
        abort();
    }
}


static tracker_str_t
part(const uint8_t *data, size_t size, unsigned n)
{
    tracker_str_t text;

    text.data = (const char *) data + size * n / 8;
    text.len = size * (n + 1) / 8 - size * n / 8;

    return text;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned                   i;
    tracker_live_t             live, read;
    tracker_prop_t             props[4];
    tracker_event_t            event;
    static const tracker_str_t names[] = {{"Product Viewed", 14},
        {"Product Added", 13}, {"Product Removed", 15},
        {"Order Completed", 15}};
    static const tracker_str_t keys[] = {
        {"product_id", 10}, {"price", 5}, {"quantity", 8}, {"category", 8}};

    if (tracker_live_read(&read, (tracker_str_t){(const char *) data, size})
        == TRACKER_OK)
    {
        round_trip(&read);
        live = read;
    } else {
        memset(&live, 0, sizeof(live));
    }

    for (i = 0; i < 4; i++) {
        memset(&event, 0, sizeof(event));
        event.rts_us = 1764000000123456 + i;
        event.sn = 1;
        event.type = (tracker_str_t){"page", 4};
        event.name = names[(i + size) % 4];
        event.path = part(data, size, 0);
        event.ref = part(data, size, 1);
        event.uid = part(data, size, 2);
        props[0].key = keys[0];
        props[0].value = part(data, size, 3 + i);
        props[1].key = keys[1];
        props[1].value = part(data, size, 4);
        props[2].key = keys[2];
        props[2].value = part(data, size, 5 + i % 2);
        props[3].key = keys[3];
        props[3].value = part(data, size, 7);
        event.props = props;
        event.nprops = 4;
        tracker_live_add(&live, &event, 1764000000);
        round_trip(&live);
    }

    memset(&read, 0, sizeof(read));
    tracker_live_merge(&read, &live);
    round_trip(&read);

    return 0;
}
