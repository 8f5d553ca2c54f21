/*
 * load.c - loads customers, products, orders or clicks from a CSV file.
 *
 * Customers, products and orders are one transaction: the file is in, or
 * nothing is.  Rows are staged in pg_temp.load_<kind> and merged by
 * etl.load_<kind>.  Clicks may be millions; they are committed in parts, and
 * because their ids are derived from the file a load that was cut off is
 * simply repeated.
 *
 * Every row is kept or rejected with a reason, and the counts must add up.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define LOAD_PART_ROWS   20000
#define LOAD_PART_BYTES  (8u << 20)
#define LOAD_STAGED_ROWS 500000 /* merged at once */
#define LOAD_REJECTS     1000   /* stored at once */
#define LOAD_WARNINGS    10     /* reasons shown to people */


typedef struct {
    const mining_kind_t *kind;
    const char          *path;
    const char          *site;
    const char          *rejects_path;

    mining_db_t       db;
    mining_file_t     file;
    mining_csv_t      csv;
    mining_header_t   header;
    mining_copy_t     copy;
    mining_rejects_t  rejects;
    mining_clicks_t  *clicks;
    FILE             *rejects_file;
    mining_progress_t progress;

    int64_t  batch;
    int64_t  fresh;
    uint64_t in;
    uint64_t kept;
    uint64_t rejected;
    unsigned part;   /* rows in copy */
    uint64_t staged; /* rows in the staging table */
} load_t;


static int
load_is_clicks(const load_t *load)
{
    return load->clicks != NULL;
}


static mining_result_e
load_begin(load_t *load)
{
    char            sql[1024];
    const char     *values[3];
    mining_result_e rc;

    values[0] = load->site;
    values[1] = load->kind->name;
    values[2] = load->path;

    rc = load_is_clicks(load) ? MINING_OK : mining_db_exec(&load->db, "begin");
    if (rc == MINING_OK) {
        rc = mining_db_number(&load->db, &load->batch,
            "select etl.load_begin($1, $2, $3)", 3, values);
    }
    if (rc == MINING_OK && !load_is_clicks(load)) {
        mining_kind_staging(load->kind, sql, sizeof(sql));
        rc = mining_db_exec(&load->db, sql);
    }

    return rc;
}


/* Merges what is staged; all of it is kept, or the load fails. */
static mining_result_e
load_merge(load_t *load)
{
    char            sql[256], batch[24];
    int64_t         kept;
    const char     *values[1];
    mining_result_e rc;

    if (load->staged == 0) {
        return MINING_OK;
    }

    (void) snprintf(
        sql, sizeof(sql), "analyze pg_temp.load_%s", load->kind->name);
    rc = mining_db_exec(&load->db, sql);
    if (rc != MINING_OK) {
        return rc;
    }

    (void) snprintf(batch, sizeof(batch), "%" PRId64, load->batch);
    (void) snprintf(
        sql, sizeof(sql), "select etl.load_%s($1::bigint)", load->kind->name);
    values[0] = batch;

    rc = mining_db_number(&load->db, &kept, sql, 1, values);
    if (rc != MINING_OK) {
        return rc;
    }

    if ((uint64_t) kept != load->staged) {
        load->db.error[0] = '\0';
        mining_text(load->db.error, sizeof(load->db.error),
            "%" PRIu64 " rows were staged, but %" PRId64 " kept", load->staged,
            kept);
        return MINING_REFUSED;
    }

    load->kept += load->staged;
    load->staged = 0;
    (void) snprintf(
        sql, sizeof(sql), "truncate pg_temp.load_%s", load->kind->name);

    return mining_db_exec(&load->db, sql);
}


static mining_result_e
load_part_store(load_t *load)
{
    char            sql[256];
    size_t          sent;
    int64_t         fresh;
    mining_result_e rc;

    if (load_is_clicks(load)) {
        rc = mining_clicks_store(load->clicks, &load->db, &fresh);
        if (rc == MINING_OK) {
            load->fresh += fresh;
            load->kept += load->part;
        }
        load->part = 0;
        return rc;
    }

    (void) snprintf(sql, sizeof(sql),
        "copy pg_temp.load_%s from stdin (format binary)", load->kind->name);

    mining_copy_finish(&load->copy);
    if (load->copy.failed) {
        return MINING_NOMEM;
    }

    rc = mining_db_copy_begin(&load->db, sql);
    if (rc == MINING_OK) {
        sent = 0;
        rc = mining_db_copy_end(
            &load->db, load->copy.data, load->copy.len, &sent);
    }

    load->staged += load->part;
    load->part = 0;
    mining_copy_begin(&load->copy);

    return rc;
}


