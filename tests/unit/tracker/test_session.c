/*
 * test_session.c - both sides of each threshold of a session.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>


#define START   1764000000u
#define TIMEOUT 1800u

static const uint8_t random10[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};


static tracker_visitor_t
visitor_of(void)
{
    tracker_visitor_t visitor;

    tracker_visitor_new(&visitor, START * UINT64_C(1000), random10);

    return visitor;
}


static tracker_session_e
after(uint32_t silence_s, uint32_t timeout_s, tracker_visitor_t *visitor)
{
    *visitor = visitor_of();

    return tracker_session_touch(visitor, START + silence_s, timeout_s, 0);
}


static void
test_timeout(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    assert_int_equal(
        after(TIMEOUT - 1, TIMEOUT, &visitor), TRACKER_SESSION_REFRESH);
    assert_int_equal(visitor.session_started_s, START);
    assert_int_equal(visitor.last_seen_s, START + TIMEOUT - 1);
    assert_int_equal(visitor.session_number, 1);

    assert_int_equal(after(TIMEOUT, TIMEOUT, &visitor), TRACKER_SESSION_NEW);
    assert_int_equal(visitor.session_started_s, START + TIMEOUT);
    assert_int_equal(visitor.last_seen_s, START + TIMEOUT);
    assert_int_equal(visitor.session_number, 2);

    /* As long as requests come, a session goes on for ever. */
    visitor = visitor_of();
    while (visitor.last_seen_s < START + 100 * TIMEOUT) {
        assert_int_equal(tracker_session_touch(&visitor,
                             visitor.last_seen_s + TIMEOUT - 1, TIMEOUT, 0),
            TRACKER_SESSION_REFRESH);
    }
    assert_int_equal(visitor.session_started_s, START);
}


static void
test_refresh(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    assert_int_equal(after(0, TIMEOUT, &visitor), TRACKER_SESSION_SAME);
    assert_int_equal(after(60, TIMEOUT, &visitor), TRACKER_SESSION_SAME);
    assert_int_equal(visitor.last_seen_s, START);
    assert_int_equal(after(61, TIMEOUT, &visitor), TRACKER_SESSION_REFRESH);
    assert_int_equal(visitor.last_seen_s, START + 61);

    /* A long timeout does not make it longer, a short one shorter. */
    assert_int_equal(after(60, 86400, &visitor), TRACKER_SESSION_SAME);
    assert_int_equal(after(61, 86400, &visitor), TRACKER_SESSION_REFRESH);
    assert_int_equal(after(2, 60, &visitor), TRACKER_SESSION_SAME);
    assert_int_equal(after(3, 60, &visitor), TRACKER_SESSION_REFRESH);
    assert_int_equal(after(60, 60, &visitor), TRACKER_SESSION_NEW);
}


static void
test_clock_goes_back(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    visitor = visitor_of();
    assert_int_equal(
        tracker_session_touch(&visitor, START - 100000, TIMEOUT, 0),
        TRACKER_SESSION_SAME);
    assert_int_equal(visitor.last_seen_s, START);
}


/* Another campaign begins a session; the same one, or none, does not. */
static void
test_campaign(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    visitor = visitor_of();
    assert_int_equal(tracker_session_touch(&visitor, START + 5, TIMEOUT, 7),
        TRACKER_SESSION_NEW);
    assert_int_equal(visitor.campaign, 7);
    assert_int_equal(visitor.session_number, 2);
    assert_int_equal(visitor.session_started_s, START + 5);

    assert_int_equal(tracker_session_touch(&visitor, START + 6, TIMEOUT, 7),
        TRACKER_SESSION_SAME);
    assert_int_equal(tracker_session_touch(&visitor, START + 6, TIMEOUT, 0),
        TRACKER_SESSION_SAME);
    assert_int_equal(visitor.campaign, 7);

    /* within the same second: the session's id still is another one */
    assert_int_equal(tracker_session_touch(&visitor, START + 5, TIMEOUT, 8),
        TRACKER_SESSION_NEW);
    assert_int_equal(visitor.session_started_s, START + 6);
    assert_int_equal(visitor.session_number, 3);

    /* silence forgets the campaign, which may then come again */
    assert_int_equal(
        tracker_session_touch(&visitor, START + 5 + TIMEOUT, TIMEOUT, 0),
        TRACKER_SESSION_NEW);
    assert_int_equal(visitor.campaign, 0);
}


static void
test_number_saturates(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    visitor = visitor_of();
    visitor.session_number = UINT16_MAX - 1;
    tracker_session_touch(&visitor, START + TIMEOUT, TIMEOUT, 0);
    assert_int_equal(visitor.session_number, UINT16_MAX);
    tracker_session_touch(&visitor, START + 2 * TIMEOUT, TIMEOUT, 0);
    assert_int_equal(visitor.session_number, UINT16_MAX);
    assert_int_equal(visitor.session_started_s, START + 2 * TIMEOUT);
}


static void
test_id(void **state)
{
    uint8_t           one[16], two[16];
    unsigned          bit;
    tracker_visitor_t visitor, other;

    (void) state;
    visitor = visitor_of();
    tracker_session_id(one, &visitor);
    assert_memory_not_equal(one, visitor.id, 16);
    assert_int_equal(one[6] >> 4, 7);
    assert_int_equal(one[8] >> 6, 2);

    /* Nothing but visitor and start matters. */
    other = visitor;
    other.last_seen_s += 5;
    other.session_number = 9;
    other.flags = 1;
    other.key_id = 3;
    tracker_session_id(two, &other);
    assert_memory_equal(one, two, 16);

    other.session_started_s++;
    tracker_session_id(two, &other);
    assert_memory_not_equal(one, two, 16);

    for (bit = 0; bit < 128; bit++) {
        other = visitor;
        other.id[bit / 8] ^= (uint8_t) (1 << bit % 8);
        tracker_session_id(two, &other);
        assert_memory_not_equal(one, two, 16);
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_clock_goes_back),
        cmocka_unit_test(test_campaign),
        cmocka_unit_test(test_number_saturates),
        cmocka_unit_test(test_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
