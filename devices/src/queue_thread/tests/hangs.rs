//! A reset, or a pause, while the host has a queue thread in a system call that no signal ends,
//! as a disk that hangs does. Here it is a lock, which no signal ends either.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::device::Device;
use crate::pci::PciBus;
use crate::testing::device::{FakeDevice, answer};
use crate::testing::machine::{PATIENCE, until};
use crate::testing::pci::{COMMAND, common};
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::threads::{no_threads, until_asleep};
use crate::testing::{BAR, FakeGuest};

/// What a disk is to its queue thread, while it hangs.
#[derive(Default)]
struct Disk {
    lock: Mutex<()>,
    busy: AtomicBool,
}

/// Queue "one" uses the disk; "two" does not.
fn device(disk: &Arc<Disk>) -> impl Device + use<> {
    let disk = Arc::clone(disk);
    FakeDevice::new(move |queue, request| {
        if queue == 0 {
            disk.busy.store(true, Ordering::Release);
            drop(disk.lock.lock().unwrap());
        }
        answer(request);
        Ok(())
    })
}

/// A guest whose first queue hangs until the guard is dropped.
fn hung<'d>(name: &str, disk: &'d Arc<Disk>) -> (FakeGuest, MutexGuard<'d, ()>) {
    let guard = disk.lock.lock().unwrap();
    let mut guest = FakeGuest::named(name, device(disk));
    guest.offer(0, &[FromGuest(b"late"), ToGuest(4)]);
    until("the request is being served", || disk.busy.load(Ordering::Acquire));
    (guest, guard)
}

#[test]
fn the_status_reads_0_when_the_thread_has_ended_and_not_before() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("hang0", &disk);

    guest.set_status(0);
    assert_eq!(guest.status(), 15);
    drop(guard);
    until("status 0", || guest.status() == 0);

    // A thread that had not ended by then might still write.
    let before = guest.everything();
    no_threads("hang0");
    assert!(guest.everything() == before, "it has written to memory");
    guest.start();
    guest.offer(0, &[FromGuest(b"next"), ToGuest(4)]);
    assert_eq!(guest.wait_used(0).len, 4);
}

/// 4.1.4.3.2: it was to wait.
#[test]
fn a_driver_that_does_not_wait_changes_nothing() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("hasty0", &disk);

    guest.set_status(0);
    guest.set_status(1);
    guest.set_status(3);
    let before = guest.read(common::QUEUE_SELECT);
    guest.write(common::QUEUE_SELECT, before + 1);
    assert_eq!(guest.status(), 15);
    assert_eq!(guest.read(common::QUEUE_SELECT), before);
    drop(guard);

    until("status 0", || guest.status() == 0);
}

#[test]
fn the_other_queues_end_at_once() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("other0", &disk);

    guest.set_status(0);

    no_threads("other0-two");
    assert_eq!(guest.status(), 15);
    assert_eq!(guest.device.threads().collect::<Vec<_>>(), ["other0-one"]);
    drop(guard);
}

/// A driver that takes the bus from a device reuses its memory without asking.
#[test]
fn a_device_loses_the_bus_when_its_last_thread_has_ended() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("bus0", &disk);
    let take = move || {
        guest.device.write_config(COMMAND, &0b010u16.to_le_bytes());
        guest
    };
    let taken = std::thread::Builder::new().name("bus0-taker".into()).spawn(take).unwrap();
    until_asleep("bus0-taker");
    assert!(!taken.is_finished());

    drop(guard);

    let guest = taken.join().unwrap();
    assert_eq!(guest.device.threads().count(), 0);
}

#[test]
fn a_failed_pause_names_the_thread_and_the_device_continues() {
    // Dropped last, when nothing hangs any more.
    let mut bus = PciBus::new(BAR);
    let disk = Arc::default();
    let (mut guest, guard) = hung("wait0", &disk);
    let mut other = FakeGuest::named("other1", device(&disk));
    let (_, bell_one) = guest.device.doorbells().remove(0);
    let ring_two = [&guest, &other].map(|guest| guest.device.doorbells().remove(1).1);
    bus.add(guest.device);
    bus.add(other.device);

    for _ in 0..3 {
        // On a busy machine another one may be late, too: then once more.
        until("a pause that only one holds up", || {
            let late = bus.pause(Duration::from_millis(100));
            bus.resume().unwrap();
            late == ["wait0-one"]
        });
    }

    for (bell, ring) in ring_two.iter().zip([&mut guest.rings[1], &mut other.rings[1]]) {
        ring.offer(&[FromGuest(b"on"), ToGuest(2)]);
        bell.write(1).unwrap();
        until("an answer", || ring.take_used().is_some());
    }
    drop(guard);
    until("the late answer", || guest.rings[0].take_used().is_some());
    guest.rings[0].offer(&[FromGuest(b"next"), ToGuest(4)]);
    bell_one.write(1).unwrap();
    until("the next one", || guest.rings[0].take_used().is_some());
    assert!(bus.pause(PATIENCE).is_empty());
}

#[test]
fn a_pause_waits_for_a_reset_that_has_begun() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("reset0", &disk);
    guest.set_status(0);

    guest.device.begin_pause();
    assert!(!guest.device.wait_paused(Duration::from_millis(20)));
    guest.resume();
    assert_eq!(guest.status(), 15);
    drop(guard);
    guest.pause();
    no_threads("reset0");
    guest.resume();

    assert_eq!(guest.status(), 0);
    guest.start();
    guest.offer(0, &[FromGuest(b"next"), ToGuest(4)]);
    assert_eq!(guest.wait_used(0).len, 4);
}
