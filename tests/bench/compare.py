"""Does the same work in the guests of several launchers, in turn and several times, and takes medians. So other
work on this machine disturbs all launchers alike. Used by disk, net and ping."""

import contextlib
import functools
import statistics
import sys

import counters
from guest import Guest

ROUNDS = 3
# Clock ticks are too coarse for one round.
AVERAGE = {"vCPU CPU": statistics.mean}


def in_turn(launchers, work, little, much, prepare=None):
    """For each name, what work(guest, name, much) returned (numbers, medians) and the cost of one unit.
    prepare(guest, name) is called once; names that are pairs are given by their second part."""
    results = {name: [] for name in launchers}
    with contextlib.ExitStack() as stack:
        jobs = {}
        for name, command in launchers.items():
            guest = stack.enter_context(Guest(command))
            place = name[1] if isinstance(name, tuple) else name
            if prepare:
                prepare(guest, place)
            jobs[name] = guest.pid, functools.partial(work, guest, place)
            jobs[name][1](little)  # Programs and disks get into memory.
        for number in range(ROUNDS):
            for name, (pid, job) in jobs.items():
                results[name].append(counters.cost_of_one(pid, job, little, much))
                print(f"bench: round {number + 1}: {name}: {results[name][-1][0]}", file=sys.stderr, flush=True)
        counts = {name: counters.counts_of_one(pid, job, little, much) for name, (pid, job) in jobs.items()}
    return {name: (tuple(map(statistics.median, zip(*(result for result, _ in runs)))),
                   {key: AVERAGE.get(key, statistics.median)([cost[key] for _, cost in runs]) for key in runs[0][1]}
                   | counts[name])
            for name, runs in results.items()}


def cells(cost, scale=1):
    """Returns the columns of a table with the costs, for `scale` units."""
    calls = ", ".join(f"{thread} {call} {hits * scale:.2f}" for (thread, call), hits in sorted(cost["calls by"].items())
                      if hits * scale >= 0.02)
    return (f"{cost['device CPU'] * scale / 1000:.1f} µs | {cost['vCPU CPU'] * scale / 1000:.1f} µs | "
            f"{cost['exits'] * scale:.2f} | {cost['to user'] * scale:.2f} | {cost['calls'] * scale:.2f} ({calls})")
