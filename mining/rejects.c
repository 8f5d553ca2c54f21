/*
 * rejects.c - shows events that were refused, and tries them again.
 *
 * Whatever was in the way may be gone: a site that was not in crm.site, a
 * library's event that this release understands.  Each is stored in a
 * transaction of its own that marks it as replayed, so that a replay may be
 * cut off and repeated.  Its id is that of the first time, and so is its
 * message id: an event that came another way meanwhile is not stored twice.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define REJECTS_LIMIT     100000
#define REJECTS_PAGE      500
#define REJECTS_SHOWN     60 /* bytes of the event's text */
#define REJECTS_WAIT_MS   60000
#define REJECTS_ID_DIGITS 24

typedef struct {
    mining_db_t     db;
    mining_batch_t *batch;
    char           *room; /* of a client library's event */
    char            text[TRACKER_HIT_MAX + 1];
    char            line[TRACKER_EVENT_MAX];
    unsigned        kept;
    unsigned        twice;
    unsigned        left;
} rejects_t;


static tracker_str_t
rejects_text(tracker_str_t record, const char *name, char *buf, size_t size)
{
    size_t                len;
    tracker_str_t         text = {NULL, 0};
    tracker_json_member_t member;

    member = mining_event_member(record, name);

    if (member.value.data != NULL
        && tracker_json_text(member.value, buf, size, &len) == TRACKER_OK)
    {
        text.data = buf;
        text.len = len;
    }

    return text;
}


static int64_t
rejects_number(tracker_str_t record, const char *name)
{
    char                  digits[20];
    tracker_json_member_t member;

    member = mining_event_member(record, name);
    if (member.value.data == NULL || member.type != '0'
        || member.value.len >= sizeof(digits))
    {
        return 0;
    }

    memcpy(digits, member.value.data, member.value.len);
    digits[member.value.len] = '\0';

    return strtoll(digits, NULL, 10);
}


static const uint8_t *
rejects_uuid(tracker_str_t record, const char *name, uint8_t uuid[16])
{
    char          text[TRACKER_UUID_TEXT];
    tracker_str_t value;

    value = rejects_text(record, name, text, sizeof(text));

    return value.len == TRACKER_UUID_TEXT
                   && tracker_uuid_parse(uuid, value.data, value.len)
                          == TRACKER_OK
               ? uuid
               : NULL;
}


/* A refusal of crm_collect becomes the line it would have been; 0: it is still
 * none. */
static size_t
rejects_collected(rejects_t *rj, tracker_str_t record)
{
    char             protocol[16], type[16], site[MINING_ID_MAX];
    char             ip[64], ua[2048];
    uint8_t          id[16], vid[16], sid[16];
    tracker_str_t    raw, name, path_type;
    tracker_hit_t    hit;
    tracker_event_t *event;
    tracker_result_e rc;

    raw = rejects_text(record, "raw", rj->text, sizeof(rj->text));
    name = rejects_text(record, "protocol", protocol, sizeof(protocol));
    path_type = rejects_text(record, "path_type", type, sizeof(type));

    if (raw.data == NULL
        || (uint64_t) rejects_number(record, "size") != raw.len) {
        return 0; /* it was cut, or is not text any more */
    }

    rc = name.len == 8 && memcmp(name.data, "snowplow", 8) == 0
             ? tracker_snowplow_read(&hit, rj->room, raw)
             : tracker_segment_read(&hit, rj->room, raw, path_type);
    if (rc != TRACKER_OK) {
        return 0;
    }

    event = &hit.event;
    event->id = rejects_uuid(record, "id", id);
    event->vid = rejects_uuid(record, "vid", vid);
    event->sid = rejects_uuid(record, "sid", sid);
    event->sn = (uint32_t) rejects_number(record, "sn");
    event->rts_us = (uint64_t) rejects_number(record, "rts");
    event->site = rejects_text(record, "site", site, sizeof(site));
    event->src.data = "client";
    event->src.len = 6;
    event->trusted = mining_event_member(record, "trusted").type == 't';
    event->ip = rejects_text(record, "ip", ip, sizeof(ip));

    if (event->ua.len == 0) {
        event->ua = rejects_text(record, "ua", ua, sizeof(ua));
    }

    tracker_hit_time(&hit, rejects_number(record, "sent"), event->rts_us);

    return event->id == NULL
               ? 0
               : tracker_event_write(rj->line, sizeof(rj->line), event, NULL);
}


static mining_result_e
rejects_day(rejects_t *rj, int32_t day)
{
    mining_result_e rc;

    rc = mining_days_ensure(&rj->db, day, day);
    rj->batch->days[day] = rc == MINING_OK;

    return rc;
}


