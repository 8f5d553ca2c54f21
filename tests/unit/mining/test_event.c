/*
 * test_event.c - a line of JSON as columns, and a batch as what it tells.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/mining.h"

#define ID     "01934b7e-6f2a-7c3d-8e4f-5a6b7c8d9e0f"
#define VID    "01934b7e-0000-7c3d-8e4f-5a6b7c8d9e0f"
#define NOW_US 1764000000000000LL
#define HEAD                                                                   \
    "{\"id\":\"" ID "\",\"site\":\"s\",\"type\":\"page\",\"src\":\"origin\","  \
    "\"rts\":1764000000000000"


static mining_result_e
slice(mining_event_t *event, const char *text, const char **reason)
{
    tracker_str_t line = {text, strlen(text)};

    return mining_event_slice(event, line, NOW_US, reason);
}


static void
assert_column(
    const mining_event_t *event, mining_event_e column, const char *expected)
{
    const tracker_str_t *value = &event->columns[column];

    if (expected == NULL) {
        assert_null(value->data);
        return;
    }
    assert_non_null(value->data);
    assert_int_equal(value->len, strlen(expected));
    assert_memory_equal(value->data, expected, value->len);
}


static void
test_known_members(void **state)
{
    const char    *reason;
    mining_event_t event;

    (void) state;
    assert_int_equal(slice(&event,
                         HEAD ",\"ts\":1763999999000000,\"name\":\"A \\\"b\\\""
                              "\",\"vid\":\"" VID "\",\"sn\":3,\"seq\":7,"
                              "\"uid\":\"12347\",\"ctx\":{\"ip\":\"::1\"},"
                              "\"props\":{},\"dec\":[{\"slot\":\"x\"}]}",
                         &reason),
        MINING_OK);
    assert_null(reason);
    assert_column(&event, MINING_EVENT_SITE, "s");
    assert_column(&event, MINING_EVENT_NAME, "A \"b\"");
    assert_column(&event, MINING_EVENT_UID, "12347");
    assert_column(&event, MINING_EVENT_CTX, "{\"ip\":\"::1\"}");
    assert_column(&event, MINING_EVENT_DEC, "[{\"slot\":\"x\"}]");
    assert_column(&event, MINING_EVENT_REQ, NULL);
    assert_true(event.rts == NOW_US && event.ts == 1763999999000000LL);
    assert_int_equal(event.sn, 3);
    assert_int_equal(event.seq, 7);
    assert_int_equal(event.vid[15], 0x0f);
    assert_int_equal(event.nextra, 0);
}


static void
test_what_is_unknown_is_kept(void **state)
{
    const char    *reason;
    mining_copy_t  copy;
    mining_event_t event;

    static const char extra[] =
        "\001{\"new\":[1],\"site\":\"second\",\"sn\":\"3\",\"props\":[]}";

    (void) state;
    assert_int_equal(slice(&event,
                         HEAD ",\"new\":[1],\"site\":\"second\",\"sn\":\"3\","
                              "\"props\":[]}",
                         &reason),
        MINING_OK);
    assert_int_equal(event.nextra, 4);
    assert_column(&event, MINING_EVENT_SITE, "s");
    assert_column(&event, MINING_EVENT_SN, NULL);
    assert_column(&event, MINING_EVENT_PROPS, NULL);

    memset(&copy, 0, sizeof(copy));
    mining_copy_begin(&copy);
    mining_event_row(&copy, &event);
    assert_memory_equal(
        copy.data + copy.len - (sizeof(extra) - 1), extra, sizeof(extra) - 1);
    mining_copy_free(&copy);
}


static void
test_what_is_no_event(void **state)
{
    unsigned       i;
    const char    *reason;
    mining_event_t event;

    static const struct {
        const char *line;
        const char *word; /* of the reason */
    } cases[] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {HEAD, "JSON"},
        {HEAD "}x", "JSON"},
        {HEAD ",\"x\":\"\xff\"}", "JSON"},
        {HEAD ",\"x\":\"\\u0000\"}", "JSON"},
        {"{}", "id "},
        {"{\"id\":\"x\"}", "id "},
        {"{\"id\":\"" ID "\"}", "site "},
        {"{\"id\":\"" ID "\",\"site\":\"\"}", "site "},
        {"{\"id\":\"" ID "\",\"site\":\"s\"}", "type "},
        {"{\"id\":\"" ID "\",\"site\":\"s\",\"type\":\"t\"}", "src "},
        {"{\"id\":\"" ID
         "\",\"site\":\"s\",\"type\":\"t\",\"src\":\"o\",\"rts\":\"1\"}",
            "rts "},
        {"{\"id\":\"" ID
         "\",\"site\":\"s\",\"type\":\"t\",\"src\":\"o\",\"rts\":-1}",
            "rts "},
        {"{\"id\":\"" ID
         "\",\"site\":\"s\",\"type\":\"t\",\"src\":\"o\",\"rts\":1764000000}",
            "before 1990"},
        {"{\"id\":\"" ID "\",\"site\":\"s\",\"type\":\"t\",\"src\":\"o\","
         "\"rts\":1767600000000000}",
            "ahead"},
    };

    (void) state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(slice(&event, cases[i].line, &reason), MINING_INVALID);
        assert_non_null(reason);
        assert_non_null(strstr(reason, cases[i].word));
    }
}


