/*
 * test_decide.c - which campaign wins a slot, and which of its variants.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>


#define UNITS 100000

#define C(members, key)                                                        \
    "{" members ",\"key\":\"" key "\",\"variants\":[{\"key\":\"a\","           \
    "\"weight\":1,\"content\":\"x\"}]}"
#define SET(list) "{\"site\":\"s\",\"version\":1,\"campaigns\":[" list "]}"

typedef struct {
    personalize_set_t *set;
    double             a;     /* the value of every attribute */
    unsigned           asked; /* how often one was asked for */
} visit_t;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    visit_t *visit = ctx;

    assert_true(n < personalize_set_attributes(visit->set));
    value->type = PERSONALIZE_NUMBER;
    value->number = visit->a;
    visit->asked++;
}


static void
compile(const char *json, visit_t *visit)
{
    char fault[256];

    memset(visit, 0, sizeof(visit_t));

    if (personalize_set_compile(
            &visit->set, json, strlen(json), fault, sizeof(fault))
        != PERSONALIZE_OK)
    {
        fail_msg("%s", fault);
    }
}


/* The key of the campaign decided for, "" for none. */
static const char *
decide(visit_t *visit, const char *slot, int64_t now_s)
{
    static char            key[PERSONALIZE_NAME_MAX + 1];
    personalize_str_t      name = {slot, strlen(slot)};
    personalize_request_t  request = {get, visit, {"u", 1}, now_s};
    personalize_decision_t decision;
    personalize_result_e   rc;

    key[0] = '\0';
    visit->asked = 0;
    rc = personalize_decide(visit->set, name, &request, &decision);

    if (rc == PERSONALIZE_OK) {
        memcpy(key, decision.campaign.data, decision.campaign.len);
        key[decision.campaign.len] = '\0';
        assert_non_null(decision.content);
    } else {
        assert_int_equal(rc, PERSONALIZE_DECLINED);
    }

    return key;
}


static int
known(const visit_t *visit, const char *slot)
{
    personalize_str_t name = {slot, strlen(slot)};

    return personalize_slot_known(visit->set, name);
}


static void
test_priority(void **state)
{
    visit_t visit;

    (void) state;

    compile(
        SET(C("\"slot\":\"h\",\"priority\":5,\"when\":{\"a\":1}", "five") "," C(
            "\"slot\":\"h\"",
            "none") "," C("\"slot\":\"h\",\"priority\":9,\"when\":{\"a\":2}",
            "b") "," C("\"slot\":\"h\",\"priority\":9,\"when\":{\"a\":{\"$gt\":"
                       "1}}",
            "ab") "," C("\"slot\":\"other\",\"priority\":1000", "z")),
        &visit);

    visit.a = 0;
    assert_string_equal(decide(&visit, "h", 0), "none");
    visit.a = 1;
    assert_string_equal(decide(&visit, "h", 0), "five");
    /* equal ones by key */
    visit.a = 2;
    assert_string_equal(decide(&visit, "h", 0), "ab");
    assert_string_equal(decide(&visit, "other", 0), "z");

    personalize_set_free(visit.set);
}


static void
test_slots(void **state)
{
    visit_t visit;

    (void) state;

    compile(SET(C("\"slot\":\"h\"", "k") "," C(
                "\"slot\":\"never\",\"when\":{\"$not\":{}}",
                "n") "," C("\"slot\":\"mixed\",\"when\":{\"$not\":{}}",
                "m1") "," C("\"slot\":\"mixed\"", "m2")),
        &visit);

    assert_int_equal(personalize_set_campaigns(visit.set), 4);
    assert_true(known(&visit, "h"));
    assert_true(known(&visit, "mixed"));
    assert_false(known(&visit, "never"));
    assert_false(known(&visit, "H"));
    assert_false(known(&visit, "hh"));
    assert_false(known(&visit, ""));
    assert_string_equal(decide(&visit, "never", 0), "");
    assert_string_equal(decide(&visit, "mixed", 0), "m2");
    assert_string_equal(decide(&visit, "unknown", 0), "");
    personalize_set_free(visit.set);

    compile(SET(""), &visit);
    assert_false(known(&visit, "h"));
    assert_string_equal(decide(&visit, "h", 0), "");
    personalize_set_free(visit.set);
}


static void
test_schedule(void **state)
{
    visit_t visit;

    (void) state;

    compile(SET(C("\"slot\":\"h\",\"start\":100,\"end\":200", "k") "," C(
                "\"slot\":\"from\",\"start\":100",
                "f") "," C("\"slot\":\"to\",\"end\":200", "t")),
        &visit);

    assert_string_equal(decide(&visit, "h", 99), "");
    assert_string_equal(decide(&visit, "h", 100), "k");
    assert_string_equal(decide(&visit, "h", 199), "k");
    assert_string_equal(decide(&visit, "h", 200), "");
    assert_string_equal(decide(&visit, "from", 99), "");
    assert_string_equal(decide(&visit, "from", INT64_MAX - 1), "f");
    assert_string_equal(decide(&visit, "to", INT64_MIN), "t");
    assert_string_equal(decide(&visit, "to", 200), "");

    personalize_set_free(visit.set);
}


