//! All unsafe code of the harness. The exported functions are safe to call.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Returns all modes of a terminal. nix's `Termios` drops the flags that it has no name for.
pub(crate) fn modes(tty: BorrowedFd<'_>) -> io::Result<libc::termios> {
    let mut modes = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: `tty` is open, and `modes` is writable memory of the right type.
    let done = unsafe { libc::tcgetattr(tty.as_raw_fd(), modes.as_mut_ptr()) };
    succeeded(done)?;
    // SAFETY: all zeroes are a valid value already.
    Ok(unsafe { modes.assume_init() })
}

/// Make a terminal raw.
pub(crate) fn make_raw(tty: BorrowedFd<'_>) -> io::Result<()> {
    let mut raw = modes(tty)?;
    // SAFETY: `raw` is memory of the right type.
    unsafe { libc::cfmakeraw(&raw mut raw) };
    // SAFETY: `tty` is open, and `raw` is of the right type.
    succeeded(unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, &raw const raw) })
}

/// Set a terminal's size; its foreground processes get SIGWINCH.
pub(crate) fn resize(tty: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `tty` is open, and `size` is of the type that the request reads.
    succeeded(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// How many bytes can be read from `file` now.
pub(crate) fn unread(file: BorrowedFd<'_>) -> io::Result<i32> {
    let mut count = 0;
    // SAFETY: `file` is open, and `count` is of the type that the request writes.
    succeeded(unsafe { libc::ioctl(file.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(count)
}

/// The session in which a program is started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Session {
    /// A session of its own, whose terminal is the program's stdin.
    OnItsTerminal,
    /// A session of its own, without a terminal.
    WithoutTerminal,
}

/// Starts `command` in a session of its own, with no signal ignored, however the tests were
/// started.
pub(crate) fn in_session(command: &mut Command, session: Session) {
    let prepare = move || {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTSTP] {
            // SAFETY: the default disposition has no handler that could be wrong.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: takes no memory.
        succeeded(unsafe { libc::setsid() }.min(0))?;
        match session {
            // SAFETY: takes no memory; fails if stdin is not a terminal.
            Session::OnItsTerminal => succeeded(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }),
            Session::WithoutTerminal => Ok(()),
        }
    };
    // SAFETY: between fork and exec `prepare` only makes system calls.
    unsafe { command.pre_exec(prepare) };
}

/// Starts `command` with this descriptor closed.
pub(crate) fn with_closed(command: &mut Command, descriptor: i32) {
    let close = move || {
        // SAFETY: after fork, this closes the child's copy alone.
        succeeded(unsafe { libc::close(descriptor) })
    };
    // SAFETY: between fork and exec `close` only makes a system call.
    unsafe { command.pre_exec(close) };
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
