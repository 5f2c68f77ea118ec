//! What the user types, or pipes in, on its way to the guest. A thread of its
//! own reads it, whatever the guest does, so that three ^C always work; a pipe
//! of the kernel holds what the guest has not asked for yet. The console's
//! receive queue reads the other end of that pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use crate::exit::{Ending, Exit};
use crate::terminal::{Terminal, Tty, sys};

mod keys;

#[cfg(test)]
mod tests;

/// What the guest may leave unread. Hosts may grant less.
const CAPACITY: i32 = 1 << 20;

/// Enough for a loop around a system call, also when it panics; the usual 2 MiB
/// would become a huge page on hosts that give them unasked.
const STACK: usize = 128 << 10;

/// The way from stdin to the guest. Keep it for as long as guests run: what is
/// unread survives their reboots.
#[derive(Debug)]
pub(crate) struct Stdin {
    guest_end: OwnedFd,
    /// Open for ever: the end of stdin is not the end of the guest's console.
    _our_end: OwnedFd,
}

impl Stdin {
    /// Start reading. A terminal is not read before [`Terminal::enter`].
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(crate) fn start(exit: &Arc<Exit>, terminal: Option<&Terminal>) -> Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned().context("duplicating stdin")?;
        Self::reading(input, exit, terminal.map(Terminal::tty))
    }

    fn reading(input: OwnedFd, exit: &Arc<Exit>, tty: Option<Arc<Tty>>) -> Result<Self> {
        let (guest_end, our_end) = pipe2(OFlag::O_CLOEXEC).context("creating the input pipe")?;
        // Less room is still room.
        let _ = fcntl(&our_end, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        let input = File::from(input);
        let guest = File::from(our_end.try_clone().context("duplicating the input pipe")?);
        let exit = Arc::clone(exit);
        thread::Builder::new()
            .name("stdin".into())
            .stack_size(STACK)
            .spawn(move || match tty {
                None => copy(input, guest),
                Some(tty) => {
                    keys::pass_on(input, guest, &tty, &exit);
                    if tty.is_hung_up() && !sys::is_ignored(Signal::SIGHUP) {
                        exit.end(Ending::Signal(Signal::SIGHUP as i32));
                    }
                }
            })
            .context("starting the stdin thread")?;
        Ok(Self { guest_end, _our_end: our_end })
    }

    /// The end that the console's receive queue reads. Blocks while there is no
    /// input, and never ends.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn guest_end(&self) -> io::Result<OwnedFd> {
        self.guest_end.try_clone()
    }
}

/// A pipe or file, to its end. The guest's pace holds the writer up, and no
/// byte is lost.
fn copy(mut input: File, mut guest: File) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait_readable(&input);
                continue;
            }
            Err(e) => return log::warn!("reading stdin: {e}: the guest gets no more input"),
        };
        if guest.write_all(bytes).is_err() {
            return;
        }
    }
}

/// Somebody handed us a non-blocking stdin. Making it blocking would change it
/// for them, too.
fn wait_readable(input: &File) {
    let _ = poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
}