static void
test_attributes_are_asked_once(void **state)
{
    visit_t visit;

    (void) state;

    compile(
        SET(C("\"slot\":\"h\",\"when\":{\"a\":1,\"b\":{\"$gt\":2}}",
            "k1") "," C("\"slot\":\"h\",\"when\":{\"a\":2,\"b\":{\"$gt\":7}}",
            "k2") "," C("\"slot\":\"h\",\"when\":{\"b\":5,\"a\":{\"$lt\":1}}",
            "k3")),
        &visit);

    visit.a = 5;
    assert_string_equal(decide(&visit, "h", 0), "");
    assert_int_equal(visit.asked, 2);

    personalize_set_free(visit.set);
}


static void
count_variants(const char *variants, unsigned counts[3])
{
    char                   json[1024], unit[32];
    visit_t                visit;
    unsigned               i;
    personalize_str_t      slot = {"h", 1};
    personalize_request_t  request = {get, &visit, {unit, 0}, 0};
    personalize_decision_t decision;

    snprintf(json, sizeof(json),
        SET("{\"key\":\"k\",\"slot\":\"h\",\"variants\":[%s]}"), variants);
    compile(json, &visit);
    memset(counts, 0, 3 * sizeof(unsigned));

    for (i = 0; i < UNITS; i++) {
        request.unit.len = (size_t) sprintf(unit, "visitor-%u", i);
        assert_int_equal(
            personalize_decide(visit.set, slot, &request, &decision),
            PERSONALIZE_OK);
        counts[decision.variant.data[0] - 'a']++;
    }

    personalize_set_free(visit.set);
}


#define VARIANT(key, weight)                                                   \
    "{\"key\":\"" key "\",\"weight\":" weight ",\"content\":\"\"}"


/* Pearson's statistic; 13.8 is passed by chance once in 1,000 with 2 df. */
static void
check_shares(const unsigned counts[3], double a, double b, double c)
{
    double   expected[3] = {a * UNITS, b * UNITS, c * UNITS}, x2;
    unsigned i;

    x2 = 0;

    for (i = 0; i < 3; i++) {
        if (expected[i] == 0) {
            assert_int_equal(counts[i], 0);
        } else {
            x2 += (counts[i] - expected[i]) * (counts[i] - expected[i])
                  / expected[i];
        }
    }

    assert_true(x2 < 13.8);
}


static void
test_variants_follow_their_weights(void **state)
{
    unsigned counts[3];

    (void) state;

    count_variants(
        VARIANT("a", "1") "," VARIANT("b", "1") "," VARIANT("c", "2"), counts);
    check_shares(counts, 0.25, 0.25, 0.5);

    count_variants(
        VARIANT("a", "0.1") "," VARIANT("b", "0") "," VARIANT("c", "0.9"),
        counts);
    check_shares(counts, 0.1, 0, 0.9);

    count_variants(
        VARIANT("a", "0") "," VARIANT("b", "7") "," VARIANT("c", "0"), counts);
    check_shares(counts, 0, 1, 0);

    count_variants(VARIANT("a", "1"), counts);
    check_shares(counts, 1, 0, 0);
}


/* Known buckets: exp/1 is 0.6075, exp/a 0.0559; both sides of a share. */
static void
test_variant_by_bucket(void **state)
{
    static const struct {
        const char *weights[2];
        const char *unit;
        char        variant;
    } cases[] = {{{"0.6075", "0.3925"}, "1", 'b'},
        {{"0.6076", "0.3924"}, "1", 'a'}, {{"559", "9441"}, "a", 'b'},
        {{"560", "9440"}, "a", 'a'}};
    char                   json[512];
    visit_t                visit;
    unsigned               i;
    personalize_str_t      slot = {"h", 1};
    personalize_request_t  request = {get, &visit, {NULL, 1}, 0};
    personalize_decision_t decision;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(json, sizeof(json),
            SET("{\"key\":\"exp\",\"slot\":\"h\",\"variants\":[" VARIANT(
                "a", "%s") "," VARIANT("b", "%s") "]}"),
            cases[i].weights[0], cases[i].weights[1]);
        compile(json, &visit);
        request.unit.data = cases[i].unit;
        assert_int_equal(
            personalize_decide(visit.set, slot, &request, &decision),
            PERSONALIZE_OK);
        assert_int_equal(decision.variant.len, 1);
        assert_int_equal(decision.variant.data[0], cases[i].variant);
        personalize_set_free(visit.set);
    }
}


