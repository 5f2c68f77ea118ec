//! Tests that run on any KVM, with the probe of `guest-images/guests`: a small guest of our own
//! that does what its command line says.

mod attach;
mod background;
mod boot_tests;
mod check;
mod client;
mod config;
mod console;
mod console_output;
mod consoles;
mod control;
mod cow;
mod detached;
mod disks;
mod endings;
mod exit_paths;
mod floods;
mod help;
mod hostile;
mod inherited_descriptors;
mod keyboards;
mod limits;
mod machine;
mod many_clients;
mod many_consoles;
mod names;
mod peek;
mod privilege;
mod progress;
mod pty_limits;
mod ptys;
mod race;
mod resets;
mod sandbox;
mod shells;
mod snapshots;
mod soak;
mod sockets;
mod stats;
mod streams;
mod terminal_answers;
mod trace;

use std::path::Path;

use tests::{Launch, environment, lguest, until};

/// Launches the probe in this mode.
fn probe(mode: &str) -> Launch {
    Launch::kernel(environment::probe()).memory("64").argument(&format!("mode={mode}"))
}

/// Launches the probe with this number of consoles, of which it uses all. No client is attached to
/// them.
fn consoles(name: &str, count: usize) -> Launch {
    let launch = probe("consoles").argument("wait=halt").option(&format!("--name={name}"));
    (0..count).fold(launch, |launch, _| launch.option("--console=sock"))
}

/// Waits until the guest has greeted on the last of its consoles. It greets in their order.
fn wait_for_all(runtime: &Path, name: &str, count: usize) {
    let last = count - 1;
    until("the guest has printed on all its consoles", || {
        let said = lguest(runtime, &["log", name, &last.to_string()]);
        (said.stdout == format!("hello {last}\n")).then_some(())
    });
}
