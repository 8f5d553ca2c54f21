/*
 * test_journal.c - the ring file against a model, kills, damage and full disks.
 *
 * Files live in a temporary folder that each test makes and removes.
 */

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
#define OVERHEAD  24
#define KILLS     40
#define RACERS    8
#define DEADLINE  20 /* seconds until a test gives up waiting */
#define TEXT_MAX  65536
#define DATA_SEED 2654435761u

static const uint8_t seed[8] = {0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff};

typedef struct {
    char folder[64];
    char path[96];
} place_t;


static int
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


static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;

    return remove(path);
}


static int
teardown(void **state)
{
    place_t *place = *state;

    nftw(place->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(place);

    return 0;
}


static size_t
text_len(uint64_t seq)
{
    return 1 + (uint32_t) (seq * DATA_SEED) % 700;
}


/* The data of record seq is known from its sequence alone. */
static void
text_fill(char *data, uint64_t seq, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        data[i] = (char) ('a' + (seq * 7 + i * 3) % 26);
    }
}


static int
text_is(const tracker_record_t *record, size_t len)
{
    char text[TEXT_MAX];

    text_fill(text, record->seq, len);

    return record->data.len == len && memcmp(record->data.data, text, len) == 0
           && record->at_us == AT + record->seq;
}


static tracker_result_e
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


static tracker_result_e
append(tracker_journal_t *journal, uint64_t seq)
{
    return append_len(journal, seq, text_len(seq), 1000);
}


static void
open_ok(tracker_journal_t *journal, place_t *place)
{
    assert_int_equal(
        tracker_journal_open(journal, place->path, SIZE, seed), TRACKER_OK);
}


static tracker_journal_stat_t
stat_of(tracker_journal_t *journal)
{
    tracker_journal_stat_t stat;

    tracker_journal_stat(journal, &stat);

    return stat;
}


/* Reads all behind `after`; each is whole, and sequences rise by one. */
static uint64_t
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