static void
test_result_texts(void **state)
{
    int rc;

    (void) state;

    for (rc = PERSONALIZE_OK; rc <= PERSONALIZE_NOMEM; rc++) {
        assert_string_not_equal(
            personalize_result_text((personalize_result_e) rc),
            "unknown result");
    }
}


/* ---- terms -------------------------------------------------------------- */

#define NOV_24_S 1795478400 /* 2026-11-24T00:00:00Z, a Tuesday */


static void
test_times(void **state)
{
    visit_t visit;

    (void) state;

    compile(SET(C("\"slot\":\"s\",\"times\":{\"weekdays\":[2],\"hours\":[22,3],"
                  "\"zone\":\"x\",\"offsets\":[[0,3600],[1795500000,7200]]}",
                "k")),
        &visit);

    /* local time is an hour ahead: Tuesday 21:59 and 22:00 */
    assert_string_equal(decide(&visit, "s", NOV_24_S - 3 * 3600 - 1), "");
    assert_string_equal(decide(&visit, "s", NOV_24_S - 3 * 3600), "");
    /* two hours ahead by then */
    assert_string_equal(decide(&visit, "s", NOV_24_S + 20 * 3600 - 1), "");
    assert_string_equal(decide(&visit, "s", NOV_24_S + 20 * 3600), "k");
    /* Wednesday 02:59 belongs to Tuesday's evening, 03:00 does not */
    assert_string_equal(decide(&visit, "s", NOV_24_S + 25 * 3600 - 1), "k");
    assert_string_equal(decide(&visit, "s", NOV_24_S + 25 * 3600), "");
    personalize_set_free(visit.set);
}


static unsigned
share_of(visit_t *visit, const char *slot, const char *other, unsigned *both)
{
    char                   unit[16];
    unsigned               i, n = 0;
    personalize_str_t      one = {slot, strlen(slot)};
    personalize_str_t      two = {other, strlen(other)};
    personalize_request_t  request = {get, visit, {unit, 0}, 0};
    personalize_decision_t decision;

    *both = 0;

    for (i = 0; i < 10000; i++) {
        request.unit.len = (size_t) sprintf(unit, "u%u", i);
        if (personalize_decide(visit->set, one, &request, &decision)
            == PERSONALIZE_OK) {
            n++;
            *both += personalize_decide(visit->set, two, &request, &decision)
                     == PERSONALIZE_OK;
        }
    }

    return n;
}


static void
test_holdouts_and_namespaces(void **state)
{
    visit_t  visit;
    unsigned n, both;

    (void) state;

    compile("{\"site\":\"s\",\"version\":1,\"holdout\":0.1,\"campaigns\":[" C(
                "\"slot\":\"a\",\"holdout\":0.5", "k1") "," C("\"slot\":\"b\"",
                "k2") "," C("\"slot\":\"c\",\"namespace\":[\"n\",0,0.4]",
                "k3") "," C("\"slot\":\"d\",\"namespace\":[\"n\",0.4,1]",
                "k4") "]}",
        &visit);

    n = share_of(&visit, "b", "a", &both);
    assert_in_range(n, 8850, 9150);
    assert_in_range(both, 4300, 4700);
    n = share_of(&visit, "c", "d", &both);
    assert_in_range(n, 3300, 3900);
    assert_int_equal(both, 0);
    personalize_set_free(visit.set);
}


/* ---- the index over audiences ------------------------------------------- */

static unsigned random_state;


static unsigned
draw(unsigned n)
{
    random_state = random_state * 1664525 + 1013904223;

    return (random_state >> 8) % n;
}


/* A clause over six attributes, with values that meet them often. */
static int
random_clause(char *p)
{
    static const char *const forms[] = {"\"a%u\":\"t%u\"",
        "\"a%u\":{\"$in\":[\"t%u\",\"t1\",3]}", "\"a%u\":{\"$gt\":%u}",
        "\"a%u\":{\"$lte\":%u}", "\"a%u\":{\"$ne\":%u}",
        "\"a%u\":{\"$eq\":\"t%u\"}", "\"a%u\":%u",
        "\"a%u\":{\"$not\":{\"$gte\":%u}}", "\"a%u\":{\"$nin\":[%u,\"t2\"]}",
        "\"a%u\":{\"$exists\":true,\"$lt\":%u}",
        "\"a%u\":{\"$regex\":\"^t[0-%u]\"}", "\"a%u\":{\"$ini\":[\"T%u\"]}"};
    unsigned                 form;

    if (draw(8) == 0) {
        return sprintf(p, "\"a%u\":%s", draw(6),
            draw(3) == 0 ? "null"
            : draw(2)    ? "true"
                         : "false");
    }

    form = draw(12);

    return sprintf(p, forms[form], draw(6), draw(10));
}


