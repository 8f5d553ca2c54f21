/*
 * baskets.c - fuzzes the two readers of baskets, and counts what they read.
 *
 * The first byte picks the reader and the chunk in which it gets its input.
 * A basket that was accepted holds items that have names, and the sets found
 * add up.
 */

#include <stdlib.h>
#include <string.h>

#include "mining/basket_file.h"


typedef struct {
    const uint8_t *data;
    size_t         len;
    size_t         chunk;
} input_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static long
input_read(void *ctx, char *buf, size_t size)
{
    size_t   n;
    input_t *in = ctx;

    n = in->len;
    n = n > size ? size : n;
    n = n > in->chunk ? in->chunk : n;
    memcpy(buf, in->data, n);
    in->data += n;
    in->len -= n;

    return (long) n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t               i;
    input_t              in;
    mining_result_e      rc;
    mining_baskets_t     all;
    mining_itemsets_t    found;
    mining_basket_file_t file;

    if (size == 0) {
        return 0;
    }

    in.data = data + 1;
    in.len = size - 1;
    in.chunk = (size_t) (data[0] & 0x7f) + 1;
    rc = data[0] & 0x80 ? mining_basket_rows(&file, "o", "i", input_read, &in)
                        : mining_basket_lines(&file, input_read, &in);

    if (rc == MINING_INVALID && (file.reason == NULL || file.line == 0)) {
        abort();
    }

    if (rc == MINING_OK) {
        mining_basket_all(&file, &all);
        for (i = 0; i < file.nitems; i++) {
            if (mining_names_word(&file.items_names, file.items[i]).len == 0) {
                abort();
            }
        }
        if (file.starts[file.n] != file.nitems) {
            abort();
        }

        /* half of the baskets: few sets whatever comes */
        rc = mining_itemsets_find(&all, (uint32_t) (all.n / 2 + 1), &found);
        for (i = 1; rc == MINING_OK && i < found.n; i++) {
            if (found.sets[i].count > found.sets[found.sets[i].parent].count) {
                abort();
            }
        }
        mining_itemsets_free(&found);
    }
    mining_basket_free(&file);

    return 0;
}
