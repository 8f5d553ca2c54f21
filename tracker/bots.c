/*
 * bots.c - compiles a list of robots, and finds which one a user agent is.
 *
 * A list is a text: a line per pattern, "<pattern>[\t<kind>[\t<name>]]"; lines
 * that begin with "#" and empty ones are comments.  A pattern is a regular
 * expression of PCRE2, without regard to case.  The first line that fits wins.
 *
 * One alternation of 1,500 expressions tries each of them at each byte, JIT or
 * not.  Here the longest literal that an expression cannot do without goes
 * into one Aho-Corasick automaton, which reads a user agent once, whatever the
 * length of the list.  Most patterns are nothing but their literal, and need
 * no expression; of the others PCRE2 (JIT) only runs those whose literal was
 * seen, and the few without a literal as one alternation first.
 *
 * What that literal is, bots_literal.c finds out.  The automaton is a table of
 * states by character classes.  Everything is bounded: bytes, patterns, states,
 * and the steps of an expression.  A list with any fault is refused whole.
 */

#define PCRE2_CODE_UNIT_WIDTH 8

#include "bots.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>


#define BOTS_PATTERNS_MAX 8192
#define BOTS_STATES_MAX   65535 /* indexes of 16 bits */
#define BOTS_LITERAL_MIN  3     /* bytes worth looking for */
#define BOTS_AGENT_MAX    512   /* bytes looked at */
#define BOTS_REST_MAX     256   /* expressions without a literal */
#define BOTS_TRIED_MAX    32    /* expressions run for one user agent */
#define BOTS_STEPS_MAX    50000 /* of one expression */
#define BOTS_NEST_MAX     32
#define BOTS_NONE         UINT16_MAX

typedef struct {
    const char *text; /* in bots->text */
    uint16_t    len;
    uint16_t    literal_at; /* in lit, of the part that must be there */
    uint16_t    literal_len;
    uint16_t    same;     /* next pattern with this literal; BOTS_NONE: none */
    uint8_t     kind;     /* of tracker_bot_kind_e */
    uint8_t     plain;    /* the literal is all there is */
    uint8_t     name_len; /* 0: taken from the user agent */
    const char *name;
    pcre2_code *code; /* NULL: plain, or among the rest */
} bots_pattern_t;

struct tracker_bots_s {
    char             *text;     /* the list, patterns point into it */
    char             *literals; /* folded, of all patterns */
    bots_pattern_t   *patterns;
    uint16_t         *next;   /* [state * nclasses + class] */
    uint16_t         *first;  /* [state]: pattern that ends here */
    uint16_t         *suffix; /* [state]: next shorter state with a pattern */
    pcre2_code       *rest;   /* those without a literal, as one */
    pcre2_match_data *match;
    pcre2_match_context *limits;
    uint32_t             npatterns;
    uint32_t             nstates;
    uint32_t             nclasses;
    uint32_t             nliterals; /* bytes */
    uint32_t             nrest;
    uint8_t              classes[256];
};


static const char *const bots_kinds[] = {"other", "search-engine", "ai-crawler",
    "social-preview", "seo", "monitoring", "http-library", "feed-reader",
    "browser-automation", "scanner", "advertising", "archiver", "academic"};

#define BOTS_KINDS (sizeof(bots_kinds) / sizeof(bots_kinds[0]))


const char *
tracker_bot_kind_text(uint8_t kind)
{
    return bots_kinds[kind < BOTS_KINDS ? kind : 0];
}


/* ---- reading the list --------------------------------------------------- */

static pcre2_code *
bots_compile(const char *text, size_t len, pcre2_compile_context *context)
{
    int         error;
    size_t      at;
    pcre2_code *code;

    code = pcre2_compile((PCRE2_SPTR) text, len,
        PCRE2_CASELESS | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP
            | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C,
        &error, &at, context);

    if (code != NULL) {
        /* without JIT it is slower, and right all the same */
        (void) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    }

    return code;
}


static int
bots_kind(const char *text, size_t len)
{
    unsigned i;

    for (i = 0; i < BOTS_KINDS; i++) {
        if (strlen(bots_kinds[i]) == len
            && memcmp(bots_kinds[i], text, len) == 0) {
            return (int) i;
        }
    }

    return -1;
}


