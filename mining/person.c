/*
 * person.c - one person's data: export tells all of it, erase ends it.
 *
 * Which rows belong to a person is decided in one place, etl.person and
 * etl.erase.  What is not in PostgreSQL is the live session in Redis, by the
 * keys of the person's browsers: they are asked for before the rows that know
 * them are deleted.  Workers are told by NOTIFY when the erasure commits, and
 * a session they were about to write may still arrive within a flush, so its
 * key is deleted after a pause.  Batches in the streams stay as they are: what
 * they hold of the person is dropped when they are imported.
 */

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mining.h"


#define PERSON_WAIT_MS    5000
#define PERSON_PAUSE_MS   500 /* a worker writes sessions every 100 ms */
#define PERSON_KEY_MAX    128
#define PERSON_PLACES_MAX 32

typedef struct {
    const char *site;
    const char *customer; /* or NULL */
    const char *visitor;  /* or NULL */
    const char *out;
} person_t;

typedef struct {
    char     name[MINING_ID_MAX];
    uint64_t rows;
} person_place_t;


static mining_result_e
person_options(person_t *person, int argc, char **argv)
{
    unsigned    nwords;
    const char *words[64];

    const mining_option_t options[] = {
        {"--site", &person->site, MINING_OPTION_TEXT, 0},
        {"--customer", &person->customer, MINING_OPTION_TEXT, 0},
        {"--visitor", &person->visitor, MINING_OPTION_TEXT, 0},
        {"--out", &person->out, MINING_OPTION_TEXT, 0},
        {NULL, NULL, MINING_OPTION_FLAG, 0}};

    memset(person, 0, sizeof(*person));

    if (argc > 64
        || mining_options(options, argc, argv, words, &nwords) != MINING_OK)
    {
        return MINING_INVALID;
    }

    if (nwords != 0 || person->site == NULL
        || (person->customer == NULL) == (person->visitor == NULL))
    {
        mining_say("usage: %s --site SITE (--customer ID | --visitor UUID)%s",
            argv[0], strcmp(argv[0], "export") == 0 ? " [--out FILE]" : "");
        return MINING_INVALID;
    }

    return MINING_OK;
}


static void
person_values(const person_t *person, const char **values)
{
    values[0] = person->site;
    values[1] = person->customer;
    values[2] = person->visitor;
}


/* ---- Redis ---- */

/* One command about a session's key; the caller frees the reply. */
static mining_result_e
person_ask(mining_redis_t *redis, const char *command, const char *site,
    const char *vid, redisReply **reply)
{
    char            key[PERSON_KEY_MAX];
    size_t          lengths[2];
    const char     *argv[2];
    mining_result_e rc;

    *reply = NULL;
    key[0] = '\0';
    mining_text(key, sizeof(key), "crm:s:%s:%s", site, vid);

    argv[0] = command;
    argv[1] = key;
    lengths[0] = strlen(command);
    lengths[1] = strlen(key);

    rc = mining_redis_send(redis, 2, argv, lengths);

    return rc == MINING_OK ? mining_redis_take(redis, reply) : rc;
}


