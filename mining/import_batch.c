/*
 * import_batch.c - one transaction of the importer.
 *
 * Rows are built and streamed at the same time: while PostgreSQL ingests the
 * first ones the next are still being read.  The transaction also holds what
 * etl.absorb derives, the producers' new positions and what was refused, so
 * that a crash anywhere leaves either all of it or nothing.
 *
 * When the data of one row fails, the batch is rolled back and stored again in
 * halves under savepoints, down to the row at fault, which is refused with the
 * server's message.  Nothing else is lost, and no event blocks the stream.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define BATCH_BYTES_MAX    (32u << 20) /* of COPY data: bounds the memory */
#define BATCH_REJECTS_MAX  5000
#define BATCH_REJECT_BYTES (16u << 20) /* of refused events */
#define BATCH_PUMP_ROWS    512         /* between two looks at the socket */


mining_batch_t *
mining_batch_new(unsigned rows_max)
{
    mining_batch_t *batch;

    batch = calloc(1, sizeof(*batch));
    if (batch == NULL) {
        return NULL;
    }

    batch->rows_max = rows_max;
    batch->rows = calloc(rows_max, sizeof(mining_row_t));
    batch->absorb = mining_absorb_new(rows_max);

    if (batch->rows == NULL || batch->absorb == NULL) {
        mining_batch_free(batch);
        return NULL;
    }

    mining_batch_clear(batch);

    return batch;
}


void
mining_batch_free(mining_batch_t *batch)
{
    if (batch != NULL) {
        mining_copy_free(&batch->copy);
        mining_copy_free(&batch->held);
        mining_copy_free(&batch->scratch);
        mining_copy_free(&batch->traits);
        mining_rejects_free(&batch->rejects);
        mining_absorb_free(batch->absorb);
        free(batch->rows);
        free(batch);
    }
}


void
mining_batch_clear(mining_batch_t *batch)
{
    mining_copy_begin(&batch->copy);
    mining_rejects_clear(&batch->rejects);
    mining_absorb_clear(batch->absorb);
    batch->held.len = 0;
    batch->held.failed = 0;
    batch->nheld = 0;
    batch->sent = 0;
    batch->streaming = 0;
    batch->nrows = 0;
    batch->nrejected = 0;
}


static int
batch_site(const mining_sites_t *sites, tracker_str_t name)
{
    int i;

    for (i = 0; i < sites->n; i++) {
        if (sites->lens[i] == name.len
            && memcmp(sites->names[i], name.data, name.len) == 0)
        {
            return i;
        }
    }

    return -1;
}


static void
batch_reject(mining_batch_t *batch, const char *producer, int64_t seq,
    const char *reason, tracker_str_t raw)
{
    char source[32];

    (void) snprintf(source, sizeof(source), "import:%s", producer);
    mining_rejects_add_event(&batch->rejects, source, seq, reason, raw, raw);
    batch->nrejected++;
}


/* Most contexts do not have the word, and need not be parsed. */
static unsigned
batch_is_bot(tracker_str_t ctx)
{
    return ctx.data != NULL && memmem(ctx.data, ctx.len, "\"bot\"", 5) != NULL
           && mining_event_member(ctx, "bot").value.data != NULL;
}


static int
batch_text_is(tracker_str_t text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}


static int
batch_record(tracker_str_t type)
{
    return batch_text_is(type, "consent") || batch_text_is(type, "identify")
           || batch_text_is(type, "alias");
}


