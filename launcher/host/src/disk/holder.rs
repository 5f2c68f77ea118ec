//! Finds the process that uses a file: the one that holds a lock on it or, without a lock, one
//! that has it open, as far as /proc shows it. (/proc/locks is not enough:
//! it names no process for locks of open file descriptions.)

use std::fs::{self, Metadata};
use std::path::Path;

use super::identity;

/// The process that uses a file, as "pid 1234 (name)". `None` if no process is visible.
pub(super) fn of(metadata: &Metadata) -> Option<String> {
    let wanted = identity(metadata);
    let own = std::process::id().to_string();
    let mut user = None;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let directory = process.path();
        for descriptor in fs::read_dir(directory.join("fd")).into_iter().flatten().flatten() {
            let open = fs::metadata(descriptor.path());
            if !open.is_ok_and(|open| identity(&open) == wanted) {
                continue;
            }
            if is_locked(&directory, &descriptor.file_name().to_string_lossy()) {
                return Some(describe(&directory, &pid));
            }
            user.get_or_insert_with(|| describe(&directory, &pid));
        }
    }
    user
}

/// Whether this descriptor of the process holds a lock.
fn is_locked(process: &Path, descriptor: &str) -> bool {
    let info = fs::read_to_string(process.join("fdinfo").join(descriptor));
    info.is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
}

fn describe(process: &Path, pid: &str) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("pid {pid} ({})", name.trim_end())
}
