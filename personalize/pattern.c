/*
 * pattern.c - regular expressions and versions of conditions.
 *
 * Patterns are JavaScript's; PCRE2 runs them.  What the two read differently
 * is translated (\v, \h, "[" in a class) or refused (possessive quantifiers,
 * verbs, inline options), so that a pattern never means something else.  Left:
 * look-behind must be of fixed length, and \s is ASCII.  A match is bounded by
 * MATCH_LIMIT; one that exceeds it does not match.
 */

#include "set.h"

#include <stdlib.h>


#define PATTERN_MAX   4096 /* bytes */
#define PATTERNS_MAX  1000 /* of a set */
#define MATCH_LIMIT   20000
#define MATCH_HEAP_KB 1024

struct personalize_regex_s {
    personalize_regex_t *next;
    pcre2_code          *code;
};


/* Writes an escape; returns the bytes of the pattern it took, 0: a fault. */
static size_t
translate_escape(const char *p, size_t len, char **out)
{
    if (len < 2) {
        return 0;
    }

    if (p[1] == 'v') {
        memcpy(*out, "\\x0b", 4);
        *out += 4;
        return 2;
    }

    if (((p[1] >= 'a' && p[1] <= 'z') || (p[1] >= 'A' && p[1] <= 'Z'))
        && strchr("dDwWsSbBfnrtxucCk", p[1]) == NULL)
    {
        *(*out)++ = p[1];
        return 2;
    }

    *(*out)++ = p[0];
    *(*out)++ = p[1];

    return 2;
}


static int
group_known(const char *p, size_t len)
{
    if (len >= 2 && p[1] == '*') {
        return 0;
    }

    if (len < 3 || p[1] != '?') {
        return 1;
    }

    return strchr(":=!<", p[2]) != NULL;
}


/* out holds twice the pattern's bytes and two; returns its end or NULL. */
static char *
translate(const char *p, size_t len, char *out)
{
    int    in_class = 0, after = 0; /* a quantifier came just before */
    size_t i, n;

    for (i = 0; i < len;) {
        if (p[i] == '\\') {
            n = translate_escape(p + i, len - i, &out);
            if (n == 0) {
                return NULL;
            }
            i += n;
            after = 0;
            continue;
        }

        if (in_class) {
            in_class = p[i] != ']';
            if (p[i] == '[') {
                *out++ = '\\';
            }
        } else if (p[i] == '[') {
            in_class = 1;
        } else if (p[i] == '(' && !group_known(p + i, len - i)) {
            return NULL;
        } else if (p[i] == '+' && after) {
            return NULL;
        }

        after = !in_class
                && (p[i] == '*' || p[i] == '+' || p[i] == '?' || p[i] == '}');
        *out++ = p[i++];
    }

    return out;
}


static int
prepare(personalize_set_t *set)
{
    if (set->match == NULL) {
        set->match = pcre2_match_data_create(1, NULL);
    }

    if (set->limits == NULL) {
        set->limits = pcre2_match_context_create(NULL);
        if (set->limits != NULL) {
            (void) pcre2_set_match_limit(set->limits, MATCH_LIMIT);
            (void) pcre2_set_depth_limit(set->limits, MATCH_LIMIT);
            (void) pcre2_set_heap_limit(set->limits, MATCH_HEAP_KB);
        }
    }

    return set->match != NULL && set->limits != NULL;
}


static pcre2_code *
build(const char *text, size_t len, int fold)
{
    int                    error;
    uint32_t               options;
    PCRE2_SIZE             at;
    pcre2_code            *code;
    pcre2_compile_context *context;

    context = pcre2_compile_context_create(NULL);
    if (context == NULL) {
        return NULL;
    }

    (void) pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_ALT_BSUX
              | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_DOLLAR_ENDONLY
              | PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;

    code = pcre2_compile((PCRE2_SPTR) text, len,
        options | (fold ? PCRE2_CASELESS : 0), &error, &at, context);
    pcre2_compile_context_free(context);

    if (code != NULL) {
        (void) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    }

    return code;
}


personalize_result_e
personalize_regex_compile(personalize_compiler_t *c, const json_t *pattern,
    int fold, pcre2_code **code)
{
    char                *text, *end;
    size_t               len = json_string_length(pattern);
    personalize_regex_t *regex;

    *code = NULL;

    if (len > PATTERN_MAX || ++c->npatterns > PATTERNS_MAX) {
        return personalize_fault(c,
            "patterns of a set: at most %d, each of %d bytes", PATTERNS_MAX,
            PATTERN_MAX);
    }

    regex = personalize_alloc(c, sizeof(personalize_regex_t));
    text = malloc(len * 4 + 2);
    if (regex == NULL || text == NULL || !prepare(c->set)) {
        free(text);
        return PERSONALIZE_NOMEM;
    }

    end = translate(json_string_value(pattern), len, text);
    if (end != NULL) {
        *code = build(text, (size_t) (end - text), fold);
    }
    free(text);

    if (*code != NULL) {
        regex->code = *code;
        regex->next = c->set->regexes;
        c->set->regexes = regex;
        /* what a match allocates once is allocated here */
        (void) pcre2_match(
            *code, (PCRE2_SPTR) "", 0, 0, 0, c->set->match, c->set->limits);
    }

    return PERSONALIZE_OK;
}


void
personalize_regex_free(personalize_set_t *set)
{
    personalize_regex_t *regex;

    for (regex = set->regexes; regex != NULL; regex = regex->next) {
        pcre2_code_free(regex->code);
    }

    pcre2_match_data_free(set->match);
    pcre2_match_context_free(set->limits);
}


/* Appends a part, digits alone right-aligned to five. */
static size_t
put_part(char *buf, size_t len, const char *part, size_t n)
{
    size_t i;

    for (i = 0; i < n && part[i] >= '0' && part[i] <= '9'; i++) {
        /* void */
    }

    if (i == n && n > 0) {
        for (i = n; i < 5 && len < PERSONALIZE_VERSION_TEXT; i++) {
            buf[len++] = ' ';
        }
    }

    for (i = 0; i < n && len < PERSONALIZE_VERSION_TEXT; i++) {
        buf[len++] = part[i];
    }

    return len;
}


personalize_str_t
personalize_version(
    const personalize_value_t *value, char buf[PERSONALIZE_VERSION_TEXT])
{
    char              number[PERSONALIZE_NUMBER_MAX];
    size_t            i, from, len;
    unsigned          parts;
    const char       *plus;
    personalize_str_t text = {"0", 1};

    if (value->type == PERSONALIZE_NUMBER) {
        text.data = number;
        text.len = personalize_number_text(value->number, number);
    } else if (value->type == PERSONALIZE_TEXT && value->text.len > 0) {
        text = value->text;
    }

    if (text.data[0] == 'v') {
        text.data++;
        text.len--;
    }

    plus = memchr(text.data, '+', text.len);
    if (plus != NULL) {
        text.len = (size_t) (plus - text.data);
    }

    len = from = 0;
    parts = 0;

    for (i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != '-' && text.data[i] != '.') {
            continue;
        }
        if (parts++ > 0) {
            len = put_part(buf, len, "-", 1);
        }
        len = put_part(buf, len, text.data + from, i - from);
        from = i + 1;
    }

    if (parts == 3) {
        len = put_part(buf, len, "-~", 2);
    }

    text.data = buf;
    text.len = len;

    return text;
}
