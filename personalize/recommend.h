/*
 * recommend.h - the next item of a session, out of a mapped model file.
 *
 * MODEL.md specifies the file.  crm-mine writes it and measures it with the
 * same two functions that nginx answers with, so that what is measured is what
 * is served.
 */

#ifndef PERSONALIZE_RECOMMEND_H_INCLUDED_
#define PERSONALIZE_RECOMMEND_H_INCLUDED_

#include "personalize.h"

#pragma GCC visibility push(hidden)


#define PERSONALIZE_MODEL_MAGIC      "CRMRECO\n"
#define PERSONALIZE_MODEL_ORDER      0x01020304u
#define PERSONALIZE_MODEL_VERSION    1
#define PERSONALIZE_MODEL_ITEMS_MAX  (1u << 26)
#define PERSONALIZE_MODEL_CLICKS_MAX (1u << 30)
#define PERSONALIZE_MODEL_AGES       256 /* steps of the decay by age */
#define PERSONALIZE_MODEL_LAST       16  /* clicks of a session looked at */
#define PERSONALIZE_MODEL_TAIL       256 /* newest clicks of a neighbour */
#define PERSONALIZE_MODEL_RULED      4   /* newest items whose rules count */
#define PERSONALIZE_MODEL_REACH      32  /* positions around the matched item */
#define PERSONALIZE_MODEL_LENGTHS    65  /* of a neighbour; the last: more */
#define PERSONALIZE_MODEL_SAMPLE     5000 /* most neighbours, newest first */
#define PERSONALIZE_RECS_MAX         100  /* of one call */
#define PERSONALIZE_ITEM_NONE        UINT32_MAX

/* The head of the file: little-endian, sections follow in MODEL.md's order. */
typedef struct {
    char     magic[8]; /* "CRMRECO\n" */
    uint32_t version;
    uint32_t order; /* 0x01020304 */
    uint64_t size;  /* of the file */
    uint64_t check; /* of all bytes from nitems on */
    uint32_t nitems;
    uint32_t nsessions;
    uint32_t nclicks;
    uint32_t npostings;
    uint32_t nrules;
    uint32_t nnames;  /* bytes of all names */
    uint32_t nfacts;  /* bytes of all facts; 0: no section */
    uint32_t nbucket; /* of the table of names, a power of two */
} personalize_model_head_t;

/* How a session is judged: every exponential was computed by crm-mine. */
typedef struct {
    uint32_t sample;  /* most recent sessions looked at; 0: rules only */
    uint32_t k;       /* of these, the most similar ones count */
    uint32_t last;    /* clicks of the current session looked at */
    uint32_t sharp;   /* similarity to the power of 1, 1.5 or 2: 0, 1, 2 */
    float    current; /* neighbours' votes for the item in view, times this */
    float    seen;    /* the same for the items seen before it */
    float    rules;   /* weight of the rules beside 1 of neighbours */
    float    spare;   /* 0 */
    /* by distance from the newest click */
    float clicked[PERSONALIZE_MODEL_LAST];  /* of an item that is shared */
    float matched[PERSONALIZE_MODEL_LAST];  /* of a neighbour's newest match */
    float followed[PERSONALIZE_MODEL_LAST]; /* of an item's rules */
    float away[2 * PERSONALIZE_MODEL_REACH + 1]; /* from the matched item */
    float length[PERSONALIZE_MODEL_LENGTHS];     /* of the neighbour */
    float age[PERSONALIZE_MODEL_AGES];
    uint32_t from[PERSONALIZE_MODEL_AGES]; /* first session of each step */
} personalize_taste_t;

typedef struct {
    float    match;    /* weight as an item that is shared */
    float    offer;    /* weight as an item to be recommended */
    uint32_t category; /* 0: unknown */
    uint32_t flags;    /* PERSONALIZE_ITEM_HIDDEN */
} personalize_item_t;

#define PERSONALIZE_ITEM_HIDDEN 1u /* sold out or withdrawn */

/* All pointers lead into the file's bytes. */
typedef struct {
    personalize_model_head_t   head;
    const personalize_taste_t *taste;
    const personalize_item_t  *items;    /* the most popular one first */
    const uint32_t            *sessions; /* nsessions + 1 starts in clicks */
    const uint32_t            *clicks;   /* items, oldest session first */
    const uint32_t            *posts;    /* nitems + 1 starts in postings */
    const uint32_t            *postings; /* sessions of an item, newest first */
    const uint32_t            *rows;     /* nitems + 1 starts in rules */
    const uint32_t            *rules;    /* items that follow, best first */
    const uint16_t            *weights;  /* of rules, 65535: certain */
    const uint32_t            *names;    /* nitems + 1 starts in text */
    const uint32_t            *buckets;  /* item + 1; 0: free */
    const uint32_t            *facts;    /* nitems + 1 starts in about */
    const char                *text;
    const char                *about; /* packed profiles of the items */
} personalize_model_t;

/*
 * Checks the whole file and sets *model up; data is 8-byte aligned and stays.
 * INVALID: *fault is a sentence.
 */
personalize_result_e personalize_model_open(personalize_model_t *model,
    const void *data, size_t size, const char **fault);
/* Bytes that a file of this head has; 0: a count is beyond its limit. */
uint64_t personalize_model_size(const personalize_model_head_t *head);
/* Sets the pointers for a head that personalize_model_size accepts. */
void     personalize_model_lay(personalize_model_t *model, const void *data);
uint64_t personalize_model_check(const void *data, size_t size);
uint32_t personalize_model_hash(personalize_str_t name);
/* PERSONALIZE_ITEM_NONE: the model does not know it. */
uint32_t personalize_model_find(
    const personalize_model_t *model, personalize_str_t name);
personalize_str_t personalize_model_name(
    const personalize_model_t *model, uint32_t item);
/* A packed profile (personalize_profile_get): name, price, url, image ... */
personalize_str_t personalize_model_facts(
    const personalize_model_t *model, uint32_t item);


/* ---- recommend.c: the items a session asks for next --------------------- */

/* Memory of one caller, used again and again. */
typedef struct personalize_room_s personalize_room_t;

/* Bytes of a room for this model; the caller allocates and zeroes them. */
size_t personalize_room_size(const personalize_model_t *model);

typedef struct {
    const uint32_t *session; /* known items, oldest first */
    unsigned        nsession;
    const uint32_t *without; /* not to be shown: bought, in the basket */
    unsigned        nwithout;
    uint32_t        category;       /* only this one; 0: any */
    unsigned        same_max;       /* of one category; 0: no limit */
    unsigned        n;              /* wanted, up to PERSONALIZE_RECS_MAX */
    unsigned        no_current : 1; /* not the item in view */
    unsigned        in_stock : 1;   /* not what is hidden */
} personalize_wish_t;

typedef struct {
    uint32_t item;
    float    score; /* 0: it fills up by popularity */
} personalize_rec_t;

/*
 * Writes up to wish->n recommendations, best first; returns their number.  A
 * pure function of model and wish; the room is as zeroed afterwards.
 */
unsigned personalize_recommend(const personalize_model_t *model,
    personalize_room_t *room, const personalize_wish_t *wish,
    personalize_rec_t *recs);


#pragma GCC visibility pop

#endif /* PERSONALIZE_RECOMMEND_H_INCLUDED_ */
