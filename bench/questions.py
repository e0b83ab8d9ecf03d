"""What is asked: the cells of the comparison, and who is asked in each.

A cell is one piece of work with one figure; its variants are the programs that do it, ours, the
peers' and the raw ones.  All variants of a cell run in every round, one after the other, so that
their figures can be paired.
"""

from dataclasses import dataclass, field

BACKENDS = ("epoll", "uring", "uv")
PEERS = ("libuv", "libev", "libevent", "asio", "glib")
SCALE = {"task": (1, 10, 100, 1000, 10_000, 100_000, 1_000_000),
         "timer": (1, 10, 100, 1000, 10_000, 100_000, 1_000_000),
         "descriptor": (10, 100, 1000, 10_000, 19_000)}


@dataclass
class Variant:
    label: str
    program: str
    case: str
    arguments: tuple = ()
    share: float = 1.0  # of the cell's count, for those that are slow
    again: bool = False  # raw a second time: how far is the same from itself?
    calls: bool = True  # count its system calls

    @property
    def peer(self):
        return self.program.split("_")[1]


@dataclass
class Cell:
    """
    @metric is the key of the figure in what a program prints; @scale brings it to @unit.  @rate:
    the figure is turned over, and more is better.
    """

    key: str
    question: str
    title: str
    metric: str
    unit: str
    count: int
    variants: list
    scale: float = 1.0
    rate: bool = False
    arguments: tuple = ()
    repeat: int = 3
    traced: int = 2000  # operations for counting system calls; 0: not counted
    extras: tuple = ()  # (key, heading, scale) of further columns
    two_cores: bool = False
    rounds_max: int = 1000
    quick_arguments: tuple = ()
    curve: tuple = field(default=None)  # (name of the curve, its x): drawn with others of that name


def ours(question, case, name="", backends=BACKENDS, arguments=(), **more):
    program = f"w{question}_tocsin"
    return [Variant(f"tocsin {backend}{': ' + name if name else ''}", program, case,
                    (*arguments, f"--backend={backend}"), **more) for backend in backends]


def raw(question, case, name, twice=True, arguments=(), **more):
    """The limit; @twice: a second time in each round, for comparing it with itself."""
    first = Variant(f"raw: {name}", f"w{question}_raw", case, arguments, **more)
    if not twice:
        return [first]
    return [first, Variant(f"raw: {name}, again", f"w{question}_raw", case, arguments, again=True,
                           calls=False, **more)]


def peer(question, library, case, name="", **more):
    return [Variant(f"{library}{': ' + name if name else ''}", f"w{question}_{library}", case,
                    **more)]


def peers(question, case, *libraries, **more):
    return [variant for library in libraries for variant in peer(question, library, case, **more)]


def w1():
    variants = [*raw(1, "post", "list"), *ours(1, "post", "post"), *ours(1, "task", "task"),
                *raw(1, "malloc", "list, malloc each", twice=False),
                *peer(1, "libuv", "post", "idle, own queue"), *peer(1, "libev", "post", "feed"),
                *peer(1, "libevent", "post", "active"), *peer(1, "asio", "post"),
                *peer(1, "glib", "post", "idle sources", share=0.1)]
    return [Cell("W1", "W1", "post and run, 1,000 at once", "cpu_ns", "ns", 1_000_000, variants,
                 traced=20_000)]


def w2():
    cells = []
    for active in (1, 1000):
        variants = [*raw(2, "post", "list"), *raw(2, "look", "list, a look each", False, share=0.1),
                    *ours(2, "yield", "yield", arguments=("--n=0",)),
                    *peer(2, "libuv", "idle", "idle", share=0.2),
                    *peer(2, "libuv", "async", "async", share=0.04),
                    *peer(2, "libev", "feed", "feed"), *peer(2, "libev", "idle", "idle", share=0.2),
                    *peer(2, "libevent", "active", "active", share=0.2),
                    *peer(2, "libevent", "timeout", "zero timeout", share=0.2),
                    *peer(2, "asio", "post", "post", share=0.2),
                    *peer(2, "asio", "bare", "no reactor", share=0.2),
                    *peer(2, "glib", "idle", "idle", share=0.1)]
        cells.append(Cell(f"W2 A={active}", "W2", f"{active:,} that wake themselves", "cpu_ns",
                          "ns", 5_000_000, variants, arguments=(f"--active={active}",), repeat=1,
                          traced=5000, extras=(("fair", "timer served", 1),)))
    return cells


