/*
 * ranges.c - the addresses from which crawlers that say who they are come.
 *
 * Operators of large crawlers publish their address ranges.  A list is a text
 * with a line "<name> <address>/<bits>" each, IPv4 or IPv6; "#" begins a
 * comment.  The name is that of the bot list, without regard to case.  Asking
 * the name service instead, as is usual, would make a worker wait.
 *
 * Ranges are sorted by name and first address and merged where they overlap,
 * so one binary search answers.  IPv4 is kept as ::ffff:a.b.c.d.
 */

#include "tracker.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>


#define RANGES_MAX     65536
#define RANGES_ADDRESS 64 /* characters, more than any address has */

typedef struct {
    uint8_t  low[16];
    uint8_t  high[16];
    uint16_t len; /* of the name */
    char     name[TRACKER_BOT_NAME];
} range_t;

struct tracker_ranges_s {
    size_t  n;
    range_t ranges[]; /* sorted */
};


static char
range_fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


static int
range_compare(const void *a, const void *b)
{
    int            order;
    const range_t *x = a;
    const range_t *y = b;

    if (x->len != y->len) {
        return x->len < y->len ? -1 : 1;
    }

    order = memcmp(x->name, y->name, x->len);

    return order != 0 ? order : memcmp(x->low, y->low, sizeof(x->low));
}


/* "192.0.2.0/24", and without "/" one address. */
static tracker_result_e
range_address(range_t *range, const char *p, size_t len)
{
    char        text[RANGES_ADDRESS];
    size_t      i;
    uint8_t    *address = range->low;
    unsigned    bits, max, offset;
    const char *slash, *q;

    if (len == 0 || len >= sizeof(text)) {
        return TRACKER_INVALID;
    }

    slash = memchr(p, '/', len);
    i = slash != NULL ? (size_t) (slash - p) : len;
    memcpy(text, p, i);
    text[i] = '\0';

    memset(address, 0, 16);
    offset = 0;

    if (inet_pton(AF_INET6, text, address) != 1) {
        address[10] = address[11] = 0xff;
        offset = 96;
        if (inet_pton(AF_INET, text, address + 12) != 1) {
            return TRACKER_INVALID;
        }
    }

    max = 128 - offset;
    bits = max;

    if (slash != NULL) {
        bits = 0;
        for (q = slash + 1; q < p + len; q++) {
            if (*q < '0' || *q > '9' || q - slash > 3) {
                return TRACKER_INVALID;
            }
            bits = bits * 10 + (unsigned) (*q - '0');
        }
        if (q == slash + 1 || bits > max) {
            return TRACKER_INVALID;
        }
    }

    bits += offset;
    memcpy(range->high, address, 16);

    for (i = bits; i < 128; i++) {
        range->low[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
        range->high[i / 8] |= (uint8_t) (0x80U >> i % 8);
    }

    return TRACKER_OK;
}


static tracker_result_e
range_line(tracker_ranges_t *ranges, const char *p, const char *end)
{
    size_t      i, len;
    range_t    *range;
    const char *blank;

    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        end--;
    }
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (p == end) {
        return TRACKER_OK;
    }

    /* a name may have blanks, an address has none */
    for (blank = end; blank > p && blank[-1] != ' ' && blank[-1] != '\t';
         blank--) { /* void */
    }

    for (len = (size_t) (blank - p);
         len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'); len--)
    { /* void */
    }

    if (len == 0 || len > TRACKER_BOT_NAME) {
        return TRACKER_INVALID;
    }

    range = &ranges->ranges[ranges->n++];
    range->len = (uint16_t) len;
    memset(range->name, 0, sizeof(range->name));

    for (i = 0; i < len; i++) {
        range->name[i] = range_fold(p[i]);
    }

    return range_address(range, blank, (size_t) (end - blank));
}


/* Overlapping ranges of one name become one. */
static void
range_merge(tracker_ranges_t *ranges)
{
    size_t   i, n;
    range_t *last, *range;

    if (ranges->n == 0) {
        return;
    }

    qsort(ranges->ranges, ranges->n, sizeof(range_t), range_compare);

    for (i = 1, n = 1; i < ranges->n; i++) {
        last = &ranges->ranges[n - 1];
        range = &ranges->ranges[i];

        if (last->len == range->len
            && memcmp(last->name, range->name, last->len) == 0
            && memcmp(range->low, last->high, 16) <= 0)
        {
            if (memcmp(range->high, last->high, 16) > 0) {
                memcpy(last->high, range->high, 16);
            }
            continue;
        }

        ranges->ranges[n++] = *range;
    }

    ranges->n = n;
}


tracker_result_e
tracker_ranges_compile(
    tracker_ranges_t **out, const char *text, size_t len, unsigned *line)
{
    size_t            lines;
    const char       *p, *end, *stop, *comment;
    tracker_ranges_t *ranges;

    *line = 0;
    end = text + len;

    for (p = text, lines = 1; p < end; p++) {
        lines += *p == '\n';
    }

    if (lines > RANGES_MAX) {
        return TRACKER_INVALID;
    }

    ranges = malloc(sizeof(*ranges) + lines * sizeof(range_t));
    if (ranges == NULL) {
        return TRACKER_FULL;
    }

    ranges->n = 0;

    for (p = text; p < end; p = stop + 1) {
        ++*line;

        stop = memchr(p, '\n', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }

        comment = memchr(p, '#', (size_t) (stop - p));

        if (range_line(ranges, p, comment != NULL ? comment : stop)
            != TRACKER_OK) {
            free(ranges);
            return TRACKER_INVALID;
        }
    }

    *line = 0;
    range_merge(ranges);
    *out = ranges;

    return TRACKER_OK;
}


void
tracker_ranges_free(tracker_ranges_t *ranges)
{
    free(ranges);
}


/* The last range of that name whose first address is not above `address`;
 * *named is 1 if the name has any range. */
static const range_t *
range_find(const tracker_ranges_t *ranges, const range_t *wanted)
{
    size_t low, high, middle;

    for (low = 0, high = ranges->n; low < high; /* void */) {
        middle = (low + high) / 2;

        if (range_compare(&ranges->ranges[middle], wanted) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return low > 0 ? &ranges->ranges[low - 1] : NULL;
}


tracker_result_e
tracker_ranges_check(const tracker_ranges_t *ranges, tracker_str_t name,
    const uint8_t address[16])
{
    size_t         i;
    range_t        wanted;
    const range_t *range;

    if (name.len == 0 || name.len > TRACKER_BOT_NAME) {
        return TRACKER_DECLINED;
    }

    memset(&wanted, 0, sizeof(wanted));
    wanted.len = (uint16_t) name.len;

    for (i = 0; i < name.len; i++) {
        wanted.name[i] = range_fold(name.data[i]);
    }

    memcpy(wanted.low, address, 16);
    range = range_find(ranges, &wanted);

    if (range != NULL && range->len == wanted.len
        && memcmp(range->name, wanted.name, wanted.len) == 0
        && memcmp(address, range->high, 16) <= 0)
    {
        return TRACKER_OK;
    }

    /* is the name there at all? */
    memset(wanted.low, 0xff, 16);
    range = range_find(ranges, &wanted);

    return range != NULL && range->len == wanted.len
                   && memcmp(range->name, wanted.name, wanted.len) == 0
               ? TRACKER_INVALID
               : TRACKER_DECLINED;
}
