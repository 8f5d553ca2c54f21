/*
 * ngx_http_crm_metrics.c - counters, ledger and lag as Prometheus reads them.
 *
 * Text format 0.0.4.  Names and meanings of counters come from the table of
 * ngx_http_crm_status.c, so that both pages cannot drift apart; base units are
 * those of Prometheus, hence seconds where crm_status has nanoseconds.
 *
 * The ledger has one series per ring file.  A file is taken only if it has the
 * name that a worker gives: a copy beside it would double its producer.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_METRICS_FAMILY_BYTES 320 /* HELP, TYPE, one sample */
#define NGX_HTTP_CRM_METRICS_SAMPLE_BYTES 160 /* with its labels */
#define NGX_HTTP_CRM_METRICS_FAMILIES     32  /* that are no counters */


typedef enum {
    NGX_HTTP_CRM_OF_APPENDED = 0,
    NGX_HTTP_CRM_OF_DURABLE,
    NGX_HTTP_CRM_OF_SHED,
    NGX_HTTP_CRM_OF_SENT,
    NGX_HTTP_CRM_OF_DAMAGED,
    NGX_HTTP_CRM_OF_WAITING,
    NGX_HTTP_CRM_OF_UNSENT,
    NGX_HTTP_CRM_OF_USED,
    NGX_HTTP_CRM_OF_SIZE
} ngx_http_crm_of_e;


typedef struct {
    const char       *name;
    const char       *type;
    const char       *help;
    ngx_http_crm_of_e which;
} ngx_http_crm_journal_metric_t;


/* appended = durable + in_journal + shed, for each producer */
static const ngx_http_crm_journal_metric_t ngx_http_crm_journal_metrics[] = {
    {"crm_ledger_appended_total", "counter",
        "events captured: durable, in the journal or shed",
        NGX_HTTP_CRM_OF_APPENDED},
    {"crm_ledger_durable_total", "counter", "events committed in PostgreSQL",
        NGX_HTTP_CRM_OF_DURABLE},
    {"crm_ledger_shed_total", "counter", "events refused by a full journal",
        NGX_HTTP_CRM_OF_SHED},
    {"crm_ledger_in_journal", "gauge",
        "events PostgreSQL has not confirmed: the lag in events",
        NGX_HTTP_CRM_OF_WAITING},
    {"crm_journal_sent_total", "counter", "events accepted by Redis",
        NGX_HTTP_CRM_OF_SENT},
    {"crm_journal_unsent", "gauge", "events Redis has not accepted",
        NGX_HTTP_CRM_OF_UNSENT},
    {"crm_journal_damaged_total", "counter", "records that failed their CRC",
        NGX_HTTP_CRM_OF_DAMAGED},
    {"crm_journal_used_bytes", "gauge", "bytes of the ring in use",
        NGX_HTTP_CRM_OF_USED},
    {"crm_journal_size_bytes", "gauge", "bytes of the ring",
        NGX_HTTP_CRM_OF_SIZE},
};

#define NGX_HTTP_CRM_JOURNAL_METRICS                                           \
    (sizeof(ngx_http_crm_journal_metrics)                                      \
        / sizeof(ngx_http_crm_journal_metrics[0]))


