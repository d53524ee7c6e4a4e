#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Were the pauses of moves as they had been predicted? One line a move, then all of them together.

usage: pauses.py FOLDER MOVES LEAST

FOLDER has for each move N what the source said of it (moveN), and .times, with a line whenever something came that
comes every 100 ms: a line of the guest's (vN.times; v0 is where it booted), or of a clock's. A pause is within its
prediction when it is no longer than that and its doubt: the shortest downtime-limit with which the move would have been
made. On a machine that has other things to do every wait is longer, also of who is not moved at all: the longest that
any of them was late, but for the guest's between two machines, is allowed for. Exit status 0 when at least LEAST pauses
are within prediction and that, and each is the sum of its parts.
"""
import glob
import json
import sys

TICK_MS = 100
NO_PARTS = ("all", "doubt", "data-bytes")


def when_ticked(path):
    """The arrival of each whole line, in milliseconds."""
    with open(path) as lines:
        words = [line.split() for line in lines]
    return [float(w[0]) * 1000 for w in words if len(w) > 2 and w[1] == "tick"]


def latest(ticks):
    return max((b - a - TICK_MS for a, b in zip(ticks, ticks[1:])), default=0)


def late_between(folder, move, ticks):
    """What the guest's first line there was later than it would have been here."""
    here, there = ticks.get(f"{folder}/v{move - 1}.times"), ticks.get(f"{folder}/v{move}.times")
    return f", a line {there[0] - here[-1] - TICK_MS:.0f} ms late" if here and there else ""


def main():
    folder, moves, least = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ticks = {path: when_ticked(path) for path in glob.glob(f"{folder}/*.times")}
    noise = max(latest(t) for t in ticks.values())
    within = allowed = 0
    add_up = True
    for move in range(1, moves + 1):
        with open(f"{folder}/move{move}") as file:
            pause = json.load(file)["pause"]
        predicted, measured = pause["predicted"], pause["measured"]
        over = measured["all"] - predicted["all"] - predicted["doubt"]
        within += over <= 0
        allowed += over <= noise
        parts = [name for name in measured if name not in NO_PARTS]
        for side in pause.values():
            add_up &= abs(side["all"] - sum(side[name] for name in parts)) < 0.01
        print(f"move {move}: predicted {predicted['all']:.1f} + {predicted['doubt']:.1f} ms, was {measured['all']:.1f} ms"
              + late_between(folder, move, ticks) + "; " +
              ", ".join(f"{name} {predicted[name]:.1f}/{measured[name]:.1f}" for name in parts) +
              f" ms, {predicted['data-bytes'] >> 10}/{measured['data-bytes'] >> 10} KiB")
    print(f"{within} of {moves} within prediction, {allowed} with what a line was late anyway ({noise:.0f} ms)")
    return 0 if allowed >= least and add_up else 1


sys.exit(main())
