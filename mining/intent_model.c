/*
 * intent_model.c - learns the network that nginx evaluates, and writes it down.
 *
 * Fields are made from the rows that are learned from: numbers get their mean
 * and spread, of ln(1 + x) where they are skewed, and an input that says when
 * they are missing; texts get their levels.  Rows are then encoded by
 * personalize/intent itself, so that what is learned is what nginx evaluates.
 */

#include "intent_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>


#define INTENT_SKEW 4.0 /* spreads from the mean to the greatest */
#define INTENT_NULL 4   /* hidden units of the document that only encodes */


/* ---- fields ------------------------------------------------------------- */


static json_t *
intent_number(
    const mining_column_values_t *column, const uint32_t *rows, size_t n)
{
    int    log, missing;
    double sum, square, least, most, x, mean, spread;
    size_t i, k, known;

    for (log = 0;; log = 1) {
        sum = square = 0;
        least = INFINITY;
        most = -INFINITY;
        known = 0;
        for (i = 0; i < n; i++) {
            x = column->values[rows[i]];
            if (isnan(x)) {
                continue;
            }
            x = log ? log1p(x) : x;
            sum += x;
            least = fmin(least, x);
            most = fmax(most, x);
            known++;
        }
        mean = known > 0 ? sum / (double) known : 0;
        for (k = 0; k < n; k++) {
            x = column->values[rows[k]];
            if (!isnan(x)) {
                x = (log ? log1p(x) : x) - mean;
                square += x * x;
            }
        }
        spread = known > 0 ? sqrt(square / (double) known) : 0;
        missing = known < n;
        if (log || !(least >= 0) || !(most - mean > INTENT_SKEW * spread)) {
            break;
        }
    }

    /* A column that never moves says nothing: any spread will do. */
    return json_pack("{s:s,s:b,s:f,s:f,s:b}", "name", column->name, "log", log,
        "mean", mean, "scale", spread > 1e-5 ? spread : 1.0, "missing",
        missing);
}


static json_t *
intent_fields(const mining_column_values_t *const *columns, unsigned ncolumns,
    const uint32_t *rows, size_t n)
{
    json_t  *fields, *field, *levels;
    unsigned i, k;

    fields = json_array();
    for (i = 0; i < ncolumns; i++) {
        if (columns[i]->nlevels == 0) {
            field = intent_number(columns[i], rows, n);
        } else {
            levels = json_array();
            for (k = 0; k < columns[i]->nlevels; k++) {
                (void) json_array_append_new(
                    levels, json_string(columns[i]->levels[k]));
            }
            field = json_pack(
                "{s:s,s:o}", "name", columns[i]->name, "levels", levels);
        }
        if (json_array_append_new(fields, field) != 0) {
            json_decref(fields);
            return NULL;
        }
    }

    return fields;
}


/* ---- documents ---------------------------------------------------------- */


static json_t *
intent_numbers(const float *numbers, size_t n, double scale)
{
    size_t  i;
    json_t *list;

    list = json_array();
    for (i = 0; i < n; i++) {
        if (json_array_append_new(list, json_real((double) numbers[i] * scale))
            != 0) {
            json_decref(list);
            return NULL;
        }
    }

    return list;
}


/* The head and the body, which may be printed with fewer digits: floats. */
static char *
intent_text(json_t *doc)
{
    char  *body, *text;
    size_t len;

    body = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(doc);
    if (body == NULL) {
        return NULL;
    }

    len = strlen(body);
    text = malloc(len + 64);
    if (text != NULL) {
        (void) snprintf(text, len + 64, "crm-intent 1 %016" PRIx64 "\n%s",
            personalize_intent_sum(body, len), body);
    }
    free(body);

    return text;
}


static json_t *
intent_body(const mining_intent_t *intent, const mining_network_t *network,
    const mining_platt_t *platt, int64_t id)
{
    return json_pack("{s:I,s:i,s:O,s:o,s:o,s:o,s:f}", "id", (json_int_t) id,
        "hidden", (int) network->hidden, "fields", intent->fields, "weights",
        intent_numbers(
            network->weights, (size_t) network->ninputs * network->hidden, 1),
        "bias", intent_numbers(network->bias, network->hidden, 1), "out",
        intent_numbers(network->out, network->hidden, platt->slope), "out_bias",
        (double) network->out_bias * platt->slope + platt->shift);
}


char *
mining_intent_document(
    const mining_intent_t *intent, const mining_platt_t *platt, int64_t id)
{
    json_t *doc;

    doc = intent_body(intent, &intent->network, platt, id);

    return doc == NULL ? NULL : intent_text(doc);
}


