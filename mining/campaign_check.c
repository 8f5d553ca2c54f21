/*
 * campaign_check.c - the faults of a campaign, each with the path of its cause.
 *
 * What nginx will compile is checked by the very compiler that nginx uses: a
 * set that holds the one campaign is built and compiled.  Checked here is only
 * what the set leaves out (name, state, remark) and what it has in another
 * form (start and end).
 */

#include <stdlib.h>
#include <string.h>

#include "../personalize/personalize.h"
#include "mining.h"


#define CHECK_YEAR_10000_S 253402300800LL /* 10000-01-01T00:00:00Z */


#define CHECK_NAME_MAX     200 /* characters */
#define CHECK_VARIANTS_MAX 16


static const char *const check_members[] = {"key", "name", "slot", "state",
    "priority", "start", "end", "times", "namespace", "holdout", "goal", "when",
    "variants", "remark", NULL};

static const char *const check_states[] = {
    "draft", "live", "paused", "ended", NULL};


static int
check_listed(const char *const *list, const char *word)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, word) == 0) {
            return 1;
        }
    }

    return 0;
}


static unsigned
check_fault(const char *path, const char *member, const char *reason)
{
    (void) printf("%s: %s: %s\n", path, member, reason);

    return 1;
}


/* RFC 3339 in UTC, to the second, as start and end have it. */
static int
check_time(const json_t *value, int64_t *seconds)
{
    int64_t       us;
    tracker_str_t text;

    text.data = json_string_value(value);
    if (text.data == NULL) {
        return 0;
    }

    text.len = json_string_length(value);
    if (text.len != 20 || text.data[10] != 'T' || text.data[19] != 'Z'
        || mining_time(text, &us) != MINING_OK)
    {
        return 0;
    }

    *seconds = us / MINING_US_PER_S;

    return *seconds >= MINING_FIRST_DAY * 86400LL
           && *seconds < CHECK_YEAR_10000_S;
}


/* The campaign as edge.campaign_set gives it to nginx; NULL: bad times. */
static json_t *
check_compiled_form(const json_t *campaign)
{
    int64_t     seconds;
    json_t     *form, *value;
    const char *name;

    form = json_object();

    json_object_foreach((json_t *) campaign, name, value)
    {
        if (strcmp(name, "name") == 0 || strcmp(name, "state") == 0
            || strcmp(name, "remark") == 0 || strcmp(name, "goal") == 0)
        {
            continue;
        }

        if ((strcmp(name, "start") == 0 || strcmp(name, "end") == 0)
            && !json_is_null(value))
        {
            seconds = 0;
            (void) check_time(value, &seconds);
            (void) json_object_set_new(form, name, json_integer(seconds));
            continue;
        }

        (void) json_object_set(form, name, value);
    }

    return form;
}


static personalize_result_e
check_compile(json_t *campaigns, const char *site, char *fault, size_t size)
{
    char                *text;
    json_t              *doc;
    personalize_set_t   *set;
    personalize_result_e rc;

    doc = json_object();
    (void) json_object_set_new(doc, "site", json_string(site));
    (void) json_object_set_new(doc, "version", json_integer(1));
    (void) json_object_set_new(doc, "campaigns", campaigns);

    text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (text == NULL) {
        return PERSONALIZE_NOMEM;
    }

    set = NULL;
    rc = personalize_set_compile(&set, text, strlen(text), fault, size);
    if (rc == PERSONALIZE_OK) {
        personalize_set_free(set);
    }
    free(text);

    return rc;
}


static size_t
check_characters(const json_t *text)
{
    size_t      n;
    const char *p;

    n = 0;
    for (p = json_string_value(text); *p != '\0'; p++) {
        n += ((unsigned char) *p & 0xc0) != 0x80;
    }

    return n;
}


static unsigned
check_own_members(const json_t *campaign, const char *path, const char *key)
{
    int64_t     start, end;
    json_t     *value;
    unsigned    faults;
    const char *name;

    faults = 0;

    json_object_foreach((json_t *) campaign, name, value)
    {
        if (!check_listed(check_members, name)) {
            faults += check_fault(path, name, "is no member of a campaign");
        }
    }

    value = json_object_get(campaign, "key");
    if (json_is_string(value) && strcmp(json_string_value(value), key) != 0) {
        faults += check_fault(path, "key", "must be the file's name");
    }

    value = json_object_get(campaign, "name");
    if (value != NULL
        && (!json_is_string(value) || check_characters(value) > CHECK_NAME_MAX))
    {
        faults += check_fault(
            path, "name", "must be a string of at most 200 characters");
    }

    value = json_object_get(campaign, "state");
    if (!json_is_string(value)
        || !check_listed(check_states, json_string_value(value)))
    {
        faults +=
            check_fault(path, "state", "must be draft, live, paused or ended");
    }

    value = json_object_get(campaign, "remark");
    if (value != NULL && !json_is_string(value) && !json_is_null(value)) {
        faults += check_fault(path, "remark", "must be a string");
    }

    value = json_object_get(campaign, "goal");
    if (value != NULL
        && (!json_is_string(value) || json_string_length(value) == 0
            || check_characters(value) > CHECK_NAME_MAX))
    {
        faults += check_fault(path, "goal",
            "must be the name of an event, at most 200 characters");
    }

    start = INT64_MIN;
    value = json_object_get(campaign, "start");
    if (value != NULL && !json_is_null(value) && !check_time(value, &start)) {
        faults += check_fault(
            path, "start", "must be null or a time like 2026-11-01T00:00:00Z");
    }

    end = INT64_MAX;
    value = json_object_get(campaign, "end");
    if (value != NULL && !json_is_null(value) && !check_time(value, &end)) {
        faults += check_fault(
            path, "end", "must be null or a time like 2026-11-01T00:00:00Z");
    }

    if (start >= end) {
        faults += check_fault(path, "end", "must be after start");
    }

    return faults;
}


