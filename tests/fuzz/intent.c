/*
 * intent.c - fuzzes documents of weights, as they are and with a fitting sum.
 *
 * What is accepted must give a likelihood for every session.
 */

#include "personalize/intent.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define HEAD 30

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_score(const personalize_intent_t *intent)
{
    double                      p;
    unsigned                    i;
    personalize_value_t         values[PERSONALIZE_INTENT_FIELDS];
    personalize_intent_inputs_t inputs;

    for (i = 0; i < PERSONALIZE_INTENT_FIELDS; i++) {
        memset(&values[i], 0, sizeof(values[i]));
        values[i].type = i % 2 ? PERSONALIZE_TEXT : PERSONALIZE_NUMBER;
        values[i].number = i % 4 ? 1e300 : -3;
        values[i].text.data = "search";
        values[i].text.len = 6;
    }

    personalize_intent_encode(intent, values, &inputs);
    (void) personalize_intent_group(intent, &inputs);
    p = personalize_intent_score(intent, &inputs);

    if (!(p > 0 && p < 1)) {
        abort();
    }
}


static void
check_read(const char *text, size_t len)
{
    char                  fault[128];
    personalize_intent_t *intent;

    if (personalize_intent_read(&intent, text, len, fault, sizeof(fault))
        == PERSONALIZE_OK)
    {
        check_score(intent);
        personalize_intent_free(intent);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  head[HEAD + 1];
    char *text;

    check_read((const char *) data, size);

    text = malloc(HEAD + size);
    if (text == NULL) {
        return 0;
    }

    (void) snprintf(head, sizeof(head), "crm-intent 1 %016llx\n",
        (unsigned long long) personalize_intent_sum((const char *) data, size));
    memcpy(text, head, HEAD);
    if (size > 0) {
        memcpy(text + HEAD, data, size);
    }

    check_read(text, HEAD + size);
    free(text);

    return 0;
}