/* A document whose network says nothing, to encode rows with. */
static mining_result_e
intent_encoder(mining_intent_t *intent)
{
    char                *text, fault[256];
    float               *zero;
    size_t               i, inputs;
    json_t              *doc, *field;
    mining_platt_t       same = {1, 0};
    mining_network_t     none;
    personalize_result_e rc;

    inputs = 0;
    json_array_foreach(intent->fields, i, field)
    {
        inputs += json_object_get(field, "levels") != NULL
                      ? json_array_size(json_object_get(field, "levels"))
                  : json_is_true(json_object_get(field, "missing")) ? 2u
                                                                    : 1u;
    }
    if (inputs > PERSONALIZE_INTENT_INPUTS) {
        return MINING_INVALID;
    }

    zero = calloc(inputs * INTENT_NULL + INTENT_NULL, sizeof(float));
    if (zero == NULL) {
        return MINING_NOMEM;
    }
    memset(&none, 0, sizeof(none));
    none.ninputs = (unsigned) inputs;
    none.hidden = INTENT_NULL;
    none.weights = none.bias = none.out = zero;

    doc = intent_body(intent, &none, &same, 0);
    text = doc == NULL ? NULL : intent_text(doc);
    free(zero);
    if (text == NULL) {
        return MINING_NOMEM;
    }

    rc = personalize_intent_read(
        &intent->encoder, text, strlen(text), fault, sizeof(fault));
    free(text);

    return rc == PERSONALIZE_OK      ? MINING_OK
           : rc == PERSONALIZE_NOMEM ? MINING_NOMEM
                                     : MINING_INVALID;
}


/* ---- learning ----------------------------------------------------------- */


static void
intent_encode(const mining_intent_t     *intent,
    const mining_column_values_t *const *columns, size_t row,
    personalize_intent_inputs_t *inputs)
{
    double              x;
    unsigned            i;
    const char         *level;
    personalize_value_t values[PERSONALIZE_INTENT_FIELDS];

    memset(values, 0, sizeof(values));
    for (i = 0; i < personalize_intent_fields(intent->encoder); i++) {
        x = columns[i]->values[row];
        if (isnan(x)) {
            values[i].type = PERSONALIZE_ABSENT;
        } else if (columns[i]->nlevels == 0) {
            values[i].type = PERSONALIZE_NUMBER;
            values[i].number = x;
        } else {
            level = columns[i]->levels[(unsigned) x];
            values[i].type = PERSONALIZE_TEXT;
            values[i].text.data = level;
            values[i].text.len = strlen(level);
        }
    }

    personalize_intent_encode(intent->encoder, values, inputs);
}


static mining_result_e
intent_train(mining_intent_t            *intent,
    const mining_column_values_t *const *columns, const uint8_t *y,
    const uint32_t *rows, size_t n, const mining_network_options_t *options)
{
    float                      *value;
    size_t                      i, used, most;
    uint8_t                    *answers;
    uint16_t                   *input;
    uint32_t                   *start;
    mining_rows_t               sparse;
    mining_result_e             rc;
    personalize_intent_inputs_t inputs;

    most = 2 * (size_t) personalize_intent_fields(intent->encoder);
    start = malloc((n + 1) * sizeof(uint32_t));
    input = malloc((n * most + 1) * sizeof(uint16_t));
    value = malloc((n * most + 1) * sizeof(float));
    answers = malloc(n + 1);
    rc = start == NULL || input == NULL || value == NULL || answers == NULL
                 || n * most > UINT32_MAX
             ? MINING_NOMEM
             : MINING_OK;

    for (i = 0, used = 0; i < n && rc == MINING_OK; i++) {
        intent_encode(intent, columns, rows[i], &inputs);
        start[i] = (uint32_t) used;
        memcpy(input + used, inputs.input, inputs.n * sizeof(uint16_t));
        memcpy(value + used, inputs.value, inputs.n * sizeof(float));
        used += inputs.n;
        answers[i] = y[rows[i]];
    }

    if (rc == MINING_OK) {
        start[n] = (uint32_t) used;
        sparse.nrows = n;
        sparse.ninputs = personalize_intent_ninputs(intent->encoder);
        sparse.start = start;
        sparse.input = input;
        sparse.value = value;
        sparse.y = answers;
        rc = mining_network_train(&intent->network, &sparse, options);
    }

    free(start);
    free(input);
    free(value);
    free(answers);

    return rc;
}


mining_result_e
mining_intent_learn(mining_intent_t     *intent,
    const mining_column_values_t *const *columns, unsigned ncolumns,
    const uint8_t *y, const uint32_t *rows, size_t n,
    const mining_network_options_t *options)
{
    mining_result_e rc;

    memset(intent, 0, sizeof(*intent));
    if (ncolumns == 0 || ncolumns > PERSONALIZE_INTENT_FIELDS) {
        return MINING_INVALID;
    }

    intent->fields = intent_fields(columns, ncolumns, rows, n);
    rc = intent->fields == NULL ? MINING_NOMEM : intent_encoder(intent);
    if (rc == MINING_OK) {
        rc = intent_train(intent, columns, y, rows, n, options);
    }
    if (rc != MINING_OK) {
        mining_intent_free(intent);
    }

    return rc;
}


void
mining_intent_free(mining_intent_t *intent)
{
    json_decref(intent->fields);
    personalize_intent_free(intent->encoder);
    mining_network_free(&intent->network);
    memset(intent, 0, sizeof(*intent));
}


double
mining_intent_logit(const mining_intent_t *intent,
    const mining_column_values_t *const *columns, size_t row)
{
    uint32_t                    start[2];
    mining_rows_t               one;
    personalize_intent_inputs_t inputs;

    intent_encode(intent, columns, row, &inputs);
    start[0] = 0;
    start[1] = inputs.n;
    memset(&one, 0, sizeof(one));
    one.nrows = 1;
    one.ninputs = intent->network.ninputs;
    one.start = start;
    one.input = inputs.input;
    one.value = inputs.value;

    return mining_network_logit(&intent->network, &one, 0);
}
