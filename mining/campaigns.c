/*
 * campaigns.c - campaigns in files: apply, export, diff.
 *
 * DIR/<site>/<key>.json.  apply takes all or nothing: every file is checked
 * first and every fault is said, then one transaction takes them in.  What the
 * database has and the folder has not is dropped only with --prune.  export
 * writes what apply reads; export, apply, export again gives the same files.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mining.h"


#define CAMPAIGNS_FILES_MAX 10000


typedef struct {
    const char    *verb;
    const char    *dir;
    const char    *site; /* NULL: all */
    const char    *reviewer;
    int            prune;
    mining_db_t    db;
    mining_sites_t sites;
    unsigned       changes; /* of diff */
    unsigned       faults;
    unsigned       counts[3]; /* created, changed, same */
} campaigns_t;


static int
campaigns_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}


static int
campaigns_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}


static int
campaigns_json(const struct dirent *entry)
{
    size_t len;

    len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 5
           && strcmp(entry->d_name + len - 5, ".json") == 0;
}


/* Sites of this call: --site, else folders of DIR or rows of crm.site. */
static mining_result_e
campaigns_sites(campaigns_t *cs)
{
    int             i, n;
    char            path[PATH_MAX];
    size_t          len;
    struct stat     st;
    struct dirent **entries;

    if (cs->site != NULL) {
        cs->sites.n = 1;
        cs->sites.lens[0] = strlen(cs->site);
        if (cs->sites.lens[0] > MINING_ID_MAX || strchr(cs->site, '/') != NULL
            || cs->site[0] == '.')
        {
            mining_say("campaigns: \"%s\" is no site", cs->site);
            return MINING_INVALID;
        }
        memcpy(cs->sites.names[0], cs->site, cs->sites.lens[0] + 1);
        return MINING_OK;
    }

    if (strcmp(cs->verb, "export") == 0) {
        return mining_sites_read(&cs->sites, &cs->db);
    }

    n = scandir(cs->dir, &entries, campaigns_visible, campaigns_by_name);
    if (n < 0) {
        mining_say("campaigns: %s: %s", cs->dir, strerror(errno));
        return MINING_INVALID;
    }

    for (i = 0; i < n; i++) {
        len = strlen(entries[i]->d_name);
        (void) snprintf(
            path, sizeof(path), "%s/%s", cs->dir, entries[i]->d_name);

        if (len <= MINING_ID_MAX && cs->sites.n < MINING_SITES_MAX
            && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        {
            memcpy(cs->sites.names[cs->sites.n], entries[i]->d_name, len + 1);
            cs->sites.lens[cs->sites.n++] = len;
        }
        free(entries[i]);
    }
    free(entries);

    if (cs->sites.n == 0) {
        mining_say("campaigns: %s holds no folder of a site", cs->dir);
        return MINING_INVALID;
    }

    return MINING_OK;
}


/* One file into the list; faults are counted and said. */
static void
campaigns_file(
    campaigns_t *cs, const char *site, const char *file, json_t *list)
{
    char    path[PATH_MAX], key[256];
    json_t *campaign;

    (void) snprintf(path, sizeof(path), "%s/%s/%s", cs->dir, site, file);
    (void) snprintf(key, sizeof(key), "%.*s", (int) (strlen(file) - 5), file);

    campaign = mining_campaign_read(path);
    if (campaign == NULL) {
        cs->faults++;
        return;
    }

    cs->faults += mining_campaign_check(campaign, path, key);
    (void) json_array_append_new(list, campaign);
}


/* All files of a site, checked; NULL: the folder cannot be read. */
static json_t *
campaigns_folder(campaigns_t *cs, const char *site)
{
    int             i, n;
    char            path[PATH_MAX];
    json_t         *list;
    struct dirent **entries;

    (void) snprintf(path, sizeof(path), "%s/%s", cs->dir, site);

    n = scandir(path, &entries, campaigns_json, campaigns_by_name);
    if (n < 0) {
        mining_say("campaigns: %s: %s", path, strerror(errno));
        return NULL;
    }

    list = json_array();
    for (i = 0; i < n; i++) {
        if (i < CAMPAIGNS_FILES_MAX) {
            campaigns_file(cs, site, entries[i]->d_name, list);
        }
        free(entries[i]);
    }
    free(entries);

    if (n > CAMPAIGNS_FILES_MAX) {
        mining_say("campaigns: %s holds more than %d files", path,
            CAMPAIGNS_FILES_MAX);
        cs->faults++;
    }

    if (cs->faults == 0 && mining_campaign_check_set(list, site) != MINING_OK) {
        cs->faults++;
    }

    return list;
}


/* What the database has, as an array of documents. */
static json_t *
campaigns_kept(campaigns_t *cs, const char *site)
{
    int             i;
    json_t         *list, *doc;
    PGresult       *res;
    const char     *values[] = {site};
    mining_result_e rc;

    rc = mining_db_query(
        &cs->db, &res, "select etl.campaign_export($1)", 1, values);
    if (rc != MINING_OK) {
        mining_say("campaigns: %s", cs->db.error);
        return NULL;
    }

    list = json_array();
    for (i = 0; i < PQntuples(res); i++) {
        doc = json_loads(PQgetvalue(res, i, 0), 0, NULL);
        if (doc == NULL) {
            mining_say("campaigns: etl.campaign_export gave no JSON");
            json_decref(list);
            list = NULL;
            break;
        }
        (void) json_array_append_new(list, doc);
    }
    PQclear(res);

    return list;
}


static const char *
campaigns_key(const json_t *campaign)
{
    const char *key;

    key = json_string_value(json_object_get(campaign, "key"));

    return key != NULL ? key : "";
}


static json_t *
campaigns_find(const json_t *list, const char *key)
{
    size_t  i;
    json_t *campaign;

    json_array_foreach(list, i, campaign)
    {
        if (strcmp(campaigns_key(campaign), key) == 0) {
            return campaign;
        }
    }

    return NULL;
}


static mining_result_e
campaigns_apply_one(campaigns_t *cs, const char *site, const json_t *campaign)
{
    char           *text;
    unsigned        i;
    PGresult       *res;
    const char     *values[3];
    mining_result_e rc;

    static const char *const words[] = {"created", "changed", "same"};

    text = json_dumps(campaign, JSON_COMPACT);
    if (text == NULL) {
        return MINING_NOMEM;
    }

    values[0] = site;
    values[1] = text;
    values[2] = cs->reviewer;
    rc = mining_db_query(&cs->db, &res,
        "select etl.campaign_apply($1, $2::jsonb, $3)", 3, values);
    free(text);

    if (rc != MINING_OK) {
        (void) printf("%s/%s/%s.json: %s\n", cs->dir, site,
            campaigns_key(campaign), cs->db.error);
        return rc;
    }

    for (i = 0; i < 3; i++) {
        if (strcmp(PQgetvalue(res, 0, 0), words[i]) == 0) {
            cs->counts[i]++;
            if (i != 2) {
                (void) printf(
                    "%s/%s: %s\n", site, campaigns_key(campaign), words[i]);
            }
        }
    }
    PQclear(res);

    return MINING_OK;
}


/* Campaigns without a file: dropped with --prune, else mentioned. */
static mining_result_e
campaigns_prune(campaigns_t *cs, const char *site, const json_t *files)
{
    size_t          i;
    json_t         *kept, *campaign;
    const char     *values[2];
    mining_result_e rc;

    kept = campaigns_kept(cs, site);
    if (kept == NULL) {
        return MINING_REFUSED;
    }

    rc = MINING_OK;
    json_array_foreach(kept, i, campaign)
    {
        if (campaigns_find(files, campaigns_key(campaign)) != NULL) {
            continue;
        }

        if (!cs->prune) {
            (void) printf("%s/%s: has no file; --prune would end it\n", site,
                campaigns_key(campaign));
            continue;
        }

        values[0] = site;
        values[1] = campaigns_key(campaign);
        rc = mining_db_query(
            &cs->db, NULL, "select etl.campaign_drop($1, $2)", 2, values);
        if (rc != MINING_OK) {
            mining_say("campaigns: %s", cs->db.error);
            break;
        }
        (void) printf("%s/%s: dropped\n", site, values[1]);
    }
    json_decref(kept);

    return rc;
}


static mining_result_e
campaigns_apply_site(campaigns_t *cs, const char *site, const json_t *files)
{
    size_t          i;
    json_t         *campaign;
    mining_result_e rc;

    json_array_foreach(files, i, campaign)
    {
        rc = campaigns_apply_one(cs, site, campaign);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    return campaigns_prune(cs, site, files);
}


static mining_result_e
campaigns_apply(campaigns_t *cs)
{
    int             i;
    json_t         *all, *list;
    mining_result_e rc;

    rc = MINING_OK;
    all = json_array();

    for (i = 0; i < cs->sites.n && rc == MINING_OK; i++) {
        list = campaigns_folder(cs, cs->sites.names[i]);
        if (list == NULL) {
            rc = MINING_INVALID;
        } else {
            (void) json_array_append_new(all, list);
        }
    }

    if (rc == MINING_OK && cs->faults != 0) {
        (void) fflush(stdout); /* the faults come first, also in one pipe */
        mining_say("campaigns: %u faults, nothing was applied", cs->faults);
        rc = MINING_INVALID;
    }

    if (rc == MINING_OK) {
        rc = mining_db_exec(&cs->db, "begin");
    }
    for (i = 0; i < cs->sites.n && rc == MINING_OK; i++) {
        rc = campaigns_apply_site(
            cs, cs->sites.names[i], json_array_get(all, (size_t) i));
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(&cs->db, "commit");
        if (rc == MINING_OK) {
            (void) printf("%u created, %u changed, %u same\n", cs->counts[0],
                cs->counts[1], cs->counts[2]);
        } else {
            mining_say("campaigns: %s", cs->db.error);
        }
    } else if (cs->faults == 0) {
        mining_say("campaigns: nothing was applied");
    }

    json_decref(all);

    return rc;
}


static mining_result_e
campaigns_export_one(campaigns_t *cs, const char *site, const json_t *campaign)
{
    char            path[PATH_MAX];
    char           *text;
    mining_result_e rc;

    text = mining_campaign_text(campaign);
    if (text == NULL) {
        return MINING_NOMEM;
    }

    (void) snprintf(path, sizeof(path), "%s/%s/%s.json", cs->dir, site,
        campaigns_key(campaign));
    rc = mining_campaign_write(path, text);
    free(text);

    if (rc == MINING_OK) {
        (void) printf("%s written\n", path);
        cs->counts[1]++;
    } else if (rc == MINING_DECLINED) {
        cs->counts[2]++;
        rc = MINING_OK;
    }

    return rc;
}


/* Files without a campaign: removed with --prune, else mentioned. */
static mining_result_e
campaigns_export_rest(campaigns_t *cs, const char *site, const json_t *kept)
{
    int             i, n;
    char            path[PATH_MAX], key[256];
    struct dirent **entries;

    (void) snprintf(path, sizeof(path), "%s/%s", cs->dir, site);
    n = scandir(path, &entries, campaigns_json, campaigns_by_name);

    for (i = 0; i < n; i++) {
        (void) snprintf(key, sizeof(key), "%.*s",
            (int) (strlen(entries[i]->d_name) - 5), entries[i]->d_name);

        if (campaigns_find(kept, key) == NULL) {
            (void) snprintf(path, sizeof(path), "%s/%s/%s", cs->dir, site,
                entries[i]->d_name);
            if (!cs->prune) {
                (void) printf(
                    "%s: is no campaign; --prune would remove it\n", path);
            } else if (unlink(path) == 0) {
                (void) printf("%s removed\n", path);
            }
        }
        free(entries[i]);
    }

    if (n >= 0) {
        free(entries);
    }

    return MINING_OK;
}


static mining_result_e
campaigns_mkdir(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        mining_say("campaigns: %s: %s", path, strerror(errno));
        return MINING_INVALID;
    }

    return MINING_OK;
}


static mining_result_e
campaigns_export(campaigns_t *cs)
{
    int             i;
    char            path[PATH_MAX];
    size_t          n;
    json_t         *kept, *campaign;
    mining_result_e rc;

    rc = campaigns_mkdir(cs->dir);

    for (i = 0; i < cs->sites.n && rc == MINING_OK; i++) {
        kept = campaigns_kept(cs, cs->sites.names[i]);
        if (kept == NULL) {
            return MINING_REFUSED;
        }

        (void) snprintf(
            path, sizeof(path), "%s/%s", cs->dir, cs->sites.names[i]);
        rc = campaigns_mkdir(path);

        json_array_foreach(kept, n, campaign)
        {
            if (rc == MINING_OK) {
                rc = campaigns_export_one(cs, cs->sites.names[i], campaign);
            }
        }
        if (rc == MINING_OK) {
            rc = campaigns_export_rest(cs, cs->sites.names[i], kept);
        }
        json_decref(kept);
    }

    if (rc == MINING_OK) {
        (void) printf(
            "%u written, %u unchanged\n", cs->counts[1], cs->counts[2]);
    }

    return rc;
}


static void
campaigns_diff_site(
    campaigns_t *cs, const char *site, const json_t *files, const json_t *kept)
{
    char    members[256];
    size_t  i;
    json_t *campaign, *old;

    json_array_foreach(files, i, campaign)
    {
        old = campaigns_find(kept, campaigns_key(campaign));
        if (old == NULL) {
            (void) printf("+ %s/%s\n", site, campaigns_key(campaign));
            cs->changes++;
            continue;
        }

        mining_campaign_changes(members, sizeof(members), old, campaign);
        if (members[0] != '\0') {
            (void) printf(
                "~ %s/%s: %s\n", site, campaigns_key(campaign), members);
            cs->changes++;
        }
    }

    json_array_foreach(kept, i, campaign)
    {
        if (campaigns_find(files, campaigns_key(campaign)) == NULL) {
            (void) printf("- %s/%s\n", site, campaigns_key(campaign));
            cs->changes++;
        }
    }
}


static mining_result_e
campaigns_diff(campaigns_t *cs)
{
    int     i;
    json_t *files, *kept;

    for (i = 0; i < cs->sites.n; i++) {
        files = campaigns_folder(cs, cs->sites.names[i]);
        kept = files != NULL ? campaigns_kept(cs, cs->sites.names[i]) : NULL;

        if (kept != NULL) {
            campaigns_diff_site(cs, cs->sites.names[i], files, kept);
        }
        json_decref(files);
        json_decref(kept);

        if (kept == NULL) {
            return MINING_INVALID;
        }
    }

    return cs->changes == 0 && cs->faults == 0 ? MINING_OK : MINING_INVALID;
}


static mining_result_e
campaigns_do(campaigns_t *cs, const char *pg)
{
    mining_result_e rc;

    cs->db.stoppable = 1;
    rc = mining_db_open(&cs->db, pg);
    if (rc != MINING_OK) {
        mining_say("campaigns: postgresql: %s", cs->db.error);
        return rc;
    }

    rc = campaigns_sites(cs);
    if (rc != MINING_OK) {
        return rc;
    }

    return cs->verb[0] == 'a'   ? campaigns_apply(cs)
           : cs->verb[0] == 'e' ? campaigns_export(cs)
                                : campaigns_diff(cs);
}


int
mining_campaigns(const mining_settings_t *settings, int argc, char **argv)
{
    unsigned        nwords;
    campaigns_t    *cs;
    const char     *words[64];
    mining_result_e rc;

    cs = calloc(1, sizeof(*cs));
    if (cs == NULL) {
        mining_say("campaigns: out of memory");
        return MINING_EXIT_FAILED;
    }

    {
        const mining_option_t options[] = {
            {"--site", (void *) &cs->site, MINING_OPTION_TEXT, 0},
            {"--reviewer", (void *) &cs->reviewer, MINING_OPTION_TEXT, 0},
            {"--prune", &cs->prune, MINING_OPTION_FLAG, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 2
            || (strcmp(words[0], "apply") != 0
                && strcmp(words[0], "export") != 0
                && strcmp(words[0], "diff") != 0))
        {
            mining_say("usage: campaigns apply|export|diff DIR [--site SITE]"
                       " [--reviewer NAME] [--prune]");
            free(cs);
            return MINING_EXIT_USAGE;
        }
    }

    cs->verb = words[0];
    cs->dir = words[1];

    rc = campaigns_do(cs, settings->pg);

    mining_db_close(&cs->db);
    free(cs);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
