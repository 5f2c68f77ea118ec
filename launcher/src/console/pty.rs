//! `--console pty[=LINK]`: a pseudo-terminal, for programs that need a terminal device (picocom,
//! screen). It is a convenience: the kernel keeps what such a program leaves unread, and discards
//! it if the next program asks for that when it opens the terminal, as most do. `lguest console`
//! loses nothing.
//!
//! Two threads serve it. One reads what is typed, and learns from inotify when programs open and
//! close the terminal. The other writes the guest's output while a program has it open, and leaves
//! the output in the ring otherwise. Nothing is written to a terminal that no program has open: the
//! wrong program would read it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use devices::mutex::{lock, wait};
use devices::threads;
use host::output::ReaderRole;
use host::terminal::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{posix_openpt, ptsname_r, unlockpt};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use wire::Wire;

use super::client::write_out;
use super::owned_path::OwnedPath;
use super::{GuestConsole, UNKNOWN_SIZE};

/// How long a program may take to set up a terminal that it has opened. Programs discard what
/// arrives until then, so nothing is written.
const SETTLING: Duration = Duration::from_millis(100);

/// How often the end of the guest checks whether all output has been read.
const GLANCE: Duration = Duration::from_millis(5);

/// A pseudo-terminal that is not served yet.
#[derive(Debug)]
pub(crate) struct Pty {
    master: File,
    /// Reports when programs open and close the other end.
    events: Inotify,
    path: PathBuf,
    link: Option<OwnedPath>,
}

impl Pty {
    /// Create a pseudo-terminal, in raw mode, with nobody at the other end.
    ///
    /// # Errors
    /// When the host has no pseudo-terminal left, or the name of the link is taken.
    pub(super) fn open(link: Option<&Path>) -> Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).map_err(|error| match error {
            Errno::ENOSPC => anyhow!("no free pseudo-terminals{}", limits()),
            error => error.into(),
        })?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname_r(&master)?);
        // Opened without its path: in another mount namespace that may be another terminal.
        let user_end = sys::user_end(master.as_fd())?;
        let modes = sys::modes(user_end.as_fd())?;
        sys::set_modes(user_end.as_fd(), &sys::raw(&modes))?;
        sys::set_window_size(master.as_fd(), UNKNOWN_SIZE)?;
        let same = format!("/proc/self/fd/{}", user_end.as_raw_fd());
        // The group tty could write to it otherwise.
        fs::set_permissions(&same, Permissions::from_mode(0o600))?;
        let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let opened_and_closed = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE;
        events.add_watch(same.as_str(), opened_and_closed)?;
        let link = link
            .map(|link| OwnedPath::link(link, &path).with_context(|| link.display().to_string()));
        // After it was opened and closed once, the kernel reports whether it is open.
        drop(user_end);
        Ok(Self { master: OwnedFd::from(master).into(), events, path, link: link.transpose()? })
    }

    /// The device that programs open.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Serve the programs that open the terminal until the process ends. Dropping the returned
    /// value removes the link.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(super) fn serve(self, console: &Arc<GuestConsole>) -> Result<Option<OwnedPath>> {
        let Self { master, events, link, .. } = self;
        let line = Arc::new(PtyLine { master, state: Mutex::default(), changed: Condvar::new() });
        start("in", console, &line, move |line, console| listen(line, &events, console))?;
        start("out", console, &line, print)?;
        Ok(link)
    }
}

fn limits() -> String {
    let number = |name| fs::read_to_string(format!("/proc/sys/kernel/pty/{name}")).ok();
    let numbers = number("max").zip(number("nr"));
    numbers.map_or(String::new(), |(most, used)| {
        format!(" (kernel.pty.max={}, in use {})", most.trim(), used.trim())
    })
}

fn start(
    what: &str,
    console: &Arc<GuestConsole>,
    line: &Arc<PtyLine>,
    body: impl FnOnce(&PtyLine, &GuestConsole) + Send + 'static,
) -> Result<()> {
    let (line, console) = (Arc::clone(line), Arc::clone(console));
    let name = format!("con{}-pty-{what}", console.number);
    let thread = threads::start(name, move || body(&line, &console));
    thread.map(drop).context("starting a thread of a pseudo-terminal")
}

/// What the two threads share.
#[derive(Debug)]
struct PtyLine {
    /// The launcher's end of the terminal. Reads and writes never block.
    master: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a program has the terminal open.
    is_open: bool,
    /// The id of the reader that writes the guest's output to the program.
    reader: Option<u64>,
}

