//! The guest's console has the size of the user's window.

use tests::{Guest, Launch, Pty, until};

/// Waits until the guest sees this size.
fn expect_size(guest: &mut Guest, size: &str) {
    until(&format!("the guest's window is {size}"), || {
        (guest.run("stty size") == size).then_some(())
    });
}

#[test]
fn the_guest_follows_the_size_of_the_window() {
    let mut guest = Guest::boot();
    // The guest has the size from the start.
    assert_eq!(guest.run("stty size"), "30 100");
    guest.pty().resize(41, 132);
    expect_size(&mut guest, "41 132");
    guest.type_line("reboot -f");
    guest.expect("guest# ");
    assert_eq!(guest.run("stty size"), "41 132");
    guest.pty().resize(25, 90);
    expect_size(&mut guest, "25 90");
}

#[test]
fn a_window_without_a_size_has_24_by_80() {
    let mut guest = Guest::of(Launch::linux().on(Pty::new(0, 0)));
    assert_eq!(guest.run("stty size"), "24 80");
}
