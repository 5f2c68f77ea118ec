//! The emptying half of stdout's ring: a thread that does nothing but write(2).
//! Only it knows whether anybody reads. Started by [`super::Stdout`]; filled by
//! [`super::Sink`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::{Shared, say_lost};

/// What is taken out of the ring at once: as much as a pipe holds.
const CHUNK: usize = 1 << 16;

/// Write out what comes into the ring, until nobody can read it any more.
pub(super) fn write_out(shared: &Shared, output: &OwnedFd) {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut failing = None;
    loop {
        shared.take(&mut chunk);
        match write_all(shared, output, &chunk) {
            Ok(()) => failing = None,
            Err(error @ (Errno::EPIPE | Errno::EIO)) => return shared.close(error),
            // A full disk may get room again.
            Err(error) => {
                if failing.replace(error) != Some(error) {
                    log::warn!("writing to stdout: {}: output is lost", io::Error::from(error));
                }
            }
        }
    }
}

fn write_all(shared: &Shared, output: &OwnedFd, chunk: &[u8]) -> Result<(), Errno> {
    let mut rest = chunk;
    while !rest.is_empty() {
        match write(output, rest) {
            Ok(written) => {
                let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
                rest = left;
                shared.was_read(done);
            }
            Err(Errno::EINTR) => {}
            // Somebody handed us a non-blocking stdout. Making it blocking would
            // change it for them, too.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Shared {
    /// Sleep until the ring has something, and take the beginning of it.
    fn take(&self, chunk: &mut Vec<u8>) {
        chunk.clear();
        let mut state = self.lock();
        state.writing = false;
        while state.ring.is_empty() {
            if state.finishing {
                let _ = self.flushed.write(1);
            }
            // Back to its beginning: as few pages as possible are ever used.
            state.ring.clear();
            state.writer_sleeps = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer_sleeps = false;
        state.writing = true;
        for part in <[&[u8]; 2]>::from(state.ring.as_slices()) {
            let wanted = part.len().min(CHUNK - chunk.len());
            chunk.extend_from_slice(part.get(..wanted).unwrap_or_default());
        }
        state.ring.drain(..chunk.len());
        if state.sinks_waiting > 0 {
            let _ = self.room.write(1);
        }
    }

    /// The reader took something, so it is there.
    fn was_read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some(screen) = &mut state.screen {
            screen.watch(bytes);
        }
        state.waited = Duration::ZERO;
        let lost = std::mem::take(&mut state.dropped);
        drop(state);
        say_lost(lost);
    }

    /// Nobody will read stdout again. The guest goes on without.
    fn close(&self, error: Errno) {
        let mut state = self.lock();
        state.closed = true;
        state.ring = std::collections::VecDeque::new();
        let _ = self.room.write(1);
        let _ = self.flushed.write(1);
        drop(state);
        log::warn!("writing to stdout: {}: further output is lost", io::Error::from(error));
    }
}
