/*
 * test_link.c - tokens that hand a visitor over, and all that is no token.
 */

#include "tracker/tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>


#define NOW 1764000000u

static const uint8_t random10[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};


static tracker_str_t
str(const char *text)
{
    tracker_str_t s = {text, strlen(text)};

    return s;
}


static tracker_keys_t
keys_of(const char *text)
{
    unsigned       line;
    tracker_keys_t keys;

    assert_int_equal(
        tracker_keys_parse(&keys, text, strlen(text), &line), TRACKER_OK);

    return keys;
}


#define KEY_7                                                                  \
    "7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define KEY_8                                                                  \
    "8 ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"


static tracker_visitor_t
visitor_of(void)
{
    tracker_visitor_t visitor;

    tracker_visitor_new(&visitor, (NOW - 100) * UINT64_C(1000), random10);
    visitor.session_number = 5;
    visitor.flags = TRACKER_VISITOR_RETURNED;

    return visitor;
}


static tracker_result_e
hand_over(const char *to, const char *at, uint32_t now_s)
{
    char              token[TRACKER_LINK_LEN];
    tracker_keys_t    keys = keys_of(KEY_7);
    tracker_visitor_t visitor = visitor_of(), back;

    assert_int_equal(
        tracker_link_encode(&keys, &visitor, str(to), NOW + 60, token),
        TRACKER_OK);

    return tracker_link_decode(
        &keys, (tracker_str_t){token, TRACKER_LINK_LEN}, str(at), now_s, &back);
}


static void
test_round_trip(void **state)
{
    char              token[TRACKER_LINK_LEN];
    tracker_keys_t    keys = keys_of(KEY_7), later = keys_of(KEY_8 KEY_7);
    tracker_visitor_t visitor = visitor_of(), back;

    (void) state;
    assert_int_equal(
        tracker_link_encode(&keys, &visitor, str("b.example"), NOW + 60, token),
        TRACKER_OK);
    assert_int_equal(
        tracker_link_decode(&later, (tracker_str_t){token, TRACKER_LINK_LEN},
            str("b.example"), NOW, &back),
        TRACKER_OK);
    assert_memory_equal(back.id, visitor.id, sizeof(back.id));
    assert_int_equal(back.session_started_s, visitor.session_started_s);
    assert_int_equal(back.session_number, 5);
    assert_int_equal(back.flags, visitor.flags);
    assert_int_equal(back.last_seen_s, NOW);
}


static void
test_bound_to_host_and_time(void **state)
{
    (void) state;
    assert_int_equal(hand_over("b.example", "b.example", NOW), TRACKER_OK);
    assert_int_equal(hand_over("B.Example", "b.example:8080", NOW), TRACKER_OK);
    assert_int_equal(hand_over("b.example", "c.example", NOW), TRACKER_INVALID);
    assert_int_equal(
        hand_over("b.example", "x.b.example", NOW), TRACKER_INVALID);
    assert_int_equal(hand_over("b.example", "", NOW), TRACKER_INVALID);
    assert_int_equal(hand_over("b.example", "b.example", NOW + 60), TRACKER_OK);
    assert_int_equal(
        hand_over("b.example", "b.example", NOW + 61), TRACKER_DECLINED);
    /* our clock is an hour behind the signer's */
    assert_int_equal(
        hand_over("b.example", "b.example", NOW - 3600), TRACKER_INVALID);
}


static void
test_every_change_is_refused(void **state)
{
    char              token[TRACKER_LINK_LEN], bad[TRACKER_LINK_LEN + 1];
    unsigned          i;
    tracker_keys_t    keys = keys_of(KEY_7), other = keys_of(KEY_8);
    tracker_visitor_t visitor = visitor_of(), back;

    (void) state;
    assert_int_equal(
        tracker_link_encode(&keys, &visitor, str("b.example"), NOW + 60, token),
        TRACKER_OK);

    for (i = 0; i < TRACKER_LINK_LEN; i++) {
        memcpy(bad, token, sizeof(token));
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_int_equal(
            tracker_link_decode(&keys, (tracker_str_t){bad, TRACKER_LINK_LEN},
                str("b.example"), NOW, &back),
            TRACKER_INVALID);
    }

    memcpy(bad, token, sizeof(token));
    for (i = 0; i <= TRACKER_LINK_LEN + 1; i++) {
        if (i != TRACKER_LINK_LEN) {
            assert_int_equal(tracker_link_decode(&keys, (tracker_str_t){bad, i},
                                 str("b.example"), NOW, &back),
                TRACKER_INVALID);
        }
    }

    assert_int_equal(
        tracker_link_decode(&other, (tracker_str_t){token, TRACKER_LINK_LEN},
            str("b.example"), NOW, &back),
        TRACKER_INVALID);

    /* neither is a cookie one, nor a link a cookie */
    tracker_visitor_encode(&keys, &visitor, bad);
    memset(bad + TRACKER_COOKIE_LEN, 'A', sizeof(bad) - TRACKER_COOKIE_LEN);
    assert_int_equal(
        tracker_link_decode(&keys, (tracker_str_t){bad, TRACKER_LINK_LEN},
            str("b.example"), NOW, &back),
        TRACKER_INVALID);
    assert_int_equal(
        tracker_visitor_decode(&keys, token, TRACKER_COOKIE_LEN, NOW, &back),
        TRACKER_INVALID);
}


static void
test_host_of_wrong_length(void **state)
{
    char              host[TRACKER_LINK_HOST_MAX + 1];
    char              token[TRACKER_LINK_LEN];
    tracker_keys_t    keys = keys_of(KEY_7);
    tracker_visitor_t visitor = visitor_of();

    (void) state;
    memset(host, 'a', sizeof(host));
    assert_int_equal(
        tracker_link_encode(&keys, &visitor,
            (tracker_str_t){host, TRACKER_LINK_HOST_MAX}, 1, token),
        TRACKER_OK);
    assert_int_equal(tracker_link_encode(&keys, &visitor,
                         (tracker_str_t){host, sizeof(host)}, 1, token),
        TRACKER_INVALID);
    assert_int_equal(tracker_link_encode(&keys, &visitor, str(""), 1, token),
        TRACKER_INVALID);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bound_to_host_and_time),
        cmocka_unit_test(test_every_change_is_refused),
        cmocka_unit_test(test_host_of_wrong_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
