/*
 * test_redis_address.c - where Redis is, as people write it.
 */

#include "mining/mining.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


static mining_redis_address_t address;


static mining_result_e
parse(const char *text)
{
    const char     *fault;
    mining_result_e rc;

    fault = NULL;
    rc = mining_redis_parse(&address, text, &fault);
    assert_true(rc == MINING_OK || (rc == MINING_INVALID && fault != NULL));

    return rc;
}


static void
test_one_redis(void **state)
{
    (void) state;

    assert_int_equal(parse("10.0.0.1"), MINING_OK);
    assert_string_equal(address.seeds[0].host, "10.0.0.1");
    assert_int_equal(address.seeds[0].port, 6379);
    assert_int_equal(address.nseeds, 1);
    assert_int_equal(address.cluster, 0);

    assert_int_equal(parse("redis://host:7000/3"), MINING_OK);
    assert_string_equal(address.seeds[0].host, "host");
    assert_int_equal(address.seeds[0].port, 7000);
    assert_string_equal(address.db, "3");
    assert_string_equal(address.password, "");

    assert_int_equal(parse("unix:/run/redis.sock"), MINING_OK);
    assert_string_equal(address.unix_path, "/run/redis.sock");
    assert_int_equal(address.nseeds, 0);
}


static void
test_user_and_password(void **state)
{
    (void) state;

    assert_int_equal(parse("redis://me:p%40s%2fs:%3a@host:1/0"), MINING_OK);
    assert_string_equal(address.user, "me");
    assert_string_equal(address.password, "p@s/s::");
    assert_string_equal(address.seeds[0].host, "host");

    assert_int_equal(parse("redis://:word@host"), MINING_OK);
    assert_string_equal(address.user, "");
    assert_string_equal(address.password, "word");

    /* the last @ counts: passwords that hold one are common */
    assert_int_equal(parse("redis://me:a@b@host"), MINING_OK);
    assert_string_equal(address.password, "a@b");
}


static void
test_cluster(void **state)
{
    (void) state;

    assert_int_equal(parse("cluster:me:word@a:7000,b,c:7002"), MINING_OK);
    assert_int_equal(address.cluster, 1);
    assert_int_equal(address.nseeds, 3);
    assert_string_equal(address.password, "word");
    assert_string_equal(address.seeds[1].host, "b");
    assert_int_equal(address.seeds[1].port, 6379);
    assert_int_equal(address.seeds[2].port, 7002);
}


static void
test_what_is_refused(void **state)
{
    char                     many[1024];
    size_t                   i;
    static const char *const wrong[] = {"", ":", ":6379", "redis://",
        "host:", "host:0", "host:65536", "host:1x", "host/x", "host/123456789",
        "unix:", "rediss://host", "a,b", "redis://a,b",
        "cluster:", "cluster:a,", "cluster:,a", "cluster:a/0",
        "redis://me@host", "redis://me:@host", "redis://me:%4@host",
        "redis://me:%00@host", "redis://me:%g0@host"};

    (void) state;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(parse(wrong[i]), MINING_INVALID);
    }

    strcpy(many, "cluster:a");
    for (i = 1; i < MINING_REDIS_NODES; i++) {
        strcat(many, ",a");
    }
    assert_int_equal(parse(many), MINING_OK);
    strcat(many, ",a");
    assert_int_equal(parse(many), MINING_INVALID);

    memset(many, 'a', 300);
    many[300] = '\0';
    assert_int_equal(parse(many), MINING_INVALID);
    memcpy(many, "redis://", 8);
    memcpy(many + 200, ":b@h", 5);
    assert_int_equal(parse(many), MINING_INVALID);
}


static void
test_a_password_is_not_shown(void **state)
{
    char shown[64];

    (void) state;

    mining_redis_shown(shown, sizeof(shown), "redis://me:word@host:1/0");
    assert_string_equal(shown, "host:1/0");
    mining_redis_shown(shown, sizeof(shown), "cluster:me:w@rd@a:1,b:2");
    assert_string_equal(shown, "a:1,b:2");
    mining_redis_shown(shown, sizeof(shown), "redis://host/0");
    assert_string_equal(shown, "redis://host/0");
    mining_redis_shown(shown, sizeof(shown), "unix:/a@b");
    assert_string_equal(shown, "unix:/a@b");
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_redis),
        cmocka_unit_test(test_user_and_password),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_password_is_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
