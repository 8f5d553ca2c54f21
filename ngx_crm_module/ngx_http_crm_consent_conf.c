/*
 * ngx_http_crm_consent_conf.c - reads crm_consent and crm_anonymize.
 *
 * Tests are taken apart once, here; a request only compares.  A fault stops
 * nginx with the directive, the value and the remedy.
 */

#include "ngx_http_crm_consent.h"


static ngx_uint_t
ngx_http_crm_consent_word(const ngx_str_t *text, const char *word)
{
    return text->len == ngx_strlen(word)
           && ngx_strncmp(text->data, word, text->len) == 0;
}


/* TEST[,TEST], each with its %XX undone: so a test may hold a comma. */
static ngx_int_t
ngx_http_crm_consent_tests(ngx_conf_t *cf, ngx_http_crm_consent_t *consent,
    unsigned purpose, ngx_str_t *list)
{
    size_t        len;
    u_char       *p, *end;
    tracker_str_t text;

    if (consent->ntests[purpose] > 0) {
        return NGX_DECLINED;
    }

    end = list->data + list->len;

    for (p = list->data; p <= end; p += len + 1) {
        for (len = 0; p + len < end && p[len] != ','; len++) { /* void */
        }

        if (len == 0 || consent->ntests[purpose] == NGX_HTTP_CRM_CONSENT_TESTS)
        {
            return NGX_DECLINED;
        }

        text.data = ngx_pnalloc(cf->pool, len);
        if (text.data == NULL) {
            return NGX_ERROR;
        }

        text.len = len;
        text.len = tracker_unescape((char *) (uintptr_t) text.data, len,
            (tracker_str_t){(char *) p, len});

        if (tracker_consent_test(
                &consent->tests[purpose][consent->ntests[purpose]++], text)
            != TRACKER_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* off, personalize or all. */
static ngx_int_t
ngx_http_crm_consent_revokes(const ngx_str_t *word, unsigned *purposes)
{
    if (ngx_http_crm_consent_word(word, "off")) {
        *purposes = 0;

    } else if (ngx_http_crm_consent_word(word, "personalize")) {
        *purposes = NGX_HTTP_CRM_PERSONALIZE;

    } else if (ngx_http_crm_consent_word(word, "all")) {
        *purposes = NGX_HTTP_CRM_MEASURE | NGX_HTTP_CRM_PERSONALIZE;

    } else {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_consent_option(
    ngx_conf_t *cf, ngx_http_crm_consent_t *consent, ngx_str_t *arg)
{
    ngx_str_t rest;

    if (ngx_http_crm_argument(arg, "measure", &rest)) {
        return ngx_http_crm_consent_tests(cf, consent, 0, &rest);
    }

    if (ngx_http_crm_argument(arg, "personalize", &rest)) {
        return ngx_http_crm_consent_tests(cf, consent, 1, &rest);
    }

    if (ngx_http_crm_argument(arg, "gpc", &rest)) {
        return ngx_http_crm_consent_revokes(&rest, &consent->gpc);
    }

    if (ngx_http_crm_argument(arg, "dnt", &rest)) {
        return ngx_http_crm_consent_revokes(&rest, &consent->dnt);
    }

    if (ngx_http_crm_argument(arg, "default", &rest)) {
        if (ngx_http_crm_consent_word(&rest, "granted")) {
            consent->given = NGX_HTTP_CRM_MEASURE | NGX_HTTP_CRM_PERSONALIZE;
            return NGX_OK;
        }

        if (ngx_http_crm_consent_word(&rest, "denied")) {
            consent->given = 0;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


char *
ngx_http_crm_consent_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t                        rc;
    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_crm_consent_t          *consent;
    ngx_http_compile_complex_value_t ccv;

    if (clcf->consent != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_http_crm_consent_word(&value[1], "off")) {
        clcf->consent = NULL;
        return NGX_CONF_OK;
    }

    consent = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_consent_t));
    if (consent == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf->consent = consent;
    consent->gpc = NGX_HTTP_CRM_PERSONALIZE;
    consent->dnt = NGX_HTTP_CRM_PERSONALIZE;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &consent->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_crm_consent_option(cf, consent, &value[i]);

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_consent\": use measure=TEST and "
                "personalize=TEST (a TEST is WORD, ~TEXT or tcf:1 to tcf:24, "
                "several with commas), gpc=off|personalize|all, "
                "dnt=off|personalize|all and default=granted|denied",
                &value[i]);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (consent->ntests[0] == 0 && consent->ntests[1] == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm_consent\" tests nothing: add measure=TEST or "
            "personalize=TEST, for example measure=~analytics");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* BITS/BITS: of an IPv4 and of an IPv6 address. */
static ngx_int_t
ngx_http_crm_anonymize_ip(ngx_http_crm_anonymize_t *anonymize, ngx_str_t *text)
{
    u_char   *slash;
    ngx_int_t n;

    slash = ngx_strlchr(text->data, text->data + text->len, '/');
    if (slash == NULL) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(text->data, slash - text->data);
    if (n == NGX_ERROR || n > 32) {
        return NGX_DECLINED;
    }
    anonymize->keep4 = n;

    n = ngx_atoi(slash + 1, text->data + text->len - slash - 1);
    if (n == NGX_ERROR || n > 128) {
        return NGX_DECLINED;
    }
    anonymize->keep6 = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_anonymize_hash(
    ngx_http_crm_anonymize_t *anonymize, ngx_str_t *list)
{
    size_t  len, i;
    u_char *p, *end;

    end = list->data + list->len;

    for (p = list->data; p <= end; p += len + 1) {
        for (len = 0; p + len < end && p[len] != ','; len++) { /* void */
        }

        if (len == 0 || anonymize->nhash == NGX_HTTP_CRM_HASH_NAMES) {
            return NGX_DECLINED;
        }

        for (i = 0; i < len; i++) {
            if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')
                    || (p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
            {
                return NGX_DECLINED;
            }
        }

        anonymize->hash[anonymize->nhash].data = (char *) p;
        anonymize->hash[anonymize->nhash++].len = len;
    }

    return NGX_OK;
}


char *
ngx_http_crm_anonymize_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_loc_conf_t *clcf = conf;

    ngx_int_t                 rc;
    ngx_str_t                *value, rest;
    ngx_uint_t                i;
    ngx_http_crm_anonymize_t *anonymize;

    if (clcf->anonymize != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_http_crm_consent_word(&value[1], "off")) {
        clcf->anonymize = NULL;
        return NGX_CONF_OK;
    }

    anonymize = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_anonymize_t));
    if (anonymize == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf->anonymize = anonymize;
    anonymize->keep4 = NGX_HTTP_CRM_WHOLE_IPV4;
    anonymize->keep6 = NGX_HTTP_CRM_WHOLE_IPV6;

    for (i = 1; i < cf->args->nelts; i++) {
        rc = NGX_DECLINED;

        if (ngx_http_crm_argument(&value[i], "ip", &rest)) {
            rc = ngx_http_crm_anonymize_ip(anonymize, &rest);

        } else if (ngx_http_crm_argument(&value[i], "hash", &rest)) {
            rc = ngx_http_crm_anonymize_hash(anonymize, &rest);
        }

        if (rc != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_anonymize\": use ip=BITS/BITS, "
                "the bits kept of an IPv4 and an IPv6 address, for example "
                "ip=24/48, and hash=NAME[,NAME], up to 32 names of properties",
                &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
