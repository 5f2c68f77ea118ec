//! Every unsafe block for terminals and signals. All functions here are safe to
//! call.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::{fs, ptr};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

/// The modes of a terminal, as the kernel has them. nix's `Termios` drops the flags that it has no
/// name for, and rustix's cannot be sent to the guard's process, because its speeds are private. A
/// terminal is restored to the last bit.
pub(crate) type Modes = libc::termios;

/// Read the terminal's modes.
///
/// # Errors
/// When the file is not a terminal, or the terminal is gone.
pub fn modes(tty: BorrowedFd<'_>) -> io::Result<Modes> {
    let mut modes = MaybeUninit::<Modes>::zeroed();
    // SAFETY: `tty` is open, and `modes` is writable memory of the right type.
    let done = unsafe { libc::tcgetattr(tty.as_raw_fd(), modes.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes would already be a valid value of this plain struct.
    Ok(unsafe { modes.assume_init() })
}

/// Set the terminal's modes at once: pending input and output stay, and a terminal whose
/// output is stopped does not delay the call.
///
/// # Errors
/// When the terminal is gone.
pub fn set_modes(tty: BorrowedFd<'_>, modes: &Modes) -> io::Result<()> {
    // SAFETY: `tty` is open, and `modes` points to an initialised struct.
    let done = unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, modes) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The raw modes that correspond to `modes`: every byte passes unchanged, both ways.
pub fn raw(modes: &Modes) -> Modes {
    let mut raw = *modes;
    // SAFETY: `raw` is an initialised struct; the call changes fields of it.
    unsafe { libc::cfmakeraw(&raw mut raw) };
    raw
}

/// The columns and rows of a terminal. `None` if one of them is 0 or not known.
pub fn window_size(tty: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let size = tcgetwinsize(tty).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The device number of a terminal, also if it was opened as /dev/tty.
pub(super) fn device(tty: BorrowedFd<'_>) -> Option<u32> {
    let mut device = 0;
    // SAFETY: TIOCGDEV fills in a number of this size.
    let done = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGDEV, &raw mut device) };
    (done == 0).then_some(device)
}

/// Set the columns and rows of a terminal.
///
/// # Errors
/// When the terminal is gone.
pub fn set_window_size(tty: BorrowedFd<'_>, (columns, rows): (u16, u16)) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(tty, size)?)
}

/// Open the user's end of the pseudo-terminal with this master.
///
/// # Errors
/// When the host has no descriptor to spare.
pub fn user_end(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(ioctl_tiocgptpeer(master, flags)?)
}

/// Fork this process, which must have one thread.
///
/// # Errors
/// When the host refuses, or this process has a second thread: the child would inherit the
/// locks that the thread holds, and no thread to release them.
pub fn fork_alone() -> io::Result<ForkResult> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("another thread is already running"));
    }
    // SAFETY: this is the only thread, as just checked, so that the child finds
    // every lock free and all memory consistent.
    Ok(unsafe { fork() }?)
}

/// Run `body` in a child process, which ends afterwards.
///
/// # Errors
/// As those of [`fork_alone`].
pub(crate) fn fork_child(body: impl FnOnce()) -> io::Result<Pid> {
    match fork_alone()? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // A panic must not unwind into the parent's code.
            let _ = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: ends the child at once, running none of the parent's
            // exit functions.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Close every descriptor of this process but two. Only for a child that was
/// just forked: the call closes descriptors that values of its parent own.
pub(super) fn close_all_but(keep: [BorrowedFd<'_>; 2]) {
    let (a, b) = (keep[0].as_raw_fd(), keep[1].as_raw_fd());
    let (low, high) = (a.min(b), a.max(b));
    close_range(0, low.saturating_sub(1));
    close_range(low.saturating_add(1), high.saturating_sub(1));
    close_range(high.saturating_add(1), RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: the child of a fork uses none of these descriptors again.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Have the kernel discard this signal.
///
/// # Errors
/// When the signal cannot be ignored.
pub(crate) fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Have the kernel take the default action for this signal.
///
/// # Errors
/// When the signal's action cannot be set.
pub fn by_default(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl)
}

fn set(signal: Signal, what: SigHandler) -> io::Result<()> {
    let action = SigAction::new(what, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither caller installs a handler, so nothing can run at a bad time.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Whether this signal was ignored when lguest was started (by nohup, or a shell
/// without job control).
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action given, the call only fills in the present one.
    let done = unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeroes would already be a valid value of this plain struct.
    let action = unsafe { action.assume_init() };
    done == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// The runtime's handlers of [`FAULTS`].
static RUNTIME: [OnceLock<SigHandler>; 2] = [const { OnceLock::new() }; 2];

/// Signals that the Rust runtime handles, to report a stack overflow.
const FAULTS: [Signal; 2] = [Signal::SIGSEGV, Signal::SIGBUS];

/// Have a SIGSEGV or SIGBUS that a process sent end lguest. The runtime's handler would take the
/// signal for a fault, and return so that the fault happens again, which it does not. Real faults
/// go to that handler. To be called before any thread exists.
///
/// # Errors
/// When a handler cannot be set.
pub fn end_on_sent_faults() -> io::Result<()> {
    for (signal, runtime) in FAULTS.into_iter().zip(&RUNTIME) {
        let action =
            SigAction::new(SigHandler::SigAction(on_fault), SaFlags::SA_ONSTACK, SigSet::empty());
        // SAFETY: `on_fault` only makes calls that a signal handler may make.
        let before = unsafe { sigaction(signal, &action) }?;
        if matches!(before.handler(), SigHandler::SigAction(_)) {
            let _ = runtime.set(before.handler());
        } else {
            // The runtime does not handle the signal: its default action ends lguest.
            // SAFETY: restores the action that was set before.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

extern "C" fn on_fault(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel calls this with a valid `info`.
    let code = unsafe { (*info).si_code };
    let index = FAULTS.iter().position(|signal| *signal as i32 == number);
    let runtime = index.and_then(|index| RUNTIME.get(index)).and_then(OnceLock::get);
    // Signals of the kernel itself have a code above 0.
    if let (1.., Some(SigHandler::SigAction(runtime))) = (code, runtime) {
        return runtime(number, info, context);
    }
    // SAFETY: the default disposition has no handler that could be wrong.
    unsafe { libc::signal(number, libc::SIG_DFL) };
    // The signal is blocked until this handler returns.
    // SAFETY: may be called in a handler.
    unsafe { libc::raise(number) };
}
