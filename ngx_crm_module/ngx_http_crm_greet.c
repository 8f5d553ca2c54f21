/*
 * ngx_http_crm_greet.c - attributes that are made of a customer's profile.
 *
 * customer.greeting is made of customer.title, .family_name, .given_name,
 * .name and .language (else the browser's), customer.birthday_today of
 * customer.birthday, in UTC as all of time.  Without the profile both are
 * absent.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_GREETING_MAX 512 /* bytes */


static personalize_str_t
ngx_http_crm_greet_text(ngx_http_crm_ctx_t *ctx, const char *path)
{
    personalize_str_t   name;
    personalize_value_t value;

    name.data = path;
    name.len = ngx_strlen(path);
    ngx_memzero(&value, sizeof(personalize_value_t));
    personalize_profile_get(ctx->profile, ctx->profile_len, name, &value);

    if (value.type != PERSONALIZE_TEXT) {
        value.text.data = "";
        value.text.len = 0;
    }

    return value.text;
}


void
ngx_http_crm_attr_greeting(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    char                *text;
    personalize_str_t    language = {"visitor.language", 16};
    personalize_value_t  browser;
    personalize_person_t person;

    (void) path;

    if (ctx->profile_len == 0) {
        return;
    }

    person.form = ngx_http_crm_greet_text(ctx, "customer.title");
    person.family_name = ngx_http_crm_greet_text(ctx, "customer.family_name");
    person.given_name = ngx_http_crm_greet_text(ctx, "customer.given_name");
    person.name = ngx_http_crm_greet_text(ctx, "customer.name");
    person.language = ngx_http_crm_greet_text(ctx, "customer.language");

    if (person.language.len == 0) {
        ngx_memzero(&browser, sizeof(personalize_value_t));
        ngx_http_crm_attr_find(language)(r, ctx, language, &browser);

        if (browser.type == PERSONALIZE_TEXT) {
            person.language = browser.text;
        }
    }

    text = ngx_pnalloc(r->pool, NGX_HTTP_CRM_GREETING_MAX);
    if (text == NULL) {
        return;
    }

    value->text.len =
        personalize_greeting(&person, text, NGX_HTTP_CRM_GREETING_MAX);
    value->text.data = text;

    if (value->text.len > 0) {
        value->type = PERSONALIZE_TEXT;
    }
}


void
ngx_http_crm_attr_birthday(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    personalize_str_t path, personalize_value_t *value)
{
    personalize_str_t date;

    (void) r;
    (void) path;

    if (ctx->profile_len == 0) {
        return;
    }

    date = ngx_http_crm_greet_text(ctx, "customer.birthday");

    if (date.len > 0) {
        value->type = PERSONALIZE_BOOL;
        value->number = personalize_is_birthday(date, ngx_time());
    }
}
