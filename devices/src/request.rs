//! One request of the driver as two streams of bytes. [`crate::queue`] copies and checks
//! the descriptor chain once. A [`crate::device::Service`] reads one stream and fills the
//! other, and never sees a descriptor. If input comes in pieces that may be larger than a
//! buffer (frames), a request is a window over as many chains as the largest piece needs:
//! the filled chains go back to the driver together, the others stay for the next piece.

use vm_memory::VolatileSlice;

use crate::error::GuestError;

mod buffers;

pub use buffers::Buffers;

/// A request of the driver. A queue thread reuses one value for all requests, so that
/// serving a request allocates nothing.
#[derive(Debug, Default)]
pub struct Request<'m> {
    /// The chains, in the order in which the driver offered them.
    chains: Vec<Chain>,
    /// Bytes from the driver (device-readable).
    pub from_guest: Buffers<'m>,
    /// Room for the answer (device-writable).
    pub to_guest: Buffers<'m>,
    /// The number of errors, see [`Self::count_error`].
    errors: u64,
}

/// One descriptor chain of a request: its first descriptor, and its bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    head: u16,
    from_guest: u32,
    to_guest: u32,
}

impl<'m> Request<'m> {
    pub(crate) fn clear(&mut self) {
        self.chains.clear();
        self.from_guest.clear();
        self.to_guest.clear();
    }

    /// The number of chains of the request.
    pub(crate) fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Begins a chain: buffers that are pushed from now on belong to it.
    pub(crate) fn begin_chain(&mut self, head: u16) {
        self.chains.push(Chain { head, ..Chain::default() });
    }

    /// Drops the chain that was begun last: it cannot be served.
    pub(crate) fn forget_chain(&mut self) {
        self.chains.pop();
    }

    /// Adds a buffer to the chain that was begun last.
    pub(crate) fn push(
        &mut self,
        slice: &VolatileSlice<'m, ()>,
        to_guest: bool,
    ) -> Result<(), GuestError> {
        let Some(chain) = self.chains.last_mut() else { return Ok(()) };
        let length = u32::try_from(slice.len()).map_err(|_| GuestError::ChainTooLarge)?;
        // 2.7.5.2 counts both directions.
        let total = u64::from(chain.from_guest) + u64::from(chain.to_guest) + u64::from(length);
        if total > u64::from(u32::MAX) {
            return Err(GuestError::ChainTooLarge);
        }
        if to_guest {
            chain.to_guest += length;
            self.to_guest.push(slice);
        } else {
            chain.from_guest += length;
            self.from_guest.push(slice);
        }
        Ok(())
    }

    /// Whether the chain that was begun last has room for an answer.
    pub(crate) fn chain_has_room(&self) -> bool {
        self.chains.last().is_some_and(|chain| chain.to_guest != 0)
    }

    /// Returns how many chains an answer of `bytes` fills, at least one. They go back to the
    /// driver together.
    #[must_use]
    pub fn chains_for(&self, bytes: u32) -> u16 {
        let mut left = bytes;
        let mut count = 0_u16;
        for chain in &self.chains {
            // No overflow: a request has no more chains than the ring has entries.
            count += 1;
            if left <= chain.to_guest {
                break;
            }
            left -= chain.to_guest;
        }
        count
    }

    /// Counts an error that does not end the service: a request is answered with an error (a
    /// bad sector), or input or output is lost (a frame).
    pub fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// Returns the number of errors since the last call.
    pub(crate) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    /// Returns the bytes of the chains that go back: those from the driver, and those that
    /// were written for it.
    pub(crate) fn moved(&self) -> [u64; 2] {
        let done = self.to_guest.done();
        let used = self.chains.iter().take(self.chains_for(done).into());
        [used.map(|chain| u64::from(chain.from_guest)).sum(), done.into()]
    }

    /// Returns the entries for the used ring: the head of each filled chain, and how many
    /// bytes were written to it.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u16, u32)> {
        let mut left = self.to_guest.done();
        let used = self.chains.iter().take(self.chains_for(left).into());
        used.map(move |chain| {
            let length = left.min(chain.to_guest);
            left -= length;
            (chain.head, length)
        })
    }

    /// Removes the filled chains, which have gone back to the driver.
    pub(crate) fn retire(&mut self) {
        let count = usize::from(self.chains_for(self.to_guest.done()));
        let (mut from_guest, mut to_guest) = (0, 0);
        for chain in self.chains.drain(..count) {
            from_guest += u64::from(chain.from_guest);
            to_guest += u64::from(chain.to_guest);
        }
        self.from_guest.retire(from_guest);
        self.to_guest.retire(to_guest);
    }

    /// Checks that the request has no device-writable buffer, for queues that only take
    /// bytes.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the request has one.
    pub fn expect_nothing_to_guest(&self) -> Result<(), GuestError> {
        if self.to_guest.offered() {
            return Err(GuestError::Direction("device-writable buffer in an output queue"));
        }
        Ok(())
    }

    /// Checks that the request has no device-readable buffer, for queues that only give
    /// bytes.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the request has one.
    pub fn expect_nothing_from_guest(&self) -> Result<(), GuestError> {
        if self.from_guest.offered() {
            return Err(GuestError::Direction("device-readable buffer in an input queue"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