static void
test_new_file(void **state)
{
    struct stat            st;
    tracker_record_t       record;
    tracker_journal_t      journal, second;
    tracker_journal_stat_t stat, peeked;

    open_ok(&journal, *state);
    stat = stat_of(&journal);

    assert_memory_equal(stat.producer, "00010203fcfdfeff", 16);
    assert_int_equal(stat.written, 0);
    assert_int_equal(stat.used_bytes, 0);
    assert_int_equal(stat.oldest_us, 0);
    assert_int_equal(stat.total_bytes, SIZE - PAGE);
    assert_int_equal(
        tracker_journal_next(&journal, 0, &record), TRACKER_DECLINED);

    assert_int_equal(fstat(journal.fd, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    assert_int_equal(st.st_mode & 0777, 0600);

    assert_int_equal(
        tracker_journal_open(&second, ((place_t *) *state)->path, SIZE, seed),
        TRACKER_BUSY);
    assert_int_equal(second.fd, -1);

    append(&journal, 1);
    assert_int_equal(
        tracker_journal_peek(((place_t *) *state)->path, &peeked), TRACKER_OK);
    stat = stat_of(&journal);
    assert_memory_equal(&stat, &peeked, sizeof(stat));
    assert_int_equal(stat.oldest_us, AT + 1);
    assert_int_equal(stat.used_bytes, OVERHEAD + (text_len(1) + 7) / 8 * 8);

    assert_int_equal(tracker_journal_sync(&journal), TRACKER_OK);
    tracker_journal_close(&journal);
    tracker_journal_close(&journal);
}


static void
test_reopen_keeps_all(void **state)
{
    uint8_t                other[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    uint64_t               seq;
    place_t               *place = *state;
    tracker_journal_t      journal;
    tracker_journal_stat_t before, after;

    open_ok(&journal, place);
    for (seq = 1; seq <= 500; seq++) {
        assert_int_equal(append(&journal, seq), TRACKER_OK);
    }
    tracker_journal_set_sent(&journal, 300);
    tracker_journal_set_durable(&journal, 200);
    tracker_journal_shed(&journal);
    before = stat_of(&journal);
    tracker_journal_close(&journal);

    /* Size and seed are a new file's. */
    assert_int_equal(
        tracker_journal_open(&journal, place->path, 0, other), TRACKER_OK);
    after = stat_of(&journal);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(after.shed, 1);
    assert_int_equal(after.sent, 300);
    assert_int_equal(after.durable, 200);
    assert_int_equal(after.oldest_us, AT + 201);
    assert_int_equal(read_all(&journal, 0), 500);
    assert_int_equal(append(&journal, 501), TRACKER_OK);
    assert_int_equal(read_all(&journal, 300), 501);
    tracker_journal_close(&journal);
}


static void
test_cursors_are_clamped(void **state)
{
    uint64_t          seq;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);
    for (seq = 1; seq <= 10; seq++) {
        append(&journal, seq);
    }

    tracker_journal_set_sent(&journal, 11);
    assert_int_equal(stat_of(&journal).sent, 10);
    tracker_journal_set_sent(&journal, 2);
    assert_int_equal(stat_of(&journal).sent, 2);
    tracker_journal_set_durable(&journal, 5);
    assert_int_equal(stat_of(&journal).sent, 5);
    tracker_journal_set_sent(&journal, 4);
    assert_int_equal(stat_of(&journal).sent, 5);
    tracker_journal_set_durable(&journal, 3);
    assert_int_equal(stat_of(&journal).durable, 5);
    tracker_journal_set_durable(&journal, UINT64_MAX);
    assert_int_equal(stat_of(&journal).durable, 10);
    assert_int_equal(stat_of(&journal).used_bytes, 0);
    assert_int_equal(
        tracker_journal_next(&journal, 0, &record), TRACKER_DECLINED);
    tracker_journal_close(&journal);
}


static void
test_reserve_bounds(void **state)
{
    char             *data;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);

    assert_int_equal(
        tracker_journal_reserve(&journal, 0, &data), TRACKER_INVALID);
    assert_int_equal(tracker_journal_reserve(
                         &journal, TRACKER_JOURNAL_RECORD_MAX + 1, &data),
        TRACKER_INVALID);
    assert_int_equal(
        tracker_journal_reserve(&journal, TRACKER_JOURNAL_RECORD_MAX, &data),
        TRACKER_OK);
    memset(data, 'x', TRACKER_JOURNAL_RECORD_MAX);
    tracker_journal_commit(&journal, 0, AT);
    assert_int_equal(stat_of(&journal).used_bytes, 0);

    /* What was not reserved is not published. */
    assert_int_equal(tracker_journal_reserve(&journal, 5, &data), TRACKER_OK);
    tracker_journal_commit(&journal, 6, AT);
    tracker_journal_commit(&journal, 5, AT);
    assert_int_equal(stat_of(&journal).written, 0);

    assert_int_equal(
        tracker_journal_reserve(&journal, TRACKER_JOURNAL_RECORD_MAX, &data),
        TRACKER_OK);
    tracker_journal_commit(&journal, TRACKER_JOURNAL_RECORD_MAX, AT);
    assert_int_equal(tracker_journal_next(&journal, 0, &record), TRACKER_OK);
    assert_int_equal(record.data.len, TRACKER_JOURNAL_RECORD_MAX);
    assert_int_equal(record.data.data[TRACKER_JOURNAL_RECORD_MAX - 1], 'x');
    tracker_journal_close(&journal);
}


/* Random appends, reads, cursors and reopenings, compared with a model. */
static void
test_model(void **state)
{
    unsigned               i, dice;
    uint64_t               written, sent, durable, shed, oldest, n;
    tracker_record_t       record;
    tracker_result_e       rc;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    open_ok(&journal, *state);
    written = sent = durable = shed = oldest = 0;
    srandom(7);

    for (i = 0; i < 200000; i++) {
        dice = (unsigned) random() % 1000;

        if (dice < 700) {
            rc = append(&journal, written + 1);
            if (rc == TRACKER_OK) {
                written++;
            } else {
                assert_int_equal(rc, TRACKER_FULL);
                tracker_journal_shed(&journal);
                shed++;
            }

        } else if (dice < 900) {
            n = durable + (uint64_t) random() % (written - durable + 1);
            rc = tracker_journal_next(&journal, n, &record);

            if (rc == TRACKER_OK) {
                assert_true(record.seq > n && record.seq <= written);
                assert_true(record.seq == n + 1 || record.seq <= sent + 1);
                assert_true(text_is(&record, text_len(record.seq)));
            } else {
                assert_true(n == written || sent > n);
            }

        } else if (dice < 960) {
            sent = durable + (uint64_t) random() % (written - durable + 1);
            tracker_journal_set_sent(&journal, sent);

        } else if (dice < 999) {
            durable += (uint64_t) random() % (sent - durable + 1);
            tracker_journal_set_durable(&journal, durable);

        } else {
            tracker_journal_close(&journal);
            open_ok(&journal, *state);
        }

        stat = stat_of(&journal);
        assert_int_equal(stat.written, written);
        assert_int_equal(stat.sent, sent);
        assert_int_equal(stat.durable, durable);
        assert_int_equal(stat.shed, shed);
        assert_int_equal(stat.damaged, 0);
        assert_true(stat.used_bytes <= stat.total_bytes);
    }

    assert_true(written > 100000);
    tracker_journal_close(&journal);
}


static void
test_wrap_in_order(void **state)
{
    uint64_t          seq;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);

    for (seq = 1; seq <= 30000; seq++) {
        assert_int_equal(append(&journal, seq), TRACKER_OK);
        assert_int_equal(
            tracker_journal_next(&journal, seq - 1, &record), TRACKER_OK);
        assert_int_equal(record.seq, seq);
        assert_true(text_is(&record, text_len(seq)));

        if (seq % 100 == 0) {
            tracker_journal_set_durable(&journal, seq - 50);
        }
    }

    assert_int_equal(read_all(&journal, seq - 51), 30000);
    tracker_journal_close(&journal);
}


