/*
 * test_json.c - strings written and objects read, with jansson as the judge.
 */

#include "tracker/tracker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define FFFD  "\xef\xbf\xbd"
#define LARGE 8192

#define str_of(text) ((tracker_str_t){text, sizeof(text) - 1})


/* Through an own heap block of exactly that size, for the sanitizer to see. */
static size_t
write_string(
    char *out, size_t size, const char *text, size_t len, unsigned *replaced)
{
    char  *in, *buf, *p;
    size_t n;

    in = calloc(1, len + 1);
    buf = calloc(1, size + 1);
    if (len > 0) {
        memcpy(in + 1, text, len);
    }
    p = tracker_json_string(
        buf, buf + size, (tracker_str_t){in + 1, len}, replaced);
    n = p != NULL ? (size_t) (p - buf) : 0;
    memcpy(out, buf, n);
    free(in);
    free(buf);

    return n;
}


static void
becomes(const char *text, size_t len, const char *expected, unsigned bad)
{
    char     out[256];
    size_t   n, size;
    unsigned replaced;

    replaced = 5;
    n = write_string(out, sizeof(out), text, len, &replaced);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    assert_int_equal(replaced, 5 + bad);

    /* It fits exactly, and nothing less does. */
    assert_int_equal(write_string(out, n, text, len, NULL), n);
    assert_memory_equal(out, expected, n);
    for (size = 0; size < n; size++) {
        assert_int_equal(write_string(out, size, text, len, NULL), 0);
    }
}

#define text_becomes(text, expected, bad)                                      \
    becomes(text, sizeof(text) - 1, expected, bad)


