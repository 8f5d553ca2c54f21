/*
 * test_journal_file.c - the journal's file among processes and on full disks.
 *
 * Writers are killed with SIGKILL at random instants, openers race, the disk
 * ends early, and what is there may be no journal at all.
 */

#include "journal_place.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>


#define KILLS    40
#define RACERS   8
#define DEADLINE 20 /* seconds until a test gives up waiting */


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


int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(test_kill_in_append),
        with_place(test_openers_race),
        with_place(test_disk_full),
        with_place(test_leftover_of_creation),
        with_place(test_not_a_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
