/*
 * test_cluster.c - clusters against trying everything, and their names.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mining/learn/random.h"
#include "mining/learn/segments.h"


#define ROWS_MAX 2000

static double rows[ROWS_MAX * 3];


/* Around the corners of a cube, `wide` apart from them. */
static mining_points_t
draw(uint64_t seed, size_t n, unsigned corners, double wide)
{
    size_t          i;
    unsigned        j;
    mining_points_t points = {rows, n, 3};

    for (i = 0; i < n; i++) {
        for (j = 0; j < 3; j++) {
            rows[3 * i + j] = (double) ((i % corners) >> j & 1)
                              + wide
                                    * (mining_random_unit(&seed)
                                        + mining_random_unit(&seed) - 1);
        }
    }

    return points;
}


static double
within(const mining_points_t *p, const unsigned *of, unsigned k)
{
    size_t   i;
    double   sum, mean, n;
    unsigned c, j;

    for (sum = 0, c = 0; c < k; c++) {
        for (j = 0; j < p->d; j++) {
            for (i = 0, mean = 0, n = 0; i < p->n; i++) {
                mean += of[i] == c ? p->rows[i * p->d + j] : 0;
                n += of[i] == c;
            }
            for (i = 0; i < p->n; i++) {
                if (of[i] == c) {
                    sum += pow(p->rows[i * p->d + j] - mean / n, 2);
                }
            }
        }
    }

    return sum;
}


/* The least over all ways to put the rows from i on into k clusters. */
static double
best_of_all(const mining_points_t *p, unsigned *of, size_t i, unsigned k)
{
    double   least;
    unsigned c;

    if (i == p->n) {
        return within(p, of, k);
    }
    for (least = INFINITY, c = 0; c < k; c++) {
        of[i] = c;
        least = fmin(least, best_of_all(p, of, i + 1, k));
    }

    return least;
}


static void
test_means_are_the_best_of_all(void **unused)
{
    size_t            i;
    uint64_t          seed;
    unsigned          of[ROWS_MAX];
    mining_points_t   points;
    mining_clusters_t found;

    (void) unused;

    for (seed = 1; seed < 5; seed++) {
        points = draw(seed, 8, 8, 0.9);
        assert_int_equal(
            mining_cluster_means(&points, 3, 20, seed, &found), MINING_OK);
        assert_true(
            fabs(found.objective - best_of_all(&points, of, 0, 3)) < 1e-12);
        for (i = 0; i < points.n; i++) {
            of[i] = found.members[i];
        }
        assert_true(fabs(found.objective - within(&points, of, 3)) < 1e-12);
        mining_clusters_free(&found);
    }
}


static void
test_blobs_are_found_from_any_seed(void **unused)
{
    size_t            i;
    double            apart, best;
    uint64_t          seed;
    unsigned          k, which;
    mining_points_t   points;
    mining_clusters_t found, other;

    (void) unused;

    points = draw(3, 1200, 8, 0.2);
    assert_int_equal(
        mining_cluster_means(&points, 8, 10, 1, &other), MINING_OK);
    for (seed = 2; seed < 5; seed++) {
        assert_int_equal(
            mining_cluster_means(&points, 8, 10, seed, &found), MINING_OK);
        for (i = 0; i < points.n; i++) {
            assert_int_equal(found.members[i], other.members[i]);
            assert_int_equal(found.members[i], found.members[i % 8]);
        }
        assert_int_equal(found.sizes[0], 150);
        mining_clusters_free(&found);
    }
    mining_clusters_free(&other);

    for (k = 2, best = -1, which = 0; k < 11; k++) {
        assert_int_equal(
            mining_cluster_means(&points, k, 10, 1, &found), MINING_OK);
        assert_int_equal(
            mining_cluster_silhouette(&points, &found, 300, 1, &apart),
            MINING_OK);
        assert_true(apart > -1 && apart < 1);
        if (apart > best) {
            best = apart;
            which = k;
        }
        mining_clusters_free(&found);
    }
    assert_int_equal(which, 8);
}


/* By hand: of clusters that are known. */
static void
test_silhouette_and_ratio(void **unused)
{
    double            apart;
    double            four[] = {0, 1, 10, 12};
    mining_points_t   points = {four, 4, 1};
    mining_clusters_t found;

    (void) unused;

    assert_int_equal(mining_cluster_means(&points, 2, 5, 1, &found), MINING_OK);
    assert_true(fabs(found.objective - 2.5) < 1e-12);
    assert_int_equal(
        mining_cluster_silhouette(&points, &found, 10, 1, &apart), MINING_OK);
    assert_true(fabs(apart - (10. / 11 + 9. / 10 + 7.5 / 9.5 + 9.5 / 11.5) / 4)
                < 1e-12);
    /* between: 4 * 5.25^2 = 110.25 */
    assert_true(fabs(mining_cluster_ratio(&points, &found) - 110.25 / (2.5 / 2))
                < 1e-9);
    mining_clusters_free(&found);
}


