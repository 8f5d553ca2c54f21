/*
 * test_condition.c - each operator, against values of each type.
 *
 * A row is a condition, attributes as a profile, and whether it fits: every
 * test goes through compiling, packing and deciding.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


typedef struct {
    const char *when;
    const char *attributes;
    int         fits;
} row_t;

typedef struct {
    personalize_set_t *set;
    char               blob[65536];
    size_t             len;
} visit_t;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    visit_t *visit = ctx;

    personalize_profile_get(visit->blob, visit->len,
        personalize_set_attribute(visit->set, n), value);
}


/* 1, 0, or -1: the condition is refused. */
static int
fits(const char *when, const char *attributes)
{
    int                    rc, n;
    char                   fault[256], json[8192];
    visit_t                visit;
    personalize_str_t      slot = {"h", 1};
    personalize_request_t  request = {get, &visit, {"u", 1}, 0};
    personalize_decision_t decision;

    n = snprintf(json, sizeof(json),
        "{\"site\":\"s\",\"version\":1,\"campaigns\":[{\"key\":\"k\","
        "\"slot\":\"h\",\"when\":%s,\"variants\":[{\"key\":\"a\","
        "\"weight\":1,\"content\":\"\"}]}]}",
        when);
    assert_true(n > 0 && (size_t) n < sizeof(json));
    rc = personalize_set_compile(
        &visit.set, json, (size_t) n, fault, sizeof(fault));

    if (rc != PERSONALIZE_OK) {
        return -1;
    }

    assert_int_equal(personalize_profile_pack(attributes, strlen(attributes),
                         visit.blob, sizeof(visit.blob), &visit.len),
        PERSONALIZE_OK);
    rc = personalize_decide(visit.set, slot, &request, &decision);
    personalize_set_free(visit.set);

    return rc == PERSONALIZE_OK;
}


static void
check(const row_t *rows, size_t n)
{
    int    got;
    size_t i;

    for (i = 0; i < n; i++) {
        got = fits(rows[i].when, rows[i].attributes);
        if (got != rows[i].fits) {
            fail_msg("%s of %s: %d instead of %d", rows[i].when,
                rows[i].attributes, got, rows[i].fits);
        }
    }
}


#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows[0]))


static void
test_eq_and_ne(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":\"x\"}", "{\"a\":\"x\"}", 1},
        {"{\"a\":\"x\"}", "{\"a\":\"X\"}", 0},
        {"{\"a\":\"x\"}", "{\"a\":\"xx\"}", 0},
        {"{\"a\":\"\"}", "{\"a\":\"\"}", 1},
        {"{\"a\":\"\"}", "{}", 0},
        {"{\"a\":\"\"}", "{\"a\":false}", 0},
        {"{\"a\":1}", "{\"a\":1}", 1},
        {"{\"a\":1}", "{\"a\":1.0}", 1},
        {"{\"a\":1}", "{\"a\":1.5}", 0},
        {"{\"a\":1}", "{\"a\":\"1\"}", 1},
        {"{\"a\":\"1\"}", "{\"a\":1}", 1},
        {"{\"a\":1}", "{\"a\":true}", 1},
        {"{\"a\":0}", "{}", 1},
        {"{\"a\":true}", "{\"a\":true}", 1},
        {"{\"a\":true}", "{\"a\":false}", 0},
        {"{\"a\":true}", "{\"a\":1}", 1},
        {"{\"a\":false}", "{\"a\":false}", 1},
        {"{\"a\":false}", "{}", 0},
        {"{\"a\":null}", "{}", 1},
        {"{\"a\":null}", "{\"a\":null}", 1},
        {"{\"a\":null}", "{\"a\":0}", 0},
        {"{\"a\":null}", "{\"a\":[]}", 0},
        {"{\"a\":{\"$eq\":\"x\"}}", "{\"a\":\"x\"}", 1},
        {"{\"a\":{\"$eq\":\"x\"}}", "{\"a\":\"y\"}", 0},
        {"{\"a\":{\"$eq\":null}}", "{}", 1},
        {"{\"a.b.c\":1}", "{\"a\":{\"b\":{\"c\":1}}}", 1},
        {"{\"a.b.c\":null}", "{\"a\":1}", 1},
        {"{\"a\":{\"$ne\":\"x\"}}", "{\"a\":\"y\"}", 1},
        {"{\"a\":{\"$ne\":\"x\"}}", "{\"a\":\"x\"}", 0},
        {"{\"a\":{\"$ne\":\"x\"}}", "{}", 1},
        {"{\"a\":{\"$ne\":1}}", "{\"a\":\"1\"}", 1},
        {"{\"a\":{\"$ne\":null}}", "{}", 0},
        {"{\"a\":{\"$ne\":null}}", "{\"a\":0}", 1},
        {"{\"a\":{\"$ne\":true}}", "{\"a\":false}", 1},
    };

    (void) state;
    CHECK(rows);
}