static void
test_write(void **state)
{
    (void) state;
    text_becomes("", "\"\"", 0);
    becomes(NULL, 0, "\"\"", 0);
    text_becomes("a", "\"a\"", 0);
    text_becomes("a\"b\\c/d", "\"a\\\"b\\\\c/d\"", 0);
    text_becomes("\b\f\n\r\t\x01\x0b\x1f\x7f",
        "\"\\b\\f\\n\\r\\t\\u0001\\u000b\\u001f\x7f\"", 0);
    text_becomes("a\0b", "\"a" FFFD "b\"", 1);
    text_becomes("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
        "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"", 0);
    text_becomes("0123456789abcdef0123456789abcde\"",
        "\"0123456789abcdef0123456789abcde\\\"\"", 0);
}


static void
test_write_bad_utf8(void **state)
{
    (void) state;
    text_becomes("\x80", "\"" FFFD "\"", 1);
    text_becomes("\xff\xfe", "\"" FFFD FFFD "\"", 2);
    text_becomes("\xc0\xaf", "\"" FFFD FFFD "\"", 2);          /* overlong */
    text_becomes("\xe0\x80\xaf", "\"" FFFD FFFD FFFD "\"", 3); /* overlong */
    text_becomes("\xed\xa0\x80", "\"" FFFD FFFD FFFD "\"", 3); /* surrogate */
    text_becomes("\xf0\x8f\xbf\xbf", "\"" FFFD FFFD FFFD FFFD "\"", 4);
    text_becomes("\xf4\x90\x80\x80", "\"" FFFD FFFD FFFD FFFD "\"", 4);
    text_becomes("\xf5\x80", "\"" FFFD FFFD "\"", 2);
    text_becomes("\xe2\x82", "\"" FFFD FFFD "\"", 2); /* cut */
    text_becomes("\xe2\x82x", "\"" FFFD FFFD "x\"", 2);
    text_becomes("\xc3\"", "\"" FFFD "\\\"\"", 1);
    text_becomes(
        "\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\"\xed\x9f\xbf\xf4\x8f\xbf\xbf\"", 0);
}


/* What jansson reads back is what was given. */
static void
same_in_jansson(const char *text, size_t len)
{
    char        *out;
    json_t      *value;
    size_t       n;
    unsigned     replaced;
    json_error_t error;

    out = malloc(2 + 6 * len);
    replaced = 0;
    n = write_string(out, 2 + 6 * len, text, len, &replaced);
    assert_true(n >= len + 2);
    assert_int_equal(replaced, 0);
    value = json_loadb(out, n, JSON_DECODE_ANY, &error);
    assert_non_null(value);
    assert_int_equal(json_string_length(value), len);
    assert_memory_equal(json_string_value(value), text, len);
    json_decref(value);
    free(out);
}


/* Every byte that is text, at every place of a step of the fast loop. */
static void
test_write_every_byte_everywhere(void **state)
{
    int    c;
    char   text[64];
    size_t at, len;

    (void) state;
    for (c = 1; c < 128; c++) {
        for (len = 1; len < 48; len += 1 + len / 17 * 3) {
            for (at = 0; at < len; at++) {
                memset(text, 'x', len);
                text[at] = (char) c;
                same_in_jansson(text, len);
            }
        }
    }
}


static void
test_write_large(void **state)
{
    char    *text, *out;
    size_t   i;
    unsigned replaced;

    (void) state;
    text = malloc(LARGE);
    out = malloc(2 + 6 * LARGE);

    for (i = 0; i < LARGE; i++) {
        text[i] = (char) (1 + i * 7 % 127);
    }
    same_in_jansson(text, LARGE);

    memset(text, 1, LARGE);
    same_in_jansson(text, LARGE);
    assert_int_equal(
        write_string(out, 2 + 6 * LARGE, text, LARGE, NULL), 2 + 6 * LARGE);

    memset(text, 0xff, LARGE);
    replaced = 0;
    assert_int_equal(write_string(out, 2 + 6 * LARGE, text, LARGE, &replaced),
        2 + 3 * LARGE);
    assert_int_equal(replaced, LARGE);

    free(text);
    free(out);
}


static tracker_result_e
walk(const char *json, size_t len, unsigned *members)
{
    char                 *copy;
    size_t                pos, before;
    tracker_result_e      rc;
    tracker_json_member_t member;

    copy = malloc(len + 1);
    memcpy(copy + 1, json, len);
    pos = 0;
    *members = 0;

    for (;;) {
        before = pos;
        rc = tracker_json_next((tracker_str_t){copy + 1, len}, &pos, &member);
        if (rc != TRACKER_OK) {
            break;
        }
        assert_true(pos > before && pos <= len);
        assert_non_null(memchr("{[\"0tfn", member.type, 7));
        ++*members;
    }

    free(copy);

    return rc;
}


static void
test_next(void **state)
{
    size_t        pos;
    tracker_str_t json = str_of(
        " {\"a\" : 1,\"b\\n\":\"x\\\"}\" , \"c\":[{},[ ],{\"d\":[null]}],"
        "\"e\":-0.5e+10,\"\":true,\"f\":false , \"g\":null,\"h\":{}} \n");
    tracker_json_member_t m;
    unsigned              i;
    static const struct {
        const char *key, *value;
        char        type;
    } expected[] = {
        {"a", "1", '0'},
        {"b\\n", "\"x\\\"}\"", '"'},
        {"c", "[{},[ ],{\"d\":[null]}]", '['},
        {"e", "-0.5e+10", '0'},
        {"", "true", 't'},
        {"f", "false", 'f'},
        {"g", "null", 'n'},
        {"h", "{}", '{'},
    };

    (void) state;
    pos = 0;

    for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(tracker_json_next(json, &pos, &m), TRACKER_OK);
        assert_int_equal(m.key.len, strlen(expected[i].key));
        assert_memory_equal(m.key.data, expected[i].key, m.key.len);
        assert_int_equal(m.value.len, strlen(expected[i].value));
        assert_memory_equal(m.value.data, expected[i].value, m.value.len);
        assert_int_equal(m.type, expected[i].type);
    }

    assert_int_equal(tracker_json_next(json, &pos, &m), TRACKER_DECLINED);
    assert_int_equal(walk("{}", 2, &i), TRACKER_DECLINED);
    assert_int_equal(i, 0);
}


