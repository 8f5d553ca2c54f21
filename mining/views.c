/*
 * views.c - files of clicks: comma, semicolon or tab, with a header or not.
 *
 * Columns are found by the names that public click files use; a first line
 * without such names is a row of session, item, time.  A time is a number of
 * any unit or a date; a column position or order, or no third column at all,
 * stands for it where there is no clock: sessions then follow in the order of
 * the file.  A row that cannot be is refused with its line and ends the
 * reading: a model of half a file would look like a model.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"


#define VIEWS_SIZE      4096 /* rows, at first */
#define VIEWS_MAX       (1u << 30)
#define VIEWS_TIME_MAX  9e15      /* of a number; times 1000 it fits */
#define VIEWS_NAME_MAX  256       /* bytes */
#define VIEWS_ORDER_MAX (1 << 20) /* clicks of a session without a clock */

typedef struct {
    mining_views_t               *views;
    mining_names_t               *items;
    const mining_views_columns_t *columns;
    mining_names_t                sessions; /* of this file */
    mining_csv_t                 *csv;
    int                           session; /* columns */
    int                           item;
    int                           time;         /* -1: none */
    int                           order;        /* -1: none */
    int                           day[3];       /* year, month, day; -1: none */
    int                           columns_used; /* the last one */
} views_t;

static const char *const views_session[] = {"session", "session_id",
    "sessionid", "visit", "visit_id", "user_session", NULL};
static const char *const views_item[] = {"item", "item_id", "itemid", "sku",
    "product", "product_id", "productid", "aid", "article", "article_id", NULL};
static const char *const views_time[] = {"time", "timestamp", "ts", "date",
    "datetime", "eventdate", "event_time", "eventtime", "created_at", NULL};
static const char *const views_day[3][2] = {
    {"year", NULL}, {"month", NULL}, {"day", NULL}};
static const char *const views_order[] = {
    "position", "order", "timeframe", "index", NULL};


/* The column of the wanted name, or of one of these; -1: none. */
static int
views_column(
    const mining_csv_t *csv, const char *wanted, const char *const *names)
{
    unsigned      i, k;
    tracker_str_t field;

    for (k = 0; wanted != NULL ? k == 0 : names[k] != NULL; k++) {
        for (i = 0; i < csv->nfields; i++) {
            field = csv->fields[i];
            if (field.len == strlen(wanted != NULL ? wanted : names[k])
                && strncasecmp(field.data, wanted != NULL ? wanted : names[k],
                       field.len)
                       == 0)
            {
                return (int) i;
            }
        }
    }

    return -1;
}


static mining_result_e
views_fault(views_t *reading, mining_result_e rc, const char *fault)
{
    reading->views->line = reading->csv->line;
    reading->views->fault[0] = '\0';
    mining_text(
        reading->views->fault, sizeof(reading->views->fault), "%s", fault);

    return rc;
}


static int
views_last(int a, int b)
{
    return a > b ? a : b;
}


/* Finds the columns; *is_row: the first line is a row already. */
static mining_result_e
views_header(views_t *reading, int *is_row)
{
    unsigned                      i;
    const mining_csv_t           *csv;
    const mining_views_columns_t *columns;

    csv = reading->csv;
    columns = reading->columns;
    reading->session = views_column(csv, columns->session, views_session);
    reading->item = views_column(csv, columns->item, views_item);
    reading->time = views_column(csv, columns->time, views_time);
    reading->order = views_column(csv, NULL, views_order);
    *is_row = 0;

    for (i = 0; i < 3; i++) {
        reading->day[i] = views_column(csv, NULL, views_day[i]);
    }
    if (reading->day[1] < 0 || reading->day[2] < 0) {
        reading->day[0] = -1;
    }

    if (reading->session < 0 && reading->item < 0 && reading->time < 0
        && columns->session == NULL && columns->item == NULL
        && columns->time == NULL && (csv->nfields == 2 || csv->nfields == 3))
    {
        reading->session = 0;
        reading->item = 1;
        reading->time = csv->nfields == 3 ? 2 : -1;
        *is_row = 1;
    }

    if (reading->session < 0 || reading->item < 0
        || (columns->time != NULL && reading->time < 0))
    {
        return views_fault(reading, MINING_INVALID,
            reading->session < 0
                ? "no column of the session: name the columns session, item "
                  "and time, or say --session COLUMN"
                : (reading->item < 0
                        ? "no column of the item: name the columns session, "
                          "item and time, or say --item COLUMN"
                        : "no column of the time that --time names"));
    }

    reading->columns_used =
        views_last(views_last(reading->session, reading->item),
            views_last(reading->time, reading->order));
    if (reading->day[0] >= 0) {
        for (i = 0; i < 3; i++) {
            reading->columns_used =
                views_last(reading->columns_used, reading->day[i]);
        }
    }

    return MINING_OK;
}


/* A number of any unit, or a date in us; in thousandths either way. */
static mining_result_e
views_time_of(tracker_str_t field, int64_t *time)
{
    char   text[64], *end;
    double number;

    if (field.len == 0 || field.len >= sizeof(text)) {
        return MINING_INVALID;
    }
    memcpy(text, field.data, field.len);
    text[field.len] = '\0';

    number = strtod(text, &end);
    if (*end == '\0' && end != text) {
        if (!(fabs(number) <= VIEWS_TIME_MAX)) {
            return MINING_INVALID;
        }
        *time = (int64_t) (number * 1000);
        return MINING_OK;
    }

    return mining_time(field, time);
}


