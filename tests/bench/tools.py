"""fio and iperf3 for guests, in a second initramfs, so that guests need no disk for them. Both come from Debian's
disk image, with their libraries. `provide` is called outside of the nested host, which makes the initramfs in
target/bench; `run_here` runs a program in the nested host itself."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TREE = ROOT / "target/bench/tree"
INITRAMFS = ROOT / "target/bench/initramfs"
PROGRAMS = ("/usr/bin/fio", "/usr/bin/iperf3")


def provide(environment, nested_host):
    """Makes INITRAMFS, unless it was already made from the same images."""
    made_of = INITRAMFS.with_name("made-of")
    recipe = "\n".join([environment["DEBIAN"], environment["INITRAMFS"], *PROGRAMS])
    if not (made_of.exists() and made_of.read_text() == recipe):
        shutil.rmtree(INITRAMFS.parent, ignore_errors=True)
        INITRAMFS.parent.mkdir(parents=True)
        nested_host(["--share", INITRAMFS.parent], ["extract"])
        made_of.write_text(recipe)


def extract():
    """In the nested host, where everybody is root."""
    debian = pathlib.Path("/tmp/debian")
    debian.mkdir()
    subprocess.run(["mount", "-o", "loop,ro,noload", os.environ["DEBIAN"], debian], check=True)
    listing = subprocess.run(["chroot", debian, "ldd", *PROGRAMS], check=True, stdout=subprocess.PIPE, text=True).stdout
    files = sorted({*PROGRAMS, *re.findall(r"^\s+(?:\S+ => )?(/\S+) \(", listing, re.M)})
    for name in files:
        copy = pathlib.Path(f"{TREE}{name}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"{debian}{name}", copy)
        copy.chmod(0o755)
    (TREE / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    # The archive's lines cannot have blanks, and the names of these files have none.
    entries = "".join(f"file {name} 755 {TREE}{name}\n" for name in files) + f"file /etc/passwd 644 {TREE}/passwd\n"
    archive = subprocess.run([sys.executable, ROOT / "guest-images/make-cpio"], input=entries.encode(), check=True,
                             stdout=subprocess.PIPE).stdout
    guest = pathlib.Path(os.environ["INITRAMFS"]).read_bytes()
    # Archives begin at multiples of 4.
    INITRAMFS.write_bytes(guest + b"\0" * (-len(guest) % 4) + archive)


def for_guests():
    """Adds the programs to the command lines of `machines`."""
    os.environ["INITRAMFS"] = "/tmp/initramfs-with-tools"
    shutil.copy(INITRAMFS, os.environ["INITRAMFS"])


def run_here(*words, **options):
    """Starts a program of the list in the nested host itself."""
    libraries = f"{TREE}/lib/x86_64-linux-gnu"
    return subprocess.Popen([f"{TREE}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{TREE}{words[0]}",
                             *words[1:]], **options)
