/*
 * test_slot.c - markers are found, and no byte is lost, wherever chunks end.
 *
 * The page is cut at every byte, at every pair of bytes and into single bytes;
 * each chunk lies in memory of its own, so that a sanitizer sees any step
 * outside.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define A16 "abcdefghijklmnop"
#define A64 A16 A16 A16 A16

typedef struct {
    char   out[8192]; /* all bytes that came out */
    size_t out_len;
    char   found[4096]; /* "[name]" per OPEN, "/" per CLOSE */
    size_t found_len;
} run_t;


static void
take(run_t *run, const char *data, size_t len)
{
    assert_true(run->out_len + len <= sizeof(run->out));
    memcpy(run->out + run->out_len, data, len);
    run->out_len += len;
}


static void
feed(run_t *run, personalize_scanner_t *scanner, const char *data, size_t len)
{
    char               *chunk;
    size_t              pos;
    personalize_slot_e  got;
    personalize_token_t token;

    chunk = malloc(len > 0 ? len : 1);
    memcpy(chunk, data, len);
    pos = 0;

    while ((got = personalize_slot_next(scanner, chunk, len, &pos, &token))
           != PERSONALIZE_SLOT_MORE)
    {
        assert_true(token.out.len > 0);
        if (!token.copied) {
            assert_true(token.out.data >= chunk
                        && token.out.data + token.out.len <= chunk + pos);
        }
        take(run, token.out.data, token.out.len);

        if (got == PERSONALIZE_SLOT_OPEN) {
            run->found_len += (size_t) sprintf(run->found + run->found_len,
                "[%.*s]", (int) token.name.len, token.name.data);
        } else if (got == PERSONALIZE_SLOT_CLOSE) {
            run->found[run->found_len++] = '/';
        } else if (got == PERSONALIZE_SLOT_LITERAL) {
            run->found_len += (size_t) sprintf(
                run->found + run->found_len, "{%u}", token.literal);
        }
    }

    assert_int_equal(pos, len);
    assert_true(scanner->nheld <= PERSONALIZE_HELD_MAX);
    free(chunk);
}


static void
end(run_t *run, personalize_scanner_t *scanner)
{
    personalize_str_t rest;

    rest = personalize_slot_rest(scanner);
    take(run, rest.data, rest.len);
    assert_int_equal(personalize_slot_rest(scanner).len, 0);
    run->found[run->found_len] = '\0';
}


static void
check_run(const run_t *run, const char *page, const char *found)
{
    assert_string_equal(run->found, found);
    assert_int_equal(run->out_len, strlen(page));
    assert_memory_equal(run->out, page, run->out_len);
}


/* What the scanner is to look for besides markers; NULL: nothing. */
static const personalize_literals_t *wanted;


static void
check_cut(const char *page, size_t a, size_t b, const char *found)
{
    run_t                 run;
    size_t                len = strlen(page);
    personalize_scanner_t scanner;

    run.out_len = run.found_len = 0;
    memset(&scanner, 0, sizeof(scanner));
    scanner.literals = wanted;
    feed(&run, &scanner, page, a);
    feed(&run, &scanner, page + a, b - a);
    feed(&run, &scanner, page + b, len - b);
    end(&run, &scanner);
    check_run(&run, page, found);
}


static void
check_all_cuts(const char *page, const char *found)
{
    run_t                 run;
    size_t                a, b, len = strlen(page);
    personalize_scanner_t scanner;

    for (a = 0; a <= len; a++) {
        for (b = a; b <= len; b++) {
            check_cut(page, a, b, found);
        }
    }

    run.out_len = run.found_len = 0;
    memset(&scanner, 0, sizeof(scanner));
    scanner.literals = wanted;
    for (a = 0; a < len; a++) {
        feed(&run, &scanner, page + a, 1);
        feed(&run, &scanner, page + a, 0);
    }
    end(&run, &scanner);
    check_run(&run, page, found);
}


