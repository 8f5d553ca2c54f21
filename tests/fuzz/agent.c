/*
 * agent.c - fuzzes the user agent, its client hints and what is made of them.
 *
 * Input is split at line feeds: user agent, then the hints mobile, platform and
 * platform version, then city and network.  What is written must be members
 * of a JSON object, and what is found in it must lie within it.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static tracker_str_t
next(const char **p, const char *end)
{
    const char   *stop;
    tracker_str_t text = {NULL, 0};

    if (*p >= end) {
        return text;
    }

    stop = memchr(*p, '\n', (size_t) (end - *p));
    if (stop == NULL) {
        stop = end;
    }

    text.data = *p;
    text.len = (size_t) (stop - *p);
    *p = stop + 1;

    return text;
}


static void
check(const tracker_enrich_t *enrich)
{
    char                  object[TRACKER_ENRICH_TEXT + 2];
    size_t                pos;
    tracker_str_t         json, value;
    tracker_result_e      rc;
    tracker_json_member_t member;

    if (enrich->len == 0 || enrich->len > TRACKER_ENRICH_TEXT) {
        abort();
    }

    memcpy(object, enrich->text, enrich->len);
    object[0] = '{';
    object[enrich->len] = '}';
    json.data = object;
    json.len = (size_t) enrich->len + 1;
    pos = 0;

    while ((rc = tracker_json_next(json, &pos, &member)) == TRACKER_OK) {
        /* every member is one */
    }

    if (rc != TRACKER_DECLINED) {
        abort();
    }

    value = tracker_enrich_find(enrich, "city");
    if (value.len > TRACKER_ENRICH_TEXT) {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char      *p, *end;
    tracker_bot_t    bot;
    tracker_str_t    ua;
    tracker_agent_t  agent;
    tracker_hints_t  hints;
    tracker_place_t  place;
    tracker_enrich_t enrich;

    p = (const char *) data;
    end = p + size;

    ua = next(&p, end);
    hints.mobile = next(&p, end);
    hints.platform = next(&p, end);
    hints.platform_version = next(&p, end);
    tracker_agent_read(&agent, ua, &hints);

    if (agent.device >= TRACKER_DEVICE_BOT
        || strlen(agent.os_version) >= sizeof(agent.os_version))
    {
        abort();
    }

    memset(&place, 0, sizeof(place));
    place.city = next(&p, end);
    place.as_name = next(&p, end);
    place.country = ua;
    place.asn = (uint32_t) size;

    tracker_enrich_write(&enrich, &place, &agent, NULL);
    check(&enrich);

    bot.name = ua;
    bot.kind = (uint8_t) size;
    bot.reason = "agent";
    tracker_enrich_write(&enrich, &place, &agent, &bot);
    check(&enrich);

    return 0;
}
