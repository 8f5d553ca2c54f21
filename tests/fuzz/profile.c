/*
 * profile.c - fuzzes packing, and reading of blobs that nobody packed.
 *
 * The input is taken as JSON and packed, and as a blob and read, with paths
 * cut out of it.  What is read must lie inside the blob.
 */

#include "personalize/personalize.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>


#define BLOB_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_inside(const char *blob, size_t len, personalize_str_t text)
{
    if (text.len > len || text.data < blob || text.data + text.len > blob + len)
    {
        abort();
    }
}


static void
read_path(const char *blob, size_t len, personalize_str_t path)
{
    size_t              pos;
    personalize_str_t   text;
    personalize_value_t value;

    personalize_profile_get(blob, len, path, &value);

    switch (value.type) {

    case PERSONALIZE_LIST:
        pos = 0;
        while (personalize_list_next(value.text, &pos, &text)) {
            check_inside(blob, len, text);
        }
        /* fall through */

    case PERSONALIZE_TEXT:
        check_inside(blob, len, value.text);
        break;

    case PERSONALIZE_BOOL:
        if (value.number != 0 && value.number != 1) {
            abort();
        }
        break;

    default:
        break;
    }
}


/* Tries every stretch of letters and dots of the input as a path. */
static void
read_paths(const char *blob, size_t len, const char *data, size_t size)
{
    size_t            i, from;
    personalize_str_t path;

    from = 0;

    for (i = 0; i <= size; i++) {
        if (i < size && ((data[i] >= 'a' && data[i] <= 'z') || data[i] == '.'))
        {
            continue;
        }
        path.data = data + from;
        path.len = i - from;
        read_path(blob, len, path);
        from = i + 1;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                *blob;
    char                 packed[BLOB_MAX];
    size_t               used;
    const char          *json = (const char *) data;
    personalize_result_e rc;

    if (size > BLOB_MAX) {
        return 0;
    }

    read_paths(json, size, json, size);

    rc = personalize_profile_pack(json, size, packed, sizeof(packed), &used);
    if (rc != PERSONALIZE_OK) {
        return 0;
    }

    /* exactly as large as needed, and one byte less */
    blob = malloc(used);
    if (blob == NULL
        || personalize_profile_pack(json, size, blob, used, &used)
               != PERSONALIZE_OK
        || memcmp(blob, packed, used) != 0)
    {
        abort();
    }
    read_paths(blob, used, json, size);

    if (personalize_profile_pack(json, size, blob, used - 1, &used)
        != PERSONALIZE_FULL)
    {
        abort();
    }
    free(blob);

    return 0;
}
