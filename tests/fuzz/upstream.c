/*
 * upstream.c - fuzzes what a shop may put into X-CRM-Event and -Identify.
 *
 * Whatever is accepted stays within its bounds, points into header or buffer,
 * and becomes an event that is JSON.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
write_event(const tracker_voice_t *voice)
{
    char           *buf;
    size_t          n, max;
    json_t         *json;
    uint8_t         id[TRACKER_UUID_SIZE];
    tracker_event_t event;

    memset(id, 0, sizeof(id));
    memset(&event, 0, sizeof(event));
    event.id = id;
    event.name = voice->name;
    event.props = voice->props;
    event.nprops = voice->nprops;

    max = tracker_event_bound(&event);
    buf = malloc(max);
    n = tracker_event_write(buf, max, &event, NULL);
    json = json_loadb(buf, n, JSON_REJECT_DUPLICATES, NULL);
    free(buf);

    if (json == NULL) {
        abort();
    }

    json_decref(json);
}


static void
check(tracker_str_t text, const char *buf, size_t size, tracker_str_t value)
{
    if (text.len == 0) {
        return;
    }

    if (!(text.data >= value.data && text.len <= value.len
            && text.data + text.len <= value.data + value.len)
        && !(text.data >= buf && text.data + text.len <= buf + size))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int              i;
    char            *buf;
    unsigned         n;
    tracker_str_t    value;
    tracker_voice_t  voice;
    tracker_result_e rc;

    value.data = (const char *) data;
    value.len = size;
    buf = malloc(size + 1);

    for (i = 0; i < 2; i++) {
        rc = i == 0 ? tracker_voice_event(value, buf, size, &voice)
                    : tracker_voice_identify(value, buf, size, &voice);

        if (rc == TRACKER_FULL || voice.nprops > TRACKER_EVENT_PROPS_MAX) {
            abort(); /* a buffer of the value's length is enough */
        }

        if (rc == TRACKER_OK) {
            check(voice.name, buf, size, value);
            for (n = 0; n < voice.nprops; n++) {
                check(voice.props[n].key, buf, size, value);
                check(voice.props[n].value, buf, size, value);
            }
            write_event(&voice);
        }
    }

    free(buf);

    return 0;
}