/* Every size of the rest before the ring's end, with its own skip or none. */
static void
test_every_rest_at_the_wrap(void **state)
{
    size_t            rest, len, ring;
    uint64_t          seq;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);
    ring = stat_of(&journal).total_bytes;
    seq = 0;

    for (rest = 0; rest <= 96; rest += 8) {
        /* From the ring's start up to `rest` before its end. */
        for (len = ring - rest; len > 65536; len -= 32768) {
            append_len(&journal, ++seq, 32768 - OVERHEAD, 32768 - OVERHEAD);
            tracker_journal_set_durable(&journal, seq);
        }

        append_len(&journal, ++seq, len - OVERHEAD, len - OVERHEAD);
        tracker_journal_set_durable(&journal, seq);
        assert_int_equal(append_len(&journal, ++seq, 80, 80), TRACKER_OK);
        tracker_journal_close(&journal);
        open_ok(&journal, *state);
        assert_int_equal(stat_of(&journal).damaged, 0);
        assert_int_equal(
            tracker_journal_next(&journal, seq - 1, &record), TRACKER_OK);
        assert_int_equal(record.seq, seq);
        assert_true(text_is(&record, 80));

        /* The rest is too small for 104 bytes, so it is used up with them. */
        assert_int_equal(stat_of(&journal).used_bytes, rest + OVERHEAD + 80);
        append_len(&journal, ++seq, 32768 - 2 * OVERHEAD - 80,
            32768 - 2 * OVERHEAD - 80);
        tracker_journal_set_durable(&journal, seq);

        for (len = ring - 32768; len > 65536; len -= 32768) {
            append_len(&journal, ++seq, 32768 - OVERHEAD, 32768 - OVERHEAD);
            tracker_journal_set_durable(&journal, seq);
        }
        append_len(&journal, ++seq, len - OVERHEAD, len - OVERHEAD);
        tracker_journal_set_durable(&journal, seq);
    }

    tracker_journal_close(&journal);
}


