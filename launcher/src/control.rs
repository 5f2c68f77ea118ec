//! A running guest's control socket: how other processes of its user ask about
//! it, and have it stopped, reset or paused (docs/control.md has the protocol,
//! [`wire::protocol`] reads it). The thread `control` accepts, a thread `client` serves
//! each connection, and both sleep in the one call that they wait for. They decide
//! nothing: an end is announced to [`host::exit`] like any other, and what else is
//! to be done is for the main thread ([`orders`]).

mod connection;
mod consoles;
mod info;
mod orders;
mod stats;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use devices::mutex::lock;
use devices::queue_thread::panic_message;
use devices::threads;
use host::exit::Exit;
use nix::sys::socket::{Shutdown as How, shutdown};

use crate::console::Console;
use crate::ending::Ending;
use crate::observers::Observers;
use crate::runtime::Claim;
use connection::serve;
pub(crate) use info::{Machine, Made};
pub(crate) use orders::Order;
use orders::{Orders, Reins};
use stats::Counts;

/// As many connections ask at once; that is more than anybody needs.
const MOST: usize = 32;

/// As many sit at consoles, who stay longer. Each has two threads.
const MOST_SEATS: usize = 256;

/// How long to wait when the host has no descriptor or thread to spare.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a client may take to read its last answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// What connections need to answer.
#[derive(Debug)]
struct Office {
    exit: Arc<Exit<Ending>>,
    machine: Machine,
    counts: Counts,
    consoles: Vec<Arc<Console>>,
    reins: Reins,
}

/// A guest's name and control socket, while it has them.
#[derive(Debug)]
pub(crate) struct Control {
    // In the order in which they go: an order that is not carried out any more is
    // answered, then connections end, then the directory.
    orders: Orders,
    _server: Server,
    _claim: Claim,
}

impl Control {
    /// Answer, from now on, about this machine. An end that a client asks for goes to `exit`.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub(crate) fn start(
        (claim, listener): (Claim, UnixListener),
        machine: Machine,
        exit: &Arc<Exit<Ending>>,
        observers: &Arc<Observers>,
    ) -> Result<Self> {
        let (orders, reins) = orders::new(exit);
        let consoles = machine.consoles().to_vec();
        let counts = Counts::new(Arc::clone(observers));
        let exit = Arc::clone(exit);
        let office = Office { exit, machine, counts, consoles, reins };
        Ok(Self { orders, _server: Server::start(listener, office)?, _claim: claim })
    }

    /// What the main thread is asked to do.
    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }
}

/// The threads. Dropping it ends them.
#[derive(Debug)]
struct Server {
    clients: Arc<Clients>,
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: UnixListener, office: Office) -> Result<Self> {
        let (listener, clients) = (Arc::new(listener), Arc::new(Clients::default()));
        let (theirs, known) = (Arc::clone(&listener), Arc::clone(&clients));
        let office = Arc::new(office);
        let body = move || guarded(&office, || accept(&theirs, &known, &office));
        let thread = threads::start("control", body).context("starting the control thread")?;
        Ok(Self { clients, listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.clients.closed.store(true, Ordering::Release);
        // Who sleeps in accept wakes up. It cannot fail: it is a socket that listens.
        let _ = shutdown(self.listener.as_raw_fd(), How::Both);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // Its panic has been reported.
        }
        // An answer that is being written is finished; what follows is not read.
        for how in [Shutdown::Read, Shutdown::Both] {
            self.clients.shut(how);
            self.clients.wait_until_none(PATIENCE);
        }
    }
}

/// Run a thread of ours: if it panics, the guest ends, as with any other thread.
fn guarded(office: &Office, body: impl FnOnce()) {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    if let Err(panic) = ran {
        let why = panic_message(panic.as_ref());
        office.exit.end(Ending::Failed(format!("control: {why}")));
    }
}

fn accept(listener: &UnixListener, clients: &Arc<Clients>, office: &Arc<Office>) {
    while !clients.closed.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, clients, office),
            // Of a client that is gone again, nothing is left.
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
            Err(_) if clients.closed.load(Ordering::Acquire) => return,
            Err(error) => {
                log::debug!("control: {error}");
                thread::park_timeout(PAUSE);
            }
        }
    }
}

fn admit(stream: UnixStream, clients: &Arc<Clients>, office: &Arc<Office>) {
    let stream = Arc::new(stream);
    let Some(place) = Clients::take_place(clients, &stream) else {
        return connection::refuse_busy(&stream);
    };
    let (theirs, known) = (Arc::clone(office), Arc::clone(&stream));
    let body = move || {
        guarded(&theirs, || serve(&known, &place, &theirs));
        // Closed before its place is free: descriptors are as before when it is.
        drop(known);
        drop(place);
    };
    if threads::start("client", body).is_err() {
        connection::refuse_busy(&stream);
    }
}

/// The connections that there are.
#[derive(Debug, Default)]
struct Clients {
    closed: AtomicBool,
    connections: Mutex<BTreeMap<u64, Connection>>,
    left: Condvar,
}

#[derive(Debug)]
struct Connection {
    stream: Arc<UnixStream>,
    /// It has a seat at a console.
    seated: bool,
}

/// One of the places for connections.
#[derive(Debug)]
struct Place {
    number: u64,
    clients: Arc<Clients>,
}

impl Clients {
    fn take_place(clients: &Arc<Self>, stream: &Arc<UnixStream>) -> Option<Place> {
        let mut connections = clients.lock();
        if connections.values().filter(|other| !other.seated).count() >= MOST {
            return None;
        }
        let number = connections.last_key_value().map_or(0, |(number, _)| number.wrapping_add(1));
        connections.insert(number, Connection { stream: Arc::clone(stream), seated: false });
        Some(Place { number, clients: Arc::clone(clients) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        lock(&self.connections)
    }

    fn shut(&self, how: Shutdown) {
        for connection in self.lock().values() {
            // Fails for one that is gone.
            let _ = connection.stream.shutdown(how);
        }
    }

    fn wait_until_none(&self, time: Duration) {
        let waited = self.left.wait_timeout_while(self.lock(), time, |left| !left.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Place {
    /// It is one at a console from now on; false if there are too many of those.
    fn sit_down(&self) -> bool {
        let mut connections = self.clients.lock();
        if connections.values().filter(|other| other.seated).count() >= MOST_SEATS {
            return false;
        }
        let own = connections.get_mut(&self.number);
        own.map(|connection| connection.seated = true).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.number);
        self.clients.left.notify_all();
    }
}
