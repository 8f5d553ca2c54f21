/*
 * ngx_http_crm_intent.c - how likely the running session is to buy.
 *
 * The weights come from PostgreSQL (edge.model), are checked whole by the core
 * and replace the ones before; a document with a fault changes nothing but a
 * counter and one line in the log.  They are asked for when profiles were
 * published, and after every new connection; a question that failed is asked
 * again after a pause.
 *
 * The fields of the document are attributes of conditions.  A value is computed
 * when a condition first asks for session.intent, once a request: nothing of
 * the document outlives that, so the old one is freed at once.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_INTENT_RETRY_MS 1000
#define NGX_HTTP_CRM_INTENT_FAULT    256

typedef struct {
    ngx_http_crm_main_conf_t *cmcf;
    char                     *name;  /* of the site, ends in NUL */
    personalize_intent_t     *now;   /* NULL: none */
    ngx_http_crm_attr_pt     *attrs; /* one per field of `now` */
    size_t                    len;   /* bytes of its document */
    uint32_t                  crc;   /* of its document */
    ngx_event_t               retry;
    ngx_connection_t          dummy; /* what a timer's data must look like */
    unsigned                  asked : 1;
    unsigned                  again : 1; /* changed since it was asked */
} ngx_http_crm_intent_t;


static void
ngx_http_crm_intent_drop(ngx_http_crm_intent_t *st)
{
    personalize_intent_free(st->now);
    st->now = NULL;

    if (st->attrs != NULL) {
        ngx_free(st->attrs);
        st->attrs = NULL;
    }
}


static ngx_http_crm_attr_pt *
ngx_http_crm_intent_attrs(personalize_intent_t *intent)
{
    unsigned              n, nfields;
    ngx_http_crm_attr_pt *attrs;

    nfields = personalize_intent_fields(intent);
    attrs = ngx_alloc(nfields * sizeof(ngx_http_crm_attr_pt), ngx_cycle->log);

    for (n = 0; attrs != NULL && n < nfields; n++) {
        attrs[n] = ngx_http_crm_attr_find(personalize_intent_field(intent, n));

        /* it would ask for itself without end */
        if (attrs[n] == ngx_http_crm_intent_attr) {
            ngx_free(attrs);
            return NULL;
        }
    }

    return attrs;
}


static void
ngx_http_crm_intent_take(
    ngx_http_crm_intent_t *st, const char *text, size_t len)
{
    char                  fault[NGX_HTTP_CRM_INTENT_FAULT];
    uint32_t              crc;
    personalize_intent_t *intent;
    personalize_result_e  rc;
    ngx_http_crm_attr_pt *attrs;

    if (len == 0) {
        ngx_http_crm_intent_drop(st);
        st->len = 0;
        return;
    }

    crc = ngx_crc32_long((u_char *) text, len);
    if (st->now != NULL && st->len == len && st->crc == crc) {
        return;
    }

    intent = NULL;
    attrs = NULL;
    (void) ngx_cpystrn(
        (u_char *) fault, (u_char *) "its fields cannot be had", sizeof(fault));
    rc = personalize_intent_read(&intent, text, len, fault, sizeof(fault));

    if (rc == PERSONALIZE_OK) {
        attrs = ngx_http_crm_intent_attrs(intent);
    }

    if (attrs == NULL) {
        if (rc == PERSONALIZE_OK) {
            personalize_intent_free(intent);
        }
        ngx_http_crm_count(st->cmcf, NGX_HTTP_CRM_MODELS_REFUSED);
        ngx_log_error(NGX_LOG_ERR, st->cmcf->log, 0,
            "crm refused the intent model of site \"%s\": %s, the one before "
            "stays",
            st->name, fault);
        return;
    }

    ngx_http_crm_intent_drop(st);
    st->now = intent;
    st->attrs = attrs;
    st->len = len;
    st->crc = crc;
    ngx_http_crm_count(st->cmcf, NGX_HTTP_CRM_MODELS);
    ngx_log_error(NGX_LOG_INFO, st->cmcf->log, 0,
        "crm took the intent model of run %uL for site \"%s\"",
        personalize_intent_id(intent), st->name);
}


/* ---- questions to PostgreSQL -------------------------------------------- */

static void ngx_http_crm_intent_question(ngx_http_crm_intent_t *st);