/* Nothing sent: full sheds.  Sent: gives way.  The ledger balances always. */
static void
test_full_ledger(void **state)
{
    uint64_t               seq, tries, kept;
    tracker_record_t       record;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    open_ok(&journal, *state);
    seq = 0;

    for (tries = 0; tries < 5000; tries++) {
        if (append(&journal, seq + 1) == TRACKER_OK) {
            seq++;
        } else {
            tracker_journal_shed(&journal);
        }
    }

    stat = stat_of(&journal);
    assert_true(stat.shed > 1000);
    assert_int_equal(stat.written + stat.shed, tries);
    kept = stat.written - stat.durable;
    assert_int_equal(stat.durable + kept + stat.shed, tries);
    assert_int_equal(tracker_journal_next(&journal, 0, &record), TRACKER_OK);
    assert_int_equal(record.seq, 1);
    assert_int_equal(read_all(&journal, 0), seq);

    /* Redis has the first hundred: they make room, the rest stays. */
    tracker_journal_set_sent(&journal, 100);
    kept = seq;
    while (append(&journal, seq + 1) == TRACKER_OK) {
        seq++;
    }
    assert_true(seq > kept + 80 && seq < kept + 120);
    assert_int_equal(tracker_journal_next(&journal, 0, &record), TRACKER_OK);
    assert_true(record.seq > 90 && record.seq <= 101);
    assert_int_equal(read_all(&journal, 100), seq);

    /* Redis lost them all: what is still there is read again. */
    tracker_journal_set_sent(&journal, 0);
    assert_int_equal(read_all(&journal, 0), seq);
    tracker_journal_set_durable(&journal, seq);
    assert_int_equal(stat_of(&journal).used_bytes, 0);
    tracker_journal_close(&journal);
}


static void
test_advance(void **state)
{
    uint64_t          seq;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);
    append(&journal, 1);
    append(&journal, 2);
    assert_int_equal(tracker_journal_advance(&journal, 2), TRACKER_OK);
    assert_int_equal(tracker_journal_advance(&journal, 50), TRACKER_OK);
    assert_int_equal(
        tracker_journal_advance(&journal, UINT64_MAX), TRACKER_INVALID);
    append(&journal, 51);
    tracker_journal_close(&journal);

    open_ok(&journal, *state);
    assert_int_equal(stat_of(&journal).written, 51);
    assert_int_equal(stat_of(&journal).damaged, 0);
    assert_int_equal(tracker_journal_next(&journal, 2, &record), TRACKER_OK);
    assert_int_equal(record.seq, 51);
    assert_true(text_is(&record, text_len(51)));

    /* On an empty and on a full ring. */
    tracker_journal_set_durable(&journal, 51);
    assert_int_equal(tracker_journal_advance(&journal, 99), TRACKER_OK);
    tracker_journal_close(&journal);
    open_ok(&journal, *state);
    assert_int_equal(stat_of(&journal).written, 99);
    assert_int_equal(append_len(&journal, 100, 100000, 100000), TRACKER_OK);
    for (seq = 101; append_len(&journal, seq, 8, 8) == TRACKER_OK; seq++) {
        /* to the last byte */
    }
    assert_int_equal(tracker_journal_advance(&journal, seq), TRACKER_FULL);
    tracker_journal_set_sent(&journal, 100);
    assert_int_equal(tracker_journal_advance(&journal, seq), TRACKER_OK);
    assert_int_equal(stat_of(&journal).written, seq);
    tracker_journal_close(&journal);
}


/* ---- processes ---- */

