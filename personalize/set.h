/*
 * set.h - the compiled campaign set, shared by the files of this folder.
 *
 * A condition is compiled into a chain of clauses without any logic node:
 * each clause tests one value and names the clause that follows when it holds
 * (yes) and when it does not (no).  $and, $or and $not vanish into these
 * targets, and so do constants such as {}.  Clauses are emitted last first and
 * targets are always of a lower index, so that every walk ends after at most
 * PERSONALIZE_CLAUSES_MAX steps.  $elemMatch, $all and $size have chains of
 * their own, walked once per element.
 */

#ifndef PERSONALIZE_SET_H_INCLUDED_
#define PERSONALIZE_SET_H_INCLUDED_

#include "personalize.h"

#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
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


/* What a clause asks; $ne, $nin, $not and $exists true swap the targets. */
typedef enum {
    PERSONALIZE_TEST_NULL = 0, /* absent */
    PERSONALIZE_TEST_SAME,     /* strictly the operand, a scalar */
    PERSONALIZE_TEST_TRUTH,    /* present and of the operand's truth */
    PERSONALIZE_TEST_AS_NUMBER,
    PERSONALIZE_TEST_AS_TEXT,
    PERSONALIZE_TEST_DEEP, /* the same JSON: lists and objects */
    PERSONALIZE_TEST_IN,
    PERSONALIZE_TEST_GT,
    PERSONALIZE_TEST_GTE,
    PERSONALIZE_TEST_LT,
    PERSONALIZE_TEST_LTE,
    PERSONALIZE_TEST_TYPE,
    PERSONALIZE_TEST_REGEX,
    PERSONALIZE_TEST_SIZE, /* sub tests the length */
    PERSONALIZE_TEST_ELEM, /* sub tests each element */
    PERSONALIZE_TEST_ALL,  /* each of subs fits some element */
    PERSONALIZE_TEST_VEQ,
    PERSONALIZE_TEST_VGT,
    PERSONALIZE_TEST_VLT
} personalize_test_e;

/* A clause of a nested condition is about the value at hand. */
#define PERSONALIZE_SELF 0xffff

/* Steps of one evaluation, elements and listed texts included. */
#define PERSONALIZE_STEPS_MAX 65536

/* Bytes of a list as text, and of a version in comparable form. */
#define PERSONALIZE_VALUE_TEXT   1024
#define PERSONALIZE_VERSION_TEXT 256

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
    uint8_t  test; /* of personalize_test_e */
    uint8_t  fold; /* letters' case does not count */
    uint16_t attribute;
    int16_t  yes; /* next clause if it holds */
    int16_t  no;
    int16_t  sub; /* of SIZE and ELEM: the clause to begin with */
    uint16_t nsubs;
    union {
        personalize_value_t         value;
        const personalize_choice_t *choice; /* of IN */
        const int16_t              *subs;   /* of ALL */
        pcre2_code                 *regex;
    } operand;
} personalize_clause_t;

/* What follows a literal of content. */
typedef enum {
    PERSONALIZE_WRITE_NONE = 0,
    PERSONALIZE_WRITE_VALUE,
    PERSONALIZE_WRITE_RAW,     /* not escaped, if it comes from the warehouse */
    PERSONALIZE_WRITE_RAW_ANY, /* or wherever it comes from: lenient sets */
    PERSONALIZE_WRITE_OPEN,    /* a section: goes on behind target if false */
    PERSONALIZE_WRITE_INVERT,  /* the same, if true */
    PERSONALIZE_WRITE_CLOSE    /* of a section that is no inverted one */
} personalize_write_e;

typedef struct {
    personalize_str_t literal; /* comes first, may be empty */
    personalize_str_t name;    /* of what follows */
    uint32_t          target;  /* segment that closes this section */
    uint16_t          attribute;
    uint8_t           write; /* of personalize_write_e */
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
typedef struct personalize_regex_s personalize_regex_t;

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
    personalize_regex_t    *regexes;
    pcre2_match_data       *match;
    pcre2_match_context    *limits;
};


