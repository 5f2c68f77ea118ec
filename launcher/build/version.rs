//! Sets LGUEST_VERSION, as `lguest --version` prints it: "0.1.0 (1a2b3c4 2026-11-21)" with the
//! commit and its date, and "-dirty" behind the commit if the launcher's sources have changed
//! since. It is just "0.1.0" if the sources are not in their own git repository.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The launcher's sources, from the top of the project. Documents and tests do not count.
const SOURCES: [&str; 5] = ["launcher", "devices", "guest-images/init", "Cargo.toml", "Cargo.lock"];

/// Set the version for the compiler, and tell cargo what it depends on.
pub(crate) fn set() {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let top = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("..");
    let top = top.canonicalize().unwrap_or(top);
    for source in SOURCES.map(|source| top.join(source)).iter().filter(|source| source.exists()) {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let commit = commit(&top).map_or_else(String::new, |commit| format!(" ({commit})"));
    println!("cargo::rustc-env=LGUEST_VERSION={version}{commit}");
}

fn commit(top: &Path) -> Option<String> {
    // The sources of a tarball may be inside another repository.
    if Path::new(&git(top, &["rev-parse", "--show-toplevel"])?) != top {
        return None;
    }
    // The files that a commit, a checkout or a reset changes, in a worktree, too. HEAD has the name
    // of a branch; git writes to its log each time.
    for file in ["HEAD", "logs/HEAD"] {
        let path = top.join(git(top, &["rev-parse", "--git-path", file])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let commit = git(top, &["describe", "--always", "--match=v*"])?;
    let date = git(top, &["log", "-1", "--format=%cs"])?;
    let mut changes = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    changes.extend(SOURCES);
    let dirty = if git(top, &changes)?.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{dirty} {date}"))
}

/// The output of git, if git exists and succeeds.
fn git(top: &Path, words: &[&str]) -> Option<String> {
    // This only reads: it must not write an index that other processes use.
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").arg("-C").arg(top).args(words);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
