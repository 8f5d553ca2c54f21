/*
 * journal.c - fuzzes the recovery of a journal file.
 *
 * A valid file with ten records is patched with the input: a place of two
 * bytes, a length of one, then the bytes.  Places under 512 are the header's,
 * others lie in and behind the records; the last bit of the length asks for
 * the header's checksums to be made right again, so that a lying header is
 * tried and not only a damaged one.  Whatever is delivered must be one of the
 * ten records, whole and in order, and the file must take more.
 */

#include "tracker/tracker.h"
#include "tracker/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define SIZE    TRACKER_JOURNAL_SIZE_MIN
#define PATCHED 16384 /* bytes at the file's start that are ever damaged */
#define HEADER  512
#define RECORDS 10
#define NEW     100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char    path[64];
static char   *file;
static uint8_t valid[PATCHED];


static size_t
record_len(uint64_t seq)
{
    return 1 + (size_t) seq * 97 % 300;
}


static void
append(tracker_journal_t *journal, uint64_t seq)
{
    char *data;

    if (tracker_journal_reserve(journal, record_len(seq), &data) != TRACKER_OK)
    {
        return;
    }

    memset(data, 'a' + (int) (seq % 26), record_len(seq));
    tracker_journal_commit(journal, record_len(seq), seq);
}


static void
clean_up(void)
{
    unlink(path);
}


static void
prepare(void)
{
    int               fd;
    uint64_t          seq;
    tracker_journal_t journal;
    static uint8_t    seed[8] = {1};

    strcpy(path, access("/dev/shm", W_OK) == 0 ? "/dev/shm/crm-fuzz-XXXXXX"
                                               : "/tmp/crm-fuzz-XXXXXX");
    fd = mkstemp(path);
    if (fd == -1 || close(fd) != 0 || unlink(path) != 0
        || tracker_journal_open(&journal, path, SIZE, seed) != TRACKER_OK)
    {
        abort();
    }
    atexit(clean_up);

    for (seq = 1; seq <= RECORDS; seq++) {
        append(&journal, seq);
    }
    tracker_journal_set_sent(&journal, 3);
    tracker_journal_set_durable(&journal, 2);
    tracker_journal_close(&journal);

    fd = open(path, O_RDWR);
    file = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED) {
        abort();
    }
    close(fd);
    memcpy(valid, file, PATCHED);
}


static void
make_checksums(void)
{
    unsigned               i;
    tracker_journal_map_t *map = (tracker_journal_map_t *) (void *) file;

    for (i = 0; i < 2; i++) {
        map->end[i].crc =
            tracker_crc32c(0, &map->end[i], offsetof(journal_end_t, crc));
        map->state[i].crc =
            tracker_crc32c(0, &map->state[i], offsetof(journal_state_t, crc));
    }
}


static void
patch(const uint8_t *data, size_t size)
{
    size_t   at, len;
    unsigned lying;

    lying = 0;

    while (size > 3) {
        at = (size_t) data[0] << 8 | data[1];
        len = data[2] >> 1;
        lying |= data[2] & 1;
        data += 3;
        size -= 3;

        if (len > size) {
            len = size;
        }

        at = at < HEADER ? at : JOURNAL_PAGE + at % (PATCHED - JOURNAL_PAGE);
        if (len > PATCHED - at) {
            len = PATCHED - at;
        }

        memcpy(file + at, data, len);
        data += len;
        size -= len;
    }

    if (lying) {
        make_checksums();
    }
}


/*
 * A checksum that was not forged by the fuzzer itself speaks for the record:
 * each is filled with one letter, the one of its sequence.
 */
static void
read_all(tracker_journal_t *journal)
{
    char             letter;
    size_t           i;
    uint64_t         after;
    tracker_record_t record;

    after = 0;

    while (tracker_journal_next(journal, after, &record) == TRACKER_OK) {
        letter = (char) ('a' + record.seq % 26);

        if (record.seq <= after || record.data.len != record_len(record.seq)) {
            abort();
        }

        for (i = 0; i < record.data.len; i++) {
            if (record.data.data[i] != letter) {
                abort();
            }
        }

        after = record.seq;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t         seed[8] = {1};
    uint64_t               i;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    if (file == NULL) {
        prepare();
    }

    memset(file + PATCHED, 0, SIZE - PATCHED);
    memcpy(file, valid, PATCHED);
    patch(data, size);

    (void) tracker_journal_peek(path, &stat);
    if (tracker_journal_open(&journal, path, SIZE, seed) != TRACKER_OK) {
        return 0;
    }

    read_all(&journal);
    tracker_journal_stat(&journal, &stat);
    if (stat.used_bytes > stat.total_bytes || stat.durable > stat.sent
        || stat.sent > stat.written)
    {
        abort();
    }

    for (i = 1; i <= NEW; i++) {
        append(&journal, stat.written + i);
    }
    read_all(&journal);
    tracker_journal_set_sent(&journal, stat.written + NEW / 2);
    tracker_journal_set_durable(&journal, stat.written + NEW / 4);
    tracker_journal_close(&journal);

    /* What was repaired stays repaired. */
    i = stat.damaged;
    if (tracker_journal_open(&journal, path, SIZE, seed) != TRACKER_OK) {
        abort();
    }
    tracker_journal_stat(&journal, &stat);
    if (stat.damaged != i) {
        abort();
    }
    read_all(&journal);
    tracker_journal_close(&journal);

    return 0;
}