mining_result_e
mining_batch_take(mining_batch_t *batch, const mining_item_t *item,
    const char *producer, int32_t *day)
{
    int             site;
    const char     *reason;
    mining_row_t   *row;
    mining_copy_t  *copy;
    mining_event_t *event;

    if (batch->nrows == batch->rows_max
        || batch->copy.len + batch->held.len > BATCH_BYTES_MAX
        || batch->rejects.rows == BATCH_REJECTS_MAX
        || batch->rejects.json.len > BATCH_REJECT_BYTES)
    {
        return MINING_FULL;
    }

    if (item->reason != NULL) {
        batch_reject(batch, producer, item->seq, item->reason, item->line);
        return MINING_OK;
    }

    event = &batch->event;
    if (mining_event_slice(event, item->line, mining_now_us(), &reason)
        != MINING_OK)
    {
        batch_reject(batch, producer, item->seq, reason, item->line);
        return MINING_OK;
    }

    if (mining_client_refused(event)) {
        mining_client_reject(batch, item);
        return MINING_OK;
    }

    site = batch_site(&batch->sites, event->columns[MINING_EVENT_SITE]);
    if (site < 0 && !batch->sites_fresh) {
        return MINING_INVALID;
    }
    if (site < 0) {
        batch_reject(batch, producer, item->seq,
            "site is not in crm.site: check crm_site in nginx.conf, or add it",
            item->line);
        return MINING_OK;
    }

    *day = (int32_t) (event->rts / MINING_US_PER_DAY);
    if (!batch->days[*day]) {
        return MINING_DECLINED;
    }

    row = &batch->rows[batch->nrows++];
    row->held = event->columns[MINING_EVENT_MID].data != NULL;
    row->duplicate = 0;
    copy = row->held ? &batch->held : &batch->copy;
    batch->nheld += row->held;
    row->offset = copy->len;
    row->line = item->line;
    row->seq = item->seq;
    row->rts = event->rts;
    row->producer = item->producer;
    row->site = (uint16_t) site;
    row->sn = event->columns[MINING_EVENT_SN].data != NULL ? event->sn : 0;
    row->has_vid = event->columns[MINING_EVENT_VID].data != NULL;
    row->trusted = mining_client_believed(event);
    row->has_uid =
        event->columns[MINING_EVENT_UID].data != NULL && row->trusted;
    row->is_order =
        batch_text_is(event->columns[MINING_EVENT_NAME], "Order Completed");
    row->is_bot = batch_is_bot(event->columns[MINING_EVENT_CTX]);
    row->is_record = batch_record(event->columns[MINING_EVENT_TYPE]);
    row->refused = 0;
    if (row->has_vid) {
        memcpy(row->vid, event->vid, sizeof(row->vid));
    }

    /* what is derived reads the line itself, and keeps hashes only */
    if (!batch->sites.raw[site]
        && batch_text_is(event->columns[MINING_EVENT_TYPE], "identify")
        && event->columns[MINING_EVENT_PROPS].data != NULL)
    {
        event->columns[MINING_EVENT_PROPS] = mining_traits_clean(
            &batch->traits, event->columns[MINING_EVENT_PROPS]);
    }

    mining_event_row(copy, event);
    row->len = copy->len - row->offset;

    return copy->failed ? MINING_NOMEM : MINING_OK;
}


static mining_result_e
batch_stream(mining_batch_t *batch, mining_db_t *db)
{
    char            sql[256];
    mining_result_e rc;

    if (batch->streaming) {
        return MINING_OK;
    }

    (void) snprintf(sql, sizeof(sql),
        "begin; copy crm.event (%s) from stdin (format binary)",
        mining_event_copy_columns);

    rc = mining_db_copy_begin(db, sql);
    batch->streaming = rc == MINING_OK;

    return rc;
}


mining_result_e
mining_batch_pump(mining_batch_t *batch, mining_db_t *db)
{
    mining_result_e rc;

    if (batch->nrows == 0 || batch->nrows % BATCH_PUMP_ROWS != 0) {
        return MINING_OK;
    }

    rc = batch_stream(batch, db);
    if (rc == MINING_OK) {
        rc = mining_db_copy_pump(
            db, batch->copy.data, batch->copy.len, &batch->sent);
    }

    return rc;
}


static mining_result_e
batch_absorb(mining_batch_t *batch, mining_db_t *db, unsigned lo, unsigned hi)
{
    unsigned    i;
    const char *json;

    mining_absorb_clear(batch->absorb);
    for (i = lo; i < hi; i++) {
        if (!batch->rows[i].duplicate) {
            mining_absorb_add(batch->absorb, &batch->rows[i]);
        }
    }

    json = mining_absorb_json(batch->absorb, &batch->sites);
    if (json == NULL) {
        return MINING_NOMEM;
    }

    return mining_db_query(db, NULL, "select etl.absorb($1::jsonb)", 1, &json);
}


