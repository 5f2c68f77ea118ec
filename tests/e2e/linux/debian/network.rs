//! Debian's programs on two network cards: a tap that exists already, and a port of a bridge, in a
//! network namespace of the test.

use std::process::{Child, Command, Stdio};

use super::super::net::queues;
use super::*;

/// A server for the guest's iperf3. Dropping the value ends it.
struct Server(Child);

impl Server {
    fn start() -> Self {
        let mut server = Command::new("iperf3");
        Self(server.arg("--server").stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends data both ways for some seconds, and checks the bytes that the receiver got.
fn iperf3(guest: &mut Debian, host: &str) {
    for direction in ["", "--reverse", "--udp --bitrate 20M", "--udp --bitrate 20M --reverse"] {
        let said = guest.run(&format!("iperf3 --client {host} --time 3 {direction} --json"));
        assert!(!said.contains("\"error\""), "{said}");
        let received = said.split("\"sum_received\"").nth(1).or(said.split("\"sum\"").last());
        let bytes = received.and_then(|sum| sum.split("\"bytes\":").nth(1)).unwrap();
        let bytes: u64 = bytes.trim_start().split([',', '\n']).next().unwrap().parse().unwrap();
        assert!(bytes > 1 << 20, "{direction}: {bytes} bytes");
    }
}

fn ping_flood(network: &Network, guest: &mut Debian, host: &str, address: &str) {
    let (_, said) = network.program("ping", &format!("-f -c 2000 {address}"));
    assert!(said.contains("2000 received"), "{said}");
    let (_, said) = network.program("ping", &format!("-f -c 500 -s 9000 {address}"));
    assert!(said.contains("500 received"), "{said}");
    let said = guest.run(&format!("ping -f -c 2000 {host}"));
    assert!(said.contains("2000 received"), "{said}");
}

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn iperf3_and_ping_floods_through_a_tap_and_a_bridge() {
    let Some(network) = Network::new() else { return };
    network.ip("link set lo up");
    network.ip("tuntap add tap7 mode tap");
    network.ip("link set tap7 up");
    network.ip("addr add 10.9.7.1/24 dev tap7");
    network.ip("link add br0 type bridge");
    network.ip("link set br0 up");
    network.ip("addr add 10.9.8.1/24 dev br0");
    let _server = Server::start();
    let mut guest = Debian::boot(&["--tunnet=tap:tap7", "--tunnet=bridge:br0"]);

    for (card, net) in [("eth0", "10.9.7"), ("eth1", "10.9.8")] {
        guest.run(&format!("ip addr add {net}.2/24 dev {card}; ip link set {card} up"));
        network.expect_answer(&format!("{net}.2"));
        iperf3(&mut guest, &format!("{net}.1"));
        ping_flood(&network, &mut guest, &format!("{net}.1"), &format!("{net}.2"));
        let errors = format!("cd /sys/class/net/{card}/statistics; cat *_errors | sort -u; cd");
        assert_eq!(guest.run(&errors), "0");
    }
    guest.power_off();
}

/// The guest's root sends VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn the_guest_uses_as_many_queue_pairs_as_it_says() {
    let Some(network) = Network::new() else { return };
    let options = ["--tunnet=192.168.19.1,queues=3", "--cpus", "3"];
    let mut guest = Debian::boot(&options);
    network.expect_answer("192.168.19.2");
    assert_eq!(queues(&network), "3 and 0");
    for (pairs, wanted) in [(1, "1 and 2"), (3, "3 and 0"), (2, "2 and 1")] {
        guest.run(&format!("ethtool -L eth0 combined {pairs}"));
        assert_eq!(queues(&network), wanted);
        network.ping(20, "", "192.168.19.2");
    }
    guest.power_off();
}
