//! A thread stops soon, whatever it sleeps in, and between two requests.

use std::fs::File;
use std::io::{self, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::signal::{SIGRTMIN, block_signal, unblock_signal};

use crate::device::{Device, Service};
use crate::error::ServeError;
use crate::interrupt::Interrupt;
use crate::queue::{QueuePosition, RING_FEATURES, Virtqueue};
use crate::queue_thread::{QueueThread, ServedQueue};
use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, answer, echo};
use crate::testing::machine::until;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::{Ring, Used};
use crate::testing::threads::{NoOwner, no_threads, threads, until_asleep};

/// A file to read that never has anything, and what keeps it open.
fn silent_input() -> (File, OwnedFd) {
    let (input, other_end) = pipe().unwrap();
    (File::from(OwnedFd::from(input)), other_end.into())
}

/// A file that takes nothing, and what keeps it open.
fn full_output() -> (File, OwnedFd) {
    let (other_end, mut output) = pipe().unwrap();
    output.write_all(&[0; 65536]).unwrap();
    (File::from(OwnedFd::from(output)), other_end.into())
}

/// Queue "one" reads from `input`; "two" echoes.
fn reader(input: File) -> impl Device {
    FakeDevice::waiting(move |queue, request| match queue {
        0 => Ok(request.to_guest.read_from(input.as_fd()).map(drop)?),
        _ => {
            answer(request);
            Ok(())
        }
    })
}

#[test]
fn a_thread_that_waits_for_the_doorbell_stops() {
    let mut guest = FakeGuest::named("bell0", echo());
    until_asleep("bell0-one");

    guest.reset();

    no_threads("bell0");
}

#[test]
fn a_thread_that_reads_from_an_empty_pipe_stops() {
    let (input, _other_end) = silent_input();
    let mut guest = FakeGuest::named("pipe0", reader(input));
    guest.offer(0, &[ToGuest(10)]);
    until_asleep("pipe0-one");

    guest.reset();

    assert_eq!(guest.rings[0].used_index(), 0);
}

#[test]
fn a_thread_that_writes_to_a_full_pipe_stops() {
    let (output, _other_end) = full_output();
    let device = FakeDevice::new(move |_, request| {
        Ok(request.from_guest.write_to(output.as_fd()).map(drop)?)
    });
    let mut guest = FakeGuest::named("full0", device);
    guest.offer(0, &[FromGuest(b"no room")]);
    until_asleep("full0-one");

    guest.reset();

    assert_eq!(guest.rings[0].used_index(), 0);
}

#[test]
fn a_thread_stops_immediately_after_driver_ok() {
    let mut guest = FakeGuest::found_as("race0", echo());

    for _ in 0..100 {
        guest.start();
        guest.reset();
    }

    assert_eq!(threads("race0"), [""; 0]);
}

#[test]
fn a_thread_stops_while_the_guest_keeps_offering_requests() {
    let device = FakeDevice::new(|_, _| Ok(()));
    let mut guest = FakeGuest::found_as("busy0", device);
    guest.without = 1 << 29;
    guest.start();
    let ring = guest.rings[0].clone();
    let (_, doorbell) = guest.device.doorbells().swap_remove(0);
    let (stop, stopped) = mpsc::channel();
    let body = move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            ring.set_avail_index(ring.used_index().wrapping_add(64));
            doorbell.write(1).unwrap();
        }
    };
    let driver = std::thread::Builder::new().spawn(body).unwrap();
    until("a long ring", || guest.rings[0].used_index() > 200);

    guest.reset();

    stop.send(()).unwrap();
    driver.join().unwrap();
}

/// The process that made the device may block signals in its threads.
#[test]
fn a_thread_stops_even_if_its_parent_blocks_the_signal() {
    block_signal(SIGRTMIN()).unwrap();
    let mut guest = FakeGuest::named("mask0", echo());
    until_asleep("mask0-one");

    guest.reset();

    unblock_signal(SIGRTMIN()).unwrap();
}

