/*
 * crc32c.c - the checksum of journal records, by instruction if there is one.
 *
 * CRC-32C, because x86-64 computes it since 2008 (SSE4.2) at 8 bytes per three
 * cycles.  Elsewhere a table of 16 words does; it is slower by far and
 * kept small rather than fast, as no machine we know of needs it.
 */

#include "tracker.h"

#include <string.h>


uint32_t
tracker_crc32c_table(uint32_t crc, const void *data, size_t len)
{
    static const uint32_t nibbles[16] = {0x00000000, 0x105ec76f, 0x20bd8ede,
        0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78,
        0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a,
        0xf36e6f75};
    size_t                i;
    const uint8_t        *p;

    p = data;
    crc = ~crc;

    for (i = 0; i < len; i++) {
        crc ^= p[i];
        crc = nibbles[crc & 0x0f] ^ crc >> 4;
        crc = nibbles[crc & 0x0f] ^ crc >> 4;
    }

    return ~crc;
}


#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t
crc32c_instruction(uint32_t crc, const void *data, size_t len)
{
    uint64_t       word, sum;
    const uint8_t *p;

    p = data;
    sum = ~crc;

    for (; len >= 8; len -= 8, p += 8) {
        memcpy(&word, p, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }

    for (; len > 0; len--, p++) {
        sum = __builtin_ia32_crc32qi((uint32_t) sum, *p);
    }

    return ~(uint32_t) sum;
}

#endif


uint32_t
tracker_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2")) {
        return crc32c_instruction(crc, data, len);
    }
#endif

    return tracker_crc32c_table(crc, data, len);
}
