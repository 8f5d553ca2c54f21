/*
 * json.c - fuzzes reading and writing of JSON, with jansson as the judge.
 *
 * What tracker_json_next accepts, jansson accepts too; any bytes written as a
 * string come back, unless some were replaced.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
walk(tracker_str_t json)
{
    char                 *buf;
    json_t               *value;
    size_t                pos, len;
    tracker_result_e      rc;
    tracker_json_member_t member;

    buf = malloc(json.len + 1);
    pos = 0;

    while ((rc = tracker_json_next(json, &pos, &member)) == TRACKER_OK) {
        if (pos > json.len || member.value.len == 0
            || member.value.data + member.value.len != json.data + pos)
        {
            abort();
        }

        if ((tracker_json_text(member.value, buf, json.len, &len) == TRACKER_OK)
            != (member.type == '"'))
        {
            abort();
        }
    }

    if (rc == TRACKER_DECLINED) {
        /* Numbers too large for C are no fault of the text. */
        value = json_loadb(json.data, json.len, JSON_DECODE_INT_AS_REAL, NULL);
        if (value == NULL && memchr(json.data, 'e', json.len) == NULL
            && memchr(json.data, 'E', json.len) == NULL && json.len < 300)
        {
            abort();
        }
        json_decref(value);
    }

    free(buf);
}


static void
write_and_read(tracker_str_t text)
{
    char    *out, *back, *end;
    size_t   len;
    unsigned replaced;

    out = malloc(2 + 6 * text.len);
    back = malloc(3 * text.len + 1);
    replaced = 0;
    end = tracker_json_string(out, out + 2 + 6 * text.len, text, &replaced);

    if (end == NULL
        || tracker_json_text((tracker_str_t){out, (size_t) (end - out)}, back,
               3 * text.len, &len)
               != TRACKER_OK
        || (replaced == 0
            && (len != text.len
                || (len > 0 && memcmp(back, text.data, len) != 0)))
        || len != text.len + 2 * (size_t) replaced)
    {
        abort();
    }

    free(out);
    free(back);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         *buf;
    size_t        len;
    tracker_str_t text;

    text.data = (const char *) data;
    text.len = size;
    walk(text);
    write_and_read(text);

    buf = malloc(size + 1);
    (void) tracker_json_text(text, buf, size, &len);
    free(buf);

    return 0;
}
