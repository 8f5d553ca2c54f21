/*
 * evaluate_words.c - what the tasks of evaluate read and print alike.
 *
 * Numbers as a file or a command line writes them, seconds of the processor,
 * and the memory used.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "evaluate.h"


#define WORDS_NUMBER_MAX 63 /* bytes */


double
mining_evaluate_seconds(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);

    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}


int
mining_evaluate_number(tracker_str_t text, double *value)
{
    char word[WORDS_NUMBER_MAX + 1], *end;

    if (text.len == 0 || text.len > WORDS_NUMBER_MAX) {
        return 0;
    }
    memcpy(word, text.data, text.len);
    word[text.len] = '\0';
    *value = strtod(word, &end);

    return end == word + text.len && isfinite(*value)
           && fabs(*value) <= MINING_EVALUATE_NUMBER_MAX;
}


int
mining_evaluate_share(const char *option, const char *text, double *value)
{
    tracker_str_t word = {text, strlen(text)};

    if (!mining_evaluate_number(word, value) || *value <= 0 || *value > 1) {
        mining_say("evaluate: %s takes a share above 0 and up to 1, such as "
                   "0.01, not \"%s\"",
            option, text);
        return 0;
    }

    return 1;
}


void
mining_evaluate_memory(void)
{
    struct rusage usage;

    (void) getrusage(RUSAGE_SELF, &usage);
    (void) printf("peak_kbytes %ld\n", usage.ru_maxrss);
}
