//! `--console pty[=LINK]`: a pseudo-terminal, for programs that want a terminal device
//! (picocom, screen). It is a convenience: the kernel keeps what such a program leaves
//! unread, and throws it away if the next one asks for that when it comes, as most do.
//! `lguest console` loses nothing.
//!
//! Two threads: one reads what is typed and notices who comes and goes, of which inotify
//! tells; the other writes what the guest prints while somebody is there, and else leaves
//! it in the ring. Nothing is written to a terminal that nobody has open: it would be
//! read by the wrong one.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use devices::mutex::lock;
use devices::threads;
use host::output::Role;
use host::terminal::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{posix_openpt, ptsname_r, unlockpt};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use wire::Wire;

use super::entry::Entry;
use super::seat::write_out;
use super::{Console, UNKNOWN_SIZE};

/// A program that opens a terminal sets it up first, and throws away what has come by
/// then; so long, none comes.
const SETTLING: Duration = Duration::from_millis(100);

/// How often it is looked, at the end, whether all has been read.
const GLANCE: Duration = Duration::from_millis(5);

/// The pseudo-terminal, before anybody is served.
#[derive(Debug)]
pub(crate) struct Pty {
    master: File,
    /// Of the other end: who opens and closes it.
    events: Inotify,
    path: PathBuf,
    link: Option<Entry>,
}

impl Pty {
    /// Make it, raw, and with nobody there.
    ///
    /// # Errors
    /// When the host has none to spare, or the name of the link is taken.
    pub(super) fn open(link: Option<&Path>) -> Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).map_err(|error| match error {
            Errno::ENOSPC => anyhow!("no free pseudo-terminals{}", limits()),
            error => error.into(),
        })?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname_r(&master)?);
        // Not by its path: that may be another one's in another mount namespace.
        let user_end = sys::user_end(master.as_fd())?;
        let modes = sys::modes(user_end.as_fd())?;
        sys::set_modes(user_end.as_fd(), &sys::raw(&modes))?;
        sys::set_window_size(master.as_fd(), UNKNOWN_SIZE)?;
        let same = format!("/proc/self/fd/{}", user_end.as_raw_fd());
        // Group tty may write to it else.
        fs::set_permissions(&same, Permissions::from_mode(0o600))?;
        let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let opened_and_closed = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE;
        events.add_watch(same.as_str(), opened_and_closed)?;
        let link =
            link.map(|link| Entry::link(link, &path).with_context(|| link.display().to_string()));
        // Having been opened and closed, it says from now on whether it is open.
        drop(user_end);
        Ok(Self { master: OwnedFd::from(master).into(), events, path, link: link.transpose()? })
    }

    /// The device to open.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Serve the programs that open it until the process ends. The link goes when what is
    /// returned is dropped.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub(super) fn serve(self, console: &Arc<Console>) -> Result<Option<Entry>> {
        let Self { master, events, link, .. } = self;
        let line = Arc::new(Line { master, state: Mutex::default(), changed: Condvar::new() });
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
    console: &Arc<Console>,
    line: &Arc<Line>,
    body: impl FnOnce(&Line, &Console) + Send + 'static,
) -> Result<()> {
    let (line, console) = (Arc::clone(line), Arc::clone(console));
    let name = format!("con{}-pty-{what}", console.number);
    let thread = threads::start(name, move || body(&line, &console));
    thread.map(drop).context("starting a thread of a pseudo-terminal")
}

/// What the two threads share.
#[derive(Debug)]
struct Line {
    /// Our end of it. Never blocks.
    master: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody has it open.
    is_open: bool,
    /// Who writes to him what the guest prints.
    reader: Option<u64>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// As the kernel has it.
    fn is_open(&self) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::empty())];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_err() || !fds[0].revents().is_some_and(|it| it.contains(PollFlags::POLLHUP))
    }

    /// Has the program that has it open left something unread?
    fn is_unread(&self) -> bool {
        let Ok(end) = sys::user_end(self.master.as_fd()) else { return false };
        // Has the kernel first move what is on its way, as FIONREAD does not.
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }

    fn wait_until_open(&self) {
        let closed = |state: &mut State| !state.is_open;
        let opened = self.changed.wait_while(self.lock(), closed);
        drop(opened.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Read what is typed, and see who comes and goes.
fn listen(line: &Line, events: &Inotify, console: &Console) {
    let mut typed = Vec::new();
    let mut size = UNKNOWN_SIZE;
    loop {
        let there = line.is_open();
        let before = std::mem::replace(&mut line.lock().is_open, there);
        if there && !before {
            line.changed.notify_all();
        }
        // Who has gone reads nothing more: what comes is for the next.
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
        // What they are, the terminal says itself.
        let _ = events.read_events();
    }
}

/// Pass on what there is, as far as the guest has room. False if something is wrong.
fn type_in(line: &Line, typed: &mut Vec<u8>, console: &Console) -> bool {
    let mut buffer = [0; 1 << 12];
    loop {
        while !typed.is_empty() {
            match console.input.send(typed) {
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
            // Nothing there, or nobody.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Write what the guest prints, while somebody has it open.
fn print(line: &Line, console: &Console) {
    let mut out = Out { line, unwritten: Vec::new() };
    while console.ending.get().is_none() {
        line.wait_until_open();
        thread::sleep(SETTLING);
        let mut reader = console.output.reader(Role::Client);
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
        // What is unread when we end is lost with the terminal: while the reader exists,
        // the end waits, but not for long.
        while console.ending.get().is_some() && line.is_open() && line.is_unread() {
            thread::sleep(GLANCE);
        }
    }
}

/// Our end, for writing: waits for a slow reader. When nobody is there, which is
/// an error, it keeps what it was to write for the next.
#[derive(Debug)]
struct Out<'a> {
    line: &'a Line,
    unwritten: Vec<u8>,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // The program that listens may not see it, if another one comes at once.
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

    /// Nothing is held back here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
