/*
 * test_render.c - content with attributes put in, escaped, at every size.
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
    personalize_set_t     *set;
    char                   blob[4096];
    size_t                 len;
    personalize_request_t  request;
    personalize_decision_t decision;
} visit_t;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    visit_t *visit = ctx;

    personalize_profile_get(visit->blob, visit->len,
        personalize_set_attribute(visit->set, n), value);
}


/* Content as the inside of a JSON string. */
static void
prepare(visit_t *visit, const char *content, const char *profile)
{
    char              json[2048], fault[256];
    personalize_str_t slot = {"h", 1};

    snprintf(json, sizeof(json),
        "{\"site\":\"s\",\"version\":1,\"campaigns\":[{\"key\":\"k\",\"slot\":"
        "\"h\",\"variants\":[{\"key\":\"a\",\"weight\":1,\"content\":\"%s\""
        "}]}]}",
        content);

    if (personalize_set_compile(
            &visit->set, json, strlen(json), fault, sizeof(fault))
        != PERSONALIZE_OK)
    {
        fail_msg("%s", fault);
    }

    assert_int_equal(personalize_profile_pack(profile, strlen(profile),
                         visit->blob, sizeof(visit->blob), &visit->len),
        PERSONALIZE_OK);
    memset(&visit->request, 0, sizeof(visit->request));
    visit->request.get = get;
    visit->request.ctx = visit;
    assert_int_equal(
        personalize_decide(visit->set, slot, &visit->request, &visit->decision),
        PERSONALIZE_OK);
}


static void
check(const char *content, const char *profile, const char *expected)
{
    char   *buf;
    size_t  size, need, len = strlen(expected);
    visit_t visit;

    prepare(&visit, content, profile);

    for (size = 0; size <= len + 1; size++) {
        buf = malloc(size > 0 ? size : 1);
        assert_int_equal(personalize_render(
                             &visit.decision, &visit.request, buf, size, &need),
            size < len ? PERSONALIZE_FULL : PERSONALIZE_OK);
        assert_int_equal(need, len);
        if (size >= len) {
            assert_memory_equal(buf, expected, len);
        }
        free(buf);
    }

    personalize_set_free(visit.set);
}


static void
test_literals(void **state)
{
    (void) state;

    check("", "{}", "");
    check("<p>Hi & bye</p>", "{}", "<p>Hi & bye</p>");
    check("{ } }} {x}", "{}", "{ } }} {x}");
}


static void
test_attributes(void **state)
{
    (void) state;

    check("a{{x}}b", "{\"x\":\"-\"}", "a-b");
    check("{{x}}{{ x }}{{\\tx\\n}}", "{\"x\":\"1\"}", "111");
    check("{{a.b.c}}", "{\"a\":{\"b\":{\"c\":\"deep\"}}}", "deep");
    check("[{{x}}]", "{}", "[]");
    check("[{{x}}]", "{\"x\":null}", "[]");
    check("{{x}}", "{\"x\":true}", "true");
    check("{{x}}", "{\"x\":false}", "false");
    check("{{x}}", "{\"x\":12}", "12");
    check("{{x}}", "{\"x\":-0.5}", "-0.5");
    check("{{x}}", "{\"x\":[]}", "");
    check("{{x}}", "{\"x\":[\"a\"]}", "a");
    check("{{x}}", "{\"x\":[\"a\",2,\"<\"]}", "a, 2, &lt;");
    check("{{x}}}", "{\"x\":\"a\"}", "a}");
}


static void
test_escapes(void **state)
{
    (void) state;

    check("{{x}}", "{\"x\":\"&<>\\\"'\"}", "&amp;&lt;&gt;&quot;&#39;");
    check("{{x}}", "{\"x\":\"a<b\"}", "a&lt;b");
    check("{{x}}", "{\"x\":\"<script>alert('1')</script>\"}",
        "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;");
    check("{{x}}", "{\"x\":\"\\u00fc{{y}}\",\"y\":1}", "\xc3\xbc{{y}}");
}


static void
test_sections(void **state)
{
    (void) state;

    check("{{#x}}a{{/x}}{{^x}}b{{/x}}", "{\"x\":0}", "b");
    check("{{#x}}a{{/x}}{{^x}}b{{/x}}", "{\"x\":\"\"}", "b");
    check("{{#x}}a{{.}}{{/x}}", "{\"x\":\"<\"}", "a&lt;");
    check("{{#c.l}}{{n}}{{#m}}({{.}}{{n}}){{/m}};{{/c.l}}",
        "{\"c\":{\"l\":[{\"n\":1,\"m\":[\"a\",\"b\"]},{\"n\":2},null,3]}}",
        "1(a1)(b1);2;;;");
    check("{{#l}}{{x.y}}{{/l}}",
        "{\"l\":[{\"x\":{\"y\":1}},{\"x\":{}},{}],\"x\":{\"y\":\"out\"}}",
        "1out");
}


/* What is not escaped comes from the warehouse, and is named so. */
static void
test_raw(void **state)
{
    (void) state;

    check(
        "{{{customer.a_html}}}", "{\"customer\":{\"a_html\":\"<b>\"}}", "<b>");
    check("{{&customer.a_html}}", "{\"customer\":{\"a_html\":\"<b>\"}}", "<b>");
    check("{{customer.a_html}}", "{\"customer\":{\"a_html\":\"<b>\"}}",
        "&lt;b&gt;");
    check("{{#customer.l}}{{{a_html}}}{{/customer.l}}",
        "{\"customer\":{\"l\":[{\"a_html\":\"<b>\"}]}}", "<b>");
    check("{{#customer.l}}{{{page.query.a_html}}}{{/customer.l}}",
        "{\"customer\":{\"l\":[1]},\"page\":{\"query\":{\"a_html\":\"<\"}}}",
        "&lt;");
    check("{{{page.query.a_html}}}",
        "{\"page\":{\"query\":{\"a_html\":\"<\"}}}", "&lt;");
    check("{{{customers_html}}}", "{\"customers_html\":\"<\"}", "&lt;");
}


/* Lists in lists end before they cost anything. */
static void
test_steps(void **state)
{
    size_t  len;
    char    buf[16];
    visit_t visit;

    (void) state;

    prepare(&visit,
        "{{#a}}{{#a}}{{#a}}{{#a}}{{#a}}x{{/a}}{{/a}}{{/a}}{{/a}}{{/a}}",
        "{\"a\":[1,2,3,4,5,6,7,8,9,10]}");
    assert_int_equal(personalize_render(&visit.decision, &visit.request, buf,
                         sizeof(buf), &len),
        PERSONALIZE_DECLINED);
    personalize_set_free(visit.set);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
