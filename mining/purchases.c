/*
 * purchases.c - a file of purchases, one row each, sorted by customer and time.
 *
 * Files of purchases have many headers and one meaning, so columns are found
 * by the usual names, else named by the caller.  Without a comma in its first
 * line a file is taken to be apart by blanks: those become commas on the way.
 *
 * A row that cannot be read refuses the file with its line: half a file would
 * look like a whole one.  A row of nobody, a return and a sample are what they
 * are: they are counted and left out.  Ids are sorted, not hashed, so no file
 * makes this slow on purpose.
 */

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "purchases.h"


#define PURCHASE_AMOUNT_MAX 1e12

enum {
    COLUMN_CUSTOMER,
    COLUMN_DATE,
    COLUMN_AMOUNT,
    COLUMN_ORDER,
    COLUMN_QUANTITY,
    COLUMN_PRICE,
    COLUMN_COSTS, /* MINING_COSTS of them */
    COLUMNS = COLUMN_COSTS + MINING_COSTS
};

#define COLUMN_NAMES 5

static const struct {
    const char *name;
    const char *usual[COLUMN_NAMES];
} columns_known[COLUMNS] = {
    {"customer", {"customer_id", "customerid", "customer", "user_id"}},
    {"date", {"date", "ordered_at", "invoicedate", "order_date", "time"}},
    {"amount", {"amount", "dollar_value", "total", "revenue", "value"}},
    {"order", {"order_id", "invoiceno", "order", "invoice"}},
    {"quantity", {"quantity", "pieces"}},
    {"price", {"price", "unitprice", "unit_price"}},
    {"goods", {"goods", "goods_cost", "cogs"}},
    {"discount", {"discount"}},
    {"contact", {"contact", "contact_cost"}},
    {"service", {"service", "service_cost"}},
};

typedef struct {
    const char         *path;
    mining_csv_read_pt  read;
    void               *ctx;
    mining_csv_t        csv;
    mining_purchases_t *out;
    int                 fields[COLUMNS]; /* of the file; -1: not there */
    tracker_str_t       named[COLUMNS];  /* by the caller */
    int                 headless;
    int                 blanks; /* 1: they part columns; -1: not known yet */
    int                 apart;  /* 0: in a column, 1: after it, 2: in no line */
} purchases_t;


/* ---- reading ------------------------------------------------------------ */


/*
 * Runs of blanks become one comma, those at the ends of lines nothing.  There
 * is one byte of room before buf, for blanks that the last piece ended with.
 */
static long
purchases_squeeze(purchases_t *from, char *to, const char *buf, long n)
{
    long i, len;

    for (i = 0, len = 0; i < n; i++) {
        if (buf[i] == ' ' || buf[i] == '\t' || buf[i] == '\r') {
            if (from->apart == 0) {
                from->apart = 1;
            }
            continue;
        }
        if (from->apart == 1 && buf[i] != '\n') {
            to[len++] = ',';
        }
        from->apart = buf[i] == '\n' ? 2 : 0;
        to[len++] = buf[i];
    }

    return len;
}


/* The first piece holds the first line, as far as it fits. */
static long
purchases_first(purchases_t *from, char *buf, size_t size)
{
    long        n, got;
    const char *end;

    n = 0;
    do {
        got = from->read(from->ctx, buf + n, size - (size_t) n);
        if (got < 0) {
            return got;
        }
        n += got;
    } while (
        got > 0 && (size_t) n < size && memchr(buf, '\n', (size_t) n) == NULL);

    end = memchr(buf, '\n', (size_t) n);
    from->blanks =
        memchr(buf, ',', end != NULL ? (size_t) (end - buf) : (size_t) n)
        == NULL;
    from->apart = 2;

    return n;
}


static long
purchases_read(void *ctx, char *buf, size_t size)
{
    long         n, got;
    purchases_t *from;

    from = ctx;

    do {
        n = from->blanks < 0 ? purchases_first(from, buf + 1, size - 1)
                             : from->read(from->ctx, buf + 1, size - 1);
        if (n <= 0) {
            return n;
        }

        got = n;
        if (from->blanks) {
            got = purchases_squeeze(from, buf, buf + 1, n);
        } else {
            memmove(buf, buf + 1, (size_t) n);
        }
    } while (got == 0);

    return got;
}


/* ---- columns ------------------------------------------------------------ */


static int
purchases_same(tracker_str_t text, const char *name)
{
    return text.len == strlen(name)
           && strncasecmp(text.data, name, text.len) == 0;
}


