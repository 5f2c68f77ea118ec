//! `--log` writes the output on hvc0 to a file as well.

use std::fs;

use tests::files::Scratch;
use tests::{End, Launch, Running, until};

use super::{PREFIX, printing};

fn logging(scratch: &Scratch) -> Launch {
    printing().option(&format!("--log={}", scratch.path().join("log").display()))
}

fn log(scratch: &Scratch) -> String {
    // The file may not exist yet.
    fs::read_to_string(scratch.path().join("log")).unwrap_or_default()
}

#[track_caller]
fn power_off(running: &mut Running) {
    running.lguest(&["send", "one", "0", "\x1ep"]).well();
    assert_eq!((running.wait(), running.stderr().as_str()), (End::Status(0), ""));
}

#[test]
fn the_log_file_equals_stdout() {
    let scratch = Scratch::new();
    let before = scratch.file("log", "what was there before".repeat(1000));
    assert!(before.exists());
    let mut running = logging(&scratch).fed("\x1b[31mred\r\n\x1ef 3000\n\x1ep");
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.text().starts_with("hello 80x24\n\x1b[31mred\r\n00000000 ..."));
    assert!(log(&scratch) == running.text(), "the log is another");
    assert_eq!(running.stderr(), "");
}

/// This holds for every host end of hvc0. A client that attaches later still gets the unread
/// output.
#[test]
fn the_log_file_consumes_no_output() {
    for end in ["sock", "pty", "sock,buffer=4K"] {
        let scratch = Scratch::new();
        let launch = logging(&scratch).option("--name=one").option(&format!("--console={end}"));
        let mut running = launch.piped();
        until("the log has the line", || (log(&scratch) == PREFIX).then_some(()));
        if end != "pty" {
            assert_eq!(running.lguest(&["peek", "one"]).well(), PREFIX);
        }
        power_off(&mut running);
    }
    let scratch = Scratch::new();
    let other = scratch.path().join("hvc0");
    for end in [format!("file={}", other.display()), "null".into()] {
        let launch = logging(&scratch).option(&format!("--console={end}")).option("--expect=hello");
        assert_eq!(launch.piped().wait(), End::Status(0));
        assert_eq!(log(&scratch), PREFIX, "{end}");
    }
    assert_eq!(fs::read_to_string(other).unwrap(), PREFIX);
}

#[test]
fn a_log_file_on_a_full_disk_is_reported_and_the_guest_continues() {
    let mut running = printing().option("--log=/dev/full").fed("words\n\x1ep");
    assert_eq!(running.wait(), End::Status(0));
    let words = running.stderr();
    assert!(words.contains("writing to /dev/full: No space left on device"), "{words}");
    assert_eq!(running.text(), format!("{PREFIX}words\n"));
}
