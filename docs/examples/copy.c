/*
 * copy FROM TO: copies a file through io_uring, 32 reads and writes in flight.
 *
 * One task.  The steps before and after the data (open, stat, fsync, close) are one operation each,
 * one after the other.  The data goes by chunks: each is read, then written, then takes the next
 * piece of the file, and all of them do so at the same time.  Reads and writes may come back short;
 * they go on where they ended.
 *
 * Where there is no ring it says so and copies with read(2) and write(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tocsin/tocsin.h>
#include <tocsin/uring_io.h>
#include <unistd.h>

enum {
    DEPTH = 32,
    CHUNK_SIZE = 128 << 10,
    STAT_MASK = STATX_BASIC_STATS,
};

enum chunk_state {
    CHUNK_IDLE,
    CHUNK_READING,
    CHUNK_WRITING,
};

/* A piece of the file on its way. */
struct chunk {
    struct tocsin_uring_io io;
    enum chunk_state state;
    uint64_t offset; /* of the piece in the file */
    size_t size;     /* of the piece */
    size_t filled;   /* what of it was read */
    size_t written;  /* what of that was written */
    char data[CHUNK_SIZE];
};

enum step {
    STEP_OPEN_SOURCE,
    STEP_STAT_SOURCE,
    STEP_OPEN_TARGET,
    STEP_STAT_TARGET,
    STEP_DATA,
    STEP_FSYNC,
    STEP_CLOSE_SOURCE,
    STEP_CLOSE_TARGET,
    STEP_END,
};

struct copy {
    const char *source;
    const char *target;
    bool told; /* what went wrong */
    int source_fd;
    int target_fd;
    struct statx source_stat;
    struct statx target_stat;
    enum step step;
    bool started; /* the step's operation is in flight */
    struct tocsin_uring_io io;
    unsigned depth;
    uint64_t next;  /* offset of the next piece */
    uint64_t limit; /* where the file ends, as far as we know */
    struct chunk chunks[DEPTH];
};

static int fail(struct copy *copy, const char *what, const char *name, int error)
{
    copy->told = true;
    fprintf(stderr, "copy: cannot %s %s: %s\n", what, name, strerror(-error));
    return error;
}

/* May the one be copied to the other?  If so the target is made empty. */
static int check_files(struct copy *copy)
{
    const struct statx *from = &copy->source_stat;
    const struct statx *to = &copy->target_stat;

    if (!S_ISREG(from->stx_mode)) {
        return fail(copy, "copy (it is no regular file)", copy->source, -EINVAL);
    }
    if (from->stx_ino == to->stx_ino && from->stx_dev_major == to->stx_dev_major &&
        from->stx_dev_minor == to->stx_dev_minor) {
        return fail(copy, "copy to itself", copy->source, -EINVAL);
    }
    if (S_ISREG(to->stx_mode) && ftruncate(copy->target_fd, 0) != 0) {
        return fail(copy, "empty", copy->target, -errno);
    }
    /* A file that says 0 may still have contents (/proc): read until it ends, piece by piece. */
    copy->limit = from->stx_size > 0 ? from->stx_size : UINT64_MAX;
    copy->depth = from->stx_size > 0 ? DEPTH : 1;
    return 0;
}

/* ---- Without a ring ------------------------------------------------------------------------- */

