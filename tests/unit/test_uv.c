/*
 * The libuv backend with a loop of its own: ticks, events, arming, what libuv is spared.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/uv/home.h"
#include "tests/unit/unit.h"

#define MS UINT64_C(1000000)

enum {
    LIST_CAPACITY = 8,
};

/* The backend without a pool. */
struct scene {
    struct uv_state state;
    struct tocsin_backend_events list;
    struct tocsin_backend_event events[LIST_CAPACITY];
    uint64_t next_id;
};

static const struct tocsin_backend_ops *ops;

static void scene_open(struct scene *scene)
{
    ops = tocsin_uv_backend(NULL).ops;
    *scene = (struct scene){.next_id = 1};
    scene->list.events = scene->events;
    scene->list.capacity = LIST_CAPACITY;
    assert_int_equal(ops->open(&scene->state, NULL), 0);
}

static void scene_close(struct scene *scene)
{
    ops->close(&scene->state, TOCSIN_BACKEND_CLOSE);
}

static int attach(struct scene *scene, struct tocsin_backend_watch *watch, int fd)
{
    *watch = (struct tocsin_backend_watch){.id = scene->next_id++, .number = fd};
    return ops->attach(&scene->state, watch);
}

static void wait_until(struct scene *scene, uint64_t deadline_ns)
{
    scene->list.count = 0;
    assert_int_equal(ops->wait(&scene->state, deadline_ns, &scene->list), 0);
}

static void look(struct scene *scene)
{
    scene->list.count = 0;
    assert_int_equal(ops->look(&scene->state, &scene->list), 0);
}

/* Arm @watch for @events, look: what is reported of it, or 0. */
static uint32_t seen(struct scene *scene, struct tocsin_backend_watch *watch, uint32_t events)
{
    ops->arm(&scene->state, watch, events);
    look(scene);
    if (scene->list.count == 0) {
        return 0;
    }
    assert_int_equal(scene->list.count, 1);
    assert_int_equal(scene->events[0].id, watch->id);
    return scene->events[0].events;
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void a_tick_is_the_first_millisecond_at_or_after_the_deadline(void **state)
{
    (void)state;
    assert_int_equal(tocsin__uv_tick(0), 0);
    assert_int_equal(tocsin__uv_tick(1), 1);
    assert_int_equal(tocsin__uv_tick(MS - 1), 1);
    assert_int_equal(tocsin__uv_tick(MS), 1);
    assert_int_equal(tocsin__uv_tick(MS + 1), 2);
    assert_int_equal(tocsin__uv_tick(TOCSIN_NEVER_NS - 1), TOCSIN_NEVER_NS / MS + 1);
}

/* libuv's clock stands still between iterations: a delay counted from there is too short. */
static void the_timer_is_due_at_the_deadlines_tick_however_old_the_loops_clock(void **state)
{
    struct scene scene;
    struct uv_home *home;
    uint64_t deadline_ns;

    (void)state;
    scene_open(&scene);
    home = scene.state.home;
    while (ops->now(&scene.state) / MS < uv_now(home->loop) + 2) {
    }
    deadline_ns = ops->now(&scene.state) + MS / 3;
    tocsin__uv_timer_set(home, deadline_ns);
    assert_int_equal(uv_now(home->loop) + uv_timer_get_due_in(&home->timer),
                     tocsin__uv_tick(deadline_ns));
    scene_close(&scene);
}

/* At any place within libuv's millisecond: counted from its last tick they would be early. */
static void waits_do_not_end_before_the_deadline(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t deadline_ns = ops->now(&scene.state) + i * 61 * 1000;

        wait_until(&scene, deadline_ns);
        assert_true(ops->now(&scene.state) >= deadline_ns);
        assert_int_equal(scene.list.count, 0);
    }
    scene_close(&scene);
}

static void a_kick_before_the_loop_has_ever_run_is_kept(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    ops->kick(&scene.state);
    wait_until(&scene, TOCSIN_NEVER_NS);
    assert_int_equal(scene.list.count, 0);
    scene_close(&scene);
}

