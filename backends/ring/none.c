/*
 * What stands in for the ring in a build without io_uring: there never is one, and the reason says
 * so.  Operations are never in flight: they can be dropped, and that is all.
 */
#include <tocsin/uring_buffers.h>

#include <errno.h>
#include <string.h>

#include "backends/ring/host.h"
#include "backends/ring/io.h"
#include "runtime/pool.h"

/* ---- What a backend calls: see host.h ------------------------------------------------------ */

int tocsin__uring_host_init(struct uring_host *host, const struct tocsin_uring_options *options)
{
    (void)host;
    (void)options;
    return 0;
}

void tocsin__uring_host_close(struct uring_host *host, enum tocsin_backend_close how)
{
    (void)host;
    (void)how;
}

struct uring *tocsin__uring_host_get(struct uring_host *host, struct tocsin_pool *pool,
                                     int *out_error)
{
    (void)host;
    (void)pool;
    *out_error = -EOPNOTSUPP;
    return NULL;
}

struct uring *tocsin__uring_host_peek(const struct uring_host *host)
{
    (void)host;
    return NULL;
}

uint64_t tocsin__uring_host_prepare(struct uring_host *host, uint64_t deadline_ns)
{
    (void)host;
    return deadline_ns;
}

void tocsin__uring_host_flush(struct uring_host *host)
{
    (void)host;
}

void tocsin__uring_host_harvest(struct uring_host *host)
{
    (void)host;
}

/* ---- What programs call: see tocsin/uring.h ------------------------------------------------ */

void tocsin_uring_op_init(struct tocsin_uring_op *op, const struct tocsin_uring_op_ops *ops)
{
    static const struct tocsin_uring_op_ops no_hooks = {NULL, NULL, NULL};

    memset(op, 0, sizeof(*op));
    op->ops_ = ops != NULL ? ops : &no_hooks;
}

static int refuse(const struct tocsin_driver *driver)
{
    return tocsin__is_forked(tocsin__pool_of(driver)) ? -EOWNERDEAD : -EOPNOTSUPP;
}

int tocsin_uring_submit(struct tocsin_driver *driver, struct tocsin_uring_op *op,
                        const struct io_uring_sqe *sqe)
{
    (void)op;
    (void)sqe;
    return refuse(driver);
}

int tocsin_uring_submit_all(struct tocsin_driver *driver, struct tocsin_uring_op *const *ops,
                            const struct io_uring_sqe *const *sqes, size_t count)
{
    (void)ops;
    (void)sqes;
    (void)count;
    return refuse(driver);
}

int tocsin_uring_poll(struct tocsin_uring_op *op, struct tocsin_context *cx, int32_t *out_result,
                      uint32_t *out_flags)
{
    (void)op;
    (void)cx;
    (void)out_result;
    (void)out_flags;
    return -EINVAL; /* never submitted */
}

int tocsin_uring_cancel(struct tocsin_uring_op *op)
{
    (void)op;
    return -EALREADY; /* not in flight */
}

void tocsin_uring_drop(struct tocsin_uring_op *op)
{
    if (op->ops_->release != NULL) {
        op->ops_->release(op);
    }
}

int tocsin_uring_probe(struct tocsin_driver *driver, unsigned opcode)
{
    (void)opcode;
    return refuse(driver);
}

const char *tocsin_uring_reason(struct tocsin_driver *driver)
{
    (void)driver;
    return "built without io_uring";
}

/* ---- Buffers and files: see tocsin/uring_buffers.h ------------------------------------------ */

int tocsin_uring_buffers_open(struct tocsin_driver *driver, uint16_t group, uint32_t count,
                              uint32_t size, struct tocsin_uring_buffers **out_buffers)
{
    (void)group;
    (void)count;
    (void)size;
    (void)out_buffers;
    return refuse(driver);
}

int tocsin_uring_buffers_close(struct tocsin_uring_buffers *buffers)
{
    (void)buffers;
    return 0;
}

void *tocsin_uring_buffers_take(struct tocsin_uring_buffers *buffers, uint32_t flags)
{
    (void)buffers;
    (void)flags;
    return NULL;
}

void tocsin_uring_buffers_put(struct tocsin_uring_buffers *buffers, void *buffer)
{
    (void)buffers;
    (void)buffer;
}

int tocsin_uring_register_buffers(struct tocsin_driver *driver, const struct iovec *iovecs,
                                  unsigned count)
{
    (void)iovecs;
    (void)count;
    return refuse(driver);
}

int tocsin_uring_update_buffers(struct tocsin_driver *driver, unsigned first,
                                const struct iovec *iovecs, unsigned count)
{
    (void)first;
    (void)iovecs;
    (void)count;
    return refuse(driver);
}

int tocsin_uring_unregister_buffers(struct tocsin_driver *driver)
{
    return refuse(driver);
}

int tocsin_uring_register_files(struct tocsin_driver *driver, const int *fds, unsigned count)
{
    (void)fds;
    (void)count;
    return refuse(driver);
}

int tocsin_uring_update_files(struct tocsin_driver *driver, unsigned first, const int *fds,
                              unsigned count)
{
    (void)first;
    (void)fds;
    (void)count;
    return refuse(driver);
}

int tocsin_uring_unregister_files(struct tocsin_driver *driver)
{
    return refuse(driver);
}

/* ---- What the typed operations call: see io.h ---------------------------------------------- */

int tocsin__uring_io_submit(struct tocsin_driver *driver, struct tocsin_uring_io *io)
{
    (void)io;
    return refuse(driver);
}
