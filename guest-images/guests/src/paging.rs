//! Page tables for RAM above 4 GiB. `start.s` has the tables for RAM below. Only the memory map
//! says how much RAM is above.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Entry bits (SDM 3A, 4.5): present, writable, user; and a page of 2 MiB instead of a table.
const TABLE: u64 = 0x7;
const PAGE: u64 = 0x87;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE_SIZE: u64 = 2 << 20;

#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);

unsafe extern "C" {
    /// The top table, in `start.s`.
    safe static pml4: Table;
}

/// Tables for this file: two for each GiB that is used.
const SPARE: usize = 64;
static SPARES: [Table; SPARE] = [const { Table([const { AtomicU64::new(0) }; 512]) }; SPARE];
static SPARES_USED: AtomicUsize = AtomicUsize::new(0);

/// Maps the 2 MiB around `address` to themselves, if they are not mapped yet. Nothing has to be
/// flushed, because processors do not cache entries that are not present.
pub(crate) fn map(address: u64) {
    let pointers = below(&pml4, address >> 39);
    let directory = below(pointers, address >> 30);
    let entry = entry(directory, address >> 21);
    if entry.load(Ordering::Relaxed) == 0 {
        entry.store((address & !(PAGE_SIZE - 1)) | PAGE, Ordering::Release);
    }
}

/// Returns the table to which an entry leads, and creates it if the entry is empty.
fn below(table: &'static Table, index: u64) -> &'static Table {
    let entry = entry(table, index);
    if entry.load(Ordering::Relaxed) == 0 {
        let Some(spare) = SPARES.get(SPARES_USED.fetch_add(1, Ordering::Relaxed)) else {
            fail!("probe: no more page tables")
        };
        entry.store((&raw const *spare).expose_provenance() as u64 | TABLE, Ordering::Release);
    }
    let address = entry.load(Ordering::Relaxed) & ADDRESS;
    let address = usize::try_from(address).unwrap_or(0); // Both have 64 bits.
    let table = core::ptr::with_exposed_provenance::<Table>(address);
    // SAFETY: entries of these levels are made here or in start.s, and all lead to statics of this
    // type.
    unsafe { &*table }
}

fn entry(table: &Table, index: u64) -> &AtomicU64 {
    let Table(entries) = table;
    let index = usize::try_from(index % 512).unwrap_or(0);
    entries.get(index).unwrap_or_else(|| fail!("probe: page table index {index}"))
}
