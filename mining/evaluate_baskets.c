/*
 * evaluate_baskets.c - frequent sets and rules of a file of baskets.
 *
 * evaluate baskets --file FILE --support S [--confidence C]: one basket a line
 * (basket_file.c), or with --basket COLUMN --item COLUMN a CSV with one row
 * per item.  S and C are shares.  It prints how many sets there are, by size,
 * how many rules, and how many are left without the redundant ones.  --rules
 * OUT writes those that are left as CSV, --all also the redundant ones.
 */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "basket_file.h"
#include "evaluate.h"


#define BASKETS_CONFIDENCE "0.5"
/* A share of baskets is written as a decimal: .01 of 700 is 7, not 8. */
#define BASKETS_TOLERANCE 1e-9

typedef struct {
    const char          *path;
    const char          *support_text;
    const char          *confidence_text;
    const char          *basket;
    const char          *item;
    const char          *out_path;
    int                  all;
    double               support;
    double               confidence;
    mining_basket_file_t file;
    mining_itemsets_t    found;
    FILE                *out;
    uint64_t             nrules;
    uint64_t             nkept;
    double               lift; /* the highest */
} baskets_t;


static mining_result_e
baskets_read(baskets_t *b)
{
    mining_file_t   file;
    mining_result_e rc;

    rc = mining_file_open(&file, b->path);
    if (rc != MINING_OK) {
        return rc;
    }

    rc = b->basket == NULL
             ? mining_basket_lines(&b->file, mining_file_read, &file)
             : mining_basket_rows(
                 &b->file, b->basket, b->item, mining_file_read, &file);
    mining_file_close(&file);

    if (rc == MINING_INVALID) {
        mining_say(
            "evaluate: %s:%d: %s", b->path, (int) b->file.line, b->file.reason);
    } else if (rc == MINING_LOST) {
        mining_say("evaluate: %s: is cut short or cannot be read", b->path);
    } else if (rc == MINING_FULL) {
        mining_say("evaluate: %s: over %u items in all, or %u different ones",
            b->path, MINING_BASKET_ITEMS_MAX, MINING_NAMES_MAX);
    }

    return rc;
}


static mining_result_e
baskets_find(baskets_t *b)
{
    size_t           i, sizes[MINING_ITEMSETS_SIZE_MAX + 1] = {0};
    double           start;
    unsigned char   *size;
    mining_result_e  rc;
    mining_baskets_t all;

    mining_basket_all(&b->file, &all);
    start = mining_evaluate_seconds();
    rc = mining_itemsets_find(&all,
        (uint32_t) fmax(
            1, ceil(b->support * (double) all.n - BASKETS_TOLERANCE)),
        &b->found);
    start = mining_evaluate_seconds() - start;
    if (rc == MINING_FULL) {
        mining_say("evaluate: %s: over %d sets are this frequent: take a "
                   "--support above %s",
            b->path, MINING_ITEMSETS_MAX, b->support_text);
    }
    if (rc != MINING_OK && rc != MINING_DECLINED) {
        return rc;
    }

    (void) printf("baskets %zu\nitems %u\nitemsets %zu\n", all.n, all.nitems,
        b->found.n > 0 ? b->found.n - 1 : 0);

    size = calloc(b->found.n + 1, 1);
    if (size == NULL) {
        return MINING_NOMEM;
    }
    for (i = 1; i < b->found.n; i++) {
        size[i] = (unsigned char) (size[b->found.sets[i].parent] + 1);
        sizes[size[i]]++;
    }
    free(size);

    for (i = 1; i <= MINING_ITEMSETS_SIZE_MAX && sizes[i] > 0; i++) {
        (void) printf("itemsets_%zu %zu\n", i, sizes[i]);
    }
    (void) printf("itemsets_seconds %.6f\n", start);

    return MINING_OK;
}


static void
baskets_write(FILE *out, tracker_str_t word)
{
    size_t i;

    for (i = 0; i < word.len; i++) {
        if (word.data[i] == '"') {
            (void) fputc('"', out);
        }
        (void) fputc(word.data[i], out);
    }
}


