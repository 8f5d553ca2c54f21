/*
 * audience.c - an index over the audiences of a slot: who cannot fit, at once.
 *
 * Of each condition those clauses are looked at that must go one way for it to
 * hold at all.  Per attribute the values are sorted into cells (hashed texts,
 * ranges of numbers, true, false, absent), and each cell has a bitmap of the
 * campaigns that it leaves possible.  A decision picks one cell per attribute
 * and joins their bitmaps by and, 64 campaigns at a step, in order of priority;
 * what is left is tried in full.  Cells are supersets: what cannot be told from
 * a cell stays possible, so the index changes the cost and never the answer.
 *
 * 148 bytes a campaign at most; slots of a few campaigns have no index.
 */

#include "set.h"

#include <math.h>
#include <stdlib.h>


/* Fewer campaigns are tried one by one in the time the cells are looked up. */
#define CAMPAIGNS_MIN 16

/* Beyond, reaching the end is not searched; the first clauses do. */
#define SEARCH_MAX 32

#define TEXTS   128 /* cells; a power of two */
#define NUMBERS 64
#define BOUNDS  (NUMBERS - 1)

enum {
    CELL_NUMBER = TEXTS,
    CELL_TRUE = TEXTS + NUMBERS,
    CELL_FALSE,
    CELL_ABSENT,
    CELL_ANY, /* lists, objects: tells nothing */
    CELLS
};

struct personalize_facet_s {
    uint64_t *rows; /* CELLS of the slot's nwords each */
    double    bounds[BOUNDS];
    unsigned  nbounds;
    uint16_t  attribute;
};

/* A clause that must hold, or must not, for its campaign to fit. */
typedef struct {
    const personalize_clause_t *clause;
    uint32_t                    campaign; /* place in the slot */
    uint8_t                     holds;
} need_t;

typedef struct {
    personalize_compiler_t *c;
    personalize_slot_t     *slot;
    need_t                 *needs; /* PERSONALIZE_FACETS_MAX a campaign */
    size_t                  nneeds;
    personalize_view_t     *view;
} index_t;


static int
reaches(const personalize_campaign_t *campaign, int without, int way)
{
    int                         i;
    uint64_t                    reached = 1ULL << campaign->entry;
    const personalize_clause_t *clause;

    /* targets are of a lower index */
    for (i = campaign->entry; i >= 0; i--) {
        if (!(reached & (1ULL << i))) {
            continue;
        }

        clause = &campaign->clauses[i];

        if (i != without || way != 1) {
            if (clause->yes == PERSONALIZE_FITS) {
                return 1;
            }
            if (clause->yes >= 0) {
                reached |= 1ULL << clause->yes;
            }
        }

        if (i != without || way != 0) {
            if (clause->no == PERSONALIZE_FITS) {
                return 1;
            }
            if (clause->no >= 0) {
                reached |= 1ULL << clause->no;
            }
        }
    }

    return 0;
}


static void
need(index_t *index, uint32_t place, const personalize_clause_t *clause,
    int holds)
{
    size_t i, n = 0;

    if (clause->attribute == PERSONALIZE_SELF) {
        return;
    }

    for (i = index->nneeds; i > 0 && index->needs[i - 1].campaign == place; i--)
    {
        n++;
    }

    if (n < PERSONALIZE_FACETS_MAX) {
        index->needs[index->nneeds].clause = clause;
        index->needs[index->nneeds].campaign = place;
        index->needs[index->nneeds].holds = (uint8_t) holds;
        index->nneeds++;
    }
}


/* Without a search: those before the first that may go both ways. */
static void
need_first(
    index_t *index, uint32_t place, const personalize_campaign_t *campaign)
{
    int                         i;
    const personalize_clause_t *clause;

    for (i = campaign->entry; i >= 0;) {
        clause = &campaign->clauses[i];

        if (clause->no == PERSONALIZE_FAILS) {
            need(index, place, clause, 1);
            i = clause->yes;

        } else if (clause->yes == PERSONALIZE_FAILS) {
            need(index, place, clause, 0);
            i = clause->no;

        } else {
            return;
        }
    }
}


static void
collect(index_t *index)
{
    int                           k;
    uint32_t                      i;
    const personalize_campaign_t *campaign;

    for (i = 0; i < index->slot->ncampaigns; i++) {
        campaign = &index->c->set->campaigns[index->slot->first + i];

        if (campaign->entry >= SEARCH_MAX) {
            need_first(index, i, campaign);
            continue;
        }

        for (k = campaign->entry; k >= 0; k--) {
            if (!reaches(campaign, k, 1)) {
                need(index, i, &campaign->clauses[k], 1);
            } else if (!reaches(campaign, k, 0)) {
                need(index, i, &campaign->clauses[k], 0);
            }
        }
    }
}