static void
test_next_refuses(void **state)
{
    size_t             i;
    unsigned           n;
    static const char *bad[] = {"", " ", "[]", "\"a\"", "1", "{", "{\"a\"",
        "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\" 1}",
        "{a:1}", "{'a':1}", "{\"a\":1}}", "{\"a\":1} x", "{\"a\":01}",
        "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":1e}", "{\"a\":-}",
        "{\"a\":--1}", "{\"a\":0x1}", "{\"a\":NaN}", "{\"a\":tru}",
        "{\"a\":nul}", "{\"a\":True}", "{\"a\":[1,]}", "{\"a\":[1 2]}",
        "{\"a\":[1}", "{\"a\":{]}", "{\"a\":{\"b\"}}", "{\"a\":{\"b\":1,}}",
        "{\"a\":{1:2}}", "{\"a\":\"\t\"}", "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}", "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}",
        "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\ud800x\"}",
        "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "{\"a\":\"x}",
        "{\"a\":1 \"b\":2}", "{\"a\":/**/1}", "\xef\xbb\xbf{}"};

    (void) state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (walk(bad[i], strlen(bad[i]), &n) != TRACKER_INVALID) {
            fail_msg("accepted: %s", bad[i]);
        }
    }

    assert_int_equal(walk("{\"a\":\"\0\"}", 9, &n), TRACKER_INVALID);
    assert_int_equal(walk("{}\0", 3, &n), TRACKER_INVALID);
}


static void
test_next_cut_anywhere(void **state)
{
    size_t            len;
    unsigned          n;
    static const char json[] = "{\"a\":[1,{\"b\":\"\\ud83d\\ude00\xc3\xbc\"},"
                               "true],\"c\":-1.5e3,\"d\":null}";

    (void) state;
    assert_int_equal(walk(json, sizeof(json) - 1, &n), TRACKER_DECLINED);
    for (len = 0; len < sizeof(json) - 1; len++) {
        assert_int_equal(walk(json, len, &n), TRACKER_INVALID);
    }
}


/* The object is the first level; arrays and objects count alike. */
static void
test_next_depth(void **state)
{
    char     json[512];
    size_t   len, level, levels;
    unsigned n;

    (void) state;
    for (levels = 2; levels < 70; levels++) {
        len = (size_t) sprintf(json, "{\"a\":");

        for (level = 2; level <= levels; level++) {
            len += (size_t) sprintf(json + len, level % 2 ? "{\"b\":" : "[");
        }

        json[len++] = '1';

        for (level = levels; level >= 2; level--) {
            json[len++] = level % 2 ? '}' : ']';
        }

        json[len++] = '}';
        assert_int_equal(walk(json, len, &n),
            levels <= 32 ? TRACKER_DECLINED : TRACKER_INVALID);
    }
}


static void
text_is(const char *value, const char *expected)
{
    char  *buf;
    size_t n, len, size;

    n = strlen(expected);
    buf = malloc(n + 1);
    assert_int_equal(
        tracker_json_text((tracker_str_t){value, strlen(value)}, buf, n, &len),
        TRACKER_OK);
    assert_int_equal(len, n);
    assert_memory_equal(buf, expected, n);

    for (size = 0; size < n; size++) {
        assert_int_equal(
            tracker_json_text(
                (tracker_str_t){value, strlen(value)}, buf, size, &len),
            TRACKER_FULL);
    }
    free(buf);
}


static void
test_text(void **state)
{
    char               buf[64];
    size_t             i, len;
    static const char *bad[] = {"", "\"", "a", "1", "null", "\"a", "a\"",
        "\"a\"b\"", "\"a\" ", "\"\\\"", "\"\\u0000\"", "\"\\ud83d\"", "\"\n\"",
        "\"\xff\"", "\"\\q\""};

    (void) state;
    text_is("\"\"", "");
    text_is("\"abc\"", "abc");
    text_is("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    text_is("\"\\u0041\\u00fc\\u20AC\\ud83d\\ude00\"",
        "A\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80");
    text_is("\"\xc3\xbc\xe2\x82\xac\"", "\xc3\xbc\xe2\x82\xac");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            tracker_json_text((tracker_str_t){bad[i], strlen(bad[i])}, buf,
                sizeof(buf), &len),
            TRACKER_INVALID);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_bad_utf8),
        cmocka_unit_test(test_write_every_byte_everywhere),
        cmocka_unit_test(test_write_large),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_next_refuses),
        cmocka_unit_test(test_next_cut_anywhere),
        cmocka_unit_test(test_next_depth),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
