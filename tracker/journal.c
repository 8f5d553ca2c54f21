/*
 * journal.c - the ring file that keeps events until PostgreSQL has them.
 *
 * The file is a header page and a ring.  The ring holds records one behind the
 * other, each at a multiple of 8:
 *
 *     u32 len     bytes of data; 0xffffffff: no record but a skip
 *     u32 crc     CRC-32C of len, seq, at_us and the data
 *     u64 seq     1, 2, 3 ...; of a skip: the last sequence before what follows
 *     u64 at_us   when it was appended; of a skip: the bytes to skip
 *     data        padded to 8; a skip has none
 *
 * A position counts bytes since the file was made and never goes back; its
 * place in the ring is the remainder.  A record does not wrap: before the end
 * of the ring a skip fills up, or fewer than 24 bytes stay unused.  A skip also
 * bridges records that were damaged, and sequences that are lost.
 *
 * The mapping is page cache, so what is stored there survives the death of
 * every process.  A store may be the last one at any instant; therefore each
 * part of the header is kept twice, with a CRC, and only the older copy is
 * overwritten: the identity (made once), the written end (each commit) and the
 * state (tail, sent, durable, counters).  The tail is where the oldest record
 * kept starts.  After power loss the header may be older than the ring, or the
 * other way round: recovery believes a record's CRC and sequence, nothing else,
 * and reads on past the written end as long as the chain goes on.
 *
 * What lies behind the written end can never be taken for a record of the
 * chain: a stale record has a smaller sequence, and the data of an event, being
 * JSON, has no zero byte, of which each record head has several.
 *
 * Limits: one owner (flock) that is one thread; sequences and positions up to
 * 2^62; a ring up to 2^40 bytes.  No pointer is ever kept in the mapping.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sync_file_range */
#endif

#include "journal.h"

#include <fcntl.h>
#include <sys/mman.h>


#define JOURNAL_ADVANCE_MAX (UINT64_C(1) << 32) /* events nobody has lost */
#define JOURNAL_AHEAD_MIN   (UINT64_C(1) << 20) /* bytes made writable ahead */


/*
 * The next record at *pos or behind skips, before the written end; moves *pos
 * to its head and *seq to the sequence before it.  The chain was verified when
 * it was opened or written, so the bounds here only keep a bug from spreading.
 */
tracker_result_e
tracker_journal_step(tracker_journal_map_t *map, uint64_t *pos, uint64_t *seq,
    journal_head_t *head)
{
    uint64_t bytes, at;

    for (at = journal_pos(map, *pos); at < map->now.pos;
         at = journal_pos(map, at + bytes))
    {
        memcpy(head, journal_at(map, at), JOURNAL_HEAD);
        bytes = journal_head_bytes(head);

        if (bytes == 0 || bytes > map->now.pos - at) {
            return TRACKER_INVALID;
        }

        *pos = at;

        if (head->len != JOURNAL_SKIP) {
            return TRACKER_OK;
        }

        *seq = head->seq;
    }

    return TRACKER_DECLINED;
}


/*
 * Moves the tail over the records up to seq, but no further than to leave
 * `room` bytes free.
 */
void
tracker_journal_reclaim(tracker_journal_map_t *map, uint64_t seq, uint64_t room)
{
    uint64_t         pos, before;
    journal_head_t   head;
    journal_state_t *state;

    state = &map->now.state;

    while (state->tail_pos != map->now.pos
           && map->now.ring - (map->now.pos - state->tail_pos) < room)
    {
        pos = state->tail_pos;
        before = state->tail_seq;

        switch (tracker_journal_step(map, &pos, &before, &head)) {
        case TRACKER_OK:
            break;
        case TRACKER_DECLINED:
            if (map->now.seq <= seq) {
                state->tail_seq = map->now.seq;
                state->tail_pos = map->now.pos;
            }
            return;
        default:
            return;
        }

        if (head.seq > seq) {
            return;
        }

        state->tail_seq = head.seq;
        state->tail_pos = pos + journal_record_bytes(head.len);
    }
}


tracker_result_e
tracker_journal_jump(tracker_journal_map_t *map, uint64_t seq)
{
    uint64_t pos, need;

    if (seq <= map->now.seq) {
        return TRACKER_OK;
    }

    pos = journal_pos(map, map->now.pos);
    need = pos + JOURNAL_HEAD - map->now.pos;
    tracker_journal_reclaim(map, map->now.state.sent, need);

    if (map->now.pos + need - map->now.state.tail_pos > map->now.ring) {
        return TRACKER_FULL;
    }

    journal_skip_write(map, pos, JOURNAL_HEAD, seq);
    map->now.pos = pos + JOURNAL_HEAD;
    map->now.seq = seq;

    return TRACKER_OK;
}


