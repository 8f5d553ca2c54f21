/*
 * evaluate_clv_history.c - customer value from a file of purchases.
 *
 * evaluate clv --transactions FILE: a day's purchases of a customer are one.
 * Up to the cut (default: two thirds of the time) the models learn; what comes
 * after is compared with their forecast, and with two plain ones: everybody at
 * its own pace, and everybody at the mean.  Value is revenue times margin: a
 * given one, or contribution / revenue where the file has columns of cost.
 *
 * --referrals FILE (customer, referred_by) shows apart what those are worth
 * whom a customer brought: their value is in the total once, as their own.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "learn/measure.h"
#include "purchases.h"


#define HISTORY_PERIODS  12
#define HISTORY_MONTH    4.345 /* weeks */
#define HISTORY_DISCOUNT 0.01  /* a month */

typedef struct {
    const mining_clv_words_t *words;
    mining_purchases_t        bought;
    int64_t                   first; /* days since 1970 */
    int64_t                   cut;
    int64_t                   end;
    mining_buyer_t           *buyers; /* known at the cut */
    const char              **names;
    double                   *later; /* days with a purchase after the cut */
    double                   *worth;
    double                   *brought; /* worth of who was referred */
    size_t                    n;
    double                    margin;
    mining_bgnbd_t            buys;
    mining_spend_t            spends;
} history_t;


static mining_result_e
history_day(const char *text, int64_t otherwise, int64_t *day)
{
    int64_t       us;
    tracker_str_t word;

    *day = otherwise;
    if (text == NULL) {
        return MINING_OK;
    }

    word.data = text;
    word.len = strlen(text);
    if (mining_purchase_time(word, &us) != MINING_OK) {
        mining_say("evaluate: \"%s\" is no date", text);
        return MINING_INVALID;
    }
    *day = mining_purchase_day(us);

    return MINING_OK;
}


static mining_result_e
history_times(history_t *history)
{
    size_t          i;
    int64_t         day, last;
    mining_result_e rc;

    history->first = last = mining_purchase_day(history->bought.rows[0].us);
    for (i = 0; i < history->bought.nrows; i++) {
        day = mining_purchase_day(history->bought.rows[i].us);
        history->first = day < history->first ? day : history->first;
        last = day > last ? day : last;
    }

    rc = history_day(history->words->end, last, &history->end);
    if (rc == MINING_OK) {
        rc = history_day(history->words->cut,
            history->first + (history->end - history->first) * 2 / 3,
            &history->cut);
    }
    if (rc == MINING_OK
        && (history->cut < history->first || history->cut > history->end))
    {
        mining_say("evaluate: the cut lies outside of the file's time");
        rc = MINING_INVALID;
    }

    return rc;
}


/* One customer's purchases rows[from..to), which are in order of time. */
static void
history_buyer(history_t *history, size_t from, size_t to)
{
    int64_t         first, day, before, last;
    double          spend, later;
    size_t          i;
    uint32_t        days;
    mining_buyer_t *buyer;

    first = mining_purchase_day(history->bought.rows[from].us);
    if (first > history->cut) {
        return;
    }

    spend = later = 0;
    days = 0;
    last = before = first;
    for (i = from; i < to; i++) {
        day = mining_purchase_day(history->bought.rows[i].us);
        if (day > history->end) {
            break;
        }
        if (day > history->cut) {
            later += day != before;
        } else {
            days += day != before;
            last = day;
            spend += day > first ? history->bought.rows[i].amount : 0;
        }
        before = day;
    }

    history->names[history->n] =
        history->bought.ids + history->bought.rows[from].id;
    history->later[history->n] = later;
    buyer = &history->buyers[history->n++];
    buyer->x = days;
    buyer->t_x = (double) (last - first) / 7;
    buyer->T = (double) (history->cut - first) / 7;
    buyer->spend = days > 0 ? spend / days : 0;
}


static mining_result_e
history_buyers(history_t *history)
{
    size_t i, from, n;

    n = history->bought.ncustomers;
    history->buyers = calloc(n, sizeof(*history->buyers));
    history->names = calloc(n, sizeof(*history->names));
    history->later = calloc(n, sizeof(double));
    history->worth = calloc(n, sizeof(double));
    history->brought = calloc(n, sizeof(double));
    if (history->buyers == NULL || history->names == NULL
        || history->later == NULL || history->worth == NULL
        || history->brought == NULL)
    {
        return MINING_NOMEM;
    }

    for (i = 0, from = 0; i < history->bought.nrows; i++) {
        if (i + 1 == history->bought.nrows
            || history->bought.rows[i + 1].id != history->bought.rows[i].id)
        {
            history_buyer(history, from, i + 1);
            from = i + 1;
        }
    }

    return MINING_OK;
}


