//! Passes on the input and output of the command until it has ended. The console's frames
//! ([`crate::port`]) are on one side, pipes or a terminal on the other. There is one thread, which
//! sleeps only in poll(2). A command that does not read delays nothing but its own input.

mod output;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use lguest_init::frame::{FromGuest, OUTPUT_WINDOW, ToGuest};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::command::Command;
use crate::port::Port;
use crate::{Result, sys};
use output::Output;

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

/// Both directions, and the status of the command.
struct Relay {
    pid: Pid,
    ended: SignalFd,
    status: Option<u8>,
    input: Input,
    outputs: [Output; 2],
    /// How many bytes of output may be sent.
    credit: u32,
    terminal: Option<OwnedFd>,
}

/// Runs until the command has ended and everything that it had written by then is sent. Returns the
/// command's exit status.
///
/// # Errors
/// The console to the launcher fails.
pub(crate) fn relay(command: Command, port: &mut Port) -> Result<u8> {
    let Command { pid, stdin, stdout, stderr, ended, terminal } = command;
    let mut relay = Relay {
        pid,
        ended,
        status: None,
        input: Input { file: Some(stdin), bytes: Vec::new(), ended: false, taken: 0 },
        outputs: [
            Output::new(Some(stdout), FromGuest::Stdout),
            Output::new(stderr, FromGuest::Stderr),
        ],
        credit: OUTPUT_WINDOW,
        terminal,
    };
    loop {
        relay.reap();
        if let Some(status) = relay.status
            && relay.outputs.iter().all(Output::has_ended)
        {
            return Ok(status);
        }
        relay.step(port)?;
    }
}

impl Relay {
    /// Sleeps until there is something to do, and does it.
    fn step(&mut self, port: &mut Port) -> Result<()> {
        let none = PollFlags::empty();
        let (readable, writable) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        // When the command has ended, read without waiting for more.
        let last = self.status.is_some() && self.credit > 0;
        let (heard, written) = {
            let mut fds = vec![
                PollFd::new(port.as_fd(), readable),
                PollFd::new(self.ended.as_fd(), readable),
            ];
            let input = self.input.file.as_ref().filter(|_| !self.input.bytes.is_empty());
            let input = input.map(|file| PollFd::new(file.as_fd(), writable));
            let outputs = self.outputs.iter().filter_map(Output::file).filter(|_| self.credit > 0);
            let writes = input.is_some();
            fds.extend(input);
            fds.extend(outputs.map(|file| PollFd::new(file.as_fd(), readable)));
            let timeout = if last { PollTimeout::ZERO } else { PollTimeout::NONE };
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(format!("waiting: {error}")),
            }
            let is_ready = |index: usize| {
                fds.get(index).and_then(PollFd::revents).is_some_and(|events| events != none)
            };
            (is_ready(0), writes && is_ready(2))
        };
        if heard {
            self.hear(port)?;
        }
        if written {
            self.input.write();
        }
        for output in &mut self.outputs {
            output.send(port, &mut self.credit, self.status.is_some())?;
        }
        self.input.tell(port)
    }

    fn hear(&mut self, port: &mut Port) -> Result<()> {
        let Self { input, credit, terminal, .. } = self;
        port.hear(|frame| match frame {
            ToGuest::Stdin(bytes) => {
                input.bytes.extend(bytes);
                input.write();
            }
            ToGuest::StdinEnd => {
                input.ended = true;
                input.write();
            }
            ToGuest::Window { columns, rows } => {
                if let Some(terminal) = terminal {
                    sys::set_window(terminal, columns, rows);
                }
            }
            ToGuest::Written(count) => *credit = credit.saturating_add(count).min(OUTPUT_WINDOW),
        })
    }

    /// Waits for processes that have ended. All orphans become children of the first process.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.ended.read_signal() {}
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) if pid == self.pid => {
                    self.end(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => {
                    self.end(128 | u8::try_from(signal as i32).unwrap_or(0));
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn end(&mut self, status: u8) {
        self.status = Some(status);
        for output in &mut self.outputs {
            output.take_the_rest();
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

    /// Reports the bytes that were taken, so that the host may send as many again.
    fn tell(&mut self, port: &mut Port) -> Result<()> {
        match std::mem::take(&mut self.taken) {
            0 => Ok(()),
            taken => port.say(&FromGuest::Taken(taken)),
        }
    }
}
