/*
 * basket_file.c - reads baskets in the two ways the world writes them.
 *
 * A line per basket is what the public collections have (with commas: the
 * "basket" format of R's arules; with blanks: FIMI's).  A row per item is what
 * a shop exports.  Items and baskets get numbers in the order they come.  An
 * empty line is no basket.
 *
 * Limits: 1 MiB a line, 8 KiB an item, 2^28 items in all.
 */

#include <stdlib.h>
#include <string.h>

#include "basket_file.h"


static mining_result_e
basket_fail(mining_basket_file_t *file, const char *reason)
{
    file->reason = reason;

    return MINING_INVALID;
}


static mining_result_e
basket_grow(void **array, size_t n, size_t *size, size_t unit)
{
    size_t more;
    void  *grown;

    if (n < *size) {
        return MINING_OK;
    }

    more = *size == 0 ? 4096 : 2 * *size;
    grown = realloc(*array, more * unit);
    if (grown == NULL) {
        return MINING_NOMEM;
    }
    *array = grown;
    *size = more;

    return MINING_OK;
}


static mining_result_e
basket_item(mining_basket_file_t *file, const char *data, size_t len)
{
    mining_result_e rc;
    tracker_str_t   word = {data, len};

    if (len == 0) {
        return MINING_OK;
    }
    if (len > MINING_CSV_FIELD_MAX) {
        return basket_fail(file, "an item is over 8192 bytes long");
    }
    if (file->nitems >= MINING_BASKET_ITEMS_MAX) {
        return MINING_FULL;
    }

    rc = basket_grow((void **) &file->items, file->nitems, &file->size_items,
        sizeof(*file->items));
    if (rc != MINING_OK) {
        return rc;
    }

    return mining_names_number(
        &file->items_names, word, &file->items[file->nitems++]);
}


/* Ends the basket that takes what was added since the last one. */
static mining_result_e
basket_end(mining_basket_file_t *file)
{
    mining_result_e rc;

    rc = basket_grow((void **) &file->starts, file->n + 1, &file->size_starts,
        sizeof(*file->starts));
    if (rc != MINING_OK) {
        return rc;
    }

    if (file->n == 0) {
        file->starts[0] = 0;
    }
    if (file->nitems > file->starts[file->n]) {
        file->starts[++file->n] = file->nitems;
    }

    return MINING_OK;
}


static int
basket_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}


/* An item in quotes, shortened in place; *at goes behind the last one. */
static mining_result_e
basket_quoted(mining_basket_file_t *file, char *line, size_t len, size_t *at,
    char separator)
{
    size_t i, used, start;

    start = *at + 1;
    used = start;

    for (i = start; i < len; i++) {
        if (line[i] == '"') {
            if (i + 1 == len || line[i + 1] != '"') {
                break;
            }
            i++;
        }
        line[used++] = line[i];
    }

    if (i == len) {
        return basket_fail(file, "a quote is never closed on its line");
    }
    for (i++; i < len && line[i] != separator; i++) {
        if (!basket_blank(line[i])) {
            return basket_fail(file, "text follows a closing quote");
        }
    }
    *at = i;

    return basket_item(file, line + start, used - start);
}


static mining_result_e
basket_line(mining_basket_file_t *file, char *line, size_t len, char separator)
{
    size_t          i, start, end;
    mining_result_e rc;

    if (memchr(line, '\0', len) != NULL) {
        return basket_fail(file, "there is a NUL: the file is no text");
    }

    rc = MINING_OK;
    for (i = 0; i < len && rc == MINING_OK; i++) {
        while (i < len && basket_blank(line[i])) {
            i++;
        }
        if (i < len && line[i] == '"' && separator != ' ') {
            rc = basket_quoted(file, line, len, &i, separator);
            continue;
        }

        start = i;
        while (i < len && line[i] != separator
               && (separator != ' ' || !basket_blank(line[i])))
        {
            i++;
        }
        for (end = i; end > start && basket_blank(line[end - 1]); end--) {
        }
        rc = basket_item(file, line + start, end - start);
    }

    return rc == MINING_OK ? basket_end(file) : rc;
}


static char
basket_separator(const char *data, size_t len)
{
    const char *c;

    for (c = ",;\t"; *c != '\0'; c++) {
        if (memchr(data, *c, len) != NULL) {
            return *c;
        }
    }

    return ' ';
}


