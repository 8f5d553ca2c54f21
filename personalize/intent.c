/*
 * intent.c - the likelihood that a session buys, from weights mined off-line.
 *
 * The network has one layer of softsign units, u / (1 + |u|): smooth as tanh,
 * but four of them cost one division.  Several networks whose logits are
 * averaged are one wide network, so an ensemble needs no further format.
 *
 *     score = 1 / (1 + exp(-(out_bias
 *                 + sum_h out[h] * softsign(bias[h] + w[.][h] x))))
 *
 * Most inputs of a session are 0 (one level of each text field is 1), so
 * weights lie per input and only those of inputs that are not 0 are added.
 *
 * A document is trusted only if its checksum fits and each number is finite
 * and below WEIGHT_MAX: nothing that is read can then give NaN.
 */

#include "intent.h"
#include "set.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>


#define WEIGHT_MAX 1e6
#define INPUT_MAX  1e6f /* of an encoded number: the rest says no more */
#define HEAD_LEN   29   /* "crm-intent 1 " + 16 digits, without line feed */
#define SUM_AT     13
#define NONE       UINT16_MAX
#define LANES      4

typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));


typedef struct {
    personalize_str_t  name;
    float              mean;
    float              inverse; /* 1 / scale */
    uint16_t           input;   /* its first */
    uint16_t           missing; /* input that is 1 without a value, or NONE */
    uint16_t           nlevels; /* 0: a number */
    uint8_t            log;     /* ln(1 + x), numbers below 0 count as 0 */
    personalize_str_t *levels;
} field_t;

typedef struct {
    personalize_str_t name;
    float            *centre; /* per input */
    float             square; /* of its length */
} group_t;

struct personalize_intent_s {
    json_t  *doc; /* owns the texts */
    uint64_t id;
    unsigned nfields;
    unsigned ninputs;
    unsigned nlanes; /* of LANES hidden units */
    unsigned ngroups;
    float    out_bias;
    field_t  fields[PERSONALIZE_INTENT_FIELDS];
    group_t  groups[PERSONALIZE_INTENT_GROUPS];
    float   *centres;
    lanes_t *weights; /* [input][lane] */
    lanes_t  bias[PERSONALIZE_INTENT_HIDDEN / LANES];
    lanes_t  out[PERSONALIZE_INTENT_HIDDEN / LANES];

    personalize_str_t levels[PERSONALIZE_INTENT_INPUTS];
};


uint64_t
personalize_intent_sum(const char *body, size_t len)
{
    size_t   i;
    uint64_t sum;

    sum = 0xcbf29ce484222325U;

    for (i = 0; i < len; i++) {
        sum = (sum ^ (unsigned char) body[i]) * 0x100000001b3U;
    }

    return sum;
}


/* ---- reading ---- */

static personalize_result_e fault_set(char *fault, size_t size,
    const char *format, ...) __attribute__((format(printf, 3, 4)));


static personalize_result_e
fault_set(char *fault, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void) vsnprintf(fault, size, format, args);
    va_end(args);

    return PERSONALIZE_INVALID;
}


static int
number_get(const json_t *json, float *number)
{
    double n;

    if (!json_is_number(json)) {
        return 0;
    }

    n = json_number_value(json);
    if (!(fabs(n) <= WEIGHT_MAX)) {
        return 0;
    }

    *number = (float) n;

    return 1;
}


static int
text_get(const json_t *json, personalize_str_t *text)
{
    text->data = json_string_value(json);
    text->len = json_string_length(json);

    return text->data != NULL && text->len > 0
           && text->len <= PERSONALIZE_NAME_MAX;
}


/* An array of exactly n numbers. */
static int
numbers_get(const json_t *json, float *numbers, size_t n)
{
    size_t i;

    if (!json_is_array(json) || json_array_size(json) != n) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (!number_get(json_array_get(json, i), &numbers[i])) {
            return 0;
        }
    }

    return 1;
}


