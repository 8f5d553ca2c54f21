/*
 * test_journal_damage.c - files cut and flipped, byte by byte.
 *
 * Nothing damaged is ever delivered, and everything whole is.
 */

#include "journal_place.h"


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


/*
 * One byte of the header may go bad without losing a record, or a cursor that
 * was not the last to be written; peek sees at worst the commit before.
 */
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
    append(&journal, RECORDS + 1);
    append(&journal, RECORDS + 2);
    tracker_journal_close(&journal);
    bytes = file_read(place->path, &len);

    for (flip = 0; flip < 512; flip++) {
        file_patch(place->path, 0, bytes, at[RECORDS + 1]);
        byte = (uint8_t) (bytes[flip] ^ (1 << flip % 8));
        file_patch(place->path, flip, &byte, 1);

        assert_int_equal(tracker_journal_peek(place->path, &stat), TRACKER_OK);
        assert_true(stat.written >= RECORDS + 1);
        assert_true(stat.durable <= 5 && stat.sent <= 7);

        open_ok(&journal, place);
        count_whole(&journal, &last);
        stat = stat_of(&journal);
        assert_int_equal(last, RECORDS + 2);
        assert_int_equal(stat.written, RECORDS + 2);
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


int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(test_cut_at_every_byte),
        with_place(test_flip_every_byte),
        with_place(test_flip_header),
        with_place(test_damage_in_the_middle),
        with_place(test_header_is_old),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
