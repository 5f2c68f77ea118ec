//! A client at a console, and the launcher's end of its connection: a thread that writes the
//! guest's output at the client's pace, and the connection's own thread, which reads what is typed.
//! The guest sees nothing of a client but its keys and the size of its window.

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devices::mutex::lock;
use devices::number::index;
use devices::threads;
use host::output::{Reader, ReaderRole};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::frame::ENDED;
use wire::protocol::AttachMode;
use wire::{ConsoleFrame, Wire};

use super::GuestConsole;
use super::replay::Replay;

/// The exit status of a client whose console another client has taken over.
const TAKEN_OVER: u8 = 4;

/// How long a client may take to read its last frame.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a window has another size, so that a program redraws its screen.
const FLICKER: Duration = Duration::from_millis(100);

/// A client at a console.
#[derive(Debug)]
pub(crate) struct ConsoleClient {
    pid: i32,
    wire: Wire,
    stream: UnixStream,
    /// The last frame for a client that has to leave.
    last: Mutex<Option<ConsoleFrame>>,
}

impl ConsoleClient {
    /// The last frame: the reason why the client has to leave.
    fn last_words(&self, console: &GuestConsole) -> ConsoleFrame {
        let last = lock(&self.last).take();
        last.unwrap_or_else(|| {
            ConsoleFrame::End(ENDED, console.ending.get().cloned().unwrap_or_default())
        })
    }
}

/// The one client that may type on a console.
#[derive(Debug, Default)]
pub(crate) struct InputOwner(Mutex<Option<Arc<ConsoleClient>>>);

impl InputOwner {
    /// Take the console. With `force`, the client that has it is disconnected; otherwise its pid is
    /// the error.
    fn take(&self, client: &Arc<ConsoleClient>, force: bool) -> Result<(), i32> {
        let mut owner = self.lock();
        if let Some(other) = owner.as_ref() {
            if !force {
                return Err(other.pid);
            }
            let why = ConsoleFrame::End(TAKEN_OVER, format!("taken over by pid {}", client.pid));
            *lock(&other.last) = Some(why);
            // Fails only if the client has left already.
            let _ = other.stream.shutdown(Shutdown::Read);
        }
        *owner = Some(Arc::clone(client));
        Ok(())
    }

    fn is_taken_by(&self, client: &Arc<ConsoleClient>) -> bool {
        self.lock().as_ref().is_some_and(|other| Arc::ptr_eq(other, client))
    }

    fn release(&self, client: &Arc<ConsoleClient>) {
        self.lock().take_if(|other| Arc::ptr_eq(other, client));
    }

    /// The pid of the client that may type.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.lock().as_ref().map(|client| client.pid)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<ConsoleClient>>> {
        lock(&self.0)
    }
}

/// A client that is admitted to a console, and is not served yet.
#[derive(Debug)]
pub(crate) struct AdmittedClient {
    guard: ClientGuard,
    reader: Reader,
}

/// A client's presence at a console. Dropping it lets another client type, whether the client was
/// served or not.
#[derive(Debug)]
struct ClientGuard {
    client: Arc<ConsoleClient>,
    console: Arc<GuestConsole>,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.console.input_owner.release(&self.client);
        let (number, pid) = (self.console.number, self.client.pid);
        log::info!("con{number}: pid {pid} has left");
    }
}

/// Admit the process at the other end of a connection to the console.
///
/// # Errors
/// The pid of the client that types there already; or None if the host has no descriptor left.
pub(crate) fn admit(
    stream: &UnixStream,
    pid: i32,
    console: &Arc<GuestConsole>,
    mode: AttachMode,
    wire: Wire,
) -> Result<AdmittedClient, Option<i32>> {
    let stream = stream.try_clone().map_err(|_| None)?;
    let client = Arc::new(ConsoleClient { pid, wire, stream, last: Mutex::default() });
    if matches!(mode, AttachMode::Write | AttachMode::Force) {
        console.input_owner.take(&client, mode == AttachMode::Force).map_err(Some)?;
    }
    let (role, what) = match mode {
        AttachMode::Write => (ReaderRole::Client, "types"),
        AttachMode::Force => (ReaderRole::Client, "has taken over"),
        AttachMode::Watch => (ReaderRole::Client, "looks on"),
        AttachMode::Follow => (ReaderRole::Follower, "follows the log"),
    };
    log::info!("con{}: pid {pid} {what}", console.number);
    let guard = ClientGuard { client, console: Arc::clone(console) };
    Ok(AdmittedClient { guard, reader: console.output.reader(role) })
}

