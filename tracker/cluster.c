/*
 * cluster.c - which node of a Redis Cluster has a key, as the nodes tell it.
 *
 * A key belongs to one of 16384 slots: the CRC-16 (XMODEM) of the key, or of
 * what stands between its first "{" and the next "}" unless that is empty.
 * CLUSTER SLOTS answers with ranges of slots, each with its master first and
 * its replicas behind; an error MOVED or ASK names the node for one slot.
 *
 * What a node says is checked for shape and bounds and for nothing else: the
 * caller decides which addresses it is willing to talk to.
 */

#include "tracker.h"

#include <string.h>


#define CLUSTER_REPLY_MAX (1024 * 1024)
#define CLUSTER_NODE_MIN  2 /* address and port; newer ones say more */
#define CLUSTER_DEPTH     3 /* arrays passed over: node, metadata, spare */
#define CLUSTER_PORT_MAX  65535


/* CRC of all values of four bits, polynomial 0x1021. */
static const uint16_t cluster_nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063,
    0x4084, 0x50a5, 0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c,
    0xd1ad, 0xe1ce, 0xf1ef};


static uint16_t
cluster_crc16(const char *data, size_t len)
{
    size_t   i;
    uint8_t  byte;
    uint16_t crc;

    crc = 0;

    for (i = 0; i < len; i++) {
        byte = (uint8_t) data[i];
        crc = (uint16_t) (crc << 4) ^ cluster_nibble[(crc >> 12) ^ (byte >> 4)];
        crc =
            (uint16_t) (crc << 4) ^ cluster_nibble[(crc >> 12) ^ (byte & 0x0f)];
    }

    return crc;
}


unsigned
tracker_cluster_slot(tracker_str_t key)
{
    size_t      len;
    const char *open, *close;

    open = key.len > 0 ? memchr(key.data, '{', key.len) : NULL;

    if (open != NULL) {
        open++;
        len = key.len - (size_t) (open - key.data);
        close = len > 0 ? memchr(open, '}', len) : NULL;

        if (close != NULL && close != open) {
            key.data = open;
            key.len = (size_t) (close - open);
        }
    }

    return cluster_crc16(key.data, key.len) % TRACKER_CLUSTER_SLOTS;
}


/* Passes one whole value, whatever it is. */
static tracker_result_e
cluster_skip(tracker_str_t reply, size_t *pos)
{
    int64_t         left[CLUSTER_DEPTH + 1];
    unsigned        depth;
    tracker_reply_t value;

    depth = 0;
    left[0] = 1;

    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) {
                return TRACKER_OK;
            }
            depth--;
        }

        if (tracker_resp_next(reply, pos, CLUSTER_REPLY_MAX, &value)
            != TRACKER_OK) {
            return TRACKER_INVALID;
        }

        left[depth]--;

        if (value.type == '*') {
            if (depth == CLUSTER_DEPTH) {
                return TRACKER_INVALID;
            }
            left[++depth] = value.integer;
        }
    }
}


static tracker_result_e
cluster_number(tracker_str_t reply, size_t *pos, int64_t max, unsigned *number)
{
    tracker_reply_t value;

    if (tracker_resp_next(reply, pos, CLUSTER_REPLY_MAX, &value) != TRACKER_OK
        || value.type != ':' || value.integer < 0 || value.integer > max)
    {
        return TRACKER_INVALID;
    }

    *number = (unsigned) value.integer;

    return TRACKER_OK;
}


