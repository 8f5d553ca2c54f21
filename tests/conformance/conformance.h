/*
 * conformance.h - what the files of the conformance program share.
 */

#ifndef CONFORMANCE_H_INCLUDED_
#define CONFORMANCE_H_INCLUDED_

#include "personalize/feature.h"

#include <stdio.h>
#include <stdlib.h>


/* ---- json.c ------------------------------------------------------------- */

/* A value of the engine as JSON; a new reference. */
json_t *json_of_value(const personalize_value_t *value);
json_t *json_of_str(personalize_str_t text);
/* The same JSON; numbers by value.  NULL is the same as null. */
int json_same(const json_t *a, const json_t *b);
/* What is wrong with `got`, which may have more members; "" for nothing. */
const char *json_misses(const json_t *expected, const json_t *got);


/* ---- decrypt.c ---------------------------------------------------------- */

/* The text of a payload, NULL if it cannot be decrypted. */
json_t *decrypt_text(const char *encrypted, const char *key);


/* ---- context.c: one compiled payload and its visitor -------------------- */

#define CONTEXT_STICKIES 256

typedef struct {
    personalize_set_t     *set;
    personalize_context_t  context;
    json_t                *loaded; /* documents */
    personalize_value_t    root;
    personalize_stickies_t stickies;
    personalize_sticky_t   entries[CONTEXT_STICKIES];
    personalize_forced_t   forced[64];
    char                   packed[1 << 20];
} context_t;

/* Compiles a case's context with an experiment; 0: it was refused. */
int  context_open(context_t *at, json_t *context, json_t *experiment);
void context_close(context_t *at);
/* The result of a feature as the SDKs write it; a new reference. */
json_t *context_feature(context_t *at, json_t *context, const char *name);
json_t *context_outcome(
    context_t *at, const personalize_outcome_t *outcome, const char *feature);
/* Loads the documents that are about this visitor; writes all of them. */
void    context_stick(context_t *at, json_t *context, json_t *documents);
json_t *context_documents(context_t *at);


#endif /* CONFORMANCE_H_INCLUDED_ */