static void a_hangup_is_no_error_and_an_error_no_hangup(void **state)
{
    struct tocsin_backend_watch reader;
    struct tocsin_backend_watch writer;
    struct scene scene;
    int ends[2];
    int other[2];

    (void)state;
    scene_open(&scene);
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(pipe2(other, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(attach(&scene, &reader, ends[0]), 0);
    assert_int_equal(attach(&scene, &writer, other[1]), 0);
    close(ends[1]);
    close(other[0]);
    assert_int_equal(seen(&scene, &reader, TOCSIN_IN), TOCSIN_HUP);
    assert_int_equal(seen(&scene, &reader, TOCSIN_ERR), TOCSIN_HUP);
    assert_int_equal(seen(&scene, &writer, TOCSIN_IN), TOCSIN_ERR);
    assert_int_equal(seen(&scene, &writer, TOCSIN_OUT), TOCSIN_OUT | TOCSIN_ERR);
    assert_int_equal(ops->detach(&scene.state, &reader), 0);
    assert_int_equal(ops->detach(&scene.state, &writer), 0);
    scene_close(&scene);
    close(ends[0]);
    close(other[1]);
}

static void an_error_that_is_taken_leaves_the_watch_armed(void **state)
{
    struct sockaddr_in nobody = {.sin_family = AF_INET,
                                 .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(nobody);
    struct tocsin_backend_watch watch;
    struct scene scene;
    int taken = socket(AF_INET, SOCK_DGRAM, 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t error_size = sizeof(error);

    (void)state;
    scene_open(&scene);
    assert_int_equal(bind(taken, (struct sockaddr *)&nobody, size), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&nobody, &size), 0);
    close(taken); /* nobody is there now */
    assert_int_equal(connect(fd, (struct sockaddr *)&nobody, size), 0);
    assert_int_equal(attach(&scene, &watch, fd), 0);
    ops->arm(&scene.state, &watch, TOCSIN_PRI);
    assert_int_equal(write(fd, "x", 1), 1);
    look(&scene);
    assert_int_equal(scene.list.count, 1);
    assert_int_equal(scene.events[0].events, TOCSIN_ERR);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size), 0);
    assert_int_equal(error, ECONNREFUSED);
    assert_int_equal(seen(&scene, &watch, TOCSIN_PRI), 0);
    assert_int_equal(write(fd, "x", 1), 1);
    wait_until(&scene, TOCSIN_NEVER_NS);
    assert_int_equal(scene.events[0].events, TOCSIN_ERR);
    assert_int_equal(ops->detach(&scene.state, &watch), 0);
    scene_close(&scene);
    close(fd);
}

static void a_watch_is_told_once_for_each_arm(void **state)
{
    struct tocsin_backend_watch watch;
    struct scene scene;
    int fds[2];

    (void)state;
    pair(fds);
    scene_open(&scene);
    assert_int_equal(attach(&scene, &watch, fds[0]), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    look(&scene);
    assert_int_equal(scene.list.count, 0); /* not armed yet */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(seen(&scene, &watch, TOCSIN_IN), TOCSIN_IN);
        look(&scene);
        assert_int_equal(scene.list.count, 0);
    }
    assert_int_equal(seen(&scene, &watch, TOCSIN_IN | TOCSIN_OUT), TOCSIN_IN | TOCSIN_OUT);
    assert_int_equal(seen(&scene, &watch, TOCSIN_PRI), 0);
    assert_int_equal(seen(&scene, &watch, 0), 0);
    assert_int_equal(ops->detach(&scene.state, &watch), 0);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
}

static void what_does_not_fit_is_told_the_next_time(void **state)
{
    struct tocsin_backend_watch watches[5];
    struct scene scene;
    bool is_told[5 + 1] = {false};
    int fds[5][2];

    (void)state;
    scene_open(&scene);
    scene.list.capacity = 2;
    for (size_t i = 0; i < 5; i++) {
        pair(fds[i]);
        assert_int_equal(attach(&scene, &watches[i], fds[i][0]), 0);
        ops->arm(&scene.state, &watches[i], TOCSIN_OUT);
    }
    for (uint32_t left = 5; left > 0; left -= scene.list.count) {
        wait_until(&scene, TOCSIN_NEVER_NS);
        assert_int_equal(scene.list.count, left > 2 ? 2 : left);
        for (uint32_t i = 0; i < scene.list.count; i++) {
            assert_false(is_told[scene.events[i].id]);
            is_told[scene.events[i].id] = true;
        }
        if (left == 3) { /* found before, and not told yet: no longer wanted, or gone */
            break;
        }
    }
    for (size_t i = 0; i < 5; i++) {
        if (!is_told[watches[i].id]) {
            ops->arm(&scene.state, &watches[i], 0);
        }
    }
    look(&scene);
    assert_int_equal(scene.list.count, 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ops->detach(&scene.state, &watches[i]), 0);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    scene_close(&scene);
}

static void count_iteration(uv_prepare_t *prepare)
{
    ++*(unsigned *)prepare->data;
}

/* How often the loop goes round in 20 ms in which nothing comes. */
static unsigned iterations_of_an_idle_wait(struct scene *scene)
{
    uv_prepare_t prepare;
    unsigned iterations = 0;
    uint64_t deadline_ns = ops->now(&scene->state) + 20 * MS;

    uv_prepare_init(scene->state.home->loop, &prepare);
    prepare.data = &iterations;
    uv_prepare_start(&prepare, count_iteration);
    wait_until(scene, deadline_ns);
    assert_int_equal(scene->list.count, 0);
    assert_true(ops->now(&scene->state) >= deadline_ns);
    uv_close((uv_handle_t *)&prepare, NULL);
    look(scene);
    return iterations;
}

/* libuv cannot be asked for ERR and HUP alone; what it is asked for instead must not be true. */
static void waiting_for_the_end_alone_does_not_spin(void **state)
{
    struct tocsin_backend_watch watch;
    struct scene scene;
    int fds[2];

    (void)state;
    pair(fds);
    scene_open(&scene);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0); /* IN, OUT and RDHUP are true, and stay */
    assert_int_equal(attach(&scene, &watch, fds[0]), 0);
    ops->arm(&scene.state, &watch, TOCSIN_HUP);
    assert_true(iterations_of_an_idle_wait(&scene) <= 4);
    close(fds[1]);
    wait_until(&scene, TOCSIN_NEVER_NS);
    assert_int_equal(scene.list.count, 1);
    assert_true((scene.events[0].events & TOCSIN_HUP) != 0);
    assert_int_equal(scene.events[0].events & (uint32_t)(TOCSIN_IN | TOCSIN_OUT | TOCSIN_RDHUP), 0);
    assert_int_equal(ops->detach(&scene.state, &watch), 0);
    scene_close(&scene);
    close(fds[0]);
}

