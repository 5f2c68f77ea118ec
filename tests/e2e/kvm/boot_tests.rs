//! Boot tests: expected lines, forbidden lines, and reports. The probe echoes what the test types.

mod hangs;
mod logs;
mod panics;
mod reports;

use tests::files::Scratch;
use tests::{End, Launch, console};

use super::probe;

/// The line that the guest prints first.
const PREFIX: &str = "hello 80x24\n";

/// Makes the probe print `text`, or obey it (0x1e and a letter). Returns the status and the
/// messages.
#[track_caller]
fn said(launch: &Launch, text: &str) -> (i32, String) {
    let mut running = launch.fed(text);
    let End::Status(status) = running.wait() else { panic!("a signal killed the launcher") };
    (status, running.stderr())
}

fn printing() -> Launch {
    probe("console")
}

#[test]
fn an_expected_line_ends_the_guest() {
    let launch = printing().option("--expect=^one$").option("--expect=login: $");
    let mut running = launch.fed("one\r\ndebian login: ");
    assert_eq!(running.wait(), End::Status(0));
    let words = running.stderr();
    assert!(
        words.starts_with("lguest: seen after ") && words.ends_with(" s: debian login:\n"),
        "{words}"
    );
    assert_eq!(words.lines().count(), 1);
    // Everything that the guest printed before the match is there.
    assert_eq!(running.text(), format!("{PREFIX}one\r\ndebian login: "));
    running.assert_nothing_left();
}

#[test]
fn the_first_match_in_the_output_decides() {
    let launch = printing().option("--expect=good").option("--fail-on=b.d");
    assert_eq!(
        said(&launch, "bad\ngood\n"),
        (103, "lguest: --fail-on \"b.d\" matched: bad\n".into())
    );
    assert_eq!(said(&launch, "bad and good\n").0, 103);
    let (status, words) = said(&launch, "good\nbad\n");
    assert_eq!(status, 0, "{words}");
}

/// Output before the end counts, however quickly the guest ends.
#[test]
fn output_just_before_the_end_counts() {
    let launch = printing().option("--expect=the last word").option("--no-reboot");
    for end in ["\x1ep", "\x1er", "\x1es", "\x1ek"] {
        let (status, words) = said(&launch, &format!("the last word{end}"));
        assert!(status == 0 && words.starts_with("lguest: seen after "), "{status}: {words}");
    }
}

#[test]
fn a_guest_that_ends_before_the_expected_line_fails() {
    let launch = printing().option("--expect=first").option("--expect=login: ");
    for (end, how) in
        [("\x1ep", "guest powered off"), ("\x1er", "guest reset by the ACPI reset register")]
    {
        let (status, words) = said(&launch.clone().option("--no-reboot"), &format!("first\n{end}"));
        assert_eq!(
            (status, words),
            (104, format!("lguest: {how} before this was seen: \"login: \"\n"))
        );
    }
    // A status of the guest's own takes precedence.
    assert_eq!(said(&launch, "\x1es").0, 42);
    let mut running = launch.option("--name=one").piped();
    running.expect("hello");
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(104));
}

/// The expected lines may come after a reboot.
#[test]
fn the_expected_line_may_come_after_a_reboot() {
    let launch =
        printing().option("--expect=hello").option("--expect=hello").option("--expect=hello");
    let mut running = launch.piped();
    for _ in 0..2 {
        running.expect("hello");
        running.send("\x1er");
    }
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.stderr().ends_with(": hello 80x24\n"), "{}", running.stderr());
}

#[test]
fn kernel_failures_only_count_in_a_boot_test() {
    let oops = "[    1.0] BUG: kernel NULL pointer dereference\n";
    let warning = "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 foo+0x1/0x2\n";
    let text = format!("{warning}{oops}\x1ep");
    assert_eq!(said(&printing(), &text), (0, String::new()));
    let expect = printing().option("--expect=never");
    let words = format!("lguest: the guest's kernel fails: {oops}");
    assert_eq!(said(&expect, &text), (103, words.clone()));
    assert_eq!(said(&printing().option("--fail-on=never"), &text), (103, words));
    let words = format!("lguest: the guest's kernel fails: {warning}");
    assert_eq!(said(&printing().option("--strict"), &text), (103, words));
}

/// The host end may be absent, a file, or a client's.
#[test]
fn output_is_matched_for_every_host_end() {
    let scratch = Scratch::new();
    let file = format!("file={}", scratch.path().join("hvc0").display());
    for end in ["null", "sock", "pty", "sock,buffer=4K", &file] {
        let launch = probe("console").option(&format!("--console={end}"));
        let mut running = launch.option("--expect=hello 80x24").piped();
        assert_eq!(running.wait(), End::Status(0), "{end}");
    }
}

/// The line may also be on its way to another console.
#[test]
fn early_output_is_matched() {
    let launch = probe("serial=early-words").option("--earlycon").option("--expect=early-w");
    for consoles in [&["stdio"][..], &["sock"], &["null"], &["sock", "stdio"]] {
        let option = |launch: Launch, end: &&str| launch.option(&format!("--console={end}"));
        let mut running = consoles.iter().fold(launch.clone(), option).piped();
        assert_eq!(running.wait(), End::Status(0), "{consoles:?}: {}", running.stderr());
        let shown = String::from_utf8(running.all_output()).unwrap().contains("early-words");
        assert_eq!(shown, consoles.contains(&"stdio"), "{consoles:?}");
    }
}

#[test]
fn attached_clients_get_the_reason_of_the_end() {
    let launch = probe("console").option("--name=one").option("--console=sock");
    let mut running = launch.option("--fail-on=bad thing").piped();
    let mut user = console(running.runtime(), &["one", "--wait"]);
    user.expect("hello");
    user.send("a bad thing\n");
    assert_eq!(running.wait(), End::Status(103));
    assert_eq!(user.wait(), End::Status(0));
    let words = "--fail-on \"bad thing\" matched: a bad thing";
    assert!(user.stderr().contains(words), "{}", user.stderr());
}

/// The line is found however much the guest prints.
#[test]
fn an_expected_line_is_found_in_a_flood_of_output() {
    let launch = printing().option("--expect=^00199999 ").option("--fail-on=^00200000 ");
    let (status, words) = said(&launch, "\x1ef 20000\n");
    assert!(status == 0 && words.contains(": 00199999 ...."), "{status}: {words}");
}

#[test]
fn impossible_options_are_refused_in_one_line() {
    for (options, status, words) in [
        (&["--expect=a("][..], 2, "invalid value 'a(' for '--expect <REGEX>': unclosed group"),
        (&["--fail-on="], 2, "for '--fail-on <REGEX>'"),
        (&["--timeout=soon"], 2, "a time is a number of seconds"),
        (&["--expect=a", "--detach"], 2, "lguest: --expect: with --detach nobody"),
        (&["--symbols=/proc/cmdline"], 1, "neither a vmlinux nor a System.map"),
        (&["--symbols=/nowhere"], 1, "lguest: --symbols /nowhere: No such file"),
        (&["--log=/nowhere/log"], 1, "lguest: --log /nowhere/log: No such file"),
        (&["--junit=/nowhere/xml"], 1, "lguest: --junit /nowhere/xml: No such file"),
    ] {
        let launch = options.iter().fold(printing(), |launch, option| launch.option(option));
        let (was, said) = said(&launch, "");
        assert_eq!(was, status, "{options:?}: {said}");
        assert!(said.lines().next().unwrap().contains(words), "{options:?}: {said}");
        assert!(status == 2 || said.lines().count() == 1, "{options:?}: {said}");
    }
}
