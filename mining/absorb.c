/*
 * absorb.c - what a batch of events tells about visitors, logins and orders.
 *
 * Robots tell nothing: their events are kept and labelled, but they become no
 * visitors, customers or orders.
 *
 * etl.absorb wants one entry per key, so the rows are folded here: visitors by
 * (site, visitor), identities by (site, visitor, customer), orders by (site,
 * order).  Three hash tables with open addressing, sized once for a full
 * batch, hold indexes; the JSON is written out at the end.
 *
 * Records (consent, identify, alias) are few and each counts, so they are
 * handed over one by one.  A uid that a browser sent makes no identity: only
 * what the shop, a file or a trusted client says does.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


typedef struct {
    uint64_t hash;
    int64_t  first; /* us since 1970 UTC */
    int64_t  last;
    uint32_t events;
    int32_t  sn;
    uint16_t site;
    uint8_t  vid[16];
} absorb_visitor_t;

typedef struct {
    uint64_t      hash;
    tracker_str_t key;   /* raw JSON text of the customer or order */
    tracker_str_t uid;   /* raw JSON text, of an order */
    tracker_str_t props; /* of an order */
    int64_t       at;    /* us since 1970 UTC */
    uint16_t      site;
    uint8_t       vid[16];
    unsigned      has_vid : 1;
    unsigned      is_order : 1;
} absorb_fact_t;

struct mining_absorb_s {
    uint32_t         *visitor_slots; /* index + 1; 0 is free */
    uint32_t         *fact_slots;
    absorb_visitor_t *visitors;
    absorb_fact_t    *facts;
    mining_row_t     *records;
    uint32_t          mask;
    uint32_t          nvisitors;
    uint32_t          nfacts;
    uint32_t          nrecords;
    int64_t           since; /* us since 1970 UTC: the oldest row's rts */
    mining_copy_t     json;
};


mining_absorb_t *
mining_absorb_new(unsigned rows_max)
{
    uint32_t         size;
    mining_absorb_t *absorb;

    /* A row gives at most one identity and one order: load <= 2/2. */
    for (size = 1024; size < 4 * rows_max; size *= 2) {
        /* void */
    }

    absorb = calloc(1, sizeof(*absorb));
    if (absorb == NULL) {
        return NULL;
    }

    absorb->mask = size - 1;
    absorb->since = INT64_MAX;
    absorb->visitor_slots = calloc(size, sizeof(uint32_t));
    absorb->fact_slots = calloc(size, sizeof(uint32_t));
    absorb->visitors = calloc(rows_max, sizeof(absorb_visitor_t));
    absorb->facts = calloc(2 * (size_t) rows_max, sizeof(absorb_fact_t));
    absorb->records = calloc(rows_max, sizeof(mining_row_t));

    if (absorb->visitor_slots == NULL || absorb->fact_slots == NULL
        || absorb->visitors == NULL || absorb->facts == NULL
        || absorb->records == NULL)
    {
        mining_absorb_free(absorb);
        return NULL;
    }

    return absorb;
}


void
mining_absorb_free(mining_absorb_t *absorb)
{
    if (absorb != NULL) {
        free(absorb->visitor_slots);
        free(absorb->fact_slots);
        free(absorb->visitors);
        free(absorb->facts);
        free(absorb->records);
        mining_copy_free(&absorb->json);
        free(absorb);
    }
}


void
mining_absorb_clear(mining_absorb_t *absorb)
{
    size_t size;

    size = ((size_t) absorb->mask + 1) * sizeof(uint32_t);
    if (absorb->nvisitors != 0) {
        memset(absorb->visitor_slots, 0, size);
    }
    if (absorb->nfacts != 0) {
        memset(absorb->fact_slots, 0, size);
    }

    absorb->nvisitors = 0;
    absorb->nfacts = 0;
    absorb->nrecords = 0;
    absorb->since = INT64_MAX;
    absorb->json.len = 0;
    absorb->json.failed = 0;
}


/* FNV-1a: short keys, and the batch bounds what a collision can cost. */
static uint64_t
absorb_hash(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p, *end;

    for (p = data, end = p + len; p < end; p++) {
        hash = (hash ^ *p) * 0x100000001b3ULL;
    }

    return hash;
}


static uint64_t
absorb_hash_row(const mining_row_t *row)
{
    uint64_t hash;

    hash = absorb_hash(0xcbf29ce484222325ULL, &row->site, sizeof(row->site));
    hash = absorb_hash(hash, row->vid, sizeof(row->vid));

    return hash ^ hash >> 32;
}