static void
fuzzy_by_hand(
    const mining_points_t *p, const mining_clusters_t *found, double m)
{
    size_t   i;
    double   u[8], sum, total, apart, centre[8][3] = {{0}}, weight[8] = {0};
    unsigned j, k;

    for (i = 0, total = 0; i < p->n; i++) {
        mining_cluster_membership(found, 3, m, p->rows + 3 * i, u);
        for (k = 0, sum = 0; k < found->k; k++) {
            apart = 0;
            for (j = 0; j < 3; j++) {
                apart += pow(p->rows[3 * i + j] - found->centres[3 * k + j], 2);
                centre[k][j] += pow(u[k], m) * p->rows[3 * i + j];
            }
            weight[k] += pow(u[k], m);
            total += pow(u[k], m) * apart;
            sum += u[k];
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
    assert_true(fabs(total - found->objective) < 1e-9 * total);
    for (k = 0; k < found->k; k++) {
        for (j = 0; j < 3; j++) {
            assert_true(
                fabs(centre[k][j] / weight[k] - found->centres[3 * k + j])
                < 1e-4);
        }
    }
}


static void
test_fuzzy_rests_where_it_should(void **unused)
{
    size_t            i;
    double            u[4], m[] = {1.2, 1.5, 2, 3};
    mining_points_t   points;
    mining_clusters_t found;

    (void) unused;

    points = draw(7, 400, 4, 0.5);
    for (i = 0; i < 4; i++) {
        assert_int_equal(
            mining_cluster_fuzzy(&points, 4, m[i], 4, 9, &found), MINING_OK);
        fuzzy_by_hand(&points, &found, m[i]);
        mining_cluster_membership(&found, 3, m[i], found.centres + 3, u);
        assert_true(u[1] == 1 && u[0] == 0);
        mining_clusters_free(&found);
    }
}


static void
test_what_cannot_be_clustered(void **unused)
{
    size_t            i;
    double           *many;
    mining_points_t   points;
    mining_clusters_t found;

    (void) unused;

    points.n = 1000000;
    points.d = 1;
    many = malloc(points.n * sizeof(*many));
    assert_non_null(many);
    for (i = 0; i < points.n; i++) {
        many[i] = 0.1;
    }
    points.rows = many;
    assert_int_equal(
        mining_cluster_means(&points, 2, 3, 1, &found), MINING_DECLINED);
    mining_clusters_free(&found);
    assert_int_equal(
        mining_cluster_fuzzy(&points, 2, 2, 3, 1, &found), MINING_DECLINED);
    mining_clusters_free(&found);
    assert_int_equal(mining_cluster_means(&points, 1, 1, 1, &found), MINING_OK);
    assert_true(found.sizes[0] == points.n && found.objective < 1e-9);
    mining_clusters_free(&found);

    many[5] = 1e15; /* a row alone */
    assert_int_equal(mining_cluster_means(&points, 2, 1, 1, &found), MINING_OK);
    assert_true(found.sizes[1] == 1 && found.members[5] == 1);
    mining_clusters_free(&found);
    free(many);

    points = draw(1, 10, 4, 1);
    assert_int_equal(
        mining_cluster_means(&points, 11, 3, 1, &found), MINING_DECLINED);
    mining_clusters_free(&found);
    assert_int_equal(
        mining_cluster_means(&points, 10, 3, 1, &found), MINING_OK);
    assert_true(found.objective == 0);
    mining_clusters_free(&found);
    assert_int_equal(
        mining_cluster_means(&points, 0, 3, 1, &found), MINING_INVALID);
    assert_int_equal(
        mining_cluster_fuzzy(&points, 2, 1, 3, 1, &found), MINING_INVALID);
    assert_int_equal(
        mining_cluster_fuzzy(&points, 2, NAN, 3, 1, &found), MINING_INVALID);
}


static void
test_names_say_where_a_segment_lies(void **unused)
{
    size_t            i, bad;
    double            scaled[3 * ROWS_MAX];
    unsigned          k, column, seed;
    mining_points_t   points;
    mining_scaled_t   table;
    mining_segment_t  first[4], again[4];
    mining_clusters_t found;

    static const char *const names[] = {"visits", "spend", "age"};

    (void) unused;

    points = draw(11, 1000, 4, 0.1); /* visits and spend low or high */
    for (i = 0; i < points.n; i++) {
        rows[3 * i + 2] = 7; /* all of one age */
    }
    memset(&table, 0, sizeof(table));
    table.values = rows;
    table.scaled = scaled;
    table.n = points.n;
    table.d = 3;
    table.names = names;
    points.rows = scaled;
    assert_int_equal(mining_scale(&table, &bad, &column), MINING_OK);
    assert_true(scaled[2] == 0 && table.deviations[2] == 0);

    for (seed = 1; seed < 4; seed++) {
        assert_int_equal(
            mining_cluster_means(&points, 4, 5, seed, &found), MINING_OK);
        assert_int_equal(
            mining_segments_describe(&table, &found, seed == 1 ? first : again),
            MINING_OK);
        for (k = 0; k < 4 && seed > 1; k++) {
            assert_string_equal(first[k].name, again[k].name);
        }
        mining_clusters_free(&found);
    }
    for (k = 0; k < 4; k++) {
        assert_non_null(
            strstr(first[k].name, k < 2 ? "low visits" : "high visits"));
        assert_null(strstr(first[k].name, "age"));
        assert_non_null(strstr(first[k].text, "250 rows (25 %)"));
    }
    assert_true(strcmp(first[0].name, first[1].name) != 0);

    rows[3 * 17 + 1] = -1;
    table.scale = MINING_SCALE_LOG;
    assert_int_equal(mining_scale(&table, &bad, &column), MINING_INVALID);
}


int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means_are_the_best_of_all),
        cmocka_unit_test(test_blobs_are_found_from_any_seed),
        cmocka_unit_test(test_silhouette_and_ratio),
        cmocka_unit_test(test_fuzzy_rests_where_it_should),
        cmocka_unit_test(test_what_cannot_be_clustered),
        cmocka_unit_test(test_names_say_where_a_segment_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
