//! The map beside a simple model of it.

use proptest::prelude::*;

use super::*;

/// Sectors of the map: one whole page, and one that is cut in a byte.
const SECTORS: u64 = PAGE_SECTORS + 3 * WORD + 5;

/// A range of sectors near a place where something begins or ends.
fn ranges() -> impl Strategy<Value = Range<u64>> {
    let places = prop::sample::select(vec![0, WORD, PAGE_SECTORS - 70, PAGE_SECTORS, SECTORS - 80]);
    let near = (places, 0..80_u64, 0..200_u64);
    let near = near.prop_map(|(place, at, length)| place + at..(place + at + length).min(SECTORS));
    let whole =
        prop::sample::select(vec![0..PAGE_SECTORS, PAGE_SECTORS..SECTORS, 0..SECTORS, 5..SECTORS]);
    prop_oneof![9 => near, 1 => whole]
}

/// The bytes of all pages, as a file has them.
fn bytes(map: &SectorMap) -> Vec<u8> {
    let mut bytes = vec![0; map.pages.len() * 4096];
    for (number, page) in map.copies() {
        bytes[number * 4096..][..4096].copy_from_slice(&page);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_map_is_the_set_of_sectors_that_were_marked(
        marked in prop::collection::vec(ranges(), 0..8),
        asked in prop::collection::vec(ranges(), 1..8),
    ) {
        let (map, mut model) = (SectorMap::new(SECTORS), vec![false; index(SECTORS)]);
        for range in marked {
            model[index(range.start)..index(range.end)].fill(true);
            map.set(range);
        }
        for range in asked.into_iter().filter(|range| !range.is_empty()) {
            let first = model[index(range.start)];
            let part = &model[index(range.start)..index(range.end)];
            let run = part.iter().take_while(|bit| **bit == first).count() as u64;
            prop_assert_eq!(map.run(range.start, range.end), (first, range.start + run));
        }
        let bytes = bytes(&map);
        for (sector, bit) in model.iter().enumerate() {
            prop_assert_eq!(bytes[sector / 8] >> (sector % 8) & 1 == 1, *bit);
        }
        // And back again.
        let loaded = SectorMap::new(SECTORS);
        for (page, bytes) in (0..).zip(bytes.chunks(4096)) {
            prop_assert!(loaded.load(page, bytes));
        }
        prop_assert_eq!(self::bytes(&loaded), bytes);
    }
}

#[test]
fn bits_behind_the_end_of_the_disk_are_refused() {
    for (sectors, bit) in [(5, 5), (5, 4095 * 8), (PAGE_SECTORS - 1, PAGE_SECTORS - 1)] {
        for others in [0, 0xff] {
            let map = SectorMap::new(sectors);
            let mut page = vec![0; 4096];
            page[..index(sectors / 8)].fill(others);
            assert!(map.load(0, &page), "{sectors} {others}");
            page[index(bit / 8)] |= 1 << (bit % 8);
            assert!(!map.load(0, &page), "{sectors} {bit} {others}");
        }
    }
    assert!(!SectorMap::new(5).load(0, &[0xff; 4096]));
    assert!(!SectorMap::new(5).load(1, &[0; 4096]), "there is no such page");
}

#[test]
fn only_pages_that_changed_are_copied_again() {
    let map = SectorMap::new(5 * PAGE_SECTORS);
    let changed = || {
        let pages = map.take_changed(&mut 0);
        pages.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(changed(), [0; 0]);
    map.set(2 * PAGE_SECTORS - 1..2 * PAGE_SECTORS + 1);
    map.set(4 * PAGE_SECTORS..5 * PAGE_SECTORS);
    assert_eq!(changed(), [1, 2, 4]);
    map.set(2 * PAGE_SECTORS - 1..2 * PAGE_SECTORS + 1);
    map.set(4 * PAGE_SECTORS..5 * PAGE_SECTORS);
    map.set(4 * PAGE_SECTORS + 7..4 * PAGE_SECTORS + 8);
    assert_eq!(changed(), [0; 0], "the bits were set before");

    map.set(7..9);
    let copies = map.take_changed(&mut 0);
    assert_eq!(changed(), [0; 0]);
    map.put_back(&copies);
    assert_eq!(changed(), [0]);
}

/// What a signal interrupts begins again where it was, however often that happens.
#[test]
fn room_for_a_page_is_allocated_once() {
    let map = SectorMap::new(5 * PAGE_SECTORS);
    let sectors = PAGE_SECTORS - 1..3 * PAGE_SECTORS;
    let asked = std::cell::RefCell::new(Vec::new());
    let reserve = |refused: Option<u64>| {
        map.reserve(&sectors, |page| {
            asked.borrow_mut().push(page);
            if refused == Some(page) { Err(()) } else { Ok(()) }
        })
    };
    assert_eq!(reserve(Some(1)), Err(()));
    assert_eq!(reserve(Some(2)), Err(()));
    assert_eq!(reserve(None), Ok(()));
    assert_eq!(reserve(Some(1)), Ok(()));
    assert_eq!(asked.take(), [0, 1, 1, 2, 2]);
}

#[test]
fn many_changed_pages_are_copied_in_batches() {
    let map = SectorMap::new(2500 * PAGE_SECTORS);
    (0..2500).for_each(|page| map.set(page * PAGE_SECTORS..page * PAGE_SECTORS + 1));
    let mut next = 0;
    let counts: Vec<_> = (0..4).map(|_| map.take_changed(&mut next).len()).collect();
    assert_eq!(counts, [1024, 1024, 452, 0]);
}

/// Both set the same bit, and at least one of them then finds the page changed.
#[test]
fn a_bit_that_another_thread_is_setting_is_copied() {
    let map = SectorMap::new(PAGE_SECTORS);
    let barrier = std::sync::Barrier::new(2);
    let seen_by_both = |sector: u64| {
        barrier.wait();
        map.set(sector..sector + 1);
        let copies = map.take_changed(&mut 0);
        let has = |(_, bytes): &PageCopy| bytes[index(sector / 8)] >> (sector % 8) & 1 == 1;
        copies.iter().any(has)
    };
    std::thread::scope(|scope| {
        let one = || (0..PAGE_SECTORS).map(seen_by_both).collect::<Vec<_>>();
        let other = scope.spawn(one);
        let (one, other) = (one(), other.join().unwrap());
        assert!(one.iter().zip(&other).all(|(one, other)| *one || *other));
    });
}

#[test]
fn the_map_of_a_large_disk_is_small_until_it_is_needed() {
    let map = SectorMap::new((16 << 40) / 512);
    assert_eq!(map.pages.len(), 1 << 20);
    assert!(size_of::<Page>() <= 32);
    map.set((8 << 40) / 512..(8 << 40) / 512 + 1);
    assert_eq!(map.copies().count(), 1);
    // Discarded as a whole, it still needs no page.
    map.set(0..(16 << 40) / 512);
    assert_eq!(map.pages.iter().filter(|page| page.words.get().is_some()).count(), 1);
}
