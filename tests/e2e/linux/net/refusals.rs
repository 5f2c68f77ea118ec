//! Impossible interfaces are refused in one line, and nothing is left behind.

use super::super::refusals::{is_refused, refuses};
use super::*;
use tests::{Pty, program};

fn interfaces(network: &Network) -> String {
    network.ip("-br link")
}

#[test]
fn interfaces_of_the_wrong_kind_are_refused() {
    let Some(network) = Network::new() else { return };
    network.ip("link add br0 type bridge");
    network.ip("link add cable0 type veth peer name cable1");
    network.ip("addr add 10.9.8.1/24 dev br0");
    network.ip("tuntap add tap7 mode tap");
    network.ip("tuntap add tun7 mode tun");
    let before = interfaces(&network);

    refuses(&card("bridge:br1"), "bridge:br1: no such interface");
    refuses(&card("bridge:cable0"), "bridge:cable0: it is not a bridge");
    // A tap cannot have the MTU of lo.
    refuses(&card("bridge:lo"), "bridge:lo: it is not a bridge");
    refuses(&card("tap:tap8"), "tap:tap8: no such interface; as root, run: ip tuntap add tap8");
    refuses(&card("tap:cable0"), "tap:cable0: it is an interface, but no tap");
    refuses(&card("tap:tun7"), "tap:tun7: it is an interface, but no tap");
    refuses(&card("tap:tap7,queues=2"), "not a tap for several queues; as root, run");
    refuses(&card("10.9.8.1"), "10.9.8.1: the address is taken: br0 has it");
    refuses(&card("10.9.8.77"), "the network 10.9.8.0/24 is taken: br0 has 10.9.8.1");
    refuses(&card(HOST).option("--tunnet").option(HOST), "the address is taken: lg0 has it");

    assert_eq!(interfaces(&network), before);
}

#[test]
fn a_tap_in_use_is_refused() {
    let Some(network) = Network::new() else { return };
    network.ip("tuntap add tap7 mode tap");
    let _first = Guest::of(card("tap:tap7").on_terminal());

    refuses(&card("tap:tap7"), "tap:tap7: busy");
}

#[test]
fn missing_privileges_and_drivers_are_reported() {
    let Some(network) = Network::new() else { return };
    network.ip("link add br0 type bridge");
    network.ip("tuntap add tap7 mode tap user 12345");
    let here = std::env::current_dir().unwrap();
    let without = |prefix: &str, tunnet: &str, words: &str| {
        let line = format!("{prefix} {}", card(tunnet).shell_line());
        is_refused(program(&["sh", "-c", &line], &here, Pty::new(30, 100)), words);
    };
    let privilege = "exec setpriv --bounding-set=-all --inh-caps=-all";

    without(privilege, HOST, "making a tap: permission denied: run as root, or have root make");
    without(privilege, "bridge:br0", "making a tap: permission denied: run as root");
    without(privilege, "tap:tap7", "it was not made for you");
    let no_tun = "mount -t tmpfs none /dev/net && exec";
    let namespace = |line: &str| format!("exec unshare -m sh -c '{}'", line.replace('\'', r"'\''"));
    let line = namespace(&format!("{no_tun} {}", card(HOST).shell_line()));
    let running = program(&["sh", "-c", &line], &here, Pty::new(30, 100));
    is_refused(running, "/dev/net/tun: no such file: as root, run: modprobe tun");
    assert_eq!(interfaces(&network).lines().count(), 3);
}
