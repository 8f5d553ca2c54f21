/*
 * views.c - fuzzes files of clicks, to sessions in time order.
 *
 * The first byte picks the chunk in which the reader gets its input.  What is
 * accepted becomes sessions whose clicks are all there, none earlier than the
 * session before.
 */

#include <stdlib.h>
#include <string.h>

#include "mining/views.h"


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
check(const mining_views_t *views, const mining_names_t *items)
{
    uint32_t          i;
    mining_sessions_t sessions;

    if (mining_sessions_make(
            &sessions, views->views, views->n, views->nsessions)
        != MINING_OK)
    {
        abort();
    }

    for (i = 0; i < sessions.nclicks; i++) {
        if (sessions.items[i] >= items->n) {
            abort();
        }
    }
    for (i = 0; i < sessions.n; i++) {
        if (sessions.starts[i] >= sessions.starts[i + 1]
            || (i > 0 && sessions.times[i] < sessions.times[i - 1]))
        {
            abort();
        }
    }
    if (sessions.starts[sessions.n] != views->n) {
        abort();
    }

    mining_sessions_free(&sessions);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_t                input;
    mining_names_t         items;
    mining_views_t         views;
    mining_result_e        rc;
    mining_views_columns_t columns;

    if (size == 0) {
        return 0;
    }

    memset(&items, 0, sizeof(items));
    memset(&views, 0, sizeof(views));
    memset(&columns, 0, sizeof(columns));
    input.data = data + 1;
    input.len = size - 1;
    input.pos = 0;
    input.chunk = 1 + data[0];

    rc = mining_views_read(&views, &items, &columns, input_read, &input);
    if (rc == MINING_OK) {
        check(&views, &items);
    } else if (views.fault[0] == '\0') {
        abort();
    }

    mining_views_free(&views);
    mining_names_free(&items);

    return 0;
}
