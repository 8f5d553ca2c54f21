/*
 * template.c - fuzzes contents: whatever compiles is written within bounds.
 *
 * The input up to the first NUL is the content, the rest a profile in JSON.
 * A small buffer and one as large as was asked for get the same text.
 */

#include "personalize/personalize.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


#define PROFILE                                                                \
    "{\"customer\":{\"n\":1,\"x_html\":\"<\",\"a\":[{\"b\":[1,\"<\"]}]}}"

typedef struct {
    personalize_set_t *set;
    char               blob[65536];
    size_t             len;
} visit_t;

static visit_t visit;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
get(void *ctx, unsigned n, personalize_value_t *value)
{
    (void) ctx;
    personalize_profile_get(
        visit.blob, visit.len, personalize_set_attribute(visit.set, n), value);
}


static void
render(const personalize_decision_t *decision,
    const personalize_request_t     *request)
{
    char                 small[64], *large;
    size_t               len, again;
    personalize_result_e rc;

    rc = personalize_render(decision, request, small, sizeof(small), &len);

    if (rc == PERSONALIZE_DECLINED) {
        return;
    }

    if ((rc == PERSONALIZE_FULL) != (len > sizeof(small))) {
        abort();
    }

    if (len > 1 << 22) {
        return;
    }

    large = malloc(len > 0 ? len : 1);
    if (large == NULL
        || personalize_render(decision, request, large, len, &again)
               != PERSONALIZE_OK
        || again != len
        || (rc == PERSONALIZE_OK && memcmp(large, small, len) != 0))
    {
        abort();
    }

    free(large);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                  *text, fault[256];
    size_t                 n;
    json_t                *doc, *content;
    const uint8_t         *stop;
    personalize_str_t      slot = {"h", 1};
    personalize_request_t  request = {get, NULL, {"u", 1}, 0};
    personalize_decision_t decision;

    stop = size > 0 ? memchr(data, '\0', size) : NULL;
    n = stop != NULL ? (size_t) (stop - data) : size;

    if (stop == NULL
        || personalize_profile_pack((const char *) stop + 1, size - n - 1,
               visit.blob, sizeof(visit.blob), &visit.len)
               != PERSONALIZE_OK)
    {
        if (personalize_profile_pack(PROFILE, strlen(PROFILE), visit.blob,
                sizeof(visit.blob), &visit.len)
            != PERSONALIZE_OK)
        {
            abort();
        }
    }

    content = json_stringn((const char *) data, n);
    if (content == NULL) {
        return 0; /* no UTF-8 */
    }

    doc = json_pack("{s:s,s:i,s:[{s:s,s:s,s:[{s:s,s:i,s:o}]}]}", "site", "s",
        "version", 1, "campaigns", "key", "k", "slot", "h", "variants", "key",
        "a", "weight", 1, "content", content);
    text = json_dumps(doc, 0);
    json_decref(doc);

    if (text != NULL
        && personalize_set_compile(
               &visit.set, text, strlen(text), fault, sizeof(fault))
               == PERSONALIZE_OK)
    {
        if (personalize_decide(visit.set, slot, &request, &decision)
            == PERSONALIZE_OK) {
            render(&decision, &request);
        }

        personalize_set_free(visit.set);
    }

    free(text);

    return 0;
}
