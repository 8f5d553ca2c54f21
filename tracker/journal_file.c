/*
 * journal_file.c - makes, locks, maps and looks at journal files.
 *
 * A file's owner is who holds its flock.  A new file is made whole under
 * another name and locked before it gets its own, so of two processes in a race
 * exactly one ends as the owner and nobody ever sees half a file.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_POPULATE */
#endif

#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>


#define JOURNAL_OPEN_TRIES 16
#define JOURNAL_PEEK_TRIES 16
#define JOURNAL_CREATED    ".new" /* appended to a file's name in creation */


/* 1: path still names the file that is open as fd. */
static int
journal_same_file(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0
           && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}


/* Without blocks of its own a mapped page could end a process (SIGBUS). */
static tracker_result_e
journal_allocate(int fd, uint64_t size)
{
    int rc;

    do {
        rc = posix_fallocate(fd, 0, (off_t) size);
    } while (rc == EINTR);

    if (rc != 0) {
        errno = rc;
        return TRACKER_IO;
    }

    return TRACKER_OK;
}


static tracker_result_e
journal_lock(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return TRACKER_OK;
    }

    return errno == EWOULDBLOCK ? TRACKER_BUSY : TRACKER_IO;
}


static tracker_result_e
journal_format(int fd, uint64_t size, const uint8_t seed[8])
{
    unsigned              i;
    tracker_journal_map_t map;

    memset(&map, 0, sizeof(map));

    for (i = 0; i < 2; i++) {
        tracker_journal_identity_fill(&map.identity[i], size, seed);
    }

    tracker_journal_header_init(&map);

    if (ftruncate(fd, 0) != 0) {
        return TRACKER_IO;
    }

    if (journal_allocate(fd, size) != TRACKER_OK) {
        return TRACKER_IO;
    }

    if (pwrite(fd, &map, sizeof(map), 0) != (ssize_t) sizeof(map)) {
        return TRACKER_IO;
    }

    return fdatasync(fd) == 0 ? TRACKER_OK : TRACKER_IO;
}


/* The directory's entry has to survive power loss like the file. */
static tracker_result_e
journal_sync_directory(const char *path)
{
    int    fd, rc, saved;
    char   directory[PATH_MAX];
    char  *slash;
    size_t len;

    len = strlen(path);
    if (len >= sizeof(directory)) {
        errno = ENAMETOOLONG;
        return TRACKER_IO;
    }

    memcpy(directory, path, len + 1);
    slash = strrchr(directory, '/');

    if (slash == NULL) {
        memcpy(directory, ".", 2);
    } else {
        slash[slash == directory] = '\0';
    }

    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1) {
        return TRACKER_IO;
    }

    rc = fsync(fd);
    saved = errno;
    (void) close(fd);
    errno = saved;

    return rc == 0 ? TRACKER_OK : TRACKER_IO;
}


/*
 * Makes the file under another name, which only the holder of that file's lock
 * may rename or remove.  On OK *fd is the new file under its own name, locked
 * from before anybody could see it; AGAIN: somebody else was faster.
 */
static tracker_result_e
journal_create(int *fd, const char *path, uint64_t size, const uint8_t seed[8])
{
    int              saved;
    char             name[PATH_MAX];
    tracker_result_e rc;

    if (size < TRACKER_JOURNAL_SIZE_MIN || size > JOURNAL_SIZE_MAX) {
        return TRACKER_INVALID;
    }

    if (snprintf(name, sizeof(name), "%s%s", path, JOURNAL_CREATED)
        >= (int) sizeof(name))
    {
        errno = ENAMETOOLONG;
        return TRACKER_IO;
    }

    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd == -1) {
        return TRACKER_IO;
    }

    rc = journal_lock(*fd);

    if (rc == TRACKER_OK && !journal_same_file(*fd, name)) {
        rc = TRACKER_AGAIN;

    } else if (rc == TRACKER_OK) {
        rc = access(path, F_OK) == 0 ? TRACKER_AGAIN
                                     : journal_format(*fd, size, seed);

        if (rc == TRACKER_OK && rename(name, path) != 0) {
            rc = TRACKER_IO;
        }

        if (rc != TRACKER_OK) {
            saved = errno;
            (void) unlink(name);
            errno = saved;

        } else {
            rc = journal_sync_directory(path);
        }
    }

    if (rc != TRACKER_OK) {
        saved = errno;
        (void) close(*fd);
        errno = saved;
    }

    return rc;
}


/* Opens what is there and takes its lock; DECLINED: nothing is there. */
static tracker_result_e
journal_open_file(int *fd, const char *path)
{
    int              saved;
    struct stat      st;
    tracker_result_e rc;

    *fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (*fd == -1) {
        return errno == ENOENT ? TRACKER_DECLINED : TRACKER_IO;
    }

    if (fstat(*fd, &st) != 0) {
        rc = TRACKER_IO;

    } else if (!S_ISREG(st.st_mode)) {
        rc = TRACKER_INVALID;

    } else {
        rc = journal_lock(*fd);
        if (rc == TRACKER_OK && !journal_same_file(*fd, path)) {
            rc = TRACKER_AGAIN;
        }
    }

    if (rc != TRACKER_OK) {
        saved = errno;
        (void) close(*fd);
        errno = saved;
    }

    return rc;
}


