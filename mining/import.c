/*
 * import.c - moves events from the streams of Redis into the warehouse.
 *
 * A turn of the loop fills one batch, commits it and tells Redis what is
 * durable.  While PostgreSQL commits, Redis already prepares the next answer.
 * Any failure voids the batch: positions are read again from PostgreSQL and
 * the events from Redis, so every crash and every outage ends in the same,
 * well-tested start.
 *
 * With --follow it never ends by itself: stores that are down are tried again
 * with a pause that doubles up to IMPORT_PAUSE_MAX_MS.  Without it, it ends
 * when every stream is committed to its end, by this importer or another.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define IMPORT_BATCH         20000
#define IMPORT_BATCH_MAX     200000
#define IMPORT_BLOCK_MS      200   /* XREAD; also the delay of a stop signal */
#define IMPORT_POLL_MS       20    /* between two looks at a cluster */
#define IMPORT_SHARE_MS      1000  /* new producers, shares, sites */
#define IMPORT_PUBLISH_MS    60000 /* durable positions, told again */
#define IMPORT_DAYS_MS       3600000
#define IMPORT_DAYS_AHEAD    7
#define IMPORT_REPORT_MS     60000
#define IMPORT_WAIT_PG_MS    60000 /* longest silence of PostgreSQL */
#define IMPORT_WAIT_REDIS_MS 5000
#define IMPORT_PAUSE_MIN_MS  100
#define IMPORT_PAUSE_MAX_MS  5000
#define IMPORT_FAILURES_MAX  3     /* in a row, without --follow */
#define IMPORT_STUCK_MS      60000 /* another importer makes no progress */


typedef enum { IMPORT_PG, IMPORT_REDIS } import_store_e;

typedef struct {
    const mining_settings_t *settings;
    mining_db_t              db;
    mining_redis_t           redis;
    mining_producers_t       producers;
    mining_source_t          source;
    mining_batch_t          *batch;
    int                      follow;

    import_store_e store; /* of the last failure */
    unsigned       failures;
    unsigned       pause_ms;
    int64_t        failing_ms; /* since when */
    int64_t        said_ms;
    char           said[256]; /* the error of that time */

    int64_t share_ms; /* when due */
    int64_t publish_ms;
    int64_t days_ms;
    int64_t report_ms;

    int     waiting; /* for another importer */
    int64_t waiting_ms;
    int64_t waiting_sum;

    uint64_t          kept;
    uint64_t          rejected;
    uint64_t          duplicates;
    uint64_t          reported_kept;
    uint64_t          reported_rejected;
    mining_progress_t progress;
} import_t;


static mining_result_e
import_fault(import_t *im, mining_result_e rc, import_store_e store)
{
    if (rc != MINING_OK && rc != MINING_DECLINED) {
        im->store = store;
    }

    return rc;
}


static mining_result_e
import_days(import_t *im, int32_t first, int32_t last)
{
    int32_t         day;
    mining_result_e rc;

    rc = mining_days_ensure(&im->db, first, last);
    if (rc != MINING_OK) {
        return import_fault(im, rc, IMPORT_PG);
    }

    for (day = first; day <= last; day++) {
        im->batch->days[day] = 1;
    }

    return MINING_OK;
}


/* Days that no site wants any more; a site without a limit keeps all. */
static mining_result_e
import_retention(import_t *im)
{
    int64_t         dropped;
    mining_result_e rc;

    rc = mining_db_number(&im->db, &dropped,
        "select etl.drop_partitions(d.day) from (select current_date"
        " - max(retention_days) as day from crm.site"
        " having count(*) = count(retention_days) and count(*) > 0) as d",
        0, NULL);

    if (rc == MINING_REFUSED) {
        mining_say("import: old days could not be dropped: %s", im->db.error);
        return MINING_OK;
    }
    if (rc == MINING_OK && dropped > 0) {
        mining_say(
            "import: %" PRId64 " days beyond retention dropped", dropped);
    }

    return import_fault(im, rc, IMPORT_PG);
}


static mining_result_e
import_days_ahead(import_t *im)
{
    int32_t today;

    /* Partitions may have been dropped meanwhile: trust none. */
    memset(im->batch->days, 0, sizeof(im->batch->days));
    today = (int32_t) (mining_now_us() / MINING_US_PER_DAY);

    return import_days(im, today, today + IMPORT_DAYS_AHEAD);
}


static mining_result_e
import_connect(import_t *im)
{
    mining_result_e rc;

    if (im->db.conn == NULL) {
        mining_producers_forget(&im->producers);
        im->share_ms = 0;
        im->days_ms = 0;

        rc = mining_db_open(&im->db, im->settings->pg);
        if (rc != MINING_OK) {
            return import_fault(im, rc, IMPORT_PG);
        }
    }

    if (im->redis.context == NULL) {
        im->publish_ms = 0;
        im->share_ms = 0;

        rc = mining_redis_open(
            &im->redis, im->settings->redis, IMPORT_WAIT_REDIS_MS);
        if (rc != MINING_OK) {
            return import_fault(im, rc, IMPORT_REDIS);
        }
    }

    return MINING_OK;
}


