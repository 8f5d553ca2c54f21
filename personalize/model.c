/*
 * model.c - reads the model file of recommendations (MODEL.md), never beyond.
 *
 * Sections follow each other in a fixed order and their sizes come from the
 * counts in the head, so there is no offset to trust.  Opening reads the whole
 * file once: checksum, every index below its bound, every start in order,
 * every weight finite and not negative.  After that recommend.c reads without
 * asking again.  Limit: opening costs about 1 ms per MB; it is not for the
 * request path.
 */

#include <string.h>

#include "recommend.h"


#define MODEL_CHECKED  32     /* bytes of the head before what check covers */
#define MODEL_WEIGHT   100.0f /* products and sums of these stay finite */
#define MODEL_SECTIONS 12


/* Bytes of each section, in order. */
static void
model_sections(
    const personalize_model_head_t *head, uint64_t bytes[MODEL_SECTIONS])
{
    uint64_t starts;

    starts = ((uint64_t) head->nitems + 1) * sizeof(uint32_t);

    bytes[0] = sizeof(personalize_taste_t);
    bytes[1] = (uint64_t) head->nitems * sizeof(personalize_item_t);
    bytes[2] = ((uint64_t) head->nsessions + 1) * sizeof(uint32_t);
    bytes[3] = (uint64_t) head->nclicks * sizeof(uint32_t);
    bytes[4] = starts;
    bytes[5] = (uint64_t) head->npostings * sizeof(uint32_t);
    bytes[6] = starts;
    bytes[7] = (uint64_t) head->nrules * sizeof(uint32_t);
    bytes[8] = (uint64_t) head->nrules * sizeof(uint16_t);
    bytes[9] = starts + (uint64_t) head->nbucket * sizeof(uint32_t);
    bytes[10] = head->nfacts == 0 ? 0 : starts;
    bytes[11] = (uint64_t) head->nnames + head->nfacts;
}


static uint64_t
model_align(uint64_t n)
{
    return (n + 7) & ~(uint64_t) 7;
}


uint64_t
personalize_model_size(const personalize_model_head_t *head)
{
    unsigned i;
    uint64_t size, bytes[MODEL_SECTIONS];

    if (head->nitems == 0 || head->nitems > PERSONALIZE_MODEL_ITEMS_MAX
        || head->nclicks > PERSONALIZE_MODEL_CLICKS_MAX
        || head->nsessions > head->nclicks || head->npostings > head->nclicks
        || head->nrules > PERSONALIZE_MODEL_CLICKS_MAX
        || head->nbucket <= head->nitems
        || (head->nbucket & (head->nbucket - 1)) != 0)
    {
        return 0;
    }

    model_sections(head, bytes);
    size = sizeof(personalize_model_head_t);
    for (i = 0; i < MODEL_SECTIONS; i++) {
        size += model_align(bytes[i]);
    }

    return size;
}


void
personalize_model_lay(personalize_model_t *model, const void *data)
{
    unsigned    i;
    uint64_t    bytes[MODEL_SECTIONS];
    const char *p, *at[MODEL_SECTIONS];

    memcpy(&model->head, data, sizeof(model->head));
    model_sections(&model->head, bytes);

    p = (const char *) data + sizeof(model->head);
    for (i = 0; i < MODEL_SECTIONS; i++) {
        at[i] = p;
        p += model_align(bytes[i]);
    }

    model->taste = (const void *) at[0];
    model->items = (const void *) at[1];
    model->sessions = (const void *) at[2];
    model->clicks = (const void *) at[3];
    model->posts = (const void *) at[4];
    model->postings = (const void *) at[5];
    model->rows = (const void *) at[6];
    model->rules = (const void *) at[7];
    model->weights = (const void *) at[8];
    model->names = (const void *) at[9];
    model->buckets = model->names + model->head.nitems + 1;
    model->facts = model->head.nfacts == 0 ? NULL : (const void *) at[10];
    model->text = at[11];
    model->about = at[11] + model->head.nnames;
}


/* Four lanes, so that the multiplications overlap; see MODEL.md. */
uint64_t
personalize_model_check(const void *data, size_t size)
{
    size_t      i, j;
    uint64_t    word, lane[4];
    const char *p;

    p = (const char *) data + MODEL_CHECKED;
    size -= MODEL_CHECKED;

    for (j = 0; j < 4; j++) {
        lane[j] = 0x9e3779b97f4a7c15u + j;
    }

    for (i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, p + i, 8);
        j = (i / 8) & 3;
        lane[j] = (lane[j] ^ word) * 0xff51afd7ed558ccdu;
        lane[j] ^= lane[j] >> 32;
    }

    word = size;
    for (j = 0; j < 4; j++) {
        word = (word ^ lane[j]) * 0xc4ceb9fe1a85ec53u;
        word ^= word >> 29;
    }

    return word;
}


/* 1: starts[0..n] begin at 0, never fall, and end at total. */
static int
model_starts(const uint32_t *starts, uint32_t n, uint32_t total)
{
    uint32_t i;

    if (starts[0] != 0 || starts[n] != total) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (starts[i] > starts[i + 1]) {
            return 0;
        }
    }

    return 1;
}


static int
model_below(const uint32_t *numbers, uint32_t n, uint32_t bound)
{
    uint32_t i, max;

    max = 0;
    for (i = 0; i < n; i++) {
        max = numbers[i] > max ? numbers[i] : max;
    }

    return n == 0 || max < bound;
}


/* Finite, not negative, and so small that no sum overflows; refuses NaN. */
static int
model_weights(const float *weights, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (!(weights[i] >= 0 && weights[i] <= MODEL_WEIGHT)) {
            return 0;
        }
    }

    return 1;
}


