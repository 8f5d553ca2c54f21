/*
 * ngx_http_crm_zone_init.c - reads crm_zone, and makes or finds the zone.
 *
 * A zone is born fresh, kept over a reload, or found as another process made
 * it; one with another layout is refused.
 */

#include "ngx_http_crm_zone.h"


#define NGX_HTTP_CRM_ZONE_MIN    (256 * 1024) /* bytes, about 100 visitors */
#define NGX_HTTP_CRM_ZONE_LAYOUT 3            /* raise with any change */


char *
ngx_http_crm_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ssize_t              size;
    ngx_str_t           *value, name, s;
    ngx_uint_t           i;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    ngx_str_null(&name);
    size = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_crm_argument(&value[i], "name", &s)) {
            name = s;
            continue;
        }

        if (ngx_http_crm_argument(&value[i], "size", &s)) {
            size = ngx_parse_size(&s);

            if (size >= NGX_HTTP_CRM_ZONE_MIN) {
                continue;
            }
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "invalid value \"%V\" in \"crm_zone\": use name=NAME and "
            "size=SIZE from 256k, for example name=crm size=16m",
            &value[i]);
        return NGX_CONF_ERROR;
    }

    if (name.len == 0 || size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "\"crm_zone\" needs both name=NAME and size=SIZE, for example "
            "name=crm size=16m");
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_crm_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    cmcf->zone = ngx_shared_memory_add(cf, &name, size, &ngx_http_crm_module);
    if (cmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    cmcf->zone->init = ngx_http_crm_zone_init;
    cmcf->zone->data = zone;

    return NGX_CONF_OK;
}


static void
ngx_http_crm_zone_map(ngx_http_crm_zone_t *zone)
{
    size_t buckets;

    zone->head = zone->shpool->data;
    zone->buckets = (uint32_t *) (zone->head + 1);
    buckets = (size_t) zone->head->nbuckets * sizeof(uint32_t);

    zone->cells = ngx_align_ptr((u_char *) zone->buckets + buckets, 64);
}


/* Takes all the pages there are, in one piece. */
static ngx_int_t
ngx_http_crm_zone_create(ngx_http_crm_zone_t *zone)
{
    size_t                    size, left;
    uint32_t                  nbuckets;
    ngx_http_crm_zone_head_t *head;

    zone->shpool->log_nomem = 0;
    head = NULL;

    for (size = zone->shpool->pfree * ngx_pagesize; size >= 64 * 1024;
         size -= ngx_pagesize)
    {
        head = ngx_slab_alloc(zone->shpool, size);
        if (head != NULL) {
            break;
        }
    }

    if (head == NULL) {
        return NGX_ERROR;
    }

    for (nbuckets = 16; (size_t) nbuckets * NGX_HTTP_CRM_CELL_BYTES * 2 <= size;
         nbuckets *= 2)
    { /* void */
    }

    left = size - sizeof(ngx_http_crm_zone_head_t) - 64
           - (size_t) nbuckets * sizeof(uint32_t);

    ngx_memzero(head, size);
    head->layout = NGX_HTTP_CRM_ZONE_LAYOUT;
    head->live_bytes = sizeof(tracker_live_t);
    head->nbuckets = nbuckets;
    head->ncells = (uint32_t) (left / NGX_HTTP_CRM_CELL_BYTES);
    zone->shpool->data = head;

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_crm_zone_t *old = data;

    ngx_http_crm_zone_t *zone;

    zone = shm_zone->data;
    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old == NULL && !shm_zone->shm.exists
        && ngx_http_crm_zone_create(zone) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
            "\"crm_zone\" \"%V\" has no room for a cell: use a larger size",
            &shm_zone->shm.name);
        return NGX_ERROR;
    }

    ngx_http_crm_zone_map(zone);

    if (zone->head->layout != NGX_HTTP_CRM_ZONE_LAYOUT
        || zone->head->live_bytes != sizeof(tracker_live_t))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
            "\"crm_zone\" \"%V\" was made by another version: restart nginx, "
            "or use another name",
            &shm_zone->shm.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}
