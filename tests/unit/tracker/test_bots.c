/*
 * test_bots.c - lists of robots, of verified addresses, and the label.
 */

#include "tracker/tracker.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define BROWSER                                                                \
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, "    \
    "like Gecko) Chrome/126.0.0.0 Safari/537.36"


static tracker_bots_t *
bots_of(const char *text)
{
    unsigned        line;
    tracker_bots_t *bots;

    assert_int_equal(
        tracker_bots_compile(&bots, text, strlen(text), &line), TRACKER_OK);

    return bots;
}


/* The name found, or NULL; lives in a static buffer. */
static const char *
found(const tracker_bots_t *bots, const char *agent)
{
    static char   name[TRACKER_BOT_NAME + 1];
    tracker_str_t text = {agent, strlen(agent)};
    tracker_bot_t bot;

    if (tracker_bots_find(bots, text, &bot) != TRACKER_OK) {
        return NULL;
    }

    assert_true(bot.name.len > 0 && bot.name.len <= TRACKER_BOT_NAME);
    memcpy(name, bot.name.data, bot.name.len);
    name[bot.name.len] = '\0';

    return name;
}


static void
test_literals(void **state)
{
    tracker_bots_t *bots;

    (void) state;
    bots = bots_of("# comment\n\nGooglebot\tsearch-engine\tGooglebot\r\n"
                   "[wW]get\thttp-library\n"
                   "x\\/y\nhers\nshe\nhe\n");

    assert_int_equal(tracker_bots_count(bots), 6);
    assert_string_equal(found(bots, "x GOOGLEBOT/2.1"), "Googlebot");
    assert_string_equal(found(bots, "Wget/1.21"), "Wget");
    assert_string_equal(found(bots, "a X/Y b"), "X");
    assert_null(found(bots, BROWSER));
    assert_null(found(bots, ""));

    /* literals within literals: the first line of the file wins */
    assert_string_equal(found(bots, "ushers"), "ushers");
    assert_string_equal(found(bots, "the"), "the");
    tracker_bots_free(bots);
}


static void
test_expressions(void **state)
{
    tracker_bots_t *bots;

    (void) state;
    bots = bots_of("(?<! cu)bots?(?:\\b|_)\tother\n"
                   "^curl\thttp-library\tcurl\n"
                   "colou?red\tother\n"
                   "a{2}bcd\tother\n"
                   "Ads-Google([^-]|$)\tadvertising\tAds\n"
                   "one crawler|two crawler$\tother\tTwo\n"
                   "^\\w+/\\d$\tother\n"
                   "(?i)flags\tother\tFlags\n"
                   "[[:digit:]]{9}\tother\tDigits\n");

    assert_string_equal(found(bots, "Foobot/1"), "Foobot");
    assert_string_equal(found(bots, "x (ExampleBot; +x)"), "ExampleBot");
    assert_null(found(bots, "Mozilla/5.0 (Linux; Android 14; CUBOT CUBOT X)"));
    assert_string_equal(found(bots, "curl/8"), "curl");
    assert_null(found(bots, "libcurl"));
    assert_non_null(found(bots, "x colored y"));
    assert_non_null(found(bots, "x coloured y"));
    assert_non_null(found(bots, "aabcd x"));
    assert_null(found(bots, "xabcd x"));
    assert_string_equal(found(bots, "Ads-Google"), "Ads");
    assert_null(found(bots, "Ads-Google-Mobile"));
    assert_string_equal(found(bots, "one crawler x"), "Two");
    assert_null(found(bots, "two crawler x"));
    assert_string_equal(found(bots, "Thing/1"), "Thing");
    assert_string_equal(found(bots, "x y flags"), "Flags");
    assert_string_equal(found(bots, "x 123456789 y"), "Digits");
    assert_null(found(bots, BROWSER));
    tracker_bots_free(bots);
}


static void
test_faults(void **state)
{
    size_t          i;
    unsigned        line;
    tracker_bots_t *bots;

    static const struct {
        const char *text;
        unsigned    line;
    } bad[] = {
        {"", 0},
        {"# nothing\n", 0},
        {"good\n(unclosed\n", 2},
        {"good\tno-such-kind\n", 1},
        {"good\n\nx|\n", 3},
        {"good\tother\tabcdefghijklmnopqrstuvwxyz0123456789\n", 1},
        {"[\\w-\\d.]\n", 1},
    };

    (void) state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tracker_bots_compile(
                             &bots, bad[i].text, strlen(bad[i].text), &line),
            TRACKER_INVALID);
        assert_int_equal(line, bad[i].line);
    }
}