/* What one decision knows: each attribute is asked for once at most. */
typedef struct {
    const personalize_request_t *request;
    const personalize_set_t     *set;
    unsigned                     steps; /* left */
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
    unsigned             lenient;   /* what is wrong is false, no fault */
    json_t              *groups;    /* savedGroups, or NULL */
    unsigned             npatterns;
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


/* ---- set.c -------------------------------------------------------------- */

/* Lenient: what no operator knows is false, and every value may be written as
 * it is, as the specifications have it. */
personalize_result_e personalize_set_compile_as(personalize_set_t **set,
    const char *json, size_t len, char *fault, size_t fault_size,
    unsigned lenient);


/* ---- condition.c -------------------------------------------------------- */

/* Leaves the clauses in c->clauses and where to begin in *entry. */
personalize_result_e personalize_condition_compile(
    personalize_compiler_t *c, json_t *when, int16_t *entry);


/* ---- choice.c ----------------------------------------------------------- */

#define PERSONALIZE_OPERAND_FAULT "must be a text, a number, a boolean or null"

personalize_result_e personalize_choice_compile(
    personalize_compiler_t *c, json_t *list, personalize_choice_t *choice);
/* Whether a choice has it. */
int personalize_choice_text(
    const personalize_choice_t *choice, personalize_str_t text);
int personalize_choice_number(
    const personalize_choice_t *choice, double number);


/* ---- pattern.c ---------------------------------------------------------- */

/* Compiles a pattern of JavaScript's syntax; NULL with OK: it is none. */
personalize_result_e personalize_regex_compile(personalize_compiler_t *c,
    const json_t *pattern, int fold, pcre2_code **code);
void                 personalize_regex_free(personalize_set_t *set);
/* Writes the form in which versions compare as texts. */
personalize_str_t personalize_version(
    const personalize_value_t *value, char buf[PERSONALIZE_VERSION_TEXT]);


/* ---- evaluate.c --------------------------------------------------------- */

int personalize_condition_fits(
    const personalize_clause_t *clauses, int entry, personalize_view_t *view);


/* ---- template.c --------------------------------------------------------- */

personalize_result_e personalize_content_compile(personalize_compiler_t *c,
    const json_t *text, personalize_content_t *content);


/* ---- hash.c ------------------------------------------------------------- */

/* FNV-1a over UTF-16 code units, to be begun with PERSONALIZE_HASH_START. */
#define PERSONALIZE_HASH_START 0x811c9dc5U

/* Reads one code point of UTF-8; its bytes, 1 with U+FFFD if it is none. */
size_t   personalize_decode(const char *p, size_t len, uint32_t *point);
uint32_t personalize_hash_add(uint32_t hash, personalize_str_t text);
/* The bucket of a value, 0 <= n < 1; returns 0: no such hash version. */
int personalize_bucket(personalize_str_t seed, personalize_str_t value,
    int64_t version, double *n);
/* The second round of hash version 2. */
double personalize_hash_end(uint32_t hash);
/* For our own tables; differs between machines of different byte order. */
uint32_t personalize_hash_key(personalize_str_t key);


/* ---- value.c ------------------------------------------------------------ */

/* Packs JSON; the new end, or NULL if it does not fit. */
char *personalize_pack(char *p, const char *end, json_t *json, unsigned depth);
char *personalize_pack_list(char *p, const char *end, json_t *list);
personalize_result_e personalize_operand(
    personalize_compiler_t *c, json_t *json, personalize_value_t *value);
/* Steps through packed values of any type. */
int personalize_value_next(
    personalize_str_t list, size_t *pos, personalize_value_t *value);
unsigned          personalize_value_count(personalize_str_t list);
void              personalize_value_path(const personalize_value_t *root,
                 personalize_str_t path, personalize_value_t *value);
int               personalize_value_true(const personalize_value_t *value);
double            personalize_value_number(const personalize_value_t *value);
personalize_str_t personalize_value_text(
    const personalize_value_t *value, char *buf);


/* ---- number.c ----------------------------------------------------------- */

/* 1 if the text is wholly a number of JSON's form. */
int personalize_number_parse(personalize_str_t text, double *number);
/* The shortest text that reads back as the same number; returns its bytes. */
size_t personalize_number_text(double number, char buf[PERSONALIZE_NUMBER_MAX]);


#pragma GCC visibility pop

#endif /* PERSONALIZE_SET_H_INCLUDED_ */
