"""The goals: what Tocsin is to reach beside raw code and the peers, and whether it does.

A ratio is paired: of two figures of one round, and the goal holds if the median of all rounds'
ratios meets it.  Where a raw program's ratio to itself (it runs twice in each round) spreads wider
between its quartiles than the goal's margin, a miss that lies within that spread cannot be told
from a hit: the verdict then says "within the spread".  Beside a peer, it is the cell's raw one.
"""

from dataclasses import dataclass

from measure import quartiles


@dataclass
class Goal:
    """
    @ours OP @limit times (or, @plus, plus) @base; with no @base, @limit itself.  @base may be
    "best peer".  @metric: of what was printed, times @scale; else the cell's own figure.
    """

    question: str
    text: str
    cell: str
    ours: str
    op: str
    limit: float
    base: str = ""
    metric: str = ""
    scale: float = 1.0
    plus: bool = False
    calls: bool = False  # of system calls for each operation
    kicks: bool = False  # of kicks for each sleep


def callbacks():
    post, task = "tocsin epoll: post", "tocsin epoll: task"
    yield Goal("W1", "a callback <= 2.5 x raw", "W1", post, "<=", 2.5, "raw: list")
    yield Goal("W1", "a task <= 4 x raw", "W1", task, "<=", 4, "raw: list")
    for name in ("libev: feed", "libevent: active", "asio", "glib: idle sources"):
        yield Goal("W1", f"a task ahead of {name}", "W1", task, "<=", 1, name)
    for active in (1, 1000):
        cell, own = f"W2 A={active}", "tocsin epoll: yield"
        yield Goal("W2", f"<= 15 ns, {active:,} tasks", cell, own, "<=", 15)
        yield Goal("W2", f"<= 0.01 calls, {active:,} tasks", cell, own, "<=", 0.01, calls=True)
        yield Goal("W2", f"fair, {active:,} tasks", cell, own, ">=", 1, metric="fair")


def threads():
    one, two = "W3 one core", "W3 two cores"
    yield Goal("W3", "one core: >= 0.95 x raw eventfd and epoll", one, "tocsin epoll", ">=", 0.95,
               "raw: eventfd, epoll edge")
    yield Goal("W3", "one core: 4 calls a trip", one, "tocsin epoll", "<=", 4.05, calls=True)
    yield Goal("W3", "one core: parked on a futex >= 0.9 x raw futex", one, "tocsin uring", ">=",
               0.9, "raw: futex")
    yield Goal("W3", "two cores: as the best sleeper", two, "tocsin epoll", ">=", 1, "best sleeper")
    yield Goal("W3", "two cores: busy poll >= 0.5 x raw spin", two, "tocsin epoll: busy", ">=", 0.5,
               "raw: spin 100 us, futex")
    for cell in ("W4 two cores", "W4 one core"):
        cores = cell[3:]
        yield Goal("W4", f"{cores}: tasks >= 3 x the best peer", cell, "tocsin epoll: task", ">=",
                   3, "best peer")
        yield Goal("W4", f"{cores}: posts >= the best peer", cell, "tocsin epoll: post", ">=", 1,
                   "best peer")
        yield Goal("W4", f"{cores}: <= 1 kick a sleep", cell, "tocsin epoll: post", "<=", 1,
                   kicks=True)


def timers():
    for n in (100, 10_000, 100_000, 1_000_000):
        cell = f"W5 rearm N={n}"
        yield Goal("W5", f"re-arm, N={n:,}: <= 1.25 x raw", cell, "tocsin epoll", "<=", 1.25,
                   "raw: 4-ary heap")
        yield Goal("W5", f"re-arm, N={n:,}: ahead of libev", cell, "tocsin epoll", "<=", 1, "libev")
    yield Goal("W5", "a yield with N=1,000,000 <= 1.1 x with one", "W5 yield",
               "tocsin epoll: N=1,000,000", "<=", 1.1, "tocsin epoll: N=1")
    for n in (10_000, 1_000_000):
        cell = f"W5 expire N={n}"
        yield Goal("W5", f"expire {n:,}: <= 1.4 x raw", cell, "tocsin epoll", "<=", 1.4,
                   "raw: 4-ary heap")
        yield Goal("W5", f"expire {n:,}: ahead of libev", cell, "tocsin epoll", "<=", 1, "libev")


def descriptors():
    for active, calls in ((1, 3), (100, 2)):
        cell = f"W6 A={active}"
        yield Goal("W6", f"A={active}: <= 1.05 x raw epoll", cell, "tocsin epoll: watch", "<=",
                   1.05, "raw: epoll edge")
        yield Goal("W6", f"A={active}: {calls} calls", cell, "tocsin epoll: watch", "<=",
                   calls + 0.05, calls=True)
        yield Goal("W6", f"A={active}: receives <= 1.15 x raw ring", cell, "tocsin uring: receive",
                   "<=", 1.15, "raw: ring")
    yield Goal("W6", "A=100: receives <= 0.2 calls", "W6 A=100", "tocsin uring: receive", "<=", 0.2,
               calls=True)
    for case in ("register", "unregister"):
        yield Goal("W6", f"{case}: <= 1.1 x raw epoll", f"W6 {case}", "tocsin epoll", "<=", 1.1,
                   "raw: epoll")
        yield Goal("W6", f"{case}: uring <= 1.1 x raw ring", f"W6 {case}", "tocsin uring", "<=",
                   1.1, "raw: ring")
    cell = "W7 one core C=64"
    yield Goal("W7", "echo, C=64: >= 0.98 x raw epoll", cell, "tocsin epoll", ">=", 0.98,
               "raw: epoll")
    yield Goal("W7", "echo, C=64: receives >= 0.97 x raw ring", cell, "tocsin uring: receive", ">=",
               0.97, "raw: ring")


