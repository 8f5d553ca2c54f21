/*
 * evaluate.h - the tasks of crm-mine evaluate, one per evaluate_<task>.c.
 *
 * Each takes its own words (argv[0] is its name) and returns an exit code of
 * mining.h.
 */

#ifndef EVALUATE_H_INCLUDED_
#define EVALUATE_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


int mining_evaluate_clv(int argc, char **argv);
int mining_evaluate_recommend(int argc, char **argv);


#pragma GCC visibility pop

#endif /* EVALUATE_H_INCLUDED_ */
