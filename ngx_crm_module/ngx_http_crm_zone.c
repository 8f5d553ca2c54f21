/*
 * ngx_http_crm_zone.c - keeps visitor state in shared memory for all workers.
 *
 * One cell of 2.5 KB per visitor: the running session (tracker_live_t), what
 * does not change within it (tracker_enrich_t) and, in the rest of the cell,
 * the packed profile.  nginx's slab fragments under mixed sizes (after freeing
 * half of a full zone at random, not one larger object fits), so the cells are
 * one allocation, made once, and recycled by age: a full zone gives the cell of
 * the visitor not seen for longest to the new one.
 *
 *     zone := head, buckets (index of first cell, 0: none), cells
 *
 * Cells are found by hash chain and aged in a doubly linked list; both link by
 * index, from 1, never by pointer, because each process may map the zone
 * elsewhere.  The mutex is the slab pool's: nginx's master unlocks it when a
 * worker dies inside.  Whatever that worker left half done is told by `busy`:
 * who then takes the lock empties the zone, which costs look-ups, not data.
 *
 * Freshness of a profile: FRESH within a minute of its answer; then, or after a
 * NOTIFY, STALE, which one caller per second is told so that it refreshes
 * behind the page while all others use what is there.
 */

#include "ngx_http_crm_zone.h"


#define NGX_HTTP_CRM_FRESH_MS    60000
#define NGX_HTTP_CRM_REFRESH_MS  1000 /* between two told STALE */
#define NGX_HTTP_CRM_IDENTIFY_MS 2000 /* answers of before may still come */
#define NGX_HTTP_CRM_AGE_MS      1000 /* a cell moves up no more often */


static void
ngx_http_crm_zone_unlock(ngx_http_crm_zone_t *zone)
{
    ngx_memory_barrier();
    zone->head->busy = 0;
    ngx_shmtx_unlock(&zone->shpool->mutex);
}


static void
ngx_http_crm_zone_lock(ngx_http_crm_zone_t *zone)
{
    ngx_http_crm_zone_head_t *head;

    ngx_shmtx_lock(&zone->shpool->mutex);
    head = zone->head;

    if (head->busy) {
        head->used = 0;
        head->newest = 0;
        head->oldest = 0;
        ngx_memzero(zone->buckets, head->nbuckets * sizeof(uint32_t));
    }

    head->busy = 1;
    ngx_memory_barrier();
}


static ngx_inline ngx_http_crm_cell_t *
ngx_http_crm_cell(ngx_http_crm_zone_t *zone, uint32_t index)
{
    return (ngx_http_crm_cell_t *) (zone->cells
                                    + (size_t) (index - 1)
                                          * NGX_HTTP_CRM_CELL_BYTES);
}


