//! Data through a card arrive complete, in both directions and in any amount.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tests::files::Scratch;
use tests::{Flood, until};

use super::*;

fn sum(scratch: &Scratch, contents: &[u8]) -> String {
    let file = scratch.file("received", contents);
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_string()
}

#[test]
fn megabytes_of_tcp_arrive_both_ways() {
    let Some((network, mut guest)) = boot(HOST) else { return };
    let scratch = Scratch::new();
    network.expect_answer(GUEST);

    let frames = |guest: &mut Guest| -> u32 {
        guest.run("cat /sys/class/net/eth0/statistics/rx_packets").parse().unwrap()
    };
    let listener = TcpListener::bind((HOST, 7777)).unwrap();
    guest.run("dd if=/dev/urandom of=/tmp/out bs=1M count=8");
    guest.run(&format!("nc {HOST} 7777 < /tmp/out &"));
    let (mut stream, mut received) = (listener.accept().unwrap().0, Vec::new());
    stream.read_to_end(&mut received).unwrap();
    drop(stream);
    assert_eq!(received.len(), 8 << 20);
    assert_eq!(guest.run("sha256sum /tmp/out")[..64], sum(&scratch, &received));

    let mut sent = vec![0; 8 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut sent).unwrap();
    let before = frames(&mut guest);
    guest.run("nc -l -p 7778 < /dev/null > /tmp/in &");
    let mut stream = until("the guest listens", || TcpStream::connect((GUEST, 7778)).ok());
    stream.write_all(&sent).unwrap();
    drop(stream);
    until("the guest has all bytes", || {
        (guest.run("wc -c < /tmp/in").trim() == sent.len().to_string()).then_some(())
    });
    assert_eq!(guest.run("sha256sum /tmp/in")[..64], sum(&scratch, &sent));
    // A frame contains several packets of 1500 bytes: 8 MiB are 5800 packets.
    let frames = frames(&mut guest) - before;
    assert!(frames < 4000, "{frames} frames for 8 MiB");
}

/// Frames to a guest that takes none cost its thread no CPU time. When the guest takes frames
/// again, it gets new ones at once.
#[test]
fn a_flood_to_a_guest_without_buffers_costs_no_cpu() {
    let Some((network, mut guest)) = boot(&format!("{HOST}:02:00:00:00:00:19")) else { return };
    network.expect_answer(GUEST);
    network.ip(&format!("neigh replace {GUEST} lladdr 02:00:00:00:00:19 dev lg0 nud permanent"));
    guest.run("ip link set eth0 down");
    let flood = Flood::start(GUEST);
    let dropped = || {
        let file = "/proc/thread-self/net/dev";
        let all = fs::read_to_string(file).unwrap();
        let line = all.lines().find(|line| line.trim_start().starts_with("lg0:")).unwrap();
        line.split_whitespace().nth(12).unwrap().parse::<u64>().unwrap()
    };
    // The guest's buffers are full, and then the tap's own queue.
    until("the tap drops", || (dropped() > 1000).then_some(()));

    let receive = guest.process().thread("net0-rx").unwrap();
    let (before, at) = (receive.ticks(), dropped());
    until("the tap drops more", || (dropped() > at + 5000).then_some(()));
    let ticks = receive.ticks() - before;
    assert!(flood.stop() > 5000);
    assert!(ticks <= 1, "{ticks} ticks");

    guest.run(&format!("ip link set eth0 up; ip route replace default via {HOST}"));
    network.expect_answer(GUEST);
    guest.run(&format!("ping -c 3 {HOST}"));
}

#[test]
fn several_queues_are_all_used() {
    let Some(network) = Network::new() else { return };
    let launch = card(&format!("{HOST},queues=2")).option("--cpus").option("2");
    let mut guest = Guest::of(launch.on_terminal());
    network.expect_answer(GUEST);
    let threads = guest.process().threads();
    for name in ["net0-ctl", "net0-rx0", "net0-rx1", "net0-tx0", "net0-tx1"] {
        assert!(threads.iter().any(|thread| thread == name), "{name} is not in {threads:?}");
    }
    assert_eq!(guest.run("ls /sys/class/net/eth0/queues"), "rx-0  rx-1  tx-0  tx-1");
    assert_eq!(queues(&network), "2 and 0");

    // Each connection uses one of the queues.
    for _ in 0..50 {
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket.send_to(b"hello", (GUEST, 9)).unwrap();
    }
    let mut interrupts = |queue: &str| -> u32 {
        let line = guest.run(&format!("grep virtio1-{queue} /proc/interrupts"));
        line.split_whitespace().skip(1).take(2).map(|count| count.parse::<u32>().unwrap()).sum()
    };
    assert!(interrupts("input.0") > 0 && interrupts("input.1") > 0);
    network.ping(10, "", GUEST);

    // The driver of a guest with one CPU uses one queue, and all frames arrive there.
    guest.type_line("reboot -f");
    guest.expect("guest# ");
    network.expect_answer(GUEST);
    guest.run("cd /sys/bus/virtio/drivers/virtio_net; echo virtio1 > unbind");
    guest.run("echo 0 > /sys/devices/system/cpu/cpu1/online; echo virtio1 > bind; cd");
    guest.run(&format!("ip addr add {GUEST}/24 dev eth0; ip link set eth0 up"));
    network.expect_answer(GUEST);
    assert_eq!(guest.run("nproc; ls /sys/class/net/eth0/queues"), "1\nrx-0  tx-0");
    assert_eq!(queues(&network), "1 and 1");
    guest.run("echo 0 > /proc/sys/net/ipv4/icmp_ratelimit");
    for _ in 0..20 {
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket.connect((GUEST, 9)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send(b"is somebody there?").unwrap();
        // Nothing listens on the port, and the guest reports that.
        let error = socket.recv(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
