/*
 * slot.c - finds slot markers, and literals, in a page that comes in pieces.
 *
 *     <!--crm:slot NAME-->      opens; NAME is [A-Za-z0-9][A-Za-z0-9._-]{0,63}
 *     <!--/crm:slot-->          closes
 *
 * Exact bytes, nothing else is a marker.  A name may end in dashes, the marker
 * then ends with the last "-->", which is the only one to have a ">".
 *
 * A '!' is rare in HTML while '<' is not, so memchr looks for '!' and we look
 * back one byte.  Pages full of script have many '!': after FALSE_HITS_MAX
 * that began no marker, a search for the pair "<!" takes over; the count is
 * halved with each chunk, so that the search goes back when the script ends.
 *
 * A marker contains '<' only as its first byte.  When a marker begun turns
 * out to be none, its bytes can therefore go out as text without looking at
 * them again, and what is held back is never more than one beginning.
 *
 * With literals that is not so: another one may begin inside what is held.  It
 * is then resolved byte by byte from its first one on, and what can begin
 * nothing any more goes out.
 */

#include "personalize.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif


#define OPEN      "<!--crm:slot "
#define OPEN_LEN  13
#define CLOSE     "<!--/crm:slot-->"
#define CLOSE_LEN 16
#define END_LEN   3 /* "-->" */

/* 30 KB: memchr 0.36 us, pair search 1.7 us, and about 8 ns per false hit */
#define FALSE_HITS_MAX 128

typedef enum {
    MATCH_NONE = 0, /* the byte does not go on with a marker */
    MATCH_BEGUN,    /* it does, more is needed */
    MATCH_OPEN,     /* it ends one */
    MATCH_CLOSE,
    MATCH_LITERAL
} match_e;


static int
is_alnum(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9');
}


/* Whether byte p[n] goes on with the marker begun by p[0..n). */
static match_e
match_name(const char *p, size_t n)
{
    char   ch = p[n];
    size_t name = n - OPEN_LEN; /* bytes since the name began */

    if (name == 0) {
        return is_alnum(ch) ? MATCH_BEGUN : MATCH_NONE;
    }

    if (ch == '>') {
        return name >= END_LEN && p[n - 1] == '-' && p[n - 2] == '-'
                   ? MATCH_OPEN
                   : MATCH_NONE;
    }

    if (name >= PERSONALIZE_NAME_MAX) {
        /* only the end may follow now */
        return ch == '-' && name < PERSONALIZE_NAME_MAX + END_LEN - 1
                   ? MATCH_BEGUN
                   : MATCH_NONE;
    }

    return is_alnum(ch) || ch == '.' || ch == '_' || ch == '-' ? MATCH_BEGUN
                                                               : MATCH_NONE;
}


static match_e
match_byte(const char *p, size_t n)
{
    if (n > 4 && n < CLOSE_LEN && p[4] == '/') {
        if (p[n] != CLOSE[n]) {
            return MATCH_NONE;
        }
        return n + 1 == CLOSE_LEN ? MATCH_CLOSE : MATCH_BEGUN;
    }

    if (n < OPEN_LEN) {
        return p[n] == OPEN[n] || (n == 4 && p[n] == '/') ? MATCH_BEGUN
                                                          : MATCH_NONE;
    }

    return match_name(p, n);
}


/* Follows a marker from p; *n gets its bytes, or all when only begun. */
static match_e
match(const char *p, size_t len, size_t *n)
{
    match_e result;

    result = MATCH_BEGUN;

    for (*n = 0; *n < len; (*n)++) {
        result = match_byte(p, *n);
        if (result != MATCH_BEGUN) {
            (*n)++;
            break;
        }
    }

    return result;
}


/* The pair "<!" in [p, end), or NULL. */
static const char *
find_pair(const char *p, const char *end)
{
#ifdef __SSE2__
    int           mask;
    const __m128i less = _mm_set1_epi8('<');
    const __m128i bang = _mm_set1_epi8('!');

    for (; end - p > 16; p += 16) {
        mask = _mm_movemask_epi8(_mm_and_si128(
            _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) p), less),
            _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (p + 1)), bang)));
        if (mask != 0) {
            return p + __builtin_ctz((unsigned) mask);
        }
    }
#endif

    for (; end - p > 1; p++) {
        if (p[0] == '<' && p[1] == '!') {
            return p;
        }
    }

    return NULL;
}


/*
 * Where a marker may begin in [p, end): at "<!", or at a '<' that is the last
 * byte; else end.
 */
static const char *
find_candidate(personalize_scanner_t *scanner, const char *p, const char *end)
{
    const char *bang, *from;

    for (from = p; scanner->false_hits <= FALSE_HITS_MAX; from = bang + 1) {
        bang = memchr(from, '!', (size_t) (end - from));
        if (bang == NULL) {
            return end[-1] == '<' ? end - 1 : end;
        }
        if (bang > p && bang[-1] == '<') {
            return bang - 1;
        }
        scanner->false_hits++;
    }

    p = find_pair(from, end);
    if (p != NULL) {
        return p;
    }

    return end[-1] == '<' ? end - 1 : end;
}


