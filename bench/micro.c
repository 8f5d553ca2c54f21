/*
 * micro.c - nanoseconds per call of the cores, without a server around them.
 *
 * Each row is the median of nine runs of at least 50 ms, with the smallest and
 * largest beside it.  Input is what the demo's pages look like: a 430-byte
 * event, a 30 KB page with three markers, sets of 10, 100 and 1,000 campaigns
 * with five-clause conditions.
 */

#include "tracker/tracker.h"
#include "personalize/feature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define RUNS       9
#define RUN_NS     50000000.0
#define PAGE_BYTES 30720
#define SLOT_OPEN  "<!--crm:slot hero-->"
#define SLOT_CLOSE "<!--/crm:slot-->"
#define STR(text)                                                              \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }

typedef void (*bench_pt)(void *ctx);

typedef struct {
    tracker_keys_t    keys;
    tracker_visitor_t visitor;
    char              cookie[TRACKER_COOKIE_LEN];
    tracker_event_t   event;
    tracker_live_t    live;
    tracker_journal_t journal;
    char              buf[8192];
    size_t            event_len;
    uint64_t          now_us;
} capture_t;

typedef struct {
    personalize_set_t    *set;
    personalize_request_t request;
    personalize_str_t     slot;
    char                  blob[1024];
    size_t                blob_len;
    size_t                out;
} decide_t;

typedef struct {
    char   page[PAGE_BYTES];
    size_t tokens;
} scan_t;


static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static int
compare(const void *a, const void *b)
{
    double x = *(const double *) a;
    double y = *(const double *) b;

    return (x > y) - (x < y);
}


static void
measure(const char *name, bench_pt call, void *ctx)
{
    double   ns[RUNS], start, spent;
    unsigned i, n, done;

    n = 1;

    for (;;) {
        start = now_ns();
        for (i = 0; i < n; i++) {
            call(ctx);
        }
        if (now_ns() - start > RUN_NS) {
            break;
        }
        n *= 2;
    }

    for (done = 0; done < RUNS; done++) {
        start = now_ns();
        for (i = 0; i < n; i++) {
            call(ctx);
        }
        spent = now_ns() - start;
        ns[done] = spent / n;
    }

    qsort(ns, RUNS, sizeof(double), compare);
    printf("| %-44s | %9.1f | %9.1f | %9.1f |\n", name, ns[RUNS / 2], ns[0],
        ns[RUNS - 1]);
}


static void
call_decode(void *ctx)
{
    capture_t        *c = ctx;
    tracker_visitor_t visitor;

    if (tracker_visitor_decode(&c->keys, c->cookie, TRACKER_COOKIE_LEN,
            c->visitor.last_seen_s, &visitor)
        != TRACKER_OK)
    {
        abort();
    }
}


static void
call_encode(void *ctx)
{
    capture_t *c = ctx;

    tracker_visitor_encode(&c->keys, &c->visitor, c->cookie);
}


static void
call_write(void *ctx)
{
    capture_t *c = ctx;

    c->event_len = tracker_event_write(c->buf, sizeof(c->buf), &c->event, NULL);
    if (c->event_len == 0) {
        abort();
    }
}


static void
call_live(void *ctx)
{
    capture_t *c = ctx;

    c->event.rts_us++;
    tracker_live_add(&c->live, &c->event, c->visitor.session_started_s);
}


static void
call_append(void *ctx)
{
    capture_t             *c = ctx;
    char                  *data;
    size_t                 len;
    tracker_journal_stat_t stat;

    if (tracker_journal_reserve(
            &c->journal, tracker_event_bound(&c->event), &data)
        != TRACKER_OK)
    {
        tracker_journal_stat(&c->journal, &stat);
        tracker_journal_set_sent(&c->journal, stat.written);
        tracker_journal_set_durable(&c->journal, stat.written);
        return;
    }

    len = tracker_event_write(data, TRACKER_EVENT_MAX, &c->event, NULL);
    tracker_journal_commit(&c->journal, len, c->now_us++);
}


