/*
 * campaigns.c - fuzzes the set compiler, and decides and renders what compiles.
 *
 * Attributes are made of their number, so that every type meets every
 * operator.  Refusals must have a fault of one line; what is rendered into a
 * buffer of the size asked for must fit.
 */

#include "personalize/set.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>


/* Larger outputs only cost time: an attribute may stand in content often. */
#define OUTPUT_MAX (1u << 20)

typedef struct {
    unsigned shift; /* turns the types round */
} visit_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    static const char   list[] = "\013a\0135\043<&'\"";
    static const char  *texts[] = {"", "5", "a", "<b>\"'&"};
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
render(const personalize_decision_t *decision,
    const personalize_request_t     *request)
{
    char                *buf;
    size_t               need, len;
    personalize_result_e rc;

    rc = personalize_render(decision, request, NULL, 0, &need);
    if (rc != (need > 0 ? PERSONALIZE_FULL : PERSONALIZE_OK)) {
        abort();
    }

    if (need == 0 || need > OUTPUT_MAX) {
        return;
    }

    buf = malloc(need);
    if (buf == NULL
        || personalize_render(decision, request, buf, need, &len)
               != PERSONALIZE_OK
        || len != need)
    {
        abort();
    }
    free(buf);
}


static void
decide(const personalize_set_t *set)
{
    visit_t                visit;
    unsigned               i;
    personalize_request_t  request = {get, &visit, {"unit", 4}, 0};
    personalize_decision_t decision;

    for (visit.shift = 0; visit.shift < 10; visit.shift++) {
        request.now_s = visit.shift;

        for (i = 0; i < set->nslots; i++) {
            if (!personalize_slot_known(set, set->slots[i].name)) {
                abort();
            }
            if (personalize_decide(set, set->slots[i].name, &request, &decision)
                == PERSONALIZE_OK)
            {
                render(&decision, &request);
            }
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                 fault[128];
    const char          *p;
    personalize_set_t   *set;
    personalize_result_e rc;

    rc = personalize_set_compile(
        &set, (const char *) data, size, fault, sizeof(fault));

    if (rc == PERSONALIZE_OK) {
        decide(set);
        personalize_set_free(set);
        return 0;
    }

    if (rc != PERSONALIZE_INVALID || set != NULL
        || memchr(fault, '\0', sizeof(fault)) == NULL || fault[0] == '\0')
    {
        abort();
    }

    for (p = fault; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\r') {
            abort();
        }
    }

    return 0;
}
