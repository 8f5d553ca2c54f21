/*
 * test_consent.c - forms of consent, and what is cut without it.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>


static tracker_str_t
str(const char *text)
{
    tracker_str_t s = {text, strlen(text)};

    return s;
}


static unsigned
fits(const char *test, const char *value)
{
    char                   buf[512];
    tracker_str_t          text;
    tracker_consent_test_t parsed;

    assert_int_equal(tracker_consent_test(&parsed, str(test)), TRACKER_OK);
    text.len = tracker_unescape(buf, sizeof(buf), str(value));
    text.data = buf;

    return tracker_consent_fits(&parsed, text);
}


static void
test_words(void **state)
{
    (void) state;
    assert_true(fits("yes", "yes"));
    assert_false(fits("yes", "yes!"));
    assert_false(fits("yes", "ye"));
    assert_false(fits("yes", ""));
    assert_true(fits("a b", "a%20b"));
}


static void
test_contained(void **state)
{
    (void) state;
    assert_true(fits("~measure:1", "measure:1,personalize:0"));
    assert_true(fits("~measure:1", "measure%3A1%2Cpersonalize%3A0"));
    assert_false(fits("~measure:1", "measure:10"));
    assert_false(fits("~measure:1", "no-measure:1"));
    assert_true(fits("~ads", "no-ads,ads"));
    assert_false(fits("~ads", "no-ads"));
    assert_false(fits("~ads", "ads_off"));
    assert_false(fits("~ads", "loads"));
    assert_true(fits("~\"analytics\":true", "{\"analytics\":true,\"x\":1}"));
    assert_false(fits("~\"analytics\":true", "{\"analytics\":truely}"));
    assert_true(fits("~C0002:1", "groups=C0001%3A1%2CC0002%3A1"));
    assert_false(fits("~C0002:1", "groups=C0001%3A1%2CC0002%3A0"));
    /* a text that begins with no letter begins a word anywhere */
    assert_true(fits("~:yes", "ads:yes"));
}


static void
test_tcf(void **state)
{
    /* version 2, purposes 1, 3 and 24 (bits 152, 154 and 175) */
    char     text[40];
    unsigned purpose;

    (void) state;
    memset(text, 'A', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    text[0] = 'C';
    /* bits 150-155 are digit 25: 0b001010; bits 174-179 digit 29: 0b010000 */
    text[25] = 'K';
    text[29] = 'Q';

    for (purpose = 1; purpose <= 24; purpose++) {
        char test[8];

        (void) snprintf(test, sizeof(test), "tcf:%u", purpose);
        assert_int_equal(
            fits(test, text), purpose == 1 || purpose == 3 || purpose == 24);
    }

    text[0] = 'B'; /* version 1 has another layout */
    assert_false(fits("tcf:1", text));
    text[0] = 'C';
    text[10] = '*';
    assert_false(fits("tcf:1", text));
    assert_false(fits("tcf:1", "CAAA"));
}


static void
test_bad_tests(void **state)
{
    size_t                 i;
    tracker_consent_test_t test;
    static const char     *bad[] = {
            "", "~", "tcf:0", "tcf:25", "tcf:x", "tcf:1x", "tcf:001"};

    (void) state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            tracker_consent_test(&test, str(bad[i])), TRACKER_INVALID);
    }
}


static void
test_unescape(void **state)
{
    char buf[4];

    (void) state;
    assert_int_equal(tracker_unescape(buf, sizeof(buf), str("a%2cb%")), 4);
    assert_memory_equal(buf, "a,b%", 4);
    assert_int_equal(tracker_unescape(buf, sizeof(buf), str("%zz%4%41")), 4);
    assert_memory_equal(buf, "%zz%", 4);
    assert_int_equal(tracker_unescape(buf, sizeof(buf), str("")), 0);
}


static void
test_address(void **state)
{
    uint8_t v4[4] = {192, 0, 2, 255};
    uint8_t v6[16];

    (void) state;
    tracker_address_cut(v4, 4, 32);
    assert_int_equal(v4[3], 255);
    tracker_address_cut(v4, 4, 25);
    assert_int_equal(v4[3], 128);
    tracker_address_cut(v4, 4, 24);
    assert_int_equal(v4[3], 0);
    assert_int_equal(v4[2], 2);
    tracker_address_cut(v4, 4, 0);
    assert_memory_equal(v4, "\0\0\0\0", 4);

    memset(v6, 0xff, sizeof(v6));
    tracker_address_cut(v6, 16, 48);
    assert_memory_equal(v6, "\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0", 16);
}


