//! Memory that does not belong to Rust: registers of devices, rings and buffers that a device
//! writes at any time, and tables from lguest. Accesses have a chosen width, use volatile
//! instructions, and never go through a reference. A [`Region`] is either outside of the guest's
//! image or in the part that [`Region::take`] hands out. So a write to it cannot change anything
//! that Rust relies on. (An access to unmapped memory ends in a reported fault.)

use core::cell::UnsafeCell;
use core::ops::Range;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU64, Ordering};

/// A range of memory. Accesses outside of it are bugs of this program, and panic. Hostile accesses
/// use another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    base: u64,
    length: u64,
}

/// A type of the width of a memory access.
pub(crate) trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// The size of the memory that [`Region::take`] hands out.
const POOL: usize = 12 << 20;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[u8; POOL]>);

// SAFETY: no reference to the bytes exists; only their address is used.
unsafe impl Sync for Pool {}

static MEMORY: Pool = Pool(UnsafeCell::new([0; POOL]));
static TAKEN: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    safe static image_start: u8;
    safe static image_end: u8;
}

/// Returns the range of the guest's own image.
fn image() -> Range<u64> {
    (&raw const image_start).addr() as u64..(&raw const image_end).addr() as u64
}

impl Region {
    /// Returns a region of memory outside of the image. `None` if the range overlaps the image.
    pub(crate) fn outside(base: u64, length: u64) -> Option<Self> {
        let (image, end) = (image(), base.checked_add(length)?);
        (end <= image.start || base >= image.end).then_some(Self { base, length })
    }

    /// Returns a region from its address and length. It is outside of the image, or was handed out.
    pub(crate) fn again(base: u64, length: u64) -> Option<Self> {
        let pool = MEMORY.0.get().expose_provenance() as u64;
        let given = pool..pool + TAKEN.load(Ordering::Relaxed);
        let end = base.checked_add(length)?;
        if given.contains(&base) && end <= given.end {
            return Some(Self { base, length });
        }
        Self::outside(base, length)
    }

    /// Returns zeroed memory for rings and buffers. It is never freed.
    pub(crate) fn take(length: u64, align: u64) -> Self {
        let pool = MEMORY.0.get().expose_provenance() as u64;
        let at = (pool + TAKEN.load(Ordering::Relaxed)).next_multiple_of(align);
        let taken = at + length - pool;
        assert!(taken <= POOL as u64, "the pool of memory for devices is empty");
        TAKEN.store(taken, Ordering::Relaxed);
        Self { base: at, length }
    }

    /// Returns the physical address, which is equal to the virtual one.
    pub(crate) fn address(&self) -> u64 {
        self.base
    }

    /// Returns a part of the region.
    pub(crate) fn part(&self, at: u64, length: u64) -> Self {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length), "{self:x?} {at:#x}");
        Self { base: self.base + at, length }
    }

    /// Reads with one access of T's width.
    pub(crate) fn read<T: Word>(&self, at: u64) -> T {
        let address = self.aligned::<T>(at);
        // SAFETY: in bounds and aligned; the memory is not Rust's (module comment).
        unsafe { with_exposed_provenance::<T>(address).read_volatile() }
    }

    /// Writes with one access of T's width.
    pub(crate) fn write<T: Word>(&self, at: u64, value: T) {
        let address = self.aligned::<T>(at);
        // SAFETY: in bounds and aligned; the memory is not Rust's (module comment).
        unsafe { with_exposed_provenance_mut::<T>(address).write_volatile(value) }
    }

    /// Writes 64 bits, byte by byte.
    pub(crate) fn write_unaligned(&self, at: u64, value: u64) {
        self.write_bytes(at, &value.to_le_bytes());
    }

    /// Copies bytes out of the region.
    pub(crate) fn read_bytes(&self, at: u64, bytes: &mut [u8]) {
        for (at, byte) in (at..).zip(bytes) {
            *byte = self.read(at);
        }
    }

    /// Copies bytes into the region.
    pub(crate) fn write_bytes(&self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            self.write(at, *byte);
        }
    }

    /// Fills the region with zeroes.
    pub(crate) fn clear(&self) {
        (0..self.length).for_each(|at| self.write(at, 0_u8));
    }

    fn aligned<T>(&self, at: u64) -> usize {
        let address = self.part(at, size_of::<T>() as u64).base;
        assert!(address.is_multiple_of(align_of::<T>() as u64), "{address:#x} is not aligned");
        usize::try_from(address).unwrap_or(0) // Both have 64 bits.
    }
}
