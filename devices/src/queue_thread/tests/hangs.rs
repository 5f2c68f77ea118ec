//! A reset while the host has a queue thread in a system call that no signal ends,
//! as a disk that hangs does. Here it is a lock, which no signal ends either.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::in_no_time;
use crate::device::Device;
use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, answer};
use crate::testing::machine::until;
use crate::testing::pci::{COMMAND, common};
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::threads::no_threads;

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

    in_no_time(|| guest.set_status(0));
    in_no_time(|| assert_eq!(guest.status(), 15));
    drop(guard);
    until("status 0", || guest.status() == 0);

    no_threads("hang0");
    let used = guest.rings[0].used_index();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(guest.rings[0].used_index(), used);
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

/// Whoever takes the bus from a device gives its memory to others and never asks.
#[test]
fn a_device_loses_the_bus_when_its_last_thread_has_ended() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("bus0", &disk);
    let take = move || {
        guest.device.write_config(COMMAND, &0b010u16.to_le_bytes());
        guest
    };
    let taken = std::thread::Builder::new().spawn(take).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!taken.is_finished());

    drop(guard);

    let guest = taken.join().unwrap();
    assert_eq!(guest.device.threads().count(), 0);
}