/* Sends what has gathered; all of it when `all` is set. */
static mining_result_e
load_flush(load_t *load, int all)
{
    mining_result_e rc;

    rc = MINING_OK;

    if (load->part != 0
        && (all || load->part >= LOAD_PART_ROWS
            || load->copy.len >= LOAD_PART_BYTES))
    {
        rc = load_part_store(load);
    }

    if (rc == MINING_OK && !load_is_clicks(load)
        && (all || load->staged >= LOAD_STAGED_ROWS))
    {
        rc = load_merge(load);
    }

    if (rc == MINING_OK && (all || load->rejects.rows >= LOAD_REJECTS)) {
        rc = mining_rejects_store(&load->rejects, &load->db, load->batch);
    }

    return rc;
}


static void
load_csv_field(FILE *out, const char *data, size_t len)
{
    size_t i;

    (void) fputc('"', out);
    for (i = 0; i < len; i++) {
        if (data[i] == '"') {
            (void) fputc('"', out);
        }
        (void) fputc(data[i], out);
    }
    (void) fputc('"', out);
}


static void
load_reject(load_t *load, const char *reason)
{
    load->rejected++;

    mining_rejects_add(&load->rejects, load->path, (int64_t) load->csv.line,
        reason, load->csv.raw);

    if (load->rejects_file != NULL) {
        (void) fprintf(load->rejects_file, "%" PRIu64 ",", load->csv.line);
        load_csv_field(load->rejects_file, reason, strlen(reason));
        (void) fputc(',', load->rejects_file);
        load_csv_field(
            load->rejects_file, load->csv.raw.data, load->csv.raw.len);
        (void) fputc('\n', load->rejects_file);
    }

    if (load->rejected <= LOAD_WARNINGS) {
        mining_say("load: %s line %" PRIu64 " rejected: %s", load->path,
            load->csv.line, reason);
    } else if (load->rejected == LOAD_WARNINGS + 1) {
        mining_say("load: more rows are rejected: see crm.reject%s%s",
            load->rejects_path != NULL ? " or " : "",
            load->rejects_path != NULL ? load->rejects_path : "");
    }
}


static mining_result_e
load_row(load_t *load)
{
    char            reason[256];
    tracker_str_t   values[MINING_KIND_COLUMNS_MAX];
    mining_result_e rc;

    rc = mining_kind_check(
        &load->header, &load->csv, values, reason, sizeof(reason));
    if (rc != MINING_OK) {
        load_reject(load, reason);
        return MINING_OK;
    }

    if (load_is_clicks(load)) {
        rc = mining_clicks_add(load->clicks, values);
        if (rc != MINING_OK) {
            load->db.error[0] = '\0';
            mining_text(load->db.error, sizeof(load->db.error), "%s%s",
                mining_result_text(rc),
                rc == MINING_FULL ? ": over 16 million sessions, split the "
                                    "file between sessions"
                                  : "");
            return rc;
        }

    } else {
        mining_kind_row(load->kind, values, &load->copy);
    }

    load->part++;

    return MINING_OK;
}


static mining_result_e
load_rows(load_t *load)
{
    mining_result_e rc;

    for (;;) {
        rc = mining_csv_next(&load->csv);

        if (rc == MINING_DECLINED) {
            return load_flush(load, 1);
        }

        if (rc == MINING_LOST) {
            load->db.error[0] = '\0';
            mining_text(load->db.error, sizeof(load->db.error),
                "%s cannot be read to its end: it is cut short or damaged",
                load->path);
            return MINING_INVALID;
        }

        load->in++;
        if (rc == MINING_OK) {
            rc = load_row(load);
        } else {
            load_reject(load, load->csv.reason);
            rc = MINING_OK;
        }

        if (rc == MINING_OK) {
            rc = load_flush(load, 0);
        }
        if (rc == MINING_OK && mining_stop) {
            rc = MINING_STOPPED;
            load->db.error[0] = '\0';
            mining_text(load->db.error, sizeof(load->db.error), "%s",
                mining_result_text(rc));
        }
        if (rc != MINING_OK) {
            return rc;
        }

        mining_progress_show(
            &load->progress, mining_file_done(&load->file), load->in);
    }
}


static mining_result_e
load_end(load_t *load)
{
    char            numbers[4][24];
    unsigned        i;
    uint64_t        counts[4];
    const char     *values[4];
    mining_result_e rc;

    if (load->in != load->kept + load->rejected) {
        load->db.error[0] = '\0';
        mining_text(load->db.error, sizeof(load->db.error),
            "%" PRIu64 " rows in are not %" PRIu64 " kept + %" PRIu64
            " rejected: this is a fault of crm-mine",
            load->in, load->kept, load->rejected);
        return MINING_INVALID;
    }

    counts[0] = (uint64_t) load->batch;
    counts[1] = load->in;
    counts[2] = load->kept;
    counts[3] = load->rejected;
    for (i = 0; i < 4; i++) {
        (void) snprintf(numbers[i], sizeof(numbers[i]), "%" PRIu64, counts[i]);
        values[i] = numbers[i];
    }

    rc = mining_db_query(&load->db, NULL,
        "select etl.load_end($1::bigint, $2::bigint, $3::bigint, $4::bigint)",
        4, values);
    if (rc == MINING_OK && !load_is_clicks(load)) {
        rc = mining_db_exec(&load->db, "commit");
    }

    return rc;
}


