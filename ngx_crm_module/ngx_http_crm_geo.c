/*
 * ngx_http_crm_geo.c - where an address is, from MaxMind DB files.
 *
 * Any number of files: a country or city file, and one of networks.  Both
 * layouts in use are read, MaxMind's nested one (country.iso_code) and the
 * flat one (country_code).  What an earlier file told, a later one leaves.
 *
 * libmaxminddb maps a file and checks each offset of it, so a damaged file
 * gives errors, never a crash; but a file that somebody truncates in place
 * takes its pages away.  Therefore the size is asked again before each
 * look-up, which happens once per session, and the file is given up when it
 * has shrunk.  New versions should come by rename, as geoipupdate does it.
 */

#include "ngx_http_crm_module.h"

#include <maxminddb.h>


/* the largest one known, enterprise data of all addresses, has half of it */
#define NGX_HTTP_CRM_GEO_BYTES_MAX ((off_t) 2 << 30)
#define NGX_HTTP_CRM_GEO_FILES_MAX 8

typedef enum {
    NGX_HTTP_CRM_GEO_COUNTRY = 0x01,
    NGX_HTTP_CRM_GEO_CITY = 0x02, /* and country */
    NGX_HTTP_CRM_GEO_ASN = 0x04
} ngx_http_crm_geo_e;

struct ngx_http_crm_geo_s {
    MMDB_s              mmdb;
    int                 fd;    /* of the mapped file, to see it shrink */
    ngx_uint_t          asked; /* of ngx_http_crm_geo_e; 0: by its type */
    ngx_uint_t          gives; /* what is read from it */
    unsigned            open : 1;
    ngx_http_crm_geo_t *next;
};


static void
ngx_http_crm_geo_close(void *data)
{
    ngx_http_crm_geo_t *geo = data;

    if (geo->open) {
        MMDB_close(&geo->mmdb);
        (void) close(geo->fd);
        geo->open = 0;
    }
}


/* Addresses of every corner: a search tree that is damaged says so. */
static const char *
ngx_http_crm_geo_try(MMDB_s *mmdb)
{
    int                  gai, error;
    ngx_uint_t           i;
    MMDB_lookup_result_s found;

    static const char *const addresses[] = {"0.0.0.1", "1.1.1.1", "8.8.8.8",
        "81.2.69.142", "127.0.0.1", "192.0.2.1", "223.255.255.255", "::1",
        "2001:218::1", "2001:4860:4860::8888", "2a00::1"};

    for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        error = MMDB_SUCCESS;
        found = MMDB_lookup_string(mmdb, addresses[i], &gai, &error);

        if (error == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR) {
            continue;
        }

        if (gai != 0 || error != MMDB_SUCCESS) {
            return error != MMDB_SUCCESS ? MMDB_strerror(error)
                                         : "an address cannot be looked up";
        }

        if (found.found_entry) {
            MMDB_entry_data_list_s *list = NULL;

            error = MMDB_get_entry_data_list(&found.entry, &list);
            MMDB_free_entry_data_list(list);

            if (error != MMDB_SUCCESS) {
                return MMDB_strerror(error);
            }
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_crm_geo_gives(MMDB_s *mmdb)
{
    const char *type;

    type = mmdb->metadata.database_type;

    if (type != NULL && strcasestr(type, "asn") != NULL) {
        return NGX_HTTP_CRM_GEO_ASN;
    }

    if (type != NULL && strcasestr(type, "city") != NULL) {
        return NGX_HTTP_CRM_GEO_CITY;
    }

    return NGX_HTTP_CRM_GEO_COUNTRY;
}


static ngx_int_t
ngx_http_crm_geo_load(ngx_http_crm_watch_t *watch, void *data, u_char *fault)
{
    int                 error;
    struct stat         sb;
    const char         *wrong;
    ngx_http_crm_geo_t *geo = data;
    ngx_http_crm_geo_t  fresh;

    ngx_memzero(&fresh, sizeof(ngx_http_crm_geo_t));
    wrong = NULL;

    fresh.fd = open((char *) watch->path.data, O_RDONLY | O_CLOEXEC);
    if (fresh.fd == -1 || fstat(fresh.fd, &sb) == -1) {
        wrong = "cannot be opened";

    } else if (sb.st_size == 0 || sb.st_size > NGX_HTTP_CRM_GEO_BYTES_MAX) {
        wrong = "is empty or larger than 2 GB";

    } else {
        error =
            MMDB_open((char *) watch->path.data, MMDB_MODE_MMAP, &fresh.mmdb);

        if (error != MMDB_SUCCESS) {
            wrong = MMDB_strerror(error);

        } else if (fresh.mmdb.file_size != sb.st_size) {
            wrong = "changes while it is read";
            MMDB_close(&fresh.mmdb);

        } else {
            wrong = ngx_http_crm_geo_try(&fresh.mmdb);
            if (wrong != NULL) {
                MMDB_close(&fresh.mmdb);
            }
        }
    }

    if (wrong != NULL) {
        (void) ngx_snprintf(fault, NGX_HTTP_CRM_FAULT_BYTES,
            "is no usable MaxMind DB file: %s%Z", wrong);
        if (fresh.fd != -1) {
            (void) close(fresh.fd);
        }
        return NGX_ERROR;
    }

    ngx_http_crm_geo_close(geo);
    geo->mmdb = fresh.mmdb;
    geo->fd = fresh.fd;
    geo->open = 1;
    geo->gives =
        geo->asked != 0 ? geo->asked : ngx_http_crm_geo_gives(&geo->mmdb);

    return NGX_OK;
}


char *
ngx_http_crm_geoip_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_crm_main_conf_t *cmcf = conf;

    ngx_str_t          *value;
    ngx_uint_t          n;
    ngx_pool_cleanup_t *cln;
    ngx_http_crm_geo_t *geo, **link;

    (void) cmd;
    value = cf->args->elts;

    for (n = 0, link = &cmcf->geo; *link != NULL; link = &(*link)->next) {
        n++;
    }

    if (n == NGX_HTTP_CRM_GEO_FILES_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
            "too many \"crm_geoip\" for \"%V\": use at most %d files",
            &value[1], NGX_HTTP_CRM_GEO_FILES_MAX);
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_crm_geo_t));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    geo = cln->data;
    ngx_memzero(geo, sizeof(ngx_http_crm_geo_t));
    cln->handler = ngx_http_crm_geo_close;

    if (cf->args->nelts == 3) {
        if (ngx_strcmp(value[2].data, "country") == 0) {
            geo->asked = NGX_HTTP_CRM_GEO_COUNTRY;
        } else if (ngx_strcmp(value[2].data, "city") == 0) {
            geo->asked = NGX_HTTP_CRM_GEO_CITY;
        } else if (ngx_strcmp(value[2].data, "asn") == 0) {
            geo->asked = NGX_HTTP_CRM_GEO_ASN;
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                "invalid value \"%V\" in \"crm_geoip\": use country, city or "
                "asn, or leave it out",
                &value[2]);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_crm_watch_add(
            cf, &value[1], ngx_http_crm_geo_load, geo, "crm_geoip")
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    *link = geo;

    return NGX_CONF_OK;
}