static void
bench_capture(void)
{
    static const char keys[] =
        "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    static const uint8_t        random[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const uint8_t        seed[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static uint8_t              sid[TRACKER_UUID_SIZE];
    static const tracker_prop_t props[] = {
        {STR("product_id"), STR("A13")},
        {STR("category"), STR("trousers")},
    };
    static const char ua[] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/"
                             "537.36 (KHTML, like Gecko) Chrome/142.0 Safari";
    static capture_t  c;
    char              path[] = "/tmp/crm-micro-XXXXXX";
    unsigned          line;
    int               fd;

    if (tracker_keys_parse(&c.keys, keys, sizeof(keys) - 1, &line)
        != TRACKER_OK) {
        abort();
    }

    tracker_visitor_new(&c.visitor, 1764000000000, random);
    tracker_session_id(sid, &c.visitor);

    c.event.id = c.visitor.id;
    c.event.vid = c.visitor.id;
    c.event.sid = sid;
    c.event.site = (tracker_str_t) STR("demo");
    c.event.type = (tracker_str_t) STR("page");
    c.event.name = (tracker_str_t) STR("Product Viewed");
    c.event.src = (tracker_str_t) STR("origin");
    c.event.ip = (tracker_str_t) STR("192.0.2.17");
    c.event.ua = (tracker_str_t){ua, sizeof(ua) - 1};
    c.event.lang = (tracker_str_t) STR("en-GB,en;q=0.9");
    c.event.ref = (tracker_str_t) STR("https://shop.example/c/trousers.html");
    c.event.method = (tracker_str_t) STR("GET");
    c.event.host = (tracker_str_t) STR("shop.example");
    c.event.path = (tracker_str_t) STR("/p/A13.html");
    c.event.rts_us = 1764000000123456;
    c.event.sn = 3;
    c.event.seq = 7;
    c.event.status = 200;
    c.event.bytes = 1290;
    c.event.props = props;
    c.event.nprops = 2;
    c.now_us = c.event.rts_us;

    fd = mkstemp(path);
    if (fd == -1 || close(fd) != 0 || unlink(path) != 0
        || tracker_journal_open(&c.journal, path, 64u << 20, seed)
               != TRACKER_OK)
    {
        abort();
    }

    call_encode(&c);
    measure("cookie verified (HMAC-SHA256)", call_decode, &c);
    measure("cookie signed", call_encode, &c);
    measure("event written as JSON", call_write, &c);
    measure("session state moved by one event", call_live, &c);
    measure("event written into the journal, CRC included", call_append, &c);
    printf("\nbytes of that event: %zu JSON, %zu in the journal\n", c.event_len,
        (c.event_len + 24 + 7) / 8 * 8);

    tracker_journal_close(&c.journal);
    unlink(path);
}


typedef struct {
    tracker_str_t    ua;
    tracker_str_t    query;
    tracker_str_t    referrer;
    tracker_str_t    host;
    tracker_bots_t  *bots;
    tracker_agent_t  agent;
    tracker_enrich_t enrich;
    uint64_t         out;
} enrich_t;


static void
call_agent(void *ctx)
{
    enrich_t *e = ctx;

    tracker_agent_read(&e->agent, e->ua, NULL);
}


static void
call_traffic(void *ctx)
{
    enrich_t         *e = ctx;
    tracker_traffic_t traffic;

    tracker_traffic_read(&traffic, e->query, e->referrer, e->host);
    e->out += traffic.kept.class;
}


static void
call_campaign(void *ctx)
{
    enrich_t *e = ctx;

    e->out += tracker_campaign_hash(e->query);
}


static void
call_bots(void *ctx)
{
    enrich_t     *e = ctx;
    tracker_bot_t bot;

    e->out += tracker_bots_find(e->bots, e->ua, &bot);
}


