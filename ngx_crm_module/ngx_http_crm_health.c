/*
 * ngx_http_crm_health.c - can events be taken, and who is away since when.
 *
 * A shop is healthy for us while an event finds room in a journal, for then
 * nothing is lost whoever else is away; so only a missing or full journal is
 * 503.  A sink that is away, an importer that stands still or a ring that fills
 * up is "degraded": 200, with its name, for people and their alarms.
 *
 * All of it is as the worker sees it that answers: each has a journal and
 * connections of its own.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_HEALTH_TICK  1000 /* ms */
#define NGX_HTTP_CRM_HEALTH_BYTES 2048
#define NGX_HTTP_CRM_HEALTH_FULL  80 /* per cent of the ring, a warning */
#define NGX_HTTP_CRM_HEALTH_LAG   60 /* s behind that are a warning */


struct ngx_http_crm_health_s {
    ngx_http_crm_main_conf_t *cmcf;
    time_t                    since[NGX_HTTP_CRM_NSINKS]; /* 0: it is there */
    ngx_event_t               tick;
    ngx_connection_t          dummy; /* timers log the fd of their data */
};


typedef struct {
    u_char    *p; /* where the next reason goes */
    ngx_uint_t n;
} ngx_http_crm_reasons_t;


static const char *const ngx_http_crm_sink_names[NGX_HTTP_CRM_NSINKS] = {
    "redis",
    "postgres",
};


const char *
ngx_http_crm_health_state(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_sink_e sink)
{
    return sink == NGX_HTTP_CRM_SINK_REDIS ? ngx_http_crm_redis_state(cmcf)
                                           : ngx_http_crm_pg_state(cmcf);
}


time_t
ngx_http_crm_health_away(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_sink_e sink)
{
    if (cmcf->health == NULL || cmcf->health->since[sink] == 0
        || ngx_http_crm_health_state(cmcf, sink)[0] != 'd')
    {
        return 0;
    }

    return ngx_time() - cmcf->health->since[sink];
}


static void
ngx_http_crm_health_look(ngx_http_crm_health_t *health)
{
    ngx_uint_t i;

    for (i = 0; i < NGX_HTTP_CRM_NSINKS; i++) {

        if (ngx_http_crm_health_state(health->cmcf, i)[0] != 'd') {
            health->since[i] = 0;

        } else if (health->since[i] == 0) {
            health->since[i] = ngx_time();
        }
    }
}


static void
ngx_http_crm_health_tick_handler(ngx_event_t *ev)
{
    ngx_connection_t *dummy;

    dummy = ev->data;
    ngx_http_crm_health_look(dummy->data);

    ngx_add_timer(ev, NGX_HTTP_CRM_HEALTH_TICK);
}


ngx_int_t
ngx_http_crm_health_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_http_crm_health_t *health;

    health = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_health_t));
    if (health == NULL) {
        return NGX_ERROR;
    }

    health->cmcf = cmcf;
    health->dummy.fd = (ngx_socket_t) -1;
    health->dummy.data = health;
    health->tick.handler = ngx_http_crm_health_tick_handler;
    health->tick.data = &health->dummy;
    health->tick.log = cycle->log;
    health->tick.cancelable = 1;

    cmcf->health = health;
    ngx_http_crm_health_look(health);
    ngx_add_timer(&health->tick, NGX_HTTP_CRM_HEALTH_TICK);

    return NGX_OK;
}


void
ngx_http_crm_health_exit(ngx_http_crm_main_conf_t *cmcf)
{
    if (cmcf->health != NULL && cmcf->health->tick.timer_set) {
        ngx_del_timer(&cmcf->health->tick);
    }

    cmcf->health = NULL;
}


static void
ngx_http_crm_health_add(
    ngx_http_crm_reasons_t *reasons, const char *who, const char *what)
{
    reasons->p = ngx_sprintf(
        reasons->p, "%s\"%s %s\"", reasons->n++ == 0 ? "" : ",", who, what);
}


/* 1 if an event finds room in this worker's journal. */
static ngx_uint_t
ngx_http_crm_health_journal(
    ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_reasons_t *reasons)
{
    uint64_t               free_bytes, lag_ms;
    tracker_journal_t     *journal;
    tracker_journal_stat_t stat;

    journal = ngx_http_crm_journal_current(cmcf);

    if (journal == NULL) {
        ngx_http_crm_health_add(reasons, "journal", "is absent");
        return 0;
    }

    tracker_journal_stat(journal, &stat);

    /* what Redis has is given up when room is needed */
    free_bytes = stat.total_bytes - stat.unsent_bytes;

    if (free_bytes < TRACKER_JOURNAL_RECORD_MAX) {
        ngx_http_crm_health_add(reasons, "journal", "is full");
        return 0;
    }

    if (stat.unsent_bytes > stat.total_bytes / 100 * NGX_HTTP_CRM_HEALTH_FULL) {
        ngx_http_crm_health_add(reasons, "journal", "fills up");
    }

    lag_ms = ngx_http_crm_status_age_ms(
        ngx_http_crm_now_us(), stat.sent - stat.durable, stat.oldest_us);

    if (lag_ms > NGX_HTTP_CRM_HEALTH_LAG * 1000) {
        ngx_http_crm_health_add(reasons, "importer", "is behind");
    }

    return 1;
}


static u_char *
ngx_http_crm_health_sinks(u_char *p, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t i;

    p = ngx_cpymem(p, "\"sinks\":{", sizeof("\"sinks\":{") - 1);

    for (i = 0; i < NGX_HTTP_CRM_NSINKS; i++) {
        p = ngx_sprintf(p, "%s\"%s\":{\"state\":\"%s\",\"away_s\":%T}",
            i == 0 ? "" : ",", ngx_http_crm_sink_names[i],
            ngx_http_crm_health_state(cmcf, i),
            ngx_http_crm_health_away(cmcf, i));
    }

    *p++ = '}';

    return p;
}


ngx_int_t
ngx_http_crm_health_handler(ngx_http_request_t *r)
{
    u_char                    text[NGX_HTTP_CRM_HEALTH_BYTES / 2];
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_uint_t                i, taken;
    ngx_http_crm_reasons_t    reasons;
    ngx_http_crm_main_conf_t *cmcf;

    rc = ngx_http_crm_status_begin(r);
    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, NGX_HTTP_CRM_HEALTH_BYTES);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
    reasons.p = text;
    reasons.n = 0;
    taken = ngx_http_crm_health_journal(cmcf, &reasons);

    for (i = 0; i < NGX_HTTP_CRM_NSINKS; i++) {
        if (ngx_http_crm_health_state(cmcf, i)[0] == 'd') {
            ngx_http_crm_health_add(
                &reasons, ngx_http_crm_sink_names[i], "is away");
        }
    }

    b->last = ngx_sprintf(b->last, "{\"status\":\"%s\",\"reasons\":[%*s],",
        !taken          ? "failing"
        : reasons.n > 0 ? "degraded"
                        : "ok",
        (size_t) (reasons.p - text), text);
    b->last = ngx_http_crm_health_sinks(b->last, cmcf);
    b->last = ngx_cpymem(b->last, "}\n", 2);

    return ngx_http_crm_status_send(r,
        taken ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE, "application/json",
        b);
}
