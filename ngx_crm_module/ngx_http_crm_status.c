/*
 * ngx_http_crm_status.c - one JSON page of counters for the operator.
 *
 * Counters are those of all workers since the first start; the state of Redis
 * and PostgreSQL is that of the worker which answers.  Journals are read from
 * the heads of all ring files in the folder, whoever holds them, so that the
 * ledger covers every producer: appended = durable + in_journal + shed.
 *
 * Reading the folder blocks for some microseconds per file.  The page is for
 * operators: the configuration has to keep others out (allow, deny).
 */

#include "ngx_http_crm_module.h"


/* a journal's object with the longest numbers and a file name of 64 bytes */
#define NGX_HTTP_CRM_STATUS_JOURNAL_BYTES 640
#define NGX_HTTP_CRM_STATUS_SITE_BYTES    128
#define NGX_HTTP_CRM_STATUS_COUNTER_BYTES 64
#define NGX_HTTP_CRM_STATUS_FIXED_BYTES   1024
#define NGX_HTTP_CRM_STATUS_JOURNALS_MAX  256


/* clang-format off */
/* In the order of ngx_http_crm_counter_e. */
const ngx_http_crm_counter_t ngx_http_crm_counter[NGX_HTTP_CRM_NCOUNTERS] = {
    {"events", NULL, 0, "events appended to a journal"},
    {"shed", NULL, 0, "events refused: journal full or record too long"},
    {"ns", "capture_seconds", 1, "time spent capturing, of sampled requests"},
    {"ns_samples", "capture_samples", 0, "requests that were sampled"},
    {"visitors_new", NULL, 0, "cookies made"},
    {"cookie_bad", NULL, 0, "forged, truncated or damaged cookies"},
    {"sessions", NULL, 0, "sessions begun"},
    {"invalid_text", NULL, 0, "bytes replaced by U+FFFD"},
    {"batches", NULL, 0, "batches accepted by Redis"},
    {"batches_again", NULL, 0, "batches that Redis had accepted before"},
    {"redis_errors", NULL, 0, "connections to Redis lost, errors, nonsense"},
    {"redis_rewinds", NULL, 0, "times Redis had lost data, sent again"},
    {"pg_errors", NULL, 0, "connections to PostgreSQL lost, errors"},
    {"zone_hits", NULL, 0, "visitor state was in the zone"},
    {"zone_misses", NULL, 0, "visitor state was not in the zone"},
    {"zone_evicted", NULL, 0, "cells given to another visitor"},
    {"lookups", NULL, 0, "questions sent to Redis and PostgreSQL"},
    {"budget_spent", NULL, 0, "pages that did not wait any longer"},
    {"decisions", NULL, 0, "slots asked for"},
    {"slots_filled", NULL, 0, "slots whose content left"},
    {"slots_unclosed", NULL, 0, "markers without an end, passed unchanged"},
    {"slots_aborted", NULL, 0, "slots whose content did not leave as a whole"},
    {"pages_held", NULL, 0, "pages kept back until a slot or their end came"},
    {"sets", NULL, 0, "campaign sets compiled"},
    {"sets_refused", NULL, 0, "campaign sets with a fault"},
    {"models", NULL, 0, "mined models taken"},
    {"models_refused", NULL, 0, "mined models with a fault"},
    {"profiles_large", NULL, 0, "profiles too large for a zone cell"},
    {"export_ns", "export_seconds", 1, "time spent on delivery to Redis"},
    {"sessions_unsent", NULL, 0, "session states not written to Redis"},
    {"identify_bad", NULL, 0, "X-CRM-Identify headers refused"},
    {"collect_requests", NULL, 0, "requests of client libraries"},
    {"collect_events", NULL, 0, "theirs appended to a journal"},
    {"collect_invalid", NULL, 0, "events of client libraries that can be none"},
    {"collect_bad_request", NULL, 0, "refused: 400, 404, 405 or 415"},
    {"collect_unknown_key", NULL, 0, "requests refused with 401"},
    {"collect_forbidden", NULL, 0, "refused with 403: a foreign origin"},
    {"collect_too_large", NULL, 0, "requests refused with 413"},
    {"collect_full", NULL, 0, "requests asked to come again with 503"},
    {"upstream_bad", NULL, 0, "X-CRM-Event headers refused"},
    {"extract_skipped", NULL, 0, "forms and replies not looked at"},
    {"bot_events", NULL, 0, "events labelled as those of a robot"},
    {"geoip_errors", NULL, 0, "look-ups that met damage in a file of places"},
    {"recs", NULL, 0, "lists of recommendations made"},
    {"files_loaded", NULL, 0, "new versions of watched files taken"},
    {"files_refused", NULL, 0, "new versions of watched files with a fault"},
    {"dry_run_events", NULL, 0, "events that crm_dry_run kept back"},
    {"dry_run_cookies", NULL, 0, "cookies that crm_dry_run kept back"},
    {"dry_run_slots", NULL, 0, "slots that crm_dry_run left as they were"},
    {"redis_redirects", NULL, 0, "answers MOVED and ASK of a Redis Cluster"},
    {"unconsented", NULL, 0, "requests that may not be measured"},
    {"consents", NULL, 0, "changes of consent put on record"},
    {"links", NULL, 0, "visitors taken over from another domain"},
    {"links_bad", NULL, 0, "tokens forged, expired or of another host"},
};
/* clang-format on */


