/*
 * test_resp.c - Redis' replies split at every byte, and lies among them.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


#define MAX  1024
#define ROOM 16

#define str_of(text) ((tracker_str_t){text, sizeof(text) - 1})


/* In a heap block of its own, for the sanitizer to see. */
static tracker_result_e
read_reply(const char *text, size_t len, size_t *pos, tracker_reply_t *reply,
    tracker_reply_t *elements, unsigned *n)
{
    char            *copy;
    tracker_result_e rc;

    copy = malloc(len + 1);
    memcpy(copy + 1, text, len);
    rc = tracker_resp_reply(
        (tracker_str_t){copy + 1, len}, pos, MAX, reply, elements, n);
    free(copy);

    return rc;
}


static void
test_each_type(void **state)
{
    size_t          pos;
    tracker_reply_t reply;
    tracker_str_t   input = str_of("+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\nbc\r\n"
                                     "$0\r\n\r\n$-1\r\n*-1\r\n*2\r\n+\r\n");

    (void) state;
    pos = 0;

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, '+');
    assert_int_equal(reply.text.len, 2);
    assert_memory_equal(reply.text.data, "OK", 2);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, '-');
    assert_memory_equal(reply.text.data, "ERR no", reply.text.len);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, ':');
    assert_int_equal(reply.integer, -42);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, '$');
    assert_int_equal(reply.text.len, 5);
    assert_memory_equal(reply.text.data, "a\r\nbc", 5);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, '$');
    assert_int_equal(reply.text.len, 0);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, 'N');
    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, 'N');

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.type, '*');
    assert_int_equal(reply.integer, 2);

    assert_int_equal(tracker_resp_next(input, &pos, MAX, &reply), TRACKER_OK);
    assert_int_equal(reply.text.len, 0);
    assert_int_equal(
        tracker_resp_next(input, &pos, MAX, &reply), TRACKER_AGAIN);
    assert_int_equal(pos, input.len);
}


static void
test_split_at_every_byte(void **state)
{
    size_t            len, pos, whole;
    unsigned          n, i;
    tracker_reply_t   reply, elements[ROOM];
    static const char stream[] =
        "*6\r\n$6\r\nlength\r\n:3\r\n$17\r\nlast-generated-id\r\n$4\r\n12-0\r\n"
        "*2\r\n$3\r\n1-0\r\n*2\r\n+f\r\n*1\r\n$1\r\nx\r\n*0\r\n";
    static const char *replies[] = {"+OK\r\n", "-ERR x\r\n", ":12\r\n",
        "$3\r\nabc\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*1\r\n$-1\r\n",
        stream};

    (void) state;
    for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        whole = strlen(replies[i]);
        pos = 0;

        for (len = 0; len < whole; len++) {
            n = ROOM;
            assert_int_equal(
                read_reply(replies[i], len, &pos, &reply, elements, &n),
                TRACKER_AGAIN);
            assert_int_equal(pos, 0);
        }

        n = ROOM;
        assert_int_equal(
            read_reply(replies[i], whole, &pos, &reply, elements, &n),
            TRACKER_OK);
        assert_int_equal(pos, whole);
    }

    /* The last one: elements of the outermost array, arrays as heads. */
    pos = 0;
    n = ROOM;
    assert_int_equal(
        tracker_resp_reply(str_of(stream), &pos, MAX, &reply, elements, &n),
        TRACKER_OK);
    assert_int_equal(reply.type, '*');
    assert_int_equal(reply.integer, 6);
    assert_int_equal(n, 6);
    assert_int_equal(elements[1].integer, 3);
    assert_memory_equal(elements[3].text.data, "12-0", 4);
    assert_int_equal(elements[4].type, '*');
    assert_int_equal(elements[4].integer, 2);
    assert_int_equal(elements[5].type, '*');

    /* What has no room is passed over. */
    pos = 0;
    n = 2;
    assert_int_equal(
        tracker_resp_reply(str_of(stream), &pos, MAX, &reply, elements, &n),
        TRACKER_OK);
    assert_int_equal(n, 2);
    assert_int_equal(pos, sizeof(stream) - 1);
}