/* "[address, port, id, metadata]"; an address may be null: the one asked. */
static tracker_result_e
cluster_node(tracker_str_t reply, size_t *pos, tracker_cluster_range_t *range)
{
    int64_t         left;
    tracker_reply_t value;

    if (tracker_resp_next(reply, pos, CLUSTER_REPLY_MAX, &value) != TRACKER_OK
        || value.type != '*' || value.integer < CLUSTER_NODE_MIN)
    {
        return TRACKER_INVALID;
    }

    left = value.integer - CLUSTER_NODE_MIN;

    if (tracker_resp_next(reply, pos, CLUSTER_REPLY_MAX, &value) != TRACKER_OK
        || (value.type != '$' && value.type != 'N'))
    {
        return TRACKER_INVALID;
    }

    range->host = value.text;

    if (cluster_number(reply, pos, CLUSTER_PORT_MAX, &range->port)
        != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    for (; left > 0; left--) {
        if (cluster_skip(reply, pos) != TRACKER_OK) {
            return TRACKER_INVALID;
        }
    }

    return TRACKER_OK;
}


tracker_result_e
tracker_cluster_next(
    tracker_cluster_slots_t *slots, tracker_cluster_range_t *range)
{
    int64_t          left;
    tracker_reply_t  value;
    tracker_result_e rc;

    if (slots->pos == 0) {
        rc = tracker_resp_next(
            slots->reply, &slots->pos, CLUSTER_REPLY_MAX, &value);
        if (rc != TRACKER_OK || value.type != '*') {
            return TRACKER_INVALID;
        }
        slots->left = value.integer;
    }

    if (slots->left <= 0) {
        return TRACKER_DECLINED;
    }

    slots->left--;

    if (tracker_resp_next(slots->reply, &slots->pos, CLUSTER_REPLY_MAX, &value)
            != TRACKER_OK
        || value.type != '*' || value.integer < 3
        || cluster_number(slots->reply, &slots->pos, TRACKER_CLUSTER_SLOTS - 1,
               &range->first)
               != TRACKER_OK
        || cluster_number(slots->reply, &slots->pos, TRACKER_CLUSTER_SLOTS - 1,
               &range->last)
               != TRACKER_OK
        || range->first > range->last
        || cluster_node(slots->reply, &slots->pos, range) != TRACKER_OK)
    {
        return TRACKER_INVALID;
    }

    for (left = value.integer - 3; left > 0; left--) {
        if (cluster_skip(slots->reply, &slots->pos) != TRACKER_OK) {
            return TRACKER_INVALID;
        }
    }

    return TRACKER_OK;
}


/* A decimal number at *p, moved behind it; no digit or too large: INVALID. */
static tracker_result_e
cluster_decimal(const char **p, const char *end, unsigned max, unsigned *number)
{
    unsigned    n;
    const char *start;

    n = 0;

    for (start = *p; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        n = n * 10 + (unsigned) (**p - '0');

        if (n > max) {
            return TRACKER_INVALID;
        }
    }

    *number = n;

    return *p > start ? TRACKER_OK : TRACKER_INVALID;
}


tracker_result_e
tracker_cluster_redirect(tracker_str_t error, tracker_redirect_t *redirect)
{
    const char *p, *end, *colon;

    p = error.data;
    end = p + error.len;

    if (error.len > 6 && memcmp(p, "MOVED ", 6) == 0) {
        redirect->ask = 0;
        p += 6;

    } else if (error.len > 4 && memcmp(p, "ASK ", 4) == 0) {
        redirect->ask = 1;
        p += 4;

    } else {
        return TRACKER_DECLINED;
    }

    if (cluster_decimal(&p, end, TRACKER_CLUSTER_SLOTS - 1, &redirect->slot)
            != TRACKER_OK
        || p == end || *p != ' ')
    {
        return TRACKER_INVALID;
    }

    /* an IPv6 address has colons of its own */
    p++;
    colon = memrchr(p, ':', (size_t) (end - p));
    if (colon == NULL) {
        return TRACKER_INVALID;
    }

    redirect->host.data = p;
    redirect->host.len = (size_t) (colon - p);
    p = colon + 1;

    if (cluster_decimal(&p, end, CLUSTER_PORT_MAX, &redirect->port)
            != TRACKER_OK
        || p != end || redirect->port == 0)
    {
        return TRACKER_INVALID;
    }

    return TRACKER_OK;
}
