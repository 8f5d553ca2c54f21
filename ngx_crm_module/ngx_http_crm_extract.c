/*
 * ngx_http_crm_extract.c - variables from forms that are sent and JSON replies.
 *
 * crm_extract names a variable after a field of a form or a place in a JSON
 * reply, so that crm_event can use what URLs do not say.
 *
 * A form is read where nginx has it anyway: in the request's buffers.  One
 * that nginx wrote to a file, or that passed unbuffered, is not looked at.  A
 * reply is copied as it passes, up to crm_extract_max, and only where a place
 * in JSON is asked for and the answer is application/json.  Its variables have
 * values once the whole of it has been given to the client, in the log phase,
 * so nothing here delays an answer.  What could not be looked at is counted,
 * and its variables are empty.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_EXTRACT_VALUE 1024 /* bytes of a value */
#define NGX_HTTP_CRM_EXTRACT_LEAST 1024
#define NGX_HTTP_CRM_EXTRACT_MOST  (1024 * 1024)

typedef struct {
    ngx_uint_t variable; /* its index */
    ngx_uint_t json;     /* 1 + number of its path; 0: a field of a form */
    ngx_str_t  field;
} ngx_http_crm_extract_one_t;

/* Of a location. */
struct ngx_http_crm_extracts_s {
    ngx_http_crm_extract_one_t ones[TRACKER_EXTRACT_PATHS];
    tracker_path_t             paths[TRACKER_EXTRACT_PATHS];
    ngx_uint_t                 n;
    ngx_uint_t                 npaths;
};

/* Of a main request. */
typedef struct {
    ngx_str_t     form;
    u_char       *reply;
    size_t        size; /* bytes there is room for */
    size_t        len;
    tracker_str_t values[TRACKER_EXTRACT_PATHS];

    unsigned copying : 1;  /* the reply is wanted and fits so far */
    unsigned complete : 1; /* all of it has passed */
    unsigned walked : 1;   /* values are set */
    unsigned counted : 1;
} ngx_http_crm_extract_t;


static ngx_http_output_header_filter_pt ngx_http_crm_next_header_filter;
static ngx_http_output_body_filter_pt   ngx_http_crm_next_body_filter;


/* Once per request. */
static void
ngx_http_crm_extract_skipped(
    ngx_http_request_t *r, ngx_http_crm_extract_t *state)
{
    ngx_http_crm_main_conf_t *cmcf;

    if (!state->counted) {
        state->counted = 1;
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_crm_module);
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_EXTRACT_SKIPPED);
    }
}


static ngx_http_crm_extract_t *
ngx_http_crm_extract_state(ngx_http_request_t *r)
{
    ngx_http_crm_ctx_t *ctx;

    ctx = ngx_http_crm_get_ctx(r);

    if (ctx == NULL) {
        return NULL;
    }

    if (ctx->extract == NULL) {
        ctx->extract = ngx_pcalloc(r->pool, sizeof(ngx_http_crm_extract_t));
    }

    return ctx->extract;
}


/* 1 if a media type is the one named, whatever its parameters. */
static ngx_uint_t
ngx_http_crm_extract_type(ngx_str_t *type, const char *name)
{
    size_t len;

    len = ngx_strlen(name);

    return type->len >= len
           && ngx_strncasecmp(type->data, (u_char *) name, len) == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ');
}


/* ---- forms -------------------------------------------------------------- */

