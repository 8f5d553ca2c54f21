/*
 * resp.c - fuzzes the reader of Redis' replies.
 *
 * The same bytes coming in two parts must give the same replies, and a reader
 * must never stand still or pass the end.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


#define MAX  4096
#define ROOM 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static tracker_result_e
read_all(tracker_str_t input, size_t *pos, unsigned *replies)
{
    size_t           before;
    unsigned         n;
    tracker_reply_t  reply, elements[ROOM];
    tracker_result_e rc;

    for (;;) {
        before = *pos;
        n = ROOM;
        rc = tracker_resp_reply(input, pos, MAX, &reply, elements, &n);

        if (*pos > input.len || n > ROOM
            || (rc == TRACKER_OK ? *pos == before : *pos != before))
        {
            abort();
        }

        if (rc != TRACKER_OK) {
            return rc;
        }

        ++*replies;
        while (n > 0) {
            n--;
            if (elements[n].text.len > 0
                && (elements[n].text.data < input.data
                    || elements[n].text.data + elements[n].text.len
                           > input.data + *pos))
            {
                abort();
            }
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           split, once, parts;
    unsigned         nonce, nparts;
    tracker_str_t    input;
    tracker_reply_t  reply;
    tracker_result_e rc;

    if (size == 0) {
        return 0;
    }

    split = data[0] % size;
    input.data = (const char *) data + 1;
    once = parts = 0;
    nonce = nparts = 0;

    input.len = size - 1;
    rc = read_all(input, &once, &nonce);

    input.len = split;
    if (read_all(input, &parts, &nparts) != TRACKER_INVALID) {
        input.len = size - 1;
        if (read_all(input, &parts, &nparts) != rc || parts != once
            || nparts != nonce) {
            abort();
        }
    } else if (rc != TRACKER_INVALID) {
        abort();
    }

    for (once = 0; tracker_resp_next(input, &once, MAX, &reply) == TRACKER_OK;)
    {
        /* every head by itself */
    }

    return 0;
}
