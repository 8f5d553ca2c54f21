/*
 * test_visitor.c - the cookie against an independent HMAC and every forgery.
 */

#include "tracker/tracker.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>


#define NOW_S 1764000000u
#define STATE 32
#define MAC   16
#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "F0f1f2f3f4f5f6f7f8f9fafbfcfdfeffe0e1e2e3e4e5e6e7e8e9eaebecedeeef"

static const uint8_t random10[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};


static tracker_result_e
parse(tracker_keys_t *keys, const char *text, unsigned *line)
{
    return tracker_keys_parse(keys, text, strlen(text), line);
}


static void
keys_of(tracker_keys_t *keys, const char *text)
{
    unsigned line;

    assert_int_equal(parse(keys, text, &line), TRACKER_OK);
}


static tracker_visitor_t
visitor_of(void)
{
    tracker_visitor_t visitor;

    tracker_visitor_new(&visitor, NOW_S * UINT64_C(1000) + 123, random10);
    visitor.session_number = 0x1234;
    visitor.last_seen_s = NOW_S + 60;
    visitor.flags = TRACKER_VISITOR_RETURNED;

    return visitor;
}


/* 64 characters of base64url, by OpenSSL's ordinary base64. */
static void
to_base64url(char *text, const uint8_t *bytes)
{
    unsigned char base64[65];
    unsigned      i;

    EVP_EncodeBlock(base64, bytes, STATE + MAC);
    for (i = 0; i < TRACKER_COOKIE_LEN; i++) {
        text[i] = base64[i] == '+'   ? '-'
                  : base64[i] == '/' ? '_'
                                     : (char) base64[i];
    }
}


static void
from_base64url(uint8_t *bytes, const char *text)
{
    char     base64[TRACKER_COOKIE_LEN + 1];
    unsigned i;

    for (i = 0; i < TRACKER_COOKIE_LEN; i++) {
        base64[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    }
    assert_int_equal(
        EVP_DecodeBlock(bytes, (unsigned char *) base64, TRACKER_COOKIE_LEN),
        STATE + MAC);
}


static void
test_mac_is_hmac_sha256(void **state)
{
    char              cookie[TRACKER_COOKIE_LEN], expected[TRACKER_COOKIE_LEN];
    uint8_t           key[32], bytes[STATE + EVP_MAX_MD_SIZE];
    unsigned          i, len;
    tracker_keys_t    keys;
    tracker_visitor_t visitor;
    static const char head[] = {1, 7, 1, 0};
    static const char tail[] = "\x69\x24\x81\x00\x69\x24\x81\x3c\x12\x34\0";

    (void) state;
    keys_of(&keys, "7 " KEY_A "\n");
    visitor = visitor_of();
    tracker_visitor_encode(&keys, &visitor, cookie);

    for (i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t) i;
    }

    assert_int_equal(NOW_S, 0x69248100);
    memcpy(bytes, head, 4);
    memcpy(bytes + 4, visitor.id, 16);
    memcpy(bytes + 20, tail, 12);
    assert_non_null(HMAC(
        EVP_sha256(), key, sizeof(key), bytes, STATE, bytes + STATE, &len));
    to_base64url(expected, bytes);

    assert_memory_equal(cookie, expected, TRACKER_COOKIE_LEN);
}


static void
test_round_trip(void **state)
{
    char              cookie[TRACKER_COOKIE_LEN];
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&keys, "7 " KEY_A "\n");
    visitor = visitor_of();
    visitor.key_id = 7;
    tracker_visitor_encode(&keys, &visitor, cookie);

    memset(&back, 0xee, sizeof(back));
    assert_int_equal(
        tracker_visitor_decode(&keys, cookie, sizeof(cookie), NOW_S, &back),
        TRACKER_OK);
    assert_memory_equal(back.id, visitor.id, sizeof(visitor.id));
    assert_int_equal(back.session_started_s, visitor.session_started_s);
    assert_int_equal(back.last_seen_s, visitor.last_seen_s);
    assert_int_equal(back.session_number, visitor.session_number);
    assert_int_equal(back.flags, visitor.flags);
    assert_int_equal(back.key_id, 7);
}


