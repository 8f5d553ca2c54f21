/*
 * names.h - numbers for words: the first is 0, the next new one 1.
 */

#ifndef NAMES_H_INCLUDED_
#define NAMES_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_NAMES_MAX       (1U << 26)
#define MINING_NAMES_BYTES_MAX (1U << 31)

typedef struct {
    char     *text;
    size_t    len;
    size_t    size;
    size_t   *starts; /* n + 1 of them */
    uint32_t  n;
    uint32_t  nstarts; /* allocated */
    uint32_t *table;   /* open addressing: number + 1, 0 is free */
    uint32_t  mask;
} mining_names_t; /* all 0 is empty */

/* FULL: over MINING_NAMES_MAX words or MINING_NAMES_BYTES_MAX bytes. */
mining_result_e mining_names_number(
    mining_names_t *names, tracker_str_t word, uint32_t *number);
tracker_str_t mining_names_word(const mining_names_t *names, uint32_t number);
void          mining_names_free(mining_names_t *names);


#pragma GCC visibility pop

#endif /* NAMES_H_INCLUDED_ */
