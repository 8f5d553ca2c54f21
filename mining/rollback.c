/*
 * rollback.c - what a person does about a run: takes it back, or stands for it.
 *
 *     crm-mine rollback RUN
 *     crm-mine review RUN --reviewer NAME
 *
 * Going back is one transaction like publishing: pages see the results of the
 * run before, or still those of this one.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define ROLLBACK_DIGITS 18 /* of a run's number */


static int
rollback_number(const char *word)
{
    size_t len;

    len = strlen(word);

    return len > 0 && len <= ROLLBACK_DIGITS
           && strspn(word, "0123456789") == len;
}


int
mining_rollback(const mining_settings_t *settings, int argc, char **argv)
{
    int64_t         changed;
    unsigned        nwords;
    const char     *words[64];
    mining_db_t     db;
    mining_result_e rc;

    const mining_option_t options[] = {{NULL, NULL, MINING_OPTION_FLAG, 0}};

    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK
        || nwords != 1 || !rollback_number(words[0]))
    {
        mining_say("usage: rollback RUN");
        return MINING_EXIT_USAGE;
    }

    memset(&db, 0, sizeof(db));
    db.stoppable = 1;
    rc = mining_db_open(&db, settings->pg);
    if (rc == MINING_OK) {
        rc = mining_db_number(
            &db, &changed, "select etl.rollback($1::bigint)", 1, words);
    }
    if (rc == MINING_OK) {
        (void) printf("run %s is withdrawn, %" PRId64 " rows changed\n",
            words[0], changed);
    } else {
        mining_say("rollback: %s", db.error);
    }
    mining_db_close(&db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_review(const mining_settings_t *settings, int argc, char **argv)
{
    unsigned        nwords;
    const char     *words[64], *values[2];
    mining_db_t     db;
    mining_result_e rc;

    const mining_option_t options[] = {
        {"--reviewer", &values[1], MINING_OPTION_TEXT, 0},
        {NULL, NULL, MINING_OPTION_FLAG, 0}};

    values[1] = NULL;
    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK
        || nwords != 1 || !rollback_number(words[0]) || values[1] == NULL)
    {
        mining_say("usage: review RUN --reviewer NAME");
        return MINING_EXIT_USAGE;
    }

    memset(&db, 0, sizeof(db));
    db.stoppable = 1;
    values[0] = words[0];
    rc = mining_db_open(&db, settings->pg);
    if (rc == MINING_OK) {
        rc = mining_db_query(
            &db, NULL, "select etl.run_review($1::bigint, $2)", 2, values);
    }
    if (rc != MINING_OK) {
        mining_say("review: %s", db.error);
    }
    mining_db_close(&db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
