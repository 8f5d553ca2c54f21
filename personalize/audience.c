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
 * 579 bytes a campaign at most (772 cells of 6 attributes, a bit each), a tenth
 * of it in practice; slots of a few campaigns have no index.
 */

#include "set.h"

#include <math.h>
#include <stdlib.h>


/* Fewer campaigns are tried one by one in the time the cells are looked up. */
#define CAMPAIGNS_MIN 8

/* Beyond, reaching the end is not searched; the first clauses do. */
#define SEARCH_MAX 32

/* Cells of a facet at most; it has as many as its clauses can tell apart. */
#define TEXTS_MAX  256 /* a power of two, as is every number of them */
#define BOUNDS_MAX 511
#define CELLS_MAX  (TEXTS_MAX + BOUNDS_MAX + 1 + CELL_KINDS)

/* Cells that every facet has, behind those of numbers and texts. */
enum {
    CELL_TRUE = 0,
    CELL_FALSE,
    CELL_ABSENT,
    CELL_ANY, /* lists, objects: tells nothing */
    CELL_KINDS
};

struct personalize_facet_s {
    uint64_t *rows; /* of the slot's nwords each: texts, numbers, kinds */
    double   *bounds;
    unsigned  nbounds;
    unsigned  ntexts; /* cells */
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
text_cell(const personalize_facet_t *facet, personalize_str_t text)
{
    return personalize_hash_key(text) & (facet->ntexts - 1);
}


/* The place of the cells behind those of texts and numbers. */
static unsigned
kind_cell(const personalize_facet_t *facet, unsigned kind)
{
    return facet->ntexts + facet->nbounds + 1 + kind;
}


/* Texts of a clause that only they can make hold; 0: any may. */
static unsigned
texts_of(const personalize_clause_t *clause, const personalize_str_t **texts)
{
    const personalize_value_t *value = &clause->operand.value;

    *texts = NULL;

    if (clause->fold) {
        return 0;
    }

    if (clause->test == PERSONALIZE_TEST_IN) {
        *texts = clause->operand.choice->texts;
        return clause->operand.choice->ntexts;
    }

    if ((clause->test == PERSONALIZE_TEST_SAME
            || clause->test == PERSONALIZE_TEST_AS_TEXT)
        && value->type == PERSONALIZE_TEXT)
    {
        *texts = &value->text;
        return 1;
    }

    return 0;
}


static void
count_texts(const index_t *index, personalize_facet_t *facet)
{
    size_t                   i, n = 0;
    const need_t            *need;
    const personalize_str_t *texts;

    for (i = 0; i < index->nneeds; i++) {
        need = &index->needs[i];
        if (need->clause->attribute == facet->attribute && need->holds) {
            n += texts_of(need->clause, &texts);
        }
    }

    for (facet->ntexts = 1; facet->ntexts < TEXTS_MAX && facet->ntexts < 2 * n;
         facet->ntexts *= 2)
    {
        /* void */
    }
}


static int
compare_numbers(const void *one, const void *two)
{
    double a = *(const double *) one, b = *(const double *) two;

    return (a > b) - (a < b);
}


/* Numbers that clauses compare with, thinned out to BOUNDS_MAX of them. */
static personalize_result_e
find_bounds(const index_t *index, personalize_facet_t *facet)
{
    size_t                      i, n = 0, distinct = 0, count;
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

    for (i = 0; i < n; i++) {
        if (distinct == 0 || all[i] != all[distinct - 1]) {
            all[distinct++] = all[i];
        }
    }

    count = distinct < BOUNDS_MAX ? distinct : BOUNDS_MAX;
    facet->bounds = personalize_alloc(index->c, count * sizeof(double));
    if (facet->bounds == NULL) {
        free(all);
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < count; i++) {
        facet->bounds[i] = all[i * distinct / count];
    }

    facet->nbounds = (unsigned) count;
    free(all);

    return PERSONALIZE_OK;
}


static void
mark(uint8_t cells[CELLS_MAX], unsigned first, unsigned last)
{
    memset(cells + first, 1, last - first + 1);
}


/* Texts that leave a needed clause possible. */
static void
mark_texts(const personalize_facet_t *facet, const need_t *need,
    uint8_t cells[CELLS_MAX])
{
    unsigned                 i, n;
    const personalize_str_t *texts;

    n = texts_of(need->clause, &texts);

    if (n == 0 || !need->holds) {
        mark(cells, 0, facet->ntexts - 1);
        return;
    }

    for (i = 0; i < n; i++) {
        cells[text_cell(facet, texts[i])] = 1;
    }
}


/* A cell counts as its bounds and all between them. */
static void
mark_numbers(const personalize_facet_t *facet, const need_t *need,
    uint8_t cells[CELLS_MAX])
{
    int                         up;
    unsigned                    cell, first = 0, last = facet->nbounds;
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

    mark(cells, facet->ntexts + first, facet->ntexts + last);
}


static int
is_possible(const index_t *index, const need_t *need, unsigned kind)
{
    personalize_value_t           value;
    const personalize_campaign_t *campaign;

    if (kind == CELL_ANY) {
        return 1;
    }

    memset(&value, 0, sizeof(value));
    value.type = kind == CELL_ABSENT ? PERSONALIZE_ABSENT : PERSONALIZE_BOOL;
    value.number = kind == CELL_TRUE;
    index->view->steps = PERSONALIZE_STEPS_MAX;
    campaign = &index->c->set->campaigns[index->slot->first + need->campaign];

    return personalize_clause_holds(
               need->clause, campaign->clauses, index->view, &value)
           == need->holds;
}


/* Takes out of the rows what a needed clause makes impossible. */
static void
apply(const index_t *index, personalize_facet_t *facet, const need_t *need)
{
    size_t   words = index->slot->nwords;
    unsigned i, n;
    uint8_t  cells[CELLS_MAX];
    uint64_t bit = 1ULL << (need->campaign % 64);

    memset(cells, 0, sizeof(cells));
    mark_texts(facet, need, cells);
    mark_numbers(facet, need, cells);

    for (i = 0; i < CELL_KINDS; i++) {
        cells[kind_cell(facet, i)] = (uint8_t) is_possible(index, need, i);
    }

    n = kind_cell(facet, CELL_KINDS);

    for (i = 0; i < n; i++) {
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

    count_texts(index, facet);

    rc = find_bounds(index, facet);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    size = (size_t) kind_cell(facet, CELL_KINDS) * index->slot->nwords
           * sizeof(uint64_t);
    facet->rows = personalize_alloc(index->c, size);
    if (facet->rows == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(facet->rows, 0xff, size);

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
            cell = kind_cell(facet, CELL_ABSENT);
            break;
        case PERSONALIZE_BOOL:
            cell =
                kind_cell(facet, value->number != 0 ? CELL_TRUE : CELL_FALSE);
            break;
        case PERSONALIZE_NUMBER:
            cell = isfinite(value->number)
                       ? facet->ntexts + number_cell(facet, value->number)
                       : kind_cell(facet, CELL_ANY);
            break;
        case PERSONALIZE_TEXT:
            cell = text_cell(facet, value->text);
            break;
        default:
            cell = kind_cell(facet, CELL_ANY);
            break;
        }

        rows[i] = facet->rows + (size_t) cell * slot->nwords;
    }
}
