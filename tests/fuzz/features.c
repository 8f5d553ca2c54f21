/*
 * features.c - fuzzes the payload compiler, and evaluates what compiles.
 *
 * Every feature and experiment is evaluated with attributes of every type,
 * with and without stored buckets; whatever the payload, an evaluation must
 * end, name a variation that exists and keep the store within its bounds.
 */

#include "personalize/feature.h"

#include <stdint.h>
#include <stdlib.h>


#define STICKIES 3
#define FEATURES 64 /* tried of one payload */

typedef struct {
    unsigned shift; /* turns the types round */
} visit_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    static const char   list[] = "\013a\0135\043<&'\"";
    static const char  *texts[] = {"", "5", "a", "user-1"};
    static const double numbers[] = {-1, 0, 5, 1e300};
    const visit_t      *visit = ctx;

    n += visit->shift;
    value->type = (personalize_type_e) (n % 5);

    switch (value->type) {
    case PERSONALIZE_BOOL:
        value->number = n / 5 % 2;
        break;
    case PERSONALIZE_NUMBER:
        value->number = numbers[n / 5 % 4];
        break;
    case PERSONALIZE_TEXT:
        value->text.data = texts[n / 5 % 4];
        value->text.len = strlen(texts[n / 5 % 4]);
        break;
    case PERSONALIZE_LIST:
        value->text.data = list;
        value->text.len = sizeof(list) - 1 - n / 5 % 3;
        break;
    default:
        break;
    }
}


static void
check(const personalize_outcome_t *outcome,
    const personalize_stickies_t  *stickies)
{
    if (outcome->in_experiment && outcome->held == NULL) {
        abort();
    }

    if (outcome->has_bucket && !(outcome->bucket >= 0 && outcome->bucket < 1)) {
        abort();
    }

    if (stickies->n > STICKIES) {
        abort();
    }
}


static void
evaluate(const personalize_set_t *set)
{
    visit_t                visit;
    unsigned               i;
    personalize_flag_t     flag;
    personalize_sticky_t   entries[STICKIES];
    personalize_forced_t   forced = {{"exp", 3}, 1};
    personalize_outcome_t  outcome;
    personalize_context_t  context;
    personalize_stickies_t stickies;

    for (visit.shift = 0; visit.shift < 5; visit.shift++) {
        memset(&context, 0, sizeof(context));
        memset(&stickies, 0, sizeof(stickies));
        memset(entries, 0, sizeof(entries));
        stickies.entries = entries;
        stickies.max = STICKIES;
        context.get = get;
        context.ctx = &visit;
        context.url.data = "http://a/?exp=1&b";
        context.url.len = visit.shift == 3 ? 17 : 0;
        context.forced = &forced;
        context.nforced = visit.shift == 4;
        context.stickies = visit.shift % 2 ? &stickies : NULL;
        context.qa = visit.shift == 2;

        for (i = 0; i < set->nfeatures && i < FEATURES; i++) {
            personalize_feature_evaluate(
                set, set->features[i].name, &context, &flag);
            check(&flag.outcome, &stickies);
            if (flag.source == PERSONALIZE_SOURCE_UNKNOWN
                && !set->features[i].absent) {
                abort();
            }
        }

        for (i = 0;
             i < FEATURES
             && personalize_experiment_evaluate(set, i, &context, &outcome);
             i++)
        {
            check(&outcome, &stickies);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                 fault[128];
    personalize_set_t   *set;
    personalize_result_e rc;

    rc = personalize_features_compile(
        &set, (const char *) data, size, fault, sizeof(fault));

    if (rc == PERSONALIZE_OK) {
        evaluate(set);
        personalize_set_free(set);

    } else if (rc != PERSONALIZE_INVALID || set != NULL || fault[0] == '\0'
               || strpbrk(fault, "\r\n") != NULL)
    {
        abort();
    }

    return 0;
}
