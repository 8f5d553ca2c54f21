/*
 * mining.h - what the files of crm-mine know of each other.
 *
 * The program has one thread and waits only with a deadline: for PostgreSQL in
 * db.c, for Redis in redis.c.  Every store access goes through these two, so
 * that "down", "hanging" and "answers nonsense" are met in one place each.
 */

#ifndef MINING_H_INCLUDED_
#define MINING_H_INCLUDED_

#include <jansson.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "../tracker/tracker.h"

#pragma GCC visibility push(hidden)


typedef enum {
    MINING_OK = 0,
    MINING_DECLINED, /* nothing to do, or the end of the input */
    MINING_INVALID,  /* the input is refused; a message says where */
    MINING_FULL,     /* a limit is reached */
    MINING_NOMEM,
    MINING_REFUSED, /* the store answered with an error */
    MINING_LOST,    /* the store is unreachable, hangs or talks nonsense */
    MINING_STOPPED  /* a signal asked to stop */
} mining_result_e;

const char *mining_result_text(mining_result_e rc);

#define MINING_EXIT_OK     0
#define MINING_EXIT_FAILED 1
#define MINING_EXIT_USAGE  2

#define MINING_US_PER_S   1000000LL
#define MINING_US_PER_DAY (86400LL * MINING_US_PER_S)
/* 1990-01-01: nothing the shop knows is older (etl.ensure_partitions). */
#define MINING_FIRST_DAY 7305  /* days since 1970 */
#define MINING_DAYS_MAX  40000 /* up to the year 2079 */
#define MINING_ID_MAX    64    /* bytes of an id */

typedef struct {
    const char *pg;    /* libpq conninfo or URI */
    const char *redis; /* as mining_redis_parse reads it */
    const char *program;
} mining_settings_t;

typedef int (*mining_command_pt)(
    const mining_settings_t *settings, int argc, char **argv);

int mining_migrate(const mining_settings_t *settings, int argc, char **argv);
int mining_import(const mining_settings_t *settings, int argc, char **argv);
int mining_load(const mining_settings_t *settings, int argc, char **argv);
int mining_run(const mining_settings_t *settings, int argc, char **argv);
int mining_rollback(const mining_settings_t *settings, int argc, char **argv);
int mining_review(const mining_settings_t *settings, int argc, char **argv);
int mining_evaluate(const mining_settings_t *settings, int argc, char **argv);
int mining_campaigns(const mining_settings_t *settings, int argc, char **argv);
int mining_status(const mining_settings_t *settings, int argc, char **argv);
int mining_rejects(const mining_settings_t *settings, int argc, char **argv);
int mining_export(const mining_settings_t *settings, int argc, char **argv);
int mining_erase(const mining_settings_t *settings, int argc, char **argv);
int mining_identity(const mining_settings_t *settings, int argc, char **argv);


/* ---- report.c: words for people and logs, the clock, the stop signal ---- */

extern volatile sig_atomic_t mining_stop; /* set by SIGINT and SIGTERM */

