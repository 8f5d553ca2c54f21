/*
 * test_set.c - what a set may contain; each fault by its exact sentence.
 */

#include "personalize/personalize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define KEY_RULE                                                               \
    "must be 1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", a letter or digit "  \
    "first"
#define SLOT_RULE                                                              \
    "must be 1 to 64 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\", a letter or "   \
    "digit first"
#define VALUE_RULE "must be a text, a number, a boolean or null"

#define V                                                                      \
    "\"variants\":[{\"key\":\"a\",\"weight\":1,"                               \
    "\"content\":\"x\"}]"
#define SET(members) "{\"site\":\"s\",\"version\":1," members "}"
#define ONE(members) SET("\"campaigns\":[{" members "}]")
#define BASE         "\"key\":\"k\",\"slot\":\"h\","
#define WHEN(when)   ONE(BASE "\"when\":" when "," V)
#define VARIANTS(v)  ONE(BASE "\"variants\":[" v "]")
#define CONTENT(c)   VARIANTS("{\"key\":\"a\",\"weight\":1,\"content\":" c "}")

typedef struct {
    const char *json;
    const char *fault;
} refusal_t;


static personalize_result_e
compile(const char *json, personalize_set_t **set, char fault[512])
{
    return personalize_set_compile(set, json, strlen(json), fault, 512);
}


static void
check_refusals(const refusal_t *cases, size_t n)
{
    char               fault[512];
    size_t             i;
    personalize_set_t *set;

    for (i = 0; i < n; i++) {
        set = (personalize_set_t *) fault;
        assert_int_equal(
            compile(cases[i].json, &set, fault), PERSONALIZE_INVALID);
        assert_null(set);
        assert_string_equal(fault, cases[i].fault);
    }
}


#define CHECK(cases) check_refusals(cases, sizeof(cases) / sizeof(cases[0]))


static void
check_taken(const char *json)
{
    char               fault[512];
    personalize_set_t *set;

    if (compile(json, &set, fault) != PERSONALIZE_OK) {
        fail_msg("%s", fault);
    }
    assert_string_equal(fault, "");
    personalize_set_free(set);
}


static void
test_document(void **state)
{
    static const refusal_t cases[] = {
        {"", "set: line 1, column 0: '[' or '{' expected near end of file"},
        {"{\"a\":", "set: line 1, column 5: unexpected token near end of file"},
        {"[]", "set: must be an object"},
        {"{}", "set: \"site\" is missing"},
        {"{\"site\":\"s\"}", "set: \"version\" is missing"},
        {"{\"site\":\"s\",\"version\":1}", "set: \"campaigns\" is missing"},
        {"{\"site\":1,\"version\":1,\"campaigns\":[]}", "site: must be a text"},
        {"{\"site\":\"s\",\"version\":-1,\"campaigns\":[]}",
            "version: must be a whole number of 0 or more"},
        {"{\"site\":\"s\",\"version\":1.5,\"campaigns\":[]}",
            "version: must be a whole number of 0 or more"},
        {SET("\"campaigns\":{}"), "campaigns: must be a list"},
        {SET("\"campaigns\":[],\"x\":1"),
            "set: unknown member \"x\", remove it"},
        {SET("\"campaigns\":[],\"site\":\"s\""),
            "set: line 1, column 45: duplicate object key near '\"site\"'"},
    };

    (void) state;

    CHECK(cases);
    check_taken(SET("\"campaigns\":[]"));
}


