/*
 * test_profile.c - packing profiles, and reading them back, damaged ones too.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


static const char full[] =
    "{\"customer\":{\"id\":\"C-1\",\"rfm\":{\"segment\":\"loyal\",\"score\":"
    "4.5},\"orders\":12,\"vip\":true,\"left\":false,\"none\":null,"
    "\"recs\":[\"A1\",22,3.5,true,null,[\"x\"],9007199254740993],\"empty\":[],"
    "\"blank\":\"\"},\"n\":-1}";


static personalize_result_e
pack(const char *json, char *blob, size_t size, size_t *used)
{
    return personalize_profile_pack(json, strlen(json), blob, size, used);
}


static personalize_value_t
get(const char *blob, size_t len, const char *path)
{
    personalize_str_t   str = {path, strlen(path)};
    personalize_value_t value;

    memset(&value, 0xff, sizeof(value));
    personalize_profile_get(blob, len, str, &value);

    return value;
}


static void
assert_text(personalize_str_t text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}


static void
test_values_come_back(void **state)
{
    char                blob[1024];
    size_t              used;
    personalize_value_t value;

    (void) state;

    assert_int_equal(pack(full, blob, sizeof(blob), &used), PERSONALIZE_OK);
    assert_true(used <= sizeof(blob));

    value = get(blob, used, "customer.id");
    assert_int_equal(value.type, PERSONALIZE_TEXT);
    assert_text(value.text, "C-1");

    value = get(blob, used, "customer.rfm.segment");
    assert_int_equal(value.type, PERSONALIZE_TEXT);
    assert_text(value.text, "loyal");

    value = get(blob, used, "customer.rfm.score");
    assert_int_equal(value.type, PERSONALIZE_NUMBER);
    assert_true(value.number == 4.5);

    value = get(blob, used, "customer.orders");
    assert_true(value.type == PERSONALIZE_NUMBER && value.number == 12);

    value = get(blob, used, "n");
    assert_true(value.type == PERSONALIZE_NUMBER && value.number == -1);

    value = get(blob, used, "customer.vip");
    assert_true(value.type == PERSONALIZE_BOOL && value.number == 1);

    value = get(blob, used, "customer.left");
    assert_true(value.type == PERSONALIZE_BOOL && value.number == 0);

    value = get(blob, used, "customer.blank");
    assert_true(value.type == PERSONALIZE_TEXT && value.text.len == 0);
}


static void
test_what_is_not_there_is_absent(void **state)
{
    static const char *const paths[] = {"", "customer", "customer.rfm",
        "customer.none", "customer.rfm.", "customer.i", "customer.id.x", "id"};
    char                     blob[1024];
    size_t                   used;
    unsigned                 i;

    (void) state;

    assert_int_equal(pack(full, blob, sizeof(blob), &used), PERSONALIZE_OK);

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(get(blob, used, paths[i]).type, PERSONALIZE_ABSENT);
    }

    assert_int_equal(pack("{}", blob, sizeof(blob), &used), PERSONALIZE_OK);
    assert_int_equal(get(blob, used, "a").type, PERSONALIZE_ABSENT);
    assert_int_equal(get(NULL, 0, "a").type, PERSONALIZE_ABSENT);
}


static void
test_lists_keep_texts_and_numbers(void **state)
{
    static const char *const expected[] = {
        "A1", "22", "3.5", "9007199254740993"};
    char                blob[1024];
    size_t              used, pos;
    unsigned            i;
    personalize_str_t   text;
    personalize_value_t value;

    (void) state;

    assert_int_equal(pack(full, blob, sizeof(blob), &used), PERSONALIZE_OK);
    value = get(blob, used, "customer.recs");
    assert_int_equal(value.type, PERSONALIZE_LIST);

    pos = 0;

    for (i = 0; i < 4; i++) {
        assert_true(personalize_list_next(value.text, &pos, &text));
        assert_text(text, expected[i]);
    }
    assert_false(personalize_list_next(value.text, &pos, &text));
    assert_false(personalize_list_next(value.text, &pos, &text));

    value = get(blob, used, "customer.empty");
    assert_int_equal(value.type, PERSONALIZE_LIST);
    assert_int_equal(value.text.len, 0);
}


static void
test_every_size_too_small_is_full(void **state)
{
    char  *blob;
    char   whole[1024];
    size_t used, size, got;

    (void) state;

    assert_int_equal(pack(full, whole, sizeof(whole), &used), PERSONALIZE_OK);

    for (size = 0; size <= used; size++) {
        blob = malloc(size + 1); /* exact, so that a sanitizer sees a write */
        blob = realloc(blob, size > 0 ? size : 1);
        got = 0;
        assert_int_equal(pack(full, blob, size, &got),
            size < used ? PERSONALIZE_FULL : PERSONALIZE_OK);
        assert_int_equal(got, size < used ? 0 : used);
        free(blob);
    }
}


