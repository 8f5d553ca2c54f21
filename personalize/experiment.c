/*
 * experiment.c - which variation of an experiment a visitor gets.
 *
 * The order of the tests is the specification's, and it matters: an override
 * by query or by hand comes before the state, a coverage that misses before a
 * forced variation.  Stored assignments ("sticky buckets") are handed in and
 * out as an array, which the caller reads from a cookie or a profile.
 */

#include "feature.h"


static int
value_there(
    personalize_trial_t *trial, uint16_t attribute, personalize_value_t *value)
{
    *value = *personalize_view_get(&trial->view, attribute);

    if (!personalize_value_true(value)) {
        memset(value, 0, sizeof(personalize_value_t));
        return 0;
    }

    return 1;
}


int
personalize_hashing_value(personalize_trial_t *trial,
    const personalize_hashing_t *hashing, uint16_t *attribute,
    personalize_value_t *value)
{
    *attribute = hashing->attribute;

    if (value_there(trial, hashing->attribute, value)) {
        return 1;
    }

    if (trial->context->stickies == NULL || hashing->loose
        || hashing->fallback == PERSONALIZE_NO_ATTRIBUTE
        || !value_there(trial, hashing->fallback, value))
    {
        return 0;
    }

    *attribute = hashing->fallback;

    return 1;
}


int
personalize_hashing_bucket(const personalize_hashing_t *hashing,
    const personalize_value_t *value, double *n)
{
    char buf[PERSONALIZE_VALUE_TEXT];

    return personalize_bucket(
        hashing->seed, personalize_value_text(value, buf), hashing->version, n);
}


static int
filter_has(personalize_trial_t *trial, const personalize_filter_t *filter)
{
    double                n;
    personalize_value_t   value;
    personalize_hashing_t hashing = {filter->seed, filter->attribute,
        PERSONALIZE_NO_ATTRIBUTE, filter->version, 1};

    return value_there(trial, filter->attribute, &value)
           && personalize_hashing_bucket(&hashing, &value, &n)
           && personalize_ranges_choose(filter->ranges, filter->nranges, n)
                  >= 0;
}


int
personalize_gate_filters(
    personalize_trial_t *trial, const personalize_gate_t *gate)
{
    unsigned i;

    for (i = 0; i < gate->nfilters; i++) {
        if (!filter_has(trial, &gate->filters[i])) {
            return 1;
        }
    }

    return 0;
}


static int
condition_fits(
    personalize_trial_t *trial, const personalize_condition_t *condition)
{
    return personalize_condition_fits(
        condition->clauses, condition->entry, &trial->view);
}


/* Whether a stored assignment is about this attribute and value. */
static int
sticky_about(personalize_trial_t *trial, const personalize_sticky_t *sticky,
    uint16_t attribute, const personalize_value_t *value)
{
    char a[PERSONALIZE_VALUE_TEXT], b[PERSONALIZE_VALUE_TEXT];

    return value->type != PERSONALIZE_ABSENT
           && personalize_str_equal(
               sticky->attribute, trial->view.set->attributes[attribute])
           && personalize_str_equal(personalize_value_text(&sticky->value, a),
               personalize_value_text(value, b));
}


/* Whether a name is that of the experiment at a blocked bucket version. */
static int
sticky_blocked(
    const personalize_experiment_t *experiment, personalize_str_t name)
{
    size_t   i, len = experiment->key.len + 2;
    uint64_t version;

    if (name.len <= len || name.len > len + 10
        || memcmp(name.data, experiment->sticky.data, len) != 0
        || (name.data[len] == '0' && name.len > len + 1))
    {
        return 0;
    }

    version = 0;

    for (i = len; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') {
            return 0;
        }
        version = version * 10 + (uint64_t) (name.data[i] - '0');
    }

    return version < experiment->min_version;
}


