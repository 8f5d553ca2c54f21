/*
 * hit.h - what hit.c, segment.c, snowplow.c and hide.c share, and nobody else.
 */

#ifndef TRACKER_HIT_H_INCLUDED_
#define TRACKER_HIT_H_INCLUDED_

#include "tracker.h"

#include <string.h>

#pragma GCC visibility push(hidden)


typedef struct {
    const char *name;
    size_t      len;
} hit_field_t;

#define hit_field(text)                                                        \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }

#define hit_is(value, text)                                                    \
    ((value).len == sizeof(text) - 1                                           \
        && memcmp((value).data, text, sizeof(text) - 1) == 0)

/* An object being written at the start of the hit's room. */
typedef struct {
    char       *start;
    char       *p;
    const char *end;
    int         failed; /* it did not fit */
} hit_object_t;


void hit_start(tracker_hit_t *hit, char *room);
/* Sets the reason; returns TRACKER_INVALID. */
tracker_result_e hit_refuse(tracker_hit_t *hit, const char *reason);
/* tracker_json_clean into the room. */
tracker_result_e hit_clean(
    tracker_hit_t *hit, tracker_str_t json, tracker_str_t *clean);
/* The text of a clean string, number or word; absent if empty or null. */
tracker_str_t hit_text(tracker_hit_t *hit, tracker_str_t value);
/* Raw values of the members named, absent ones are left as they are. */
void hit_members(const hit_field_t *fields, size_t nfields,
    tracker_str_t object, tracker_str_t *values);
/* Behind the clean string, or the clean value, that begins at p. */
const char *hit_string_end(const char *p, const char *end);
const char *hit_value_end(const char *p, const char *end);
/* The bytes of base64url, in the room; absent when it is none. */
tracker_str_t hit_base64(tracker_hit_t *hit, tracker_str_t text);
void          hit_url(tracker_hit_t *hit, tracker_str_t url);
void          hit_session_props(tracker_hit_t *hit, tracker_str_t object);

/* Nothing else may use the room between open and close. */
void hit_object_open(tracker_hit_t *hit, hit_object_t *object);
void hit_object_put(hit_object_t *object, const char *data, size_t len);
void hit_object_key(hit_object_t *object, const char *name);
void hit_object_add(
    hit_object_t *object, const char *name, tracker_str_t value);
/* The same of a text, or of a text that is a number. */
void hit_object_text(
    hit_object_t *object, const char *name, tracker_str_t text);
void hit_object_number(
    hit_object_t *object, const char *name, tracker_str_t value);
void hit_object_join(hit_object_t *object, tracker_str_t other);
/* Absent when nothing is in it; failed when it does not fit. */
tracker_str_t hit_object_close(tracker_hit_t *hit, hit_object_t *object);


#pragma GCC visibility pop

#endif /* TRACKER_HIT_H_INCLUDED_ */
