//! A device is saved, and another one continues where it was.

use std::fs::File;
use std::io::{PipeReader, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::device::Device;
use crate::mutex;
use crate::testing::pci::COMMAND;
use crate::testing::ring::Used;
use crate::testing::threads::until_asleep;
use crate::virtio_pci::VirtioPciState;

mod differences;
mod forged;
mod random;

const EVENT_IDX: u64 = 1 << 29;

fn command(guest: &mut FakeGuest, bits: u16) {
    guest.device.write_config(COMMAND, &bits.to_le_bytes());
}

/// Saves a guest of [`echo`], and restores it: the state of the new device is the old one's.
fn again(guest: &mut FakeGuest) -> (FakeGuest, VirtioPciState) {
    let state = guest.save();
    let mut restored = guest.restored(&state, echo()).unwrap();
    assert_eq!(restored.device.state().unwrap(), state);
    (restored, state)
}

/// Reads all that a driver can read without changing it.
fn readable(guest: &mut FakeGuest) -> Vec<u8> {
    let mut all = crate::testing::pci::config::<256>(&mut guest.device, 0).to_vec();
    let (map, vectors) = (guest.map, u64::from(guest.map.vectors));
    for (start, length) in
        [(map.common, 56), (map.device, 12), (map.msix_table, 16 * vectors), (map.msix_pending, 8)]
    {
        for at in (start..start + length).step_by(4) {
            let mut bytes = [0; 4];
            guest.device.read_memory(at, &mut bytes);
            all.extend(bytes);
        }
    }
    all
}

#[test]
fn a_device_that_no_driver_has_found_is_as_new() {
    let mut guest = FakeGuest::found(echo());
    let (mut restored, _) = again(&mut guest);
    restored.resume();

    restored.start();
    restored.offer(0, &[FromGuest(b"a"), ToGuest(1)]);

    assert_eq!(restored.wait_used(0).len, 1);
}

#[test]
fn a_driver_reads_the_same_from_the_new_device() {
    let mut guest = FakeGuest::new(echo());
    guest.device.write_config(0x3c, &[11]);
    guest.device.write_config(guest.map.window + 4, &[0, 0, 0, 0, 0x14, 0, 0, 0, 1, 0, 0, 0]);
    guest.write(common::DEVICE_FEATURE_SELECT, 7);
    guest.write(common::DRIVER_FEATURE_SELECT, 1);
    guest.write(common::QUEUE_SELECT, 1);
    guest.mask(2, true);

    let (mut restored, _) = again(&mut guest);

    assert_eq!(readable(&mut restored), readable(&mut guest));
}

/// The BAR reads as its size while a driver sizes it.
#[test]
fn a_driver_that_sizes_the_bar_reads_its_size() {
    let mut guest = FakeGuest::found(echo());
    guest.device.write_config(crate::testing::pci::BAR0, &[0xff; 4]);

    let (mut restored, _) = again(&mut guest);

    assert_eq!(readable(&mut restored)[0x10..0x14], [0, 0x80, 0xff, 0xff]);
}

#[test]
fn requests_before_and_after_are_answered_once() {
    for without in [0, EVENT_IDX] {
        let mut guest = FakeGuest::found(echo());
        guest.without = without;
        guest.start();
        for _ in 0..3 {
            let head = guest.offer(0, &[FromGuest(b"before"), ToGuest(6)]);
            assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 6 });
        }
        guest.pause();
        let meanwhile = guest.offer(0, &[FromGuest(b"meanwhile"), ToGuest(9)]);

        let (mut restored, _) = again(&mut guest);
        restored.resume();

        assert_eq!(restored.wait_used(0), Used { id: meanwhile.into(), len: 9 });
        restored.wait_interrupt(0);
        for queue in [0, 1] {
            let after = restored.offer(queue, &[FromGuest(b"after"), ToGuest(5)]);
            assert_eq!(restored.wait_used(queue), Used { id: after.into(), len: 5 });
        }
        assert_eq!(guest.rings[0].used_index(), 3, "the old device has served more");
    }
}

