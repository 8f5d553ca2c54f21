/*
 * personalize.h - all that other folders may use of the personalize core.
 *
 * The core turns a campaign set and a visitor's state into decisions and
 * text.  A set is compiled once into a closed tree of bounded cost; deciding
 * allocates nothing, knows no clock and does no I/O.  A decision is a pure
 * function of (set, attributes, unit, time).
 */

#ifndef PERSONALIZE_H_INCLUDED_
#define PERSONALIZE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)


typedef enum {
    PERSONALIZE_OK = 0,
    PERSONALIZE_DECLINED, /* no campaign fits: the default stays */
    PERSONALIZE_INVALID,  /* the input is refused; the fault says where */
    PERSONALIZE_FULL,     /* the buffer given is too small */
    PERSONALIZE_NOMEM
} personalize_result_e;

const char *personalize_result_text(personalize_result_e rc);

typedef struct {
    const char *data; /* not NUL-terminated */
    size_t      len;  /* bytes */
} personalize_str_t;


/* ---- profile.c: attributes of one visitor, packed flat ------------------ */

typedef enum {
    PERSONALIZE_ABSENT = 0, /* the attribute is unknown or null */
    PERSONALIZE_BOOL,
    PERSONALIZE_NUMBER,
    PERSONALIZE_TEXT,
    PERSONALIZE_LIST,  /* packed: see personalize_list_next */
    PERSONALIZE_OBJECT /* packed likewise, names and values in turn */
} personalize_type_e;

typedef struct {
    personalize_type_e type;
    double             number; /* of BOOL (0 or 1) and NUMBER */
    personalize_str_t  text;   /* of TEXT; else the packed bytes */
} personalize_value_t;

/*
 * Packs a JSON object into a pointer-free blob for shared memory: nested
 * objects become dotted paths ("customer.rfm.segment"), lists keep all that
 * JSON can hold.  *used gets the bytes.  FULL: does not fit in size.
 * INVALID: not a JSON object.  Uses jansson: not for the request path.
 */
personalize_result_e personalize_profile_pack(
    const char *json, size_t len, char *blob, size_t size, size_t *used);

/* Looks a dotted path up; a damaged blob gives ABSENT, never a wild read. */
void personalize_profile_get(const char *blob, size_t len,
    personalize_str_t path, personalize_value_t *value);

/* Appends one text to a packed list; returns the new end or NULL. */
char *personalize_list_put(char *p, const char *end, personalize_str_t text);
/*
 * Steps through the texts and numbers of a packed list; *pos starts at 0;
 * returns 0 at its end.
 */
int personalize_list_next(
    personalize_str_t list, size_t *pos, personalize_str_t *text);


/* ---- set.c: the campaigns of one site, compiled ------------------------- */

#define PERSONALIZE_SET_BYTES_MAX  (16u << 20)
#define PERSONALIZE_CAMPAIGNS_MAX  10000
#define PERSONALIZE_DEPTH_MAX      16    /* of a condition */
#define PERSONALIZE_CLAUSES_MAX    256   /* of one campaign's condition */
#define PERSONALIZE_NAME_MAX       64    /* bytes of a slot, key or variant */
#define PERSONALIZE_CONTENT_MAX    65536 /* bytes of one variant's content */
#define PERSONALIZE_ATTRIBUTES_MAX 512   /* distinct paths in one set */
#define PERSONALIZE_PATH_MAX       255   /* bytes of a dotted path */

typedef struct personalize_set_s personalize_set_t;

/*
 * Compiles a set (docs/campaigns.md).  On INVALID nothing is kept and `fault`
 * holds a sentence that begins with the JSON path of the fault, for example
 * campaigns[2].when.$and[0].visitor.new: unknown operator "$near".
 * The set owns all its memory; personalize_set_free takes NULL.
 */
personalize_result_e personalize_set_compile(personalize_set_t **set,
    const char *json, size_t len, char *fault, size_t fault_size);
void                 personalize_set_free(personalize_set_t *set);

uint64_t personalize_set_version(const personalize_set_t *set);
unsigned personalize_set_campaigns(const personalize_set_t *set);

/* The distinct attribute paths the set reads, numbered from 0. */
unsigned          personalize_set_attributes(const personalize_set_t *set);
personalize_str_t personalize_set_attribute(
    const personalize_set_t *set, unsigned n);


/* ---- decide.c: which campaign fills a slot ------------------------------ */

/*
 * Gives the value of attribute n of the set.  Called at most a bounded number
 * of times per decision; must not block.  The text must live until the
 * decision is rendered.
 */
typedef void (*personalize_get_pt)(
    void *ctx, unsigned n, personalize_value_t *value);

typedef struct {
    personalize_get_pt get;
    void              *ctx;
    personalize_str_t  unit;  /* what is hashed for variants: the visitor id */
    int64_t            now_s; /* UTC */
} personalize_request_t;

