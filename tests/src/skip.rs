//! Skips tests that cannot run here. `tests/summed` counts skipped tests and prints the reasons;
//! without `tests/summed`, a skipped test fails. The launcher's unit tests include this file as a
//! module.

use std::env;
use std::fs::File;
use std::io::Write;
use std::panic::Location;

use nix::unistd::geteuid;

/// Records why the calling test cannot run here. The caller returns after this. The test runner
/// counts the test as passed, and the record corrects that.
#[track_caller]
pub fn skip(reason: &str) {
    let Some(records) = env::var_os("LGUEST_TEST_RECORDS") else {
        panic!(
            "this test cannot run here: {reason} (the targets of the Makefile count it as skipped)"
        );
    };
    let caller = Location::caller();
    let thread = std::thread::current();
    // With one test at a time, the test has no thread of its own.
    let name = match thread.name() {
        Some(name) if name.contains("::") => name.to_string(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    };
    let record = format!("left\t{name}\t{reason}\n");
    let file = File::options().append(true).open(records);
    if let Err(error) = file.and_then(|mut file| file.write_all(record.as_bytes())) {
        panic!("recording that a test is skipped: {error}");
    }
}

/// Whether the tests run as root. If not, this skips the test, with `what_for` in the reason.
#[must_use]
#[track_caller]
pub fn is_root(what_for: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        skip(&format!("root is needed for {what_for}"));
    }
    root
}
