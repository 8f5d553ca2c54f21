/*
 * evaluate_rough.c - what decides in a table of a file, and by which rules.
 *
 * evaluate rough --file FILE: CSV; the decision is the last column, or the one
 * --decision names (a name of the header, or a number from 1).  Values are
 * words: a number wants to be put into classes before.  With --no-header the
 * columns are called 1, 2, ...  It prints quality, core, how many reducts
 * there are by size, the smallest ones, what the genetic search found, and
 * rules; --holdout SHARE keeps drawn rows back and prints how many of them the
 * rules get right.  --rules OUT writes the rules as sentences.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "learn/names.h"
#include "learn/random.h"
#include "learn/rough.h"


#define ROUGH_SHOWN       20 /* reducts */
#define ROUGH_EVALUATIONS 5000
#define ROUGH_SEED        42
#define ROUGH_CELLS_MAX   (1UL << 28)

typedef struct {
    const char      *path;
    const char      *decision;
    const char      *out_path;
    const char      *holdout_text;
    int              bare; /* no header */
    unsigned         evaluations;
    unsigned         seed;
    mining_names_t   columns; /* all of the file, in order */
    mining_names_t   words;
    mining_names_t   decisions;
    unsigned         nfields;
    unsigned         at; /* of the decision */
    uint32_t        *cells;
    uint32_t        *decided;
    size_t           size;
    mining_rough_t   table;
    mining_reducts_t reducts;
} rough_file_t;


/* The name of an attribute, which the decision is none of. */
static tracker_str_t
rough_name(const rough_file_t *f, unsigned k)
{
    return mining_names_word(&f->columns, k + (k >= f->at));
}


static mining_result_e
rough_header(rough_file_t *f, const mining_csv_t *csv)
{
    char            word[16];
    uint32_t        number;
    unsigned        i;
    tracker_str_t   name;
    mining_result_e rc;

    f->nfields = csv->nfields;
    f->at = f->nfields - 1;
    for (i = 0; i < f->nfields; i++) {
        name = csv->fields[i];
        if (f->bare) {
            name.len = (size_t) snprintf(word, sizeof(word), "%u", i + 1);
            name.data = word;
        }
        rc = mining_names_number(&f->columns, name, &number);
        if (rc != MINING_OK) {
            return rc;
        }
        if (number != i) {
            mining_say("evaluate: %s:%d: two columns have the name \"%.*s\"",
                f->path, (int) csv->line, (int) name.len, name.data);
            return MINING_INVALID;
        }
        if (f->decision != NULL && strlen(f->decision) == name.len
            && memcmp(f->decision, name.data, name.len) == 0)
        {
            f->at = i;
            f->decision = NULL;
        }
    }

    if (f->decision != NULL) {
        mining_say("evaluate: %s:%d: no column \"%s\": --decision takes a "
                   "name of the first line, or with --no-header a number",
            f->path, (int) csv->line, f->decision);
        return MINING_INVALID;
    }
    if (f->nfields < 2) {
        mining_say("evaluate: %s:%d: a table has a decision and at least one "
                   "column more",
            f->path, (int) csv->line);
        return MINING_INVALID;
    }
    f->table.m = f->nfields - 1;

    return MINING_OK;
}


static mining_result_e
rough_row(rough_file_t *f, const mining_csv_t *csv)
{
    size_t          size;
    void           *grown;
    uint32_t       *cell;
    unsigned        i;
    mining_result_e rc;

    if (csv->nfields != f->nfields) {
        mining_say("evaluate: %s:%d: %u fields, the first line has %u", f->path,
            (int) csv->line, csv->nfields, f->nfields);
        return MINING_INVALID;
    }

    if (f->table.n == f->size) {
        size = f->size == 0 ? 4096 : 2 * f->size;
        if (size * f->table.m > ROUGH_CELLS_MAX) {
            mining_say(
                "evaluate: %s: over %lu cells", f->path, ROUGH_CELLS_MAX / 2);
            return MINING_FULL;
        }
        grown = realloc(f->cells, size * f->table.m * sizeof(*f->cells));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        f->cells = grown;
        grown = realloc(f->decided, size * sizeof(*f->decided));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        f->decided = grown;
        f->size = size;
    }

    cell = f->cells + f->table.n * f->table.m;
    rc = MINING_OK;
    for (i = 0; i < f->nfields && rc == MINING_OK; i++) {
        rc = i == f->at
                 ? mining_names_number(
                     &f->decisions, csv->fields[i], &f->decided[f->table.n])
                 : mining_names_number(&f->words, csv->fields[i], cell++);
    }
    f->table.n++;

    return rc;
}