static int
random_condition(char *p, unsigned depth)
{
    char    *start = p;
    unsigned i, n = 1 + draw(3);

    p += sprintf(p, "{\"$and\":[");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s", i > 0 ? "," : "");
        if (depth < 2 && draw(5) == 0) {
            p += sprintf(p, "{\"%s\":[", draw(2) ? "$or" : "$nor");
            p += random_condition(p, depth + 1);
            p += sprintf(p, ",");
            p += random_condition(p, depth + 1);
            p += sprintf(p, "]}");
        } else {
            p += sprintf(p, "{");
            p += random_clause(p);
            p += sprintf(p, "}");
        }
    }

    p += sprintf(p, "]}");

    return (int) (p - start);
}


typedef struct {
    personalize_set_t  *set;
    personalize_value_t values[6];
    char                texts[6][4];
} crowd_t;


static void
get_random(void *ctx, unsigned n, personalize_value_t *value)
{
    crowd_t          *crowd = ctx;
    personalize_str_t name = personalize_set_attribute(crowd->set, n);

    *value = crowd->values[name.data[1] - '0'];
}


static void
draw_values(crowd_t *crowd)
{
    static const char list[] = "\023t1\023t2";
    unsigned          i;

    for (i = 0; i < 6; i++) {
        memset(&crowd->values[i], 0, sizeof(crowd->values[i]));
        crowd->values[i].type = (personalize_type_e) draw(5);
        crowd->values[i].number = crowd->values[i].type == PERSONALIZE_BOOL
                                      ? draw(2)
                                      : draw(22) / 2.0;
        crowd->values[i].text.len =
            (size_t) sprintf(crowd->texts[i], "t%u", draw(12));
        crowd->values[i].text.data = crowd->texts[i];
        if (crowd->values[i].type == PERSONALIZE_LIST) {
            crowd->values[i].text.data = list;
            crowd->values[i].text.len = sizeof(list) - 1;
        }
    }
}


/*
 * One slot of 150 campaigns, which has an index, against the same campaigns in
 * slots of their own, which have none: the first that fits must be the same.
 */
static void
test_index_changes_no_decision(void **state)
{
    static char            json[1 << 20], fault[256];
    char                  *p, name[8], when[4096];
    crowd_t                crowd;
    unsigned               round, i, k, found = 0;
    personalize_str_t      slot = {"all", 3}, own = {name, 0};
    personalize_decision_t one, each;
    personalize_request_t  request = {get_random, &crowd, {"u", 1}, 0};
    personalize_result_e   rc;

    (void) state;

    for (round = 0; round < 40; round++) {
        random_state = round;
        p = json
            + sprintf(json, "{\"site\":\"s\",\"version\":1,\"campaigns\":[");

        for (i = 0; i < 150; i++) {
            (void) random_condition(when, 0);
            for (k = 0; k < 2; k++) {
                p += sprintf(p,
                    "%s{\"key\":\"%c%03u\",\"slot\":\"%s%.0u\",\"when\":%s,"
                    "\"variants\":[{\"key\":\"a\",\"weight\":1,\"content\":"
                    "\"\"}]}",
                    i + k > 0 ? "," : "", "cs"[k], i, k ? "s" : "all",
                    k ? i + 1 : 0, when);
            }
        }
        strcpy(p, "]}");

        if (personalize_set_compile(
                &crowd.set, json, strlen(json), fault, sizeof(fault))
            != PERSONALIZE_OK)
        {
            fail_msg("%s", fault);
        }

        for (k = 0; k < 50; k++) {
            draw_values(&crowd);
            rc = personalize_decide(crowd.set, slot, &request, &one);

            for (i = 0; i < 150; i++) {
                own.len = (size_t) sprintf(name, "s%u", i + 1);
                if (personalize_decide(crowd.set, own, &request, &each)
                    == PERSONALIZE_OK) {
                    break;
                }
            }

            assert_int_equal(rc == PERSONALIZE_OK, i < 150);
            if (rc == PERSONALIZE_OK) {
                assert_memory_equal(
                    one.campaign.data + 1, each.campaign.data + 1, 3);
                found += i > 0;
            }
        }

        personalize_set_free(crowd.set);
    }

    assert_true(found > 100);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_attributes_are_asked_once),
        cmocka_unit_test(test_variants_follow_their_weights),
        cmocka_unit_test(test_variant_by_bucket),
        cmocka_unit_test(test_result_texts),
        cmocka_unit_test(test_index_changes_no_decision),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_holdouts_and_namespaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
