#!/usr/bin/env python3
"""Asks Tocsin, its peers and raw code the same questions, and prints the answers as tables.

    ./go bench [--quick] [--question=W1,W5 ...] [--rounds=N] [--libuv=PATH] [--doc]

Each cell of a question is asked in rounds: all programs one after the other, each round in the
other direction.  Shown are medians and quartiles over the rounds, and the median of the ratios
within each round.  Programs that never sleep are timed by the processor time they took, so that
others on the machine matter less.  System calls are counted by strace in a run of its own: the
difference between a run and one twice as long.

Writes build/bench/results.json, and a picture for each question beside it.  --doc also brings
docs/PERFORMANCE.md up to date.  --quick only shows that all runs: its figures mean nothing.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import goals
import svg
import tables
from measure import Failure, Runner, machine, say
from questions import all_cells

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "PERFORMANCE.md"
PICTURES = ROOT / "docs" / "performance"
BEGIN, END = "<!-- bench: what follows is written by ./go bench --doc -->", "<!-- bench: end -->"
ROUNDS = 15
ROUNDS_QUICK = 2


def arguments():
    parser = argparse.ArgumentParser(prog="./go bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="little of everything, as a test")
    parser.add_argument("--question", default="", help="only these: W1,W5,scale")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--libuv", type=Path, help="another libuv.so, asked beside the system's")
    parser.add_argument("--no-strace", action="store_true", help="count no system calls")
    parser.add_argument("--doc", action="store_true", help="write the tables into the docs")
    parser.add_argument("--from-json", type=Path, help="measure nothing: show these results")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    options.libuv = options.libuv.resolve() if options.libuv else None
    options.rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    return options


def measure_all(options):
    runner = Runner(options.build / "bench", options.quick, options.libuv)
    wanted = set(filter(None, options.question.split(",")))
    about = machine()
    strace = about["strace"] and not options.no_strace
    cells = []
    for cell in all_cells():
        if wanted and cell.question not in wanted:
            continue
        if cell.two_cores and about["processors"] < 2:
            runner.left_out[cell.key] = "one processor only"
            continue
        begin = time.monotonic()
        cells.append(runner.cell(cell, options.rounds, strace))
        say(f"{cell.key:24} {time.monotonic() - begin:6.1f} s")
    scale = runner.scale() if not wanted or "scale" in wanted else []
    return {"machine": {**about, "strace": strace}, "versions": runner.versions,
            "rounds": options.rounds, "quick": options.quick, "cells": cells, "scale": scale,
            "left_out": runner.left_out, "goals": goals.judge_all(cells)}


def pictures(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for question in dict.fromkeys(cell["question"] for cell in results["cells"]):
        cells = [cell for cell in results["cells"] if cell["question"] == question]
        (folder / f"{question.lower()}.svg").write_text(svg.question(cells), encoding="utf-8")
    if results["scale"]:
        (folder / "scale.svg").write_text(svg.scale(results["scale"]), encoding="utf-8")


def write_doc(results):
    page = DOC.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    text = tables.everything(results, graphs=True)
    DOC.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    pictures(results, PICTURES)
    say(f"wrote {DOC.relative_to(ROOT)} and {PICTURES.relative_to(ROOT)}/")


def check_quick(results):
    """Of a quick run: did every program that is there answer?  Returns: what is wrong."""
    wrong = []
    for cell in results["cells"]:
        labels = [row["label"] for row in cell["variants"]]
        if not any(label.startswith("tocsin") for label in labels):
            wrong.append(f"{cell['key']}: nothing of Tocsin's")
        wrong += [f"{cell['key']}: {row['label']}: not every round" for row in cell["variants"]
                  if len(row["figures"]) < min(results["rounds"], 2)]
        if "nan" in tables.cell_table(cell):
            wrong.append(f"{cell['key']}: not a number")
    return wrong


def main():
    options = arguments()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    if options.from_json:
        results = json.loads(options.from_json.read_text())
        results["goals"] = goals.judge_all(results["cells"])
    else:
        try:
            results = measure_all(options)
        except Failure as failure:
            print(f"bench: {failure}", file=sys.stderr)
            return 1
        options.build.mkdir(parents=True, exist_ok=True)
        (options.build / "results.json").write_text(json.dumps(results, indent=1))
        pictures(results, options.build)
    if options.doc:
        write_doc(results)
    print(tables.everything(results))
    if results["quick"]:
        wrong = check_quick(results)
        print("\n".join(wrong))
        print(f"{len(results['cells'])} passed, {len(wrong)} failed")
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
