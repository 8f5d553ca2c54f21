/*
 * evaluate_segments.c - clusters of the rows of a file, with names.
 *
 * evaluate segments --file FILE --k K|auto: the columns of --columns (all but
 * --id without it) are scaled (--scale) and clustered by k-means, or with
 * --fuzziness M by fuzzy c-means.  auto takes the number from 2 to 10 with the
 * greatest silhouette of k-means on 2,000 drawn rows, and prints that of each.
 * --out FILE writes id, segment and memberships.
 */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "learn/segments.h"
#include "matrix_file.h"


#define SEGMENTS_STARTS      50
#define SEGMENTS_FUZZY       10 /* starts */
#define SEGMENTS_AUTO_STARTS 10
#define SEGMENTS_AUTO_MAX    10 /* k */
#define SEGMENTS_SAMPLE      2000
#define SEGMENTS_SEED        42
#define SEGMENTS_SHARPNESS   2 /* of memberships that k-means has not */

typedef struct {
    const char       *path;
    const char       *columns;
    const char       *id;
    const char       *k_text;
    const char       *scale_text;
    const char       *fuzziness_text;
    const char       *out_path;
    unsigned          starts;
    unsigned          seed;
    unsigned          k; /* 0: auto */
    double            fuzziness;
    mining_matrix_t   table;
    mining_scaled_t   scaled;
    mining_points_t   points;
    mining_clusters_t clusters;
} segments_t;


static mining_result_e
segments_read(segments_t *s)
{
    size_t          bad;
    unsigned        column;
    mining_result_e rc;

    rc = mining_matrix_read(&s->table, s->path, s->columns, s->id);
    if (rc != MINING_OK) {
        return rc;
    }

    s->scaled.scaled =
        malloc(s->table.n * s->table.d * sizeof(*s->scaled.scaled));
    if (s->scaled.scaled == NULL) {
        return MINING_NOMEM;
    }
    s->scaled.values = s->table.values;
    s->scaled.n = s->table.n;
    s->scaled.d = s->table.d;
    s->scaled.names = (const char *const *) s->table.names;

    rc = mining_scale(&s->scaled, &bad, &column);
    if (rc == MINING_INVALID) {
        mining_say("evaluate: %s: row %zu: %s is below 0: take --scale z",
            s->path, bad + 1, s->table.names[column]);
    }
    s->points.rows = s->scaled.scaled;
    s->points.n = s->scaled.n;
    s->points.d = s->scaled.d;

    return rc;
}


