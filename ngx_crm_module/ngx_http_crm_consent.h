/*
 * ngx_http_crm_consent.h - what crm_consent and crm_anonymize say, read by
 * ngx_http_crm_consent_conf.c and obeyed by ngx_http_crm_consent.c.
 */

#ifndef NGX_HTTP_CRM_CONSENT_H_INCLUDED_
#define NGX_HTTP_CRM_CONSENT_H_INCLUDED_

#include "ngx_http_crm_module.h"


#pragma GCC visibility push(hidden)

#define NGX_HTTP_CRM_CONSENT_TESTS 16 /* per purpose */
#define NGX_HTTP_CRM_HASH_NAMES    32
#define NGX_HTTP_CRM_WHOLE_IPV4    32
#define NGX_HTTP_CRM_WHOLE_IPV6    128


struct ngx_http_crm_consent_s {
    ngx_http_complex_value_t value;
    tracker_consent_test_t   tests[2][NGX_HTTP_CRM_CONSENT_TESTS];
    unsigned                 ntests[2]; /* measure, personalize */
    unsigned                 gpc;       /* purposes that the signal revokes */
    unsigned                 dnt;
    unsigned                 given; /* purposes without an answer */
};

struct ngx_http_crm_anonymize_s {
    tracker_str_t hash[NGX_HTTP_CRM_HASH_NAMES];
    unsigned      nhash;
    ngx_uint_t    keep4; /* bits of an IPv4 address */
    ngx_uint_t    keep6;
};

/* What tracker_*_hide() is to hide, while the configuration lives. */
void ngx_http_crm_anonymize_names(const ngx_http_crm_main_conf_t *cmcf,
    const ngx_http_crm_anonymize_t *anonymize, tracker_hide_t *hide);


#pragma GCC visibility pop

#endif /* NGX_HTTP_CRM_CONSENT_H_INCLUDED_ */
