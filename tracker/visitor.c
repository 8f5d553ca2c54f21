/*
 * visitor.c - seals a visitor into the first-party cookie and opens it again.
 *
 * The cookie is 48 bytes in base64url, 64 characters without padding:
 *
 *     0  version, 1          20  session_started_s, u32 big endian
 *     1  key id              24  last_seen_s, u32 big endian
 *     2  flags               28  session_number, u16 big endian
 *     3  0                   30  campaign, u16 big endian; 0: none
 *     4  visitor id (16)     32  HMAC-SHA256 of bytes 0-31, first 16 bytes
 *
 * The state is signed, not encrypted: nothing in it is secret, the signature
 * only keeps a client from choosing it.  128 bits of MAC are the usual cut of
 * RFC 2104.  A key's two pads are hashed once, at parsing; a cookie then costs
 * two SHA-256 blocks.  OpenSSL 3 deprecates SHA256_*, but its EVP_MAC needs an
 * allocation and 3.5 times as long, hence the pragma.
 */

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#include "tracker.h"

#include <openssl/crypto.h>
#include <string.h>


#define VISITOR_VERSION  1
#define VISITOR_STATE    32 /* bytes signed */
#define VISITOR_MAC      16 /* bytes of MAC kept */
#define VISITOR_BYTES    (VISITOR_STATE + VISITOR_MAC)
#define VISITOR_AHEAD_S  300 /* clocks of our nodes may differ by this */
#define VISITOR_NO_DIGIT 0xff
#define HMAC_BLOCK       64
#define HMAC_INNER       0x36
#define HMAC_OUTER       0x5c

static const uint8_t visitor_base64_values[128] = {0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0x3e, 0xff, 0xff, 0x34, 0x35, 0x36, 0x37, 0x38,
    0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
    0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
    0x18, 0x19, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0x1a, 0x1b, 0x1c, 0x1d,
    0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
    0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0xff, 0xff,
    0xff, 0xff, 0xff};


/* ---- keys ---- */

static void
key_set(
    tracker_key_t *key, unsigned id, const uint8_t secret[TRACKER_KEY_BYTES])
{
    uint8_t  inner[HMAC_BLOCK], outer[HMAC_BLOCK];
    unsigned i;

    memset(inner, HMAC_INNER, sizeof(inner));
    memset(outer, HMAC_OUTER, sizeof(outer));

    for (i = 0; i < TRACKER_KEY_BYTES; i++) {
        inner[i] ^= secret[i];
        outer[i] ^= secret[i];
    }

    key->id = (uint8_t) id;
    SHA256_Init(&key->inner);
    SHA256_Update(&key->inner, inner, HMAC_BLOCK);
    SHA256_Init(&key->outer);
    SHA256_Update(&key->outer, outer, HMAC_BLOCK);

    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}


static const tracker_key_t *
key_find(const tracker_keys_t *keys, unsigned id)
{
    unsigned i;

    for (i = 0; i < keys->nkeys; i++) {
        if (keys->keys[i].id == id) {
            return &keys->keys[i];
        }
    }

    return NULL;
}


static const char *
key_skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) {
        p++;
    }

    return p;
}


static int
key_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static tracker_result_e
key_secret(uint8_t secret[TRACKER_KEY_BYTES], const char *p, const char *end)
{
    int      high, low;
    unsigned i;

    if (end - p < 2 * TRACKER_KEY_BYTES) {
        return TRACKER_INVALID;
    }

    for (i = 0; i < TRACKER_KEY_BYTES; i++) {
        high = key_hex(p[2 * i]);
        low = key_hex(p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return TRACKER_INVALID;
        }
        secret[i] = (uint8_t) (high << 4 | low);
    }

    if (key_skip_blanks(p + 2 * (ptrdiff_t) TRACKER_KEY_BYTES, end) != end) {
        return TRACKER_INVALID;
    }

    return TRACKER_OK;
}