/* OK: it is an event now.  DECLINED: it is still none. */
static mining_result_e
rejects_one(rejects_t *rj, const char *id, const char *source, char *text)
{
    int32_t         day;
    mining_item_t   item;
    mining_result_e rc;

    memset(&item, 0, sizeof(item));
    item.line.data = text;
    item.line.len = strlen(text);

    if (strncmp(source, "collect:", 8) == 0) {
        item.line.len = rejects_collected(rj, item.line);
        item.line.data = rj->line;
        if (item.line.len == 0) {
            return MINING_DECLINED;
        }
    }

    mining_batch_clear(rj->batch);
    rj->batch->sites_fresh = 1;

    rc = mining_batch_take(rj->batch, &item, "replay", &day);
    if (rc == MINING_DECLINED) {
        rc = rejects_day(rj, day);
        if (rc == MINING_OK) {
            rc = mining_batch_take(rj->batch, &item, "replay", &day);
        }
    }

    if (rc == MINING_REFUSED || (rc == MINING_OK && rj->batch->nrows == 0)) {
        return MINING_DECLINED;
    }

    if (rc == MINING_OK) {
        rc = mining_batch_replay(rj->batch, &rj->db, id);
    }

    if (rc == MINING_REFUSED) {
        return MINING_DECLINED; /* the data again, or somebody was faster */
    }

    if (rc == MINING_OK) {
        rj->kept += mining_batch_kept(rj->batch);
        rj->twice += mining_batch_duplicates(rj->batch);
    }

    return rc;
}


static void
rejects_show(PGresult *res, int i)
{
    (void) printf("%s\t%s\t%s\t%s\t%.*s\n", PQgetvalue(res, i, 0),
        PQgetvalue(res, i, 1), PQgetvalue(res, i, 2), PQgetvalue(res, i, 3),
        REJECTS_SHOWN, PQgetvalue(res, i, 4));
}


/* Walks over all of them, page by page; replay 0: prints them. */
static mining_result_e
rejects_walk(rejects_t *rj, unsigned limit, int replay)
{
    char            after[REJECTS_ID_DIGITS], most[REJECTS_ID_DIGITS];
    int             i, n;
    PGresult       *res;
    const char     *values[2];
    mining_result_e rc;

    (void) strcpy(after, "0");
    values[0] = after;
    values[1] = most;

    do {
        (void) snprintf(most, sizeof(most), "%u",
            limit < REJECTS_PAGE ? limit : REJECTS_PAGE);
        rc = mining_db_query(&rj->db, &res,
            "select id, to_char(at at time zone 'UTC',"
            " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), source, reason,"
            " translate(raw, E'\\n\\t', '  '), event"
            " from etl.rejects($1::bigint, $2::int)",
            2, values);
        if (rc != MINING_OK) {
            return rc;
        }

        n = PQntuples(res);
        limit -= (unsigned) n < limit ? (unsigned) n : limit;

        for (i = 0; i < n && rc == MINING_OK; i++) {
            (void) snprintf(after, sizeof(after), "%s", PQgetvalue(res, i, 0));
            if (!replay) {
                rejects_show(res, i);
                continue;
            }

            rc = mining_stop ? MINING_STOPPED
                             : rejects_one(rj, after, PQgetvalue(res, i, 2),
                                 PQgetvalue(res, i, 5));
            if (rc == MINING_DECLINED) {
                rj->left++;
                rc = MINING_OK;
            }
        }

        PQclear(res);
    } while (rc == MINING_OK && n > 0 && limit > 0);

    return rc;
}


static int
rejects_run(rejects_t *rj, const mining_settings_t *settings, unsigned limit,
    int replay)
{
    mining_result_e rc;

    rj->db.wait_ms = REJECTS_WAIT_MS;
    rc = mining_db_open(&rj->db, settings->pg);

    if (rc == MINING_OK) {
        rc = mining_sites_read(&rj->batch->sites, &rj->db);
    }
    if (rc == MINING_OK) {
        rc = rejects_walk(rj, limit, replay);
    }

    if (replay) {
        (void) printf("replayed %u, duplicates %u, still refused %u\n",
            rj->kept, rj->twice, rj->left);
    }
    if (rc != MINING_OK) {
        mining_say("rejects: %s (%s)", rj->db.error, mining_result_text(rc));
    }

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_rejects(const mining_settings_t *settings, int argc, char **argv)
{
    int         code, replay;
    unsigned    limit, nwords;
    rejects_t  *rj;
    const char *words[64];

    limit = REJECTS_LIMIT;

    {
        const mining_option_t options[] = {
            {"--limit", &limit, MINING_OPTION_COUNT, REJECTS_LIMIT},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 1
            || (strcmp(words[0], "list") != 0
                && strcmp(words[0], "replay") != 0))
        {
            mining_say("usage: rejects list | replay [--limit N]");
            return MINING_EXIT_USAGE;
        }

        replay = strcmp(words[0], "replay") == 0;
    }

    rj = calloc(1, sizeof(*rj));
    code = MINING_EXIT_FAILED;

    if (rj != NULL) {
        rj->room = malloc(TRACKER_HIT_ROOM);
        rj->batch = mining_batch_new(1);
    }

    if (rj == NULL || rj->room == NULL || rj->batch == NULL) {
        mining_say("rejects: out of memory");
    } else {
        code = rejects_run(rj, settings, limit, replay);
    }

    if (rj != NULL) {
        mining_batch_free(rj->batch);
        mining_db_close(&rj->db);
        free(rj->room);
        free(rj);
    }

    return code;
}