static int
model_taste(const personalize_taste_t *taste, uint32_t nsessions)
{
    unsigned i;

    if (taste->sample > PERSONALIZE_MODEL_SAMPLE || taste->k > taste->sample
        || taste->last == 0 || taste->last > PERSONALIZE_MODEL_LAST
        || taste->sharp > 2 || taste->spare != 0
        || !model_weights(
            &taste->current, (offsetof(personalize_taste_t, from)
                                 - offsetof(personalize_taste_t, current))
                                 / sizeof(float)))
    {
        return 0;
    }

    for (i = 0; i < PERSONALIZE_MODEL_AGES; i++) {
        if (taste->from[i] > nsessions
            || (i == 0 ? taste->from[i] != 0
                       : taste->from[i] < taste->from[i - 1]))
        {
            return 0;
        }
    }

    return 1;
}


static int
model_items(const personalize_model_t *model)
{
    uint32_t i;

    for (i = 0; i < model->head.nitems; i++) {
        if (!model_weights(&model->items[i].match, 1)
            || !model_weights(&model->items[i].offer, 1))
        {
            return 0;
        }
    }

    return 1;
}


/* The newest first, none twice: merging lists relies on it. */
static int
model_postings(const personalize_model_t *model)
{
    uint32_t i, j;

    for (i = 0; i < model->head.nitems; i++) {
        for (j = model->posts[i] + 1; j < model->posts[i + 1]; j++) {
            if (model->postings[j] >= model->postings[j - 1]) {
                return 0;
            }
        }
    }

    return model_below(
        model->postings, model->head.npostings, model->head.nsessions);
}


static int
model_buckets(const personalize_model_t *model)
{
    uint32_t i, used;

    used = 0;
    for (i = 0; i < model->head.nbucket; i++) {
        if (model->buckets[i] > model->head.nitems) {
            return 0;
        }
        used += model->buckets[i] != 0;
    }

    /* a free one ends every search */
    return used < model->head.nbucket;
}


static const char *
model_fault(const personalize_model_t *model)
{
    const personalize_model_head_t *head;

    head = &model->head;

    if (!model_taste(model->taste, head->nsessions)) {
        return "its settings are out of bounds";
    }
    if (!model_items(model)) {
        return "an item's weight is no number from 0 to 100";
    }
    if (!model_starts(model->sessions, head->nsessions, head->nclicks)
        || !model_below(model->clicks, head->nclicks, head->nitems))
    {
        return "its sessions are damaged";
    }
    if (!model_starts(model->posts, head->nitems, head->npostings)
        || !model_postings(model))
    {
        return "its postings are damaged";
    }
    if (!model_starts(model->rows, head->nitems, head->nrules)
        || !model_below(model->rules, head->nrules, head->nitems))
    {
        return "its rules are damaged";
    }
    if (!model_starts(model->names, head->nitems, head->nnames)
        || !model_buckets(model))
    {
        return "its names are damaged";
    }
    if (model->facts != NULL
        && !model_starts(model->facts, head->nitems, head->nfacts))
    {
        return "its facts are damaged";
    }

    return NULL;
}


personalize_result_e
personalize_model_open(personalize_model_t *model, const void *data,
    size_t size, const char **fault)
{
    personalize_model_head_t head;

    *fault = NULL;

    if (size < sizeof(head)) {
        *fault = "it is shorter than a model's head";
        return PERSONALIZE_INVALID;
    }
    memcpy(&head, data, sizeof(head));

    if (memcmp(head.magic, PERSONALIZE_MODEL_MAGIC, 8) != 0) {
        *fault = "it is no model of recommendations";

    } else if (head.order != PERSONALIZE_MODEL_ORDER) {
        *fault = "it was written on a machine of another byte order";

    } else if (head.version != PERSONALIZE_MODEL_VERSION) {
        *fault = "its version is another one: build it with this crm-mine";

    } else if (head.size != size || personalize_model_size(&head) != size) {
        *fault = "it is cut short, or its counts are damaged";

    } else if (head.check != personalize_model_check(data, size)) {
        *fault = "its checksum is wrong";

    } else {
        personalize_model_lay(model, data);
        *fault = model_fault(model);
    }

    return *fault == NULL ? PERSONALIZE_OK : PERSONALIZE_INVALID;
}


/* FNV-1a */
uint32_t
personalize_model_hash(personalize_str_t name)
{
    size_t   i;
    uint32_t hash;

    hash = 2166136261u;
    for (i = 0; i < name.len; i++) {
        hash = (hash ^ (unsigned char) name.data[i]) * 16777619u;
    }

    return hash ^ hash >> 15;
}


personalize_str_t
personalize_model_name(const personalize_model_t *model, uint32_t item)
{
    personalize_str_t name;

    name.data = model->text + model->names[item];
    name.len = model->names[item + 1] - model->names[item];

    return name;
}


personalize_str_t
personalize_model_facts(const personalize_model_t *model, uint32_t item)
{
    personalize_str_t facts;

    facts.data = model->about;
    facts.len = 0;

    if (model->facts != NULL) {
        facts.data += model->facts[item];
        facts.len = model->facts[item + 1] - model->facts[item];
    }

    return facts;
}


uint32_t
personalize_model_find(const personalize_model_t *model, personalize_str_t name)
{
    uint32_t          i, item;
    personalize_str_t known;

    for (i = personalize_model_hash(name);; i++) {
        item = model->buckets[i & (model->head.nbucket - 1)];
        if (item == 0) {
            return PERSONALIZE_ITEM_NONE;
        }

        known = personalize_model_name(model, item - 1);
        if (known.len == name.len
            && memcmp(known.data, name.data, name.len) == 0) {
            return item - 1;
        }
    }
}