static void
test_markers_and_near_misses(void **state)
{
    static const struct {
        const char *page;
        const char *found;
    } cases[] = {
        {"", ""},
        {"plain", ""},
        {"<", ""},
        {"a<", ""},
        {"<!--crm:slot a-->", "[a]"},
        {"x<!--crm:slot home-hero-->old<!--/crm:slot-->y", "[home-hero]/"},
        {"<!--crm:slot A.b_9-C--><!--/crm:slot-->", "[A.b_9-C]/"},
        {"<!--crm:slot a--><!--crm:slot b--><!--/crm:slot-->", "[a][b]/"},
        {"<!--/crm:slot--><!--/crm:slot-->", "//"},
        /* none of these is one */
        {"<!--crm:slot -->", ""},
        {"<!--crm:slot a--", ""},
        {"<!--crm:slot a->", ""},
        {"<!--crm:slot a>", ""},
        {"<!--crm:slot a -->", ""},
        {"<!--crm:slot  a-->", ""},
        {"<!--crm:slot -a-->", ""},
        {"<!--crm:slot .a-->", ""},
        {"<!--crm:slot a/b-->", ""},
        {"<!--CRM:slot a-->", ""},
        {"<!-- crm:slot a-->", ""},
        {"<!--crm:slota-->", ""},
        {"<!--/crm:slot -->", ""},
        {"<!--/crm:slot a-->", ""},
        {"<!--/crm:slot--", ""},
        {"<!--/crm:slot---->", ""},
        {"<!--crm:slot \xc3\xa4-->", ""},
        /* a beginning inside or beside another */
        {"<<!--crm:slot x-->", "[x]"},
        {"<!-<!--crm:slot a-->", "[a]"},
        {"<!<!--crm:slot a-->", "[a]"},
        {"!!<!!--crm:slot a-->!<!--crm:slot b-->!", "[b]"},
        {"<!--crm:slot a<!--crm:slot b-->", "[b]"},
        {"<!--crm:slot a--<!--/crm:slot-->", "/"},
        {"<!--crm:slot a-<!--/crm:slo<!--/crm:slot-->", "/"},
        {"<!--<!--<!--/crm:slot-->", "/"},
        /* dashes before the end belong to the name */
        {"<!--crm:slot a--->", "[a-]"},
        {"<!--crm:slot a---->", "[a--]"},
        {"<!--crm:slot a-->-->", "[a]"},
    };
    unsigned i;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_all_cuts(cases[i].page, cases[i].found);
    }
}


static void
test_longest_name(void **state)
{
    (void) state;

    check_all_cuts("<!--crm:slot " A64 "-->", "[" A64 "]");
    check_all_cuts("<!--crm:slot " A64 "x-->", "");
    check_all_cuts("<!--crm:slot " A64 "--->", "");
    check_all_cuts("<!--crm:slot " A64 "->", "");
    check_all_cuts("<!--crm:slot " A64 "-<!--/crm:slot-->", "/");
    /* a name of 64 that ends in dashes itself */
    check_all_cuts("<!--crm:slot " A16 A16 A16 "abcdefghijklmn----><",
        "[" A16 A16                        A16 "abcdefghijklmn--]");
    check_all_cuts("<!--crm:slot " A64 A64 "-->", "");
}


static void
test_page_cut_at_every_pair(void **state)
{
    (void) state;

    check_all_cuts("<!doctype html><body>\n<!-- crm --><h1>hi!</h1>"
                   "<!--crm:slot home-hero--><p>def!ault</p><!--/crm:slot-->"
                   "<!--crm:slot -->if (a<b && !c) {}<!--crm:slot x--"
                   "<<!--crm:slot recs--><!-<!--crm:slot a--></body>\n<!",
        "[home-hero]/[recs][a]");
}


