//! Launchers that tests start: their signals, threads and statuses.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{fake_launcher, sleeps_in, until};

/// How long no thread may wake up in a launcher that rests: longer than the pause between two
/// checks of a launcher in the background, which makes four of them a second.
const STILL: Duration = Duration::from_millis(400);

/// The command for a fake launcher: this test binary, started again.
pub(crate) fn fake() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(fake_launcher::SWITCH, "1");
    command
}

/// The command of [`fake`] in a session of its own, whose controlling terminal is stdin.
pub(crate) fn fake_in_session() -> Command {
    let mut command = in_session(env::current_exe().unwrap());
    command.env(fake_launcher::SWITCH, "1");
    command
}

/// A command whose stdin becomes the controlling terminal of a new session.
pub(crate) fn in_session(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setsid");
    command.arg("-c").arg(program);
    command
}

/// A child process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(self.0.id())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// The exit status, as a shell reports it.
    #[track_caller]
    pub(crate) fn status(&mut self) -> i32 {
        until("the process ends", || !self.is_running());
        let status = self.0.wait().unwrap();
        status.code().or(status.signal().map(|signal| 128 + signal)).unwrap()
    }

    /// The names of the process's threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let names = tasks.flat_map(|task| fs::read_to_string(task.unwrap().path().join("comm")));
        names.map(|name| name.trim().to_string()).collect()
    }

    /// Whether the thread of this name sleeps in a system call.
    pub(crate) fn sleeps(&self, thread: &str) -> bool {
        sleeps_in(&Path::new("/proc").join(self.pid().to_string()), thread)
    }

    /// Wait until no thread of the process wakes up for a while. The absence of events cannot be
    /// waited for, and on a busy machine the process may take some time to come to rest.
    #[track_caller]
    pub(crate) fn until_it_rests(&self) {
        until("it sleeps on", || {
            let before = self.wake_ups();
            thread::sleep(STILL);
            self.wake_ups() == before
        });
    }

    /// How often the process's threads have woken up so far.
    fn wake_ups(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let states = tasks.flat_map(|task| fs::read_to_string(task.unwrap().path().join("status")));
        states.map(|state| field(&state, "voluntary_ctxt_switches:").unwrap_or(0)).sum()
    }

    /// How often the thread of this name has gone to sleep so far. `None` if no thread has this
    /// name.
    pub(crate) fn naps(&self, thread: &str) -> Option<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
        let name = format!("Name:\t{thread}\n");
        let mut states =
            tasks.flatten().flat_map(|task| fs::read_to_string(task.path().join("status")));
        field(&states.find(|state| state.starts_with(&name))?, "voluntary_ctxt_switches:")
    }

    /// The guard of the process's terminal.
    #[track_caller]
    pub(crate) fn guard(&self) -> Pid {
        let mut guards = Vec::new();
        until("it has a guard", || {
            guards = children(self.0.id(), "tty-guard");
            guards.len() == 1
        });
        guards[0]
    }

    pub(crate) fn has_children(&self) -> bool {
        !children(self.0.id(), "").is_empty()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a pipe or terminal takes nothing more at this end.
pub(crate) fn is_full(end: impl AsFd) -> bool {
    poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(0)
}

/// Whether a process exists. A zombie does not count.
pub(crate) fn exists(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap())
}

/// The children of a process whose names begin with `name`.
fn children(parent: u32, name: &str) -> Vec<Pid> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_meant = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.starts_with(&format!("Name:\t{name}"))
            && field(&status, "PPid:") == Some(parent.into())
    };
    numbers.filter(is_meant).map(pid_of).collect()
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