/* What libuv was asked for becomes true after the arm: it is asked for something else. */
static void what_was_asked_for_instead_may_come_true(void **state)
{
    struct tocsin_backend_watch watch;
    struct scene scene;
    int fds[2];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(addr);

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&addr, size), 0);
    fds[1] = accept(listener, NULL, NULL);
    scene_open(&scene);
    assert_int_equal(attach(&scene, &watch, fds[0]), 0);
    ops->arm(&scene.state, &watch, TOCSIN_ERR);
    assert_int_equal(send(fds[1], "!", 1, MSG_OOB), 1); /* PRI */
    assert_true(iterations_of_an_idle_wait(&scene) <= 5);
    ops->arm(&scene.state, &watch, 0);
    assert_int_equal(ops->detach(&scene.state, &watch), 0);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
    close(listener);
}

static void watching_leaves_a_blocking_file_blocking(void **state)
{
    struct tocsin_backend_watch watch;
    struct scene scene;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    scene_open(&scene);
    assert_int_equal(attach(&scene, &watch, fds[0]), 0);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(ops->detach(&scene.state, &watch), 0);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
}

/* Two files under one number, one after the other, while the first lives on: libuv aborts here. */
static void a_file_that_lives_on_by_a_dup_is_not_its_successor(void **state)
{
    struct tocsin_backend_watch first;
    struct tocsin_backend_watch second;
    struct tocsin_backend_watch again;
    struct scene scene;
    int fds[2];
    int other[2];
    int kept;

    (void)state;
    pair(fds);
    pair(other);
    scene_open(&scene);
    assert_int_equal(attach(&scene, &first, fds[0]), 0);
    assert_int_equal(attach(&scene, &again, fds[0]), -EEXIST);
    ops->arm(&scene.state, &first, TOCSIN_IN);
    look(&scene); /* libuv has told the kernel of it */
    kept = dup(fds[0]);
    assert_int_equal(dup2(other[0], fds[0]), fds[0]);
    assert_int_equal(attach(&scene, &second, fds[0]), 0);
    assert_null(first.data);
    ops->arm(&scene.state, &second, TOCSIN_IN);
    assert_int_equal(write(fds[1], "x", 1), 1);
    look(&scene);
    assert_int_equal(scene.list.count, 0);
    assert_int_equal(write(other[1], "x", 1), 1);
    wait_until(&scene, TOCSIN_NEVER_NS);
    assert_int_equal(scene.list.count, 1);
    assert_int_equal(scene.events[0].id, second.id);
    assert_int_equal(ops->detach(&scene.state, &first), -ENOENT);
    close(fds[0]);
    ops->arm(&scene.state, &second, TOCSIN_IN);
    look(&scene); /* its number is closed: nothing is told, and libuv does not mind */
    assert_int_equal(scene.list.count, 0);
    assert_int_equal(ops->detach(&scene.state, &second), -EBADF);
    scene_close(&scene);
    close(kept);
    close(fds[1]);
    close(other[0]);
    close(other[1]);
}

