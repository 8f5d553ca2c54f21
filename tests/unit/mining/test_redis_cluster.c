/*
 * test_redis_cluster.c - what a closed cluster leaves behind: nothing.
 */

#include "mining/mining.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>


/*
 * A node died while a command to it was written.  It may never be connected to
 * again, so nothing may wait for its buffer to be flushed.
 */
static void
test_unsent_is_void(void **state)
{
    mining_redis_t *redis;

    (void) state;

    redis = calloc(1, sizeof(*redis));
    assert_non_null(redis);
    redis->cluster = 1;
    redis->nnodes = 2;
    redis->nodes[1].unflushed = 1;
    redis->owed = calloc(2, sizeof(*redis->owed));
    assert_non_null(redis->owed);
    redis->owed[1].command = strdup("*1\r\n$4\r\nPING\r\n");
    redis->owed_first = 1;
    redis->owed_last = 2;
    redis->owed_size = 2;

    mining_redis_close(redis);

    assert_int_equal(redis->owed_last, 0);
    assert_null(redis->owed);
    assert_int_equal(mining_cluster_flush(redis), MINING_OK);
    free(redis);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unsent_is_void),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
