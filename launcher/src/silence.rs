//! Reports a guest whose messages nobody can see: before its start, the words of the kernel command
//! line that cause it ([`words`]); while it runs, that it has printed nothing so far; at its end,
//! that it never had a driver for a console.

mod words;

use std::fs;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use host::messages;

use crate::config::Config;
use crate::config::console::{Backend, ConsoleConfig};
use crate::console::GuestConsole;

/// How long a guest may print nothing: after this time it may have no console, or print elsewhere.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a guest may print nothing if lguest runs in a virtual machine, where guests may start
/// slowly.
const NESTED_SILENCE: Duration = Duration::from_secs(30);

/// Warn about words on the kernel command line that leave the guest without its devices, or send
/// its messages to a console that does not exist.
pub(crate) fn warn(config: &Config, consoles: &[ConsoleConfig]) {
    for warning in words::warnings(config, consoles.len()) {
        log::warn!("{warning}");
    }
}

/// How long a guest may print nothing until the user gets a hint. None if the user gets no
/// hint: a program that reads stderr needs none.
pub(crate) fn patience() -> Option<Duration> {
    match (log::log_enabled!(log::Level::Info), io::stderr().is_terminal()) {
        (true, _) => Some(SILENCE),
        (false, true) => Some(if is_virtual_machine() { NESTED_SILENCE } else { SILENCE }),
        (false, false) => None,
    }
}

/// Whether this host's CPU says that a hypervisor runs it.
fn is_virtual_machine() -> bool {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpus.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "hypervisor")
}

/// Give the user a hint if the guest has printed nothing so far.
pub(crate) fn hint(consoles: &[Arc<GuestConsole>], has_initrd: bool) {
    if consoles.iter().any(|console| console.output.is_used()) {
        return;
    }
    match no_driver(consoles, has_initrd) {
        Some(why) => log::warn!("the guest has printed nothing so far: {why}"),
        None => log::warn!(
            "the guest has printed nothing so far: it has a driver for its console, and prints \
             where console= on the kernel command line says; loglevel=7 shows the kernel's \
             messages"
        ),
    }
}

/// Report that the guest, which ended by itself, never had a console.
pub(crate) fn report(consoles: &[Arc<GuestConsole>], has_initrd: bool) {
    if let Some(why) = no_driver(consoles, has_initrd) {
        messages::say(&format!("the guest has ended, and its messages are lost: {why}"));
    }
}

/// Report that the guest restarts and never had a console: if its kernel panics that early, it
/// restarts for ever. `reported` limits this to one message.
pub(crate) fn report_restart(
    consoles: &[Arc<GuestConsole>],
    has_initrd: bool,
    reported: &mut bool,
) {
    let Some(why) = no_driver(consoles, has_initrd).filter(|_| !*reported) else { return };
    *reported = true;
    messages::say(&format!("the guest restarts, and its messages are lost: {why}"));
}

/// Why the messages of the guest are lost, if no console had a driver so far, and what to do
/// about it. None if the user wants no messages, or got some by the serial port.
pub(crate) fn no_driver(consoles: &[Arc<GuestConsole>], has_initrd: bool) -> Option<String> {
    let seen = |console: &GuestConsole| console.has_driver() || console.output.is_used();
    let wanted = consoles.iter().any(|console| console.config.backend != Backend::Null);
    if !wanted || consoles.iter().any(|console| seen(console)) {
        return None;
    }
    let advice = match has_initrd {
        true => "--earlycon shows the kernel's messages",
        false => {
            "most kernels have that driver as a module in their initramfs: give it with --initrd; \
             --earlycon shows the kernel's messages"
        }
    };
    Some(format!("it had no driver for its console (virtio_console): {advice}"))
}
