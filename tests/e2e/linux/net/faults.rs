//! An interface that is down or deleted is like a pulled cable.

use tests::Flood;

use super::*;

#[test]
fn a_tap_goes_down_and_up_and_is_deleted_and_created_again() {
    let Some(network) = Network::new() else { return };
    let make = || {
        network.ip("tuntap add tap7 mode tap");
        network.ip("link set tap7 up");
        network.ip("addr add 10.9.8.1/24 dev tap7");
    };
    make();
    let mut guest = Guest::of(card("tap:tap7").on_terminal());
    guest.run("ip addr add 10.9.8.2/24 dev eth0; ip link set eth0 up");
    expect_carrier(&mut guest, "1");
    network.expect_answer("10.9.8.2");
    // Frames in both directions, all the time.
    let flood = Flood::start("10.9.8.2");
    guest.run("while :; do ping -c 1 -W 1 10.9.8.1; sleep 0.1; done > /dev/null 2>&1 &");

    network.ip("link set tap7 down");
    expect_carrier(&mut guest, "0");
    network.ip("link set tap7 up");
    expect_carrier(&mut guest, "1");
    network.expect_answer("10.9.8.2");

    network.ip("link del tap7");
    guest.expect_stderr("tap7 was deleted: the guest's link is down until it is made again");
    expect_carrier(&mut guest, "0");
    let queues = ["net0-rx", "net0-tx"].map(|name| guest.process().thread(name).unwrap());
    let before = queues.map(|queue| queue.ticks());
    guest.run("sleep 3");
    for (queue, before) in queues.iter().zip(before) {
        assert!(queue.ticks() - before <= 3, "a thread spins");
    }

    make();
    expect_carrier(&mut guest, "1");
    flood.stop();
    network.expect_answer("10.9.8.2");
    network.ping(5, "-s 5000", "10.9.8.2");
    assert_eq!(guest.stderr().lines().count(), 1, "{}", guest.stderr());
}

/// A reset does not wait for a tap that does not come back, and a guest may start without one.
#[test]
fn a_guest_may_reboot_while_its_interface_is_gone() {
    let Some((network, mut guest)) = boot(HOST) else { return };
    network.expect_answer(GUEST);
    network.ip("link del lg0");
    expect_carrier(&mut guest, "0");

    guest.type_line("reboot -f");
    guest.expect("guest# ");
    expect_carrier(&mut guest, "0");

    network.ip("tuntap add lg0 mode tap");
    network.ip("addr add 192.168.19.1/24 dev lg0");
    network.ip("link set lg0 up");
    expect_carrier(&mut guest, "1");
    network.expect_answer(GUEST);
}
