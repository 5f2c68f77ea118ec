//! Frames from the init of a guest that runs a command: the command's output goes to the launcher's
//! stdout and stderr, and its status becomes the launcher's. A separate thread reads the console's
//! ring and blocks in write(2). It reports to the guest how much has been written, and the guest
//! sends no more than [`OUTPUT_WINDOW`](lguest_init::frame::OUTPUT_WINDOW) ahead of that. So a slow
//! reader holds up the command, and not the guest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use devices::log_interval::LogInterval;
use devices::number::clamped_u32;
use devices::threads;
use host::exit::Exit;
use host::input::InputPipe;
use host::output::{OutputRing, Reader, ReaderRole};
use host::stdin;
use host::terminal::Terminal;
use host::writer::{self, OutputWriter, Screen};
use lguest_init::frame::{FromGuest, Parser, VERSION};
use nix::errno::Errno;

use super::link::{CommandStdin, InitLink};
use crate::ending::Ending;

/// How many bytes of output are written before the guest gets a report.
const REPORT_AFTER: u32 = 64 << 10;

/// Start the threads that carry the command's streams between a console, which has this output and
/// this input, and the launcher's stdin, stdout and stderr.
///
/// # Errors
/// When the host has no descriptor or thread left.
pub(crate) fn connect(
    output: &OutputRing,
    input: &Arc<InputPipe>,
    link: &Arc<InitLink>,
    exit: &Arc<Exit<Ending>>,
    terminal: Option<&Terminal>,
) -> Result<OutputWriter> {
    let duplicate = |stream: BorrowedFd<'_>| {
        stream.try_clone_to_owned().context("duplicating stdout and stderr")
    };
    let reader = output.reader(ReaderRole::Writer);
    let id = reader.id();
    let body = ExecOutput {
        reader,
        input: Arc::clone(input),
        link: Arc::clone(link),
        exit: Arc::clone(exit),
        stdout: OutputStream::new("stdout", duplicate(io::stdout().as_fd())?, terminal),
        stderr: OutputStream::new("stderr", duplicate(io::stderr().as_fd())?, None),
        unreported: 0,
    };
    threads::start("exec-out", move || body.run()).context("starting the thread of --exec")?;
    stdin::start_for(CommandStdin::new(link, input), exit, terminal)?;
    Ok(OutputWriter::beside(output, id, "stdout"))
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

/// The state of the thread.
struct ExecOutput {
    reader: Reader,
    input: Arc<InputPipe>,
    link: Arc<InitLink>,
    exit: Arc<Exit<Ending>>,
    stdout: OutputStream,
    stderr: OutputStream,
    /// How many bytes have been written since the last report to the guest.
    unreported: u32,
}

impl ExecOutput {
    /// Read frames until the console's output ends.
    fn run(mut self) {
        let (mut chunk, mut parser, mut broken) = (Vec::new(), Parser::default(), false);
        while self.reader.take(&mut chunk) {
            if broken {
                continue;
            }
            let mut frames = Vec::new();
            let parsed = parser.push(&chunk, |frame| frames.push(frame));
            frames.into_iter().for_each(|frame| self.hear(frame));
            if let Err(what) = parsed {
                broken = true;
                let what = format!("the guest sent {what} where its command's output was expected");
                self.exit.end(Ending::Failed(what));
            }
        }
        self.stdout.finish();
    }

    fn hear(&mut self, frame: FromGuest) {
        match frame {
            FromGuest::Ready(VERSION) => self.link.open(&self.input),
            FromGuest::Ready(version) => {
                let what = format!("the guest's init speaks version {version}, lguest {VERSION}");
                self.exit.end(Ending::Failed(what));
            }
            FromGuest::Stdout(bytes) => {
                self.stdout.write(&bytes);
                self.written(bytes.len());
            }
            FromGuest::Stderr(bytes) => {
                self.stderr.write(&bytes);
                self.written(bytes.len());
            }
            FromGuest::Taken(count) => self.link.taken(count),
            FromGuest::Ended(status) => self.exit.end(Ending::Exited(status)),
            FromGuest::Failed(why) => self.exit.end(Ending::Failed(why)),
        }
    }

    fn written(&mut self, count: usize) {
        // The reader of the stream is there, however long it took.
        self.reader.progress();
        self.unreported = self.unreported.saturating_add(clamped_u32(count as u64));
        if self.unreported >= REPORT_AFTER {
            self.link.written(&self.input, std::mem::take(&mut self.unreported));
        }
    }
}

#[cfg(test)]
mod tests;
