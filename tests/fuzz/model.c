/*
 * model.c - fuzzes the model file: what is accepted is safe to ask.
 *
 * Size and checksum are put right, so that what lies behind them is reached.
 * A model that opens must answer any session without touching what is not
 * its own, with known items only, none twice, best first.
 */

#include "personalize/personalize.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


#define ITEMS_MAX 100000 /* of room asked for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
ask(const personalize_model_t *model, personalize_room_t *room,
    const uint32_t *session, unsigned nsession)
{
    unsigned           i, k, n;
    personalize_rec_t  recs[PERSONALIZE_RECS_MAX];
    personalize_wish_t wish;

    memset(&wish, 0, sizeof(wish));
    wish.session = session;
    wish.nsession = nsession;
    wish.n = 30;
    wish.no_current = nsession & 1;
    wish.in_stock = nsession >> 1 & 1;
    wish.same_max = nsession % 3;
    n = personalize_recommend(model, room, &wish, recs);

    for (i = 0; i < n; i++) {
        if (recs[i].item >= model->head.nitems || !isfinite(recs[i].score)
            || recs[i].score < 0
            || (i > 0 && recs[i].score > recs[i - 1].score))
        {
            abort();
        }
        for (k = 0; k < i; k++) {
            if (recs[k].item == recs[i].item) {
                abort();
            }
        }
        (void) personalize_model_facts(model, recs[i].item);
        (void) personalize_model_find(
            model, personalize_model_name(model, recs[i].item));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void                    *image;
    unsigned                 i;
    uint64_t                 check;
    uint32_t                 session[20];
    const char              *fault;
    personalize_room_t      *room;
    personalize_model_t      model;
    personalize_model_head_t head;

    image = malloc(size > 0 ? size : 1);
    if (image == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(image, data, size);
    }

    if (size >= sizeof(head)) {
        memcpy(&head, data, sizeof(head));
        head.size = size;
        memcpy(image, &head, sizeof(head));
        check = personalize_model_check(image, size);
        head.check = check;
        memcpy(image, &head, sizeof(head));
    }

    if (personalize_model_open(&model, image, size, &fault) != PERSONALIZE_OK) {
        if (fault == NULL) {
            abort();
        }

    } else if (model.head.nitems < ITEMS_MAX) {
        room = calloc(1, personalize_room_size(&model));
        if (room == NULL) {
            abort();
        }
        for (i = 0; i < 20; i++) {
            session[i] = data[size - 1 - i % 8] % (model.head.nitems + 1);
            ask(&model, room, session, i);
        }
        free(room);
    }

    free(image);

    return 0;
}