def w3():
    cells = []
    for two in (False, True):
        variants = [*raw(3, "eventfd", "eventfd, epoll edge"), *raw(3, "futex", "futex"),
                    *raw(3, "uring", "uring message", twice=False), *ours(3, "trip")]
        if two:
            busy = ("--busy-us=100",)
            variants += [*raw(3, "spin", "spin 100 us, futex", share=4),
                         *ours(3, "trip", "busy", BACKENDS[:2], busy, share=4)]
        variants += [*peers(3, "trip", *PEERS),
                     *peer(3, "asio", "bare", "no reactor")]
        cells.append(Cell(f"W3 {'two cores' if two else 'one core'}", "W3",
                          f"two loops wake each other, {'two cores' if two else 'one core'}", "ns",
                          "trips/s", 1000 if two else 4000, variants, rate=True, two_cores=two,
                          extras=(("cpu_ns", "CPU us", 1e-3),), traced=300))
    return cells


def w4():
    cells = []
    for two in (True, False):
        variants = [*raw(4, "stack", "stack"), *raw(4, "malloc", "stack, malloc each", False),
                    *ours(4, "task", "task"), *ours(4, "wake", "wake"), *ours(4, "post", "post"),
                    *peer(4, "libuv", "post", "own queue"), *peer(4, "libev", "post", "own queue"),
                    *peer(4, "libevent", "post", "own queue"), *peer(4, "asio", "post"),
                    *peer(4, "glib", "post", "own queue")]
        cells.append(Cell(f"W4 {'two cores' if two else 'one core'}", "W4",
                          f"a second thread posts, {'two cores' if two else 'one core'}", "ns",
                          "M/s", 1_000_000, variants, rate=True, scale=1e-6, two_cores=two,
                          extras=(("cpu_ns", "CPU ns", 1),), traced=2000, repeat=1))
    return cells


def w5():
    libraries = ("libuv", "libev", "libevent", "asio")
    cells = []
    for n in (100, 10_000, 100_000, 1_000_000):
        variants = [*raw(5, "rearm", "4-ary heap"), *ours(5, "rearm"),
                    *peers(5, "rearm", *libraries, share=0.2)]
        cells.append(Cell(f"W5 rearm N={n}", "W5", f"re-arm one of {n:,} timers", "cpu_ns", "ns",
                          1_000_000, variants, arguments=(f"--n={n}",),
                          repeat=1 if n > 100_000 else 3, traced=5000 if n == 100 else 0,
                          quick_arguments=("--n=1000",) if n > 1000 else (),
                          curve=("re-arm one of N timers", n)))
    variants = []
    for n in (1, 1_000_000):
        name = f"N={n:,}"
        variants += [*ours(2, "yield", name, arguments=(f"--n={n}",)),
                     *(variant for library in libraries for variant in peer(
                         5, library, "yield", name, arguments=(f"--n={n}",), share=0.1))]
    cells.append(Cell("W5 yield", "W5", "a turn, with N timers armed", "cpu_ns", "ns", 2_000_000,
                      variants, repeat=0, traced=0,
                      quick_arguments=("--n=1000",)))
    for n in (10_000, 1_000_000):
        variants = [*raw(5, "expire", "4-ary heap"), *ours(5, "expire"),
                    *peers(5, "expire", *libraries)]
        cells.append(Cell(f"W5 expire N={n}", "W5", f"{n:,} timers expire within 100 ms", "cpu_ns",
                          "ms", 1, variants, arguments=(f"--n={n}",), scale=n * 1e-6,
                          repeat=1 if n < 100_000 else 0, traced=0,
                          quick_arguments=("--n=1000",)))
    return cells


