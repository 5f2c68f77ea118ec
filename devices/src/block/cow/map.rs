//! The map of a copy-on-write disk: a bit for each sector, which is set if the sector is in
//! the private file. Pages of the map come into being when they are needed, so that the map
//! of a large disk is small while the guest writes little.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::number::index;

/// Bytes of a page of the map.
pub(super) const PAGE: u64 = 4096;
/// Sectors that a page has bits for: those of 16 MiB.
pub(super) const PAGE_SECTORS: u64 = PAGE * 8;

const PAGE_WORDS: usize = 512;
const WORD: u64 = 64;

/// The most pages that [`SectorMap::take_changed`] copies at once: 4 MiB.
const BATCH: usize = 1024;

/// A copy of a page, with its number.
pub(super) type PageCopy = (usize, Vec<u8>);

/// The map.
#[derive(Debug)]
pub(super) struct SectorMap {
    pages: Vec<Page>,
    sectors: u64,
}

/// The bits of 16 MiB.
#[derive(Debug, Default)]
struct Page {
    /// The bits. They are 0 while this is empty.
    words: OnceLock<Box<[AtomicU64; PAGE_WORDS]>>,
    /// All bits are 1, whatever is in `words`: a guest may discard a whole disk.
    is_full: AtomicBool,
    /// Bits have changed since the page was copied.
    is_changed: AtomicBool,
    /// The host has allocated blocks for the page, if the map is kept.
    has_room: AtomicBool,
    /// The number of threads that are changing bits, and have not set `is_changed` yet.
    /// Without it, a second thread could find a bit set and finish its request, and a flush
    /// after that would not see that the page has changed.
    changing: AtomicU32,
}

impl SectorMap {
    /// The map of a disk of which nothing is private.
    pub(super) fn new(sectors: u64) -> Self {
        let pages = sectors.div_ceil(PAGE_SECTORS);
        Self { pages: (0..pages).map(|_| Page::default()).collect(), sectors }
    }

    /// Returns whether sector `start` is private, and the end of the run of sectors for
    /// which that is equally true, at most `end`.
    pub(super) fn run(&self, start: u64, end: u64) -> (bool, u64) {
        // Each word is loaded once: another thread may set the first bit meanwhile, and the
        // run still has that sector.
        let mut word = self.word(start);
        let is_private = word >> (start % WORD) & 1 == 1;
        let mut at = start;
        loop {
            let others = if is_private { !word } else { word };
            let run = u64::from((others >> (at % WORD)).trailing_zeros());
            let rest = WORD - at % WORD;
            at += run.min(rest);
            if run < rest || at >= end {
                break;
            }
            word = self.word(at);
        }
        (is_private, at.min(end))
    }

