"""Measures the cost of work: the launcher's CPU time, KVM's exits, system calls. Used by disk, net, ping.

The work is done twice, a small and a large amount of it. The difference of the costs is the cost of the
difference, so that the beginning and the end of a program do not count.

    device CPU   run time of all threads but the vCPUs, in nanoseconds (/proc/PID/task/*/schedstat);
                 QEMU's main loop, iothread and workers, those of io_uring too
    vCPU CPU     of the vCPU threads outside of the guest: the kernel's handling of exits, and what the
                 launcher does itself (/proc/PID/task/*/stat, utime + stime - guest_time, in clock ticks)
    exits        from the guest, all of them (/sys/kernel/debug/kvm/PID-*/exits)
    to user      those that KVM_RUN returned for (tracepoint kvm_userspace_exit)
    calls        system calls of all threads (tracepoint raw_syscalls:sys_enter)
"""

import os
import pathlib
import re
import time

from machines import is_vcpu

TRACING = pathlib.Path("/sys/kernel/tracing")
KVM = pathlib.Path("/sys/kernel/debug/kvm")
CALLS = TRACING / "events/raw_syscalls/sys_enter"
TO_USER = TRACING / "events/kvm/kvm_userspace_exit"
HISTOGRAM = {CALLS: "hist:keys=common_pid,id.syscall:size=8192", TO_USER: "hist:keys=common_pid,reason"}
NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def threads(pid):
    """Returns the name of each thread of a process, by its id."""
    tasks = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            tasks[int(task.name)] = (task / "comm").read_text().strip()
        except FileNotFoundError:
            pass  # A worker that ended meanwhile.
    return tasks


def cpu_times(pid):
    """Returns (device CPU, vCPU CPU) in ns."""
    device = vcpu = 0
    for number, name in threads(pid).items():
        task = pathlib.Path(f"/proc/{pid}/task/{number}")
        try:
            if is_vcpu(name):
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                utime, stime, guest = int(fields[11]), int(fields[12]), int(fields[40])
                vcpu += (utime + stime - guest) * NS_PER_TICK
            else:
                device += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return device, vcpu


def start_counting():
    """Starts to count system calls and exits to user space, which costs time."""
    for event, trigger in HISTOGRAM.items():
        (event / "trigger").write_text(trigger)


def stop_counting():
    for event, trigger in HISTOGRAM.items():
        (event / "trigger").write_text("!" + trigger)


def counted(event, pid):
    """Returns the hits of an event by (thread, key) of the process since `start_counting`."""
    tasks = threads(pid)
    hits = {}
    for line in (event / "hist").read_text().splitlines():
        found = re.match(r"\{ common_pid: +(\d+), \w+: *(\S+).*\} hitcount: +(\d+)", line)
        if found and int(found[1]) in tasks:
            key = tasks[int(found[1])], found[2].removeprefix("sys_")
            hits[key] = hits.get(key, 0) + int(found[3])
    return hits


class Snapshot:
    """The values of all counters of a launcher at one moment."""

    def __init__(self, pid):
        device, vcpu = cpu_times(pid)
        self.values = {"time": time.monotonic_ns(), "device CPU": device, "vCPU CPU": vcpu,
                       "exits": int(next(KVM.glob(f"{pid}-*/exits")).read_text())}

    def since(self, before):
        return {key: value - before.values[key] for key, value in self.values.items()}


def cost_of_one(pid, work, little, much):
    """Runs work(amount) and returns what the last run returned, and the cost of one unit: times in ns, exits."""
    before = Snapshot(pid)
    work(little)
    between = Snapshot(pid)
    result = work(much)
    first, second = between.since(before), Snapshot(pid).since(between)
    return result, {key: (second[key] - first[key]) / (much - little) for key in first}


def counts_of_one(pid, work, little, much):
    """System calls ("calls"; "calls by" thread and name) and returns from KVM_RUN ("to user") of one unit."""
    hits = []
    for amount in (little, much):
        start_counting()
        work(amount)
        hits.append((counted(CALLS, pid), sum(counted(TO_USER, pid).values())))
        stop_counting()
    (few_calls, few_exits), (calls, exits) = hits
    by = {key: (hits - few_calls.get(key, 0)) / (much - little) for key, hits in calls.items()}
    return {"calls by": by, "calls": sum(by.values()), "to user": (exits - few_exits) / (much - little)}


def idle_calls(pid, seconds):
    """Returns the system calls of an idle guest's launcher, by thread and name, including the vCPU's."""
    start_counting()
    time.sleep(seconds)
    hits = counted(CALLS, pid)
    stop_counting()
    return hits
