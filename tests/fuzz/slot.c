/*
 * slot.c - fuzzes the marker scanner against a naive search of one buffer.
 *
 * The first byte seeds where the rest is cut into chunks, each in memory of
 * its own; an odd one has literals looked for as well.  Whatever the cuts, the
 * bytes that come out are those that went in and the markers and literals are
 * those the naive search sees.
 */

#include "personalize/personalize.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>


#define OPEN  "<!--crm:slot "
#define CLOSE "<!--/crm:slot-->"

typedef struct {
    const char *page;
    size_t      len;
    size_t      out;   /* bytes seen so far */
    unsigned    found; /* literals seen so far; all: none is looked for */
} oracle_t;

static const char *const texts[] = {"</body>", "aaab", "<!--x-->", "slot a-b"};

#define NTEXTS (sizeof(texts) / sizeof(texts[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static int
is_first(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch >= '0' && ch <= '9');
}


/* Bytes of the marker at p, 0 for none; *name stays 0 for a closing one. */
static size_t
naive_marker(const char *p, size_t len, size_t *name)
{
    size_t n, i;

    *name = 0;

    if (len >= strlen(CLOSE) && memcmp(p, CLOSE, strlen(CLOSE)) == 0) {
        return strlen(CLOSE);
    }

    n = strlen(OPEN);
    if (len < n || memcmp(p, OPEN, n) != 0) {
        return 0;
    }

    for (i = n; i < len && p[i] != '>'; i++) {
        if (!is_first(p[i])
            && (i == n || strchr("._-", p[i]) == NULL || p[i] == '\0')) {
            return 0;
        }
    }

    if (i == len || i < n + 3 || p[i - 1] != '-' || p[i - 2] != '-'
        || i - 2 - n > PERSONALIZE_NAME_MAX)
    {
        return 0;
    }

    *name = i - 2 - n;

    return i + 1;
}


/* The number of the literal at p, NTEXTS for none. */
static size_t
naive_literal(const oracle_t *oracle, const char *p, size_t len)
{
    size_t i;

    for (i = 0; i < NTEXTS; i++) {
        if ((oracle->found & (1U << i)) == 0 && len >= strlen(texts[i])
            && memcmp(p, texts[i], strlen(texts[i])) == 0)
        {
            break;
        }
    }

    return i;
}


/* The naive search agrees that there is nothing before this one. */
static void
check_token(
    oracle_t *oracle, personalize_slot_e got, const personalize_token_t *token)
{
    size_t i, n, name;

    if (token->out.len == 0 || token->out.len > oracle->len - oracle->out
        || memcmp(oracle->page + oracle->out, token->out.data, token->out.len)
               != 0)
    {
        abort();
    }

    if (got == PERSONALIZE_SLOT_TEXT) {
        for (i = 0; i < token->out.len; i++) {
            if (naive_marker(oracle->page + oracle->out + i,
                    oracle->len - oracle->out - i, &name)
                    != 0
                || naive_literal(oracle, oracle->page + oracle->out + i,
                       oracle->len - oracle->out - i)
                       != NTEXTS)
            {
                abort();
            }
        }

    } else if (got == PERSONALIZE_SLOT_LITERAL) {
        if (naive_literal(
                oracle, oracle->page + oracle->out, oracle->len - oracle->out)
                != token->literal
            || token->out.len != strlen(texts[token->literal]))
        {
            abort();
        }
        oracle->found |= 1U << token->literal;

    } else {
        n = naive_marker(
            oracle->page + oracle->out, oracle->len - oracle->out, &name);
        if (n != token->out.len || (name > 0) != (got == PERSONALIZE_SLOT_OPEN)
            || token->name.len != name
            || (name > 0
                && memcmp(
                       token->name.data, token->out.data + strlen(OPEN), name)
                       != 0))
        {
            abort();
        }
    }

    oracle->out += token->out.len;
}


static void
scan_chunk(
    oracle_t *oracle, personalize_scanner_t *scanner, size_t from, size_t len)
{
    char               *chunk;
    size_t              pos;
    personalize_slot_e  got;
    personalize_token_t token;

    chunk = malloc(len > 0 ? len : 1);
    if (chunk == NULL) {
        abort();
    }

    if (len > 0) {
        memcpy(chunk, oracle->page + from, len);
    }
    pos = 0;

    while ((got = personalize_slot_next(scanner, chunk, len, &pos, &token))
           != PERSONALIZE_SLOT_MORE)
    {
        check_token(oracle, got, &token);
    }

    if (pos != len || oracle->out + scanner->nheld != from + len
        || scanner->nheld > PERSONALIZE_HELD_MAX)
    {
        abort();
    }

    free(chunk);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                 from, len;
    uint32_t               random;
    oracle_t               oracle;
    personalize_str_t      rest;
    personalize_token_t    token;
    personalize_scanner_t  scanner;
    personalize_literals_t literals;

    if (size == 0) {
        return 0;
    }

    memset(&oracle, 0, sizeof(oracle));
    memset(&scanner, 0, sizeof(scanner));
    oracle.page = (const char *) data + 1;
    oracle.len = size - 1;
    oracle.found = (1U << NTEXTS) - 1;
    random = data[0] * 2654435761U + 1;

    if (data[0] & 1) {
        memset(&literals, 0, sizeof(literals));
        for (from = 0; from < NTEXTS; from++) {
            rest.data = texts[from];
            rest.len = strlen(texts[from]);
            if (personalize_literal_add(&literals, rest) != NULL) {
                abort();
            }
        }
        scanner.literals = &literals;
        oracle.found = 0;
    }

    for (from = 0; from < oracle.len; from += len) {
        random = random * 1664525U + 1013904223U;
        /* mostly short, now and then long enough for the wide search */
        len = (random >> 24) % ((random >> 16 & 7) == 0 ? 200 : 9);
        if (len > oracle.len - from) {
            len = oracle.len - from;
        }
        scan_chunk(&oracle, &scanner, from, len);
    }

    rest = personalize_slot_rest(&scanner);
    if (rest.len > 0) {
        /* in a marker begun there is no literal while it may still end */
        oracle.found = (1U << NTEXTS) - 1;
        memset(&token, 0, sizeof(token));
        token.out = rest;
        check_token(&oracle, PERSONALIZE_SLOT_TEXT, &token);
    }

    if (oracle.out != oracle.len) {
        abort();
    }

    return 0;
}
