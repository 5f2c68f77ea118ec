"""The command lines of the compared launchers. They are as similar as possible, and QEMU is set up as an expert
would do it. Used by all parts."""

import os

GUEST_MIB = 512
# The kernel arguments that lguest adds, except that of a network card (`net`).
WORDS = "console=hvc0 quiet 8250.nr_uarts=0 cryptomgr.notests"


def lguest(*options, kernel="VMLINUX", words=""):
    return [os.environ["LGUEST"], str(GUEST_MIB), os.environ[kernel], "--initrd", os.environ["INITRAMFS"],
            *options, *words.split()]


def qemu(*options, kernel="VMLINUX", words=""):
    return ["qemu-system-x86_64", "-M", "microvm,acpi=on,pcie=on,pit=off,pic=off,rtc=off,isa-serial=off",
            # The names distinguish the vCPU's thread from the others.
            "-name", "microvm,debug-threads=on",
            "-enable-kvm", "-cpu", "host", "-m", f"{GUEST_MIB}m", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-chardev", "stdio,id=con0", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=con0",
            "-kernel", os.environ[kernel], "-initrd", os.environ["INITRAMFS"],
            "-append", f"{WORDS} {words}", *options]


def is_vcpu(thread):
    """Whether a thread of this name runs the guest, in either launcher."""
    return thread.startswith("vcpu") or thread.endswith("/KVM")