static void
history_money(history_t *history)
{
    double                    contribution;
    unsigned                  i;
    const mining_purchases_t *bought;

    static const char *const names[] = {
        "goods", "discount", "contact", "service"};

    bought = &history->bought;
    contribution = bought->revenue;
    (void) printf("rows %llu\nrows_kept %zu\nrows_without_customer %llu\n"
                  "rows_not_sold %llu\nrevenue %.2f\n",
        (unsigned long long) bought->lines, bought->nrows,
        (unsigned long long) bought->nobodys,
        (unsigned long long) bought->nothings, bought->revenue);

    if (bought->has_costs) {
        for (i = 0; i < MINING_COSTS; i++) {
            (void) printf("cost_%s %.2f\n", names[i], bought->costs[i]);
            contribution -= bought->costs[i];
        }
        (void) printf("contribution %.2f\n", contribution);
        if (bought->revenue > 0) {
            history->margin = contribution / bought->revenue;
        }
    }
}


static void
history_forecast(history_t *history)
{
    double           weeks, said, sum, actual, error, square, pace, mean, plain;
    double          *chance;
    size_t           i;
    uint8_t         *again;
    mining_measure_t measure;

    weeks = (double) (history->end - history->cut) / 7;
    (void) printf("holdout_weeks %.4f\n", weeks);
    if (!(weeks > 0)) {
        return;
    }

    sum = actual = error = square = pace = mean = plain = 0;
    chance = calloc(history->n, sizeof(double));
    again = calloc(history->n, 1);

    for (i = 0; i < history->n; i++) {
        actual += history->later[i];
        mean += history->buyers[i].T > 0
                    ? history->buyers[i].x / history->buyers[i].T * weeks
                    : 0;
    }
    mean /= (double) history->n;

    for (i = 0; i < history->n; i++) {
        said =
            mining_bgnbd_expected(&history->buys, &history->buyers[i], weeks);
        sum += said;
        error += fabs(said - history->later[i]);
        square += pow(said - history->later[i], 2);
        plain += fabs(mean - history->later[i]);
        pace +=
            fabs((history->buyers[i].T > 0
                         ? history->buyers[i].x / history->buyers[i].T * weeks
                         : 0)
                 - history->later[i]);
        if (chance != NULL && again != NULL) {
            chance[i] = said / (1 + said); /* its order is all that counts */
            again[i] = history->later[i] > 0;
        }
    }

    (void) printf("holdout_expected %.4f\nholdout_actual %.0f\n"
                  "holdout_mae %.6f\nholdout_rmse %.6f\n"
                  "holdout_mae_own_pace %.6f\nholdout_mae_mean %.6f\n",
        sum, actual, error / (double) history->n,
        sqrt(square / (double) history->n), pace / (double) history->n,
        plain / (double) history->n);
    if (chance != NULL && again != NULL
        && mining_measure(&measure, chance, again, history->n) == MINING_OK)
    {
        (void) printf("holdout_auc_buys_again %.6f\n", measure.auc);
    }

    free(chance);
    free(again);
}


/* ---- referrals ---------------------------------------------------------- */


