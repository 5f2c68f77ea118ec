//! One stream of a command's output, on its way to the launcher.

use std::fs::File;
use std::io::{ErrorKind, Read};

use lguest_init::frame::{CommandId, FromCommand, FromGuest, MOST};

use crate::port::Port;
use crate::{Result, sys};

/// The most unread bytes in a terminal. A terminal cannot be asked for their number.
const TERMINAL: usize = 64 << 10;

/// A stream of output.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` if the stream has ended.
    file: Option<File>,
    /// The constructor of this stream's frames.
    frame: fn(Vec<u8>) -> FromCommand,
    /// How many more bytes are read after the command has ended. Its surviving children may keep
    /// the other end open, and write to it forever.
    left: usize,
}

impl Output {
    pub(super) fn new(file: Option<File>, frame: fn(Vec<u8>) -> FromCommand) -> Self {
        Self { file, frame, left: usize::MAX }
    }

    /// Returns the file to poll.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.file.is_none()
    }

    /// Limits the stream to the bytes that it has now.
    pub(super) fn take_the_rest(&mut self) {
        self.left = self.file.as_ref().map_or(0, |file| sys::unread(file).unwrap_or(TERMINAL));
    }

    /// Sends what has been written, as far as the credit allows, or discards it if there is nobody to
    /// send it to. With `last`, an empty stream is at
    /// its end.
    pub(super) fn send(
        &mut self,
        to: Option<(&mut Port, CommandId)>,
        credit: &mut u32,
        last: bool,
    ) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = [0; MOST];
        let most = usize::try_from(*credit).unwrap_or(MOST).min(self.left).min(MOST);
        if most == 0 {
            if self.left == 0 {
                self.file = None;
            }
            return Ok(());
        }
        match file.read(bytes.get_mut(..most).unwrap_or_default()) {
            Ok(count @ 1..) => {
                let read = bytes.get(..count).unwrap_or_default().to_vec();
                self.left = if last { self.left.saturating_sub(count) } else { self.left };
                *credit = credit.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
                let Some((port, command)) = to else { return Ok(()) };
                port.say(&FromGuest::Command(command, (self.frame)(read)))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !last => Ok(()),
            // All writers have closed the stream.
            _ => {
                self.file = None;
                Ok(())
            }
        }
    }
}
