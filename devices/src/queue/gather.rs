//! Gathering: how a request comes to have as much room as the largest piece of
//! input needs (virtio 1.2, 5.1.6.4, mergeable receive buffers). The thread then
//! sleeps in the one readv(2) that fills it. Only when the driver has given less
//! than that is there a poll first: what is left may suffice for what comes, and
//! more room may come before it.
//!
//! A service asks for it with [`crate::device::Service::gathers`].

use std::os::fd::BorrowedFd;

use super::Virtqueue;
use crate::Memory;
use crate::device::Input;
use crate::error::ServeError;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::sys;

impl Virtqueue {
    /// Add chains to `request` until it has room for the largest piece of
    /// `input`; or, if there are no more, until a piece is there.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once the thread is to stop.
    pub fn gather<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        input: &Input<'_>,
        stop: &StopFlag,
    ) -> Result<(), ServeError> {
        loop {
            while !self.has_enough(request, input.largest) && self.pop_more(memory, request)? {}
            // Chains without any room go back as they are.
            if self.has_enough(request, input.largest) || request.to_guest.is_empty() {
                return Ok(());
            }
            if self.ask_for_notification(memory)? {
                continue;
            }
            let heard = self.more_room_or(input.from);
            self.refuse_notification(memory)?;
            match heard {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(ServeError::Interrupted) if !stop.is_set() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Enough, or as much as one call takes or the ring can hold: chains of a
    /// few bytes each, from a driver with ideas of its own.
    fn has_enough(&self, request: &Request<'_>, largest: u32) -> bool {
        request.to_guest.len() >= largest
            || request.to_guest.fills_a_call()
            || request.chains() >= self.layout.size.into()
    }

    /// Sleep until the driver has given more room (true), or there is input.
    fn more_room_or(&self, input: BorrowedFd<'_>) -> Result<bool, ServeError> {
        let [rung, _ready] = sys::poll([sys::fd_of(&self.doorbell), input], -1)?;
        if rung {
            self.answer_doorbell()?;
        }
        Ok(rung)
    }
}
