/*
 * table.c - fuzzes the reader of tables: whatever the file, each value is a
 * number, the index of a text, or empty.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mining/table.h"


typedef struct {
    const uint8_t *data;
    size_t         len;
    size_t         pos;
} input_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static long
input_read(void *ctx, char *buf, size_t size)
{
    size_t   n;
    input_t *in = ctx;

    n = in->len - in->pos;
    n = n > size ? size : n;
    memcpy(buf, in->data + in->pos, n);
    in->pos += n;

    return (long) n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                        row;
    input_t                       in = {data, size, 0};
    unsigned                      i;
    mining_table_t                table;
    const mining_column_values_t *column;

    if (mining_table_parse(&table, input_read, &in, "fuzz", "a,b") != MINING_OK)
    {
        return 0;
    }

    for (i = 0; i < table.ncolumns; i++) {
        column = &table.columns[i];
        for (row = 0; row < table.nrows; row++) {
            if (!isnan(column->values[row])
                && (!isfinite(column->values[row])
                    || (column->nlevels > 0
                        && !(column->values[row] >= 0
                             && column->values[row] < column->nlevels))))
            {
                abort();
            }
        }
    }
    mining_table_free(&table);

    return 0;
}
