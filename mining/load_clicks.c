/*
 * load_clicks.c - clicks of the past as events.
 *
 * A click becomes a `Product Viewed` with src `import`.  Everything random in
 * a live event is derived here: the event's id from (site, session, position
 * in the session), session and visitor ids from their names.  So a second load
 * makes the same ids, finds them and adds nothing.
 *
 * Position is the how-manieth click of its session in the file.  The sessions
 * met so far are kept as 64-bit hashes: 16 bytes each.  Two sessions that
 * share a hash share a count, which still gives each click an id of its own.
 */

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define CLICKS_SESSIONS_MAX (16u << 20) /* 512 MB of slots at most */
#define CLICKS_SITE_MAX     256


typedef struct {
    uint64_t hash; /* 0: free */
    uint64_t position;
} clicks_session_t;

struct mining_clicks_s {
    char              site[CLICKS_SITE_MAX];
    size_t            site_len;
    clicks_session_t *sessions;
    uint32_t          mask;
    uint32_t          nsessions;
    mining_copy_t     copy;
    unsigned          rows;
    uint8_t           days[MINING_DAYS_MAX]; /* 1 needed, 2 made */
};


/*
 * The statement that takes the staged rows over.  Only rows that are new count
 * for their visitors: a second load must not count them twice.
 */
static const char clicks_merge[] =
    "with fresh as ("
    " insert into crm.event (site, id, rts, type, name, vid, sid, seq, src,"
    " props)"
    " select site, id, rts, 'page', 'Product Viewed', vid, sid, seq, 'import',"
    " props from pg_temp.load_clicks on conflict do nothing"
    " returning site, vid, rts),"
    " visitors as ("
    " select site, vid, min(rts) as first, max(rts) as last,"
    " count(*) as events from fresh group by site, vid),"
    " batch as ("
    " select jsonb_build_object('visitors', coalesce(jsonb_agg("
    " jsonb_build_object('site', site, 'vid', vid,"
    " 'first', (extract(epoch from first) * 1000000)::bigint,"
    " 'last', (extract(epoch from last) * 1000000)::bigint,"
    " 'events', events, 'sn', 1)), '[]')) as visitors from visitors),"
    " absorbed as materialized (select etl.absorb(visitors) from batch)"
    " select (select count(*) from fresh) + 0 * (select count(*)"
    " from absorbed)";

static const char clicks_staging[] =
    "begin;"
    " create temporary table if not exists load_clicks (site text, id uuid,"
    " rts timestamptz, vid uuid, sid uuid, seq int, props jsonb)"
    " on commit delete rows;"
    " copy pg_temp.load_clicks from stdin (format binary)";

#define CLICKS_STAGED 7 /* columns */


mining_clicks_t *
mining_clicks_new(const char *site)
{
    mining_clicks_t *clicks;

    clicks = calloc(1, sizeof(*clicks));
    if (clicks == NULL) {
        return NULL;
    }

    mining_text(clicks->site, sizeof(clicks->site), "%s", site);
    clicks->site_len = strlen(clicks->site);
    clicks->mask = 4095;
    clicks->sessions =
        calloc((size_t) clicks->mask + 1, sizeof(clicks_session_t));
    if (clicks->sessions == NULL) {
        free(clicks);
        return NULL;
    }

    mining_copy_begin(&clicks->copy);

    return clicks;
}


void
mining_clicks_free(mining_clicks_t *clicks)
{
    if (clicks != NULL) {
        mining_copy_free(&clicks->copy);
        free(clicks->sessions);
        free(clicks);
    }
}


static clicks_session_t *
clicks_slot(clicks_session_t *sessions, uint32_t mask, uint64_t hash)
{
    uint32_t i;

    i = (uint32_t) hash & mask;
    while (sessions[i].hash != 0 && sessions[i].hash != hash) {
        i = (i + 1) & mask;
    }

    return &sessions[i];
}


static mining_result_e
clicks_grow(mining_clicks_t *clicks)
{
    uint32_t          i, mask;
    clicks_session_t *sessions;

    if (clicks->nsessions >= CLICKS_SESSIONS_MAX) {
        return MINING_FULL;
    }

    mask = clicks->mask * 2 + 1;
    sessions = calloc((size_t) mask + 1, sizeof(clicks_session_t));
    if (sessions == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i <= clicks->mask; i++) {
        if (clicks->sessions[i].hash != 0) {
            *clicks_slot(sessions, mask, clicks->sessions[i].hash) =
                clicks->sessions[i];
        }
    }

    free(clicks->sessions);
    clicks->sessions = sessions;
    clicks->mask = mask;

    return MINING_OK;
}


/* The first bytes of SHA-256 of (site, what, name): stable for ever. */
static void
clicks_digest(const mining_clicks_t *clicks, const char *what,
    tracker_str_t name, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    char   text[CLICKS_SITE_MAX + 32 + 2 * MINING_ID_MAX];
    int    n;
    size_t len;

    /* Ids hold no control characters: \n keeps the parts apart. */
    n = snprintf(text, sizeof(text), "%s\n%s\n", clicks->site, what);
    len = (size_t) n;
    memcpy(text + len, name.data, name.len);

    (void) SHA256((const unsigned char *) text, len + name.len, digest);
}


static void
clicks_uuid(const mining_clicks_t *clicks, const char *what, tracker_str_t name,
    uint8_t uuid[16])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    clicks_digest(clicks, what, name, digest);
    memcpy(uuid, digest, 16);

    /* Version 8 of RFC 9562: made by a rule of our own. */
    uuid[6] = (uint8_t) ((uuid[6] & 0x0f) | 0x80);
    uuid[8] = (uint8_t) ((uuid[8] & 0x3f) | 0x80);
}


