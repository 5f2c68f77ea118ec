//! con0-tx.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::testing::RAM_END;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::{Desc, Used};
use crate::testing::threads::until_asleep;

fn read(screen: &mut PipeReader, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    screen.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_the_guest_writes_comes_out() {
    let (console, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(console);

    let head = guest.offer(TX, &[FromGuest(b"Hello, "), FromGuest(b""), FromGuest(b"world\n")]);

    assert_eq!(read(&mut screen, 13), b"Hello, world\n");
    assert_eq!(guest.wait_used(TX), Used { id: head.into(), len: 0 });
}

#[test]
fn all_bytes_come_out_as_they_are_and_in_order() {
    let (console, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(console);
    let all: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();

    let (first, second) = all.split_at(9999);
    guest.offer(TX, &[FromGuest(first), FromGuest(second)]);

    assert!(read(&mut screen, all.len()) == all);
}

/// R9: libkrun spins here.
#[test]
fn a_request_without_any_byte_is_answered() {
    let (console, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(console);

    let empty = guest.offer(TX, &[FromGuest(b""), ToGuest(0)]);
    guest.offer(TX, &[FromGuest(b"next")]);

    assert_eq!(guest.wait_used(TX), Used { id: empty.into(), len: 0 });
    assert_eq!(read(&mut screen, 4), b"next");
}

/// R11.
#[test]
fn a_writable_buffer_needs_a_reset() {
    let (console, _keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);

    guest.offer(TX, &[FromGuest(b"a"), ToGuest(1)]);

    guest.wait_config_interrupt();
    assert_eq!(guest.status(), 15 | 64);
    assert!(guest.machine.failures().is_empty());
}

/// Takes a byte, is interrupted, takes a byte, and so on.
struct Halting(Arc<Mutex<Vec<u8>>>, bool);

impl Write for Halting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.lock().unwrap().push(bytes[0]);
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_is_lost_or_repeated_when_the_writer_halts() {
    let output = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&output);
    let mut guest = guest_with(move || Halting(Arc::clone(&sink), false));

    guest.offer(TX, &[FromGuest(b"piece "), FromGuest(b"by piece")]);
    guest.wait_used(TX);

    assert_eq!(*output.lock().unwrap(), b"piece by piece");
}

/// Fails with an error each time.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_fails_ends_the_machine() {
    let mut guest = guest_with(|| Failing(io::ErrorKind::StorageFull));

    guest.offer(TX, &[FromGuest(b"a")]);

    assert_eq!(guest.machine.wait_failure().0, "fake0-tx");
}

#[test]
fn a_writer_that_takes_nothing_ends_the_machine_instead_of_spinning() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut guest = guest_with(|| Full);

    guest.offer(TX, &[FromGuest(b"a")]);

    assert_eq!(guest.machine.wait_failure().0, "fake0-tx");
}

/// R18, S12: 512 MiB of output out of 16 MiB of RAM, to a slow disk.
#[test]
fn a_request_that_takes_for_ever_can_be_stopped() {
    struct Slow(Arc<AtomicUsize>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    let mut guest = guest_with(move || Slow(Arc::clone(&count)));
    let all = Desc { len: u32::try_from(RAM_END).unwrap(), ..Desc::default() };
    guest.rings[TX].offer_chain(&[all; 32]);
    guest.notify(TX);
    until("some output", || writes.load(Ordering::Relaxed) > 3);

    guest.reset();

    assert_eq!(guest.rings[TX].used_index(), 0, "it was served to its end");
}

/// S13: the terminal is stopped, the pipe is full.
#[test]
fn a_reset_does_not_wait_for_a_reader() {
    let (console, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::named("output0", console);
    guest.offer(TX, &[FromGuest(&[b'x'; 100_000])]);
    assert_eq!(read(&mut screen, 1), b"x");
    until_asleep("output0-tx");

    guest.reset();

    assert_eq!(guest.rings[TX].used_index(), 0);
}
