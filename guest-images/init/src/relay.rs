//! Starts commands, and passes on their input and output until the last one has ended. The console's
//! frames ([`crate::port`]) are on one side, pipes or a terminal of each command on the other. There
//! is one thread, which sleeps only in poll(2). A command that does not read delays nothing but its
//! own input.

mod output;
mod running;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use lguest_init::frame::{CommandId, FromCommand, FromGuest, ToCommand, ToGuest};
use lguest_init::order::CommandOrder;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_settime};
use nix::unistd::Pid;

use crate::kernel_words::KernelWords;
use crate::port::Port;
use crate::unpack::Unpacker;
use crate::{Result, command, sys};
use running::RunningCommand;

/// The console to the launcher, and all commands.
pub(crate) struct Relay {
    port: Port,
    /// Archives of commands that have not started.
    archives: BTreeMap<CommandId, Unpacker>,
    /// Orders that are not complete yet.
    orders: BTreeMap<CommandId, Vec<u8>>,
    commands: BTreeMap<CommandId, RunningCommand>,
    /// The command with whose end the init's work is done.
    last: Option<CommandId>,
}

impl Relay {
    pub(crate) fn new(port: Port) -> Self {
        let (archives, orders, commands) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { port, archives, orders, commands, last: None }
    }

    /// Sends a frame to the launcher.
    ///
    /// # Errors
    /// The console fails.
    pub(crate) fn say(&mut self, frame: &FromGuest) -> Result<()> {
        self.port.say(frame)
    }

    /// Runs commands until the last one has ended, or cannot be started. Returns the frame that says
    /// so.
    ///
    /// # Errors
    /// The console to the launcher fails.
    pub(crate) fn run(&mut self, words: &KernelWords, root: Option<&Path>) -> Result<FromGuest> {
        let ended = children().map_err(|error| format!("listening for commands' ends: {error}"))?;
        loop {
            if let Some(end) = self.step(&ended, words, root)? {
                return Ok(end);
            }
        }
    }

    /// Does what there is to do, after sleeping until there is something. Returns the last frame.
    fn step(
        &mut self,
        ended: &SignalFd,
        words: &KernelWords,
        root: Option<&Path>,
    ) -> Result<Option<FromGuest>> {
        if let Some(end) = self.report_ends(ended)? {
            return Ok(Some(end));
        }
        let frames = if self.wait(ended)? { self.hear()? } else { Vec::new() };
        for frame in frames {
            if let Some(end) = self.act(frame, words, root)? {
                return Ok(Some(end));
            }
        }
        for running in self.commands.values_mut() {
            running.pass_on(&mut self.port)?;
        }
        Ok(None)
    }

    /// Sleeps until there is something to do. Returns whether the launcher has sent something.
    fn wait(&self, ended: &SignalFd) -> Result<bool> {
        let (none, readable) = (PollFlags::empty(), PollFlags::POLLIN);
        let own = [PollFd::new(self.port.as_fd(), readable), PollFd::new(ended.as_fd(), readable)];
        let streams = self.commands.values().flat_map(RunningCommand::streams);
        let mut fds: Vec<_> = own.into_iter().chain(streams).collect();
        // The output of a command that has ended is read without waiting for more.
        let is_last_look = self.commands.values().any(RunningCommand::has_rest);
        let timeout = if is_last_look { PollTimeout::ZERO } else { PollTimeout::NONE };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("waiting: {error}")),
        }
        Ok(fds.first().and_then(PollFd::revents).is_some_and(|events| events != none))
    }

    fn hear(&mut self) -> Result<Vec<ToGuest>> {
        let mut frames = Vec::new();
        self.port.hear(|frame| frames.push(frame))?;
        Ok(frames)
    }

    /// Does what a frame says. Returns a last frame if the last command cannot be started.
    fn act(
        &mut self,
        frame: ToGuest,
        words: &KernelWords,
        root: Option<&Path>,
    ) -> Result<Option<FromGuest>> {
        match frame {
            ToGuest::Restored { seconds, nanoseconds, seed } => {
                let time = TimeSpec::from_duration(Duration::new(seconds, nanoseconds));
                // The kernel's own clock and random numbers have to do if it refuses.
                let _ = clock_settime(ClockId::CLOCK_REALTIME, time);
                let _ = sys::reseed(seed);
            }
            ToGuest::Command(id, ToCommand::Archive(bytes)) => {
                self.archives.entry(id).or_default().push(&bytes);
            }
            ToGuest::Command(id, ToCommand::Order(bytes)) => {
                self.orders.entry(id).or_default().extend(bytes);
            }
            ToGuest::Command(id, ToCommand::Start) => return self.start(id, words, root),
            ToGuest::Command(id, frame) => {
                if let Some(command) = self.commands.get_mut(&id) {
                    command.hear(frame);
                }
            }
        }
        Ok(None)
    }

    /// Starts a command whose order is complete.
    fn start(
        &mut self,
        id: CommandId,
        words: &KernelWords,
        root: Option<&Path>,
    ) -> Result<Option<FromGuest>> {
        let order = self.orders.remove(&id).unwrap_or_default();
        let unpacked = self.archives.remove(&id).map_or(Ok(()), Unpacker::finish);
        let Some(order) = CommandOrder::from_bytes(&order) else {
            let why = "the order from the launcher is broken".into();
            self.port.say(&FromGuest::Command(id, FromCommand::NotStarted(why)))?;
            return Ok(None);
        };
        match unpacked.and_then(|()| command::start(&order, words, root)) {
            Ok(command) => {
                if order.is_last {
                    self.last = Some(id);
                }
                self.commands.insert(id, RunningCommand::new(id, command));
                Ok(None)
            }
            Err(why) => {
                let end = FromGuest::Command(id, FromCommand::NotStarted(why));
                if order.is_last {
                    return Ok(Some(end));
                }
                self.port.say(&end)?;
                Ok(None)
            }
        }
    }

    /// Reports the commands that have ended, and whose output has been sent. Returns the frame of the
    /// last one instead.
    fn report_ends(&mut self, ended: &SignalFd) -> Result<Option<FromGuest>> {
        self.reap(ended);
        let ends: Vec<_> =
            self.commands.iter().filter_map(|(id, command)| Some((*id, command.end()?))).collect();
        for (id, status) in ends {
            self.commands.remove(&id);
            let end = FromGuest::Command(id, FromCommand::Ended(status));
            if self.last == Some(id) {
                return Ok(Some(end));
            }
            self.port.say(&end)?;
        }
        Ok(None)
    }

    /// Waits for processes that have ended. All orphans become children of the first process.
    fn reap(&mut self, ended: &SignalFd) {
        while let Ok(Some(_)) = ended.read_signal() {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => {
                    self.note_end(pid, u8::try_from(status & 0xff).unwrap_or(u8::MAX));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.note_end(pid, 128 | u8::try_from(signal as i32).unwrap_or(0));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn note_end(&mut self, pid: Pid, status: u8) {
        let command = self.commands.values_mut().find(|command| command.is(pid));
        if let Some(command) = command {
            command.note_end(status);
        }
    }
}

/// A descriptor that is readable when a command, or one of the orphans, has ended.
fn children() -> nix::Result<SignalFd> {
    let ended = SigSet::from(Signal::SIGCHLD);
    ended.thread_block()?;
    SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