static uint64_t
ngx_http_crm_zone_now_ms(void)
{
    ngx_time_t *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


static ngx_inline uint32_t
ngx_http_crm_zone_site(ngx_http_crm_site_t *site)
{
    return site->hash;
}


/* The last bytes of a UUIDv7 are random, and signed: nobody chooses them. */
static uint32_t *
ngx_http_crm_zone_bucket(
    ngx_http_crm_zone_t *zone, const uint8_t *vid, uint32_t site)
{
    uint32_t random;

    ngx_memcpy(&random, &vid[NGX_HTTP_CRM_VID_RANDOM], sizeof(random));

    return &zone->buckets[(random ^ site) & (zone->head->nbuckets - 1)];
}


static uint32_t
ngx_http_crm_zone_find(
    ngx_http_crm_zone_t *zone, const uint8_t *vid, uint32_t site)
{
    uint32_t             index;
    ngx_http_crm_cell_t *cell;

    index = *ngx_http_crm_zone_bucket(zone, vid, site);

    while (index != 0) {
        cell = ngx_http_crm_cell(zone, index);

        if (cell->site == site
            && ngx_memcmp(cell->vid, vid, TRACKER_UUID_SIZE) == 0) {
            return index;
        }

        index = cell->chain;
    }

    return 0;
}


static void
ngx_http_crm_zone_unlink(ngx_http_crm_zone_t *zone, uint32_t index)
{
    ngx_http_crm_cell_t      *cell;
    ngx_http_crm_zone_head_t *head;

    head = zone->head;
    cell = ngx_http_crm_cell(zone, index);

    if (cell->newer != 0) {
        ngx_http_crm_cell(zone, cell->newer)->older = cell->older;
    } else {
        head->newest = cell->older;
    }

    if (cell->older != 0) {
        ngx_http_crm_cell(zone, cell->older)->newer = cell->newer;
    } else {
        head->oldest = cell->newer;
    }
}


static void
ngx_http_crm_zone_link(ngx_http_crm_zone_t *zone, uint32_t index)
{
    ngx_http_crm_cell_t      *cell;
    ngx_http_crm_zone_head_t *head;

    head = zone->head;
    cell = ngx_http_crm_cell(zone, index);
    cell->newer = 0;
    cell->older = head->newest;

    if (head->newest != 0) {
        ngx_http_crm_cell(zone, head->newest)->newer = index;
    } else {
        head->oldest = index;
    }

    head->newest = index;
}


/* Takes a cell away from its visitor; it is in no list then. */
static void
ngx_http_crm_zone_take(ngx_http_crm_zone_t *zone, uint32_t index)
{
    uint32_t            *link;
    ngx_http_crm_cell_t *cell;

    cell = ngx_http_crm_cell(zone, index);
    link = ngx_http_crm_zone_bucket(zone, cell->vid, cell->site);

    while (*link != index) {
        link = &ngx_http_crm_cell(zone, *link)->chain;
    }

    *link = cell->chain;
    ngx_http_crm_zone_unlink(zone, index);
}


static uint32_t
ngx_http_crm_zone_evict(ngx_http_crm_zone_t *zone)
{
    uint32_t index;

    index = zone->head->oldest;
    ngx_http_crm_zone_take(zone, index);

    return index;
}


/*
 * The visitor's cell, made if there is none, and now among the newest.  To move
 * it up touches three more cells, which no cache holds: once a second will do.
 */
static ngx_http_crm_cell_t *
ngx_http_crm_zone_obtain(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_zone_t *zone, const uint8_t *vid, uint32_t site)
{
    uint32_t             index, *bucket;
    uint64_t             now;
    ngx_http_crm_cell_t *cell;

    now = ngx_http_crm_zone_now_ms();
    index = ngx_http_crm_zone_find(zone, vid, site);

    if (index != 0) {
        cell = ngx_http_crm_cell(zone, index);

        /* also when the clock was set back */
        if (now - cell->aged_ms >= NGX_HTTP_CRM_AGE_MS) {
            cell->aged_ms = now;
            ngx_http_crm_zone_unlink(zone, index);
            ngx_http_crm_zone_link(zone, index);
        }

        return cell;
    }

    if (zone->head->used < zone->head->ncells) {
        index = ++zone->head->used;
    } else {
        index = ngx_http_crm_zone_evict(zone);
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_ZONE_EVICTED);
    }

    cell = ngx_http_crm_cell(zone, index);
    ngx_memzero(cell, sizeof(ngx_http_crm_cell_t));
    ngx_memcpy(cell->vid, vid, TRACKER_UUID_SIZE);
    cell->site = site;
    cell->aged_ms = now;

    bucket = ngx_http_crm_zone_bucket(zone, vid, site);
    cell->chain = *bucket;
    *bucket = index;
    ngx_http_crm_zone_link(zone, index);

    return cell;
}


static ngx_http_crm_zone_e
ngx_http_crm_zone_freshness(
    ngx_http_crm_zone_t *zone, ngx_http_crm_cell_t *cell, uint64_t now)
{
    uint64_t stale;

    if (!cell->answered) {
        return NGX_HTTP_CRM_ZONE_MISSING;
    }

    stale = zone->head->stale_ms[cell->site % NGX_HTTP_CRM_ZONE_SITES];

    if (cell->fetched_ms > stale
        && cell->fetched_ms + NGX_HTTP_CRM_FRESH_MS > now) {
        return NGX_HTTP_CRM_ZONE_FRESH;
    }

    /* also when the clock was set back */
    if (cell->asked_ms + NGX_HTTP_CRM_REFRESH_MS > now && cell->asked_ms <= now)
    {
        return NGX_HTTP_CRM_ZONE_FRESH;
    }

    cell->asked_ms = now;

    return NGX_HTTP_CRM_ZONE_STALE;
}


