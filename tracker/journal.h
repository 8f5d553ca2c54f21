/*
 * journal.h - what the parts of the journal share; nobody else includes it.
 *
 * journal.c describes the file.  journal_header.c reads and writes the header
 * page, journal_recover.c verifies a ring, journal_file.c opens and makes
 * files, journal.c appends and reads.
 */

#ifndef TRACKER_JOURNAL_H_INCLUDED_
#define TRACKER_JOURNAL_H_INCLUDED_

#include "tracker.h"

#include <string.h>

#pragma GCC visibility push(hidden)


#define JOURNAL_MAGIC    0x4c4e524a4d52434e /* "NCRMJRNL" */
#define JOURNAL_VERSION  1
#define JOURNAL_PAGE     4096 /* bytes of the header */
#define JOURNAL_SIZE_MAX (UINT64_C(1) << 40)
#define JOURNAL_LIMIT    (UINT64_C(1) << 62) /* sequences and positions */
#define JOURNAL_ALIGN    8
#define JOURNAL_SKIP     UINT32_MAX

typedef struct {
    uint32_t len;
    uint32_t crc;
    uint64_t seq;
    uint64_t at_us;
} journal_head_t;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t crc;
    uint64_t size; /* bytes of the whole file */
    char     producer[TRACKER_PRODUCER_TEXT];
} journal_identity_t;

typedef struct {
    uint64_t seq;
    uint64_t pos;
    uint64_t crc;
} journal_end_t;

typedef struct {
    uint64_t turn; /* the copy with the larger one is newer */
    uint64_t tail_seq;
    uint64_t tail_pos;
    uint64_t sent;
    uint64_t durable;
    uint64_t shed;
    uint64_t damaged;
    uint64_t crc;
} journal_state_t;

/* The header page.  `now` is the owner's working copy, made afresh by open. */
struct tracker_journal_map_s {
    journal_identity_t identity[2];
    journal_state_t    state[2];
    journal_end_t      end[2];

    struct {
        journal_state_t state;
        uint64_t        ring; /* bytes */
        uint64_t        seq;  /* written */
        uint64_t        pos;
        uint64_t        reserved_pos; /* of the head of what is reserved */
        uint64_t        reserved;     /* bytes of data, 0: none */
        uint64_t        read_seq;     /* of the record last read */
        uint64_t        read_pos;     /* behind it */
        uint64_t        sent_seq;     /* a record, `sent` or before it */
        uint64_t        sent_pos;     /* behind that record */
        uint64_t        opened;       /* `seq` when it was opened */
        uint64_t        synced;       /* up to here a sync was asked for */
        uint64_t        turn;         /* which copy of end is next */
    } now;
};

_Static_assert(
    sizeof(struct tracker_journal_map_s) <= JOURNAL_PAGE, "one page");
_Static_assert(sizeof(journal_head_t) == 24, "no padding");

#define JOURNAL_HEAD sizeof(journal_head_t)


/* ---- journal_header.c ---- */

/* The valid copy of the identity, NULL if there is none. */
const journal_identity_t *tracker_journal_identity_find(
    const tracker_journal_map_t *map);
void tracker_journal_identity_fill(
    journal_identity_t *identity, uint64_t size, const uint8_t seed[8]);
/* Fills both copies of a new file's state and end. */
void tracker_journal_header_init(tracker_journal_map_t *map);
/* The newest valid state; INVALID: neither copy is. */
tracker_result_e tracker_journal_state_read(
    const tracker_journal_map_t *map, journal_state_t *state);
/* The newest written end that fits the tail; the tail itself if none does. */
void tracker_journal_end_read(const tracker_journal_map_t *map,
    const journal_state_t *state, uint64_t ring, journal_end_t *end);
/* Publish the working copy. */
void tracker_journal_state_write(tracker_journal_map_t *map);
void tracker_journal_end_write(tracker_journal_map_t *map);
/* 1 if the working copy knows where the first record not sent is: at *pos. */
int  tracker_journal_unsent(const tracker_journal_map_t *map,
     const journal_state_t *state, uint64_t *pos);
void tracker_journal_stat_fill(tracker_journal_stat_t *stat,
    const journal_state_t *state, const journal_end_t *end,
    const journal_identity_t *identity);


/* ---- journal.c ---- */

/*
 * The next record at *pos or behind skips, before the written end; moves *pos
 * to its head and *seq to the sequence before it.
 */
tracker_result_e tracker_journal_step(tracker_journal_map_t *map, uint64_t *pos,
    uint64_t *seq, journal_head_t *head);
/*
 * Moves the tail over the records up to seq, but no further than to leave
 * `room` bytes free.
 */
void tracker_journal_reclaim(
    tracker_journal_map_t *map, uint64_t seq, uint64_t room);
/* Sequences up to seq are used, though the ring has no record of them. */
tracker_result_e tracker_journal_jump(tracker_journal_map_t *map, uint64_t seq);


/* ---- journal_recover.c ---- */

/* Verifies the ring and makes the working copy of the header. */
tracker_result_e tracker_journal_recover(
    tracker_journal_map_t *map, uint64_t size);


/* ---- places in the ring ---- */

static inline char *
journal_at(tracker_journal_map_t *map, uint64_t pos)
{
    return (char *) map + JOURNAL_PAGE + pos % map->now.ring;
}


/* The same position, or the ring's next start when no head fits before it. */
static inline uint64_t
journal_pos(const tracker_journal_map_t *map, uint64_t pos)
{
    uint64_t room;

    room = map->now.ring - pos % map->now.ring;

    return room < JOURNAL_HEAD ? pos + room : pos;
}


static inline uint64_t
journal_record_bytes(uint64_t len)
{
    return JOURNAL_HEAD
           + (len + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
}


/* What a head, which need not be a true one, says it takes; 0: nothing. */
static inline uint64_t
journal_head_bytes(const journal_head_t *head)
{
    if (head->len == JOURNAL_SKIP) {
        return head->at_us >= JOURNAL_HEAD && head->at_us < JOURNAL_LIMIT
                       && head->at_us % JOURNAL_ALIGN == 0
                   ? head->at_us
                   : 0;
    }

    return head->len != 0 && head->len <= TRACKER_JOURNAL_RECORD_MAX
               ? journal_record_bytes(head->len)
               : 0;
}


static inline uint32_t
journal_head_crc(const journal_head_t *head, const char *data)
{
    uint32_t crc;

    crc = tracker_crc32c(head->len, &head->seq, 2 * sizeof(uint64_t));

    return head->len == JOURNAL_SKIP ? crc
                                     : tracker_crc32c(crc, data, head->len);
}


static inline void
journal_skip_write(
    tracker_journal_map_t *map, uint64_t pos, uint64_t bytes, uint64_t seq)
{
    journal_head_t head = {JOURNAL_SKIP, 0, seq, bytes};

    head.crc = journal_head_crc(&head, NULL);

    memcpy(journal_at(map, pos), &head, JOURNAL_HEAD);
}

#pragma GCC visibility pop

#endif /* TRACKER_JOURNAL_H_INCLUDED_ */
