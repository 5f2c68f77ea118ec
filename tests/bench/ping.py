"""One ping from the host, as lguest's author showed it in 2009: the launcher's system calls by thread, in order.
Then the cost of many pings, and of an idle guest. Each launcher is measured with its defaults, and with the
opposite setting for the interrupt of a sent frame."""

import os
import re

import counters
import net
import tools
from counters import TRACING
from guest import Guest

PINGS = 20
IDLE_SECONDS = 5


def record(pid, work):
    """The trace of the launcher's threads meanwhile: (seconds, thread, what)."""
    tasks = counters.threads(pid)
    events = TRACING / "events"
    (TRACING / "set_event_pid").write_text(" ".join(map(str, tasks)))
    (TRACING / "trace").write_text("")
    switches = [events / "syscalls/enable", counters.TO_USER / "enable"]
    for switch in switches:
        switch.write_text("1")
    work()
    for switch in switches:
        switch.write_text("0")
    trace = (TRACING / "trace").read_text()
    (TRACING / "set_event_pid").write_text("")
    for line in trace.splitlines():
        if found := re.match(r".*-(\d+) +\[\d+\] \S+ +([\d.]+): (.*)", line):
            yield float(found[2]), tasks.get(int(found[1]), "?"), found[3]


def name_of(pid, descriptor):
    """Returns the kind of an open file of the launcher."""
    path = os.readlink(f"/proc/{pid}/fd/{descriptor}")
    return {"/dev/net/tun": "tap"}.get(path, path.removeprefix("anon_inode:").strip("[]"))


def calls_in_order(pid, trace):
    """Returns (seconds, thread, call). A call that sleeps has the time when it returns."""
    begun = {}
    for at, thread, what in trace:
        if found := re.match(r"sys_(\w+)\((?:fd: ([0-9a-f]+))?", what):
            begun[thread] = f"{found[1]}({name_of(pid, int(found[2], 16)) if found[2] else ''})"
        elif found := re.match(r"sys_\w+ -> (\S+)", what):
            # A call that began before the trace has no name.
            result = int(found[1], 16)
            yield at, thread, f"{begun.pop(thread, '...')} = {result if result < 1 << 63 else result - (1 << 64)}"
        else:
            yield at, thread, what


def show(name, pid, number):
    calls = list(calls_in_order(pid, record(pid, lambda: net.ping(number, 5))))
    yield f"{name}, the system calls of one ping:"
    yield ""
    yield "| µs | thread | call |"
    yield "|---|---|---|"
    # From one frame of the host to the next.
    frames = [index for index, (_, _, call) in enumerate(calls) if re.match(r"readv?\(tap\) = \d", call)]
    first, last = frames[-2:]
    for at, thread, call in calls[first:last]:
        yield f"| {(at - calls[first][0]) * 1e6:.0f} | {thread} | {call} |"
    yield ""


def measure():
    tools.for_guests()
    net.make_taps((50, 51, 52, 53))
    summary = ["| | system calls per ping | vCPU's returns from KVM_RUN | exits | idle: system calls in "
               f"{IDLE_SECONDS} s |", "|---|---|---|---|---|"]
    for (name, number), command in (net.launchers() | net.launchers(otherwise=True)).items():
        with Guest(command) as guest:
            net.still(guest, number)
            net.ping(number, PINGS)
            yield from show(name, guest.pid, number)
            _, cost = counters.cost_of_one(guest.pid, lambda count: net.ping(number, count), PINGS, 3 * PINGS)
            counts = counters.counts_of_one(guest.pid, lambda count: net.ping(number, count), PINGS, 3 * PINGS)
            idle = counters.idle_calls(guest.pid, IDLE_SECONDS)
            listed = ", ".join(f"{thread} {call} {hits}" for (thread, call), hits in idle.items())
            summary.append(f"| {name} | {counts['calls']:.2f} | {counts['to user']:.2f} | {cost['exits']:.2f} | "
                           f"{listed or 'none'} |")
    yield from summary
