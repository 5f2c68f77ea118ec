//! Tests that cannot run here. `tests/summed` counts them and prints the reasons; where nobody
//! counts them, they fail. The launcher's unit tests have this file as a module of theirs, too.

use std::env;
use std::fs::File;
use std::io::Write;
use std::panic::Location;

use nix::unistd::geteuid;

/// Say why this test cannot run here. The caller returns after this: the test runner takes the
/// test for passed, and the record corrects that.
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

/// Whether we are root; if not, the test is skipped, as root is needed for this.
#[must_use]
#[track_caller]
pub fn is_root(what_for: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        skip(&format!("root is needed for {what_for}"));
    }
    root
}