/* Enough '!' to change the search, then markers; then quiet pages again. */
static void
test_both_searches_find_the_same(void **state)
{
    char                  page[4096];
    run_t                 run;
    size_t                len, n, shift;
    unsigned              hits, again;
    const char           *marker = "<!--crm:slot s--><!--/crm:slot-->";
    personalize_scanner_t scanner;

    (void) state;

    for (n = 0; n <= 400; n += 40) {
        for (shift = 0; shift < 40; shift++) {
            memset(page, '!', n);
            memset(page + n, 'x', shift);
            strcpy(page + n + shift, marker);
            strcat(page, "!!<!-->");
            strcat(page, marker);
            strcat(page, "<");
            len = strlen(page);

            run.out_len = run.found_len = 0;
            memset(&scanner, 0, sizeof(scanner));
            feed(&run, &scanner, page, len);
            end(&run, &scanner);
            check_run(&run, page, "[s]/[s]/");
        }
    }

    memset(&scanner, 0, sizeof(scanner));
    memset(page, '!', 2000);
    run.out_len = run.found_len = 0;
    feed(&run, &scanner, page, 2000);
    hits = scanner.false_hits;
    assert_true(hits > 0 && hits < 2000);

    for (again = 0; again < 8; again++) {
        run.out_len = 0;
        feed(&run, &scanner, "quiet", 5);
    }
    assert_int_equal(scanner.false_hits, hits >> 8);
}


static const char *
add(personalize_literals_t *literals, const char *text)
{
    personalize_str_t str;

    str.data = text;
    str.len = strlen(text);

    return personalize_literal_add(literals, str);
}


/* The first of each, beside markers, inside what looks like their beginning. */
static void
test_literals(void **state)
{
    static const struct {
        const char *page;
        const char *found;
    } cases[] = {
        {"", ""},
        {"<html><body>x</body></html>", "{0}"},
        {"</body></body>", "{0}"},
        {"</bod</body", ""},
        {"</bo</body>", "{0}"},
        {"aab aaab", "{1}"},
        {"aaaaab</body>", "{1}{0}"},
        {"<!--x--><!--crm:slot a-->y<!--/crm:slot--></body>", "{2}[a]/{0}"},
        {"<!--<!--x--><!--crm:<!--crm:slot b-->", "{2}[b]"},
        {"<!--crm:slot </body>", "{0}"},
        {"<!--crm:slot aaab<", "{1}"},
        {"<!--crm:slot aaab", ""},
        {"<!--crm:slot aaab-->", "[aaab]"},
        {"<!--crm:slot a<!--x-->", "{2}"},
        {"<!--/crm:slo</body>aaab<!--x-->aaab</body>", "{0}{1}{2}"},
    };
    unsigned               i;
    personalize_literals_t literals;

    (void) state;

    memset(&literals, 0, sizeof(literals));
    assert_null(add(&literals, "</body>"));
    assert_null(add(&literals, "aaab"));
    assert_null(add(&literals, "<!--x-->"));
    wanted = &literals;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_all_cuts(cases[i].page, cases[i].found);
    }

    wanted = NULL;
}


static void
test_literals_that_are_refused(void **state)
{
    char                   text[300], more[20 * PERSONALIZE_LITERALS_MAX];
    unsigned               i;
    personalize_literals_t literals;

    (void) state;

    memset(&literals, 0, sizeof(literals));
    assert_non_null(add(&literals, ""));
    assert_non_null(add(&literals, "<"));
    assert_non_null(add(&literals, "<!--crm:slot "));
    assert_non_null(add(&literals, "x<!--crm:slot y"));
    assert_non_null(add(&literals, "<!--/crm:slot"));
    memset(text, 'x', sizeof(text));
    text[256] = '\0';
    assert_non_null(add(&literals, text));
    text[255] = '\0';
    assert_null(add(&literals, text));
    assert_non_null(add(&literals, "xx"));
    assert_null(add(&literals, "abc"));
    assert_non_null(add(&literals, "abc"));
    assert_non_null(add(&literals, "zabcz"));

    for (i = 2; i < PERSONALIZE_LITERALS_MAX; i++) {
        sprintf(more + 20 * i, "literal %02u", i);
        assert_null(add(&literals, more + 20 * i));
    }

    assert_non_null(add(&literals, "one more"));
    assert_int_equal(literals.n, PERSONALIZE_LITERALS_MAX);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_markers_and_near_misses),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_page_cut_at_every_pair),
        cmocka_unit_test(test_both_searches_find_the_same),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_literals_that_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
