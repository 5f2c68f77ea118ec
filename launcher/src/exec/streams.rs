//! Frames from the init of a guest that runs commands. A thread reads the console's ring and sorts
//! the frames by command. Another one writes the output of the launch's own command to the
//! launcher's stdout and stderr, and blocks in write(2); the command's status becomes the
//! launcher's. It reports to the guest how much has been written, and the guest sends no more than
//! [`OUTPUT_WINDOW`](lguest_init::frame::OUTPUT_WINDOW) ahead of that. So a slow reader holds up its
//! command, and nothing else in the guest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use devices::log_interval::LogInterval;
use devices::threads;
use host::exit::Exit;
use host::output::{OutputRing, Reader, ReaderRole};
use host::stdin;
use host::terminal::Terminal;
use host::writer::{self, OutputWriter, Screen};
use lguest_init::frame::{FromCommand, FromGuest, Parser, VERSION};
use nix::errno::Errno;

use super::link::{InitLink, LinkedCommand, Overrun};
use super::stdin::CommandStdin;
use crate::ending::Ending;

/// Start the thread that receives frames of an agent, on a console with this output.
///
/// # Errors
/// When the host has no thread left.
pub(crate) fn receive(
    output: &OutputRing,
    link: &Arc<InitLink>,
    exit: &Arc<Exit<Ending>>,
) -> Result<()> {
    let mut body = LinkReader::new(output.reader(ReaderRole::Writer), link, exit);
    threads::start("exec-link", move || body.run()).context("starting the thread of --agent")?;
    Ok(())
}

/// Start the threads that carry the streams of the launch's command between a console, which has
/// this output, and the launcher's stdin, stdout and stderr.
///
/// # Errors
/// When the host has no descriptor or thread left.
pub(crate) fn connect(
    output: &OutputRing,
    link: &Arc<InitLink>,
    exit: &Arc<Exit<Ending>>,
    terminal: Option<&Terminal>,
) -> Result<OutputWriter> {
    let duplicate = |stream: BorrowedFd<'_>| {
        stream.try_clone_to_owned().context("duplicating stdout and stderr")
    };
    let command = Arc::new(link.first_command());
    let mut body = ExecOutput {
        command: Arc::clone(&command),
        exit: Arc::clone(exit),
        stdout: OutputStream::new("stdout", duplicate(io::stdout().as_fd())?, terminal),
        stderr: OutputStream::new("stderr", duplicate(io::stderr().as_fd())?, None),
    };
    let reader = output.reader(ReaderRole::Writer);
    let writer = OutputWriter::beside(output, reader.id(), "stdout");
    let mut receiver = LinkReader::new(reader, link, exit);
    let writing = threads::start("exec-out", move || body.run());
    let writing = writing.context("starting the thread of --exec")?;
    let run = move || {
        receiver.run();
        // The ring's reader leaves when all is written. The thread has no code that panics.
        let _ = writing.join();
    };
    threads::start("exec-link", run).context("starting the thread of --exec")?;
    stdin::start_for(CommandStdin::new(&command), exit, terminal)?;
    Ok(writer)
}

/// The launcher's stdout or stderr.
#[derive(Debug)]
struct OutputStream {
    name: &'static str,
    file: OwnedFd,
    /// What the command has set on the terminal, if it has the terminal.
    screen: Option<Screen>,
    /// The last error.
    failing: Option<Errno>,
    /// Limits how often an error is logged.
    interval: LogInterval,
}

impl OutputStream {
    /// The stream is the command's terminal if there is a `terminal`.
    fn new(name: &'static str, file: OwnedFd, terminal: Option<&Terminal>) -> Self {
        let screen = terminal.and_then(|_| Screen::of(file.as_fd(), terminal));
        Self { name, file, screen, failing: None, interval: LogInterval::default() }
    }