static mining_result_e
load_header(load_t *load)
{
    mining_result_e rc;

    rc = mining_csv_next(&load->csv);
    if (rc == MINING_OK) {
        return mining_kind_header(&load->header, load->kind, &load->csv);
    }

    mining_say("load: %s: %s", load->path,
        rc == MINING_DECLINED  ? "is empty, a header line is expected"
        : rc == MINING_INVALID ? load->csv.reason
                               : "cannot be read");

    return MINING_INVALID;
}


static mining_result_e
load_open(load_t *load)
{
    mining_result_e rc;

    rc = mining_file_open(&load->file, load->path);
    if (rc != MINING_OK) {
        return rc;
    }

    if (load->rejects_path != NULL) {
        load->rejects_file = fopen(load->rejects_path, "we");
        if (load->rejects_file == NULL) {
            mining_say("load: %s: %s", load->rejects_path, strerror(errno));
            return MINING_INVALID;
        }
        (void) fputs("line,reason,row\n", load->rejects_file);
    }

    mining_csv_start(&load->csv, mining_file_read, &load->file);

    return load_header(load);
}


static mining_result_e
load_all(load_t *load, const char *pg)
{
    mining_result_e rc;

    mining_copy_begin(&load->copy);
    if (strcmp(load->kind->name, "clicks") == 0) {
        load->clicks = mining_clicks_new(load->site);
        if (load->clicks == NULL) {
            mining_text(load->db.error, sizeof(load->db.error), "%s",
                mining_result_text(MINING_NOMEM));
            return MINING_NOMEM;
        }
    }

    load->db.stoppable = 1;
    rc = mining_db_open(&load->db, pg);
    if (rc == MINING_OK) {
        rc = load_begin(load);
    }
    if (rc == MINING_OK) {
        rc = load_rows(load);
    }
    if (rc == MINING_OK) {
        rc = load_end(load);
    }

    return rc;
}


static int
load_finish(load_t *load, mining_result_e rc)
{
    int failed;

    failed = 0;
    if (load->rejects_file != NULL) {
        failed = ferror(load->rejects_file) != 0;
        failed |= fclose(load->rejects_file) != 0;
    }
    if (failed) {
        mining_say("load: %s could not be written", load->rejects_path);
    }

    if (rc == MINING_OK) {
        mining_progress_end(&load->progress, load->in);
        (void) printf("in %" PRIu64 " = kept %" PRIu64 " + rejected %" PRIu64,
            load->in, load->kept, load->rejected);
        if (load_is_clicks(load)) {
            (void) printf(" (%" PRId64 " new)", load->fresh);
        }
        (void) printf("\n");
    }

    mining_clicks_free(load->clicks);
    mining_copy_free(&load->copy);
    mining_rejects_free(&load->rejects);
    mining_file_close(&load->file);
    mining_db_close(&load->db);

    return rc == MINING_OK && !failed ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_load(const mining_settings_t *settings, int argc, char **argv)
{
    int             code;
    load_t         *load;
    unsigned        nwords;
    const char     *words[64];
    mining_result_e rc;

    load = calloc(1, sizeof(*load));
    if (load == NULL) {
        mining_say("load: out of memory");
        return MINING_EXIT_FAILED;
    }

    {
        const mining_option_t options[] = {
            {"--site", (void *) &load->site, MINING_OPTION_TEXT, 0},
            {"--rejects", (void *) &load->rejects_path, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 2 || load->site == NULL
            || (load->kind = mining_kind_find(words[0])) == NULL)
        {
            mining_say("usage: load customers|products|orders|clicks FILE"
                       " --site SITE [--rejects FILE]");
            free(load);
            return MINING_EXIT_USAGE;
        }
    }

    load->path = words[1];

    rc = load_open(load);
    if (rc == MINING_OK) {
        mining_progress_start(
            &load->progress, load->kind->name, load->file.size);
        rc = load_all(load, settings->pg);
        if (rc != MINING_OK) {
            mining_say("load: %s: %s%s", load->path, load->db.error,
                load_is_clicks(load) && load->kept != 0
                    ? "; what was committed stays, load it again"
                    : "; nothing of it was kept");
        }
    }

    code = load_finish(load, rc);
    free(load);

    return code;
}
