//! One command that runs: both directions, and its status.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use lguest_init::frame::{CommandId, FromCommand, FromGuest, OUTPUT_WINDOW, ToCommand};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::output::Output;
use crate::command::Command;
use crate::port::Port;
use crate::{Result, sys};

/// The input that is on its way to the command.
#[derive(Debug)]
struct Input {
    /// `None` if the input has ended, or if the command has closed its end.
    file: Option<File>,
    bytes: Vec<u8>,
    /// Whether the host has sent the end of the input.
    ended: bool,
    /// How many bytes were taken that have not been reported to the host.
    taken: u32,
}

/// A command that runs, or whose last output is not sent yet.
#[derive(Debug)]
pub(super) struct RunningCommand {
    id: CommandId,
    pid: Pid,
    status: Option<u8>,
    input: Input,
    outputs: [Output; 2],
    /// How many bytes of output may be sent.
    credit: u32,
    /// Whether the reader of the output has left, and the output is discarded.
    is_left: bool,
    terminal: Option<OwnedFd>,
}

impl RunningCommand {
    pub(super) fn new(id: CommandId, command: Command) -> Self {
        let Command { pid, stdin, stdout, stderr, terminal } = command;
        let outputs = [
            Output::new(Some(stdout), FromCommand::Stdout),
            Output::new(stderr, FromCommand::Stderr),
        ];
        let input = Input { file: Some(stdin), bytes: Vec::new(), ended: false, taken: 0 };
        Self {
            id,
            pid,
            status: None,
            input,
            outputs,
            credit: OUTPUT_WINDOW,
            is_left: false,
            terminal,
        }
    }

    /// The streams to poll: those that have something for the launcher, or may have room for more
    /// input.
    pub(super) fn streams(&self) -> Vec<PollFd<'_>> {
        let input = self.input.file.as_ref().filter(|_| !self.input.bytes.is_empty());
        let input = input.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLOUT));
        let outputs = self.outputs.iter().filter_map(Output::file).filter(|_| self.credit > 0);
        let outputs = outputs.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
        input.into_iter().chain(outputs).collect()
    }

    /// Whether the command has ended, and has written something that may be sent.
    pub(super) fn has_rest(&self) -> bool {
        self.status.is_some() && self.credit > 0
    }

    /// Whether the command's own process has this number.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == pid && self.status.is_none()
    }

    /// The process has ended. What it has written is still to be sent.
    pub(super) fn note_end(&mut self, status: u8) {
        self.status = Some(status);
        for output in &mut self.outputs {
            output.take_the_rest();
        }
    }

    /// The status, when the command has ended and everything that it had written by then is sent.
    pub(super) fn end(&self) -> Option<u8> {
        self.status.filter(|_| self.outputs.iter().all(Output::has_ended))
    }

    /// Takes a frame for this command.
    pub(super) fn hear(&mut self, frame: ToCommand) {
        let Self { input, credit, terminal, .. } = self;
        match frame {
            // These belong to a command that has not started.
            ToCommand::Archive(_) | ToCommand::Order(_) | ToCommand::Start => {}
            ToCommand::Stdin(bytes) => input.bytes.extend(bytes),
            ToCommand::StdinEnd => input.ended = true,
            ToCommand::Window { columns, rows } => {
                if let Some(terminal) = terminal {
                    sys::set_window(terminal, columns, rows);
                }
            }
            ToCommand::Written(count) => *credit = credit.saturating_add(count).min(OUTPUT_WINDOW),
            ToCommand::HangUp => self.hang_up(),
        }
    }

    /// Tells the command that nobody is there any more. It leads a session, and its group has its
    /// number.
    fn hang_up(&mut self) {
        if self.status.is_none() {
            // A command that ignores the signal continues.
            let _ = killpg(self.pid, Signal::SIGHUP);
        }
        self.input.ended = true;
        (self.is_left, self.credit) = (true, OUTPUT_WINDOW);
    }

    /// Passes on what there is, in both directions.
    pub(super) fn pass_on(&mut self, port: &mut Port) -> Result<()> {
        self.input.write();
        for output in &mut self.outputs {
            let to = (!self.is_left).then_some((&mut *port, self.id));
            output.send(to, &mut self.credit, self.status.is_some())?;
        }
        if self.is_left {
            self.credit = OUTPUT_WINDOW;
        }
        match std::mem::take(&mut self.input.taken) {
            0 => Ok(()),
            // The host may send as many again.
            taken => port.say(&FromGuest::Command(self.id, FromCommand::Taken(taken))),
        }
    }
}

impl Input {
    /// Writes as much input to the command as there is room for.
    fn write(&mut self) {
        while let Some(file) = &mut self.file
            && !self.bytes.is_empty()
        {
            match file.write(&self.bytes) {
                Ok(count) => self.take(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The command has closed its stdin.
                Err(_) => self.file = None,
            }
        }
        if self.file.is_none() {
            self.take(self.bytes.len());
        }
        if self.ended {
            self.file = None;
        }
    }

    fn take(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        self.taken = self.taken.saturating_add(u32::try_from(count).unwrap_or(0));
    }
}
