/*
 * db.c - PostgreSQL: statements and COPY with a deadline on every wait.
 *
 * The connection is non-blocking, so that a server that hangs (stopped, gone
 * from the net, stuck on a lock) costs at most wait_ms and a stop signal is
 * seen within MINING_DB_SLICE_MS.  After LOST the connection is closed: no
 * statement may follow on it.
 *
 * Error texts carry the server's DETAIL and HINT, folded into one line.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define MINING_DB_SLICE_MS   200
#define MINING_DB_CHUNK      65536 /* bytes handed to libpq at once */
#define MINING_DB_CONNECT    "5"   /* seconds */
#define MINING_DB_STOPPED_MS 5000  /* patience once asked to stop */


/* Folds line feeds and doubled blanks away: one message, one line. */
static void
db_fold(char *text)
{
    char *from, *to;

    for (from = to = text; *from != '\0'; from++) {
        if (*from == '\n' || *from == '\t' || *from == '\r') {
            *from = ' ';
        }
        if (*from == ' ' && (to == text || to[-1] == ' ')) {
            continue;
        }
        *to++ = *from;
    }

    while (to > text && to[-1] == ' ') {
        to--;
    }
    *to = '\0';
}


static void
db_fail_server(mining_db_t *db, const PGresult *res)
{
    unsigned    i;
    const char *part;
    static const struct {
        int         field;
        const char *label;
    } parts[] = {
        {PG_DIAG_MESSAGE_PRIMARY, ""},
        {PG_DIAG_MESSAGE_DETAIL, "; detail: "},
        {PG_DIAG_MESSAGE_HINT, "; hint: "},
        {PG_DIAG_CONTEXT, "; at: "},
    };

    db->error[0] = '\0';
    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        part = PQresultErrorField(res, parts[i].field);
        /* Of contexts only COPY's says something to people. */
        if (part != NULL
            && (parts[i].field != PG_DIAG_CONTEXT
                || strncmp(part, "COPY ", 5) == 0))
        {
            mining_text(
                db->error, sizeof(db->error), "%s%s", parts[i].label, part);
        }
    }

    if (db->error[0] == '\0') {
        mining_text(
            db->error, sizeof(db->error), "%s", PQresultErrorMessage(res));
    }

    part = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    db->position = part != NULL ? (int) strtol(part, NULL, 10) : 0;

    part = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    db->sqlstate[0] = '\0';
    if (part != NULL) {
        mining_text(db->sqlstate, sizeof(db->sqlstate), "%s", part);
    }

    db_fold(db->error);
}


static mining_result_e
db_lost(mining_db_t *db, const char *why)
{
    db->error[0] = '\0';
    db->sqlstate[0] = '\0';
    db->position = 0;

    mining_text(db->error, sizeof(db->error), "%s",
        why != NULL ? why : PQerrorMessage(db->conn));
    db_fold(db->error);

    PQfinish(db->conn);
    db->conn = NULL;

    return MINING_LOST;
}


static mining_result_e
db_not_open(mining_db_t *db)
{
    db->sqlstate[0] = '\0';
    db->error[0] = '\0';
    mining_text(db->error, sizeof(db->error), "not connected");

    return MINING_LOST;
}


/* libpq would write warnings of the server to stderr in its own way. */
static void
db_notice(void *arg, const char *message)
{
    char text[512];

    (void) arg;
    text[0] = '\0';
    mining_text(text, sizeof(text), "%s", message);
    db_fold(text);
    mining_say("postgresql: %s", text);
}


mining_result_e
mining_db_open(mining_db_t *db, const char *conninfo)
{
    const char *keys[] = {"connect_timeout", "application_name", "dbname",
        "client_encoding", NULL};
    const char *values[] = {MINING_DB_CONNECT, "crm-mine", NULL, "UTF8", NULL};

    db->error[0] = '\0';
    db->sqlstate[0] = '\0';

    if (conninfo == NULL) {
        conninfo = "";
    }
    values[2] = conninfo;

    db->conn = PQconnectdbParams(keys, values, 1);
    if (db->conn == NULL) {
        mining_text(db->error, sizeof(db->error), "out of memory");
        return MINING_NOMEM;
    }

    (void) PQsetNoticeProcessor(db->conn, db_notice, NULL);

    if (PQstatus(db->conn) != CONNECTION_OK
        || PQsetnonblocking(db->conn, 1) != 0) {
        return db_lost(db, NULL);
    }

    return mining_db_exec(db,
        "set timezone to 'UTC'; set client_min_messages to warning; "
        "set synchronous_commit to on");
}