/* Of the columns year, month and day. */
static mining_result_e
views_day_of(const views_t *reading, int64_t *time)
{
    char          text[32];
    unsigned      i;
    tracker_str_t day;

    text[0] = '\0';
    for (i = 0; i < 3; i++) {
        day = reading->csv->fields[reading->day[i]];
        if (day.len > 4) {
            return MINING_INVALID;
        }
        mining_text(text, sizeof(text), "%s%s%.*s", i > 0 ? "-" : "",
            day.len == 1 ? "0" : "", (int) day.len, day.data);
    }

    day.data = text;
    day.len = strlen(text);

    return mining_time(day, time);
}


/* A clock counts thousandths or us: an order within a day adds to it. */
static mining_result_e
views_when(const views_t *reading, uint32_t session, int64_t *time)
{
    int64_t order;

    order = 0;
    if (reading->order >= 0) {
        if (views_time_of(reading->csv->fields[reading->order], &order)
                != MINING_OK
            || order < 0)
        {
            return MINING_INVALID;
        }
        order /= 1000;
    }

    if (reading->time >= 0) {
        if (views_time_of(reading->csv->fields[reading->time], time)
            != MINING_OK) {
            return MINING_INVALID;
        }

    } else if (reading->day[0] >= 0) {
        if (views_day_of(reading, time) != MINING_OK) {
            return MINING_INVALID;
        }

    } else {
        *time = (int64_t) session * VIEWS_ORDER_MAX;
    }

    if (order >= VIEWS_ORDER_MAX && reading->time < 0) {
        return MINING_INVALID;
    }
    *time += order;

    return MINING_OK;
}


static mining_result_e
views_grow(views_t *reading)
{
    size_t          size;
    void           *grown;
    mining_views_t *views;

    views = reading->views;
    if (views->n < views->size) {
        return MINING_OK;
    }

    size = views->size == 0 ? VIEWS_SIZE : 2 * (size_t) views->size;
    if (size > VIEWS_MAX) {
        return MINING_FULL;
    }
    grown = realloc(views->views, size * sizeof(*views->views));
    if (grown == NULL) {
        return MINING_NOMEM;
    }
    views->views = grown;
    views->size = (uint32_t) size;

    return MINING_OK;
}


static mining_result_e
views_row(views_t *reading)
{
    tracker_str_t   session, item;
    mining_view_t  *view;
    mining_csv_t   *csv;
    mining_result_e rc;

    csv = reading->csv;
    if (csv->nfields <= (unsigned) reading->columns_used) {
        return views_fault(
            reading, MINING_INVALID, "the row has too few fields");
    }

    session = csv->fields[reading->session];
    item = csv->fields[reading->item];
    if (session.len == 0 || session.len > VIEWS_NAME_MAX || item.len == 0
        || item.len > VIEWS_NAME_MAX)
    {
        return views_fault(reading, MINING_INVALID,
            "session and item have 1 to 256 bytes each");
    }

    rc = views_grow(reading);
    if (rc != MINING_OK) {
        return rc;
    }

    view = &reading->views->views[reading->views->n];
    rc = mining_names_number(&reading->sessions, session, &view->session);
    if (rc == MINING_OK) {
        rc = mining_names_number(reading->items, item, &view->item);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    view->session += reading->views->nsessions;
    if (views_when(reading, view->session, &view->time) != MINING_OK) {
        return views_fault(reading, MINING_INVALID,
            "the time is no number and no date like 2026-11-24 18:00:00, or "
            "the order is no number below a million");
    }
    reading->views->n++;

    return MINING_OK;
}


static mining_result_e
views_rows(views_t *reading)
{
    int             is_row;
    mining_csv_t   *csv;
    mining_result_e rc;

    csv = reading->csv;
    is_row = 0;

    rc = mining_csv_next(csv);
    if (rc == MINING_OK) {
        rc = views_header(reading, &is_row);
    }
    if (rc == MINING_OK && is_row) {
        rc = views_row(reading);
    }
    while (rc == MINING_OK) {
        rc = mining_csv_next(csv);
        if (rc == MINING_OK) {
            rc = views_row(reading);
        }
    }

    if (rc == MINING_INVALID && csv->reason != NULL) {
        return views_fault(reading, rc, csv->reason);
    }
    if (rc == MINING_LOST) {
        return views_fault(reading, rc, "it is cut short or cannot be read");
    }
    if (rc == MINING_FULL) {
        return views_fault(
            reading, rc, "more clicks or names than a model holds");
    }

    return rc;
}


mining_result_e
mining_views_read(mining_views_t *views, mining_names_t *items,
    const mining_views_columns_t *columns, mining_csv_read_pt read, void *ctx)
{
    views_t         reading;
    uint32_t        before;
    mining_result_e rc;

    memset(&reading, 0, sizeof(reading));
    reading.views = views;
    reading.items = items;
    reading.columns = columns;
    reading.csv = malloc(sizeof(*reading.csv));
    if (reading.csv == NULL) {
        return MINING_NOMEM;
    }

    before = views->n;
    mining_csv_start(reading.csv, read, ctx);
    reading.csv->separator = MINING_CSV_DETECT;
    rc = views_rows(&reading);
    if (rc == MINING_DECLINED) {
        rc = views->n > before
                 ? MINING_OK
                 : views_fault(&reading, MINING_INVALID, "it has no click");
    }

    views->nsessions += reading.sessions.n;
    mining_names_free(&reading.sessions);
    free(reading.csv);

    return rc;
}


void
mining_views_free(mining_views_t *views)
{
    free(views->views);
    memset(views, 0, sizeof(*views));
}