/* "customer=NAME,date=NAME" */
static mining_result_e
purchases_named(purchases_t *from, const char *columns)
{
    size_t        len, name;
    unsigned      i;
    tracker_str_t word;

    for (; columns != NULL && *columns != '\0'; columns += len) {
        len = strcspn(columns, ",");
        name = strcspn(columns, "=,");
        word.data = columns;
        word.len = name;

        for (i = 0; i < COLUMNS; i++) {
            if (purchases_same(word, columns_known[i].name)) {
                break;
            }
        }
        if (i == COLUMNS || name + 1 >= len) {
            mining_say("%s: columns \"%.*s\": NAME=COLUMN is wanted, of "
                       "customer, date, amount, order, quantity, price, "
                       "goods, discount, contact, service",
                from->path, (int) len, columns);
            return MINING_INVALID;
        }

        from->named[i].data = columns + name + 1;
        from->named[i].len = len - name - 1;
        len += columns[len] == ',';
    }

    return MINING_OK;
}


static int
purchases_field(const purchases_t *from, unsigned column)
{
    unsigned      i, k;
    tracker_str_t named;

    named = from->named[column];

    for (k = 0; k < from->csv.nfields; k++) {
        for (i = 0; named.data == NULL && i < COLUMN_NAMES; i++) {
            if (columns_known[column].usual[i] != NULL
                && purchases_same(
                    from->csv.fields[k], columns_known[column].usual[i]))
            {
                return (int) k;
            }
        }
        if (named.data != NULL && named.len == from->csv.fields[k].len
            && memcmp(named.data, from->csv.fields[k].data, named.len) == 0)
        {
            return (int) k;
        }
    }

    return -1;
}


/* All columns that were named are numbers: the file has no header. */
static int
purchases_numbered(purchases_t *from)
{
    char     text[8];
    size_t   k;
    unsigned i, any;

    for (i = 0, any = 0; i < COLUMNS; i++) {
        from->fields[i] = -1;
        if (from->named[i].data == NULL) {
            continue;
        }
        for (k = 0; k < from->named[i].len; k++) {
            if (!isdigit((unsigned char) from->named[i].data[k]) || k > 2) {
                return 0;
            }
        }
        memcpy(text, from->named[i].data, k);
        text[k] = '\0';
        from->fields[i] = atoi(text) - 1;
        any = 1;
    }

    return (int) any;
}


static mining_result_e
purchases_header(purchases_t *from)
{
    unsigned i;

    from->headless = purchases_numbered(from);

    for (i = 0; i < COLUMNS; i++) {
        if (!from->headless) {
            from->fields[i] = purchases_field(from, i);
        }
        if (from->named[i].data != NULL
            && (from->fields[i] < 0
                || (unsigned) from->fields[i] >= from->csv.nfields))
        {
            mining_say("%s:%d: no column \"%.*s\"", from->path,
                (int) from->csv.line, (int) from->named[i].len,
                from->named[i].data);
            return MINING_INVALID;
        }
        from->out->has_costs |= i >= COLUMN_COSTS && from->fields[i] >= 0;
    }

    if (from->fields[COLUMN_CUSTOMER] < 0 || from->fields[COLUMN_DATE] < 0
        || (from->fields[COLUMN_AMOUNT] < 0
            && (from->fields[COLUMN_QUANTITY] < 0
                || from->fields[COLUMN_PRICE] < 0)))
    {
        mining_say("%s:%d: columns customer, date, and amount or quantity and "
                   "price are wanted: name them with --columns "
                   "customer=NAME,date=NAME,amount=NAME",
            from->path, (int) from->csv.line);
        return MINING_INVALID;
    }

    return MINING_OK;
}


/* ---- rows --------------------------------------------------------------- */


int64_t
mining_purchase_day(int64_t us)
{
    return us >= 0 ? us / MINING_US_PER_DAY
                   : -((-us + MINING_US_PER_DAY - 1) / MINING_US_PER_DAY);
}


mining_result_e
mining_purchase_time(tracker_str_t text, int64_t *us)
{
    char          dashed[11];
    size_t        i;
    tracker_str_t day;

    for (i = 0; i < text.len && isdigit((unsigned char) text.data[i]); i++) {
        /* counting digits */
    }
    if (i != 8 || text.len != 8) {
        return mining_time(text, us);
    }

    (void) snprintf(dashed, sizeof(dashed), "%.4s-%.2s-%.2s", text.data,
        text.data + 4, text.data + 6);
    day.data = dashed;
    day.len = 10;

    return mining_time(day, us);
}


static mining_result_e
purchases_bad(const purchases_t *from, unsigned column, const char *what)
{
    mining_say("%s:%d: %s is %s", from->path, (int) from->csv.line,
        columns_known[column].name, what);

    return MINING_INVALID;
}


