/*
 * extract.c - fuzzes forms, paths and the walk through JSON.
 *
 * The input is a path, a line feed, and a text.  What the strict reader takes
 * as JSON, the walk takes too; and what the walk finds is what jansson finds.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static json_t *
follow(json_t *json, const tracker_path_t *path)
{
    unsigned              i;
    const tracker_step_t *step;

    for (i = 0; i < path->nsteps && json != NULL; i++) {
        step = &path->steps[i];
        json = step->key.data != NULL
                   ? json_object_getn(json, step->key.data, step->key.len)
                   : json_array_get(json, step->index);
    }

    return json;
}


static void
compare(tracker_str_t text, const tracker_path_t *path, tracker_str_t found)
{
    char   *buf;
    size_t  len;
    json_t *root, *want;

    root = json_loadb(
        text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (root == NULL) {
        return;
    }

    want = follow(root, path);

    if (found.data != NULL && found.data[0] == '"' && json_is_string(want)) {
        buf = malloc(found.len);
        if (tracker_json_text(found, buf, found.len, &len) != TRACKER_OK
            || len != json_string_length(want)
            || memcmp(buf, json_string_value(want), len) != 0)
        {
            abort();
        }
        free(buf);

    } else if (found.data != NULL && (want == NULL || json_is_string(want))) {
        abort();

    } else if (found.data == NULL && json_is_number(want)
               && memchr(text.data, '\\', text.len) == NULL)
    {
        abort();
    }

    json_decref(root);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                  buf[64];
    size_t                len, pos;
    const uint8_t        *end;
    tracker_str_t         path_text, text, values[2];
    tracker_path_t        paths[2];
    tracker_result_e      rc, strict;
    tracker_json_member_t member;

    end = memchr(data, '\n', size);
    if (end == NULL) {
        return 0;
    }

    path_text.data = (const char *) data;
    path_text.len = (size_t) (end - data);
    text.data = (const char *) end + 1;
    text.len = size - path_text.len - 1;

    rc = tracker_form_value(text, path_text, buf, sizeof(buf), &len);
    if (rc == TRACKER_OK && len > sizeof(buf)) {
        abort();
    }

    if (tracker_path_parse(&paths[0], path_text) != TRACKER_OK) {
        return 0;
    }

    paths[1] = paths[0];
    rc = tracker_json_extract(text, paths, 2, values);

    pos = 0;
    while ((strict = tracker_json_next(text, &pos, &member)) == TRACKER_OK) {
        /* void */
    }

    if (rc != TRACKER_OK) {
        if (strict == TRACKER_DECLINED || values[0].data != NULL) {
            abort();
        }
        return 0;
    }

    if (values[0].data != values[1].data) {
        abort();
    }

    compare(text, &paths[0], values[0]);

    return 0;
}
