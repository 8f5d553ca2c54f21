/*
 * names.c - a table of texts with open addressing, all in one arena.
 *
 * 12 bytes per name beside its text.  The hash is seeded by nothing: the input
 * is the shop's own file, and an unlucky one costs time, not memory.
 */

#include <stdlib.h>
#include <string.h>

#include "names.h"


#define NAMES_SLOTS 1024  /* at first; always a power of two */
#define NAMES_TEXT  16384 /* bytes, at first */


static uint32_t
names_hash(tracker_str_t name)
{
    size_t   i;
    uint64_t hash;

    hash = 14695981039346656037ULL;
    for (i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char) name.data[i]) * 1099511628211ULL;
    }

    return (uint32_t) (hash ^ hash >> 32);
}


tracker_str_t
mining_names_get(const mining_names_t *names, uint32_t number)
{
    tracker_str_t name;

    name.data = names->text + names->starts[number];
    name.len = names->starts[number + 1] - names->starts[number];

    return name;
}


static mining_result_e
names_slots(mining_names_t *names)
{
    uint32_t i, at, n, *slots;

    if (names->slots != NULL && names->n < names->mask / 2) {
        return MINING_OK;
    }

    n = names->slots == NULL ? NAMES_SLOTS : 2 * (names->mask + 1);
    slots = calloc(n, sizeof(*slots));
    if (slots == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < names->n; i++) {
        at = names_hash(mining_names_get(names, i)) & (n - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (n - 1);
        }
        slots[at] = i + 1;
    }

    free(names->slots);
    names->slots = slots;
    names->mask = n - 1;

    return MINING_OK;
}


/* Room for one more name of len bytes. */
static mining_result_e
names_room(mining_names_t *names, size_t len)
{
    void  *grown;
    size_t used, size;

    used = names->starts == NULL ? 0 : names->starts[names->n];
    if (names->n >= MINING_NAMES_MAX || used + len > MINING_NAMES_TEXT_MAX) {
        return MINING_FULL;
    }

    if (names->text == NULL || used + len > names->text_size) {
        size = names->text == NULL ? NAMES_TEXT : 2 * names->text_size;
        size = size < used + len ? used + len : size;
        grown = realloc(names->text, size);
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        names->text = grown;
        names->text_size = size;
    }

    if (names->starts == NULL || names->n + 1 >= names->size) {
        size = names->starts == NULL ? NAMES_SLOTS : 2 * (size_t) names->size;
        grown = realloc(names->starts, size * sizeof(*names->starts));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        names->starts = grown;
        names->size = (uint32_t) size;
        names->starts[names->n] = (uint32_t) used;
    }

    return names_slots(names);
}


mining_result_e
mining_names_add(mining_names_t *names, tracker_str_t name, uint32_t *number)
{
    uint32_t        at;
    tracker_str_t   known;
    mining_result_e rc;

    rc = names_room(names, name.len);
    if (rc != MINING_OK) {
        return rc;
    }

    for (at = names_hash(name) & names->mask; names->slots[at] != 0;
         at = (at + 1) & names->mask)
    {
        known = mining_names_get(names, names->slots[at] - 1);
        if (known.len == name.len
            && memcmp(known.data, name.data, name.len) == 0) {
            *number = names->slots[at] - 1;
            return MINING_OK;
        }
    }

    memcpy(names->text + names->starts[names->n], name.data, name.len);
    names->starts[names->n + 1] = names->starts[names->n] + (uint32_t) name.len;
    *number = names->n++;
    names->slots[at] = names->n;

    return MINING_OK;
}


void
mining_names_free(mining_names_t *names)
{
    free(names->slots);
    free(names->starts);
    free(names->text);
    memset(names, 0, sizeof(*names));
}