static void
test_in(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":{\"$in\":[\"x\",\"yy\",\"b\"]}}", "{\"a\":\"yy\"}", 1},
        {"{\"a\":{\"$in\":[\"x\",\"yy\",\"b\"]}}", "{\"a\":\"b\"}", 1},
        {"{\"a\":{\"$in\":[\"x\",\"yy\",\"b\"]}}", "{\"a\":\"xx\"}", 0},
        {"{\"a\":{\"$in\":[\"x\",\"yy\",\"b\"]}}", "{\"a\":\"\"}", 0},
        {"{\"a\":{\"$in\":[\"\"]}}", "{\"a\":\"\"}", 1},
        {"{\"a\":{\"$in\":[3,1,2]}}", "{\"a\":1}", 1},
        {"{\"a\":{\"$in\":[3,1,2]}}", "{\"a\":3}", 1},
        {"{\"a\":{\"$in\":[3,1,2]}}", "{\"a\":4}", 0},
        {"{\"a\":{\"$in\":[3,1,2]}}", "{\"a\":\"1\"}", 0},
        {"{\"a\":{\"$in\":[\"1\"]}}", "{\"a\":1}", 0},
        {"{\"a\":{\"$in\":[1,true]}}", "{\"a\":true}", 1},
        {"{\"a\":{\"$in\":[1]}}", "{\"a\":true}", 0},
        {"{\"a\":{\"$in\":[false]}}", "{\"a\":false}", 1},
        {"{\"a\":{\"$in\":[true]}}", "{\"a\":false}", 0},
        {"{\"a\":{\"$in\":[null]}}", "{}", 1},
        {"{\"a\":{\"$in\":[0,\"\",false]}}", "{}", 0},
        {"{\"a\":{\"$in\":[]}}", "{}", 0},
        {"{\"a\":{\"$in\":[]}}", "{\"a\":\"x\"}", 0},
        {"{\"a\":{\"$not\":{\"$in\":[1,2]}}}", "{\"a\":3}", 1},
        {"{\"a\":{\"$not\":{\"$in\":[1,2]}}}", "{\"a\":2}", 0},
    };

    (void) state;
    CHECK(rows);
}


static void
test_gt_and_lt(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":{\"$gt\":3}}", "{\"a\":3.01}", 1},
        {"{\"a\":{\"$gt\":3}}", "{\"a\":3}", 0},
        {"{\"a\":{\"$gt\":3}}", "{\"a\":2.99}", 0},
        {"{\"a\":{\"$lt\":3}}", "{\"a\":2.99}", 1},
        {"{\"a\":{\"$lt\":3}}", "{\"a\":3}", 0},
        {"{\"a\":{\"$lt\":3}}", "{\"a\":3.01}", 0},
        {"{\"a\":{\"$gt\":-1}}", "{\"a\":0}", 1},
        {"{\"a\":{\"$gt\":3,\"$lt\":6}}", "{\"a\":4}", 1},
        {"{\"a\":{\"$gt\":3,\"$lt\":6}}", "{\"a\":6}", 0},
        {"{\"a\":{\"$gt\":3,\"$lt\":6}}", "{\"a\":3}", 0},
        /* texts, by UTF-16 code unit */
        {"{\"a\":{\"$gt\":\"b\"}}", "{\"a\":\"ba\"}", 1},
        {"{\"a\":{\"$gt\":\"b\"}}", "{\"a\":\"b\"}", 0},
        {"{\"a\":{\"$gt\":\"b\"}}", "{\"a\":\"az\"}", 0},
        {"{\"a\":{\"$gt\":\"\"}}", "{\"a\":\"\"}", 0},
        {"{\"a\":{\"$gt\":\"\"}}", "{\"a\":\"x\"}", 1},
        {"{\"a\":{\"$lt\":\"b\"}}", "{\"a\":\"az\"}", 1},
        {"{\"a\":{\"$lt\":\"b\"}}", "{\"a\":\"b\"}", 0},
        {"{\"a\":{\"$lt\":\"b\"}}", "{\"a\":\"\"}", 1},
        {"{\"a\":{\"$lt\":\"z\"}}", "{\"a\":\"\\u00e4\"}", 0},
        {"{\"a\":{\"$gt\":\"10\"}}", "{\"a\":\"9\"}", 1},
        /* a text that is wholly a number, on either side */
        {"{\"a\":{\"$gt\":10}}", "{\"a\":\"11\"}", 1},
        {"{\"a\":{\"$gt\":10}}", "{\"a\":\"9\"}", 0},
        {"{\"a\":{\"$gt\":10}}", "{\"a\":\"11 \"}", 1},
        {"{\"a\":{\"$lt\":10}}", "{\"a\":\"\"}", 1},
        {"{\"a\":{\"$gt\":\"10\"}}", "{\"a\":9}", 0},
        {"{\"a\":{\"$gt\":\"10\"}}", "{\"a\":11}", 1},
        {"{\"a\":{\"$lt\":\"x\"}}", "{\"a\":1}", 0},
        {"{\"a\":{\"$gt\":\"x\"}}", "{\"a\":1}", 0},
        /* otherwise false */
        {"{\"a\":{\"$gt\":-1}}", "{}", 1},
        {"{\"a\":{\"$lt\":1}}", "{}", 1},
        {"{\"a\":{\"$lt\":\"x\"}}", "{}", 0},
        {"{\"a\":{\"$gt\":0}}", "{\"a\":true}", 1},
        {"{\"a\":{\"$lt\":9}}", "{\"a\":[1]}", 1},
        {"{\"a\":{\"$lt\":\"x\"}}", "{\"a\":[\"a\"]}", 1},
        {"{\"a\":{\"$not\":{\"$gt\":5}}}", "{}", 1},
    };

    (void) state;
    CHECK(rows);
}


