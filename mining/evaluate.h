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


#define MINING_EVALUATE_ANOMALIES                                              \
    "--file FILE [--date COLUMN] [--value COLUMN] [--false-alarms N]"
#define MINING_EVALUATE_BASKETS                                                \
    "--file FILE --support SHARE [--confidence SHARE] "                        \
    "[--basket COLUMN --item COLUMN] [--rules FILE [--all]]"
#define MINING_EVALUATE_FORECAST                                               \
    "--file FILE [--date COLUMN] [--value COLUMN] [--weeks W] "                \
    "[--horizon DAYS]"
#define MINING_EVALUATE_ROUGH                                                  \
    "--file FILE [--decision COLUMN] [--no-header] [--rules FILE] "            \
    "[--holdout SHARE] [--evaluations N] [--seed N]"
#define MINING_EVALUATE_SEGMENTS                                               \
    "--file FILE --k K|auto [--columns LIST] [--id COLUMN] "                   \
    "[--scale z|log|none] [--fuzziness M] [--starts N] [--seed N] "            \
    "[--out FILE]"

int mining_evaluate_anomalies(int argc, char **argv);
int mining_evaluate_baskets(int argc, char **argv);
int mining_evaluate_clv(int argc, char **argv);
int mining_evaluate_forecast(int argc, char **argv);
int mining_evaluate_rough(int argc, char **argv);
int mining_evaluate_segments(int argc, char **argv);


/* ---- evaluate_words.c: what they read and print alike -------------------- */

#define MINING_EVALUATE_NUMBER_MAX 1e15

double mining_evaluate_seconds(void); /* of the processor */
/* Returns 0 for what is no finite number of at most that size. */
int mining_evaluate_number(tracker_str_t text, double *value);
/* Above 0 and up to 1; returns 0 after saying what is wrong. */
int  mining_evaluate_share(const char *option, const char *text, double *value);
void mining_evaluate_memory(void);

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

int mining_evaluate_recommend(int argc, char **argv);


#pragma GCC visibility pop

#endif /* EVALUATE_H_INCLUDED_ */
