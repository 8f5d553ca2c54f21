/*
 * segment.c - one event of Segment's HTTP tracking protocol.
 *
 * Segment's, RudderStack's and Jitsu's libraries send the same object and
 * differ in where they put traits and times.  The type in the body decides,
 * the path's only where it is missing.  What a page is called is a property
 * of it and not the event's name, so that no page can pass for an order.
 */

#include "hit.h"


enum {
    SEGMENT_TIMESTAMP,
    SEGMENT_ORIGINAL,
    SEGMENT_SENT,
    SEGMENT_TYPE,
    SEGMENT_EVENT,
    SEGMENT_NAME,
    SEGMENT_CATEGORY,
    SEGMENT_PROPERTIES,
    SEGMENT_TRAITS,
    SEGMENT_CONTEXT,
    SEGMENT_MESSAGE,
    SEGMENT_ANONYMOUS,
    SEGMENT_USER,
    SEGMENT_GROUP,
    SEGMENT_PREVIOUS,
    SEGMENT_FIELDS
};

static const hit_field_t segment_fields[SEGMENT_FIELDS] = {
    hit_field("timestamp"),
    hit_field("originalTimestamp"),
    hit_field("sentAt"),
    hit_field("type"),
    hit_field("event"),
    hit_field("name"),
    hit_field("category"),
    hit_field("properties"),
    hit_field("traits"),
    hit_field("context"),
    hit_field("messageId"),
    hit_field("anonymousId"),
    hit_field("userId"),
    hit_field("groupId"),
    hit_field("previousId"),
};

enum {
    SEGMENT_PAGE,
    SEGMENT_AGENT,
    SEGMENT_LOCALE,
    SEGMENT_LIBRARY,
    SEGMENT_IP,
    SEGMENT_CONTEXT_TRAITS,
    SEGMENT_SESSION,
    SEGMENT_CONTEXT_FIELDS
};

static const hit_field_t segment_context_fields[SEGMENT_CONTEXT_FIELDS] = {
    hit_field("page"),
    hit_field("userAgent"),
    hit_field("locale"),
    hit_field("library"),
    hit_field("ip"),
    hit_field("traits"),
    hit_field("sessionId"),
};

static const hit_field_t segment_types[] = {
    hit_field("track"),
    hit_field("page"),
    hit_field("identify"),
    hit_field("screen"),
    hit_field("group"),
    hit_field("alias"),
};

#define SEGMENT_TYPES (sizeof(segment_types) / sizeof(segment_types[0]))


static tracker_result_e
segment_type(tracker_hit_t *hit, tracker_str_t value, tracker_str_t path_type)
{
    size_t        i;
    tracker_str_t type;

    type = hit_text(hit, value);
    if (type.data == NULL) {
        type = path_type;
    }

    for (i = 0; i < SEGMENT_TYPES; i++) {
        if (segment_types[i].len == type.len
            && memcmp(segment_types[i].name, type.data, type.len) == 0)
        {
            hit->event.type.data = segment_types[i].name;
            hit->event.type.len = segment_types[i].len;
            return TRACKER_OK;
        }
    }

    return hit_refuse(hit, type.len == 0
                               ? "it has no type"
                               : "its type is none of track, page, identify, "
                                 "screen, group, alias");
}


static tracker_result_e
segment_ids(tracker_hit_t *hit, const tracker_str_t *values)
{
    tracker_event_t *event;

    event = &hit->event;
    event->mid = hit_text(hit, values[SEGMENT_MESSAGE]);
    event->uid = hit_text(hit, values[SEGMENT_USER]);
    event->anon = hit_text(hit, values[SEGMENT_ANONYMOUS]);

    if (event->mid.len > TRACKER_MID_MAX) {
        return hit_refuse(hit, "its messageId is longer than 100 bytes");
    }

    if (!hit_is(event->type, "track")) {
        return TRACKER_OK;
    }

    event->name = hit_text(hit, values[SEGMENT_EVENT]);

    if (event->name.len == 0 || values[SEGMENT_EVENT].data[0] != '"') {
        return hit_refuse(hit, "it is a track without the name of an event");
    }

    if (event->name.len > TRACKER_NAME_MAX) {
        return hit_refuse(hit, "its event's name is longer than 200 bytes");
    }

    return TRACKER_OK;
}


static void
segment_page(tracker_hit_t *hit, tracker_str_t page)
{
    static const hit_field_t fields[] = {
        hit_field("referrer"), hit_field("url")};
    tracker_str_t values[2] = {{NULL, 0}};

    hit_members(fields, 2, page, values);
    hit->event.ref = hit_text(hit, values[0]);

    if (hit_is(hit->event.ref, "$direct")) {
        hit->event.ref.data = NULL;
        hit->event.ref.len = 0;
    }

    hit_url(hit, hit_text(hit, values[1]));
}