/* Reads the header page; a shorter file is no journal. */
static tracker_result_e
journal_read_page(int fd, tracker_journal_map_t *map)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return TRACKER_IO;
    }

    if (!S_ISREG(st.st_mode) || st.st_size < JOURNAL_PAGE) {
        return TRACKER_INVALID;
    }

    return pread(fd, map, sizeof(*map), 0) == (ssize_t) sizeof(*map)
               ? TRACKER_OK
               : TRACKER_IO;
}


/* Maps the file of a locked descriptor; a file cut short gets its size back. */
static tracker_result_e
journal_map(tracker_journal_t *journal)
{
    void                     *p;
    journal_identity_t        identity;
    journal_state_t           state;
    tracker_result_e          rc;
    const journal_identity_t *found;
    tracker_journal_map_t     header;

    rc = journal_read_page(journal->fd, &header);
    if (rc != TRACKER_OK) {
        return rc;
    }

    found = tracker_journal_identity_find(&header);
    if (found == NULL
        || tracker_journal_state_read(&header, &state) != TRACKER_OK) {
        return TRACKER_INVALID;
    }

    identity = *found;

    if (journal_allocate(journal->fd, identity.size) != TRACKER_OK) {
        return TRACKER_IO;
    }

    p = mmap(NULL, identity.size, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_POPULATE, journal->fd, 0);
    if (p == MAP_FAILED) {
        return TRACKER_IO;
    }

    journal->map = p;
    journal->size = identity.size;

    rc = tracker_journal_recover(journal->map, identity.size);
    if (rc != TRACKER_OK) {
        return rc;
    }

    journal->map->identity[0] = identity;
    journal->map->identity[1] = identity;

    return TRACKER_OK;
}


tracker_result_e
tracker_journal_open(tracker_journal_t *journal, const char *path, size_t size,
    const uint8_t producer_seed[8])
{
    int              saved;
    unsigned         tries;
    tracker_result_e rc;

    journal->map = NULL;
    journal->size = 0;
    journal->fd = -1;

    for (tries = 0; tries < JOURNAL_OPEN_TRIES; tries++) {
        rc = journal_open_file(&journal->fd, path);
        if (rc == TRACKER_DECLINED) {
            rc = journal_create(
                &journal->fd, path, size - size % JOURNAL_PAGE, producer_seed);
        }

        if (rc == TRACKER_OK) {
            break;
        }

        journal->fd = -1;
        if (rc != TRACKER_AGAIN) {
            return rc;
        }
    }

    if (journal->fd == -1) {
        return TRACKER_BUSY;
    }

    rc = journal_map(journal);
    if (rc != TRACKER_OK) {
        saved = errno;
        tracker_journal_close(journal);
        errno = saved;
    }

    return rc;
}


void
tracker_journal_close(tracker_journal_t *journal)
{
    if (journal->map != NULL) {
        (void) munmap(journal->map, journal->size);
        journal->map = NULL;
    }

    if (journal->fd != -1) {
        (void) close(journal->fd);
        journal->fd = -1;
    }
}


/* When the first record from pos on was appended, 0 if it cannot be told. */
static uint64_t
journal_peek_oldest(int fd, uint64_t pos, uint64_t end, uint64_t ring)
{
    uint64_t       bytes, room;
    journal_head_t head;

    for (/* void */; pos < end; pos += bytes) {
        room = ring - pos % ring;
        if (room < JOURNAL_HEAD) {
            bytes = room;
            continue;
        }

        if (pread(fd, &head, JOURNAL_HEAD, (off_t) (JOURNAL_PAGE + pos % ring))
            != (ssize_t) JOURNAL_HEAD)
        {
            return 0;
        }

        bytes = journal_head_bytes(&head);
        if (bytes == 0) {
            return 0;
        }

        if (head.len != JOURNAL_SKIP) {
            return head.at_us;
        }
    }

    return 0;
}


/*
 * The owner may be writing meanwhile; the copies and their CRCs give a state
 * and an end that were true, each at its own instant.
 */
tracker_result_e
tracker_journal_peek(const char *path, tracker_journal_stat_t *stat)
{
    int                       fd, saved;
    uint64_t                  ring, unsent;
    unsigned                  tries;
    journal_end_t             end;
    journal_state_t           state;
    tracker_result_e          rc;
    tracker_journal_map_t     header;
    const journal_identity_t *identity;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1) {
        return TRACKER_IO;
    }

    rc = TRACKER_INVALID;

    for (tries = 0; tries < JOURNAL_PEEK_TRIES; tries++) {
        rc = journal_read_page(fd, &header);
        if (rc != TRACKER_OK) {
            break;
        }

        identity = tracker_journal_identity_find(&header);
        if (identity == NULL
            || tracker_journal_state_read(&header, &state) != TRACKER_OK)
        {
            rc = TRACKER_INVALID;
            continue;
        }

        ring = identity->size - JOURNAL_PAGE;
        tracker_journal_end_read(&header, &state, ring, &end);
        tracker_journal_stat_fill(stat, &state, &end, identity);
        stat->oldest_us =
            journal_peek_oldest(fd, state.tail_pos, end.pos, ring);

        if (stat->sent >= stat->written) {
            break;
        }

        stat->unsent_us = stat->oldest_us;

        if (tracker_journal_unsent(&header, &state, &unsent)
            && unsent <= end.pos) {
            stat->unsent_us = journal_peek_oldest(fd, unsent, end.pos, ring);
            stat->unsent_bytes = end.pos - unsent;
        }

        break;
    }

    saved = errno;
    (void) close(fd);
    errno = saved;

    return rc;
}
