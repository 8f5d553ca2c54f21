/*
 * bots.c - asks a list of robots about user agents: LIST < AGENTS.
 *
 * Prints a line per user agent, "1" and kind or "0"; to standard error what an
 * answer costs, beside one alternation of all patterns run by PCRE2 with JIT.
 */

#define PCRE2_CODE_UNIT_WIDTH 8

#include "tracker/tracker.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define AGENTS_MAX  100000
#define AGENT_BYTES 1024
#define RUNS        5

typedef struct {
    char         *agents[AGENTS_MAX];
    tracker_str_t texts[AGENTS_MAX];
    size_t        n;
    char          list[TRACKER_BOTS_BYTES_MAX];
    size_t        len;
} bench_t;


static double
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static void
read_all(bench_t *b, const char *path)
{
    char  line[AGENT_BYTES];
    FILE *file;

    file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(1);
    }

    b->len = fread(b->list, 1, sizeof(b->list), file);
    (void) fclose(file);

    while (b->n < AGENTS_MAX && fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        b->agents[b->n] = strdup(line);
        b->texts[b->n].data = b->agents[b->n];
        b->texts[b->n].len = strlen(line);
        b->n++;
    }
}


/* The least of some runs over all agents, in ns per agent. */
static double
cost(bench_t *b, const tracker_bots_t *bots)
{
    double        start, spent, best;
    size_t        i;
    unsigned      run;
    tracker_bot_t bot;

    best = 0;

    for (run = 0; run < RUNS; run++) {
        start = now_ns();
        for (i = 0; i < b->n; i++) {
            (void) tracker_bots_find(bots, b->texts[i], &bot);
        }
        spent = (now_ns() - start) / (double) b->n;
        best = run == 0 || spent < best ? spent : best;
    }

    return best;
}


/* The same by one expression; negative: PCRE2 does not take it. */
static double
cost_joined(bench_t *b)
{
    int               error;
    char             *text, *p, *line, *end, *tab;
    double            start, spent, best;
    size_t            i, at;
    unsigned          run;
    pcre2_code       *code;
    pcre2_match_data *match;

    text = malloc(2 * b->len + 16);
    if (text == NULL) {
        return -1;
    }

    p = text;
    b->list[b->len < sizeof(b->list) ? b->len : sizeof(b->list) - 1] = '\0';

    for (line = strtok_r(b->list, "\n", &end); line != NULL;
         line = strtok_r(NULL, "\n", &end))
    {
        if (line[0] == '#') {
            continue;
        }
        tab = strchr(line, '\t');
        if (tab != NULL) {
            *tab = '\0';
        }
        p += sprintf(p, "%s(?:%s)", p > text ? "|" : "", line);
    }

    code = pcre2_compile((PCRE2_SPTR) text, (size_t) (p - text),
        PCRE2_CASELESS | PCRE2_NO_AUTO_CAPTURE, &error, &at, NULL);
    free(text);

    if (code == NULL || pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) != 0) {
        return -1;
    }

    match = pcre2_match_data_create(1, NULL);
    best = 0;

    for (run = 0; run < RUNS; run++) {
        start = now_ns();
        for (i = 0; i < b->n; i++) {
            (void) pcre2_match(code, (PCRE2_SPTR) b->agents[i], b->texts[i].len,
                0, 0, match, NULL);
        }
        spent = (now_ns() - start) / (double) b->n;
        best = run == 0 || spent < best ? spent : best;
    }

    pcre2_match_data_free(match);
    pcre2_code_free(code);

    return best;
}


int
main(int argc, char **argv)
{
    static bench_t  b;
    double          start, compiled;
    size_t          i;
    unsigned        line;
    tracker_bot_t   bot;
    tracker_bots_t *bots;

    if (argc != 2) {
        fprintf(stderr, "usage: bots LIST < AGENTS\n");
        return 2;
    }

    read_all(&b, argv[1]);
    start = now_ns();

    if (tracker_bots_compile(&bots, b.list, b.len, &line) != TRACKER_OK) {
        fprintf(stderr, "%s: a fault in line %u\n", argv[1], line);
        return 1;
    }

    compiled = now_ns() - start;

    for (i = 0; i < b.n; i++) {
        if (tracker_bots_find(bots, b.texts[i], &bot) == TRACKER_OK) {
            printf("1 %s\n", tracker_bot_kind_text(bot.kind));
        } else {
            printf("0\n");
        }
    }

    if (b.n > 0) {
        fprintf(stderr, "%u %.1f %.0f ", tracker_bots_count(bots),
            compiled / 1e6, cost(&b, bots));
        fprintf(stderr, "%.0f\n", cost_joined(&b));
    }

    tracker_bots_free(bots);

    return 0;
}
