//! The system calls that the kernel refuses the launcher from the moment that everything is open:
//! code that a guest injects into the launcher could use them. The filter applies in every launch,
//! from before the first thread starts, so that it covers all threads, and in the terminal's guard.
//!
//! Refused are programs that grant privilege (no_new_privs), and the two ioctls that type
//! into a terminal as its user would. The terminal stays open for the guest's console, and
//! the shell that started the launcher reads from the same one afterwards: the shell would run
//! commands that were typed into the terminal. All other system calls are allowed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::prctl;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::Eq;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// The ioctl that puts a byte into a terminal's input.
const TIOCSTI: u64 = 0x5412;
/// The ioctl that pastes a selection of a virtual console, among other things.
const TIOCLINUX: u64 = 0x541c;

/// The index of ioctl's argument that is the request.
const REQUEST: u8 = 1;

/// The bit that is set in the numbers of x32 calls, which some kernels have as well.
const X32: i64 = 1 << 30;

/// All system call numbers by which a 64-bit process can call ioctl. x32 has a number of its own.
/// Older kernels accept each of the two with and without the bit. (The calls of 32-bit processes
/// belong to another architecture: the filter ends the process.)
const IOCTL: [i64; 4] = [libc::SYS_ioctl, libc::SYS_ioctl | X32, 514, 514 | X32];

/// Apply the filter to the calling thread, and to threads and processes that it starts.
///
/// # Errors
/// When the kernel has no such filters. The thread has no_new_privs then.
pub(crate) fn enter() -> Result<()> {
    prctl::set_no_new_privs().context("giving up new privileges")?;
    let applied = seccompiler::apply_filter(&filter()?);
    let applied = applied.map_err(|error| match error {
        // The text of these would repeat their cause.
        Error::Seccomp(error) | Error::Prctl(error) => error.into(),
        error => anyhow!(error),
    });
    applied.context("filtering system calls (seccomp)")
}

/// The filter. A refused ioctl fails with EPERM, as on kernels that allow it to root alone.
fn filter() -> Result<BpfProgram> {
    let refused = || {
        [TIOCSTI, TIOCLINUX].map(|request| {
            // The kernel compares the low 32 bits alone, and the filter does, too.
            SeccompRule::new(vec![SeccompCondition::new(REQUEST, Dword, Eq, request)?])
        })
    };
    let mut rules = BTreeMap::new();
    for number in IOCTL {
        rules.insert(number, refused().into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    let refuse = SeccompAction::Errno(Errno::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::thread;

    use super::*;
    use crate::sys::raw_ioctl;

    /// Make an ioctl on a file that is not a terminal, so that the kernel refuses it in its own
    /// way.
    fn ask(number: i64, request: u64) -> Errno {
        raw_ioctl(number, &File::open("/dev/null").unwrap(), request).unwrap_err()
    }

    #[test]
    fn nothing_is_typed_into_a_terminal() {
        // The filter ends with this thread.
        let thread = thread::Builder::new().name("closed".into()).spawn(|| {
            let wide = 0xdead_beef_0000_0000;
            let requests = [TIOCSTI, TIOCLINUX].map(|it| [it, it | wide]).concat();
            let before: Vec<_> = requests.iter().map(|it| ask(libc::SYS_ioctl, *it)).collect();
            assert_eq!(before, [Errno::ENOTTY; 4]);
            enter().unwrap();
            for number in IOCTL {
                let after: Vec<_> = requests.iter().map(|it| ask(number, *it)).collect();
                assert_eq!(after, [Errno::EPERM; 4], "call {number:#x}");
            }
            // lguest asks for a terminal's window size all the time.
            assert_eq!(ask(libc::SYS_ioctl, libc::TIOCGWINSZ), Errno::ENOTTY);
            assert!(prctl::get_no_new_privs().unwrap());
        });
        thread.unwrap().join().unwrap();
    }
}
