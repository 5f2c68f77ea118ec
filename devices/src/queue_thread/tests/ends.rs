//! The ways in which a queue thread ends unasked.

use std::io;
use std::process::Command;

use crate::error::{GuestError, ServeError};
use crate::status::{DRIVER_OK, NEEDS_RESET};
use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, answer, echo};
use crate::testing::machine::until;
use crate::testing::ring::Part::{FromGuest, ToGuest};

#[test]
fn a_panic_ends_the_machine_and_names_the_thread() {
    let device = FakeDevice::new(|_, _| panic!("out of {}", "tea"));
    let mut guest = FakeGuest::named("panic0", device);

    guest.offer(1, &[FromGuest(b"a")]);

    let failure = guest.machine.wait_failure();
    assert_eq!(failure, ("panic0-two".into(), "panicked: out of tea".into()));
}

/// The backtrace is made on the thread's own small stack.
#[test]
fn a_panic_with_a_full_backtrace_ends_as_well() {
    let test = "queue_thread::tests::ends::a_panic_ends_the_machine_and_names_the_thread";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.env("RUST_BACKTRACE", "full").args(["--exact", test, "--nocapture"]);

    let output = again.output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("ends.rs"));
}

#[test]
fn an_error_of_the_host_ends_the_machine_and_names_the_thread() {
    let device = FakeDevice::new(|_, _| Err(io::Error::other("disk on fire").into()));
    let mut guest = FakeGuest::named("host0", device);

    guest.offer(0, &[FromGuest(b"a")]);

    let failure = guest.machine.wait_failure();
    assert_eq!(failure, ("host0-one".into(), "disk on fire".into()));
    assert_eq!(guest.status() & NEEDS_RESET, 0);
}

#[test]
fn an_error_of_the_guest_needs_a_reset_and_interrupts() {
    let mut guest = FakeGuest::new(echo());

    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);

    guest.wait_config_interrupt();
    assert_eq!(guest.status(), 15 | NEEDS_RESET);
    assert!(guest.machine.failures().is_empty());
}

#[test]
fn an_error_of_the_guest_that_a_service_finds_needs_a_reset() {
    let device = FakeDevice::new(|_, _| Err(GuestError::Direction("no").into()));
    let mut guest = FakeGuest::new(device);

    guest.offer(0, &[FromGuest(b"a")]);

    guest.wait_config_interrupt();
    assert_eq!(guest.status() & NEEDS_RESET, NEEDS_RESET);
    assert_eq!(guest.rings[0].used_index(), 0);
}

#[test]
fn an_error_on_one_queue_leaves_the_other_and_other_devices_alone() {
    let (mut broken, mut whole) = (FakeGuest::new(echo()), FakeGuest::new(echo()));
    broken.rings[0].set_avail_index(0x8000);
    broken.notify(0);
    broken.wait_config_interrupt();

    broken.offer(1, &[FromGuest(b"a"), ToGuest(1)]);
    whole.offer(0, &[FromGuest(b"a"), ToGuest(1)]);

    assert_eq!(broken.wait_used(1).len, 1);
    assert_eq!(whole.wait_used(0).len, 1);
}

#[test]
fn a_broken_device_works_again_after_a_reset() {
    let mut guest = FakeGuest::new(echo());
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();

    guest.start();

    assert_eq!(guest.status(), 15);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

#[test]
fn a_broken_queue_is_not_served_any_more() {
    let mut guest = FakeGuest::new(echo());
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();

    guest.rings[0].set_avail_index(0);
    guest.offer(0, &[FromGuest(b"a")]);
    guest.offer(1, &[FromGuest(b"a")]);
    guest.wait_used(1);

    assert_eq!(guest.rings[0].used_index(), 0);
}

/// Services that are interrupted for no reason are called until they are done.
#[test]
fn an_interrupted_request_is_served_again() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let device = FakeDevice::new(move |_, request| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 5 {
            return Err(ServeError::from(io::Error::from(io::ErrorKind::Interrupted)));
        }
        answer(request);
        Ok(())
    });
    let mut guest = FakeGuest::new(device);

    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);

    assert_eq!(guest.wait_used(0).len, 1);
    until("DRIVER_OK", || guest.status() == 11 | DRIVER_OK);
}