void
mining_db_close(mining_db_t *db)
{
    if (db->conn != NULL) {
        PQfinish(db->conn);
        db->conn = NULL;
    }
}


static void
db_cancel(mining_db_t *db)
{
    char      why[256];
    PGcancel *cancel;

    cancel = PQgetCancel(db->conn);
    if (cancel != NULL) {
        (void) PQcancel(cancel, why, sizeof(why));
        PQfreeCancel(cancel);
    }
}


/* Waits for the socket; *since is when the server was last heard. */
static mining_result_e
db_wait(mining_db_t *db, short events, int64_t since)
{
    int           n;
    int64_t       silence;
    struct pollfd pfd;

    pfd.fd = PQsocket(db->conn);
    pfd.events = events;

    for (;;) {
        n = poll(&pfd, 1, MINING_DB_SLICE_MS);
        if (n > 0) {
            return MINING_OK;
        }

        if (n < 0 && errno != EINTR) {
            return db_lost(db, "poll failed");
        }

        silence = mining_tick_ms() - since;

        if (mining_stop && (db->stoppable || silence > MINING_DB_STOPPED_MS)) {
            db_cancel(db);
            (void) db_lost(db, "stopped by a signal");
            return MINING_STOPPED;
        }

        if (db->wait_ms != 0 && silence > (int64_t) db->wait_ms) {
            return db_lost(db, "the server did not answer in time");
        }
    }
}


static mining_result_e
db_flush(mining_db_t *db)
{
    int             left;
    int64_t         since;
    mining_result_e rc;

    since = mining_tick_ms();

    while ((left = PQflush(db->conn)) > 0) {
        rc = db_wait(db, POLLIN | POLLOUT, since);
        if (rc != MINING_OK) {
            return rc;
        }
        if (PQconsumeInput(db->conn) == 0) {
            return db_lost(db, NULL);
        }
    }

    return left == 0 ? MINING_OK : db_lost(db, NULL);
}


/* The next result; *res NULL: the statement is over. */
static mining_result_e
db_result(mining_db_t *db, PGresult **res)
{
    int64_t         since;
    mining_result_e rc;

    *res = NULL;
    since = mining_tick_ms();

    while (PQisBusy(db->conn)) {
        rc = db_wait(db, POLLIN, since);
        if (rc != MINING_OK) {
            return rc;
        }
        if (PQconsumeInput(db->conn) == 0) {
            return db_lost(db, NULL);
        }
    }

    *res = PQgetResult(db->conn);

    return MINING_OK;
}


/* Takes all results of what was sent; keeps the last good one. */
static mining_result_e
db_results(mining_db_t *db, PGresult **kept)
{
    PGresult       *res;
    ExecStatusType  status;
    mining_result_e rc, answer;

    answer = MINING_OK;

    for (;;) {
        rc = db_result(db, &res);
        if (rc != MINING_OK) {
            return rc;
        }

        if (res == NULL) {
            break;
        }

        status = PQresultStatus(res);
        if (status == PGRES_TUPLES_OK && kept != NULL) {
            PQclear(*kept);
            *kept = res;
            continue;
        }

        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT
            || status == PGRES_COPY_BOTH)
        {
            PQclear(res);
            return db_lost(db, "unexpected COPY");
        }

        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK
            && status != PGRES_EMPTY_QUERY && answer == MINING_OK)
        {
            db_fail_server(db, res);
            answer = MINING_REFUSED;
        }
        PQclear(res);
    }

    if (PQstatus(db->conn) == CONNECTION_BAD) {
        return db_lost(db, db->error[0] != '\0' ? db->error : NULL);
    }

    return answer;
}


mining_result_e
mining_db_exec(mining_db_t *db, const char *sql)
{
    mining_result_e rc;

    if (db->conn == NULL) {
        return db_not_open(db);
    }

    db->error[0] = '\0';

    if (PQsendQuery(db->conn, sql) == 0) {
        return db_lost(db, NULL);
    }

    rc = db_flush(db);

    return rc == MINING_OK ? db_results(db, NULL) : rc;
}