static mining_result_e
clicks_position(
    mining_clicks_t *clicks, tracker_str_t session, uint64_t *position)
{
    uint64_t          hash;
    uint8_t           digest[SHA256_DIGEST_LENGTH];
    mining_result_e   rc;
    clicks_session_t *slot;

    if (clicks->nsessions * 2 > clicks->mask) {
        rc = clicks_grow(clicks);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    clicks_digest(clicks, "session", session, digest);
    memcpy(&hash, digest, sizeof(hash));
    hash |= 1;

    slot = clicks_slot(clicks->sessions, clicks->mask, hash);
    if (slot->hash == 0) {
        slot->hash = hash;
        slot->position = 0;
        clicks->nsessions++;
    }

    *position = ++slot->position;

    return MINING_OK;
}


static void
clicks_id(const mining_clicks_t *clicks, tracker_str_t session,
    uint64_t position, int64_t us, uint8_t id[16])
{
    char          text[MINING_ID_MAX + 24];
    int           n;
    uint8_t       digest[SHA256_DIGEST_LENGTH];
    tracker_str_t name;

    n = snprintf(text, sizeof(text), "%" PRIu64 "\n", position);
    memcpy(text + n, session.data, session.len);
    name.data = text;
    name.len = (size_t) n + session.len;

    clicks_digest(clicks, "click", name, digest);
    tracker_uuid_v7(id, (uint64_t) us / 1000, digest);
}


static void
clicks_prop(mining_copy_t *copy, const char *name, tracker_str_t value)
{
    char  text[2 + 6 * 1024];
    char *end;

    if (value.data == NULL) {
        return;
    }

    end = tracker_json_string(text, text + sizeof(text), value, NULL);
    if (end != NULL) {
        mining_copy_append(copy, name, strlen(name));
        mining_copy_append(copy, text, (size_t) (end - text));
    }
}


mining_result_e
mining_clicks_add(mining_clicks_t *clicks, const tracker_str_t *values)
{
    size_t          mark;
    int64_t         us;
    uint8_t         uuid[16];
    uint64_t        position;
    mining_copy_t  *copy;
    mining_result_e rc;

    if (mining_csv_time(values[1], &us) != MINING_OK) {
        return MINING_INVALID;
    }

    rc = clicks_position(clicks, values[0], &position);
    if (rc != MINING_OK) {
        return rc;
    }

    if (clicks->days[us / MINING_US_PER_DAY] == 0) {
        clicks->days[us / MINING_US_PER_DAY] = 1;
    }

    copy = &clicks->copy;
    mining_copy_row(copy, CLICKS_STAGED);
    mining_copy_text(copy, clicks->site, clicks->site_len);
    clicks_id(clicks, values[0], position, us, uuid);
    mining_copy_uuid(copy, uuid);
    mining_copy_time(copy, us);
    clicks_uuid(clicks, values[3].data != NULL ? "visitor" : "visitor of",
        values[3].data != NULL ? values[3] : values[0], uuid);
    mining_copy_uuid(copy, uuid);
    clicks_uuid(clicks, "session", values[0], uuid);
    mining_copy_uuid(copy, uuid);
    mining_copy_int4(
        copy, position > INT32_MAX ? INT32_MAX : (int32_t) position);

    mark = mining_copy_open(copy);
    mining_copy_append(copy, "\001{", 2);
    clicks_prop(copy, "\"product_id\":", values[2]);
    clicks_prop(copy, ",\"category\":", values[4]);
    clicks_prop(copy, ",\"price\":", values[5]);
    clicks_prop(copy, ",\"country\":", values[6]);
    mining_copy_append(copy, "}", 1);
    mining_copy_close(copy, mark);

    clicks->rows++;

    return copy->failed ? MINING_NOMEM : MINING_OK;
}


/* Days that need a partition, in runs, outside of the rows' transaction. */
static mining_result_e
clicks_days(mining_clicks_t *clicks, mining_db_t *db)
{
    int32_t         first, last;
    mining_result_e rc;

    for (first = 0; first < MINING_DAYS_MAX; first++) {
        if (clicks->days[first] != 1) {
            continue;
        }

        /* 200 days at once fit the locks of a stock server. */
        for (last = first; last + 1 < MINING_DAYS_MAX && last - first < 200
                           && clicks->days[last + 1] == 1;
             last++)
        {
            /* void */
        }

        rc = mining_days_ensure(db, first, last);
        if (rc != MINING_OK) {
            return rc;
        }
        memset(clicks->days + first, 2, (size_t) last + 1 - (size_t) first);
    }

    return MINING_OK;
}


mining_result_e
mining_clicks_store(mining_clicks_t *clicks, mining_db_t *db, int64_t *fresh)
{
    size_t          sent;
    mining_result_e rc;

    *fresh = 0;
    if (clicks->rows == 0) {
        return MINING_OK;
    }

    rc = clicks_days(clicks, db);
    if (rc == MINING_OK) {
        rc = mining_db_copy_begin(db, clicks_staging);
    }
    if (rc == MINING_OK) {
        mining_copy_finish(&clicks->copy);
        sent = 0;
        rc = mining_db_copy_end(db, clicks->copy.data, clicks->copy.len, &sent);
    }
    if (rc == MINING_OK) {
        rc = mining_db_number(db, fresh, clicks_merge, 0, NULL);
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(db, "commit");
    }

    mining_copy_begin(&clicks->copy);
    clicks->rows = 0;

    return rc;
}