static void
test_exists(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":{\"$exists\":true}}", "{\"a\":0}", 1},
        {"{\"a\":{\"$exists\":true}}", "{\"a\":\"\"}", 1},
        {"{\"a\":{\"$exists\":true}}", "{\"a\":false}", 1},
        {"{\"a\":{\"$exists\":true}}", "{\"a\":[]}", 1},
        {"{\"a\":{\"$exists\":true}}", "{\"a\":null}", 0},
        {"{\"a\":{\"$exists\":true}}", "{}", 0},
        {"{\"a\":{\"$exists\":false}}", "{}", 1},
        {"{\"a\":{\"$exists\":false}}", "{\"a\":null}", 1},
        {"{\"a\":{\"$exists\":false}}", "{\"a\":[]}", 0},
        {"{\"a\":{\"$exists\":false}}", "{\"a\":0}", 0},
    };

    (void) state;
    CHECK(rows);
}


static void
test_lists(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":\"x\"}", "{\"a\":[\"w\",\"x\"]}", 0},
        {"{\"a\":\"x\"}", "{\"a\":[\"w\",\"xx\"]}", 0},
        {"{\"a\":\"x\"}", "{\"a\":[]}", 0},
        {"{\"a\":{\"$ne\":\"x\"}}", "{\"a\":[\"w\",\"x\"]}", 1},
        {"{\"a\":{\"$ne\":\"x\"}}", "{\"a\":[\"w\"]}", 1},
        {"{\"a\":{\"$in\":[\"a\",\"b\"]}}", "{\"a\":[\"d\",\"b\"]}", 1},
        {"{\"a\":{\"$in\":[\"a\",\"b\"]}}", "{\"a\":[\"d\",\"e\"]}", 0},
        {"{\"a\":{\"$in\":[\"a\",\"b\"]}}", "{\"a\":[]}", 0},
        {"{\"a\":7}", "{\"a\":[3,7]}", 0},
        {"{\"a\":7.5}", "{\"a\":[7.5]}", 1},
        {"{\"a\":7}", "{\"a\":[3,8]}", 0},
        {"{\"a\":{\"$in\":[8,9]}}", "{\"a\":[7,9]}", 1},
        {"{\"a\":{\"$in\":[8,\"x\"]}}", "{\"a\":[7,9]}", 0},
        {"{\"a\":\"7\"}", "{\"a\":[7]}", 1},
        {"{\"a\":true}", "{\"a\":[\"true\"]}", 1},
        {"{\"a\":{\"$in\":[null]}}", "{\"a\":[]}", 0},
    };

    (void) state;
    CHECK(rows);
}


