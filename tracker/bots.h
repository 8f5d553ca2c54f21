/*
 * bots.h - what the files of the bot list share.
 */

#ifndef TRACKER_BOTS_H_INCLUDED_
#define TRACKER_BOTS_H_INCLUDED_

#include "tracker.h"

#pragma GCC visibility push(hidden)


#define BOTS_PATTERN_MAX 256 /* bytes of an expression */

typedef struct {
    const char *p;
    const char *end;
    char        run[BOTS_PATTERN_MAX]; /* literal characters in a row */
    char        best[BOTS_PATTERN_MAX];
    size_t      nrun;
    size_t      nbest;
    unsigned    plain : 1;   /* nothing but literal characters so far */
    unsigned    unknown : 1; /* the expression does what we do not follow */
} bots_scan_t;


/* What the expression in [text, text + len), len <= BOTS_PATTERN_MAX, cannot
 * do without: scan->best, in small letters, and whether that is all of it. */
void bots_literal(bots_scan_t *scan, const char *text, size_t len);


#pragma GCC visibility pop

#endif /* TRACKER_BOTS_H_INCLUDED_ */