/// The state takes nothing from the device, so its guest may continue as well.
#[test]
fn a_saved_device_continues_after_a_resume() {
    let mut guest = FakeGuest::new(echo());
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    guest.wait_used(0);
    let state = guest.save();
    assert_eq!(guest.device.state().unwrap(), state, "the second time");

    guest.resume();

    let head = guest.offer(0, &[FromGuest(b"b"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 1 });
    assert_eq!(guest.device.threads().count(), 2);
}

/// A device whose queues read the pipe, each request four bytes.
fn reader(input: &PipeReader) -> impl Device + use<> {
    let input = File::from(OwnedFd::from(input.try_clone().unwrap()));
    FakeDevice::waiting(move |_, request| {
        Ok(request.to_guest.read_from(input.as_fd()).map(drop)?)
    })
}

#[test]
fn a_request_in_the_middle_is_served_by_the_new_device() {
    let (input, mut other_end) = pipe().unwrap();
    let mut guest = FakeGuest::named("mid0", reader(&input));
    let heads = [0, 0, 1].map(|queue| guest.offer(queue, &[ToGuest(4)]));
    until_asleep("mid0-one");
    until_asleep("mid0-two");

    let state = guest.save();
    let mut restored = guest.restored(&state, reader(&input)).unwrap();
    other_end.write_all(b"once").unwrap();
    restored.resume();

    until("the answer", || (0..2).any(|queue| restored.rings[queue].used_index() == 1));
    other_end.write_all(b"moremore").unwrap();
    for (queue, head) in [0, 0, 1].into_iter().zip(heads) {
        assert_eq!(restored.wait_used(queue), Used { id: head.into(), len: 4 });
    }
}

/// What was under way when the guest was paused is in no file.
#[test]
fn every_doorbell_and_every_connected_vector_is_signalled_once() {
    let mut guest = FakeGuest::new(echo());
    guest.mask(2, true);
    let (mut restored, state) = again(&mut guest);
    assert!(restored.is_ringing(0) && restored.is_ringing(1));
    assert!((0..3).all(|line| !restored.machine.delivered(line)), "it is still paused");

    restored.resume();

    assert!(restored.machine.delivered(0) && restored.machine.delivered(1));
    assert!(!restored.machine.delivered(2) && !restored.pending(2));
    until("the doorbells are answered", || !restored.is_ringing(0) && !restored.is_ringing(1));
    restored.pause();
    restored.resume();
    assert!((0..3).all(|line| !restored.machine.delivered(line)), "signalled again");
    let mut third = restored.restored(&state, echo()).unwrap();
    third.reset();
    third.resume();
    assert!((0..3).all(|line| !third.machine.delivered(line)), "signalled after a reset");
}

#[test]
fn an_interrupt_of_a_masked_vector_stays_pending() {
    let mut guest = FakeGuest::new(echo());
    guest.mask(1, true);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    until("the pending bit", || guest.pending(1));

    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert!(restored.pending(1) && !restored.pending(2));
    assert!(!restored.machine.delivered(1));
    restored.mask(1, false);
    assert!(restored.machine.delivered(1) && !restored.pending(1));
}

#[test]
fn a_driver_between_features_ok_and_driver_ok_continues() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    let (mut restored, _) = again(&mut guest);
    restored.resume();
    assert_eq!(restored.status(), 11);

    restored.set_status(15);

    for queue in [0, 1] {
        restored.offer(queue, &[FromGuest(b"a"), ToGuest(1)]);
        assert_eq!(restored.wait_used(queue).len, 1);
    }
}

#[test]
fn a_driver_that_has_not_accepted_its_features_continues() {
    let mut guest = FakeGuest::found(echo());
    guest.set_status(1);
    guest.set_status(3);
    guest.accept(1 << 32 | 1 << 40); // The second was not offered, and that is refused later.
    guest.write(common::DRIVER_FEATURE_SELECT, 3);
    guest.write(common::DRIVER_FEATURE, 7); // Nor were these.
    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert_eq!(restored.read(common::DRIVER_FEATURE), 7);
    restored.write(common::DRIVER_FEATURE, 0);
    restored.set_status(11);
    assert_eq!(restored.status(), 3);
    restored.accept(1 << 32);
    restored.set_status(11);

    assert_eq!(restored.status(), 11);
}

#[test]
fn a_device_that_needs_a_reset_still_needs_it() {
    let mut guest = FakeGuest::new(echo());
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();
    until("the end of the thread", || guest.device.threads().count() == 1);

    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert_eq!((restored.status(), restored.device.threads().count()), (15 | 64, 1));
    restored.offer(1, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(restored.wait_used(1).len, 1);
    assert_eq!(restored.rings[0].used_index(), 0);
    restored.start();
    restored.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(restored.wait_used(0).len, 1);
}

#[test]
fn a_queue_that_was_set_up_wrongly_is_still_not_served() {
    let mut guest = FakeGuest::found(echo());
    guest.negotiate();
    guest.rings = vec![guest.set_up_queue(0), guest.set_up_queue(1)];
    guest.write(common::QUEUE_DESC, 1);
    (0..2).for_each(|queue| guest.enable_queue(queue));
    guest.set_status(15);

    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert_eq!((restored.status(), restored.device.threads().count()), (15 | 64, 1));
}

#[test]
fn a_device_that_lost_the_bus_stays_silent() {
    let mut guest = FakeGuest::new(echo());
    command(&mut guest, 0b010);
    assert!(guest.pending(0));

    let (mut restored, _) = again(&mut guest);
    restored.resume();
    assert!(restored.pending(0) && !restored.machine.delivered(0));
    command(&mut restored, 0b110);

    restored.wait_config_interrupt();
    assert_eq!((restored.status(), restored.device.threads().count()), (15 | 64, 0));
    restored.start();
    restored.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(restored.wait_used(0).len, 1);
}

#[test]
fn a_device_that_waits_for_the_bus_starts_when_it_gets_it() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    command(&mut guest, 0b010);
    guest.set_status(15);

    let (mut restored, _) = again(&mut guest);
    restored.resume();
    command(&mut restored, 0b110);

    restored.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(restored.wait_used(0).len, 1);
}

