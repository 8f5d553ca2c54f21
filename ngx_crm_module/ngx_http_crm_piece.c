/*
 * ngx_http_crm_piece.c - output of the slot filter: buffers that go round.
 *
 * A plain piece points to bytes of somebody else, of the page or of a content;
 * a small or a large one has room of its own, for what the scanner held back or
 * for a default.
 * Pieces are linked into a chain for the next filter and come back, in order,
 * when their bytes have been sent.  The last piece made of an input buffer has
 * it as its shadow and gives it back to its owner.
 *
 * The number of pieces with room is bounded, and the filter stops reading when
 * they are all under way.  Plain ones are bounded by the input they point to.
 */

#include "ngx_http_crm_module.h"


static const struct {
    size_t     bytes;
    ngx_uint_t max; /* on their way at the same time; 0: any number */
} ngx_http_crm_piece_kinds[NGX_HTTP_CRM_PIECE_KINDS] = {
    {0, 0},
    {PERSONALIZE_HELD_MAX, 32},
    {PERSONALIZE_MARKER_MAX + NGX_HTTP_CRM_DEFAULT_MAX, 2},
};


ngx_http_crm_piece_t *
ngx_http_crm_piece_get(ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces,
    ngx_http_crm_piece_e kind)
{
    size_t                bytes;
    ngx_http_crm_piece_t *piece;

    piece = pieces->free[kind];

    if (piece != NULL) {
        pieces->free[kind] = piece->next;

    } else {
        piece = ngx_palloc(r->pool, sizeof(ngx_http_crm_piece_t));
        if (piece == NULL) {
            return NULL;
        }

        bytes = ngx_http_crm_piece_kinds[kind].bytes;
        piece->kind = kind;
        piece->data = NULL;

        if (bytes > 0) {
            piece->data = ngx_palloc(r->pool, bytes);
            if (piece->data == NULL) {
                return NULL;
            }
        }
    }

    piece->sent = NULL;
    ngx_memzero(&piece->buf, sizeof(ngx_buf_t));
    piece->buf.tag = (ngx_buf_tag_t) &ngx_http_crm_body_module;
    piece->buf.pos = piece->data;
    piece->buf.last = piece->data;
    piece->buf.memory = 1;

    return piece;
}


ngx_int_t
ngx_http_crm_piece_link(
    ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces, ngx_buf_t *buf)
{
    ngx_chain_t *cl;

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = buf;
    cl->next = NULL;
    *pieces->last = cl;
    pieces->last = &cl->next;

    return NGX_OK;
}


ngx_int_t
ngx_http_crm_piece_emit(ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces,
    ngx_http_crm_piece_t *piece)
{
    pieces->nbusy[piece->kind]++;
    pieces->carrier = piece;
    pieces->unflushed = 1;

    return ngx_http_crm_piece_link(r, pieces, &piece->buf);
}


ngx_uint_t
ngx_http_crm_piece_room(const ngx_http_crm_pieces_t *pieces)
{
    return pieces->nbusy[NGX_HTTP_CRM_PIECE_SMALL]
               < ngx_http_crm_piece_kinds[NGX_HTTP_CRM_PIECE_SMALL].max
           && pieces->nbusy[NGX_HTTP_CRM_PIECE_LARGE]
                  < ngx_http_crm_piece_kinds[NGX_HTTP_CRM_PIECE_LARGE].max;
}


void
ngx_http_crm_piece_sent(ngx_http_request_t *r, ngx_http_crm_pieces_t *pieces)
{
    ngx_buf_t            *b;
    ngx_chain_t          *cl, **ll;
    ngx_http_crm_piece_t *piece;

    for (ll = &pieces->busy; *ll != NULL; ll = &(*ll)->next) { /* void */
    }

    *ll = pieces->out;
    pieces->out = NULL;
    pieces->last = &pieces->out;

    for (cl = pieces->busy; cl != NULL; cl = pieces->busy) {
        b = cl->buf;

        if (ngx_buf_size(b) != 0) {
            return;
        }

#if (NGX_HAVE_WRITE_ZEROCOPY)
        if (b->zerocopy_busy) {
            return;
        }
#endif

        pieces->busy = cl->next;
        ngx_free_chain(r->pool, cl);

        if (b->tag != (ngx_buf_tag_t) &ngx_http_crm_body_module) {
            continue;
        }

        piece = (ngx_http_crm_piece_t *) b;
        pieces->nbusy[piece->kind]--;

        if (piece->sent != NULL) {
            (*piece->sent)++;
        }

        if (b->shadow != NULL) {
            b->shadow->pos = b->shadow->last;
            b->shadow->file_pos = b->shadow->file_last;
        }

        /* a flag without bytes may still be waiting further down */
        if (b->memory) {
            piece->next = pieces->free[piece->kind];
            pieces->free[piece->kind] = piece;
        }
    }
}
