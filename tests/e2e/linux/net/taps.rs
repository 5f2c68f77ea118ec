//! Interfaces that were created before lguest starts.

use tests::{Pty, program};

use super::*;

#[test]
fn the_tap_becomes_a_port_of_the_bridge() {
    let Some(network) = Network::new() else { return };
    network.ip("link add br0 mtu 1400 type bridge");
    network.ip("addr add 10.9.8.1/24 dev br0");
    network.ip("link set br0 up");
    let mut guest = Guest::of(card("bridge:br0:02:00:00:00:00:07").on_terminal());

    assert!(network.ip("link show dev lg0").contains("master br0"));
    assert_eq!(guest.run("cat /sys/class/net/eth0/address"), "02:00:00:00:00:07");
    assert_eq!(guest.run("cat /sys/class/net/eth0/mtu"), "1400");
    assert!(network.ip("link show dev br0").contains("mtu 1400"));
    guest.run("ip addr add 10.9.8.2/24 dev eth0; ip link set eth0 up");
    network.expect_answer("10.9.8.2");
    guest.run("ping -c 3 10.9.8.1");

    guest.power_off();
    network.wait_for("lg0", false);
    assert!(network.has("br0"));
}

/// Root has created the tap; the launcher has no privileges.
#[test]
fn a_tap_that_root_has_created_works_with_a_large_mtu() {
    let Some(network) = Network::new() else { return };
    network.ip("tuntap add tap7 mode tap user root");
    network.ip("link set tap7 mtu 9000 up");
    network.ip("addr add 10.9.8.1/24 dev tap7");
    let launch = card("tap:tap7");
    let words: Vec<_> =
        launch.words().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut unprivileged = vec!["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    unprivileged.extend(words.iter().map(String::as_str));
    let here = std::env::current_dir().unwrap();
    let mut guest = Guest::of(program(&unprivileged, &here, Pty::new(30, 100)));

    assert_eq!(guest.run("cat /sys/class/net/eth0/mtu"), "9000");
    guest.run("ip addr add 10.9.8.2/24 dev eth0; ip link set eth0 up");
    network.expect_answer("10.9.8.2");
    network.ping(5, "-M do -s 8900", "10.9.8.2");
    // The guest keeps its MTU; the frames that come are smaller.
    network.ip("link set tap7 mtu 1300");
    network.ping(5, "-s 3000", "10.9.8.2");
    assert_eq!(guest.run("cat /sys/class/net/eth0/mtu"), "9000");

    guest.power_off();
    assert!(network.has("tap7"));
}
