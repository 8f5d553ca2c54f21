/*
 * mustache.c - runs case files of the Mustache specification: FILE ...
 *
 * Prints per file and in all "N passed, N failed"; exits 1 on failures.  Cases
 * with partials, and files of optional modules (~name.json), are left out and
 * counted.  Knows no case: the layout is that of the published case files.
 */

#include "personalize/set.h"

#include <stdio.h>
#include <stdlib.h>


typedef struct {
    personalize_set_t  *set;
    personalize_value_t root;
    char                packed[1 << 16];
} visit_t;

static visit_t visit;


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    (void) ctx;

    if (personalize_str_equal(
            visit.set->attributes[n], (personalize_str_t){".", 1}))
    {
        *value = visit.root;
        return;
    }

    personalize_value_path(&visit.root, visit.set->attributes[n], value);
}


/* The text made of a template, for free(), or NULL: it is refused. */
static char *
made(json_t *template, json_t *data)
{
    char                  *text, *end, *out, fault[256];
    size_t                 len, pos;
    json_t                *doc;
    personalize_str_t      slot = {"h", 1}, packed;
    personalize_request_t  request = {get, NULL, {"u", 1}, 0};
    personalize_decision_t decision;

    doc = json_pack("{s:s,s:i,s:[{s:s,s:s,s:[{s:s,s:i,s:O}]}]}", "site", "s",
        "version", 1, "campaigns", "key", "k", "slot", "h", "variants", "key",
        "a", "weight", 1, "content", template);
    text = json_dumps(doc, 0);
    json_decref(doc);

    if (personalize_set_compile_as(
            &visit.set, text, strlen(text), fault, sizeof(fault), 1)
        != PERSONALIZE_OK)
    {
        printf("    refused: %s\n", fault);
        free(text);
        return NULL;
    }

    free(text);
    end = personalize_pack(
        visit.packed, visit.packed + sizeof(visit.packed), data, 0);
    packed.data = visit.packed;
    packed.len = (size_t) (end - visit.packed);
    pos = 0;
    out = NULL;

    if (personalize_value_next(packed, &pos, &visit.root)
        && personalize_decide(visit.set, slot, &request, &decision)
               == PERSONALIZE_OK)
    {
        out = calloc(1, 1 << 16);
        if (out != NULL
            && personalize_render(&decision, &request, out, (1 << 16) - 1, &len)
                   != PERSONALIZE_OK)
        {
            out[0] = '\0';
        }
    }

    personalize_set_free(visit.set);

    return out;
}


static int
passes(json_t *test)
{
    int         good;
    char       *got;
    const char *want;

    want = json_string_value(json_object_get(test, "expected"));
    got =
        made(json_object_get(test, "template"), json_object_get(test, "data"));
    good = got != NULL && want != NULL && strcmp(got, want) == 0;

    if (!good) {
        printf("    failed: %s\n      want: %s\n      got:  %s\n",
            json_string_value(json_object_get(test, "name")), want,
            got != NULL ? got : "nothing");
    }

    free(got);

    return good;
}


int
main(int argc, char **argv)
{
    int          i, good;
    size_t       n;
    json_t      *doc, *test, *tests;
    unsigned     passed, failed, out, all[3] = {0, 0, 0};
    const char  *name;
    json_error_t error;

    for (i = 1; i < argc; i++) {
        name = strrchr(argv[i], '/');
        name = name != NULL ? name + 1 : argv[i];
        passed = failed = out = 0;
        doc = json_load_file(argv[i], 0, &error);
        tests = json_object_get(doc, "tests");

        if (!json_is_array(tests)) {
            fprintf(stderr, "%s: no case file: give specs/*.json\n", argv[i]);
            return 2;
        }

        json_array_foreach(tests, n, test)
        {
            if (name[0] == '~' || json_object_get(test, "partials") != NULL) {
                out++;
                continue;
            }

            good = passes(test);
            passed += (unsigned) good;
            failed += (unsigned) !good;
        }

        printf("%s: %u passed, %u failed, %u left out\n", name, passed, failed,
            out);
        all[0] += passed;
        all[1] += failed;
        all[2] += out;
        json_decref(doc);
    }

    printf("all: %u passed, %u failed, %u left out (partials and optional "
           "modules)\n",
        all[0], all[1], all[2]);

    return all[1] != 0 || all[0] == 0;
}