static void
test_too_many_unknown_members(void **state)
{
    char           line[4096];
    unsigned       i;
    const char    *reason;
    mining_event_t event;

    (void) state;
    line[0] = '\0';
    mining_text(line, sizeof(line), "%s", HEAD);
    for (i = 0; i < MINING_EVENT_MEMBERS_MAX; i++) {
        mining_text(line, sizeof(line), ",\"m%u\":%u", i, i);
    }
    i = (unsigned) strlen(line);
    mining_text(line, sizeof(line), "}");
    assert_int_equal(slice(&event, line, &reason), MINING_OK);

    line[i] = '\0';
    mining_text(line, sizeof(line), ",\"more\":1}");
    assert_int_equal(slice(&event, line, &reason), MINING_INVALID);
}


static void
test_row_is_one_of_18_columns(void **state)
{
    int            i;
    size_t         pos;
    uint32_t       len;
    const char    *reason;
    mining_copy_t  copy;
    mining_event_t event;

    (void) state;
    assert_int_equal(slice(&event, HEAD "}", &reason), MINING_OK);
    memset(&copy, 0, sizeof(copy));
    mining_copy_begin(&copy);
    assert_int_equal(copy.len, 19);
    mining_event_row(&copy, &event);
    assert_memory_equal(copy.data + 19, "\0\022", 2);

    for (i = 0, pos = 21; i < MINING_EVENT_COLUMNS; i++) {
        assert_true(pos + 4 <= copy.len);
        memcpy(&len, copy.data + pos, 4);
        len = __builtin_bswap32(len);
        pos += 4 + (len == 0xffffffff ? 0 : len);
    }
    assert_int_equal(pos, copy.len);
    mining_copy_free(&copy);
}


static void
test_absorb_folds_a_batch(void **state)
{
    int              i;
    mining_row_t     row;
    mining_sites_t  *sites;
    mining_absorb_t *absorb;

    static const char order[] =
        HEAD ",\"vid\":\"" VID "\",\"uid\":\"u1\",\"name\":\"Order Completed\""
             ",\"props\":{\"order_id\":\"o1\",\"total\":\"5\"}}";

    (void) state;
    sites = calloc(1, sizeof(*sites));
    absorb = mining_absorb_new(10);
    assert_true(sites != NULL && absorb != NULL);
    memcpy(sites->names[0], "s", 2);
    sites->lens[0] = 1;
    sites->n = 1;

    memset(&row, 0, sizeof(row));
    row.line.data = order;
    row.line.len = sizeof(order) - 1;
    row.has_vid = 1;
    row.has_uid = 1;
    row.trusted = 1;
    row.is_order = 1;
    assert_int_equal(
        tracker_uuid_parse(row.vid, VID, TRACKER_UUID_TEXT), TRACKER_OK);
    for (i = 0; i < 3; i++) {
        row.rts = 1000 + i;
        row.sn = i;
        mining_absorb_add(absorb, &row);
    }

    assert_string_equal(mining_absorb_json(absorb, sites),
        "{\"visitors\":[{\"site\":\"s\",\"vid\":\"" VID
        "\",\"first\":1000,\"last\":1002,\"events\":3,\"sn\":2}],"
        "\"identities\":[{\"site\":\"s\",\"vid\":\"" VID
        "\",\"at\":1002,\"uid\":\"u1\"}],"
        "\"orders\":[{\"site\":\"s\",\"vid\":\"" VID
        "\",\"at\":1000,\"order_id\":\"o1\",\"uid\":\"u1\","
        "\"props\":{\"order_id\":\"o1\",\"total\":\"5\"}}],"
        "\"records\":[],\"since\":1000}");

    mining_absorb_clear(absorb);
    assert_string_equal(mining_absorb_json(absorb, sites),
        "{\"visitors\":[],\"identities\":[],\"orders\":[],"
        "\"records\":[]}");
    mining_absorb_free(absorb);
    free(sites);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_members),
        cmocka_unit_test(test_what_is_unknown_is_kept),
        cmocka_unit_test(test_what_is_no_event),
        cmocka_unit_test(test_too_many_unknown_members),
        cmocka_unit_test(test_row_is_one_of_18_columns),
        cmocka_unit_test(test_absorb_folds_a_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
