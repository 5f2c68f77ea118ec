//! Starts the command: `sh -c`, in a session of its own, between three pipes or on a new terminal.
//! [`crate::relay`] handles what the command reads and writes.

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

/// The directories in which programs are, for any root file system.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The running command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pid: Pid,
    /// The command's input. This and all other files here are non-blocking.
    pub(crate) stdin: File,
    /// The command's stdout, or its whole output if it has a terminal.
    pub(crate) stdout: File,
    /// The command's stderr; `None` if the command has a terminal.
    pub(crate) stderr: Option<File>,
    /// Readable when the command, or one of its orphans, has ended.
    pub(crate) ended: SignalFd,
    /// The command's end of the terminal. It stays open when the command closes its own copy.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The init's ends of the streams, and the command's stdin, stdout and stderr.
struct Streams {
    ours: [Option<File>; 3],
    theirs: [OwnedFd; 3],
    terminal: Option<OwnedFd>,
}

/// Starts the command. If `root` is given, the command runs in that root directory.
///
/// # Errors
/// The command cannot be started, for example because there is no shell.
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