static ngx_int_t
ngx_http_crm_status_journal(
    ngx_http_request_t *r, ngx_array_t *journals, ngx_str_t *dir, u_char *file)
{
    size_t                         len;
    u_char                        *path;
    tracker_journal_stat_t         stat;
    ngx_http_crm_status_journal_t *journal;

    len = ngx_strlen(file);

    if (len <= sizeof(".journal") - 1
        || ngx_strcmp(file + len - (sizeof(".journal") - 1), ".journal") != 0)
    {
        return NGX_OK;
    }

    path = ngx_pnalloc(r->pool, dir->len + 1 + len + 1);
    if (path == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(path, "%V/%s%Z", dir, file);

    if (tracker_journal_peek((char *) path, &stat) != TRACKER_OK) {
        return NGX_OK;
    }

    journal = ngx_array_push(journals);
    if (journal == NULL) {
        return NGX_ERROR;
    }

    journal->name.data = path + dir->len + 1;
    journal->name.len = ngx_min(len, 64);
    journal->stat = stat;

    return NGX_OK;
}


ngx_array_t *
ngx_http_crm_status_journals(ngx_http_request_t *r, ngx_str_t *dir)
{
    ngx_dir_t    d;
    ngx_int_t    rc;
    ngx_array_t *journals;

    journals =
        ngx_array_create(r->pool, 4, sizeof(ngx_http_crm_status_journal_t));

    if (journals == NULL || ngx_open_dir(dir, &d) == NGX_ERROR) {
        return journals;
    }

    rc = NGX_OK;

    while (rc == NGX_OK && journals->nelts < NGX_HTTP_CRM_STATUS_JOURNALS_MAX
           && ngx_read_dir(&d) == NGX_OK)
    {
        rc = ngx_http_crm_status_journal(
            r, journals, dir, (u_char *) ngx_de_name(&d));
    }

    (void) ngx_close_dir(&d);

    return rc == NGX_OK ? journals : NULL;
}


static u_char *
ngx_http_crm_status_counters(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t i;

    p = ngx_cpymem(p, "\"counters\":{", sizeof("\"counters\":{") - 1);

    for (i = 0; i < NGX_HTTP_CRM_NCOUNTERS; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%uA", i == 0 ? "" : ",",
            ngx_http_crm_counter[i].name, cmcf->counters->value[i]);
    }

    *p++ = '}';

    return p;
}


uint64_t
ngx_http_crm_status_age_ms(uint64_t now_us, uint64_t events, uint64_t oldest_us)
{
    return events != 0 && oldest_us != 0 && oldest_us < now_us
               ? (now_us - oldest_us) / 1000
               : 0;
}


static u_char *
ngx_http_crm_status_write_journals(u_char *p, ngx_array_t *journals)
{
    uint64_t                       now_us, in_journal, lag_ms, unsent_ms;
    uint64_t                       appended, durable, waiting, shed;
    ngx_uint_t                     i;
    ngx_http_crm_status_journal_t *j;

    now_us = ngx_http_crm_now_us();
    appended = durable = waiting = shed = 0;
    j = journals->elts;

    p = ngx_cpymem(p, "\"journals\":[", sizeof("\"journals\":[") - 1);

    for (i = 0; i < journals->nelts; i++) {
        in_journal = j[i].stat.written - j[i].stat.durable;
        lag_ms =
            ngx_http_crm_status_age_ms(now_us, in_journal, j[i].stat.oldest_us);
        unsent_ms = ngx_http_crm_status_age_ms(
            now_us, j[i].stat.written - j[i].stat.sent, j[i].stat.unsent_us);

        appended += j[i].stat.written + j[i].stat.shed;
        durable += j[i].stat.durable;
        waiting += in_journal;
        shed += j[i].stat.shed;

        p = ngx_sprintf(p,
            "%s{\"file\":\"%V\",\"producer\":\"%*s\",\"written\":%uL,"
            "\"sent\":%uL,\"durable\":%uL,\"in_journal\":%uL,\"shed\":%uL,"
            "\"damaged\":%uL,\"used_bytes\":%uL,\"total_bytes\":%uL,"
            "\"lag_s\":%uL.%03uL,\"unsent_lag_s\":%uL.%03uL,"
            "\"appended\":%uL}",
            i == 0 ? "" : ",", &j[i].name, (size_t) TRACKER_PRODUCER_TEXT,
            j[i].stat.producer, j[i].stat.written, j[i].stat.sent,
            j[i].stat.durable, in_journal, j[i].stat.shed, j[i].stat.damaged,
            j[i].stat.used_bytes, j[i].stat.total_bytes, lag_ms / 1000,
            lag_ms % 1000, unsent_ms / 1000, unsent_ms % 1000,
            j[i].stat.written + j[i].stat.shed);
    }

    return ngx_sprintf(p,
        "],\"ledger\":{\"appended\":%uL,\"durable\":%uL,\"in_journal\":%uL,"
        "\"shed\":%uL}",
        appended, durable, waiting, shed);
}


