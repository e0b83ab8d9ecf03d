/*
 * The parts of the work that are the same for every library: queues, deadlines, chains, the echo
 * client, lateness, memory.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void bench_gate_init(struct bench_gate *gate)
{
    bench_must(pthread_barrier_init(&gate->barrier, NULL, 2) == 0, "pthread_barrier_init");
}

void bench_gate_wait(struct bench_gate *gate)
{
    pthread_barrier_wait(&gate->barrier);
}

/* ---- A queue --------------------------------------------------------------------------------- */

void bench_queue_init(struct bench_queue *queue)
{
    pthread_mutex_init(&queue->lock, NULL);
    queue->first = NULL;
    queue->tail = &queue->first;
}

bool bench_queue_push(struct bench_queue *queue, void (*fn)(void *arg), void *arg)
{
    struct bench_node *node = malloc(sizeof(*node));
    bool was_empty;

    bench_must(node != NULL, "malloc");
    *node = (struct bench_node){NULL, fn, arg};
    pthread_mutex_lock(&queue->lock);
    was_empty = queue->first == NULL;
    *queue->tail = node;
    queue->tail = &node->next;
    pthread_mutex_unlock(&queue->lock);
    return was_empty;
}

void bench_queue_run(struct bench_queue *queue)
{
    struct bench_node *node;

    pthread_mutex_lock(&queue->lock);
    node = queue->first;
    queue->first = NULL;
    queue->tail = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    while (node != NULL) {
        struct bench_node *next = node->next;

        node->fn(node->arg);
        free(node);
        node = next;
    }
}

static void count_one(void *arg)
{
    ++*(uint64_t *)arg;
}

static void *push_all(void *arg)
{
    struct bench_pusher *pusher = arg;

    for (uint64_t i = 0; i < pusher->count; i++) {
        if (bench_queue_push(&pusher->queue, count_one, &pusher->done)) {
            pusher->wake(pusher->arg);
        }
    }
    return NULL;
}

pthread_t bench_pusher_start(const struct bench *bench, struct bench_pusher *pusher,
                             void (*wake)(void *arg), void *arg)
{
    bench_queue_init(&pusher->queue);
    pusher->count = bench->count;
    pusher->done = 0;
    pusher->wake = wake;
    pusher->arg = arg;
    return bench_thread(bench, push_all, pusher);
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

uint64_t bench_arming_ns(uint64_t n)
{
    return 5 * BENCH_NS_PER_MS + n * 1000;
}

/* ---- Chains ---------------------------------------------------------------------------------- */

void bench_chain_open(struct bench_chain *chain, const struct bench *bench)
{
    *chain = (struct bench_chain){.n = bench->n,
                                  .to_write = bench->count,
                                  .to_read = bench->count,
                                  .read_fds = bench_alloc(bench->n, sizeof(int)),
                                  .write_fds = bench_alloc(bench->n, sizeof(int))};
    bench_must(bench->active <= BENCH_CHUNK && bench->active <= bench->n, "too many chains");
    for (uint64_t i = 0; i < bench->n; i++) {
        int fds[2];

        bench_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
                   "socketpair");
        chain->read_fds[i] = fds[0];
        chain->write_fds[i] = fds[1];
    }
}

void bench_chain_close(struct bench_chain *chain)
{
    for (uint64_t i = 0; i < chain->n; i++) {
        close(chain->read_fds[i]);
        close(chain->write_fds[i]);
    }
    free(chain->read_fds);
    free(chain->write_fds);
}

void bench_chain_start(struct bench_chain *chain, const struct bench *bench)
{
    for (uint64_t i = 0; i < bench->active && chain->to_write > 0; i++) {
        uint64_t at = i * (chain->n / bench->active) % chain->n;

        chain->to_write--;
        bench_must(write(chain->write_fds[at], "x", 1) == 1, "write");
    }
}

size_t bench_chain_take(struct bench_chain *chain, size_t size)
{
    chain->to_read -= size;
    size = size < chain->to_write ? size : chain->to_write;
    chain->to_write -= size;
    return size;
}

bool bench_chain_step(struct bench_chain *chain, uint64_t i)
{
    char bytes[BENCH_CHUNK];
    ssize_t size = read(chain->read_fds[i], bytes, sizeof(bytes));
    size_t on;

    if (size < 0 && errno == EAGAIN) {
        return false;
    }
    bench_must(size > 0, "read");
    on = bench_chain_take(chain, (size_t)size);
    if (on > 0) {
        uint64_t next = i + 1 == chain->n ? 0 : i + 1;

        bench_must(write(chain->write_fds[next], bytes, on) == (ssize_t)on, "write");
    }
    return chain->to_read == 0;
}

void bench_registers(struct bench *bench, bool time_add, void (*add)(void *arg),
                     void (*remove)(void *arg), void *arg)
{
    for (uint64_t done = 0; done < bench->count; done += bench->n) {
        if (time_add) {
            bench_begin(bench);
        }
        add(arg);
        if (time_add) {
            bench_end(bench);
        } else {
            bench_begin(bench);
        }
        remove(arg);
        if (!time_add) {
            bench_end(bench);
        }
    }
}

/* ---- Echo ------------------------------------------------------------------------------------ */