static void
test_campaign(void **state)
{
    static const refusal_t cases[] = {
        {SET("\"campaigns\":[7]"), "campaigns[0]: must be an object"},
        {ONE("\"slot\":\"h\"," V), "campaigns[0]: \"key\" is missing"},
        {ONE("\"key\":\"k\"," V), "campaigns[0]: \"slot\" is missing"},
        {ONE("\"key\":\"k\",\"slot\":\"h\""),
            "campaigns[0]: \"variants\" is missing"},
        {ONE(BASE "\"state\":\"live\"," V),
            "campaigns[0]: unknown member \"state\", remove it"},
        {ONE(BASE "\"a\\nb\":1," V),
            "campaigns[0]: unknown member \"a?b\", remove it"},
        {ONE("\"key\":\"K\",\"slot\":\"h\"," V), "campaigns[0].key: " KEY_RULE},
        {ONE("\"key\":\"\",\"slot\":\"h\"," V), "campaigns[0].key: " KEY_RULE},
        {ONE("\"key\":1,\"slot\":\"h\"," V), "campaigns[0].key: " KEY_RULE},
        {ONE("\"key\":\"k\",\"slot\":\"-h\"," V),
            "campaigns[0].slot: " SLOT_RULE},
        {ONE("\"key\":\"k\",\"slot\":\"a b\"," V),
            "campaigns[0].slot: " SLOT_RULE},
        {ONE("\"key\":\"k\",\"slot\":null," V),
            "campaigns[0].slot: " SLOT_RULE},
        {ONE(BASE "\"priority\":-1," V),
            "campaigns[0].priority: must be a whole number from 0 to 1000"},
        {ONE(BASE "\"priority\":1001," V),
            "campaigns[0].priority: must be a whole number from 0 to 1000"},
        {ONE(BASE "\"priority\":1.0," V),
            "campaigns[0].priority: must be a whole number from 0 to 1000"},
        {ONE(BASE "\"start\":\"2026-11-01T00:00:00Z\"," V),
            "campaigns[0].start: must be null or whole seconds since 1970"},
        {ONE(BASE "\"end\":1.5," V),
            "campaigns[0].end: must be null or whole seconds since 1970"},
        {SET("\"campaigns\":[{" BASE V "},{\"key\":\"z\",\"slot\":\"h\"," V
             "},{" BASE              V "}]"),
            "campaigns[2].key: \"k\" is used by campaigns[0] too"},
    };

    (void) state;

    CHECK(cases);
    check_taken(ONE(BASE V));
    check_taken(ONE(BASE "\"priority\":0,\"start\":null,\"end\":null," V));
    check_taken(ONE(BASE "\"priority\":1000,\"start\":-5,\"end\":9," V));
}


static void
test_variants(void **state)
{
    static const refusal_t cases[] = {
        {VARIANTS(""),
            "campaigns[0].variants: must be a list of 1 to 16 variants"},
        {ONE(BASE "\"variants\":{}"),
            "campaigns[0].variants: must be a list of 1 to 16 variants"},
        {VARIANTS("1"), "campaigns[0].variants[0]: must be an object"},
        {VARIANTS("{\"key\":\"a\",\"weight\":1}"),
            "campaigns[0].variants[0]: \"content\" is missing"},
        {VARIANTS("{\"key\":\"a\",\"content\":\"\"}"),
            "campaigns[0].variants[0]: \"weight\" is missing"},
        {VARIANTS("{\"key\":\"a\",\"weight\":1,\"content\":\"\",\"n\":1}"),
            "campaigns[0].variants[0]: unknown member \"n\", remove it"},
        {VARIANTS("{\"key\":\"a b\",\"weight\":1,\"content\":\"\"}"),
            "campaigns[0].variants[0].key: " KEY_RULE},
        {VARIANTS("{\"key\":\"a\",\"weight\":-0.5,\"content\":\"\"}"),
            "campaigns[0].variants[0].weight: must be a number of 0 or more"},
        {VARIANTS("{\"key\":\"a\",\"weight\":\"1\",\"content\":\"\"}"),
            "campaigns[0].variants[0].weight: must be a number of 0 or more"},
        {VARIANTS("{\"key\":\"a\",\"weight\":0,\"content\":\"\"}"),
            "campaigns[0].variants: all weights are 0, give one a weight"},
        {VARIANTS("{\"key\":\"a\",\"weight\":1e308,\"content\":\"\"},"
                  "{\"key\":\"b\",\"weight\":1e308,\"content\":\"\"}"),
            "campaigns[0].variants: weights are too large, lower them"},
        {VARIANTS("{\"key\":\"a\",\"weight\":1,\"content\":\"\"},"
                  "{\"key\":\"a\",\"weight\":1,\"content\":\"\"}"),
            "campaigns[0].variants[1].key: \"a\" is used twice in this "
            "campaign"},
    };

    (void) state;

    CHECK(cases);
    check_taken(VARIANTS("{\"key\":\"a\",\"weight\":0,\"content\":\"\"},"
                         "{\"key\":\"b\",\"weight\":0.5,\"content\":\"\"}"));
}


