#!/usr/bin/python3
"""Measures the launcher against QEMU's microvm: `make bench`. Prints tables for docs/benchmarks.md.

    python3 tests/bench [PART]...      parts: boot, warm, disk, net, ping; all when none is named

Runs itself inside the nested host, each part in one of its own. For boot and warm its clock counts instructions
(see guest-images/README.md), so that figures repeat within 1 to 2 % whatever else the machine does. For the
others it does not: with that clock a guest that runs fio for a second hangs or dies, and the same guest does
not without it. They do the same work in all launchers' guests in turn, several times, and count what does not
depend on time. Kernel, initramfs, memory and kernel arguments are the
same for all.

The trail: `machines` has the command lines, `guest` talks to a guest's shell, `counters` tells what
that cost, `compare` does it in turn, and each part measures one thing and prints it.
"""

import importlib
import os
import pathlib
import shlex
import subprocess
import sys

import tools

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PARTS = ("boot", "warm", "disk", "net", "ping")

# The parts whose clock counts instructions.
COUNTED = ("boot", "warm")


def images():
    """Returns the KEY=VALUE lines of a script that makes images, as an environment."""
    lines = []
    for command in (["guest-images/build", "--print"], ["guest-images/debian", "--print"]):
        lines += subprocess.run([ROOT / command[0], *command[1:]], check=True, stdout=subprocess.PIPE,
                                text=True).stdout.splitlines()
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


def inside(parts):
    """The part that runs in the nested host."""
    # The measurements must not use a file system of the machine around the nested host.
    for key in ("KERNEL", "VMLINUX", "INITRAMFS", "LGUEST"):
        copied = f"/tmp/{key.lower()}"
        subprocess.run(["cp", os.environ[key], copied], check=True)
        os.environ[key] = copied
    subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=True)
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True)
    for part in parts:
        print(f"\n## {part}\n", flush=True)
        for line in importlib.import_module(part).measure():
            print(line, flush=True)


def nested_host(environment):
    """Runs this program in the nested host, with these options of nested-host and these words."""
    assignments = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]

    def run(options, words):
        command = [ROOT / "guest-images/nested-host", "run", *options, *assignments,
                   "--", sys.executable, pathlib.Path(__file__).parent, "inside", *words]
        status = subprocess.run(command).returncode
        if status != 0:
            sys.exit(status)

    return run


def main():
    arguments = sys.argv[1:]
    if arguments == ["inside", "extract"]:
        return tools.extract()
    if arguments[:1] == ["inside"]:
        return inside(arguments[1:])
    parts = arguments or PARTS
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"bench: no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    environment = {key: os.environ[key] for key in ("LGUEST", "PATH", "HOME")} | images()
    run = nested_host(environment)
    if set(parts) - set(COUNTED):
        tools.provide(environment, run)
    for part in parts:
        run(["--icount"] if part in COUNTED else [], [part])
    return None


if __name__ == "__main__":
    main()
