//! `lguest console`: this terminal at a console of a guest that runs. What the guest
//! prints goes the way that it goes in a launch, by [`host::output`] and
//! [`host::writer`]; what is typed is read as in a launch ([`host::stdin`]) and goes
//! to the guest's launcher. The main thread waits for the end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use devices::mutex::lock;
use devices::threads;
use host::exit::Exit;
use host::messages;
use host::output::Output;
use host::privilege::Confinement;
use host::signals::Signals;
use host::stdin::escape::{Escape, Keys, Typed};
use host::stdin::{self, keys};
use host::terminal::{self, Terminal, Tty};
use host::writer::Writer;
use host::writer::last_words::{self, Patience};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::Frame;
use wire::frame::ENDED;

use super::stay::Stay;
use crate::launch;

/// A guest that takes nothing for so many milliseconds, with all room for it used, is not
/// reading: what is typed then is lost, except for the key that leaves.
const PATIENCE: u16 = 5000;

/// A connection on which `attach` has been answered, from the first frame on.
pub(super) struct Attached {
    /// The guest's name, and the console's number.
    pub(super) what: String,
    pub(super) stream: BufReader<UnixStream>,
    pub(super) escape: Escape,
    /// Nothing is typed.
    pub(super) watching: bool,
    /// The window's size that the guest knows: columns and rows.
    pub(super) size: Option<(u16, u16)>,
    /// What to do when the guest has ended, if not to leave.
    pub(super) again: Option<Again>,
}

/// A connection, before the first frame.
pub(super) type Admission = Result<BufReader<UnixStream>, Refused>;

/// Why there is no connection: the exit status, and a line.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u8,
    pub(super) text: String,
}

/// Wait for the next guest, and attach to it.
pub(super) type Again = Box<dyn FnMut() -> Result<Admission> + Send>;

/// What has to be there before any thread: nothing is touched yet.
#[derive(Debug)]
pub(super) struct Seat {
    signals: Signals,
    terminal: Option<Terminal>,
}

impl Seat {
    /// This terminal, if stdin is one.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(super) fn prepare() -> Result<Self> {
        let signals = Signals::block()?;
        Ok(Self { signals, terminal: Terminal::on_stdin(&Confinement::default())? })
    }

    /// Stay until the user leaves, or has to.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(super) fn stay(self, attached: Attached) -> Result<Stay> {
        let Self { signals, terminal } = self;
        let Attached { what, stream, escape, watching, mut size, again } = attached;
        let exit = Arc::new(Exit::new()?);
        let to_guest = Arc::new(ToGuest::new(&stream)?);
        let output = Output::new().context("creating an event of the output")?;
        let writer = Writer::to_stdout(&output, terminal.as_ref())?;
        launch::enter(terminal.as_ref(), !watching)?;
        let leave = escape.name().map(|key| format!("; {key} leaves")).unwrap_or_default();
        let watching_only = if watching { ", looking on" } else { "" };
        messages::say(&format!("attached to {what}{watching_only}{leave}"));
        start("output", {
            let (exit, to_guest) = (Arc::clone(&exit), Arc::clone(&to_guest));
            move || exit.end(print(stream, &output, &to_guest, again))
        })?;
        start("keys", {
            let (exit, to_guest) = (Arc::clone(&exit), Arc::clone(&to_guest));
            let tty = terminal.as_ref().map(Terminal::tty);
            move || type_in(tty.as_deref(), escape, &to_guest, &exit)
        })?;
        let stay = signals.wait(&exit, terminal.as_ref(), None, || {
            let now = terminal::size();
            if let Some((columns, rows)) = now.filter(|_| now != size && !watching)
                && to_guest.say(&Frame::Size(rows, columns), PollTimeout::ZERO)
            {
                size = now;
            }
        });
        let stay = stay.unwrap_or(Stay::Left);
        let patience = match stay {
            Stay::Left | Stay::Signal(_) => Patience::OnTerminal,
            Stay::SentAway(..) | Stay::Failed(_) => Patience::Unbounded,
        };
        let signal = last_words::finish(&[writer], &signals, terminal.as_ref(), patience);
        Ok(signal.map_or(stay, Stay::Signal))
    }
}

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    threads::start(name, body).with_context(|| format!("starting the thread {name}"))?;
    Ok(())
}

/// The way to the guest: to the present one.
struct ToGuest(Mutex<Arc<UnixStream>>);

impl ToGuest {
    fn new(stream: &BufReader<UnixStream>) -> Result<Self> {
        Ok(Self(Mutex::new(duplicate(stream)?)))
    }

    /// The guest is another one now.
    fn is_now(&self, stream: &BufReader<UnixStream>) -> Result<()> {
        *lock(&self.0) = duplicate(stream)?;
        Ok(())
    }

    /// Say it, if there is room for it in time. Who reads from the guest notices if the
    /// connection is gone.
    fn say(&self, frame: &Frame, patience: PollTimeout) -> bool {
        let lock = || lock(&self.0);
        // It is not waited under the lock: the main thread wants that, too.
        let now = Arc::clone(&lock());
        if !has_room(&now, patience) {
            return false;
        }
        let stream = lock();
        // If there is room still, a frame fits, and the write does not wait.
        let room = has_room(&stream, PollTimeout::ZERO);
        if room {
            let _ = frame.write_to(&**stream);
        }
        room
    }
}

