/*
 * journal_place.h - what the tests of the journal share.
 *
 * A temporary folder for each test, and records whose data is known from their
 * sequence alone.
 */

#ifndef JOURNAL_PLACE_H_INCLUDED_
#define JOURNAL_PLACE_H_INCLUDED_

#include "tracker/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>


#define SIZE      (1u << 20)
#define PAGE      4096
#define AT        UINT64_C(1764000000000000)
#define OVERHEAD  24 /* bytes of a record's head */
#define TEXT_MAX  65536
#define DATA_SEED 2654435761u

static const uint8_t seed[8] = {0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff};

typedef struct {
    char folder[64];
    char path[96];
} place_t;


static inline int
setup(void **state)
{
    place_t *place;

    place = calloc(1, sizeof(*place));
    strcpy(place->folder, "/tmp/crm-journal-XXXXXX");
    if (mkdtemp(place->folder) == NULL) {
        return -1;
    }

    snprintf(place->path, sizeof(place->path), "%s/0.journal", place->folder);
    *state = place;

    return 0;
}


static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


static inline int
teardown(void **state)
{
    place_t *place = *state;

    nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(place);

    return 0;
}


static inline size_t
text_len(uint64_t seq)
{
    return 1 + (uint32_t) (seq * DATA_SEED) % 700;
}


/* The data of record seq is known from its sequence alone. */
static inline void
text_fill(char *data, uint64_t seq, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        data[i] = (char) ('a' + (seq * 7 + i * 3) % 26);
    }
}


static inline int
text_is(const tracker_record_t *record, size_t len)
{
    char text[TEXT_MAX];

    text_fill(text, record->seq, len);

    return record->data.len == len && memcmp(record->data.data, text, len) == 0
           && record->at_us == AT + record->seq;
}


static inline tracker_result_e
append_len(tracker_journal_t *journal, uint64_t seq, size_t len, size_t max)
{
    char            *data;
    tracker_result_e rc;

    rc = tracker_journal_reserve(journal, max, &data);
    if (rc == TRACKER_OK) {
        text_fill(data, seq, len);
        tracker_journal_commit(journal, len, AT + seq);
    }

    return rc;
}


static inline tracker_result_e
append(tracker_journal_t *journal, uint64_t seq)
{
    return append_len(journal, seq, text_len(seq), 1000);
}


static inline void
open_ok(tracker_journal_t *journal, place_t *place)
{
    assert_int_equal(
        tracker_journal_open(journal, place->path, SIZE, seed), TRACKER_OK);
}


static inline tracker_journal_stat_t
stat_of(tracker_journal_t *journal)
{
    tracker_journal_stat_t stat;

    tracker_journal_stat(journal, &stat);

    return stat;
}


/* Reads all behind `after`; each is whole, and sequences rise by one. */
static inline uint64_t
read_all(tracker_journal_t *journal, uint64_t after)
{
    uint64_t         first;
    tracker_record_t record;

    first = 0;

    while (tracker_journal_next(journal, after, &record) == TRACKER_OK) {
        if (first == 0) {
            first = record.seq;
        } else {
            assert_int_equal(record.seq, after + 1);
        }

        assert_true(text_is(&record, text_len(record.seq)));
        after = record.seq;
    }

    assert_int_equal(
        tracker_journal_next(journal, after, &record), TRACKER_DECLINED);

    return after;
}


static inline void
file_write(const char *path, const uint8_t *bytes, size_t len)
{
    int fd;

    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}


#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif /* JOURNAL_PLACE_H_INCLUDED_ */
