//! The order of the modules of each crate.

/// The modules of the launcher itself. Each imports only earlier ones.
#[rustfmt::skip]
pub(super) const LAUNCHER: [&str; 19] = [
    // How a guest ended; counts and events.
    "ending", "exit_status", "observers",
    // The command line.
    "config", "help", "generate", "unpack", "detach", "runtime",
    // A guest and its consoles.
    "exec", "console", "guest", "silence",
    // A guest that is saved, and one that is restored.
    "snapshot",
    // Boot tests, the control socket, `lguest check`.
    "boot_test", "control", "check",
    // A launch, and the commands to running guests.
    "launch", "client",
];

/// The modules of `machine`.
#[rustfmt::skip]
pub(super) const MACHINE: [&str; 14] = [
    "sys",
    // KVM's structs in a snapshot.
    "raw",
    // Guest memory.
    "memory", "firmware",
    // The hardware of the machine.
    "end", "crash", "power", "rtc", "ports", "acpi", "cpuid", "vcpu", "vm",
    // The start of a kernel in it.
    "boot",
];

/// The modules of `host`.
#[rustfmt::skip]
pub(super) const HOST: [&str; 20] = [
    // System calls, descriptors, sockets.
    "sys", "peer", "listener", "descriptors", "standard", "inherited",
    // The user's terminal and messages.
    "sandbox", "privilege", "terminal", "progress", "messages", "exit", "signals",
    // Streams.
    "input", "stdin", "output", "writer", "trace",
    // What devices work on.
    "disk", "net",
];

/// The modules of `wire`.
pub(super) const WIRE: [&str; 3] = ["frame", "name", "protocol"];

/// The modules of `devices`. Each imports only earlier ones.
#[rustfmt::skip]
pub(super) const DEVICES: [&str; 27] = [
    "number", "mutex", "sys", "threads", "log_interval", "error", "state", "request", "trace", "stats", "observer", "interrupt",
    // The transport's registers.
    "msix", "status", "device", "kick", "stop",
    // Virtqueues and their threads.
    "queue", "queue_thread",
    // The PCI functions that the guest sees.
    "config_space", "registers", "virtio_pci", "pci",
    // The devices.
    "console", "block", "net", "rng",
];
