/*
 * cluster.c - fuzzes what nodes of a Redis Cluster say about slots.
 *
 * A map is stepped through to its end: ranges stay within bounds, hosts inside
 * the input, and a reply that RESP calls whole never makes it run on.  The same
 * bytes as an error are a redirection or none, and as a key they have a slot.
 */

#include "tracker/tracker.h"

#include <stdlib.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
inside(tracker_str_t input, tracker_str_t text)
{
    if (text.len > 0
        && (text.data < input.data
            || text.data + text.len > input.data + input.len))
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                  before;
    tracker_str_t           input = {(const char *) data, size};
    tracker_redirect_t      redirect;
    tracker_cluster_slots_t slots = {input, 0, 0};
    tracker_cluster_range_t range;

    for (before = 0; tracker_cluster_next(&slots, &range) == TRACKER_OK;
         before = slots.pos)
    {
        inside(input, range.host);

        if (slots.pos <= before || slots.pos > size || range.first > range.last
            || range.last >= TRACKER_CLUSTER_SLOTS || range.port > 65535)
        {
            abort();
        }
    }

    if (tracker_cluster_redirect(input, &redirect) == TRACKER_OK) {
        inside(input, redirect.host);

        if (redirect.slot >= TRACKER_CLUSTER_SLOTS || redirect.port == 0
            || redirect.port > 65535)
        {
            abort();
        }
    }

    if (tracker_cluster_slot(input) >= TRACKER_CLUSTER_SLOTS) {
        abort();
    }

    return 0;
}