static unsigned descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void closing_gives_back_what_was_left_attached(void **state)
{
    struct tocsin_backend_watch armed;
    struct tocsin_backend_watch ready;
    struct scene scene;
    int fds[2];
    unsigned before = descriptors();

    (void)state;
    scene_open(&scene);
    pair(fds);
    scene.list.capacity = 0;
    assert_int_equal(attach(&scene, &armed, fds[0]), 0);
    assert_int_equal(attach(&scene, &ready, fds[1]), 0);
    ops->arm(&scene.state, &armed, TOCSIN_IN);
    ops->arm(&scene.state, &ready, TOCSIN_OUT);
    look(&scene);
    scene_close(&scene);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_is_the_first_millisecond_at_or_after_the_deadline),
        cmocka_unit_test(the_timer_is_due_at_the_deadlines_tick_however_old_the_loops_clock),
        cmocka_unit_test(waits_do_not_end_before_the_deadline),
        cmocka_unit_test(a_kick_before_the_loop_has_ever_run_is_kept),
        cmocka_unit_test(a_hangup_is_no_error_and_an_error_no_hangup),
        cmocka_unit_test(an_error_that_is_taken_leaves_the_watch_armed),
        cmocka_unit_test(a_watch_is_told_once_for_each_arm),
        cmocka_unit_test(what_does_not_fit_is_told_the_next_time),
        cmocka_unit_test(waiting_for_the_end_alone_does_not_spin),
        cmocka_unit_test(what_was_asked_for_instead_may_come_true),
        cmocka_unit_test(watching_leaves_a_blocking_file_blocking),
        cmocka_unit_test(a_file_that_lives_on_by_a_dup_is_not_its_successor),
        cmocka_unit_test(closing_gives_back_what_was_left_attached),
    };

    tocsin_backend_plugin(); /* libuv's pipe of the process, before descriptors are counted */
    return unit_run(__FILE__, tests, UNIT_COUNT(tests));
}