static mining_result_e
rough_rows(rough_file_t *f, mining_csv_t *csv)
{
    mining_result_e rc;

    rc = mining_csv_next(csv);
    if (rc == MINING_OK) {
        rc = rough_header(f, csv);
        if (rc == MINING_OK && f->bare) {
            rc = rough_row(f, csv);
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    while (rc == MINING_OK && (rc = mining_csv_next(csv)) == MINING_OK) {
        rc = rough_row(f, csv);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (rc == MINING_INVALID) {
        mining_say(
            "evaluate: %s:%d: %s", f->path, (int) csv->line, csv->reason);
    } else if (rc == MINING_LOST) {
        mining_say("evaluate: %s: is cut short or cannot be read", f->path);
    } else if (f->table.n == 0) {
        mining_say("evaluate: %s: has no row", f->path);
        rc = MINING_INVALID;
    }

    return rc == MINING_DECLINED ? MINING_OK : rc;
}


static mining_result_e
rough_read(rough_file_t *f)
{
    mining_csv_t   *csv;
    mining_file_t   file;
    mining_result_e rc;

    csv = malloc(sizeof(*csv));
    if (csv == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_file_open(&file, f->path);
    if (rc == MINING_OK) {
        mining_csv_start(csv, mining_file_read, &file);
        rc = rough_rows(f, csv);
        mining_file_close(&file);
    }
    free(csv);

    f->table.cells = f->cells;
    f->table.decisions = f->decided;
    f->table.ndecisions = f->decisions.n;

    return rc;
}


static void
rough_print_set(const rough_file_t *f, uint64_t set)
{
    int           first;
    tracker_str_t name;

    for (first = 1; set != 0; set &= set - 1, first = 0) {
        name = rough_name(f, (unsigned) __builtin_ctzll(set));
        (void) printf("%s%.*s", first ? "" : ",", (int) name.len, name.data);
    }
    (void) putchar('\n');
}


static mining_result_e
rough_reducts(rough_file_t *f)
{
    size_t          i, sizes[MINING_ROUGH_WIDTH + 1] = {0};
    double          start, quality;
    mining_result_e rc;

    rc = mining_rough_quality(&f->table,
        f->table.m == 64 ? ~0ULL : (1ULL << f->table.m) - 1, &quality);
    if (rc != MINING_OK) {
        return rc;
    }
    (void) printf("rows %zu\nattributes %u\ndecisions %u\nquality %.9f\n",
        f->table.n, f->table.m, f->table.ndecisions, quality);

    start = mining_evaluate_seconds();
    rc = mining_rough_reducts(&f->table, &f->reducts);
    start = mining_evaluate_seconds() - start;
    if (rc == MINING_FULL) {
        mining_say("evaluate: %s: too large to list all reducts: see "
                   "search_reduct",
            f->path);
        return MINING_OK;
    }
    if (rc != MINING_OK) {
        return rc;
    }

    for (i = 0; i < f->reducts.n; i++) {
        sizes[__builtin_popcountll(f->reducts.sets[i])]++;
    }
    (void) printf("reducts %zu\nreducts_all %d\nreducts_seconds %.6f\n",
        f->reducts.n, f->reducts.all, start);
    for (i = 0; i <= MINING_ROUGH_WIDTH; i++) {
        if (sizes[i] > 0) {
            (void) printf("reducts_of_%zu %zu\n", i, sizes[i]);
        }
    }
    (void) printf("core ");
    rough_print_set(f, f->reducts.core);
    for (i = 0; i < f->reducts.n && i < ROUGH_SHOWN; i++) {
        (void) printf("reduct_%zu ", i + 1);
        rough_print_set(f, f->reducts.sets[i]);
    }

    return MINING_OK;
}


static mining_result_e
rough_search(rough_file_t *f)
{
    double          start;
    uint64_t        reduct;
    unsigned        used;
    mining_result_e rc;

    start = mining_evaluate_seconds();
    rc =
        mining_rough_search(&f->table, f->evaluations, f->seed, &reduct, &used);
    if (rc == MINING_OK) {
        (void) printf("search_evaluations %u\nsearch_seconds %.6f\n"
                      "search_size %d\nsearch_reduct ",
            used, mining_evaluate_seconds() - start,
            __builtin_popcountll(reduct));
        rough_print_set(f, reduct);
    }

    return rc;
}


static mining_result_e
rough_write(const rough_file_t *f, const mining_rough_rules_t *rules)
{
    FILE                      *out;
    size_t                     i;
    uint64_t                   left;
    unsigned                   k;
    tracker_str_t              name, word;
    const mining_rough_rule_t *rule;

    out = fopen(f->out_path, "w");
    if (out == NULL) {
        mining_say("evaluate: %s: cannot be written: %s", f->out_path,
            strerror(errno));
        return MINING_INVALID;
    }

    for (i = 0; i < rules->n; i++) {
        rule = &rules->rules[i];
        for (left = rule->attributes; left != 0; left &= left - 1) {
            k = (unsigned) __builtin_ctzll(left);
            name = rough_name(f, k);
            word = mining_names_word(
                &f->words, f->table.cells[(size_t) rule->row * f->table.m + k]);
            (void) fprintf(out, "%s %.*s = %.*s",
                left == rule->attributes ? "if" : " and", (int) name.len,
                name.data, (int) word.len, word.data);
        }
        name = mining_names_word(&f->columns, f->at);
        word = mining_names_word(&f->decisions, rule->decision);
        (void) fprintf(out, "%s %.*s = %.*s (support %u, certainty %.6g)\n",
            rule->attributes == 0 ? "always" : " then", (int) name.len,
            name.data, (int) word.len, word.data, rule->support,
            (double) rule->support / rule->matches);
    }

    if ((ferror(out) | fclose(out)) != 0) {
        mining_say("evaluate: %s: could not be written", f->out_path);
        return MINING_INVALID;
    }

    return MINING_OK;
}


static mining_result_e
rough_rules(rough_file_t *f)
{
    double               start;
    mining_result_e      rc;
    mining_rough_rules_t rules;

    start = mining_evaluate_seconds();
    rc = mining_rough_learn(&f->table, &rules);
    if (rc == MINING_FULL) {
        mining_say("evaluate: %s: too many rules or values: put numbers into "
                   "classes",
            f->path);
    }
    if (rc == MINING_OK) {
        (void) printf("rules %zu\nrules_seconds %.6f\n", rules.n,
            mining_evaluate_seconds() - start);
        if (f->out_path != NULL) {
            rc = rough_write(f, &rules);
        }
    }
    mining_rough_rules_free(&rules);

    return rc;
}


/* Brings drawn rows to the end; the first are learned from. */
static size_t
rough_split(rough_file_t *f, double share)
{
    size_t   i, k, kept;
    uint32_t cell;
    unsigned j, m;
    uint64_t seed;

    seed = f->seed;
    m = f->table.m;
    for (i = f->table.n; i > 1; i--) {
        k = (size_t) mining_random_below(&seed, i);
        for (j = 0; j <= m; j++) {
            uint32_t *a, *b;

            a = j < m ? &f->cells[k * m + j] : &f->decided[k];
            b = j < m ? &f->cells[(i - 1) * m + j] : &f->decided[i - 1];
            cell = *a;
            *a = *b;
            *b = cell;
        }
    }

    kept = (size_t) (share * (double) f->table.n);

    return f->table.n - (kept < f->table.n ? kept : f->table.n - 1);
}


static mining_result_e
rough_holdout(rough_file_t *f, double share)
{
    size_t               i, n, known, right;
    double              *votes;
    uint32_t             decision;
    mining_rough_t       train;
    mining_result_e      rc;
    mining_rough_rules_t rules;

    n = rough_split(f, share);
    train = f->table;
    train.n = n;
    votes = malloc(((size_t) train.ndecisions + 1) * sizeof(*votes));
    if (votes == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_rough_learn(&train, &rules);
    for (i = n, known = 0, right = 0; rc == MINING_OK && i < f->table.n; i++) {
        if (mining_rough_decide(&train, &rules, f->table.cells + i * f->table.m,
                votes, &decision))
        {
            known++;
            right += decision == f->table.decisions[i];
        }
    }
    if (rc == MINING_OK && n < f->table.n) {
        (void) printf("holdout_rows %zu\nholdout_known %zu\n"
                      "holdout_accuracy %.6f\n",
            f->table.n - n, known, (double) right / (double) (f->table.n - n));
    }
    free(votes);
    mining_rough_rules_free(&rules);

    return rc;
}


int
mining_evaluate_rough(int argc, char **argv)
{
    double          holdout;
    unsigned        nwords;
    const char     *words[24];
    rough_file_t    f;
    mining_result_e rc;

    memset(&f, 0, sizeof(f));
    f.evaluations = ROUGH_EVALUATIONS;
    f.seed = ROUGH_SEED;
    holdout = 0;

    {
        const mining_option_t options[] = {
            {"--file", (void *) &f.path, MINING_OPTION_TEXT, 0},
            {"--decision", (void *) &f.decision, MINING_OPTION_TEXT, 0},
            {"--no-header", &f.bare, MINING_OPTION_FLAG, 0},
            {"--rules", (void *) &f.out_path, MINING_OPTION_TEXT, 0},
            {"--holdout", (void *) &f.holdout_text, MINING_OPTION_TEXT, 0},
            {"--evaluations", &f.evaluations, MINING_OPTION_COUNT, 1000000},
            {"--seed", &f.seed, MINING_OPTION_COUNT, UINT32_MAX},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 24
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || f.path == NULL
            || (f.holdout_text != NULL
                && !mining_evaluate_share(
                    "--holdout", f.holdout_text, &holdout)))
        {
            mining_say("usage: evaluate rough " MINING_EVALUATE_ROUGH);
            return MINING_EXIT_USAGE;
        }
    }

    rc = rough_read(&f);
    if (rc == MINING_OK) {
        rc = rough_reducts(&f);
    }
    if (rc == MINING_OK) {
        rc = rough_search(&f);
    }
    if (rc == MINING_OK) {
        rc = rough_rules(&f);
    }
    if (rc == MINING_OK && holdout > 0) {
        rc = rough_holdout(&f, holdout);
    }
    if (rc == MINING_OK) {
        mining_evaluate_memory();
    } else if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }

    mining_reducts_free(&f.reducts);
    mining_names_free(&f.columns);
    mining_names_free(&f.words);
    mining_names_free(&f.decisions);
    free(f.cells);
    free(f.decided);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