static void
test_content(void **state)
{
#define AT                  "campaigns[0].variants[0].content: "
#define FAULT(tag, at, why) AT "\"" tag "\" at byte " at " " why
#define RAW(tag)                                                               \
    FAULT(tag, "0",                                                            \
        "is not escaped: its name must end in \"_html\", or use \"{{\"")
#define DELIMITERS(tag)                                                        \
    FAULT(tag, "0", "must name two delimiters of 1 to 8 bytes, without \"=\"")
#define UNKNOWN(tag, at) FAULT(tag, at, "names no attribute")
    static const refusal_t cases[] = {
        {CONTENT("1"), AT "must be a text"},
        {CONTENT("\"ab{{c\""), AT "\"{{\" at byte 2 is never closed by \"}}\""},
        {CONTENT("\"{{c}\""), AT "\"{{\" at byte 0 is never closed by \"}}\""},
        {CONTENT("\"{{\""), AT "\"{{\" at byte 0 is never closed by \"}}\""},
        {CONTENT("\"{{}\""), AT "\"{{\" at byte 0 is never closed by \"}}\""},
        {CONTENT("\"{{a}}{{#b}}\""),
            AT "section \"b\" at byte 5 is never closed"},
        {CONTENT("\"{{#a}}{{#b}}{{/a}}\""),
            FAULT("{{/a}}", "12", "closes section \"b\" of byte 6")},
        {CONTENT("\"{{}}\""), UNKNOWN("{{}}", "0")},
        {CONTENT("\"{{ }}\""), UNKNOWN("{{ }}", "0")},
        {CONTENT("\"{{/b}}\""), FAULT("{{/b}}", "0", "closes no section")},
        {CONTENT("\"{{^b}}\""), AT "section \"b\" at byte 0 is never closed"},
        {CONTENT("\"{{>b}}\""),
            FAULT("{{>b}}", "0", "is a partial: write it out")},
        {CONTENT("\"{{&b}}\""), RAW("{{&b}}")},
        {CONTENT("\"{{&_html}}\""), RAW("{{&_html}}")},
        {CONTENT("\"{{=|=}}\""), DELIMITERS("{{=|=}}")},
        {CONTENT("\"{{=a b c=}}\""), DELIMITERS("{{=a b c=}}")},
        {CONTENT("\"{{=| 123456789=}}\""), DELIMITERS("{{=| 123456789=}}")},
        {CONTENT("\"{{{b}}}\""), RAW("{{{b}}}")},
        {CONTENT("\"{{{b}}\""),
            AT "\"{{\" at byte 0 is never closed by \"}}}\""},
        {CONTENT("\"{{$b}}\""), UNKNOWN("{{$b}}", "0")},
        {CONTENT("\"{{.b}}\""), UNKNOWN("{{.b}}", "0")},
        {CONTENT("\"{{a b}}\""), UNKNOWN("{{a b}}", "0")},
        {CONTENT("\"{{a{{b}}\""), UNKNOWN("{{a{{b}}", "0")},
        {CONTENT("\"{{a\\u0001b}}\""), UNKNOWN("{{a?b}}", "0")},
    };

    (void) state;

    CHECK(cases);
    check_taken(CONTENT("\"\""));
    check_taken(CONTENT("\"}} { } {x} {{ customer.rfm.segment }} }}\""));
}