/* One expression without "|" at its top. */
static tracker_result_e
bots_add(tracker_bots_t *bots, const bots_pattern_t *line, const char *text,
    size_t len, pcre2_compile_context *context)
{
    bots_scan_t     scan;
    bots_pattern_t *pattern;

    if (len == 0 || bots->npatterns == BOTS_PATTERNS_MAX) {
        return TRACKER_INVALID;
    }

    bots_literal(&scan, text, len);

    pattern = &bots->patterns[bots->npatterns++];
    *pattern = *line;
    pattern->text = text;
    pattern->len = (uint16_t) len;
    pattern->same = BOTS_NONE;

    if (scan.nbest >= BOTS_LITERAL_MIN || scan.plain) {
        if (bots->nliterals + scan.nbest >= BOTS_STATES_MAX) {
            return TRACKER_INVALID;
        }

        pattern->plain = (uint8_t) scan.plain;
        pattern->literal_at = (uint16_t) bots->nliterals;
        pattern->literal_len = (uint16_t) scan.nbest;
        memcpy(bots->literals + bots->nliterals, scan.best, scan.nbest);
        bots->nliterals += (uint32_t) scan.nbest;

    } else if (++bots->nrest > BOTS_REST_MAX) {
        return TRACKER_INVALID;
    }

    if (pattern->plain) {
        return TRACKER_OK;
    }

    pattern->code = bots_compile(text, len, context);

    return pattern->code != NULL ? TRACKER_OK : TRACKER_INVALID;
}


/* Alternatives at the top of an expression are patterns of their own. */
static tracker_result_e
bots_split(tracker_bots_t *bots, const bots_pattern_t *line, const char *p,
    const char *end, pcre2_compile_context *context)
{
    unsigned    depth, class;
    const char *start;

    depth = 0;
    class = 0;

    for (start = p; p < end; p++) {
        if (*p == '\\') {
            p++;
        } else if (class) {
            class = *p != ']';
        } else if (*p == '[') {
            class = 1;
            p += p + 1 < end && p[1] == '^';
            p += p + 1 < end && p[1] == ']';
        } else if (*p == '(') {
            depth++;
        } else if (*p == ')') {
            depth -= depth > 0;
        } else if (*p == '|' && depth == 0) {
            if (bots_add(bots, line, start, (size_t) (p - start), context)
                != TRACKER_OK) {
                return TRACKER_INVALID;
            }
            start = p + 1;
        }
    }

    return bots_add(bots, line, start, (size_t) (end - start), context);
}


static tracker_result_e
bots_line(tracker_bots_t *bots, const char *p, const char *end,
    pcre2_compile_context *context)
{
    int            kind;
    const char    *tab, *stop;
    bots_pattern_t line;

    while (end > p && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }

    if (p == end || *p == '#') {
        return TRACKER_OK;
    }

    memset(&line, 0, sizeof(line));
    tab = memchr(p, '\t', (size_t) (end - p));

    if (tab != NULL) {
        stop = memchr(tab + 1, '\t', (size_t) (end - tab - 1));
        kind = bots_kind(
            tab + 1, (size_t) ((stop != NULL ? stop : end) - tab - 1));
        if (kind == -1) {
            return TRACKER_INVALID;
        }

        line.kind = (uint8_t) kind;

        if (stop != NULL) {
            if (end - stop - 1 > TRACKER_BOT_NAME) {
                return TRACKER_INVALID;
            }
            line.name = stop + 1;
            line.name_len = (uint8_t) (end - stop - 1);
        }

        end = tab;
    }

    if (end - p > BOTS_PATTERN_MAX) {
        return TRACKER_INVALID;
    }

    return bots_split(bots, &line, p, end, context);
}


