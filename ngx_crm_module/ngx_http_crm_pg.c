/*
 * ngx_http_crm_pg.c - asks PostgreSQL from the event loop, without waiting.
 *
 * A worker has two connections: one in pipeline mode for calls of functions in
 * schema edge, each with its own sync so that an error ends that call alone;
 * and one that listens.  Each has one function per state, one socket event and
 * one timer: the deadline of whatever is under way, or the pause before the
 * next attempt.  Anything unexpected ends the connection, every call under way
 * is answered with NULL, and the next attempt follows after a growing pause.
 *
 * libpq closes its socket by itself, even inside PQconnectPoll, and another
 * connection may then get the same number.  So epoll watches a duplicate, and
 * during the connect a fresh one after each step.  libpq resolves names with a
 * blocking call: the directive accepts addresses only.
 */

#include "ngx_http_crm_module.h"

#include <libpq-fe.h>


#define NGX_HTTP_CRM_PG_CONNECT_MS   3000  /* until the session is set up */
#define NGX_HTTP_CRM_PG_CALL_MS      2000  /* until a call is answered */
#define NGX_HTTP_CRM_PG_PING_MS      10000 /* of silence while listening */
#define NGX_HTTP_CRM_PG_PAUSE_MIN_MS 100
#define NGX_HTTP_CRM_PG_PAUSE_MAX_MS 5000
#define NGX_HTTP_CRM_PG_CALLS_MAX    256 /* under way; a power of two */
#define NGX_HTTP_CRM_PG_LOG_S        30  /* between two lines of a fault */

/* The server gives a call up earlier than we do, so that a slow query costs
 * that call and not the connection. */
#define NGX_HTTP_CRM_PG_SETUP "set statement_timeout = 1500"
#define NGX_HTTP_CRM_PG_LISTEN                                                 \
    NGX_HTTP_CRM_PG_SETUP "; listen crm_campaigns; listen crm_profiles"


typedef struct ngx_http_crm_pg_conn_s ngx_http_crm_pg_conn_t;

typedef void (*ngx_http_crm_pg_state_pt)(ngx_http_crm_pg_conn_t *pc);

typedef struct {
    ngx_str_t   name;
    ngx_uint_t  nparams;
    const char *sql;
} ngx_http_crm_pg_function_t;

typedef struct {
    const char        *name; /* for the log */
    ngx_http_crm_pg_pt done;
    void              *data;
    ngx_msec_t         deadline;
} ngx_http_crm_pg_call_t;

struct ngx_http_crm_pg_conn_s {
    ngx_http_crm_pg_t       *pg;
    const char              *what;    /* for the log */
    ngx_http_crm_pg_state_pt setup;   /* called once connected */
    ngx_http_crm_pg_state_pt state;   /* called when the socket is ready */
    ngx_http_crm_pg_state_pt expired; /* called when the time is over */
    PGconn                  *db;      /* NULL: pausing */
    ngx_connection_t        *c;       /* on a duplicate of libpq's socket */
    ngx_event_t              timer;
    ngx_connection_t         dummy; /* what a timer's data must look like */
    ngx_msec_t               pause; /* before the next attempt */
    time_t                   logged;
    unsigned                 ready : 1;
    unsigned                 told : 1;   /* the log knows that it is down */
    unsigned                 asked : 1;  /* listening: an answer is due */
    unsigned                 broken : 1; /* to be dropped by the event loop */
};

struct ngx_http_crm_pg_s {
    ngx_http_crm_main_conf_t *cmcf;
    ngx_log_t                *log;
    ngx_http_crm_pg_conn_t    caller;
    ngx_http_crm_pg_conn_t    listener;
    PGresult                 *result; /* of the oldest call, until its sync */
    ngx_uint_t                first;  /* the oldest call */
    ngx_uint_t                ncalls;
    ngx_http_crm_pg_call_t    calls[NGX_HTTP_CRM_PG_CALLS_MAX];
    unsigned                  announce : 1; /* the listener is new */
};


