//! A card for one option, from the start to every kind of end.

use nix::sys::signal::Signal;
use tests::{End, Flood};

use super::*;

#[test]
fn host_and_guest_reach_each_other_without_further_set_up() {
    let Some((network, mut guest)) = boot(HOST) else { return };
    assert!(network.ip("addr show dev lg0").contains("inet 192.168.19.1/24 brd 192.168.19.255"));
    guest.run(&format!("ping -c 3 {HOST}"));
    network.ping(20, "", GUEST);
    network.ping(5, "-s 20000", GUEST);
    assert!(guest.run("ip route").contains(&format!("default via {HOST} dev eth0")));
    // The address is locally administered, and unicast.
    let mac = guest.run("cat /sys/class/net/eth0/address");
    assert!("26ae".contains(&mac[1..2]), "{mac}");

    assert_eq!(guest.power_off(), End::Status(0));
    network.wait_for("lg0", false);
}

#[test]
fn the_tap_disappears_with_a_killed_launcher() {
    let Some(network) = Network::new() else { return };
    let running = card("10.0.0.2/30:02:00:00:00:00:09").on_terminal();
    network.wait_for("lg0", true);

    running.process().signal(Signal::SIGKILL);

    network.wait_for("lg0", false);
}

/// The other end sends as fast as it can at the same time.
#[test]
fn the_network_works_after_an_unbind_and_after_a_reboot() {
    let Some((network, mut guest)) = boot(HOST) else { return };
    let mac = guest.run("cat /sys/class/net/eth0/address");
    let process = guest.process();
    let flood = Flood::start(GUEST);
    network.expect_answer(GUEST);

    guest.run("cd /sys/bus/virtio/drivers/virtio_net; echo virtio1 > unbind");
    assert!(process.thread("net0-rx").is_none());
    guest.run("echo virtio1 > bind; cd");
    guest.run(&format!("ip addr add {GUEST}/24 dev eth0; ip link set eth0 up"));
    network.expect_answer(GUEST);

    guest.type_line("reboot -f");
    guest.expect("guest# ");
    network.expect_answer(GUEST);
    drop(flood);
    assert_eq!(guest.run("cat /sys/class/net/eth0/address"), mac);
    assert_eq!(guest.process(), process);
    guest.run(&format!("ping -c 3 {HOST}"));
}
