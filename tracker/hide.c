/*
 * hide.c - hashes what is named, in properties and in JSON.
 *
 * A hash is the first 128 bits of an HMAC-SHA256 over the name as configured
 * and the text of the value, in hex: equal values stay equal wherever they
 * come from, and nobody can try them without the key.  JSON is read in one
 * pass; a string in front of a colon is a member's name, because clean JSON has
 * no blanks.  What is hidden never depends on a parser that might give up
 * half-way: text that is no JSON is the caller's to drop.
 */

#include "hide.h"
#include "hit.h"


#define HIDE_NAME_MAX 128 /* bytes of a member's name with escapes */
#define HIDE_GROWTH   9   /* "a":1, becomes at most that many times as long */
#define HIDE_MORE     64
#define HIDE_WORD     "hidden"

typedef struct {
    char *p;
    char *end;
} hide_out_t;


static char
hide_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


static const tracker_str_t *
hide_find(const tracker_hide_t *hide, tracker_str_t key)
{
    size_t   n;
    unsigned i;

    for (i = 0; i < hide->nnames; i++) {
        if (hide->names[i].len != key.len) {
            continue;
        }

        for (n = 0; n < key.len; n++) {
            if (hide_lower(hide->names[i].data[n]) != hide_lower(key.data[n])) {
                break;
            }
        }

        if (n == key.len) {
            return &hide->names[i];
        }
    }

    return NULL;
}


static void
hide_hash(const tracker_hide_t *hide, const tracker_str_t *name,
    tracker_str_t value, char text[TRACKER_HIDE_LEN])
{
    static const char hex[] = "0123456789abcdef";
    size_t            i;
    uint8_t           mac[TRACKER_MAC_SIZE];
    tracker_str_t     parts[2];

    parts[0] = *name;
    parts[1] = value;
    tracker_mac(hide->key, "property", parts, 2, mac);

    for (i = 0; i < TRACKER_HIDE_LEN / 2; i++) {
        text[2 * i] = hex[mac[i] >> 4];
        text[2 * i + 1] = hex[mac[i] & 15];
    }
}


static tracker_result_e
hide_put(hide_out_t *out, const char *data, size_t len)
{
    if ((size_t) (out->end - out->p) < len) {
        return TRACKER_FULL;
    }

    memcpy(out->p, data, len);
    out->p += len;

    return TRACKER_OK;
}


/* The text of a raw string, unescaped at the end of the room. */
static tracker_result_e
hide_text(const hide_out_t *out, tracker_str_t raw, tracker_str_t *text)
{
    char *room;

    if ((size_t) (out->end - out->p) < raw.len) {
        return TRACKER_FULL;
    }

    room = out->end - raw.len;
    text->data = room;

    return tracker_json_text(raw, room, raw.len, &text->len);
}


/* The value of a member that is named. */
static tracker_result_e
hide_value(const tracker_hide_t *hide, hide_out_t *out,
    const tracker_str_t *name, tracker_str_t raw)
{
    char          text[TRACKER_HIDE_LEN + 2];
    tracker_str_t value;

    if (raw.len == 4 && memcmp(raw.data, "null", 4) == 0) {
        return hide_put(out, raw.data, raw.len);
    }

    value = raw;

    if (*raw.data == '"' && hide_text(out, raw, &value) != TRACKER_OK) {
        return TRACKER_FULL;
    }

    text[0] = '"';
    hide_hash(hide, name, value, text + 1);
    text[sizeof(text) - 1] = '"';

    return hide_put(out, text, sizeof(text));
}


/* A string that may be a URL or a query. */
static tracker_result_e
hide_string(const tracker_hide_t *hide, hide_out_t *out, tracker_str_t raw)
{
    char         *p;
    tracker_str_t text;

    if (memchr(raw.data, '=', raw.len) == NULL) {
        return hide_put(out, raw.data, raw.len);
    }

    if (hide_text(out, raw, &text) != TRACKER_OK) {
        return TRACKER_FULL;
    }

    /* in place: the text is ours */
    text.len =
        tracker_query_hide(out->end - raw.len, text, hide->names, hide->nnames);
    p = tracker_json_string(out->p, out->end - raw.len, text, NULL);

    if (p == NULL) {
        return TRACKER_FULL;
    }

    out->p = p;

    return TRACKER_OK;
}


