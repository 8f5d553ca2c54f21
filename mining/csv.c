/*
 * csv.c - CSV as RFC 4180 has it, streamed through a fixed buffer.
 *
 * A row may span lines inside quotes.  A row that is broken (text after a
 * closing quote, a quote inside a bare field, NUL, a field or row too large,
 * a quote never closed) is refused, and reading goes on at the line after the
 * one where the row began: a lost quote costs one row, not the rest of the
 * file.  For that the whole row stays in the buffer until it is done, which
 * bounds it to MINING_CSV_ROW_MAX bytes.
 *
 * Accepted beyond the standard: another separator, a BOM, LF and CRLF mixed,
 * no line feed at the end, empty lines (skipped).
 */

#include <string.h>

#include "mining.h"


typedef struct {
    size_t   pos;   /* in csv->buf */
    size_t   used;  /* of csv->text */
    unsigned lines; /* line feeds passed */
    int      last;  /* the row ended here */
} csv_row_t;


void
mining_csv_start(mining_csv_t *csv, mining_csv_read_pt read, void *ctx)
{
    csv->read = read;
    csv->ctx = ctx;
    csv->line = 0;
    csv->next_line = 1;
    csv->reason = NULL;
    csv->separator = ',';
    csv->nfields = 0;
    csv->pos = 0;
    csv->len = 0;
    csv->ended = 0;
    csv->started = 0;
    csv->failed = 0;
}


/* The first of tab, semicolon and comma that the first line has. */
static void
csv_detect(mining_csv_t *csv)
{
    size_t i;

    csv->separator = ',';
    for (i = csv->pos; i < csv->len && csv->buf[i] != '\n'; i++) {
        if (csv->buf[i] == '\t' || csv->buf[i] == ';' || csv->buf[i] == ',') {
            csv->separator = (unsigned char) csv->buf[i];
            return;
        }
    }
}


/* Has more than a row's maximum in the buffer, unless the input ends. */
static void
csv_fill(mining_csv_t *csv)
{
    long n;

    if (csv->len - csv->pos > MINING_CSV_ROW_MAX || csv->ended) {
        return;
    }

    memmove(csv->buf, csv->buf + csv->pos, csv->len - csv->pos);
    csv->len -= csv->pos;
    csv->pos = 0;

    while (csv->len <= MINING_CSV_ROW_MAX) {
        n = csv->read(
            csv->ctx, csv->buf + csv->len, sizeof(csv->buf) - csv->len);
        if (n <= 0) {
            csv->ended = 1;
            csv->failed = n < 0;
            break;
        }
        csv->len += (size_t) n;
    }

    if (!csv->started) {
        csv->started = 1;
        if (csv->len >= 3 && memcmp(csv->buf, "\357\273\277", 3) == 0) {
            csv->pos = 3;
        }
        if (csv->separator == MINING_CSV_DETECT) {
            csv_detect(csv);
        }
    }
}


static int
csv_at(const mining_csv_t *csv, size_t pos)
{
    return pos < csv->len ? (unsigned char) csv->buf[pos] : -1;
}


/* At the end of a field: takes the separator or the line's end. */
static const char *
csv_field_end(mining_csv_t *csv, csv_row_t *row)
{
    if (csv_at(csv, row->pos) == csv->separator) {
        row->pos++;
        return NULL;
    }

    switch (csv_at(csv, row->pos)) {
    case '\r':
        if (csv_at(csv, row->pos + 1) != '\n') {
            return "a carriage return stands outside quotes";
        }
        row->pos++;
        /* fall through */

    case '\n':
        row->pos++;
        row->lines++;
        /* fall through */

    case -1:
        row->last = 1;
        return NULL;

    default:
        return "text follows a closing quote: double the quotes inside";
    }
}


static const char *
csv_quoted(mining_csv_t *csv, csv_row_t *row)
{
    int c;

    for (row->pos++;; row->pos++) {
        c = csv_at(csv, row->pos);

        if (c == '"') {
            row->pos++;
            if (csv_at(csv, row->pos) != '"') {
                return NULL;
            }
        }

        if (c == -1) {
            return "a quote is not closed";
        }
        if (c == '\0') {
            return "a NUL byte stands in the row";
        }
        if (c == '\n') {
            row->lines++;
        }
        if (row->pos - csv->pos >= MINING_CSV_ROW_MAX) {
            return "the row is longer than 64 KB, or a quote is not closed";
        }

        csv->text[row->used++] = (char) c;
    }
}


