/*
 * copy.c - rows in PostgreSQL's binary COPY format.
 *
 * Binary spares both sides the escaping and the server the reading of times
 * and UUIDs; jsonb goes as its text behind a version byte.  Rows are built in
 * one growing buffer that is kept until the transaction ends, because a COPY
 * that fails on one row is sent again in parts.
 *
 * When memory runs out `failed` is set and everything else becomes a no-op:
 * callers look once per row, not at every value.
 */

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


/* 2000-01-01, where PostgreSQL's clock begins, in us since 1970. */
#define COPY_EPOCH_US 946684800000000LL

/* Base-10000 digits of a number: 7 before, 6 after the point at most. */
#define COPY_NUMERIC_DIGITS 16

static const char copy_head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";


static char *
copy_room(mining_copy_t *copy, size_t len)
{
    char  *data;
    size_t size;

    if (copy->failed) {
        return NULL;
    }

    if (copy->size - copy->len < len) {
        size = copy->size == 0 ? 65536 : copy->size;
        while (size - copy->len < len) {
            size *= 2;
        }

        data = realloc(copy->data, size);
        if (data == NULL) {
            copy->failed = 1;
            return NULL;
        }

        copy->data = data;
        copy->size = size;
    }

    data = copy->data + copy->len;
    copy->len += len;

    return data;
}


void
mining_copy_free(mining_copy_t *copy)
{
    free(copy->data);
    memset(copy, 0, sizeof(*copy));
}


void
mining_copy_begin(mining_copy_t *copy)
{
    copy->len = 0;
    copy->failed = 0;
    mining_copy_append(copy, copy_head, sizeof(copy_head));
}


void
mining_copy_append(mining_copy_t *copy, const char *data, size_t len)
{
    char *p;

    p = copy_room(copy, len);
    if (p != NULL && len != 0) {
        memcpy(p, data, len);
    }
}


static void
copy_int2(mining_copy_t *copy, uint16_t value)
{
    value = htons(value);
    mining_copy_append(copy, (const char *) &value, sizeof(value));
}


static void
copy_value(mining_copy_t *copy, const void *data, size_t len)
{
    char    *p;
    uint32_t size;

    p = copy_room(copy, sizeof(size) + len);
    if (p != NULL) {
        size = htonl((uint32_t) len);
        memcpy(p, &size, sizeof(size));
        if (len != 0) {
            memcpy(p + sizeof(size), data, len);
        }
    }
}


void
mining_copy_finish(mining_copy_t *copy)
{
    copy_int2(copy, 0xffff);
}


void
mining_copy_row(mining_copy_t *copy, unsigned columns)
{
    copy_int2(copy, (uint16_t) columns);
}


void
mining_copy_null(mining_copy_t *copy)
{
    static const uint32_t none = 0xffffffff;

    mining_copy_append(copy, (const char *) &none, sizeof(none));
}


void
mining_copy_text(mining_copy_t *copy, const char *data, size_t len)
{
    copy_value(copy, data, len);
}


void
mining_copy_int4(mining_copy_t *copy, int32_t value)
{
    uint32_t net;

    net = htonl((uint32_t) value);
    copy_value(copy, &net, sizeof(net));
}


void
mining_copy_int8(mining_copy_t *copy, int64_t value)
{
    uint64_t net;

    net = htobe64((uint64_t) value);
    copy_value(copy, &net, sizeof(net));
}


void
mining_copy_time(mining_copy_t *copy, int64_t us)
{
    mining_copy_int8(copy, us - COPY_EPOCH_US);
}


void
mining_copy_uuid(mining_copy_t *copy, const uint8_t uuid[16])
{
    copy_value(copy, uuid, 16);
}


void
mining_copy_json(mining_copy_t *copy, const char *data, size_t len)
{
    size_t mark;

    mark = mining_copy_open(copy);
    mining_copy_append(copy, "\001", 1);
    mining_copy_append(copy, data, len);
    mining_copy_close(copy, mark);
}


size_t
mining_copy_open(mining_copy_t *copy)
{
    (void) copy_room(copy, sizeof(uint32_t));

    return copy->len;
}


void
mining_copy_close(mining_copy_t *copy, size_t mark)
{
    uint32_t size;

    if (!copy->failed) {
        size = htonl((uint32_t) (copy->len - mark));
        memcpy(copy->data + mark - sizeof(size), &size, sizeof(size));
    }
}


/*
 * numeric: int16 digits, weight, sign, display scale, then the digits, each a
 * power of 10000, aligned at the point.
 */
void
mining_copy_numeric(mining_copy_t *copy, const char *data, size_t len)
{
    size_t   i, whole, scale, pad, ndigits, mark;
    uint16_t digits[COPY_NUMERIC_DIGITS];

    memset(digits, 0, sizeof(digits));

    for (whole = 0; whole < len && data[whole] != '.'; whole++) {
        /* void */
    }
    scale = whole < len ? len - whole - 1 : 0;
    pad = (4 - whole % 4) % 4;
    ndigits = (pad + whole + scale + 3) / 4;

    if (ndigits > COPY_NUMERIC_DIGITS) {
        mining_copy_null(copy);
        return;
    }

    for (i = 0; i < ndigits * 4; i++) {
        unsigned digit = 0;
        size_t   at = i - pad;

        if (i >= pad) {
            at += at >= whole ? 1 : 0;
            digit = at < len ? (unsigned) (data[at] - '0') : 0;
        }
        digits[i / 4] = (uint16_t) (digits[i / 4] * 10 + digit);
    }

    mark = mining_copy_open(copy);
    copy_int2(copy, (uint16_t) ndigits);
    copy_int2(copy, (uint16_t) ((pad + whole) / 4 - 1));
    copy_int2(copy, 0);
    copy_int2(copy, (uint16_t) scale);
    for (i = 0; i < ndigits; i++) {
        copy_int2(copy, digits[i]);
    }
    mining_copy_close(copy, mark);
}