ngx_http_crm_zone_e
ngx_http_crm_zone_get(ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_site_t *site,
    const uint8_t vid[TRACKER_UUID_SIZE], tracker_live_t *live,
    ngx_pool_t *pool, ngx_str_t *profile)
{
    char                 blob[NGX_HTTP_CRM_CELL_BYTES];
    size_t               len;
    uint32_t             index, hash;
    ngx_http_crm_zone_e  state;
    ngx_http_crm_cell_t *cell;
    ngx_http_crm_zone_t *zone;

    ngx_str_null(profile);

    if (live != NULL) {
        ngx_memzero(live, sizeof(tracker_live_t));
    }

    if (cmcf->zone == NULL) {
        return NGX_HTTP_CRM_ZONE_MISSING;
    }

    zone = cmcf->zone->data;
    hash = ngx_http_crm_zone_site(site);
    state = NGX_HTTP_CRM_ZONE_MISSING;
    len = 0;

    ngx_http_crm_zone_lock(zone);
    index = ngx_http_crm_zone_find(zone, vid, hash);

    if (index != 0) {
        cell = ngx_http_crm_cell(zone, index);
        state =
            ngx_http_crm_zone_freshness(zone, cell, ngx_http_crm_zone_now_ms());

        if (live != NULL && cell->lively) {
            *live = cell->live;
        }

        len = cell->profile_len;
        ngx_memcpy(blob, cell + 1, len);
    }

    ngx_http_crm_zone_unlock(zone);

    ngx_http_crm_count(cmcf, state == NGX_HTTP_CRM_ZONE_MISSING
                                 ? NGX_HTTP_CRM_ZONE_MISSES
                                 : NGX_HTTP_CRM_ZONE_HITS);

    if (len > 0) {
        profile->data = ngx_pnalloc(pool, len);

        if (profile->data == NULL) {
            return NGX_HTTP_CRM_ZONE_MISSING;
        }

        ngx_memcpy(profile->data, blob, len);
        profile->len = len;
    }

    return state;
}


ngx_int_t
ngx_http_crm_zone_live(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_live_t *live)
{
    uint32_t             index;
    ngx_int_t            rc;
    ngx_http_crm_cell_t *cell;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL) {
        return NGX_DECLINED;
    }

    zone = cmcf->zone->data;
    rc = NGX_DECLINED;

    ngx_http_crm_zone_lock(zone);
    index = ngx_http_crm_zone_find(zone, vid, ngx_http_crm_zone_site(site));

    if (index != 0) {
        cell = ngx_http_crm_cell(zone, index);

        if (cell->lively) {
            *live = cell->live;
            rc = NGX_OK;
        }
    }

    ngx_http_crm_zone_unlock(zone);

    return rc;
}


static void
ngx_http_crm_zone_enrich_copy(
    tracker_enrich_t *to, const tracker_enrich_t *from)
{
    ngx_memcpy(to, from, offsetof(tracker_enrich_t, text) + from->len);
}


/* What is known is kept; what is not is taken from what is kept. */
static void
ngx_http_crm_zone_enrich_sync(
    ngx_http_crm_cell_t *cell, tracker_enrich_t *enrich)
{
    unsigned same;

    same = cell->enrich.known && cell->enrich.key == enrich->key;

    if (!enrich->known) {
        if (same) {
            ngx_http_crm_zone_enrich_copy(enrich, &cell->enrich);
        }

    } else if (!same || cell->enrich.bot != enrich->bot) {
        ngx_http_crm_zone_enrich_copy(&cell->enrich, enrich);
    }
}


size_t
ngx_http_crm_zone_add(ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_site_t *site,
    const uint8_t vid[TRACKER_UUID_SIZE], tracker_event_t *event,
    uint32_t session_started_s, char uid[TRACKER_LIVE_UID_SIZE],
    tracker_enrich_t *enrich)
{
    size_t               len;
    ngx_http_crm_cell_t *cell;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL) {
        return 0;
    }

    zone = cmcf->zone->data;

    ngx_http_crm_zone_lock(zone);
    cell =
        ngx_http_crm_zone_obtain(cmcf, zone, vid, ngx_http_crm_zone_site(site));

    tracker_live_add(&cell->live, event, session_started_s);
    cell->lively = 1;

    if (enrich != NULL) {
        ngx_http_crm_zone_enrich_sync(cell, enrich);
    }

    len = cell->live.uid_len;

    if (len > 0) {
        ngx_memcpy(uid, cell->live.uid, TRACKER_LIVE_UID_SIZE);
    }

    ngx_http_crm_zone_unlock(zone);

    return len;
}