static void
origin_is(const char *url, const char *want)
{
    tracker_str_t origin = tracker_url_origin(str(url));

    assert_int_equal(origin.len, strlen(want));
    assert_memory_equal(origin.len > 0 ? origin.data : "", want, origin.len);
}


static void
test_origin(void **state)
{
    (void) state;
    origin_is("https://a.example/b?c#d", "https://a.example");
    origin_is("https://a.example:8443?c", "https://a.example:8443");
    origin_is("http://a.example", "http://a.example");
    origin_is("https://ann:pass@a.example/", "");
    origin_is("android-app://com.example\\x", "android-app://com.example");
    origin_is("nonsense", "");
    origin_is("", "");
    origin_is("://x", "");
}


static void
class_is(const char *agent, const char *want)
{
    tracker_str_t name = tracker_agent_class(str(agent));

    assert_int_equal(name.len, strlen(want));
    assert_memory_equal(name.len > 0 ? name.data : "", want, name.len);
}


static void
test_agent(void **state)
{
    (void) state;
    class_is("Mozilla/5.0 (X11; Linux x86_64)", "desktop");
    class_is("Mozilla/5.0 (iPhone) Mobile/15E148", "mobile");
    class_is("Mozilla/5.0 (Linux; Android 14; SM-X700)", "tablet");
    class_is("Googlebot/2.1", "bot");
    class_is("", "");
}


static void
test_language(void **state)
{
    (void) state;
    assert_int_equal(tracker_language(str("de-DE,de;q=0.5")).len, 2);
    assert_int_equal(tracker_language(str("fil")).len, 3);
    assert_int_equal(tracker_language(str("canary-token")).len, 0);
    assert_int_equal(tracker_language(str("x")).len, 0);
    assert_int_equal(tracker_language(str("")).len, 0);
    assert_int_equal(tracker_language(str("*")).len, 0);
}


static void
hidden_is(const char *query, const char *want)
{
    char                buf[256];
    size_t              len;
    const tracker_str_t names[] = {str("email"), str("tel_no")};

    len = tracker_query_hide(buf, str(query), names, 2);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(len > 0 ? buf : "", want, len);
}


static void
test_query(void **state)
{
    (void) state;
    hidden_is("", "");
    hidden_is("a=1&b=2", "a=1&b=2");
    hidden_is("email=ann@x.example&b=2", "email=&b=2");
    hidden_is("b=2;EMail=ann", "b=2;EMail=");
    hidden_is("%65m%61il=ann&tel%5fno=1", "%65m%61il=&tel%5fno=");
    hidden_is("emails=a&xemail=b&email", "emails=a&xemail=b&email");
    hidden_is("https://x.example/p?email=a#tel_no=5",
        "https://x.example/p?email=#tel_no=");
    hidden_is("email=&&=&", "email=&&=&");
}


static void
test_mac(void **state)
{
    static const char keys_text[] = "7 000102030405060708090a0b0c0d0e0f"
                                    "101112131415161718191a1b1c1d1e1f\n";
    uint8_t           one[TRACKER_MAC_SIZE], two[TRACKER_MAC_SIZE];
    unsigned          line;
    tracker_keys_t    keys;
    tracker_str_t     ab[] = {str("a"), str("bc")};
    tracker_str_t     abc[] = {str("ab"), str("c")};

    (void) state;
    assert_int_equal(
        tracker_keys_parse(&keys, keys_text, sizeof(keys_text) - 1, &line),
        TRACKER_OK);

    tracker_mac(&keys.keys[0], "property", ab, 2, one);
    tracker_mac(&keys.keys[0], "property", ab, 2, two);
    assert_memory_equal(one, two, sizeof(one));
    tracker_mac(&keys.keys[0], "property", abc, 2, two);
    assert_memory_not_equal(one, two, sizeof(one));
    tracker_mac(&keys.keys[0], "link", ab, 2, two);
    assert_memory_not_equal(one, two, sizeof(one));
    tracker_mac(&keys.keys[0], "property", ab, 1, two);
    assert_memory_not_equal(one, two, sizeof(one));
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_contained),
        cmocka_unit_test(test_tcf),
        cmocka_unit_test(test_bad_tests),
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_agent),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_mac),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