static void
ngx_http_crm_intent_answered(void *data, const char *text, size_t len)
{
    ngx_http_crm_intent_t *st = data;

    st->asked = 0;

    if (text == NULL) {
        st->again = 0;

        if (st->cmcf->pg != NULL && !st->retry.timer_set) {
            ngx_add_timer(&st->retry, NGX_HTTP_CRM_INTENT_RETRY_MS);
        }

        return;
    }

    ngx_http_crm_intent_take(st, text, len);

    if (st->again) {
        ngx_http_crm_intent_question(st);
    }
}


static void
ngx_http_crm_intent_question(ngx_http_crm_intent_t *st)
{
    const char *params[2];

    if (st->asked) {
        st->again = 1;
        return;
    }

    st->again = 0;
    params[0] = st->name;
    params[1] = "intent";

    if (ngx_http_crm_pg_call(
            st->cmcf, "model", params, 2, ngx_http_crm_intent_answered, st)
        == NGX_OK)
    {
        st->asked = 1;

    } else if (!st->retry.timer_set) {
        ngx_add_timer(&st->retry, NGX_HTTP_CRM_INTENT_RETRY_MS);
    }
}


static void
ngx_http_crm_intent_retry(ngx_event_t *ev)
{
    ngx_connection_t *dummy = ev->data;

    ngx_http_crm_intent_question(dummy->data);
}


void
ngx_http_crm_intent_ask(ngx_http_crm_site_t *site)
{
    if (site->intent_state != NULL) {
        ngx_http_crm_intent_question(site->intent_state);
    }
}


/* ---- the attribute ------------------------------------------------------ */

/* From 0 to 1; below 0 without a model. */
static double
ngx_http_crm_intent_score(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx)
{
    unsigned                    n;
    personalize_value_t         values[PERSONALIZE_INTENT_FIELDS];
    ngx_http_crm_intent_t      *st;
    personalize_intent_inputs_t inputs;

    st = ctx->site->intent_state;

    if (st == NULL || st->now == NULL) {
        return -1;
    }

    ngx_memzero(values, sizeof(values));

    for (n = 0; n < personalize_intent_fields(st->now); n++) {
        st->attrs[n](r, ctx, personalize_intent_field(st->now, n), &values[n]);
    }

    personalize_intent_encode(st->now, values, &inputs);

    return personalize_intent_score(st->now, &inputs);
}


/* session.intent */
void
ngx_http_crm_intent_attr(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    (void) path;

    if (!ctx->intent_made) {
        ctx->intent = ngx_http_crm_intent_score(r, ctx);
        ctx->intent_made = 1;
    }

    if (ctx->intent >= 0) {
        value->type = PERSONALIZE_NUMBER;
        value->number = ctx->intent;
    }
}


/* ---- a worker's life ---------------------------------------------------- */

ngx_int_t
ngx_http_crm_intent_init(ngx_http_crm_main_conf_t *cmcf, ngx_cycle_t *cycle)
{
    ngx_uint_t             i;
    ngx_http_crm_site_t   *site;
    ngx_http_crm_intent_t *st;

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        st = ngx_pcalloc(cycle->pool, sizeof(ngx_http_crm_intent_t));
        if (st == NULL) {
            return NGX_ERROR;
        }

        st->name = ngx_pnalloc(cycle->pool, site[i].name.len + 1);
        if (st->name == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(
            (u_char *) st->name, site[i].name.data, site[i].name.len + 1);

        st->cmcf = cmcf;
        st->dummy.fd = (ngx_socket_t) -1;
        st->dummy.data = st;
        st->retry.data = &st->dummy;
        st->retry.handler = ngx_http_crm_intent_retry;
        st->retry.log = cycle->log;
        st->retry.cancelable = 1;
        site[i].intent_state = st;
    }

    return NGX_OK;
}


void
ngx_http_crm_intent_exit(ngx_http_crm_main_conf_t *cmcf)
{
    ngx_uint_t             i;
    ngx_http_crm_site_t   *site;
    ngx_http_crm_intent_t *st;

    site = cmcf->sites.elts;

    for (i = 0; i < cmcf->sites.nelts; i++) {
        st = site[i].intent_state;

        if (st == NULL) {
            continue;
        }

        if (st->retry.timer_set) {
            ngx_del_timer(&st->retry);
        }

        ngx_http_crm_intent_drop(st);
        site[i].intent_state = NULL;
    }
}
