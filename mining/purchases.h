/*
 * purchases.h - a file of purchases, one row each, sorted by customer and time.
 */

#ifndef PURCHASES_H_INCLUDED_
#define PURCHASES_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


#define MINING_PURCHASES_MAX (16u << 20) /* rows */

typedef enum {
    MINING_COST_GOODS,
    MINING_COST_DISCOUNT,
    MINING_COST_CONTACT,
    MINING_COST_SERVICE,
    MINING_COSTS
} mining_cost_e;

typedef struct {
    size_t   id;    /* where the customer's id begins in ids */
    int64_t  us;    /* since 1970 UTC */
    uint64_t order; /* hash of the order's id; of the day without one */
    double   amount;
    double   costs; /* of all kinds */
} mining_purchase_t;

typedef struct {
    char              *ids;
    size_t             ids_len;
    size_t             ids_size;
    mining_purchase_t *rows; /* by customer's id, then time */
    size_t             nrows;
    size_t             size;
    size_t             ncustomers;
    uint64_t           lines;     /* = nrows + nobodys + nothings */
    uint64_t           nobodys;   /* without a customer */
    uint64_t           nothings;  /* returns, samples: nothing was sold */
    int                has_costs; /* a column of costs is there */
    double             revenue;
    double             costs[MINING_COSTS];
} mining_purchases_t;

/*
 * Reads CSV (or columns apart by blanks), plain or gzip.  Columns are found by
 * the usual names or by `columns` (may be NULL): "customer=NAME,date=NAME,
 * amount=NAME", also order, quantity, price, goods, discount, contact,
 * service; a number stands for a column of a file without a header.  Says what
 * is wrong with file and line.
 */
mining_result_e mining_purchases_read(
    mining_purchases_t *purchases, const char *path, const char *columns);
/* The same from any reader; `name` stands for it in messages. */
mining_result_e mining_purchases_parse(mining_purchases_t *purchases,
    mining_csv_read_pt read, void *ctx, const char *name, const char *columns);
void            mining_purchases_free(mining_purchases_t *purchases);

/* Days since 1970 of a moment; of one before, the day it lies in. */
int64_t mining_purchase_day(int64_t us);
/* "YYYYMMDD" or what mining_time takes. */
mining_result_e mining_purchase_time(tracker_str_t text, int64_t *us);


#pragma GCC visibility pop

#endif /* PURCHASES_H_INCLUDED_ */
