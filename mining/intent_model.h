/*
 * intent_model.h - learns the network that nginx evaluates, and writes it down.
 */

#ifndef INTENT_MODEL_H_INCLUDED_
#define INTENT_MODEL_H_INCLUDED_

#include "../personalize/personalize.h"
#include "learn/network.h"
#include "learn/platt.h"
#include "table.h"

#pragma GCC visibility push(hidden)


typedef struct {
    json_t               *fields; /* of the document */
    personalize_intent_t *encoder;
    mining_network_t      network;
} mining_intent_t;

/*
 * Learns y from columns of rows[0..n); the encoding is the one of nginx.
 * INVALID: all of one class, or the columns are more than a document takes.
 */
mining_result_e mining_intent_learn(mining_intent_t *intent,
    const mining_column_values_t *const *columns, unsigned ncolumns,
    const uint8_t *y, const uint32_t *rows, size_t n,
    const mining_network_options_t *options);
void            mining_intent_free(mining_intent_t *intent);

double mining_intent_logit(const mining_intent_t *intent,
    const mining_column_values_t *const *columns, size_t row);
/* The document of personalize/intent.h, calibrated; the caller frees it. */
char *mining_intent_document(
    const mining_intent_t *intent, const mining_platt_t *platt, int64_t id);


#pragma GCC visibility pop

#endif /* INTENT_MODEL_H_INCLUDED_ */
