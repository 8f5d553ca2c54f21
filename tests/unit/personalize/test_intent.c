/*
 * test_intent.c - documents of weights: read, refused, evaluated.
 */

#include "personalize/intent.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


/* inputs: pages, pages is missing, direct, search */
#define FIELDS                                                                 \
    "\"fields\":[{\"name\":\"pages\",\"log\":true,\"mean\":1,\"scale\":2,"     \
    "\"missing\":true},{\"name\":\"traffic\",\"levels\":[\"direct\","          \
    "\"search\"]}],"
#define NETWORK                                                                \
    "\"weights\":[1,0,0,0, 0,2,0,0, 0,0,3,0, 0,0,0,-4],"                       \
    "\"bias\":[0.5,0,0,0],\"out\":[1,1,1,1],\"out_bias\":-1"
#define SURE                                                                   \
    "\"weights\":[0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0],"                        \
    "\"bias\":[0,0,0,0],\"out\":[0,0,0,0],\"out_bias\":1000"
#define GROUPS                                                                 \
    ",\"groups\":[{\"name\":\"seekers\",\"centre\":[0,0,0,1]},"                \
    "{\"name\":\"others\",\"centre\":[0,0,1,0]}]"
#define BODY "{\"id\":17,\"hidden\":4," FIELDS NETWORK GROUPS "}"


static char   text[65536];
static size_t text_len;
static char   fault[256];


static personalize_result_e
read_body(personalize_intent_t **intent, const char *body)
{
    text_len = (size_t) snprintf(text, sizeof(text), "crm-intent 1 %016llx\n%s",
        (unsigned long long) personalize_intent_sum(body, strlen(body)), body);
    *intent = NULL;

    return personalize_intent_read(intent, text, text_len, fault, 256);
}


static double
score(const personalize_intent_t *intent, personalize_value_t *values)
{
    personalize_intent_inputs_t inputs;

    personalize_intent_encode(intent, values, &inputs);

    return personalize_intent_score(intent, &inputs);
}


static void
test_score(void **state)
{
    double                      u;
    personalize_str_t           group;
    personalize_value_t         values[2];
    personalize_intent_t       *intent;
    personalize_intent_inputs_t inputs;

    (void) state;

    assert_int_equal(read_body(&intent, BODY), PERSONALIZE_OK);
    assert_int_equal(personalize_intent_id(intent), 17);
    assert_int_equal(personalize_intent_fields(intent), 2);
    assert_int_equal(personalize_intent_ninputs(intent), 4);

    memset(values, 0, sizeof(values));
    values[0].type = PERSONALIZE_NUMBER;
    values[0].number = 7;
    values[1].type = PERSONALIZE_TEXT;
    values[1].text.data = "search";
    values[1].text.len = 6;

    u = 0.5 + (log(8) - 1) / 2;
    assert_true(fabs(score(intent, values)
                     - 1 / (1 + exp(-(-1 + u / (1 + u) - 4.0 / 5))))
                < 1e-6);

    personalize_intent_encode(intent, values, &inputs);
    group = personalize_intent_group(intent, &inputs);
    assert_int_equal(group.len, 7);
    assert_memory_equal(group.data, "seekers", 7);

    /* no number is missing, an unknown level is none */
    values[0].number = NAN;
    values[1].text.len = 5;
    u = 0.5 / 1.5 + 2.0 / 3;
    assert_true(fabs(score(intent, values) - 1 / (1 + exp(-(-1 + u)))) < 1e-6);

    personalize_intent_free(intent);
}


static void
test_extremes(void **state)
{
    double                p;
    size_t                i;
    personalize_value_t   values[2];
    personalize_intent_t *intent;
    static const double   wild[] = {INFINITY, -INFINITY, NAN, 1e308, -1e308, 0};

    (void) state;

    assert_int_equal(read_body(&intent, BODY), PERSONALIZE_OK);
    memset(values, 0, sizeof(values));
    values[0].type = PERSONALIZE_NUMBER;

    for (i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        values[0].number = wild[i];
        p = score(intent, values);
        assert_true(p > 0 && p < 1);
    }

    personalize_intent_free(intent);

    /* a logit of 1000, that no double tells from certainty */
    assert_int_equal(
        read_body(&intent, "{\"id\":1,\"hidden\":4," FIELDS SURE "}"),
        PERSONALIZE_OK);
    p = score(intent, values);
    assert_true(p > 0.999 && p < 1);
    personalize_intent_free(intent);
}


static void
test_damaged(void **state)
{
    char                  kept;
    size_t                i;
    personalize_intent_t *intent;

    (void) state;

    assert_int_equal(read_body(&intent, BODY), PERSONALIZE_OK);
    personalize_intent_free(intent);

    for (i = 0; i < text_len; i++) {
        kept = text[i];
        text[i] ^= 1;
        assert_int_equal(
            personalize_intent_read(&intent, text, text_len, fault, 256),
            PERSONALIZE_INVALID);
        text[i] = kept;

        assert_int_equal(personalize_intent_read(&intent, text, i, fault, 256),
            PERSONALIZE_INVALID);
    }
}


static void
test_refused(void **state)
{
    size_t                   i;
    personalize_intent_t    *intent;
    static const char *const bad[] = {"", "[]", "{}", "{\"id\":-1}",
        "{\"id\":1,\"hidden\":4,\"fields\":[]," NETWORK "}",
        "{\"id\":1,\"hidden\":3," FIELDS   NETWORK "}",
        "{\"id\":1,\"hidden\":260," FIELDS NETWORK "}",
        "{\"id\":1,\"hidden\":8," FIELDS   NETWORK "}",
        "{\"id\":1,\"hidden\":4," FIELDS "\"weights\":[1e9]}",
        "{\"id\":1,\"hidden\":4,\"fields\":[{\"name\":\"x\",\"mean\":0,"
        "\"scale\":0}]," NETWORK "}",
        "{\"id\":1,\"hidden\":4,\"fields\":[{\"name\":\"x\",\"levels\":[]}]"
        "," NETWORK "}",
        "{\"id\":1,\"hidden\":4," FIELDS NETWORK
        ",\"groups\":[{\"name\":\"x\",\"centre\":[1]}]}"};

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fault[0] = '\0';
        if (read_body(&intent, bad[i]) != PERSONALIZE_INVALID || intent != NULL
            || fault[0] == '\0')
        {
            fail_msg("taken: %s", bad[i]);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
