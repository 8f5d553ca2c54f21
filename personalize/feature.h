/*
 * feature.h - compiled features and experiments, shared by their files.
 *
 * Everything lives in the memory of a set and is only read at evaluation.
 * Numbers of attributes and features are places in the set's tables.
 */

#ifndef PERSONALIZE_FEATURE_H_INCLUDED_
#define PERSONALIZE_FEATURE_H_INCLUDED_

#include "set.h"

#pragma GCC visibility push(hidden)


#define PERSONALIZE_FEATURES_MAX 10000
#define PERSONALIZE_ITEMS_MAX    1000 /* of a list: rules, variations */

/* Features under evaluation at once; deeper counts as a circle. */
#define PERSONALIZE_PARENT_DEPTH_MAX 64

#define PERSONALIZE_NO_ATTRIBUTE 0xffff
#define PERSONALIZE_NO_FEATURE   0xffffffffU

/* A value, also as {"value": x}, which conditions on features look into. */
struct personalize_held_s {
    personalize_value_t value;
    personalize_value_t object;
};

typedef struct {
    const personalize_clause_t *clauses;
    int16_t                     entry;
} personalize_condition_t;

typedef struct {
    uint32_t                feature; /* or NO_FEATURE: none of that name */
    personalize_condition_t condition;
    unsigned                gate : 1;
} personalize_parent_t;

typedef struct {
    const personalize_range_t *ranges; /* who is in none is out */
    personalize_str_t          seed;
    unsigned                   nranges;
    uint16_t                   attribute;
    uint8_t                    version; /* of the hash; 0: none we know */
} personalize_filter_t;

typedef struct {
    const personalize_filter_t *filters;
    const personalize_parent_t *parents;
    unsigned                    nfilters;
    unsigned                    nparents;
    unsigned                    has_filters : 1;
} personalize_gate_t;

/* How a visitor becomes a bucket. */
typedef struct {
    personalize_str_t seed;
    uint16_t          attribute;
    uint16_t          fallback; /* or NO_ATTRIBUTE */
    uint8_t           version;  /* of the hash; 0: none we know */
    uint8_t           loose;    /* sticky buckets are off */
} personalize_hashing_t;

typedef struct {
    personalize_held_t held;
    personalize_str_t  key;       /* of meta, else the place in digits */
    personalize_str_t  name;      /* may be empty */
    unsigned           keyed : 1; /* meta has a key: a store may name it */
    unsigned           passthrough : 1;
} personalize_variation_t;

/* A context of a contextual bandit, with the ranges of its weights. */
typedef struct {
    personalize_condition_t    condition;
    const personalize_range_t *ranges;
} personalize_leaf_t;

struct personalize_experiment_s {
    personalize_str_t              key;
    personalize_str_t              sticky; /* key, "__", bucket version */
    personalize_hashing_t          hashing;
    personalize_gate_t             gate;
    personalize_condition_t        condition;
    personalize_namespace_t        space;
    const personalize_variation_t *variations;
    const personalize_range_t     *ranges;
    personalize_leaf_t            *leaves;
    unsigned                       nvariations;
    unsigned                       nranges;
    unsigned                       nleaves;
    unsigned                       min_version; /* below: blocked */
    int                            force;       /* variation */
    uint16_t                       fallback;    /* whose stored buckets count */
    unsigned                       has_space : 1;
    unsigned                       has_force : 1;
    unsigned                       inactive : 1;
    unsigned                       stopped : 1;
    unsigned                       elsewhere : 1; /* bound to URLs */
    unsigned                       bandit : 1;
};

typedef enum {
    PERSONALIZE_RULE_VOID = 0, /* neither a value nor variations */
    PERSONALIZE_RULE_FORCE,
    PERSONALIZE_RULE_EXPERIMENT
} personalize_rule_e;

typedef enum {
    PERSONALIZE_ROLLOUT_ALL = 0,
    PERSONALIZE_ROLLOUT_NONE,
    PERSONALIZE_ROLLOUT_UPTO, /* a bucket up to and with range.end */
    PERSONALIZE_ROLLOUT_RANGE
} personalize_rollout_e;

typedef struct {
    personalize_str_t         id;
    personalize_rule_e        kind;
    personalize_gate_t        gate;
    personalize_condition_t   condition; /* of FORCE, like the rest */
    personalize_held_t        held;
    personalize_hashing_t     hashing;
    personalize_rollout_e     rollout;
    personalize_range_t       range;
    personalize_experiment_t *experiment;
} personalize_rule_t;

typedef struct personalize_feature_s personalize_feature_t;