/* COPY of rows lo ... hi - 1; held_only: of those with a message id. */
static mining_result_e
batch_copy_rows(mining_batch_t *batch, mining_db_t *db, unsigned lo,
    unsigned hi, int held_only)
{
    char                 sql[256];
    size_t               sent;
    unsigned             i, n;
    mining_copy_t       *scratch;
    mining_result_e      rc;
    const mining_row_t  *row;
    const mining_copy_t *from;

    scratch = &batch->scratch;
    mining_copy_begin(scratch);

    for (i = lo, n = 0; i < hi; i++) {
        row = &batch->rows[i];
        if (row->duplicate || (held_only && !row->held)) {
            continue;
        }

        from = row->held ? &batch->held : &batch->copy;
        mining_copy_append(scratch, from->data + row->offset, row->len);
        n++;
    }

    if (n == 0) {
        return MINING_OK;
    }

    mining_copy_finish(scratch);
    if (scratch->failed) {
        return MINING_NOMEM;
    }

    (void) snprintf(sql, sizeof(sql),
        "copy crm.event (%s) from stdin (format binary)",
        mining_event_copy_columns);

    rc = mining_db_copy_begin(db, sql);
    if (rc != MINING_OK) {
        return rc;
    }

    sent = 0;

    return mining_db_copy_end(db, scratch->data, scratch->len, &sent);
}


/* Rows with a message id: those that are new. */
static mining_result_e
batch_store_held(mining_batch_t *batch, mining_db_t *db)
{
    unsigned        i;
    mining_result_e rc;

    if (batch->nheld == 0) {
        return MINING_OK;
    }

    rc = mining_client_claim(batch, db, 0, batch->nrows);
    if (rc == MINING_OK) {
        rc = batch_copy_rows(batch, db, 0, batch->nrows, 1);
    }

    for (i = 0; i < batch->nrows; i++) {
        if (batch->rows[i].held && !batch->rows[i].duplicate) {
            mining_absorb_add(batch->absorb, &batch->rows[i]);
        }
    }

    return rc;
}


