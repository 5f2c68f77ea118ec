//! Panics: reported by pvpanic, or in the kernel's messages.

use tests::{End, until};

use super::{printing, said};

const PANIC: &str = "[    1.0] Kernel panic - not syncing: for a test";

/// The kernel would reboot at once (panic=-1), later (panic=5), never, or die within its message.
#[test]
fn the_kernels_panic_message_ends_the_guest_before_a_reboot() {
    let launch = printing().option("--expect=never");
    for rest in [
        "\n\x1er",
        "\nCall Trace:\n[    1.0] Rebooting in 5 seconds..\n",
        "\n---[ end Kernel panic - not syncing: for a test ]---\n\x1eh",
        "\nRIP: 00\x1eh",
        "\x1ek",
        "\x1ep",
    ] {
        let (status, words) = said(&launch, &format!("{PANIC}{rest}"));
        assert_eq!(
            (status, words),
            (101, format!("lguest: guest panicked: {PANIC}\n")),
            "{rest:?}"
        );
    }
}

/// The log contains all of the message, which comes in pieces.
#[test]
fn the_log_contains_the_whole_panic_message() {
    let end = "Call Trace:\n---[ end Kernel panic - not syncing: for a test ]---\n";
    let mut running = printing().option("--strict").piped();
    running.expect("hello");
    running.send(format!("{PANIC}\n"));
    running.expect("for a test\n");
    running.send(end);
    assert_eq!(running.wait(), End::Status(101));
    assert!(running.text().ends_with(end), "{}", running.text());
}

#[test]
fn without_a_boot_test_a_panic_message_has_no_effect() {
    let mut running = printing().on_terminal();
    running.expect("hello");
    running.send(format!("{PANIC}\r\x1er"));
    running.expect("hello");
    running.send("\x1ep");
    assert_eq!((running.wait(), running.stderr().as_str()), (End::Status(0), ""));
}

/// This also works without a boot test.
#[test]
fn a_panic_prints_the_last_lines_of_a_console_elsewhere() {
    let mut running = printing().option("--console=sock").option("--name=one").piped();
    until("the guest has greeted", || {
        let said = running.lguest(&["log", "one"]);
        said.stdout.contains("hello").then_some(())
    });
    let lines: String = (0..30).map(|number| format!("line {number}\n")).collect();
    running.lguest(&["send", "one", "0", &format!("{lines}\x1ek")]).well();
    assert_eq!(running.wait(), End::Status(101));
    let last: String = (10..30).map(|number| format!("lguest:   line {number}\n")).collect();
    let words = format!("lguest: the guest said last:\n{last}lguest: guest panicked\n");
    assert_eq!(running.stderr(), words);
}

#[test]
fn a_panic_on_this_terminal_is_not_printed_twice() {
    let (status, words) = said(&printing(), "some words\n\x1ek");
    assert_eq!((status, words.as_str()), (101, "lguest: guest panicked\n"));
}