impl PtyLine {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the kernel reports the terminal as open.
    fn is_open(&self) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::empty())];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_err() || !fds[0].revents().is_some_and(|it| it.contains(PollFlags::POLLHUP))
    }

    /// Whether the program that has the terminal open has left output unread.
    fn is_unread(&self) -> bool {
        let Ok(end) = sys::user_end(self.master.as_fd()) else { return false };
        // poll makes the kernel deliver pending output first; FIONREAD does not.
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }

    fn wait_until_open(&self) {
        let mut state = self.lock();
        while !state.is_open {
            state = wait(&self.changed, state);
        }
    }
}

/// Read what is typed, and watch programs open and close the terminal.
fn listen(line: &PtyLine, events: &Inotify, console: &GuestConsole) {
    let mut typed = Vec::new();
    let mut size = UNKNOWN_SIZE;
    loop {
        let there = line.is_open();
        let before = std::mem::replace(&mut line.lock().is_open, there);
        if there && !before {
            line.changed.notify_all();
        }
        // A program that has left reads nothing more: new output is for the next one.
        if let Some(reader) = line.lock().reader.take_if(|_| !there) {
            console.output.dismiss(reader);
        }
        let now = sys::window_size(line.master.as_fd());
        if let Some((columns, rows)) = now.filter(|now| *now != size) {
            size = (columns, rows);
            console.resize(columns, rows);
        }
        if !type_in(line, &mut typed, console) {
            return;
        }
        // A terminal that nobody has open is always ready, with nothing to read.
        let mut fds = vec![PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        if there {
            let wanted = if typed.is_empty() { PollFlags::POLLIN } else { PollFlags::empty() };
            fds.push(PollFd::new(line.master.as_fd(), wanted));
        }
        if !typed.is_empty() {
            fds.push(PollFd::new(console.input.sender(), PollFlags::POLLOUT));
        }
        let _ = poll(&mut fds, PollTimeout::NONE);
        // The terminal itself reports what has changed.
        let _ = events.read_events();
    }
}

/// Send what is typed to the guest, as far as the guest has room. Returns false after an error.
fn type_in(line: &PtyLine, typed: &mut Vec<u8>, console: &GuestConsole) -> bool {
    let mut buffer = [0; 1 << 12];
    loop {
        while !typed.is_empty() {
            match console.input.send_first(typed) {
                Ok(0) => return true,
                Ok(sent) => drop(typed.drain(..sent.min(typed.len()))),
                Err(error) => {
                    log::warn!("con{}: typing: {error}", console.number);
                    return false;
                }
            }
        }
        match (&line.master).read(&mut buffer) {
            Ok(count @ 1..) => typed.extend(buffer.get(..count).unwrap_or_default()),
            // Nothing was typed, or nobody has the terminal open.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Write the guest's output while a program has the terminal open.
fn print(line: &PtyLine, console: &GuestConsole) {
    let mut out = PtyWriter { line, unwritten: Vec::new() };
    while console.ending.get().is_none() {
        line.wait_until_open();
        thread::sleep(SETTLING);
        let mut reader = console.output.reader(ReaderRole::Client);
        {
            let mut state = line.lock();
            if !state.is_open {
                continue;
            }
            state.reader = Some(reader.id());
        }
        let unwritten = std::mem::take(&mut out.unwritten);
        let written = out.write_all(&unwritten);
        let written = written.and_then(|()| write_out(Wire::Plain, &mut out, &mut reader));
        if let Err(error) = written {
            log::debug!("con{}: its pseudo-terminal: {error}", console.number);
        }
        // Output that is unread when the launcher ends is lost with the terminal. The end waits,
        // but not for long, while the reader exists.
        while console.ending.get().is_some() && line.is_open() && line.is_unread() {
            thread::sleep(GLANCE);
        }
    }
}

/// A writer to the terminal that waits for a slow reader. If nobody has the terminal open, a write
/// fails, and its bytes are kept for the next program.
#[derive(Debug)]
struct PtyWriter<'a> {
    line: &'a PtyLine,
    unwritten: Vec<u8>,
}

impl Write for PtyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // The listening thread may not notice that a program left, if another one opens the
            // terminal at once.
            if !self.line.is_open() {
                self.unwritten.extend(bytes);
                return Err(io::ErrorKind::NotConnected.into());
            }
            match (&self.line.master).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let fds = &mut [PollFd::new(self.line.master.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(fds, PollTimeout::NONE);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Succeeds: writes are not buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
