/*
 * import_client.c - what the importer does for events of client libraries.
 *
 * They carry message ids, under which each is stored once; a word of whether
 * what they say of a customer is to be believed; and records of those that
 * nginx refused.
 */

#include <stdlib.h>
#include <string.h>

#include "mining.h"


/* What crm_collect refused travels as a record of this type. */
int
mining_client_refused(const mining_event_t *event)
{
    return event->columns[MINING_EVENT_TYPE].len == 6
           && memcmp(event->columns[MINING_EVENT_TYPE].data, "reject", 6) == 0;
}


void
mining_client_reject(mining_batch_t *batch, const mining_item_t *item)
{
    char                  source[16 + MINING_ID_MAX], reason[256], raw[8192];
    size_t                len;
    const tracker_str_t  *site;
    tracker_json_member_t member;

    site = &batch->event.columns[MINING_EVENT_SITE];
    (void) snprintf(
        source, sizeof(source), "collect:%.*s", (int) site->len, site->data);

    member = mining_event_member(item->line, "reason");
    if (tracker_json_text(member.value, reason, sizeof(reason) - 1, &len)
        != TRACKER_OK)
    {
        len = 0;
    }
    reason[len] = '\0';

    member = mining_event_member(item->line, "raw");
    if (tracker_json_text(member.value, raw, sizeof(raw), &len) == TRACKER_OK) {
        member.value.data = raw;
        member.value.len = len;
    }

    mining_rejects_add_event(
        &batch->rejects, source, item->seq, reason, member.value, item->line);
    batch->nrejected++;
}


/* A userId of a browser is a claim: only the shop's own word and that of its
 * servers say who a visitor is. */
int
mining_client_believed(const mining_event_t *event)
{
    const tracker_str_t  *src;
    tracker_json_member_t trusted;

    src = &event->columns[MINING_EVENT_SRC];
    if (src->len != 6 || memcmp(src->data, "client", 6) != 0) {
        return 1;
    }

    trusted = mining_event_member(event->columns[MINING_EVENT_CTX], "trusted");

    return trusted.value.data != NULL && trusted.type == 't';
}


/* The message ids of rows lo ... hi - 1 as etl.claim wants them. */
static const char *
client_claims(mining_batch_t *batch, unsigned lo, unsigned hi)
{
    char                  text[64], day[16], site[2 + 6 * MINING_ID_MAX], *end;
    int                   n;
    unsigned              i;
    const char           *comma;
    mining_row_t         *row;
    mining_copy_t        *json;
    const mining_sites_t *sites;
    tracker_json_member_t mid;

    json = &batch->scratch;
    sites = &batch->sites;
    json->len = 0;
    json->failed = 0;
    comma = "[";

    for (i = lo; i < hi; i++) {
        row = &batch->rows[i];
        if (!row->held) {
            continue;
        }

        row->duplicate = 1; /* unless it is claimed */
        mid = mining_event_member(row->line, "mid");
        mining_day_text(day, (int32_t) (row->rts / MINING_US_PER_DAY));
        n = snprintf(text, sizeof(text),
            "%s{\"i\":%u,\"d\":\"%s\",\"s\":", comma, i, day);
        end = tracker_json_string(site, site + sizeof(site),
            (tracker_str_t){sites->names[row->site], sites->lens[row->site]},
            NULL);
        mining_copy_append(json, text, (size_t) n);
        mining_copy_append(json, site, end != NULL ? (size_t) (end - site) : 0);
        mining_copy_append(json, ",\"m\":", 5);
        mining_copy_append(json, mid.value.data, mid.value.len);
        mining_copy_append(json, "}", 1);
        comma = ",";
    }

    mining_copy_append(json, *comma == '[' ? "[]" : "]", *comma == '[' ? 3 : 2);

    return json->failed ? NULL : json->data;
}


/* Finds out which rows with a message id are new. */
mining_result_e
mining_client_claim(
    mining_batch_t *batch, mining_db_t *db, unsigned lo, unsigned hi)
{
    int             i;
    PGresult       *res;
    const char     *json;
    unsigned long   row;
    mining_result_e rc;

    json = client_claims(batch, lo, hi);
    if (json == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_db_query(
        db, &res, "select unnest(etl.claim($1::jsonb))", 1, &json);
    if (rc != MINING_OK) {
        return rc;
    }

    for (i = 0; i < PQntuples(res); i++) {
        row = strtoul(PQgetvalue(res, i, 0), NULL, 10);
        if (row >= lo && row < hi) {
            batch->rows[row].duplicate = 0;
        }
    }

    PQclear(res);

    return MINING_OK;
}
