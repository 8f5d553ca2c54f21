/*
 * voice.c - reads what the shop says in X-CRM-Event and X-CRM-Identify.
 *
 * Both headers come in two forms, told apart by the first character:
 *
 *     Product Added; product_id=A13; note="a; b"
 *     {"event":"Product Added","properties":{"product_id":"A13"}}
 *
 *     C-77; email_sha256=9f86…; loyalty=L-9        (or id=C-77; …)
 *     {"id":"C-77","email_sha256":"9f86…"}
 *
 * A value with a semicolon or outer blanks stands in quotes, where a backslash
 * takes the next character as it is.  Of JSON, texts are unescaped, numbers
 * and truth values are their own text, nested values their JSON, and null is
 * nothing.  A header with a fault is refused whole: half an order is worse
 * than none, and a counter tells the shop.
 *
 * Nothing is allocated: what must be unescaped goes into the caller's buffer,
 * never longer than the header, and everything else points into the header.
 */

#include "tracker.h"

#include <string.h>


#define VOICE_KEY_MAX      32  /* bytes of a property's name */
#define VOICE_JSON_KEY_MAX 64  /* bytes, of a name in JSON, unescaped */
#define VOICE_NAME_MAX     200 /* bytes of an event's name */

typedef struct {
    const char      *p;
    const char      *end;
    char            *room; /* for unescaped text */
    char            *room_end;
    tracker_voice_t *voice;
} voice_reader_t;


static void
voice_blanks(voice_reader_t *in)
{
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\t')) {
        in->p++;
    }
}


static int
voice_is_key(char c, int first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
           || (c >= '0' && c <= '9' && !first);
}


/* "key =" in front of a value; 0 and nothing read if there is none. */
static int
voice_key(voice_reader_t *in, tracker_str_t *key)
{
    const char *start;

    start = in->p;

    while (in->p < in->end && voice_is_key(*in->p, in->p == start)) {
        in->p++;
    }

    key->data = start;
    key->len = (size_t) (in->p - start);
    voice_blanks(in);

    if (key->len == 0 || key->len > VOICE_KEY_MAX || in->p == in->end
        || *in->p != '=')
    {
        in->p = start;
        return 0;
    }

    in->p++;
    voice_blanks(in);

    return 1;
}


/* What stands between quotes, without its backslashes; *in->p is a quote. */
static tracker_result_e
voice_quoted(voice_reader_t *in, tracker_str_t *value)
{
    char *start;

    start = in->room;

    for (in->p++; in->p < in->end; in->p++) {

        if (*in->p == '"') {
            in->p++;
            value->data = start;
            value->len = (size_t) (in->room - start);
            voice_blanks(in);
            return in->p == in->end || *in->p == ';' ? TRACKER_OK
                                                     : TRACKER_INVALID;
        }

        if (*in->p == '\\' && ++in->p == in->end) {
            break;
        }

        if (in->room == in->room_end) {
            return TRACKER_FULL;
        }

        *in->room++ = *in->p;
    }

    return TRACKER_INVALID;
}


/* A value up to its semicolon, which is passed. */
static tracker_result_e
voice_value(voice_reader_t *in, tracker_str_t *value)
{
    tracker_result_e rc;

    rc = TRACKER_OK;

    if (in->p < in->end && *in->p == '"') {
        rc = voice_quoted(in, value);

    } else {
        value->data = in->p;

        while (in->p < in->end && *in->p != ';') {
            in->p++;
        }

        value->len = (size_t) (in->p - value->data);

        while (value->len > 0
               && (value->data[value->len - 1] == ' '
                   || value->data[value->len - 1] == '\t'))
        {
            value->len--;
        }
    }

    if (rc == TRACKER_OK && in->p < in->end) {
        in->p++;
    }

    voice_blanks(in);

    return rc;
}


/* Adds a property; one of a name that is there already is dropped. */
static tracker_result_e
voice_put(tracker_voice_t *voice, tracker_str_t key, tracker_str_t value)
{
    unsigned i;

    if (value.len == 0) {
        return TRACKER_OK;
    }

    for (i = 0; i < voice->nprops; i++) {
        if (voice->props[i].key.len == key.len
            && memcmp(voice->props[i].key.data, key.data, key.len) == 0)
        {
            return TRACKER_OK;
        }
    }

    if (voice->nprops == TRACKER_EVENT_PROPS_MAX) {
        return TRACKER_INVALID;
    }

    voice->props[voice->nprops].key = key;
    voice->props[voice->nprops].value = value;
    voice->nprops++;

    return TRACKER_OK;
}


static int
voice_equals(tracker_str_t key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.data, name, key.len) == 0;
}


/* The rest of a header in plain form: key=value; key=value … */
static tracker_result_e
voice_parts(voice_reader_t *in, const char *own)
{
    tracker_str_t    key, value;
    tracker_result_e rc;

    while (in->p < in->end) {

        if (!voice_key(in, &key)) {
            return TRACKER_INVALID;
        }

        rc = voice_value(in, &value);
        if (rc != TRACKER_OK) {
            return rc;
        }

        if (own != NULL && voice_equals(key, own)) {
            if (in->voice->name.len == 0) {
                in->voice->name = value;
            }
            continue;
        }

        rc = voice_put(in->voice, key, value);
        if (rc != TRACKER_OK) {
            return rc;
        }
    }

    return TRACKER_OK;
}