static void
call_enrich(void *ctx)
{
    enrich_t       *e = ctx;
    tracker_place_t place;

    memset(&place, 0, sizeof(place));
    place.country = (tracker_str_t) STR("GB");
    place.city = (tracker_str_t) STR("London");
    place.as_name = (tracker_str_t) STR("Example Networks");
    place.asn = 64500;
    tracker_enrich_write(&e->enrich, &place, &e->agent, NULL);
}


static void
bench_enrich(void)
{
    static const char ua[] =
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, "
        "like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36";
    static enrich_t e;
    static char     list[TRACKER_BOTS_BYTES_MAX];
    FILE           *file;
    size_t          n;
    unsigned        line;

    file = fopen("tracker/bots.list", "r");
    if (file == NULL) {
        abort();
    }

    n = fread(list, 1, sizeof(list), file);
    (void) fclose(file);

    if (tracker_bots_compile(&e.bots, list, n, &line) != TRACKER_OK) {
        abort();
    }

    e.ua = (tracker_str_t){ua, sizeof(ua) - 1};
    e.query = (tracker_str_t) STR("utm_source=news&utm_medium=email&"
                                  "utm_campaign=spring%20sale&page=2");
    e.referrer = (tracker_str_t) STR("https://www.google.co.uk/");
    e.host = (tracker_str_t) STR("shop.example");

    measure("user agent to device, browser, system", call_agent, &e);
    measure("user agent against the list of robots", call_bots, &e);
    measure("query and referrer to source", call_traffic, &e);
    measure("campaign of a query", call_campaign, &e);
    measure("place, device as members of an event", call_enrich, &e);
    tracker_bots_free(e.bots);
}


static void
get_attribute(void *ctx, unsigned n, personalize_value_t *value)
{
    decide_t *d = ctx;

    personalize_profile_get(
        d->blob, d->blob_len, personalize_set_attribute(d->set, n), value);
}


static void
call_decide(void *ctx)
{
    decide_t              *d = ctx;
    personalize_decision_t decision;

    d->out += personalize_decide(d->set, d->slot, &d->request, &decision);
}


typedef struct {
    decide_t              d;
    personalize_trial_t   trial;
    personalize_context_t context;
} trial_t;


static void
call_condition(void *ctx)
{
    trial_t                       *t = ctx;
    const personalize_condition_t *condition;

    condition = &t->d.set->experiments[0].condition;
    t->trial.view.steps = PERSONALIZE_STEPS_MAX;
    t->d.out += (unsigned) personalize_condition_fits(
        condition->clauses, condition->entry, &t->trial.view);
}


static void
call_feature(void *ctx)
{
    trial_t           *t = ctx;
    personalize_flag_t flag;

    personalize_feature_evaluate(
        t->d.set, (personalize_str_t) STR("f"), &t->context, &flag);
    t->d.out += flag.outcome.variation;
}


/* Five clauses that all hold, alone and as the audience of an experiment. */
static void
bench_condition(void)
{
#define FIVE                                                                   \
    "{\"new\":false,\"language\":{\"$in\":[\"de\",\"en\"]},\"pages\":"         \
    "{\"$gt\":3},\"segment\":\"loyal\",\"cart\":{\"$gt\":50}}"
    static const char profile[] =
        "{\"id\":\"01934b7e-6f2a-7c3d-8e4f-5a6b\",\"new\":false,\"language\":"
        "\"en\",\"pages\":5,\"cart\":72.5,\"segment\":\"loyal\"}";
    static const char payload[] =
        "{\"experiments\":[{\"key\":\"e\",\"condition\":" FIVE "}],"
        "\"features\":{\"f\":{\"rules\":[{\"variations\":[1,2],\"hashVersion"
        "\":2,\"condition\":" FIVE "}]}}}";
    static trial_t t;
    char           fault[256];

    if (personalize_features_compile(
            &t.d.set, payload, sizeof(payload) - 1, fault, sizeof(fault))
            != PERSONALIZE_OK
        || personalize_profile_pack(profile, sizeof(profile) - 1, t.d.blob,
               sizeof(t.d.blob), &t.d.blob_len)
               != PERSONALIZE_OK)
    {
        fprintf(stderr, "cannot set up: %s\n", fault);
        exit(1);
    }

    t.context.get = get_attribute;
    t.context.ctx = &t.d;
    personalize_trial_start(&t.trial, t.d.set, &t.context);

    measure(
        "condition of five clauses, attributes at hand", call_condition, &t);
    measure("feature: five clauses, then an experiment", call_feature, &t);
    personalize_set_free(t.d.set);
}


