/*
 * intent.h - the likelihood that a session buys, from weights mined off-line.
 *
 * A document holds fields (what is known of a session), how each becomes
 * inputs of a small neural network, and the network.  It is read once and
 * checked whole; evaluating allocates nothing and takes about a microsecond.
 */

#ifndef INTENT_H_INCLUDED_
#define INTENT_H_INCLUDED_

#include "personalize.h"

#pragma GCC visibility push(hidden)


#define PERSONALIZE_INTENT_BYTES_MAX (1u << 20)
#define PERSONALIZE_INTENT_FIELDS    64
#define PERSONALIZE_INTENT_INPUTS    512
#define PERSONALIZE_INTENT_HIDDEN    256 /* a multiple of 4 */
#define PERSONALIZE_INTENT_GROUPS    64
/* Inputs of one session that are not 0: two of each field at most. */
#define PERSONALIZE_INTENT_ACTIVE (2 * PERSONALIZE_INTENT_FIELDS)

typedef struct personalize_intent_s personalize_intent_t;

typedef struct {
    unsigned n;
    uint16_t input[PERSONALIZE_INTENT_ACTIVE];
    float    value[PERSONALIZE_INTENT_ACTIVE];
} personalize_intent_inputs_t;

/*
 * Reads a document:
 *
 *     crm-intent 1 <FNV-1a of what follows, 16 hex digits>\n
 *     {"id":17,"hidden":40,
 *      "fields":[{"name":"pages","log":true,"mean":1.2,"scale":0.8,
 *                 "missing":false},
 *                {"name":"traffic","levels":["direct","search"]}],
 *      "weights":[per input one per hidden unit],"bias":[per hidden unit],
 *      "out":[per hidden unit],"out_bias":-1.7,
 *      "groups":[{"name":"browsers","centre":[one per input]}]}
 *
 * Groups may be left out.  INVALID: `fault` says what is wrong; nothing is
 * kept.  personalize_intent_free takes NULL.
 */
personalize_result_e personalize_intent_read(personalize_intent_t **intent,
    const char *text, size_t len, char *fault, size_t fault_size);
void                 personalize_intent_free(personalize_intent_t *intent);

/* The checksum of a document's body, for who writes one. */
uint64_t personalize_intent_sum(const char *body, size_t len);

uint64_t personalize_intent_id(const personalize_intent_t *intent);
unsigned personalize_intent_fields(const personalize_intent_t *intent);
unsigned personalize_intent_ninputs(const personalize_intent_t *intent);
personalize_str_t personalize_intent_field(
    const personalize_intent_t *intent, unsigned n);

/*
 * values: one per field.  What is absent, of another type or no finite number
 * counts as missing; a level that the document does not know as none.
 */
void personalize_intent_encode(const personalize_intent_t *intent,
    const personalize_value_t *values, personalize_intent_inputs_t *inputs);

/* 0 < likelihood < 1. */
double personalize_intent_score(const personalize_intent_t *intent,
    const personalize_intent_inputs_t                      *inputs);

/* The group whose centre is nearest; an empty text without groups. */
personalize_str_t personalize_intent_group(const personalize_intent_t *intent,
    const personalize_intent_inputs_t                                 *inputs);


#pragma GCC visibility pop

#endif /* INTENT_H_INCLUDED_ */
