//! The limit on open descriptors. A console takes some twelve of them, so that the usual limit of
//! 1024 would be enough for 80 consoles.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raise the limit as far as that is allowed without privilege. The usual limit is low because of
/// programs that use select(2), which fails for descriptors from 1024 on. lguest does not use
/// select, and starts no other program, which would inherit the limit.
pub fn raise_limit() {
    // If the limit cannot be raised, a later open reports that.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
