/*
 * test_cluster.c - slots of keys, maps and redirections of a Redis Cluster.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define str_of(text) ((tracker_str_t){text, sizeof(text) - 1})


static unsigned
slot_of(const char *key)
{
    return tracker_cluster_slot((tracker_str_t){key, strlen(key)});
}


/* "123456789" is 0x31c3 in the specification; the others are of CLUSTER
 * KEYSLOT of Redis 7. */
static void
test_slots_are_those_of_the_specification(void **state)
{
    (void) state;

    assert_int_equal(slot_of("123456789"), 0x31c3);
    assert_int_equal(slot_of(""), 0);
    assert_int_equal(slot_of("foo"), 12182);
    assert_int_equal(slot_of("bar"), 5061);
    assert_int_equal(slot_of("somekey"), 11058);
    assert_int_equal(slot_of("crm:producers"), 7810);
    assert_int_equal(slot_of("\xff\x80\x01"), 1242);
    assert_int_equal(tracker_cluster_slot((tracker_str_t){NULL, 0}), 0);
}


static void
test_hash_tags(void **state)
{
    (void) state;

    assert_int_equal(
        slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
    assert_int_equal(slot_of("{user1000}.following"), slot_of("user1000"));
    /* an empty tag is none, the first "{" and the next "}" count */
    assert_int_not_equal(slot_of("foo{}{bar}"), slot_of("bar"));
    assert_int_equal(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    assert_int_equal(slot_of("foo{bar}{zap}"), slot_of("bar"));
    assert_int_not_equal(slot_of("foo{bar"), slot_of("bar"));
    assert_int_not_equal(slot_of("foo}bar{"), slot_of("bar"));
    assert_int_equal(slot_of("}{a}"), slot_of("a"));
}


/* Redis 7: node = [address, port, id, metadata] */
#define NODE(ip, port) "*4\r\n$9\r\n" ip "\r\n:" port "\r\n$2\r\nid\r\n*0\r\n"

static const char map[] =
    "*3\r\n"
    "*4\r\n:0\r\n:5460\r\n" NODE("127.0.0.1", "7000") NODE("127.0.0.1",
        "7003") "*3\r\n:5461\r\n:10922\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n"
                "*3\r\n:10923\r\n:16383\r\n*4\r\n$-1\r\n:7002\r\n$2\r\nid\r\n"
                "*2\r\n$8\r\nhostname\r\n$6\r\nhost-1\r\n";


static void
test_a_map_is_read(void **state)
{
    tracker_cluster_slots_t slots = {str_of(map), 0, 0};
    tracker_cluster_range_t range;

    (void) state;

    assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_OK);
    assert_int_equal(range.first, 0);
    assert_int_equal(range.last, 5460);
    assert_int_equal(range.host.len, 9);
    assert_memory_equal(range.host.data, "127.0.0.1", 9);
    assert_int_equal(range.port, 7000);

    assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_OK);
    assert_int_equal(range.first, 5461);
    assert_int_equal(range.host.len, 0);
    assert_int_equal(range.port, 7001);

    assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_OK);
    assert_int_equal(range.last, 16383);
    assert_int_equal(range.host.len, 0);
    assert_int_equal(range.port, 7002);

    assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_DECLINED);
    assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_DECLINED);
}


/* Any byte away, and it is no map; nothing beyond its end is read. */
static void
test_a_map_cut_anywhere_is_refused(void **state)
{
    char                   *copy;
    size_t                  len;
    tracker_result_e        rc;
    tracker_cluster_slots_t slots;
    tracker_cluster_range_t range;

    (void) state;

    for (len = 0; len < sizeof(map) - 1; len++) {
        copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, map, len);
        memset(&slots, 0, sizeof(slots));
        slots.reply.data = copy;
        slots.reply.len = len;

        do {
            rc = tracker_cluster_next(&slots, &range);
        } while (rc == TRACKER_OK);

        assert_int_equal(rc, TRACKER_INVALID);
        free(copy);
    }
}


static void
test_lies_about_the_map(void **state)
{
    size_t                   i;
    tracker_cluster_slots_t  slots;
    tracker_cluster_range_t  range;
    static const char *const lies[] = {"+OK\r\n", "-ERR\r\n", ":1\r\n",
        "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:6\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n:1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*3\r\n$1\r\na\r\n:1\r\n"
        "*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n"};

    (void) state;

    for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        memset(&slots, 0, sizeof(slots));
        slots.reply.data = lies[i];
        slots.reply.len = strlen(lies[i]);
        assert_int_equal(tracker_cluster_next(&slots, &range), TRACKER_INVALID);
    }
}


static void
test_redirections(void **state)
{
    size_t                   i;
    tracker_redirect_t       redirect;
    static const char *const wrong[] = {"MOVED ", "MOVED 1", "MOVED 1 ",
        "MOVED 1 a", "MOVED 16384 a:1", "MOVED x a:1",
        "MOVED 1 a:", "MOVED 1 a:0", "MOVED 1 a:65536", "MOVED 1 a:1x",
        "MOVED -1 a:1", "MOVED 1a:1", "ASK 99999999999999999999 a:1"};
    static const char *const other[] = {"", "MOVED", "ASK", "ERR MOVED 1 a:1",
        "CLUSTERDOWN Hash slot not served", "ASKING 1 a:1"};

    (void) state;

    assert_int_equal(tracker_cluster_redirect(
                         str_of("MOVED 3999 127.0.0.1:6381"), &redirect),
        TRACKER_OK);
    assert_int_equal(redirect.ask, 0);
    assert_int_equal(redirect.slot, 3999);
    assert_int_equal(redirect.host.len, 9);
    assert_int_equal(redirect.port, 6381);

    assert_int_equal(
        tracker_cluster_redirect(str_of("ASK 0 ::1:6381"), &redirect),
        TRACKER_OK);
    assert_int_equal(redirect.ask, 1);
    assert_int_equal(redirect.host.len, 3);
    assert_memory_equal(redirect.host.data, "::1", 3);

    assert_int_equal(
        tracker_cluster_redirect(str_of("MOVED 16383 :6381"), &redirect),
        TRACKER_OK);
    assert_int_equal(redirect.host.len, 0);

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        tracker_str_t text = {wrong[i], strlen(wrong[i])};

        if (text.len > 6) {
            assert_int_equal(
                tracker_cluster_redirect(text, &redirect), TRACKER_INVALID);
        }
    }

    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        tracker_str_t text = {other[i], strlen(other[i])};

        assert_int_equal(
            tracker_cluster_redirect(text, &redirect), TRACKER_DECLINED);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_those_of_the_specification),
        cmocka_unit_test(test_hash_tags),
        cmocka_unit_test(test_a_map_is_read),
        cmocka_unit_test(test_a_map_cut_anywhere_is_refused),
        cmocka_unit_test(test_lies_about_the_map),
        cmocka_unit_test(test_redirections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
