/*
 * views.h - reads files of clicks: session, item, time.
 */

#ifndef VIEWS_H_INCLUDED_
#define VIEWS_H_INCLUDED_

#include "learn/names.h"
#include "learn/sessions.h"

#pragma GCC visibility push(hidden)


/* Columns by name; NULL: one of the usual names. */
typedef struct {
    const char *session;
    const char *item;
    const char *time;
} mining_views_columns_t;

/* Zeroed: empty. */
typedef struct {
    mining_view_t *views;
    uint32_t       n;
    uint32_t       size;
    uint32_t       nsessions;
    uint64_t       line;       /* of the fault */
    char           fault[200]; /* of INVALID, LOST, FULL: a sentence */
} mining_views_t;

/*
 * Adds a file; its sessions are new ones, its items get numbers from *items.
 * Anything but OK and NOMEM leaves a fault and its line.
 */
mining_result_e mining_views_read(mining_views_t *views, mining_names_t *items,
    const mining_views_columns_t *columns, mining_csv_read_pt read, void *ctx);
void            mining_views_free(mining_views_t *views);


#pragma GCC visibility pop

#endif /* VIEWS_H_INCLUDED_ */
