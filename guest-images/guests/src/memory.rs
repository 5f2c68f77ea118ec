//! Memory that is not Rust's: registers of devices, rings and buffers that a
//! device writes behind our back, tables that lguest left. It is accessed in
//! widths that are chosen, by volatile instructions, and is never a reference.
//! A [`Region`] lies either outside of the guest's image or in the part of it
//! that [`Region::take`] gives away: nothing written there can harm what Rust
//! relies on. (What is not mapped ends in a reported fault.)

use core::cell::UnsafeCell;
use core::ops::Range;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU64, Ordering};

/// A range of memory. Accesses outside of it are this program's mistakes, and
/// panic; hostile ones are made by making another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    base: u64,
    length: u64,
}

/// A width in which memory is accessed.
pub(crate) trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// What [`Region::take`] gives away.
const POOL: usize = 12 << 20;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[u8; POOL]>);

// SAFETY: nobody ever refers to the bytes; their address is all that is used.
unsafe impl Sync for Pool {}

static MEMORY: Pool = Pool(UnsafeCell::new([0; POOL]));
static TAKEN: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    safe static image_start: u8;
    safe static image_end: u8;
}

/// Where the guest itself lies.
fn image() -> Range<u64> {
    (&raw const image_start).addr() as u64..(&raw const image_end).addr() as u64
}

impl Region {
    /// A part of the machine's memory that is not ours; None if it is.
    pub(crate) fn outside(base: u64, length: u64) -> Option<Self> {
        let (image, end) = (image(), base.checked_add(length)?);
        (end <= image.start || base >= image.end).then_some(Self { base, length })
    }

    /// A range of which only address and length are known: it is not ours, or was given away.
    pub(crate) fn again(base: u64, length: u64) -> Option<Self> {
        let pool = MEMORY.0.get().expose_provenance() as u64;
        let given = pool..pool + TAKEN.load(Ordering::Relaxed);
        let end = base.checked_add(length)?;
        if given.contains(&base) && end <= given.end {
            return Some(Self { base, length });
        }
        Self::outside(base, length)
    }

    /// Zeroed memory for rings and buffers; it is not given back.
    pub(crate) fn take(length: u64, align: u64) -> Self {
        let pool = MEMORY.0.get().expose_provenance() as u64;
        let at = (pool + TAKEN.load(Ordering::Relaxed)).next_multiple_of(align);
        let taken = at + length - pool;
        assert!(taken <= POOL as u64, "the pool of memory for devices is empty");
        TAKEN.store(taken, Ordering::Relaxed);
        Self { base: at, length }
    }

    /// Physical and virtual address: they are the same.
    pub(crate) fn address(&self) -> u64 {
        self.base
    }

    /// A region in this one.
    pub(crate) fn part(&self, at: u64, length: u64) -> Self {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length), "{self:x?} {at:#x}");
        Self { base: self.base + at, length }
    }

    /// One access of T's width.
    pub(crate) fn read<T: Word>(&self, at: u64) -> T {
        let address = self.aligned::<T>(at);
        // SAFETY: in bounds and aligned; the memory is not Rust's (module comment).
        unsafe { with_exposed_provenance::<T>(address).read_volatile() }
    }

    /// One access of T's width.
    pub(crate) fn write<T: Word>(&self, at: u64, value: T) {
        let address = self.aligned::<T>(at);
        // SAFETY: in bounds and aligned; the memory is not Rust's (module comment).
        unsafe { with_exposed_provenance_mut::<T>(address).write_volatile(value) }
    }

    /// 64 bits, byte by byte.
    pub(crate) fn write_unaligned(&self, at: u64, value: u64) {
        self.write_bytes(at, &value.to_le_bytes());
    }

    /// Copy out.
    pub(crate) fn read_bytes(&self, at: u64, bytes: &mut [u8]) {
        for (at, byte) in (at..).zip(bytes) {
            *byte = self.read(at);
        }
    }

    /// Copy in.
    pub(crate) fn write_bytes(&self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            self.write(at, *byte);
        }
    }

    /// Fill with zeroes.
    pub(crate) fn clear(&self) {
        (0..self.length).for_each(|at| self.write(at, 0_u8));
    }

    fn aligned<T>(&self, at: u64) -> usize {
        let address = self.part(at, size_of::<T>() as u64).base;
        assert!(address.is_multiple_of(align_of::<T>() as u64), "{address:#x} is not aligned");
        usize::try_from(address).unwrap_or(0) // Both have 64 bits.
    }
}