/* ---- appending ---- */

tracker_result_e
tracker_journal_reserve(tracker_journal_t *journal, size_t max, char **data)
{
    uint64_t               pos, bytes, room;
    tracker_journal_map_t *map = journal->map;

    if (max == 0 || max > TRACKER_JOURNAL_RECORD_MAX) {
        return TRACKER_INVALID;
    }

    bytes = journal_record_bytes(max);
    pos = map->now.pos;
    room = map->now.ring - pos % map->now.ring;
    if (room < bytes) {
        pos += room;
    }

    if (pos + bytes - map->now.state.tail_pos > map->now.ring) {
        tracker_journal_reclaim(
            map, map->now.state.sent, pos + bytes - map->now.pos);
        tracker_journal_state_write(map);

        if (pos + bytes - map->now.state.tail_pos > map->now.ring) {
            return TRACKER_FULL;
        }
    }

    map->now.reserved_pos = pos;
    map->now.reserved = max;
    *data = journal_at(map, pos) + JOURNAL_HEAD;

    return TRACKER_OK;
}


void
tracker_journal_commit(tracker_journal_t *journal, size_t len, uint64_t now_us)
{
    char                  *p;
    uint64_t               pos;
    tracker_journal_map_t *map = journal->map;
    journal_head_t         head = {(uint32_t) len, 0, map->now.seq + 1, now_us};

    pos = map->now.reserved_pos;

    if (len == 0 || len > map->now.reserved) {
        map->now.reserved = 0;
        return;
    }

    if (pos - map->now.pos >= JOURNAL_HEAD) {
        journal_skip_write(map, map->now.pos, pos - map->now.pos, map->now.seq);
    }

    p = journal_at(map, pos);
    head.crc = journal_head_crc(&head, p + JOURNAL_HEAD);
    memcpy(p, &head, JOURNAL_HEAD);

    map->now.reserved = 0;
    map->now.seq = head.seq;
    map->now.pos = pos + journal_record_bytes(len);
    tracker_journal_end_write(map);
}


void
tracker_journal_shed(tracker_journal_t *journal)
{
    journal->map->now.state.shed++;
    tracker_journal_state_write(journal->map);
}


/* ---- reading and cursors ---- */

tracker_result_e
tracker_journal_next(
    tracker_journal_t *journal, uint64_t after, tracker_record_t *record)
{
    uint64_t               pos, seq;
    journal_head_t         head;
    tracker_journal_map_t *map = journal->map;

    if (after >= map->now.seq) {
        return TRACKER_DECLINED;
    }

    /* Behind the last one read, unless that is behind what is asked for or
     * no longer there. */
    pos = map->now.read_pos;
    seq = map->now.read_seq;
    if (pos < map->now.state.tail_pos || seq > after) {
        pos = map->now.state.tail_pos;
        seq = map->now.state.tail_seq;
    }

    while (tracker_journal_step(map, &pos, &seq, &head) == TRACKER_OK) {
        seq = head.seq;

        if (seq > after) {
            record->seq = seq;
            record->at_us = head.at_us;
            record->data.data = journal_at(map, pos) + JOURNAL_HEAD;
            record->data.len = head.len;

            map->now.read_seq = seq;
            map->now.read_pos = pos + journal_record_bytes(head.len);

            return TRACKER_OK;
        }

        pos += journal_record_bytes(head.len);
    }

    return TRACKER_DECLINED;
}


tracker_result_e
tracker_journal_advance(tracker_journal_t *journal, uint64_t seq)
{
    tracker_result_e       rc;
    tracker_journal_map_t *map = journal->map;

    if (seq > map->now.seq + JOURNAL_ADVANCE_MAX || seq >= JOURNAL_LIMIT) {
        return TRACKER_INVALID;
    }

    rc = tracker_journal_jump(map, seq);
    tracker_journal_state_write(map);
    tracker_journal_end_write(map);

    return rc;
}


uint64_t
tracker_journal_opened(const tracker_journal_t *journal)
{
    return journal->map->now.opened;
}


void
tracker_journal_set_sent(tracker_journal_t *journal, uint64_t seq)
{
    tracker_journal_map_t *map = journal->map;

    if (seq > map->now.seq) {
        seq = map->now.seq;
    }

    if (seq < map->now.state.durable) {
        seq = map->now.state.durable;
    }

    /* most of the time it is the record that was read last */
    if (seq == map->now.read_seq) {
        map->now.sent_seq = seq;
        map->now.sent_pos = map->now.read_pos;
    }

    map->now.state.sent = seq;
    tracker_journal_state_write(map);
}


