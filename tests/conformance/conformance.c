/*
 * conformance.c - runs a case file of the GrowthBook SDK specification: FILE.
 *
 * Prints per section and in all "N passed, N failed"; exits 1 on failures.
 * Sections that the engine does not have yet are named as left out.  Knows no
 * case: the file's layout is that of the published cases.json.
 */

#include "personalize/set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>


typedef struct {
    personalize_set_t  *set;
    personalize_value_t root;
    char                packed[1 << 20];
} visit_t;

static visit_t visit;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    (void) ctx;
    personalize_value_path(&visit.root, visit.set->attributes[n], value);
}


/* 1, 0, or -1: the condition is refused. */
static int
holds(json_t *condition, json_t *attributes, json_t *groups)
{
    int                    rc;
    char                   fault[256], *text, *end;
    size_t                 pos;
    json_t                *doc;
    personalize_str_t      slot = {"h", 1}, packed;
    personalize_request_t  request = {get, NULL, {"u", 1}, 0};
    personalize_decision_t decision;

    doc = json_pack("{s:s,s:i,s:O,s:[{s:s,s:s,s:O,s:[{s:s,s:i,s:s}]}]}", "site",
        "s", "version", 1, "savedGroups", groups, "campaigns", "key", "k",
        "slot", "h", "when", condition, "variants", "key", "a", "weight", 1,
        "content", "");
    text = json_dumps(doc, 0);
    rc = personalize_set_compile_as(
        &visit.set, text, strlen(text), fault, sizeof(fault), 1);
    free(text);
    json_decref(doc);

    if (rc != PERSONALIZE_OK) {
        printf("    refused: %s\n", fault);
        return -1;
    }

    end = personalize_pack(
        visit.packed, visit.packed + sizeof(visit.packed), attributes, 1);
    packed.data = visit.packed;
    packed.len = end != NULL ? (size_t) (end - visit.packed) : 0;
    pos = 0;
    memset(&visit.root, 0, sizeof(visit.root));
    (void) personalize_value_next(packed, &pos, &visit.root);

    rc = personalize_decide(visit.set, slot, &request, &decision);
    personalize_set_free(visit.set);

    return rc == PERSONALIZE_OK;
}


static int
case_condition(json_t *row)
{
    int     got;
    json_t *groups;

    groups = json_array_size(row) > 4 ? json_incref(json_array_get(row, 4))
                                      : json_object();
    got = holds(json_array_get(row, 1), json_array_get(row, 2), groups);
    json_decref(groups);

    return got == json_is_true(json_array_get(row, 3));
}


static int
case_hash(json_t *row)
{
    json_t           *expected = json_array_get(row, 3);
    personalize_str_t seed, value;
    double            n;

    seed.data = json_string_value(json_array_get(row, 0));
    seed.len = json_string_length(json_array_get(row, 0));
    value.data = json_string_value(json_array_get(row, 1));
    value.len = json_string_length(json_array_get(row, 1));

    if (!personalize_bucket(
            seed, value, json_integer_value(json_array_get(row, 2)), &n))
    {
        return json_is_null(expected);
    }

    return json_is_number(expected) && json_number_value(expected) == n;
}


static const struct {
    const char *name;
    int (*check)(json_t *row);
} sections[] = {{"evalCondition", case_condition}, {"hash", case_hash}};


static void
run_section(const char *name, json_t *rows, unsigned totals[2])
{
    int      ok;
    size_t   i, k;
    json_t  *row;
    unsigned counts[2] = {0, 0};

    for (k = 0; k < sizeof(sections) / sizeof(sections[0]); k++) {
        if (strcmp(sections[k].name, name) == 0) {
            break;
        }
    }

    if (k == sizeof(sections) / sizeof(sections[0])) {
        printf("%s: left out, %zu cases\n", name, json_array_size(rows));
        return;
    }

    json_array_foreach(rows, i, row)
    {
        ok = sections[k].check(row);
        counts[!ok]++;
        if (!ok) {
            printf("    failed: %s[%zu] %s\n", name, i,
                json_string_value(json_array_get(row, 0)));
        }
    }

    printf("%s: %u passed, %u failed\n", name, counts[0], counts[1]);
    totals[0] += counts[0];
    totals[1] += counts[1];
}


int
main(int argc, char **argv)
{
    json_t      *root, *rows;
    unsigned     totals[2] = {0, 0};
    const char  *name;
    json_error_t error;

    root = argc == 2 ? json_load_file(argv[1], 0, &error) : NULL;
    if (root == NULL) {
        fprintf(stderr, "usage: conformance FILE (a case file in JSON)\n");
        return 2;
    }

    json_object_foreach(root, name, rows)
    {
        if (json_is_array(rows)) {
            run_section(name, rows, totals);
        }
    }

    printf("in all: %u passed, %u failed\n", totals[0], totals[1]);
    json_decref(root);

    return totals[1] != 0;
}
