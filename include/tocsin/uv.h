/*
 * Pools over libuv: libtocsin-uv, a library of its own (pkg-config: tocsin-uv).  Linux.
 *
 * tocsin_uv_backend(NULL) is a backend like any other: each pool over it has a uv_loop_t of its
 * own, and waits by uv_run().  tocsin_uv_backend(loop) is for a program that lives on libuv
 * already: the pool lives in the program's loop, takes its turns from within the program's
 * uv_run(), and adds no epoll instance, no thread and no polling to it.
 *
 * libuv counts milliseconds: a timer fires at the first millisecond at or after its deadline, never
 * before it.
 *
 * struct uv_loop_s is libuv's uv_loop_t; this header does not include libuv's.
 */
#ifndef TOCSIN_UV_H
#define TOCSIN_UV_H

#include <tocsin/backend.h>
#include <tocsin/base.h>
#include <tocsin/pool.h>

TOCSIN_BEGIN_DECLS

struct uv_loop_s;

/*
 * A backend to open pools with.
 *
 * @loop NULL: each pool makes a loop of its own, for tocsin_pool_run() and for all that a pool can
 * do; closing the pool closes the loop.
 *
 * Else pools live in @loop, as many as you like, beside whatever else does.  Call tocsin_uv_host()
 * for each, then uv_run() as ever.  Between turns tocsin_pool_run() of such a pool answers -EDEADLK
 * where it would have to sleep, and tocsin_pool_poll_fd() -EOPNOTSUPP: the loop is the host.
 *
 * Closing.  tocsin_pool_close() of a pool in @loop cannot finish by itself: libuv gives handles
 * back from within uv_run().  After it has returned the pool is gone, no callback of it runs any
 * more, and its watches are off; but some handles and the memory around them are still @loop's,
 * and go with its next turn.  Run it once more before uv_loop_close(), which says UV_EBUSY until
 * then.
 *
 * Forks.  In a forked child, close such a pool with tocsin_pool_close(), which leaves the parent's
 * loop alone.  What the pool had in the child's copy of @loop is given back if the child calls
 * uv_loop_fork() and runs it, else not at all.
 *
 * Thread:  any.  A pool is opened, hosted and closed on @loop's thread, or while no thread runs it.
 * Memory:  @loop stays the caller's, and must outlive the pools in it as closing says.  The loop
 *          and the handles are allocated by malloc(3) and by libuv, not by the pool's allocator.
 * Returns: the backend; the struct is the caller's, and may go when the pool is open.
 * Errors:  of tocsin_pool_open() over it: -ENOMEM, -EMFILE, -ENFILE.
 */
TOCSIN_API struct tocsin_backend tocsin_uv_backend(struct uv_loop_s *loop);

/*
 * Let @pool, which is over tocsin_uv_backend(loop), take its turns from within uv_run(loop).
 *
 * The first turn comes with the loop's next iteration, further ones when there is something to do:
 * at most one for each iteration, unless a deadline passes.  While something keeps the pool alive,
 * a counted driver among it, it keeps uv_run() going, as an active handle does; else it does not.
 * What is spawned, posted or started on the loop's thread between turns counts at once, a driver
 * from the next turn on.  Calling this again asks for one.
 *
 * Thread:  that which runs the loop; it becomes the pool's.
 * Returns: 0.
 * Errors:  -EINVAL: @pool is not over a loop that was handed in; -EOWNERDEAD after fork.
 */
TOCSIN_API int tocsin_uv_host(struct tocsin_pool *pool);

TOCSIN_END_DECLS

#endif