/* Appends until killed and tells through shared memory what it committed. */
static void
appender(place_t *place, uint64_t *acknowledged)
{
    uint64_t          seq;
    tracker_journal_t journal;

    if (tracker_journal_open(&journal, place->path, SIZE, seed) != TRACKER_OK) {
        _exit(1);
    }

    for (seq = stat_of(&journal).written + 1;; seq++) {
        while (append(&journal, seq) != TRACKER_OK) {
            tracker_journal_set_sent(&journal, seq - 1);
        }

        __atomic_store_n(acknowledged, seq, __ATOMIC_RELEASE);

        if (seq % 64 == 0) {
            tracker_journal_set_sent(&journal, seq - 1);
            tracker_journal_set_durable(&journal, seq - 64);
        }
    }
}


static void
test_kill_in_append(void **state)
{
    int                    i, status;
    pid_t                  pid;
    uint64_t              *acknowledged, before;
    time_t                 until;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;
    struct timespec        pause = {0, 0};

    acknowledged = mmap(
        NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(acknowledged, MAP_FAILED);

    for (i = 0; i < KILLS; i++) {
        before = *acknowledged;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            appender(*state, acknowledged);
        }

        until = time(NULL) + DEADLINE;
        while (__atomic_load_n(acknowledged, __ATOMIC_ACQUIRE) < before + 200
               && time(NULL) < until)
        {
            sched_yield();
        }

        /* A random instant of the loop, not its start. */
        pause.tv_nsec = random() % 3000000;
        nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_true(*acknowledged >= before + 200);

        open_ok(&journal, *state);
        stat = stat_of(&journal);
        assert_int_equal(stat.damaged, 0);
        assert_true(
            stat.written == *acknowledged || stat.written == *acknowledged + 1);
        assert_int_equal(read_all(&journal, stat.durable), stat.written);
        tracker_journal_close(&journal);
        *acknowledged = stat.written;
    }

    munmap(acknowledged, PAGE);
}


/* The winner holds the file until all have tried. */
static void
test_openers_race(void **state)
{
    int               i, round, status, owners;
    int               gate[2], hold[2];
    char              byte;
    pid_t             pids[RACERS];
    place_t          *place = *state;
    tracker_result_e  rc;
    tracker_journal_t journal;

    for (round = 0; round < 20; round++) {
        assert_int_equal(pipe(gate), 0);
        assert_int_equal(pipe(hold), 0);

        for (i = 0; i < RACERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                close(gate[1]);
                close(hold[1]);
                (void) !read(gate[0], &byte, 1);
                rc = tracker_journal_open(&journal, place->path, SIZE, seed);
                if (rc == TRACKER_OK) {
                    (void) !read(hold[0], &byte, 1);
                }
                _exit(rc);
            }
        }

        close(gate[0]);
        close(gate[1]);

        for (i = 0, owners = 0; i < RACERS - 1; i++) {
            assert_true(waitpid(-1, &status, 0) > 0);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), TRACKER_BUSY);
        }

        close(hold[0]);
        close(hold[1]);
        assert_true(waitpid(-1, &status, 0) > 0);
        owners += WIFEXITED(status) && WEXITSTATUS(status) == TRACKER_OK;
        assert_int_equal(owners, 1);

        open_ok(&journal, place);
        tracker_journal_close(&journal);
        assert_int_equal(unlink(place->path), 0);
    }
}


static void
test_disk_full(void **state)
{
    int               status;
    pid_t             pid;
    place_t          *place = *state;
    char              left[128];
    struct rlimit     limit = {SIZE / 2, SIZE / 2};
    tracker_journal_t journal;

    pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        errno = 0;
        if (tracker_journal_open(&journal, place->path, SIZE, seed)
                != TRACKER_IO
            || errno != EFBIG || journal.fd != -1 || journal.map != NULL)
        {
            _exit(1);
        }
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    snprintf(left, sizeof(left), "%s.new", place->path);
    assert_int_equal(access(place->path, F_OK), -1);
    assert_int_equal(access(left, F_OK), -1);
    open_ok(&journal, place);
    tracker_journal_close(&journal);
}


