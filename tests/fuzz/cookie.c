/*
 * cookie.c - fuzzes the cookie, and the key file it is verified with.
 *
 * Input is tried as a cookie as it is; then its first bytes, signed properly,
 * as a visitor, which must come back unchanged; then as a key file.
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
    char              cookie[TRACKER_COOKIE_LEN];
    unsigned          line;
    tracker_keys_t    keys, other;
    tracker_visitor_t visitor, back;

    if (tracker_keys_parse(&keys, text, sizeof(text) - 1, &line) != TRACKER_OK)
    {
        abort();
    }

    if (tracker_visitor_decode(
            &keys, (const char *) data, size, UINT32_MAX, &visitor)
        == TRACKER_OK)
    {
        tracker_visitor_encode(&keys, &visitor, cookie);
        if (visitor.key_id != 7
            || memcmp(cookie, data, TRACKER_COOKIE_LEN) != 0) {
            abort();
        }
    }

    memset(&visitor, 0, sizeof(visitor));
    memcpy(&visitor, data, size < sizeof(visitor) ? size : sizeof(visitor));
    visitor.key_id = 7;
    tracker_visitor_encode(&keys, &visitor, cookie);

    if (tracker_visitor_decode(&keys, cookie, sizeof(cookie), UINT32_MAX, &back)
            != TRACKER_OK
        || memcmp(back.id, visitor.id, sizeof(back.id)) != 0
        || back.session_started_s != visitor.session_started_s
        || back.last_seen_s != visitor.last_seen_s
        || back.session_number != visitor.session_number
        || back.campaign != visitor.campaign || back.flags != visitor.flags)
    {
        abort();
    }

    if (tracker_keys_parse(&other, (const char *) data, size, &line)
            == TRACKER_OK
        && (other.nkeys == 0 || other.nkeys > TRACKER_KEYS_MAX))
    {
        abort();
    }

    return 0;
}