typedef struct {
    personalize_str_t campaign;
    personalize_str_t variant;
    const void       *content; /* for personalize_render */
} personalize_decision_t;      /* points into the set */

/* 1 if any campaign of the set could ever fill this slot. */
int personalize_slot_known(
    const personalize_set_t *set, personalize_str_t slot);

/* The live campaign of highest priority whose audience fits; DECLINED: none. */
personalize_result_e personalize_decide(const personalize_set_t *set,
    personalize_str_t slot, const personalize_request_t *request,
    personalize_decision_t *decision);

/* ---- render.c: a variant's content, written for one visitor ------------- */

#define PERSONALIZE_SECTIONS_MAX 16   /* open at the same time */
#define PERSONALIZE_WRITE_STEPS  4096 /* tags and look-ups of one rendering */

/*
 * Writes a decision's content, a template of docs/campaigns.md (lists joined
 * by ", ", absent as nothing).  *len gets the bytes needed; FULL when that is
 * more than size (call again with room).  DECLINED: it was not at its end after
 * PERSONALIZE_WRITE_STEPS.
 */
personalize_result_e personalize_render(const personalize_decision_t *decision,
    const personalize_request_t *request, char *buf, size_t size, size_t *len);

/* ---- feature.c: features and experiments of the GrowthBook format ------- */

/*
 * Compiles a payload as the GrowthBook API serves it, {"features": {},
 * "experiments": [], "savedGroups": {}, "contextualBandits": {}}, into a
 * set without campaigns.  What the specification calls false is no fault; what
 * is of no sensible type, too deep or too large is, as in a set.
 */
personalize_result_e personalize_features_compile(personalize_set_t **set,
    const char *json, size_t len, char *fault, size_t fault_size);

/* One stored assignment: who sees which variation of what. */
typedef struct {
    personalize_str_t   attribute;  /* name, for example id */
    personalize_value_t value;      /* of that attribute */
    personalize_str_t   experiment; /* key, "__" and bucket version */
    personalize_str_t   variation;  /* key */
} personalize_sticky_t;

/* The caller's; new ones are put behind and point into set and attributes. */
typedef struct {
    personalize_sticky_t *entries;
    unsigned              n;
    unsigned              max; /* what exceeds it is counted in `lost` */
    unsigned              lost;
    unsigned              changed; /* entries put or altered */
} personalize_stickies_t;

typedef struct {
    personalize_str_t key;       /* of an experiment */
    int               variation; /* from 0 on */
} personalize_forced_t;

/* What an evaluation is told beside the attributes. */
typedef struct {
    personalize_get_pt          get;
    void                       *ctx;
    personalize_str_t           url;
    const personalize_forced_t *forced;
    unsigned                    nforced;
    personalize_stickies_t     *stickies;     /* NULL: sticky buckets are off */
    unsigned                    disabled : 1; /* no experiment runs */
    unsigned                    qa : 1;       /* nobody is bucketed by hash */
} personalize_context_t;

typedef struct personalize_held_s       personalize_held_t;
typedef struct personalize_experiment_s personalize_experiment_t;

/* What an experiment came to; points into set and attributes. */
typedef struct {
    const personalize_held_t *held; /* its value; NULL: none */
    personalize_str_t         key;  /* of the variation */
    personalize_str_t         name;
    personalize_str_t         hash_attribute;
    personalize_value_t       hash_value; /* ABSENT: none */
    double                    bucket;
    unsigned                  variation;
    int                       leaf; /* of a bandit's contexts; -1: none fits */
    unsigned                  in_experiment : 1;
    unsigned                  hash_used : 1;
    unsigned                  has_bucket : 1;
    unsigned                  sticky_used : 1;
    unsigned                  passthrough : 1;
} personalize_outcome_t;

typedef enum {
    PERSONALIZE_SOURCE_UNKNOWN = 0,
    PERSONALIZE_SOURCE_DEFAULT,
    PERSONALIZE_SOURCE_FORCE,
    PERSONALIZE_SOURCE_EXPERIMENT,
    PERSONALIZE_SOURCE_PREREQUISITE,
    PERSONALIZE_SOURCE_CIRCLE
} personalize_source_e;

typedef struct {
    personalize_source_e      source;
    const personalize_held_t *held;    /* NULL: null */
    personalize_str_t         rule;    /* its id, may be empty */
    unsigned                  place;   /* of the rule */
    personalize_outcome_t     outcome; /* of EXPERIMENT */
} personalize_flag_t;

/* Evaluates a feature by its name.  Cost is bounded, nothing is allocated. */
void personalize_feature_evaluate(const personalize_set_t *set,
    personalize_str_t name, const personalize_context_t *context,
    personalize_flag_t *flag);