/* What a process killed while it made a file leaves behind is used up. */
static void
test_leftover_of_creation(void **state)
{
    int               fd;
    char              left[128];
    place_t          *place = *state;
    tracker_journal_t journal;

    snprintf(left, sizeof(left), "%s.new", place->path);
    fd = open(left, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);

    open_ok(&journal, place);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(append(&journal, 1), TRACKER_OK);
    tracker_journal_close(&journal);
}


/* ---- damage ---- */

static uint8_t *
file_read(const char *path, size_t *len)
{
    int         fd;
    uint8_t    *bytes;
    struct stat st;

    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t) st.st_size;
    bytes = malloc(*len);
    assert_int_equal(read(fd, bytes, *len), *len);
    close(fd);

    return bytes;
}


static void
file_write(const char *path, const uint8_t *bytes, size_t len)
{
    int fd;

    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}


/* Patches in place, so that a byte costs no megabyte. */
static void
file_patch(const char *path, size_t at, const uint8_t *bytes, size_t len)
{
    int fd;

    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, (off_t) at), len);
    close(fd);
}


/* All that is delivered is whole; returns how many. */
static unsigned
count_whole(tracker_journal_t *journal, uint64_t *last)
{
    uint64_t         after;
    unsigned         n;
    tracker_record_t record;

    after = 0;
    n = 0;

    while (tracker_journal_next(journal, after, &record) == TRACKER_OK) {
        assert_true(record.seq > after);
        assert_true(text_is(&record, text_len(record.seq)));
        after = record.seq;
        n++;
    }

    *last = after;

    return n;
}

#define RECORDS 20


static size_t
make_records(place_t *place, size_t at[RECORDS + 2])
{
    size_t            bytes;
    uint64_t          seq;
    tracker_journal_t journal;

    open_ok(&journal, place);
    for (seq = 1; seq <= RECORDS; seq++) {
        at[seq] = PAGE + stat_of(&journal).used_bytes;
        assert_int_equal(append(&journal, seq), TRACKER_OK);
    }
    bytes = PAGE + stat_of(&journal).used_bytes;
    at[RECORDS + 1] = bytes;
    tracker_journal_close(&journal);

    return bytes;
}


static void
test_cut_at_every_byte(void **state)
{
    size_t                 len, cut, at[RECORDS + 2];
    uint8_t               *bytes;
    uint64_t               last, whole;
    place_t               *place = *state;
    unsigned               n;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    make_records(place, at);
    bytes = file_read(place->path, &len);

    for (cut = at[RECORDS - 2]; cut < at[RECORDS + 1]; cut++) {
        file_write(place->path, bytes, cut);
        open_ok(&journal, place);

        for (whole = RECORDS; at[whole] + OVERHEAD + text_len(whole) > cut;) {
            whole--;
        }

        n = count_whole(&journal, &last);
        assert_true(n == whole);
        assert_int_equal(last, whole);
        stat = stat_of(&journal);
        assert_int_equal(stat.damaged, RECORDS - whole);
        assert_int_equal(stat.written, RECORDS);

        /* It goes on with a sequence never used before. */
        assert_int_equal(append(&journal, RECORDS + 1), TRACKER_OK);
        tracker_journal_close(&journal);
        open_ok(&journal, place);
        assert_int_equal(count_whole(&journal, &last), n + 1);
        assert_int_equal(last, RECORDS + 1);
        assert_int_equal(stat_of(&journal).damaged, RECORDS - whole);
        tracker_journal_close(&journal);
    }

    /* No header, no journal, and nothing is changed. */
    for (cut = 0; cut < PAGE; cut += 97) {
        file_write(place->path, bytes, cut);
        assert_int_equal(
            tracker_journal_open(&journal, place->path, SIZE, seed),
            TRACKER_INVALID);
        assert_int_equal(journal.fd, -1);
        free(bytes);
        bytes = file_read(place->path, &len);
        assert_int_equal(len, cut);
        free(bytes);
        assert_int_equal(unlink(place->path), 0);
        make_records(place, at);
        bytes = file_read(place->path, &len);
    }

    free(bytes);
}


