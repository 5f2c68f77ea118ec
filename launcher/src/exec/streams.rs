//! What the init of a guest that runs a command says, in frames: the command's output goes to
//! our stdout and stderr, its status becomes ours. A thread of its own reads the console's
//! ring and blocks in write(2); what has been written is told to the guest, which sends no
//! more than [`OUTPUT_WINDOW`](lguest_init::frame::OUTPUT_WINDOW) ahead of that. So a slow
//! reader holds up the command, and not the guest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use devices::log_interval::LogInterval;
use devices::threads;
use host::exit::Exit;
use host::input::Input;
use host::output::{Output, Reader, Role};
use host::stdin;
use host::terminal::Terminal;
use host::writer::{self, Screen, Writer};
use lguest_init::frame::{FromGuest, Parser, VERSION};
use nix::errno::Errno;

use super::link::{Link, Stdin};
use crate::ending::Ending;

/// After so much output has been written, the guest gets a report of it.
const WORTH_TELLING: u32 = 64 << 10;

/// Start the threads that carry the command's streams between a console, which has this output
/// and this input, and our stdin, stdout and stderr.
///
/// # Errors
/// When the host has no descriptor or thread to spare.
pub(crate) fn connect(
    output: &Output,
    input: &Arc<Input>,
    link: &Arc<Link>,
    exit: &Arc<Exit<Ending>>,
    terminal: Option<&Terminal>,
) -> Result<Writer> {
    let duplicate = |stream: BorrowedFd<'_>| {
        stream.try_clone_to_owned().context("duplicating stdout and stderr")
    };
    let reader = output.reader(Role::Writer);
    let id = reader.id();
    let body = Body {
        reader,
        input: Arc::clone(input),
        link: Arc::clone(link),
        exit: Arc::clone(exit),
        stdout: Stream::new("stdout", duplicate(io::stdout().as_fd())?, terminal),
        stderr: Stream::new("stderr", duplicate(io::stderr().as_fd())?, None),
        untold: 0,
    };
    threads::start("exec-out", move || body.run()).context("starting the thread of --exec")?;
    stdin::start_for(Stdin::new(link, input), exit, terminal)?;
    Ok(Writer::beside(output, id, "stdout"))
}

/// One of our streams.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    file: OwnedFd,
    /// What has been set on the terminal, if it is one that the command has.
    screen: Option<Screen>,
    /// What went wrong last.
    failing: Option<Errno>,
    /// How often that is logged.
    interval: LogInterval,
}

impl Stream {
    /// The command's terminal is this one, if it has one.
    fn new(name: &'static str, file: OwnedFd, terminal: Option<&Terminal>) -> Self {
        let screen = terminal.and_then(|_| Screen::of(file.as_fd(), terminal));
        Self { name, file, screen, failing: None, interval: LogInterval::default() }
    }

    /// Write all of it, or tell once that it cannot be written. The command goes on without.
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

    /// Give back the terminal's screen.
    fn finish(&mut self) {
        let undo = self.screen.as_mut().map(Screen::undo).unwrap_or_default();
        self.write(&undo);
    }
}

/// What the thread has.
struct Body {
    reader: Reader,
    input: Arc<Input>,
    link: Arc<Link>,
    exit: Arc<Exit<Ending>>,
    stdout: Stream,
    stderr: Stream,
    /// How much has been written since the last report to the guest.
    untold: u32,
}

impl Body {
    /// Until the guest has said its last.
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
        // The reader is there, however long it took.
        self.reader.progress();
        self.untold = self.untold.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.untold >= WORTH_TELLING {
            self.link.written(&self.input, std::mem::take(&mut self.untold));
        }
    }
}

#[cfg(test)]
mod tests;