/* Names are in strcmp order, as the file of purchases was sorted. */
static size_t
history_find(const history_t *history, tracker_str_t name)
{
    int    order;
    size_t low, high, middle;

    low = 0;
    high = history->n;
    while (low < high) {
        middle = low + (high - low) / 2;
        order = strncmp(history->names[middle], name.data, name.len);
        if (order == 0 && history->names[middle][name.len] == '\0') {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return SIZE_MAX;
}


static mining_result_e
history_referral(history_t *history, const mining_csv_t *csv, double *sum)
{
    size_t whom, by;

    if (csv->nfields != 2) {
        mining_say("%s:%d: two columns are wanted: customer, referred_by",
            history->words->referrals, (int) csv->line);
        return MINING_INVALID;
    }

    whom = history_find(history, csv->fields[0]);
    by = history_find(history, csv->fields[1]);
    if (whom != SIZE_MAX && by != SIZE_MAX && whom != by) {
        history->brought[by] += history->worth[whom];
        *sum += history->worth[whom];
    }

    return MINING_OK;
}


static mining_result_e
history_referrals(history_t *history)
{
    double          sum;
    mining_csv_t   *csv;
    mining_file_t   file;
    mining_result_e rc;

    if (history->words->referrals == NULL) {
        return MINING_OK;
    }

    csv = malloc(sizeof(*csv));
    if (csv == NULL) {
        return MINING_NOMEM;
    }

    sum = 0;
    rc = mining_file_open(&file, history->words->referrals);
    if (rc == MINING_OK) {
        mining_csv_start(csv, mining_file_read, &file);
        rc = mining_csv_next(csv); /* the header */
        while (rc == MINING_OK && (rc = mining_csv_next(csv)) == MINING_OK) {
            rc = history_referral(history, csv, &sum);
        }
        if (rc == MINING_DECLINED) {
            (void) printf("clv_referred %.4f\n", sum);
            rc = MINING_OK;
        } else if (rc == MINING_LOST) {
            mining_say("%s: is cut short or cannot be read",
                history->words->referrals);
        }
        mining_file_close(&file);
    }
    free(csv);

    return rc;
}


static mining_result_e
history_out(const history_t *history)
{
    int                   failed;
    FILE                 *out;
    size_t                i;
    const mining_buyer_t *buyer;

    if (history->words->out == NULL) {
        return MINING_OK;
    }

    out = fopen(history->words->out, "we");
    if (out == NULL) {
        mining_say("evaluate: %s: cannot be written", history->words->out);
        return MINING_INVALID;
    }

    (void) fprintf(out, "customer,x,t_x,T,alive,expected,spend,clv,referred\n");
    for (i = 0; i < history->n; i++) {
        buyer = &history->buyers[i];
        (void) fprintf(out, "\"%s\",%u,%.6f,%.6f,%.6f,%.6f,%.2f,%.4f,%.4f\n",
            history->names[i], buyer->x, buyer->t_x, buyer->T,
            mining_bgnbd_alive(&history->buys, buyer),
            mining_bgnbd_expected(&history->buys, buyer,
                (double) (history->end - history->cut) / 7),
            mining_spend_expected(&history->spends, buyer), history->worth[i],
            history->brought[i]);
    }

    failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    if (failed) {
        mining_say("evaluate: %s: could not be written", history->words->out);
    }

    return failed ? MINING_INVALID : MINING_OK;
}


static mining_result_e
history_measure(history_t *history)
{
    int             money;
    double          total;
    size_t          i;
    mining_bgnbd_t  buys;
    mining_spend_t  spends;
    mining_result_e rc;

    memset(&buys, 0, sizeof(buys));
    memset(&spends, 0, sizeof(spends));
    history_money(history);
    (void) printf("calibration_days %lld\n",
        (long long) (history->cut - history->first + 1));

    rc = mining_clv_fit_say(history->words->transactions, history->buyers,
        history->n, &buys, &spends, &money);
    if (rc != MINING_OK) {
        return rc;
    }
    history->buys = buys;
    history->spends = spends;
    history_forecast(history);

    total = 0;
    for (i = 0; money && i < history->n; i++) {
        history->worth[i] =
            history->margin
            * mining_clv(&history->buys, &history->spends, &history->buyers[i],
                HISTORY_PERIODS, HISTORY_MONTH, HISTORY_DISCOUNT);
        total += history->worth[i];
    }
    (void) printf("margin %.6f\n", history->margin);
    if (money) {
        (void) printf("clv_12m_1pct %.4f\n", total);
        rc = history_referrals(history);
    }
    if (rc == MINING_OK && money) {
        rc = history_out(history);
    }

    mining_evaluate_memory();

    return rc;
}


mining_result_e
mining_clv_history(const mining_clv_words_t *words)
{
    char           *end;
    history_t       history;
    mining_result_e rc;

    memset(&history, 0, sizeof(history));
    history.words = words;
    history.margin = 1;
    end = NULL;

    if (words->margin != NULL) {
        history.margin = strtod(words->margin, &end);
        if (*end != '\0' || !(history.margin > 0 && history.margin <= 1)) {
            mining_say("evaluate: --margin is above 0, at most 1");
            return MINING_INVALID;
        }
    }

    rc = mining_purchases_read(
        &history.bought, words->transactions, words->columns);
    if (rc == MINING_OK) {
        rc = history_times(&history);
        if (rc == MINING_OK) {
            rc = history_buyers(&history);
        }
        if (rc == MINING_OK) {
            rc = history_measure(&history);
        }
        if (rc == MINING_NOMEM) {
            mining_say("evaluate: %s", mining_result_text(rc));
        }
        mining_purchases_free(&history.bought);
    }

    free(history.buyers);
    free(history.names);
    free(history.later);
    free(history.worth);
    free(history.brought);

    return rc;
}
