//! The input that the user types or pipes in, on its way to the guest. A thread of its
//! own reads stdin, whatever the guest does, so that three ^C always work. A pipe
//! of the kernel holds the input that the guest has not read yet. The console's
//! receive queue reads the other end of that pipe.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use devices::threads;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::exit::{End, Exit, Interruption};
use crate::input::InputPipe;
use crate::terminal::{self, Terminal, Tty, sys};

pub mod escape;
mod keyboard;
pub mod keys;

#[cfg(test)]
mod tests;

/// Start reading stdin, for the console that has this input. A terminal is not
/// read before [`Terminal::enter`].
///
/// # Errors
/// When the host has no descriptor or thread to spare.
pub fn start<T: End>(
    input: &Arc<InputPipe>,
    exit: &Arc<Exit<T>>,
    terminal: Option<&Terminal>,
) -> Result<()> {
    let guest = keys::GuestPipe::new(input, terminal.is_some()).context("the input pipe")?;
    start_for(guest, exit, terminal)
}

/// Start the stdin thread with any sink.
///
/// # Errors
/// When the host has no descriptor or thread to spare.
pub fn start_for<T: End>(
    sink: impl InputSink + Send + 'static,
    exit: &Arc<Exit<T>>,
    terminal: Option<&Terminal>,
) -> Result<()> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().context("duplicating stdin")?;
    read(File::from(stdin), sink, exit, terminal.map(Terminal::tty))
}

/// The destination of input that is typed or piped in.
pub trait InputSink {
    /// Take input that came from a pipe or file, and wait for room.
    ///
    /// # Errors
    /// When the sink will never take more.
    fn hand_on(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Take input that was typed. Must not wait for long, because the next key may be the last ^C.
    fn type_in(&mut self, bytes: &[u8]);

    /// The pipe or file has ended.
    fn end(&mut self) {}
}

fn read<T: End>(
    stdin: File,
    mut sink: impl InputSink + Send + 'static,
    exit: &Arc<Exit<T>>,
    tty: Option<Arc<Tty>>,
) -> Result<()> {
    let exit = Arc::clone(exit);
    let body = move || match tty {
        None => {
            copy(stdin, |bytes| sink.hand_on(bytes));
            sink.end();
        }
        Some(tty) => {
            keys::pass_on(stdin, sink, &tty, &exit);
            if tty.is_hung_up() && !sys::is_ignored(Signal::SIGHUP) {
                exit.end(Interruption::Signal(Signal::SIGHUP as i32).into());
            }
        }
    };
    threads::start("stdin", body).context("starting the stdin thread")?;
    Ok(())
}

/// Pass the bytes of a pipe or file to `hand_on`, to the end. The writer waits for the guest, and
/// no byte is lost. Stops if `hand_on` fails.
pub fn copy(mut input: File, mut hand_on: impl FnMut(&[u8]) -> io::Result<()>) {
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
            Err(e) if terminal::waited_in_background(input.as_fd(), &e) => continue,
            Err(e) => return log::warn!("reading stdin: {e}: the guest gets no more input"),
        };
        if hand_on(bytes).is_err() {
            return;
        }
    }
}

/// Wait until a non-blocking stdin is readable. Making it blocking would change it
/// for the process from which lguest inherited it.
fn wait_readable(input: &File) {
    let _ = poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
}
