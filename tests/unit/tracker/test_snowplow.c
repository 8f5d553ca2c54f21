/*
 * test_snowplow.c - events of Snowplow's protocol in Segment's words.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define EC "iglu:com.snowplowanalytics.snowplow.ecommerce/"
#define ACTION(data)                                                           \
    "{\"schema\":\"iglu:com.snowplowanalytics.snowplow/unstruct_event/"        \
    "jsonschema/1-0-0\",\"data\":{\"schema\":\"" EC                            \
    "snowplow_ecommerce_action/jsonschema/1-0-2\",\"data\":" data "}}"
#define CONTEXT(name, data)                                                    \
    "{\"schema\":\"" EC name "/jsonschema/1-0-0\",\"data\":" data "}"


static char          room[TRACKER_HIT_ROOM];
static tracker_hit_t hit;


static const char *
text(tracker_str_t value)
{
    static char buf[4][1024];
    static int  n;

    n = (n + 1) % 4;
    (void) snprintf(buf[n], sizeof(buf[n]), "%.*s", (int) value.len,
        value.data != NULL ? value.data : "");

    return buf[n];
}


static const char *
reads(const char *json)
{
    tracker_result_e rc;

    rc = tracker_snowplow_read(&hit, room, (tracker_str_t){json, strlen(json)});

    return rc == TRACKER_OK ? "ok" : hit.reason;
}


/* An event with this JSON in its texts. */
static const char *
action(const char *ue, const char *co)
{
    static char json[8192];
    char       *p;

    p = json + sprintf(json, "{\"e\":\"ue\",\"eid\":\"m\",\"ue_pr\":");
    p = tracker_json_string(
        p, json + sizeof(json), (tracker_str_t){ue, strlen(ue)}, NULL);
    p += sprintf(p, ",\"co\":");
    p = tracker_json_string(
        p, json + sizeof(json), (tracker_str_t){co, strlen(co)}, NULL);
    (void) strcpy(p, "}");

    return reads(json);
}


static void
test_page(void **state)
{
    (void) state;

    assert_string_equal(
        reads("{\"e\":\"pv\",\"eid\":\"e1\",\"url\":\"https://h/p?a=1\","
              "\"page\":\"Home\",\"refr\":\"https://r/\",\"tv\":\"js-4.10.1\","
              "\"duid\":\"d\",\"sid\":\"s\",\"uid\":\"u\",\"aid\":\"shop\","
              "\"dtm\":\"1795320729837\",\"stm\":\"1795320729860\","
              "\"lang\":\"en-US\"}"),
        "ok");
    assert_string_equal(text(hit.event.type), "page");
    assert_null(hit.event.name.data);
    assert_string_equal(text(hit.event.mid), "e1");
    assert_string_equal(text(hit.event.json),
        "{\"url\":\"https://h/p?a=1\",\"path\":\"/p\",\"search\":\"?a=1\","
        "\"title\":\"Home\",\"referrer\":\"https://r/\"}");
    assert_string_equal(text(hit.event.lib), "js");
    assert_string_equal(text(hit.event.lib_version), "4.10.1");
    assert_string_equal(text(hit.event.anon), "d");
    assert_string_equal(text(hit.event.uid), "u");
    assert_string_equal(text(hit.session), "s");
    assert_string_equal(text(hit.app), "shop");
    assert_int_equal(hit.sent_us - hit.time_us, 23000);
}


