/*
 * context.c - the context of a case in the engine, and its results as JSON.
 *
 * Results are written as the published SDKs return them, so that a case's
 * expectation can be compared member by member.
 */

#include "conformance.h"


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    const context_t *at = ctx;

    personalize_value_path(
        &at->root, personalize_set_attribute(at->set, n), value);
}


static void
pack_attributes(context_t *at, json_t *attributes)
{
    char             *end;
    size_t            pos = 0;
    personalize_str_t packed;

    if (attributes == NULL) {
        return;
    }

    end = personalize_pack(
        at->packed, at->packed + sizeof(at->packed), attributes, 1);
    packed.data = at->packed;
    packed.len = end != NULL ? (size_t) (end - at->packed) : 0;
    (void) personalize_value_next(packed, &pos, &at->root);
}


static void
force(context_t *at, json_t *forced)
{
    json_t     *variation;
    const char *key;

    json_object_foreach(forced, key, variation)
    {
        if (at->context.nforced < 64) {
            at->forced[at->context.nforced].key.data = key;
            at->forced[at->context.nforced].key.len = strlen(key);
            at->forced[at->context.nforced++].variation =
                (int) json_number_value(variation);
        }
    }

    at->context.forced = at->forced;
}


static void
put(json_t *payload, const char *name, json_t *context)
{
    json_t *part = json_object_get(context, name);

    if (part != NULL) {
        (void) json_object_set(payload, name, part);
    }
}


int
context_open(context_t *at, json_t *context, json_t *experiment)
{
    char                 fault[512], *text;
    json_t              *payload, *url;
    personalize_result_e rc;

    memset(at, 0, sizeof(context_t));
    payload = json_object();
    put(payload, "features", context);
    put(payload, "savedGroups", context);
    put(payload, "contextualBandits", context);

    if (experiment != NULL) {
        (void) json_object_set_new(
            payload, "experiments", json_pack("[O]", experiment));
    }

    text = json_dumps(payload, 0);
    json_decref(payload);
    rc = personalize_features_compile(
        &at->set, text, strlen(text), fault, sizeof(fault));
    free(text);

    if (rc != PERSONALIZE_OK) {
        printf("    refused: %s\n", fault);
        return 0;
    }

    pack_attributes(at, json_object_get(context, "attributes"));
    force(at, json_object_get(context, "forcedVariations"));
    url = json_object_get(context, "url");
    at->context.get = get;
    at->context.ctx = at;
    at->context.url.data = json_string_value(url);
    at->context.url.len = json_string_length(url);
    at->context.disabled =
        json_is_false(json_object_get(context, "enabled")) ? 1 : 0;
    at->context.qa = personalize_truth_of(context, "qaMode") ? 1 : 0;

    return 1;
}


void
context_close(context_t *at)
{
    json_decref(at->loaded);
    personalize_set_free(at->set);
}


/* The rule's members that an experiment has, as the SDKs build it. */
static json_t *
experiment_of(const json_t *rule, const char *feature)
{
    static const char *const names[] = {"weights", "hashAttribute",
        "fallbackAttribute", "disableStickyBucketing", "namespace", "meta",
        "ranges", "name", "phase", "seed", "hashVersion", "filters",
        "condition"};
    size_t                   i;
    json_t                  *experiment, *value;

    value = json_object_get(rule, "contextualVariations");
    experiment = json_object();
    (void) json_object_set(experiment, "variations",
        value != NULL ? value : json_object_get(rule, "variations"));

    if (personalize_truth_of(rule, "key")) {
        (void) json_object_set(experiment, "key", json_object_get(rule, "key"));
    } else {
        (void) json_object_set_new(experiment, "key", json_string(feature));
    }

    put(experiment, "coverage", (json_t *) rule);
    put(experiment, "bucketVersion", (json_t *) rule);
    put(experiment, "minBucketVersion", (json_t *) rule);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (personalize_truth_of(rule, names[i])) {
            put(experiment, names[i], (json_t *) rule);
        }
    }

    return experiment;
}


