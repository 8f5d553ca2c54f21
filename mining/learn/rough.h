/*
 * rough.h - which attributes of a table decide, and by which rules.
 */

#ifndef ROUGH_H_INCLUDED_
#define ROUGH_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_ROUGH_WIDTH       64 /* attributes: a set is a word */
#define MINING_ROUGH_REDUCTS_MAX 65536
#define MINING_ROUGH_CLAUSES_MAX 16384

typedef struct {
    const uint32_t *cells;     /* n times m: any numbers, equal or not */
    const uint32_t *decisions; /* from 0 to below ndecisions */
    uint32_t        ndecisions;
    size_t          n;
    unsigned        m;
} mining_rough_t;

typedef struct {
    uint64_t *sets; /* of attributes, the smallest first */
    size_t    n;
    uint64_t  core; /* the attributes that no reduct lacks */
    int       all;  /* 0: there are more than were kept */
} mining_reducts_t;

typedef struct {
    uint64_t attributes; /* that the rule asks for */
    uint32_t row;        /* one whose values these are */
    uint32_t decision;
    uint32_t matches; /* rows */
    uint32_t support; /* of them with the decision */
} mining_rough_rule_t;

typedef struct {
    mining_rough_rule_t *rules; /* certainty is support / matches */
    size_t               n;
    size_t               size;
} mining_rough_rules_t;

/* The share of the rows that the attributes decide without contradiction. */
mining_result_e mining_rough_quality(
    const mining_rough_t *table, uint64_t attributes, double *quality);

/* Sets flags[i] for each row that nothing can decide. */
mining_result_e mining_rough_boundary(
    const mining_rough_t *table, uint8_t *flags);

/*
 * All smallest sets (none can spare an attribute) that decide as many rows as
 * all attributes do.  FULL: too many clauses or rows, use the search.
 */
mining_result_e mining_rough_reducts(
    const mining_rough_t *table, mining_reducts_t *reducts);
void mining_reducts_free(mining_reducts_t *reducts);

/* One reduct, the smallest that `evaluations` find, drawn from the seed. */
mining_result_e mining_rough_search(const mining_rough_t *table,
    unsigned evaluations, uint64_t seed, uint64_t *reduct, unsigned *used);

/* If-then rules that cover every row (LEM2). */
mining_result_e mining_rough_learn(
    const mining_rough_t *table, mining_rough_rules_t *rules);
/*
 * What the rules say of a row; returns 0 if none knows it.  votes[] has room
 * for ndecisions.
 */
int  mining_rough_decide(const mining_rough_t *table,
     const mining_rough_rules_t *rules, const uint32_t *row, double *votes,
     uint32_t *decision);
void mining_rough_rules_free(mining_rough_rules_t *rules);


#pragma GCC visibility pop

#endif /* ROUGH_H_INCLUDED_ */