static void
test_conditions(void **state)
{
#define W      "campaigns[0].when"
#define KNOWN  ", docs/campaigns.md has the known ones"
#define KNOWN2 ", use $and, $or, $nor, $not or an attribute"
    static const refusal_t cases[] = {
        {WHEN("[]"), W ": must be a condition object"},
        {WHEN("null"), W ": must be a condition object"},
        {WHEN("{\"\":1}"),
            W ": attribute name of 0 bytes, must be of 1 to 255"},
        {WHEN("{\"$xor\":[]}"), W ": unknown operator \"$xor\"" KNOWN2},
        {WHEN("{\"$eq\":1}"), W ": unknown operator \"$eq\"" KNOWN2},
        {WHEN("{\"$and\":{}}"), W ".$and: must be a list of conditions"},
        {WHEN("{\"$or\":1}"), W ".$or: must be a list of conditions"},
        {WHEN("{\"$or\":[{},1]}"), W ".$or[1]: must be a condition object"},
        {WHEN("{\"$not\":[]}"), W ".$not: must be a condition object"},
        {WHEN("{\"$and\":[{\"visitor.new\":{\"$near\":1}}]}"),
            W ".$and[0].visitor.new: unknown operator \"$near\"" KNOWN},
        {WHEN("{\"a\":{\"$ge\":1}}"), W ".a: unknown operator \"$ge\"" KNOWN},
        {WHEN("{\"a\":{\"$le\":1}}"), W ".a: unknown operator \"$le\"" KNOWN},
        {WHEN("{\"a\":{\"$and\":[]}}"),
            W ".a: unknown operator \"$and\"" KNOWN},
        {WHEN("{\"a\":{\"$eq\":{}}}"), W ".a.$eq: " VALUE_RULE},
        {WHEN("{\"a\":{\"$ne\":[]}}"), W ".a.$ne: " VALUE_RULE},
        {WHEN("{\"a\":{\"$in\":\"x\"}}"), W ".a.$in: must be a list"},
        {WHEN("{\"a\":{\"$in\":[1,[]]}}"), W ".a.$in[1]: " VALUE_RULE},
        {WHEN("{\"a\":{\"$gt\":null}}"),
            W ".a.$gt: must be a number or a text"},
        {WHEN("{\"a\":{\"$lt\":true}}"),
            W ".a.$lt: must be a number or a text"},
        {WHEN("{\"a\":{\"$exists\":1}}"),
            W ".a.$exists: must be true or false"},
        {WHEN("{\"a\":{\"$not\":{\"$in\":1}}}"),
            W ".a.$not.$in: must be a list"},
        {WHEN("{\"a\":1,\"a\":2}"),
            "set: line 1, column 76: duplicate object key near '\"a\"'"},
    };

    (void) state;

    CHECK(cases);
    check_taken(WHEN("{}"));
    check_taken(WHEN("{\"a\":{\"$in\":[]},\"$and\":[],\"$or\":[]}"));
}


/* A document built piece by piece; freed by check_limit. */
typedef struct {
    char  *text;
    size_t len;
} doc_t;


static void
add(doc_t *doc, const char *format, ...)
{
    int     n;
    va_list args;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);

    doc->text = realloc(doc->text, doc->len + (size_t) n + 1);
    assert_non_null(doc->text);
    va_start(args, format);
    doc->len += (size_t) vsprintf(doc->text + doc->len, format, args);
    va_end(args);
}


static void
add_times(doc_t *doc, const char *text, unsigned n)
{
    while (n-- > 0) {
        add(doc, "%s", text);
    }
}


