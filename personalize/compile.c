/*
 * compile.c - what the compilers of a set share: memory, paths, attributes.
 *
 * All memory of a set hangs in one list of blocks, so that a fault anywhere
 * frees everything at once and nothing is freed one by one.  Faults quote
 * names of the input, which is hostile: they are cut and control characters
 * are replaced, so that a fault is always one line of a log.
 */

#include "set.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>


/* Bytes of an ordinary block: a set of a few campaigns takes one. */
#define BLOCK_BYTES 16384

struct personalize_block_s {
    personalize_block_t *next;
};


void *
personalize_alloc(personalize_compiler_t *c, size_t size)
{
    void                *p;
    size_t               room;
    personalize_set_t   *set = c->set;
    personalize_block_t *block;

    /* never nothing, so that NULL always means out of memory */
    size = (size | 1) + sizeof(void *) - 1;
    size &= ~(sizeof(void *) - 1);

    if (size > set->nfree) {
        room = size > BLOCK_BYTES ? size : BLOCK_BYTES;

        block = malloc(sizeof(personalize_block_t) + room);
        if (block == NULL) {
            return NULL;
        }

        block->next = set->blocks;
        set->blocks = block;
        set->free = (char *) (block + 1);
        set->nfree = room;
    }

    p = set->free;
    set->free += size;
    set->nfree -= size;

    return p;
}


personalize_result_e
personalize_copy(
    personalize_compiler_t *c, const json_t *text, personalize_str_t *copy)
{
    char *p;

    copy->len = json_string_length(text);
    p = personalize_alloc(c, copy->len);
    if (p == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(p, json_string_value(text), copy->len);
    copy->data = p;

    return PERSONALIZE_OK;
}


size_t
personalize_path_push(personalize_compiler_t *c, const char *format, ...)
{
    int     n;
    size_t  len, room;
    va_list args;

    len = c->path_len;
    room = sizeof(c->path) - len;

    va_start(args, format);
    n = vsnprintf(c->path + len, room, format, args);
    va_end(args);

    if (n > 0) {
        c->path_len += (size_t) n < room ? (size_t) n : room - 1;
    }

    return len;
}


void
personalize_path_pop(personalize_compiler_t *c, size_t len)
{
    c->path_len = len;
    c->path[len] = '\0';
}


personalize_result_e
personalize_fault(personalize_compiler_t *c, const char *format, ...)
{
    int     n;
    char   *p;
    va_list args;

    if (c->fault_size == 0) {
        return PERSONALIZE_INVALID;
    }

    n = snprintf(
        c->fault, c->fault_size, "%s: ", c->path_len > 0 ? c->path : "set");

    if (n > 0 && (size_t) n < c->fault_size) {
        va_start(args, format);
        (void) vsnprintf(
            c->fault + n, c->fault_size - (size_t) n, format, args);
        va_end(args);
    }

    for (p = c->fault; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }

    return PERSONALIZE_INVALID;
}


personalize_result_e
personalize_intern(
    personalize_compiler_t *c, personalize_str_t path, uint16_t *n)
{
    char              *p;
    uint32_t           i;
    personalize_set_t *set = c->set;

    if ((path.len == 0 && !c->lenient) || path.len > PERSONALIZE_PATH_MAX) {
        return personalize_fault(c,
            "attribute name of %zu bytes, must be of 1 to %d", path.len,
            PERSONALIZE_PATH_MAX);
    }

    i = personalize_hash_key(path) % PERSONALIZE_INTERN_SLOTS;

    for (; c->intern[i] != 0; i = (i + 1) % PERSONALIZE_INTERN_SLOTS) {
        if (personalize_str_equal(set->attributes[c->intern[i] - 1], path)) {
            *n = c->intern[i] - 1;
            return PERSONALIZE_OK;
        }
    }

    if (set->nattributes == PERSONALIZE_ATTRIBUTES_MAX) {
        return personalize_fault(c,
            "attribute number %d of the set, at most %d distinct ones",
            PERSONALIZE_ATTRIBUTES_MAX + 1, PERSONALIZE_ATTRIBUTES_MAX);
    }

    p = personalize_alloc(c, path.len);
    if (p == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(p, path.data, path.len);
    *n = (uint16_t) set->nattributes++;
    set->attributes[*n].data = p;
    set->attributes[*n].len = path.len;
    c->intern[i] = (uint16_t) (*n + 1);

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_index_make(personalize_compiler_t *c,
    const personalize_str_t *names, size_t step, unsigned n, uint32_t **index,
    uint32_t *mask)
{
    size_t                   size;
    uint32_t                 i, place;
    const personalize_str_t *name;

    for (size = 2; size < (size_t) n * 2; size *= 2) {
        /* void */
    }

    *mask = (uint32_t) size - 1;
    *index = personalize_alloc(c, size * sizeof(uint32_t));
    if (*index == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(*index, 0, size * sizeof(uint32_t));

    for (i = 0; i < n; i++) {
        name = (const void *) ((const char *) names + i * step);
        place = personalize_hash_key(*name) & *mask;
        while ((*index)[place] != 0) {
            place = (place + 1) & *mask;
        }
        (*index)[place] = i + 1;
    }

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_condition_keep(
    personalize_compiler_t *c, const personalize_clause_t **clauses)
{
    size_t                size;
    personalize_clause_t *kept;

    size = c->nclauses * sizeof(personalize_clause_t);
    kept = personalize_alloc(c, size);
    if (kept == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memcpy(kept, c->clauses, size);
    *clauses = kept;

    return PERSONALIZE_OK;
}


static personalize_result_e
load(personalize_compiler_t *c, const personalize_source_t *source)
{
    json_t              *root;
    json_error_t         error;
    personalize_result_e rc;

    if (source->len > PERSONALIZE_SET_BYTES_MAX) {
        return personalize_fault(
            c, "%zu bytes, at most %u", source->len, PERSONALIZE_SET_BYTES_MAX);
    }

    memset(&error, 0, sizeof(error));
    root = json_loadb(source->json, source->len, source->flags, &error);

    if (root == NULL) {
        /* some failed allocations leave no text */
        if (error.text[0] == '\0'
            || json_error_code(&error) == json_error_out_of_memory)
        {
            return PERSONALIZE_NOMEM;
        }
        return personalize_fault(
            c, "line %d, column %d: %s", error.line, error.column, error.text);
    }

    rc = source->compile(c, root);
    json_decref(root);

    return rc;
}


personalize_result_e
personalize_compile(personalize_set_t **set, const personalize_source_t *source,
    char *fault, size_t fault_size)
{
    personalize_result_e    rc;
    personalize_compiler_t *c;

    *set = NULL;

    if (fault_size > 0) {
        fault[0] = '\0';
    }

    c = calloc(1, sizeof(personalize_compiler_t));
    if (c == NULL) {
        return PERSONALIZE_NOMEM;
    }

    c->lenient = source->lenient;
    c->fault = fault;
    c->fault_size = fault_size;
    c->set = calloc(1, sizeof(personalize_set_t));
    rc = c->set != NULL ? load(c, source) : PERSONALIZE_NOMEM;

    if (rc == PERSONALIZE_OK) {
        *set = c->set;
    } else {
        personalize_set_free(c->set);
    }

    free(c);

    return rc;
}


void
personalize_set_free(personalize_set_t *set)
{
    personalize_block_t *block, *next;

    if (set == NULL) {
        return;
    }

    personalize_regex_free(set);

    for (block = set->blocks; block != NULL; block = next) {
        next = block->next;
        free(block);
    }

    free(set);
}
