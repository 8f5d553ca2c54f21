/*
 * journal_header.c - the journal's header page: two copies of each part.
 *
 * A reader takes the newest copy whose CRC is right, a writer overwrites the
 * older one: whatever instant a process dies at, one copy is whole.
 */

#include "journal.h"


static uint32_t
journal_identity_crc(const journal_identity_t *identity)
{
    journal_identity_t copy;

    copy = *identity;
    copy.crc = 0;

    return tracker_crc32c(0, &copy, sizeof(copy));
}


const journal_identity_t *
tracker_journal_identity_find(const tracker_journal_map_t *map)
{
    unsigned                  i;
    const journal_identity_t *identity;

    for (i = 0; i < 2; i++) {
        identity = &map->identity[i];

        if (identity->magic == JOURNAL_MAGIC
            && identity->version == JOURNAL_VERSION
            && identity->crc == journal_identity_crc(identity)
            && identity->size >= TRACKER_JOURNAL_SIZE_MIN
            && identity->size <= JOURNAL_SIZE_MAX
            && identity->size % JOURNAL_PAGE == 0)
        {
            return identity;
        }
    }

    return NULL;
}


static uint64_t
journal_end_crc(const journal_end_t *end)
{
    return tracker_crc32c(0, end, offsetof(journal_end_t, crc));
}


static uint64_t
journal_state_crc(const journal_state_t *state)
{
    return tracker_crc32c(0, state, offsetof(journal_state_t, crc));
}


/* Publishes the written end. */
void
tracker_journal_end_write(tracker_journal_map_t *map)
{
    journal_end_t *end;

    end = &map->end[map->now.turn++ & 1];

    /* The record it speaks of is complete before the first of these stores. */
    __atomic_store_n(&end->seq, map->now.seq, __ATOMIC_RELEASE);
    __atomic_store_n(&end->pos, map->now.pos, __ATOMIC_RELEASE);
    __atomic_store_n(&end->crc, journal_end_crc(end), __ATOMIC_RELEASE);
}


void
tracker_journal_state_write(tracker_journal_map_t *map)
{
    journal_state_t *state;

    map->now.state.turn++;
    map->now.state.crc = journal_state_crc(&map->now.state);

    state = &map->state[map->now.state.turn & 1];
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    *state = map->now.state;
    __atomic_thread_fence(__ATOMIC_RELEASE);
}


/* A state that can be true for a ring of this size. */
static int
journal_state_sane(const journal_state_t *state)
{
    return state->crc == journal_state_crc(state) && state->turn < JOURNAL_LIMIT
           && state->tail_seq < JOURNAL_LIMIT && state->tail_pos < JOURNAL_LIMIT
           && state->tail_pos % JOURNAL_ALIGN == 0
           && state->sent < JOURNAL_LIMIT && state->durable <= state->sent;
}


tracker_result_e
tracker_journal_state_read(
    const tracker_journal_map_t *map, journal_state_t *state)
{
    unsigned        i, found;
    journal_state_t copy;

    found = 0;

    for (i = 0; i < 2; i++) {
        copy = map->state[i];

        if (journal_state_sane(&copy) && (!found || copy.turn > state->turn)) {
            *state = copy;
            found = 1;
        }
    }

    return found ? TRACKER_OK : TRACKER_INVALID;
}


/* The newest written end that fits the tail; the tail itself if none does. */
void
tracker_journal_end_read(const tracker_journal_map_t *map,
    const journal_state_t *state, uint64_t ring, journal_end_t *end)
{
    unsigned      i;
    journal_end_t copy;

    end->seq = state->tail_seq;
    end->pos = state->tail_pos;

    for (i = 0; i < 2; i++) {
        copy = map->end[i];

        if (copy.crc == journal_end_crc(&copy) && copy.seq < JOURNAL_LIMIT
            && copy.pos % JOURNAL_ALIGN == 0 && copy.pos >= end->pos
            && copy.seq >= end->seq && copy.pos - state->tail_pos <= ring)
        {
            *end = copy;
        }
    }
}


void
tracker_journal_identity_fill(
    journal_identity_t *identity, uint64_t size, const uint8_t seed[8])
{
    unsigned          i;
    static const char digits[] = "0123456789abcdef";

    memset(identity, 0, sizeof(*identity));
    identity->magic = JOURNAL_MAGIC;
    identity->version = JOURNAL_VERSION;
    identity->size = size;

    for (i = 0; i < 8; i++) {
        identity->producer[2 * i] = digits[seed[i] >> 4];
        identity->producer[2 * i + 1] = digits[seed[i] & 0x0f];
    }

    identity->crc = journal_identity_crc(identity);
}


/*
 * Of a file that is not ours the working copy may be from before a crash: it
 * is believed only where it says what the state says.
 */
int
tracker_journal_unsent(const tracker_journal_map_t *map,
    const journal_state_t *state, uint64_t *pos)
{
    *pos = state->tail_pos;

    if (state->sent <= state->tail_seq) {
        return 1;
    }

    if (map->now.sent_seq != state->sent || map->now.sent_pos < state->tail_pos
        || map->now.sent_pos % JOURNAL_ALIGN != 0)
    {
        return 0;
    }

    *pos = map->now.sent_pos;

    return 1;
}


void
tracker_journal_stat_fill(tracker_journal_stat_t *stat,
    const journal_state_t *state, const journal_end_t *end,
    const journal_identity_t *identity)
{
    memset(stat, 0, sizeof(*stat));
    memcpy(stat->producer, identity->producer, TRACKER_PRODUCER_TEXT);
    stat->written = end->seq;
    stat->sent = state->sent;
    stat->durable = state->durable;
    stat->shed = state->shed;
    stat->damaged = state->damaged;
    stat->used_bytes = end->pos - state->tail_pos;
    stat->unsent_bytes = stat->sent < stat->written ? stat->used_bytes : 0;
    stat->total_bytes = identity->size - JOURNAL_PAGE;
}


void
tracker_journal_header_init(tracker_journal_map_t *map)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        map->state[i].turn = i;
        map->state[i].crc = journal_state_crc(&map->state[i]);
        map->end[i].crc = journal_end_crc(&map->end[i]);
    }
}