static u_char *
ngx_http_crm_status_sites(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t           i;
    ngx_http_crm_site_t *site;

    site = cmcf->sites.elts;
    p = ngx_cpymem(p, "\"campaigns\":[", sizeof("\"campaigns\":[") - 1);

    for (i = 0; i < cmcf->sites.nelts; i++) {
        p = ngx_sprintf(p,
            "%s{\"site\":\"%V\",\"version\":%uL,\"campaigns\":%ui}",
            i == 0 ? "" : ",", &site[i].name,
            site[i].set == NULL ? (uint64_t) 0
                                : personalize_set_version(site[i].set),
            site[i].set == NULL
                ? (ngx_uint_t) 0
                : (ngx_uint_t) personalize_set_campaigns(site[i].set));
    }

    *p++ = ']';

    return p;
}


static u_char *
ngx_http_crm_status_write(
    u_char *p, ngx_http_crm_main_conf_t *cmcf, ngx_array_t *journals)
{
    size_t     cell_bytes;
    ngx_uint_t cells, used, samples, up, all;

    p = ngx_sprintf(
        p, "{\"version\":\"%s\",\"pid\":%P,", NGX_HTTP_CRM_VERSION, ngx_pid);
    p = ngx_http_crm_status_counters(p, cmcf);
    *p++ = ',';
    p = ngx_http_crm_status_write_journals(p, journals);

    ngx_http_crm_zone_stat(cmcf, &cells, &used, &cell_bytes);
    ngx_http_crm_redis_nodes(cmcf, &up, &all);
    p = ngx_sprintf(p,
        ",\"zone\":{\"cells\":%ui,\"used\":%ui,\"cell_bytes\":%uz},"
        "\"redis\":{\"state\":\"%s\",\"away_s\":%T,\"connected\":%ui,"
        "\"masters\":%ui},"
        "\"postgres\":{\"state\":\"%s\",\"away_s\":%T},",
        cells, used, cell_bytes, ngx_http_crm_redis_state(cmcf),
        ngx_http_crm_health_away(cmcf, NGX_HTTP_CRM_SINK_REDIS), up, all,
        ngx_http_crm_pg_state(cmcf),
        ngx_http_crm_health_away(cmcf, NGX_HTTP_CRM_SINK_POSTGRES));
    p = ngx_http_crm_status_sites(p, cmcf);

    samples = cmcf->counters->value[NGX_HTTP_CRM_NS_SAMPLES];

    return ngx_sprintf(p, ",\"ns_per_event\":%uA}\n",
        samples == 0 ? (ngx_atomic_uint_t) 0
                     : cmcf->counters->value[NGX_HTTP_CRM_NS] / samples);
}


ngx_int_t
ngx_http_crm_status_begin(ngx_http_request_t *r)
{
    ngx_http_crm_main_conf_t *cmcf;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (cmcf->counters == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE; /* "crm on" is nowhere */
    }

    return ngx_http_discard_request_body(r);
}


ngx_int_t
ngx_http_crm_status_send(
    ngx_http_request_t *r, ngx_uint_t status, const char *type, ngx_buf_t *b)
{
    ngx_int_t   rc;
    ngx_chain_t out;

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_crm_status_handler(ngx_http_request_t *r)
{
    size_t                    size;
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

    size = NGX_HTTP_CRM_STATUS_FIXED_BYTES
           + NGX_HTTP_CRM_NCOUNTERS * NGX_HTTP_CRM_STATUS_COUNTER_BYTES
           + journals->nelts * NGX_HTTP_CRM_STATUS_JOURNAL_BYTES
           + cmcf->sites.nelts * NGX_HTTP_CRM_STATUS_SITE_BYTES;

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_http_crm_status_write(b->pos, cmcf, journals);

    return ngx_http_crm_status_send(r, NGX_HTTP_OK, "application/json", b);
}