static void
test_flip_every_byte(void **state)
{
    size_t                 len, flip, end, at[RECORDS + 2];
    uint8_t               *bytes, byte;
    uint64_t               last, hit;
    place_t               *place = *state;
    unsigned               n;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    end = make_records(place, at);
    bytes = file_read(place->path, &len);

    for (flip = at[RECORDS - 2]; flip < end; flip++) {
        file_patch(place->path, 0, bytes, end + 64);
        byte = (uint8_t) (bytes[flip] ^ (1 << flip % 8));
        file_patch(place->path, flip, &byte, 1);

        for (hit = RECORDS; at[hit] > flip; hit--) {
            /* which record has that byte */
        }

        open_ok(&journal, place);
        n = count_whole(&journal, &last);
        stat = stat_of(&journal);

        if (flip >= at[hit] + OVERHEAD + text_len(hit)) {
            assert_int_equal(n, RECORDS); /* padding */
            assert_int_equal(stat.damaged, 0);
        } else {
            assert_int_equal(n, RECORDS - 1);
            assert_int_equal(stat.damaged, 1);
            assert_int_equal(last, hit == RECORDS ? RECORDS - 1 : RECORDS);
        }

        assert_int_equal(stat.written, RECORDS);
        assert_int_equal(append(&journal, RECORDS + 1), TRACKER_OK);
        tracker_journal_close(&journal);
        open_ok(&journal, place);
        assert_int_equal(count_whole(&journal, &last), n + 1);
        assert_int_equal(stat_of(&journal).damaged, stat.damaged);
        tracker_journal_close(&journal);
    }

    free(bytes);
}


/* One byte of the header may go bad without losing a record or a cursor that
 * was not the last to be written. */
static void
test_flip_header(void **state)
{
    size_t                 len, flip, at[RECORDS + 2];
    uint8_t               *bytes, byte;
    uint64_t               last;
    place_t               *place = *state;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    make_records(place, at);
    open_ok(&journal, place);
    tracker_journal_set_sent(&journal, 7);
    tracker_journal_set_durable(&journal, 5);
    tracker_journal_close(&journal);
    bytes = file_read(place->path, &len);

    for (flip = 0; flip < 512; flip++) {
        file_patch(place->path, 0, bytes, at[RECORDS + 1]);
        byte = (uint8_t) (bytes[flip] ^ (1 << flip % 8));
        file_patch(place->path, flip, &byte, 1);

        open_ok(&journal, place);
        count_whole(&journal, &last);
        stat = stat_of(&journal);
        assert_int_equal(last, RECORDS);
        assert_int_equal(stat.written, RECORDS);
        assert_int_equal(stat.damaged, 0);
        assert_true(stat.durable <= 5 && stat.sent <= 7);
        assert_memory_equal(stat.producer, "00010203fcfdfeff", 16);
        tracker_journal_close(&journal);
    }

    free(bytes);
}


/* Several damaged in the middle, across the ring's end too. */
static void
test_damage_in_the_middle(void **state)
{
    size_t                 len, i, step;
    uint8_t               *bytes;
    uint64_t               seq, last;
    place_t               *place = *state;
    unsigned               n;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    open_ok(&journal, place);
    for (seq = 1; seq <= 4000; seq++) {
        tracker_journal_set_durable(&journal, seq > 1500 ? seq - 1500 : 0);
        assert_int_equal(append(&journal, seq), TRACKER_OK);
    }
    stat = stat_of(&journal);
    tracker_journal_close(&journal);
    bytes = file_read(place->path, &len);

    for (step = 5003; step < 400000; step *= 3) {
        file_write(place->path, bytes, len);
        for (i = PAGE + step; i < len; i += step) {
            file_patch(place->path, i, (const uint8_t *) "\x80\x81", 2);
        }

        open_ok(&journal, place);
        n = count_whole(&journal, &last);
        assert_true(last >= 3990);
        assert_true(n < stat.written - stat.durable);
        assert_int_equal(
            n + stat_of(&journal).damaged, stat.written - stat.durable);
        assert_int_equal(append(&journal, 4001), TRACKER_OK);
        tracker_journal_close(&journal);

        open_ok(&journal, place);
        assert_int_equal(count_whole(&journal, &last), n + 1);
        tracker_journal_close(&journal);
    }

    free(bytes);
}