/* The whole lines of the buffer; what is left of it moves to its front. */
static mining_result_e
basket_block(mining_basket_file_t *file, char *buf, size_t *len, int ended,
    char separator)
{
    char           *end;
    size_t          at, n;
    mining_result_e rc;

    for (at = 0; at < *len; at += n + 1) {
        end = memchr(buf + at, '\n', *len - at);
        if (end == NULL && !ended) {
            break;
        }
        n = end == NULL ? *len - at : (size_t) (end - buf) - at;
        file->line++;
        rc = basket_line(file, buf + at, n, separator);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    *len = at < *len ? *len - at : 0;
    memmove(buf, buf + at, *len);

    if (*len >= MINING_BASKET_LINE_MAX) {
        file->line++;
        return basket_fail(file, "the line is over 1048576 bytes long");
    }

    return MINING_OK;
}


mining_result_e
mining_basket_lines(
    mining_basket_file_t *file, mining_csv_read_pt read, void *ctx)
{
    char           *buf, separator;
    size_t          len;
    long            n;
    mining_result_e rc;

    memset(file, 0, sizeof(*file));
    buf = malloc(2 * (size_t) MINING_BASKET_LINE_MAX);
    if (buf == NULL) {
        return MINING_NOMEM;
    }

    separator = '\0';
    len = 0;
    do {
        n = read(ctx, buf + len, 2 * (size_t) MINING_BASKET_LINE_MAX - len);
        if (n < 0) {
            rc = MINING_LOST;
            break;
        }
        len += (size_t) n;
        if (n > 0 && len < MINING_BASKET_LINE_MAX) {
            rc = MINING_OK;
            continue;
        }
        if (separator == '\0') {
            separator = basket_separator(buf, len);
            if (len >= 3 && memcmp(buf, "\xef\xbb\xbf", 3) == 0) {
                memset(buf, ' ', 3);
            }
        }
        rc = basket_block(file, buf, &len, n == 0, separator);
    } while (n > 0 && rc == MINING_OK);
    free(buf);

    if (rc == MINING_OK && file->n == 0) {
        file->line = 1;
        rc = basket_fail(file, "there is no basket");
    }

    return rc;
}


static int
basket_column(const mining_csv_t *csv, const char *name)
{
    unsigned i;

    for (i = 0; i < csv->nfields; i++) {
        if (csv->fields[i].len == strlen(name)
            && memcmp(csv->fields[i].data, name, strlen(name)) == 0)
        {
            return (int) i;
        }
    }

    return -1;
}


/* Items with the numbers of their baskets, in the order of the file. */
static mining_result_e
basket_pairs(mining_basket_file_t *file, mining_csv_t *csv, const char *basket,
    const char *item, uint32_t **of)
{
    int             at, to;
    size_t          size;
    mining_result_e rc;

    size = 0;
    rc = mining_csv_next(csv);
    at = rc == MINING_OK ? basket_column(csv, basket) : -1;
    to = rc == MINING_OK ? basket_column(csv, item) : -1;
    file->line = csv->line;
    if (rc == MINING_OK && (at < 0 || to < 0)) {
        return basket_fail(file,
            at < 0 ? "the first line has no column of the name --basket gives"
                   : "the first line has no column of the name --item gives");
    }

    while (rc == MINING_OK && (rc = mining_csv_next(csv)) == MINING_OK) {
        file->line = csv->line;
        if (csv->nfields <= (unsigned) at || csv->nfields <= (unsigned) to
            || csv->fields[at].len == 0 || csv->fields[to].len == 0)
        {
            return basket_fail(file, "basket or item is empty");
        }
        rc = basket_grow((void **) of, file->nitems, &size, sizeof(**of));
        if (rc == MINING_OK) {
            rc = mining_names_number(
                &file->baskets_names, csv->fields[at], *of + file->nitems);
        }
        if (rc == MINING_OK) {
            rc = basket_item(file, csv->fields[to].data, csv->fields[to].len);
        }
    }

    if (rc == MINING_INVALID && file->reason == NULL) {
        file->line = csv->line;
        return basket_fail(file, csv->reason);
    }

    return rc == MINING_DECLINED ? MINING_OK : rc;
}


/* Brings the items of each basket together, by counting. */
static mining_result_e
basket_gather(mining_basket_file_t *file, const uint32_t *of)
{
    size_t    i;
    uint32_t *items;

    file->n = file->baskets_names.n;
    file->starts = calloc(file->n + 2, sizeof(*file->starts));
    items = malloc((file->nitems + 1) * sizeof(*items));
    if (file->starts == NULL || items == NULL) {
        free(items);
        return MINING_NOMEM;
    }

    for (i = 0; i < file->nitems; i++) {
        file->starts[of[i] + 2]++;
    }
    for (i = 2; i < file->n + 2; i++) {
        file->starts[i] += file->starts[i - 1];
    }
    for (i = 0; i < file->nitems; i++) {
        items[file->starts[of[i] + 1]++] = file->items[i];
    }

    free(file->items);
    file->items = items;

    return MINING_OK;
}


mining_result_e
mining_basket_rows(mining_basket_file_t *file, const char *basket,
    const char *item, mining_csv_read_pt read, void *ctx)
{
    uint32_t       *of;
    mining_csv_t   *csv;
    mining_result_e rc;

    memset(file, 0, sizeof(*file));
    csv = malloc(sizeof(*csv));
    if (csv == NULL) {
        return MINING_NOMEM;
    }

    of = NULL;
    mining_csv_start(csv, read, ctx);
    rc = basket_pairs(file, csv, basket, item, &of);
    if (rc == MINING_OK && of == NULL) {
        file->line = 1;
        rc = basket_fail(file, "there is no basket");
    }
    if (rc == MINING_OK) {
        rc = basket_gather(file, of);
    }
    free(of);
    free(csv);

    return rc;
}


void
mining_basket_free(mining_basket_file_t *file)
{
    mining_names_free(&file->items_names);
    mining_names_free(&file->baskets_names);
    free(file->starts);
    free(file->items);
    memset(file, 0, sizeof(*file));
}


void
mining_basket_all(const mining_basket_file_t *file, mining_baskets_t *baskets)
{
    baskets->starts = file->starts;
    baskets->items = file->items;
    baskets->n = file->n;
    baskets->nitems = file->items_names.n;
}
