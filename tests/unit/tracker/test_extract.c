/*
 * test_extract.c - fields of forms, paths, and what they find in JSON.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


static tracker_str_t
str(const char *text)
{
    return (tracker_str_t){text, strlen(text)};
}


/* The value of a field; "?" when there is none, "!" when it is too long. */
static void
form(const char *body, const char *field, size_t size, const char *wanted)
{
    char            *copy, *buf;
    size_t           len;
    tracker_result_e rc;

    copy = malloc(strlen(body) + 1);
    memcpy(copy + 1, body, strlen(body));
    buf = malloc(size + 1);
    len = 0;

    rc = tracker_form_value(
        (tracker_str_t){copy + 1, strlen(body)}, str(field), buf, size, &len);

    if (rc == TRACKER_OK) {
        assert_int_equal(len, strlen(wanted));
        assert_memory_equal(buf, wanted, len);
    } else {
        assert_string_equal(rc == TRACKER_FULL ? "!" : "?", wanted);
    }

    free(copy);
    free(buf);
}


static void
test_fields_of_a_form(void **state)
{
    (void) state;

    form("item=A13&price=28", "item", 9, "A13");
    form("item=A13&price=28", "price", 9, "28");
    form("item=A13&price=28", "pric", 9, "?");
    form("item=A13", "items", 9, "?");
    form("a=1&a=2", "a", 9, "1");
    form("a=&b=2", "a", 9, "");
    form("a&b=2", "a", 9, "?");
    form("&&=x&b=2", "b", 9, "2");
    form("a=x+y%20z%41%4a", "a", 9, "x y zAJ");
    form("a=100%&b=%4&c=%zz", "a", 9, "100%");
    form("a=100%&b=%4&c=%zz", "b", 9, "%4");
    form("a=100%&b=%4&c=%zz", "c", 9, "%zz");
    form("%66oo%5B%5D=1", "foo[]", 9, "1");
    form("a=1=2", "a", 9, "1=2");
    form("a=123456789", "a", 9, "123456789");
    form("a=1234567890", "a", 9, "!");
    form("", "a", 9, "?");
}


static void
test_paths(void **state)
{
    unsigned                 i;
    tracker_path_t           path;
    static const char *const bad[] = {"", "$", ".", "$.", "a.", ".a", "a..b",
        "a[", "a[]", "a[x]", "a[1", "a[10000]", "$a", "[0]a", "a b", "a.[0]",
        "a[-1]", "a]", "a.b.c.d.e.f.g.h.i"};

    (void) state;

    assert_int_equal(tracker_path_parse(&path, str("$.cart.items[12].id")), 0);
    assert_int_equal(path.nsteps, 4);
    assert_int_equal(path.steps[0].key.len, 4);
    assert_null(path.steps[2].key.data);
    assert_int_equal(path.steps[2].index, 12);
    assert_int_equal(tracker_path_parse(&path, str("cart.total")), 0);
    assert_int_equal(path.nsteps, 2);
    assert_int_equal(tracker_path_parse(&path, str("$[0][1]")), 0);
    assert_int_equal(path.nsteps, 2);
    assert_int_equal(tracker_path_parse(&path, str("[0].a")), 0);
    assert_int_equal(tracker_path_parse(&path, str("a.b.c.d.e.f.g.h")), 0);
    assert_int_equal(path.nsteps, TRACKER_PATH_STEPS);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            tracker_path_parse(&path, str(bad[i])), TRACKER_INVALID);
    }
}


/* The raw value at a path; "?" when it is absent, "!" when that is no JSON. */
static void
json(const char *text, const char *path, const char *wanted)
{
    char            *copy;
    tracker_str_t    values[2];
    tracker_path_t   paths[2];
    tracker_result_e rc;

    copy = malloc(strlen(text) + 1);
    memcpy(copy + 1, text, strlen(text));

    /* another path beside it changes nothing */
    assert_int_equal(tracker_path_parse(&paths[0], str("a.b.zz")), 0);
    assert_int_equal(tracker_path_parse(&paths[1], str(path)), 0);

    rc = tracker_json_extract(
        (tracker_str_t){copy + 1, strlen(text)}, paths, 2, values);

    if (rc != TRACKER_OK) {
        assert_string_equal("!", wanted);
        assert_null(values[1].data);

    } else if (values[1].data == NULL) {
        assert_string_equal("?", wanted);

    } else {
        assert_int_equal(values[1].len, strlen(wanted));
        assert_memory_equal(values[1].data, wanted, values[1].len);
    }

    free(copy);
}


static void
test_values_at_paths(void **state)
{
    static const char cart[] =
        "{ \"ok\": true, \"cart\": {\"items\": [ {\"id\":\"A\", \"n\":[ ]},"
        " {\"id\":\"B\\\"\", \"n\":[[1,2],[3,4.5e1]]} ], \"empty\": {},"
        " \"total\": 61.50, \"none\": null}, \"after\":\"x\\\\\" } ";

    (void) state;

    json(cart, "$.ok", "true");
    json(cart, "cart.total", "61.50");
    json(cart, "cart.items[0].id", "\"A\"");
    json(cart, "cart.items[1].id", "\"B\\\"\"");
    json(cart, "cart.items[1].n[1][1]", "4.5e1");
    json(cart, "cart.items[2].id", "?");
    json(cart, "after", "\"x\\\\\"");
    json(cart, "cart.none", "?");
    json(cart, "cart.empty", "?");
    json(cart, "cart.items", "?");
    json(cart, "total", "?");
    json(cart, "cart.items.id", "?");
    json(cart, "ok.total", "?");
    json("{\"a\":{\"x\":1},\"b\":{\"x\":2},\"x\":3}", "b.x", "2");
    json("{\"a\":{\"x\":{\"y\":1}},\"y\":2,\"x\":{\"y\":3}}", "x.y", "3");
    json("{\"a\":1,\"a\":2}", "a", "1");
    json("[[1,2],[3]]", "[1][0]", "3");
    json("[1,{\"a\":-0.5}]", "$[1].a", "-0.5");
    json("7", "a", "?");
}


static void
test_what_is_no_json_gives_nothing(void **state)
{
    unsigned                 i;
    char                     deep[80];
    static const char *const bad[] = {"", " ", "{", "{\"a\"",
        "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{\"a\":1]",
        "{\"a\":1}}", "{\"a\":1} x", "{a:1}", "{\"a\" 1}", "[1,", "[1 2]",
        "{\"a\":tru}", "{\"a\":\"x}", "{\"a\":\"x\\\"}", "<html>",
        "{\"a\":,\"b\":1}"};

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json(bad[i], "a", "!");
    }

    memset(deep, '[', 33);
    memset(deep + 33, ']', 33);
    deep[66] = '\0';
    json(deep, "a", "!");
    deep[65] = '\0';
    json(deep + 1, "a", "?");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_a_form),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_values_at_paths),
        cmocka_unit_test(test_what_is_no_json_gives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
