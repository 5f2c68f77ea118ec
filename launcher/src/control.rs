//! The control socket of a running guest: other processes of its user ask about the guest, and
//! stop, reset or pause it (docs/control.md has the protocol, [`wire::protocol`] reads it). The
//! thread `control` accepts connections, and a thread `client` serves each of them; both sleep in
//! the one call that they wait for. They decide nothing: an end is announced to [`host::exit`] like
//! any other, and the main thread does everything else ([`commands`]).

mod commands;
mod connection;
mod consoles;
mod exec;
mod info;
mod stats;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use devices::mutex::{lock, wait_timeout};
use devices::queue_thread::panic_message;
use devices::threads;
use host::exit::Exit;
use nix::sys::socket::{Shutdown as How, shutdown};

use crate::console::GuestConsole;
use crate::ending::Ending;
use crate::observers::Observers;
use crate::runtime::Claim;
pub(crate) use commands::GuestCommand;
use commands::{CommandQueue, CommandSender};
use connection::serve;
pub(crate) use info::{GuestInfo, Resolved};
use stats::Counts;

/// The most connections that send requests at once; more than anybody needs.
const MAX_CONNECTIONS: usize = 32;

/// The most clients at consoles, who stay longer. Each has two threads.
const MAX_CONSOLE_CLIENTS: usize = 256;

/// How long to wait if the host has no descriptor or thread left.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a client may take to read its last answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// What connections need for their answers.
#[derive(Debug)]
struct ControlState {
    exit: Arc<Exit<Ending>>,
    info: GuestInfo,
    counts: Counts,
    consoles: Vec<Arc<GuestConsole>>,
    /// The names of the files of a snapshot.
    snapshot_files: Vec<String>,
    sender: CommandSender,
}

/// A guest's name and control socket. Dropping it gives both back.
#[derive(Debug)]
pub(crate) struct Control {
    // The order of the fields is the order in which they are dropped: first commands that are not
    // carried out any more get an answer, then connections end, then the directory is removed.
    commands: CommandQueue,
    _server: Server,
    _claim: Claim,
}

impl Control {
    /// Answer requests about this guest from now on. An end that a client asks for goes to `exit`.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(crate) fn start(
        (claim, listener): (Claim, UnixListener),
        info: GuestInfo,
        exit: &Arc<Exit<Ending>>,
        observers: &Arc<Observers>,
        snapshot_files: Vec<String>,
    ) -> Result<Self> {
        let (commands, sender) = commands::new(exit);
        let consoles = info.consoles().to_vec();
        let counts = Counts::new(Arc::clone(observers));
        let exit = Arc::clone(exit);
        let state = ControlState { exit, info, counts, consoles, snapshot_files, sender };
        Ok(Self { commands, _server: Server::start(listener, state)?, _claim: claim })
    }

    /// The commands for the main thread.
    pub(crate) fn commands(&self) -> &CommandQueue {
        &self.commands
    }
}

/// The threads of the control socket. Dropping it ends them.
#[derive(Debug)]
struct Server {
    clients: Arc<Clients>,
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: UnixListener, state: ControlState) -> Result<Self> {
        let (listener, clients) = (Arc::new(listener), Arc::new(Clients::default()));
        let (theirs, known) = (Arc::clone(&listener), Arc::clone(&clients));
        let state = Arc::new(state);
        let body = move || guarded(&state, || accept(&theirs, &known, &state));
        let thread = threads::start("control", body).context("starting the control thread")?;
        Ok(Self { clients, listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.clients.closed.store(true, Ordering::Release);
        // The thread in accept wakes up. This cannot fail for a listening socket.
        let _ = shutdown(self.listener.as_raw_fd(), How::Both);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // Its panic has been reported.
        }
        // An answer that is being written is finished; later requests are not read.
        for how in [Shutdown::Read, Shutdown::Both] {
            self.clients.shut(how);
            self.clients.wait_until_none(PATIENCE);
        }
    }
}

/// Run the body of a thread. If it panics, the guest ends, as with every other thread.
fn guarded(state: &ControlState, body: impl FnOnce()) {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    if let Err(panic) = ran {
        let why = panic_message(panic.as_ref());
        state.exit.end(Ending::Failed(format!("control: {why}")));
    }
}

fn accept(listener: &UnixListener, clients: &Arc<Clients>, state: &Arc<ControlState>) {
    while !clients.closed.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, clients, state),
            // The client has left already.
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
            Err(_) if clients.closed.load(Ordering::Acquire) => return,
            Err(error) => {
                log::debug!("control: {error}");
                thread::park_timeout(PAUSE);
            }
        }
    }
}

fn admit(stream: UnixStream, clients: &Arc<Clients>, state: &Arc<ControlState>) {
    let stream = Arc::new(stream);
    let Some(slot) = Clients::take_slot(clients, &stream) else {
        return connection::refuse_busy(&stream);
    };
    let (theirs, known) = (Arc::clone(state), Arc::clone(&stream));
    let body = move || {
        guarded(&theirs, || serve(&known, &slot, &theirs));
        // The socket is closed before its slot is free, so that a free slot means free descriptors.
        drop(known);
        drop(slot);
    };
    if threads::start("client", body).is_err() {
        connection::refuse_busy(&stream);
    }
}

/// The open connections.
#[derive(Debug, Default)]
struct Clients {
    closed: AtomicBool,
    connections: Mutex<BTreeMap<u64, Connection>>,
    left: Condvar,
}

#[derive(Debug)]
struct Connection {
    stream: Arc<UnixStream>,
    /// Whether the connection belongs to a client at a console.
    at_console: bool,
}

/// A connection's place among those that are allowed at once. Dropping it frees the place.
#[derive(Debug)]
struct ConnectionSlot {
    number: u64,
    clients: Arc<Clients>,
}

impl Clients {
    fn take_slot(clients: &Arc<Self>, stream: &Arc<UnixStream>) -> Option<ConnectionSlot> {
        let mut connections = clients.lock();
        if connections.values().filter(|other| !other.at_console).count() >= MAX_CONNECTIONS {
            return None;
        }
        let number = connections.last_key_value().map_or(0, |(number, _)| number.wrapping_add(1));
        connections.insert(number, Connection { stream: Arc::clone(stream), at_console: false });
        Some(ConnectionSlot { number, clients: Arc::clone(clients) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        lock(&self.connections)
    }

    fn shut(&self, how: Shutdown) {
        for connection in self.lock().values() {
            // Fails if the client has left.
            let _ = connection.stream.shutdown(how);
        }
    }

    fn wait_until_none(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut connections = self.lock();
        while let (false, Some(left)) =
            (connections.is_empty(), until.checked_duration_since(Instant::now()))
        {
            connections = wait_timeout(&self.left, connections, left);
        }
    }
}

impl ConnectionSlot {
    /// Count the connection as a client at a console. Returns false if there are too many of those.
    fn become_console_client(&self) -> bool {
        let mut connections = self.clients.lock();
        if connections.values().filter(|other| other.at_console).count() >= MAX_CONSOLE_CLIENTS {
            return false;
        }
        let own = connections.get_mut(&self.number);
        own.map(|connection| connection.at_console = true).is_some()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.number);
        self.clients.left.notify_all();
    }
}