impl AdmittedClient {
    /// Serve the client until it leaves, has to leave, or the guest has printed its last.
    pub(crate) fn serve(self, input: BufReader<&UnixStream>, size: (u16, u16)) -> io::Result<()> {
        let Self { guard, reader } = self;
        let ClientGuard { client, console } = &guard;
        client.stream.set_read_timeout(None)?;
        client.stream.set_write_timeout(None)?;
        let id = reader.id();
        let writing = start_writing(client, console, reader);
        if let Ok(writing) = writing {
            if console.input_owner.is_taken_by(client) {
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
    client: &Arc<ConsoleClient>,
    console: &Arc<GuestConsole>,
    mut reader: Reader,
) -> io::Result<JoinHandle<()>> {
    let (client, console) = (Arc::clone(client), Arc::clone(console));
    let name = format!("con{}-client", console.number);
    threads::start(name, move || {
        // The client sees how its connection ends.
        let written = write_out(client.wire, &client.stream, &mut reader)
            .and_then(|()| client.wire.say(&client.last_words(&console), &client.stream));
        if let Err(error) = written {
            log::debug!("con{}: pid {}: {error}", console.number, client.pid);
        }
        // The thread that reads keys wakes up.
        let _ = client.stream.shutdown(Shutdown::Read);
    })
}

/// Give the client some time to read its last frame.
fn finish(client: &ConsoleClient, writing: JoinHandle<()>) {
    let until = Instant::now() + PATIENCE;
    while !writing.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    let _ = client.stream.shutdown(Shutdown::Both);
    let _ = writing.join(); // The thread has no code that panics.
}

/// Write the output of a reader until it has to leave, or the output ends. [`Replay`] filters a
/// backlog, but not for a follower, who wants the buffered output as it is.
pub(crate) fn write_out(wire: Wire, mut stream: impl Write, reader: &mut Reader) -> io::Result<()> {
    let lost = reader.progress();
    if lost > 0 {
        wire.say(&ConsoleFrame::Dropped(lost), &mut stream)?;
    }
    let mut backlog = reader.backlog();
    let mut replay = (!reader.is_follower()).then(|| Replay::new(lost > 0));
    let mut chunk = Vec::new();
    while reader.take(&mut chunk) {
        let mut shown = std::mem::take(&mut chunk);
        if let Some(filter) = &mut replay {
            let old = index(backlog).min(shown.len());
            backlog = backlog.saturating_sub(old as u64);
            let new = shown.split_off(old);
            shown = filter.show(&shown);
            if backlog == 0 {
                shown.extend(replay.take().map(Replay::finish).unwrap_or_default());
            }
            shown.extend(new);
        }
        wire.say(&ConsoleFrame::Data(shown), &mut stream)?;
        let lost = reader.progress();
        if lost > 0 {
            wire.say(&ConsoleFrame::Dropped(lost), &mut stream)?;
        }
    }
    Ok(())
}

fn read(
    mut input: BufReader<&UnixStream>,
    client: &Arc<ConsoleClient>,
    console: &GuestConsole,
) -> io::Result<()> {
    while let Some(frame) = client.wire.hear(&mut input)? {
        if !console.input_owner.is_taken_by(client) {
            continue; // A client that only watches.
        }
        match frame {
            ConsoleFrame::Data(keys) => type_in(&keys, client, console)?,
            ConsoleFrame::Size(rows, columns) => console.resize(columns, rows),
            ConsoleFrame::Dropped(_)
            | ConsoleFrame::End(..)
            | ConsoleFrame::Stderr(_)
            | ConsoleFrame::InputEnd => {
                return Err(io::Error::other("a frame that is not a client's"));
            }
        }
    }
    Ok(())
}

/// Send keys to the guest. Waits while the guest does not read, but not for a client that has left.
fn type_in(mut keys: &[u8], client: &ConsoleClient, console: &GuestConsole) -> io::Result<()> {
    let left = PollFlags::from_bits_retain(libc::POLLRDHUP);
    loop {
        let sent = console.input.send_first(keys)?;
        keys = keys.get(sent..).unwrap_or_default();
        if keys.is_empty() {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(console.input.sender(), PollFlags::POLLOUT),
            PollFd::new(client.stream.as_fd(), left),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        // nix drops a flag that it does not know, such as `left`.
        if fds[1].any() != Some(false) {
            console.input.forget_rest();
            return Err(io::Error::other("left before the guest had read its keys"));
        }
    }
}

/// Make programs redraw their screen for a client that has just attached. Programs redraw when the
/// window changes its size, so the window has another size for a moment.
fn redraw(console: &GuestConsole, client: &Arc<ConsoleClient>, (rows, columns): (u16, u16)) {
    if console.window.get() == (columns, rows) {
        console.resize(columns, rows.saturating_add(1));
        thread::sleep(FLICKER);
    }
    // Another client may have taken over; the window has its size then.
    if console.input_owner.is_taken_by(client) {
        console.resize(columns, rows);
    }
}
