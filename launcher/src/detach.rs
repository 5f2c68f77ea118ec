//! `--detach`: the launch goes on in a child process, in a session of its own. The one
//! that the user started waits for the word that the guest runs, prints its name, and
//! ends. This comes before everything else of a launch.

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

/// The two processes.
pub(crate) enum Process {
    /// The user waits for this one; it has nothing more to do but end, with this status.
    Parent(u8),
    /// This one launches.
    Child(Parent),
}

/// The process that waits for us.
#[derive(Debug)]
pub(crate) struct Parent {
    pipe: File,
    /// What our standard streams become: it can be opened now.
    null: File,
}

/// Become two. The parent comes back from this when the guest runs, or does not.
///
/// # Errors
/// When the host has no process or descriptor to spare.
pub(crate) fn detach() -> Result<Process> {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
    // The process that started us may ignore it, and the kernel then keeps no child's status.
    sys::by_default(Signal::SIGCHLD).context("preparing for the launcher's end")?;
    match sys::fork_alone().context("starting a process")? {
        ForkResult::Child => {
            drop(read_end);
            let null = File::options().read(true).write(true).open("/dev/null");
            let null = null.context("/dev/null")?;
            setsid().context("starting a session")?;
            dup2_stdin(&null).context("closing stdin")?;
            Ok(Process::Child(Parent { pipe: write_end.into(), null }))
        }
        ForkResult::Parent { child } => {
            drop(write_end);
            wait(File::from(read_end), child).map(Process::Parent)
        }
    }
}

/// The child says a name and goes on, or ends without.
fn wait(pipe: File, child: Pid) -> Result<u8> {
    let name = io::read_to_string(pipe).context("waiting for the guest")?;
    if !name.is_empty() {
        io::stdout().write_all(name.as_bytes()).context("writing to stdout")?;
        return Ok(0);
    }
    // It has told the user why.
    match waitpid(child, None).context("waiting for the launcher")? {
        WaitStatus::Exited(_, status) => Ok(u8::try_from(status)?),
        WaitStatus::Signaled(_, signal, _) => {
            anyhow::bail!("the launcher died of {signal}");
        }
        status => anyhow::bail!("the launcher: {status:?}"),
    }
}

impl Parent {
    /// The guest of this name runs: let the user go. What would hold up somebody who
    /// reads our output to its end is closed, and so is all that was open when lguest
    /// was started; messages still go to a stderr that is a file.
    ///
    /// # Errors
    /// When the user did not wait.
    pub(crate) fn let_go(self, name: &Name, inherited: &mut Inherited) -> Result<()> {
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
