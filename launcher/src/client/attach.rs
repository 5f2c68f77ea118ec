//! `lguest console`: attaches this terminal to a console of a guest that runs. The guest's output
//! takes the same way as in a launch, through [`host::output`] and [`host::writer`]. Keys are read
//! as in a launch ([`host::stdin`]), and go to the guest's launcher. The main thread waits for the
//! end.

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
use host::output::OutputRing;
use host::privilege::PrivilegeDrop;
use host::signals::Signals;
use host::stdin::escape::{Escape, Keys, Typed};
use host::stdin::{self, keys};
use host::terminal::{self, Terminal, Tty};
use host::writer::OutputWriter;
use host::writer::last_words::{self, Patience};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::ConsoleFrame;
use wire::frame::ENDED;

use super::session_end::SessionEnd;
use crate::launch;

/// How many milliseconds a guest may accept no keys, with all buffers full. Then keys are dropped,
/// except for the escape key.
const PATIENCE: u16 = 5000;

/// A connection on which `attach` has been answered. The first frame comes next.
pub(super) struct Attached {
    /// The guest's name, and the console's number. None for a command.
    pub(super) what: Option<String>,
    pub(super) stream: BufReader<UnixStream>,
    pub(super) escape: Escape,
    /// Whether the user only watches.
    pub(super) watching: bool,
    /// The window's size that the guest knows: columns and rows.
    pub(super) size: Option<(u16, u16)>,
    /// How to attach to the next guest. None if the user leaves at the guest's end.
    pub(super) reconnect: Option<Reconnect>,
}

/// A connection before the first frame, or a refusal.
pub(super) type AttachResult = Result<BufReader<UnixStream>, AttachRefusal>;

/// A refusal: the client's exit status, and the message.
#[derive(Debug)]
pub(super) struct AttachRefusal {
    pub(super) status: u8,
    pub(super) text: String,
}

/// Waits for the next guest, and attaches to it.
pub(super) type Reconnect = Box<dyn FnMut() -> Result<AttachResult> + Send>;

/// The signals and the terminal of a client, prepared before any thread starts. The terminal is
/// untouched.
#[derive(Debug)]
pub(super) struct AttachSession {
    signals: Signals,
    terminal: Option<Terminal>,
}

impl AttachSession {
    /// Prepare this terminal, if stdin is a terminal.
    ///
    /// # Errors
    /// When the host has no descriptor left.
    pub(super) fn prepare() -> Result<Self> {
        let signals = Signals::block()?;
        Ok(Self { signals, terminal: Terminal::on_stdin(&PrivilegeDrop::default())? })
    }

    /// Carry data between the terminal and the guest, until the user leaves or has to leave.
    ///
    /// # Errors
    /// When the host has no descriptor or thread left.
    pub(super) fn run(self, attached: Attached) -> Result<SessionEnd> {
        let Self { signals, terminal } = self;
        let Attached { what, stream, escape, watching, mut size, reconnect } = attached;
        let exit = Arc::new(Exit::new()?);
        let to_guest = Arc::new(GuestStream::new(&stream)?);
        let output = OutputRing::new().context("creating an event of the output")?;
        let writer = OutputWriter::to_stdout(&output, terminal.as_ref())?;
        launch::enter(terminal.as_ref(), !watching)?;
        if let Some(what) = what {
            let leave = escape.name().map(|key| format!("; {key} leaves")).unwrap_or_default();
            let watching_only = if watching { ", looking on" } else { "" };
            messages::say(&format!("attached to {what}{watching_only}{leave}"));
        }
        start("output", {
            let (exit, to_guest) = (Arc::clone(&exit), Arc::clone(&to_guest));
            move || exit.end(print(stream, &output, &to_guest, reconnect))
        })?;
        start("keys", {
            let (exit, to_guest) = (Arc::clone(&exit), Arc::clone(&to_guest));
            let tty = terminal.as_ref().map(Terminal::tty);
            move || type_in(tty.as_deref(), escape, &to_guest, &exit)
        })?;
        let end = signals.wait(&exit, terminal.as_ref(), None, || {
            let now = terminal::size();
            if let Some((columns, rows)) = now.filter(|_| now != size && !watching)
                && to_guest.say(&ConsoleFrame::Size(rows, columns), PollTimeout::ZERO)
            {
                size = now;
            }
        });
        let end = end.unwrap_or(SessionEnd::Left);
        let patience = match end {
            SessionEnd::Left | SessionEnd::Signal(_) => Patience::OnTerminal,
            SessionEnd::SentAway(..) | SessionEnd::Failed(_) => Patience::Unbounded,
        };
        let signal = last_words::finish(&[writer], &signals, terminal.as_ref(), patience);
        Ok(signal.map_or(end, SessionEnd::Signal))
    }
}

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    threads::start(name, body).with_context(|| format!("starting the thread {name}"))?;
    Ok(())
}

/// The connection to the present guest.
struct GuestStream(Mutex<Arc<UnixStream>>);

impl GuestStream {
    fn new(stream: &BufReader<UnixStream>) -> Result<Self> {
        Ok(Self(Mutex::new(duplicate(stream)?)))
    }

    /// Replace the connection with the one to the next guest.
    fn replace(&self, stream: &BufReader<UnixStream>) -> Result<()> {
        *lock(&self.0) = duplicate(stream)?;
        Ok(())
    }

