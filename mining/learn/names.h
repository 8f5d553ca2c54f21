/*
 * names.h - texts that get numbers in the order in which they are first seen.
 */

#ifndef LEARN_NAMES_H_INCLUDED_
#define LEARN_NAMES_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


/* Zeroed: empty. */
typedef struct {
    uint32_t  n;
    uint32_t  mask;   /* slots - 1 */
    uint32_t  size;   /* of starts, in names */
    uint32_t *slots;  /* number + 1; 0: free */
    uint32_t *starts; /* n + 1 places in text */
    char     *text;
    size_t    text_size;
} mining_names_t;

#define MINING_NAMES_MAX      (1u << 26)
#define MINING_NAMES_TEXT_MAX (1u << 31) /* bytes */

/* Its number, a new one if need be.  FULL: a limit is reached. */
mining_result_e mining_names_add(
    mining_names_t *names, tracker_str_t name, uint32_t *number);
tracker_str_t mining_names_get(const mining_names_t *names, uint32_t number);
void          mining_names_free(mining_names_t *names);


#pragma GCC visibility pop

#endif /* LEARN_NAMES_H_INCLUDED_ */
