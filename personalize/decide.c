/*
 * decide.c - which campaign, and which variant of it, fills a slot.
 *
 * A set keeps the campaigns of a slot side by side in the order they are
 * tried, so that a decision is one hash lookup and one walk that ends at the
 * first that fits.  Each attribute is asked for once per decision, however
 * many campaigns test it.
 */

#include "set.h"


static const personalize_slot_t *
slot_find(const personalize_set_t *set, personalize_str_t name)
{
    uint32_t                  i;
    const personalize_slot_t *slot;

    i = personalize_hash_key(name) & set->index_mask;

    /* ends: the table is at most half full */
    for (; set->index[i] != 0; i = (i + 1) & set->index_mask) {
        slot = &set->slots[set->index[i] - 1];
        if (personalize_str_equal(slot->name, name)) {
            return slot;
        }
    }

    return NULL;
}


int
personalize_slot_known(const personalize_set_t *set, personalize_str_t slot)
{
    return slot_find(set, slot) != NULL;
}


static const personalize_variant_t *
choose(const personalize_campaign_t *campaign, personalize_str_t unit)
{
    double   n;
    unsigned i;

    if (campaign->nvariants == 1) {
        return &campaign->variants[0];
    }

    n = personalize_hash_end(personalize_hash_add(campaign->seed, unit));

    /* ends: n is below 1, which is the share up to the last with a weight */
    for (i = 0; n >= campaign->variants[i].upto; i++) {
        /* void */
    }

    return &campaign->variants[i];
}


personalize_result_e
personalize_decide(const personalize_set_t *set, personalize_str_t slot,
    const personalize_request_t *request, personalize_decision_t *decision)
{
    personalize_view_t            view;
    const personalize_slot_t     *found;
    const personalize_variant_t  *variant;
    const personalize_campaign_t *campaign, *end;

    found = slot_find(set, slot);
    if (found == NULL) {
        return PERSONALIZE_DECLINED;
    }

    view.request = request;
    view.set = set;
    memset(view.known, 0, sizeof(view.known));

    campaign = &set->campaigns[found->first];
    end = campaign + found->ncampaigns;

    for (; campaign < end; campaign++) {
        view.steps = PERSONALIZE_STEPS_MAX;

        if (request->now_s < campaign->start_s
            || request->now_s >= campaign->end_s
            || !personalize_condition_fits(
                campaign->clauses, campaign->entry, &view))
        {
            continue;
        }

        variant = choose(campaign, request->unit);
        decision->campaign = campaign->key;
        decision->variant = variant->key;
        decision->content = &variant->content;

        return PERSONALIZE_OK;
    }

    return PERSONALIZE_DECLINED;
}
