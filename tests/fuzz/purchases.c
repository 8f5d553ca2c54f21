/*
 * purchases.c - fuzzes the reader of files of purchases.
 *
 * The first byte picks the chunk in which the reader gets its input: whatever
 * the chunk, customers, rows and sums must come out the same.  What is kept is
 * sorted, and every row is accounted for.
 */

#include <stdlib.h>
#include <string.h>

#include "mining/purchases.h"


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


static void
check(const mining_purchases_t *bought)
{
    size_t i, customers;

    if (bought->lines != bought->nrows + bought->nobodys + bought->nothings) {
        abort();
    }

    for (i = 1, customers = 1; i < bought->nrows; i++) {
        if (bought->rows[i].id != bought->rows[i - 1].id) {
            customers++;
            if (strcmp(bought->ids + bought->rows[i - 1].id,
                    bought->ids + bought->rows[i].id)
                >= 0)
            {
                abort();
            }
        } else if (bought->rows[i].us < bought->rows[i - 1].us) {
            abort();
        }
    }
    if (customers != bought->ncustomers) {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t            whole, pieces;
    mining_result_e    rc;
    mining_purchases_t one, two;

    static const char *const columns[] = {
        NULL, "customer=1,date=2,amount=3", "customer=a,date=b,amount=c"};

    if (size == 0) {
        return 0;
    }

    whole.data = pieces.data = data + 1;
    whole.len = pieces.len = size - 1;
    whole.pos = pieces.pos = 0;
    whole.chunk = 1 << 20;
    pieces.chunk = 1 + data[0] / 3;

    rc = mining_purchases_parse(
        &one, input_read, &whole, "fuzz", columns[data[0] % 3]);
    if (rc == MINING_OK) {
        check(&one);
    }

    if (rc
        != mining_purchases_parse(
            &two, input_read, &pieces, "fuzz", columns[data[0] % 3]))
    {
        abort();
    }
    if (rc == MINING_OK
        && (one.nrows != two.nrows || one.ncustomers != two.ncustomers
            || memcmp(&one.revenue, &two.revenue, sizeof(double)) != 0))
    {
        abort();
    }

    mining_purchases_free(&one);
    mining_purchases_free(&two);

    return 0;
}
