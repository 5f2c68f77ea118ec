//! `--detach`: the launch continues in a child process, in its own session. The process that the
//! user started waits for the message that the guest runs, prints its name, and ends. This comes
//! before everything else of a launch.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use host::inherited::Inherited;
use host::terminal::sys;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};
use wire::Name;

/// The process that continues after the fork.
pub(crate) enum Detached {
    /// The process that the user waits for. It only has to end, with this status.
    Parent(u8),
    /// The process that launches the guest.
    Child(WaitingParent),
}

/// The connection to the process that the user waits for.
#[derive(Debug)]
pub(crate) struct WaitingParent {
    pipe: File,
    /// The file for the standard streams, opened while it can be opened by name.
    null: File,
}

/// Fork. The parent returns when the guest runs, or when the launch has failed.
///
/// # Errors
/// When the host has no process or descriptor left.
pub(crate) fn detach() -> Result<Detached> {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
    // The process that started lguest may ignore SIGCHLD, and the kernel then keeps no child's
    // status.
    sys::by_default(Signal::SIGCHLD).context("preparing for the launcher's end")?;
    match sys::fork_alone().context("starting a process")? {
        ForkResult::Child => {
            drop(read_end);
            let null = File::options().read(true).write(true).open("/dev/null");
            let null = null.context("/dev/null")?;
            setsid().context("starting a session")?;
            dup2_stdin(&null).context("closing stdin")?;
            Ok(Detached::Child(WaitingParent { pipe: write_end.into(), null }))
        }
        ForkResult::Parent { child } => {
            drop(write_end);
            wait(File::from(read_end), child).map(Detached::Parent)
        }
    }
}

/// Wait until the child sends the guest's name, or ends without it. Returns the exit status.
fn wait(pipe: File, child: Pid) -> Result<u8> {
    let name = io::read_to_string(pipe).context("waiting for the guest")?;
    if !name.is_empty() {
        io::stdout().write_all(name.as_bytes()).context("writing to stdout")?;
        return Ok(0);
    }
    // The child has printed the reason.
    match waitpid(child, None).context("waiting for the launcher")? {
        WaitStatus::Exited(_, status) => Ok(u8::try_from(status)?),
        WaitStatus::Signaled(_, signal, _) => {
            anyhow::bail!("the launcher died of {signal}");
        }
        status => anyhow::bail!("the launcher: {status:?}"),
    }
}

impl WaitingParent {
    /// Let the parent end: the guest of this name runs. Closes everything that would hold up a
    /// reader of the launcher's output, and all descriptors that were open when lguest was started;
    /// messages still go to a stderr that is a file.
    ///
    /// # Errors
    /// When the parent did not wait.
    pub(crate) fn notify_running(self, name: &Name, inherited: &mut Inherited) -> Result<()> {
        let Self { mut pipe, null } = self;
        inherited.close();
        dup2_stdout(&null).context("closing stdout")?;
        if !is_file(io::stderr()) {
            dup2_stderr(&null).context("closing stderr")?;
        }
        writeln!(pipe, "{name}").context("the process that waits for the guest has ended")
    }
}

fn is_file(stream: impl AsFd) -> bool {
    let kind =
        fstat(stream).map(|status| SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT);
    kind.is_ok_and(|kind| kind == SFlag::S_IFREG)
}