static int
levels_read(personalize_intent_t *intent, field_t *field, const json_t *levels)
{
    size_t i, n;

    n = json_array_size(levels);
    if (n == 0 || n > PERSONALIZE_INTENT_INPUTS - intent->ninputs) {
        return 0;
    }

    field->levels = &intent->levels[intent->ninputs];
    field->nlevels = (uint16_t) n;
    field->input = (uint16_t) intent->ninputs;
    intent->ninputs += (unsigned) n;

    for (i = 0; i < n; i++) {
        if (!text_get(json_array_get(levels, i), &field->levels[i])) {
            return 0;
        }
    }

    return 1;
}


static int
field_read(personalize_intent_t *intent, field_t *field, const json_t *json)
{
    float   scale;
    json_t *levels;

    field->missing = NONE;

    if (!text_get(json_object_get(json, "name"), &field->name)) {
        return 0;
    }

    levels = json_object_get(json, "levels");
    if (levels != NULL) {
        return levels_read(intent, field, levels);
    }

    if (!number_get(json_object_get(json, "mean"), &field->mean)
        || !number_get(json_object_get(json, "scale"), &scale)
        || scale < 1.0f / (float) WEIGHT_MAX
        || intent->ninputs + 2 > PERSONALIZE_INTENT_INPUTS)
    {
        return 0;
    }

    field->inverse = 1 / scale;
    field->log = json_is_true(json_object_get(json, "log"));
    field->input = (uint16_t) intent->ninputs++;

    if (json_is_true(json_object_get(json, "missing"))) {
        field->missing = (uint16_t) intent->ninputs++;
    }

    return 1;
}


static personalize_result_e
fields_read(personalize_intent_t *intent, char *fault, size_t size)
{
    size_t  i, n;
    json_t *fields;

    fields = json_object_get(intent->doc, "fields");
    n = json_array_size(fields);

    if (n == 0 || n > PERSONALIZE_INTENT_FIELDS) {
        return fault_set(fault, size, "fields: %zu of 1 to 64", n);
    }

    for (i = 0; i < n; i++) {
        if (!field_read(intent, &intent->fields[i], json_array_get(fields, i)))
        {
            return fault_set(fault, size,
                "fields[%zu]: needs a name, and levels or mean and scale", i);
        }
    }

    intent->nfields = (unsigned) n;

    return PERSONALIZE_OK;
}


static personalize_result_e
weights_read(personalize_intent_t *intent, char *fault, size_t size)
{
    size_t  hidden;
    json_t *doc = intent->doc;

    hidden = (size_t) json_integer_value(json_object_get(doc, "hidden"));

    if (hidden == 0 || hidden > PERSONALIZE_INTENT_HIDDEN
        || hidden % LANES != 0) {
        return fault_set(
            fault, size, "hidden: %zu is no multiple of 4 up to 256", hidden);
    }

    intent->nlanes = (unsigned) hidden / LANES;
    intent->weights = aligned_alloc(
        sizeof(lanes_t), intent->ninputs * hidden * sizeof(float));
    if (intent->weights == NULL) {
        return PERSONALIZE_NOMEM;
    }

    if (!numbers_get(json_object_get(doc, "weights"), (float *) intent->weights,
            intent->ninputs * hidden)
        || !numbers_get(
            json_object_get(doc, "bias"), (float *) intent->bias, hidden)
        || !numbers_get(
            json_object_get(doc, "out"), (float *) intent->out, hidden)
        || !number_get(json_object_get(doc, "out_bias"), &intent->out_bias))
    {
        return fault_set(fault, size,
            "weights, bias, out or out_bias: not the numbers that %zu hidden "
            "units need",
            hidden);
    }

    return PERSONALIZE_OK;
}