static void
test_input_refused(void **state)
{
    static const char *const bad[] = {"", "x", "[]", "1", "\"a\"", "null", "{",
        "{\"a\":1e999}", "{\"a\":\"\\u0000\"}", "{\"a\":1} x",
        "{\"a\":\"\xff\"}"};
    char                     blob[256];
    size_t                   used;
    unsigned                 i;

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            pack(bad[i], blob, sizeof(blob), &used), PERSONALIZE_INVALID);
    }
}


static void
test_depth_and_path_limits(void **state)
{
    char   json[4096], path[600], blob[2048], name[300];
    size_t used, len;
    int    depth, i;

    (void) state;

    for (depth = PERSONALIZE_DEPTH_MAX; depth <= PERSONALIZE_DEPTH_MAX + 1;
         depth++) {
        len = 0;
        path[0] = '\0';
        for (i = 1; i < depth; i++) {
            len += (size_t) sprintf(json + len, "{\"a\":");
            strcat(path, "a.");
        }
        len += (size_t) sprintf(json + len, "{\"b\":7}");
        strcat(path, "b");
        memset(json + len, '}', (size_t) depth - 1);
        json[len + (size_t) depth - 1] = '\0';

        assert_int_equal(pack(json, blob, sizeof(blob), &used), PERSONALIZE_OK);
        assert_int_equal(get(blob, used, path).type,
            depth > PERSONALIZE_DEPTH_MAX ? PERSONALIZE_ABSENT
                                          : PERSONALIZE_NUMBER);
    }

    for (len = PERSONALIZE_PATH_MAX; len <= PERSONALIZE_PATH_MAX + 1; len++) {
        memset(name, 'n', len - 2);
        name[len - 2] = '\0';
        sprintf(json, "{\"x\":{\"%s\":1},\"y\":2}", name);
        sprintf(path, "x.%s", name);

        assert_int_equal(pack(json, blob, sizeof(blob), &used), PERSONALIZE_OK);
        assert_int_equal(get(blob, used, path).type, len > PERSONALIZE_PATH_MAX
                                                         ? PERSONALIZE_ABSENT
                                                         : PERSONALIZE_NUMBER);
        assert_int_equal(get(blob, used, "y").type, PERSONALIZE_NUMBER);
    }
}


static void
test_many_attributes(void **state)
{
    char                path[32];
    char               *json, *blob;
    size_t              len, used;
    unsigned            i;
    personalize_value_t value;

    (void) state;

    json = malloc(200000);
    blob = malloc(200000);
    len = (size_t) sprintf(json, "{\"z\":0");
    for (i = 0; i < 3000; i++) {
        len += (size_t) sprintf(json + len, ",\"attribute%u\":%u", i, i);
    }
    sprintf(json + len, "}");

    assert_int_equal(pack(json, blob, 200000, &used), PERSONALIZE_OK);

    for (i = 0; i < 3000; i++) {
        sprintf(path, "attribute%u", i);
        value = get(blob, used, path);
        assert_int_equal(value.type, PERSONALIZE_NUMBER);
        assert_true(value.number == i);
    }
    assert_int_equal(get(blob, used, "attribute3000").type, PERSONALIZE_ABSENT);

    free(json);
    free(blob);
}


