/*
 * bots_literal.c - finds the longest literal a regular expression needs.
 *
 * Only what stands at the top of the expression is read: groups, classes and
 * what a quantifier may leave out end a run of literal characters.  Whatever
 * is not understood for certain (flags, verbs, unusual escapes) makes the
 * expression one without a literal, which is slower but never wrong.
 */

#include "bots.h"

#include <string.h>


static inline char
bots_fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


static void
bots_break(bots_scan_t *scan)
{
    if (scan->nrun > scan->nbest) {
        scan->nbest = scan->nrun;
        memcpy(scan->best, scan->run, scan->nrun);
    }

    scan->nrun = 0;
}


static void
bots_char(bots_scan_t *scan, char c)
{
    if (scan->nrun < sizeof(scan->run)) {
        scan->run[scan->nrun++] = bots_fold(c);
    }
}


/* A class: "[wW]" is the letter w, any other one ends the run. */
static void
bots_class(bots_scan_t *scan)
{
    const char *p = scan->p;

    if (scan->end - p >= 4 && p[3] == ']' && p[1] != p[2]
        && bots_fold(p[1]) == bots_fold(p[2]))
    {
        bots_char(scan, p[1]);
        scan->p = p + 4;
        return;
    }

    scan->plain = 0;
    bots_break(scan);

    p++;
    p += p < scan->end && *p == '^';
    p += p < scan->end && *p == ']';

    for (; p < scan->end && *p != ']'; p++) {
        if (*p == '\\' && p + 1 < scan->end) {
            p++;
        } else if (*p == '[') {
            scan->unknown = 1; /* "[[:alpha:]]" */
            return;
        }
    }

    scan->p = p < scan->end ? p + 1 : p;
}


/* A group is passed over; flags within change what we have read. */
static void
bots_group(bots_scan_t *scan)
{
    unsigned    depth;
    const char *p;

    scan->plain = 0;
    bots_break(scan);
    depth = 0;

    for (p = scan->p; p < scan->end; p++) {
        if (*p == '\\') {
            p++;

        } else if (*p == '[') {
            scan->p = p;
            bots_class(scan);
            scan->nrun = 0;
            if (scan->unknown) {
                return;
            }
            p = scan->p - 1;

        } else if (*p == '(') {
            depth++;
            if (scan->end - p > 2 && p[1] == '?' && p[2] != ':' && p[2] != '='
                && p[2] != '!' && p[2] != '<')
            {
                scan->unknown = 1;
                return;
            }
            if (scan->end - p > 1 && p[1] == '*') {
                scan->unknown = 1;
                return;
            }

        } else if (*p == ')' && --depth == 0) {
            scan->p = p + 1;
            return;
        }
    }

    scan->unknown = 1;
}


static void
bots_escape(bots_scan_t *scan)
{
    char c;

    if (scan->end - scan->p < 2) {
        scan->unknown = 1;
        return;
    }

    c = scan->p[1];
    scan->p += 2;

    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9')))
    {
        bots_char(scan, c);
        return;
    }

    scan->plain = 0;
    bots_break(scan);

    if (memchr("bBdDsSwW", c, 8) == NULL) {
        scan->unknown = 1;
    }
}


/* What the expression in [text, text + len) cannot do without. */
void
bots_literal(bots_scan_t *scan, const char *text, size_t len)
{
    memset(scan, 0, sizeof(*scan));
    scan->p = text;
    scan->end = text + len;
    scan->plain = 1;

    while (scan->p < scan->end && !scan->unknown) {
        switch (*scan->p) {

        case '\\':
            bots_escape(scan);
            break;

        case '[':
            bots_class(scan);
            break;

        case '(':
            bots_group(scan);
            break;

        case '?':
        case '*':
        case '{':
            /* what stands before may be missing */
            scan->nrun -= scan->nrun > 0;
            scan->plain = 0;
            bots_break(scan);
            scan->p++;
            break;

        case '|':
        case ')':
            scan->unknown = 1;
            break;

        case '+':
        case '.':
        case '^':
        case '$':
        case '}':
            scan->plain = 0;
            bots_break(scan);
            scan->p++;
            break;

        default:
            bots_char(scan, *scan->p++);
            break;
        }
    }

    bots_break(scan);

    if (scan->unknown) {
        scan->nbest = 0;
        scan->plain = 0;
    }
}