/* The name of the member whose raw string this is, if it is to be hidden. */
static const tracker_str_t *
hide_member(const tracker_hide_t *hide, tracker_str_t raw)
{
    char          buf[HIDE_NAME_MAX];
    tracker_str_t key;

    key.data = raw.data + 1;
    key.len = raw.len - 2;

    if (memchr(raw.data, '\\', raw.len) != NULL) {
        if (tracker_json_text(raw, buf, sizeof(buf), &key.len) != TRACKER_OK) {
            return NULL; /* longer than any that is configured */
        }
        key.data = buf;
    }

    return hide_find(hide, key);
}


tracker_result_e
tracker_json_hide(const tracker_hide_t *hide, tracker_str_t json, char *buf,
    size_t size, size_t *len)
{
    const char          *p, *q, *end;
    hide_out_t           out;
    tracker_str_t        raw;
    tracker_result_e     rc;
    const tracker_str_t *name;

    out.p = buf;
    out.end = buf + size;
    end = json.data + json.len;

    for (p = json.data; p < end; p = q) {
        raw.data = p;

        if (*p != '"') {
            q = memchr(p, '"', (size_t) (end - p));
            q = q != NULL ? q : end;
            rc = hide_put(&out, p, (size_t) (q - p));

        } else {
            q = hit_string_end(p, end);
            raw.len = (size_t) (q - p);

            if (q == end || *q != ':') {
                rc = hide_string(hide, &out, raw);

            } else {
                name = hide_member(hide, raw);
                rc = hide_put(&out, p, ++raw.len);
                q++;

                if (rc == TRACKER_OK && name != NULL) {
                    raw.data = q;
                    q = hit_value_end(q, end);
                    raw.len = (size_t) (q - raw.data);
                    rc = hide_value(hide, &out, name, raw);
                }
            }
        }

        if (rc != TRACKER_OK) {
            return rc;
        }
    }

    *len = (size_t) (out.p - buf);

    return TRACKER_OK;
}


static unsigned
hide_nested(tracker_str_t value)
{
    return value.len > 0 && (*value.data == '{' || *value.data == '[');
}


size_t
tracker_prop_hide_bound(const tracker_hide_t *hide, const tracker_prop_t *prop)
{
    if (hide_find(hide, prop->key) != NULL) {
        return TRACKER_HIDE_LEN;
    }

    if (hide_nested(prop->value)) {
        return HIDE_GROWTH * prop->value.len + HIDE_MORE;
    }

    return prop->value.len > 0
                   && memchr(prop->value.data, '=', prop->value.len) != NULL
               ? prop->value.len
               : 0;
}


void
tracker_prop_hide(
    const tracker_hide_t *hide, tracker_prop_t *prop, char *buf, size_t size)
{
    size_t               len;
    unsigned             replaced;
    tracker_str_t        json;
    const tracker_str_t *name;

    name = hide_find(hide, prop->key);

    if (name != NULL) {
        hide_hash(hide, name, prop->value, buf);
        prop->value.data = buf;
        prop->value.len = TRACKER_HIDE_LEN;
        return;
    }

    if (hide_nested(prop->value)) {
        replaced = 0;

        if (tracker_json_clean(prop->value, buf, size, &len, &replaced)
            == TRACKER_OK) {
            json.data = buf;
            json.len = len;
            prop->value.data = buf + len;

            if (tracker_json_hide(
                    hide, json, buf + len, size - len, &prop->value.len)
                == TRACKER_OK)
            {
                return;
            }
        }

        prop->value.data = HIDE_WORD;
        prop->value.len = sizeof(HIDE_WORD) - 1;
        return;
    }

    prop->value.len =
        tracker_query_hide(buf, prop->value, hide->names, hide->nnames);
    prop->value.data = buf;
}