static tracker_result_e
voice_text(voice_reader_t *in, tracker_str_t raw, tracker_str_t *text)
{
    size_t           len;
    tracker_result_e rc;

    rc = tracker_json_text(
        raw, in->room, (size_t) (in->room_end - in->room), &len);
    if (rc != TRACKER_OK) {
        return rc;
    }

    text->data = in->room;
    text->len = len;
    in->room += len;

    return TRACKER_OK;
}


static tracker_result_e
voice_json_value(voice_reader_t *in, const tracker_json_member_t *member,
    tracker_str_t *value)
{
    switch (member->type) {

    case '"':
        return voice_text(in, member->value, value);

    case 'n':
        value->data = NULL;
        value->len = 0;
        return TRACKER_OK;

    default:
        *value = member->value;
        return TRACKER_OK;
    }
}


static tracker_result_e
voice_json_put(voice_reader_t *in, const tracker_json_member_t *member)
{
    tracker_str_t    raw, key, value;
    tracker_result_e rc;

    /* with the quotes that stand around it */
    raw.data = member->key.data - 1;
    raw.len = member->key.len + 2;

    rc = voice_text(in, raw, &key);

    if (rc == TRACKER_OK && (key.len == 0 || key.len > VOICE_JSON_KEY_MAX)) {
        return TRACKER_INVALID;
    }

    if (rc == TRACKER_OK) {
        rc = voice_json_value(in, member, &value);
    }

    return rc == TRACKER_OK ? voice_put(in->voice, key, value) : rc;
}


/* Each member of an object is a property, but `own` is the name. */
static tracker_result_e
voice_json_object(voice_reader_t *in, tracker_str_t object, const char *own)
{
    size_t                pos;
    tracker_result_e      rc;
    tracker_json_member_t member;

    pos = 0;

    while ((rc = tracker_json_next(object, &pos, &member)) == TRACKER_OK) {

        if (own != NULL && voice_equals(member.key, own)) {
            rc = member.type == '"' || member.type == '0'
                     ? voice_json_value(in, &member, &in->voice->name)
                     : TRACKER_INVALID;

        } else {
            rc = voice_json_put(in, &member);
        }

        if (rc != TRACKER_OK) {
            return rc;
        }
    }

    return rc == TRACKER_DECLINED ? TRACKER_OK : rc;
}


static tracker_result_e
voice_json_event(voice_reader_t *in, tracker_str_t object)
{
    size_t                pos;
    tracker_result_e      rc;
    tracker_json_member_t member;

    pos = 0;

    while ((rc = tracker_json_next(object, &pos, &member)) == TRACKER_OK) {

        if (voice_equals(member.key, "event")) {
            rc = voice_text(in, member.value, &in->voice->name);

        } else if (voice_equals(member.key, "properties")) {
            rc = voice_json_object(in, member.value, NULL);
        }

        if (rc != TRACKER_OK) {
            return rc;
        }
    }

    return rc == TRACKER_DECLINED ? TRACKER_OK : rc;
}


/* 1: JSON follows; its length is that of the header. */
static int
voice_start(voice_reader_t *in, tracker_str_t value, char *buf, size_t size,
    tracker_voice_t *voice)
{
    in->p = value.data;
    in->end = value.data + value.len;
    in->room = buf;
    in->room_end = buf + size;
    in->voice = voice;

    voice->name.data = NULL;
    voice->name.len = 0;
    voice->nprops = 0;

    voice_blanks(in);

    return in->p < in->end && *in->p == '{';
}


tracker_result_e
tracker_voice_event(
    tracker_str_t value, char *buf, size_t size, tracker_voice_t *voice)
{
    voice_reader_t   in;
    tracker_result_e rc;

    if (value.data == NULL || value.len > TRACKER_VOICE_MAX) {
        return TRACKER_INVALID;
    }

    if (voice_start(&in, value, buf, size, voice)) {
        rc = voice_json_event(&in, value);

    } else {
        rc = voice_value(&in, &voice->name);
        if (rc == TRACKER_OK) {
            rc = voice_parts(&in, NULL);
        }
    }

    if (rc == TRACKER_OK
        && (voice->name.len == 0 || voice->name.len > VOICE_NAME_MAX))
    {
        return TRACKER_INVALID;
    }

    return rc;
}


tracker_result_e
tracker_voice_identify(
    tracker_str_t value, char *buf, size_t size, tracker_voice_t *voice)
{
    const char      *start;
    tracker_str_t    key;
    voice_reader_t   in;
    tracker_result_e rc;

    if (value.data == NULL || value.len > TRACKER_VOICE_MAX) {
        return TRACKER_INVALID;
    }

    if (voice_start(&in, value, buf, size, voice)) {
        rc = voice_json_object(&in, value, "id");

    } else {
        start = in.p;

        if (voice_key(&in, &key)) {
            in.p = start;
            rc = TRACKER_OK;
        } else {
            rc = voice_value(&in, &voice->name);
        }

        if (rc == TRACKER_OK) {
            rc = voice_parts(&in, "id");
        }
    }

    if (rc == TRACKER_OK && voice->name.len == 0 && voice->nprops == 0) {
        return TRACKER_INVALID;
    }

    return rc;
}
