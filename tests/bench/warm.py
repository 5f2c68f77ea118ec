"""From exec of the launcher to the first byte of its command's output, for `lguest --exec`.

    cold          the guest boots
    first         the guest boots, and is saved (--warm)
    warm          the guest continues from there
"""

import os
import subprocess
import time

RUNS = 5
DIRECTORY = "/tmp/warm"


def run(*options):
    """Returns the time from exec to the first byte, and to the end."""
    command = [os.environ["LGUEST"], "512", os.environ["VMLINUX"], "--modules", os.environ["MODULES"], *options]
    started = time.monotonic()
    launcher = subprocess.Popen([*command, "--exec", "echo x"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    first = launcher.stdout.read(1)
    to_first = time.monotonic() - started
    launcher.stdout.read()
    if launcher.wait() != 0 or first != b"x":
        raise RuntimeError(f"{command} failed")
    return to_first, time.monotonic() - started


def measure():
    warm = ("--warm", DIRECTORY)
    run()  # once for the page cache
    rows = {"cold": [run() for _ in range(RUNS)], "first": [run(*warm)], "warm": [run(*warm) for _ in range(RUNS)]}
    least = {name: [min(times) for times in zip(*runs)] for name, runs in rows.items()}
    yield "| | to the first byte | whole run |"
    yield "|---|---|---|"
    for name, times in least.items():
        cells = [f"{it * 1000:.0f} ms ({it / of:.3f})" for it, of in zip(times, least["cold"])]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield f"The least of {RUNS} runs; in brackets, the ratio to the cold run."
