//! `lguest stop --grace`, with Linux handling the power button. `kvm::control` tests other cases.

use std::process::Command;

use tests::{End, Guest, Launch};

/// A time that is too long to end the guest in this test.
const LONG: &str = "--grace=2m";

fn boot() -> Guest {
    Guest::of(Launch::linux().option("--name=one").on_terminal())
}

#[test]
fn the_power_button_powers_the_guest_off() {
    let mut guest = boot();
    guest.lguest(&["stop", "one", LONG]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert_eq!(guest.stderr(), "lguest: power button pressed by `lguest stop`\n");
    guest.assert_terminal_restored();
    guest.assert_nothing_left();
}

#[test]
fn a_guest_that_ignores_the_button_is_ended() {
    let mut guest = boot();
    guest.run("killall acpid");
    guest.lguest(&["stop", "one", "--grace=500ms"]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert!(guest.stderr().ends_with("lguest: stopped by `lguest stop`\n"), "{}", guest.stderr());
}

/// The button stays pressed while the guest is paused.
#[test]
fn a_paused_guest_gets_the_button_press_when_it_is_resumed() {
    let mut guest = boot();
    guest.lguest(&["pause", "one"]).well();
    let mut stop = Command::new(tests::environment::launcher());
    stop.args(["stop", "one", LONG]).env("XDG_RUNTIME_DIR", guest.runtime());
    let mut stop = stop.spawn().unwrap();
    guest.expect_stderr("power button pressed");
    guest.lguest(&["resume", "one"]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert!(stop.wait().unwrap().success());
}
