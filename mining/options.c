/*
 * options.c - reads the words of a command line by a table.
 *
 * "--name value" and "--name=value" both work, "--" ends the options.  getopt
 * was not used: it cannot name the options that a command does know.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


static const mining_option_t *
options_find(const mining_option_t *options, const char *word)
{
    size_t len;

    len = strcspn(word, "=");

    for (; options->name != NULL; options++) {
        if (strlen(options->name) == len
            && strncmp(options->name, word, len) == 0) {
            return options;
        }
    }

    return NULL;
}


static mining_result_e
options_set(const mining_option_t *option, const char *value)
{
    char         *end;
    unsigned long number;

    switch (option->kind) {
    case MINING_OPTION_FLAG:
        *(int *) option->value = 1;
        return MINING_OK;

    case MINING_OPTION_TEXT:
        if (*value == '\0') {
            mining_say("%s needs a value", option->name);
            return MINING_INVALID;
        }
        *(const char **) option->value = value;
        return MINING_OK;

    case MINING_OPTION_COUNT:
        errno = 0;
        number = strtoul(value, &end, 10);
        if (errno != 0 || end == value || *end != '\0' || *value == '-'
            || number < 1 || number > option->max)
        {
            mining_say("%s takes a number from 1 to %u, not \"%s\"",
                option->name, option->max, value);
            return MINING_INVALID;
        }
        *(unsigned *) option->value = (unsigned) number;
        return MINING_OK;
    }

    return MINING_INVALID;
}


static void
options_unknown(
    const mining_option_t *options, const char *command, const char *word)
{
    char known[512];

    known[0] = '\0';
    for (; options->name != NULL; options++) {
        mining_text(known, sizeof(known), " %s", options->name);
    }

    mining_say("%s has no option %s; it knows:%s", command, word,
        known[0] != '\0' ? known : " none");
}


mining_result_e
mining_options(const mining_option_t *options, int argc, char **argv,
    const char **words, unsigned *nwords)
{
    int                    i, plain;
    const char            *value;
    const mining_option_t *option;

    *nwords = 0;
    plain = 0;

    for (i = 1; i < argc; i++) {
        if (plain || argv[i][0] != '-' || argv[i][1] == '\0') {
            words[(*nwords)++] = argv[i];
            continue;
        }

        if (strcmp(argv[i], "--") == 0) {
            plain = 1;
            continue;
        }

        option = options_find(options, argv[i]);
        if (option == NULL) {
            options_unknown(options, argv[0], argv[i]);
            return MINING_INVALID;
        }

        value = strchr(argv[i], '=');
        if (option->kind == MINING_OPTION_FLAG) {
            if (value != NULL) {
                mining_say("%s takes no value", option->name);
                return MINING_INVALID;
            }

        } else if (value != NULL) {
            value++;

        } else if (++i < argc) {
            value = argv[i];

        } else {
            mining_say("%s needs a value", option->name);
            return MINING_INVALID;
        }

        if (options_set(option, value) != MINING_OK) {
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}
