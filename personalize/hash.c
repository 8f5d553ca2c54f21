/*
 * hash.c - the GrowthBook bucket hash, and the hash of our own tables.
 *
 * Bucket hash, version 2: FNV-1a (32 bits) of seed and unit, its decimal
 * digits hashed once more, modulo 10,000.  The specification is silent about
 * text outside ASCII and its SDKs disagree; we feed UTF-16 code units, 16 bits
 * at once, as the JavaScript SDK does, because that one runs in a shop's pages
 * beside us.  A byte that is not UTF-8 counts as U+FFFD.
 */

#include "set.h"


#define FNV_PRIME 16777619U
#define BUCKETS   10000U

/* 2^64 divided by the golden ratio: odd, bits well spread. */
#define KEY_FACTOR 0x9e3779b97f4a7c15ULL


static uint32_t
hash_unit(uint32_t hash, uint32_t unit)
{
    return (hash ^ unit) * FNV_PRIME;
}


size_t
personalize_decode(const char *text, size_t len, uint32_t *point)
{
    const unsigned char *p = (const unsigned char *) text;

    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t                n, i;

    if (p[0] < 0x80) {
        *point = p[0];
        return 1;
    }

    n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    *point = p[0] & (0x7fU >> n);

    for (i = 1; i < n && i < len && (p[i] & 0xc0) == 0x80; i++) {
        *point = *point << 6 | (p[i] & 0x3f);
    }

    if (i < n || p[0] < 0xc0 || p[0] > 0xf4 || *point < least[n]
        || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
    {
        *point = 0xfffd;
        return 1;
    }

    return n;
}


uint32_t
personalize_hash_add(uint32_t hash, personalize_str_t text)
{
    size_t   i;
    uint32_t point;

    for (i = 0; i < text.len;) {
        i += personalize_decode(text.data + i, text.len - i, &point);

        if (point >= 0x10000) {
            point -= 0x10000;
            hash = hash_unit(hash, 0xd800 + (point >> 10));
            point = 0xdc00 + (point & 0x3ff);
        }

        hash = hash_unit(hash, point);
    }

    return hash;
}


double
personalize_hash_end(uint32_t hash)
{
    char     digits[10];
    size_t   n;
    uint32_t again;

    n = sizeof(digits);

    do {
        digits[--n] = (char) ('0' + hash % 10);
        hash /= 10;
    } while (hash != 0);

    for (again = PERSONALIZE_HASH_START; n < sizeof(digits); n++) {
        again = hash_unit(again, (unsigned char) digits[n]);
    }

    return (double) (again % BUCKETS) / BUCKETS;
}


double
personalize_hash(personalize_str_t seed, personalize_str_t unit)
{
    uint32_t hash;

    hash = personalize_hash_add(PERSONALIZE_HASH_START, seed);

    return personalize_hash_end(personalize_hash_add(hash, unit));
}


/* Version 1 hashes the value first, once, into 1,000; 0: no such version. */
int
personalize_bucket(
    personalize_str_t seed, personalize_str_t value, int64_t version, double *n)
{
    uint32_t hash;

    if (version == 2) {
        *n = personalize_hash(seed, value);
        return 1;
    }

    if (version != 1) {
        return 0;
    }

    hash = personalize_hash_add(PERSONALIZE_HASH_START, value);
    *n = (double) (personalize_hash_add(hash, seed) % 1000) / 1000;

    return 1;
}


/*
 * Eight bytes a step: FNV's byte a step would cost more than the rest of a
 * profile lookup.  The last step overlaps the one before.
 */
uint32_t
personalize_hash_key(personalize_str_t key)
{
    size_t   i;
    uint64_t hash, word;

    hash = key.len * KEY_FACTOR;

    for (i = 0; i + 8 <= key.len; i += 8) {
        memcpy(&word, key.data + i, 8);
        hash = (hash ^ word) * KEY_FACTOR;
        hash ^= hash >> 32;
    }

    if (i < key.len) {
        word = 0;

        if (key.len >= 8) {
            memcpy(&word, key.data + key.len - 8, 8);

        } else {
            for (i = 0; i < key.len; i++) {
                word = word << 8 | (unsigned char) key.data[i];
            }
        }

        hash = (hash ^ word) * KEY_FACTOR;
        hash ^= hash >> 32;
    }

    return (uint32_t) hash;
}
