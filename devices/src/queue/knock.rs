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
//! A service asks for it with [`crate::device::Service::knocks`].

use std::os::fd::BorrowedFd;

use super::Virtqueue;
use crate::Memory;
use crate::error::ServeError;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::sys;

/// How long a driver may take from filling its ring to being ready. After
/// that, input that comes in does not wait for an answer; until then, no
/// driver that does not look by itself notices any delay that matters.
const PATIENCE_MS: i32 = 1000;

/// How far the driver's side is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Opening {
    /// Nothing is known.
    #[default]
    Closed,
    /// The driver has the empty buffer. It has answered when its avail index is
    /// `answer` + 1; unless it is no longer waited for, input has to wait for that.
    Knocked {
        /// The avail index before the answer.
        answer: u16,
        /// Whether it is waited for.
        patient: bool,
    },
    /// Input may go to it.
    Open,
}

impl Virtqueue {
    /// Returns when the driver has taken the empty buffer back, or has had
    /// time enough and there is something in `input` for it. How far this has come
    /// is in `opening`, from where it goes on if it is interrupted.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once the thread is to stop.
    pub fn knock(
        &mut self,
        memory: &Memory,
        input: BorrowedFd<'_>,
        opening: &mut Opening,
        stop: &StopFlag,
    ) -> Result<(), ServeError> {
        loop {
            *opening = match *opening {
                Opening::Closed => self.hand_back_empty(memory, stop)?,
                Opening::Knocked { answer, patient } => {
                    match self.hear(memory, input, answer, patient) {
                        Err(ServeError::Interrupted) if !stop.is_set() => continue,
                        heard => heard?,
                    }
                }
                Opening::Open => return Ok(self.refuse_notification(memory)?),
            }
        }
    }

    fn hand_back_empty(&mut self, memory: &Memory, stop: &StopFlag) -> Result<Opening, ServeError> {
        let mut request = Request::default();
        self.wait_for_request(memory, &mut request, stop)?;
        request.expect_nothing_from_guest()?;
        self.hand_back(memory, &mut request)?;
        self.signalled = self.position.next_used;
        // One entry has been used: a full ring means that it came back.
        let answer = self.position.next_avail.wrapping_add(self.layout.size - 1);
        Ok(Opening::Knocked { answer, patient: true })
    }

    /// Look whether the driver has answered, and if not sleep until it may have.
    fn hear(
        &self,
        memory: &Memory,
        input: BorrowedFd<'_>,
        answer: u16,
        patient: bool,
    ) -> Result<Opening, ServeError> {
        self.ask_for_notification_at(memory, answer)?;
        if self.available(memory)? == self.layout.size {
            return Ok(Opening::Open);
        }
        let doorbell = sys::fd_of(&self.doorbell);
        let (rung, ready) = if patient {
            let [rung] = sys::poll([doorbell], PATIENCE_MS)?;
            (rung, false)
        } else {
            let [rung, ready] = sys::poll([doorbell, input], -1)?;
            (rung, ready)
        };
        if rung {
            self.answer_doorbell()?;
            return Ok(Opening::Knocked { answer, patient });
        }
        if ready {
            return Ok(Opening::Open);
        }
        // A driver that waits to be called is called now.
        self.interrupt();
        Ok(Opening::Knocked { answer, patient: false })
    }
}