/* The list that is shipped: real robots and real browsers. */
static void
test_shipped(void **state)
{
    char           *text;
    FILE           *file;
    size_t          n, i;
    unsigned        line;
    tracker_bots_t *bots;

    static const char *const robots[][2] = {
        {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/"
         "bot.html)",
            "Googlebot"},
        {"Mozilla/5.0 (compatible; bingbot/2.0; "
         "+http://www.bing.com/bingbot.htm)",
            "bingbot"},
        {"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; "
         "GPTBot/1.2; +https://openai.com/gptbot)",
            "GPTBot"},
        {"facebookexternalhit/1.1", "facebookexternalhit"},
        {"python-requests/2.31.0", "python-requests"},
        {"Mozilla/5.0 (compatible; SomethingNewBot/1.0)", "SomethingNewBot"},
        {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
         "Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
            "HeadlessChrome"},
    };
    static const char *const browsers[] = {BROWSER,
        "Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 40) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
        "AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/320.0 Mobile/15E148 "
        "Safari/604.1",
        "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) "
        "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 "
        "Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.40.83;]",
        "Opera/9.80 (Android; Opera Mini/36.2/191.249; U; en) Presto/2.12.423 "
        "Version/12.16"};

    (void) state;
    text = malloc(TRACKER_BOTS_BYTES_MAX);
    file = fopen("tracker/bots.list", "r");
    assert_non_null(text);
    assert_non_null(file);
    n = fread(text, 1, TRACKER_BOTS_BYTES_MAX, file);
    (void) fclose(file);

    assert_int_equal(tracker_bots_compile(&bots, text, n, &line), TRACKER_OK);
    free(text);

    for (i = 0; i < sizeof(robots) / sizeof(robots[0]); i++) {
        assert_string_equal(found(bots, robots[i][0]), robots[i][1]);
    }

    for (i = 0; i < sizeof(browsers) / sizeof(browsers[0]); i++) {
        assert_null(found(bots, browsers[i]));
    }

    tracker_bots_free(bots);
}


static tracker_result_e
check(const tracker_ranges_t *ranges, const char *name, const char *address)
{
    uint8_t       bytes[16];
    tracker_str_t text = {name, strlen(name)};

    memset(bytes, 0, sizeof(bytes));

    if (inet_pton(AF_INET6, address, bytes) != 1) {
        bytes[10] = bytes[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, address, bytes + 12), 1);
    }

    return tracker_ranges_check(ranges, text, bytes);
}


static void
test_ranges(void **state)
{
    size_t            i;
    unsigned          line;
    tracker_ranges_t *ranges;

    static const char text[] =
        "# published by the operators\n"
        "Googlebot 66.249.64.0/19\n"
        "googlebot 66.249.79.0/24 # within the one above\n"
        "Googlebot 2001:4860:4801::/48\r\n"
        "bingbot 157.55.39.7\n"
        "Two Words 192.0.2.0/24\n";
    static const char *const bad[] = {"x", "x y", "x 1.2.3.4/33", "x ::/129",
        "x 1.2.3.4/", "x 1.2.3.4/a", " 1.2.3.4",
        "abcdefghijklmnopqrstuvwxyz0123456789 1.2.3.4"};

    (void) state;
    assert_int_equal(
        tracker_ranges_compile(&ranges, text, sizeof(text) - 1, &line),
        TRACKER_OK);

    assert_int_equal(check(ranges, "Googlebot", "66.249.64.0"), TRACKER_OK);
    assert_int_equal(check(ranges, "GOOGLEBOT", "66.249.95.255"), TRACKER_OK);
    assert_int_equal(check(ranges, "Googlebot", "66.249.79.9"), TRACKER_OK);
    assert_int_equal(
        check(ranges, "Googlebot", "66.249.96.0"), TRACKER_INVALID);
    assert_int_equal(
        check(ranges, "Googlebot", "66.249.63.255"), TRACKER_INVALID);
    assert_int_equal(
        check(ranges, "Googlebot", "2001:4860:4801:1::1"), TRACKER_OK);
    assert_int_equal(
        check(ranges, "Googlebot", "2001:4860:4802::1"), TRACKER_INVALID);
    assert_int_equal(check(ranges, "bingbot", "157.55.39.7"), TRACKER_OK);
    assert_int_equal(check(ranges, "bingbot", "157.55.39.8"), TRACKER_INVALID);
    assert_int_equal(check(ranges, "Two Words", "192.0.2.9"), TRACKER_OK);
    assert_int_equal(check(ranges, "Yeti", "192.0.2.9"), TRACKER_DECLINED);
    assert_int_equal(check(ranges, "", "192.0.2.9"), TRACKER_DECLINED);
    tracker_ranges_free(ranges);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(
            tracker_ranges_compile(&ranges, bad[i], strlen(bad[i]), &line),
            TRACKER_INVALID);
        assert_int_equal(line, 1);
    }

    assert_int_equal(tracker_ranges_compile(&ranges, "", 0, &line), TRACKER_OK);
    assert_int_equal(check(ranges, "bingbot", "::1"), TRACKER_DECLINED);
    tracker_ranges_free(ranges);
}