/* The attributes that most clauses are about. */
static unsigned
choose(const index_t *index, uint16_t chosen[PERSONALIZE_FACETS_MAX])
{
    static const unsigned least = 2; /* clauses, else it tells too little */

    unsigned n, best, counts[PERSONALIZE_ATTRIBUTES_MAX];
    size_t   i;

    memset(counts, 0, sizeof(counts));

    for (i = 0; i < index->nneeds; i++) {
        counts[index->needs[i].clause->attribute]++;
    }

    for (n = 0; n < PERSONALIZE_FACETS_MAX; n++) {
        best = 0;

        for (i = 1; i < PERSONALIZE_ATTRIBUTES_MAX; i++) {
            if (counts[i] > counts[best]) {
                best = (unsigned) i;
            }
        }

        if (counts[best] < least) {
            break;
        }

        chosen[n] = (uint16_t) best;
        counts[best] = 0;
    }

    return n;
}


static int
is_order(const personalize_clause_t *clause)
{
    return clause->test >= PERSONALIZE_TEST_GT
           && clause->test <= PERSONALIZE_TEST_LTE;
}


static int
is_equality(const personalize_clause_t *clause)
{
    return clause->test == PERSONALIZE_TEST_SAME
           || clause->test == PERSONALIZE_TEST_AS_NUMBER
           || clause->test == PERSONALIZE_TEST_AS_TEXT;
}


