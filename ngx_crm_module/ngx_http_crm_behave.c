/*
 * ngx_http_crm_behave.c - who behaves like no human.
 *
 * Three signs, each counted in a small table of shared memory:
 *
 *     no_cookie  8 new visitors in 10 minutes from one address and user agent,
 *                none of whom ever brought its cookie back
 *     speed      more than 30 pages of one visitor within 10 s
 *     no_assets  10 pages of new visitors from one address and user agent, and
 *                never an image, style sheet or script
 *
 * A cookie that comes back clears the first sign: behind one address may sit a
 * whole office.  The third one says nothing where browsers fetch assets from
 * another host or their cache; it counts only for visitors in their first
 * session, and only once nine of ten clients have been seen to fetch some.
 *
 * An entry takes 16 bytes and is found by a hash; two may share a place, and
 * then the older one is forgotten.  Workers add without a lock: a count that
 * is lost delays a verdict by one page.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_CLIENTS 16384 /* entries, a power of two: 256 KB */
#define NGX_HTTP_CRM_CLIENTS_BYTES                                             \
    (NGX_HTTP_CRM_CLIENTS * sizeof(ngx_http_crm_client_t) + 16 * ngx_pagesize)

#define NGX_HTTP_CRM_CLIENT_S     600 /* s that a client is remembered */
#define NGX_HTTP_CRM_FRESH_MAX    8   /* new visitors without an echo */
#define NGX_HTTP_CRM_SPEED_S      10
#define NGX_HTTP_CRM_SPEED_PAGES  30
#define NGX_HTTP_CRM_ASSETS_PAGES 10
#define NGX_HTTP_CRM_ASSETS_SEEN  100 /* clients, before anything is said */
#define NGX_HTTP_CRM_VISITOR_KEY  0x9e3779b9 /* visitors beside clients */


typedef struct {
    uint32_t key;       /* of address and user agent, or of a visitor */
    uint32_t started_s; /* UTC, when counting began */
    uint16_t pages;
    uint16_t fresh;  /* new visitors since a cookie last came back */
    uint8_t  assets; /* 1: fetched one */
    uint8_t  judged; /* 1: counted in `clients` */
    uint16_t unused;
} ngx_http_crm_client_t;

struct ngx_http_crm_clients_s {
    ngx_atomic_t          clients;     /* that fetched enough pages */
    ngx_atomic_t          with_assets; /* of these, who fetched assets too */
    ngx_http_crm_client_t table[NGX_HTTP_CRM_CLIENTS];
};