static void
bench_decide(unsigned ncampaigns, const char *name)
{
    static const char profile[] =
        "{\"visitor\":{\"new\":false,\"language\":\"en\"},\"session\":"
        "{\"pages\":5,\"cart_value\":72.5},\"customer\":{\"rfm\":"
        "{\"segment\":\"loyal\"}}}";
    static char json[4 << 20], fault[256];
    decide_t    d;
    size_t      len;
    unsigned    i;

    len = (size_t) snprintf(
        json, sizeof(json), "{\"site\":\"demo\",\"version\":1,\"campaigns\":[");

    for (i = 0; i < ncampaigns; i++) {
        len += (size_t) snprintf(json + len, sizeof(json) - len,
            "%s{\"key\":\"c%u\",\"slot\":\"hero\",\"priority\":%u,\"start\":"
            "null,\"end\":null,\"when\":{\"visitor.new\":false,"
            "\"visitor.language\":{\"$in\":[\"de\",\"en\"]},\"session.pages\":"
            "{\"$gt\":3},\"customer.rfm.segment\":\"loyal\","
            "\"session.cart_value\":{\"$gt\":%u}},\"variants\":[{\"key\":\"a\","
            "\"weight\":1,\"content\":\"<p>hello</p>\"}]}",
            i ? "," : "", i, i % 1000, i == 0 ? 50 : 100 + i);
    }
    len += (size_t) snprintf(json + len, sizeof(json) - len, "]}");

    memset(&d, 0, sizeof(d));

    if (personalize_set_compile(&d.set, json, len, fault, sizeof(fault))
            != PERSONALIZE_OK
        || personalize_profile_pack(profile, sizeof(profile) - 1, d.blob,
               sizeof(d.blob), &d.blob_len)
               != PERSONALIZE_OK)
    {
        fprintf(stderr, "cannot set up: %s\n", fault);
        exit(1);
    }

    d.slot = (personalize_str_t) STR("hero");
    d.request.get = get_attribute;
    d.request.ctx = &d;
    d.request.unit = (personalize_str_t) STR("01934b7e-6f2a-7c3d-8e4f-5a6b");
    d.request.now_s = 1764000000;

    measure(name, call_decide, &d);
    personalize_set_free(d.set);
}


static void
call_scan(void *ctx)
{
    scan_t               *s = ctx;
    size_t                pos;
    personalize_scanner_t scanner;
    personalize_token_t   token;

    memset(&scanner, 0, sizeof(scanner));
    pos = 0;

    while (personalize_slot_next(&scanner, s->page, PAGE_BYTES, &pos, &token)
           != PERSONALIZE_SLOT_MORE)
    {
        s->tokens++;
    }
}


static void
bench_scan(void)
{
    static const char line[] = "<li><a href=\"/p/A13.html\">Product</a></li>\n";
    static scan_t     s;
    size_t            i;

    for (i = 0; i < PAGE_BYTES; i++) {
        s.page[i] = line[i % (sizeof(line) - 1)];
    }

    for (i = 1; i < 4; i++) {
        memcpy(s.page + i * 7000, SLOT_OPEN, sizeof(SLOT_OPEN) - 1);
        memcpy(s.page + i * 7000 + 200, SLOT_CLOSE, sizeof(SLOT_CLOSE) - 1);
    }

    measure("30 KB page scanned, three slots", call_scan, &s);
}


/* ---- likelihood to buy: 17 fields, 75 inputs, 80 hidden units ----------- */

