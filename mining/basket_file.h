/*
 * basket_file.h - reads sets of items, one a line or one row per item.
 */

#ifndef BASKET_FILE_H_INCLUDED_
#define BASKET_FILE_H_INCLUDED_

#include "mining.h"
#include "learn/itemsets.h"
#include "learn/names.h"

#pragma GCC visibility push(hidden)


#define MINING_BASKET_LINE_MAX  (1U << 20) /* bytes */
#define MINING_BASKET_ITEMS_MAX (1U << 28) /* of all baskets */

typedef struct {
    mining_names_t items_names;
    mining_names_t baskets_names; /* of rows with a basket column */
    uint64_t      *starts;        /* n + 1 */
    uint32_t      *items;
    size_t         n;
    size_t         nitems;
    size_t         size_starts;
    size_t         size_items;
    uint64_t       line;
    const char    *reason; /* of INVALID: a static sentence */
} mining_basket_file_t;

/*
 * One basket a line: items with commas between, or semicolons, tabs or blanks,
 * the first of these that the first block of the file has.  An item may stand
 * in quotes, except between blanks.  INVALID: reason and line say why.
 * LOST: reading failed.  FULL: too large.  Free it whatever the result.
 */
mining_result_e mining_basket_lines(
    mining_basket_file_t *file, mining_csv_read_pt read, void *ctx);
/* CSV, one row per item; the rows of a basket may lie anywhere. */
mining_result_e mining_basket_rows(mining_basket_file_t *file,
    const char *basket, const char *item, mining_csv_read_pt read, void *ctx);
void            mining_basket_free(mining_basket_file_t *file);
void            mining_basket_all(
               const mining_basket_file_t *file, mining_baskets_t *baskets);


#pragma GCC visibility pop

#endif /* BASKET_FILE_H_INCLUDED_ */
