//! Tests of the network device. Datagram sockets stand for the tap: they keep
//! frames apart and cut what finds no room, as it does.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use super::{Interface, Link, Net, features};
use crate::testing::FakeGuest;
use crate::testing::machine::until;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::Used;

mod configuration;
mod control;
mod pause;
mod receive;
mod state;
mod transmit;

const RX: usize = 0;
const TX: usize = 1;
const MRG_RXBUF: u64 = 1 << 15;
const INDIRECT_DESC: u64 = 1 << 28;
const MAC: [u8; 6] = [2, 1, 2, 3, 4, 5];

/// What the device asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Offloads(u64),
    Pairs(u16),
}

#[derive(Debug, Default)]
struct FakeInterface(Mutex<Vec<Asked>>);

impl FakeInterface {
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Interface for FakeInterface {
    fn set_offloads(&self, accepted: u64) -> io::Result<()> {
        self.0.lock().unwrap().push(Asked::Offloads(accepted));
        Ok(())
    }

    fn set_pairs(&self, pairs: u16) -> io::Result<()> {
        self.0.lock().unwrap().push(Asked::Pairs(pairs));
        Ok(())
    }
}

/// The far ends of a network card.
struct Host {
    wires: Vec<UnixDatagram>,
    interface: Arc<FakeInterface>,
    link: Arc<Link>,
}

/// A card with `pairs` queue pairs.
fn card(pairs: usize) -> (Net, Host) {
    let sockets: Vec<_> = (0..pairs).map(|_| UnixDatagram::pair().unwrap()).collect();
    let (taps, wires): (Vec<_>, _) = sockets.into_iter().unzip();
    let (interface, link) = (Arc::default(), Arc::new(Link::new(pairs).unwrap()));
    let host = Host { wires, interface: Arc::clone(&interface), link: Arc::clone(&link) };
    let pairs = taps.into_iter().map(|tap| File::from(OwnedFd::from(tap))).collect();
    let (offloads, mtu) = (features::OFFLOADS, 1500);
    (Net { pairs, interface, link, mac: MAC, mtu, offloads }, host)
}

/// A guest with a card of one pair, and the far end of that.
fn guest() -> (FakeGuest, UnixDatagram) {
    let (net, mut host) = card(1);
    (FakeGuest::new(net), host.wires.remove(0))
}

/// A frame with its header, in all `length` bytes, as the tap gives it.
fn frame(length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|n| (n % 251).to_le_bytes()[0]).collect();
    frame[..12].copy_from_slice(b"\x02234567890\xff\xff");
    frame
}

/// The header as the guest gets it.
fn received(length: usize, buffers: u8) -> Vec<u8> {
    let mut frame = frame(length);
    frame[10..12].copy_from_slice(&[buffers, 0]);
    frame
}