ngx_int_t
ngx_http_crm_zone_enrich(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    tracker_enrich_t *enrich)
{
    uint32_t             index;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL) {
        return NGX_DECLINED;
    }

    zone = cmcf->zone->data;

    ngx_http_crm_zone_lock(zone);
    index = ngx_http_crm_zone_find(zone, vid, ngx_http_crm_zone_site(site));

    if (index != 0) {
        ngx_http_crm_zone_enrich_sync(ngx_http_crm_cell(zone, index), enrich);
    }

    ngx_http_crm_zone_unlock(zone);

    return enrich->known ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_crm_zone_put(ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_site_t *site,
    const uint8_t vid[TRACKER_UUID_SIZE], const tracker_live_t *live,
    const ngx_str_t *profile)
{
    uint64_t             now;
    ngx_uint_t           large;
    ngx_http_crm_cell_t *cell;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL || (live == NULL && profile == NULL)) {
        return;
    }

    zone = cmcf->zone->data;
    now = ngx_http_crm_zone_now_ms();
    large = (profile != NULL && profile->len > NGX_HTTP_CRM_PROFILE_MAX);

    ngx_http_crm_zone_lock(zone);
    cell =
        ngx_http_crm_zone_obtain(cmcf, zone, vid, ngx_http_crm_zone_site(site));

    if (live != NULL) {
        if (cell->lively) {
            tracker_live_merge(&cell->live, live);
        } else {
            cell->live = *live;
            cell->lively = 1;
        }
    }

    if (profile != NULL) {
        cell->answered = 1;
        cell->profile_len = large ? 0 : (uint16_t) profile->len;
        ngx_memcpy(cell + 1, profile->data, cell->profile_len);

        /* the question may be older than the login: ask once more soon */
        cell->fetched_ms =
            cell->identify_ms + NGX_HTTP_CRM_IDENTIFY_MS > now ? 0 : now;
    }

    ngx_http_crm_zone_unlock(zone);

    if (large) {
        ngx_http_crm_count(cmcf, NGX_HTTP_CRM_PROFILES_LARGE);
    }
}


void
ngx_http_crm_zone_invalidate(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t *vid)
{
    uint32_t             index, hash;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL) {
        return;
    }

    zone = cmcf->zone->data;
    hash = ngx_http_crm_zone_site(site);

    ngx_http_crm_zone_lock(zone);

    if (vid == NULL) {
        zone->head->stale_ms[hash % NGX_HTTP_CRM_ZONE_SITES] =
            ngx_http_crm_zone_now_ms();

    } else {
        index = ngx_http_crm_zone_find(zone, vid, hash);

        if (index != 0) {
            ngx_http_crm_cell(zone, index)->fetched_ms = 0;
        }
    }

    ngx_http_crm_zone_unlock(zone);
}


/* The cell becomes one of nobody, and the first to be given away. */
void
ngx_http_crm_zone_forget(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE])
{
    uint32_t                  index, *bucket;
    ngx_http_crm_cell_t      *cell;
    ngx_http_crm_zone_t      *zone;
    ngx_http_crm_zone_head_t *head;

    if (cmcf->zone == NULL) {
        return;
    }

    zone = cmcf->zone->data;
    head = zone->head;

    ngx_http_crm_zone_lock(zone);

    index = ngx_http_crm_zone_find(zone, vid, ngx_http_crm_zone_site(site));

    if (index != 0) {
        ngx_http_crm_zone_take(zone, index);

        cell = ngx_http_crm_cell(zone, index);
        ngx_memzero(cell, NGX_HTTP_CRM_CELL_BYTES);

        bucket = ngx_http_crm_zone_bucket(zone, cell->vid, cell->site);
        cell->chain = *bucket;
        *bucket = index;

        cell->newer = head->oldest;

        if (head->oldest != 0) {
            ngx_http_crm_cell(zone, head->oldest)->older = index;
        } else {
            head->newest = index;
        }

        head->oldest = index;
    }

    ngx_http_crm_zone_unlock(zone);
}


void
ngx_http_crm_zone_identify(ngx_http_crm_main_conf_t *cmcf,
    ngx_http_crm_site_t *site, const uint8_t vid[TRACKER_UUID_SIZE],
    const ngx_str_t *uid)
{
    uint32_t             index;
    ngx_http_crm_cell_t *cell;
    ngx_http_crm_zone_t *zone;

    if (cmcf->zone == NULL || uid->len > TRACKER_LIVE_UID_SIZE) {
        return;
    }

    zone = cmcf->zone->data;

    ngx_http_crm_zone_lock(zone);
    index = ngx_http_crm_zone_find(zone, vid, ngx_http_crm_zone_site(site));

    if (index != 0) {
        cell = ngx_http_crm_cell(zone, index);

        if (cell->live.uid_len != uid->len
            || ngx_memcmp(cell->live.uid, uid->data, uid->len) != 0)
        {
            cell->live.uid_len = (uint8_t) uid->len;
            ngx_memcpy(cell->live.uid, uid->data, uid->len);
            cell->answered = 0;
            cell->profile_len = 0;
            cell->identify_ms = ngx_http_crm_zone_now_ms();
        }
    }

    ngx_http_crm_zone_unlock(zone);
}


void
ngx_http_crm_zone_stat(ngx_http_crm_main_conf_t *cmcf, ngx_uint_t *cells,
    ngx_uint_t *used, size_t *cell_bytes)
{
    ngx_http_crm_zone_t *zone;

    *cells = 0;
    *used = 0;
    *cell_bytes = NGX_HTTP_CRM_CELL_BYTES;

    if (cmcf->zone != NULL) {
        zone = cmcf->zone->data;
        *cells = zone->head->ncells;
        *used = zone->head->used;
    }
}
