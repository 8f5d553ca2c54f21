/*
 * set.c - the campaigns of one site: JSON in, a compiled set out.
 *
 * Everything is checked here, once, so that deciding has nothing left to
 * refuse.  A set is taken whole or not at all.  Campaigns are compiled in
 * input order, so that a fault names their place in the document, and sorted
 * afterwards: by slot, then priority, then key.
 */

#include "set.h"

#include <math.h>
#include <stdlib.h>


#define PRIORITY_MAX 1000
#define VARIANTS_MAX 16

#define KEY_RULE                                                               \
    "must be 1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", a letter or digit "  \
    "first"
#define SLOT_RULE                                                              \
    "must be 1 to 64 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\", a letter or "   \
    "digit first"

/* A campaign and what it is sorted by. */
typedef struct {
    personalize_campaign_t campaign;
    personalize_str_t      slot;
    int                    priority;
    unsigned               place; /* in the document */
} draft_t;


/* A member by name; missing ones are a fault at the object itself. */
static personalize_result_e
require(personalize_compiler_t *c, const json_t *object, const char *name,
    json_t **value)
{
    *value = json_object_get(object, name);

    return *value != NULL ? PERSONALIZE_OK
                          : personalize_fault(c, "\"%s\" is missing", name);
}


/* Refuses members that are not in the NULL-terminated list. */
static personalize_result_e
check_members(
    personalize_compiler_t *c, json_t *object, const char *const *known)
{
    void              *iter;
    const char        *name;
    const char *const *p;

    if (!json_is_object(object)) {
        return personalize_fault(c, "must be an object");
    }

    for (iter = json_object_iter(object); iter != NULL;
         iter = json_object_iter_next(object, iter))
    {
        name = json_object_iter_key(iter);

        for (p = known; *p != NULL && strcmp(*p, name) != 0; p++) {
            /* void */
        }

        if (*p == NULL) {
            return personalize_fault(
                c, "unknown member \"%.64s\", remove it", name);
        }
    }

    return PERSONALIZE_OK;
}


static int
is_name(const json_t *value, int upper)
{
    char        ch;
    size_t      i, len;
    const char *name;

    if (!json_is_string(value)) {
        return 0;
    }

    name = json_string_value(value);
    len = json_string_length(value);

    for (i = 0; i < len; i++) {
        ch = name[i];
        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
            || (upper && ch >= 'A' && ch <= 'Z'))
        {
            continue;
        }
        if (i == 0 || (ch != '.' && ch != '_' && ch != '-')) {
            return 0;
        }
    }

    return len > 0 && len <= PERSONALIZE_NAME_MAX;
}


static personalize_result_e
compile_name(personalize_compiler_t *c, const json_t *object,
    const char *member, int upper, personalize_str_t *name)
{
    size_t               path;
    json_t              *value;
    personalize_result_e rc;

    rc = require(c, object, member, &value);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".%s", member);
    if (!is_name(value, upper)) {
        return personalize_fault(c, "%s", upper ? SLOT_RULE : KEY_RULE);
    }
    personalize_path_pop(c, path);

    return personalize_copy(c, value, name);
}