mining_result_e
mining_db_query(mining_db_t *db, PGresult **res, const char *sql, int nvalues,
    const char *const *values)
{
    PGresult       *kept;
    mining_result_e rc;

    kept = NULL;
    if (res != NULL) {
        *res = NULL;
    }

    if (db->conn == NULL) {
        return db_not_open(db);
    }

    db->error[0] = '\0';

    if (PQsendQueryParams(db->conn, sql, nvalues, NULL, values, NULL, NULL, 0)
        == 0) {
        return db_lost(db, NULL);
    }

    rc = db_flush(db);
    if (rc == MINING_OK) {
        rc = db_results(db, &kept);
    }

    if (rc == MINING_OK && res != NULL) {
        *res = kept;
        return MINING_OK;
    }

    PQclear(kept);

    return rc;
}


mining_result_e
mining_db_number(mining_db_t *db, int64_t *number, const char *sql, int nvalues,
    const char *const *values)
{
    PGresult       *res;
    mining_result_e rc;

    *number = 0;

    rc = mining_db_query(db, &res, sql, nvalues, values);
    if (rc != MINING_OK) {
        return rc;
    }

    if (res != NULL && PQntuples(res) > 0 && !PQgetisnull(res, 0, 0)) {
        *number = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    }

    PQclear(res);

    return MINING_OK;
}


mining_result_e
mining_db_copy_begin(mining_db_t *db, const char *sql)
{
    PGresult       *res;
    ExecStatusType  status;
    mining_result_e rc;

    if (db->conn == NULL) {
        return db_not_open(db);
    }

    db->error[0] = '\0';

    if (PQsendQuery(db->conn, sql) == 0) {
        return db_lost(db, NULL);
    }

    rc = db_flush(db);
    if (rc != MINING_OK) {
        return rc;
    }

    for (;;) {
        rc = db_result(db, &res);
        if (rc != MINING_OK) {
            return rc;
        }

        if (res == NULL) {
            return db_lost(db, "no COPY was entered");
        }

        status = PQresultStatus(res);
        if (status == PGRES_COPY_IN) {
            PQclear(res);
            return MINING_OK;
        }

        if (status != PGRES_COMMAND_OK) {
            db_fail_server(db, res);
            PQclear(res);
            rc = db_results(db, NULL);
            return rc == MINING_OK ? MINING_REFUSED : rc;
        }
        PQclear(res);
    }
}


static mining_result_e
db_put(mining_db_t *db, const char *data, size_t len, size_t *sent)
{
    size_t n;

    n = len - *sent;
    if (n > MINING_DB_CHUNK) {
        n = MINING_DB_CHUNK;
    }

    if (PQputCopyData(db->conn, data + *sent, (int) n) != 1) {
        return db_lost(db, NULL);
    }

    *sent += n;

    return MINING_OK;
}


mining_result_e
mining_db_copy_pump(mining_db_t *db, const char *data, size_t len, size_t *sent)
{
    int             left;
    mining_result_e rc;

    if (db->conn == NULL) {
        return db_not_open(db);
    }

    /* One chunk in libpq at a time: its buffer grows without a bound. */
    while (len - *sent >= MINING_DB_CHUNK) {
        left = PQflush(db->conn);
        if (left < 0) {
            return db_lost(db, NULL);
        }
        if (left > 0) {
            return PQconsumeInput(db->conn) ? MINING_OK : db_lost(db, NULL);
        }

        rc = db_put(db, data, len, sent);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    return MINING_OK;
}


mining_result_e
mining_db_copy_end(mining_db_t *db, const char *data, size_t len, size_t *sent)
{
    mining_result_e rc;

    if (db->conn == NULL) {
        return db_not_open(db);
    }

    while (*sent < len) {
        rc = db_flush(db);
        if (rc == MINING_OK) {
            rc = db_put(db, data, len, sent);
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    rc = db_flush(db);
    if (rc != MINING_OK) {
        return rc;
    }

    if (PQputCopyEnd(db->conn, NULL) != 1) {
        return db_lost(db, NULL);
    }

    rc = db_flush(db);

    return rc == MINING_OK ? db_results(db, NULL) : rc;
}


int
mining_db_data_error(const mining_db_t *db)
{
    /*
     * 22 data exception, 23 integrity, 54 program limits, CRM02 a value that
     * our functions refuse.  Anything else (rights, shutdown, disk, a position
     * that is not ours any more) is no row's fault.
     */
    return strncmp(db->sqlstate, "22", 2) == 0
           || strncmp(db->sqlstate, "23", 2) == 0
           || strncmp(db->sqlstate, "54", 2) == 0
           || strcmp(db->sqlstate, "CRM02") == 0;
}
