//! A client at a console, and the launcher's end of its connection: a thread that writes what the
//! guest prints, at the client's pace, and the connection's own, which reads what is
//! typed. Whatever a client does or does not do, the guest hears nothing of it but
//! keys and a window's size.

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devices::mutex::lock;
use devices::threads;
use host::output::{Reader, Role};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::frame::ENDED;
use wire::protocol::Mode;
use wire::{Frame, Wire};

use super::Console;
use super::replay::Replay;

/// The exit status of a client when another one has taken over.
const TAKEN_OVER: u8 = 4;

/// How long a client may take to read its last frame.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a window has another size, so that a program draws it anew.
const FLICKER: Duration = Duration::from_millis(100);

/// A client at a console.
#[derive(Debug)]
pub(crate) struct Client {
    pid: i32,
    wire: Wire,
    stream: UnixStream,
    /// What it is told when it has to leave.
    last: Mutex<Option<Frame>>,
}

impl Client {
    /// Why it has to leave.
    fn last_words(&self, console: &Console) -> Frame {
        let last = lock(&self.last).take();
        last.unwrap_or_else(|| Frame::End(ENDED, console.ending.get().cloned().unwrap_or_default()))
    }
}

/// Where the one sits who types.
#[derive(Debug, Default)]
pub(crate) struct Seat(Mutex<Option<Arc<Client>>>);

impl Seat {
    /// Take the console. With `force`, the client that has it is sent away;
    /// otherwise its pid is the answer.
    fn take(&self, client: &Arc<Client>, force: bool) -> Result<(), i32> {
        let mut seat = self.lock();
        if let Some(other) = seat.as_ref() {
            if !force {
                return Err(other.pid);
            }
            let why = Frame::End(TAKEN_OVER, format!("taken over by pid {}", client.pid));
            *lock(&other.last) = Some(why);
            // Fails only if it has left by itself.
            let _ = other.stream.shutdown(Shutdown::Read);
        }
        *seat = Some(Arc::clone(client));
        Ok(())
    }

    fn is_taken_by(&self, client: &Arc<Client>) -> bool {
        self.lock().as_ref().is_some_and(|other| Arc::ptr_eq(other, client))
    }

    fn leave(&self, client: &Arc<Client>) {
        self.lock().take_if(|other| Arc::ptr_eq(other, client));
    }

    /// The pid of who sits there.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.lock().as_ref().map(|client| client.pid)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        lock(&self.0)
    }
}

/// A client that has its place, and has not been served yet.
#[derive(Debug)]
pub(crate) struct Admitted {
    stay: Stay,
    reader: Reader,
}

/// A client's stay at a console. When it ends, served or not, its seat is free.
#[derive(Debug)]
struct Stay {
    client: Arc<Client>,
    console: Arc<Console>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.console.seat.leave(&self.client);
        let (number, pid) = (self.console.number, self.client.pid);
        log::info!("con{number}: pid {pid} has left");
    }
}

/// Give the process at the other end a place at the console.
///
/// # Errors
/// The pid of who types there already; or none, when the host has no descriptor to
/// spare.
pub(crate) fn admit(
    stream: &UnixStream,
    pid: i32,
    console: &Arc<Console>,
    mode: Mode,
    wire: Wire,
) -> Result<Admitted, Option<i32>> {
    let stream = stream.try_clone().map_err(|_| None)?;
    let client = Arc::new(Client { pid, wire, stream, last: Mutex::default() });
    if matches!(mode, Mode::Write | Mode::Force) {
        console.seat.take(&client, mode == Mode::Force).map_err(Some)?;
    }
    let (role, what) = match mode {
        Mode::Write => (Role::Client, "types"),
        Mode::Force => (Role::Client, "has taken over"),
        Mode::Watch => (Role::Client, "looks on"),
        Mode::Follow => (Role::Follower, "follows the log"),
    };
    log::info!("con{}: pid {pid} {what}", console.number);
    let stay = Stay { client, console: Arc::clone(console) };
    Ok(Admitted { stay, reader: console.output.reader(role) })
}

impl Admitted {
    /// Serve it until it leaves, has to, or the guest has printed its last.
    pub(crate) fn serve(self, input: BufReader<&UnixStream>, size: (u16, u16)) -> io::Result<()> {
        let Self { stay, reader } = self;
        let Stay { client, console } = &stay;
        client.stream.set_read_timeout(None)?;
        client.stream.set_write_timeout(None)?;
        let id = reader.id();
        let writing = start_writing(client, console, reader);
        if let Ok(writing) = writing {
            if console.seat.is_taken_by(client) {
                redraw(console, client, size);
            }
            let read = read(input, client, console);
            if let Err(error) = read {
                log::debug!("con{}: pid {}: {error}", console.number, client.pid);
            }
            console.output.dismiss(id);
            finish(client, writing);
        }
        Ok(())
    }
}