#define INTENT_NUMBERS 10
#define INTENT_TEXTS   7
#define INTENT_LEVELS  65
#define INTENT_HIDDEN  80

typedef struct {
    personalize_intent_t *intent;
    personalize_value_t   values[PERSONALIZE_INTENT_FIELDS];
    double                sum;
} intent_t;


static void
call_intent(void *ctx)
{
    intent_t                   *in = ctx;
    personalize_intent_inputs_t inputs;

    personalize_intent_encode(in->intent, in->values, &inputs);
    in->sum += personalize_intent_score(in->intent, &inputs);
}


static char *
put_numbers(char *p, const char *name, unsigned n)
{
    unsigned i;

    p += sprintf(p, ",\"%s\":[", name);
    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s%.6f", i > 0 ? "," : "",
            (double) ((i * 7919) % 200) / 100 - 1);
    }

    return p + sprintf(p, "]");
}


static void
bench_intent(void)
{
    char            fault[256], level[16];
    static char     body[1 << 19], text[1 << 19];
    char           *p = body;
    size_t          n;
    unsigned        i, k, first;
    static intent_t in;

    p += sprintf(p, "{\"id\":1,\"hidden\":%d,\"fields\":[", INTENT_HIDDEN);
    for (i = 0; i < INTENT_NUMBERS; i++) {
        p += sprintf(p,
            "%s{\"name\":\"n%u\",\"log\":true,\"mean\":1,\"scale\":2,"
            "\"missing\":false}",
            i > 0 ? "," : "", i);
        in.values[i].type = PERSONALIZE_NUMBER;
        in.values[i].number = 3 + i;
    }
    for (i = 0, first = 0; i < INTENT_TEXTS; i++) {
        p += sprintf(p, ",{\"name\":\"t%u\",\"levels\":[", i);
        for (k = first; k < (i + 1) * INTENT_LEVELS / INTENT_TEXTS; k++) {
            p += sprintf(p, "%s\"level%u\"", k > first ? "," : "", k);
        }
        p += sprintf(p, "]}");
        (void) sprintf(level, "level%u", k - 1);
        in.values[INTENT_NUMBERS + i].type = PERSONALIZE_TEXT;
        in.values[INTENT_NUMBERS + i].text.data = strdup(level);
        in.values[INTENT_NUMBERS + i].text.len = strlen(level);
        first = k;
    }
    p += sprintf(p, "]");
    p = put_numbers(
        p, "weights", (INTENT_NUMBERS + INTENT_LEVELS) * INTENT_HIDDEN);
    p = put_numbers(p, "bias", INTENT_HIDDEN);
    p = put_numbers(p, "out", INTENT_HIDDEN);
    p += sprintf(p, ",\"out_bias\":-1}");

    n = (size_t) (p - body);
    (void) sprintf(text, "crm-intent 1 %016llx\n",
        (unsigned long long) personalize_intent_sum(body, n));
    memcpy(text + strlen(text), body, n + 1);

    if (personalize_intent_read(
            &in.intent, text, strlen(text), fault, sizeof(fault))
        != PERSONALIZE_OK)
    {
        fprintf(stderr, "micro: %s\n", fault);
        exit(1);
    }

    measure("likelihood to buy, 17 fields, 75 inputs", call_intent, &in);
    personalize_intent_free(in.intent);
}


int
main(void)
{
    printf("| %-44s | %9s | %9s | %9s |\n", "call", "median ns", "min", "max");
    printf("|---|---|---|---|\n");
    bench_condition();
    bench_decide(10, "decision, last of 10 campaigns fits");
    bench_decide(100, "decision, last of 100 campaigns fits");
    bench_decide(1000, "decision, last of 1,000 campaigns fits");
    bench_decide(10000, "decision, last of 10,000 campaigns fits");
    bench_scan();
    bench_intent();
    bench_enrich();
    bench_capture(); /* last: a line follows its rows */

    return 0;
}
