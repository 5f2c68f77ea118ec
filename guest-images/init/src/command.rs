//! Starts the command: `sh -c`, in a session of its own, between three pipes or on a new terminal.
//! [`crate::relay`] handles what the command reads and writes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use lguest_init::MODULES;
use lguest_init::order::{CommandOrder, Terminal};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Pid, pipe2};

use crate::kernel_words::KernelWords;
use crate::{Result, files, modules, sys};

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
    /// The command's end of the terminal. It stays open when the command closes its own copy.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The init's ends of the streams, and the command's stdin, stdout and stderr.
struct Streams {
    ours: [Option<File>; 3],
    theirs: [OwnedFd; 3],
    terminal: Option<OwnedFd>,
}

/// Loads the command's modules, puts its files into their places, and starts it. If `root` is given,
/// the command runs in that root directory.
///
/// # Errors
/// The command cannot be started, for example because there is no shell.
pub(crate) fn start(
    order: &CommandOrder,
    words: &KernelWords,
    root: Option<&Path>,
) -> Result<Command> {
    modules::load(&order.modules, words).map_err(|refused| refused.to_string())?;
    if !order.modules.is_empty() {
        // Only a guest with little memory needs the room.
        let _ = fs::remove_dir_all(MODULES);
    }
    files::put_in_place(&order.files, root)?;
    let terminal = order.terminal.as_ref();
    let streams = match terminal {
        Some(terminal) => pty(terminal, root).map_err(|error| format!("a terminal: {error}"))?,
        None => pipes().map_err(|error| format!("a pipe: {error}"))?,
    };
    let Streams { ours: [Some(stdin), Some(stdout), stderr], theirs, terminal: slave } = streams
    else {
        return Err("a pipe is missing".into());
    };
    let home = root.unwrap_or(Path::new("/")).join("root").is_dir();
    let [their_stdin, their_stdout, their_stderr] = theirs.map(Stdio::from);
    let mut program = Program::new("/bin/sh");
    program.arg("-c").arg(OsStr::from_bytes(&order.command));
    program.env_clear().env("PATH", PATH).env("HOME", if home { "/root" } else { "/" });
    program.envs(terminal.map(|terminal| ("TERM", &terminal.kind)));
    program.stdin(their_stdin).stdout(their_stdout).stderr(their_stderr);
    let child = sys::spawn_in_session(&mut program, root, terminal.is_some());
    let child = child.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => "there is no /bin/sh in the guest to run the command with".into(),
        _ => format!("/bin/sh: {error}"),
    })?;
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    Ok(Command { pid: Pid::from_raw(pid), stdin, stdout, stderr, terminal: slave })
}

fn pipes() -> io::Result<Streams> {
    let [stdin, stdout, stderr] =
        [pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?];
    let ours = [our_end(stdin.1)?, our_end(stdout.0)?, our_end(stderr.0)?];
    Ok(Streams { ours: ours.map(Some), theirs: [stdin.0, stdout.1, stderr.1], terminal: None })
}

fn pty(terminal: &Terminal, root: Option<&Path>) -> io::Result<Streams> {
    let &Terminal { columns, rows, .. } = terminal;
    let (master, slave) = sys::open_pty(root.unwrap_or(Path::new("/")))?;
    sys::set_window(&slave, columns, rows);
    let ours = [Some(our_end(master.try_clone()?)?), Some(our_end(master)?), None];
    let theirs = [slave.try_clone()?, slave.try_clone()?, slave.try_clone()?];
    Ok(Streams { ours, theirs, terminal: Some(slave) })
}

fn our_end(fd: OwnedFd) -> io::Result<File> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(File::from(fd))
}