static personalize_result_e
compile_time(personalize_compiler_t *c, const json_t *object,
    const char *member, int64_t otherwise, int64_t *time_s)
{
    json_t *value;

    *time_s = otherwise;
    value = json_object_get(object, member);

    if (value == NULL || json_is_null(value)) {
        return PERSONALIZE_OK;
    }

    if (!json_is_integer(value)) {
        (void) personalize_path_push(c, ".%s", member);
        return personalize_fault(c, "must be null or whole seconds since 1970");
    }

    *time_s = json_integer_value(value);

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_priority(personalize_compiler_t *c, const json_t *object, int *priority)
{
    json_t *value;

    *priority = 0;
    value = json_object_get(object, "priority");

    if (value == NULL) {
        return PERSONALIZE_OK;
    }

    if (!json_is_integer(value) || json_integer_value(value) < 0
        || json_integer_value(value) > PRIORITY_MAX)
    {
        (void) personalize_path_push(c, ".priority");
        return personalize_fault(
            c, "must be a whole number from 0 to %d", PRIORITY_MAX);
    }

    *priority = (int) json_integer_value(value);

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_when(personalize_compiler_t *c, const json_t *object,
    personalize_campaign_t *campaign)
{
    size_t               path;
    json_t              *when;
    personalize_result_e rc;

    campaign->clauses = NULL;
    campaign->entry = PERSONALIZE_FITS;
    when = json_object_get(object, "when");

    if (when == NULL) {
        return PERSONALIZE_OK;
    }

    path = personalize_path_push(c, ".when");
    rc = personalize_condition_compile(c, when, &campaign->entry);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }
    personalize_path_pop(c, path);

    return personalize_condition_keep(c, &campaign->clauses);
}


static personalize_result_e
compile_variant(personalize_compiler_t *c, json_t *object,
    personalize_variant_t *variant, double *weight)
{
    static const char *const known[] = {"key", "weight", "content", NULL};
    size_t                   path;
    json_t                  *value;
    personalize_result_e     rc;

    rc = check_members(c, object, known);
    if (rc == PERSONALIZE_OK) {
        rc = compile_name(c, object, "key", 0, &variant->key);
    }
    if (rc == PERSONALIZE_OK) {
        rc = require(c, object, "weight", &value);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".weight");
    if (!json_is_number(value) || json_number_value(value) < 0) {
        return personalize_fault(c, "must be a number of 0 or more");
    }
    personalize_path_pop(c, path);
    *weight = json_number_value(value);

    rc = require(c, object, "content", &value);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".content");
    rc = personalize_content_compile(c, value, &variant->content);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    return rc;
}


/* Weights are of any sum; the ranges are of their shares. */
static personalize_result_e
share_weights(personalize_compiler_t *c, double *weights, unsigned n,
    const personalize_range_t **ranges)
{
    double               total;
    unsigned             i;
    personalize_range_t *made;

    total = 0;

    for (i = 0; i < n; i++) {
        total += weights[i];
    }

    if (total == 0) {
        return personalize_fault(c, "all weights are 0, give one a weight");
    }

    if (!isfinite(total)) {
        return personalize_fault(c, "weights are too large, lower them");
    }

    made = personalize_alloc(c, n * sizeof(personalize_range_t));
    if (made == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        weights[i] /= total;
    }

    personalize_ranges(n, 1, weights, made);
    *ranges = made;

    return PERSONALIZE_OK;
}


