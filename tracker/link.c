/*
 * link.c - a visitor handed over to another domain in a link.
 *
 *     base64url of  0  version, 1            28  session_started_s, u32
 *                   1  key id                32  session_number, u16
 *                   2  flags                 34  0, 0
 *                   3  0                     36  HMAC-SHA256, first 16 bytes
 *                   4  visitor id (16)       52  two bytes unused, 0
 *                  20  expires_s, u64
 *
 * 54 bytes are 72 characters.  The MAC also covers the name of the host it is
 * meant for, which is not in the token: whoever receives it says its own.
 *
 * What it can do is bounded, not prevented: within its life time whoever sees
 * the link may become that visitor on that host.  So the life is short, the
 * host is bound, and it never beats a cookie of one's own.
 */

#include "tracker.h"

#include <openssl/crypto.h>
#include <string.h>


#define LINK_VERSION 1
#define LINK_STATE   36 /* bytes signed */
#define LINK_MAC     16
#define LINK_BYTES   54
#define LINK_AHEAD_S 300 /* clocks of our nodes may differ by this */

static const char link_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


static void
link_number(uint8_t *p, uint64_t n, unsigned bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t) n;
        n >>= 8;
    }
}


static uint64_t
link_number_read(const uint8_t *p, unsigned bytes)
{
    uint64_t n;

    for (n = 0; bytes > 0; bytes--) {
        n = n << 8 | *p++;
    }

    return n;
}


/* The host in lower case, without a port: both sides see it as they like. */
static void
link_mac(const tracker_key_t *key, const uint8_t state[LINK_STATE],
    tracker_str_t host, uint8_t mac[TRACKER_MAC_SIZE])
{
    char          name[TRACKER_LINK_HOST_MAX];
    size_t        i;
    tracker_str_t parts[2];

    for (i = 0; i < host.len && host.data[i] != ':'; i++) {
        name[i] = host.data[i] >= 'A' && host.data[i] <= 'Z'
                      ? (char) (host.data[i] | 0x20)
                      : host.data[i];
    }

    parts[0].data = (const char *) state;
    parts[0].len = LINK_STATE;
    parts[1].data = name;
    parts[1].len = i;

    tracker_mac(key, "link", parts, 2, mac);
}


tracker_result_e
tracker_link_encode(const tracker_keys_t *keys,
    const tracker_visitor_t *visitor, tracker_str_t host, uint64_t expires_s,
    char token[TRACKER_LINK_LEN])
{
    uint8_t  bytes[LINK_BYTES], mac[TRACKER_MAC_SIZE];
    unsigned i, word;

    if (host.len == 0 || host.len > TRACKER_LINK_HOST_MAX) {
        return TRACKER_INVALID;
    }

    memset(bytes, 0, sizeof(bytes));
    bytes[0] = LINK_VERSION;
    bytes[1] = keys->keys[0].id;
    bytes[2] = visitor->flags;
    memcpy(bytes + 4, visitor->id, TRACKER_UUID_SIZE);
    link_number(bytes + 20, expires_s, 8);
    link_number(bytes + 28, visitor->session_started_s, 4);
    link_number(bytes + 32, visitor->session_number, 2);

    link_mac(&keys->keys[0], bytes, host, mac);
    memcpy(bytes + LINK_STATE, mac, LINK_MAC);

    for (i = 0; i < LINK_BYTES; i += 3) {
        word = (unsigned) bytes[i] << 16 | (unsigned) bytes[i + 1] << 8
               | bytes[i + 2];
        *token++ = link_digits[word >> 18];
        *token++ = link_digits[word >> 12 & 0x3f];
        *token++ = link_digits[word >> 6 & 0x3f];
        *token++ = link_digits[word & 0x3f];
    }

    return TRACKER_OK;
}


static tracker_result_e
link_read(uint8_t bytes[LINK_BYTES], tracker_str_t token)
{
    char        c;
    unsigned    i, word;
    const char *digit;

    if (token.len != TRACKER_LINK_LEN) {
        return TRACKER_INVALID;
    }

    word = 0;

    for (i = 0; i < TRACKER_LINK_LEN; i++) {
        c = token.data[i];
        digit = c != '\0' ? strchr(link_digits, c) : NULL;

        if (digit == NULL) {
            return TRACKER_INVALID;
        }

        word = word << 6 | (unsigned) (digit - link_digits);

        if (i % 4 == 3) {
            bytes[i / 4 * 3] = (uint8_t) (word >> 16);
            bytes[i / 4 * 3 + 1] = (uint8_t) (word >> 8);
            bytes[i / 4 * 3 + 2] = (uint8_t) word;
            word = 0;
        }
    }

    return TRACKER_OK;
}


tracker_result_e
tracker_link_decode(const tracker_keys_t *keys, tracker_str_t token,
    tracker_str_t host, uint32_t now_s, tracker_visitor_t *visitor)
{
    uint8_t  bytes[LINK_BYTES], mac[TRACKER_MAC_SIZE];
    unsigned i;

    if (host.len == 0 || host.len > TRACKER_LINK_HOST_MAX
        || link_read(bytes, token) != TRACKER_OK || bytes[0] != LINK_VERSION
        || bytes[LINK_BYTES - 2] != 0 || bytes[LINK_BYTES - 1] != 0)
    {
        return TRACKER_INVALID;
    }

    for (i = 0; i < keys->nkeys && keys->keys[i].id != bytes[1]; i++) {
        /* void */
    }

    if (i == keys->nkeys) {
        return TRACKER_INVALID;
    }

    link_mac(&keys->keys[i], bytes, host, mac);

    if (CRYPTO_memcmp(mac, bytes + LINK_STATE, LINK_MAC) != 0) {
        return TRACKER_INVALID;
    }

    if (link_number_read(bytes + 20, 8) < now_s) {
        return TRACKER_DECLINED;
    }

    memset(visitor, 0, sizeof(*visitor));
    memcpy(visitor->id, bytes + 4, TRACKER_UUID_SIZE);
    visitor->flags = bytes[2];
    visitor->session_started_s = (uint32_t) link_number_read(bytes + 28, 4);
    visitor->session_number = (uint16_t) link_number_read(bytes + 32, 2);
    visitor->last_seen_s = now_s;
    visitor->key_id = bytes[1];

    /* so the signer's clock was ahead of ours by more than nodes may differ */
    if (visitor->session_started_s > (uint64_t) now_s + LINK_AHEAD_S) {
        return TRACKER_INVALID;
    }

    return TRACKER_OK;
}
