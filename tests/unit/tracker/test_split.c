/*
 * test_split.c - bodies cut in any pieces, and JSON of strangers cleaned.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


/* The pieces of a body as one text: "e:<element> m<key>:<value> ... <end>". */
static void
cut(const char *body, size_t step, char *out)
{
    size_t           n, len;
    char            *copy;
    tracker_str_t    text;
    tracker_split_t  split;
    tracker_piece_t  piece;
    tracker_result_e rc;

    tracker_split_init(&split, "batch");
    len = strlen(body);
    *out = '\0';
    rc = TRACKER_AGAIN;

    for (n = 0; n < len && rc != TRACKER_INVALID; /* void */) {
        n = n + step < len ? n + step : len;

        /* memory of just that size, elsewhere each time */
        copy = malloc(n);
        memcpy(copy, body, n);
        text.data = copy;
        text.len = n;

        while ((rc = tracker_split_next(&split, text, &piece)) == TRACKER_OK) {
            if (piece.kind == TRACKER_PIECE_EVENT) {
                out += sprintf(
                    out, "e:%.*s ", (int) piece.len, copy + piece.value);
            } else {
                out += sprintf(out, "m%.*s:%.*s ", (int) piece.key_len,
                    copy + piece.key, (int) piece.len, copy + piece.value);
            }
        }

        free(copy);
    }

    (void) strcpy(out, rc == TRACKER_DECLINED
                           ? (tracker_split_single(&split) ? "single" : "end")
                       : rc == TRACKER_AGAIN ? "more"
                                             : "bad");
}


static const char *const bodies[][2] = {
    {"{}", "single"},
    {" { } \n", "single"},
    {"{\"a\":1}", "ma:1 single"},
    {"{\"batch\":[]}", "end"},
    {"{\"batch\":[ ] , \"x\":[1,[2]]}", "mx:[1,[2]] end"},
    {"{\"batch\":[{\"a\":\"]}\\\"\"} , 7,\"s\",null]}",
        "e:{\"a\":\"]}\\\"\"} e:7 e:\"s\" e:null end"},
    {"{\"sentAt\":\"t\",\"batch\":[{}],\"writeKey\":\"k\"}",
        "msentAt:\"t\" e:{} mwriteKey:\"k\" end"},
    {"{\"batch\":{\"batch\":[1]}}", "mbatch:{\"batch\":[1]} single"},
    {"{\"x\":{\"batch\":[1]}}", "mx:{\"batch\":[1]} single"},
    {"{\"\\\"\":1}", "m\\\":1 single"},
    {"{\"batch\":[1", "more"},
    {"{\"batch\":[1]", "e:1 more"},
    {"{\"a", "more"},
    {"[]", "bad"},
    {"x", "bad"},
    {"{} {}", "bad"},
    {"{\"a\"}", "bad"},
    {"{\"a\":}", "bad"},
    {"{\"a\":,}", "bad"},
    {"{,}", "bad"},
    {"{\"a\":1,}", "ma:1 bad"},
    {"{\"batch\":[1,]}", "e:1 bad"},
    {"{\"batch\":[,]}", "bad"},
    {"{\"batch\":[1 2]}", "e:1 bad"},
    {"{\"batch\":[1\"x\"]}", "bad"},
    {"{\"batch\":[1]]}", "e:1 bad"},
};


static void
test_any_pieces(void **state)
{
    char   out[512];
    size_t i, step;

    (void) state;

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        for (step = 1; step <= 64; step++) {
            cut(bodies[i][0], step, out);
            assert_string_equal(out, bodies[i][1]);
        }
    }
}


static const char *
clean(const char *json)
{
    static char      buf[1024];
    size_t           len;
    unsigned         replaced;
    tracker_result_e rc;

    replaced = 0;
    rc = tracker_json_clean((tracker_str_t){json, strlen(json)}, buf,
        sizeof(buf) - 1, &len, &replaced);

    if (rc != TRACKER_OK) {
        return rc == TRACKER_DECLINED ? "deep"
               : rc == TRACKER_FULL   ? "full"
                                      : "bad";
    }

    buf[len] = '\0';

    return buf;
}


static void
test_clean(void **state)
{
    static const char *const texts[][2] = {
        {" { \"a\" : [ 1 , -2.5e3 , true , null , { } , [ ] ] } ",
            "{\"a\":[1,-2.5e3,true,null,{},[]]}"},
        {"\"\\u0000\"", "\"\xef\xbf\xbd\""},
        {"\"\\ud800\"", "\"\xef\xbf\xbd\""},
        {"\"\\ud800\\u0041\"", "\"\xef\xbf\xbd\\u0041\""},
        {"\"\\udc00\\ud83e\\uddc0\"", "\"\xef\xbf\xbd\\ud83e\\uddc0\""},
        {"\"a\xff\xc3\xa4\xc3\"", "\"a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\""},
        {"1e301", "\"1e301\""},
        {"1e300", "1e300"},
        {"12345678901234567890123456789012345678901",
            "\"12345678901234567890123456789012345678901\""},
        {"01", "bad"},
        {"1.", "bad"},
        {"-", "bad"},
        {"\"\\x\"", "bad"},
        {"\"\\u12g4\"", "bad"},
        {"\"\n\"", "bad"},
        {"\"open", "bad"},
        {"{\"a\":1,}", "bad"},
        {"{\"a\" 1}", "bad"},
        {"[1}", "bad"},
        {"[1 2]", "bad"},
        {"[1] 2", "bad"},
        {"", "bad"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
            "deep"},
    };
    size_t i;

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_string_equal(clean(texts[i][0]), texts[i][1]);
    }
}


static void
test_clean_needs_room(void **state)
{
    static const char text[] = "{\"key\":\"0123456789abcdef0123456789\"}";
    char              buf[64];
    size_t            len, size;
    unsigned          replaced;

    (void) state;
    replaced = 0;

    for (size = 0; size < sizeof(text) - 1; size++) {
        assert_int_equal(
            tracker_json_clean((tracker_str_t){text, sizeof(text) - 1}, buf,
                size, &len, &replaced),
            TRACKER_FULL);
    }

    assert_int_equal(tracker_json_clean((tracker_str_t){text, sizeof(text) - 1},
                         buf, size, &len, &replaced),
        TRACKER_OK);
    assert_int_equal(len, sizeof(text) - 1);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_pieces),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_clean_needs_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