static void
absorb_visitor(mining_absorb_t *absorb, const mining_row_t *row)
{
    uint64_t          hash;
    uint32_t          i;
    absorb_visitor_t *visitor;

    hash = absorb_hash_row(row);

    for (i = (uint32_t) hash & absorb->mask; absorb->visitor_slots[i] != 0;
         i = (i + 1) & absorb->mask)
    {
        visitor = &absorb->visitors[absorb->visitor_slots[i] - 1];
        if (visitor->hash == hash && visitor->site == row->site
            && memcmp(visitor->vid, row->vid, sizeof(row->vid)) == 0)
        {
            goto found;
        }
    }

    visitor = &absorb->visitors[absorb->nvisitors++];
    absorb->visitor_slots[i] = absorb->nvisitors;
    visitor->hash = hash;
    visitor->site = row->site;
    memcpy(visitor->vid, row->vid, sizeof(row->vid));
    visitor->first = row->rts;
    visitor->last = row->rts;
    visitor->events = 0;
    visitor->sn = 0;

found:

    visitor->events++;
    if (row->rts < visitor->first) {
        visitor->first = row->rts;
    }
    if (row->rts > visitor->last) {
        visitor->last = row->rts;
    }
    if (row->sn > visitor->sn) {
        visitor->sn = row->sn;
    }
}


static int
absorb_same(const absorb_fact_t *a, const absorb_fact_t *b)
{
    return a->hash == b->hash && a->site == b->site
           && a->is_order == b->is_order && a->key.len == b->key.len
           && memcmp(a->key.data, b->key.data, a->key.len) == 0
           && (a->is_order || memcmp(a->vid, b->vid, sizeof(a->vid)) == 0);
}


static void
absorb_fact(mining_absorb_t *absorb, absorb_fact_t *fact)
{
    uint64_t       hash;
    uint32_t       i;
    absorb_fact_t *known;

    hash = absorb_hash(
        0xcbf29ce484222325ULL ^ fact->is_order, fact->key.data, fact->key.len);
    if (!fact->is_order) {
        hash = absorb_hash(hash, fact->vid, sizeof(fact->vid));
    }
    fact->hash = hash ^ hash >> 32;

    for (i = (uint32_t) fact->hash & absorb->mask; absorb->fact_slots[i] != 0;
         i = (i + 1) & absorb->mask)
    {
        known = &absorb->facts[absorb->fact_slots[i] - 1];
        if (absorb_same(known, fact)) {
            /* The first report of an order counts, the last of a login. */
            if (!fact->is_order && fact->at > known->at) {
                known->at = fact->at;
            }
            return;
        }
    }

    absorb->facts[absorb->nfacts++] = *fact;
    absorb->fact_slots[i] = absorb->nfacts;
}


/* An id that is a JSON string of 1 to 64 bytes once unescaped, or a number:
 * client libraries send what the shop's script gave them. */
static int
absorb_id(const tracker_json_member_t *member)
{
    char   text[MINING_ID_MAX];
    size_t len;

    if (member->value.data != NULL && member->type == '0') {
        return member->value.len <= MINING_ID_MAX;
    }

    return member->value.data != NULL && member->type == '"'
           && tracker_json_text(member->value, text, sizeof(text), &len)
                  == TRACKER_OK
           && len > 0;
}


void
mining_absorb_add(mining_absorb_t *absorb, const mining_row_t *row)
{
    absorb_fact_t         fact;
    tracker_json_member_t uid, props, order;

    if (row->rts < absorb->since) {
        absorb->since = row->rts;
    }

    /* what a robot does makes nobody known; its consent is nobody's */
    if (row->is_bot) {
        return;
    }

    if (row->has_vid) {
        absorb_visitor(absorb, row);
    }

    if (row->is_record) {
        absorb->records[absorb->nrecords++] = *row;
    }

    if (!row->has_uid && !row->is_order) {
        return;
    }

    memset(&fact, 0, sizeof(fact));
    fact.site = row->site;
    fact.at = row->rts;
    fact.has_vid = row->has_vid;
    memcpy(fact.vid, row->vid, sizeof(fact.vid));

    if (row->has_uid) {
        uid = mining_event_member(row->line, "uid");
        fact.uid = uid.value;

        if (row->has_vid && absorb_id(&uid)) {
            fact.key = uid.value;
            absorb_fact(absorb, &fact);
        }
    }

    if (row->is_order) {
        props = mining_event_member(row->line, "props");
        order = mining_event_member(props.value, "order_id");

        if (absorb_id(&order)) {
            fact.is_order = 1;
            fact.key = order.value;
            fact.props = props.value;
            absorb_fact(absorb, &fact);
        }
    }
}


static void
absorb_put(mining_copy_t *json, const char *text)
{
    mining_copy_append(json, text, strlen(text));
}