/* The fast way: the streamed COPY ends, then what it tells. */
static mining_result_e
batch_store(mining_batch_t *batch, mining_db_t *db)
{
    unsigned        i;
    const char     *json;
    mining_result_e rc;

    rc = batch_stream(batch, db);
    if (rc != MINING_OK) {
        return rc;
    }

    mining_copy_finish(&batch->copy);

    /* Folding goes on while the server reads: pump in between. */
    for (i = 0; i < batch->nrows; i++) {
        if (!batch->rows[i].held) {
            mining_absorb_add(batch->absorb, &batch->rows[i]);
        }
        if (i % BATCH_PUMP_ROWS == 0) {
            rc = mining_db_copy_pump(
                db, batch->copy.data, batch->copy.len, &batch->sent);
            if (rc != MINING_OK) {
                return rc;
            }
        }
    }

    if (batch->copy.failed) {
        return MINING_NOMEM;
    }

    rc =
        mining_db_copy_end(db, batch->copy.data, batch->copy.len, &batch->sent);
    if (rc == MINING_OK) {
        rc = batch_store_held(batch, db);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    json = mining_absorb_json(batch->absorb, &batch->sites);
    if (json == NULL) {
        return MINING_NOMEM;
    }

    return mining_db_query(db, NULL, "select etl.absorb($1::jsonb)", 1, &json);
}


static mining_result_e
batch_copy_range(
    mining_batch_t *batch, mining_db_t *db, unsigned lo, unsigned hi)
{
    mining_result_e rc;

    rc = batch->nheld > 0 ? mining_client_claim(batch, db, lo, hi) : MINING_OK;
    if (rc == MINING_OK) {
        rc = batch_copy_rows(batch, db, lo, hi, 0);
    }

    return rc == MINING_OK ? batch_absorb(batch, db, lo, hi) : rc;
}


/* Stores rows lo ... hi - 1, refusing those at fault. */
static mining_result_e
batch_bisect(mining_batch_t *batch, mining_db_t *db,
    const mining_producers_t *producers, unsigned lo, unsigned hi)
{
    unsigned        middle;
    mining_row_t   *row;
    mining_result_e rc;

    rc = mining_db_exec(db, "savepoint part");
    if (rc != MINING_OK) {
        return rc;
    }

    rc = batch_copy_range(batch, db, lo, hi);
    if (rc == MINING_OK) {
        return mining_db_exec(db, "release part");
    }
    if (rc != MINING_REFUSED || !mining_db_data_error(db)) {
        return rc;
    }

    if (hi - lo == 1) {
        row = &batch->rows[lo];
        row->refused = 1;
        row->duplicate = 0;
        batch_reject(batch, producers->list[row->producer].name, row->seq,
            db->error, row->line);
        return mining_db_exec(db, "rollback to part; release part");
    }

    rc = mining_db_exec(db, "rollback to part; release part");
    middle = lo + (hi - lo) / 2;
    if (rc == MINING_OK) {
        rc = batch_bisect(batch, db, producers, lo, middle);
    }
    if (rc == MINING_OK) {
        rc = batch_bisect(batch, db, producers, middle, hi);
    }

    return rc;
}


static mining_result_e
batch_store_again(
    mining_batch_t *batch, mining_db_t *db, const mining_producers_t *producers)
{
    mining_result_e rc;

    /* The message may quote the row: it goes to crm.reject, not to a log. */
    mining_say("import: a batch of %u rows failed with SQLSTATE %s,"
               " storing it in parts",
        batch->nrows, db->sqlstate);

    rc = mining_db_exec(db, "rollback");
    if (rc == MINING_OK) {
        rc = mining_db_exec(db, "begin");
    }

    return rc == MINING_OK ? batch_bisect(batch, db, producers, 0, batch->nrows)
                           : rc;
}


static mining_result_e
batch_advance(
    mining_batch_t *batch, mining_db_t *db, const mining_producers_t *producers)
{
    char                     text[192];
    int                      n, any;
    unsigned                 i, *kept, *twice;
    const char              *json;
    mining_result_e          rc;
    const mining_producer_t *producer;

    kept = calloc(2 * (size_t) MINING_PRODUCERS_MAX, sizeof(unsigned));
    if (kept == NULL) {
        return MINING_NOMEM;
    }
    twice = kept + MINING_PRODUCERS_MAX;
    for (i = 0; i < batch->nrows; i++) {
        if (batch->rows[i].duplicate) {
            twice[batch->rows[i].producer]++;
        } else {
            kept[batch->rows[i].producer] += !batch->rows[i].refused;
        }
    }

    batch->scratch.len = 0;
    batch->scratch.failed = 0;
    any = 0;

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        if (producer->taken == producer->position) {
            continue;
        }
        n = snprintf(text, sizeof(text),
            "%s{\"p\":\"%s\",\"s\":%" PRId64 ",\"n\":%u,\"g\":%" PRId64
            ",\"d\":%u}",
            any ? "," : "[", producer->name, producer->taken, kept[i],
            producer->gap, twice[i]);
        mining_copy_append(&batch->scratch, text, (size_t) n);
        any = 1;
    }
    free(kept);

    mining_copy_append(&batch->scratch, any ? "]" : "[]", any ? 2 : 3);
    if (batch->scratch.failed) {
        return MINING_NOMEM;
    }

    json = batch->scratch.data;
    rc = mining_db_query(db, NULL,
        "select count(etl.advance(r.p, r.s, r.n, r.g, r.d))"
        " from jsonb_to_recordset($1::jsonb)"
        " as r(p text, s bigint, n int, g bigint, d int)",
        1, &json);

    return rc;
}


static mining_result_e
batch_transaction(
    mining_batch_t *batch, mining_db_t *db, const mining_producers_t *producers)
{
    mining_result_e rc;

    rc = batch->nrows == 0 ? mining_db_exec(db, "begin")
                           : batch_store(batch, db);

    if (rc == MINING_REFUSED && batch->nrows != 0) {

        if (strcmp(db->sqlstate, "23514") == 0
            && strstr(db->error, "no partition") != NULL)
        {
            memset(batch->days, 0, sizeof(batch->days));
            return MINING_DECLINED;
        }

        if (mining_db_data_error(db)) {
            rc = batch_store_again(batch, db, producers);
        }
    }

    if (rc == MINING_OK) {
        rc = batch_advance(batch, db, producers);
    }
    if (rc == MINING_OK) {
        rc = mining_rejects_store(&batch->rejects, db, 0);
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(db, "commit");
    }

    return rc;
}