def sleeps():
    for name, base in (("", "raw: epoll_pwait2"),
                       (": slack 1 ns", "raw: epoll_pwait2, slack 1 ns")):
        own = "tocsin epoll" + name
        yield Goal("W8", f"late{name} <= raw + 3 us", "W8", own, "<=", 3, base, plus=True)
        yield Goal("W8", f"CPU{name} <= raw + 3 us", "W8", own, "<=", 3, base, "cpu_ns", 1e-3, True)
    for own in ("tocsin epoll", "tocsin epoll: slack 1 ns", "tocsin uring", "tocsin uv"):
        yield Goal("W8", f"{own}: never early", "W8", own, "<=", 0, metric="early")


def the_rest():
    for active in (1, 32, 64):
        yield Goal("W9", f"{active} at once: uring <= 1.25 x raw", f"W9 {active}", "tocsin uring",
                   "<=", 1.25, "raw: submit and wait")
    # pal_async was measured at 168 to 196 ns where raw took 71; 0.6 of the lesser of them.
    yield Goal("W9", "32 at once: the token <= 0.6 x pal_async, which is 1.42 x raw", "W9 32",
               "tocsin epoll", "<=", 1.42, "raw: submit and wait")
    for kind, limit in (("task", 96), ("timer", 64), ("descriptor", 128)):
        yield Goal("W10", f"a {kind} <= {limit} bytes", f"W10 {kind}", "tocsin epoll", "<=", limit)


def all_goals():
    for part in (callbacks, threads, timers, descriptors, sleeps, the_rest):
        yield from part()


# ---- Judging -----------------------------------------------------------------------------------

SLEEPERS_NOT = ("tocsin", "raw: spin")


def median(values):
    return quartiles(values)[1]


def best(cell, wanted):
    """The best of the peers, or of all that sleep, by its median."""
    if wanted == "best peer":
        rows = [row for row in cell["variants"] if row["library"] not in ("tocsin", "raw")]
    else:
        rows = [row for row in cell["variants"] if not row["label"].startswith(SLEEPERS_NOT) and
                not row["again"]]
    pick = max if cell["rate"] else min
    return pick(rows, key=lambda row: median(row["figures"]), default=None)


def figures(goal, row):
    if goal.calls:
        return None if row["calls_each"] is None else [sum(row["calls_each"].values())]
    if goal.kicks:
        calls = row["calls"]
        if calls is None:
            return None
        sleeps = sum(calls.get(name, 0) for name in ("epoll_pwait2", "epoll_wait", "epoll_pwait"))
        return [calls.get("write", 0) / max(1, sleeps)]
    if goal.metric:
        return [printed[goal.metric] * goal.scale for printed in row["samples"]]
    return row["figures"]


def paired(goal, ours, base):
    if goal.plus:
        return [a - b for a, b in zip(ours, base)]
    return [a / b if b else 0.0 for a, b in zip(ours, base)]


def holds(goal, value, slack=1.0):
    """@slack widens a limit: a factor, or with plus a difference."""
    limit = goal.limit + slack if goal.plus else goal.limit * slack
    return value <= limit if goal.op == "<=" else value >= limit


def spread_of(goal, rows, label):
    """The quartiles of raw beside itself: @label's own, or else the first raw one's of the cell."""
    labels = [label, *(other for other in rows if other.startswith("raw: "))]
    for base in labels:
        again = rows.get(base + ", again")
        if again is not None:
            return quartiles(paired(goal, figures(goal, again), figures(goal, rows[base])))
    return None


def judge(goal, cells):
    """One row of the goals table."""
    row = {"question": goal.question, "goal": goal.text, "median": None, "quartiles": None,
           "base": goal.base, "verdict": "not measured", "spread": None}
    cell = cells.get(goal.cell)
    rows = {one["label"]: one for one in cell["variants"]} if cell else {}
    ours = rows.get(goal.ours)
    if ours is None:
        return row
    values = figures(goal, ours)
    if goal.base:
        base = best(cell, goal.base) if goal.base.startswith("best") else rows.get(goal.base)
        if base is None:
            return row
        row["base"] = base["label"]
        values = paired(goal, values, figures(goal, base))
        row["spread"] = spread_of(goal, rows, base["label"])
    if values is None:
        row["verdict"] = "not measured: no strace"
        return row
    first, middle, third = quartiles(values)
    row["median"], row["quartiles"] = middle, (first, third)
    if holds(goal, middle, 0.0 if goal.plus else 1.0):
        row["verdict"] = "met"
    elif within_spread(goal, middle, row["spread"]):
        row["verdict"] = "within the spread"
    else:
        row["verdict"] = "not met"
    return row


def within_spread(goal, value, spread):
    if spread is None:
        return False
    margin = goal.limit if goal.plus else abs(goal.limit - 1)
    if spread[2] - spread[0] <= margin:
        return False
    return holds(goal, value, spread[2] if goal.op == "<=" else spread[0])


def judge_all(cells):
    by_key = {cell["key"]: cell for cell in cells}
    return [judge(goal, by_key) for goal in all_goals() if goal.cell in by_key]