static tracker_result_e
bots_lines(tracker_bots_t *bots, size_t len, unsigned *line)
{
    const char            *p, *end, *stop;
    tracker_result_e       rc;
    pcre2_compile_context *context;

    context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return TRACKER_FULL;
    }

    (void) pcre2_set_parens_nest_limit(context, BOTS_NEST_MAX);
    (void) pcre2_set_max_pattern_length(context, BOTS_PATTERN_MAX);

    rc = TRACKER_OK;

    for (p = bots->text, end = p + len; p < end && rc == TRACKER_OK;
         p = stop + 1) {
        ++*line;

        stop = memchr(p, '\n', (size_t) (end - p));
        if (stop == NULL) {
            stop = end;
        }

        rc = bots_line(bots, p, stop, context);
    }

    pcre2_compile_context_free(context);

    return rc;
}


/* ---- the automaton ------------------------------------------------------ */

static void
bots_count_classes(tracker_bots_t *bots)
{
    uint8_t  c;
    uint32_t i;

    bots->nclasses = 1; /* 0: no literal has it */

    for (i = 0; i < bots->nliterals; i++) {
        c = (uint8_t) bots->literals[i];
        if (bots->classes[c] == 0) {
            bots->classes[c] = (uint8_t) bots->nclasses++;
        }
    }

    for (i = 'A'; i <= 'Z'; i++) {
        bots->classes[i] = bots->classes[i | 0x20];
    }
}


/* The tree of all literals; equal ones share their end. */
static void
bots_grow(tracker_bots_t *bots, uint16_t index)
{
    uint16_t        state, *go, *same;
    unsigned        i;
    bots_pattern_t *pattern;

    pattern = &bots->patterns[index];
    state = 0;

    for (i = 0; i < pattern->literal_len; i++) {
        go = &bots->next[(size_t) state * bots->nclasses
                         + bots->classes[(
                             uint8_t) bots->literals[pattern->literal_at + i]]];
        if (*go == 0) {
            *go = (uint16_t) bots->nstates++;
        }
        state = *go;
    }

    for (same = &bots->first[state]; *same != BOTS_NONE;
         same = &bots->patterns[*same].same)
    { /* void */
    }

    *same = index;
}


/* Adds to each state where it goes when its own branch ends. */
static tracker_result_e
bots_link(tracker_bots_t *bots)
{
    uint16_t *queue, *fail, *go, state, child, back;
    uint32_t  head, tail, class;

    queue = calloc(2 * (size_t) bots->nstates, sizeof(uint16_t));
    if (queue == NULL) {
        return TRACKER_FULL;
    }

    fail = queue + bots->nstates;
    tail = 0;

    for (class = 0; class < bots->nclasses; class ++) {
        if (bots->next[class] != 0) {
            queue[tail++] = bots->next[class];
        }
    }

    for (head = 0; head < tail; head++) {
        state = queue[head];
        back = fail[state];
        bots->suffix[state] =
            bots->first[back] != BOTS_NONE ? back : bots->suffix[back];

        for (class = 0; class < bots->nclasses; class ++) {
            go = &bots->next[(size_t) state * bots->nclasses + class];
            child = bots->next[(size_t) back * bots->nclasses + class];

            if (*go == 0) {
                *go = child;
            } else {
                fail[*go] = child;
                queue[tail++] = *go;
            }
        }
    }

    free(queue);

    return TRACKER_OK;
}


static tracker_result_e
bots_build(tracker_bots_t *bots)
{
    size_t   states;
    uint32_t i;

    bots_count_classes(bots);

    states = (size_t) bots->nliterals + 1;
    bots->nstates = 1;
    bots->next = calloc(states * bots->nclasses, sizeof(uint16_t));
    bots->first = malloc(states * sizeof(uint16_t));
    bots->suffix = calloc(states, sizeof(uint16_t));

    if (bots->next == NULL || bots->first == NULL || bots->suffix == NULL) {
        return TRACKER_FULL;
    }

    memset(bots->first, 0xff, states * sizeof(uint16_t));

    for (i = 0; i < bots->npatterns; i++) {
        if (bots->patterns[i].literal_len > 0) {
            bots_grow(bots, (uint16_t) i);
        }
    }

    return bots_link(bots);
}


