/*
 * link.c - fuzzes the token that hands a visitor over.
 *
 * The input is tried as a token as it is; then its bytes make a visitor and a
 * host, whose own token must come back, and at no other host.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "7 000102030405060708090a0b0c0d0e0f"
                               "101112131415161718191a1b1c1d1e1f\n";
    char              token[TRACKER_LINK_LEN], elsewhere[] = "x.example";
    unsigned          line;
    tracker_str_t     host, other = {elsewhere, sizeof(elsewhere) - 1};
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    if (tracker_keys_parse(&keys, text, sizeof(text) - 1, &line) != TRACKER_OK)
    {
        abort();
    }

    host.data = (const char *) data;
    host.len = size;

    /* nobody signs without the key */
    if (tracker_link_decode(&keys, host, other, 0, &back) != TRACKER_INVALID) {
        abort();
    }

    memset(&visitor, 0, sizeof(visitor));
    memcpy(&visitor, data, size < sizeof(visitor) ? size : sizeof(visitor));

    if (tracker_link_encode(&keys, &visitor, host, UINT32_MAX, token)
        != TRACKER_OK) {
        return 0;
    }

    host.len = size;

    if (tracker_link_decode(&keys, (tracker_str_t){token, sizeof(token)}, host,
            UINT32_MAX, &back)
            != TRACKER_OK
        || memcmp(back.id, visitor.id, sizeof(back.id)) != 0
        || back.session_number != visitor.session_number
        || back.session_started_s != visitor.session_started_s)
    {
        abort();
    }

    return 0;
}
