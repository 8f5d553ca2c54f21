/*
 * segments.c - scales columns, and names clusters by what is special in them.
 *
 * A name tells where the cluster's centre lies among all rows, column by
 * column: below 15 % of them it is "very low", below 35 % "low", above 65 % or
 * 85 % "high" or "very high"; what lies between is not mentioned.  So a name
 * depends on no seed, no number and no order, and stays while the segment
 * stays where it is.  The most special columns come first, three of them at
 * most; two clusters of one name get their order behind it.
 */

#include "segments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


#define SEGMENT_WORDS 3 /* columns in a name */

typedef struct {
    unsigned column;
    double   place; /* share of the rows that lie below the centre */
} segment_place_t;


mining_result_e
mining_scale(mining_scaled_t *table, size_t *bad, unsigned *column)
{
    size_t   i;
    double   x, sum, square;
    unsigned j;

    for (j = 0; j < table->d; j++) {
        sum = square = 0;
        for (i = 0; i < table->n; i++) {
            x = table->values[i * table->d + j];
            if (table->scale == MINING_SCALE_LOG) {
                if (x < 0) {
                    *bad = i;
                    *column = j;
                    return MINING_INVALID;
                }
                x = log1p(x);
            }
            table->scaled[i * table->d + j] = x;
            sum += x;
        }

        table->means[j] = 0;
        table->deviations[j] = 1;
        if (table->scale == MINING_SCALE_NONE) {
            continue;
        }

        sum /= (double) table->n;
        for (i = 0; i < table->n; i++) {
            x = table->scaled[i * table->d + j] - sum;
            square += x * x;
        }
        table->means[j] = sum;
        /* rounding of the mean leaves equal rows a deviation */
        x = sqrt(square / (double) table->n);
        table->deviations[j] = x > 1e-9 * fmax(fabs(sum), 1e-300) ? x : 0;
        for (i = 0; i < table->n; i++) {
            table->scaled[i * table->d + j] =
                table->deviations[j] > 0
                    ? (table->scaled[i * table->d + j] - sum) / x
                    : 0;
        }
    }

    return MINING_OK;
}


static int
segment_by_special(const void *a, const void *b)
{
    double                 x, y;
    const segment_place_t *p = a, *q = b;

    x = fabs(p->place - 0.5);
    y = fabs(q->place - 0.5);
    if (x != y) {
        return x > y ? -1 : 1;
    }

    return p->column < q->column ? -1 : 1;
}


static const char *
segment_grade(double place)
{
    return place < 0.15   ? "very low"
           : place < 0.35 ? "low"
           : place < 0.65 ? NULL
           : place < 0.85 ? "high"
                          : "very high";
}


static double
segment_value(const mining_scaled_t *table, unsigned column, double scaled)
{
    double x;

    x = scaled * table->deviations[column] + table->means[column];

    return table->scale == MINING_SCALE_LOG ? expm1(x) : x;
}


static void
segment_name(const mining_scaled_t *table, const double *centre,
    segment_place_t *places, mining_segment_t *segment)
{
    size_t      i, below, equal;
    unsigned    j, words;
    const char *grade;

    for (j = 0; j < table->d; j++) {
        for (i = 0, below = 0, equal = 0; i < table->n; i++) {
            below += table->scaled[i * table->d + j] < centre[j];
            equal += table->scaled[i * table->d + j] == centre[j];
        }
        places[j].column = j;
        places[j].place =
            ((double) below + (double) equal / 2) / (double) table->n;
    }
    qsort(places, table->d, sizeof(*places), segment_by_special);

    segment->name[0] = '\0';
    for (j = 0, words = 0; j < table->d && words < SEGMENT_WORDS; j++) {
        grade = segment_grade(places[j].place);
        if (grade != NULL) {
            mining_text(segment->name, sizeof(segment->name), "%s%s %s",
                words > 0 ? ", " : "", grade, table->names[places[j].column]);
            words++;
        }
    }
    if (words == 0) {
        mining_text(segment->name, sizeof(segment->name), "typical");
    }
}


static void
segment_text(const mining_scaled_t *table, const mining_clusters_t *clusters,
    unsigned k, const segment_place_t *places, mining_segment_t *segment)
{
    unsigned j, column;

    segment->text[0] = '\0';
    mining_text(segment->text, sizeof(segment->text),
        "%zu rows (%.0f %%):", clusters->sizes[k],
        100 * (double) clusters->sizes[k] / (double) table->n);
    for (j = 0; j < table->d && j < 2 * SEGMENT_WORDS; j++) {
        column = places[j].column;
        mining_text(segment->text, sizeof(segment->text),
            "%s %s about %.4g, above %.0f %% of all", j > 0 ? ";" : "",
            table->names[column],
            segment_value(table, column,
                clusters->centres[(size_t) k * table->d + column]),
            100 * places[j].place);
    }
}


mining_result_e
mining_segments_describe(const mining_scaled_t *table,
    const mining_clusters_t *clusters, mining_segment_t *segments)
{
    unsigned        k, i, same;
    size_t          len;
    segment_place_t places[MINING_CLUSTER_WIDTH];

    if (table->d > MINING_CLUSTER_WIDTH || table->n == 0) {
        return MINING_INVALID;
    }

    for (k = 0; k < clusters->k; k++) {
        segment_name(table, clusters->centres + (size_t) k * table->d, places,
            &segments[k]);
        segment_text(table, clusters, k, places, &segments[k]);
    }

    for (k = clusters->k; k-- > 1;) {
        for (i = 0, same = 1; i < k; i++) {
            same += strcmp(segments[i].name, segments[k].name) == 0;
        }
        if (same > 1) {
            len = strlen(segments[k].name);
            if (len > sizeof(segments[k].name) - 8) {
                segments[k].name[sizeof(segments[k].name) - 8] = '\0';
            }
            mining_text(
                segments[k].name, sizeof(segments[k].name), " (%u)", same);
        }
    }

    return MINING_OK;
}
