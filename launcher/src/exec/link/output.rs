//! The output of one command, on its way from the thread that receives frames to the one that
//! writes it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use devices::mutex::{lock, wait};
use devices::number::clamped_u32;
use lguest_init::frame::{FromCommand, OUTPUT_WINDOW};

/// The guest has sent more output of a command than it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overrun;

/// The output of a command.
#[derive(Debug, Default)]
pub(super) struct CommandOutput {
    queue: Mutex<OutputQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OutputQueue {
    frames: VecDeque<FromCommand>,
    /// The bytes that were received, and not reported as written.
    unwritten: u32,
    /// Whether nothing more comes.
    is_closed: bool,
    /// Whether nobody takes the output any more.
    is_abandoned: bool,
}

/// The number of bytes of output in a frame.
fn length(frame: &FromCommand) -> u32 {
    match frame {
        FromCommand::Stdout(bytes) | FromCommand::Stderr(bytes) => clamped_u32(bytes.len() as u64),
        _ => 0,
    }
}

impl CommandOutput {
    fn lock(&self) -> MutexGuard<'_, OutputQueue> {
        lock(&self.queue)
    }

    /// Add a frame. Output that nobody takes any more is discarded.
    pub(super) fn push(&self, frame: FromCommand) -> Result<(), Overrun> {
        let mut queue = self.lock();
        let length = length(&frame);
        if queue.is_abandoned {
            return Ok(());
        }
        let unwritten = queue.unwritten.saturating_add(length);
        if unwritten > OUTPUT_WINDOW {
            return Err(Overrun);
        }
        queue.unwritten = unwritten;
        // Many short frames take no more memory than one long frame.
        match (queue.frames.back_mut(), frame) {
            (Some(FromCommand::Stdout(last)), FromCommand::Stdout(bytes))
            | (Some(FromCommand::Stderr(last)), FromCommand::Stderr(bytes)) => last.extend(bytes),
            (_, frame) => queue.frames.push_back(frame),
        }
        self.changed.notify_all();
        Ok(())
    }

    /// The next frame. None when the output is closed or abandoned, and all of it was taken.
    pub(super) fn next(&self) -> Option<FromCommand> {
        let mut queue = self.lock();
        while queue.frames.is_empty() && !queue.is_closed && !queue.is_abandoned {
            queue = wait(&self.changed, queue);
        }
        queue.frames.pop_front()
    }

    /// Record that bytes were written, and that the guest gets a report of it.
    pub(super) fn written(&self, count: u32) {
        let mut queue = self.lock();
        queue.unwritten = queue.unwritten.saturating_sub(count);
    }

    /// End the output: nothing more comes.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Discard the output from now on.
    pub(super) fn abandon(&self) {
        let mut queue = self.lock();
        queue.is_abandoned = true;
        queue.frames.clear();
        self.changed.notify_all();
    }
}
