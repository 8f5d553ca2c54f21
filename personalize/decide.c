/*
 * decide.c - which campaign, and which variant of it, fills a slot.
 *
 * A set keeps the campaigns of a slot side by side in the order they are
 * tried, so that a decision is one hash lookup and one walk that ends at the
 * first that fits.  Where there are many, audience.c leaves out whole rows of
 * them that cannot fit.  Each attribute is asked for once per decision, however
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


/* The variant by the visitor's bucket; NULL: there is none for it. */
static const personalize_variant_t *
choose(const personalize_campaign_t *campaign, personalize_str_t unit)
{
    int    i;
    double n;

    if (campaign->nvariants == 1) {
        return &campaign->variants[0];
    }

    n = personalize_hash_end(personalize_hash_add(campaign->seed, unit));
    i = personalize_ranges_choose(campaign->ranges, campaign->nvariants, n);

    return i >= 0 ? &campaign->variants[i] : NULL;
}


static int
campaign_fits(const personalize_campaign_t *campaign, personalize_view_t *view,
    personalize_decision_t *decision)
{
    int64_t                      now_s = view->request->now_s;
    const personalize_variant_t *variant;

    view->steps = PERSONALIZE_STEPS_MAX;

    if (now_s < campaign->start_s || now_s >= campaign->end_s
        || !personalize_terms_fit(campaign->terms, now_s, view->request->unit)
        || !personalize_condition_fits(
            campaign->clauses, campaign->entry, view))
    {
        return 0;
    }

    variant = choose(campaign, view->request->unit);
    if (variant == NULL) {
        return 0;
    }

    decision->campaign = campaign->key;
    decision->variant = variant->key;
    decision->content = &variant->content;

    return 1;
}


/* Tries what the index over audiences leaves, 64 campaigns at a step. */
static int
try_possible(const personalize_slot_t *slot, personalize_view_t *view,
    personalize_decision_t *decision)
{
    uint32_t        word, i;
    uint64_t        possible;
    const uint64_t *rows[PERSONALIZE_FACETS_MAX];

    personalize_audience_look(slot, view, rows);

    for (word = 0; word < slot->nwords; word++) {
        possible = word + 1 < slot->nwords || slot->ncampaigns % 64 == 0
                       ? ~0ULL
                       : (1ULL << slot->ncampaigns % 64) - 1;

        for (i = 0; i < slot->nfacets; i++) {
            possible &= rows[i][word];
        }

        for (; possible != 0; possible &= possible - 1) {
            i = word * 64 + (uint32_t) __builtin_ctzll(possible);
            if (campaign_fits(
                    &view->set->campaigns[slot->first + i], view, decision)) {
                return 1;
            }
        }
    }

    return 0;
}


static int
try_each(const personalize_slot_t *slot, personalize_view_t *view,
    personalize_decision_t *decision)
{
    uint32_t i;

    for (i = 0; i < slot->ncampaigns; i++) {
        if (campaign_fits(
                &view->set->campaigns[slot->first + i], view, decision)) {
            return 1;
        }
    }

    return 0;
}


personalize_result_e
personalize_decide(const personalize_set_t *set, personalize_str_t slot,
    const personalize_request_t *request, personalize_decision_t *decision)
{
    int                       fits;
    personalize_view_t        view;
    const personalize_slot_t *found;

    found = slot_find(set, slot);
    if (found == NULL
        || personalize_holdout_has(
            set->holdout, set->holdout_seed, request->unit))
    {
        return PERSONALIZE_DECLINED;
    }

    view.request = request;
    view.set = set;
    memset(view.known, 0, sizeof(view.known));

    fits = found->nwords > 0 ? try_possible(found, &view, decision)
                             : try_each(found, &view, decision);

    return fits ? PERSONALIZE_OK : PERSONALIZE_DECLINED;
}