#define is_member(enrich, name, text)                                          \
    do {                                                                       \
        tracker_str_t found_text = tracker_enrich_find(enrich, name);          \
        assert_int_equal(found_text.len, strlen(text));                        \
        assert_memory_equal(found_text.data, text, strlen(text));              \
    } while (0)

#define STR(text)                                                              \
    (tracker_str_t)                                                            \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }


static void
test_enrich(void **state)
{
    tracker_bot_t    bot;
    tracker_agent_t  agent;
    tracker_place_t  place;
    tracker_enrich_t enrich;

    (void) state;
    memset(&place, 0, sizeof(place));
    tracker_agent_read(&agent, STR(BROWSER), NULL);
    place.country = STR("GB");
    place.region = STR("ENG");
    place.city = STR("Lon\"do\\n");
    place.as_name = STR("Example");
    place.asn = 1234;

    tracker_enrich_write(&enrich, &place, &agent, NULL);
    assert_int_equal(enrich.known, 1);
    assert_int_equal(enrich.bot, 0);
    assert_int_equal(enrich.device, TRACKER_DEVICE_DESKTOP);

    static const char all[] =
        ",\"device\":\"desktop\",\"browser\":\"Chrome\",\"browser_version\":"
        "\"126\",\"os\":\"Windows\",\"os_version\":\"10\",\"geo\":{\"country\":"
        "\"GB\",\"region\":\"ENG\",\"city\":\"Lon do n\",\"asn\":1234,\"as\":"
        "\"Example\"}";
    assert_int_equal(enrich.len, sizeof(all) - 1);
    assert_memory_equal(enrich.text, all, sizeof(all) - 1);
    is_member(&enrich, "country", "GB");
    is_member(&enrich, "browser", "Chrome");
    is_member(&enrich, "as", "Example");
    is_member(&enrich, "name", "");

    bot.name = STR("Googlebot");
    bot.kind = TRACKER_BOT_SEARCH_ENGINE;
    bot.reason = "agent";
    memset(&place, 0, sizeof(place));
    memset(&agent, 0, sizeof(agent));
    tracker_enrich_write(&enrich, &place, &agent, &bot);

    static const char robot[] =
        ",\"bot\":{\"name\":\"Googlebot\",\"kind\":\"search-engine\","
        "\"reason\":\"agent\"},\"device\":\"bot\"";
    assert_int_equal(enrich.len, sizeof(robot) - 1);
    assert_memory_equal(enrich.text, robot, sizeof(robot) - 1);
    is_member(&enrich, "name", "Googlebot");
}


/* The longest of everything fits, or is left out whole. */
static void
test_enrich_long(void **state)
{
    char             text[300];
    size_t           len;
    tracker_bot_t    bot;
    tracker_agent_t  agent;
    tracker_place_t  place;
    tracker_enrich_t enrich;

    (void) state;
    tracker_agent_read(&agent, STR(BROWSER), NULL);
    memcpy(agent.os_version, "1234567", 8);

    for (len = 0; len <= sizeof(text); len++) {
        memset(text, 'x', sizeof(text));
        memset(&place, 0, sizeof(place));
        place.city = (tracker_str_t){text, len};
        place.region = place.as_name = place.country = place.city;
        place.asn = UINT32_MAX;
        bot.name = place.city;
        bot.kind = TRACKER_BOT_BROWSER_AUTOMATION;
        bot.reason = "behaviour:no_cookie";

        tracker_enrich_write(&enrich, &place, &agent, &bot);
        assert_true(enrich.len <= sizeof(enrich.text));
        assert_int_equal(enrich.text[enrich.len - 1], '}');
    }

    /* no text in UTF-8: not kept */
    place.city = STR("\xff\xfe");
    tracker_enrich_write(&enrich, &place, &agent, NULL);
    is_member(&enrich, "city", "");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_enrich),
        cmocka_unit_test(test_enrich_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
