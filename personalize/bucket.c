/*
 * bucket.c - who gets which variation: weights, ranges, namespaces, overrides.
 *
 * A bucket is a number 0 <= n < 1 that hash.c makes of a seed and a value.
 * A variation owns a range [start, end) of them.  Coverage shortens each range
 * at its end, so that raising it moves nobody who is in already.  Campaigns
 * and the experiments of a payload use the same functions.
 *
 * Source: "Build your own SDK" of the GrowthBook documentation.  Sums are
 * made in the order of the published SDKs, so that ranges agree to the bit.
 */

#include "set.h"


/* Weights may miss 1 by this much: people write 0.33 three times. */
#define WEIGHTS_MIN 0.99
#define WEIGHTS_MAX 1.01


void
personalize_ranges(
    unsigned n, double coverage, const double *weights, personalize_range_t *to)
{
    double   total, start, equal;
    unsigned i;

    equal = n > 0 ? 1.0 / n : 0;
    coverage = coverage < 0 ? 0 : coverage > 1 ? 1 : coverage;
    total = 0;

    for (i = 0; i < n && weights != NULL; i++) {
        total += weights[i];
    }

    if (!(total >= WEIGHTS_MIN && total <= WEIGHTS_MAX)) {
        weights = NULL;
    }

    start = 0;

    for (i = 0; i < n; i++) {
        to[i].start = start;
        to[i].end = start + coverage * (weights != NULL ? weights[i] : equal);
        start += weights != NULL ? weights[i] : equal;
    }
}


int
personalize_range_has(const personalize_range_t *range, double n)
{
    return n >= range->start && n < range->end;
}


int
personalize_ranges_choose(
    const personalize_range_t *ranges, unsigned nranges, double n)
{
    unsigned i;

    for (i = 0; i < nranges; i++) {
        if (personalize_range_has(&ranges[i], n)) {
            return (int) i;
        }
    }

    return -1;
}


int
personalize_namespace_has(
    const personalize_namespace_t *space, personalize_str_t value)
{
    double n;

    return personalize_bucket(space->seed, value, 1, &n)
           && personalize_range_has(&space->range, n);
}


/* JavaScript's parseInt, of what can be the index of a variation. */
static int
parse_index(const char *p, size_t len, unsigned n, unsigned *index)
{
    int      digit, negative = 0;
    size_t   i, from;
    double   sum;
    unsigned base = 10;

    for (i = 0; i < len && strchr(" \t\n\v\f\r", p[i]) && p[i] != '\0'; i++) {
        /* void */
    }

    if (i < len && (p[i] == '+' || p[i] == '-')) {
        negative = p[i++] == '-';
    }

    if (len - i > 1 && p[i] == '0' && (p[i + 1] | 0x20) == 'x') {
        base = 16;
        i += 2;
    }

    sum = 0;

    for (from = i; i < len; i++) {
        digit = p[i] >= '0' && p[i] <= '9' ? p[i] - '0'
                : base == 16 && (p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'f'
                    ? (p[i] | 0x20) - 'a' + 10
                    : -1;
        if (digit < 0) {
            break;
        }
        sum = sum * base + digit;
    }

    if (i == from || (negative && sum > 0) || sum >= n) {
        return 0;
    }

    *index = (unsigned) sum;

    return 1;
}


int
personalize_query_override(
    personalize_str_t key, personalize_str_t url, unsigned n, unsigned *index)
{
    const char       *p, *end, *next, *stop, *name_end;
    personalize_str_t name;

    p = url.len > 0 ? memchr(url.data, '?', url.len) : NULL;
    if (p == NULL) {
        return 0;
    }

    p++;
    end = url.data + url.len;

    for (stop = p; stop < end && *stop != '?' && *stop != '#'; stop++) {
        /* void */
    }

    for (; p <= stop; p = next + 1) {
        next = memchr(p, '&', (size_t) (stop - p));
        if (next == NULL) {
            next = stop;
        }

        name_end = memchr(p, '=', (size_t) (next - p));
        if (name_end == NULL) {
            name_end = next;
        }

        name.data = p;
        name.len = (size_t) (name_end - p);
        if (!personalize_str_equal(name, key)) {
            continue;
        }

        if (name_end == next) {
            return 0;
        }

        p = name_end + 1;
        name_end = memchr(p, '=', (size_t) (next - p));

        return parse_index(
            p, (size_t) ((name_end ? name_end : next) - p), n, index);
    }

    return 0;
}
