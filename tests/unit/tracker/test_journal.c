/*
 * test_journal.c - appending, reading and cursors of the ring, against a model.
 */

#include "journal_place.h"


/* Twice: what was written, and then nothing. */
static void
sync_all(tracker_journal_t *journal)
{
    tracker_journal_span_t span;

    tracker_journal_span(journal, &span);
    assert_int_equal(span.to, span.from + stat_of(journal).used_bytes);
    assert_int_equal(tracker_journal_sync(&span), TRACKER_OK);

    tracker_journal_span(journal, &span);
    assert_int_equal(span.from, span.to);
    assert_int_equal(tracker_journal_sync(&span), TRACKER_OK);
}


static long
faults(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);

    return usage.ru_minflt;
}


/* Appending meets no page fault, also where the ring begins again. */
static void
test_sync_over_the_end(void **state)
{
    long                   met, before;
    uint64_t               last;
    unsigned               n;
    tracker_journal_t      journal;
    tracker_journal_span_t span;

    open_ok(&journal, *state);

    met = 0;
    last = 0;

    for (n = 1; n <= 30000; n++) {
        before = faults();
        append(&journal, n);
        met += n > 1300 ? faults() - before : 0;

        tracker_journal_set_sent(&journal, n);
        tracker_journal_set_durable(&journal, n);

        if (n % 1300 == 0) {
            tracker_journal_span(&journal, &span);
            assert_int_equal(tracker_journal_sync(&span), TRACKER_OK);
            assert_int_equal(span.from, last);
            last = span.to;
        }
    }

    assert_true(span.to > 2 * span.ring);
    /* 40; 250 if the ring's end is forgotten, thousands without warming */
    assert_true(met < 150);

    span.from = 0; /* more than the ring holds */
    assert_int_equal(tracker_journal_sync(&span), TRACKER_OK);

    close(journal.fd);
    journal.fd = -1;
    assert_int_equal(tracker_journal_sync(&span), TRACKER_IO);
    tracker_journal_close(&journal);
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

    sync_all(&journal);
    tracker_journal_close(&journal);
    tracker_journal_close(&journal);
}


static void
test_reopen_keeps_all(void **state)
{
    uint8_t                other[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    uint64_t               seq;
    place_t               *place = *state;
    tracker_record_t       record;
    tracker_journal_t      journal;
    tracker_journal_stat_t before, after;

    open_ok(&journal, place);
    for (seq = 1; seq <= 500; seq++) {
        assert_int_equal(append(&journal, seq), TRACKER_OK);
    }
    assert_int_equal(tracker_journal_next(&journal, 299, &record), TRACKER_OK);
    tracker_journal_set_sent(&journal, 300);
    tracker_journal_set_durable(&journal, 200);
    tracker_journal_shed(&journal);
    before = stat_of(&journal);
    assert_int_equal(tracker_journal_peek(place->path, &after), TRACKER_OK);
    assert_memory_equal(&before, &after, sizeof(before));
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
    assert_int_equal(after.unsent_us, AT + 301);
    assert_true(after.unsent_bytes < after.used_bytes);
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


/* Where it cannot be told, the oldest not durable stands in for it. */
static void
test_the_oldest_not_sent(void **state)
{
    uint64_t          seq;
    tracker_record_t  record;
    tracker_journal_t journal;

    open_ok(&journal, *state);
    assert_int_equal(stat_of(&journal).unsent_us, 0);
    for (seq = 1; seq <= 10; seq++) {
        append(&journal, seq);
    }
    assert_int_equal(stat_of(&journal).unsent_us, AT + 1);
    assert_int_equal(
        stat_of(&journal).unsent_bytes, stat_of(&journal).used_bytes);

    assert_int_equal(tracker_journal_next(&journal, 5, &record), TRACKER_OK);
    tracker_journal_set_sent(&journal, 6);
    assert_int_equal(stat_of(&journal).unsent_us, AT + 7);

    /* read on, but not accepted */
    assert_int_equal(tracker_journal_next(&journal, 8, &record), TRACKER_OK);
    assert_int_equal(stat_of(&journal).unsent_us, AT + 7);

    tracker_journal_set_sent(&journal, 4);
    assert_int_equal(stat_of(&journal).unsent_us, AT + 1);

    tracker_journal_set_durable(&journal, 8);
    assert_int_equal(stat_of(&journal).unsent_us, AT + 9);
    tracker_journal_set_sent(&journal, 10);
    assert_int_equal(stat_of(&journal).unsent_us, 0);
    assert_int_equal(stat_of(&journal).unsent_bytes, 0);
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


int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(test_new_file),
        with_place(test_sync_over_the_end),
        with_place(test_reopen_keeps_all),
        with_place(test_cursors_are_clamped),
        with_place(test_the_oldest_not_sent),
        with_place(test_reserve_bounds),
        with_place(test_model),
        with_place(test_wrap_in_order),
        with_place(test_every_rest_at_the_wrap),
        with_place(test_full_ledger),
        with_place(test_advance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