#define A1 "{\"a\":1}"
#define B1 "{\"b\":1}"


static void
test_logic(void **state)
{
    static const row_t rows[] = {
        {"{}", "{}", 1},
        {"{\"$and\":[]}", "{}", 1},
        {"{\"$or\":[]}", "{}", 1},
        {"{\"$not\":{}}", "{}", 0},
        {"{\"$not\":{\"$or\":[]}}", "{}", 0},
        {"{\"$not\":{\"$not\":{}}}", "{}", 1},
        {"{\"$and\":[{},{\"$not\":{}}]}", "{}", 0},
        {"{\"$or\":[{\"$not\":{}},{\"$not\":{}}]}", "{}", 0},
        {"{\"$or\":[{\"$not\":{}},{}]}", "{}", 1},
        {"{\"$or\":[{},{\"$not\":{}}]}", "{}", 1},
        {"{\"$or\":[" A1 ",{}]}", "{}", 1},
        {"{\"$and\":[" A1 "," B1 "]}", "{\"a\":1,\"b\":1}", 1},
        {"{\"$and\":[" A1 "," B1 "]}", "{\"a\":1}", 0},
        {"{\"$and\":[" A1 "," B1 "]}", "{\"b\":1}", 0},
        {"{\"$or\":[" A1 "," B1 "]}", "{\"a\":1}", 1},
        {"{\"$or\":[" A1 "," B1 "]}", "{\"b\":1}", 1},
        {"{\"$or\":[" A1 "," B1 "]}", "{}", 0},
        {"{\"$not\":" A1 "}", "{\"a\":1}", 0},
        {"{\"$not\":" A1 "}", "{}", 1},
        {"{\"$not\":{\"$and\":[" A1 "," B1 "]}}", "{\"a\":1}", 1},
        {"{\"$not\":{\"$and\":[" A1 "," B1 "]}}", "{\"a\":1,\"b\":1}", 0},
        {"{\"$not\":{\"$or\":[" A1 "," B1 "]}}", "{\"b\":1}", 0},
        {"{\"$not\":{\"$or\":[" A1 "," B1 "]}}", "{}", 1},
        {"{\"$not\":{\"a\":1,\"b\":1}}", "{\"a\":1}", 1},
        {"{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":1}", 1},
        {"{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":2}", 0},
        {"{\"$or\":[" A1 "," B1 "],\"c\":2}", "{\"a\":1,\"c\":1}", 0},
        {"{\"$or\":[" A1 "," B1 "],\"c\":2}", "{\"b\":1,\"c\":2}", 1},
        {"{\"a\":{\"$not\":{\"$gt\":1,\"$lt\":5}}}", "{\"a\":3}", 0},
        {"{\"a\":{\"$not\":{\"$gt\":1,\"$lt\":5}}}", "{\"a\":5}", 1},
        {"{\"a\":{\"$not\":{\"$not\":{\"$gt\":1}}}}", "{\"a\":2}", 1},
        {"{\"a\":{\"$not\":1}}", "{\"a\":1}", 0},
        {"{\"a\":{\"$not\":1}}", "{\"a\":2}", 1},
        {"{\"$or\":[{\"$and\":[" A1 "," B1 "]},{\"c\":1}]}", "{\"c\":1}", 1},
        {"{\"$or\":[{\"$and\":[" A1 "," B1 "]},{\"c\":1}]}", "{\"b\":1}", 0},
        {"{\"$and\":[{\"$or\":[" A1 "," B1 "]},{\"c\":1}]}",
            "{\"b\":1,\"c\":1}", 1},
    };

    (void) state;
    CHECK(rows);
}


/*
 * Every condition over three facts, of two levels, against a truth table of
 * its own: proves the targets that stand for $and, $or and $not.
 */
static void
test_logic_exhaustively(void **state)
{
    static const char *const names[] = {"$and", "$or"};
    char                     when[512], attributes[64];
    unsigned outer, inner, not_outer, not_inner, facts, a, b, c, both, all;

    (void) state;

    for (outer = 0; outer < 2; outer++) {
        for (inner = 0; inner < 2; inner++) {
            for (not_outer = 0; not_outer < 2; not_outer++) {
                for (not_inner = 0; not_inner < 2; not_inner++) {
                    sprintf(when,
                        "{\"%s\":[{\"a\":1},%s{\"%s\":[{\"b\":1},{\"c\":1}]}"
                        "%s]}",
                        names[outer], not_inner ? "{\"$not\":" : "",
                        names[inner], not_inner ? "}" : "");
                    if (not_outer) {
                        memmove(when + 8, when, strlen(when) + 1);
                        memcpy(when, "{\"$not\":", 8);
                        strcat(when, "}");
                    }

                    for (facts = 0; facts < 8; facts++) {
                        a = facts & 1;
                        b = facts >> 1 & 1;
                        c = facts >> 2;
                        both = (inner ? b | c : b & c) ^ not_inner;
                        all = (outer ? a | both : a & both) ^ not_outer;
                        sprintf(attributes, "{\"a\":%u,\"b\":%u,\"c\":%u}", a,
                            b, c);
                        assert_int_equal(fits(when, attributes), all);
                    }
                }
            }
        }
    }
}