static int write_all(struct copy *copy, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(copy->target_fd, data, size);

        if (n < 0 && errno != EINTR) {
            return fail(copy, "write", copy->target, -errno);
        }
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int copy_plainly(struct copy *copy)
{
    char *data = copy->chunks[0].data;
    ssize_t n;
    int r;

    copy->source_fd = open(copy->source, O_RDONLY | O_CLOEXEC);
    if (copy->source_fd < 0 ||
        statx(copy->source_fd, "", AT_EMPTY_PATH, STAT_MASK, &copy->source_stat) != 0) {
        return fail(copy, "open", copy->source, -errno);
    }
    copy->target_fd =
        open(copy->target, O_WRONLY | O_CREAT | O_CLOEXEC, copy->source_stat.stx_mode & 0777);
    if (copy->target_fd < 0 ||
        statx(copy->target_fd, "", AT_EMPTY_PATH, STAT_MASK, &copy->target_stat) != 0) {
        return fail(copy, "open", copy->target, -errno);
    }
    r = check_files(copy);
    while (r == 0 && (n = read(copy->source_fd, data, CHUNK_SIZE)) != 0) {
        if (n > 0) {
            r = write_all(copy, data, (size_t)n);
        } else if (errno != EINTR) {
            r = fail(copy, "read", copy->source, -errno);
        }
    }
    if (r == 0 && S_ISREG(copy->target_stat.stx_mode) && fsync(copy->target_fd) != 0) {
        r = fail(copy, "sync", copy->target, -errno);
    }
    close(copy->source_fd);
    if (close(copy->target_fd) != 0 && r == 0) {
        r = fail(copy, "close", copy->target, -errno);
    }
    return r;
}

/* ---- The data, by the ring ------------------------------------------------------------------ */

static int start_read(struct tocsin_driver *driver, struct copy *copy, struct chunk *chunk)
{
    chunk->state = CHUNK_READING;
    return tocsin_uring_io_read(driver, &chunk->io, copy->source_fd, chunk->data + chunk->filled,
                                chunk->size - chunk->filled,
                                (int64_t)(chunk->offset + chunk->filled));
}

static int start_write(struct tocsin_driver *driver, struct copy *copy, struct chunk *chunk)
{
    chunk->state = CHUNK_WRITING;
    return tocsin_uring_io_write(driver, &chunk->io, copy->target_fd, chunk->data + chunk->written,
                                 chunk->filled - chunk->written,
                                 (int64_t)(chunk->offset + chunk->written));
}

/* Take the next piece, if there is one left. */
static int start_piece(struct tocsin_driver *driver, struct copy *copy, struct chunk *chunk)
{
    uint64_t left = copy->limit - copy->next;

    chunk->state = CHUNK_IDLE;
    if (left == 0) {
        return 0;
    }
    chunk->offset = copy->next;
    chunk->size = left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE;
    chunk->filled = 0;
    chunk->written = 0;
    copy->next += chunk->size;
    return start_read(driver, copy, chunk);
}

/* @chunk has read @n bytes. */
static int on_read(struct tocsin_driver *driver, struct copy *copy, struct chunk *chunk, int32_t n)
{
    if (n < 0 && n != -EINTR) {
        return fail(copy, "read", copy->source, n);
    }
    if (n == 0 && copy->source_stat.stx_size > 0) {
        return fail(copy, "read (it became shorter)", copy->source, -EIO);
    }
    if (n == 0) { /* the end of a file that did not tell where it ends */
        copy->limit = copy->next;
        return chunk->filled > 0 ? start_write(driver, copy, chunk)
                                 : start_piece(driver, copy, chunk);
    }
    chunk->filled += n > 0 ? (size_t)n : 0;
    return chunk->filled < chunk->size ? start_read(driver, copy, chunk)
                                       : start_write(driver, copy, chunk);
}

static int on_written(struct tocsin_driver *driver, struct copy *copy, struct chunk *chunk,
                      int32_t n)
{
    if (n == 0 || (n < 0 && n != -EINTR)) {
        return fail(copy, "write", copy->target, n < 0 ? n : -EIO);
    }
    chunk->written += n > 0 ? (size_t)n : 0;
    return chunk->written < chunk->filled ? start_write(driver, copy, chunk)
                                          : start_piece(driver, copy, chunk);
}

/* Take what has come for @chunk and go on.  Returns: 0, or what ends the copy. */
static int poll_chunk(struct copy *copy, struct chunk *chunk, struct tocsin_context *cx)
{
    int32_t n;
    int r = 0;

    while (r == 0 && chunk->state != CHUNK_IDLE) {
        r = tocsin_uring_io_poll(&chunk->io, cx, &n);
        if (r == TOCSIN_PENDING) {
            return 0;
        }
        if (r == 0) {
            r = chunk->state == CHUNK_READING ? on_read(cx->driver, copy, chunk, n)
                                              : on_written(cx->driver, copy, chunk, n);
        }
    }
    return r;
}

static int poll_data(struct copy *copy, struct tocsin_context *cx)
{
    bool busy = false;
    int r = 0;

    if (!copy->started) {
        r = check_files(copy);
        for (unsigned i = 0; r == 0 && i < copy->depth; i++) {
            r = start_piece(cx->driver, copy, &copy->chunks[i]);
        }
        copy->started = true;
    }
    for (unsigned i = 0; r == 0 && i < copy->depth; i++) {
        r = poll_chunk(copy, &copy->chunks[i], cx);
        busy |= copy->chunks[i].state != CHUNK_IDLE;
    }
    return r == 0 && busy ? TOCSIN_PENDING : r;
}

/* ---- The steps ------------------------------------------------------------------------------ */

static int start_step(struct copy *copy, struct tocsin_driver *driver)
{
    struct tocsin_uring_io *io = &copy->io;

    switch (copy->step) {
    case STEP_OPEN_SOURCE:
        return tocsin_uring_io_openat(driver, io, AT_FDCWD, copy->source, O_RDONLY | O_CLOEXEC, 0);
    case STEP_STAT_SOURCE:
        return tocsin_uring_io_statx(driver, io, copy->source_fd, "", AT_EMPTY_PATH,
                                     &copy->source_stat);
    case STEP_OPEN_TARGET:
        return tocsin_uring_io_openat(driver, io, AT_FDCWD, copy->target,
                                      O_WRONLY | O_CREAT | O_CLOEXEC,
                                      copy->source_stat.stx_mode & 0777);
    case STEP_STAT_TARGET:
        return tocsin_uring_io_statx(driver, io, copy->target_fd, "", AT_EMPTY_PATH,
                                     &copy->target_stat);
    case STEP_FSYNC:
        return tocsin_uring_io_fsync(driver, io, copy->target_fd, false);
    case STEP_CLOSE_SOURCE:
        return tocsin_uring_io_close(driver, io, copy->source_fd);
    case STEP_CLOSE_TARGET:
        return tocsin_uring_io_close(driver, io, copy->target_fd);
    case STEP_DATA:
    case STEP_END:
        break;
    }
    return 0;
}

/* The step has ended with @result. */
static int end_step(struct copy *copy, int32_t result)
{
    static const char *const verbs[STEP_END] = {
        [STEP_OPEN_SOURCE] = "open",  [STEP_STAT_SOURCE] = "stat", [STEP_OPEN_TARGET] = "open",
        [STEP_STAT_TARGET] = "stat",  [STEP_FSYNC] = "sync",       [STEP_CLOSE_SOURCE] = "close",
        [STEP_CLOSE_TARGET] = "close"};
    bool of_source = copy->step == STEP_OPEN_SOURCE || copy->step == STEP_STAT_SOURCE ||
                     copy->step == STEP_CLOSE_SOURCE;
    /* What is no file has nothing to sync, and says so. */
    bool forgiven = copy->step == STEP_FSYNC && !S_ISREG(copy->target_stat.stx_mode);

    if (result < 0 && !forgiven) {
        return fail(copy, verbs[copy->step], of_source ? copy->source : copy->target, result);
    }
    if (copy->step == STEP_OPEN_SOURCE) {
        copy->source_fd = result;
    } else if (copy->step == STEP_OPEN_TARGET) {
        copy->target_fd = result;
    }
    copy->step++;
    copy->started = false;
    return 0;
}

/* Start the step if it is not, and take its result. */
static int poll_step(struct copy *copy, struct tocsin_context *cx)
{
    int32_t result = 0;
    int r;

    if (copy->step == STEP_DATA) {
        r = poll_data(copy, cx);
        return r == 0 ? end_step(copy, 0) : r;
    }
    if (!copy->started) {
        r = start_step(copy, cx->driver);
        if (r < 0) {
            return r;
        }
        copy->started = true;
    }
    r = tocsin_uring_io_poll(&copy->io, cx, &result);
    return r == 0 ? end_step(copy, result) : r;
}

static int copy_main(struct tocsin_context *cx, void *arg)
{
    struct copy *copy = arg;
    const char *reason;
    int r = 0;

    while (r == 0 && copy->step != STEP_END) {
        r = poll_step(copy, cx);
    }
    if (r == TOCSIN_PENDING) {
        return r;
    }
    if (r == -EOPNOTSUPP && copy->step == STEP_OPEN_SOURCE) {
        reason = tocsin_uring_reason(cx->driver);
        fprintf(stderr, "copy: no io_uring (%s): copying with read and write\n",
                reason != NULL ? reason : "the backend has none");
        r = copy_plainly(copy);
    }
    /* What is still in flight after an error is given back before the pool has closed. */
    for (unsigned i = 0; i < DEPTH; i++) {
        tocsin_uring_io_drop(&copy->chunks[i].io);
    }
    tocsin_uring_io_drop(&copy->io);
    return r;
}

int main(int argc, char **argv)
{
    static struct copy copy;
    int result = 0;
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: copy FROM TO\n");
        return 2;
    }
    copy.source = argv[1];
    copy.target = argv[2];
    tocsin_uring_io_init(&copy.io, NULL);
    for (unsigned i = 0; i < DEPTH; i++) {
        tocsin_uring_io_init(&copy.chunks[i].io, NULL);
    }
    r = tocsin_run_with(copy_main, &copy, &result);
    if (r < 0) {
        result = fail(&copy, "open", "a pool", r);
    }
    if (result < 0 && !copy.told) {
        fprintf(stderr, "copy: %s\n", strerror(-result));
    }
    return result < 0;
}