static json_t *
equal_weights(const json_t *experiment)
{
    size_t  i, n;
    json_t *weights = json_array();

    n = json_array_size(json_object_get(experiment, "variations"));

    for (i = 0; i < n; i++) {
        (void) json_array_append_new(weights, json_real(1.0 / (double) n));
    }

    return weights;
}


/* Adds what a contextual bandit chose to the experiment and its result. */
static void
add_bandit(json_t *context, const json_t *rule, const personalize_flag_t *flag,
    json_t *experiment, json_t *result)
{
    int     leaf = flag->outcome.leaf;
    json_t *bandit, *at, *weights, *chosen;

    bandit = json_object_get(json_object_get(context, "contextualBandits"),
        json_string_value(json_object_get(rule, "contextualBanditRef")));

    if (!json_is_object(bandit)) {
        return;
    }

    at = json_array_get(json_object_get(bandit, "contexts"), (size_t) leaf);
    weights = json_object_get(leaf >= 0 ? at : rule, "weights");
    chosen = json_object();

    if (leaf >= 0) {
        (void) json_object_set(experiment, "weights", weights);
        put(chosen, "leafId", at);
    } else {
        (void) json_object_set_new(chosen, "leafId", json_integer(-1));
    }

    (void) json_object_set_new(chosen, "variationWeights",
        weights != NULL ? json_incref(weights) : equal_weights(experiment));
    put(chosen, "banditVersion", bandit);

    if (flag->outcome.hash_used) {
        (void) json_object_set(experiment, "contextualBandit", chosen);
        (void) json_object_update(result, chosen);
    }

    json_decref(chosen);
}


json_t *
context_outcome(
    context_t *at, const personalize_outcome_t *outcome, const char *feature)
{
    json_t             *result;
    personalize_value_t value = personalize_held_value(outcome->held);

    (void) at;
    result = json_pack("{s:o,s:o,s:b,s:b,s:i,s:o,s:o,s:o,s:b}", "key",
        json_of_str(outcome->key), "featureId",
        feature != NULL ? json_string(feature) : json_null(), "inExperiment",
        outcome->in_experiment, "hashUsed", outcome->hash_used, "variationId",
        outcome->variation, "value", json_of_value(&value), "hashAttribute",
        json_of_str(outcome->hash_attribute), "hashValue",
        outcome->hash_value.type == PERSONALIZE_ABSENT
            ? json_string("")
            : json_of_value(&outcome->hash_value),
        "stickyBucketUsed", outcome->sticky_used);

    if (outcome->has_bucket) {
        (void) json_object_set_new(
            result, "bucket", json_real(outcome->bucket));
    }
    if (outcome->name.len > 0) {
        (void) json_object_set_new(result, "name", json_of_str(outcome->name));
    }
    if (outcome->passthrough) {
        (void) json_object_set_new(result, "passthrough", json_true());
    }

    return result;
}


json_t *
context_feature(context_t *at, json_t *context, const char *name)
{
    static const char *const sources[] = {"unknownFeature", "defaultValue",
        "force", "experiment", "prerequisite", "cyclicPrerequisite"};
    json_t                  *result, *rule, *experiment, *inner;
    personalize_str_t        key = {name, strlen(name)};
    personalize_flag_t       flag;
    personalize_value_t      value;

    personalize_feature_evaluate(at->set, key, &at->context, &flag);
    value = personalize_held_value(flag.held);

    result = json_pack("{s:o,s:b,s:b,s:s,s:o}", "value", json_of_value(&value),
        "on", personalize_value_true(&value), "off",
        !personalize_value_true(&value), "source", sources[flag.source],
        "ruleId", json_of_str(flag.rule));

    if (flag.source == PERSONALIZE_SOURCE_EXPERIMENT) {
        rule = json_object_get(json_object_get(context, "features"), name);
        rule = json_array_get(json_object_get(rule, "rules"), flag.place);
        experiment = experiment_of(rule, name);
        inner = context_outcome(at, &flag.outcome, name);
        add_bandit(context, rule, &flag, experiment, inner);
        (void) json_object_set_new(result, "experiment", experiment);
        (void) json_object_set_new(result, "experimentResult", inner);
    }

    return result;
}