static void
absorb_put_raw(mining_copy_t *json, const char *name, tracker_str_t raw)
{
    if (raw.data != NULL) {
        absorb_put(json, name);
        mining_copy_append(json, raw.data, raw.len);
    }
}


static void
absorb_put_number(mining_copy_t *json, const char *name, int64_t value)
{
    char number[24];

    absorb_put(json, name);
    (void) snprintf(number, sizeof(number), "%" PRId64, value);
    absorb_put(json, number);
}


static void
absorb_put_visitor(mining_copy_t *json, const mining_sites_t *sites,
    uint16_t site, const uint8_t *vid)
{
    char  text[2 + 6 * MINING_ID_MAX];
    char  uuid[TRACKER_UUID_TEXT];
    char *end;

    end = tracker_json_string(text, text + sizeof(text),
        (tracker_str_t){sites->names[site], sites->lens[site]}, NULL);

    absorb_put(json, "{\"site\":");
    mining_copy_append(json, text, end != NULL ? (size_t) (end - text) : 0);

    if (vid != NULL) {
        tracker_uuid_text(uuid, vid);
        absorb_put(json, ",\"vid\":\"");
        mining_copy_append(json, uuid, sizeof(uuid));
        absorb_put(json, "\"");
    }
}


static void
absorb_put_facts(
    mining_absorb_t *absorb, const mining_sites_t *sites, unsigned is_order)
{
    uint32_t             i;
    const char          *comma;
    const absorb_fact_t *fact;

    comma = "";
    for (i = 0; i < absorb->nfacts; i++) {
        fact = &absorb->facts[i];
        if (fact->is_order != is_order) {
            continue;
        }

        absorb_put(&absorb->json, comma);
        absorb_put_visitor(
            &absorb->json, sites, fact->site, fact->has_vid ? fact->vid : NULL);
        absorb_put_number(&absorb->json, ",\"at\":", fact->at);
        if (is_order) {
            absorb_put_raw(&absorb->json, ",\"order_id\":", fact->key);
            absorb_put_raw(&absorb->json, ",\"uid\":", fact->uid);
            absorb_put_raw(&absorb->json, ",\"props\":", fact->props);
        } else {
            absorb_put_raw(&absorb->json, ",\"uid\":", fact->key);
        }
        absorb_put(&absorb->json, "}");
        comma = ",";
    }
}


static void
absorb_put_records(mining_absorb_t *absorb, const mining_sites_t *sites)
{
    uint32_t            i, n;
    const mining_row_t *row;

    static const char *const members[][2] = {{"type", ",\"type\":"},
        {"src", ",\"src\":"}, {"uid", ",\"uid\":"}, {"ctx", ",\"ctx\":"},
        {"props", ",\"props\":"}};

    for (i = 0; i < absorb->nrecords; i++) {
        row = &absorb->records[i];

        absorb_put(&absorb->json, i == 0 ? "" : ",");
        absorb_put_visitor(
            &absorb->json, sites, row->site, row->has_vid ? row->vid : NULL);
        absorb_put_number(&absorb->json, ",\"at\":", row->rts);

        for (n = 0; n < sizeof(members) / sizeof(members[0]); n++) {
            absorb_put_raw(&absorb->json, members[n][1],
                mining_event_member(row->line, members[n][0]).value);
        }

        absorb_put(&absorb->json, row->trusted ? ",\"trusted\":true}" : "}");
    }
}


const char *
mining_absorb_json(mining_absorb_t *absorb, const mining_sites_t *sites)
{
    uint32_t                i;
    mining_copy_t          *json;
    const absorb_visitor_t *visitor;

    json = &absorb->json;
    json->len = 0;

    absorb_put(json, "{\"visitors\":[");
    for (i = 0; i < absorb->nvisitors; i++) {
        visitor = &absorb->visitors[i];
        absorb_put(json, i == 0 ? "" : ",");
        absorb_put_visitor(json, sites, visitor->site, visitor->vid);
        absorb_put_number(json, ",\"first\":", visitor->first);
        absorb_put_number(json, ",\"last\":", visitor->last);
        absorb_put_number(json, ",\"events\":", visitor->events);
        absorb_put_number(json, ",\"sn\":", visitor->sn);
        absorb_put(json, "}");
    }

    absorb_put(json, "],\"identities\":[");
    absorb_put_facts(absorb, sites, 0);
    absorb_put(json, "],\"orders\":[");
    absorb_put_facts(absorb, sites, 1);
    absorb_put(json, "],\"records\":[");
    absorb_put_records(absorb, sites);
    absorb_put(json, "]");
    if (absorb->since != INT64_MAX) {
        absorb_put_number(json, ",\"since\":", absorb->since);
    }
    mining_copy_append(json, "}", 2);

    return json->failed ? NULL : json->data;
}
