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


#define NGX_HTTP_CRM_VERSION "0.1.0"
/* a journal's object with the longest numbers and a file name of 64 bytes */
#define NGX_HTTP_CRM_STATUS_JOURNAL_BYTES 512
#define NGX_HTTP_CRM_STATUS_SITE_BYTES    128
#define NGX_HTTP_CRM_STATUS_COUNTER_BYTES 64
#define NGX_HTTP_CRM_STATUS_FIXED_BYTES   1024
#define NGX_HTTP_CRM_STATUS_JOURNALS_MAX  256


typedef struct {
    ngx_str_t              name; /* of the file */
    tracker_journal_stat_t stat;
} ngx_http_crm_status_journal_t;


/* In the order of ngx_http_crm_counter_e. */
static const char *const ngx_http_crm_counter_names[NGX_HTTP_CRM_NCOUNTERS] = {
    "events",
    "shed",
    "ns",
    "ns_samples",
    "visitors_new",
    "cookie_bad",
    "sessions",
    "invalid_text",
    "batches",
    "batches_again",
    "redis_errors",
    "redis_rewinds",
    "pg_errors",
    "zone_hits",
    "zone_misses",
    "zone_evicted",
    "lookups",
    "budget_spent",
    "decisions",
    "slots_filled",
    "slots_unclosed",
    "sets",
    "sets_refused",
    "profiles_large",
    "export_ns",
    "sessions_unsent",
    "identify_bad",
    "collect_requests",
    "collect_events",
    "collect_invalid",
    "collect_bad_request",
    "collect_unknown_key",
    "collect_forbidden",
    "collect_too_large",
    "collect_full",
    "upstream_bad",
    "extract_skipped",
    "bot_events",
    "geoip_errors",
    "files_loaded",
    "files_refused",
};


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


static ngx_array_t *
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
            ngx_http_crm_counter_names[i], cmcf->counters->value[i]);
    }

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_crm_status_write_journals(u_char *p, ngx_array_t *journals)
{
    uint64_t                       now_us, in_journal, lag_ms;
    uint64_t                       appended, durable, waiting, shed;
    ngx_uint_t                     i;
    ngx_http_crm_status_journal_t *j;

    now_us = ngx_http_crm_now_us();
    appended = durable = waiting = shed = 0;
    j = journals->elts;

    p = ngx_cpymem(p, "\"journals\":[", sizeof("\"journals\":[") - 1);

    for (i = 0; i < journals->nelts; i++) {
        in_journal = j[i].stat.written - j[i].stat.durable;
        lag_ms = 0;

        if (in_journal != 0 && j[i].stat.oldest_us < now_us) {
            lag_ms = (now_us - j[i].stat.oldest_us) / 1000;
        }

        appended += j[i].stat.written + j[i].stat.shed;
        durable += j[i].stat.durable;
        waiting += in_journal;
        shed += j[i].stat.shed;

        p = ngx_sprintf(p,
            "%s{\"file\":\"%V\",\"producer\":\"%*s\",\"written\":%uL,"
            "\"sent\":%uL,\"durable\":%uL,\"in_journal\":%uL,\"shed\":%uL,"
            "\"damaged\":%uL,\"used_bytes\":%uL,\"total_bytes\":%uL,"
            "\"lag_s\":%uL.%03uL}",
            i == 0 ? "" : ",", &j[i].name, (size_t) TRACKER_PRODUCER_TEXT,
            j[i].stat.producer, j[i].stat.written, j[i].stat.sent,
            j[i].stat.durable, in_journal, j[i].stat.shed, j[i].stat.damaged,
            j[i].stat.used_bytes, j[i].stat.total_bytes, lag_ms / 1000,
            lag_ms % 1000);
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
    ngx_uint_t cells, used, samples;

    p = ngx_sprintf(
        p, "{\"version\":\"%s\",\"pid\":%P,", NGX_HTTP_CRM_VERSION, ngx_pid);
    p = ngx_http_crm_status_counters(p, cmcf);
    *p++ = ',';
    p = ngx_http_crm_status_write_journals(p, journals);

    ngx_http_crm_zone_stat(cmcf, &cells, &used, &cell_bytes);
    p = ngx_sprintf(p,
        ",\"zone\":{\"cells\":%ui,\"used\":%ui,\"cell_bytes\":%uz},"
        "\"redis\":{\"state\":\"%s\"},\"postgres\":{\"state\":\"%s\"},",
        cells, used, cell_bytes, ngx_http_crm_redis_state(cmcf),
        ngx_http_crm_pg_state(cmcf));
    p = ngx_http_crm_status_sites(p, cmcf);

    samples = cmcf->counters->value[NGX_HTTP_CRM_NS_SAMPLES];

    return ngx_sprintf(p, ",\"ns_per_event\":%uA}\n",
        samples == 0 ? (ngx_atomic_uint_t) 0
                     : cmcf->counters->value[NGX_HTTP_CRM_NS] / samples);
}


ngx_int_t
ngx_http_crm_status_handler(ngx_http_request_t *r)
{
    size_t                    size;
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_chain_t               out;
    ngx_array_t              *journals;
    ngx_http_crm_main_conf_t *cmcf;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);

    if (cmcf->counters == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE; /* "crm on" is nowhere */
    }

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
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
