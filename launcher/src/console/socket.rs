//! `--console sock=PATH`: a socket of the console's own, for programs that know nothing
//! of lguest (`socat -,raw,echo=0 UNIX:PATH`). Plain bytes go over it. Apart
//! from that, a program that connects is a client that types, like `lguest console`
//! ([`super::seat`] serves both).

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
use wire::protocol::Mode;

use super::Console;
use super::entry::Entry;
use super::seat;

/// How long to wait when the host has no descriptor or thread to spare.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one who is sent away may take to hear why.
const PATIENCE: Duration = Duration::from_millis(100);

/// The socket, before anybody is served.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    entry: Entry,
}

impl Socket {
    /// Make it.
    ///
    /// # Errors
    /// When the name is taken, or cannot be had.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let (listener, entry) = Entry::socket(path)?;
        Ok(Self { listener, entry })
    }

    /// Serve clients, one at a time, until the process ends. Nobody comes any
    /// more when what is returned is dropped.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub(super) fn serve(self, console: &Arc<Console>) -> Result<Entry> {
        let Self { listener, entry } = self;
        let console = Arc::clone(console);
        let name = format!("con{}-sock", console.number);
        let thread = threads::start(name, move || accept(&listener, &console));
        thread.context("starting the thread of a console's socket")?;
        Ok(entry)
    }
}

fn accept(listener: &UnixListener, console: &Arc<Console>) {
    loop {
        let admitted = listener.accept().and_then(|(stream, _)| admit(stream, console));
        if let Err(error) = admitted {
            log::debug!("con{}: its socket: {error}", console.number);
            // Of a client that is gone again, nothing is left.
            if error.raw_os_error() != Some(libc::ECONNABORTED) {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn admit(stream: UnixStream, console: &Arc<Console>) -> io::Result<()> {
    if !peer::is_one_of_us(&stream) {
        refuse(&stream, "this guest belongs to another user");
        return Ok(());
    }
    match seat::admit(&stream, peer::pid(&stream), console, Mode::Write, Wire::Plain) {
        Err(Some(pid)) => {
            refuse(&stream, &format!("the console is in use by pid {pid}"));
            Ok(())
        }
        Err(None) => Err(io::Error::other("no descriptor to spare")),
        Ok(admitted) => {
            let body = move || {
                // Its end is the client's own affair.
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