/// Also of a connection that is gone, to which writing fails at once.
fn has_room(stream: &UnixStream, patience: PollTimeout) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    !matches!(poll(&mut fds, patience), Ok(0))
}

fn duplicate(stream: &BufReader<UnixStream>) -> Result<Arc<UnixStream>> {
    stream.get_ref().try_clone().map(Arc::new).context("duplicating a socket")
}

/// Pass on what the guest prints, and the next one after it if that is wanted; why there
/// is no more of it.
fn print(
    mut stream: BufReader<UnixStream>,
    output: &Output,
    to_guest: &ToGuest,
    mut again: Option<Again>,
) -> Stay {
    let mut sink = output.sink();
    loop {
        let stay = match print_next(&mut stream, &mut sink) {
            Ok(None) if output.is_left() => return Stay::Left,
            Ok(None) => continue,
            Ok(Some(stay)) => stay,
            Err(error) => Stay::Failed(format!("the connection to the guest: {error}")),
        };
        let Some(again) = again.as_mut().filter(|_| is_the_guests(&stay)) else { return stay };
        let why = stay.text();
        messages::say(&format!("{why}; waiting for the next guest of that name"));
        stream = match again() {
            Ok(Ok(stream)) => stream,
            Ok(Err(refused)) => return Stay::SentAway(refused.status, refused.text),
            Err(error) => return Stay::Failed(format!("{error:#}")),
        };
        if let Err(error) = to_guest.is_now(&stream) {
            return Stay::Failed(format!("{error:#}"));
        }
        messages::say("attached to it");
    }
}

/// Has the guest ended, or only our stay?
fn is_the_guests(stay: &Stay) -> bool {
    matches!(stay, Stay::SentAway(ENDED, _) | Stay::Failed(_))
}

fn print_next(stream: impl Read, mut out: impl Write) -> io::Result<Option<Stay>> {
    match Frame::read_from(stream)? {
        Some(Frame::Data(bytes)) => {
            out.write_all(&bytes)?;
            out.flush()?;
        }
        Some(Frame::Dropped(count)) => {
            messages::say(&format!("{count} bytes of the guest's output are lost"));
        }
        Some(Frame::End(status, why)) => return Ok(Some(Stay::SentAway(status, why))),
        Some(Frame::Size(..)) => return Err(io::Error::other("a frame that is not a launcher's")),
        None => return Ok(Some(Stay::Failed("the guest's launcher has ended".into()))),
    }
    Ok(None)
}

/// What is typed, or comes from a file or pipe, whose end is not the end. If the
/// connection is gone, the other thread says it.
fn type_in(tty: Option<&Tty>, escape: Escape, guest: &ToGuest, exit: &Exit<Stay>) {
    let stdin = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(stdin) => File::from(stdin),
        Err(error) => return exit.end(Stay::Failed(format!("duplicating stdin: {error}"))),
    };
    let Some(tty) = tty else {
        return stdin::copy(stdin, |bytes| {
            let frame = Frame::Data(bytes.to_vec());
            while !guest.say(&frame, PollTimeout::NONE) {}
            Ok(())
        });
    };
    let mut keys = Keys::new(escape);
    let mut reads = true;
    keys::read(stdin, tty, |typed| -> Option<Duration> {
        let (bytes, patience) = match keys.typed(typed) {
            Typed::Keys(bytes) => (bytes, None),
            Typed::Wait(bytes, patience) => (bytes, Some(patience)),
            Typed::Leave(bytes) => {
                exit.end(Stay::Left);
                (bytes, None)
            }
        };
        if !bytes.is_empty() {
            // Once, the guest is waited for: the key that leaves may be among those that come.
            let patience = if reads { PATIENCE } else { 0 };
            reads = guest.say(&Frame::Data(bytes), patience.into());
        }
        patience
    });
    // The terminal is gone, or given back.
    exit.end(Stay::Left);
}

/// The answer to a request, before the first frame.
///
/// # Errors
/// Those of the connection.
pub(super) fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

/// `lguest log --follow`: pass on what the guest prints until it ends, for the reason that
/// is returned, or until nobody reads any more: that is noticed while there is nothing to
/// pass on as well, since a shell waits for all of `lguest log --follow | sed '/word/q'`.
pub(super) fn follow(mut stream: BufReader<UnixStream>, mut out: impl Write + AsFd) -> Stay {
    loop {
        if stream.buffer().is_empty() && !is_read_until(&stream, &out) {
            return Stay::Left;
        }
        match print_next(&mut stream, &mut out) {
            Ok(None) => {}
            Ok(Some(stay)) => return stay,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Stay::Left,
            Err(error) => return Stay::Failed(format!("following the guest: {error}")),
        }
    }
}

/// Wait until there is something to read, or nobody who would read it: whether that is so.
fn is_read_until(stream: &BufReader<UnixStream>, out: &impl AsFd) -> bool {
    let readable = PollFd::new(stream.get_ref().as_fd(), PollFlags::POLLIN);
    // What says that a pipe's or socket's other end is closed need not be asked for.
    let mut fds = [readable, PollFd::new(out.as_fd(), PollFlags::empty())];
    // If it fails, reading and writing will say why.
    let _ = poll(&mut fds, PollTimeout::NONE);
    let [_, out] = fds;
    !out.any().unwrap_or(false)
}
