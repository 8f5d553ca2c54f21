/*
 * test_hide.c - what is named is hashed wherever it stands in JSON.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>


#define str(text)                                                              \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }

static tracker_keys_t      keys;
static const tracker_str_t names[] = {str("email"), str("tel_no")};
static tracker_hide_t      hide = {&keys.keys[0], names, 2};


static int
setup(void **state)
{
    static const char text[] = "7 000102030405060708090a0b0c0d0e0f"
                               "101112131415161718191a1b1c1d1e1f\n";
    unsigned          line;

    (void) state;

    return tracker_keys_parse(&keys, text, sizeof(text) - 1, &line)
                   == TRACKER_OK
               ? 0
               : -1;
}


/* The hash as an oracle of its own: HMAC over name and value. */
static const char *
hash(const char *name, const char *value)
{
    static char   text[TRACKER_HIDE_LEN + 1];
    uint8_t       mac[TRACKER_MAC_SIZE];
    unsigned      i;
    tracker_str_t parts[2] = {{name, strlen(name)}, {value, strlen(value)}};

    tracker_mac(&keys.keys[0], "property", parts, 2, mac);
    for (i = 0; i < TRACKER_HIDE_LEN / 2; i++) {
        (void) snprintf(text + 2 * i, 3, "%02x", mac[i]);
    }

    return text;
}


/* `want` has a % where the hash of name and value stands. */
static void
hidden_is(
    const char *json, const char *name, const char *value, const char *want)
{
    char             buf[512], expected[512];
    size_t           len, n;
    const char      *mark;
    tracker_str_t    text = {json, strlen(json)};
    tracker_result_e rc;

    mark = strchr(want, '%');
    if (mark != NULL) {
        (void) snprintf(expected, sizeof(expected), "%.*s\"%s\"%s",
            (int) (mark - want), want, hash(name, value), mark + 1);
    } else {
        (void) snprintf(expected, sizeof(expected), "%s", want);
    }

    rc = tracker_json_hide(&hide, text, buf, sizeof(buf), &len);
    assert_int_equal(rc, TRACKER_OK);
    buf[len] = '\0';
    assert_string_equal(buf, expected);

    /* any smaller room is refused, or holds the same */
    for (n = 0; n < len; n++) {
        char *room = malloc(n + 1);

        assert_non_null(room);
        assert_int_equal(
            tracker_json_hide(&hide, text, room, n, &len), TRACKER_FULL);
        free(room);
    }
}


static void
test_members(void **state)
{
    (void) state;
    hidden_is("{}", "", "", "{}");
    hidden_is(
        "{\"a\":1,\"b\":[true,null]}", "", "", "{\"a\":1,\"b\":[true,null]}");
    hidden_is("{\"email\":\"ann@x\"}", "email", "ann@x", "{\"email\":%}");
    hidden_is("{\"a\":[{\"x\":{\"Email\":\"ann@x\"}}],\"b\":2}", "email",
        "ann@x", "{\"a\":[{\"x\":{\"Email\":%}}],\"b\":2}");
    hidden_is("{\"e\\u006dail\":\"ann\\u0040x\",\"z\":0}", "email", "ann@x",
        "{\"e\\u006dail\":%,\"z\":0}");
    hidden_is("{\"tel_no\":5550199}", "tel_no", "5550199", "{\"tel_no\":%}");
    hidden_is("{\"tel_no\":[\"1\",{\"email\":\"x\"}],\"k\":1}", "tel_no",
        "[\"1\",{\"email\":\"x\"}]", "{\"tel_no\":%,\"k\":1}");
    hidden_is("{\"email\":null,\"emails\":\"a\",\"xemail\":\"b\"}", "", "",
        "{\"email\":null,\"emails\":\"a\",\"xemail\":\"b\"}");
    hidden_is("[\"email\",\"ann\"]", "", "", "[\"email\",\"ann\"]");
    hidden_is("{\"email\":\"\"}", "email", "", "{\"email\":%}");
}


static void
test_strings(void **state)
{
    (void) state;
    hidden_is("{\"url\":\"https://x/p?a=1&EMAIL=ann&b=2\"}", "", "",
        "{\"url\":\"https://x/p?a=1&EMAIL=&b=2\"}");
    hidden_is("{\"search\":\"?q=\\\"x\\\"\\u0026email=ann\"}", "", "",
        "{\"search\":\"?q=\\\"x\\\"&email=\"}");
    hidden_is("{\"note\":\"e=mc2\"}", "", "", "{\"note\":\"e=mc2\"}");
}


static void
prop_is(const char *key, const char *value, const char *want)
{
    char          *buf;
    size_t         size;
    tracker_prop_t prop;

    prop.key = (tracker_str_t){key, strlen(key)};
    prop.value = (tracker_str_t){value, strlen(value)};
    size = tracker_prop_hide_bound(&hide, &prop);
    buf = malloc(size + 1);
    assert_non_null(buf);
    if (size > 0) {
        tracker_prop_hide(&hide, &prop, buf, size);
    }
    assert_int_equal(prop.value.len, strlen(want));
    assert_memory_equal(prop.value.data, want, prop.value.len);
    free(buf);
}


static void
test_props(void **state)
{
    char json[128];

    (void) state;
    prop_is("plan", "gold", "gold");
    prop_is("plan", "", "");
    prop_is("EMAIL", "ann@x", hash("email", "ann@x"));
    prop_is("landing", "/p?email=ann&b=1", "/p?email=&b=1");
    prop_is("broken", "{\"email\":\"ann", "hidden");
    prop_is("broken", "[email ann]", "hidden");
    (void) snprintf(
        json, sizeof(json), "{\"b\":1,\"email\":\"%s\"}", hash("email", "7"));
    prop_is("nested", "{ \"b\": 1, \"email\": 7 }", json);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_props),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