    /// Write all bytes, or log once that they cannot be written. The command continues without its
    /// output.
    fn write(&mut self, mut bytes: &[u8]) {
        if let Some(Errno::EPIPE | Errno::EIO) = self.failing {
            return;
        }
        while !bytes.is_empty() {
            match writer::write_some(self.file.as_fd(), bytes) {
                Ok(written) => {
                    let (done, rest) = bytes.split_at_checked(written).unwrap_or((bytes, &[]));
                    self.screen.iter_mut().for_each(|screen| screen.watch(done));
                    bytes = rest;
                    self.failing = None;
                }
                Err(error) => return self.fails(error),
            }
        }
    }

    fn fails(&mut self, error: Errno) {
        if self.failing.replace(error) != Some(error) && self.interval.is_due(Instant::now()) {
            let (name, error) = (self.name, io::Error::from(error));
            log::warn!("writing to {name}: {error}: output is lost");
        }
    }

    /// Restore the terminal's screen.
    fn finish(&mut self) {
        let undo = self.screen.as_mut().map(Screen::undo).unwrap_or_default();
        self.write(&undo);
    }
}

/// The state of the thread that writes.
struct ExecOutput {
    command: Arc<LinkedCommand>,
    exit: Arc<Exit<Ending>>,
    stdout: OutputStream,
    stderr: OutputStream,
}

impl ExecOutput {
    /// Write until the guest has sent its last frame.
    fn run(&mut self) {
        let mut unreported = 0;
        while let Some(frame) = self.command.next_output() {
            match frame {
                FromCommand::Stdout(bytes) => {
                    self.stdout.write(&bytes);
                    self.command.written(bytes.len(), &mut unreported);
                }
                FromCommand::Stderr(bytes) => {
                    self.stderr.write(&bytes);
                    self.command.written(bytes.len(), &mut unreported);
                }
                FromCommand::Ended(status) => self.exit.end(Ending::Exited(status)),
                FromCommand::NotStarted(why) => self.exit.end(Ending::Failed(why)),
                FromCommand::Taken(_) => {}
            }
        }
        self.stdout.finish();
    }
}

/// The state of the thread that receives frames.
struct LinkReader {
    reader: Reader,
    link: Arc<InitLink>,
    exit: Arc<Exit<Ending>>,
}

impl LinkReader {
    fn new(reader: Reader, link: &Arc<InitLink>, exit: &Arc<Exit<Ending>>) -> Self {
        Self { reader, link: Arc::clone(link), exit: Arc::clone(exit) }
    }

    /// Receive frames until the console's output ends.
    fn run(&mut self) {
        let (mut chunk, mut parser, mut is_broken) = (Vec::new(), Parser::default(), false);
        while self.reader.take(&mut chunk) {
            if let Some(old) = self.link.old_bytes(chunk.len(), self.reader.position()) {
                chunk.drain(..old);
                (parser, is_broken) = (Parser::default(), false);
            }
            if is_broken {
                continue;
            }
            let mut frames = Vec::new();
            let parsed = parser.push(&chunk, |frame| frames.push(frame));
            let received = frames.into_iter().try_for_each(|frame| self.receive(frame));
            let parsed = parsed.map_err(|what| what.to_string());
            if let Err(what) = received.and(parsed) {
                is_broken = true;
                self.fail(format!("the guest sent {what} where its command's output was expected"));
            }
        }
        self.link.close();
    }

    /// End the guest, unless the command's end has decided already.
    fn fail(&self, why: String) {
        if !self.link.is_decided() {
            self.exit.end(Ending::Failed(why));
        }
    }

    fn receive(&self, frame: FromGuest) -> Result<(), String> {
        match frame {
            FromGuest::Hello(VERSION) => self.link.greet(),
            FromGuest::Hello(version) => {
                self.fail(format!("the guest's init speaks version {version}, lguest {VERSION}"));
            }
            FromGuest::Ready => {
                self.link.be_ready();
                // The main thread may have to save the guest.
                self.exit.wake();
            }
            FromGuest::Failed(why) => self.fail(why),
            FromGuest::Command(id, frame) => {
                let received = self.link.receive(id, frame);
                received.map_err(|Overrun| "more output than it was granted".to_string())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
