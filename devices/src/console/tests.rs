//! Tests of the console device over real pipes.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Console, WindowSize};
use crate::testing::FakeGuest;
use crate::testing::machine::until;
use crate::testing::pci::common;
use crate::testing::ring::Part::{self, ToGuest};

mod input;
mod output;
mod pause;
mod probe;
mod state;

const RX: usize = 0;
const TX: usize = 1;

/// A console whose output goes to a pipe, too, and the far ends of both pipes.
fn console() -> (Console<impl Fn() -> File + Send>, PipeWriter, PipeReader) {
    let (input, keyboard) = pipe().unwrap();
    let (screen, output) = pipe().unwrap();
    let output = File::from(OwnedFd::from(output));
    let console = Console {
        input: File::from(OwnedFd::from(input)),
        output: move || output.try_clone().unwrap(),
        size: Arc::default(),
    };
    (console, keyboard, screen)
}

/// The guest of a console that writes to `sink`, and has no input.
fn guest_with<Sink>(sink: impl Fn() -> Sink + Send + 'static) -> FakeGuest
where
    Sink: Write + Send + 'static,
{
    let (input, keyboard) = pipe().unwrap();
    let input = File::from(OwnedFd::from(input));
    let keep = move || {
        let _open = &keyboard;
        sink()
    };
    FakeGuest::new(Console { input, output: keep, size: Arc::default() })
}

/// Answer the probe of con0-rx: these requests are next, and the ring is full.
fn open(guest: &mut FakeGuest, requests: &[&[Part<'_>]]) -> Vec<u16> {
    let probe = guest.offer(RX, &[ToGuest(100)]);
    assert_eq!(guest.wait_used(RX).len, 0);
    let ring = &mut guest.rings[RX];
    let heads = requests.iter().map(|parts| ring.offer(parts)).collect();
    while ring.avail_index.wrapping_sub(ring.used_seen) < ring.layout.size {
        ring.publish(probe);
    }
    guest.notify(RX);
    guest.wait_config_interrupt();
    heads
}

fn config(guest: &mut FakeGuest) -> [u8; 12] {
    let mut bytes = [0; 12];
    guest.device.read_memory(guest.map.device, &mut bytes[..8]);
    guest.device.read_memory(guest.map.device + 8, &mut bytes[8..]);
    bytes
}

#[test]
fn a_console_has_two_queues_and_offers_its_size() {
    let (console, _keyboard, _screen) = console();

    let mut guest = FakeGuest::new(console);

    assert_eq!(guest.rings.len(), 2);
    assert_eq!(guest.offered() & 0xff_ffff, 1);
    assert_eq!(config(&mut guest), [0; 12]);
}

#[test]
fn a_new_size_interrupts_the_guest() {
    let (console, _keyboard, _screen) = console();
    let size: Arc<WindowSize> = Arc::clone(&console.size);
    let mut guest = FakeGuest::new(console);

    size.set(0x0102, 50);
    guest.device.status().config_changed();

    guest.wait_config_interrupt();
    assert_eq!(config(&mut guest), [2, 1, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// 2.5.1, 4.1.4.3.1: a driver that reads columns of one size and rows of another finds
/// another generation, however far the announcement of the change has come.
#[test]
fn a_size_is_never_read_in_two_parts_with_one_generation() {
    let (console, _keyboard, _screen) = console();
    let size: Arc<WindowSize> = Arc::clone(&console.size);
    let mut guest = FakeGuest::new(console);
    size.set(80, 24);
    let read = |guest: &mut FakeGuest, at| {
        let mut bytes = [0; 2];
        guest.device.read_memory(guest.map.device + at, &mut bytes);
        u16::from_le_bytes(bytes)
    };

    let before = guest.read(common::GENERATION);
    let columns = read(&mut guest, 0);
    size.set(132, 43);
    let rows = read(&mut guest, 2);
    let after = guest.read(common::GENERATION);

    assert_eq!((columns, rows), (80, 43));
    assert_ne!(before, after);
    assert_eq!(guest.read(common::GENERATION), after, "nothing has changed since");
}

#[test]
fn the_generation_wraps() {
    let (console, _keyboard, _screen) = console();
    let size: Arc<WindowSize> = Arc::clone(&console.size);
    let mut guest = FakeGuest::new(console);

    let generations = (1..=256).map(|rows| {
        size.set(80, rows);
        guest.read(common::GENERATION)
    });

    assert!(generations.eq((1..256).chain([0])));
}

#[test]
fn every_driver_ok_makes_a_new_writer() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let mut guest = guest_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        io::sink()
    });
    assert_eq!(made.load(Ordering::Relaxed), 1);

    guest.start();

    assert_eq!(made.load(Ordering::Relaxed), 2);
}
