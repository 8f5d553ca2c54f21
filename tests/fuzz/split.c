/*
 * split.c - fuzzes cutting a body, in two chunkings that must agree, and
 * cleaning JSON, of which jansson and tracker_json_next must think well.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* A hash of all pieces and the result, read in steps of so many bytes. */
static uint64_t
cut(const char *data, size_t size, size_t step)
{
    size_t           n;
    uint64_t         hash;
    tracker_str_t    text;
    tracker_split_t  split;
    tracker_piece_t  piece;
    tracker_result_e rc;

    tracker_split_init(&split, "batch");
    hash = 5381;
    rc = TRACKER_AGAIN;
    n = 0;

    do {
        n = size - n > step ? n + step : size;
        text.data = data;
        text.len = n;

        while ((rc = tracker_split_next(&split, text, &piece)) == TRACKER_OK) {
            if (piece.len == 0 || piece.value + piece.len > n
                || (piece.kind == TRACKER_PIECE_MEMBER
                    && piece.key + piece.key_len > piece.value))
            {
                abort();
            }

            hash = hash * 33 + piece.value * 7 + piece.len + piece.kind;
        }
    } while (n < size && rc != TRACKER_INVALID);

    return hash * 33 + rc;
}


static void
clean(tracker_str_t text)
{
    char         *buf, *again;
    json_t       *value;
    size_t        len, more, pos;
    unsigned      replaced;
    tracker_str_t out;

    buf = malloc(3 * text.len + 1);
    again = malloc(3 * text.len + 1);
    replaced = 0;

    if (tracker_json_clean(text, buf, 3 * text.len, &len, &replaced)
        == TRACKER_OK) {
        out.data = buf;
        out.len = len;

        /* clean is clean */
        replaced = 0;
        if (tracker_json_clean(out, again, len, &more, &replaced) != TRACKER_OK
            || more != len || replaced != 0 || memcmp(buf, again, len) != 0)
        {
            abort();
        }

        value = json_loadb(buf, len,
            JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
        if (value == NULL) {
            abort();
        }
        json_decref(value);

        if (*buf == '{') {
            tracker_json_member_t member;
            tracker_result_e      rc;

            pos = 0;
            while ((rc = tracker_json_next(out, &pos, &member)) == TRACKER_OK) {
                /* void */
            }
            if (rc != TRACKER_DECLINED) {
                abort();
            }
        }
    }

    free(buf);
    free(again);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *) data;

    if (cut(text, size, 1) != cut(text, size, 7)
        || cut(text, size, 1) != cut(text, size, size + 1))
    {
        abort();
    }

    if (size > 0) {
        clean((tracker_str_t){text, size});
    }

    return 0;
}