static personalize_slot_e
marker(match_e found, const char *data, size_t len, unsigned copied,
    personalize_token_t *token)
{
    token->out.data = data;
    token->out.len = len;
    token->copied = copied;

    if (found == MATCH_CLOSE) {
        return PERSONALIZE_SLOT_CLOSE;
    }

    if (found == MATCH_LITERAL) {
        return PERSONALIZE_SLOT_LITERAL;
    }

    token->name.data = data + OPEN_LEN;
    token->name.len = len - OPEN_LEN - END_LEN;

    return PERSONALIZE_SLOT_OPEN;
}


/* Goes on with a marker begun in an earlier chunk. */
static personalize_slot_e
next_held(personalize_scanner_t *scanner, const char *chunk, size_t len,
    size_t *pos, personalize_token_t *token)
{
    size_t  n;
    match_e found;

    n = scanner->nheld;

    while (*pos < len) {
        scanner->held[n] = chunk[*pos];
        found = match_byte(scanner->held, n);

        if (found == MATCH_NONE) {
            scanner->nheld = 0;
            token->out.data = scanner->held;
            token->out.len = n;
            token->copied = 1;
            return PERSONALIZE_SLOT_TEXT;
        }

        (*pos)++;
        n++;

        if (found != MATCH_BEGUN) {
            scanner->nheld = 0;
            return marker(found, scanner->held, n, 1, token);
        }
    }

    scanner->nheld = (unsigned) n;

    return PERSONALIZE_SLOT_MORE;
}


/* The first marker whole or begun in [p, end), and its bytes; else end. */
static const char *
find_marker(personalize_scanner_t *scanner, const char *p, const char *end,
    match_e *found, size_t *n)
{
    const char *at;

    *found = MATCH_NONE;
    *n = 0;

    for (at = find_candidate(scanner, p, end); at < end;
         at = find_candidate(scanner, at, end))
    {
        *found = match(at, (size_t) (end - at), n);
        if (*found != MATCH_NONE) {
            break;
        }

        /* nothing up to the byte that broke it can begin a marker */
        at += *n - 1;
        scanner->false_hits++;
    }

    return at;
}


/* Gives out the text before `at`, or what was found there. */
static personalize_slot_e
next_found(personalize_scanner_t *scanner, const char *p, const char *at,
    match_e found, size_t n, size_t *pos, personalize_token_t *token)
{
    if (at > p) {
        token->out.data = p;
        token->out.len = (size_t) (at - p);
        *pos += token->out.len;
        return PERSONALIZE_SLOT_TEXT;
    }

    *pos += n;

    if (found != MATCH_BEGUN) {
        return marker(found, p, n, 0, token);
    }

    memcpy(scanner->held, p, n);
    scanner->nheld = (unsigned) n;

    return PERSONALIZE_SLOT_MORE;
}


/* Goes on in the chunk alone: nothing is held and *pos < len. */
static personalize_slot_e
next_fresh(personalize_scanner_t *scanner, const char *chunk, size_t len,
    size_t *pos, personalize_token_t *token)
{
    size_t      n;
    match_e     found;
    const char *p = chunk + *pos, *at;

    at = find_marker(scanner, p, chunk + len, &found, &n);

    return next_found(scanner, p, at, found, n, pos, token);
}


/* ---- with literals ------------------------------------------------------ */

static int
is_due(const personalize_scanner_t *scanner, unsigned i)
{
    return (scanner->found & (1U << i)) == 0;
}


/* What begins at p: as match(), a literal too; BEGUN when all bytes fit. */
static match_e
match_any(const personalize_scanner_t *scanner, const char *p, size_t len,
    size_t *n, unsigned *which)
{
    size_t                   part;
    unsigned                 i;
    match_e                  found;
    const personalize_str_t *text;

    found = match(p, len, n);
    if (found == MATCH_OPEN || found == MATCH_CLOSE) {
        return found;
    }

    for (i = 0; i < scanner->literals->n; i++) {
        text = &scanner->literals->item[i].text;
        part = len < text->len ? len : text->len;

        if (!is_due(scanner, i) || memcmp(p, text->data, part) != 0) {
            continue;
        }

        if (part == text->len) {
            *n = part;
            *which = i;
            return MATCH_LITERAL;
        }

        found = MATCH_BEGUN;
        *n = len;
    }

    return found;
}