void mining_stop_on_signals(void);
/* From now on every message begins with the time (UTC). */
void mining_report_times(void);
void mining_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Adds words to a sentence of at most size - 1 bytes; returns buf. */
char *mining_text(char *buf, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int64_t mining_now_us(void);  /* UTC */
int64_t mining_tick_ms(void); /* monotonic */
/* Sleeps, shorter when a stop signal comes. */
void mining_pause_ms(unsigned ms);


/* ---- options.c: words of the command line ------------------------------- */

typedef enum {
    MINING_OPTION_FLAG, /* value: int *, set to 1 */
    MINING_OPTION_TEXT, /* value: const char ** */
    MINING_OPTION_COUNT /* value: unsigned *, 1 ... max */
} mining_option_e;

typedef struct {
    const char     *name; /* "--site"; NULL ends the table */
    void           *value;
    mining_option_e kind;
    unsigned        max; /* of COUNT */
} mining_option_t;

/*
 * Takes the options out of argv (from argv[1]) and leaves the other words in
 * words[0..*nwords).  INVALID after saying what is wrong.
 */
mining_result_e mining_options(const mining_option_t *options, int argc,
    char **argv, const char **words, unsigned *nwords);


/* ---- progress.c: how far a long work is --------------------------------- */

typedef struct {
    const char *what;     /* "loading orders" */
    uint64_t    total;    /* 0: unknown */
    int64_t     start_ms; /* of mining_tick_ms */
    int64_t     shown_ms;
    int         terminal; /* 1: a bar, redrawn; 0: a line now and then */
    int         drawn;    /* a bar stands on the line */
} mining_progress_t;

void mining_progress_start(
    mining_progress_t *progress, const char *what, uint64_t total);
/* done of total (bytes or steps); count of what was made so far, for people. */
void mining_progress_show(
    mining_progress_t *progress, uint64_t done, uint64_t count);
void mining_progress_end(mining_progress_t *progress, uint64_t count);


/* ---- db.c: PostgreSQL --------------------------------------------------- */

typedef struct {
    PGconn  *conn;        /* NULL: not connected */
    unsigned wait_ms;     /* longest silence of the server; 0: no limit */
    int      stoppable;   /* 1: a stop signal cancels what runs */
    char     error[1024]; /* of the last failure, in one line */
    int      position;    /* in the statement, from 1; 0: unknown */
    char     sqlstate[6]; /* of the last failure, "" if not the server's */
} mining_db_t;

mining_result_e mining_db_open(mining_db_t *db, const char *conninfo);
void            mining_db_close(mining_db_t *db);
/* Several statements without parameters; results are dropped. */
mining_result_e mining_db_exec(mining_db_t *db, const char *sql);
/* One statement with text parameters; *res (may be NULL) is PQclear'ed by the
 * caller. */
mining_result_e mining_db_query(mining_db_t *db, PGresult **res,
    const char *sql, int nvalues, const char *const *values);
/* One statement, one integer. */
mining_result_e mining_db_number(mining_db_t *db, int64_t *number,
    const char *sql, int nvalues, const char *const *values);
/* Enters COPY FROM STDIN; sql may hold a statement before it. */
mining_result_e mining_db_copy_begin(mining_db_t *db, const char *sql);
/* Hands data[*sent..len) over as far as the socket takes it at once. */
mining_result_e mining_db_copy_pump(
    mining_db_t *db, const char *data, size_t len, size_t *sent);
/* Hands over the rest, waiting, and ends the COPY. */
mining_result_e mining_db_copy_end(
    mining_db_t *db, const char *data, size_t len, size_t *sent);
/* 1 when the last failure was about the data, not about the server. */
int mining_db_data_error(const mining_db_t *db);


/* ---- redis_address.c: where Redis is ------------------------------------ */

#define MINING_REDIS_NODES 64 /* of a cluster */
#define MINING_REDIS_HOST  128

typedef struct {
    char host[MINING_REDIS_HOST];
    int  port;
} mining_endpoint_t;

typedef struct {
    char              unix_path[108];
    char              user[128];
    char              password[256];
    char              db[8];
    mining_endpoint_t seeds[MINING_REDIS_NODES];
    unsigned          nseeds;
    unsigned          cluster : 1; /* it must be one */
} mining_redis_address_t;

/*
 * HOST:PORT, redis://[USER:PASSWORD@]HOST:PORT[/DB], unix:PATH or
 * cluster:[USER:PASSWORD@]HOST:PORT,HOST:PORT.  INVALID: *fault is a sentence.
 */
mining_result_e mining_redis_parse(
    mining_redis_address_t *address, const char *text, const char **fault);
/* The address as it may be shown: without a password. */
void mining_redis_shown(char *shown, size_t size, const char *text);


/* ---- redis.c: Redis ----------------------------------------------------- */

struct redisContext;
struct redisReply;

typedef struct {
    mining_endpoint_t    where;
    struct redisContext *context; /* NULL: not connected */
    int                  unflushed;
} mining_node_t;

typedef struct {
    char    *command; /* in RESP, of redisFormatCommandArgv */
    int      len;
    unsigned node; /* that owes the answer */
} mining_owed_t;

typedef struct {
    struct redisContext   *context; /* NULL: not connected */
    mining_redis_address_t address;
    unsigned               wait_ms;
    char                   error[256];
    char                   where[256]; /* address for messages */

    /* of a cluster; the nodes stay known when connections are closed */
    int            cluster;
    int            stale; /* the map is to be asked for again */
    mining_node_t  nodes[MINING_REDIS_NODES];
    unsigned       nnodes;
    uint8_t        map[TRACKER_CLUSTER_SLOTS]; /* index of a node */
    mining_owed_t *owed;                       /* in the order of sending */
    size_t         owed_first;
    size_t         owed_last;
    size_t         owed_size;
} mining_redis_t; /* starts zeroed */

/* connect and every answer within wait_ms; finds out if it is a cluster */
mining_result_e mining_redis_open(
    mining_redis_t *redis, const char *address, unsigned wait_ms);
void mining_redis_close(mining_redis_t *redis);
/* The key is the second word; of XREAD, the last but one. */
mining_result_e mining_redis_send(
    mining_redis_t *redis, int argc, const char **argv, const size_t *lengths);
/* Writes out what was sent: its answer comes while other work is done. */
mining_result_e mining_redis_flush(mining_redis_t *redis);
/* REFUSED: an error answer, kept in *reply too.  LOST: closed. */
mining_result_e mining_redis_take(
    mining_redis_t *redis, struct redisReply **reply);

/* Closes the connection with a reason; always LOST. */
mining_result_e mining_redis_lost(mining_redis_t *redis, const char *why);
/* A new connection, signed in; NULL: *error of redis says why. */
struct redisContext *mining_redis_connect(
    mining_redis_t *redis, const mining_endpoint_t *where);
/* One command on one connection, answered; NULL: lost. */
struct redisReply *mining_redis_call(
    struct redisContext *context, int argc, const char **argv);


/* ---- redis_cluster.c: nodes, slots, MOVED and ASK ------------------------ */

/* Reads the map from this connection, which becomes a node's.  DECLINED: it is
 * no cluster. */
mining_result_e mining_cluster_map(mining_redis_t *redis,
    struct redisContext *context, const mining_endpoint_t *where);
void            mining_cluster_close(mining_redis_t *redis);
mining_result_e mining_cluster_send(
    mining_redis_t *redis, int argc, const char **argv, const size_t *lengths);
mining_result_e mining_cluster_flush(mining_redis_t *redis);
mining_result_e mining_cluster_take(
    mining_redis_t *redis, struct redisReply **reply);


/* ---- copy.c: rows in PostgreSQL's binary COPY format -------------------- */

typedef struct {
    char  *data;
    size_t len;    /* bytes */
    size_t size;   /* bytes allocated, doubled when full */
    int    failed; /* memory ran out: everything after it is void */
} mining_copy_t;

void mining_copy_free(mining_copy_t *copy);
void mining_copy_begin(mining_copy_t *copy);  /* empties it, writes the head */
void mining_copy_finish(mining_copy_t *copy); /* the trailer */
void mining_copy_row(mining_copy_t *copy, unsigned columns);
void mining_copy_null(mining_copy_t *copy);
void mining_copy_text(mining_copy_t *copy, const char *data, size_t len);
void mining_copy_int4(mining_copy_t *copy, int32_t value);
void mining_copy_int8(mining_copy_t *copy, int64_t value);
void mining_copy_time(mining_copy_t *copy, int64_t us); /* since 1970 UTC */
void mining_copy_uuid(mining_copy_t *copy, const uint8_t uuid[16]);
void mining_copy_json(mining_copy_t *copy, const char *data, size_t len);
/* Digits with at most one point, as mining_csv_price takes them. */
void mining_copy_numeric(mining_copy_t *copy, const char *data, size_t len);
/* A value of unknown length: append between open and close. */
size_t mining_copy_open(mining_copy_t *copy);
void   mining_copy_append(mining_copy_t *copy, const char *data, size_t len);
void   mining_copy_close(mining_copy_t *copy, size_t mark);


/* ---- event.c: one line of JSON as columns of crm.event ------------------ */

#define MINING_EVENT_MEMBERS_MAX 64  /* at one level; more are refused */
#define MINING_EVENT_NAME_MAX    200 /* bytes */
#define MINING_EVENT_COLUMNS     18

typedef enum {
    MINING_EVENT_SITE,
    MINING_EVENT_ID,
    MINING_EVENT_RTS,
    MINING_EVENT_TS,
    MINING_EVENT_TYPE,
    MINING_EVENT_NAME,
    MINING_EVENT_VID,
    MINING_EVENT_SID,
    MINING_EVENT_SN,
    MINING_EVENT_SEQ,
    MINING_EVENT_UID,
    MINING_EVENT_SRC,
    MINING_EVENT_MID,
    MINING_EVENT_CTX,
    MINING_EVENT_REQ,
    MINING_EVENT_PROPS,
    MINING_EVENT_DEC,
    MINING_EVENT_EXTRA
} mining_event_e; /* the columns, in their order */

typedef struct {
    tracker_str_t         columns[MINING_EVENT_COLUMNS]; /* text or raw JSON */
    tracker_json_member_t extra[MINING_EVENT_MEMBERS_MAX];
    unsigned              nextra;
    uint8_t               id[16];
    uint8_t               vid[16];
    uint8_t               sid[16];
    int64_t               rts; /* us since 1970 UTC */
    int64_t               ts;
    int32_t               sn;
    int32_t               seq;
    char                  text[4096]; /* where unescaped texts lie */
    size_t                ntext;
} mining_event_t;

/*
 * Slices a line into columns that point into it or into event->text.  INVALID
 * sets *reason to a static sentence naming the member.  Known members of a
 * wrong type, second ones of a name and unknown ones go to extra.
 */
mining_result_e mining_event_slice(mining_event_t *event, tracker_str_t line,
    int64_t now_us, const char **reason);
void mining_event_row(mining_copy_t *copy, const mining_event_t *event);
extern const char mining_event_copy_columns[]; /* for the COPY statement */
/* The value of one member of a JSON object, raw; absent: data NULL. */
tracker_json_member_t mining_event_member(
    tracker_str_t object, const char *name);


/* ---- traits.c: contacts out of identify events -------------------------- */

/* The object with e-mail and phone hashed, in `out` until it is used again;
 * absent when memory ran out. */
tracker_str_t mining_traits_clean(mining_copy_t *out, tracker_str_t props);


/* ---- reject.c: rows refused, gathered as one jsonb parameter ------------ */

#define MINING_REJECT_RAW_MAX 2048 /* bytes shown of a refused line */

typedef struct {
    mining_copy_t json; /* the array so far, without its closing bracket */
    unsigned      rows;
} mining_rejects_t;

void mining_rejects_clear(mining_rejects_t *rejects);
void mining_rejects_free(mining_rejects_t *rejects);
void mining_rejects_add(mining_rejects_t *rejects, const char *source,
    int64_t line, const char *reason, tracker_str_t raw);
/* The same of an event, whose whole record is kept for a replay. */
void mining_rejects_add_event(mining_rejects_t *rejects, const char *source,
    int64_t line, const char *reason, tracker_str_t raw, tracker_str_t event);
/* etl.reject for each; batch 0: none. */
mining_result_e mining_rejects_store(
    mining_rejects_t *rejects, mining_db_t *db, int64_t batch);


/* ---- import_producers.c: which importer reads which stream -------------- */

#define MINING_PRODUCERS_MAX 1024

typedef struct {
    char    name[TRACKER_PRODUCER_TEXT + 1];
    int64_t position; /* last sequence committed */
    int64_t taken;    /* last sequence that went into a batch */
    int64_t fetched;  /* last entry id read from the stream */
    int64_t gap;      /* sequences missing before `taken` in this batch */
    int     held;     /* this importer has its lock */
    int64_t told;     /* position in crm:durable, if published */
    int     seen;     /* still in crm:producers */
    int     published;
    int     broken; /* its key is no stream */
} mining_producer_t;

typedef struct {
    mining_producer_t list[MINING_PRODUCERS_MAX];
    unsigned          n;
    unsigned          strange; /* members of crm:producers that are no ids */
    int               present; /* the lock that importers count is held */
} mining_producers_t;

mining_result_e mining_producers_read(
    mining_producers_t *producers, mining_redis_t *redis);
/*
 * Takes free producers up to a fair share and gives others back.  Only between
 * batches.
 */
mining_result_e mining_producers_share(
    mining_producers_t *producers, mining_db_t *db);
/* The connection is gone, and the locks with it. */
void mining_producers_forget(mining_producers_t *producers);
/* The batch is void: read on behind what is committed. */
void mining_producers_rewind(mining_producers_t *producers);
/* Sends positions to crm:durable and trims; adds to the answers owed. */
mining_result_e mining_producers_publish(
    mining_producers_t *producers, mining_redis_t *redis, unsigned *owed);
mining_result_e mining_producers_published(
    mining_redis_t *redis, unsigned owed);
/* OK: all streams are committed to their ends, by whomever; else DECLINED.
 * *sum of positions shows whether anybody moves. */
mining_result_e mining_producers_drained(mining_producers_t *producers,
    mining_db_t *db, mining_redis_t *redis, int64_t *sum);
/* After XREAD was refused: finds out whose key is no stream.  DECLINED: all
 * are. */
mining_result_e mining_producers_probe(
    mining_producers_t *producers, mining_redis_t *redis);


/* ---- import_source.c: the streams of Redis as lines --------------------- */

typedef struct {
    unsigned      producer; /* index */
    int64_t       seq;
    int64_t       gap;    /* sequences missing since the one before */
    tracker_str_t line;   /* valid until mining_source_release */
    const char   *reason; /* the whole entry is refused, line is its text */
} mining_item_t;

typedef struct {
    struct redisReply **kept; /* read, not yet released */
    unsigned            nkept;
    unsigned            size;
    unsigned            nused; /* of kept: read to the end, or being read */
    struct redisReply  *reply; /* being read: kept[nused - 1]; or NULL */
    size_t              stream;
    size_t              entry;
    const char         *pos; /* in the text of the entry; NULL: at none */
    const char         *end;
    mining_item_t       item;
    int64_t             last;  /* sequence */
    unsigned            asked; /* answers to XREAD on their way */
} mining_source_t;

/* How many producers can be read: held, and their key is a stream. */
unsigned mining_source_readable(const mining_producers_t *producers);
/*
 * Asks for more of all held producers; block_ms 0: answer at once.  DECLINED
 * when none is held.
 */
mining_result_e mining_source_ask(mining_source_t *source,
    mining_redis_t *redis, const mining_producers_t *producers,
    unsigned block_ms);
/* Takes the answer; DECLINED when it holds nothing. */
mining_result_e mining_source_answer(mining_source_t *source,
    mining_redis_t *redis, mining_producers_t *producers);
/*
 * The next line not yet committed, the same one again until it is
 * mining_source_taken.  DECLINED: the answer is used up.
 */
mining_result_e mining_source_next(mining_source_t *source,
    const mining_producers_t *producers, mining_item_t *item);
void            mining_source_taken(
               mining_source_t *source, mining_producers_t *producers);
/* Frees all answers that are used up. */
void mining_source_release(mining_source_t *source);
/* Frees everything and forgets what was asked. */
void mining_source_reset(mining_source_t *source);


/* ---- absorb.c: what a batch tells about visitors and orders ------------- */

typedef struct {
    size_t        offset; /* of its row in the batch's COPY data, or in held */
    size_t        len;    /* bytes of its row */
    tracker_str_t line;
    int64_t       seq; /* in the producer's journal */
    int64_t       rts; /* us since 1970 UTC */
    int32_t       sn;
    uint32_t      producer;
    uint16_t      site;
    uint8_t       vid[16];
    unsigned      has_vid : 1;
    unsigned      has_uid : 1; /* and it is to be believed */
    unsigned      is_order : 1;
    unsigned      is_bot : 1;    /* ctx.bot: labelled as a robot's */
    unsigned      is_record : 1; /* consent, identify, alias: taken as it is */
    unsigned      trusted : 1;   /* may say who a visitor is */
    unsigned      refused : 1;
    unsigned      held : 1;      /* has a message id, which may be known */
    unsigned      duplicate : 1; /* it is */
} mining_row_t;

typedef struct mining_absorb_s mining_absorb_t;

#define MINING_SITES_MAX 1000

typedef struct {
    char   names[MINING_SITES_MAX][MINING_ID_MAX + 1];
    size_t lens[MINING_SITES_MAX];
    char   raw[MINING_SITES_MAX]; /* 1: contacts are kept as sent */
    int    n;
} mining_sites_t;

mining_absorb_t *mining_absorb_new(unsigned rows_max);
void             mining_absorb_free(mining_absorb_t *absorb);
void             mining_absorb_clear(mining_absorb_t *absorb);
void mining_absorb_add(mining_absorb_t *absorb, const mining_row_t *row);
/* The parameter of etl.absorb, valid until the next clear; NULL: no memory. */
const char *mining_absorb_json(
    mining_absorb_t *absorb, const mining_sites_t *sites);


/* ---- import_batch.c: one transaction of the importer -------------------- */

typedef struct {
    mining_copy_t    copy;
    mining_copy_t    held; /* rows whose message ids are to be claimed */
    unsigned         nheld;
    size_t           sent;      /* bytes of copy that libpq has */
    int              streaming; /* the COPY was begun */
    mining_row_t    *rows;
    unsigned         nrows;
    unsigned         rows_max;
    mining_rejects_t rejects;
    unsigned         nrejected;
    mining_absorb_t *absorb;
    mining_copy_t    scratch;
    mining_copy_t    traits;
    mining_sites_t   sites;
    int              sites_fresh; /* an unknown site is really unknown */
    uint8_t          days[MINING_DAYS_MAX]; /* has a partition */
    mining_event_t   event;
} mining_batch_t;

mining_batch_t *mining_batch_new(unsigned rows_max);
void            mining_batch_free(mining_batch_t *batch);
void            mining_batch_clear(mining_batch_t *batch);
/*
 * Takes one line; it must stay until the batch is cleared.  FULL: commit
 * first.  DECLINED: its *day has no partition yet.  INVALID: its site is
 * unknown, read the sites again.
 */
mining_result_e mining_batch_take(mining_batch_t *batch,
    const mining_item_t *item, const char *producer, int32_t *day);
/* Streams what has gathered to PostgreSQL without waiting. */
mining_result_e mining_batch_pump(mining_batch_t *batch, mining_db_t *db);
/*
 * COPY, absorb, advance, reject, commit; after an error in the data in parts,
 * down to the row at fault.  DECLINED: a partition is gone, take all again.
 */
mining_result_e mining_batch_commit(
    mining_batch_t *batch, mining_db_t *db, mining_producers_t *producers);
unsigned mining_batch_kept(const mining_batch_t *batch);
unsigned mining_batch_duplicates(const mining_batch_t *batch);
/* The batch holds what became of a refused event: stores it, and marks the
 * reject as replayed, in one transaction. */
mining_result_e mining_batch_replay(
    mining_batch_t *batch, mining_db_t *db, const char *reject);
mining_result_e mining_sites_read(mining_sites_t *sites, mining_db_t *db);

/* ---- import_client.c: events of client libraries ------------------------ */

/* 1: the event is a record of what crm_collect refused; see docs/events.md. */
int  mining_client_refused(const mining_event_t *event);
void mining_client_reject(mining_batch_t *batch, const mining_item_t *item);
/* 1: a userId in it may become an identity. */
int mining_client_believed(const mining_event_t *event);
/* Finds out which rows with a message id are new: claims them. */
mining_result_e mining_client_claim(
    mining_batch_t *batch, mining_db_t *db, unsigned lo, unsigned hi);

/* "YYYY-MM-DD" of a day since 1970. */
void mining_day_text(char text[16], int32_t day);
/* Makes missing partitions from first to last, in a transaction of its own. */
mining_result_e mining_days_ensure(
    mining_db_t *db, int32_t first, int32_t last);


/* ---- csv.c: RFC 4180, streamed ------------------------------------------ */

#define MINING_CSV_FIELD_MAX   8192  /* bytes */
#define MINING_CSV_ROW_MAX     65536 /* bytes */
#define MINING_CSV_COLUMNS_MAX 64

/* Fills buf with up to size bytes; returns bytes, 0 at the end, -1 on error. */
typedef long (*mining_csv_read_pt)(void *ctx, char *buf, size_t size);

typedef struct {
    mining_csv_read_pt read;
    void              *ctx;
    uint64_t           line;      /* where the row begins, from 1 */
    uint64_t           next_line; /* where the next one begins */
    const char        *reason;    /* of INVALID: a static sentence */
    int                separator; /* ',' unless set after the start */
    tracker_str_t      raw;       /* the row as it stood, for rejects */
    tracker_str_t      fields[MINING_CSV_COLUMNS_MAX];
    unsigned           nfields;
    size_t             pos;
    size_t             len;
    int                ended;
    int                started;
    int                failed; /* the reader reported an error */
    char               text[MINING_CSV_ROW_MAX]; /* unquoted fields */
    char               buf[2 * MINING_CSV_ROW_MAX];
} mining_csv_t;

/* A separator: the first of tab, semicolon and comma in the first line. */
#define MINING_CSV_DETECT 0

void mining_csv_start(mining_csv_t *csv, mining_csv_read_pt read, void *ctx);
/*
 * OK: a row in fields.  INVALID: a row refused, reading goes on at the next
 * line.  DECLINED: the end.  LOST: the reader failed.
 */
mining_result_e mining_csv_next(mining_csv_t *csv);


/* ---- load_values.c: what a column may hold ------------------------------ */

/* RFC 3339 or YYYY-MM-DD[ HH:MM[:SS]] as us since 1970 UTC. */
mining_result_e mining_time(tracker_str_t text, int64_t *us);
/* The same, from 1990 to one day ahead. */
mining_result_e mining_csv_time(tracker_str_t text, int64_t *us);
mining_result_e mining_csv_price(tracker_str_t text);
mining_result_e mining_csv_quantity(tracker_str_t text, int32_t *quantity);
mining_result_e mining_csv_id(tracker_str_t text);
mining_result_e mining_csv_utf8(tracker_str_t text);


/* ---- load_file.c: a CSV file, plain or compressed ----------------------- */

typedef struct {
    void    *gz;   /* gzFile */
    uint64_t size; /* bytes on disk; 0: unknown */
} mining_file_t;

mining_result_e mining_file_open(mining_file_t *file, const char *path);
void            mining_file_close(mining_file_t *file);
long     mining_file_read(void *ctx, char *buf, size_t size); /* for csv */
uint64_t mining_file_done(const mining_file_t *file); /* bytes on disk read */


/* ---- load_kinds.c: the columns of each kind of file --------------------- */

#define MINING_KIND_COLUMNS_MAX 12

typedef enum {
    MINING_COLUMN_ID,
    MINING_COLUMN_TEXT,
    MINING_COLUMN_CURRENCY,
    MINING_COLUMN_TIME,
    MINING_COLUMN_PRICE,
    MINING_COLUMN_QUANTITY,
    MINING_COLUMN_LINE,
    MINING_COLUMN_FLAG
} mining_column_e;

typedef struct {
    const char     *name; /* NULL ends the list */
    mining_column_e type;
    int             required;
    size_t          max; /* bytes of TEXT */
} mining_column_t;

typedef struct {
    const char     *name;
    mining_column_t columns[MINING_KIND_COLUMNS_MAX + 1];
} mining_kind_t;

typedef struct {
    const mining_kind_t *kind;
    int      fields[MINING_KIND_COLUMNS_MAX]; /* of the row; -1: not there */
    unsigned nfields;                         /* of the header */
} mining_header_t;

const mining_kind_t *mining_kind_find(const char *name);
/* Says what is wrong with a header. */
mining_result_e mining_kind_header(mining_header_t *header,
    const mining_kind_t *kind, const mining_csv_t *csv);
/* The temporary table that etl.load_<kind> reads. */
void mining_kind_staging(const mining_kind_t *kind, char *sql, size_t size);
/*
 * Checks the row and sets values (absent: data NULL).  INVALID: reason says
 * which column and why.
 */
mining_result_e mining_kind_check(const mining_header_t *header,
    const mining_csv_t *csv, tracker_str_t *values, char *reason, size_t size);
/* Appends a checked row to the COPY of the staging table. */
void mining_kind_row(const mining_kind_t *kind, const tracker_str_t *values,
    mining_copy_t *copy);


/* ---- load_clicks.c: clicks of the past as events ------------------------ */

typedef struct mining_clicks_s mining_clicks_t;

mining_clicks_t *mining_clicks_new(const char *site);
void             mining_clicks_free(mining_clicks_t *clicks);
/* Adds a checked row of kind clicks.  FULL: too many sessions in one file. */
mining_result_e mining_clicks_add(
    mining_clicks_t *clicks, const tracker_str_t *values);
/* Stores what was added, in one transaction; *fresh counts rows not known. */
mining_result_e mining_clicks_store(
    mining_clicks_t *clicks, mining_db_t *db, int64_t *fresh);


/* ---- campaign_file.c: campaigns as files -------------------------------- */

#define MINING_CAMPAIGN_BYTES_MAX (2u << 20)

/* Reads one file; NULL after saying FILE: line: reason. */
json_t *mining_campaign_read(const char *path);
/* All members in documented order, with their defaults. */
json_t *mining_campaign_normal(const json_t *campaign);
/* The canonical text; the caller frees it. */
char *mining_campaign_text(const json_t *campaign);
/* Writes beside it, then renames; the same text is left alone (DECLINED). */
mining_result_e mining_campaign_write(const char *path, const char *text);
/* Names of the members in which both differ, joined by ", "; "" if equal. */
void mining_campaign_changes(
    char *buf, size_t size, const json_t *before, const json_t *after);


/* ---- campaign_check.c: faults of campaigns, each with its path ---------- */

/* Checks one campaign; returns faults said as FILE: path: reason. */
unsigned mining_campaign_check(
    const json_t *campaign, const char *path, const char *key);
/* Checks that live ones fit into one set; says why not. */
mining_result_e mining_campaign_check_set(
    const json_t *campaigns, const char *site);


#pragma GCC visibility pop

#endif /* MINING_H_INCLUDED_ */