/* The expressions without a literal, as one that says quickly: none of them. */
static tracker_result_e
bots_build_rest(tracker_bots_t *bots)
{
    char                 *text, *p;
    size_t                size;
    uint32_t              i;
    const bots_pattern_t *pattern;

    if (bots->nrest == 0) {
        return TRACKER_OK;
    }

    size = 0;

    for (i = 0; i < bots->npatterns; i++) {
        pattern = &bots->patterns[i];
        size += pattern->literal_len == 0 ? (size_t) pattern->len + 5 : 0;
    }

    text = malloc(size + 1);
    if (text == NULL) {
        return TRACKER_FULL;
    }

    p = text;

    for (i = 0; i < bots->npatterns; i++) {
        pattern = &bots->patterns[i];
        if (pattern->literal_len > 0) {
            continue;
        }
        if (p > text) {
            *p++ = '|';
        }
        memcpy(p, "(?:", 3);
        memcpy(p + 3, pattern->text, pattern->len);
        p += 3 + pattern->len;
        *p++ = ')';
    }

    bots->rest = bots_compile(text, (size_t) (p - text), NULL);
    free(text);

    return bots->rest != NULL ? TRACKER_OK : TRACKER_INVALID;
}


void
tracker_bots_free(tracker_bots_t *bots)
{
    uint32_t i;

    if (bots == NULL) {
        return;
    }

    for (i = 0; bots->patterns != NULL && i < bots->npatterns; i++) {
        pcre2_code_free(bots->patterns[i].code);
    }

    pcre2_code_free(bots->rest);
    pcre2_match_data_free(bots->match);
    pcre2_match_context_free(bots->limits);
    free(bots->next);
    free(bots->first);
    free(bots->suffix);
    free(bots->patterns);
    free(bots->literals);
    free(bots->text);
    free(bots);
}


static tracker_result_e
bots_make(tracker_bots_t *bots, const char *text, size_t len, unsigned *line)
{
    tracker_result_e rc;

    bots->text = malloc(len + 1);
    bots->literals = malloc(BOTS_STATES_MAX);
    bots->patterns = calloc(BOTS_PATTERNS_MAX, sizeof(bots_pattern_t));
    bots->match = pcre2_match_data_create(1, NULL);
    bots->limits = pcre2_match_context_create(NULL);

    if (bots->text == NULL || bots->literals == NULL || bots->patterns == NULL
        || bots->match == NULL || bots->limits == NULL)
    {
        return TRACKER_FULL;
    }

    memcpy(bots->text, text, len);
    bots->text[len] = '\0';
    (void) pcre2_set_match_limit(bots->limits, BOTS_STEPS_MAX);

    rc = bots_lines(bots, len, line);
    if (rc != TRACKER_OK) {
        return rc;
    }

    *line = 0;

    if (bots->npatterns == 0) {
        return TRACKER_INVALID;
    }

    rc = bots_build(bots);

    return rc == TRACKER_OK ? bots_build_rest(bots) : rc;
}


tracker_result_e
tracker_bots_compile(
    tracker_bots_t **out, const char *text, size_t len, unsigned *line)
{
    tracker_bots_t  *bots;
    tracker_result_e rc;

    *line = 0;

    if (len > TRACKER_BOTS_BYTES_MAX) {
        return TRACKER_INVALID;
    }

    bots = calloc(1, sizeof(*bots));
    if (bots == NULL) {
        return TRACKER_FULL;
    }

    rc = bots_make(bots, text, len, line);

    if (rc != TRACKER_OK) {
        tracker_bots_free(bots);
        return rc;
    }

    *out = bots;

    return TRACKER_OK;
}


unsigned
tracker_bots_count(const tracker_bots_t *bots)
{
    return bots->npatterns;
}


/* ---- asking ------------------------------------------------------------- */

typedef struct {
    const char *agent;
    size_t      len;
    uint16_t    tried[BOTS_TRIED_MAX];
    unsigned    ntried;
    uint16_t    best; /* pattern */
    size_t      at;   /* where it fits */
} bots_search_t;