/* The header as it was before the last records: power failed. */
static void
test_header_is_old(void **state)
{
    size_t            len;
    uint8_t          *bytes;
    uint64_t          seq, last;
    place_t          *place = *state;
    tracker_journal_t journal;

    open_ok(&journal, place);
    for (seq = 1; seq <= 100; seq++) {
        append(&journal, seq);
    }
    bytes = file_read(place->path, &len);
    for (; seq <= 300; seq++) {
        append(&journal, seq);
    }
    tracker_journal_close(&journal);
    file_patch(place->path, 0, bytes, PAGE);

    open_ok(&journal, place);
    assert_int_equal(count_whole(&journal, &last), 300);
    assert_int_equal(stat_of(&journal).damaged, 0);
    tracker_journal_close(&journal);

    /* The other way round: the ring is old. */
    file_patch(place->path, PAGE, bytes + PAGE, len - PAGE);
    open_ok(&journal, place);
    assert_int_equal(count_whole(&journal, &last), 100);
    assert_int_equal(stat_of(&journal).damaged, 200);
    assert_int_equal(append(&journal, 301), TRACKER_OK);
    assert_int_equal(stat_of(&journal).written, 301);
    tracker_journal_close(&journal);
    free(bytes);
}


static void
test_not_a_journal(void **state)
{
    char                   folder[128];
    uint8_t                page[2 * PAGE];
    place_t               *place = *state;
    tracker_journal_t      journal;
    tracker_journal_stat_t stat;

    memset(page, 'x', sizeof(page));
    file_write(place->path, page, sizeof(page));
    assert_int_equal(tracker_journal_open(&journal, place->path, SIZE, seed),
        TRACKER_INVALID);
    assert_int_equal(tracker_journal_peek(place->path, &stat), TRACKER_INVALID);
    assert_int_equal(unlink(place->path), 0);

    assert_int_equal(tracker_journal_open(&journal, place->path,
                         TRACKER_JOURNAL_SIZE_MIN - 1, seed),
        TRACKER_INVALID);
    assert_int_equal(tracker_journal_peek(place->path, &stat), TRACKER_IO);

    assert_int_equal(mkfifo(place->path, 0600), 0);
    assert_int_equal(tracker_journal_open(&journal, place->path, SIZE, seed),
        TRACKER_INVALID);

    snprintf(folder, sizeof(folder), "%s/none/0.journal", place->folder);
    assert_int_equal(
        tracker_journal_open(&journal, folder, SIZE, seed), TRACKER_IO);
    assert_int_equal(errno, ENOENT);
}


#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(test_new_file),
        with_place(test_reopen_keeps_all),
        with_place(test_cursors_are_clamped),
        with_place(test_reserve_bounds),
        with_place(test_model),
        with_place(test_wrap_in_order),
        with_place(test_every_rest_at_the_wrap),
        with_place(test_full_ledger),
        with_place(test_advance),
        with_place(test_kill_in_append),
        with_place(test_openers_race),
        with_place(test_disk_full),
        with_place(test_leftover_of_creation),
        with_place(test_cut_at_every_byte),
        with_place(test_flip_every_byte),
        with_place(test_flip_header),
        with_place(test_damage_in_the_middle),
        with_place(test_header_is_old),
        with_place(test_not_a_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
