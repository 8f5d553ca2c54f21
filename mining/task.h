/*
 * task.h - what a mining task gets and gives, when it is written in C.
 *
 * task_<name>.c reads the warehouse and writes unpublished results of its run
 * through the connection given, inside the transaction run.c opened.
 */

#ifndef TASK_H_INCLUDED_
#define TASK_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


typedef struct {
    mining_db_t *db;  /* in a transaction; its error is told on failure */
    int64_t      run; /* id in crm.run */
    const char  *site;
    const char  *when; /* the moment all tasks of this call look from, UTC */
    uint64_t     seed; /* of all that is drawn */

    int64_t rows_in;       /* out: rows read; -1: unknown */
    int64_t rows_out;      /* out: rows written */
    char    quality[2048]; /* out: a JSON object, "" for none */
    char    summary[512];  /* out: one sentence for people, "" for none */
} mining_task_t;

/* Anything but OK fails the run; db->error (or a message) says why. */
typedef mining_result_e (*mining_task_pt)(mining_task_t *task);


#pragma GCC visibility pop

#endif /* TASK_H_INCLUDED_ */