static const ngx_http_crm_pg_function_t ngx_http_crm_pg_functions[] = {
    {ngx_string("campaign_set"), 1, "select edge.campaign_set($1)"},
    {ngx_string("visitor"), 3, "select edge.visitor($1, $2, $3)"},
    {ngx_string("model"), 2, "select edge.model($1, $2)"},
    {ngx_null_string, 0, NULL}};


static void ngx_http_crm_pg_connect(ngx_http_crm_pg_conn_t *pc);


static void
ngx_http_crm_pg_event(ngx_event_t *ev)
{
    ngx_connection_t       *c = ev->data;
    ngx_http_crm_pg_conn_t *pc = c->data;

    pc->state(pc);
}


/* Notices of the server would go to stderr. */
static void
ngx_http_crm_pg_notice(void *data, const char *message)
{
    (void) data;
    (void) message;
}


static ngx_int_t
ngx_http_crm_pg_watch_one(ngx_event_t *ev, ngx_int_t event, ngx_uint_t on)
{
    if (on && !ev->active) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    if (!on && ev->active) {
        return ngx_del_event(ev, event, 0);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_pg_watch(
    ngx_http_crm_pg_conn_t *pc, ngx_uint_t read, ngx_uint_t write)
{
    if (ngx_http_crm_pg_watch_one(pc->c->read, NGX_READ_EVENT, read) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_crm_pg_watch_one(pc->c->write, NGX_WRITE_EVENT, write);
}


/*
 * The events go before the descriptor is closed: libpq's own descriptor keeps
 * the socket open, and epoll would go on reporting it.
 */
static void
ngx_http_crm_pg_detach(ngx_http_crm_pg_conn_t *pc)
{
    if (pc->c == NULL) {
        return;
    }

    (void) ngx_http_crm_pg_watch(pc, 0, 0);
    ngx_close_connection(pc->c);
    pc->c = NULL;
}


static ngx_int_t
ngx_http_crm_pg_attach(ngx_http_crm_pg_conn_t *pc)
{
    int               fd;
    ngx_connection_t *c;

    fd = fcntl(PQsocket(pc->db), F_DUPFD_CLOEXEC, 0);
    if (fd == -1) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, pc->pg->log);
    if (c == NULL) {
        (void) close(fd);
        return NGX_ERROR;
    }

    c->data = pc;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_crm_pg_event;
    c->write->handler = ngx_http_crm_pg_event;
    pc->c = c;

    return NGX_OK;
}


static void
ngx_http_crm_pg_expired(ngx_event_t *ev)
{
    ngx_connection_t       *dummy = ev->data;
    ngx_http_crm_pg_conn_t *pc = dummy->data;

    pc->expired(pc);
}


static void
ngx_http_crm_pg_timer(ngx_http_crm_pg_conn_t *pc,
    ngx_http_crm_pg_state_pt expired, ngx_msec_t delay)
{
    if (pc->timer.timer_set) {
        ngx_del_timer(&pc->timer);
    }

    pc->expired = expired;
    ngx_add_timer(&pc->timer, delay);
}


/* The oldest call goes; its callback comes last, as it may call again. */
static void
ngx_http_crm_pg_answer(ngx_http_crm_pg_t *pg, const char *text, size_t len)
{
    ngx_http_crm_pg_call_t *call, answered;

    call = &pg->calls[pg->first];
    answered = *call;

    pg->first = (pg->first + 1) % NGX_HTTP_CRM_PG_CALLS_MAX;
    pg->ncalls--;

    answered.done(answered.data, text, len);
}


static void
ngx_http_crm_pg_fail_all(ngx_http_crm_pg_t *pg)
{
    ngx_uint_t n;

    if (pg->result != NULL) {
        PQclear(pg->result);
        pg->result = NULL;
    }

    for (n = pg->ncalls; n > 0; n--) {
        ngx_http_crm_pg_answer(pg, NULL, 0);
    }
}


/* libpq's first line says it all; the others repeat or hint. */
static void
ngx_http_crm_pg_log(ngx_http_crm_pg_conn_t *pc, const char *reason)
{
    ngx_http_crm_count(pc->pg->cmcf, NGX_HTTP_CRM_PG_ERRORS);

    if (ngx_time() - pc->logged < NGX_HTTP_CRM_PG_LOG_S) {
        return;
    }

    pc->logged = ngx_time();
    pc->told = 1;

    if (*reason == '\0') {
        reason = "worker_connections are spent";
    }

    ngx_log_error(NGX_LOG_ERR, pc->pg->log, 0,
        "crm postgres %s: %*s, pages go on without", pc->what,
        strcspn(reason, "\r\n"), reason);
}


static void
ngx_http_crm_pg_close(ngx_http_crm_pg_conn_t *pc)
{
    if (pc->timer.timer_set) {
        ngx_del_timer(&pc->timer);
    }

    ngx_http_crm_pg_detach(pc);

    PQfinish(pc->db);
    pc->db = NULL;
    pc->ready = 0;
    pc->asked = 0;
    pc->broken = 0;
}


/* Ends the connection from any state and arms the next attempt. */
static void
ngx_http_crm_pg_drop(ngx_http_crm_pg_conn_t *pc, const char *reason)
{
    ngx_http_crm_pg_t *pg = pc->pg;

    ngx_http_crm_pg_log(pc, reason);
    ngx_http_crm_pg_close(pc);

    /* from half the pause to all of it, so that workers spread */
    ngx_http_crm_pg_timer(pc, ngx_http_crm_pg_connect,
        pc->pause / 2 + ngx_random() % (pc->pause / 2));
    pc->pause = ngx_min(pc->pause * 2, NGX_HTTP_CRM_PG_PAUSE_MAX_MS);

    if (pc == &pg->caller) {
        ngx_http_crm_pg_fail_all(pg);
    }
}


static void
ngx_http_crm_pg_deadline(ngx_http_crm_pg_conn_t *pc)
{
    ngx_http_crm_pg_drop(pc, pc->broken ? PQerrorMessage(pc->db) : "timed out");
}


/* Drops it a little later: callers and loops up the stack still use it. */
static void
ngx_http_crm_pg_break(ngx_http_crm_pg_conn_t *pc)
{
    pc->broken = 1;
    pc->ready = 0;
    ngx_http_crm_pg_timer(pc, ngx_http_crm_pg_deadline, 1);
}


/* What was missed while nobody listened is asked for again. */
static void
ngx_http_crm_pg_ready(ngx_http_crm_pg_conn_t *pc)
{
    ngx_http_crm_pg_t *pg = pc->pg;

    pc->ready = 1;
    pc->pause = NGX_HTTP_CRM_PG_PAUSE_MIN_MS;

    if (pc->told) {
        pc->told = 0;
        ngx_log_error(NGX_LOG_NOTICE, pg->log, 0,
            "crm postgres %s: connected again", pc->what);
    }

    if (pg->announce && pg->caller.ready && pg->listener.ready) {
        pg->announce = 0;
        ngx_http_crm_set_notified(pg->cmcf, "crm_campaigns", "");
        ngx_http_crm_set_notified(pg->cmcf, "crm_profiles", "");
    }
}


/* ---- the connection that calls ------------------------------------------ */

/* The timer stands at the deadline of the oldest call. */
static void
ngx_http_crm_pg_calls_timer(ngx_http_crm_pg_t *pg)
{
    ngx_msec_int_t left;

    if (pg->ncalls == 0) {
        if (pg->caller.timer.timer_set) {
            ngx_del_timer(&pg->caller.timer);
        }

        return;
    }

    left = (ngx_msec_int_t) (pg->calls[pg->first].deadline - ngx_current_msec);
    ngx_http_crm_pg_timer(
        &pg->caller, ngx_http_crm_pg_deadline, ngx_max(left, 1));
}


/* The message may repeat a parameter, which is personal: its code does. */
static void
ngx_http_crm_pg_refused(ngx_http_crm_pg_t *pg, const PGresult *result)
{
    u_char      reason[128];
    const char *code;

    code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    *ngx_snprintf(reason, sizeof(reason) - 1, "call of %s refused, code %s",
        pg->calls[pg->first].name, code != NULL ? code : "unknown") = '\0';

    ngx_http_crm_pg_log(&pg->caller, (char *) reason);
}


/* One result of the oldest call, or the sync that ends it. */
static void
ngx_http_crm_pg_result(ngx_http_crm_pg_t *pg, PGresult *result)
{
    PGresult *kept;

    switch (PQresultStatus(result)) {

    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        kept = pg->result;
        pg->result = NULL;

        if (kept == NULL) {
            ngx_http_crm_pg_answer(pg, NULL, 0);
        } else if (PQntuples(kept) == 0) {
            ngx_http_crm_pg_answer(pg, "", 0);
        } else {
            ngx_http_crm_pg_answer(
                pg, PQgetvalue(kept, 0, 0), PQgetlength(kept, 0, 0));
        }

        PQclear(kept);
        return;

    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        if (pg->result == NULL
            && (PQntuples(result) == 0
                || (PQnfields(result) == 1 && !PQgetisnull(result, 0, 0))))
        {
            pg->result = result;
            return;
        }
        break;

    default:
        ngx_http_crm_pg_refused(pg, result);
    }

    PQclear(result);
}


static void
ngx_http_crm_pg_calling(ngx_http_crm_pg_conn_t *pc)
{
    PGresult          *result;
    ngx_uint_t         nulls;
    ngx_http_crm_pg_t *pg = pc->pg;

    if (PQflush(pc->db) < 0 || !PQconsumeInput(pc->db)) {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    nulls = 0;

    /* a NULL ends one query, two in a row all that libpq has so far */
    while (pg->ncalls != 0 && nulls < 2 && !PQisBusy(pc->db)) {
        result = PQgetResult(pc->db);

        if (result == NULL) {
            nulls++;
            continue;
        }

        nulls = 0;

        if (PQstatus(pc->db) == CONNECTION_BAD) {
            PQclear(result);
            break;
        }

        ngx_http_crm_pg_result(pg, result);
    }

    if (pc->broken || PQstatus(pc->db) == CONNECTION_BAD
        || ngx_http_crm_pg_watch(pc, 1, PQflush(pc->db) > 0) != NGX_OK)
    {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    ngx_http_crm_pg_calls_timer(pg);
}


/*
 * Queues a statement and its sync.  A failure here comes back to a caller who
 * is told that no callback follows; the connection ends from the event loop.
 */
static ngx_int_t
ngx_http_crm_pg_send(ngx_http_crm_pg_t *pg, const char *sql,
    const char *const *params, ngx_uint_t nparams, ngx_http_crm_pg_call_t *call)
{
    ngx_http_crm_pg_conn_t *pc = &pg->caller;

    if (!PQsendQueryParams(
            pc->db, sql, (int) nparams, NULL, params, NULL, NULL, 0)
        || !PQpipelineSync(pc->db)
        || ngx_http_crm_pg_watch(pc, 1, PQflush(pc->db) > 0) != NGX_OK)
    {
        ngx_http_crm_pg_break(pc);
        return NGX_DECLINED;
    }

    call->deadline = ngx_current_msec + NGX_HTTP_CRM_PG_CALL_MS;
    pg->calls[(pg->first + pg->ncalls) % NGX_HTTP_CRM_PG_CALLS_MAX] = *call;

    if (pg->ncalls++ == 0) {
        ngx_http_crm_pg_calls_timer(pg);
    }

    return NGX_OK;
}


/* Answer to the set-up statement; without it the connection is no use. */
static void
ngx_http_crm_pg_caller_ready(void *data, const char *text, size_t len)
{
    ngx_http_crm_pg_conn_t *pc = data;

    (void) len;

    if (text != NULL) {
        ngx_http_crm_pg_ready(pc);
        return;
    }

    if (pc->db != NULL) {
        ngx_http_crm_pg_break(pc);
    }
}


static void
ngx_http_crm_pg_caller_setup(ngx_http_crm_pg_conn_t *pc)
{
    ngx_http_crm_pg_t     *pg = pc->pg;
    ngx_http_crm_pg_call_t call;

    call.name = "set";
    call.done = ngx_http_crm_pg_caller_ready;
    call.data = pc;

    pc->state = ngx_http_crm_pg_calling;

    if (PQsetnonblocking(pc->db, 1) != 0 || !PQenterPipelineMode(pc->db)) {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    ngx_del_timer(&pc->timer);
    (void) ngx_http_crm_pg_send(pg, NGX_HTTP_CRM_PG_SETUP, NULL, 0, &call);
}


ngx_int_t
ngx_http_crm_pg_call(ngx_http_crm_main_conf_t *cmcf, const char *function,
    const char *const *params, ngx_uint_t nparams, ngx_http_crm_pg_pt done,
    void *data)
{
    ngx_http_crm_pg_t                *pg = cmcf->pg;
    ngx_http_crm_pg_call_t            call;
    const ngx_http_crm_pg_function_t *f;

    if (pg == NULL || !pg->caller.ready
        || pg->ncalls == NGX_HTTP_CRM_PG_CALLS_MAX) {
        return NGX_DECLINED;
    }

    for (f = ngx_http_crm_pg_functions; f->sql != NULL; f++) {
        if (ngx_strcmp(f->name.data, function) == 0 && f->nparams == nparams) {
            call.name = (const char *) f->name.data;
            call.done = done;
            call.data = data;
            return ngx_http_crm_pg_send(pg, f->sql, params, nparams, &call);
        }
    }

    return NGX_DECLINED;
}


/* ---- the connection that listens ---------------------------------------- */

static void ngx_http_crm_pg_ping(ngx_http_crm_pg_conn_t *pc);


/* 0: the answer to LISTEN or to a ping was an error. */
static ngx_uint_t
ngx_http_crm_pg_listen_results(ngx_http_crm_pg_conn_t *pc)
{
    PGresult      *result;
    ExecStatusType status;

    while (!PQisBusy(pc->db)) {
        result = PQgetResult(pc->db);

        if (result == NULL) {
            if (pc->asked) {
                pc->asked = 0;
                ngx_http_crm_pg_timer(
                    pc, ngx_http_crm_pg_ping, NGX_HTTP_CRM_PG_PING_MS);
            }

            return 1;
        }

        status = PQresultStatus(result);
        PQclear(result);

        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_crm_pg_listening(ngx_http_crm_pg_conn_t *pc)
{
    PGnotify *note;

    if (PQflush(pc->db) < 0 || !PQconsumeInput(pc->db)
        || !ngx_http_crm_pg_listen_results(pc)
        || PQstatus(pc->db) == CONNECTION_BAD
        || ngx_http_crm_pg_watch(pc, 1, PQflush(pc->db) > 0) != NGX_OK)
    {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    if (!pc->asked && !pc->ready) {
        pc->pg->announce = 1;
        ngx_http_crm_pg_ready(pc);
    }

    for (note = PQnotifies(pc->db); note != NULL; note = PQnotifies(pc->db)) {
        ngx_http_crm_set_notified(pc->pg->cmcf, note->relname, note->extra);
        PQfreemem(note);
    }
}


/* Sends one statement, to be answered within a call's time. */
static void
ngx_http_crm_pg_ask(ngx_http_crm_pg_conn_t *pc, const char *sql)
{
    if (!PQsendQuery(pc->db, sql)
        || ngx_http_crm_pg_watch(pc, 1, PQflush(pc->db) > 0) != NGX_OK)
    {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    pc->asked = 1;
    ngx_http_crm_pg_timer(
        pc, ngx_http_crm_pg_deadline, NGX_HTTP_CRM_PG_CALL_MS);
}


/* A silent connection may be a dead one; nobody would tell. */
static void
ngx_http_crm_pg_ping(ngx_http_crm_pg_conn_t *pc)
{
    ngx_http_crm_pg_ask(pc, "select 1");
}


static void
ngx_http_crm_pg_listener_setup(ngx_http_crm_pg_conn_t *pc)
{
    pc->state = ngx_http_crm_pg_listening;

    (void) PQsetnonblocking(pc->db, 1);
    ngx_http_crm_pg_ask(pc, NGX_HTTP_CRM_PG_LISTEN);
}


/* ---- connecting --------------------------------------------------------- */

static void
ngx_http_crm_pg_connecting(ngx_http_crm_pg_conn_t *pc)
{
    ngx_uint_t                read, write;
    PostgresPollingStatusType status;

    /* libpq may close the socket in here: forget it first */
    ngx_http_crm_pg_detach(pc);

    status = PQconnectPoll(pc->db);
    read = (status == PGRES_POLLING_READING || status == PGRES_POLLING_OK);
    write = (status == PGRES_POLLING_WRITING);

    if ((!read && !write) || ngx_http_crm_pg_attach(pc) != NGX_OK
        || ngx_http_crm_pg_watch(pc, read, write) != NGX_OK)
    {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    if (status == PGRES_POLLING_OK) {
        pc->setup(pc);
    }
}


/* The last value of a keyword wins: those before dbname are defaults, those
 * after it are ours whatever the connection string says. */
static void
ngx_http_crm_pg_connect(ngx_http_crm_pg_conn_t *pc)
{
    static const char *const keywords[] = {"keepalives_idle",
        "keepalives_interval", "keepalives_count", "dbname", "gssencmode",
        "application_name", "client_encoding", NULL};

    const char *values[] = {
        "30", "10", "3", NULL, "disable", "ngx_crm", "UTF8", NULL};

    values[3] = (const char *) pc->pg->cmcf->pg_conninfo.data;

    pc->db = PQconnectStartParams(keywords, values, 1);

    if (pc->db == NULL) {
        ngx_http_crm_pg_drop(pc, "out of memory");
        return;
    }

    (void) PQsetNoticeProcessor(pc->db, ngx_http_crm_pg_notice, NULL);
    pc->state = ngx_http_crm_pg_connecting;

    if (PQstatus(pc->db) == CONNECTION_BAD
        || ngx_http_crm_pg_attach(pc) != NGX_OK
        || ngx_http_crm_pg_watch(pc, 0, 1) != NGX_OK)
    {
        ngx_http_crm_pg_drop(pc, PQerrorMessage(pc->db));
        return;
    }

    ngx_http_crm_pg_timer(
        pc, ngx_http_crm_pg_deadline, NGX_HTTP_CRM_PG_CONNECT_MS);
}


static void
ngx_http_crm_pg_conn_init(ngx_http_crm_pg_t *pg, ngx_http_crm_pg_conn_t *pc,
    const char *what, ngx_http_crm_pg_state_pt setup)
{
    pc->pg = pg;
    pc->what = what;
    pc->setup = setup;
    pc->pause = NGX_HTTP_CRM_PG_PAUSE_MIN_MS;
    pc->dummy.fd = (ngx_socket_t) -1;
    pc->dummy.data = pc;
    pc->timer.data = &pc->dummy;
    pc->timer.handler = ngx_http_crm_pg_expired;
    pc->timer.log = pg->log;
    pc->timer.cancelable = 1;

    /* from the event loop, when every part of the worker has been set up */
    ngx_http_crm_pg_timer(pc, ngx_http_crm_pg_connect, 1);
}


ngx_int_t
ngx_http_crm_pg_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_http_crm_pg_t *pg;

    if (cmcf->pg_conninfo.len == 0) {
        return NGX_DECLINED;
    }

    pg = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_pg_t));
    if (pg == NULL) {
        return NGX_ERROR;
    }

    pg->cmcf = cmcf;
    pg->log = cycle->log;
    cmcf->pg = pg;

    ngx_http_crm_pg_conn_init(
        pg, &pg->caller, "calls", ngx_http_crm_pg_caller_setup);
    ngx_http_crm_pg_conn_init(
        pg, &pg->listener, "notifications", ngx_http_crm_pg_listener_setup);

    return NGX_OK;
}


void
ngx_http_crm_pg_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_pg_t *pg = cmcf->pg;

    if (pg == NULL) {
        return;
    }

    ngx_http_crm_pg_close(&pg->caller);
    ngx_http_crm_pg_close(&pg->listener);
    ngx_http_crm_pg_fail_all(pg);
    cmcf->pg = NULL;
}


const char *
ngx_http_crm_pg_state(ngx_http_crm_main_conf_t *cmcf)
{
    if (cmcf->pg == NULL) {
        return "off";
    }

    return cmcf->pg->caller.ready && cmcf->pg->listener.ready ? "up" : "down";
}