static int
baskets_rule(void *ctx, const mining_rule_t *rule)
{
    unsigned   i;
    baskets_t *b = ctx;

    b->nrules++;
    b->nkept += !rule->redundant;
    b->lift = fmax(b->lift, rule->lift);

    if (b->out == NULL || (rule->redundant && !b->all)) {
        return 0;
    }

    (void) fputc('"', b->out);
    for (i = 0; i < rule->nleft; i++) {
        if (i > 0) {
            (void) fputc(';', b->out);
        }
        baskets_write(
            b->out, mining_names_word(&b->file.items_names, rule->left[i]));
    }
    (void) fputs("\",\"", b->out);
    baskets_write(b->out, mining_names_word(&b->file.items_names, rule->right));
    (void) fprintf(b->out, "\",%.12g,%.12g,%.12g,%u%s\n", rule->support,
        rule->confidence, rule->lift, rule->count,
        !b->all           ? ""
        : rule->redundant ? ",1"
                          : ",0");

    return ferror(b->out);
}


static mining_result_e
baskets_rules(baskets_t *b)
{
    double          start;
    mining_result_e rc;

    if (b->out_path != NULL) {
        b->out = fopen(b->out_path, "w");
        if (b->out == NULL) {
            mining_say("evaluate: %s: cannot be written: %s", b->out_path,
                strerror(errno));
            return MINING_INVALID;
        }
        (void) fprintf(b->out, "left,right,support,confidence,lift,count%s\n",
            b->all ? ",redundant" : "");
    }

    start = mining_evaluate_seconds();
    rc = b->found.n == 0
             ? MINING_OK
             : mining_rules_each(&b->found, b->confidence, baskets_rule, b);
    start = mining_evaluate_seconds() - start;

    if (b->out != NULL && (ferror(b->out) | fclose(b->out)) != 0) {
        mining_say("evaluate: %s: could not be written", b->out_path);
        return MINING_INVALID;
    }
    if (rc != MINING_OK) {
        return rc;
    }

    (void) printf("rules %llu\nrules_kept %llu\nrules_seconds %.6f\n",
        (unsigned long long) b->nrules, (unsigned long long) b->nkept, start);
    if (b->nrules > 0) {
        (void) printf("lift_highest %.9g\n", b->lift);
    }

    return MINING_OK;
}


int
mining_evaluate_baskets(int argc, char **argv)
{
    unsigned        nwords;
    baskets_t       b;
    const char     *words[16];
    mining_result_e rc;

    memset(&b, 0, sizeof(b));
    b.confidence_text = BASKETS_CONFIDENCE;

    {
        const mining_option_t options[] = {
            {"--file", (void *) &b.path, MINING_OPTION_TEXT, 0},
            {"--support", (void *) &b.support_text, MINING_OPTION_TEXT, 0},
            {"--confidence", (void *) &b.confidence_text, MINING_OPTION_TEXT,
                0},
            {"--basket", (void *) &b.basket, MINING_OPTION_TEXT, 0},
            {"--item", (void *) &b.item, MINING_OPTION_TEXT, 0},
            {"--rules", (void *) &b.out_path, MINING_OPTION_TEXT, 0},
            {"--all", &b.all, MINING_OPTION_FLAG, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 16
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || b.path == NULL || b.support_text == NULL
            || (b.basket == NULL) != (b.item == NULL)
            || !mining_evaluate_share("--support", b.support_text, &b.support)
            || !mining_evaluate_share(
                "--confidence", b.confidence_text, &b.confidence))
        {
            mining_say("usage: evaluate baskets " MINING_EVALUATE_BASKETS);
            return MINING_EXIT_USAGE;
        }
    }

    rc = baskets_read(&b);
    if (rc == MINING_OK) {
        rc = baskets_find(&b);
    }
    if (rc == MINING_OK) {
        rc = baskets_rules(&b);
    }
    if (rc == MINING_OK) {
        mining_evaluate_memory();
    } else if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }

    mining_itemsets_free(&b.found);
    mining_basket_free(&b.file);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