/* The stored variation, -1: none; PERSONALIZE_BLOCKED: of an old version. */
static int
sticky_find(
    personalize_trial_t *trial, const personalize_experiment_t *experiment)
{
    int                           own, found_own = 0;
    unsigned                      i;
    personalize_str_t             key = {NULL, 0};
    personalize_value_t           value, fallback;
    const personalize_sticky_t   *sticky;
    const personalize_stickies_t *stickies = trial->context->stickies;

    (void) value_there(trial, experiment->hashing.attribute, &value);
    (void) value_there(trial, experiment->fallback, &fallback);

    for (i = 0; i < stickies->n; i++) {
        sticky = &stickies->entries[i];
        own =
            sticky_about(trial, sticky, experiment->hashing.attribute, &value);

        if (!own
            && !sticky_about(trial, sticky, experiment->fallback, &fallback)) {
            continue;
        }

        if (sticky_blocked(experiment, sticky->experiment)) {
            return PERSONALIZE_BLOCKED;
        }

        if (!found_own
            && personalize_str_equal(sticky->experiment, experiment->sticky)) {
            key = sticky->variation;
            found_own = own;
        }
    }

    for (i = 0; key.data != NULL && i < experiment->nvariations; i++) {
        if (experiment->variations[i].keyed
            && personalize_str_equal(experiment->variations[i].key, key))
        {
            return (int) i;
        }
    }

    return -1;
}


static void
sticky_keep(personalize_trial_t *trial, uint16_t attribute,
    const personalize_experiment_t *experiment,
    const personalize_outcome_t    *outcome)
{
    unsigned                i;
    personalize_sticky_t   *sticky;
    personalize_stickies_t *stickies = trial->context->stickies;

    for (i = 0; i < stickies->n; i++) {
        sticky = &stickies->entries[i];

        if (personalize_str_equal(sticky->experiment, experiment->sticky)
            && sticky_about(trial, sticky, attribute, &outcome->hash_value))
        {
            if (!personalize_str_equal(sticky->variation, outcome->key)) {
                sticky->variation = outcome->key;
                stickies->changed++;
            }
            return;
        }
    }

    if (stickies->n == stickies->max) {
        stickies->lost++;
        return;
    }

    sticky = &stickies->entries[stickies->n++];
    sticky->attribute = trial->view.set->attributes[attribute];
    sticky->value = outcome->hash_value;
    sticky->experiment = experiment->sticky;
    sticky->variation = outcome->key;
    stickies->changed++;
}


/* Fills in a variation; -1: the first one, and out of the experiment. */
static void
settle(const personalize_experiment_t *experiment, int variation,
    personalize_outcome_t *outcome)
{
    const personalize_variation_t *chosen;

    outcome->in_experiment =
        variation >= 0 && (unsigned) variation < experiment->nvariations;
    outcome->variation = outcome->in_experiment ? (unsigned) variation : 0;

    if (experiment->nvariations == 0) {
        outcome->held = NULL;
        outcome->key.data = "0";
        outcome->key.len = 1;
        return;
    }

    chosen = &experiment->variations[outcome->variation];
    outcome->held = &chosen->held;
    outcome->key = chosen->key;
    outcome->name = chosen->name;
    outcome->passthrough = chosen->passthrough;
}


/* By the query or by hand: these know no state and no audience. */
static int
overridden(const personalize_context_t *context,
    const personalize_experiment_t *experiment, int *variation)
{
    unsigned i;

    if (personalize_query_override(
            experiment->key, context->url, experiment->nvariations, &i))
    {
        *variation = (int) i;
        return 1;
    }

    for (i = 0; i < context->nforced; i++) {
        if (personalize_str_equal(context->forced[i].key, experiment->key)) {
            *variation = context->forced[i].variation;
            return 1;
        }
    }

    return 0;
}


static int
audience_fits(personalize_trial_t *trial, const personalize_path_t *path,
    const personalize_experiment_t *experiment,
    const personalize_value_t      *value)
{
    char buf[PERSONALIZE_VALUE_TEXT];

    if (experiment->gate.has_filters) {
        if (personalize_gate_filters(trial, &experiment->gate)) {
            return 0;
        }

    } else if (experiment->has_space
               && !personalize_namespace_has(
                   &experiment->space, personalize_value_text(value, buf)))
    {
        return 0;
    }

    return condition_fits(trial, &experiment->condition)
           && personalize_parents_try(trial, path, &experiment->gate)
                  == PERSONALIZE_PARENTS_FIT;
}