/* Between batches: shares, sites, partitions, durable positions. */
static mining_result_e
import_upkeep(import_t *im)
{
    int64_t         now;
    unsigned        i, owed;
    mining_result_e rc;

    now = mining_tick_ms();
    if (now < im->share_ms) {
        return MINING_OK;
    }

    rc = mining_producers_read(&im->producers, &im->redis);
    if (rc != MINING_OK) {
        return import_fault(im, rc, IMPORT_REDIS);
    }

    rc = mining_producers_share(&im->producers, &im->db);
    if (rc == MINING_OK) {
        rc = mining_sites_read(&im->batch->sites, &im->db);
    }
    if (rc != MINING_OK) {
        return import_fault(im, rc, IMPORT_PG);
    }
    im->batch->sites_fresh = 0;

    if (now >= im->days_ms) {
        rc = import_retention(im);
        if (rc == MINING_OK) {
            rc = import_days_ahead(im);
        }
        if (rc != MINING_OK) {
            return rc;
        }
        im->days_ms = now + IMPORT_DAYS_MS;
    }

    if (now >= im->publish_ms) {
        for (i = 0; i < im->producers.n; i++) {
            im->producers.list[i].published = 0;
            im->producers.list[i].broken = 0;
        }
        im->publish_ms = now + IMPORT_PUBLISH_MS;
    }

    owed = 0;
    rc = mining_producers_publish(&im->producers, &im->redis, &owed);
    if (rc == MINING_OK) {
        rc = mining_producers_published(&im->redis, owed);
    }

    im->share_ms = now + IMPORT_SHARE_MS;

    return import_fault(im, rc, IMPORT_REDIS);
}


static mining_result_e
import_read(import_t *im, unsigned block_ms)
{
    char            error[sizeof(im->redis.error)];
    mining_result_e rc;

    rc = MINING_OK;
    if (!im->source.asked) {
        rc = mining_source_ask(
            &im->source, &im->redis, &im->producers, block_ms);
    }
    if (rc == MINING_OK) {
        rc = mining_source_answer(&im->source, &im->redis, &im->producers);
    }

    if (rc == MINING_REFUSED) {
        memcpy(error, im->redis.error, sizeof(error));
        rc = mining_producers_probe(&im->producers, &im->redis);
        if (rc == MINING_OK) {
            return MINING_DECLINED;
        }
        if (rc == MINING_DECLINED) {
            memcpy(im->redis.error, error, sizeof(error));
            rc = MINING_REFUSED;
        }
    }

    return import_fault(im, rc, IMPORT_REDIS);
}


/*
 * Fills the batch with what is there.  OK: commit it.  DECLINED: commit it,
 * then *day needs a partition.  INVALID: commit it, then read the sites.
 */
static mining_result_e
import_fill(import_t *im, int32_t *day)
{
    mining_item_t   item;
    mining_result_e rc;

    for (;;) {
        rc = mining_source_next(&im->source, &im->producers, &item);
        if (rc == MINING_DECLINED) {
            if (mining_tick_ms() >= im->share_ms) {
                return MINING_OK;
            }
            rc = import_read(im, 0);
            if (rc == MINING_OK) {
                continue;
            }
            return rc == MINING_DECLINED ? MINING_OK : rc;
        }

        rc = mining_batch_take(
            im->batch, &item, im->producers.list[item.producer].name, day);
        if (rc == MINING_FULL) {
            return MINING_OK;
        }
        if (rc != MINING_OK) {
            return import_fault(im, rc, IMPORT_PG);
        }

        mining_source_taken(&im->source, &im->producers);

        rc = mining_batch_pump(im->batch, &im->db);
        if (rc != MINING_OK) {
            return import_fault(im, rc, IMPORT_PG);
        }
    }
}


