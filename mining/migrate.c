/*
 * migrate.c - brings the database to the newest schema, forward only.
 *
 * Files NNNNNN_name.sql are applied in order, each in a transaction of its own
 * together with its row in crm_migration.applied.  One advisory lock lets any
 * number of clients call at once: the first works, the others wait and find
 * nothing to do.  Refused: a file that changed after it was applied, a number
 * missing or used twice, a database newer than the files.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mining.h"


#define MIGRATE_DIGITS    6
#define MIGRATE_FILES_MAX 10000
#define MIGRATE_BYTES_MAX (16 << 20)
#define MIGRATE_INSTALLED "/usr/share/ngx_crm/migrations"

/* 5460557 is "SRM" in ASCII, our class of locks; 2 is this lock. */
#define MIGRATE_LOCK "select pg_advisory_lock(5460557, 2)"

#define MIGRATE_BOOKS                                                          \
    "create schema if not exists crm_migration;"                               \
    "create table if not exists crm_migration.applied ("                       \
    " id int primary key, name text not null, sha256 text not null,"           \
    " applied_at timestamptz not null default now());"                         \
    "comment on table crm_migration.applied is"                                \
    " 'schema files applied, one row each, written by crm-mine migrate'"


typedef struct {
    int   id;
    char *name; /* of the file */
    char *text;
    char  sha256[2 * SHA256_DIGEST_LENGTH + 1];
} migrate_file_t;

typedef struct {
    const char     *dir;
    migrate_file_t *files;
    unsigned        nfiles;
    mining_db_t     db;
} migrate_t;


static void
migrate_free(migrate_t *mg)
{
    unsigned i;

    for (i = 0; i < mg->nfiles; i++) {
        free(mg->files[i].name);
        free(mg->files[i].text);
    }
    free(mg->files);
    mining_db_close(&mg->db);
}


static int
migrate_compare(const void *a, const void *b)
{
    const migrate_file_t *one, *two;

    one = a;
    two = b;

    return one->id < two->id ? -1 : one->id > two->id;
}


static int
migrate_named(const char *name)
{
    size_t len;

    len = strlen(name);

    return len > MIGRATE_DIGITS + 5
           && strspn(name, "0123456789") == MIGRATE_DIGITS
           && name[MIGRATE_DIGITS] == '_'
           && strcmp(name + len - 4, ".sql") == 0;
}


static char *
migrate_text(const char *path)
{
    FILE  *in;
    char  *text;
    size_t n;

    in = fopen(path, "re");
    if (in == NULL) {
        mining_say("migrate: %s: %s", path, strerror(errno));
        return NULL;
    }

    text = malloc(MIGRATE_BYTES_MAX + 1);
    if (text == NULL) {
        (void) fclose(in);
        return NULL;
    }

    n = fread(text, 1, MIGRATE_BYTES_MAX + 1, in);
    if (ferror(in) || n > MIGRATE_BYTES_MAX || memchr(text, '\0', n) != NULL) {
        mining_say("migrate: %s: unreadable, over 16 MB or with NUL", path);
        (void) fclose(in);
        free(text);
        return NULL;
    }

    (void) fclose(in);
    text[n] = '\0';

    return text;
}


static mining_result_e
migrate_file(migrate_t *mg, const char *name)
{
    char            path[PATH_MAX];
    unsigned        i;
    unsigned char   digest[SHA256_DIGEST_LENGTH];
    migrate_file_t *file;

    if (mg->nfiles == MIGRATE_FILES_MAX) {
        return MINING_FULL;
    }

    (void) snprintf(path, sizeof(path), "%s/%s", mg->dir, name);

    file = &mg->files[mg->nfiles];
    file->id = (int) strtol(name, NULL, 10);
    file->text = migrate_text(path);
    if (file->text == NULL) {
        return MINING_INVALID;
    }

    file->name = strdup(name);
    mg->nfiles++;
    if (file->name == NULL) {
        return MINING_NOMEM;
    }

    (void) SHA256(
        (const unsigned char *) file->text, strlen(file->text), digest);
    for (i = 0; i < sizeof(digest); i++) {
        (void) snprintf(file->sha256 + 2 * (size_t) i, 3, "%02x", digest[i]);
    }

    return MINING_OK;
}


