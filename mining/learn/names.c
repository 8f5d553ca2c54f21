/*
 * names.c - numbers words in the order they come.
 *
 * One text holds all of them, a hash table with linear probing finds them; it
 * is never more than half full.  FNV-1a is enough: who would aim at it also
 * chooses how long his own job takes.
 */

#include "names.h"

#include <stdlib.h>
#include <string.h>


#define NAMES_FIRST 1024 /* slots */


static uint64_t
names_hash(tracker_str_t word)
{
    size_t   i;
    uint64_t hash;

    hash = 14695981039346656037ULL;
    for (i = 0; i < word.len; i++) {
        hash = (hash ^ (unsigned char) word.data[i]) * 1099511628211ULL;
    }

    return hash ^ hash >> 32;
}


static mining_result_e
names_rehash(mining_names_t *names, uint32_t slots)
{
    uint32_t i, at, *table;

    table = calloc(slots, sizeof(*table));
    if (table == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < names->n; i++) {
        at = (uint32_t) names_hash(mining_names_word(names, i)) & (slots - 1);
        while (table[at] != 0) {
            at = (at + 1) & (slots - 1);
        }
        table[at] = i + 1;
    }

    free(names->table);
    names->table = table;
    names->mask = slots - 1;

    return MINING_OK;
}


static mining_result_e
names_room(mining_names_t *names, size_t len)
{
    void  *grown;
    size_t size;

    if (names->n >= MINING_NAMES_MAX
        || len > MINING_NAMES_BYTES_MAX - names->len) {
        return MINING_FULL;
    }

    if (names->n + 2 > names->nstarts) {
        size = names->nstarts == 0 ? NAMES_FIRST : 2 * (size_t) names->nstarts;
        grown = realloc(names->starts, size * sizeof(*names->starts));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        names->starts = grown;
        names->nstarts = (uint32_t) size;
        names->starts[0] = 0;
    }

    if (names->len + len > names->size) {
        size = 2 * (names->len + len) + NAMES_FIRST;
        grown = realloc(names->text, size);
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        names->text = grown;
        names->size = size;
    }

    if (names->table == NULL) {
        return names_rehash(names, NAMES_FIRST);
    }

    return 2 * (names->n + 1) > names->mask
               ? names_rehash(names, 2 * (names->mask + 1))
               : MINING_OK;
}


mining_result_e
mining_names_number(mining_names_t *names, tracker_str_t word, uint32_t *number)
{
    uint32_t        at;
    uint64_t        hash;
    tracker_str_t   known;
    mining_result_e rc;

    hash = names_hash(word);

    if (names->table != NULL) {
        at = (uint32_t) hash & names->mask;
        for (; names->table[at] != 0; at = (at + 1) & names->mask) {
            known = mining_names_word(names, names->table[at] - 1);
            if (known.len == word.len
                && memcmp(known.data, word.data, word.len) == 0) {
                *number = names->table[at] - 1;
                return MINING_OK;
            }
        }
    }

    rc = names_room(names, word.len);
    if (rc != MINING_OK) {
        return rc;
    }

    if (word.len > 0) {
        memcpy(names->text + names->len, word.data, word.len);
    }
    names->len += word.len;
    *number = names->n++;
    names->starts[names->n] = names->len;

    at = (uint32_t) hash & names->mask;
    while (names->table[at] != 0) {
        at = (at + 1) & names->mask;
    }
    names->table[at] = names->n;

    return MINING_OK;
}


tracker_str_t
mining_names_word(const mining_names_t *names, uint32_t number)
{
    tracker_str_t word;

    word.data = names->text + names->starts[number];
    word.len = names->starts[number + 1] - names->starts[number];

    return word;
}


void
mining_names_free(mining_names_t *names)
{
    free(names->text);
    free(names->starts);
    free(names->table);
    memset(names, 0, sizeof(*names));
}