/* As next_held, where anything may begin inside what is held. */
static personalize_slot_e
next_held_any(personalize_scanner_t *scanner, const char *chunk, size_t len,
    size_t *pos, personalize_token_t *token)
{
    size_t   n, k;
    unsigned which;
    match_e  found;

    which = 0;

    for (;;) {
        found = match_any(scanner, scanner->held, scanner->nheld, &n, &which);
        if (found != MATCH_BEGUN) {
            break;
        }

        if (*pos == len) {
            return PERSONALIZE_SLOT_MORE;
        }

        scanner->held[scanner->nheld++] = chunk[(*pos)++];
    }

    if (found != MATCH_NONE) {
        scanner->spent = (unsigned) n;

        if (found == MATCH_LITERAL) {
            scanner->found |= 1U << which;
            token->literal = which;
        }

        return marker(found, scanner->held, n, 1, token);
    }

    for (k = 1; k < scanner->nheld; k++) {
        if (match_any(
                scanner, scanner->held + k, scanner->nheld - k, &n, &which)
            != MATCH_NONE)
        {
            break;
        }
    }

    scanner->spent = (unsigned) k;
    token->out.data = scanner->held;
    token->out.len = k;
    token->copied = 1;

    return PERSONALIZE_SLOT_TEXT;
}


/* The first place in [p, end) at which a literal begins that does not end. */
static const char *
find_begun(const personalize_scanner_t *scanner, const char *p, const char *end)
{
    size_t                   rest;
    unsigned                 i;
    const char              *at, *first;
    const personalize_str_t *text;

    first = end;

    for (i = 0; i < scanner->literals->n; i++) {
        text = &scanner->literals->item[i].text;
        rest = text->len - 1;

        if (!is_due(scanner, i)) {
            continue;
        }

        at = (size_t) (end - p) > rest ? end - rest : p;

        while (
            at < first
            && (at = memchr(at, text->data[0], (size_t) (first - at))) != NULL)
        {
            if (memcmp(at, text->data, (size_t) (end - at)) == 0) {
                first = at;
                break;
            }
            at++;
        }
    }

    return first;
}


/* Where literal i is in the chunk from `from` on; len: nowhere. */
static size_t
find_literal(personalize_scanner_t *scanner, unsigned i, const char *chunk,
    size_t from, size_t len)
{
    const char *at;

    if ((scanner->looked & (1U << i)) == 0 || scanner->at[i] < from) {
        at = personalize_literal_find(
            scanner->literals, i, chunk + from, chunk + len);
        scanner->at[i] = at != NULL ? (size_t) (at - chunk) : len;
        scanner->looked |= 1U << i;
    }

    return scanner->at[i];
}


/* As next_fresh, for whatever begins first. */
static personalize_slot_e
next_fresh_any(personalize_scanner_t *scanner, const char *chunk, size_t len,
    size_t *pos, personalize_token_t *token)
{
    size_t      n;
    unsigned    i, which;
    match_e     found;
    const char *p = chunk + *pos, *end = chunk + len, *at, *begun;

    at = find_marker(scanner, p, end, &found, &n);
    which = 0;

    for (i = 0; i < scanner->literals->n; i++) {
        if (is_due(scanner, i)
            && find_literal(scanner, i, chunk, *pos, len)
                   < (size_t) (at - chunk))
        {
            at = chunk + scanner->at[i];
            found = MATCH_LITERAL;
            n = scanner->literals->item[i].text.len;
            which = i;
        }
    }

    begun = find_begun(scanner, p, end);

    if (begun < at) {
        at = begun;
        found = MATCH_BEGUN;
        n = (size_t) (end - at);
    }

    if (at == p && found == MATCH_LITERAL) {
        scanner->found |= 1U << which;
        token->literal = which;
    }

    return next_found(scanner, p, at, found, n, pos, token);
}


static personalize_slot_e
next_any(personalize_scanner_t *scanner, const char *chunk, size_t len,
    size_t *pos, personalize_token_t *token)
{
    if (*pos == 0) {
        scanner->looked = 0;
    }

    if (scanner->spent > 0) {
        scanner->nheld -= scanner->spent;
        memmove(scanner->held, scanner->held + scanner->spent, scanner->nheld);
        scanner->spent = 0;
    }

    if (scanner->nheld > 0) {
        return next_held_any(scanner, chunk, len, pos, token);
    }

    return *pos < len ? next_fresh_any(scanner, chunk, len, pos, token)
                      : PERSONALIZE_SLOT_MORE;
}


personalize_slot_e
personalize_slot_next(personalize_scanner_t *scanner, const char *chunk,
    size_t len, size_t *pos, personalize_token_t *token)
{
    memset(token, 0, sizeof(personalize_token_t));

    if (*pos == 0) {
        scanner->false_hits /= 2;
    }

    if (scanner->literals != NULL) {
        return next_any(scanner, chunk, len, pos, token);
    }

    if (*pos >= len) {
        return PERSONALIZE_SLOT_MORE;
    }

    if (scanner->nheld > 0) {
        return next_held(scanner, chunk, len, pos, token);
    }

    return next_fresh(scanner, chunk, len, pos, token);
}


personalize_str_t
personalize_slot_rest(personalize_scanner_t *scanner)
{
    personalize_str_t rest;

    rest.data = scanner->held + scanner->spent;
    rest.len = scanner->nheld - scanner->spent;
    scanner->nheld = 0;
    scanner->spent = 0;

    return rest;
}