static mining_result_e
import_commit(import_t *im)
{
    unsigned        owed;
    mining_result_e rc;

    /* The next answer comes while PostgreSQL commits. */
    if (im->source.reply == NULL && mining_tick_ms() < im->share_ms) {
        rc = mining_source_ask(&im->source, &im->redis, &im->producers, 0);
        if (rc == MINING_LOST) {
            /* What was taken is safe with us: commit it all the same. */
            im->source.asked = 0;
        }
    }

    rc = mining_batch_commit(im->batch, &im->db, &im->producers);
    if (rc != MINING_OK) {
        return import_fault(
            im, rc == MINING_DECLINED ? MINING_REFUSED : rc, IMPORT_PG);
    }

    im->rejected += im->batch->nrejected;
    im->kept += mining_batch_kept(im->batch);
    im->duplicates += mining_batch_duplicates(im->batch);

    owed = 0;
    rc = mining_producers_publish(&im->producers, &im->redis, &owed);

    if (rc == MINING_OK && im->source.asked) {
        rc = import_read(im, 0);
        rc = rc == MINING_DECLINED ? MINING_OK : rc;
    }
    if (rc == MINING_OK) {
        rc = mining_producers_published(&im->redis, owed);
    }

    mining_batch_clear(im->batch);
    mining_source_release(&im->source);

    return import_fault(im, rc, IMPORT_REDIS);
}


/* A day that gets no partition is no reason to stand still. */
static mining_result_e
import_new_day(import_t *im, int32_t day)
{
    mining_result_e rc;

    rc = import_days(im, day, day);

    if (rc == MINING_REFUSED && mining_db_data_error(&im->db)) {
        char text[16];

        mining_day_text(text, day);
        mining_say("import: no partition for %s: %s", text, im->db.error);
        /* COPY will refuse the rows, one by one and with a reason. */
        im->batch->days[day] = 1;
        rc = MINING_OK;
    }

    return rc;
}