static void
check_limit(doc_t *doc, const char *expected)
{
    char               fault[512];
    personalize_set_t *set;

    if (expected == NULL) {
        check_taken(doc->text);
    } else {
        assert_int_equal(compile(doc->text, &set, fault), PERSONALIZE_INVALID);
        assert_string_equal(fault, expected);
    }

    free(doc->text);
    doc->text = NULL;
    doc->len = 0;
}


#define HEAD        "{\"site\":\"s\",\"version\":1,\"campaigns\":["
#define BEFORE_WHEN HEAD "{" BASE V ",\"when\":"
#define AFTER_WHEN  "}]}"


static void
test_name_lengths(void **state)
{
    doc_t    doc = {NULL, 0};
    unsigned n;

    (void) state;

    for (n = PERSONALIZE_NAME_MAX; n <= PERSONALIZE_NAME_MAX + 1; n++) {
        add(&doc, HEAD "{\"slot\":\"h\"," V ",\"key\":\"");
        add_times(&doc, "k", n);
        add(&doc, "\"}]}");
        check_limit(&doc,
            n > PERSONALIZE_NAME_MAX ? "campaigns[0].key: " KEY_RULE : NULL);

        add(&doc, HEAD "{\"key\":\"k\"," V ",\"slot\":\"");
        add_times(&doc, "S", n);
        add(&doc, "\"}]}");
        check_limit(&doc,
            n > PERSONALIZE_NAME_MAX ? "campaigns[0].slot: " SLOT_RULE : NULL);
    }
}


static void
test_path_length(void **state)
{
    doc_t    doc = {NULL, 0};
    unsigned n;

    (void) state;

    for (n = PERSONALIZE_PATH_MAX; n <= PERSONALIZE_PATH_MAX + 1; n++) {
        add(&doc, BEFORE_WHEN "{\"");
        add_times(&doc, "p", n);
        add(&doc, "\":1}" AFTER_WHEN);
        check_limit(
            &doc, n > PERSONALIZE_PATH_MAX ? W
                      ": attribute name of 256 bytes, must be of 1 to 255"
                                           : NULL);
    }
}


static void
test_depth(void **state)
{
    doc_t    doc = {NULL, 0};
    unsigned depth;

    (void) state;

    for (depth = PERSONALIZE_DEPTH_MAX; depth <= PERSONALIZE_DEPTH_MAX + 1;
         depth++) {
        /* conditions in conditions */
        add(&doc, BEFORE_WHEN);
        add_times(&doc, "{\"$and\":[", depth - 1);
        add(&doc, "{\"a\":1}");
        add_times(&doc, "]}", depth - 1);
        add(&doc, AFTER_WHEN);
        check_limit(
            &doc, depth > PERSONALIZE_DEPTH_MAX ? W
                      ".$and[0].$and[0].$and[0].$and[0].$and[0].$and[0].$and[0]"
                      ".$and[0].$and[0].$and[0].$and[0].$and[0].$and[0].$and[0]"
                      ".$and[0].$and[0]: nested more than 16 deep"
                                                : NULL);

        /* $not under a path */
        add(&doc, BEFORE_WHEN "{\"a\":");
        add_times(&doc, "{\"$not\":", depth - 1);
        add(&doc, "1");
        add_times(&doc, "}", depth);
        add(&doc, AFTER_WHEN);
        check_limit(&doc,
            depth > PERSONALIZE_DEPTH_MAX ? W
                ".a.$not.$not.$not.$not.$not.$not.$not.$not.$not.$not.$not"
                ".$not.$not.$not.$not.$not: nested more than 16 deep"
                                          : NULL);
    }
}