static void
test_new_visitor(void **state)
{
    tracker_visitor_t visitor;

    (void) state;
    tracker_visitor_new(&visitor, NOW_S * UINT64_C(1000) + 999, random10);
    assert_int_equal(visitor.session_started_s, NOW_S);
    assert_int_equal(visitor.last_seen_s, NOW_S);
    assert_int_equal(visitor.session_number, 1);
    assert_int_equal(visitor.flags, 0);
    assert_int_equal(visitor.id[6] >> 4, 7);
}


static void
test_every_flipped_bit_is_refused(void **state)
{
    char              cookie[TRACKER_COOKIE_LEN], forged[TRACKER_COOKIE_LEN];
    uint8_t           bytes[STATE + MAC];
    unsigned          bit;
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&keys, "7 " KEY_A "\n6 " KEY_B "\n");
    visitor = visitor_of();
    tracker_visitor_encode(&keys, &visitor, cookie);

    /* Of what is encoded, ... */
    for (bit = 0; bit < 8 * (STATE + MAC); bit++) {
        from_base64url(bytes, cookie);
        bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
        to_base64url(forged, bytes);
        assert_int_equal(
            tracker_visitor_decode(&keys, forged, sizeof(forged), NOW_S, &back),
            TRACKER_INVALID);
    }

    /* ... and of what is sent. */
    for (bit = 0; bit < 8 * TRACKER_COOKIE_LEN; bit++) {
        memcpy(forged, cookie, sizeof(forged));
        forged[bit / 8] = (char) (forged[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(
            tracker_visitor_decode(&keys, forged, sizeof(forged), NOW_S, &back),
            TRACKER_INVALID);
    }
}


static void
test_every_byte_value_at_every_place(void **state)
{
    int               c;
    char              cookie[TRACKER_COOKIE_LEN], forged[TRACKER_COOKIE_LEN];
    unsigned          i;
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&keys, "7 " KEY_A);
    visitor = visitor_of();
    tracker_visitor_encode(&keys, &visitor, cookie);

    for (i = 0; i < TRACKER_COOKIE_LEN; i++) {
        for (c = 0; c < 256; c++) {
            memcpy(forged, cookie, sizeof(forged));
            forged[i] = (char) c;
            assert_int_equal(tracker_visitor_decode(
                                 &keys, forged, sizeof(forged), NOW_S, &back),
                forged[i] == cookie[i] ? TRACKER_OK : TRACKER_INVALID);
        }
    }
}


static void
test_wrong_lengths(void **state)
{
    char              cookie[9000];
    size_t            len;
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&keys, "7 " KEY_A);
    visitor = visitor_of();
    memset(cookie, 'A', sizeof(cookie));
    tracker_visitor_encode(&keys, &visitor, cookie);

    for (len = 0; len <= sizeof(cookie); len++) {
        assert_int_equal(
            tracker_visitor_decode(&keys, cookie, len, NOW_S, &back),
            len == TRACKER_COOKIE_LEN ? TRACKER_OK : TRACKER_INVALID);
    }

    assert_int_equal(
        tracker_visitor_decode(&keys, NULL, 0, NOW_S, &back), TRACKER_INVALID);
}


static void
test_times_ahead(void **state)
{
    char              cookie[TRACKER_COOKIE_LEN];
    tracker_keys_t    keys;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&keys, "7 " KEY_A);
    visitor = visitor_of();

    visitor.session_started_s = NOW_S;
    visitor.last_seen_s = NOW_S + 300;
    tracker_visitor_encode(&keys, &visitor, cookie);
    assert_int_equal(
        tracker_visitor_decode(&keys, cookie, sizeof(cookie), NOW_S, &back),
        TRACKER_OK);
    assert_int_equal(
        tracker_visitor_decode(&keys, cookie, sizeof(cookie), NOW_S - 1, &back),
        TRACKER_INVALID);

    visitor.last_seen_s = NOW_S;
    visitor.session_started_s = NOW_S + 301;
    tracker_visitor_encode(&keys, &visitor, cookie);
    assert_int_equal(
        tracker_visitor_decode(&keys, cookie, sizeof(cookie), NOW_S, &back),
        TRACKER_INVALID);

    /* The sum does not wrap. */
    assert_int_equal(tracker_visitor_decode(
                         &keys, cookie, sizeof(cookie), UINT32_MAX, &back),
        TRACKER_OK);
}


