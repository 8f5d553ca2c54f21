/*
 * matrix_file.h - reads columns of numbers from CSV, for evaluate.
 */

#ifndef MATRIX_FILE_H_INCLUDED_
#define MATRIX_FILE_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


#define MINING_MATRIX_NUMBERS_MAX (1UL << 28)

typedef struct {
    char    *names[MINING_CSV_COLUMNS_MAX];
    unsigned d;
    double  *values; /* n times d */
    size_t   n;
    size_t   size;
    char    *ids; /* n words of the id column, a NUL after each */
    size_t   ids_len;
    size_t   ids_size;
} mining_matrix_t;

/*
 * The columns of a list with commas between, or if it is NULL all but `id`;
 * id may be NULL.  Every cell must be a finite number.  Says what is wrong,
 * with its line.  Free it whatever the result.
 */
mining_result_e mining_matrix_read(mining_matrix_t *table, const char *path,
    const char *columns, const char *id);
void            mining_matrix_free(mining_matrix_t *table);


#pragma GCC visibility pop

#endif /* MATRIX_FILE_H_INCLUDED_ */
