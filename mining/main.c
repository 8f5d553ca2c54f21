/*
 * main.c - crm-mine: the table of its commands.
 *
 * crm-mine [--pg CONNINFO] [--redis ADDRESS] COMMAND ...
 *
 * Exit codes: 0 done, 1 failed (the message says why), 2 wrong usage.
 * docs/crm-mine.md describes every command.
 */

#include <stdlib.h>
#include <string.h>

#include "mining.h"


typedef struct {
    const char       *name;
    mining_command_pt run;
    const char       *usage;
    const char       *what;
} main_command_t;


static const main_command_t main_commands[] = {

    {"migrate", mining_migrate, "[--dir DIR]",
        "bring the database to the newest schema"},

    {"import", mining_import, "[--follow] [--once] [--batch ROWS]",
        "move events from Redis into the warehouse"},

    {"load", mining_load, "KIND FILE --site SITE [--rejects FILE]",
        "load customers, products, orders or clicks from CSV"},

    {"run", mining_run,
        "[TASK...] --site SITE [--as-of TIME] [--seed NUMBER]"
        " [--params JSON]",
        "mine features, rfm, popular, ... and publish them"},

    {"rollback", mining_rollback, "RUN",
        "take a run back: the results before it are in force again"},

    {"review", mining_review, "RUN --reviewer NAME",
        "stand for the results of a run"},

    {"evaluate", mining_evaluate, "TASK ...",
        "measure a mining task on files, without a database"},

    {"campaigns", mining_campaigns,
        "apply|export|diff DIR [--site SITE] [--reviewer NAME] [--prune]",
        "keep campaigns in files"},

    {"rejects", mining_rejects, "list | replay [--limit N]",
        "show refused events, or try them again"},

    {"identity", mining_identity,
        "merge FROM INTO|unmerge MERGE|log|find KIND VALUE --site SITE"
        " [--reviewer NAME]",
        "merge customers that are one, and undo it"},

    {"export", mining_export,
        "--site SITE (--customer ID | --visitor UUID) [--out FILE]",
        "write everything about one person as JSON lines"},

    {"erase", mining_erase, "--site SITE (--customer ID | --visitor UUID)",
        "delete one person everywhere"},

    {"status", mining_status, "", "tell how far everything is"},

    {NULL, NULL, NULL, NULL}};


static void
main_usage(FILE *out)
{
    const main_command_t *command;

    (void) fprintf(out,
        "usage: crm-mine [--pg CONNINFO] [--redis ADDRESS] COMMAND ...\n\n");

    for (command = main_commands; command->name != NULL; command++) {
        (void) fprintf(out, "  %s %s\n        %s\n", command->name,
            command->usage, command->what);
    }

    (void) fprintf(out,
        "\nCONNINFO is libpq's (or $CRM_PG).  ADDRESS (or $CRM_REDIS) is "
        "HOST:PORT,\nredis://[USER:PASSWORD@]HOST:PORT/DB, unix:PATH, or of a "
        "cluster\ncluster:[USER:PASSWORD@]HOST:PORT,HOST:PORT.\n");
}


/* Options before the command; returns the index of the command's word. */
static int
main_settings(mining_settings_t *settings, int argc, char **argv)
{
    int          i;
    const char **value;

    settings->program = argv[0];
    settings->pg = getenv("CRM_PG");
    settings->redis = getenv("CRM_REDIS");

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            main_usage(stdout);
            exit(MINING_EXIT_OK);
        }

        if (strncmp(argv[i], "--pg", 4) == 0) {
            value = &settings->pg;

        } else if (strncmp(argv[i], "--redis", 7) == 0) {
            value = &settings->redis;

        } else {
            mining_say("unknown option %s before the command", argv[i]);
            return -1;
        }

        if (strcmp(argv[i], "--pg") == 0 || strcmp(argv[i], "--redis") == 0) {
            if (i + 1 >= argc) {
                mining_say("%s needs a value", argv[i]);
                return -1;
            }
            *value = argv[++i];

        } else if (argv[i][value == &settings->pg ? 4 : 7] == '=') {
            *value = argv[i] + (value == &settings->pg ? 5 : 8);

        } else {
            mining_say("unknown option %s before the command", argv[i]);
            return -1;
        }
    }

    return i;
}


int
main(int argc, char **argv)
{
    int                   i;
    mining_settings_t     settings;
    const main_command_t *command;

    i = main_settings(&settings, argc, argv);
    if (i < 0) {
        return MINING_EXIT_USAGE;
    }

    if (i >= argc) {
        main_usage(stderr);
        return MINING_EXIT_USAGE;
    }

    for (command = main_commands; command->name != NULL; command++) {
        if (strcmp(command->name, argv[i]) == 0) {
            break;
        }
    }

    if (command->name == NULL) {
        mining_say("unknown command %s; crm-mine --help lists them", argv[i]);
        return MINING_EXIT_USAGE;
    }

    if (i + 1 < argc && strcmp(argv[i + 1], "--help") == 0) {
        (void) printf("usage: crm-mine %s %s\n", command->name, command->usage);
        return MINING_EXIT_OK;
    }

    mining_stop_on_signals();

    return command->run(&settings, argc - i, argv + i);
}
