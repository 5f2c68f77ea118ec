"""From the launcher's exec to the guest's init, and what the launcher has of the host's memory meanwhile.

    to first entry   from exec of the launcher to its first entry into the guest
    entry to init    from there to the first line that the guest's init prints
    to init          both
    whole run        from exec to the launcher's end, the guest switching itself off at once
    memory           PSS of the launcher's processes beyond the guest's RAM, at the shell prompt
"""

import re
import time

import machines
from counters import TRACING
from guest import BANNER, PROMPT, Guest

COLUMNS = ("to first entry", "entry to init", "to init", "whole run")


def launchers():
    return {
        "lguest, ELF": machines.lguest(),
        "lguest, bzImage": machines.lguest(kernel="KERNEL"),
        "QEMU microvm, ELF": machines.qemu(),
        "QEMU microvm, bzImage": machines.qemu(kernel="KERNEL"),
    }


def guest_ram(pid):
    """Returns the PSS in KiB of the guest's RAM, which is the largest mapping."""
    largest = (0, 0)
    for line in open(f"/proc/{pid}/smaps"):
        if line.startswith("Size:"):
            size = int(line.split()[1])
        elif line.startswith("Pss:"):
            largest = max(largest, (size, int(line.split()[1])))
    return largest[1]


def pss(pid):
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return int(re.search(r"^Pss: *(\d+)", rollup, re.M)[1])


def children(pid):
    listing = open(f"/proc/{pid}/task/{pid}/children").read()
    return [int(child) for child in listing.split()]


def first_entry(started):
    """Returns when the guest was first entered after `started`. The trace uses the same clock as Python."""
    for line in open(TRACING / "trace"):
        if found := re.search(r" (\d+\.\d+): kvm_entry:", line):
            return float(found[1]) - started
    raise RuntimeError("no entry into a guest was traced")


def run(command):
    (TRACING / "trace").write_text("")
    (TRACING / "tracing_on").write_text("1")
    started = time.monotonic()
    guest = Guest(command)
    guest.read_until(BANNER)
    to_init = time.monotonic() - started
    (TRACING / "tracing_on").write_text("0")
    guest.read_until(PROMPT)
    beyond = sum(map(pss, [guest.pid, *children(guest.pid)])) - guest_ram(guest.pid)
    guest.power_off()
    entered = first_entry(started)
    return {"to first entry": entered, "entry to init": to_init - entered, "to init": to_init,
            "whole run": time.monotonic() - started, "memory": beyond}


def measure():
    (TRACING / "trace_clock").write_text("mono")
    (TRACING / "buffer_size_kb").write_text("20000")
    entries = TRACING / "events/kvm/kvm_entry/enable"
    entries.write_text("1")
    rows = {}
    for name, command in launchers().items():
        run(command)  # once for the page cache
        rows[name] = run(command)
    entries.write_text("0")
    (TRACING / "trace").write_text("")
    (TRACING / "tracing_on").write_text("1")

    base = rows["QEMU microvm, ELF"]
    yield f"| | {' | '.join(COLUMNS)} | memory beyond the guest's |"
    yield "|---|---|---|---|---|---|"
    for name, row in rows.items():
        cells = [f"{row[key] * 1000:.0f} ms ({row[key] / base[key]:.2f})" for key in COLUMNS]
        yield f"| {name} | {' | '.join(cells)} | {row['memory'] / 1024:.1f} MiB |"
    yield ""
    yield "1 ms is 500,000 instructions of the emulated CPU; in brackets, the ratio to QEMU with the ELF."
