/*
 * test_agent.c - device, browser and system of user agents and client hints.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>


#define CHROME " AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"

typedef struct {
    const char *ua;
    const char *device;
    const char *browser;
    unsigned    version;
    const char *os;
    const char *os_version;
} known_t;

static const known_t known[] = {
    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" CHROME " Safari/537.36",
        "desktop", "Chrome", 126, "Windows", "10"},
    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" CHROME
     " Safari/537.36 Edg/126.0.2592.87",
        "desktop", "Edge", 126, "Windows", "10"},
    {"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "desktop", "Internet Explorer", 11, "Windows", "7"},
    {"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0)",
        "desktop", "Internet Explorer", 8, "Windows", "XP"},
    {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "desktop", "Safari", 17, "macOS", "10.15"},
    {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 "
     "Firefox/127.0",
        "desktop", "Firefox", 127, "macOS", "10.15"},
    {"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        "desktop", "Firefox", 127, "Linux", ""},
    {"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)" CHROME " Safari/537.36",
        "desktop", "Chrome", 126, "ChromeOS", ""},
    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" CHROME
     " Safari/537.36 OPR/112.0.0.0",
        "desktop", "Opera", 112, "Windows", "10"},
    {"Mozilla/5.0 (Linux; Android 14; Pixel 8)" CHROME " Mobile Safari/537.36",
        "mobile", "Chrome", 126, "Android", "14"},
    {"Mozilla/5.0 (Linux; Android 13; SM-X700)" CHROME " Safari/537.36",
        "tablet", "Chrome", 126, "Android", "13"},
    {"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 "
     "(KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile "
     "Safari/537.36",
        "mobile", "Samsung Internet", 25, "Android", "14"},
    {"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
        "mobile", "Firefox", 127, "Android", "14"},
    {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) "
     "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 "
     "Safari/604.1",
        "mobile", "Safari", 17, "iOS", "17.5"},
    {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
     "AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.35 "
     "Mobile/15E148 Safari/604.1",
        "mobile", "Chrome", 126, "iOS", "17.5"},
    {"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
        "tablet", "Safari", 16, "iPadOS", "16.6"},
    {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
     "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram "
     "337.0.3.23.109 (iPhone14,5; iOS 17_5)",
        "mobile", "Instagram", 337, "iOS", "17.5"},
    {"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, "
     "like Gecko) 85.0.4183.93/6.0 TV Safari/537.36",
        "tv", "Safari", 0, "Tizen", "6"},
    {"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like "
     "Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager",
        "tv", "Chrome", 87, "webOS", ""},
    {"Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7233) AppleWebKit/537.36 "
     "(KHTML, like Gecko) Silk/98.6.10 like Chrome/98.0 Safari/537.36",
        "tv", "Silk", 98, "Android", "9"},
    {"Mozilla/5.0 (PlayStation; PlayStation 5/4.03) AppleWebKit/605.1.15 "
     "(KHTML, like Gecko) Version/13.0 Safari/605.1.15",
        "console", "Safari", 13, "PlayStation", ""},
    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) "
     "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0 Safari/537.36 "
     "Edge/44.18363.8131",
        "console", "Edge", 44, "Xbox", ""},
    {"curl/8.5.0", "unknown", "", 0, "", ""},
    {"", "unknown", "", 0, "", ""},
};


static tracker_agent_t
agent_of(const char *ua, const tracker_hints_t *hints)
{
    tracker_str_t   text = {ua, strlen(ua)};
    tracker_agent_t agent;

    tracker_agent_read(&agent, text, hints);

    return agent;
}


static void
test_known(void **state)
{
    size_t          i;
    tracker_agent_t agent;

    (void) state;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        agent = agent_of(known[i].ua, NULL);
        assert_string_equal(tracker_device_text(agent.device), known[i].device);
        assert_string_equal(
            tracker_browser_text(agent.browser), known[i].browser);
        assert_int_equal(agent.browser_version, known[i].version);
        assert_string_equal(tracker_os_text(agent.os), known[i].os);
        assert_string_equal(agent.os_version, known[i].os_version);
    }
}


static void
test_hints(void **state)
{
    tracker_agent_t agent;
    tracker_hints_t hints;

    (void) state;
    memset(&hints, 0, sizeof(hints));
    hints.mobile = (tracker_str_t){"?0", 2};
    hints.platform = (tracker_str_t){"\"Windows\"", 9};
    hints.platform_version = (tracker_str_t){"\"15.0.0\"", 8};
    agent = agent_of(known[0].ua, &hints);
    assert_string_equal(agent.os_version, "11");

    hints.platform_version = (tracker_str_t){"\"10.0.0\"", 8};
    agent = agent_of(known[0].ua, &hints);
    assert_string_equal(agent.os_version, "10");

    /* a user agent cut to "Android 10; K" */
    hints.mobile = (tracker_str_t){"?1", 2};
    hints.platform = (tracker_str_t){"\"Android\"", 9};
    hints.platform_version = (tracker_str_t){"\"14.0.0\"", 8};
    agent = agent_of("Mozilla/5.0 (Linux; Android 10; K)" CHROME
                     " Mobile Safari/537.36",
        &hints);
    assert_string_equal(agent.os_version, "14");
    assert_int_equal(agent.device, TRACKER_DEVICE_MOBILE);

    /* the hints alone */
    agent = agent_of("", &hints);
    assert_int_equal(agent.device, TRACKER_DEVICE_MOBILE);
    assert_int_equal(agent.os, TRACKER_OS_ANDROID);

    /* nonsense changes nothing */
    hints.mobile = (tracker_str_t){"yes", 3};
    hints.platform = (tracker_str_t){"\"", 1};
    hints.platform_version = (tracker_str_t){"\"\"", 2};
    agent = agent_of(known[0].ua, &hints);
    assert_string_equal(agent.os_version, "10");
    assert_int_equal(agent.device, TRACKER_DEVICE_DESKTOP);
}


/* Every beginning of every text is read, and none past its end. */
static void
test_prefixes(void **state)
{
    char            copy[512];
    size_t          i, len;
    tracker_str_t   text;
    tracker_agent_t agent;

    (void) state;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        for (len = strlen(known[i].ua); len > 0; len--) {
            memcpy(copy + sizeof(copy) - len, known[i].ua, len);
            text.data = copy + sizeof(copy) - len;
            text.len = len;
            tracker_agent_read(&agent, text, NULL);
            assert_true(agent.device < TRACKER_DEVICE_BOT);
        }
    }

    assert_string_equal(tracker_device_text(200), "unknown");
    assert_string_equal(tracker_browser_text(200), "");
    assert_string_equal(tracker_os_text(200), "");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
