//! The cost of a ping: the launcher's system calls, by thread.

use std::fs;

use super::*;
use tests::files::Scratch;
use tests::{Strace, until};

/// The number of pings that are counted.
const PINGS: usize = 10;

/// Returns the system calls of each of the card's threads for [`PINGS`] pings, and whether the vCPU
/// returned from the guest.
fn calls_of_pings(network: &Network, guest: &Guest) -> (Vec<String>, Vec<String>, usize) {
    let (scratch, process) = (Scratch::new(), guest.process());
    let trace = Strace::attach(process, scratch.path(), &[]);
    network.ping(u32::try_from(PINGS).unwrap(), "", GUEST);
    // The last answer arrives before its sender has returned from the call.
    let all_sleep = || ["net0-rx", "net0-tx"].iter().all(|it| process.thread(it).unwrap().sleeps());
    until("the threads sleep again", || all_sleep().then_some(()));
    let pings = trace.detach_all();
    let begun = |name: &str| {
        let mut calls = pings.get(&process.thread(name).unwrap().id).cloned().unwrap_or_default();
        calls.retain(|call| !call.starts_with("<..."));
        calls
    };
    let names = |thread: &str| {
        let calls = begun(thread);
        let names = calls.iter().filter_map(|call| Some(call.split_once('(')?.0.to_string()));
        names.collect::<Vec<_>>()
    };
    // strace itself interrupts the vCPU once. The vCPU then makes an ioctl about the guest's clock.
    let vcpu = begun("vcpu0");
    let other = vcpu.iter().find(|call| !["KVM_RUN", "KVMCLOCK"].iter().any(|c| call.contains(c)));
    assert_eq!(other, None, "the vCPU has something to do");
    let entered = vcpu.iter().filter(|call| call.contains("KVM_RUN")).count();
    (names("net0-rx"), names("net0-tx"), entered)
}

/// Asserts that a thread made exactly these calls for each ping, and one more of the call in which
/// it sleeps, which strace shows when it attaches.
fn expect(thread: &[String], sleep: &str, others: &[&str]) {
    let count = |name: &str| thread.iter().filter(|call| *call == name).count();
    for name in others.iter().chain([&sleep]) {
        let extra = usize::from(*name == sleep);
        assert_eq!(count(name), PINGS + extra, "{name} in {thread:?}");
    }
    let known = thread.iter().all(|call| call == sleep || others.contains(&call.as_str()));
    assert!(known, "{thread:?}");
}

/// Starts a guest that neither gets nor sends anything but pings: the neighbours' addresses are
/// fixed.
pub(super) fn quiet_guest(arguments: &[&str], options: &[String]) -> Option<(Network, Guest)> {
    let network = Network::new()?;
    let launch = card(&format!("{HOST}:02:00:00:00:00:19"));
    let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(argument));
    let launch = options.iter().fold(launch, |launch, option| launch.option(option));
    let mut guest = Guest::of(launch.on_terminal());
    fs::write("/proc/sys/net/ipv6/conf/lg0/disable_ipv6", "1").unwrap();
    network.ip(&format!("neigh replace {GUEST} lladdr 02:00:00:00:00:19 dev lg0 nud permanent"));
    let link = network.ip("-br link show dev lg0");
    let mac = link.split_whitespace().nth(2).unwrap();
    guest.run(&format!("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; arp -s {HOST} {mac}"));
    network.ping(3, "", GUEST);
    Some((network, guest))
}

/// A frame arrives, an interrupt; a doorbell, a frame is sent.
#[test]
fn a_ping_is_four_system_calls_and_no_exit() {
    let Some((network, guest)) = quiet_guest(&[], &[]) else { return };

    let (receive, transmit, exits) = calls_of_pings(&network, &guest);

    expect(&receive, "readv", &["write"]);
    expect(&transmit, "read", &["writev"]);
    assert!(exits <= 1, "{exits} returns from KVM_RUN");
}

/// A driver that wants an interrupt for each sent frame gets one: the kernel argument of the user
/// takes precedence.
#[test]
fn a_ping_is_five_with_napi_tx() {
    let Some((network, guest)) = quiet_guest(&["virtio_net.napi_tx=1"], &[]) else { return };

    let (receive, transmit, exits) = calls_of_pings(&network, &guest);

    expect(&receive, "readv", &["write"]);
    expect(&transmit, "read", &["writev", "write"]);
    assert!(exits <= 1, "{exits} returns from KVM_RUN");
}