static void
test_commerce(void **state)
{
    static const char *const product =
        CONTEXT("product", "{\"id\":\"p1\",\"price\":9.9,\"currency\":\"EUR\","
                           "\"size\":null,\"category\":\"c\"}");
    char contexts[2048];

    (void) state;

    (void) snprintf(contexts, sizeof(contexts), "{\"data\":[%s]}", product);
    assert_string_equal(
        action(ACTION("{\"type\":\"product_view\"}"), contexts), "ok");
    assert_string_equal(text(hit.event.name), "Product Viewed");
    assert_string_equal(text(hit.event.json),
        "{\"product_id\":\"p1\",\"price\":9.9,\"currency\":\"EUR\","
        "\"category\":\"c\"}");
    assert_int_equal(hit.event.nprops, 3);

    (void) snprintf(contexts, sizeof(contexts), "{\"data\":[%s,%s,%s]}",
        product, product,
        CONTEXT("cart", "{\"total_value\":20,\"currency\":\"EUR\"}"));
    assert_string_equal(
        action(ACTION("{\"type\":\"add_to_cart\"}"), contexts), "ok");
    assert_string_equal(text(hit.event.name), "Product Added");
    assert_string_equal(text(hit.event.json),
        "{\"products\":[{\"product_id\":\"p1\",\"price\":9.9,\"currency\":"
        "\"EUR\",\"category\":\"c\"},{\"product_id\":\"p1\",\"price\":9.9,"
        "\"currency\":\"EUR\",\"category\":\"c\"}],\"cart_value\":20}");

    (void) snprintf(contexts, sizeof(contexts), "{\"data\":[%s,%s]}",
        CONTEXT("transaction", "{\"transaction_id\":\"o1\",\"revenue\":19.8,"
                               "\"currency\":\"EUR\"}"),
        product);
    assert_string_equal(
        action(ACTION("{\"type\":\"transaction\"}"), contexts), "ok");
    assert_string_equal(text(hit.event.name), "Order Completed");
    assert_string_equal(text(hit.event.json),
        "{\"order_id\":\"o1\",\"total\":19.8,\"currency\":\"EUR\","
        "\"products\":[{\"product_id\":\"p1\",\"price\":9.9,\"currency\":"
        "\"EUR\",\"category\":\"c\"}]}");

    assert_string_equal(
        action(ACTION("{\"type\":\"checkout_step\"}"),
            "{\"data\":[" CONTEXT("checkout_step", "{\"step\":1}") "]}"),
        "ok");
    assert_string_equal(text(hit.event.name), "Checkout Started");

    assert_string_equal(action(ACTION("{\"type\":\"dance\"}"), "{}"),
        "its e-commerce action has an unknown type");
}


static void
test_other_events(void **state)
{
    (void) state;

    assert_string_equal(
        reads("{\"e\":\"se\",\"se_ca\":\"c\",\"se_ac\":\"Played\",\"se_va\":"
              "\"1.5\"}"),
        "ok");
    assert_string_equal(text(hit.event.name), "Played");
    assert_string_equal(
        text(hit.event.json), "{\"category\":\"c\",\"value\":1.5}");

    assert_string_equal(
        reads("{\"e\":\"tr\",\"tr_id\":\"o\",\"tr_tt\":\"19.80\","
              "\"tr_cu\":\"EUR\"}"),
        "ok");
    assert_string_equal(text(hit.event.json),
        "{\"order_id\":\"o\",\"total\":19.80,\"currency\":\"EUR\"}");

    /* {"schema":"iglu:x/unstruct_event/jsonschema/1-0-0","data":
     *  {"schema":"iglu:y/link_click/jsonschema/1-0-1","data":{"t":1}}} */
    assert_string_equal(
        reads("{\"e\":\"ue\",\"ue_px\":\"eyJzY2hlbWEiOiJpZ2x1OngvdW5zdHJ1Y3Rf"
              "ZXZlbnQvanNvbnNjaGVtYS8xLTAtMCIsImRhdGEiOnsic2NoZW1hIjoiaWdsdT"
              "p5L2xpbmtfY2xpY2svanNvbnNjaGVtYS8xLTAtMSIsImRhdGEiOnsidCI6MX19"
              "fQ\"}"),
        "ok");
    assert_string_equal(text(hit.event.name), "Link Clicked");
    assert_string_equal(text(hit.event.json), "{\"t\":1}");

    assert_string_equal(reads("{}"), "its e is none of pv, pp, ue, se, tr, ti");
    assert_string_equal(
        reads("{\"e\":\"ue\"}"), "its self-describing event has no schema");
    assert_string_equal(
        reads("{\"e\":\"ue\",\"ue_px\":\"*\"}"), "its JSON is no base64url");
    assert_string_equal(reads("{\"e\":\"ue\",\"ue_pr\":\"{\"}"),
        "a text that should hold JSON does not");
}


static void
test_query(void **state)
{
    char          buf[512];
    size_t        len;
    tracker_str_t query;

    (void) state;

    query.data = "e=pv&page=K%C3%A4se+%22%&&x&=y&url=https%3A%2F%2Fh%2F";
    query.len = strlen(query.data);
    assert_int_equal(
        tracker_snowplow_query(query, buf, sizeof(buf), &len), TRACKER_OK);
    buf[len] = '\0';
    assert_string_equal(buf, "{\"e\":\"pv\",\"page\":\"K\xc3\xa4se \\\"%\","
                             "\"url\":\"https://h/\"}");

    for (len = 0; len < 40; len++) {
        assert_int_not_equal(
            tracker_snowplow_query(query, buf, len, &len), TRACKER_OK);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_commerce),
        cmocka_unit_test(test_other_events),
        cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