static personalize_result_e
groups_read(personalize_intent_t *intent, char *fault, size_t size)
{
    size_t   i, n;
    json_t  *groups, *json;
    group_t *group;
    unsigned j;

    groups = json_object_get(intent->doc, "groups");
    n = json_array_size(groups);

    if (n > PERSONALIZE_INTENT_GROUPS) {
        return fault_set(fault, size, "groups: %zu of at most 64", n);
    }

    if (n == 0) {
        return PERSONALIZE_OK;
    }

    intent->centres = malloc(n * intent->ninputs * sizeof(float));
    if (intent->centres == NULL) {
        return PERSONALIZE_NOMEM;
    }

    for (i = 0; i < n; i++) {
        json = json_array_get(groups, i);
        group = &intent->groups[i];
        group->centre = &intent->centres[i * intent->ninputs];

        if (!text_get(json_object_get(json, "name"), &group->name)
            || !numbers_get(json_object_get(json, "centre"), group->centre,
                intent->ninputs))
        {
            return fault_set(fault, size,
                "groups[%zu]: needs a name and a number per input", i);
        }

        for (j = 0; j < intent->ninputs; j++) {
            group->square += group->centre[j] * group->centre[j];
        }
    }

    intent->ngroups = (unsigned) n;

    return PERSONALIZE_OK;
}


static personalize_result_e
head_check(const char *text, size_t len, char *fault, size_t size)
{
    char sum[17];

    if (len > PERSONALIZE_INTENT_BYTES_MAX) {
        return fault_set(fault, size, "%zu bytes are more than 1 MB", len);
    }

    if (len <= HEAD_LEN || memcmp(text, "crm-intent 1 ", SUM_AT) != 0
        || text[HEAD_LEN] != '\n')
    {
        return fault_set(fault, size, "no document of crm-intent version 1");
    }

    (void) snprintf(sum, sizeof(sum), "%016llx",
        (unsigned long long) personalize_intent_sum(
            text + HEAD_LEN + 1, len - HEAD_LEN - 1));

    if (memcmp(sum, text + SUM_AT, 16) != 0) {
        return fault_set(fault, size, "the checksum does not fit: damaged");
    }

    return PERSONALIZE_OK;
}


personalize_result_e
personalize_intent_read(personalize_intent_t **result, const char *text,
    size_t len, char *fault, size_t size)
{
    json_t               *id;
    json_error_t          error;
    personalize_intent_t *intent;
    personalize_result_e  rc;

    rc = head_check(text, len, fault, size);
    if (rc != PERSONALIZE_OK) {
        return rc;
    }

    intent = aligned_alloc(sizeof(lanes_t),
        (sizeof(*intent) + sizeof(lanes_t) - 1) & ~(sizeof(lanes_t) - 1));
    if (intent == NULL) {
        return PERSONALIZE_NOMEM;
    }

    memset(intent, 0, sizeof(*intent));
    intent->doc = json_loadb(text + HEAD_LEN + 1, len - HEAD_LEN - 1,
        JSON_REJECT_DUPLICATES, &error);
    id = json_object_get(intent->doc, "id");

    if (!json_is_integer(id) || json_integer_value(id) < 0) {
        rc = fault_set(fault, size, "not JSON, or without an id");
    }

    intent->id = (uint64_t) json_integer_value(id);

    if (rc == PERSONALIZE_OK) {
        rc = fields_read(intent, fault, size);
    }
    if (rc == PERSONALIZE_OK) {
        rc = weights_read(intent, fault, size);
    }
    if (rc == PERSONALIZE_OK) {
        rc = groups_read(intent, fault, size);
    }

    if (rc != PERSONALIZE_OK) {
        personalize_intent_free(intent);
        return rc;
    }

    *result = intent;

    return PERSONALIZE_OK;
}


void
personalize_intent_free(personalize_intent_t *intent)
{
    if (intent == NULL) {
        return;
    }

    json_decref(intent->doc);
    free(intent->weights);
    free(intent->centres);
    free(intent);
}


uint64_t
personalize_intent_id(const personalize_intent_t *intent)
{
    return intent->id;
}


unsigned
personalize_intent_fields(const personalize_intent_t *intent)
{
    return intent->nfields;
}


unsigned
personalize_intent_ninputs(const personalize_intent_t *intent)
{
    return intent->ninputs;
}


