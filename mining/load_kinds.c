/*
 * load_kinds.c - the columns of each kind of file (docs/loading.md).
 *
 * One table says what may stand in which column; the header check, the row
 * check, the staging table and its COPY all follow it.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mining.h"


/* Sizes are those of the tables (schema/migrations/000002_tables.sql). */
static const mining_kind_t kinds[] = {

    {"customers", {{"customer_id", MINING_COLUMN_ID, 1, 0},
                      {"name", MINING_COLUMN_TEXT, 0, 1000},
                      {"email", MINING_COLUMN_TEXT, 0, 320},
                      {"country", MINING_COLUMN_TEXT, 0, 64},
                      {"registered_at", MINING_COLUMN_TIME, 0, 0},
                      {NULL, MINING_COLUMN_ID, 0, 0}}},

    {"products", {{"product_id", MINING_COLUMN_ID, 1, 0},
                     {"name", MINING_COLUMN_TEXT, 0, 1000},
                     {"category", MINING_COLUMN_TEXT, 0, 1000},
                     {"price", MINING_COLUMN_PRICE, 0, 0},
                     {"currency", MINING_COLUMN_CURRENCY, 0, 0},
                     {"url", MINING_COLUMN_TEXT, 0, MINING_CSV_FIELD_MAX},
                     {NULL, MINING_COLUMN_ID, 0, 0}}},

    {"orders", {{"order_id", MINING_COLUMN_ID, 1, 0},
                   {"line", MINING_COLUMN_LINE, 1, 0},
                   {"customer_id", MINING_COLUMN_ID, 1, 0},
                   {"ordered_at", MINING_COLUMN_TIME, 1, 0},
                   {"product_id", MINING_COLUMN_ID, 1, 0},
                   {"quantity", MINING_COLUMN_QUANTITY, 1, 0},
                   {"price", MINING_COLUMN_PRICE, 1, 0},
                   {"currency", MINING_COLUMN_CURRENCY, 0, 0},
                   {"country", MINING_COLUMN_TEXT, 0, 64},
                   {"payer_id", MINING_COLUMN_ID, 0, 0},
                   {"recipient_id", MINING_COLUMN_ID, 0, 0},
                   {"gift", MINING_COLUMN_FLAG, 0, 0},
                   {NULL, MINING_COLUMN_ID, 0, 0}}},

    /* In the order mining_clicks_add takes them. */
    {"clicks", {{"session_id", MINING_COLUMN_ID, 1, 0},
                   {"clicked_at", MINING_COLUMN_TIME, 1, 0},
                   {"product_id", MINING_COLUMN_ID, 1, 0},
                   {"visitor_id", MINING_COLUMN_ID, 0, 0},
                   {"category", MINING_COLUMN_TEXT, 0, 1000},
                   {"price", MINING_COLUMN_PRICE, 0, 0},
                   {"country", MINING_COLUMN_TEXT, 0, 64},
                   {NULL, MINING_COLUMN_ID, 0, 0}}},

    {NULL, {{NULL, MINING_COLUMN_ID, 0, 0}}}};


static const struct {
    const char *type; /* of the staging table's column */
    const char *rule;
} kind_types[] = {
    {"text", "must be 1 to 64 bytes of UTF-8 without control characters"},
    {"text", "must be UTF-8 without NUL and not too long"},
    {"text", "must be three capital letters, as ISO 4217 has them"},
    {"timestamptz",
        "must be RFC 3339 or YYYY-MM-DD[ HH:MM[:SS]], from 1990 to tomorrow"},
    {"numeric", "must be a number from 0 to 1000000 with a point and at most"
                " 6 digits behind it"},
    {"int4", "must be a whole number from -1000000 to 1000000, not 0"},
    {"int4", "must be a whole number from 0 to 1000000"},
    {"text", "must be yes, no, true, false, 1 or 0"},
};


const mining_kind_t *
mining_kind_find(const char *name)
{
    const mining_kind_t *kind;

    for (kind = kinds; kind->name != NULL; kind++) {
        if (strcmp(kind->name, name) == 0) {
            return kind;
        }
    }

    return NULL;
}


static int
kind_column(const mining_kind_t *kind, tracker_str_t name)
{
    int i;

    for (i = 0; kind->columns[i].name != NULL; i++) {
        if (strlen(kind->columns[i].name) == name.len
            && memcmp(kind->columns[i].name, name.data, name.len) == 0)
        {
            return i;
        }
    }

    return -1;
}


static mining_result_e
kind_header_fault(
    const mining_kind_t *kind, const char *fault, tracker_str_t name)
{
    int    i;
    char   list[256], shown[65];
    size_t n;

    list[0] = '\0';
    for (i = 0; kind->columns[i].name != NULL; i++) {
        mining_text(list, sizeof(list), "%s%s%s", i == 0 ? "" : ", ",
            kind->columns[i].name, kind->columns[i].required ? "*" : "");
    }

    for (n = 0; n < name.len && n < sizeof(shown) - 1; n++) {
        shown[n] = (unsigned char) name.data[n] < 0x20 ? '?' : name.data[n];
    }
    shown[n] = '\0';

    mining_say("load: column \"%s\" %s; %s takes %s (* required)", shown, fault,
        kind->name, list);

    return MINING_INVALID;
}