static const char *
csv_bare(mining_csv_t *csv, csv_row_t *row)
{
    int c;

    for (;; row->pos++) {
        c = csv_at(csv, row->pos);

        if (c == csv->separator || c == '\n' || c == '\r' || c == -1) {
            return NULL;
        }
        if (c == '"') {
            return "a quote stands inside a field that does not begin with "
                   "one";
        }
        if (c == '\0') {
            return "a NUL byte stands in the row";
        }
        if (row->pos - csv->pos >= MINING_CSV_ROW_MAX) {
            return "the row is longer than 64 KB";
        }

        csv->text[row->used++] = (char) c;
    }
}


static const char *
csv_row(mining_csv_t *csv, csv_row_t *row)
{
    size_t      start;
    const char *reason;

    while (!row->last) {
        if (csv->nfields == MINING_CSV_COLUMNS_MAX) {
            return "the row has more than 64 fields";
        }

        start = row->used;
        reason = csv_at(csv, row->pos) == '"' ? csv_quoted(csv, row)
                                              : csv_bare(csv, row);
        if (reason != NULL) {
            return reason;
        }

        if (row->used - start > MINING_CSV_FIELD_MAX) {
            return "a field is longer than 8 KB";
        }

        csv->fields[csv->nfields].data = csv->text + start;
        csv->fields[csv->nfields].len = row->used - start;
        csv->nfields++;

        reason = csv_field_end(csv, row);
        if (reason != NULL) {
            return reason;
        }
    }

    return NULL;
}


/* Skips to the line after the one where the refused row began. */
static void
csv_skip_line(mining_csv_t *csv)
{
    char  *end;
    size_t left;

    csv->next_line++;

    for (;;) {
        left = csv->len - csv->pos;
        end = memchr(csv->buf + csv->pos, '\n', left);
        if (end != NULL) {
            csv->pos = (size_t) (end - csv->buf) + 1;
            return;
        }

        if (csv->ended) {
            csv->pos = csv->len;
            return;
        }

        csv->pos = csv->len;
        csv_fill(csv);
    }
}


static void
csv_skip_empty(mining_csv_t *csv)
{
    for (;;) {
        csv_fill(csv);

        if (csv_at(csv, csv->pos) == '\n') {
            csv->pos++;

        } else if (csv_at(csv, csv->pos) == '\r'
                   && csv_at(csv, csv->pos + 1) == '\n') {
            csv->pos += 2;

        } else {
            return;
        }

        csv->next_line++;
    }
}


mining_result_e
mining_csv_next(mining_csv_t *csv)
{
    char     *end;
    csv_row_t row;

    csv_skip_empty(csv);

    csv->line = csv->next_line;
    csv->nfields = 0;

    if (csv->failed) {
        return MINING_LOST;
    }
    if (csv->pos == csv->len) {
        return MINING_DECLINED;
    }

    memset(&row, 0, sizeof(row));
    row.pos = csv->pos;

    csv->reason = csv_row(csv, &row);
    csv->raw.data = csv->buf + csv->pos;

    if (csv->reason != NULL) {
        end = memchr(csv->raw.data, '\n', csv->len - csv->pos);
        csv->raw.len =
            end != NULL ? (size_t) (end - csv->raw.data) : csv->len - csv->pos;
        if (csv->raw.len > MINING_REJECT_RAW_MAX) {
            csv->raw.len = MINING_REJECT_RAW_MAX;
        }

        /* The buffer may be refilled while the rest of the line is passed. */
        memcpy(csv->text, csv->raw.data, csv->raw.len);
        csv->raw.data = csv->text;
        csv_skip_line(csv);
        return MINING_INVALID;
    }

    csv->raw.len = row.pos - csv->pos;
    while (csv->raw.len > 0
           && (csv->raw.data[csv->raw.len - 1] == '\n'
               || csv->raw.data[csv->raw.len - 1] == '\r'))
    {
        csv->raw.len--;
    }

    csv->pos = row.pos;
    csv->next_line += row.lines;
    /* A last line without a line feed was a line too. */
    if (row.lines == 0 || csv->buf[row.pos - 1] != '\n') {
        csv->next_line++;
    }

    return MINING_OK;
}
