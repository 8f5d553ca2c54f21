/*
 * set.h - the compiled campaign set, shared by the files of this folder.
 *
 * A condition is compiled into a chain of clauses without any logic node:
 * each clause tests one attribute and names the clause that follows when it
 * holds (yes) and when it does not (no).  $and, $or and $not vanish into these
 * targets, and so do constants such as {}.  Clauses are emitted last first and
 * targets are always of a lower index, so that every walk ends after at most
 * PERSONALIZE_CLAUSES_MAX steps, without a stack.
 */

#ifndef PERSONALIZE_SET_H_INCLUDED_
#define PERSONALIZE_SET_H_INCLUDED_

#include "personalize.h"

#include <jansson.h>
#include <string.h>

#pragma GCC visibility push(hidden)


#define PERSONALIZE_FITS  (-1) /* targets beside the clauses: it is decided */
#define PERSONALIZE_FAILS (-2)

/* Longest text personalize_number_text writes: sign, 17 digits, point, e-308 */
#define PERSONALIZE_NUMBER_MAX 32

/* campaigns[9999].when and 16 times .$and[...], one dotted path, operators */
#define PERSONALIZE_FAULT_PATH_MAX 1024

/* Twice the attributes, so that the open table stays half empty. */
#define PERSONALIZE_INTERN_SLOTS (2 * PERSONALIZE_ATTRIBUTES_MAX)


/* What a clause asks of its attribute; $ne and $exists swap the targets. */
typedef enum {
    PERSONALIZE_TEST_NULL = 0,
    PERSONALIZE_TEST_BOOL,
    PERSONALIZE_TEST_NUMBER,
    PERSONALIZE_TEST_TEXT,
    PERSONALIZE_TEST_IN,
    PERSONALIZE_TEST_GT,
    PERSONALIZE_TEST_LT
} personalize_test_e;

/* The operand of $in, sorted for binary search. */
typedef struct {
    personalize_str_t *texts;   /* by length, then by bytes */
    double            *numbers; /* ascending */
    unsigned           ntexts;
    unsigned           nnumbers;
    unsigned           has_null : 1;
    unsigned           has_true : 1;
    unsigned           has_false : 1;
} personalize_choice_t;

typedef struct {
    uint8_t  test;    /* of personalize_test_e */
    uint8_t  numeric; /* number is set: the operand is or reads as one */
    uint16_t attribute;
    int16_t  yes; /* next clause if it holds */
    int16_t  no;
    double   number;
    union {
        personalize_str_t           text;   /* data NULL: a number only */
        const personalize_choice_t *choice; /* of TEST_IN */
    } operand;
} personalize_clause_t;

typedef struct {
    personalize_str_t literal;   /* comes first, may be empty */
    int               attribute; /* then this one's value; -1: nothing */
} personalize_segment_t;

typedef struct {
    const personalize_segment_t *segments;
    size_t                       nsegments;
} personalize_content_t;

typedef struct {
    personalize_str_t     key;
    double                upto; /* share of weights up to and with this one */
    personalize_content_t content;
} personalize_variant_t;

typedef struct {
    int64_t                      start_s; /* live from here on, UTC */
    int64_t                      end_s;   /* and before this */
    const personalize_clause_t  *clauses;
    const personalize_variant_t *variants;
    personalize_str_t            key;
    uint32_t                     seed; /* hash state after the key */
    int16_t                      entry;
    uint16_t                     nvariants;
} personalize_campaign_t;

typedef struct {
    personalize_str_t name;
    uint32_t          first; /* of its campaigns, in order of priority */
    uint32_t          ncampaigns;
} personalize_slot_t;

typedef struct personalize_block_s personalize_block_t;

struct personalize_set_s {
    uint64_t                version;
    personalize_campaign_t *campaigns; /* by slot, priority, key */
    personalize_slot_t     *slots;
    uint32_t               *index; /* open table of slot number + 1 */
    uint32_t                index_mask;
    unsigned                ncampaigns;
    unsigned                nslots;
    unsigned                nattributes;
    personalize_str_t       attributes[PERSONALIZE_ATTRIBUTES_MAX];
    personalize_block_t    *blocks; /* all memory, freed at once */
    char                   *free;   /* rest of the newest block */
    size_t                  nfree;  /* bytes */
};