static u_char *
ngx_http_crm_metrics_family(
    u_char *p, const char *name, const char *type, const char *help)
{
    return ngx_sprintf(
        p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}


static u_char *
ngx_http_crm_metrics_counters(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    char                          name[64];
    uint64_t                      value;
    ngx_uint_t                    i;
    const ngx_http_crm_counter_t *counter;

    for (i = 0; i < NGX_HTTP_CRM_NCOUNTERS; i++) {
        counter = &ngx_http_crm_counter[i];
        value = cmcf->counters->value[i];

        (void) ngx_snprintf((u_char *) name, sizeof(name), "crm_%s_total%Z",
            counter->metric != NULL ? counter->metric : counter->name);
        p = ngx_http_crm_metrics_family(p, name, "counter", counter->help);

        if (counter->seconds) {
            p = ngx_sprintf(p, "%s %uL.%09uL\n", name, value / 1000000000,
                value % 1000000000);
        } else {
            p = ngx_sprintf(p, "%s %uL\n", name, value);
        }
    }

    return p;
}


static uint64_t
ngx_http_crm_metrics_of(
    const tracker_journal_stat_t *stat, ngx_http_crm_of_e which)
{
    switch (which) {
    case NGX_HTTP_CRM_OF_APPENDED:
        return stat->written + stat->shed;
    case NGX_HTTP_CRM_OF_DURABLE:
        return stat->durable;
    case NGX_HTTP_CRM_OF_SHED:
        return stat->shed;
    case NGX_HTTP_CRM_OF_SENT:
        return stat->sent;
    case NGX_HTTP_CRM_OF_DAMAGED:
        return stat->damaged;
    case NGX_HTTP_CRM_OF_WAITING:
        return stat->written - stat->durable;
    case NGX_HTTP_CRM_OF_UNSENT:
        return stat->written - stat->sent;
    case NGX_HTTP_CRM_OF_USED:
        return stat->used_bytes;
    default:
        return stat->total_bytes;
    }
}


/* 1 if a worker could have made it: <n>.journal of a true producer. */
static ngx_uint_t
ngx_http_crm_metrics_ring(const ngx_http_crm_status_journal_t *j)
{
    size_t     i;
    ngx_uint_t good;

    good = j->name.len > sizeof(".journal") - 1;

    for (i = 0; good && i < j->name.len - (sizeof(".journal") - 1); i++) {
        good = j->name.data[i] >= '0' && j->name.data[i] <= '9';
    }

    for (i = 0; good && i < TRACKER_PRODUCER_TEXT; i++) {
        good = ngx_strchr("0123456789abcdef", j->stat.producer[i]) != NULL
               && j->stat.producer[i] != '\0';
    }

    return good;
}


static u_char *
ngx_http_crm_metrics_labels(
    u_char *p, const char *name, const ngx_http_crm_status_journal_t *j)
{
    return ngx_sprintf(p, "%s{file=\"%*s\",producer=\"%*s\"", name,
        j->name.len - (sizeof(".journal") - 1), j->name.data,
        (size_t) TRACKER_PRODUCER_TEXT, j->stat.producer);
}


static u_char *
ngx_http_crm_metrics_journals(u_char *p, ngx_array_t *journals)
{
    ngx_uint_t                           i, n;
    ngx_http_crm_status_journal_t       *j;
    const ngx_http_crm_journal_metric_t *metric;

    j = journals->elts;

    for (n = 0; n < NGX_HTTP_CRM_JOURNAL_METRICS; n++) {
        metric = &ngx_http_crm_journal_metrics[n];
        p = ngx_http_crm_metrics_family(
            p, metric->name, metric->type, metric->help);

        for (i = 0; i < journals->nelts; i++) {
            if (ngx_http_crm_metrics_ring(&j[i])) {
                p = ngx_http_crm_metrics_labels(p, metric->name, &j[i]);
                p = ngx_sprintf(p, "} %uL\n",
                    ngx_http_crm_metrics_of(&j[i].stat, metric->which));
            }
        }
    }

    return p;
}


/* The age of the oldest event that one of the two has not got yet. */
static u_char *
ngx_http_crm_metrics_lag(u_char *p, ngx_array_t *journals)
{
    uint64_t                       now_us, sent_ms, durable_ms;
    ngx_uint_t                     i;
    ngx_http_crm_status_journal_t *j;

    now_us = ngx_http_crm_now_us();
    j = journals->elts;
    p = ngx_http_crm_metrics_family(p, "crm_lag_seconds", "gauge",
        "age of the oldest event that redis or postgres has not got");

    for (i = 0; i < journals->nelts; i++) {
        if (!ngx_http_crm_metrics_ring(&j[i])) {
            continue;
        }

        sent_ms = ngx_http_crm_status_age_ms(
            now_us, j[i].stat.written - j[i].stat.sent, j[i].stat.unsent_us);
        durable_ms = ngx_http_crm_status_age_ms(
            now_us, j[i].stat.written - j[i].stat.durable, j[i].stat.oldest_us);

        p = ngx_http_crm_metrics_labels(p, "crm_lag_seconds", &j[i]);
        p = ngx_sprintf(
            p, ",sink=\"redis\"} %uL.%03uL\n", sent_ms / 1000, sent_ms % 1000);
        p = ngx_http_crm_metrics_labels(p, "crm_lag_seconds", &j[i]);
        p = ngx_sprintf(p, ",sink=\"postgres\"} %uL.%03uL\n", durable_ms / 1000,
            durable_ms % 1000);
    }

    return p;
}


/* A sink that is not configured has no series. */
static u_char *
ngx_http_crm_metrics_sinks(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t               i;
    const char              *state;
    static const char *const names[] = {"redis", "postgres"};

    p = ngx_http_crm_metrics_family(p, "crm_sink_up", "gauge",
        "1 while the worker that answers reaches it");

    for (i = 0; i < NGX_HTTP_CRM_NSINKS; i++) {
        state = ngx_http_crm_health_state(cmcf, i);

        if (state[0] != 'o') {
            p = ngx_sprintf(p, "crm_sink_up{sink=\"%s\"} %d\n", names[i],
                state[0] == 'u' ? 1 : 0);
        }
    }

    p = ngx_http_crm_metrics_family(p, "crm_sink_away_seconds", "gauge",
        "how long the worker that answers has not reached it");

    for (i = 0; i < NGX_HTTP_CRM_NSINKS; i++) {
        if (ngx_http_crm_health_state(cmcf, i)[0] != 'o') {
            p = ngx_sprintf(p, "crm_sink_away_seconds{sink=\"%s\"} %T\n",
                names[i], ngx_http_crm_health_away(cmcf, i));
        }
    }

    return p;
}


static u_char *
ngx_http_crm_metrics_sites(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t           i;
    ngx_http_crm_site_t *site;

    site = cmcf->sites.elts;
    p = ngx_http_crm_metrics_family(p, "crm_campaign_set_version", "gauge",
        "version of the campaign set in use, 0 without one");

    for (i = 0; i < cmcf->sites.nelts; i++) {
        p = ngx_sprintf(p, "crm_campaign_set_version{site=\"%V\"} %uL\n",
            &site[i].name,
            site[i].set == NULL ? (uint64_t) 0
                                : personalize_set_version(site[i].set));
    }

    p = ngx_http_crm_metrics_family(
        p, "crm_campaigns", "gauge", "campaigns in the set");

    for (i = 0; i < cmcf->sites.nelts; i++) {
        p = ngx_sprintf(p, "crm_campaigns{site=\"%V\"} %ui\n", &site[i].name,
            site[i].set == NULL
                ? (ngx_uint_t) 0
                : (ngx_uint_t) personalize_set_campaigns(site[i].set));
    }

    return p;
}


static u_char *
ngx_http_crm_metrics_zone(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    size_t     cell_bytes;
    ngx_uint_t cells, used;

    ngx_http_crm_zone_stat(cmcf, &cells, &used, &cell_bytes);

    p = ngx_http_crm_metrics_family(
        p, "crm_zone_cells", "gauge", "cells for visitors in the zone");
    p = ngx_sprintf(p, "crm_zone_cells %ui\n", cells);
    p = ngx_http_crm_metrics_family(
        p, "crm_zone_cells_used", "gauge", "cells that hold a visitor");
    p = ngx_sprintf(p, "crm_zone_cells_used %ui\n", used);
    p = ngx_http_crm_metrics_family(
        p, "crm_zone_cell_bytes", "gauge", "bytes of one cell");

    return ngx_sprintf(p, "crm_zone_cell_bytes %uz\n", cell_bytes);
}


ngx_int_t
ngx_http_crm_metrics_handler(ngx_http_request_t *r)
{
    size_t                    samples;
    u_char                   *p;
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_array_t              *journals;
    ngx_http_crm_main_conf_t *cmcf;

    rc = ngx_http_crm_status_begin(r);
    if (rc != NGX_OK) {
        return rc;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    journals = ngx_http_crm_status_journals(r, &cmcf->journal_path->name);

    if (journals == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    samples = journals->nelts * (NGX_HTTP_CRM_JOURNAL_METRICS + 2)
              + 2 * NGX_HTTP_CRM_NSINKS + 2 * cmcf->sites.nelts;

    b = ngx_create_temp_buf(
        r->pool, (NGX_HTTP_CRM_NCOUNTERS + NGX_HTTP_CRM_METRICS_FAMILIES)
                         * NGX_HTTP_CRM_METRICS_FAMILY_BYTES
                     + samples * NGX_HTTP_CRM_METRICS_SAMPLE_BYTES);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_http_crm_metrics_family(
        b->last, "crm_info", "gauge", "the version that runs");
    p = ngx_sprintf(p, "crm_info{version=\"%s\"} 1\n", NGX_HTTP_CRM_VERSION);
    p = ngx_http_crm_metrics_counters(p, cmcf);
    p = ngx_http_crm_metrics_journals(p, journals);
    p = ngx_http_crm_metrics_lag(p, journals);
    p = ngx_http_crm_metrics_sinks(p, cmcf);
    p = ngx_http_crm_metrics_sites(p, cmcf);
    b->last = ngx_http_crm_metrics_zone(p, cmcf);

    return ngx_http_crm_status_send(
        r, NGX_HTTP_OK, "text/plain; version=0.0.4", b);
}
