//! The driver readiness probe: it keeps a console's input from a driver that would
//! discard it.
//!
//! Linux' virtio_console gives its receive buffers to the device before its port is
//! open. It discards everything that an interrupt announces until then
//! (drivers/char/virtio_console.c, `in_intr`), and a device without multiport does not
//! learn when the port opens. But when the guest opens the terminal, the driver looks
//! into the ring without an interrupt. So the device hands one buffer back empty and
//! *without an interrupt*. When the driver offers that buffer again, the port is open.
//!
//! A service asks for the probe with [`crate::device::Service::probes_driver`]; the console
//! is the only one that does.

use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use super::Virtqueue;
use crate::Memory;
use crate::error::ServeError;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::sys;

/// How long a driver may take from filling its ring to being ready. After that, input
/// does not wait for an answer any more. A driver that never answers sees its first
/// input this much later.
const PATIENCE_MS: i32 = 1000;

/// Whether the driver is ready for input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DriverReadiness {
    /// The driver has not been probed.
    #[default]
    Unknown,
    /// The driver has the empty buffer. Its avail index becomes `answer` + 1 when it
    /// answers. While `patient`, input waits for that.
    Probed {
        /// The avail index before the answer.
        answer: u16,
        /// Whether input waits for the answer.
        patient: bool,
    },
    /// Input may go to the driver.
    Ready,
}

impl Virtqueue {
    /// Probes the driver. Returns when the driver has offered the empty buffer again, or
    /// when it has had time enough and there is input for it. `readiness` keeps the
    /// progress, so that a call after an interruption continues from there.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once the thread is to stop.
    pub fn probe_driver(
        &mut self,
        memory: &Memory,
        input: BorrowedFd<'_>,
        readiness: &mut DriverReadiness,
        stop: &StopFlag,
    ) -> Result<(), ServeError> {
        loop {
            *readiness = match *readiness {
                DriverReadiness::Unknown => self.hand_back_empty(memory, stop)?,
                DriverReadiness::Probed { answer, patient } => {
                    match self.wait_for_answer(memory, input, answer, patient) {
                        Err(ServeError::Interrupted) if !stop.is_set() => continue,
                        answered => answered?,
                    }
                }
                DriverReadiness::Ready => return Ok(self.refuse_notification(memory)?),
            }
        }
    }

    /// Hands the first buffer back to the driver, empty and without an interrupt.
    fn hand_back_empty(
        &mut self,
        memory: &Memory,
        stop: &StopFlag,
    ) -> Result<DriverReadiness, ServeError> {
        let mut request = Request::default();
        self.wait_for_request(memory, &mut request, stop)?;
        request.expect_nothing_from_guest()?;
        self.hand_back(memory, &mut request)?;
        self.signalled = self.position.next_used;
        // One entry has been used: a full ring means that it came back.
        let answer = self.position.next_avail.wrapping_add(self.layout.size - 1);
        Ok(DriverReadiness::Probed { answer, patient: true })
    }

    /// Looks whether the driver has answered, and sleeps until it may have if it has not.
    fn wait_for_answer(
        &self,
        memory: &Memory,
        input: BorrowedFd<'_>,
        answer: u16,
        patient: bool,
    ) -> Result<DriverReadiness, ServeError> {
        self.ask_for_notification_at(memory, answer)?;
        if self.available(memory)? == self.layout.size {
            return Ok(DriverReadiness::Ready);
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
            return Ok(DriverReadiness::Probed { answer, patient });
        }
        if ready {
            return Ok(DriverReadiness::Ready);
        }
        // A driver that waits for an interrupt gets one now.
        self.interrupt();
        Ok(DriverReadiness::Probed { answer, patient: false })
    }
}
