/*
 * evaluate.h - the tasks of crm-mine evaluate, one per evaluate_<task>.c.
 *
 * Each takes its own words (argv[0] is its name) and returns an exit code of
 * mining.h.
 */

#ifndef EVALUATE_H_INCLUDED_
#define EVALUATE_H_INCLUDED_

#include "learn/clv.h"
#include "mining.h"

#pragma GCC visibility push(hidden)


int mining_evaluate_clv(int argc, char **argv);
int mining_evaluate_rfm(int argc, char **argv);
int mining_evaluate_intent(int argc, char **argv);
int mining_evaluate_churn(int argc, char **argv);


/* ---- of evaluate clv ---------------------------------------------------- */

typedef struct {
    const char *summary; /* one of the two */
    const char *transactions;
    const char *columns;
    const char *cut;
    const char *end;
    const char *margin;
    const char *referrals;
    const char *out;
} mining_clv_words_t;

/* evaluate_clv.c: fits both models and prints them; money: spends is fitted. */
mining_result_e mining_clv_fit_say(const char *path,
    const mining_buyer_t *buyers, size_t n, mining_bgnbd_t *buys,
    mining_spend_t *spends, int *money);
/* evaluate_clv_history.c: evaluate clv --transactions. */
mining_result_e mining_clv_history(const mining_clv_words_t *words);


#pragma GCC visibility pop

#endif /* EVALUATE_H_INCLUDED_ */
