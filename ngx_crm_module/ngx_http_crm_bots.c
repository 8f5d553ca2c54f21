/*
 * ngx_http_crm_bots.c - which visitors are robots, by list and by address.
 *
 * The list of user agents and the ranges of crawlers that can be verified are
 * files, compiled by the tracker core and taken anew when they change.  The
 * usual check of a crawler, asking the name service for its address and back,
 * would make a worker wait; operators publish their ranges instead.
 *
 * What only behaviour tells is in ngx_http_crm_behave.c.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_BOTS_DEFAULT "/usr/share/ngx_crm/bots.list"
#define NGX_HTTP_CRM_RANGES_BYTES (4 << 20)


static void
ngx_http_crm_bots_cleanup(void *data)
{
    ngx_http_crm_robots_t *robots = data;

    tracker_bots_free(robots->list);
    tracker_ranges_free(robots->ranges);
    robots->list = NULL;
    robots->ranges = NULL;
}


static ngx_int_t
ngx_http_crm_bots_fault(tracker_result_e rc, unsigned line, u_char *fault)
{
    if (rc == TRACKER_FULL) {
        (void) ngx_cpystrn(
            fault, (u_char *) "needs more memory", NGX_HTTP_CRM_FAULT_BYTES);

    } else if (line == 0) {
        (void) ngx_cpystrn(fault, (u_char *) "has no pattern, or too many",
            NGX_HTTP_CRM_FAULT_BYTES);

    } else {
        (void) ngx_snprintf(
            fault, NGX_HTTP_CRM_FAULT_BYTES, "has a fault in line %ud%Z", line);
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_crm_bots_load(ngx_http_crm_watch_t *watch, void *data, u_char *fault)
{
    size_t                 len;
    u_char                *text;
    unsigned               line;
    tracker_bots_t        *list;
    tracker_result_e       rc;
    ngx_http_crm_robots_t *robots = data;

    text = ngx_http_crm_watch_read(watch, TRACKER_BOTS_BYTES_MAX, &len, fault);
    if (text == NULL) {
        return NGX_ERROR;
    }

    rc = tracker_bots_compile(&list, (char *) text, len, &line);
    ngx_free(text);

    if (rc != TRACKER_OK) {
        return ngx_http_crm_bots_fault(rc, line, fault);
    }

    tracker_bots_free(robots->list);
    robots->list = list;

    return NGX_OK;
}


static ngx_int_t
ngx_http_crm_ranges_load(ngx_http_crm_watch_t *watch, void *data, u_char *fault)
{
    size_t                 len;
    u_char                *text;
    unsigned               line;
    tracker_ranges_t      *ranges;
    tracker_result_e       rc;
    ngx_http_crm_robots_t *robots = data;

    text =
        ngx_http_crm_watch_read(watch, NGX_HTTP_CRM_RANGES_BYTES, &len, fault);
    if (text == NULL) {
        return NGX_ERROR;
    }

    rc = tracker_ranges_compile(&ranges, (char *) text, len, &line);
    ngx_free(text);

    if (rc != TRACKER_OK) {
        return ngx_http_crm_bots_fault(rc, line, fault);
    }

    tracker_ranges_free(robots->ranges);
    robots->ranges = ranges;

    return NGX_OK;
}


/* What both directives fill; freed with the configuration. */
static ngx_http_crm_robots_t *
ngx_http_crm_robots_get(ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_pool_cleanup_t *cln;

    if (cmcf->robots != NULL) {
        return cmcf->robots;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_crm_robots_t));
    if (cln == NULL) {
        return NULL;
    }

    cmcf->robots = cln->data;
    ngx_memzero(cmcf->robots, sizeof(ngx_http_crm_robots_t));
    cln->handler = ngx_http_crm_bots_cleanup;

    return cmcf->robots;
}


char *
ngx_http_crm_bots_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ngx_str_t             *value, s;
    ngx_http_crm_robots_t *robots;

    (void) cmd;
    value = cf->args->elts;

    robots = ngx_http_crm_robots_get(cf, cmcf);
    if (robots == NULL) {
        return NGX_CONF_ERROR;
    }

    if (robots->told) {
        return "is duplicate";
    }

    robots->told = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    robots->behaviour = 1;

    if (cf->args->nelts == 3) {
        if (!ngx_http_crm_argument(&value[2], "behaviour", &s)
            || ((s.len != 2 || ngx_strncmp(s.data, "on", 2) != 0)
                && (s.len != 3 || ngx_strncmp(s.data, "off", 3) != 0)))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_bots\": use behaviour=on or "
                "behaviour=off",
                &value[2]);
            return NGX_CONF_ERROR;
        }

        robots->behaviour = s.len == 2;
    }

    if (ngx_http_crm_watch_add(
            cf, &value[1], ngx_http_crm_bots_load, robots, "crm_bots")
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_crm_verified_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ngx_str_t             *value;
    ngx_http_crm_robots_t *robots;

    (void) cmd;
    value = cf->args->elts;

    robots = ngx_http_crm_robots_get(cf, cmcf);
    if (robots == NULL) {
        return NGX_CONF_ERROR;
    }

    if (robots->ranges != NULL) {
        return "is duplicate";
    }

    if (ngx_http_crm_watch_add(cf, &value[1], ngx_http_crm_ranges_load, robots,
            "crm_bots_verified")
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Without a crm_bots of its own a server uses the list that was installed. */
ngx_int_t
ngx_http_crm_bots_default(ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_str_t              path = ngx_string(NGX_HTTP_CRM_BOTS_DEFAULT);
    ngx_http_crm_robots_t *robots;

    if ((cmcf->robots != NULL && cmcf->robots->told)
        || access(NGX_HTTP_CRM_BOTS_DEFAULT, R_OK) == -1)
    {
        return NGX_OK;
    }

    robots = ngx_http_crm_robots_get(cf, cmcf);
    if (robots == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_crm_watch_add(
               cf, &path, ngx_http_crm_bots_load, robots, "crm_bots")
                   != NULL
               ? NGX_OK
               : NGX_ERROR;
}


/* IPv4 as ::ffff:a.b.c.d; NGX_DECLINED: a unix socket. */
static ngx_int_t
ngx_http_crm_bots_address(struct sockaddr *sa, uint8_t address[16])
{
    switch (sa->sa_family) {

    case AF_INET:
        ngx_memzero(address, 10);
        address[10] = address[11] = 0xff;
        ngx_memcpy(
            address + 12, &((struct sockaddr_in *) sa)->sin_addr.s_addr, 4);
        return NGX_OK;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        ngx_memcpy(
            address, ((struct sockaddr_in6 *) sa)->sin6_addr.s6_addr, 16);
        return NGX_OK;
#endif

    default:
        return NGX_DECLINED;
    }
}


ngx_int_t
ngx_http_crm_bots_find(ngx_http_crm_main_conf_t *cmcf, struct sockaddr *sa,
    tracker_str_t agent, tracker_bot_t *bot)
{
    uint8_t                address[16];
    ngx_http_crm_robots_t *robots = cmcf->robots;

    if (robots == NULL || robots->list == NULL
        || tracker_bots_find(robots->list, agent, bot) != TRACKER_OK)
    {
        return NGX_DECLINED;
    }

    bot->reason = "agent";

    if (robots->ranges != NULL
        && ngx_http_crm_bots_address(sa, address) == NGX_OK
        && tracker_ranges_check(robots->ranges, bot->name, address)
               == TRACKER_INVALID)
    {
        bot->reason = "unverified";
    }

    return NGX_OK;
}
