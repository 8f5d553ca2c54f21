/*
 * mac.c - HMAC-SHA256 under a cookie key, one purpose apart from another.
 *
 * Hashed properties and links between domains need a secret, and the cookie's
 * keys are there, kept and rotated already.  What is signed begins with the
 * name of its purpose and a NUL, and each part with its length, so that no two
 * lists of parts and no two purposes give the same bytes.  The cookie itself
 * signs 32 bytes of which the first is its version, never a letter.
 */

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include "tracker.h"

#include <string.h>


static void
mac_length(SHA256_CTX *ctx, size_t len)
{
    uint8_t  bytes[8];
    unsigned i;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t) ((uint64_t) len >> (56 - 8 * i));
    }

    SHA256_Update(ctx, bytes, sizeof(bytes));
}


void
tracker_mac(const tracker_key_t *key, const char *purpose,
    const tracker_str_t *parts, unsigned nparts, uint8_t mac[TRACKER_MAC_SIZE])
{
    unsigned   i;
    SHA256_CTX ctx;

    ctx = key->inner;
    SHA256_Update(&ctx, purpose, strlen(purpose) + 1);

    for (i = 0; i < nparts; i++) {
        mac_length(&ctx, parts[i].len);
        if (parts[i].len > 0) {
            SHA256_Update(&ctx, parts[i].data, parts[i].len);
        }
    }

    SHA256_Final(mac, &ctx);

    ctx = key->outer;
    SHA256_Update(&ctx, mac, TRACKER_MAC_SIZE);
    SHA256_Final(mac, &ctx);
}
