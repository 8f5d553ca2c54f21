/*
 * hide.c - fuzzes the hashing of named members: what is clean JSON stays
 * clean JSON, and every room asked for is enough.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


#define KEY                                                                    \
    "7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static tracker_keys_t keys;

static char clean[4 * 65536], once[16 * 65536], again[16 * 65536];


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    unsigned line;

    (void) argc;
    (void) argv;

    return tracker_keys_parse(&keys, KEY, sizeof(KEY) - 1, &line) == TRACKER_OK
               ? 0
               : 1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t              len;
    unsigned            replaced;
    tracker_str_t       json;
    tracker_prop_t      prop;
    tracker_hide_t      hide;
    const tracker_str_t names[] = {{"email", 5}, {"t", 1}};

    hide.key = &keys.keys[0];
    hide.names = names;
    hide.nnames = 2;

    if (size > 32768) {
        return 0;
    }

    prop.key = (tracker_str_t){"p", 1};
    prop.value = (tracker_str_t){(const char *) data, size};
    len = tracker_prop_hide_bound(&hide, &prop);
    if (len > sizeof(once)) {
        abort();
    }
    if (len > 0) {
        tracker_prop_hide(&hide, &prop, once, len);
    }

    json.data = clean;
    replaced = 0;

    if (tracker_json_clean((tracker_str_t){(const char *) data, size}, clean,
            sizeof(clean), &json.len, &replaced)
        != TRACKER_OK)
    {
        return 0;
    }

    if (tracker_json_hide(&hide, json, once, sizeof(once), &len) != TRACKER_OK
        || tracker_json_clean((tracker_str_t){once, len}, again, sizeof(again),
               &json.len, &replaced)
               != TRACKER_OK
        || json.len != len || memcmp(once, again, len) != 0)
    {
        abort();
    }

    return 0;
}
