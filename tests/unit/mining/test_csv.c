/*
 * test_csv.c - the CSV reader: RFC 4180, recovery, limits, every chunk size.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/mining.h"


typedef struct {
    const char *data;
    size_t      len;
    size_t      pos;
    size_t      chunk;
    int         fails; /* at the end */
} source_t;


static long
source_read(void *ctx, char *buf, size_t size)
{
    size_t    n;
    source_t *source = ctx;

    n = source->len - source->pos;
    if (n == 0) {
        return source->fails ? -1 : 0;
    }
    if (n > size) {
        n = size;
    }
    if (n > source->chunk) {
        n = source->chunk;
    }
    memcpy(buf, source->data + source->pos, n);
    source->pos += n;

    return (long) n;
}


/* Rows as text: "line:a|b|c;" and "line!;" for a refused one. */
static char *
rows_of(const char *data, size_t len, size_t chunk)
{
    char           *out;
    size_t          size;
    FILE           *stream;
    unsigned        i;
    source_t        source = {data, len, 0, chunk, 0};
    mining_csv_t   *csv;
    mining_result_e rc;

    csv = malloc(sizeof(*csv));
    assert_non_null(csv);
    stream = open_memstream(&out, &size);
    assert_non_null(stream);
    mining_csv_start(csv, source_read, &source);

    while ((rc = mining_csv_next(csv)) != MINING_DECLINED) {
        if (rc == MINING_INVALID) {
            assert_non_null(csv->reason);
            fprintf(stream, "%lu!;", (unsigned long) csv->line);
            continue;
        }
        assert_int_equal(rc, MINING_OK);
        fprintf(stream, "%lu:", (unsigned long) csv->line);
        for (i = 0; i < csv->nfields; i++) {
            fprintf(stream, "%s%.*s", i == 0 ? "" : "|",
                (int) csv->fields[i].len, csv->fields[i].data);
        }
        fputc(';', stream);
    }

    fclose(stream);
    free(csv);

    return out;
}


static void
assert_rows(const char *text, const char *expected)
{
    char  *rows;
    size_t chunk, len;

    len = strlen(text);
    for (chunk = 1; chunk <= len + 1; chunk++) {
        rows = rows_of(text, len, chunk);
        assert_string_equal(rows, expected);
        free(rows);
    }
}


static void
test_plain_rows(void **state)
{
    (void) state;

    assert_rows("a,b\n1,2\n3,4\n", "1:a|b;2:1|2;3:3|4;");
    assert_rows("a,b\r\n1,2\r\n", "1:a|b;2:1|2;");
    assert_rows("a,b\n1,2", "1:a|b;2:1|2;");
    assert_rows("a\n\n\r\n\nb\n", "1:a;5:b;");
    assert_rows("a,,\n,\n", "1:a||;2:|;");
    assert_rows("", "");
    assert_rows("\n\n", "");
}


static void
test_quotes(void **state)
{
    (void) state;

    assert_rows("\"a\",\"b,c\"\n", "1:a|b,c;");
    assert_rows("\"say \"\"hi\"\"\",x\n", "1:say \"hi\"|x;");
    assert_rows("\"\",\"\"\r\n", "1:|;");
    assert_rows("\"two\nlines\",1\nnext,2\n", "1:two\nlines|1;3:next|2;");
    assert_rows("\"two\r\nlines\"\r\nx\r\n", "1:two\r\nlines;3:x;");
    assert_rows("\"end\"", "1:end;");
    assert_rows("a,\"x\n\"", "1:a|x\n;");
}


static void
test_byte_order_mark(void **state)
{
    (void) state;

    assert_rows("\357\273\277a,b\n1,2\n", "1:a|b;2:1|2;");
    assert_rows("\357\273\277\"a\"\n", "1:a;");
}


static void
test_broken_row_costs_one_line(void **state)
{
    (void) state;

    assert_rows("a,b\"c\nnext\n", "1!;2:next;");
    assert_rows("\"a\"b,c\nnext\n", "1!;2:next;");
    assert_rows("\"lost,1\n2,3\n4,5\n", "1!;2:2|3;3:4|5;");
    assert_rows("x\n\"open\n", "1:x;2!;");
    assert_rows("a\rb\nnext\n", "1!;2:next;");
}


static void
test_nul_is_refused(void **state)
{
    char *rows;

    (void) state;
    rows = rows_of("a,\0b\nc\n", 7, 7);
    assert_string_equal(rows, "1!;2:c;");
    free(rows);
}


/* A row of `fields` fields of `size` bytes, and another row behind it. */
static char *
big_row(size_t fields, size_t size, size_t chunk)
{
    char  *text, *p, *rows;
    size_t i;

    text = malloc(fields * (size + 1) + 16);
    assert_non_null(text);
    for (i = 0, p = text; i < fields; i++) {
        memset(p, 'x', size);
        p += size;
        *p++ = i + 1 == fields ? '\n' : ',';
    }
    memcpy(p, "next\n", 5);
    rows = rows_of(text, (size_t) (p + 5 - text), chunk);
    free(text);

    return rows;
}


static void
test_limits_on_both_sides(void **state)
{
    char *rows;

    (void) state;

    rows = big_row(1, MINING_CSV_FIELD_MAX, 4096);
    assert_int_equal(rows[1], ':');
    free(rows);

    rows = big_row(1, MINING_CSV_FIELD_MAX + 1, 4096);
    assert_string_equal(rows, "1!;2:next;");
    free(rows);

    rows = big_row(7, MINING_CSV_FIELD_MAX, 100000);
    assert_int_equal(rows[1], ':');
    free(rows);

    rows = big_row(9, MINING_CSV_FIELD_MAX, 100000);
    assert_string_equal(rows, "1!;2:next;");
    free(rows);

    rows = big_row(1, 1000000, 333);
    assert_string_equal(rows, "1!;2:next;");
    free(rows);

    rows = big_row(MINING_CSV_COLUMNS_MAX, 1, 10);
    assert_int_equal(rows[1], ':');
    free(rows);

    rows = big_row(MINING_CSV_COLUMNS_MAX + 1, 1, 10);
    assert_string_equal(rows, "1!;2:next;");
    free(rows);
}


static void
test_open_quote_in_a_large_file(void **state)
{
    char  *text, *rows;
    size_t i;

    (void) state;
    text = malloc(20 * 10000 + 2);
    assert_non_null(text);
    text[0] = '"';
    for (i = 0; i < 10000; i++) {
        memcpy(text + 1 + 20 * i, "0123456789012345678\n", 20);
    }

    rows = rows_of(text, 1 + 20 * 10000, 65536);
    assert_memory_equal(rows, "1!;2:0123456789012345678;3:", 27);
    assert_non_null(strstr(rows, ";10000:0123456789012345678;"));
    free(rows);
    free(text);
}


static void
test_reader_that_fails(void **state)
{
    source_t      source = {"a\nb", 3, 0, 100, 1};
    mining_csv_t *csv;

    (void) state;
    csv = malloc(sizeof(*csv));
    assert_non_null(csv);
    mining_csv_start(csv, source_read, &source);
    assert_int_equal(mining_csv_next(csv), MINING_LOST);
    free(csv);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_rows),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_broken_row_costs_one_line),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_limits_on_both_sides),
        cmocka_unit_test(test_open_quote_in_a_large_file),
        cmocka_unit_test(test_reader_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