static void
test_typed_operators(void **state)
{
    static const row_t rows[] = {
        {"{\"a\":{\"$gte\":3}}", "{\"a\":3}", 1},
        {"{\"a\":{\"$lte\":3}}", "{\"a\":3.5}", 0},
        {"{\"a\":{\"$nin\":[1,2]}}", "{\"a\":3}", 1},
        {"{\"a\":{\"$nin\":[1,2]}}", "{\"a\":[3,2]}", 0},
        {"{\"a\":{\"$ini\":[\"ABC\"]}}", "{\"a\":\"abc\"}", 1},
        {"{\"a\":{\"$ini\":[\"\u00c4\"]}}", "{\"a\":\"\u00e4\"}", 1},
        {"{\"a\":{\"$nini\":[\"ABC\"]}}", "{\"a\":\"abc\"}", 0},
        {"{\"a\":{\"$all\":[1,2]}}", "{\"a\":[2,3,1]}", 1},
        {"{\"a\":{\"$all\":[1,4]}}", "{\"a\":[2,3,1]}", 0},
        {"{\"a\":{\"$alli\":[\"X\"]}}", "{\"a\":[\"x\"]}", 1},
        {"{\"a\":{\"$size\":2}}", "{\"a\":[1,null]}", 1},
        {"{\"a\":{\"$size\":{\"$gt\":2}}}", "{\"a\":[1,2]}", 0},
        {"{\"a\":{\"$elemMatch\":{\"b\":{\"$gt\":1}}}}",
            "{\"a\":[{\"b\":1},{\"b\":2}]}", 1},
        {"{\"a\":{\"$elemMatch\":{\"$eq\":0}}}", "{\"a\":[0]}", 1},
        {"{\"a\":{\"$elemMatch\":{\"$eq\":null}}}", "{\"a\":[null]}", 0},
        {"{\"a\":[1,\"x\"]}", "{\"a\":[1,\"x\"]}", 1},
        {"{\"a\":[1,\"x\"]}", "{\"a\":[1,\"x\",2]}", 0},
        {"{\"a\":{\"$type\":\"array\"}}", "{\"a\":[]}", 1},
        {"{\"a\":{\"$type\":\"null\"}}", "{}", 1},
        {"{\"a\":{\"$regex\":\"^a.c$\"}}", "{\"a\":\"abc\"}", 1},
        {"{\"a\":{\"$regexi\":\"^A.C$\"}}", "{\"a\":\"abc\"}", 1},
        {"{\"a\":{\"$regex\":\"[)\"}}", "{}", -1},
        {"{\"a\":{\"$regex\":\"a++\"}}", "{}", -1},
        {"{\"a\":{\"$regex\":\"(*UTF)a\"}}", "{}", -1},
        {"{\"a\":{\"$vgt\":\"1.9.9\"}}", "{\"a\":\"v1.10.0+b\"}", 1},
        {"{\"a\":{\"$vlt\":\"2.0.0\"}}", "{\"a\":\"2.0.0-rc.1\"}", 1},
        {"{\"a\":{\"$vne\":\"1.0.0\"}}", "{\"a\":\"1.0.0\"}", 0},
        {"{\"a\":{\"$inGroup\":\"nobody\"}}", "{}", -1},
        {"{\"$nor\":[" A1 "," B1 "]}", "{}", 1},
        {"{\"$nor\":[" A1 "," B1 "]}", "{\"b\":1}", 0},
    };

    (void) state;
    CHECK(rows);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eq_and_ne),
        cmocka_unit_test(test_in),
        cmocka_unit_test(test_gt_and_lt),
        cmocka_unit_test(test_exists),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_logic),
        cmocka_unit_test(test_logic_exhaustively),
        cmocka_unit_test(test_typed_operators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
