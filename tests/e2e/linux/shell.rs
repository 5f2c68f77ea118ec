//! One command, one Linux guest, your terminal.

use tests::{End, Guest, Launch};

#[test]
fn a_shell_on_the_terminal() {
    let mut guest = Guest::boot();
    assert_eq!(guest.run("echo $((6*7))"), "42");
    assert!(guest.run("uname -a").starts_with("Linux guest "));
    assert!(guest.pty().snapshot().is_raw());
    assert_eq!(guest.power_off(), End::Status(0));
    guest.assert_terminal_restored();
    guest.assert_nothing_left();
}

#[test]
fn piped_commands_are_the_guests_input() {
    let mut guest = Launch::linux().fed("echo OK-$((6*7)); stty size; poweroff -f\n");
    assert_eq!(guest.wait(), End::Status(0));
    let text = guest.text();
    assert!(text.contains("OK-42\r\n"));
    // The size of the window is unknown.
    assert!(text.contains("24 80\r\n"));
}