void
tracker_journal_set_durable(tracker_journal_t *journal, uint64_t seq)
{
    tracker_journal_map_t *map = journal->map;

    if (seq > map->now.seq) {
        seq = map->now.seq;
    }

    if (seq <= map->now.state.durable) {
        return;
    }

    map->now.state.durable = seq;
    if (map->now.state.sent < seq) {
        map->now.state.sent = seq;
    }

    tracker_journal_reclaim(map, seq, UINT64_MAX);
    tracker_journal_state_write(map);
}


void
tracker_journal_span(tracker_journal_t *journal, tracker_journal_span_t *span)
{
    tracker_journal_map_t *map = journal->map;

    span->journal = *journal;
    span->ring = map->now.ring;
    span->from = map->now.synced;
    span->to = map->now.pos;

    map->now.synced = map->now.pos;
}


static int
journal_write_out(const tracker_journal_t *journal, uint64_t at, uint64_t len)
{
    return sync_file_range(
        journal->fd, (off_t) at, (off_t) len, SYNC_FILE_RANGE_WRITE);
}


/* Kernels before 5.14 refuse: then appending faults page by page. */
static int
journal_warm(const tracker_journal_t *journal, uint64_t at, uint64_t len)
{
#ifdef MADV_POPULATE_WRITE
    uint64_t start = at & ~(uint64_t) (JOURNAL_PAGE - 1);

    (void) madvise(
        (char *) journal->map + start, at + len - start, MADV_POPULATE_WRITE);
#else
    (void) journal;
    (void) at;
    (void) len;
#endif

    return 0;
}


/* Calls for a stretch of the ring, in two parts when it goes over the end. */
static int
journal_stretch(const tracker_journal_span_t *span, uint64_t pos, uint64_t len,
    int (*call)(const tracker_journal_t *journal, uint64_t at, uint64_t len))
{
    uint64_t at, part;

    if (len > span->ring) {
        len = span->ring;
    }

    at = pos % span->ring;
    part = len < span->ring - at ? len : span->ring - at;

    if (part != 0 && call(&span->journal, JOURNAL_PAGE + at, part) != 0) {
        return -1;
    }

    if (len > part && call(&span->journal, JOURNAL_PAGE, len - part) != 0) {
        return -1;
    }

    return 0;
}


/*
 * Not msync(MS_ASYNC), which starts nothing on Linux.  A block written for the
 * first time is safe only once the file system commits its own journal, by
 * default within 5 s; from the ring's second round on the data is all.
 *
 * Writing out makes a page read-only again, and a fault for every sixth event
 * costs more than all else in appending.  So twice what was written since the
 * last sync is made writable at once, ahead of the owner.
 */
tracker_result_e
tracker_journal_sync(const tracker_journal_span_t *span)
{
    uint64_t ahead;

    if (journal_write_out(&span->journal, 0, JOURNAL_PAGE) != 0
        || journal_stretch(
               span, span->from, span->to - span->from, journal_write_out)
               != 0)
    {
        return TRACKER_IO;
    }

    /* pages made writable are written out again, so an idle shop has none */
    if (span->to == span->from) {
        return TRACKER_OK;
    }

    ahead = 2 * (span->to - span->from);
    if (ahead < JOURNAL_AHEAD_MIN) {
        ahead = JOURNAL_AHEAD_MIN;
    }

    (void) journal_stretch(span, span->to,
        ahead < span->ring / 2 ? ahead : span->ring / 2, journal_warm);

    return TRACKER_OK;
}


void
tracker_journal_stat(
    const tracker_journal_t *journal, tracker_journal_stat_t *stat)
{
    uint64_t               pos, seq;
    journal_head_t         head;
    tracker_journal_map_t *map = journal->map;
    journal_end_t          end = {map->now.seq, map->now.pos, 0};

    tracker_journal_stat_fill(stat, &map->now.state, &end, &map->identity[0]);

    pos = map->now.state.tail_pos;
    seq = map->now.state.tail_seq;
    if (tracker_journal_step(map, &pos, &seq, &head) == TRACKER_OK) {
        stat->oldest_us = head.at_us;
    }

    if (stat->sent >= stat->written) {
        return;
    }

    stat->unsent_us = stat->oldest_us;

    if (tracker_journal_unsent(map, &map->now.state, &pos)) {
        stat->unsent_bytes = map->now.pos - pos;

        if (tracker_journal_step(map, &pos, &seq, &head) == TRACKER_OK) {
            stat->unsent_us = head.at_us;
        }
    }
}
