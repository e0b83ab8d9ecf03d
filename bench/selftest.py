#!/usr/bin/env python3
"""Holds the judging of goals, and the tables, against made-up figures.  Prints a count."""

import sys

import goals
import svg
import tables
from goals import Goal
from questions import all_cells

passed = failed = 0


def check(name, holds):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    if not holds:
        print(f"# {name}")


def row(label, figures, again=False, calls=None, samples=None):
    return {"label": label, "library": label.split(":")[0].split()[0], "again": again,
            "figures": figures, "samples": samples or [{} for _ in figures],
            "calls_each": calls, "calls": calls}


def cell(*rows, rate=False):
    return {"key": "K", "question": "W0", "title": "a title", "unit": "ns", "rate": rate,
            "metric": "ns", "extras": [], "curve": None, "variants": list(rows)}


def verdict(of, goal):
    return goals.judge(goal, {"K": of})


RAW = row("raw: list", [10, 20, 30])
QUIET = row("raw: list, again", [10, 20, 30], again=True)
NOISY = row("raw: list, again", [5, 20, 60], again=True)


def judging():
    ours = row("tocsin epoll", [11, 22, 33])
    below = Goal("W0", "", "K", "tocsin epoll", "<=", 1.2, "raw: list")
    above = Goal("W0", "", "K", "tocsin epoll", "<=", 1.05, "raw: list")
    check("a ratio within its limit is met",
          verdict(cell(RAW, QUIET, ours), below)["verdict"] == "met")
    check("a ratio is that of one round's figures",
          abs(verdict(cell(RAW, ours), below)["median"] - 1.1) < 1e-9)
    check("a miss is a miss on a quiet machine",
          verdict(cell(RAW, QUIET, ours), above)["verdict"] == "not met")
    check("a miss within raw's own spread is said to be one",
          verdict(cell(RAW, NOISY, ours), above)["verdict"] == "within the spread")
    far = row("tocsin epoll", [50, 100, 150])
    check("a miss beyond raw's own spread is a miss",
          verdict(cell(RAW, NOISY, far), above)["verdict"] == "not met")
    check("what was not measured is not met",
          verdict(cell(RAW), above)["verdict"] == "not measured")
    check("without strace calls are not judged",
          verdict(cell(ours), Goal("W0", "", "K", "tocsin epoll", "<=", 3, calls=True))["verdict"]
          == "not measured: no strace")
    traced = row("tocsin epoll", [1], calls={"read": 1, "write": 1.5})
    check("calls are added up",
          verdict(cell(traced), Goal("W0", "", "K", "tocsin epoll", "<=", 3, calls=True))["median"]
          == 2.5)
    kicked = row("tocsin epoll", [1], calls={"write": 6, "epoll_wait": 2, "epoll_pwait2": 2})
    check("kicks are counted for each sleep",
          verdict(cell(kicked), Goal("W0", "", "K", "tocsin epoll", "<=", 1, kicks=True))["median"]
          == 1.5)
    late = Goal("W0", "", "K", "tocsin epoll", "<=", 3, "raw: list", plus=True)
    check("a difference is one", verdict(cell(RAW, QUIET, ours), late)["median"] == 2)


def peers():
    ours = row("tocsin epoll", [30, 30, 30])
    fast, slow = row("libev", [20, 20, 20]), row("asio", [10, 10, 10])
    best = Goal("W0", "", "K", "tocsin epoll", ">=", 1, "best peer")
    check("the best peer of a rate has the most",
          verdict(cell(ours, fast, slow, rate=True), best)["base"] == "libev")
    check("the best peer of a time has the least",
          verdict(cell(ours, fast, slow), best)["base"] == "asio")


def shown():
    text = tables.cell_table(cell(RAW, QUIET, row("tocsin epoll", [11, 22, 33]),
                                  row("libev", [40, 44, 48])))
    check("a table has ratios to raw and to the best peer",
          all(part in text for part in ("| 22.0 |", "| 1.10 |", "| 0.50 |")))
    check("the second raw one is not shown", "again" not in text)
    check("a picture is one", svg.question([cell(RAW, row("tocsin epoll", [1, 2, 3]))]).startswith(
        "<svg "))
    known = {one.key: {variant.label for variant in one.variants} for one in all_cells()}
    for goal in goals.all_goals():
        check(f"{goal.text}: names what is asked", goal.ours in known.get(goal.cell, ()))
        check(f"{goal.text}: names whom it is beside", not goal.base or goal.base.startswith("best")
              or goal.base in known.get(goal.cell, ()))


judging()
peers()
shown()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