    /// The word with the bit of a sector.
    fn word(&self, sector: u64) -> u64 {
        let Some(page) = self.pages.get(index(sector / PAGE_SECTORS)) else { return 0 };
        if page.is_full.load(Ordering::Acquire) {
            return u64::MAX;
        }
        let word = page.words.get().and_then(|words| words.get(word_index(sector)));
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Calls `allocate` with the number of each page with bits of `sectors`, unless it has
    /// succeeded for that page before.
    pub(super) fn reserve<E>(
        &self,
        sectors: &Range<u64>,
        allocate: impl Fn(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in sectors.start / PAGE_SECTORS..sectors.end.div_ceil(PAGE_SECTORS) {
            let page = self.pages.get(index(number));
            if let Some(page) = page.filter(|page| !page.has_room.load(Ordering::Acquire)) {
                allocate(number)?;
                page.has_room.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Marks sectors as private. They have been written before.
    pub(super) fn set(&self, sectors: Range<u64>) {
        let mut at = sectors.start;
        while at < sectors.end {
            let page_end = (at / PAGE_SECTORS + 1) * PAGE_SECTORS;
            let end = sectors.end.min(page_end);
            let is_whole = at.is_multiple_of(PAGE_SECTORS) && end == page_end.min(self.sectors);
            match self.pages.get(index(at / PAGE_SECTORS)) {
                Some(page) if is_whole => page.fill(),
                Some(page) => page.set(at..end),
                None => {}
            }
            at = end;
        }
    }

    /// Returns copies of the pages that have changed since they were copied, from page
    /// `next` on, which becomes the number of the page to continue with. The result is empty
    /// if no further page has changed.
    pub(super) fn take_changed(&self, next: &mut usize) -> Vec<PageCopy> {
        let mut copies = Vec::new();
        for (number, page) in self.pages.iter().enumerate().skip(*next) {
            if copies.len() == BATCH {
                break;
            }
            *next = number + 1;
            // In this order: a thread that is not counted any more has set `is_changed`. Bits
            // that are set after this are in the next copy.
            let is_changing = page.changing.load(Ordering::SeqCst) != 0;
            if page.is_changed.swap(false, Ordering::SeqCst) || is_changing {
                copies.push((number, self.bytes(number, page)));
            }
        }
        copies
    }

    /// Marks copied pages as changed again: they were not written.
    pub(super) fn put_back(&self, copies: &[PageCopy]) {
        for page in copies.iter().filter_map(|(number, _)| self.pages.get(*number)) {
            page.is_changed.store(true, Ordering::Release);
        }
    }

    /// Returns copies of all pages that have a bit.
    pub(super) fn copies(&self) -> impl Iterator<Item = PageCopy> {
        let pages = self.pages.iter().enumerate().filter(|(_, page)| !page.is_new());
        pages.map(|(number, page)| (number, self.bytes(number, page)))
    }

    /// The bytes of a page in a file: the bit of the first sector is the lowest of the first
    /// byte. Bits behind the end of the disk are 0.
    fn bytes(&self, number: usize, page: &Page) -> Vec<u8> {
        let mut bytes = if page.is_full.load(Ordering::Acquire) {
            vec![0xff; index(PAGE)]
        } else {
            let words = page.words.get().into_iter().flat_map(|words| words.iter());
            words.flat_map(|word| word.load(Ordering::Acquire).to_le_bytes()).collect()
        };
        bytes.resize(index(PAGE), 0);
        let mut left = self.sectors_of(number);
        for byte in &mut bytes {
            let bits = left.min(8);
            *byte &= u8::try_from((1_u32 << bits) - 1).unwrap_or(u8::MAX);
            left -= bits;
        }
        bytes
    }

    /// The number of the disk's sectors that a page has bits for.
    fn sectors_of(&self, number: usize) -> u64 {
        self.sectors.saturating_sub(number as u64 * PAGE_SECTORS).min(PAGE_SECTORS)
    }

    /// Sets the bits of a page from its bytes in a file. Returns false, if there are bits
    /// behind the end of the disk. For a map that no thread uses yet.
    pub(super) fn load(&self, number: u64, bytes: &[u8]) -> bool {
        let Some(page) = self.pages.get(index(number)) else { return false };
        if bytes.iter().all(|byte| *byte == 0xff) {
            page.is_full.store(true, Ordering::Release);
        } else if bytes.iter().any(|byte| *byte != 0) {
            let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk());
            for (to, word) in page.words().iter().zip(words) {
                to.store(u64::from_le_bytes(*word), Ordering::Release);
            }
        }
        page.is_new() || self.bytes(index(number), page) == bytes
    }
}

fn word_index(sector: u64) -> usize {
    index(sector % PAGE_SECTORS / WORD)
}

impl Page {
    /// Whether no bit has ever been set.
    fn is_new(&self) -> bool {
        self.words.get().is_none() && !self.is_full.load(Ordering::Acquire)
    }

    fn words(&self) -> &[AtomicU64; PAGE_WORDS] {
        self.words.get_or_init(|| Box::new([const { AtomicU64::new(0) }; PAGE_WORDS]))
    }

    /// Sets the bits of these sectors, which are in this page.
    fn set(&self, sectors: Range<u64>) {
        if self.is_full.load(Ordering::Acquire) {
            return;
        }
        let (words, mut at) = (self.words(), sectors.start);
        while at < sectors.end {
            let end = sectors.end.min((at / WORD + 1) * WORD);
            let mask = u64::MAX >> (WORD - (end - at)) << (at % WORD);
            if let Some(word) = words.get(word_index(at))
                && word.load(Ordering::Acquire) & mask != mask
            {
                self.change(|| word.fetch_or(mask, Ordering::AcqRel));
            }
            at = end;
        }
    }

    /// Sets all bits.
    fn fill(&self) {
        if !self.is_full.load(Ordering::Acquire) {
            self.change(|| self.is_full.store(true, Ordering::Release));
        }
    }

    /// Changes bits so that the next flush copies them.
    fn change<T>(&self, change: impl FnOnce() -> T) {
        self.changing.fetch_add(1, Ordering::SeqCst);
        change();
        self.is_changed.store(true, Ordering::SeqCst);
        self.changing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
