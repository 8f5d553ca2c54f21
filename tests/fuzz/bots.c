/*
 * bots.c - fuzzes lists of robots and of address ranges.
 *
 * The first line is a user agent, the rest a list of both kinds.  What the
 * automaton finds for a list of one plain literal is checked against a plain
 * search.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strcasestr */
#endif

#include "tracker/tracker.h"

#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_list(const char *text, size_t len, tracker_str_t agent)
{
    unsigned        line;
    tracker_bot_t   bot;
    tracker_bots_t *bots;

    if (tracker_bots_compile(&bots, text, len, &line) != TRACKER_OK) {
        return;
    }

    if (tracker_bots_find(bots, agent, &bot) == TRACKER_OK
        && (bot.name.len == 0 || bot.name.len > TRACKER_BOT_NAME))
    {
        abort();
    }

    tracker_bots_free(bots);
}


static void
check_ranges(const char *text, size_t len, tracker_str_t name)
{
    uint8_t           address[16];
    unsigned          line;
    tracker_ranges_t *ranges;

    if (tracker_ranges_compile(&ranges, text, len, &line) != TRACKER_OK) {
        return;
    }

    memset(address, 0, sizeof(address));
    memcpy(address, name.data, name.len < 16 ? name.len : 16);
    (void) tracker_ranges_check(ranges, name, address);
    tracker_ranges_free(ranges);
}


/* A list of the letters alone, against the C library. */
static void
check_plain(const char *text, size_t len, tracker_str_t agent)
{
    char            word[32], copy[512];
    size_t          i, n;
    unsigned        line;
    tracker_bot_t   bot;
    tracker_bots_t *bots;

    for (i = 0, n = 0; i < len && n < sizeof(word) - 1; i++) {
        if ((text[i] >= 'a' && text[i] <= 'z')
            || (text[i] >= 'A' && text[i] <= 'Z')) {
            word[n++] = text[i];
        }
    }

    word[n] = '\0';
    for (i = 0; i < agent.len && i < sizeof(copy) - 1; i++) {
        copy[i] = agent.data[i] != '\0' ? agent.data[i] : ' ';
    }

    copy[i] = '\0';
    agent.data = copy;
    agent.len = i;

    if (n == 0 || tracker_bots_compile(&bots, word, n, &line) != TRACKER_OK) {
        return;
    }

    if ((tracker_bots_find(bots, agent, &bot) == TRACKER_OK)
        != (strcasestr(copy, word) != NULL))
    {
        abort();
    }

    tracker_bots_free(bots);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        len;
    const char   *text, *stop;
    tracker_str_t agent;

    text = (const char *) data;
    stop = size > 0 ? memchr(text, '\n', size) : NULL;

    if (stop == NULL) {
        return 0;
    }

    agent.data = text;
    agent.len = (size_t) (stop - text);
    len = size - agent.len - 1;

    check_list(stop + 1, len, agent);
    check_ranges(stop + 1, len, agent);
    check_plain(stop + 1, len, agent);

    return 0;
}
