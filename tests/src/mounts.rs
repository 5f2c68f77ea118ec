//! A mount namespace for the programs of one test.

use std::process::Command;

use nix::unistd::geteuid;

use crate::skip::skip;
use crate::wait::OrFail;

/// Returns the words that run a line of the shell in a mount namespace of its own.
///
/// An ordinary user needs a user namespace for that. Root does without, because root of a user
/// namespace cannot enter the directories that other users keep to themselves. Skips the test and
/// returns `None` if the host grants no namespace.
#[must_use]
#[track_caller]
pub fn with_own_mounts(line: &str) -> Option<Vec<&str>> {
    let unshare: &[&str] = match geteuid().is_root() {
        true => &["unshare", "--mount"],
        false => &["unshare", "--map-root-user", "--mount"],
    };
    let (program, words) = unshare.split_first()?;
    let tried = Command::new(program).args(words).arg("true").output().or_fail("running unshare");
    if !tried.status.success() {
        skip(&format!("no mount namespace: {}", String::from_utf8_lossy(&tried.stderr).trim()));
        return None;
    }
    Some([unshare, &["sh", "-c", line]].concat())
}
