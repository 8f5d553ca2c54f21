/*
 * test_oom.c - sets and profiles while the n-th allocation fails, for each n.
 *
 * link: -Wl,--wrap=malloc -Wl,--wrap=calloc
 *
 * Our allocations fail through the linker's wraps, jansson's through its
 * hooks.  Nothing may be kept and nothing may leak (the sanitizer looks at
 * exit), until there is enough.  The result is NOMEM, but for jansson's
 * tokens: it calls one that it had no memory for invalid.
 *
 * jansson 2.14 does not check the growth of the buffer that holds the token
 * being read; it then drops bytes and may read on past the end.  That growth
 * is told by its size and spared here, and all texts below are short enough
 * to need the first one only.
 */

#include "personalize/personalize.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


/* The token buffer after its first 16 bytes. */
#define JANSSON_TOKEN_SIZE 32

static const char json[] =
    "{\"site\":\"demo\",\"version\":3,\"campaigns\":[{\"key\":\"c1\",\"slot\":"
    "\"hero\",\"priority\":5,\"start\":1,\"end\":null,\"when\":{\"$and\":[{"
    "\"a.b\":\"x\"},{\"$or\":[{\"c\":{\"$in\":[\"x\",1,true]}},{\"d\":{\"$gt"
    "\":\"5\"}},{\"e\":{\"$not\":{\"$exists\":true}}}]}]},\"variants\":[{"
    "\"key\":\"a\",\"weight\":1,\"content\":\"<p>{{name}} {{e}}</p>\"},{"
    "\"key\":\"b\",\"weight\":2,\"content\":\"\"}]},{\"key\":\"c2\",\"slot\":"
    "\"foot\",\"variants\":[{\"key\":\"a\",\"weight\":1,\"content\":\"y\"}]}]}";

static const char payload[] =
    "{\"features\":{\"f\":{\"defaultValue\":1,\"rules\":[{\"force\":[2],"
    "\"condition\":{\"a\":\"x\"},\"coverage\":0.5,\"filters\":[{\"seed\":"
    "\"s\",\"ranges\":[[0,1]]}]},{\"variations\":[1,2],\"meta\":[{\"key\":"
    "\"a\"}],\"namespace\":[\"n\",0,1],\"contextualBanditRef\":\"b\"}]}},"
    "\"contextualBandits\":{\"b\":{\"contexts\":[{\"weights\":[1,0]}]}}}";

static unsigned left; /* allocations that still succeed; 0: all do */
static unsigned failed;


void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);


static int
fails(void)
{
    if (left == 0 || --left > 0) {
        return 0;
    }

    failed++;

    return 1;
}


void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}


static void *
jansson_malloc(size_t size)
{
    return size != JANSSON_TOKEN_SIZE && fails() ? NULL : __real_malloc(size);
}


static void
test_set(void **state)
{
    char                 fault[256];
    unsigned             n, ours;
    personalize_set_t   *set;
    personalize_result_e rc;

    (void) state;

    ours = 0;

    for (n = 1;; n++) {
        left = n;
        failed = 0;
        set = (personalize_set_t *) fault;
        rc = personalize_set_compile(
            &set, json, sizeof(json) - 1, fault, sizeof(fault));
        left = 0;

        if (failed == 0) {
            break;
        }

        assert_null(set);

        if (rc == PERSONALIZE_INVALID) {
            assert_memory_equal(fault, "set: line 1, column ", 20);
        } else {
            assert_int_equal(rc, PERSONALIZE_NOMEM);
            ours++;
        }
    }

    assert_int_equal(rc, PERSONALIZE_OK);
    assert_true(ours > 50);
    personalize_set_free(set);
}


static void
test_payload(void **state)
{
    char                 fault[256];
    unsigned             n;
    personalize_set_t   *set;
    personalize_result_e rc;

    (void) state;

    for (n = 1;; n++) {
        left = n;
        failed = 0;
        rc = personalize_features_compile(
            &set, payload, sizeof(payload) - 1, fault, sizeof(fault));
        left = 0;

        if (failed == 0) {
            break;
        }

        assert_null(set);
        assert_true(rc == PERSONALIZE_NOMEM || rc == PERSONALIZE_INVALID);
    }

    assert_int_equal(rc, PERSONALIZE_OK);
    assert_true(n > 50);
    personalize_set_free(set);
}


static void
test_profile(void **state)
{
    static const char profile[] =
        "{\"customer\":{\"rfm\":{\"segment\":\"loyal\",\"score\":4.5}},"
        "\"recs\":[\"a\",1],\"t\":true}";
    char                 blob[512];
    size_t               used;
    unsigned             n;
    personalize_result_e rc;

    (void) state;

    for (n = 1;; n++) {
        left = n;
        failed = 0;
        used = 0;
        rc = personalize_profile_pack(
            profile, sizeof(profile) - 1, blob, sizeof(blob), &used);
        left = 0;

        if (failed == 0) {
            break;
        }

        assert_true(rc == PERSONALIZE_NOMEM || rc == PERSONALIZE_INVALID);
        assert_int_equal(used, 0);
    }

    assert_int_equal(rc, PERSONALIZE_OK);
    assert_true(n > 10 && used > 0);
}


/* A set too large for the first block, so that later blocks fail too. */
static void
test_large_set(void **state)
{
    char                 fault[256];
    char                *text, *p;
    unsigned             n, i, later;
    personalize_set_t   *set;
    personalize_result_e rc;

    (void) state;

    text = malloc(1 << 20);
    p = text + sprintf(text, "{\"site\":\"s\",\"version\":1,\"campaigns\":[");
    for (i = 0; i < 300; i++) {
        p += sprintf(p,
            "%s{\"key\":\"k%u\",\"slot\":\"s\",\"when\":{\"a\":1},"
            "\"variants\":[{\"key\":\"a\",\"weight\":1,\"content\":\"x\"}]}",
            i > 0 ? "," : "", i);
    }
    strcpy(p, "]}");

    json_set_alloc_funcs(__real_malloc, free); /* only ours fail */
    later = 0;

    for (n = 1;; n++) {
        left = n;
        failed = 0;
        rc = personalize_set_compile(
            &set, text, strlen(text), fault, sizeof(fault));
        left = 0;

        if (failed == 0) {
            break;
        }

        assert_int_equal(rc, PERSONALIZE_NOMEM);
        assert_null(set);
        later++;
    }

    assert_int_equal(rc, PERSONALIZE_OK);
    assert_true(later > 5);
    personalize_set_free(set);
    free(text);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_payload),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_large_set),
    };

    json_set_alloc_funcs(jansson_malloc, free);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