#[test]
fn an_unfinished_request_continues_where_it_was() {
    let (calls, output) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::<u8>::new())));
    let sink = Arc::clone(&output);
    let device = FakeDevice::new(move |_, request| {
        let mut bytes = [0; 2];
        let count = request.from_guest.peek(&mut bytes);
        sink.lock().unwrap().extend(&bytes[..count]);
        request.from_guest.consume(count);
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(ServeError::Again),
            1 => Err(ServeError::Interrupted),
            _ => Ok(()),
        }
    });
    let mut guest = FakeGuest::new(device);

    guest.offer(0, &[FromGuest(b"hal"), FromGuest(b"ves")]);
    guest.wait_used(0);

    assert_eq!(*output.lock().unwrap(), b"halves");
}

struct ReadInput(File);

impl Service for ReadInput {
    fn serve(&mut self, request: &mut crate::request::Request<'_>) -> Result<(), ServeError> {
        Ok(request.to_guest.read_from(self.0.as_fd()).map(drop)?)
    }
}

/// A queue with its thread alone, which reads a pipe, and the pipe's other end.
fn lone_thread(name: &str) -> (Ring, Arc<EventFd>, QueueThread, File) {
    let memory = crate::testing::memory();
    let ring = Ring::new(&memory, 0, 8);
    let doorbell = Arc::new(EventFd::new(0).unwrap());
    let bell = Arc::clone(&doorbell);
    let none = Interrupt::default();
    let queue = Virtqueue::new(ring.layout, &memory, RING_FEATURES, bell, none).unwrap();
    let (input, other_end) = silent_input();
    let service = Box::new(ReadInput(input));
    let served = ServedQueue::new(name.into(), memory, queue, service, Arc::new(NoOwner));
    let thread = QueueThread::spawn(served);
    (ring, doorbell, thread.unwrap(), File::from(other_end))
}

#[test]
fn a_thread_that_stops_returns_the_position_of_an_unfinished_request() {
    let (mut ring, doorbell, thread, mut input) = lone_thread("place0");
    let first = ring.offer(&[ToGuest(4)]);
    ring.offer(&[ToGuest(4)]);
    doorbell.write(1).unwrap();
    input.write_all(b"once").unwrap();
    until("the first answer", || ring.used_index() == 1);
    until_asleep("place0");

    let position = thread.join().map(|served| served.position());

    assert_eq!(position, Some(QueuePosition { next_avail: 1, next_used: 1 }));
    assert_eq!(ring.take_used(), Some(Used { id: first.into(), len: 4 }));
    assert_eq!(ring.take_used(), None);
}

#[test]
fn an_idle_thread_that_stops_returns_its_position() {
    let (mut ring, doorbell, thread, mut input) = lone_thread("idle0");
    ring.offer(&[ToGuest(4)]);
    doorbell.write(1).unwrap();
    input.write_all(b"once").unwrap();
    until("the answer", || ring.used_index() == 1);

    let position = thread.join().map(|served| served.position());

    assert_eq!(position, Some(QueuePosition { next_avail: 1, next_used: 1 }));
}

#[test]
fn one_queue_waits_while_the_other_works() {
    let (input, mut other_end) = pipe().unwrap();
    let mut guest = FakeGuest::new(reader(File::from(OwnedFd::from(input))));
    guest.offer(0, &[ToGuest(4)]);

    let head = guest.offer(1, &[FromGuest(b"meanwhile"), ToGuest(9)]);
    assert_eq!(guest.wait_used(1), Used { id: head.into(), len: 9 });
    assert_eq!(guest.rings[0].used_index(), 0);

    other_end.write_all(b"late").unwrap();
    assert_eq!(guest.wait_used(0).len, 4);
}

#[test]
fn a_host_without_threads_or_files_is_reported() {
    struct Poor;
    impl Device for Poor {
        fn id(&self) -> u16 {
            0
        }
        fn queues(&self) -> Vec<crate::device::QueueSpec> {
            vec![crate::device::QueueSpec::new("q", 2)]
        }
        fn service(&self, _: usize, _: u64) -> io::Result<Box<dyn Service>> {
            Err(io::Error::other("no more files"))
        }
    }

    let guest = FakeGuest::named("poor0", Poor);

    assert_eq!(guest.machine.wait_failure(), ("poor0".into(), "no more files".into()));
}