static void
test_clauses(void **state)
{
    doc_t    doc = {NULL, 0};
    unsigned n, i;

    (void) state;

    for (n = PERSONALIZE_CLAUSES_MAX; n <= PERSONALIZE_CLAUSES_MAX + 1; n++) {
        /* the last is compiled first, so the first has no room */
        add(&doc, BEFORE_WHEN "{\"$or\":[{\"a\":1}");
        add_times(&doc, ",{\"a\":1}", n - 1);
        add(&doc, "]}" AFTER_WHEN);
        check_limit(&doc, n > PERSONALIZE_CLAUSES_MAX ? W
                              ".$or[0].a: more than 256 clauses, split "
                              "the campaign"
                                                      : NULL);

        add(&doc, BEFORE_WHEN "{\"a0\":0");
        for (i = 1; i < n; i++) {
            add(&doc, ",\"a%u\":0", i);
        }
        add(&doc, "}" AFTER_WHEN);
        check_limit(&doc, n > PERSONALIZE_CLAUSES_MAX ? W
                              ".a0: more than 256 clauses, split the "
                              "campaign"
                                                      : NULL);
    }

    /* operands of $in are no clauses */
    add(&doc, BEFORE_WHEN "{\"a\":{\"$in\":[0");
    for (i = 1; i < 5000; i++) {
        add(&doc, ",%u", i);
    }
    add(&doc, "]}}" AFTER_WHEN);
    check_limit(&doc, NULL);

    /* an object with more members than any sensible condition */
    add(&doc, BEFORE_WHEN "{\"x\":{\"$a0\":0");
    for (i = 1; i < 300; i++) {
        add(&doc, ",\"$a%u\":0", i);
    }
    add(&doc, "}}" AFTER_WHEN);
    check_limit(&doc, W ".x: more than 256 clauses, split the campaign");
}


static void
test_attributes(void **state)
{
    doc_t    doc = {NULL, 0};
    unsigned n, i;

    (void) state;

    for (n = PERSONALIZE_ATTRIBUTES_MAX; n <= PERSONALIZE_ATTRIBUTES_MAX + 1;
         n++) {
        add(&doc, HEAD "{" BASE "\"variants\":[{\"key\":\"a\",\"weight\":1,"
                       "\"content\":\"");
        for (i = 0; i < n; i++) {
            add(&doc, "{{p%u}}{{p0}}", i);
        }
        add(&doc, "\"}]}]}");
        check_limit(&doc, n > PERSONALIZE_ATTRIBUTES_MAX
                              ? "campaigns[0].variants[0].content: attribute "
                                "number 513 of the set, at most 512 distinct "
                                "ones"
                              : NULL);
    }
}


static void
test_sizes(void **state)
{
    char               fault[512];
    char              *text;
    doc_t              doc = {NULL, 0};
    unsigned           n, i;
    personalize_set_t *set;

    (void) state;

    for (n = PERSONALIZE_CONTENT_MAX; n <= PERSONALIZE_CONTENT_MAX + 1; n++) {
        text = malloc(n + 1);
        memset(text, 'x', n);
        text[n] = '\0';
        add(&doc, CONTENT("\"%s\""), text);
        free(text);
        check_limit(&doc, n > PERSONALIZE_CONTENT_MAX
                              ? "campaigns[0].variants[0].content: 65537 "
                                "bytes, at most 65536"
                              : NULL);
    }

    for (n = 16; n <= 17; n++) {
        add(&doc, HEAD "{" BASE "\"variants\":[");
        for (i = 0; i < n; i++) {
            add(&doc, "%s{\"key\":\"v%u\",\"weight\":1,\"content\":\"\"}",
                i > 0 ? "," : "", i);
        }
        add(&doc, "]}]}");
        check_limit(&doc,
            n > 16 ? "campaigns[0].variants: must be a list of 1 to 16 variants"
                   : NULL);
    }

    text = malloc(PERSONALIZE_SET_BYTES_MAX + 1);
    memset(text, ' ', PERSONALIZE_SET_BYTES_MAX + 1);
    memcpy(text, SET("\"campaigns\":[]"), strlen(SET("\"campaigns\":[]")));
    assert_int_equal(personalize_set_compile(&set, text,
                         PERSONALIZE_SET_BYTES_MAX, fault, sizeof(fault)),
        PERSONALIZE_OK);
    personalize_set_free(set);
    assert_int_equal(personalize_set_compile(&set, text,
                         PERSONALIZE_SET_BYTES_MAX + 1, fault, sizeof(fault)),
        PERSONALIZE_INVALID);
    assert_string_equal(fault, "set: 16777217 bytes, at most 16777216");
    free(text);
}