struct personalize_feature_s {
    personalize_str_t         name;
    personalize_held_t        otherwise; /* the default value */
    const personalize_rule_t *rules;
    unsigned                  nrules;
    unsigned                  absent : 1; /* null in the payload */
};


/* ---- payload.c ---------------------------------------------------------- */

/* The number of a feature by its name, or NO_FEATURE. */
uint32_t personalize_feature_find(
    const personalize_set_t *set, personalize_str_t name);


/* ---- member.c: what rules and experiments are made of ------------------- */

personalize_result_e personalize_held_compile(
    personalize_compiler_t *c, json_t *json, personalize_held_t *held);
/* A member as text; `otherwise` where it is missing, null, "", 0 or false. */
personalize_result_e personalize_text_of(personalize_compiler_t *c,
    const json_t *object, const char *member, personalize_str_t otherwise,
    personalize_str_t *text);
/* A member as number, null counts 0; `otherwise` where it is missing. */
personalize_result_e personalize_number_of(personalize_compiler_t *c,
    const json_t *object, const char *member, double otherwise, double *number);
/* A member that is a list of at most ITEMS_MAX, or NULL. */
personalize_result_e personalize_list_of(personalize_compiler_t *c,
    const json_t *object, const char *member, json_t **list);
/* Only true and what counts as true in JavaScript. */
int personalize_truth_of(const json_t *object, const char *member);
personalize_result_e personalize_condition_of(personalize_compiler_t *c,
    const json_t *object, personalize_condition_t *condition);
personalize_result_e personalize_range_compile(
    personalize_compiler_t *c, const json_t *pair, personalize_range_t *range);
personalize_result_e personalize_ranges_compile(personalize_compiler_t *c,
    json_t *list, const personalize_range_t **ranges, unsigned *nranges);
personalize_result_e personalize_hashing_compile(personalize_compiler_t *c,
    const json_t *object, personalize_str_t seed,
    personalize_hashing_t *hashing);
personalize_result_e personalize_filters_compile(
    personalize_compiler_t *c, const json_t *object, personalize_gate_t *gate);
personalize_result_e personalize_parents_compile(
    personalize_compiler_t *c, const json_t *object, personalize_gate_t *gate);


/* ---- layout.c: compiling experiments ------------------------------------ */

/* `own`: no rule's, so that its state, force and prerequisites count. */
personalize_result_e personalize_experiment_compile(personalize_compiler_t *c,
    const json_t *object, personalize_str_t otherwise, int own,
    personalize_experiment_t *experiment);


/* ---- experiment.c ------------------------------------------------------- */

/* Features whose rules are being tried, from the newest on. */
typedef struct personalize_path_s personalize_path_t;

struct personalize_path_s {
    const personalize_path_t *up;
    uint32_t                  feature;
    unsigned                  depth;
};

/* Beside the variations of a store: none may be given. */
#define PERSONALIZE_BLOCKED (-2)

/* One evaluation under way. */
typedef struct {
    personalize_request_t        request; /* of the view */
    personalize_view_t           view;
    const personalize_context_t *context;
} personalize_trial_t;

/* Whether the value of a hash attribute is there, the fallback's else. */
int personalize_hashing_value(personalize_trial_t *trial,
    const personalize_hashing_t *hashing, uint16_t *attribute,
    personalize_value_t *value);
/* The bucket of a value of any type; 0: no such hash version. */
int personalize_hashing_bucket(const personalize_hashing_t *hashing,
    const personalize_value_t *value, double *n);
/* Whether one of the filters keeps the visitor out. */
int personalize_gate_filters(
    personalize_trial_t *trial, const personalize_gate_t *gate);
void personalize_experiment_try(personalize_trial_t *trial,
    const personalize_path_t *path, const personalize_experiment_t *experiment,
    personalize_outcome_t *outcome);


/* ---- feature.c ---------------------------------------------------------- */

typedef enum {
    PERSONALIZE_PARENTS_FIT = 0,
    PERSONALIZE_PARENTS_SKIP,
    PERSONALIZE_PARENTS_STOP, /* one that is a gate failed */
    PERSONALIZE_PARENTS_CIRCLE
} personalize_parents_e;

void personalize_trial_start(personalize_trial_t *trial,
    const personalize_set_t *set, const personalize_context_t *context);

personalize_parents_e personalize_parents_try(personalize_trial_t *trial,
    const personalize_path_t *path, const personalize_gate_t *gate);


#pragma GCC visibility pop

#endif /* PERSONALIZE_FEATURE_H_INCLUDED_ */