static unsigned
number_cell(const personalize_facet_t *facet, double number)
{
    unsigned low = 0, high = facet->nbounds, middle;

    /* the bounds at or below it */
    while (low < high) {
        middle = (low + high) / 2;
        if (facet->bounds[middle] <= number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return low;
}


static unsigned
text_cell(personalize_str_t text)
{
    return personalize_hash_key(text) & (TEXTS - 1);
}


static int
compare_numbers(const void *one, const void *two)
{
    double a = *(const double *) one, b = *(const double *) two;

    return (a > b) - (a < b);
}


/* Numbers that clauses compare with, thinned out to BOUNDS of them. */
static personalize_result_e
find_bounds(const index_t *index, personalize_facet_t *facet)
{
    size_t                      i, n = 0, count;
    double                     *all;
    const personalize_clause_t *clause;

    all = malloc((index->nneeds + 1) * sizeof(double));
    if (all == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < index->nneeds; i++) {
        clause = index->needs[i].clause;

        if (clause->attribute == facet->attribute
            && (is_order(clause) || is_equality(clause))
            && clause->operand.value.type == PERSONALIZE_NUMBER)
        {
            all[n++] = clause->operand.value.number;
        }
    }

    qsort(all, n, sizeof(double), compare_numbers);
    count = n < BOUNDS ? n : BOUNDS;

    for (i = 0; i < count; i++) {
        facet->bounds[i] = all[i * n / count];
    }

    facet->nbounds = (unsigned) count;
    free(all);

    return PERSONALIZE_OK;
}


static void
mark(uint8_t cells[CELLS], unsigned first, unsigned last)
{
    memset(cells + first, 1, last - first + 1);
}


/* Texts that leave a needed clause possible. */
static void
mark_texts(const need_t *need, uint8_t cells[CELLS])
{
    unsigned                    i;
    const personalize_clause_t *clause = need->clause;

    if (need->holds && !clause->fold
        && (clause->test == PERSONALIZE_TEST_SAME
            || clause->test == PERSONALIZE_TEST_AS_TEXT))
    {
        if (clause->operand.value.type == PERSONALIZE_TEXT) {
            cells[text_cell(clause->operand.value.text)] = 1;
        }
        return;
    }

    if (need->holds && !clause->fold && clause->test == PERSONALIZE_TEST_IN) {
        for (i = 0; i < clause->operand.choice->ntexts; i++) {
            cells[text_cell(clause->operand.choice->texts[i])] = 1;
        }
        return;
    }

    mark(cells, 0, TEXTS - 1);
}


/* A cell counts as its bounds and all between them. */
static void
mark_numbers(
    const personalize_facet_t *facet, const need_t *need, uint8_t cells[CELLS])
{
    int                         up;
    unsigned                    cell, first = 0, last = NUMBERS - 1;
    const personalize_clause_t *clause = need->clause;

    if ((is_order(clause) || (is_equality(clause) && need->holds))
        && clause->operand.value.type == PERSONALIZE_NUMBER)
    {
        cell = number_cell(facet, clause->operand.value.number);
        up = clause->test == PERSONALIZE_TEST_GT
             || clause->test == PERSONALIZE_TEST_GTE;

        if (!is_order(clause)) {
            first = last = cell;
        } else if (up == need->holds) {
            first = cell;
        } else {
            last = cell;
        }
    }

    mark(cells, CELL_NUMBER + first, CELL_NUMBER + last);
}


static void
mark_exact(const index_t *index, const need_t *need, unsigned cell,
    personalize_type_e type, uint8_t cells[CELLS])
{
    personalize_value_t value;

    memset(&value, 0, sizeof(value));
    value.type = type;
    value.number = cell == CELL_TRUE;
    index->view->steps = PERSONALIZE_STEPS_MAX;

    cells[cell] =
        personalize_clause_holds(need->clause,
            index->c->set->campaigns[index->slot->first + need->campaign]
                .clauses,
            index->view, &value)
        == need->holds;
}


/* Takes out of the rows what a needed clause makes impossible. */
static void
apply(const index_t *index, personalize_facet_t *facet, const need_t *need)
{
    size_t   words = index->slot->nwords;
    unsigned i;
    uint8_t  cells[CELLS];
    uint64_t bit = 1ULL << (need->campaign % 64);

    memset(cells, 0, sizeof(cells));
    mark_texts(need, cells);
    mark_numbers(facet, need, cells);
    mark_exact(index, need, CELL_TRUE, PERSONALIZE_BOOL, cells);
    mark_exact(index, need, CELL_FALSE, PERSONALIZE_BOOL, cells);
    mark_exact(index, need, CELL_ABSENT, PERSONALIZE_ABSENT, cells);
    cells[CELL_ANY] = 1;

    for (i = 0; i < CELLS; i++) {
        if (!cells[i]) {
            facet->rows[i * words + need->campaign / 64] &= ~bit;
        }
    }
}


static personalize_result_e
make_facet(index_t *index, personalize_facet_t *facet)
{
    size_t               i, size;
    personalize_result_e rc;

    size = (size_t) CELLS * index->slot->nwords * sizeof(uint64_t);
    facet->rows = personalize_alloc(index->c, size);
    if (facet->rows == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(facet->rows, 0xff, size);

    rc = find_bounds(index, facet);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    for (i = 0; i < index->nneeds; i++) {
        if (index->needs[i].clause->attribute == facet->attribute) {
            apply(index, facet, &index->needs[i]);
        }
    }

    return PERSONALIZE_OK;
}


static personalize_result_e
make(index_t *index)
{
    uint16_t             chosen[PERSONALIZE_FACETS_MAX];
    unsigned             i, n;
    personalize_facet_t *facets;
    personalize_slot_t  *slot = index->slot;
    personalize_result_e rc;

    collect(index);
    n = choose(index, chosen);

    facets = personalize_alloc(index->c, n * sizeof(personalize_facet_t));
    if (facets == NULL) {
        return PERSONALIZE_NOMEM;
    }

    slot->nwords = (slot->ncampaigns + 63) / 64;

    for (i = 0; i < n; i++) {
        facets[i].attribute = chosen[i];
        rc = make_facet(index, &facets[i]);
        if (rc != PERSONALIZE_OK) {
            return rc;
        }
    }

    slot->facets = facets;
    slot->nfacets = n;

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_audience_index(personalize_compiler_t *c, personalize_slot_t *slot)
{
    index_t              index = {c, slot, NULL, 0, NULL};
    personalize_result_e rc;

    slot->facets = NULL;
    slot->nfacets = 0;
    slot->nwords = 0;

    if (slot->ncampaigns < CAMPAIGNS_MIN) {
        return PERSONALIZE_OK;
    }

    index.needs = malloc(
        (size_t) slot->ncampaigns * PERSONALIZE_FACETS_MAX * sizeof(need_t));
    index.view = calloc(1, sizeof(personalize_view_t));
    rc = PERSONALIZE_NOMEM;

    if (index.needs != NULL && index.view != NULL) {
        index.view->set = c->set;
        rc = make(&index);
    }

    free(index.needs);
    free(index.view);

    return rc;
}


/* The rows of what the visitor is, one per attribute. */
void
personalize_audience_look(const personalize_slot_t *slot,
    personalize_view_t *view, const uint64_t *rows[PERSONALIZE_FACETS_MAX])
{
    unsigned                   i, cell;
    const personalize_facet_t *facet;
    const personalize_value_t *value;

    for (i = 0; i < slot->nfacets; i++) {
        facet = &slot->facets[i];
        value = personalize_view_get(view, facet->attribute);

        switch (value->type) {
        case PERSONALIZE_ABSENT:
            cell = CELL_ABSENT;
            break;
        case PERSONALIZE_BOOL:
            cell = value->number != 0 ? CELL_TRUE : CELL_FALSE;
            break;
        case PERSONALIZE_NUMBER:
            cell = isfinite(value->number)
                       ? CELL_NUMBER + number_cell(facet, value->number)
                       : CELL_ANY;
            break;
        case PERSONALIZE_TEXT:
            cell = text_cell(value->text);
            break;
        default:
            cell = CELL_ANY;
            break;
        }

        rows[i] = facet->rows + (size_t) cell * slot->nwords;
    }
}