static void
test_first_of_two_equal_paths(void **state)
{
    char                blob[256];
    size_t              used;
    personalize_value_t value;

    (void) state;

    assert_int_equal(
        pack("{\"a\":{\"b\":1},\"a.b\":2}", blob, sizeof(blob), &used),
        PERSONALIZE_OK);
    value = get(blob, used, "a.b");
    assert_true(value.number == 1);
}


/* Every byte of a blob set to every value, and every length: no wild read. */
static void
test_damaged_blobs(void **state)
{
    static const char json[] =
        "{\"a\":{\"b\":\"text\"},\"l\":[\"x\",\"yy\"],\"n\":1,\"t\":true}";
    static const char *const paths[] = {"a.b", "l", "n", "t", "q"};
    char                    *blob;
    char                     whole[512];
    size_t                   used, i, pos;
    unsigned                 k, byte;
    personalize_str_t        text;
    personalize_value_t      value;

    (void) state;

    assert_int_equal(pack(json, whole, sizeof(whole), &used), PERSONALIZE_OK);

    for (i = 0; i < used; i++) {
        blob = malloc(i + 1);
        memcpy(blob, whole, i);
        for (k = 0; k < 5; k++) {
            (void) get(blob, i, paths[k]);
        }
        free(blob);
    }

    blob = malloc(used);

    for (i = 0; i < used; i++) {
        memcpy(blob, whole, used);
        for (byte = 0; byte < 256; byte++) {
            blob[i] = (char) byte;
            for (k = 0; k < 5; k++) {
                value = get(blob, used, paths[k]);
                assert_true(value.type <= PERSONALIZE_LIST);
                if (value.type == PERSONALIZE_TEXT && value.text.len > 0) {
                    assert_true(
                        value.text.data >= blob
                        && value.text.data + value.text.len <= blob + used);
                }
                pos = 0;
                while (value.type == PERSONALIZE_LIST
                       && personalize_list_next(value.text, &pos, &text))
                {
                    assert_true(text.data >= blob
                                && text.data + text.len <= blob + used);
                }
            }
        }
    }

    free(blob);
}


static void
test_list_put_and_next(void **state)
{
    char                buf[20000];
    char               *p, *end;
    size_t              pos;
    unsigned            i;
    static char         x[16384];
    personalize_str_t   text, list;
    static const size_t lengths[] = {0, 1, 127, 128, 129, 16383};

    (void) state;

    memset(x, 'x', sizeof(x));
    p = buf;
    for (i = 0; i < 6; i++) {
        text.data = x;
        text.len = lengths[i];
        p = personalize_list_put(p, buf + sizeof(buf), text);
        assert_non_null(p);
    }

    list.data = buf;
    list.len = (size_t) (p - buf);
    pos = 0;
    for (i = 0; i < 6; i++) {
        assert_true(personalize_list_next(list, &pos, &text));
        assert_int_equal(text.len, lengths[i]);
    }
    assert_false(personalize_list_next(list, &pos, &text));

    /* 16,384 bytes need a length of three */
    text.data = x;
    text.len = sizeof(x);
    end = buf + sizeof(x) + 2;
    assert_null(personalize_list_put(buf, end, text));
    assert_ptr_equal(personalize_list_put(buf, end + 1, text), end + 1);
    assert_null(personalize_list_put(buf, buf, text));

    /* lengths that never end, or lie about what follows */
    list.data = "\xff\xff\xff\xff\xff\xff\x01";
    list.len = 7;
    pos = 0;
    assert_false(personalize_list_next(list, &pos, &text));
    assert_false(personalize_list_next(list, &pos, &text));
    list.data = "\x05"
                "abc";
    list.len = 4;
    pos = 0;
    assert_false(personalize_list_next(list, &pos, &text));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_what_is_not_there_is_absent),
        cmocka_unit_test(test_lists_keep_texts_and_numbers),
        cmocka_unit_test(test_every_size_too_small_is_full),
        cmocka_unit_test(test_input_refused),
        cmocka_unit_test(test_depth_and_path_limits),
        cmocka_unit_test(test_many_attributes),
        cmocka_unit_test(test_first_of_two_equal_paths),
        cmocka_unit_test(test_damaged_blobs),
        cmocka_unit_test(test_list_put_and_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
