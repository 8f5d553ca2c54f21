/*
 * load_file.c - a CSV file: plain, compressed with gzip, or standard input.
 *
 * zlib reads all three the same way.  Progress is measured in bytes on disk,
 * so that it is right for compressed files too.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "mining.h"


#define FILE_BUFFER 262144 /* bytes */


mining_result_e
mining_file_open(mining_file_t *file, const char *path)
{
    int         fd;
    struct stat st;

    memset(file, 0, sizeof(*file));

    fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO)
                                : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        mining_say("%s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void) close(fd);
        }
        return MINING_INVALID;
    }

    if (S_ISDIR(st.st_mode)) {
        mining_say("%s: is a directory", path);
        (void) close(fd);
        return MINING_INVALID;
    }

    if (S_ISREG(st.st_mode)) {
        file->size = (uint64_t) st.st_size;
    }

    file->gz = gzdopen(fd, "rb");
    if (file->gz == NULL) {
        (void) close(fd);
        return MINING_NOMEM;
    }
    (void) gzbuffer(file->gz, FILE_BUFFER);

    return MINING_OK;
}


void
mining_file_close(mining_file_t *file)
{
    if (file->gz != NULL) {
        (void) gzclose_r(file->gz);
        file->gz = NULL;
    }
}


long
mining_file_read(void *ctx, char *buf, size_t size)
{
    int            n, code;
    mining_file_t *file;

    file = ctx;
    n = gzread(file->gz, buf, (unsigned) size);

    if (n == 0) {
        /* A compressed file cut short ends without an error from gzread. */
        (void) gzerror(file->gz, &code);
        return code == Z_OK || code == Z_STREAM_END ? 0 : -1;
    }

    return n;
}


uint64_t
mining_file_done(const mining_file_t *file)
{
    z_off_t done;

    done = gzoffset(file->gz);

    return done < 0 ? 0 : (uint64_t) done;
}