/* The number of clusters that are the farthest apart. */
static mining_result_e
segments_choose(segments_t *s)
{
    double            silhouette, best;
    unsigned          k;
    mining_result_e   rc;
    mining_clusters_t clusters;

    best = -2;
    for (k = 2; k <= SEGMENTS_AUTO_MAX && k < s->points.n; k++) {
        rc = mining_cluster_means(
            &s->points, k, SEGMENTS_AUTO_STARTS, s->seed, &clusters);
        if (rc == MINING_OK) {
            rc = mining_cluster_silhouette(
                &s->points, &clusters, SEGMENTS_SAMPLE, s->seed, &silhouette);
        }
        if (rc == MINING_OK) {
            (void) printf("silhouette_%u %.6f\ncalinski_harabasz_%u %.6g\n", k,
                silhouette, k, mining_cluster_ratio(&s->points, &clusters));
            if (silhouette > best) {
                best = silhouette;
                s->k = k;
            }
        }
        mining_clusters_free(&clusters);
        if (rc == MINING_DECLINED) {
            break; /* fewer different rows than k */
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (s->k == 0) {
        mining_say("evaluate: %s: all rows are equal, or there are fewer "
                   "than three: nothing to tell apart",
            s->path);
        return MINING_INVALID;
    }

    return MINING_OK;
}


static mining_result_e
segments_fit(segments_t *s)
{
    double          start, silhouette;
    mining_result_e rc;

    start = mining_evaluate_seconds();
    rc = s->fuzziness_text == NULL
             ? mining_cluster_means(
                 &s->points, s->k, s->starts, s->seed, &s->clusters)
             : mining_cluster_fuzzy(&s->points, s->k, s->fuzziness, s->starts,
                 s->seed, &s->clusters);
    start = mining_evaluate_seconds() - start;

    if (rc == MINING_DECLINED) {
        mining_say("evaluate: %s: fewer than %u different rows: take a "
                   "smaller --k",
            s->path, s->k);
    }
    if (rc == MINING_OK) {
        rc = mining_cluster_silhouette(
            &s->points, &s->clusters, SEGMENTS_SAMPLE, s->seed, &silhouette);
    }
    if (rc == MINING_OK) {
        (void) printf("rows %zu\ncolumns %u\nk %u\nstarts %u\nobjective %.9f\n"
                      "seconds %.6f\nsilhouette %.6f\n",
            s->points.n, s->points.d, s->k, s->starts, s->clusters.objective,
            start, silhouette);
        if (s->fuzziness_text != NULL) {
            (void) printf(
                "partition_coefficient %.9f\n", s->clusters.partition);
        }
    }

    return rc;
}


static mining_result_e
segments_describe(const segments_t *s)
{
    unsigned          k, j;
    mining_result_e   rc;
    mining_segment_t *segments;

    segments = calloc(s->k, sizeof(*segments));
    if (segments == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_segments_describe(&s->scaled, &s->clusters, segments);
    for (k = 0; k < s->k && rc == MINING_OK; k++) {
        (void) printf("segment_%u_size %zu\nsegment_%u_centre ", k + 1,
            s->clusters.sizes[k], k + 1);
        for (j = 0; j < s->points.d; j++) {
            (void) printf("%s%.6f", j > 0 ? "," : "",
                s->clusters.centres[(size_t) k * s->points.d + j]);
        }
        (void) printf("\nsegment_%u_name %s\nsegment_%u_text %s\n", k + 1,
            segments[k].name, k + 1, segments[k].text);
    }
    free(segments);

    return rc;
}


static mining_result_e
segments_write(const segments_t *s)
{
    FILE       *out;
    size_t      i;
    double      shares[MINING_CLUSTERS_MAX];
    unsigned    k;
    const char *id;

    out = fopen(s->out_path, "w");
    if (out == NULL) {
        mining_say("evaluate: %s: cannot be written: %s", s->out_path,
            strerror(errno));
        return MINING_INVALID;
    }

    (void) fputs("id,segment", out);
    for (k = 0; k < s->k; k++) {
        (void) fprintf(out, ",membership_%u", k + 1);
    }
    (void) fputc('\n', out);

    id = s->table.ids;
    for (i = 0; i < s->points.n; i++) {
        if (id != NULL) {
            (void) fputc('"', out);
            for (; *id != '\0'; id++) {
                (void) fprintf(out, *id == '"' ? "\"\"" : "%c", *id);
            }
            id++;
            (void) fputc('"', out);
        } else {
            (void) fprintf(out, "%zu", i + 1);
        }
        (void) fprintf(out, ",%u", s->clusters.members[i] + 1);
        mining_cluster_membership(&s->clusters, s->points.d,
            s->fuzziness_text != NULL ? s->fuzziness : SEGMENTS_SHARPNESS,
            s->points.rows + i * s->points.d, shares);
        for (k = 0; k < s->k; k++) {
            (void) fprintf(out, ",%.15g", shares[k]);
        }
        (void) fputc('\n', out);
    }

    if ((ferror(out) | fclose(out)) != 0) {
        mining_say("evaluate: %s: could not be written", s->out_path);
        return MINING_INVALID;
    }

    return MINING_OK;
}


/* Returns 0 after saying which word is wrong. */
static int
segments_words(segments_t *s)
{
    char         *end;
    unsigned long k;
    tracker_str_t text;

    if (strcmp(s->k_text, "auto") != 0) {
        k = strtoul(s->k_text, &end, 10);
        if (*end != '\0' || k < 1 || k > MINING_CLUSTERS_MAX) {
            mining_say("evaluate: --k takes a number from 1 to %d, or auto, "
                       "not \"%s\"",
                MINING_CLUSTERS_MAX, s->k_text);
            return 0;
        }
        s->k = (unsigned) k;
    }

    if (strcmp(s->scale_text, "log") == 0) {
        s->scaled.scale = MINING_SCALE_LOG;
    } else if (strcmp(s->scale_text, "none") == 0) {
        s->scaled.scale = MINING_SCALE_NONE;
    } else if (strcmp(s->scale_text, "z") != 0) {
        mining_say("evaluate: --scale takes z, log or none, not \"%s\"",
            s->scale_text);
        return 0;
    }

    if (s->fuzziness_text != NULL) {
        text.data = s->fuzziness_text;
        text.len = strlen(text.data);
        if (!mining_evaluate_number(text, &s->fuzziness)
            || s->fuzziness < MINING_FUZZINESS_LOW
            || s->fuzziness > MINING_FUZZINESS_HIGH)
        {
            mining_say("evaluate: --fuzziness takes a number from %.2f to "
                       "%d, not \"%s\"",
                MINING_FUZZINESS_LOW, MINING_FUZZINESS_HIGH, s->fuzziness_text);
            return 0;
        }
    }

    if (s->starts == 0) {
        s->starts =
            s->fuzziness_text != NULL ? SEGMENTS_FUZZY : SEGMENTS_STARTS;
    }

    return 1;
}


int
mining_evaluate_segments(int argc, char **argv)
{
    unsigned        nwords;
    segments_t      s;
    const char     *words[24];
    mining_result_e rc;

    memset(&s, 0, sizeof(s));
    s.scale_text = "z";
    s.seed = SEGMENTS_SEED;

    {
        const mining_option_t options[] = {
            {"--file", (void *) &s.path, MINING_OPTION_TEXT, 0},
            {"--k", (void *) &s.k_text, MINING_OPTION_TEXT, 0},
            {"--columns", (void *) &s.columns, MINING_OPTION_TEXT, 0},
            {"--id", (void *) &s.id, MINING_OPTION_TEXT, 0},
            {"--scale", (void *) &s.scale_text, MINING_OPTION_TEXT, 0},
            {"--fuzziness", (void *) &s.fuzziness_text, MINING_OPTION_TEXT, 0},
            {"--starts", &s.starts, MINING_OPTION_COUNT, 10000},
            {"--seed", &s.seed, MINING_OPTION_COUNT, UINT32_MAX},
            {"--out", (void *) &s.out_path, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 24
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || s.path == NULL || s.k_text == NULL
            || !segments_words(&s))
        {
            mining_say("usage: evaluate segments " MINING_EVALUATE_SEGMENTS);
            return MINING_EXIT_USAGE;
        }
    }

    rc = segments_read(&s);
    if (rc == MINING_OK && s.k == 0) {
        rc = segments_choose(&s);
    }
    if (rc == MINING_OK) {
        rc = segments_fit(&s);
    }
    if (rc == MINING_OK) {
        rc = segments_describe(&s);
    }
    if (rc == MINING_OK && s.out_path != NULL) {
        rc = segments_write(&s);
    }
    if (rc == MINING_OK) {
        mining_evaluate_memory();
    } else if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }

    mining_clusters_free(&s.clusters);
    free(s.scaled.scaled);
    mining_matrix_free(&s.table);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