/* Runs number n of the payload's experiments; 0: there is none. */
int personalize_experiment_evaluate(const personalize_set_t *set, unsigned n,
    const personalize_context_t *context, personalize_outcome_t *outcome);

/* The value in the form of an attribute, ABSENT for NULL. */
personalize_value_t personalize_held_value(const personalize_held_t *held);

/* ---- greeting.c: how a customer is addressed ---------------------------- */

typedef struct {
    personalize_str_t language; /* "zh…" is Chinese, all else English */
    personalize_str_t form; /* of address: "ms", "Dr.", "女士", or another */
    personalize_str_t family_name;
    personalize_str_t given_name;
    personalize_str_t name; /* all of it */
} personalize_person_t;

/* Writes the greeting; its bytes, or 0: no name is known, or it does not fit.
 */
size_t personalize_greeting(
    const personalize_person_t *person, char *buf, size_t size);
/* 1 if the date, YYYY-MM-DD, --MM-DD or MM-DD, is kept on this day of UTC. */
int personalize_is_birthday(personalize_str_t date, int64_t now_s);


/* GrowthBook hash version 2: 0 <= n < 1 in steps of 1/10000. */
double personalize_hash(personalize_str_t seed, personalize_str_t unit);


/* ---- literal.c: texts of a page that a shop cannot change --------------- */

#define PERSONALIZE_LITERALS_MAX 16
#define PERSONALIZE_LITERAL_MAX  255 /* bytes of one */

typedef struct {
    personalize_str_t text;
    size_t            key; /* where its rarest byte is, which is looked for */
} personalize_literal_t;

typedef struct {
    personalize_literal_t item[PERSONALIZE_LITERALS_MAX];
    unsigned              n;
} personalize_literals_t; /* start zeroed */

/*
 * Adds a text, which must outlive the literals.  NULL, or a sentence that says
 * why it is refused: none may be in another one, or be taken for a marker.
 */
const char *personalize_literal_add(
    personalize_literals_t *literals, personalize_str_t text);

/* Where literal n begins first in [p, end); NULL: it does not. */
const char *personalize_literal_find(const personalize_literals_t *literals,
    unsigned n, const char *p, const char *end);


/* ---- slot.c: finding markers and literals in a stream ------------------- */

/* "<!--crm:slot " + name + "-->" is the longest marker. */
#define PERSONALIZE_MARKER_MAX (13 + PERSONALIZE_NAME_MAX + 3)
/* a marker or a literal begun */
#define PERSONALIZE_HELD_MAX (PERSONALIZE_LITERAL_MAX + 1)

typedef enum {
    PERSONALIZE_SLOT_TEXT,    /* out: bytes that pass unchanged */
    PERSONALIZE_SLOT_OPEN,    /* out: the whole marker, name set */
    PERSONALIZE_SLOT_CLOSE,   /* out: the whole marker */
    PERSONALIZE_SLOT_LITERAL, /* out: the whole literal, its number set */
    PERSONALIZE_SLOT_MORE     /* the chunk is used up */
} personalize_slot_e;

typedef struct {
    char     held[PERSONALIZE_HELD_MAX]; /* begun, not yet ended */
    unsigned nheld;
    unsigned spent;      /* first bytes of held that the last token gave out */
    unsigned false_hits; /* '!' that began no marker; picks the search */
    unsigned found;      /* literals that have come, one bit each */
    unsigned looked;     /* literals whose place in this chunk is known */
    size_t   at[PERSONALIZE_LITERALS_MAX];  /* that place, or the chunk's end */
    const personalize_literals_t *literals; /* NULL: markers only */
} personalize_scanner_t; /* start zeroed, but for the literals */

typedef struct {
    personalize_str_t out;  /* bytes of the page, in order, nothing missing */
    personalize_str_t name; /* of OPEN */
    unsigned          literal;
    unsigned          copied; /* out lies in the scanner: copy it before the
                                 next call; else it lies in the chunk */
} personalize_token_t;

/*
 * Takes the next token from chunk[*pos..len).  All bytes of the stream come
 * out exactly once, in order, as `out` of TEXT, OPEN, CLOSE or LITERAL; what
 * straddles chunks is held back (less than PERSONALIZE_HELD_MAX bytes).
 * Knows no nesting: OPEN and CLOSE are reported as they come.  Of a literal
 * its first occurrence is reported; what begins first goes first, and a marker
 * that the end of the stream cuts off is text.
 */
personalize_slot_e personalize_slot_next(personalize_scanner_t *scanner,
    const char *chunk, size_t len, size_t *pos, personalize_token_t *token);

/* At the end of the stream: bytes still held, as text. */
personalize_str_t personalize_slot_rest(personalize_scanner_t *scanner);


#pragma GCC visibility pop

#include "intent.h"    /* likelihood to buy */
#include "recommend.h" /* the next item of a session */

#endif /* PERSONALIZE_H_INCLUDED_ */