static void
segment_context(
    tracker_hit_t *hit, tracker_str_t context, tracker_str_t *traits)
{
    static const hit_field_t library[] = {
        hit_field("name"), hit_field("version")};
    tracker_str_t    lib[2] = {{NULL, 0}};
    tracker_str_t    values[SEGMENT_CONTEXT_FIELDS] = {{NULL, 0}};
    tracker_event_t *event;

    event = &hit->event;
    hit_members(
        segment_context_fields, SEGMENT_CONTEXT_FIELDS, context, values);

    event->ua = hit_text(hit, values[SEGMENT_AGENT]);
    event->lang = hit_text(hit, values[SEGMENT_LOCALE]);
    event->ip = hit_text(hit, values[SEGMENT_IP]);
    hit->session = hit_text(hit, values[SEGMENT_SESSION]);
    segment_page(hit, values[SEGMENT_PAGE]);

    hit_members(library, 2, values[SEGMENT_LIBRARY], lib);
    event->lib = hit_text(hit, lib[0]);
    event->lib_version = hit_text(hit, lib[1]);

    /* RudderStack's browser client has them there only */
    if (traits->len <= 2) {
        *traits = values[SEGMENT_CONTEXT_TRAITS];
    }
}


static tracker_str_t
segment_object(tracker_str_t value)
{
    if (value.data != NULL && *value.data != '{') {
        value.data = NULL;
    }

    if (value.data == NULL) {
        value.len = 0;
    }

    return value;
}


static int
segment_named(tracker_str_t properties)
{
    static const hit_field_t name[] = {hit_field("name")};
    tracker_str_t            value = {NULL, 0};

    hit_members(name, 1, properties, &value);

    return value.data != NULL;
}


static tracker_result_e
segment_props(tracker_hit_t *hit, const tracker_str_t *values)
{
    tracker_str_t    properties;
    hit_object_t     object;
    tracker_event_t *event;

    event = &hit->event;
    properties = segment_object(values[SEGMENT_PROPERTIES]);

    if (hit_is(event->type, "track")) {
        event->json = properties;
        hit_session_props(hit, properties);
        return TRACKER_OK;
    }

    if (hit_is(event->type, "identify")) {
        event->json = segment_object(values[SEGMENT_TRAITS]);
        return TRACKER_OK;
    }

    hit_object_open(hit, &object);

    if (hit_is(event->type, "group")) {
        hit_object_add(&object, "group_id", values[SEGMENT_GROUP]);
        hit_object_join(&object, segment_object(values[SEGMENT_TRAITS]));

    } else if (hit_is(event->type, "alias")) {
        hit_object_add(&object, "previous_id", values[SEGMENT_PREVIOUS]);

    } else {
        if (!segment_named(properties)) {
            hit_object_add(&object, "name", values[SEGMENT_NAME]);
            hit_object_add(&object, "category", values[SEGMENT_CATEGORY]);
        }
        hit_object_join(&object, properties);
    }

    event->json = hit_object_close(hit, &object);

    return object.failed ? hit_refuse(hit, "it is larger than 64 KB")
                         : TRACKER_OK;
}


tracker_result_e
tracker_segment_read(
    tracker_hit_t *hit, char *room, tracker_str_t json, tracker_str_t type)
{
    tracker_str_t    clean, time;
    tracker_str_t    values[SEGMENT_FIELDS] = {{NULL, 0}};
    tracker_result_e rc;

    hit_start(hit, room);

    if (json.len > TRACKER_HIT_MAX) {
        return hit_refuse(hit, "it is larger than 64 KB");
    }

    rc = hit_clean(hit, json, &clean);
    if (rc != TRACKER_OK) {
        return rc;
    }

    if (*clean.data != '{') {
        return hit_refuse(hit, "it is no object");
    }

    hit_members(segment_fields, SEGMENT_FIELDS, clean, values);

    rc = segment_type(hit, values[SEGMENT_TYPE], type);
    if (rc == TRACKER_OK) {
        rc = segment_ids(hit, values);
    }
    if (rc != TRACKER_OK) {
        return rc;
    }

    segment_context(hit, values[SEGMENT_CONTEXT], &values[SEGMENT_TRAITS]);

    time = hit_text(hit, values[SEGMENT_TIMESTAMP]);
    if (time.data == NULL) {
        time = hit_text(hit, values[SEGMENT_ORIGINAL]);
    }
    hit->time_us = tracker_hit_iso(time);
    hit->sent_us = tracker_hit_iso(hit_text(hit, values[SEGMENT_SENT]));

    return segment_props(hit, values);
}