/* A line without its line feed and comment. */
static tracker_result_e
key_line(tracker_keys_t *keys, const char *p, const char *end)
{
    uint8_t     secret[TRACKER_KEY_BYTES];
    unsigned    id;
    const char *digits;

    p = key_skip_blanks(p, end);
    if (p == end) {
        return TRACKER_OK;
    }

    id = 0;
    for (digits = p; p < end && *p >= '0' && *p <= '9'; p++) {
        if (p - digits == 3) {
            return TRACKER_INVALID;
        }
        id = id * 10 + (unsigned) (*p - '0');
    }

    if (p == digits || id > UINT8_MAX || p == end || (*p != ' ' && *p != '\t')
        || keys->nkeys == TRACKER_KEYS_MAX || key_find(keys, id) != NULL)
    {
        return TRACKER_INVALID;
    }

    if (key_secret(secret, key_skip_blanks(p, end), end) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    key_set(&keys->keys[keys->nkeys++], id, secret);
    OPENSSL_cleanse(secret, sizeof(secret));

    return TRACKER_OK;
}


tracker_result_e
tracker_keys_parse(
    tracker_keys_t *keys, const char *text, size_t len, unsigned *line)
{
    const char *p, *end, *stop, *comment;

    keys->nkeys = 0;
    *line = 0;

    for (p = text, end = text + len; p < end; p = stop + 1) {
        ++*line;

        stop = memchr(p, '\n', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }

        comment = memchr(p, '#', (size_t) (stop - p));
        if (key_line(keys, p, comment != NULL ? comment : stop) != TRACKER_OK) {
            return TRACKER_INVALID;
        }
    }

    *line = 0;

    return keys->nkeys > 0 ? TRACKER_OK : TRACKER_INVALID;
}


/* ---- base64url ---- */

static void
base64_write(char *text, const uint8_t *bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t word;
    unsigned i;

    for (i = 0; i < VISITOR_BYTES; i += 3) {
        word = (uint32_t) bytes[i] << 16 | (uint32_t) bytes[i + 1] << 8
               | bytes[i + 2];
        *text++ = digits[word >> 18];
        *text++ = digits[word >> 12 & 0x3f];
        *text++ = digits[word >> 6 & 0x3f];
        *text++ = digits[word & 0x3f];
    }
}


static tracker_result_e
base64_read(uint8_t *bytes, const char *text)
{
    uint32_t       word, bad;
    unsigned       i, j;
    const uint8_t *p;

    bad = 0;

    for (i = 0; i < TRACKER_COOKIE_LEN; i += 4) {
        p = (const uint8_t *) text + i;
        word = 0;

        for (j = 0; j < 4; j++) {
            bad |= p[j] & 0x80U;
            word = word << 6 | (visitor_base64_values[p[j] & 0x7f] & 0x3fU);
            bad |= visitor_base64_values[p[j] & 0x7f] & 0xc0U;
        }

        *bytes++ = (uint8_t) (word >> 16);
        *bytes++ = (uint8_t) (word >> 8);
        *bytes++ = (uint8_t) word;
    }

    return bad ? TRACKER_INVALID : TRACKER_OK;
}


/* ---- cookie ---- */

static void
visitor_u32_write(uint8_t *p, uint32_t n)
{
    p[0] = (uint8_t) (n >> 24);
    p[1] = (uint8_t) (n >> 16);
    p[2] = (uint8_t) (n >> 8);
    p[3] = (uint8_t) n;
}


static uint32_t
visitor_u32_read(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8
           | p[3];
}


/* mac gets a whole digest, of which the cookie keeps VISITOR_MAC bytes. */
static void
visitor_sign(const tracker_key_t *key, const uint8_t state[VISITOR_STATE],
    uint8_t mac[SHA256_DIGEST_LENGTH])
{
    SHA256_CTX ctx;

    ctx = key->inner;
    SHA256_Update(&ctx, state, VISITOR_STATE);
    SHA256_Final(mac, &ctx);

    ctx = key->outer;
    SHA256_Update(&ctx, mac, SHA256_DIGEST_LENGTH);
    SHA256_Final(mac, &ctx);
}


void
tracker_visitor_new(
    tracker_visitor_t *visitor, uint64_t now_ms, const uint8_t random[10])
{
    memset(visitor, 0, sizeof(*visitor));
    tracker_uuid_v7(visitor->id, now_ms, random);
    visitor->session_started_s = (uint32_t) (now_ms / 1000);
    visitor->last_seen_s = visitor->session_started_s;
    visitor->session_number = 1;
}


void
tracker_visitor_encode(const tracker_keys_t *keys,
    const tracker_visitor_t *visitor, char cookie[TRACKER_COOKIE_LEN])
{
    uint8_t bytes[VISITOR_STATE + SHA256_DIGEST_LENGTH];

    memset(bytes, 0, VISITOR_STATE);
    bytes[0] = VISITOR_VERSION;
    bytes[1] = keys->keys[0].id;
    bytes[2] = visitor->flags;
    memcpy(bytes + 4, visitor->id, TRACKER_UUID_SIZE);
    visitor_u32_write(bytes + 20, visitor->session_started_s);
    visitor_u32_write(bytes + 24, visitor->last_seen_s);
    bytes[28] = (uint8_t) (visitor->session_number >> 8);
    bytes[29] = (uint8_t) visitor->session_number;
    bytes[30] = (uint8_t) (visitor->campaign >> 8);
    bytes[31] = (uint8_t) visitor->campaign;

    visitor_sign(&keys->keys[0], bytes, bytes + VISITOR_STATE);
    base64_write(cookie, bytes);
}


tracker_result_e
tracker_visitor_decode(const tracker_keys_t *keys, const char *cookie,
    size_t len, uint32_t now_s, tracker_visitor_t *visitor)
{
    uint8_t              bytes[VISITOR_BYTES], mac[SHA256_DIGEST_LENGTH];
    uint64_t             latest_s;
    tracker_visitor_t    v;
    const tracker_key_t *key;

    if (cookie == NULL || len != TRACKER_COOKIE_LEN
        || base64_read(bytes, cookie) != TRACKER_OK
        || bytes[0] != VISITOR_VERSION)
    {
        return TRACKER_INVALID;
    }

    key = key_find(keys, bytes[1]);
    if (key == NULL) {
        return TRACKER_INVALID;
    }

    visitor_sign(key, bytes, mac);
    if (CRYPTO_memcmp(mac, bytes + VISITOR_STATE, VISITOR_MAC) != 0) {
        return TRACKER_INVALID;
    }

    memset(&v, 0, sizeof(v));
    memcpy(v.id, bytes + 4, TRACKER_UUID_SIZE);
    v.session_started_s = visitor_u32_read(bytes + 20);
    v.last_seen_s = visitor_u32_read(bytes + 24);
    v.session_number = (uint16_t) (bytes[28] << 8 | bytes[29]);
    v.campaign = (uint16_t) (bytes[30] << 8 | bytes[31]);
    v.flags = bytes[2];
    v.key_id = bytes[1];

    latest_s = (uint64_t) now_s + VISITOR_AHEAD_S;
    if (v.session_started_s > latest_s || v.last_seen_s > latest_s) {
        return TRACKER_INVALID;
    }

    *visitor = v;

    return TRACKER_OK;
}
