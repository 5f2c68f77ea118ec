//! Knocking: how a console's input is kept from a driver that would drop it.
//!
//! Linux' virtio_console gives its receive buffers to the device before it is
//! ready for what may come in them: whatever is announced by an interrupt
//! until then is thrown away (drivers/char/virtio_console.c, `in_intr`), and
//! nothing tells a device without multiport that the moment has passed. But
//! when the guest opens its terminal, the driver looks into the ring without
//! having been called. So one buffer is handed back empty and *without an
//! interrupt*: when it is offered to us again, the terminal is open.
//!
//! Called once by [`crate::queue_thread`] for services that ask for it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Virtqueue;
use crate::Memory;
use crate::error::ServeError;
use crate::request::Request;
use crate::sys;

/// How long a driver may take from filling its ring to being ready. After
/// that, input that comes in does not wait for an answer; until then, no
/// driver that does not look by itself notices any delay that matters.
const PATIENCE_MS: i32 = 1000;

impl Virtqueue {
    /// Returns when the driver has taken the empty buffer back, or has had
    /// time enough and there is something in `input` for it.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once `stop` is set.
    pub fn knock<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        input: BorrowedFd<'_>,
        stop: &AtomicBool,
    ) -> Result<(), ServeError> {
        self.wait_for_request(memory, request, stop)?;
        self.add_used(memory, request)?;
        self.signalled = self.position.next_used;
        let mut patient = true;
        // One entry has been used: a full ring means that it came back.
        let answer = self.position.next_avail.wrapping_add(self.layout.size - 1);
        loop {
            self.ask_for_notification_at(memory, answer)?;
            if self.available(memory)? == self.layout.size {
                break;
            }
            match self.listen(input, patient) {
                Ok(Heard::Doorbell) => {}
                Ok(Heard::Input) => break,
                Ok(Heard::Nothing) => {
                    // A driver that waits to be called is called now.
                    self.interrupt.trigger();
                    patient = false;
                }
                Err(ServeError::Interrupted) if !stop.load(Ordering::Acquire) => {}
                Err(error) => return Err(error),
            }
        }
        self.refuse_notification(memory)?;
        Ok(())
    }

    fn listen(&self, input: BorrowedFd<'_>, patient: bool) -> Result<Heard, ServeError> {
        let doorbell = sys::fd_of(&self.doorbell);
        let (rung, ready) = if patient {
            let [rung] = sys::poll([doorbell], PATIENCE_MS)?;
            (rung, false)
        } else {
            let [rung, ready] = sys::poll([doorbell, input], -1)?;
            (rung, ready)
        };
        if rung {
            sys::wait(&self.doorbell)?;
            return Ok(Heard::Doorbell);
        }
        Ok(if ready { Heard::Input } else { Heard::Nothing })
    }
}

enum Heard {
    Doorbell,
    Input,
    Nothing,
}