/* Whether some rule buckets or falls back by the attribute. */
static int
is_asked(json_t *context, const char *attribute)
{
    size_t      i;
    json_t     *feature, *rule;
    const char *name, *hash, *fallback;

    json_object_foreach(json_object_get(context, "features"), name, feature)
    {
        json_array_foreach(json_object_get(feature, "rules"), i, rule)
        {
            if (!personalize_truth_of(rule, "variations")
                && !personalize_truth_of(rule, "contextualVariations"))
            {
                continue;
            }

            hash = json_string_value(json_object_get(rule, "hashAttribute"));
            fallback =
                json_string_value(json_object_get(rule, "fallbackAttribute"));

            if (strcmp(hash != NULL && hash[0] ? hash : "id", attribute) == 0
                || (fallback != NULL && strcmp(fallback, attribute) == 0))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* Whether the visitor's attribute has the value of the document. */
static int
is_visitor(context_t *at, const personalize_sticky_t *sticky)
{
    char                buf[PERSONALIZE_VALUE_TEXT];
    personalize_value_t value;

    personalize_value_path(&at->root, sticky->attribute, &value);

    return personalize_value_true(&value)
           && personalize_str_equal(
               personalize_value_text(&value, buf), sticky->value.text);
}


/* The document of an attribute's value, made if it is not there. */
static json_t *
document_of(json_t *documents, const personalize_sticky_t *sticky)
{
    char              buf[PERSONALIZE_VALUE_TEXT], name[4096];
    json_t           *document;
    personalize_str_t value;

    value = personalize_value_text(&sticky->value, buf);
    (void) snprintf(name, sizeof(name), "%.*s||%.*s",
        (int) sticky->attribute.len, sticky->attribute.data, (int) value.len,
        value.data);

    document = json_object_get(documents, name);
    if (document == NULL) {
        document = json_pack("{s:o,s:o,s:{}}", "attributeName",
            json_of_str(sticky->attribute), "attributeValue",
            json_of_str(value), "assignments");
        (void) json_object_set_new(documents, name, document);
    }

    return document;
}


void
context_stick(context_t *at, json_t *context, json_t *documents)
{
    size_t               i;
    json_t              *document, *variation, *name, *value;
    const char          *experiment;
    personalize_sticky_t sticky;

    at->stickies.entries = at->entries;
    at->stickies.max = CONTEXT_STICKIES;
    at->context.stickies = &at->stickies;
    at->loaded = json_object();

    json_array_foreach(documents, i, document)
    {
        name = json_object_get(document, "attributeName");
        value = json_object_get(document, "attributeValue");
        memset(&sticky, 0, sizeof(sticky));
        sticky.attribute.data = json_string_value(name);
        sticky.attribute.len = json_string_length(name);
        sticky.value.type = PERSONALIZE_TEXT;
        sticky.value.text.data = json_string_value(value);
        sticky.value.text.len = json_string_length(value);

        if (name == NULL || !is_asked(context, json_string_value(name))
            || !is_visitor(at, &sticky))
        {
            continue;
        }

        (void) document_of(at->loaded, &sticky);

        json_object_foreach(
            json_object_get(document, "assignments"), experiment, variation)
        {
            sticky.experiment.data = experiment;
            sticky.experiment.len = strlen(experiment);
            sticky.variation.data = json_string_value(variation);
            sticky.variation.len = json_string_length(variation);
            if (at->stickies.n < CONTEXT_STICKIES) {
                at->entries[at->stickies.n++] = sticky;
            }
        }
    }
}


json_t *
context_documents(context_t *at)
{
    char                        name[4096];
    unsigned                    i;
    json_t                     *documents, *document;
    const personalize_sticky_t *sticky;

    documents = json_incref(at->loaded);

    for (i = 0; i < at->stickies.n; i++) {
        sticky = &at->entries[i];
        document = document_of(documents, sticky);
        (void) snprintf(name, sizeof(name), "%.*s",
            (int) sticky->experiment.len, sticky->experiment.data);
        (void) json_object_set_new(json_object_get(document, "assignments"),
            name, json_of_str(sticky->variation));
    }

    return documents;
}