/* ---- look-ups ----------------------------------------------------------- */

/* Leaves *text as it is when there is no such text. */
static void
ngx_http_crm_geo_text(
    MMDB_entry_s *entry, tracker_str_t *text, const char *const *path)
{
    MMDB_entry_data_s data;

    if (text->len == 0 && MMDB_aget_value(entry, &data, path) == MMDB_SUCCESS
        && data.has_data && data.type == MMDB_DATA_TYPE_UTF8_STRING)
    {
        text->data = data.utf8_string;
        text->len = data.data_size;
    }
}


static void
ngx_http_crm_geo_read(
    ngx_http_crm_geo_t *geo, MMDB_entry_s *entry, tracker_place_t *place)
{
    MMDB_entry_data_s data;

    static const char *const country[] = {"country", "iso_code", NULL};
    static const char *const country_flat[] = {"country_code", NULL};
    static const char *const region[] = {"subdivisions", "0", "iso_code", NULL};
    static const char *const region_flat[] = {"state1", NULL};
    static const char *const city[] = {"city", "names", "en", NULL};
    static const char *const city_flat[] = {"city", NULL};
    static const char *const asn[] = {"autonomous_system_number", NULL};
    static const char *const as_name[] = {
        "autonomous_system_organization", NULL};

    if (geo->gives & NGX_HTTP_CRM_GEO_ASN) {
        if (place->asn == 0
            && MMDB_aget_value(entry, &data, asn) == MMDB_SUCCESS
            && data.has_data && data.type == MMDB_DATA_TYPE_UINT32)
        {
            place->asn = data.uint32;
        }

        ngx_http_crm_geo_text(entry, &place->as_name, as_name);
        return;
    }

    ngx_http_crm_geo_text(entry, &place->country, country);
    ngx_http_crm_geo_text(entry, &place->country, country_flat);

    if (geo->gives & NGX_HTTP_CRM_GEO_CITY) {
        ngx_http_crm_geo_text(entry, &place->region, region);
        ngx_http_crm_geo_text(entry, &place->region, region_flat);
        ngx_http_crm_geo_text(entry, &place->city, city);
        ngx_http_crm_geo_text(entry, &place->city, city_flat);
    }
}


/* 0 if the file has become shorter than what is mapped of it. */
static ngx_uint_t
ngx_http_crm_geo_whole(ngx_http_crm_main_conf_t *cmcf, ngx_http_crm_geo_t *geo)
{
    struct stat sb;

    if (fstat(geo->fd, &sb) == 0 && sb.st_size >= geo->mmdb.file_size) {
        return 1;
    }

    ngx_log_error(NGX_LOG_ERR, cmcf->log, 0,
        "crm gives up \"%s\": it was cut in place, replace it by rename",
        geo->mmdb.filename);
    ngx_http_crm_count(cmcf, NGX_HTTP_CRM_FILES_REFUSED);
    ngx_http_crm_geo_close(geo);

    return 0;
}


void
ngx_http_crm_geo_find(
    ngx_http_crm_main_conf_t *cmcf, struct sockaddr *sa, tracker_place_t *place)
{
    int                  error;
    struct sockaddr_in   sin;
    struct sockaddr_in6 *sin6;
    ngx_http_crm_geo_t  *geo;
    MMDB_lookup_result_s found;

    ngx_memzero(place, sizeof(tracker_place_t));

    if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) {
        return;
    }

    sin6 = (struct sockaddr_in6 *) sa;

    if (sa->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
        ngx_memzero(&sin, sizeof(struct sockaddr_in));
        sin.sin_family = AF_INET;
        ngx_memcpy(&sin.sin_addr, &sin6->sin6_addr.s6_addr[12], 4);
        sa = (struct sockaddr *) &sin;
    }

    for (geo = cmcf->geo; geo != NULL; geo = geo->next) {

        if (!geo->open || !ngx_http_crm_geo_whole(cmcf, geo)) {
            continue;
        }

        found = MMDB_lookup_sockaddr(&geo->mmdb, sa, &error);

        if (error == MMDB_SUCCESS) {
            if (found.found_entry) {
                ngx_http_crm_geo_read(geo, &found.entry, place);
            }

        } else if (error != MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR) {
            ngx_http_crm_count(cmcf, NGX_HTTP_CRM_GEOIP_ERRORS);
        }
    }
}