    /// Send a frame, if there is room for it in time. Returns false if there was no room. The
    /// thread that reads from the guest notices a closed connection.
    fn say(&self, frame: &ConsoleFrame, patience: PollTimeout) -> bool {
        let lock = || lock(&self.0);
        // The thread does not wait while it holds the lock: the main thread needs the lock, too.
        let now = Arc::clone(&lock());
        if !has_room(&now, patience) {
            return false;
        }
        let stream = lock();
        // If there is still room, a frame fits, and the write does not wait.
        let room = has_room(&stream, PollTimeout::ZERO);
        if room {
            let _ = frame.write_to(&**stream);
        }
        room
    }
}

/// Whether there is room, also on a closed connection, where writing fails at once.
fn has_room(stream: &UnixStream, patience: PollTimeout) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    !matches!(poll(&mut fds, patience), Ok(0))
}

fn duplicate(stream: &BufReader<UnixStream>) -> Result<Arc<UnixStream>> {
    stream.get_ref().try_clone().map(Arc::new).context("duplicating a socket")
}

/// Pass on the guest's output, and that of the next guests if the user wants them. Returns the
/// reason of the end.
fn print(
    mut stream: BufReader<UnixStream>,
    output: &OutputRing,
    to_guest: &GuestStream,
    mut reconnect: Option<Reconnect>,
) -> SessionEnd {
    let mut sink = output.sink();
    loop {
        let end = match print_next(&mut stream, &mut sink) {
            Ok(None) if output.is_left() => return SessionEnd::Left,
            Ok(None) => continue,
            Ok(Some(end)) => end,
            Err(error) => SessionEnd::Failed(format!("the connection to the guest: {error}")),
        };
        let Some(reconnect) = reconnect.as_mut().filter(|_| guest_has_ended(&end)) else {
            return end;
        };
        let why = end.text();
        messages::say(&format!("{why}; waiting for the next guest of that name"));
        stream = match reconnect() {
            Ok(Ok(stream)) => stream,
            Ok(Err(refused)) => return SessionEnd::SentAway(refused.status, refused.text),
            Err(error) => return SessionEnd::Failed(format!("{error:#}")),
        };
        if let Err(error) = to_guest.replace(&stream) {
            return SessionEnd::Failed(format!("{error:#}"));
        }
        messages::say("attached to it");
    }
}

/// Whether the guest has ended, and not only the session.
fn guest_has_ended(end: &SessionEnd) -> bool {
    matches!(end, SessionEnd::SentAway(ENDED, _) | SessionEnd::Failed(_))
}

fn print_next(stream: impl Read, mut out: impl Write) -> io::Result<Option<SessionEnd>> {
    match ConsoleFrame::read_from(stream)? {
        Some(ConsoleFrame::Data(bytes)) => {
            out.write_all(&bytes)?;
            out.flush()?;
        }
        Some(ConsoleFrame::Dropped(count)) => {
            messages::say(&format!("{count} bytes of the guest's output are lost"));
        }
        Some(ConsoleFrame::End(status, why)) => return Ok(Some(SessionEnd::SentAway(status, why))),
        // A command that has a terminal has no stderr of its own.
        Some(ConsoleFrame::Size(..) | ConsoleFrame::InputEnd | ConsoleFrame::Stderr(_)) => {
            return Err(io::Error::other("a frame that is not a launcher's"));
        }
        None => return Ok(Some(SessionEnd::Failed("the guest's launcher has ended".into()))),
    }
    Ok(None)
}

/// Send what is typed, or what comes from a file or pipe. The end of a file is not the end of the
/// session. The other thread reports a closed connection.
fn type_in(tty: Option<&Tty>, escape: Escape, guest: &GuestStream, exit: &Exit<SessionEnd>) {
    let stdin = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(stdin) => File::from(stdin),
        Err(error) => return exit.end(SessionEnd::Failed(format!("duplicating stdin: {error}"))),
    };
    let Some(tty) = tty else {
        return stdin::copy(stdin, |bytes| {
            let frame = ConsoleFrame::Data(bytes.to_vec());
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
                exit.end(SessionEnd::Left);
                (bytes, None)
            }
        };
        if !bytes.is_empty() {
            // The guest gets time once only: the escape key may be among the next keys.
            let patience = if reads { PATIENCE } else { 0 };
            reads = guest.say(&ConsoleFrame::Data(bytes), patience.into());
        }
        patience
    });
    // The terminal is gone, or has been given back.
    exit.end(SessionEnd::Left);
}

/// Read the answer to a request, before the first frame.
///
/// # Errors
/// The errors of the connection.
pub(super) fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

/// `lguest log --follow`: pass on the guest's output until it ends, for the reason that is
/// returned, or until nobody reads it any more. A closed reader is noticed while there is no output
/// as well, since a shell waits for all of `lguest log --follow | sed '/word/q'`.
pub(super) fn follow(mut stream: BufReader<UnixStream>, mut out: impl Write + AsFd) -> SessionEnd {
    loop {
        if stream.buffer().is_empty() && !is_read_until(&stream, &out) {
            return SessionEnd::Left;
        }
        match print_next(&mut stream, &mut out) {
            Ok(None) => {}
            Ok(Some(end)) => return end,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return SessionEnd::Left,
            Err(error) => return SessionEnd::Failed(format!("following the guest: {error}")),
        }
    }
}

/// Wait until there is output, or its reader has closed. Returns whether there is still a reader.
fn is_read_until(stream: &BufReader<UnixStream>, out: &impl AsFd) -> bool {
    let readable = PollFd::new(stream.get_ref().as_fd(), PollFlags::POLLIN);
    // poll always reports the closed other end of a pipe or socket, without a flag.
    let mut fds = [readable, PollFd::new(out.as_fd(), PollFlags::empty())];
    // After an error, reading and writing will report the reason.
    let _ = poll(&mut fds, PollTimeout::NONE);
    let [_, out] = fds;
    !out.any().unwrap_or(false)
}