/* Compiles one campaign and says its fault; its path begins at the file. */
static unsigned
check_form(json_t *form, const char *path, const char *from, const char *to)
{
    char        fault[512];
    json_t     *list;
    size_t      len;
    const char *shown;

    list = json_array();
    (void) json_array_append_new(list, form);

    fault[0] = '\0';
    if (check_compile(list, "check", fault, sizeof(fault)) == PERSONALIZE_OK) {
        return 0;
    }

    shown = fault;
    if (strncmp(shown, "campaigns[0].", 13) == 0) {
        shown += 13;
    } else if (strncmp(shown, "campaigns[0]: ", 14) == 0) {
        shown += 14;
    }

    len = strlen(from);
    if (len != 0 && strncmp(shown, from, len) == 0) {
        (void) printf("%s: %s%s\n", path, to, shown + len);
    } else {
        (void) printf("%s: %s\n", path, shown);
    }

    return 1;
}


/* A campaign without a fault, to put one member at a time into. */
static json_t *
check_sound_form(void)
{
    return json_pack("{s:s, s:s, s:[{s:s, s:i, s:s}]}", "key", "k", "slot", "s",
        "variants", "key", "a", "weight", 1, "content", "");
}


static unsigned
check_variant(json_t *variant, const char *path, size_t i)
{
    char    to[32];
    json_t *form, *copy, *weight, *list;

    copy = json_copy(variant);
    weight = json_object_get(copy, "weight");
    if (json_is_number(weight) && json_number_value(weight) == 0) {
        /* Alone it would be at fault; together it need not be. */
        (void) json_object_set_new(copy, "weight", json_integer(1));
    }

    list = json_array();
    (void) json_array_append_new(list, copy);
    form = check_sound_form();
    (void) json_object_set_new(form, "variants", list);
    (void) snprintf(to, sizeof(to), "variants[%zu]", i);

    return check_form(form, path, "variants[0]", to);
}


/*
 * The compiler stops at the first fault, people want all: so each member is
 * compiled within a campaign that is sound otherwise.
 */
static unsigned
check_members_alone(const json_t *whole, const char *path)
{
    size_t   n;
    json_t  *form, *value, *variant;
    unsigned i, faults;

    static const char *const names[] = {
        "key", "slot", "priority", "times", "namespace", "holdout", "when"};

    faults = 0;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        form = check_sound_form();
        value = json_object_get(whole, names[i]);
        if (value != NULL) {
            (void) json_object_set(form, names[i], value);
        } else {
            (void) json_object_del(form, names[i]);
        }
        faults += check_form(form, path, "", "");
    }

    value = json_object_get(whole, "variants");
    if (!json_is_array(value)) {
        form = check_sound_form();
        if (value != NULL) {
            (void) json_object_set(form, "variants", value);
        } else {
            (void) json_object_del(form, "variants");
        }
        faults += check_form(form, path, "", "");
    }
    json_array_foreach(value, n, variant)
    {
        if (n < CHECK_VARIANTS_MAX) {
            faults += check_variant(variant, path, n);
        }
    }

    return faults;
}


unsigned
mining_campaign_check(const json_t *campaign, const char *path, const char *key)
{
    void       *next;
    json_t     *form, *value;
    unsigned    faults, alone;
    const char *name;

    if (!json_is_object(campaign)) {
        return check_fault(path, "$", "must be an object");
    }

    faults = check_own_members(campaign, path, key);
    form = check_compiled_form(campaign);

    if (faults != 0) {
        /* Said already: the compiler shall look at the rest. */
        json_object_foreach_safe(form, next, name, value)
        {
            if (!check_listed(check_members, name) || strcmp(name, "start") == 0
                || strcmp(name, "end") == 0)
            {
                (void) json_object_del(form, name);
            }
        }
    }

    alone = check_members_alone(form, path);
    if (alone != 0) {
        json_decref(form);
        return faults + alone;
    }

    return faults + check_form(form, path, "", "");
}


mining_result_e
mining_campaign_check_set(const json_t *campaigns, const char *site)
{
    char        fault[512];
    size_t      i;
    json_t     *list, *campaign;
    const char *state;

    list = json_array();
    json_array_foreach(campaigns, i, campaign)
    {
        state = json_string_value(json_object_get(campaign, "state"));
        if (state != NULL && strcmp(state, "live") == 0) {
            (void) json_array_append_new(list, check_compiled_form(campaign));
        }
    }

    if (check_compile(list, site, fault, sizeof(fault)) != PERSONALIZE_OK) {
        (void) printf("%s: all live campaigns together: %s\n", site, fault);
        return MINING_INVALID;
    }

    return MINING_OK;
}
