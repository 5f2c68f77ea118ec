//! `lguest console`: this terminal at a console of a guest that runs. Two threads:
//! what the guest prints goes to stdout, what is typed goes to the guest; the main
//! thread waits for the end, as in a launch. Called by `main`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::escape::{Escape, Keys, Typed};
use super::frame::Frame;
use crate::exit::{Ending, Exit};
use crate::messages;
use crate::privilege::Confinement;
use crate::signals::Signals;
use crate::stdin::keys;
use crate::terminal::{self, Terminal, Tty};

/// As the launcher's stdin thread's.
const STACK: usize = 128 << 10;

/// What is read from a file or pipe at once.
const CHUNK: usize = 1 << 14;

/// A connection on which `attach` has been answered, from the first frame on.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The guest's name, and the console's number.
    pub(crate) what: String,
    pub(crate) stream: BufReader<UnixStream>,
    pub(crate) escape: Escape,
    /// Nothing is typed.
    pub(crate) watching: bool,
    /// What the guest was told of the window: columns and rows.
    pub(crate) size: Option<(u16, u16)>,
}

/// What has to be there before the connection: no thread yet, and nothing touched.
#[derive(Debug)]
pub(crate) struct Seat {
    signals: Signals,
    terminal: Option<Terminal>,
}

impl Seat {
    /// This terminal, if stdin is one.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn prepare() -> Result<Self> {
        let signals = Signals::block()?;
        Ok(Self { signals, terminal: Terminal::on_stdin(&Confinement::default())? })
    }

    /// Stay until the user leaves, or has to.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(crate) fn stay(self, attached: Attached) -> Result<Ending> {
        let Self { signals, terminal } = self;
        let Attached { what, stream, escape, watching, mut size } = attached;
        let exit = Arc::new(Exit::new()?);
        let to_guest = Arc::new(stream.get_ref().try_clone().context("duplicating a socket")?);
        if let Some(terminal) = &terminal {
            terminal.enter()?;
        }
        let leave = escape.name().map(|key| format!("; {key} leaves")).unwrap_or_default();
        let watching_only = if watching { ", looking on" } else { "" };
        messages::say(&format!("attached to {what}{watching_only}{leave}"));
        start("output", &exit, {
            let exit = Arc::clone(&exit);
            move || print(stream, &exit)
        })?;
        start("keys", &exit, {
            let (exit, to_guest) = (Arc::clone(&exit), Arc::clone(&to_guest));
            let tty = terminal.as_ref().map(Terminal::tty);
            move || type_in(tty.as_deref(), escape, &to_guest, &exit)
        })?;
        let ending = signals.wait(&exit, terminal.as_ref(), None, || {
            let now = terminal::size();
            if let Some((columns, rows)) = now.filter(|_| now != size && !watching) {
                size = now;
                // Who reads it notices if the connection is gone.
                let _ = Frame::Size(rows, columns).write_to(&*to_guest);
            }
        });
        if let Some(terminal) = &terminal {
            terminal.leave();
        }
        Ok(ending.unwrap_or(Ending::Detached))
    }
}

/// A thread whose failure ends the stay.
fn start(
    name: &str,
    exit: &Arc<Exit>,
    body: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let exit = Arc::clone(exit);
    let body = move || {
        if let Err(error) = body() {
            exit.end(Ending::Failed(format!("the connection to the guest: {error}")));
        }
    };
    let thread = thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body);
    thread.with_context(|| format!("starting the thread {name}"))?;
    Ok(())
}

/// What the guest prints.
fn print(mut stream: impl Read, exit: &Exit) -> io::Result<()> {
    let mut stdout = io::stdout();
    loop {
        match Frame::read_from(&mut stream)? {
            Some(Frame::Data(bytes)) => {
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
            Some(Frame::Dropped(count)) => {
                messages::say(&format!("{count} bytes of the guest's output are lost"));
            }
            Some(Frame::End(status, why)) => {
                exit.end(Ending::SentAway(status, why));
                return Ok(());
            }
            Some(Frame::Size(..)) => {}
            None => {
                exit.end(Ending::Failed("the guest's launcher has ended".into()));
                return Ok(());
            }
        }
    }
}

/// What is typed, or comes from a file or pipe, whose end is not the end.
fn type_in(
    tty: Option<&Tty>,
    escape: Escape,
    mut guest: &UnixStream,
    exit: &Exit,
) -> io::Result<()> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(tty) = tty else {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = match stdin.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            Frame::Data(buffer.get(..count).unwrap_or_default().to_vec()).write_to(&mut guest)?;
        }
    };
    let (mut keys, mut failed) = (Keys::new(escape), None);
    let mut send = |bytes: Vec<u8>| {
        if !bytes.is_empty()
            && let Err(error) = Frame::Data(bytes).write_to(&mut guest)
        {
            failed = Some(error);
        }
    };
    keys::read(stdin, tty, |typed| -> Option<Duration> {
        match keys.typed(typed) {
            Typed::Keys(bytes) => send(bytes),
            Typed::Wait(bytes, patience) => {
                send(bytes);
                return Some(patience);
            }
            Typed::Leave(bytes) => {
                send(bytes);
                exit.end(Ending::Detached);
            }
        }
        None
    });
    match failed {
        // The other thread says it better.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Some(error) => Err(error),
        None => {
            exit.end(Ending::Detached);
            Ok(())
        }
    }
}

/// The answer to a request, before the first frame.
///
/// # Errors
/// Those of the connection.
pub(crate) fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}
