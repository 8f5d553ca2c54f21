/*
 * ngx_http_crm_buffer.c - bytes that wait to be sent or understood.
 *
 * One piece of memory that is filled at its end and used up from its start.
 * It grows by doubling up to the caller's bound, and after a burst goes back
 * to the system, so that an hour without Redis is not paid for all day.  Plain
 * malloc: nginx's pools cannot give memory of this kind back.
 */

#include "ngx_http_crm_module.h"


#define NGX_HTTP_CRM_BUFFER_MIN  65536
#define NGX_HTTP_CRM_BUFFER_KEEP (512 * 1024) /* kept when all was used */


ngx_int_t
ngx_http_crm_buffer_room(ngx_http_crm_buffer_t *b, size_t n, size_t max)
{
    size_t  used, size;
    u_char *data;

    if (b->size - b->end >= n) {
        return NGX_OK;
    }

    used = b->end - b->start;

    if (used + n > max) {
        return NGX_DECLINED;
    }

    size = ngx_max(b->size, NGX_HTTP_CRM_BUFFER_MIN);

    while (size < used + n) {
        size *= 2;
    }

    data = b->data;

    if (size > b->size) {
        data = malloc(size);
        if (data == NULL) {
            return NGX_DECLINED;
        }
    }

    if (used > 0) {
        ngx_memmove(data, b->data + b->start, used);
    }

    if (data != b->data) {
        free(b->data);
        b->data = data;
        b->size = size;
    }

    b->start = 0;
    b->end = used;

    return NGX_OK;
}


void
ngx_http_crm_buffer_reset(ngx_http_crm_buffer_t *b)
{
    b->start = 0;
    b->end = 0;

    if (b->size > NGX_HTTP_CRM_BUFFER_KEEP) {
        free(b->data);
        b->data = NULL;
        b->size = 0;
    }
}


void
ngx_http_crm_buffer_free(ngx_http_crm_buffer_t *b)
{
    free(b->data);
    ngx_memzero(b, sizeof(ngx_http_crm_buffer_t));
}
