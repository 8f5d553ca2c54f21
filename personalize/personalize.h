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

/*
 * Writes a decision's content with {{path}} replaced by the HTML-escaped
 * attribute (lists joined by ", ", absent as nothing).  *len gets the bytes
 * needed; FULL when that is more than size (call again with room).
 */
personalize_result_e personalize_render(const personalize_decision_t *decision,
    const personalize_request_t *request, char *buf, size_t size, size_t *len);

/* GrowthBook hash version 2: 0 <= n < 1 in steps of 1/10000. */
double personalize_hash(personalize_str_t seed, personalize_str_t unit);


/* ---- slot.c: finding markers in a stream -------------------------------- */

/* "<!--crm:slot " + name + "-->" is the longest marker. */
#define PERSONALIZE_MARKER_MAX (13 + PERSONALIZE_NAME_MAX + 3)

typedef enum {
    PERSONALIZE_SLOT_TEXT,  /* out: bytes that pass unchanged */
    PERSONALIZE_SLOT_OPEN,  /* out: the whole marker, name set */
    PERSONALIZE_SLOT_CLOSE, /* out: the whole marker */
    PERSONALIZE_SLOT_MORE   /* the chunk is used up */
} personalize_slot_e;

typedef struct {
    char     held[PERSONALIZE_MARKER_MAX]; /* a marker begun, not yet ended */
    unsigned nheld;
    unsigned false_hits; /* '!' that began no marker; picks the search */
} personalize_scanner_t; /* start zeroed */

typedef struct {
    personalize_str_t out;    /* bytes of the page, in order, nothing missing */
    personalize_str_t name;   /* of OPEN */
    unsigned          copied; /* out lies in the scanner: copy it before the
                                 next call; else it lies in the chunk */
} personalize_token_t;

/*
 * Takes the next token from chunk[*pos..len).  All bytes of the stream come
 * out exactly once, in order, as `out` of TEXT, OPEN or CLOSE; a marker that
 * straddles chunks is held back (at most PERSONALIZE_MARKER_MAX bytes).
 * Knows no nesting: OPEN and CLOSE are reported as they come.
 */
personalize_slot_e personalize_slot_next(personalize_scanner_t *scanner,
    const char *chunk, size_t len, size_t *pos, personalize_token_t *token);

/* At the end of the stream: bytes still held, as text. */
personalize_str_t personalize_slot_rest(personalize_scanner_t *scanner);


#pragma GCC visibility pop

#include "recommend.h"

#include "recommend.h" /* the next item of a session */

#endif /* PERSONALIZE_H_INCLUDED_ */