#[test]
fn a_driver_that_gave_up_is_given_no_threads() {
    let mut guest = FakeGuest::new(echo());
    guest.set_status(128);

    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert_eq!((restored.status(), restored.device.threads().count()), (15 | 128, 0));
}

#[test]
fn doorbells_are_wired_if_the_device_answers_to_memory_accesses() {
    for bits in [0b000, 0b010, 0b100, 0b110] {
        let mut guest = FakeGuest::found(echo());
        command(&mut guest, bits);
        let (restored, _) = again(&mut guest);
        let doorbells = restored.device.doorbells();
        let wired = doorbells.iter().all(|(at, _)| restored.machine.is_wired(*at));
        assert_eq!(wired, bits & 2 != 0, "{bits:#b}");
    }
}

/// An announcement that has not reached the driver, and ISR status that it has not read.
#[test]
fn a_change_of_the_configuration_is_announced_by_the_new_device() {
    let mut guest = FakeGuest::new(echo());
    guest.device.status().config_changed();
    guest.wait_config_interrupt();
    guest.pause();
    guest.device.status().config_changed();

    let (mut restored, _) = again(&mut guest);
    assert_eq!(restored.isr(), 2);
    assert_eq!(restored.isr(), 0);
    restored.resume();

    restored.wait_config_interrupt();
    assert_eq!(restored.isr(), 2);
}

/// A reset that has begun is finished: its driver would only have had to wait.
#[test]
fn a_reset_that_has_begun_is_finished() {
    let mut guest = FakeGuest::new(echo());
    guest.device.begin_reset();

    let (mut restored, _) = again(&mut guest);
    restored.resume();

    assert_eq!((restored.status(), restored.device.threads().count()), (0, 0));
    restored.start();
    restored.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(restored.wait_used(0).len, 1);
}

/// A guest whose first queue hangs while the disk is locked, as a disk that hangs holds its
/// thread: until the guard is dropped.
fn hung<'d>(name: &str, disk: &'d Arc<Mutex<()>>) -> (FakeGuest, MutexGuard<'d, ()>) {
    let guard = mutex::lock(disk);
    let busy = Arc::new(AtomicBool::new(false));
    let theirs = (Arc::clone(disk), Arc::clone(&busy));
    let device = FakeDevice::new(move |_, _| {
        theirs.1.store(true, Ordering::Release);
        drop(theirs.0.lock().unwrap());
        Ok(())
    });
    let mut guest = FakeGuest::named(name, device);
    guest.offer(0, &[FromGuest(b"a")]);
    until("the request is being served", || busy.load(Ordering::Acquire));
    (guest, guard)
}

#[test]
fn a_driver_that_gave_up_while_a_thread_hung_is_given_no_threads() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("gave0", &disk);
    guest.set_status(128);
    assert!(guest.device.threads().any(|name| name == "gave0-one"));
    drop(guard);

    let (mut restored, _) = again(&mut guest);
    restored.resume();
    guest.resume();

    assert_eq!(restored.device.threads().count(), 0);
    assert_eq!(guest.device.threads().count(), 0);
}

#[test]
fn a_device_with_a_thread_that_does_not_stop_is_not_saved() {
    let disk = Arc::default();
    let (mut guest, guard) = hung("stuck0", &disk);

    let error = guest.device.state().unwrap_err();
    assert_eq!(error.to_string(), "stuck0: the device is not paused");
    guest.device.begin_pause();
    let error = guest.device.state().unwrap_err();
    assert_eq!(error.to_string(), "stuck0: thread stuck0-one has not stopped");
    guest.device.begin_reset();
    let error = guest.device.state().unwrap_err();
    assert!(error.to_string().starts_with("stuck0: a reset waits for thread stuck0-"), "{error}");
    drop(guard);

    guest.pause();
    assert!(guest.device.state().is_ok());
}

#[test]
fn a_device_in_use_is_not_restored() {
    let mut guest = FakeGuest::new(echo());
    let state = guest.save();

    let error = guest.device.restore(&state).unwrap_err();

    assert_eq!(error.to_string(), "fake0: the device is in use");
}
