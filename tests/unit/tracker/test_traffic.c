/*
 * test_traffic.c - campaigns, click ids and referrers of sessions.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>


#define is_kept(t, field, text)                                                \
    do {                                                                       \
        assert_int_equal((t).kept.field##_len, strlen(text));                  \
        assert_memory_equal((t).kept.field, text, strlen(text));               \
    } while (0)


static tracker_traffic_t
traffic_of(const char *query, const char *referrer)
{
    tracker_str_t     q = {query, strlen(query)};
    tracker_str_t     r = {referrer, strlen(referrer)};
    tracker_str_t     host = {"www.Shop.example:8080", 21};
    tracker_traffic_t traffic;

    tracker_traffic_read(&traffic, q, r, host);

    return traffic;
}


/* Each host of the table, read from the source, is found: it is sorted. */
static void
test_table(void **state)
{
    char              line[256], host[64], source[32], url[128];
    FILE             *file;
    unsigned          n;
    tracker_traffic_t t;

    (void) state;
    file = fopen("tracker/traffic.c", "r");
    assert_non_null(file);
    n = 0;

    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(
                line, "    {\"%63[^\"]\", \"%31[^\"]\", %*[A-Z]}", host, source)
                != 2
            || strchr(host, '.') == NULL)
        {
            continue;
        }

        (void) snprintf(url, sizeof(url), "https://%s%s/x", host,
            host[strlen(host) - 1] == '.' ? "com.br" : "");
        t = traffic_of("", url);
        is_kept(t, source, source);
        assert_true(t.kept.class < TRACKER_TRAFFIC_REFERRAL);
        n++;
    }

    (void) fclose(file);
    assert_true(n > 80);
}


static void
test_referrers(void **state)
{
    size_t            i;
    tracker_traffic_t t;

    static const struct {
        const char *url;
        const char *class;
        const char *source;
    } known[] = {
        {"", "direct", ""},
        {"nonsense", "direct", ""},
        {"https://shop.example/c/1", "internal", ""},
        {"https://www.google.com/", "search", "google"},
        {"https://www.google.co.uk/url?q=x", "search", "google"},
        {"https://google.de", "search", "google"},
        {"https://mail.google.com/mail/u/0", "mail", "gmail"},
        {"https://gemini.google.com/app", "ai", "gemini"},
        {"android-app://com.google.android.gm/", "mail", "gmail"},
        {"https://WWW.BING.COM/search", "search", "bing"},
        {"https://duckduckgo.com/", "search", "duckduckgo"},
        {"https://de.search.yahoo.com/", "search", "yahoo"},
        {"https://mail.yahoo.com/", "mail", "yahoo"},
        {"https://l.facebook.com/l.php?u=x", "social", "facebook"},
        {"https://t.co/abc", "social", "twitter"},
        {"https://www.reddit.com/r/x", "social", "reddit"},
        {"https://chatgpt.com/", "ai", "chatgpt"},
        {"https://www.perplexity.ai/search", "ai", "perplexity"},
        {"https://claude.ai/chat/1", "ai", "claude"},
        {"https://copilot.microsoft.com/", "ai", "copilot"},
        {"https://outlook.live.com/mail/", "mail", "outlook"},
        {"https://blog.example.org:8443/x", "referral", "blog.example.org"},
        {"https://user@www.news.example/x", "referral", "news.example"},
        {"https://google.evil.example.org/", "referral",
            "google.evil.example.org"},
        {"https://notgoogle.com/", "referral", "notgoogle.com"},
        {"https://xt.co/", "referral", "xt.co"},
        {"https://<script>/", "direct", ""},
    };

    (void) state;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        t = traffic_of("", known[i].url);
        assert_string_equal(tracker_traffic_text(t.kept.class), known[i].class);
        is_kept(t, source, known[i].source);
        assert_int_equal(t.kept.click_id, TRACKER_CLICK_NONE);
    }
}


static void
test_campaigns(void **state)
{
    tracker_traffic_t t;

    (void) state;

    t = traffic_of("a=1&utm_source=Google&utm_medium=cpc&utm_campaign=spring%20"
                   "sale&utm_term=red+shoes&utm_content=b",
        "https://www.google.com/");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_SEARCH);
    is_kept(t, source, "Google");
    is_kept(t, medium, "cpc");
    is_kept(t, campaign, "spring sale");
    assert_int_equal(t.term_len, 9);
    assert_memory_equal(t.term, "red shoes", 9);
    assert_int_equal(t.content_len, 1);

    t = traffic_of("utm_source=news-11&utm_medium=Email", "");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_MAIL);

    t = traffic_of("utm_source=chatgpt.com", "");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_AI);

    t = traffic_of("utm_source=facebook&utm_medium=cpc", "");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_SOCIAL);

    t = traffic_of("utm_source=partner&utm_medium=banner", "");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_REFERRAL);

    t = traffic_of("gclid=EAIaIQ", "https://www.google.com/");
    assert_int_equal(t.kept.click_id, TRACKER_CLICK_GCLID);
    is_kept(t, source, "google");
    is_kept(t, medium, "cpc");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_SEARCH);

    t = traffic_of("fbclid=x&gclid=y", "");
    assert_int_equal(t.kept.click_id, TRACKER_CLICK_GCLID);

    t = traffic_of("fbclid=x", "https://m.facebook.com/");
    assert_string_equal(tracker_click_text(t.kept.click_id), "fbclid");
    is_kept(t, source, "facebook");
    is_kept(t, medium, "");

    t = traffic_of("mc_cid=c0ffee", "");
    assert_int_equal(t.kept.class, TRACKER_TRAFFIC_MAIL);
    is_kept(t, campaign, "c0ffee");
}


static void
test_hostile(void **state)
{
    char              query[8192];
    size_t            i;
    tracker_traffic_t t;

    (void) state;

    t = traffic_of("utm_source=%ff%00%zz%4&utm_medium=&utm_campaign", "");
    is_kept(t, source, "??%zz%4");
    is_kept(t, medium, "");

    /* cut behind a whole character */
    t = traffic_of("utm_source=aaaaaaaaaaaaaaaaaaaaaaa%C3%A4b", "");
    is_kept(t, source, "aaaaaaaaaaaaaaaaaaaaaaa");

    for (i = 0; i < sizeof(query) - 1; i++) {
        query[i] = "&=utm_source%"[i % 13];
    }
    query[i] = '\0';
    (void) traffic_of(query, query);
}


static void
test_hash(void **state)
{
    uint16_t one, two;

#define hash_of(text) tracker_campaign_hash((tracker_str_t){text, strlen(text)})

    (void) state;
    assert_int_equal(hash_of(""), 0);
    assert_int_equal(hash_of("q=shoes&page=2"), 0);
    assert_int_equal(hash_of("utm_source="), 0);

    one = hash_of("utm_source=a&utm_medium=b&utm_campaign=c");
    two = hash_of("x=1&utm_campaign=c&utm_source=a&utm_medium=b&utm_term=t");
    assert_int_not_equal(one, 0);
    assert_int_equal(one, two);

    two = hash_of("utm_source=a&utm_medium=b&utm_campaign=d");
    assert_int_not_equal(one, two);
    two = hash_of("utm_source=a&utm_medium=c&utm_campaign=b");
    assert_int_not_equal(one, two);

    one = hash_of("gclid=1");
    two = hash_of("gclid=2");
    assert_int_not_equal(one, two);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_referrers),
        cmocka_unit_test(test_campaigns),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