fn start_writing(
    client: &Arc<Client>,
    console: &Arc<Console>,
    mut reader: Reader,
) -> io::Result<JoinHandle<()>> {
    let (client, console) = (Arc::clone(client), Arc::clone(console));
    let name = format!("con{}-client", console.number);
    threads::start(name, move || {
        // Its end is the client's own affair.
        let written = write_out(client.wire, &client.stream, &mut reader)
            .and_then(|()| client.wire.say(&client.last_words(&console), &client.stream));
        if let Err(error) = written {
            log::debug!("con{}: pid {}: {error}", console.number, client.pid);
        }
        // Who reads its keys wakes up.
        let _ = client.stream.shutdown(Shutdown::Read);
    })
}

/// Its last frame may be written while there is some patience.
fn finish(client: &Client, writing: JoinHandle<()>) {
    let until = Instant::now() + PATIENCE;
    while !writing.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    let _ = client.stream.shutdown(Shutdown::Both);
    let _ = writing.join(); // It has nothing to panic about.
}

/// Write what a reader reads until it has to leave, or there is no more. A backlog is
/// shown as [`Replay`] has it, but not to one who looks at what is kept.
pub(crate) fn write_out(wire: Wire, mut stream: impl Write, reader: &mut Reader) -> io::Result<()> {
    let lost = reader.progress();
    if lost > 0 {
        wire.say(&Frame::Dropped(lost), &mut stream)?;
    }
    let mut backlog = reader.backlog();
    let mut replay = (!reader.is_follower()).then(|| Replay::new(lost > 0));
    let mut chunk = Vec::new();
    while reader.take(&mut chunk) {
        let mut shown = std::mem::take(&mut chunk);
        if let Some(filter) = &mut replay {
            let old = usize::try_from(backlog).unwrap_or(usize::MAX).min(shown.len());
            backlog = backlog.saturating_sub(old as u64);
            let new = shown.split_off(old);
            shown = filter.show(&shown);
            if backlog == 0 {
                shown.extend(replay.take().map(Replay::finish).unwrap_or_default());
            }
            shown.extend(new);
        }
        wire.say(&Frame::Data(shown), &mut stream)?;
        let lost = reader.progress();
        if lost > 0 {
            wire.say(&Frame::Dropped(lost), &mut stream)?;
        }
    }
    Ok(())
}

fn read(
    mut input: BufReader<&UnixStream>,
    client: &Arc<Client>,
    console: &Console,
) -> io::Result<()> {
    while let Some(frame) = client.wire.hear(&mut input)? {
        if !console.seat.is_taken_by(client) {
            continue; // It looks on.
        }
        match frame {
            Frame::Data(keys) => type_in(&keys, client, console)?,
            Frame::Size(rows, columns) => console.resize(columns, rows),
            Frame::Dropped(_) | Frame::End(..) => {
                return Err(io::Error::other("a frame that is not a client's"));
            }
        }
    }
    Ok(())
}

/// Type it; wait while the guest does not read, but not for a client that has left.
fn type_in(mut keys: &[u8], client: &Client, console: &Console) -> io::Result<()> {
    let left = PollFlags::from_bits_retain(libc::POLLRDHUP);
    loop {
        let sent = console.input.send(keys)?;
        keys = keys.get(sent..).unwrap_or_default();
        if keys.is_empty() {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(console.input.sender(), PollFlags::POLLOUT),
            PollFd::new(client.stream.as_fd(), left),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        // nix drops a flag that it does not know, see above.
        if fds[1].any() != Some(false) {
            return Err(io::Error::other("left before the guest had read its keys"));
        }
    }
}

/// Have programs draw their screen for somebody who has just come: they do when
/// the window changes its size, so it has another one for a moment.
fn redraw(console: &Console, client: &Arc<Client>, (rows, columns): (u16, u16)) {
    if console.window.get() == (columns, rows) {
        console.resize(columns, rows.saturating_add(1));
        thread::sleep(FLICKER);
    }
    // Somebody may have taken over, whose window it is then.
    if console.seat.is_taken_by(client) {
        console.resize(columns, rows);
    }
}
