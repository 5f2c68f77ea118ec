//! One request of the driver: a descriptor chain, checked and copied once by
//! [`crate::queue`], as two streams of bytes. A [`crate::device::Service`]
//! reads the one and fills the other and never sees a descriptor. Where input
//! comes in pieces that may be larger than a buffer (frames), a request is a
//! window over as many chains as the largest piece needs; those that were
//! filled go back to the driver together, the others stay for the next piece.

use vm_memory::VolatileSlice;

use crate::error::GuestError;

mod buffers;

pub use buffers::Buffers;

/// What the driver put in the queue. The thread reuses one for all requests,
/// so that serving one allocates nothing.
#[derive(Debug, Default)]
pub struct Request<'m> {
    /// In the order in which the driver made them available.
    chains: Vec<Chain>,
    /// Bytes that the driver hands over (device-readable).
    pub from_guest: Buffers<'m>,
    /// Room for the answer (device-writable).
    pub to_guest: Buffers<'m>,
    /// What went wrong with it, see [`Self::count_error`].
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

    /// How many chains it has.
    pub(crate) fn chains(&self) -> usize {
        self.chains.len()
    }

    /// What is pushed from now on belongs to this chain.
    pub(crate) fn begin_chain(&mut self, head: u16) {
        self.chains.push(Chain { head, ..Chain::default() });
    }

    /// The chain begun last is not one that can be served.
    pub(crate) fn forget_chain(&mut self) {
        self.chains.pop();
    }

    /// One more buffer of the chain begun last.
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

    /// Whether the chain begun last has room for an answer.
    pub(crate) fn chain_has_room(&self) -> bool {
        self.chains.last().is_some_and(|chain| chain.to_guest != 0)
    }

    /// How many chains an answer of `bytes` takes, at least one: what goes back
    /// to the driver together.
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

    /// Something of the service's has gone wrong, and the request is answered all the same
    /// (a bad sector), or what was in it or for it is lost (a frame).
    pub fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// How often that was since this was last asked.
    pub(crate) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    /// Bytes of the chains that go back: those that the driver handed over, and those
    /// that were written for it.
    pub(crate) fn moved(&self) -> [u64; 2] {
        let done = self.to_guest.done();
        let used = self.chains.iter().take(self.chains_for(done).into());
        [used.map(|chain| u64::from(chain.from_guest)).sum(), done.into()]
    }

    /// What the used ring gets: the heads of the chains that were filled, and
    /// how far each was.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u16, u32)> {
        let mut left = self.to_guest.done();
        let used = self.chains.iter().take(self.chains_for(left).into());
        used.map(move |chain| {
            let length = left.min(chain.to_guest);
            left -= length;
            (chain.head, length)
        })
    }

    /// Those chains have gone back to the driver.
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

    /// For queues that only take: there is nowhere to put an answer.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the driver offered room all the same.
    pub fn expect_nothing_to_guest(&self) -> Result<(), GuestError> {
        if self.to_guest.offered() {
            return Err(GuestError::Direction("device-writable buffer in an output queue"));
        }
        Ok(())
    }

    /// For queues that only give.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the driver handed over bytes all the same.
    pub fn expect_nothing_from_guest(&self) -> Result<(), GuestError> {
        if self.from_guest.offered() {
            return Err(GuestError::Direction("device-readable buffer in an input queue"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