/* A bandit's weights are those of the first context that fits. */
static int
leaf_of(personalize_trial_t *trial, const personalize_experiment_t *experiment)
{
    unsigned i;

    for (i = 0; i < experiment->nleaves; i++) {
        if (condition_fits(trial, &experiment->leaves[i].condition)) {
            return (int) i;
        }
    }

    return -1;
}


/* The variation by hash or store; -1: out, which may be noted why. */
static int
assign(personalize_trial_t *trial, const personalize_path_t *path,
    const personalize_experiment_t *experiment, uint16_t *attribute,
    personalize_outcome_t *outcome)
{
    int                        sticks, stored;
    double                     n;
    personalize_value_t        value;
    const personalize_range_t *ranges;

    if (!personalize_hashing_value(
            trial, &experiment->hashing, attribute, &value)) {
        return -1;
    }

    sticks = trial->context->stickies != NULL && !experiment->hashing.loose;
    stored = sticks ? sticky_find(trial, experiment) : -1;

    if (stored < 0 && !audience_fits(trial, path, experiment, &value)) {
        return -1;
    }

    if (!personalize_hashing_bucket(&experiment->hashing, &value, &n)) {
        return -1;
    }

    if (stored == PERSONALIZE_BLOCKED) {
        outcome->sticky_used = 1;
        return -1;
    }

    outcome->bucket = n;

    if (stored >= 0) {
        outcome->sticky_used = 1;
        return stored;
    }

    ranges = outcome->leaf < 0 ? experiment->ranges
                               : experiment->leaves[outcome->leaf].ranges;

    return personalize_ranges_choose(ranges, experiment->nranges, n);
}


static void
enter(personalize_trial_t *trial, const personalize_path_t *path,
    const personalize_experiment_t *experiment, personalize_outcome_t *outcome)
{
    int      variation, blocked;
    uint16_t attribute;

    if (experiment->nvariations < 2 || trial->context->disabled
        || experiment->elsewhere)
    {
        return;
    }

    if (overridden(trial->context, experiment, &variation)) {
        settle(experiment, variation, outcome);
        return;
    }

    if (experiment->inactive) {
        return;
    }

    variation = assign(trial, path, experiment, &attribute, outcome);
    if (variation < 0) {
        return;
    }

    blocked = trial->context->qa || experiment->stopped;

    if (experiment->has_force || blocked) {
        outcome->sticky_used = 0;
        if (experiment->has_force) {
            settle(experiment, experiment->force, outcome);
        }
        return;
    }

    settle(experiment, variation, outcome);
    outcome->hash_used = 1;
    outcome->has_bucket = 1;

    if (trial->context->stickies != NULL && !experiment->hashing.loose) {
        sticky_keep(trial, attribute, experiment, outcome);
    }
}


void
personalize_experiment_try(personalize_trial_t *trial,
    const personalize_path_t *path, const personalize_experiment_t *experiment,
    personalize_outcome_t *outcome)
{
    uint16_t attribute;

    memset(outcome, 0, sizeof(personalize_outcome_t));
    outcome->leaf = leaf_of(trial, experiment);
    settle(experiment, -1, outcome);

    (void) personalize_hashing_value(
        trial, &experiment->hashing, &attribute, &outcome->hash_value);
    outcome->hash_attribute = trial->view.set->attributes[attribute];

    enter(trial, path, experiment, outcome);
}


int
personalize_experiment_evaluate(const personalize_set_t *set, unsigned n,
    const personalize_context_t *context, personalize_outcome_t *outcome)
{
    personalize_trial_t trial;

    if (n >= set->nexperiments) {
        return 0;
    }

    personalize_trial_start(&trial, set, context);
    personalize_experiment_try(&trial, NULL, &set->experiments[n], outcome);

    return 1;
}
