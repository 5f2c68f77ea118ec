//! Tells which pages of this process were never touched (/proc/self/pagemap,
//! Documentation/admin-guide/mm/pagemap.rst), so that they need not be read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::file::PAGE;

/// A page that is in memory, and one that is in swap.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

/// The page map of this process.
#[derive(Debug)]
pub(super) struct Pagemap(File);

impl Pagemap {
    /// Open the page map. None if the host does not allow it: in a chroot, or after privileges were
    /// dropped.
    pub(super) fn open() -> Option<Self> {
        File::open("/proc/self/pagemap").ok().map(Self)
    }

    /// Whether no page of this anonymous memory was ever touched, so that all of it is zero. Address
    /// and length are in bytes, and multiples of the page size.
    pub(super) fn is_untouched(&self, address: usize, length: usize) -> bool {
        const ENTRY: usize = size_of::<u64>();
        let mut entries = vec![0; length / PAGE * ENTRY];
        let at = (address / PAGE * ENTRY) as u64;
        if self.0.read_exact_at(&mut entries, at).is_err() {
            return false;
        }
        let (words, _) = entries.as_chunks::<ENTRY>();
        words.iter().all(|word| u64::from_ne_bytes(*word) & (PRESENT | SWAPPED) == 0)
    }
}