mining_result_e
mining_batch_commit(
    mining_batch_t *batch, mining_db_t *db, mining_producers_t *producers)
{
    char               error[sizeof(db->error)];
    unsigned           i;
    mining_result_e    rc;
    mining_producer_t *producer;

    rc = batch_transaction(batch, db, producers);

    if (rc != MINING_OK) {
        memcpy(error, db->error, sizeof(error));
        if (db->conn != NULL && mining_db_exec(db, "rollback") != MINING_OK) {
            rc = MINING_LOST;
        }
        memcpy(db->error, error, sizeof(error));
        return rc;
    }

    for (i = 0; i < producers->n; i++) {
        producer = &producers->list[i];
        if (producer->gap != 0) {
            mining_say("import: %s misses %" PRId64 " events before %" PRId64
                       ": its journal or Redis lost them",
                producer->name, producer->gap, producer->taken);
            producer->gap = 0;
        }
        producer->position = producer->taken;
    }

    return MINING_OK;
}


unsigned
mining_batch_kept(const mining_batch_t *batch)
{
    unsigned i, kept;

    for (i = 0, kept = 0; i < batch->nrows; i++) {
        kept += !batch->rows[i].refused && !batch->rows[i].duplicate;
    }

    return kept;
}


unsigned
mining_batch_duplicates(const mining_batch_t *batch)
{
    unsigned i, twice;

    for (i = 0, twice = 0; batch->nheld > 0 && i < batch->nrows; i++) {
        twice += batch->rows[i].duplicate;
    }

    return twice;
}


mining_result_e
mining_batch_replay(mining_batch_t *batch, mining_db_t *db, const char *reject)
{
    mining_result_e rc;

    rc = batch_store(batch, db);
    if (rc == MINING_OK) {
        rc = mining_db_query(
            db, NULL, "select etl.reject_replayed($1::bigint)", 1, &reject);
    }
    if (rc == MINING_OK) {
        return mining_db_exec(db, "commit");
    }

    if (db->conn != NULL && mining_db_exec(db, "rollback") != MINING_OK) {
        return MINING_LOST;
    }

    return rc;
}


mining_result_e
mining_sites_read(mining_sites_t *sites, mining_db_t *db)
{
    int             i;
    PGresult       *res;
    mining_result_e rc;

    rc = mining_db_query(db, &res,
        "select key, keep_contact from crm.site order by key", 0, NULL);
    if (rc != MINING_OK) {
        return rc;
    }

    sites->n = 0;
    for (i = 0; i < PQntuples(res) && i < MINING_SITES_MAX; i++) {
        sites->lens[i] = (size_t) PQgetlength(res, i, 0);
        if (sites->lens[i] <= MINING_ID_MAX) {
            memcpy(sites->names[i], PQgetvalue(res, i, 0), sites->lens[i] + 1);
            sites->raw[i] = *PQgetvalue(res, i, 1) == 't';
            sites->n = i + 1;
        }
    }

    PQclear(res);

    return MINING_OK;
}


void
mining_day_text(char text[16], int32_t day)
{
    time_t    t;
    struct tm tm;

    t = (time_t) day * 86400;
    if (gmtime_r(&t, &tm) == NULL || strftime(text, 16, "%Y-%m-%d", &tm) == 0) {
        text[0] = '\0';
    }
}


mining_result_e
mining_days_ensure(mining_db_t *db, int32_t first, int32_t last)
{
    char        texts[2][16];
    const char *values[2];

    mining_day_text(texts[0], first);
    mining_day_text(texts[1], last);
    values[0] = texts[0];
    values[1] = texts[1];

    return mining_db_query(db, NULL,
        "select etl.ensure_partitions($1::date, $2::date)", 2, values);
}
