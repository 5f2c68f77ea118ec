//! As many descriptors as the host grants. A console takes some twelve: the usual
//! 1024 would do for 80 of them.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raise the limit to what it may be raised to without privilege. It is low for
/// the sake of programs that use select(2), which fails for descriptors from 1024
/// on; none of ours does, and we start no other program, which would inherit it.
pub fn raise_limit() {
    // If it cannot be raised, the open that fails says so.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