static void
test_pipeline(void **state)
{
    size_t          pos;
    unsigned        n;
    tracker_str_t   input = str_of("*1\r\n:1\r\n+a\r\n$1\r\nb\r\n*1\r\n");
    tracker_reply_t reply, elements[ROOM];

    (void) state;
    pos = 0;
    n = ROOM;
    assert_int_equal(
        tracker_resp_reply(input, &pos, MAX, &reply, elements, &n), TRACKER_OK);
    assert_int_equal(n, 1);
    assert_int_equal(elements[0].integer, 1);
    n = ROOM;
    assert_int_equal(
        tracker_resp_reply(input, &pos, MAX, &reply, elements, &n), TRACKER_OK);
    assert_int_equal(n, 0);
    assert_int_equal(reply.text.data[0], 'a');
    n = ROOM;
    assert_int_equal(
        tracker_resp_reply(input, &pos, MAX, &reply, elements, &n), TRACKER_OK);
    assert_int_equal(reply.text.data[0], 'b');
    n = ROOM;
    assert_int_equal(tracker_resp_reply(input, &pos, MAX, &reply, elements, &n),
        TRACKER_AGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(pos, input.len - 4);
}


static void
test_refuses(void **state)
{
    size_t             i, pos;
    unsigned           n;
    tracker_reply_t    reply, elements[ROOM];
    static const char *bad[] = {"x", "OK\r\n", "\r\n", "+a\rb\r\n", ":\r\n",
        ":-\r\n", ":1x\r\n", ":+1\r\n", ": 1\r\n", ":9223372036854775808\r\n",
        ":-9223372036854775809\r\n", ":99999999999999999999999\r\n", "$-2\r\n",
        "$x\r\n", "$1025\r\n", "$99999999999\r\n", "*-2\r\n", "*1025\r\n",
        "$1\r\nab\r\n", "$1\r\na\rx",
        "$0000000000000000000000000000000000000000",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "*1\r\n%1\r\n", "*2\r\n$600\r\n",
        "_\r\n", "#t\r\n"};
    char               text[MAX + 16];

    (void) state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        pos = 0;
        n = ROOM;
        if (read_reply(bad[i], strlen(bad[i]), &pos, &reply, elements, &n)
            != (strcmp(bad[i], "*2\r\n$600\r\n") == 0 ? TRACKER_AGAIN
                                                      : TRACKER_INVALID))
        {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_int_equal(pos, 0);
        assert_int_equal(n, 0);
    }

    /* A line without end. */
    memset(text, '+', sizeof(text));
    pos = 0;
    n = ROOM;
    assert_int_equal(
        read_reply(text, MAX, &pos, &reply, elements, &n), TRACKER_AGAIN);
    assert_int_equal(
        read_reply(text, MAX + 2, &pos, &reply, elements, &n), TRACKER_INVALID);

    /* Each within the limit, all together not. */
    i = (size_t) sprintf(text, "*2\r\n$600\r\n");
    memset(text + i, 'x', 600);
    i += 600;
    i += (size_t) sprintf(text + i, "\r\n$400\r\n");
    memset(text + i, 'x', 400);
    memcpy(text + i + 400, "\r\n", 2);
    n = ROOM;
    assert_int_equal(
        read_reply(text, i + 402, &pos, &reply, elements, &n), TRACKER_OK);
    pos = 0;
    n = ROOM;
    assert_int_equal(tracker_resp_reply((tracker_str_t){text, i + 402}, &pos,
                         999, &reply, elements, &n),
        TRACKER_INVALID);
    assert_int_equal(tracker_resp_next(
                         str_of(":9223372036854775807\r\n"), &pos, MAX, &reply),
        TRACKER_OK);
    assert_true(reply.integer == INT64_MAX);
}


static void
test_write(void **state)
{
    char             *buf, *p;
    size_t            size, n;
    static const char expected[] =
        "*3\r\n$4\r\nXADD\r\n$0\r\n\r\n$3\r\n\r\n\0\r\n";

    (void) state;
    n = sizeof(expected) - 1;

    for (size = 0; size <= n; size++) {
        buf = malloc(size + 1);
        p = tracker_resp_array(buf, buf + size, 3);
        p = p ? tracker_resp_bulk(p, buf + size, str_of("XADD")) : NULL;
        p = p ? tracker_resp_bulk(p, buf + size, (tracker_str_t){NULL, 0})
              : NULL;
        p = p ? tracker_resp_bulk(p, buf + size, str_of("\r\n\0")) : NULL;
        assert_int_equal(p != NULL, size == n);
        if (p != NULL) {
            assert_memory_equal(buf, expected, n);
        }
        free(buf);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_type),
        cmocka_unit_test(test_split_at_every_byte),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