/* What one decision knows: each attribute is asked for once at most. */
typedef struct {
    const personalize_request_t *request;
    uint64_t                     known[PERSONALIZE_ATTRIBUTES_MAX / 64];
    personalize_value_t          values[PERSONALIZE_ATTRIBUTES_MAX];
} personalize_view_t;


static inline const personalize_value_t *
personalize_view_get(personalize_view_t *view, unsigned n)
{
    uint64_t             bit = 1ULL << (n % 64);
    personalize_value_t *value = &view->values[n];

    if (!(view->known[n / 64] & bit)) {
        view->known[n / 64] |= bit;
        memset(value, 0, sizeof(personalize_value_t));
        view->request->get(view->request->ctx, n, value);
    }

    return value;
}


static inline int
personalize_str_equal(personalize_str_t a, personalize_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


/* ---- compile.c: what the compilers share -------------------------------- */

typedef struct {
    personalize_set_t   *set;
    char                *fault;
    size_t               fault_size;
    size_t               path_len;
    unsigned             depth;     /* of the condition under way */
    uint16_t             attribute; /* that the operators are about */
    unsigned             nclauses;
    personalize_clause_t clauses[PERSONALIZE_CLAUSES_MAX];
    uint16_t             intern[PERSONALIZE_INTERN_SLOTS]; /* number + 1 */
    char                 path[PERSONALIZE_FAULT_PATH_MAX];
} personalize_compiler_t;

/* Memory of the set, for anything with at most pointer alignment; or NULL. */
void *personalize_alloc(personalize_compiler_t *c, size_t size);
/* Copies a JSON string into the set; NOMEM. */
personalize_result_e personalize_copy(
    personalize_compiler_t *c, const json_t *text, personalize_str_t *copy);

/* Lengthens the JSON path; the result is for personalize_path_pop. */
size_t personalize_path_push(personalize_compiler_t *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void personalize_path_pop(personalize_compiler_t *c, size_t len);

/* Writes "<path>: <sentence>" as the fault and returns INVALID. */
personalize_result_e personalize_fault(personalize_compiler_t *c,
    const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Numbers an attribute path. */
personalize_result_e personalize_intern(
    personalize_compiler_t *c, personalize_str_t path, uint16_t *n);


/* ---- condition.c -------------------------------------------------------- */

/* Leaves the clauses in c->clauses and where to begin in *entry. */
personalize_result_e personalize_condition_compile(
    personalize_compiler_t *c, json_t *when, int16_t *entry);
int personalize_condition_fits(
    const personalize_clause_t *clauses, int entry, personalize_view_t *view);


/* ---- render.c ----------------------------------------------------------- */

personalize_result_e personalize_content_compile(personalize_compiler_t *c,
    const json_t *text, personalize_content_t *content);


/* ---- hash.c ------------------------------------------------------------- */

/* FNV-1a over UTF-16 code units, to be begun with PERSONALIZE_HASH_START. */
#define PERSONALIZE_HASH_START 0x811c9dc5U

uint32_t personalize_hash_add(uint32_t hash, personalize_str_t text);
/* The second round of hash version 2. */
double personalize_hash_end(uint32_t hash);
/* For our own tables; differs between machines of different byte order. */
uint32_t personalize_hash_key(personalize_str_t key);


/* ---- number.c ----------------------------------------------------------- */

/* 1 if the text is wholly a number of JSON's form. */
int personalize_number_parse(personalize_str_t text, double *number);
/* The shortest text that reads back as the same number; returns its bytes. */
size_t personalize_number_text(double number, char buf[PERSONALIZE_NUMBER_MAX]);


#pragma GCC visibility pop

#endif /* PERSONALIZE_SET_H_INCLUDED_ */
