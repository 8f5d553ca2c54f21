/*
 * csv.c - fuzzes the CSV reader and the checks of each kind of file.
 *
 * The first byte picks the chunk in which the reader gets its input; whatever
 * the chunk, rows, lines and fields must come out the same, and every row
 * accepted must give a row of the binary COPY.
 */

#include <stdlib.h>
#include <string.h>

#include "mining/mining.h"


typedef struct {
    const uint8_t *data;
    size_t         len;
    size_t         pos;
    size_t         chunk;
} input_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static long
input_read(void *ctx, char *buf, size_t size)
{
    size_t   n;
    input_t *in = ctx;

    n = in->len - in->pos;
    n = n > size ? size : n;
    n = n > in->chunk ? in->chunk : n;
    memcpy(buf, in->data + in->pos, n);
    in->pos += n;

    return (long) n;
}


/* A digest of all rows, so that two ways of reading can be compared. */
static uint64_t
read_all(mining_csv_t *csv, const uint8_t *data, size_t size, size_t chunk)
{
    char            reason[256];
    input_t         in = {data, size, 0, chunk};
    uint64_t        sum;
    unsigned        i, k;
    mining_copy_t   copy;
    mining_header_t header;
    tracker_str_t   values[MINING_KIND_COLUMNS_MAX];
    mining_result_e rc;

    static const char *const names[] = {
        "customers", "products", "orders", "clicks"};

    sum = 14695981039346656037ULL;
    memset(&copy, 0, sizeof(copy));
    mining_csv_start(csv, input_read, &in);

    while ((rc = mining_csv_next(csv)) != MINING_DECLINED) {
        sum = (sum ^ csv->line ^ (uint64_t) rc << 32) * 1099511628211ULL;
        if (rc != MINING_OK) {
            continue;
        }

        for (i = 0; i < csv->nfields; i++) {
            sum = (sum ^ csv->fields[i].len) * 1099511628211ULL;
        }

        for (i = 0; i < 4; i++) {
            header.kind = mining_kind_find(names[i]);
            header.nfields = csv->nfields;
            for (k = 0; k < MINING_KIND_COLUMNS_MAX; k++) {
                header.fields[k] = k < csv->nfields ? (int) k : -1;
            }
            if (mining_kind_check(&header, csv, values, reason, sizeof(reason))
                == MINING_OK)
            {
                mining_copy_begin(&copy);
                mining_kind_row(header.kind, values, &copy);
                sum = (sum ^ copy.len) * 1099511628211ULL;
            }
        }
    }

    mining_copy_free(&copy);

    return sum;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t               chunk;
    static mining_csv_t *csv;

    if (size == 0) {
        return 0;
    }
    if (csv == NULL) {
        csv = malloc(sizeof(*csv));
        if (csv == NULL) {
            abort();
        }
    }

    chunk = (size_t) data[0] + 1;
    if (read_all(csv, data + 1, size - 1, chunk)
        != read_all(csv, data + 1, size - 1, size))
    {
        abort();
    }

    return 0;
}