static personalize_result_e
compile_variant_list(personalize_compiler_t *c, json_t *list,
    personalize_variant_t *variants, const personalize_range_t **ranges)
{
    double               weights[VARIANTS_MAX];
    size_t               path;
    unsigned             i, k, n;
    personalize_result_e rc;

    n = (unsigned) json_array_size(list);

    for (i = 0; i < n; i++) {
        path = personalize_path_push(c, "[%u]", i);

        rc = compile_variant(
            c, json_array_get(list, i), &variants[i], &weights[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }

        for (k = 0; k < i; k++) {
            if (personalize_str_equal(variants[k].key, variants[i].key)) {
                (void) personalize_path_push(c, ".key");
                return personalize_fault(c,
                    "\"%.*s\" is used twice in this campaign",
                    (int) variants[i].key.len, variants[i].key.data);
            }
        }

        personalize_path_pop(c, path);
    }

    return share_weights(c, weights, n, ranges);
}


static personalize_result_e
compile_variants(personalize_compiler_t *c, const json_t *object,
    personalize_campaign_t *campaign)
{
    size_t                 path, n;
    json_t                *list;
    personalize_result_e   rc;
    personalize_variant_t *variants;

    rc = require(c, object, "variants", &list);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    path = personalize_path_push(c, ".variants");
    n = json_array_size(list);

    if (n == 0 || n > VARIANTS_MAX) { /* 0 also of what is no list */
        return personalize_fault(
            c, "must be a list of 1 to %d variants", VARIANTS_MAX);
    }

    variants = personalize_alloc(c, n * sizeof(personalize_variant_t));
    if (variants == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = compile_variant_list(c, list, variants, &campaign->ranges);
    if (rc == PERSONALIZE_OK) {
        personalize_path_pop(c, path);
    }

    campaign->variants = variants;
    campaign->nvariants = (uint16_t) n;

    return rc;
}


static personalize_result_e
compile_campaign(personalize_compiler_t *c, json_t *object, draft_t *draft)
{
    static const char *const known[] = {"key", "slot", "priority", "start",
        "end", "times", "namespace", "holdout", "when", "variants", NULL};
    personalize_result_e     rc;
    personalize_campaign_t  *campaign = &draft->campaign;

    rc = check_members(c, object, known);
    if (rc == PERSONALIZE_OK) {
        rc = compile_name(c, object, "key", 0, &campaign->key);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_name(c, object, "slot", 1, &draft->slot);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_priority(c, object, &draft->priority);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_time(c, object, "start", INT64_MIN, &campaign->start_s);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_time(c, object, "end", INT64_MAX, &campaign->end_s);
    }
    if (rc == PERSONALIZE_OK) {
        rc = personalize_terms_compile(
            c, object, campaign->key, &campaign->terms);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_when(c, object, campaign);
    }
    if (rc == PERSONALIZE_OK) {
        rc = compile_variants(c, object, campaign);
    }
    if (rc == PERSONALIZE_OK) {
        campaign->seed =
            personalize_hash_add(PERSONALIZE_HASH_START, campaign->key);
    }

    return rc;
}


static int
compare_strs(personalize_str_t a, personalize_str_t b)
{
    int order;

    order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}


static int
compare_keys(const void *one, const void *two)
{
    int            order;
    const draft_t *a = one, *b = two;

    order = compare_strs(a->campaign.key, b->campaign.key);

    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}


static int
compare_drafts(const void *one, const void *two)
{
    int            order;
    const draft_t *a = one, *b = two;

    order = compare_strs(a->slot, b->slot);

    if (order == 0) {
        order = b->priority - a->priority;
    }

    return order != 0 ? order : compare_strs(a->campaign.key, b->campaign.key);
}


static personalize_result_e
check_keys(personalize_compiler_t *c, draft_t *drafts, size_t n)
{
    size_t            i;
    personalize_str_t key;

    qsort(drafts, n, sizeof(draft_t), compare_keys);

    for (i = 1; i < n; i++) {
        key = drafts[i].campaign.key;

        if (personalize_str_equal(key, drafts[i - 1].campaign.key)) {
            (void) personalize_path_push(c, "[%u].key", drafts[i].place);
            return personalize_fault(c, "\"%.*s\" is used by campaigns[%u] too",
                (int) key.len, key.data, drafts[i - 1].place);
        }
    }

    return PERSONALIZE_OK;
}


/*
 * Moves the drafts into the set, in the order they are tried.  Campaigns whose
 * condition is constantly false are counted but never tried.
 */
static personalize_result_e
arrange(personalize_compiler_t *c, draft_t *drafts, size_t n)
{
    size_t               i;
    unsigned             tried;
    personalize_set_t   *set = c->set;
    personalize_slot_t  *slot;
    personalize_result_e rc;

    qsort(drafts, n, sizeof(draft_t), compare_drafts);

    set->ncampaigns = (unsigned) n;
    set->campaigns = personalize_alloc(c, n * sizeof(personalize_campaign_t));
    set->slots = personalize_alloc(c, n * sizeof(personalize_slot_t));

    if (set->campaigns == NULL || set->slots == NULL) {
        return PERSONALIZE_NOMEM;
    }

    slot = NULL;
    tried = 0;

    for (i = 0; i < n; i++) {
        if (drafts[i].campaign.entry == PERSONALIZE_FAILS) {
            continue;
        }

        if (slot == NULL || !personalize_str_equal(slot->name, drafts[i].slot))
        {
            slot = &set->slots[set->nslots++];
            slot->name = drafts[i].slot;
            slot->first = tried;
            slot->ncampaigns = 0;
        }

        set->campaigns[tried++] = drafts[i].campaign;
        slot->ncampaigns++;
    }

    for (i = 0; i < set->nslots; i++) {
        rc = personalize_audience_index(c, &set->slots[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
    }

    return personalize_index_make(c, &set->slots->name,
        sizeof(personalize_slot_t), set->nslots, &set->index, &set->index_mask);
}


static personalize_result_e
compile_campaigns(personalize_compiler_t *c, json_t *list)
{
    size_t               i, n, path;
    draft_t             *drafts;
    personalize_result_e rc;

    (void) personalize_path_push(c, "campaigns");

    if (!json_is_array(list)) {
        return personalize_fault(c, "must be a list");
    }

    n = json_array_size(list);
    if (n > PERSONALIZE_CAMPAIGNS_MAX) {
        return personalize_fault(
            c, "%zu campaigns, at most %d", n, PERSONALIZE_CAMPAIGNS_MAX);
    }

    drafts = calloc(n + 1, sizeof(draft_t)); /* + 1: never of no bytes */
    if (drafts == NULL) {
        return PERSONALIZE_NOMEM;
    }

    rc = PERSONALIZE_OK;

    for (i = 0; i < n && rc == PERSONALIZE_OK; i++) {
        path = personalize_path_push(c, "[%zu]", i);
        drafts[i].place = (unsigned) i;
        rc = compile_campaign(c, json_array_get(list, i), &drafts[i]);
        personalize_path_pop(c, path);
    }

    if (rc == PERSONALIZE_OK) {
        rc = check_keys(c, drafts, n);
    }
    if (rc == PERSONALIZE_OK) {
        rc = arrange(c, drafts, n);
    }

    free(drafts);

    return rc;
}


static personalize_result_e
compile_root(personalize_compiler_t *c, json_t *root)
{
    static const char *const known[] = {
        "site", "version", "campaigns", "savedGroups", "holdout", NULL};
    json_t              *site, *version, *campaigns;
    personalize_str_t    name;
    personalize_result_e rc;

    rc = check_members(c, root, known);
    if (rc == PERSONALIZE_OK) {
        rc = require(c, root, "site", &site);
    }
    if (rc == PERSONALIZE_OK) {
        rc = require(c, root, "version", &version);
    }
    if (rc == PERSONALIZE_OK) {
        rc = require(c, root, "campaigns", &campaigns);
    }
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    if (!json_is_string(site)) {
        (void) personalize_path_push(c, "site");
        return personalize_fault(c, "must be a text");
    }

    if (!json_is_integer(version) || json_integer_value(version) < 0) {
        (void) personalize_path_push(c, "version");
        return personalize_fault(c, "must be a whole number of 0 or more");
    }

    c->set->version = (uint64_t) json_integer_value(version);

    c->groups = json_object_get(root, "savedGroups");
    if (c->groups != NULL && !json_is_object(c->groups)) {
        (void) personalize_path_push(c, "savedGroups");
        return personalize_fault(c, "must be an object of lists");
    }

    name.data = json_string_value(site);
    name.len = json_string_length(site);
    rc = personalize_holdout_compile(
        c, root, name, &c->set->holdout, &c->set->holdout_seed);

    return rc == PERSONALIZE_OK ? compile_campaigns(c, campaigns) : rc;
}


personalize_result_e
personalize_set_compile(personalize_set_t **set, const char *json, size_t len,
    char *fault, size_t fault_size)
{
    personalize_source_t source = {
        json, len, JSON_REJECT_DUPLICATES, compile_root, 0};

    return personalize_compile(set, &source, fault, fault_size);
}


uint64_t
personalize_set_version(const personalize_set_t *set)
{
    return set->version;
}


unsigned
personalize_set_campaigns(const personalize_set_t *set)
{
    return set->ncampaigns;
}


unsigned
personalize_set_attributes(const personalize_set_t *set)
{
    return set->nattributes;
}


personalize_str_t
personalize_set_attribute(const personalize_set_t *set, unsigned n)
{
    static const personalize_str_t none = {"", 0};

    return n < set->nattributes ? set->attributes[n] : none;
}
