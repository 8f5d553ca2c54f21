/*
 * consent.c - fuzzes the tests of consent and the cuts of a request.
 *
 * The first line of the input is a test, the rest a value, a URL and a query.
 * Cuts must stay inside what they were given, and cutting twice changes
 * nothing more.
 */

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
inside(tracker_str_t part, tracker_str_t whole)
{
    if (part.len > whole.len || (part.len > 0 && part.data != whole.data)) {
        abort();
    }
}


static void
hide(tracker_str_t query, tracker_str_t name)
{
    char               *once, *twice;
    size_t              n;
    const tracker_str_t names[] = {name, {"email", 5}};

    once = malloc(query.len + 1);
    twice = malloc(query.len + 1);
    if (once == NULL || twice == NULL) {
        abort();
    }

    n = tracker_query_hide(once, query, names, 2);
    if (n > query.len
        || tracker_query_hide(twice, (tracker_str_t){once, n}, names, 2) != n
        || memcmp(once, twice, n) != 0)
    {
        abort();
    }

    free(once);
    free(twice);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                   buf[256];
    uint8_t                address[16];
    const uint8_t         *line;
    tracker_str_t          name, text, plain;
    tracker_consent_test_t test;

    line = size > 0 ? memchr(data, '\n', size) : NULL;
    name.data = (const char *) data;
    name.len = line != NULL ? (size_t) (line - data) : 0;
    text.data = line != NULL ? (const char *) line + 1 : (const char *) data;
    text.len = line != NULL ? size - name.len - 1 : size;

    plain.data = buf;
    plain.len = tracker_unescape(buf, sizeof(buf), text);
    if (plain.len > sizeof(buf) || plain.len > text.len) {
        abort();
    }

    if (tracker_consent_test(&test, name) == TRACKER_OK) {
        (void) tracker_consent_fits(&test, plain);
        (void) tracker_consent_fits(&test, text);
    }

    inside(tracker_url_origin(text), text);
    inside(tracker_language(text), text);
    (void) tracker_agent_class(text);
    hide(text, name);

    memset(address, 0, sizeof(address));
    memcpy(address, data, size < sizeof(address) ? size : sizeof(address));
    tracker_address_cut(address, sizeof(address), size > 0 ? data[0] : 0);

    return 0;
}
