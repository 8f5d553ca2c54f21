/*
 * reject.c - rows that were refused, gathered for etl.reject.
 *
 * They travel as one jsonb parameter: tracker_json_string makes any bytes fit
 * for it, so that a row refused for its bytes cannot be refused once more.
 */

#include <inttypes.h>
#include <string.h>

#include "mining.h"


#define REJECT_PIECE 4096 /* bytes escaped at once */


void
mining_rejects_clear(mining_rejects_t *rejects)
{
    rejects->json.len = 0;
    rejects->json.failed = 0;
    rejects->rows = 0;
}


void
mining_rejects_free(mining_rejects_t *rejects)
{
    mining_copy_free(&rejects->json);
}


static void
rejects_string(mining_copy_t *json, const char *name, tracker_str_t value)
{
    char  text[2 + 6 * MINING_REJECT_RAW_MAX];
    char *end;

    if (value.len > MINING_REJECT_RAW_MAX) {
        value.len = MINING_REJECT_RAW_MAX;
    }

    end = tracker_json_string(text, text + sizeof(text), value, NULL);

    mining_copy_append(json, name, strlen(name));
    if (end == NULL) {
        mining_copy_append(json, "null", 4);
    } else {
        mining_copy_append(json, text, (size_t) (end - text));
    }
}


/* A whole record as one string, piece by piece. */
static void
rejects_event(mining_copy_t *json, tracker_str_t event)
{
    char          text[2 + 6 * REJECT_PIECE];
    char         *end;
    size_t        n;
    tracker_str_t piece;

    mining_copy_append(json, ",\"event\":\"", 10);

    while (event.len > 0) {
        n = event.len < REJECT_PIECE ? event.len : REJECT_PIECE;

        /* a character stays whole */
        while (n < event.len && n > REJECT_PIECE - 4
               && ((uint8_t) event.data[n] & 0xc0) == 0x80)
        {
            n--;
        }

        piece.data = event.data;
        piece.len = n;
        end = tracker_json_string(text, text + sizeof(text), piece, NULL);

        if (end != NULL) {
            mining_copy_append(json, text + 1, (size_t) (end - text) - 2);
        }

        event.data += n;
        event.len -= n;
    }

    mining_copy_append(json, "\"", 1);
}


void
mining_rejects_add(mining_rejects_t *rejects, const char *source, int64_t line,
    const char *reason, tracker_str_t raw)
{
    tracker_str_t none = {NULL, 0};

    mining_rejects_add_event(rejects, source, line, reason, raw, none);
}


void
mining_rejects_add_event(mining_rejects_t *rejects, const char *source,
    int64_t line, const char *reason, tracker_str_t raw, tracker_str_t event)
{
    char           number[64];
    int            n;
    mining_copy_t *json;

    json = &rejects->json;

    n = snprintf(number, sizeof(number), "%s{\"line\":%" PRId64,
        rejects->rows == 0 ? "[" : ",", line);
    mining_copy_append(json, number, (size_t) n);
    rejects_string(
        json, ",\"source\":", (tracker_str_t){source, strlen(source)});
    rejects_string(
        json, ",\"reason\":", (tracker_str_t){reason, strlen(reason)});
    rejects_string(
        json, ",\"raw\":", raw.data == NULL ? (tracker_str_t){"", 0} : raw);

    if (event.data != NULL && event.len <= TRACKER_EVENT_MAX) {
        rejects_event(json, event);
    }

    mining_copy_append(json, "}", 1);

    rejects->rows++;
}


mining_result_e
mining_rejects_store(mining_rejects_t *rejects, mining_db_t *db, int64_t batch)
{
    char            number[24];
    const char     *values[2];
    mining_result_e rc;

    if (rejects->rows == 0) {
        return MINING_OK;
    }

    mining_copy_append(&rejects->json, "]", 2);
    if (rejects->json.failed) {
        return MINING_NOMEM;
    }

    (void) snprintf(number, sizeof(number), "%" PRId64, batch);
    values[0] = rejects->json.data;
    values[1] = batch == 0 ? NULL : number;

    rc = mining_db_query(db, NULL,
        "select count(etl.reject(r.source, r.line, r.reason, r.raw,"
        " $2::bigint, r.event)) from jsonb_to_recordset($1::jsonb)"
        " as r(source text, line bigint, reason text, raw text, event text)",
        2, values);

    mining_rejects_clear(rejects);

    return rc;
}