mining_result_e
mining_kind_header(
    mining_header_t *header, const mining_kind_t *kind, const mining_csv_t *csv)
{
    int         column;
    unsigned    i;
    const char *name;

    header->kind = kind;
    header->nfields = csv->nfields;
    for (i = 0; i < MINING_KIND_COLUMNS_MAX; i++) {
        header->fields[i] = -1;
    }

    for (i = 0; i < csv->nfields; i++) {
        column = kind_column(kind, csv->fields[i]);
        if (column < 0) {
            return kind_header_fault(kind, "is unknown", csv->fields[i]);
        }
        if (header->fields[column] != -1) {
            return kind_header_fault(kind, "is there twice", csv->fields[i]);
        }
        header->fields[column] = (int) i;
    }

    for (i = 0; kind->columns[i].name != NULL; i++) {
        if (kind->columns[i].required && header->fields[i] == -1) {
            name = kind->columns[i].name;
            return kind_header_fault(
                kind, "is missing", (tracker_str_t){name, strlen(name)});
        }
    }

    return MINING_OK;
}


void
mining_kind_staging(const mining_kind_t *kind, char *sql, size_t size)
{
    unsigned i;

    sql[0] = '\0';
    mining_text(sql, size, "create temporary table load_%s (", kind->name);

    for (i = 0; kind->columns[i].name != NULL; i++) {
        mining_text(sql, size, "%s%s %s", i == 0 ? "" : ", ",
            kind->columns[i].name, kind_types[kind->columns[i].type].type);
    }

    mining_text(sql, size, ") on commit drop");
}


static int
kind_currency(tracker_str_t value)
{
    size_t i;

    for (i = 0; i < value.len; i++) {
        if (value.data[i] < 'A' || value.data[i] > 'Z') {
            return 0;
        }
    }

    return value.len == 3;
}


static int
kind_flag(tracker_str_t value)
{
    size_t i;

    static const char *const words[] = {"yes", "no", "true", "false", "1", "0"};

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (value.len == strlen(words[i])
            && strncasecmp(value.data, words[i], value.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static int
kind_value_ok(const mining_column_t *column, tracker_str_t value)
{
    int32_t number;
    int64_t us;

    switch (column->type) {
    case MINING_COLUMN_ID:
        return mining_csv_id(value) == MINING_OK;
    case MINING_COLUMN_TEXT:
        return value.len <= column->max && mining_csv_utf8(value) == MINING_OK;
    case MINING_COLUMN_CURRENCY:
        return kind_currency(value);
    case MINING_COLUMN_TIME:
        return mining_csv_time(value, &us) == MINING_OK;
    case MINING_COLUMN_PRICE:
        return mining_csv_price(value) == MINING_OK;
    case MINING_COLUMN_QUANTITY:
        return mining_csv_quantity(value, &number) == MINING_OK;
    case MINING_COLUMN_FLAG:
        return kind_flag(value);
    case MINING_COLUMN_LINE:
        return (value.len == 1 && value.data[0] == '0')
               || (value.data[0] != '-'
                   && mining_csv_quantity(value, &number) == MINING_OK);
    }

    return 0;
}


mining_result_e
mining_kind_check(const mining_header_t *header, const mining_csv_t *csv,
    tracker_str_t *values, char *reason, size_t size)
{
    unsigned               i;
    const mining_column_t *column;

    reason[0] = '\0';

    if (csv->nfields != header->nfields) {
        mining_text(reason, size,
            "row has %u fields, the header %u: quote fields with commas",
            csv->nfields, header->nfields);
        return MINING_INVALID;
    }

    for (i = 0; header->kind->columns[i].name != NULL; i++) {
        column = &header->kind->columns[i];
        values[i].data = NULL;
        values[i].len = 0;

        if (header->fields[i] != -1) {
            values[i] = csv->fields[header->fields[i]];
        }

        if (values[i].len == 0) {
            values[i].data = NULL;
            if (column->required) {
                mining_text(reason, size, "%s is empty: it %s", column->name,
                    kind_types[column->type].rule);
                return MINING_INVALID;
            }

        } else if (!kind_value_ok(column, values[i])) {
            mining_text(reason, size, "%s %s", column->name,
                kind_types[column->type].rule);
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


void
mining_kind_row(
    const mining_kind_t *kind, const tracker_str_t *values, mining_copy_t *copy)
{
    int64_t  us;
    unsigned i, n;

    for (n = 0; kind->columns[n].name != NULL; n++) {
        /* void */
    }
    mining_copy_row(copy, n);

    for (i = 0; i < n; i++) {
        if (values[i].data == NULL) {
            mining_copy_null(copy);
            continue;
        }

        switch (kind->columns[i].type) {
        case MINING_COLUMN_ID:
        case MINING_COLUMN_TEXT:
        case MINING_COLUMN_CURRENCY:
        case MINING_COLUMN_FLAG:
            mining_copy_text(copy, values[i].data, values[i].len);
            break;
        case MINING_COLUMN_TIME:
            (void) mining_csv_time(values[i], &us);
            mining_copy_time(copy, us);
            break;
        case MINING_COLUMN_PRICE:
            mining_copy_numeric(copy, values[i].data, values[i].len);
            break;
        case MINING_COLUMN_QUANTITY:
        case MINING_COLUMN_LINE: {
            int32_t number = 0;

            (void) mining_csv_quantity(values[i], &number);
            mining_copy_int4(copy, number);
            break;
        }
        }
    }
}
