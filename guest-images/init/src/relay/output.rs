//! One stream of the command's output, on its way to the launcher.

use std::fs::File;
use std::io::{ErrorKind, Read};

use lguest_init::frame::{FromGuest, MOST};

use crate::port::Port;
use crate::{Result, sys};

/// What a terminal may hold that has not been read: its length cannot be asked for.
const TERMINAL: usize = 64 << 10;

/// A stream.
#[derive(Debug)]
pub(super) struct Output {
    /// None when it has ended.
    file: Option<File>,
    /// What says so to the launcher.
    frame: fn(Vec<u8>) -> FromGuest,
    /// The command has ended: so much is still taken. Those of its children that live on
    /// may keep the other end open, and write to it for ever.
    left: usize,
}

impl Output {
    pub(super) fn new(file: Option<File>, frame: fn(Vec<u8>) -> FromGuest) -> Self {
        Self { file, frame, left: usize::MAX }
    }

    /// What is to be waited for.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.file.is_none()
    }

    /// Nothing more than it has now.
    pub(super) fn take_the_rest(&mut self) {
        self.left = self.file.as_ref().map_or(0, |file| sys::unread(file).unwrap_or(TERMINAL));
    }

    /// Send what there is, as far as the credit goes. With `last`, what is not there does
    /// not come any more.
    pub(super) fn send(&mut self, port: &mut Port, credit: &mut u32, last: bool) -> Result<()> {
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
                port.say(&(self.frame)(read))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !last => Ok(()),
            // Nobody writes to it any more.
            _ => {
                self.file = None;
                Ok(())
            }
        }
    }
}
