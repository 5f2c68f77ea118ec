"""Disks: fio in the guest on a file of the host.

The file is on ext4 in the nested host's memory (a loop device over tmpfs) and in the page cache, so that
what is measured is the way from the guest to the host's kernel and back, and no medium. (Not on tmpfs
itself, which makes io_uring use worker threads.) Both launchers go through the page cache, and flush with
fdatasync.
"""

import os
import re
import subprocess

import compare
import machines
import tools

SIZE_MIB = 64
DISKS = "/tmp/disks"

# Name, options of fio, bytes per operation, and the numbers of operations in the short and the long run.
JOBS = {
    "4 KiB random reads, depth 1": ("--rw=randread --iodepth=1", 4 << 10, 200, 1200),
    "4 KiB random reads, depth 32": ("--rw=randread --iodepth=32", 4 << 10, 500, 4500),
    "4 KiB random writes, depth 32": ("--rw=randwrite --iodepth=32", 4 << 10, 500, 4500),
    "256 KiB sequential reads, depth 8": ("--rw=read --iodepth=8", 256 << 10, 50, 300),
    "256 KiB sequential writes, depth 8": ("--rw=write --iodepth=8", 256 << 10, 50, 300),
}


def launchers():
    """The launchers. Each has its own file, which is locked."""
    files = iter(range(len(os.listdir(DISKS))))

    def file():
        return f"{DISKS}/{next(files)}"

    def qemu(*options, device=""):
        drive = f"if=none,id=disk,format=raw,cache=writeback,aio=io_uring,file={file()}"
        return machines.qemu("-drive", drive, *options, "-device", f"virtio-blk-pci,drive=disk{device}")

    return {
        "lguest": machines.lguest("--block", file()),
        "QEMU": qemu(),
        "QEMU, iothread": qemu("-object", "iothread,id=io", device=",iothread=io"),
        "QEMU, iothread that does not poll": qemu("-object", "iothread,id=io,poll-max-ns=0", device=",iothread=io"),
    }


def make_disks(count):
    """Creates a file on a separate file system, and reads all of it into the page cache."""
    commands = [f"truncate -s {SIZE_MIB * count + 100}M /tmp/disk.ext4",
                "mkfs.ext4 -q -F -E lazy_itable_init=0 -m 0 /tmp/disk.ext4", f"mkdir -p {DISKS}",
                f"mount -o loop /tmp/disk.ext4 {DISKS}", f"rmdir {DISKS}/lost+found"]
    commands += [f"dd if=/dev/urandom of={DISKS}/{number} bs=1M count={SIZE_MIB} status=none" for number in range(count)]
    for command in [*commands, "sync"]:
        subprocess.run(command.split(), check=True)


def fio(guest, options, size, operations):
    """Returns operations and bytes per second, as fio counts them."""
    said = guest.run(f"/usr/bin/fio --name=bench --filename=/dev/vda --direct=1 --ioengine=libaio {options} "
                     f"--bs={size} --size={SIZE_MIB}m --io_size={operations * size} --norandommap --randseed=1 "
                     "--eta=never --output-format=terse --terse-version=3")
    if not (found := re.search(r"3;fio-.*", said)):
        raise RuntimeError(f"fio said {said!r}")
    fields = found[0].split(";")
    rate = {column: int(fields[column]) + int(fields[column + 41]) for column in (5, 6, 7)}
    if rate[5] * 1024 != operations * size:
        raise RuntimeError(f"fio did not do what it was told: {found[0]}")
    return rate[7], rate[6] * 1024


def measure():
    tools.for_guests()
    make_disks(4)
    for job, (options, size, little, much) in JOBS.items():
        def work(guest, _name, operations):
            return fio(guest, options, size, operations)

        results = compare.in_turn(launchers(), work, little, much)
        yield f"| {job} | | CPU per operation: devices | vCPU | exits | to the launcher | system calls |"
        yield "|---|---|---|---|---|---|---|"
        base = max(rate for name, ((_, rate), _) in results.items() if name.startswith("QEMU"))
        for name, ((iops, rate), cost) in results.items():
            speed = f"{iops:.0f} IOPS" if size <= 4096 else f"{rate / 1e6:.0f} MB/s"
            yield f"| {name} | {speed} ({rate / base:.2f}) | {compare.cells(cost)} |"
        yield ""
