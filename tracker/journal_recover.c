/*
 * journal_recover.c - finds what is whole in a ring that was left behind.
 *
 * Walks the chain of records from the tail by CRC and sequence.  Damage before
 * the written end becomes a skip to the next whole record, or the end if there
 * is none; the chain may go on behind a written end that is out of date.
 */

#include "journal.h"


#define JOURNAL_SCAN_FACTOR 4 /* CRCs of a search: at most 4 rings of bytes */

typedef struct {
    tracker_journal_map_t *map;
    uint64_t               pos;    /* verified up to here */
    uint64_t               seq;    /* the last sequence before pos */
    uint64_t               limit;  /* no record may end behind it */
    uint64_t               budget; /* bytes a search may still check */
    journal_end_t          end;    /* as the header has it */
} journal_scan_t;


/* Whether a whole record or skip starts at pos; its bytes, or 0. */
static uint64_t
journal_verify(journal_scan_t *scan, uint64_t pos, journal_head_t *head)
{
    char    *p;
    uint64_t bytes, room;

    if (pos > scan->limit || scan->limit - pos < JOURNAL_HEAD) {
        return 0;
    }

    p = journal_at(scan->map, pos);
    memcpy(head, p, JOURNAL_HEAD);
    bytes = journal_head_bytes(head);
    room = scan->map->now.ring - pos % scan->map->now.ring;

    if (bytes == 0 || bytes > scan->limit - pos || head->seq >= JOURNAL_LIMIT
        || (head->len != JOURNAL_SKIP && bytes > room))
    {
        return 0;
    }

    return head->crc == journal_head_crc(head, p + JOURNAL_HEAD) ? bytes : 0;
}


/*
 * The first whole record behind the damage at scan->pos.  Every multiple of 8
 * may be its start, up to the written end, where an unpublished one may be.
 * A head must be plausible before its CRC is computed, and the budget bounds
 * what a forged file can cost.
 */
static tracker_result_e
journal_resync(journal_scan_t *scan, uint64_t *pos, uint64_t *seq)
{
    uint64_t       at;
    journal_head_t head;

    for (at = journal_pos(scan->map, scan->pos + JOURNAL_HEAD);
         at <= scan->end.pos; at = journal_pos(scan->map, at + JOURNAL_ALIGN))
    {
        if (scan->limit - at < JOURNAL_HEAD) {
            break;
        }

        memcpy(&head, journal_at(scan->map, at), JOURNAL_HEAD);

        if (head.len == JOURNAL_SKIP || journal_head_bytes(&head) == 0
            || head.seq <= scan->seq || head.seq > scan->end.seq + 1)
        {
            continue;
        }

        if (scan->budget < head.len) {
            break;
        }
        scan->budget -= head.len;

        if (journal_verify(scan, at, &head) != 0) {
            *pos = at;
            *seq = head.seq;
            return TRACKER_OK;
        }
    }

    return TRACKER_DECLINED;
}


/*
 * Replaces the damage at scan->pos by a skip to the next whole record, or cuts
 * there.  The sequences of a cut stay used, for Redis may have seen them.
 */
static tracker_result_e
journal_repair(journal_scan_t *scan)
{
    uint64_t               pos, seq;
    tracker_journal_map_t *map = scan->map;

    if (journal_resync(scan, &pos, &seq) == TRACKER_OK) {
        map->now.state.damaged += seq - 1 - scan->seq;
        journal_skip_write(map, scan->pos, pos - scan->pos, seq - 1);
        scan->pos = pos;
        scan->seq = seq - 1;
        return TRACKER_OK;
    }

    if (scan->end.seq > scan->seq) {
        map->now.state.damaged += scan->end.seq - scan->seq;
    }

    return TRACKER_DECLINED;
}


static void
journal_scan(journal_scan_t *scan)
{
    uint64_t       bytes;
    journal_head_t head;

    for (;;) {
        scan->pos = journal_pos(scan->map, scan->pos);
        bytes = journal_verify(scan, scan->pos, &head);

        if (bytes != 0
            && (head.len == JOURNAL_SKIP ? head.seq >= scan->seq
                                         : head.seq == scan->seq + 1))
        {
            scan->pos += bytes;
            scan->seq = head.seq;

            if (scan->seq <= scan->map->now.state.sent) {
                scan->map->now.sent_seq = scan->seq;
                scan->map->now.sent_pos = scan->pos;
            }
            continue;
        }

        if (scan->pos >= scan->end.pos || scan->limit - scan->pos < JOURNAL_HEAD
            || journal_repair(scan) != TRACKER_OK)
        {
            return;
        }
    }
}


/* Verifies the ring and makes the working copy of the header. */
tracker_result_e
tracker_journal_recover(tracker_journal_map_t *map, uint64_t size)
{
    uint64_t        used;
    journal_scan_t  scan;
    journal_state_t state;

    if (tracker_journal_state_read(map, &state) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    memset(&map->now, 0, sizeof(map->now));
    map->now.ring = size - JOURNAL_PAGE;
    map->now.state = state;
    tracker_journal_end_read(map, &state, map->now.ring, &scan.end);

    scan.map = map;
    scan.pos = state.tail_pos;
    scan.seq = state.tail_seq;
    scan.limit = state.tail_pos + map->now.ring;
    scan.budget = JOURNAL_SCAN_FACTOR * map->now.ring;
    map->now.sent_seq = scan.seq;
    map->now.sent_pos = scan.pos;
    journal_scan(&scan);

    /* An unused rest of the ring belongs to what comes next, if anything. */
    map->now.pos = scan.pos < scan.limit ? scan.pos : scan.limit;
    map->now.seq = scan.seq;

    /* Neither what was written nor what others have seen is used again. */
    used = scan.end.seq > state.sent ? scan.end.seq : state.sent;
    tracker_journal_reclaim(map, state.durable, UINT64_MAX);
    if (tracker_journal_jump(map, used) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    map->now.opened = map->now.seq;
    map->now.synced = map->now.state.tail_pos;
    tracker_journal_reclaim(map, state.durable, UINT64_MAX);
    tracker_journal_end_write(map);
    tracker_journal_end_write(map);
    tracker_journal_state_write(map);
    tracker_journal_state_write(map);

    return TRACKER_OK;
}
