/*
 * campaign_file.c - a campaign as a file that people keep in git.
 *
 * One canonical text per campaign: members in the order of docs/campaigns.md,
 * four spaces, a line feed at the end.  A file is replaced by rename, and left
 * alone when it says the same already, so that an export shows in git only
 * what really changed.
 */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mining.h"


/* More digits would turn 0.1 into 0.10000000000000001. */
#define CAMPAIGN_DUMP                                                          \
    (JSON_INDENT(4) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15))

static const char *const campaign_members[] = {"key", "name", "slot", "state",
    "priority", "start", "end", "when", "variants", "remark", NULL};


json_t *
mining_campaign_read(const char *path)
{
    FILE        *in;
    json_t      *campaign;
    struct stat  st;
    json_error_t error;

    in = fopen(path, "re");
    if (in == NULL || fstat(fileno(in), &st) != 0) {
        (void) printf("%s: %s\n", path, strerror(errno));
        if (in != NULL) {
            (void) fclose(in);
        }
        return NULL;
    }

    if (!S_ISREG(st.st_mode) || st.st_size > (off_t) MINING_CAMPAIGN_BYTES_MAX)
    {
        (void) printf("%s: is no file of at most 2 MB\n", path);
        (void) fclose(in);
        return NULL;
    }

    campaign = json_loadf(in, JSON_REJECT_DUPLICATES, &error);
    (void) fclose(in);

    if (campaign == NULL) {
        (void) printf("%s: line %d column %d: %s\n", path, error.line,
            error.column, error.text);
    }

    return campaign;
}


static json_t *
campaign_variants(const json_t *variants)
{
    size_t  i;
    json_t *list, *item, *variant;

    list = json_array();
    json_array_foreach(variants, i, item)
    {
        variant = json_object();
        (void) json_object_set(variant, "key", json_object_get(item, "key"));
        (void) json_object_set(
            variant, "weight", json_object_get(item, "weight"));
        (void) json_object_set(
            variant, "content", json_object_get(item, "content"));
        (void) json_array_append_new(list, variant);
    }

    return list;
}


json_t *
mining_campaign_normal(const json_t *campaign)
{
    unsigned    i;
    json_t     *normal, *value;
    const char *name;

    normal = json_object();

    for (i = 0; campaign_members[i] != NULL; i++) {
        name = campaign_members[i];
        value = json_object_get(campaign, name);

        if (strcmp(name, "variants") == 0) {
            (void) json_object_set_new(normal, name, campaign_variants(value));

        } else if (value != NULL
                   && !(json_is_null(value) && strcmp(name, "remark") == 0))
        {
            (void) json_object_set(normal, name, value);

        } else if (strcmp(name, "name") == 0) {
            (void) json_object_set_new(normal, name, json_string(""));

        } else if (strcmp(name, "priority") == 0) {
            (void) json_object_set_new(normal, name, json_integer(0));

        } else if (strcmp(name, "when") == 0) {
            (void) json_object_set_new(normal, name, json_object());

        } else if (strcmp(name, "remark") != 0) {
            (void) json_object_set_new(normal, name, json_null());
        }
    }

    return normal;
}


char *
mining_campaign_text(const json_t *campaign)
{
    char   *text, *line;
    size_t  len;
    json_t *normal;

    normal = mining_campaign_normal(campaign);
    text = json_dumps(normal, CAMPAIGN_DUMP);
    json_decref(normal);

    if (text == NULL) {
        return NULL;
    }

    len = strlen(text);
    line = realloc(text, len + 2);
    if (line == NULL) {
        free(text);
        return NULL;
    }
    memcpy(line + len, "\n", 2);

    return line;
}


static int
campaign_file_is(const char *path, const char *text)
{
    FILE  *in;
    char  *old;
    size_t len, n;
    int    same;

    len = strlen(text);
    in = fopen(path, "re");
    if (in == NULL) {
        return 0;
    }

    same = 0;
    old = malloc(len + 1);
    if (old != NULL) {
        n = fread(old, 1, len + 1, in);
        same = n == len && memcmp(old, text, len) == 0;
        free(old);
    }
    (void) fclose(in);

    return same;
}


mining_result_e
mining_campaign_write(const char *path, const char *text)
{
    int   failed;
    char  temp[PATH_MAX];
    FILE *out;

    if (campaign_file_is(path, text)) {
        return MINING_DECLINED;
    }

    if (snprintf(temp, sizeof(temp), "%s.%ld.tmp", path, (long) getpid())
        >= (int) sizeof(temp))
    {
        mining_say("campaigns: %s: the path is too long", path);
        return MINING_INVALID;
    }

    out = fopen(temp, "we");
    if (out == NULL) {
        mining_say("campaigns: %s: %s", temp, strerror(errno));
        return MINING_INVALID;
    }

    failed = fputs(text, out) == EOF;
    failed |= fflush(out) != 0 || fsync(fileno(out)) != 0;
    failed |= fclose(out) != 0;

    if (failed || rename(temp, path) != 0) {
        mining_say("campaigns: %s: %s", path, strerror(errno));
        (void) unlink(temp);
        return MINING_INVALID;
    }

    return MINING_OK;
}


/* json_equal takes 1 and 1.0 for different; the database does not. */
static int
campaign_equal(const json_t *a, const json_t *b)
{
    size_t      i;
    json_t     *value;
    const char *key;

    if (json_is_number(a) && json_is_number(b)) {
        return json_number_value(a) == json_number_value(b);
    }

    if (json_is_object(a) && json_is_object(b)) {
        if (json_object_size(a) != json_object_size(b)) {
            return 0;
        }
        json_object_foreach((json_t *) a, key, value)
        {
            if (!campaign_equal(value, json_object_get(b, key))) {
                return 0;
            }
        }
        return 1;
    }

    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b)) {
            return 0;
        }
        json_array_foreach(a, i, value)
        {
            if (!campaign_equal(value, json_array_get(b, i))) {
                return 0;
            }
        }
        return 1;
    }

    return json_equal(a, b);
}


void
mining_campaign_changes(
    char *buf, size_t size, const json_t *before, const json_t *after)
{
    unsigned    i;
    json_t     *old, *new, *a, *b;
    const char *name;

    buf[0] = '\0';
    old = mining_campaign_normal(before);
    new = mining_campaign_normal(after);

    for (i = 0; campaign_members[i] != NULL; i++) {
        name = campaign_members[i];
        a = json_object_get(old, name);
        b = json_object_get(new, name);

        if ((a == NULL) != (b == NULL) || (a != NULL && !campaign_equal(a, b)))
        {
            mining_text(buf, size, "%s%s", buf[0] != '\0' ? ", " : "", name);
        }
    }

    json_decref(old);
    json_decref(new);
}
