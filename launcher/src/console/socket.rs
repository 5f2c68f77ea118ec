//! `--console sock=PATH`: the console's own socket, for programs that do not know lguest (`socat
//! -,raw,echo=0 UNIX:PATH`). Plain bytes go over it. Otherwise a program that connects is a client
//! that types, like `lguest console` ([`super::client`] serves both).

use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use devices::threads;
use host::peer;
use wire::Wire;
use wire::protocol::AttachMode;

use super::GuestConsole;
use super::client;
use super::owned_path::OwnedPath;

/// How long to wait if the host has no descriptor or thread left.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a refused client may take to read the reason.
const PATIENCE: Duration = Duration::from_millis(100);

/// A socket that is not served yet.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    owned_path: OwnedPath,
}

impl Socket {
    /// Create the socket.
    ///
    /// # Errors
    /// When the name is taken, or cannot be created.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let (listener, owned_path) = OwnedPath::socket(path)?;
        Ok(Self { listener, owned_path })
    }

    /// Serve clients, one at a time, until the process ends. Dropping the returned value removes
    /// the socket's name, so that nobody can connect any more.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(super) fn serve(self, console: &Arc<GuestConsole>) -> Result<OwnedPath> {
        let Self { listener, owned_path } = self;
        let console = Arc::clone(console);
        let name = format!("con{}-sock", console.number);
        let thread = threads::start(name, move || accept(&listener, &console));
        thread.context("starting the thread of a console's socket")?;
        Ok(owned_path)
    }
}

fn accept(listener: &UnixListener, console: &Arc<GuestConsole>) {
    loop {
        let admitted = listener.accept().and_then(|(stream, _)| admit(stream, console));
        if let Err(error) = admitted {
            log::debug!("con{}: its socket: {error}", console.number);
            // A client that has left already needs no pause.
            if error.raw_os_error() != Some(libc::ECONNABORTED) {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn admit(stream: UnixStream, console: &Arc<GuestConsole>) -> io::Result<()> {
    if !peer::is_one_of_us(&stream) {
        refuse(&stream, "this guest belongs to another user");
        return Ok(());
    }
    match client::admit(&stream, peer::pid(&stream), console, AttachMode::Write, Wire::Plain) {
        Err(Some(pid)) => {
            refuse(&stream, &format!("the console is in use by pid {pid}"));
            Ok(())
        }
        Err(None) => Err(io::Error::other("no descriptor to spare")),
        Ok(admitted) => {
            let body = move || {
                // The client sees how its connection ends.
                let _ = admitted.serve(BufReader::new(&stream), (0, 0));
            };
            let name = format!("con{}-socket", console.number);
            threads::start(name, body).map(drop)
        }
    }
}

fn refuse(mut stream: &UnixStream, why: &str) {
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = write!(stream, "lguest: {why}\r\n");
    let _ = stream.shutdown(Shutdown::Both);
}