/* Where the expression fits, or -1. */
static int
bots_run(const tracker_bots_t *bots, const pcre2_code *code,
    const bots_search_t *search)
{
    if (pcre2_match(code, (PCRE2_SPTR) search->agent, search->len, 0, 0,
            bots->match, bots->limits)
        < 0)
    {
        return -1;
    }

    return (int) pcre2_get_ovector_pointer(bots->match)[0];
}


/* The literal of the pattern ends before `end`. */
static void
bots_candidate(const tracker_bots_t *bots, bots_search_t *search,
    uint16_t index, size_t end)
{
    int                   at;
    unsigned              i;
    const bots_pattern_t *pattern;

    if (index >= search->best) {
        return;
    }

    pattern = &bots->patterns[index];

    if (pattern->plain) {
        search->best = index;
        search->at = end - pattern->literal_len;
        return;
    }

    for (i = 0; i < search->ntried; i++) {
        if (search->tried[i] == index) {
            return;
        }
    }

    if (i == BOTS_TRIED_MAX) {
        return;
    }

    search->tried[search->ntried++] = index;
    at = bots_run(bots, pattern->code, search);

    if (at >= 0) {
        search->best = index;
        search->at = (size_t) at;
    }
}


static void
bots_walk(const tracker_bots_t *bots, bots_search_t *search)
{
    size_t   i;
    uint16_t state, end, index;

    state = 0;

    for (i = 0; i < search->len; i++) {
        state = bots->next[(size_t) state * bots->nclasses
                           + bots->classes[(uint8_t) search->agent[i]]];

        end = bots->first[state] != BOTS_NONE ? state : bots->suffix[state];

        for (; end != 0; end = bots->suffix[end]) {
            for (index = bots->first[end]; index != BOTS_NONE;
                 index = bots->patterns[index].same)
            {
                bots_candidate(bots, search, index, i + 1);
            }
        }
    }
}


static void
bots_walk_rest(const tracker_bots_t *bots, bots_search_t *search)
{
    int      at;
    uint32_t i;

    if (bots->rest == NULL || bots_run(bots, bots->rest, search) < 0) {
        return;
    }

    for (i = 0; i < search->best && i < bots->npatterns; i++) {
        if (bots->patterns[i].literal_len > 0) {
            continue;
        }

        at = bots_run(bots, bots->patterns[i].code, search);

        if (at >= 0) {
            search->best = (uint16_t) i;
            search->at = (size_t) at;
            return;
        }
    }
}


static inline unsigned
bots_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}


/* The list's name, or the word of the user agent that gave it away. */
static void
bots_name(const bots_pattern_t *pattern, const bots_search_t *search,
    tracker_bot_t *bot)
{
    size_t start, end;

    if (pattern->name_len > 0) {
        bot->name.data = pattern->name;
        bot->name.len = pattern->name_len;
        return;
    }

    start = search->at;

    while (start < search->len && !bots_word(search->agent[start])) {
        start++;
    }

    while (start > 0 && bots_word(search->agent[start - 1])) {
        start--;
    }

    for (end = start; end < search->len && bots_word(search->agent[end])
                      && end - start < TRACKER_BOT_NAME;
         end++)
    { /* void */
    }

    bot->name.data = search->agent + start;
    bot->name.len = end - start;

    if (bot->name.len == 0) {
        bot->name.data = "unnamed";
        bot->name.len = 7;
    }
}


tracker_result_e
tracker_bots_find(
    const tracker_bots_t *bots, tracker_str_t agent, tracker_bot_t *bot)
{
    bots_search_t         search;
    const bots_pattern_t *pattern;

    if (agent.data == NULL || agent.len == 0) {
        return TRACKER_DECLINED;
    }

    search.agent = agent.data;
    search.len = agent.len < BOTS_AGENT_MAX ? agent.len : BOTS_AGENT_MAX;
    search.ntried = 0;
    search.best = BOTS_NONE;
    search.at = 0;

    bots_walk(bots, &search);
    bots_walk_rest(bots, &search);

    if (search.best == BOTS_NONE) {
        return TRACKER_DECLINED;
    }

    pattern = &bots->patterns[search.best];
    bot->kind = pattern->kind;
    bots_name(pattern, &search, bot);

    return TRACKER_OK;
}