def w6():
    libraries = ("libuv", "libev", "libevent", "asio")
    cells = []
    for active in (1, 100):
        variants = [*raw(6, "chain", "epoll edge"), *ours(6, "chain", "watch"),
                    *raw(6, "chain-ring", "ring"),
                    *ours(6, "chain-uring", "receive", BACKENDS[:2]),
                    *peers(6, "chain", *libraries)]
        cells.append(Cell(f"W6 A={active}", "W6",
                          f"1,000 pairs of sockets, {active} at once: one event", "cpu_ns", "us",
                          20_000, variants, scale=1e-3,
                          arguments=("--n=1000", f"--active={active}"), traced=2000,
                          quick_arguments=("--n=200",)))
    for case in ("register", "unregister"):
        variants = [*raw(6, case, "epoll"), *ours(6, case), *raw(6, case + "-ring", "ring"),
                    *peers(6, case, *libraries)]
        cells.append(Cell(f"W6 {case}", "W6", f"{case} 1,000 descriptors: each", "cpu_ns", "ns",
                          20_000, variants, arguments=("--n=1000",), traced=2000,
                          quick_arguments=("--n=200",)))
    return cells


def w7():
    cells = []
    for two in (False, True):
        for active in (1, 64):
            variants = [*raw(7, "echo", "epoll"), *ours(7, "echo"), *raw(7, "echo-ring", "ring"),
                        *ours(7, "echo-uring", "receive", BACKENDS[:2]),
                        *peers(7, "echo", "libuv", "libev", "libevent", "asio")]
            cores = "two cores" if two else "one core"
            cells.append(Cell(f"W7 {cores} C={active}", "W7",
                              f"TCP echo, {active} connections, {cores}", "ns", "messages/s",
                              2000 if two and active == 1 else 8000, variants, rate=True,
                              arguments=(f"--active={active}",), two_cores=two,
                              extras=(("server_cpu_ns", "server CPU us", 1e-3),), traced=500))
    return cells


def w8():
    slack = ("--slack-ns=1",)
    variants = [*raw(8, "sleep", "epoll_pwait2"), *ours(8, "sleep"),
                *raw(8, "sleep", "epoll_pwait2, slack 1 ns", arguments=slack),
                *ours(8, "sleep", "slack 1 ns", BACKENDS[:2], slack),
                *raw(8, "ring", "ring"), *peers(8, "sleep", *PEERS),
                *peer(8, "libevent", "precise", "precise")]
    return [Cell("W8", "W8", "sleeps of 1.3 ms: lateness", "late_p50_ns", "us", 500, variants,
                 scale=1e-3, repeat=0, traced=100,
                 extras=(("late_p99_ns", "p99 us", 1e-3), ("cpu_ns", "CPU us", 1e-3),
                         ("early", "early", 1)))]


def w9():
    cells = []
    for active in (1, 32, 64):
        variants = [*raw(9, "nop", "submit and wait"), *ours(9, "nop", "", ("uring", "epoll"))]
        cells.append(Cell(f"W9 {active}", "W9", f"{active} NOPs at once", "cpu_ns", "ns", 200_000,
                          variants, arguments=(f"--active={active}",),
                          traced=max(1000, 100 * active)))
    return cells


def w10():
    cells = []
    for case, n in (("task", 100_000), ("timer", 100_000), ("descriptor", 8000)):
        libraries = ("libev", "libevent", "asio") if case == "task" else (
            "libuv", "libev", "libevent", "asio")
        variants = [*ours(10, case), *peers(10, case, *libraries)]
        cells.append(Cell(f"W10 {case}", "W10", f"memory of a {case}", "bytes", "bytes", 1000,
                          variants, arguments=(f"--n={n}",), repeat=0, traced=0, rounds_max=3,
                          quick_arguments=("--n=1000",),
                          extras=(("ns", "ns to make", 1),)))
    return cells


def all_cells():
    return [cell for make in (w1, w2, w3, w4, w5, w6, w7, w8, w9, w10) for cell in make()]