static mining_result_e
import_turn(import_t *im)
{
    int32_t         day;
    mining_result_e rc, filled;

    rc = import_connect(im);
    if (rc != MINING_OK) {
        return rc;
    }

    if (im->source.reply == NULL) {
        if (!im->source.asked) {
            rc = import_upkeep(im);
        }
        if (rc == MINING_OK) {
            rc = import_read(im, im->follow ? IMPORT_BLOCK_MS : 0);
        }
        if (rc == MINING_DECLINED && im->follow && im->redis.cluster) {
            /* nobody can wait for several nodes in one XREAD */
            mining_pause_ms(IMPORT_POLL_MS);
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    filled = import_fill(im, &day);
    if (filled == MINING_LOST || filled == MINING_REFUSED
        || filled == MINING_NOMEM || filled == MINING_STOPPED)
    {
        return filled;
    }

    rc = import_commit(im);
    if (rc == MINING_OK && filled == MINING_DECLINED) {
        rc = import_new_day(im, day);
    }
    if (rc == MINING_OK && filled == MINING_INVALID) {
        rc = import_fault(
            im, mining_sites_read(&im->batch->sites, &im->db), IMPORT_PG);
        im->batch->sites_fresh = 1;
    }

    return rc;
}


/* Everything taken and not committed is void. */
static void
import_void(import_t *im)
{
    if (im->source.asked) {
        mining_redis_close(&im->redis);
    }

    mining_batch_clear(im->batch);
    mining_source_reset(&im->source);
    mining_producers_rewind(&im->producers);
}


static void
import_failed(import_t *im, mining_result_e rc)
{
    int64_t     now;
    const char *error;

    error = im->store == IMPORT_REDIS ? im->redis.error : im->db.error;
    now = mining_tick_ms();
    if (im->failures++ == 0) {
        im->failing_ms = now;
        im->pause_ms = IMPORT_PAUSE_MIN_MS;
        im->said_ms = 0;
    }

    if (im->said_ms == 0 || now - im->said_ms >= IMPORT_REPORT_MS
        || strncmp(im->said, error, sizeof(im->said) - 1) != 0)
    {
        im->said_ms = now;
        im->said[0] = '\0';
        mining_text(im->said, sizeof(im->said), "%s", error);
        if (im->store == IMPORT_REDIS) {
            mining_say("import: redis %s: %s (%s), trying again",
                im->redis.where, error, mining_result_text(rc));
        } else {
            mining_say("import: postgresql: %s (%s), trying again", error,
                mining_result_text(rc));
        }
    }

    import_void(im);
    if (im->store == IMPORT_PG) {
        /* Whatever was wrong, locks and positions are taken afresh. */
        mining_db_close(&im->db);
    }
    mining_pause_ms(im->pause_ms);

    im->pause_ms *= 2;
    if (im->pause_ms > IMPORT_PAUSE_MAX_MS) {
        im->pause_ms = IMPORT_PAUSE_MAX_MS;
    }
}


static void
import_recovered(import_t *im)
{
    if (im->failures == 0) {
        return;
    }

    mining_say("import: stores answer again after %.1f s",
        (double) (mining_tick_ms() - im->failing_ms) / 1000);
    im->failures = 0;
}


static void
import_report(import_t *im)
{
    int64_t now;

    if (!im->follow) {
        mining_progress_show(&im->progress, im->kept, im->kept);
        return;
    }

    now = mining_tick_ms();
    if (now < im->report_ms) {
        return;
    }
    im->report_ms = now + IMPORT_REPORT_MS;

    if (im->kept != im->reported_kept || im->rejected != im->reported_rejected)
    {
        mining_say("import: %" PRIu64 " events kept, %" PRIu64 " rejected"
                   " since the last report",
            im->kept - im->reported_kept, im->rejected - im->reported_rejected);
        im->reported_kept = im->kept;
        im->reported_rejected = im->rejected;
    }
}


/* Without --follow, nothing came: OK: all done; DECLINED: others still work. */
static mining_result_e
import_done(import_t *im)
{
    int64_t         now, sum;
    mining_result_e rc;

    rc = mining_producers_drained(&im->producers, &im->db, &im->redis, &sum);
    if (rc != MINING_DECLINED) {
        return import_fault(
            im, rc, im->redis.context == NULL ? IMPORT_REDIS : IMPORT_PG);
    }

    now = mining_tick_ms();
    if (!im->waiting || sum != im->waiting_sum) {
        im->waiting = 1;
        im->waiting_sum = sum;
        im->waiting_ms = now;

    } else if (now - im->waiting_ms > IMPORT_STUCK_MS) {
        mining_say("import: another importer holds a producer and makes no"
                   " progress: stop it, or look at its log");
        return MINING_FULL;
    }

    im->share_ms = 0;
    mining_pause_ms(50);

    return MINING_DECLINED;
}


static int
import_loop(import_t *im)
{
    mining_result_e rc;

    while (!mining_stop) {
        rc = import_turn(im);

        if (rc == MINING_DECLINED && !im->follow) {
            rc = import_done(im);
            if (rc == MINING_OK) {
                return MINING_EXIT_OK;
            }
            if (rc == MINING_FULL) {
                return MINING_EXIT_FAILED;
            }
        } else if (rc == MINING_DECLINED
                   && !mining_source_readable(&im->producers)) {
            mining_pause_ms(IMPORT_BLOCK_MS);
            im->share_ms = 0;
        }

        if (rc == MINING_OK || rc == MINING_DECLINED) {
            import_recovered(im);
            import_report(im);
            continue;
        }

        if (rc == MINING_INVALID) {
            mining_say("import: redis: %s", im->redis.error);
            return MINING_EXIT_USAGE;
        }

        if (mining_stop) {
            break;
        }

        import_failed(im, rc);
        if (!im->follow && im->failures >= IMPORT_FAILURES_MAX) {
            return MINING_EXIT_FAILED;
        }
    }

    return MINING_EXIT_OK;
}


int
mining_import(const mining_settings_t *settings, int argc, char **argv)
{
    int         code, once;
    char        shown[256];
    unsigned    batch, nwords;
    import_t   *im;
    const char *words[64];

    im = calloc(1, sizeof(*im));
    if (im == NULL) {
        mining_say("import: out of memory");
        return MINING_EXIT_FAILED;
    }

    once = 0;
    batch = IMPORT_BATCH;

    {
        const mining_option_t options[] = {
            {"--follow", &im->follow, MINING_OPTION_FLAG, 0},
            {"--once", &once, MINING_OPTION_FLAG, 0},
            {"--batch", &batch, MINING_OPTION_COUNT, IMPORT_BATCH_MAX},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || (once && im->follow))
        {
            mining_say("usage: import [--follow | --once] [--batch ROWS]");
            free(im);
            return MINING_EXIT_USAGE;
        }
    }

    im->settings = settings;
    im->db.wait_ms = IMPORT_WAIT_PG_MS;
    im->batch = mining_batch_new(batch);
    if (im->batch == NULL) {
        mining_say("import: out of memory for batches of %u rows", batch);
        free(im);
        return MINING_EXIT_FAILED;
    }

    if (im->follow) {
        mining_redis_shown(shown, sizeof(shown),
            settings->redis != NULL ? settings->redis : "redis");
        mining_report_times();
        im->report_ms = mining_tick_ms() + IMPORT_REPORT_MS;
        mining_say("import: following %s, up to %u events per transaction",
            shown, batch);
    }
    mining_progress_start(&im->progress, "import", 0);

    code = import_loop(im);

    if (im->follow) {
        mining_say("import: stopped");
    }
    if (code != MINING_EXIT_USAGE) {
        mining_progress_end(&im->progress, im->kept);
    }
    if (!im->follow && code != MINING_EXIT_USAGE) {
        (void) printf(
            "kept %" PRIu64 ", rejected %" PRIu64, im->kept, im->rejected);
        if (im->duplicates > 0) {
            (void) printf(", duplicates %" PRIu64, im->duplicates);
        }
        (void) printf("\n");
    }

    import_void(im);
    mining_batch_free(im->batch);
    mining_redis_close(&im->redis);
    mining_db_close(&im->db);
    free(im);

    return code;
}