static int listen_on_loopback(struct sockaddr_in *out_address)
{
    socklen_t size = sizeof(*out_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *out_address = (struct sockaddr_in){.sin_family = AF_INET};
    out_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bench_must(fd >= 0, "socket");
    bench_must(bind(fd, (struct sockaddr *)out_address, sizeof(*out_address)) == 0, "bind");
    bench_must(listen(fd, 128) == 0, "listen");
    bench_must(getsockname(fd, (struct sockaddr *)out_address, &size) == 0, "getsockname");
    return fd;
}

/* Both ends send at once what they have. */
static int without_delay(int fd)
{
    int on = 1;

    bench_must(fd >= 0, "connect");
    bench_must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0, "TCP_NODELAY");
    return fd;
}

static void send_message(int fd)
{
    static const char message[BENCH_MESSAGE_SIZE] = {'x'};

    bench_must(send(fd, message, sizeof(message), MSG_NOSIGNAL) == (ssize_t)sizeof(message),
               "send");
}

/* Loopback gives a message of this size back in one piece; if not, the count would not come out. */
static void *echo_client(void *arg)
{
    struct bench_echo *echo = arg;
    uint64_t connections = echo->bench->active;
    uint64_t to_send = echo->bench->count;
    uint64_t bytes_left = echo->bench->count * BENCH_MESSAGE_SIZE;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[64];
    char bytes[4096];

    for (uint64_t i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = echo->client_fds[i]}};

        bench_must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) == 0, "epoll_ctl");
    }
    for (uint64_t i = 0; i < connections && to_send > 0; i++, to_send--) {
        send_message(echo->client_fds[i]);
    }
    while (bytes_left > 0) {
        int count = epoll_wait(epoll_fd, events, 64, -1);

        for (int i = 0; i < count; i++) {
            ssize_t size = recv(events[i].data.fd, bytes, sizeof(bytes), 0);

            bench_must(size > 0, "recv");
            bytes_left -= (uint64_t)size;
            if (to_send > 0) {
                to_send--;
                send_message(events[i].data.fd);
            }
        }
    }
    for (uint64_t i = 0; i < connections; i++) {
        close(echo->client_fds[i]);
    }
    close(epoll_fd);
    return NULL;
}

void bench_echo_start(struct bench_echo *echo, struct bench *bench)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address);

    echo->bench = bench;
    echo->server_fds = bench_alloc(bench->active, sizeof(int));
    echo->client_fds = bench_alloc(bench->active, sizeof(int));
    for (uint64_t i = 0; i < bench->active; i++) {
        echo->client_fds[i] = without_delay(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        bench_must(connect(echo->client_fds[i], (struct sockaddr *)&address, sizeof(address)) == 0,
                   "connect");
        echo->server_fds[i] =
            without_delay(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    close(listener);
    bench_begin(bench);
    echo->server_cpu_ns = bench_thread_cpu_ns();
    echo->thread = bench_thread(bench, echo_client, echo);
}

void bench_echo_end(struct bench_echo *echo, struct bench *bench)
{
    echo->server_cpu_ns = bench_thread_cpu_ns() - echo->server_cpu_ns;
    pthread_join(echo->thread, NULL);
    bench_end(bench);
    bench_extra(bench, "server_cpu_ns", (double)echo->server_cpu_ns / (double)bench->count);
    free(echo->server_fds);
    free(echo->client_fds);
}

/* ---- Lateness -------------------------------------------------------------------------------- */

void bench_sleeps_init(struct bench_sleeps *sleeps, const struct bench *bench)
{
    *sleeps = (struct bench_sleeps){.count = bench->count,
                                    .late_ns = bench_alloc(bench->count, sizeof(uint64_t))};
}

void bench_sleeps_ask(struct bench_sleeps *sleeps, uint64_t delay_ns)
{
    sleeps->deadline_ns = bench_now_ns() + delay_ns;
}

bool bench_sleeps_note(struct bench_sleeps *sleeps)
{
    uint64_t now_ns = bench_now_ns();

    if (now_ns < sleeps->deadline_ns) {
        sleeps->early++;
        now_ns = sleeps->deadline_ns;
    }
    sleeps->late_ns[sleeps->done++] = now_ns - sleeps->deadline_ns;
    return sleeps->done == sleeps->count;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void bench_sleeps_report(struct bench_sleeps *sleeps, struct bench *bench)
{
    size_t middle = sleeps->count / 2;
    size_t late = sleeps->count * 99 / 100;

    qsort(sleeps->late_ns, sleeps->count, sizeof(*sleeps->late_ns), compare);
    bench_extra(bench, "late_p50_ns", (double)sleeps->late_ns[middle]);
    bench_extra(bench, "late_p99_ns", (double)sleeps->late_ns[late]);
    bench_extra(bench, "early", (double)sleeps->early);
    free(sleeps->late_ns);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void bench_memory_begin(struct bench_memory *memory)
{
    memory->heap = bench_heap_bytes();
    memory->resident = bench_resident_bytes();
}

void bench_memory_end(struct bench_memory *memory, struct bench *bench, uint64_t n)
{
    bench_extra(bench, "bytes", (double)(bench_heap_bytes() - memory->heap) / (double)n);
    bench_extra(bench, "resident_bytes",
                (double)(bench_resident_bytes() - memory->resident) / (double)n);
}