static void
test_key_rotation(void **state)
{
    char              before[TRACKER_COOKIE_LEN], after[TRACKER_COOKIE_LEN];
    tracker_keys_t    old, both, new;
    tracker_visitor_t visitor, back;

    (void) state;
    keys_of(&old, "1 " KEY_A "\n");
    keys_of(&both, "2 " KEY_B "\n1 " KEY_A "\n");
    keys_of(&new, "2 " KEY_B "\n");
    visitor = visitor_of();
    tracker_visitor_encode(&old, &visitor, before);
    tracker_visitor_encode(&both, &visitor, after);
    assert_memory_not_equal(before, after, sizeof(before));

    assert_int_equal(
        tracker_visitor_decode(&both, before, sizeof(before), NOW_S, &back),
        TRACKER_OK);
    assert_int_equal(back.key_id, 1);
    assert_int_equal(
        tracker_visitor_decode(&both, after, sizeof(after), NOW_S, &back),
        TRACKER_OK);
    assert_int_equal(back.key_id, 2);
    assert_int_equal(
        tracker_visitor_decode(&new, before, sizeof(before), NOW_S, &back),
        TRACKER_INVALID);
    assert_int_equal(
        tracker_visitor_decode(&old, after, sizeof(after), NOW_S, &back),
        TRACKER_INVALID);

    /* Another secret under the same id. */
    keys_of(&old, "1 " KEY_B "\n");
    assert_int_equal(
        tracker_visitor_decode(&old, before, sizeof(before), NOW_S, &back),
        TRACKER_INVALID);
}


static void
test_key_files(void **state)
{
    size_t         i;
    unsigned       line;
    tracker_keys_t keys;
    static const struct {
        const char *text;
        unsigned    line, nkeys;
    } cases[] = {
        {"7 " KEY_A, 0, 1},
        {"# all keys\n\n \t\r\n 255\t" KEY_A " \r\n0  " KEY_B " # old\n", 0, 2},
        {"", 0, 0},
        {"# none\n", 0, 0},
        {"7 " KEY_A "\n256 " KEY_B "\n", 2, 0},
        {"7 " KEY_A "\n7 " KEY_B "\n", 2, 0},
        {"-1 " KEY_A "\n", 1, 0},
        {"0007 " KEY_A "\n", 1, 0},
        {"7" KEY_A "\n", 1, 0},
        {KEY_A "\n", 1, 0},
        {"7\n", 1, 0},
        {"7 " KEY_A "0\n", 1, 0},
        {"7 g" KEY_A "\n", 1, 0},
        {"\n\n7 0123456789abcdef\n", 3, 0},
        {"7 " KEY_A " " KEY_B "\n", 1, 0},
        {"0 " KEY_A "\n1 " KEY_A "\n2 " KEY_A "\n3 " KEY_A "\n4 " KEY_A
         "\n5 " KEY_A "\n6 " KEY_A "\n7 " KEY_A "\n",
            0, 8},
        {"0 " KEY_A "\n1 " KEY_A "\n2 " KEY_A "\n3 " KEY_A "\n4 " KEY_A
         "\n5 " KEY_A "\n6 " KEY_A "\n7 " KEY_A "\n8 " KEY_A "\n",
            9, 0},
    };

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        line = 99;
        assert_int_equal(parse(&keys, cases[i].text, &line),
            cases[i].nkeys > 0 ? TRACKER_OK : TRACKER_INVALID);
        assert_int_equal(line, cases[i].line);
        if (cases[i].nkeys > 0) {
            assert_int_equal(keys.nkeys, cases[i].nkeys);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mac_is_hmac_sha256),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_new_visitor),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_every_byte_value_at_every_place),
        cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_times_ahead),
        cmocka_unit_test(test_key_rotation),
        cmocka_unit_test(test_key_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