static ngx_int_t
ngx_http_crm_behave_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t       *shpool;
    ngx_http_crm_robots_t *robots = shm_zone->data;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data == NULL && !shm_zone->shm.exists) {
        shpool->data = ngx_slab_calloc(shpool, sizeof(ngx_http_crm_clients_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    robots->clients = shpool->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_behave_conf(ngx_conf_t *cf, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_str_t       name = ngx_string("crm_clients");
    ngx_shm_zone_t *zone;

    if (cmcf->robots == NULL || !cmcf->robots->behaviour) {
        return NGX_OK;
    }

    zone = ngx_shared_memory_add(
        cf, &name, NGX_HTTP_CRM_CLIENTS_BYTES, &ngx_http_crm_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_crm_behave_init;
    zone->data = cmcf->robots;

    return NGX_OK;
}


/* The entry of that key, begun anew when its time is over. */
static ngx_http_crm_client_t *
ngx_http_crm_behave_entry(
    ngx_http_crm_clients_t *clients, uint32_t key, uint32_t seconds)
{
    uint8_t                assets;
    uint32_t               now;
    ngx_http_crm_client_t *a, *b, *entry;

    now = (uint32_t) ngx_time();
    a = &clients->table[key & (NGX_HTTP_CRM_CLIENTS - 1)];
    b = &clients->table[(key & (NGX_HTTP_CRM_CLIENTS - 1)) ^ 1];

    if (a->key == key) {
        entry = a;
    } else if (b->key == key) {
        entry = b;
    } else {
        entry = a->started_s <= b->started_s ? a : b;
        ngx_memzero(entry, sizeof(ngx_http_crm_client_t));
        entry->key = key;
    }

    if (entry->started_s + seconds < now || entry->started_s > now) {
        /* who once fetched an asset may have it in its cache */
        assets = entry->assets;
        ngx_memzero(entry, sizeof(ngx_http_crm_client_t));
        entry->key = key;
        entry->assets = assets;
        entry->started_s = now;
    }

    return entry;
}


static ngx_http_crm_clients_t *
ngx_http_crm_behave_clients(ngx_http_crm_main_conf_t *cmcf)
{
    return cmcf->robots != NULL ? cmcf->robots->clients : NULL;
}


void
ngx_http_crm_behave_asset(ngx_http_request_t *r, ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_clients_t *clients;

    clients = ngx_http_crm_behave_clients(cmcf);

    if (clients == NULL || r->headers_out.status >= NGX_HTTP_BAD_REQUEST
        || !(r->method & NGX_HTTP_GET)
        || (r->headers_out.status >= NGX_HTTP_SPECIAL_RESPONSE
            && r->headers_out.status != NGX_HTTP_NOT_MODIFIED))
    {
        return;
    }

    ngx_http_crm_behave_entry(
        clients, ngx_http_crm_enrich_client(r), NGX_HTTP_CRM_CLIENT_S)
        ->assets = 1;
}


/* 1 if pages without assets mean something on this site. */
static ngx_uint_t
ngx_http_crm_behave_judge(
    ngx_http_crm_clients_t *clients, ngx_http_crm_client_t *entry)
{
    ngx_atomic_uint_t seen, with;

    if (!entry->judged) {
        entry->judged = 1;
        (void) ngx_atomic_fetch_add(&clients->clients, 1);
        (void) ngx_atomic_fetch_add(&clients->with_assets, entry->assets);
    }

    seen = clients->clients;
    with = clients->with_assets;

    return !entry->assets && seen >= NGX_HTTP_CRM_ASSETS_SEEN
           && with >= seen / 10 * 9;
}


/* Counts a page of a visitor by its cookie. */
static const char *
ngx_http_crm_behave_speed(
    ngx_http_crm_clients_t *clients, ngx_http_crm_ctx_t *ctx)
{
    uint32_t               key;
    ngx_http_crm_client_t *entry;

    ngx_memcpy(
        &key, &ctx->visitor.id[NGX_HTTP_CRM_VID_RANDOM], sizeof(uint32_t));
    entry = ngx_http_crm_behave_entry(
        clients, key ^ NGX_HTTP_CRM_VISITOR_KEY, NGX_HTTP_CRM_SPEED_S);

    if (entry->pages < UINT16_MAX) {
        entry->pages++;
    }

    return entry->pages > NGX_HTTP_CRM_SPEED_PAGES ? "behaviour:speed" : NULL;
}


const char *
ngx_http_crm_behave_page(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf)
{
    const char             *reason;
    ngx_http_crm_client_t  *entry;
    ngx_http_crm_clients_t *clients;

    clients = ngx_http_crm_behave_clients(cmcf);
    if (clients == NULL || !ctx->has_visitor) {
        return NULL;
    }

    reason = NULL;

    if (!ctx->visitor_new) {
        reason = ngx_http_crm_behave_speed(clients, ctx);

        /* who has been here for longer needs no further look */
        if (reason != NULL || ctx->visitor.session_number != 1) {
            return reason;
        }
    }

    entry = ngx_http_crm_behave_entry(
        clients, ngx_http_crm_enrich_client(r), NGX_HTTP_CRM_CLIENT_S);

    if (entry->pages < UINT16_MAX) {
        entry->pages++;
    }

    if (!ctx->visitor_new) {
        entry->fresh = 0;

    } else if (ctx->cookie_sent && entry->fresh < UINT16_MAX) {
        entry->fresh++;
    }

    if (entry->fresh >= NGX_HTTP_CRM_FRESH_MAX) {
        return "behaviour:no_cookie";
    }

    if (entry->pages >= NGX_HTTP_CRM_ASSETS_PAGES
        && ngx_http_crm_behave_judge(clients, entry))
    {
        return "behaviour:no_assets";
    }

    return NULL;
}


/* For a request that brought no cookie: what was found before. */
const char *
ngx_http_crm_behave_known(ngx_http_request_t *r, ngx_http_crm_ctx_t *ctx,
    ngx_http_crm_main_conf_t *cmcf)
{
    ngx_http_crm_clients_t *clients;

    clients = ngx_http_crm_behave_clients(cmcf);

    if (clients == NULL || !ctx->visitor_new) {
        return NULL;
    }

    return ngx_http_crm_behave_entry(
               clients, ngx_http_crm_enrich_client(r), NGX_HTTP_CRM_CLIENT_S)
                       ->fresh
                   >= NGX_HTTP_CRM_FRESH_MAX
               ? "behaviour:no_cookie"
               : NULL;
}
