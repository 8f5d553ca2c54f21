/*
 * feature.c - the value of a feature: rules in order, prerequisites first.
 *
 * A prerequisite is evaluated as its own feature, with the path that led to it
 * in hand: one already on the path is a circle.  The path is at most
 * PERSONALIZE_PARENT_DEPTH_MAX long and every feature tried costs a step of
 * the evaluation; whatever exceeds them is answered as a circle is, which
 * ends the evaluation at once, so that no payload can make one long.
 */

#include "feature.h"

static void evaluate(personalize_trial_t *trial, const personalize_path_t *up,
    uint32_t n, personalize_flag_t *flag);


void
personalize_trial_start(personalize_trial_t *trial,
    const personalize_set_t *set, const personalize_context_t *context)
{
    trial->context = context;
    trial->request.get = context->get;
    trial->request.ctx = context->ctx;
    trial->view.request = &trial->request;
    trial->view.set = set;
    trial->view.steps = PERSONALIZE_STEPS_MAX;
    memset(trial->view.known, 0, sizeof(trial->view.known));
}


personalize_parents_e
personalize_parents_try(personalize_trial_t *trial,
    const personalize_path_t *path, const personalize_gate_t *gate)
{
    unsigned                    i;
    personalize_flag_t          flag;
    const personalize_parent_t *parent;

    static const personalize_value_t none; /* has a value null */

    for (i = 0; i < gate->nparents; i++) {
        parent = &gate->parents[i];
        evaluate(trial, path, parent->feature, &flag);

        if (flag.source == PERSONALIZE_SOURCE_CIRCLE) {
            return PERSONALIZE_PARENTS_CIRCLE;
        }

        if (!personalize_condition_fits_value(parent->condition.clauses,
                parent->condition.entry, &trial->view,
                flag.held != NULL ? &flag.held->object : &none))
        {
            return parent->gate ? PERSONALIZE_PARENTS_STOP
                                : PERSONALIZE_PARENTS_SKIP;
        }
    }

    return PERSONALIZE_PARENTS_FIT;
}


static int
rolled_out(personalize_trial_t *trial, const personalize_rule_t *rule)
{
    double              n;
    uint16_t            attribute;
    personalize_value_t value;

    if (rule->rollout == PERSONALIZE_ROLLOUT_ALL) {
        return 1;
    }

    if (rule->rollout == PERSONALIZE_ROLLOUT_NONE
        || !personalize_hashing_value(trial, &rule->hashing, &attribute, &value)
        || !personalize_hashing_bucket(&rule->hashing, &value, &n))
    {
        return 0;
    }

    return rule->rollout == PERSONALIZE_ROLLOUT_RANGE
               ? personalize_range_has(&rule->range, n)
               : n <= rule->range.end;
}


/* Whether a rule, whose prerequisites are met, gives the value. */
static int
rule_gives(personalize_trial_t *trial, const personalize_path_t *path,
    const personalize_rule_t *rule, personalize_flag_t *flag)
{
    if (personalize_gate_filters(trial, &rule->gate)) {
        return 0;
    }

    switch (rule->kind) {

    case PERSONALIZE_RULE_FORCE:
        if (!personalize_condition_fits(
                rule->condition.clauses, rule->condition.entry, &trial->view)
            || !rolled_out(trial, rule))
        {
            return 0;
        }
        flag->source = PERSONALIZE_SOURCE_FORCE;
        flag->held = &rule->held;
        return 1;

    case PERSONALIZE_RULE_EXPERIMENT:
        personalize_experiment_try(
            trial, path, rule->experiment, &flag->outcome);
        if (!flag->outcome.in_experiment || flag->outcome.passthrough) {
            return 0;
        }
        flag->source = PERSONALIZE_SOURCE_EXPERIMENT;
        flag->held = flag->outcome.held;
        return 1;

    default:
        return 0;
    }
}


static void
try_rules(personalize_trial_t *trial, const personalize_path_t *path,
    const personalize_feature_t *feature, personalize_flag_t *flag)
{
    const personalize_rule_t *rule;

    for (flag->place = 0; flag->place < feature->nrules; flag->place++) {
        rule = &feature->rules[flag->place];

        switch (personalize_parents_try(trial, path, &rule->gate)) {

        case PERSONALIZE_PARENTS_CIRCLE:
            flag->source = PERSONALIZE_SOURCE_CIRCLE;
            return;

        case PERSONALIZE_PARENTS_STOP:
            flag->source = PERSONALIZE_SOURCE_PREREQUISITE;
            return;

        case PERSONALIZE_PARENTS_FIT:
            if (rule_gives(trial, path, rule, flag)) {
                flag->rule = rule->id;
                return;
            }
            break;

        default:
            break;
        }
    }

    flag->source = PERSONALIZE_SOURCE_DEFAULT;
    flag->held = &feature->otherwise;
}


static int
on_path(const personalize_path_t *path, uint32_t feature)
{
    for (; path != NULL; path = path->up) {
        if (path->feature == feature) {
            return 1;
        }
    }

    return 0;
}


/* Recurses PERSONALIZE_PARENT_DEPTH_MAX times at most. */
static void
evaluate(personalize_trial_t *trial, const personalize_path_t *up, uint32_t n,
    personalize_flag_t *flag)
{
    personalize_path_t       path = {up, n, up != NULL ? up->depth + 1 : 1};
    const personalize_set_t *set = trial->view.set;

    memset(flag, 0, sizeof(personalize_flag_t));

    if (n == PERSONALIZE_NO_FEATURE || set->features[n].absent) {
        flag->source = PERSONALIZE_SOURCE_UNKNOWN;
        return;
    }

    if (on_path(up, n) || path.depth > PERSONALIZE_PARENT_DEPTH_MAX
        || trial->view.steps == 0)
    {
        flag->source = PERSONALIZE_SOURCE_CIRCLE;
        return;
    }

    trial->view.steps--;
    try_rules(trial, &path, &set->features[n], flag);

    if (trial->view.steps == 0) { /* conditions did not hold for want of them */
        memset(flag, 0, sizeof(personalize_flag_t));
        flag->source = PERSONALIZE_SOURCE_CIRCLE;
    }
}


void
personalize_feature_evaluate(const personalize_set_t *set,
    personalize_str_t name, const personalize_context_t *context,
    personalize_flag_t *flag)
{
    personalize_trial_t trial;

    personalize_trial_start(&trial, set, context);
    evaluate(&trial, NULL, personalize_feature_find(set, name), flag);
}


personalize_value_t
personalize_held_value(const personalize_held_t *held)
{
    static const personalize_value_t none;

    return held != NULL ? held->value : none;
}