static mining_result_e
person_forget(mining_redis_t *redis, const person_t *person,
    const PGresult *vids, uint64_t *gone)
{
    int             i;
    redisReply     *reply;
    mining_result_e rc;

    rc = MINING_OK;

    for (i = 0; i < PQntuples(vids) && rc == MINING_OK; i++) {
        rc = person_ask(
            redis, "DEL", person->site, PQgetvalue(vids, i, 0), &reply);
        if (rc == MINING_OK && reply->type == REDIS_REPLY_INTEGER) {
            *gone += (uint64_t) reply->integer;
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }

    return rc;
}


static mining_result_e
person_stores(
    mining_db_t *db, mining_redis_t *redis, const mining_settings_t *settings)
{
    mining_result_e rc;

    memset(db, 0, sizeof(*db));
    memset(redis, 0, sizeof(*redis));
    db->stoppable = 1;

    rc = mining_redis_open(redis, settings->redis, PERSON_WAIT_MS);
    if (rc != MINING_OK) {
        mining_say("redis %s: %s: a person's sessions are there, nothing is "
                   "done without it",
            redis->where, redis->error);
        return rc;
    }

    rc = mining_db_open(db, settings->pg);
    if (rc != MINING_OK) {
        mining_say("postgresql: %s", db->error);
    }

    return rc;
}


/* ---- export ---- */

static void
person_count(person_place_t *places, unsigned *nplaces, const char *name)
{
    unsigned i;

    for (i = 0; i < *nplaces; i++) {
        if (strcmp(places[i].name, name) == 0) {
            places[i].rows++;
            return;
        }
    }

    if (*nplaces < PERSON_PLACES_MAX) {
        places[i].name[0] = '\0';
        mining_text(places[i].name, sizeof(places[i].name), "%s", name);
        places[i].rows = 1;
        (*nplaces)++;
    }
}


/* {"place":...,"id":...,"content":{...}}, one line each. */
static mining_result_e
person_write(FILE *out, const char *place, const char *id, const char *content)
{
    json_t         *line;
    mining_result_e rc;

    line = json_pack("{s:s, s:s, s:o?}", "place", place, "id", id, "content",
        json_loads(content, JSON_DECODE_ANY, NULL));
    if (line == NULL) {
        return MINING_NOMEM;
    }

    rc = json_dumpf(line, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF
             ? MINING_OK
             : MINING_LOST;
    json_decref(line);

    return rc;
}


static mining_result_e
person_sessions(mining_redis_t *redis, const person_t *person,
    const PGresult *vids, FILE *out, person_place_t *places, unsigned *nplaces)
{
    int             i;
    redisReply     *reply;
    mining_result_e rc;

    rc = MINING_OK;

    for (i = 0; i < PQntuples(vids) && rc == MINING_OK; i++) {
        rc = person_ask(
            redis, "GET", person->site, PQgetvalue(vids, i, 0), &reply);
        if (rc == MINING_OK && reply->type == REDIS_REPLY_STRING) {
            rc = person_write(
                out, "session", PQgetvalue(vids, i, 0), reply->str);
            person_count(places, nplaces, "session");
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
    }

    return rc;
}


static mining_result_e
person_rows(
    const PGresult *rows, FILE *out, person_place_t *places, unsigned *nplaces)
{
    int             i;
    mining_result_e rc;

    rc = MINING_OK;

    for (i = 0; i < PQntuples(rows) && rc == MINING_OK; i++) {
        rc = person_write(out, PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1),
            PQgetvalue(rows, i, 2));
        person_count(places, nplaces, PQgetvalue(rows, i, 0));
    }

    return rc;
}


static mining_result_e
person_export(
    mining_db_t *db, mining_redis_t *redis, const person_t *person, FILE *out)
{
    unsigned        i, nplaces;
    PGresult       *rows, *vids;
    const char     *values[3];
    person_place_t  places[PERSON_PLACES_MAX];
    mining_result_e rc;

    nplaces = 0;
    rows = NULL;
    vids = NULL;
    person_values(person, values);

    rc = mining_db_query(db, &rows,
        "select p.place, p.id, p.content::text"
        " from etl.person($1, $2, $3::uuid) as p order by p.place, p.id",
        3, values);
    if (rc == MINING_OK) {
        rc = mining_db_query(db, &vids,
            "select etl.person_visitors($1, $2, $3::uuid)", 3, values);
    }

    if (rc != MINING_OK) {
        mining_say("export: postgresql: %s", db->error);

    } else {
        rc = person_rows(rows, out, places, &nplaces);
        if (rc == MINING_OK) {
            rc = person_sessions(redis, person, vids, out, places, &nplaces);
        }
        if (rc == MINING_OK && fflush(out) != 0) {
            rc = MINING_LOST;
        }
        if (rc != MINING_OK) {
            mining_say("export: the data could not be written whole (%s)",
                mining_result_text(rc));
        }
    }

    for (i = 0; rc == MINING_OK && i < nplaces; i++) {
        mining_say("export: %s: %" PRIu64, places[i].name, places[i].rows);
    }
    if (rc == MINING_OK && nplaces == 0) {
        mining_say("export: nothing is known of that person");
    }

    PQclear(rows);
    PQclear(vids);

    return rc;
}


int
mining_export(const mining_settings_t *settings, int argc, char **argv)
{
    FILE           *out;
    person_t        person;
    mining_db_t     db;
    mining_redis_t  redis;
    mining_result_e rc;

    if (person_options(&person, argc, argv) != MINING_OK) {
        return MINING_EXIT_USAGE;
    }

    rc = person_stores(&db, &redis, settings);
    out = stdout;

    if (rc == MINING_OK && person.out != NULL) {
        /* nobody else may read it, and no file is overwritten */
        (void) umask(0077);
        out = fopen(person.out, "wxe");
        if (out == NULL) {
            mining_say("export: %s: %m", person.out);
            rc = MINING_INVALID;
        }
    }

    if (rc == MINING_OK) {
        rc = person_export(&db, &redis, &person, out);
    }
    if (out != NULL && out != stdout && fclose(out) != 0) {
        mining_say("export: %s: %m", person.out);
        rc = MINING_LOST;
    }

    mining_redis_close(&redis);
    mining_db_close(&db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


/* ---- erase ---- */

static mining_result_e
person_erase(mining_db_t *db, mining_redis_t *redis, const person_t *person)
{
    int             i;
    uint64_t        gone;
    PGresult       *vids, *counts;
    const char     *values[3];
    mining_result_e rc;

    vids = NULL;
    counts = NULL;
    gone = 0;
    person_values(person, values);

    rc = mining_db_query(
        db, &vids, "select etl.person_visitors($1, $2, $3::uuid)", 3, values);
    if (rc == MINING_OK) {
        rc = mining_db_query(db, &counts,
            "select e.place, e.n from etl.erase($1, $2, $3::uuid) as e", 3,
            values);
    }

    if (rc != MINING_OK) {
        mining_say("erase: postgresql: %s", db->error);

    } else {
        rc = person_forget(redis, person, vids, &gone);
        if (rc == MINING_OK && PQntuples(vids) > 0) {
            mining_pause_ms(PERSON_PAUSE_MS);
            rc = person_forget(redis, person, vids, &gone);
        }
        if (rc != MINING_OK) {
            mining_say("erase: redis %s: %s: the database is done, sessions "
                       "expire by themselves",
                redis->where, redis->error);
        }

        for (i = 0; i < PQntuples(counts); i++) {
            (void) printf(
                "%s: %s\n", PQgetvalue(counts, i, 0), PQgetvalue(counts, i, 1));
        }
        (void) printf("redis session: %" PRIu64 "\n", gone);
    }

    PQclear(vids);
    PQclear(counts);

    return rc;
}


int
mining_erase(const mining_settings_t *settings, int argc, char **argv)
{
    person_t        person;
    mining_db_t     db;
    mining_redis_t  redis;
    mining_result_e rc;

    if (person_options(&person, argc, argv) != MINING_OK) {
        return MINING_EXIT_USAGE;
    }

    if (person.out != NULL) {
        mining_say("erase has no option --out");
        return MINING_EXIT_USAGE;
    }

    rc = person_stores(&db, &redis, settings);
    if (rc == MINING_OK) {
        rc = person_erase(&db, &redis, &person);
    }

    mining_redis_close(&redis);
    mining_db_close(&db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
