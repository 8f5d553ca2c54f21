/*
 * evaluate.c - measures a mining task on files, without a database.
 *
 * crm-mine evaluate TASK [options]: trains on one file, answers another, and
 * prints quality, seconds and bytes as "name value" lines.  Each task lives in
 * evaluate_<task>.c; this file is only their table.
 */

#include <stdio.h>
#include <string.h>

#include "evaluate.h"


typedef struct {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the task's name */
    const char *usage;
} evaluate_task_t;


static const evaluate_task_t evaluate_tasks[] = {
    {"anomalies", mining_evaluate_anomalies, MINING_EVALUATE_ANOMALIES},
    {"baskets", mining_evaluate_baskets, MINING_EVALUATE_BASKETS},
    {"forecast", mining_evaluate_forecast, MINING_EVALUATE_FORECAST},
    {"rough", mining_evaluate_rough, MINING_EVALUATE_ROUGH},
    {"segments", mining_evaluate_segments, MINING_EVALUATE_SEGMENTS},

    {"clv", mining_evaluate_clv,
        "--summary FILE | --transactions FILE [--columns NAMES] [--cut DATE]"
        " [--end DATE] [--margin SHARE] [--referrals FILE] [--out FILE]"},

    {"rfm", mining_evaluate_rfm,
        "--transactions FILE [--columns NAMES] [--as-of DATE] [--cuts R:F:M]"
        " [--out FILE]"},

    {"intent", mining_evaluate_intent,
        "--data FILE [--label NAME] [--split FILE] [--fold NAME]"
        " [--without NAMES] [--texts NAMES] [--out FILE] [--seed NUMBER]"
        " [--one-fold]"},

    {"churn", mining_evaluate_churn, "the same, with the main drivers"},

    {"recommend", mining_evaluate_recommend, "--train FILE --test FILE"},

    {NULL, NULL, NULL}};


static void
evaluate_usage(void)
{
    const evaluate_task_t *task;

    mining_say("usage: evaluate TASK ...");
    for (task = evaluate_tasks; task->name != NULL; task++) {
        mining_say("  evaluate %s %s", task->name, task->usage);
    }
}


int
mining_evaluate(const mining_settings_t *settings, int argc, char **argv)
{
    const evaluate_task_t *task;

    (void) settings;

    for (task = evaluate_tasks; argc > 1 && task->name != NULL; task++) {
        if (strcmp(task->name, argv[1]) == 0) {
            return task->run(argc - 1, argv + 1);
        }
    }

    if (argc > 1) {
        mining_say("evaluate: no task \"%s\"", argv[1]);
    }
    evaluate_usage();

    return MINING_EXIT_USAGE;
}
