//! `--junit`, as a collector of test results reads it.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::files::{self, Scratch};
use tests::{End, Launch, is_root};

use super::{printing, said};

/// A script that prints what Python's parser finds in the report.
const READ: &str = "
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
case, = suite
found = case.find('failure') if case.find('error') is None else case.find('error')
print(suite.tag, suite.get('tests'), suite.get('failures'), suite.get('errors'), case.get('name'))
print('' if found is None else found.get('message'))
print(case.findtext('system-out'), end='')
";

/// Returns the counts and the name, the message, and the log.
#[track_caller]
fn read(path: &Path) -> [String; 3] {
    let output = Command::new("python3").args(["-c", READ]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = text.splitn(3, '\n').map(str::to_string);
    [parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap()]
}

fn reporting(scratch: &Scratch) -> Launch {
    printing().option(&format!("--junit={}", scratch.path().join("xml").display()))
}

#[test]
fn success_failure_and_error() {
    let scratch = Scratch::new();
    let path = scratch.path().join("xml");
    let launch = reporting(&scratch);
    assert_eq!(said(&launch, "<&>\x1b[31m\x07\n\x1ep").0, 0);
    let log = "hello 80x24\n<&>\n";
    assert_eq!(read(&path), ["testsuite 1 0 0 probe", "", log]);

    let launch = launch.option("--name=web");
    assert_eq!(said(&launch.clone().option("--fail-on=b<d"), "b<d\n").0, 103);
    let message = "--fail-on \"b<d\" matched: b<d";
    assert_eq!(read(&path)[..2], ["testsuite 1 1 0 web", message]);

    assert_eq!(said(&launch.clone().option("--initrd=/nowhere"), "").0, 1);
    let [counts, message, _] = read(&path);
    assert_eq!(counts, "testsuite 1 0 1 web");
    assert!(message.contains("/nowhere"), "{message}");

    let mut running = launch.piped();
    running.expect("hello");
    assert!(!path.exists(), "an old result");
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
    assert_eq!(read(&path)[..2], ["testsuite 1 0 1 web", "signal 15: guest stopped"]);
    assert_eq!(files::below(scratch.path()), [path]);
}

/// A file cannot be renamed after the chroot.
#[test]
fn a_report_from_behind_a_chroot() {
    if !is_root("--chroot") {
        return;
    }
    let (scratch, root) = (Scratch::new(), Scratch::new());
    let path = scratch.file("xml", "an old one that is much longer than this ".repeat(1000));
    let launch = reporting(&scratch).option(&format!("--chroot={}", root.path().display()));
    assert_eq!(said(&launch.option("--username=nobody"), "\x1es").0, 42);
    let message = "the guest ended with status 42";
    assert_eq!(read(&path)[..2], ["testsuite 1 1 0 probe", message]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

/// A success whose report cannot be written is a failure.
#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let scratch = Scratch::new();
    let mut running = reporting(&scratch).piped();
    running.expect("hello");
    let gone = scratch.path().to_path_buf();
    fs::remove_dir(&gone).unwrap();
    running.send("\x1ep");
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains("lguest: --junit "), "{}", running.stderr());
    fs::create_dir(gone).unwrap();
}