static mining_result_e
migrate_read(migrate_t *mg)
{
    DIR            *dir;
    unsigned        i;
    struct dirent  *entry;
    mining_result_e rc;

    dir = opendir(mg->dir);
    if (dir == NULL) {
        mining_say("migrate: %s: %s", mg->dir, strerror(errno));
        return MINING_INVALID;
    }

    rc = MINING_OK;
    mg->files = calloc(MIGRATE_FILES_MAX, sizeof(migrate_file_t));
    if (mg->files == NULL) {
        rc = MINING_NOMEM;
    }

    while (rc == MINING_OK && (entry = readdir(dir)) != NULL) {
        if (migrate_named(entry->d_name)) {
            rc = migrate_file(mg, entry->d_name);
        }
    }
    (void) closedir(dir);

    if (rc != MINING_OK) {
        return rc;
    }
    if (mg->nfiles == 0) {
        mining_say("migrate: %s holds no file NNNNNN_name.sql", mg->dir);
        return MINING_INVALID;
    }

    qsort(mg->files, mg->nfiles, sizeof(migrate_file_t), migrate_compare);

    for (i = 1; i < mg->nfiles; i++) {
        if (mg->files[i].id == mg->files[i - 1].id) {
            mining_say("migrate: %s and %s have the same number",
                mg->files[i - 1].name, mg->files[i].name);
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


/* Compares what is applied with the files; *n is how many are. */
static mining_result_e
migrate_check(migrate_t *mg, unsigned *n)
{
    int             i;
    PGresult       *res;
    const char     *name;
    mining_result_e rc;

    *n = 0;
    rc = mining_db_query(&mg->db, &res,
        "select id, name, sha256 from crm_migration.applied order by id", 0,
        NULL);
    if (rc != MINING_OK) {
        mining_say("migrate: %s", mg->db.error);
        return rc;
    }

    for (i = 0; i < PQntuples(res) && rc == MINING_OK; i++) {
        name = PQgetvalue(res, i, 1);

        if ((unsigned) i >= mg->nfiles) {
            mining_say("migrate: the database is newer than the files in %s:"
                       " it has %s; use the newer release",
                mg->dir, name);
            rc = MINING_INVALID;

        } else if (strtol(PQgetvalue(res, i, 0), NULL, 10) != mg->files[i].id) {
            mining_say("migrate: the database has %s where %s holds %s: files"
                       " are only ever added behind the last one",
                name, mg->dir, mg->files[i].name);
            rc = MINING_INVALID;

        } else if (strcmp(PQgetvalue(res, i, 2), mg->files[i].sha256) != 0) {
            mining_say("migrate: %s was changed after it was applied: put it"
                       " back and write a new file",
                mg->files[i].name);
            rc = MINING_INVALID;
        }
    }

    *n = (unsigned) PQntuples(res);
    PQclear(res);

    return rc;
}


/* The line of a position that counts characters; 1 when unknown. */
static unsigned
migrate_line(const char *text, int position)
{
    unsigned line;

    for (line = 1; *text != '\0' && position > 1; text++) {
        if (((unsigned char) *text & 0xc0) != 0x80) {
            position--;
        }
        line += *text == '\n';
    }

    return line;
}


static mining_result_e
migrate_apply(migrate_t *mg, const migrate_file_t *file)
{
    char            id[16];
    const char     *values[3];
    mining_result_e rc;

    (void) snprintf(id, sizeof(id), "%d", file->id);
    values[0] = id;
    values[1] = file->name;
    values[2] = file->sha256;

    rc = mining_db_exec(&mg->db, "begin");
    if (rc == MINING_OK) {
        rc = mining_db_exec(&mg->db, file->text);
    }

    if (rc == MINING_OK && PQtransactionStatus(mg->db.conn) != PQTRANS_INTRANS)
    {
        mining_say("migrate: %s ends the transaction it runs in: take commit"
                   " and rollback out of it",
            file->name);
        return MINING_INVALID;
    }

    /* A file may have changed role or settings for what follows. */
    if (rc == MINING_OK) {
        rc = mining_db_exec(&mg->db, "reset role; reset search_path");
    }
    if (rc == MINING_OK) {
        rc = mining_db_query(&mg->db, NULL,
            "insert into crm_migration.applied (id, name, sha256)"
            " values ($1::int, $2, $3)",
            3, values);
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(&mg->db, "commit");
    }

    if (rc != MINING_OK) {
        mining_say("migrate: %s line %u: %s", file->name,
            migrate_line(file->text, mg->db.position), mg->db.error);
    }

    return rc;
}


static int
migrate_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}


/* Beside the executable in a source tree, else where it is installed. */
static const char *
migrate_dir(char path[PATH_MAX])
{
    char                     exe[PATH_MAX / 2];
    char                    *slash;
    ssize_t                  n;
    unsigned                 i;
    static const char *const tries[] = {"..", "../.."};

    n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n > 0) {
        exe[n] = '\0';
        slash = strrchr(exe, '/');
        if (slash != NULL) {
            *slash = '\0';
        }

        for (i = 0; i < 2; i++) {
            (void) snprintf(
                path, PATH_MAX, "%s/%s/schema/migrations", exe, tries[i]);
            if (migrate_is_dir(path)) {
                return path;
            }
        }
    }

    return MIGRATE_INSTALLED;
}


static mining_result_e
migrate_locked(migrate_t *mg)
{
    unsigned        i, applied;
    mining_result_e rc;

    rc = mining_db_exec(&mg->db, MIGRATE_BOOKS);
    if (rc != MINING_OK) {
        mining_say("migrate: %s", mg->db.error);
        return rc;
    }

    rc = migrate_check(mg, &applied);

    for (i = applied; i < mg->nfiles && rc == MINING_OK; i++) {
        rc = migrate_apply(mg, &mg->files[i]);
        if (rc == MINING_OK) {
            (void) printf("applied %s\n", mg->files[i].name);
        }
    }

    if (rc == MINING_OK) {
        (void) printf("schema is at %s, %u applied now\n",
            mg->files[mg->nfiles - 1].name, mg->nfiles - applied);
    }

    return rc;
}


int
mining_migrate(const mining_settings_t *settings, int argc, char **argv)
{
    char            path[PATH_MAX];
    unsigned        nwords;
    migrate_t       mg;
    const char     *words[64];
    mining_result_e rc;

    memset(&mg, 0, sizeof(mg));

    {
        const mining_option_t options[] = {
            {"--dir", (void *) &mg.dir, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0)
        {
            mining_say("usage: migrate [--dir DIR]");
            return MINING_EXIT_USAGE;
        }
    }

    if (mg.dir == NULL) {
        mg.dir = migrate_dir(path);
    }

    mg.db.stoppable = 1;
    rc = migrate_read(&mg);

    if (rc == MINING_OK) {
        rc = mining_db_open(&mg.db, settings->pg);
        if (rc == MINING_OK) {
            rc = mining_db_query(&mg.db, NULL, MIGRATE_LOCK, 0, NULL);
        }
        if (rc != MINING_OK) {
            mining_say("migrate: postgresql: %s", mg.db.error);
        }
    }

    if (rc == MINING_OK) {
        rc = migrate_locked(&mg);
    }

    migrate_free(&mg);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
