/*
 * ngx_http_crm_zone.h - the cells of the visitor zone, as they lie in memory.
 *
 * ngx_http_crm_zone.c works with them, ngx_http_crm_zone_init.c makes them.
 */

#ifndef NGX_HTTP_CRM_ZONE_H_INCLUDED_
#define NGX_HTTP_CRM_ZONE_H_INCLUDED_

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_CELL_BYTES 2560
#define NGX_HTTP_CRM_ZONE_SITES 256 /* slots of a hash by site */


typedef struct {
    uint8_t          vid[TRACKER_UUID_SIZE];
    uint32_t         site;  /* hash of its name: indexes change with a reload */
    uint32_t         chain; /* next cell of the bucket */
    uint32_t         newer; /* towards the head of the list by age */
    uint32_t         older;
    uint64_t         fetched_ms;  /* when the profile was answered; 0: stale */
    uint64_t         asked_ms;    /* when somebody was last told STALE */
    uint64_t         identify_ms; /* when the customer became another */
    uint64_t         aged_ms;     /* when it was last made the newest */
    uint16_t         profile_len; /* bytes; 0: nobody is known, or too large */
    uint8_t          answered;    /* the profile was answered at least once */
    uint8_t          lively;      /* live holds a session */
    tracker_live_t   live;
    tracker_enrich_t enrich; /* of the session of enrich.key */
} ngx_http_crm_cell_t;

#define NGX_HTTP_CRM_PROFILE_MAX                                               \
    (NGX_HTTP_CRM_CELL_BYTES - sizeof(ngx_http_crm_cell_t))


typedef struct {
    uint32_t layout;
    uint32_t live_bytes; /* sizeof(tracker_live_t) of who made the zone */
    uint32_t busy;       /* somebody changes something at this moment */
    uint32_t ncells;
    uint32_t nbuckets; /* a power of two */
    uint32_t used;     /* cells given out so far, they never come back */
    uint32_t newest;
    uint32_t oldest;
    uint64_t stale_ms[NGX_HTTP_CRM_ZONE_SITES]; /* all before is stale */
} ngx_http_crm_zone_head_t;


struct ngx_http_crm_zone_s {
    ngx_http_crm_zone_head_t *head;
    ngx_slab_pool_t          *shpool;
    uint32_t                 *buckets;
    u_char                   *cells;
};

#endif /* NGX_HTTP_CRM_ZONE_H_INCLUDED_ */
