//! Starts the command: `sh -c`, in a session of its own, between three pipes or on a new
//! terminal. What it reads and writes then is for [`crate::relay`].

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use lguest_init::order::Terminal;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2};

use crate::{Result, sys};

/// Where programs are, in whatever root.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command, running.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pid: Pid,
    /// Its input. Non-blocking, as all of these are.
    pub(crate) stdin: File,
    /// Its output, or all that its terminal shows.
    pub(crate) stdout: File,
    /// None if it has a terminal.
    pub(crate) stderr: Option<File>,
    /// Readable when it, or one of its orphans, has ended.
    pub(crate) ended: SignalFd,
    /// Its end of the terminal, which stays open when it closes its own.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Our ends, and the command's: stdin, stdout, stderr.
struct Streams {
    ours: [Option<File>; 3],
    theirs: [OwnedFd; 3],
    terminal: Option<OwnedFd>,
}

/// Start it, in this root if it is another.
///
/// # Errors
/// When there is no shell, say.
pub(crate) fn start(
    command: &[u8],
    terminal: Option<&Terminal>,
    root: Option<&Path>,
) -> Result<Command> {
    let streams = terminal.map_or_else(pipes, pty).map_err(|error| format!("a pipe: {error}"))?;
    let Streams { ours: [Some(stdin), Some(stdout), stderr], theirs, terminal: slave } = streams
    else {
        return Err("a pipe is missing".into());
    };
    let ended = children().map_err(|error| format!("listening for the command's end: {error}"))?;
    let home = root.unwrap_or(Path::new("/")).join("root").is_dir();
    let [their_stdin, their_stdout, their_stderr] = theirs.map(Stdio::from);
    let mut program = Program::new("/bin/sh");
    program.arg("-c").arg(OsStr::from_bytes(command));
    program.env_clear().env("PATH", PATH).env("HOME", if home { "/root" } else { "/" });
    program.envs(terminal.map(|terminal| ("TERM", &terminal.kind)));
    program.stdin(their_stdin).stdout(their_stdout).stderr(their_stderr);
    let child = sys::spawn_in_session(&mut program, root, terminal.is_some());
    let child = child.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => "there is no /bin/sh in the guest to run the command with".into(),
        _ => format!("/bin/sh: {error}"),
    })?;
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    Ok(Command { pid: Pid::from_raw(pid), stdin, stdout, stderr, ended, terminal: slave })
}

fn pipes() -> nix::Result<Streams> {
    let [stdin, stdout, stderr] =
        [pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?];
    let ours = [our_end(stdin.1)?, our_end(stdout.0)?, our_end(stderr.0)?];
    Ok(Streams { ours: ours.map(Some), theirs: [stdin.0, stdout.1, stderr.1], terminal: None })
}

fn pty(terminal: &Terminal) -> nix::Result<Streams> {
    let &Terminal { columns, rows, .. } = terminal;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None)?;
    let again = |fd: &OwnedFd| fd.try_clone().map_err(|_| nix::errno::Errno::EMFILE);
    let ours = [Some(our_end(again(&pty.master)?)?), Some(our_end(pty.master)?), None];
    let theirs = [again(&pty.slave)?, again(&pty.slave)?, again(&pty.slave)?];
    for end in [&pty.slave, &theirs[0], &theirs[1], &theirs[2]] {
        fcntl(end, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok(Streams { ours, theirs, terminal: Some(pty.slave) })
}

fn our_end(fd: OwnedFd) -> nix::Result<File> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(File::from(fd))
}

fn children() -> nix::Result<SignalFd> {
    let ended = SigSet::from(Signal::SIGCHLD);
    ended.thread_block()?;
    SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
