//! Gathers chains until a request has room for the largest piece of input (virtio 1.2,
//! 5.1.6.4, mergeable receive buffers). The thread then sleeps in the one readv(2) that
//! fills the request. If the driver has offered fewer chains, the thread first polls for
//! input and for more chains: the input may fit into the chains that there are.
//!
//! A service asks for this with [`crate::device::Service::gathers`]; the network device is
//! the only one that does.

use std::os::fd::BorrowedFd;

use super::Virtqueue;
use crate::Memory;
use crate::device::Input;
use crate::error::ServeError;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::sys;

impl Virtqueue {
    /// Adds chains to `request` until it has room for the largest piece of `input`. If the
    /// driver offers too few, returns when a piece has arrived.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] if the thread has to stop.
    pub fn gather<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        input: &Input<'_>,
        stop: &StopFlag,
    ) -> Result<(), ServeError> {
        loop {
            while !self.has_enough(request, input.largest) && self.pop_more(memory, request)? {}
            // Chains without any room go back empty.
            if self.has_enough(request, input.largest) || request.to_guest.is_empty() {
                return Ok(());
            }
            if self.ask_for_notification(memory)? {
                continue;
            }
            let heard = self.more_room_or(input.from);
            self.refuse_notification(memory)?;
            match heard {
                // As in `wait_for_request`.
                Ok(true) if stop.is_set() => return Err(ServeError::Interrupted),
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(ServeError::Interrupted) if !stop.is_set() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a request has enough room, or as many buffers as a system call takes, or as
    /// many chains as the ring has entries. The last two need chains of a few bytes.
    fn has_enough(&self, request: &Request<'_>, largest: u32) -> bool {
        request.to_guest.len() >= largest
            || request.to_guest.fills_a_call()
            || request.chains() >= self.layout.size.into()
    }

    /// Sleeps until the driver has notified or there is input. Returns true if the driver
    /// has notified.
    fn more_room_or(&self, input: BorrowedFd<'_>) -> Result<bool, ServeError> {
        let [rung, _ready] = sys::poll([sys::fd_of(&self.doorbell), input], -1)?;
        if rung {
            self.answer_doorbell()?;
        }
        Ok(rung)
    }
}
