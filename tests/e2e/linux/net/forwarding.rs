//! Other networks, reached by the commands of docs/networking.md.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::unistd::gettid;
use tests::patience;

use super::*;

const PAGE: &str = include_str!("../../../../docs/networking.md");

/// The host's outer address, and an address in the other network.
const OUTSIDE: &str = "203.0.113.1";
const WORLD: &str = "203.0.113.2";

/// Returns the text of the page between two others.
fn between(from: &str, to: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(from).expect("the page has changed");
    rest.split_once(to).expect("the page has changed").0
}

/// Returns the commands in a text, except those about its own guest.
fn typed(text: &str) -> String {
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.filter(|line| !line.starts_with("lguest ")).collect::<Vec<_>>().join("\n")
}

fn shell(script: &str) {
    let output = Command::new("sh").args(["-exc", script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Creates a network behind the host's that does not know the guest's network, with a server that
/// echoes its input and records the address of each client.
fn world(network: &Network) -> Receiver<IpAddr> {
    network.ip("link add outside type veth peer name inside");
    network.ip(&format!("addr add {OUTSIDE}/24 dev outside"));
    network.ip("link set outside up");
    let (told, tell) = channel();
    let (peers, seen) = channel();
    let (moved, is_moved) = channel();
    let serve = move || live_in_the_world(&told, &is_moved, &peers);
    thread::Builder::new().name("world".into()).spawn(serve).unwrap();
    network.ip(&format!("link set inside netns {}", tell.recv_timeout(patience()).unwrap()));
    moved.send(()).unwrap();
    seen
}

/// The namespace belongs to this thread.
fn live_in_the_world(tell: &Sender<i32>, moved: &Receiver<()>, peers: &Sender<IpAddr>) {
    let network = Network::new().unwrap();
    tell.send(gettid().as_raw()).unwrap();
    moved.recv().unwrap();
    network.ip(&format!("addr add {WORLD}/24 dev inside"));
    network.ip("link set inside up");
    let listener = TcpListener::bind((WORLD, 7777)).unwrap();
    while let Ok((mut stream, peer)) = listener.accept() {
        let mut received = Vec::new();
        let echoed = stream.read_to_end(&mut received).and_then(|_| stream.write_all(&received));
        if echoed.is_ok() && peers.send(peer.ip()).is_err() {
            return;
        }
    }
}

#[test]
fn the_documented_commands_let_the_guest_reach_other_networks() {
    let Some((network, mut guest)) = boot(HOST) else { return };
    let peers = world(&network);
    network.expect_answer(GUEST);
    network.expect_answer(WORLD);
    let ping = format!("ping -c 1 -W 3 {WORLD} > /dev/null");
    guest.run(&format!("! {ping}"));

    shell(&typed(between("route to 192.168.19.2:", "$ nft list table")));
    guest.run(&ping);
    guest.run("dd if=/dev/urandom of=/tmp/out bs=1M count=4 2> /dev/null");
    guest.run(&format!("nc {WORLD} 7777 < /tmp/out > /tmp/in; cmp /tmp/out /tmp/in"));
    assert_eq!(peers.recv_timeout(patience()).unwrap().to_string(), OUTSIDE);

    shell(&typed(between("This removes the rules:", "## A bridge")));
    guest.run(&format!("! {ping}"));
    guest.run(&format!("ping -c 1 {HOST}"));
}