personalize_str_t
personalize_intent_field(const personalize_intent_t *intent, unsigned n)
{
    return intent->fields[n].name;
}


/* ---- evaluating ---- */

static void
inputs_put(personalize_intent_inputs_t *inputs, uint16_t input, float value)
{
    inputs->input[inputs->n] = input;
    inputs->value[inputs->n] = value;
    inputs->n++;
}


static void
number_encode(const field_t *field, const personalize_value_t *value,
    personalize_intent_inputs_t *inputs)
{
    float number;

    if ((value->type != PERSONALIZE_NUMBER && value->type != PERSONALIZE_BOOL)
        || !isfinite(value->number))
    {
        if (field->missing != NONE) {
            inputs_put(inputs, field->missing, 1);
        }
        return;
    }

    number = field->log ? log1pf((float) fmax(value->number, 0))
                        : (float) value->number;
    number = (number - field->mean) * field->inverse;

    /* a double may be more than a float holds */
    if (!(number < INPUT_MAX)) {
        number = INPUT_MAX;
    }
    if (number < -INPUT_MAX) {
        number = -INPUT_MAX;
    }

    inputs_put(inputs, field->input, number);
}


static void
level_encode(const field_t *field, const personalize_value_t *value,
    personalize_intent_inputs_t *inputs)
{
    unsigned i;

    if (value->type != PERSONALIZE_TEXT) {
        return;
    }

    for (i = 0; i < field->nlevels; i++) {
        if (field->levels[i].len == value->text.len
            && memcmp(field->levels[i].data, value->text.data, value->text.len)
                   == 0)
        {
            inputs_put(inputs, (uint16_t) (field->input + i), 1);
            return;
        }
    }
}


void
personalize_intent_encode(const personalize_intent_t *intent,
    const personalize_value_t *values, personalize_intent_inputs_t *inputs)
{
    unsigned i;

    inputs->n = 0;

    for (i = 0; i < intent->nfields; i++) {
        if (intent->fields[i].nlevels > 0) {
            level_encode(&intent->fields[i], &values[i], inputs);
        } else {
            number_encode(&intent->fields[i], &values[i], inputs);
        }
    }
}


double
personalize_intent_score(const personalize_intent_t *intent,
    const personalize_intent_inputs_t               *inputs)
{
    float          logit, value;
    lanes_t        sum, part, size;
    unsigned       i, lane;
    const lanes_t *w;

    sum = (lanes_t){0, 0, 0, 0};

    for (lane = 0; lane < intent->nlanes; lane++) {
        part = intent->bias[lane];
        w = intent->weights + lane;

        for (i = 0; i < inputs->n; i++) {
            value = inputs->value[i];
            part += w[(size_t) inputs->input[i] * intent->nlanes] * value;
        }

        /* |u| without a branch: as bits without the sign */
        size = (lanes_t) ((__typeof__(part < part)) part & 0x7fffffff);
        sum += intent->out[lane] * (part / (1.0f + size));
    }

    logit = intent->out_bias + sum[0] + sum[1] + sum[2] + sum[3];

    /* beyond this a float says 0 or 1 */
    logit = fmaxf(-30, fminf(30, logit));

    return 1 / (1 + exp(-(double) logit));
}


personalize_str_t
personalize_intent_group(const personalize_intent_t *intent,
    const personalize_intent_inputs_t               *inputs)
{
    float             far, best;
    unsigned          i, j;
    const group_t    *group;
    personalize_str_t name = {NULL, 0};

    best = INFINITY;

    for (i = 0; i < intent->ngroups; i++) {
        group = &intent->groups[i];

        /* |x - c|^2 without |x|^2, which is the same for all */
        far = group->square;
        for (j = 0; j < inputs->n; j++) {
            far -= 2 * inputs->value[j] * group->centre[inputs->input[j]];
        }

        if (far < best || i == 0) {
            best = far;
            name = group->name;
        }
    }

    return name;
}