static void
test_campaigns_count(void **state)
{
    char               fault[512];
    char              *text, *p;
    unsigned           n, i;
    personalize_set_t *set;

    (void) state;

    text = malloc(4 << 20);

    for (n = PERSONALIZE_CAMPAIGNS_MAX; n <= PERSONALIZE_CAMPAIGNS_MAX + 1; n++)
    {
        p = text + sprintf(text, HEAD);
        for (i = 0; i < n; i++) {
            p += sprintf(p, "%s{\"key\":\"k%u\",\"slot\":\"s%u\"," V "}",
                i > 0 ? "," : "", i, i % 5000);
        }
        strcpy(p, "]}");

        if (n > PERSONALIZE_CAMPAIGNS_MAX) {
            assert_int_equal(compile(text, &set, fault), PERSONALIZE_INVALID);
            assert_string_equal(
                fault, "campaigns: 10001 campaigns, at most 10000");
        } else {
            assert_int_equal(compile(text, &set, fault), PERSONALIZE_OK);
            assert_int_equal(
                personalize_set_campaigns(set), PERSONALIZE_CAMPAIGNS_MAX);
            personalize_set_free(set);
        }
    }

    free(text);
}


static void
test_what_a_set_tells(void **state)
{
    char               fault[512];
    unsigned           n;
    personalize_set_t *set;
    personalize_str_t  path;

    (void) state;

    assert_int_equal(
        compile("{\"site\":\"s\",\"version\":9223372036854775807,"
                "\"campaigns\":[{" BASE "\"when\":{\"$and\":[{\"a\":1},"
                "{\"b.c\":{\"$gt\":2,\"$lt\":7}},{\"a\":3}]},\"variants\":["
                "{\"key\":\"a\",\"weight\":1,\"content\":\"{{d}}{{a}}\"}]}]}",
            &set, fault),
        PERSONALIZE_OK);
    assert_true(personalize_set_version(set) == INT64_MAX);
    assert_int_equal(personalize_set_campaigns(set), 1);
    assert_int_equal(personalize_set_attributes(set), 3);

    for (n = 0; n < 4; n++) {
        path = personalize_set_attribute(set, n);
        if (n == 3) {
            assert_int_equal(path.len, 0);
        } else {
            assert_true((path.len == 1 && memchr("ad", path.data[0], 2))
                        || (path.len == 3 && !memcmp(path.data, "b.c", 3)));
        }
    }

    personalize_set_free(set);
    personalize_set_free(NULL);
}


/* A fault never passes the end of its buffer, and is always a text. */
static void
test_short_fault_buffers(void **state)
{
    char              *fault;
    size_t             size;
    const char        *json = WHEN("{\"a\":{\"$ge\":1}}");
    personalize_set_t *set;

    (void) state;

    assert_int_equal(personalize_set_compile(&set, json, strlen(json), NULL, 0),
        PERSONALIZE_INVALID);

    for (size = 1; size < 100; size++) {
        fault = malloc(size);
        assert_int_equal(
            personalize_set_compile(&set, json, strlen(json), fault, size),
            PERSONALIZE_INVALID);
        assert_non_null(memchr(fault, '\0', size));
        free(fault);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_campaign),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_name_lengths),
        cmocka_unit_test(test_path_length),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_clauses),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_campaigns_count),
        cmocka_unit_test(test_what_a_set_tells),
        cmocka_unit_test(test_short_fault_buffers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