static ngx_int_t
ngx_http_crm_extract_join(
    ngx_http_request_t *r, ngx_http_crm_extract_t *state, size_t len)
{
    u_char      *p;
    ngx_chain_t *cl;

    cl = r->request_body->bufs;

    if (cl->next == NULL) {
        state->form.data = cl->buf->pos;
        state->form.len = len;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    state->form.data = p;
    state->form.len = len;

    for (/* void */; cl != NULL; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return NGX_OK;
}


/* The body of the request, once it is there. */
static ngx_int_t
ngx_http_crm_extract_form(ngx_http_request_t *r, ngx_http_crm_extract_t *state,
    ngx_http_crm_loc_conf_t *clcf)
{
    size_t                   len;
    ngx_chain_t             *cl;
    ngx_http_request_body_t *body;

    if (state->form.len != 0) {
        return NGX_OK;
    }

    body = r->request_body;

    if (body == NULL || r->headers_in.content_type == NULL
        || !ngx_http_crm_extract_type(&r->headers_in.content_type->value,
            "application/x-www-form-urlencoded"))
    {
        return NGX_DECLINED;
    }

    if (body->temp_file != NULL) {
        ngx_http_crm_extract_skipped(r, state);
        return NGX_DECLINED;
    }

    len = 0;

    for (cl = body->bufs; cl != NULL; cl = cl->next) {
        len += cl->buf->last - cl->buf->pos;
    }

    if (len > clcf->extract_max) {
        ngx_http_crm_extract_skipped(r, state);
        return NGX_DECLINED;
    }

    return len > 0 ? ngx_http_crm_extract_join(r, state, len) : NGX_DECLINED;
}


static tracker_result_e
ngx_http_crm_extract_field(ngx_http_request_t *r, ngx_http_crm_extract_t *state,
    ngx_http_crm_loc_conf_t *clcf, ngx_str_t *name, char *buf, size_t *len)
{
    tracker_str_t form, field;

    if (ngx_http_crm_extract_form(r, state, clcf) != NGX_OK) {
        return TRACKER_DECLINED;
    }

    form.data = (char *) state->form.data;
    form.len = state->form.len;
    field.data = (char *) name->data;
    field.len = name->len;

    return tracker_form_value(
        form, field, buf, NGX_HTTP_CRM_EXTRACT_VALUE, len);
}


/* ---- replies ------------------------------------------------------------ */

static tracker_result_e
ngx_http_crm_extract_place(ngx_http_request_t *r, ngx_http_crm_extract_t *state,
    ngx_http_crm_loc_conf_t *clcf, ngx_uint_t path, char *buf, size_t *len)
{
    tracker_str_t            reply, *value;
    ngx_http_crm_extracts_t *extracts = clcf->extracts;

    if (!state->complete) {
        return TRACKER_DECLINED;
    }

    if (!state->walked) {
        state->walked = 1;
        reply.data = (char *) state->reply;
        reply.len = state->len;

        if (tracker_json_extract(reply, extracts->paths,
                (unsigned) extracts->npaths, state->values)
            != TRACKER_OK)
        {
            ngx_http_crm_extract_skipped(r, state);
        }
    }

    value = &state->values[path];

    if (value->data == NULL) {
        return TRACKER_DECLINED;
    }

    if (value->data[0] == '"') {
        return tracker_json_text(*value, buf, NGX_HTTP_CRM_EXTRACT_VALUE, len);
    }

    if (value->len > NGX_HTTP_CRM_EXTRACT_VALUE) {
        return TRACKER_FULL;
    }

    ngx_memcpy(buf, value->data, value->len);
    *len = value->len;

    return TRACKER_OK;
}


static ngx_int_t
ngx_http_crm_extract_header_filter(ngx_http_request_t *r)
{
    ngx_http_crm_extract_t  *state;
    ngx_http_crm_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (r != r->main || !clcf->enable || clcf->extracts == NULL
        || clcf->extracts->npaths == 0 || r->header_only
        || !ngx_http_crm_extract_type(
            &r->headers_out.content_type, "application/json"))
    {
        return ngx_http_crm_next_header_filter(r);
    }

    state = ngx_http_crm_extract_state(r);
    if (state == NULL) {
        return ngx_http_crm_next_header_filter(r);
    }

    if (r->headers_out.content_length_n > (off_t) clcf->extract_max
        || (r->headers_out.content_encoding != NULL
            && r->headers_out.content_encoding->hash != 0
            && r->headers_out.content_encoding->value.len != 0))
    {
        ngx_http_crm_extract_skipped(r, state);
        return ngx_http_crm_next_header_filter(r);
    }

    state->size = r->headers_out.content_length_n >= 0
                      ? (size_t) r->headers_out.content_length_n
                      : clcf->extract_max;
    state->copying = 1;
    r->filter_need_in_memory = 1;

    return ngx_http_crm_next_header_filter(r);
}


/* NGX_DECLINED: the reply is longer than it may be, or memory. */
static ngx_int_t
ngx_http_crm_extract_copy(
    ngx_http_request_t *r, ngx_http_crm_extract_t *state, ngx_buf_t *b)
{
    size_t n;

    if (ngx_buf_special(b)) {
        return NGX_OK;
    }

    if (!ngx_buf_in_memory(b)) {
        return NGX_DECLINED;
    }

    n = b->last - b->pos;

    if (n > state->size - state->len) {
        return NGX_DECLINED;
    }

    if (state->reply == NULL) {
        state->reply = ngx_pnalloc(r->pool, state->size);
        if (state->reply == NULL) {
            return NGX_DECLINED;
        }
    }

    ngx_memcpy(state->reply + state->len, b->pos, n);
    state->len += n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_extract_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_crm_ctx_t     *ctx;
    ngx_http_crm_extract_t *state;

    ctx = ngx_http_get_module_ctx(r, ngx_http_crm_module);
    state = ctx != NULL ? ctx->extract : NULL;

    if (r != r->main || state == NULL || !state->copying) {
        return ngx_http_crm_next_body_filter(r, in);
    }

    for (cl = in; cl != NULL; cl = cl->next) {

        if (ngx_http_crm_extract_copy(r, state, cl->buf) != NGX_OK) {
            state->copying = 0;
            ngx_http_crm_extract_skipped(r, state);
            break;
        }

        if (cl->buf->last_buf) {
            state->copying = 0;
            state->complete = 1;
        }
    }

    return ngx_http_crm_next_body_filter(r, in);
}


void
ngx_http_crm_extract_init(ngx_http_crm_main_conf_t *cmcf)
{
    if (!cmcf->extracts) {
        return;
    }

    ngx_http_crm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_crm_extract_header_filter;

    ngx_http_crm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_crm_extract_body_filter;
}


/* ---- variables ---------------------------------------------------------- */

static tracker_result_e
ngx_http_crm_extract_value(ngx_http_request_t *r, ngx_http_crm_extract_t *state,
    ngx_uint_t variable, char *buf, size_t *len)
{
    ngx_uint_t                  i;
    ngx_http_crm_loc_conf_t    *clcf;
    ngx_http_crm_extract_one_t *one;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_crm_module);

    if (clcf->extracts == NULL) {
        return TRACKER_DECLINED;
    }

    for (i = 0; i < clcf->extracts->n; i++) {
        one = &clcf->extracts->ones[i];

        if (one->variable != variable) {
            continue;
        }

        return one->json == 0 ? ngx_http_crm_extract_field(
                   r, state, clcf, &one->field, buf, len)
                              : ngx_http_crm_extract_place(
                                  r, state, clcf, one->json - 1, buf, len);
    }

    return TRACKER_DECLINED;
}


static ngx_int_t
ngx_http_crm_extract_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    char                    buf[NGX_HTTP_CRM_EXTRACT_VALUE];
    size_t                  len;
    tracker_result_e        rc;
    ngx_http_crm_extract_t *state;

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 1;

    r = r->main;
    state = ngx_http_crm_extract_state(r);

    if (state == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_crm_extract_value(r, state, data, buf, &len);

    if (rc == TRACKER_FULL) {
        ngx_http_crm_extract_skipped(r, state);
    }

    if (rc != TRACKER_OK || len == 0) {
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, buf, len);
    v->len = len;
    v->not_found = 0;

    return NGX_OK;
}


/* ---- configuration ------------------------------------------------------ */

/* Makes the variable "$NAME"; NGX_DECLINED: that is not its form. */
static ngx_int_t
ngx_http_crm_extract_name(
    ngx_conf_t *cf, ngx_str_t *arg, ngx_http_crm_extract_one_t *one)
{
    ngx_int_t            index;
    ngx_str_t            name;
    ngx_http_variable_t *v;

    if (arg->len < 2 || arg->data[0] != '$') {
        return NGX_DECLINED;
    }

    name.data = arg->data + 1;
    name.len = arg->len - 1;

    v = ngx_http_add_variable(
        cf, &name, NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_NOCACHEABLE);
    if (v == NULL) {
        return NGX_ERROR;
    }

    if (v->get_handler != NULL
        && v->get_handler != ngx_http_crm_extract_variable) {
        return NGX_DECLINED;
    }

    index = ngx_http_get_variable_index(cf, &name);
    if (index == NGX_ERROR) {
        return NGX_ERROR;
    }

    v->get_handler = ngx_http_crm_extract_variable;
    v->data = index;
    one->variable = index;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_extract_source(ngx_http_crm_extracts_t *extracts, ngx_str_t *value,
    ngx_http_crm_extract_one_t *one)
{
    tracker_str_t text;

    if (ngx_strcmp(value[2].data, "form") == 0) {
        one->json = 0;
        one->field = value[3];
        return value[3].len > 0 ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_strcmp(value[2].data, "json") != 0) {
        return NGX_DECLINED;
    }

    text.data = (char *) value[3].data;
    text.len = value[3].len;

    if (tracker_path_parse(&extracts->paths[extracts->npaths], text)
        != TRACKER_OK) {
        return NGX_DECLINED;
    }

    one->json = ++extracts->npaths;

    return NGX_OK;
}


char *
ngx_http_crm_extract_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t                   rc;
    ngx_str_t                  *value;
    ngx_uint_t                  i;
    ngx_http_crm_extracts_t    *extracts;
    ngx_http_crm_main_conf_t   *cmcf;
    ngx_http_crm_extract_one_t *one;

    if (clcf->extracts == NGX_CONF_UNSET_PTR) {
        clcf->extracts = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_extracts_t));
        if (clcf->extracts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;
    extracts = clcf->extracts;

    if (extracts->n == TRACKER_EXTRACT_PATHS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "too many \"crm_extract\" in one place at \"%V\": use at most %d",
            &value[1], TRACKER_EXTRACT_PATHS);
        return NGX_CONF_ERROR;
    }

    one = &extracts->ones[extracts->n];
    rc = ngx_http_crm_extract_name(cf, &value[1], one);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_extract\": use a $variable that "
            "nothing else makes, for example $cart_total",
            &value[1]);
    }

    if (rc != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < extracts->n; i++) {
        if (extracts->ones[i].variable == one->variable) {
            return "is duplicate for its variable";
        }
    }

    if (ngx_http_crm_extract_source(extracts, value, one) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V %V\" in \"crm_extract\": use form FIELD or "
            "json PATH of at most %d steps, for example json "
            "cart.items[0].id",
            &value[2], &value[3], TRACKER_PATH_STEPS);
        return NGX_CONF_ERROR;
    }

    extracts->n++;

    if (one->json != 0) {
        cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_crm_module);
        cmcf->extracts = 1;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_crm_extract_max_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ssize_t    size;
    ngx_str_t *value;

    if (clcf->extract_max != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size < NGX_HTTP_CRM_EXTRACT_LEAST || size > NGX_HTTP_CRM_EXTRACT_MOST) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_extract_max\": use a size from 1k "
            "to 1m, for example 64k",
            &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf->extract_max = size;

    return NGX_CONF_OK;
}