/* A number of a column; 0 where the column is not there. */
static mining_result_e
purchases_number(const purchases_t *from, unsigned column, double *number)
{
    char          text[64], *end;
    tracker_str_t field;

    *number = 0;
    if (from->fields[column] < 0) {
        return MINING_OK;
    }

    field = from->csv.fields[from->fields[column]];
    if (field.len == 0 && column >= COLUMN_COSTS) {
        return MINING_OK;
    }
    if (field.len == 0 || field.len >= sizeof(text)) {
        return purchases_bad(from, column, "no number");
    }

    memcpy(text, field.data, field.len);
    text[field.len] = '\0';
    *number = strtod(text, &end);
    if (end != text + field.len || !(fabs(*number) <= PURCHASE_AMOUNT_MAX)) {
        return purchases_bad(from, column, "no number up to 10^12");
    }

    return MINING_OK;
}


static mining_result_e
purchases_money(
    const purchases_t *from, double *amount, double *costs, int *sold)
{
    double          quantity, price;
    unsigned        i;
    mining_result_e rc;

    rc = purchases_number(from, COLUMN_AMOUNT, amount);
    if (rc == MINING_OK) {
        rc = purchases_number(from, COLUMN_QUANTITY, &quantity);
    }
    if (rc == MINING_OK) {
        rc = purchases_number(from, COLUMN_PRICE, &price);
    }

    for (i = 0; i < MINING_COSTS && rc == MINING_OK; i++) {
        rc = purchases_number(from, COLUMN_COSTS + i, &costs[i]);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    /* A gift is a purchase of 0 where an amount is told, a sample is none. */
    if (from->fields[COLUMN_AMOUNT] >= 0) {
        *sold = *amount >= 0;
        return MINING_OK;
    }

    *sold = quantity > 0 && price > 0;
    *amount = quantity * price;
    if (!(*amount <= PURCHASE_AMOUNT_MAX)) {
        return purchases_bad(from, COLUMN_PRICE, "more than 10^12 in all");
    }

    return MINING_OK;
}


static mining_result_e
purchases_room(mining_purchases_t *out, size_t len)
{
    size_t size;
    void  *grown;

    if (out->ids_len + len + 1 > out->ids_size) {
        size = 2 * out->ids_size + 65536 + len;
        grown = realloc(out->ids, size);
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        out->ids = grown;
        out->ids_size = size;
    }

    if (out->nrows == out->size) {
        size = 2 * out->size + 4096;
        grown = realloc(out->rows, size * sizeof(*out->rows));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        out->rows = grown;
        out->size = size;
    }

    return MINING_OK;
}


/* FNV-1a: orders of one customer are told apart, 64 bits are plenty. */
static uint64_t
purchases_order(const purchases_t *from, int64_t us)
{
    size_t        i;
    uint64_t      hash;
    tracker_str_t field;

    if (from->fields[COLUMN_ORDER] < 0) {
        return (uint64_t) mining_purchase_day(us);
    }

    field = from->csv.fields[from->fields[COLUMN_ORDER]];
    hash = 0xcbf29ce484222325U;
    for (i = 0; i < field.len; i++) {
        hash = (hash ^ (unsigned char) field.data[i]) * 0x100000001b3U;
    }

    return hash;
}


static mining_result_e
purchases_keep(
    purchases_t *from, int64_t us, double amount, const double *costs)
{
    unsigned            i;
    tracker_str_t       id;
    mining_result_e     rc;
    mining_purchase_t  *row;
    mining_purchases_t *out;

    out = from->out;
    id = from->csv.fields[from->fields[COLUMN_CUSTOMER]];

    if (out->nrows == MINING_PURCHASES_MAX) {
        mining_say("%s: over %u rows", from->path, MINING_PURCHASES_MAX);
        return MINING_FULL;
    }

    rc = purchases_room(out, id.len);
    if (rc != MINING_OK) {
        return rc;
    }

    row = &out->rows[out->nrows++];
    row->id = out->ids_len;
    row->us = us;
    row->order = purchases_order(from, us);
    row->amount = amount;
    row->costs = 0;
    for (i = 0; i < MINING_COSTS; i++) {
        row->costs += costs[i];
        out->costs[i] += costs[i];
    }
    out->revenue += amount;

    memcpy(out->ids + out->ids_len, id.data, id.len);
    out->ids[out->ids_len + id.len] = '\0';
    out->ids_len += id.len + 1;

    return MINING_OK;
}


static mining_result_e
purchases_row(purchases_t *from)
{
    int             sold;
    double          amount, costs[MINING_COSTS];
    int64_t         us;
    unsigned        i;
    tracker_str_t   id;
    mining_result_e rc;

    for (i = 0; i < COLUMNS; i++) {
        if (from->fields[i] >= (int) from->csv.nfields) {
            return purchases_bad(from, i, "missing: the row is too short");
        }
    }

    from->out->lines++;
    id = from->csv.fields[from->fields[COLUMN_CUSTOMER]];
    if (id.len == 0) {
        from->out->nobodys++;
        return MINING_OK;
    }
    if (mining_csv_id(id) != MINING_OK) {
        return purchases_bad(
            from, COLUMN_CUSTOMER, "no id of 1 to 64 printable bytes");
    }

    if (mining_purchase_time(from->csv.fields[from->fields[COLUMN_DATE]], &us)
        != MINING_OK)
    {
        return purchases_bad(
            from, COLUMN_DATE, "no date: YYYYMMDD or YYYY-MM-DD[ HH:MM]");
    }

    rc = purchases_money(from, &amount, costs, &sold);
    if (rc == MINING_OK && !sold) {
        from->out->nothings++;
        return MINING_OK;
    }

    return rc == MINING_OK ? purchases_keep(from, us, amount, costs) : rc;
}


static int
purchases_compare(const void *a, const void *b, void *ctx)
{
    int                      order;
    const char              *ids;
    const mining_purchase_t *x, *y;

    ids = ctx;
    x = a;
    y = b;
    order = x->id == y->id ? 0 : strcmp(ids + x->id, ids + y->id);
    if (order != 0) {
        return order;
    }
    if (x->us != y->us) {
        return x->us < y->us ? -1 : 1;
    }

    /* ids lie in the order of the file: sums come out the same each time */
    return (x->id > y->id) - (x->id < y->id);
}


static void
purchases_sort(mining_purchases_t *out)
{
    size_t i;

    qsort_r(
        out->rows, out->nrows, sizeof(*out->rows), purchases_compare, out->ids);

    for (i = 0; i < out->nrows; i++) {
        if (i > 0
            && strcmp(
                   out->ids + out->rows[i].id, out->ids + out->rows[i - 1].id)
                   == 0)
        {
            out->rows[i].id = out->rows[i - 1].id;
        } else {
            out->ncustomers++;
        }
    }
}


static mining_result_e
purchases_all(purchases_t *from)
{
    mining_result_e rc;

    rc = mining_csv_next(&from->csv);
    if (rc == MINING_OK) {
        rc = purchases_header(from);
        if (rc == MINING_OK && from->headless) {
            rc = purchases_row(from);
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    while (rc == MINING_OK && (rc = mining_csv_next(&from->csv)) == MINING_OK) {
        rc = purchases_row(from);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (rc == MINING_INVALID) {
        mining_say(
            "%s:%d: %s", from->path, (int) from->csv.line, from->csv.reason);
    } else if (rc == MINING_LOST) {
        mining_say("%s: is cut short or cannot be read", from->path);
    } else if (from->out->nrows == 0) {
        mining_say("%s: has no purchase: %llu rows, %llu without a customer",
            from->path, (unsigned long long) from->out->lines,
            (unsigned long long) from->out->nobodys);
        rc = MINING_INVALID;
    }

    return rc == MINING_DECLINED ? MINING_OK : rc;
}


mining_result_e
mining_purchases_parse(mining_purchases_t *purchases, mining_csv_read_pt read,
    void *ctx, const char *name, const char *columns)
{
    purchases_t    *from;
    mining_result_e rc;

    memset(purchases, 0, sizeof(*purchases));
    from = calloc(1, sizeof(*from));
    if (from == NULL) {
        return MINING_NOMEM;
    }

    from->path = name;
    from->read = read;
    from->ctx = ctx;
    from->out = purchases;
    from->blanks = -1;

    rc = purchases_named(from, columns);
    if (rc == MINING_OK) {
        mining_csv_start(&from->csv, purchases_read, from);
        rc = purchases_all(from);
    }
    free(from);

    if (rc == MINING_OK) {
        purchases_sort(purchases);
    } else {
        mining_purchases_free(purchases);
    }

    return rc;
}


mining_result_e
mining_purchases_read(
    mining_purchases_t *purchases, const char *path, const char *columns)
{
    mining_file_t   file;
    mining_result_e rc;

    rc = mining_file_open(&file, path);
    if (rc == MINING_OK) {
        rc = mining_purchases_parse(
            purchases, mining_file_read, &file, path, columns);
        mining_file_close(&file);
    }
    if (rc == MINING_NOMEM) {
        mining_say("%s: %s", path, mining_result_text(rc));
    }

    return rc;
}


void
mining_purchases_free(mining_purchases_t *purchases)
{
    free(purchases->ids);
    free(purchases->rows);
    memset(purchases, 0, sizeof(*purchases));
}
