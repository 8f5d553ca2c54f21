/*
 * uuid.c - makes, writes and reads UUIDs of version 7 (RFC 9562).
 *
 * 48 bits of Unix milliseconds come first, so ids made later sort later and an
 * index over them grows at its end; 74 random bits follow.  Ids of the same
 * millisecond are not ordered among each other: nothing here relies on it.
 */

#include "tracker.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define UUID_VERSION 0x70 /* upper half of byte 6 */
#define UUID_VARIANT 0x80 /* upper two bits of byte 8 */


void
tracker_uuid_v7(
    uint8_t uuid[TRACKER_UUID_SIZE], uint64_t now_ms, const uint8_t random[10])
{
    unsigned i;

    for (i = 0; i < 6; i++) {
        uuid[i] = (uint8_t) (now_ms >> (40 - 8 * i));
    }

    memcpy(uuid + 6, random, 10);
    uuid[6] = (uint8_t) (UUID_VERSION | (uuid[6] & 0x0f));
    uuid[8] = (uint8_t) (UUID_VARIANT | (uuid[8] & 0x3f));
}


#ifdef __SSE2__

/* Sixteen values 0-15 become sixteen characters 0-9a-f. */
static inline __m128i
uuid_digits(__m128i nibbles)
{
    __m128i letters;

    letters = _mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9));

    return _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')),
        _mm_and_si128(letters, _mm_set1_epi8('a' - '0' - 10)));
}


static inline void
uuid_hex(char hex[32], const uint8_t uuid[TRACKER_UUID_SIZE])
{
    __m128i bytes, low, high, mask;

    mask = _mm_set1_epi8(0x0f);
    bytes = _mm_loadu_si128((const __m128i *) (const void *) uuid);
    low = uuid_digits(_mm_and_si128(bytes, mask));
    high = uuid_digits(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask));

    _mm_storeu_si128((__m128i *) (void *) hex, _mm_unpacklo_epi8(high, low));
    _mm_storeu_si128(
        (__m128i *) (void *) (hex + 16), _mm_unpackhi_epi8(high, low));
}

#else

static inline void
uuid_hex(char hex[32], const uint8_t uuid[TRACKER_UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned          i;

    for (i = 0; i < TRACKER_UUID_SIZE; i++) {
        hex[2 * i] = digits[uuid[i] >> 4];
        hex[2 * i + 1] = digits[uuid[i] & 0x0f];
    }
}

#endif


void
tracker_uuid_text(
    char text[TRACKER_UUID_TEXT], const uint8_t uuid[TRACKER_UUID_SIZE])
{
    char hex[32];

    uuid_hex(hex, uuid);

    memcpy(text, hex, 8);
    text[8] = '-';
    memcpy(text + 9, hex + 8, 4);
    text[13] = '-';
    memcpy(text + 14, hex + 12, 4);
    text[18] = '-';
    memcpy(text + 19, hex + 16, 4);
    text[23] = '-';
    memcpy(text + 24, hex + 20, 12);
}


static int
uuid_nibble(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }

    return -1;
}


tracker_result_e
tracker_uuid_parse(
    uint8_t uuid[TRACKER_UUID_SIZE], const char *text, size_t len)
{
    int      high, low;
    size_t   i;
    unsigned n;
    uint8_t  bytes[TRACKER_UUID_SIZE];

    if (text == NULL || len != TRACKER_UUID_TEXT) {
        return TRACKER_INVALID;
    }

    for (i = 0, n = 0; i < TRACKER_UUID_TEXT;) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-') {
                return TRACKER_INVALID;
            }
            continue;
        }

        high = uuid_nibble(text[i]);
        low = uuid_nibble(text[i + 1]);
        if (high < 0 || low < 0) {
            return TRACKER_INVALID;
        }

        bytes[n++] = (uint8_t) (high << 4 | low);
        i += 2;
    }

    memcpy(uuid, bytes, TRACKER_UUID_SIZE);

    return TRACKER_OK;
}
