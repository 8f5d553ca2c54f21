/*
 * identity.c - customers that are one, told by a person, and told back.
 *
 * Nothing merges by itself: etl.identity_merge wants a reviewer's name and
 * keeps what it moved, etl.identity_unmerge moves it back.  The log also shows
 * what was refused, which is where a person finds what to merge.
 */

#include <stdlib.h>
#include <string.h>

#include "mining.h"


typedef struct {
    const char *site;
    const char *reviewer;
    const char *reason;
    mining_db_t db;
} identity_t;

typedef mining_result_e (*identity_do_pt)(
    identity_t *identity, const char **words);

typedef struct {
    const char    *name;
    identity_do_pt run;
    unsigned       nwords;
    int            reviewed; /* wants --reviewer */
    const char    *usage;
} identity_command_t;


static mining_result_e
identity_merge(identity_t *identity, const char **words)
{
    int64_t         id;
    const char     *values[5];
    mining_result_e rc;

    values[0] = identity->site;
    values[1] = words[0];
    values[2] = words[1];
    values[3] = identity->reviewer;
    values[4] = identity->reason;

    rc = mining_db_number(&identity->db, &id,
        "select etl.identity_merge($1, $2, $3, $4, $5)", 5, values);
    if (rc == MINING_OK) {
        (void) printf("merge %lld\n", (long long) id);
    }

    return rc;
}


static mining_result_e
identity_unmerge(identity_t *identity, const char **words)
{
    int64_t         rows;
    const char     *values[3];
    mining_result_e rc;

    values[0] = identity->site;
    values[1] = words[0];
    values[2] = identity->reviewer;

    rc = mining_db_number(&identity->db, &rows,
        "select etl.identity_unmerge($1, $2::bigint, $3)", 3, values);
    if (rc == MINING_OK) {
        (void) printf("%lld rows went back\n", (long long) rows);
    }

    return rc;
}


static mining_result_e
identity_log(identity_t *identity, const char **words)
{
    int             i, n;
    PGresult       *res;
    mining_result_e rc;

    (void) words;

    rc = mining_db_query(&identity->db, &res,
        "select l.id, to_char(l.at, 'YYYY-MM-DD HH24:MI:SS'), l.outcome,"
        " l.from_id, l.into_id, l.who, l.reason,"
        " coalesce('undone by ' || l.reverted_by, '')"
        " from etl.identity_log($1) as l order by l.id",
        1, &identity->site);
    if (rc != MINING_OK) {
        return rc;
    }

    for (i = 0; i < PQntuples(res); i++) {
        for (n = 0; n < PQnfields(res); n++) {
            (void) printf("%s%s", n == 0 ? "" : "\t", PQgetvalue(res, i, n));
        }
        (void) printf("\n");
    }
    PQclear(res);

    return MINING_OK;
}


static mining_result_e
identity_find(identity_t *identity, const char **words)
{
    PGresult       *res;
    const char     *values[3];
    mining_result_e rc;

    values[0] = identity->site;
    values[1] = words[0];
    values[2] = words[1];

    rc = mining_db_query(
        &identity->db, &res, "select etl.identity_find($1, $2, $3)", 3, values);
    if (rc != MINING_OK) {
        return rc;
    }

    if (PQgetisnull(res, 0, 0)) {
        rc = MINING_DECLINED;
    } else {
        (void) printf("%s\n", PQgetvalue(res, 0, 0));
    }
    PQclear(res);

    return rc;
}


static const identity_command_t identity_commands[] = {
    {"merge", identity_merge, 2, 1,
        "identity merge FROM INTO --site SITE --reviewer NAME [--reason TEXT]"},
    {"unmerge", identity_unmerge, 1, 1,
        "identity unmerge MERGE --site SITE --reviewer NAME"},
    {"log", identity_log, 0, 0, "identity log --site SITE"},
    {"find", identity_find, 2, 0, "identity find KIND VALUE --site SITE"},
    {NULL, NULL, 0, 0, NULL}};


static const identity_command_t *
identity_command(
    const identity_t *identity, const char **words, unsigned nwords)
{
    const identity_command_t *command;

    for (command = identity_commands; command->name != NULL; command++) {
        if (nwords == 0 || strcmp(command->name, words[0]) != 0) {
            continue;
        }

        if (nwords == command->nwords + 1 && identity->site != NULL
            && (!command->reviewed || identity->reviewer != NULL))
        {
            return command;
        }

        mining_say("usage: %s", command->usage);
        return NULL;
    }

    for (command = identity_commands; command->name != NULL; command++) {
        mining_say("usage: %s", command->usage);
    }

    return NULL;
}


int
mining_identity(const mining_settings_t *settings, int argc, char **argv)
{
    unsigned                  nwords;
    identity_t                identity;
    const char               *words[64];
    mining_result_e           rc;
    const identity_command_t *command;

    const mining_option_t options[] = {
        {"--site", &identity.site, MINING_OPTION_TEXT, 0},
        {"--reviewer", &identity.reviewer, MINING_OPTION_TEXT, 0},
        {"--reason", &identity.reason, MINING_OPTION_TEXT, 0},
        {NULL, NULL, MINING_OPTION_FLAG, 0}};

    memset(&identity, 0, sizeof(identity));
    identity.db.stoppable = 1;

    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK)
    {
        return MINING_EXIT_USAGE;
    }

    command = identity_command(&identity, words, nwords);
    if (command == NULL) {
        return MINING_EXIT_USAGE;
    }

    rc = mining_db_open(&identity.db, settings->pg);
    if (rc == MINING_OK) {
        rc = command->run(&identity, words + 1);
    }

    if (rc == MINING_DECLINED) {
        mining_say("identity: nobody has that alias");

    } else if (rc != MINING_OK) {
        mining_say("identity: postgresql: %s", identity.db.error);
    }
    mining_db_close(&identity.db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
