//! Random operations on a kept disk, beside a model of it. A crash is a copy of the private file
//! at any time: that is what a launcher leaves that is killed.

use proptest::prelude::*;

use super::*;

/// Sectors of the disk: a page of the map, and a bit of the next one.
const SECTORS: u64 = 32768 + 120;
/// Sectors of a zone. Operations are in zones, so that they meet.
const ZONE: u64 = 40;
/// The first sectors of the zones: the beginning, the boundary of the page, and the end.
const ZONES: [u64; 3] = [0, 32768 - 20, SECTORS - ZONE];
/// Bytes before the first sector in a private file.
const HEAD: u64 = 4096 + 2 * 4096;

#[derive(Debug, Clone)]
enum Op {
    Write(u64, u64, u8),
    Zero(u64, u64, bool),
    Discard(u64, u64),
    Read(u64, u64),
    Flush,
    Reopen,
    Crash,
    Save,
}

fn places() -> impl Strategy<Value = (u64, u64)> {
    let zones = prop::sample::select(ZONES.to_vec());
    (zones, 0..ZONE, 1..=ZONE).prop_map(|(zone, at, count)| (zone + at, count.min(ZONE - at)))
}

fn ops() -> impl Strategy<Value = Op> {
    let large = prop::sample::select(vec![(0, SECTORS), (0, 32768), (32768, 120)]);
    prop_oneof![
        8 => (places(), 1..=255_u8).prop_map(|((at, count), byte)| Op::Write(at, count, byte)),
        3 => (places(), any::<bool>()).prop_map(|((at, count), unmap)| Op::Zero(at, count, unmap)),
        3 => places().prop_map(|(at, count)| Op::Discard(at, count)),
        1 => large.prop_map(|(at, count)| Op::Discard(at, count)),
        6 => places().prop_map(|(at, count)| Op::Read(at, count)),
        3 => Just(Op::Flush),
        1 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        1 => Just(Op::Save),
    ]
}

/// The disk's file: each sector of a zone has another byte, other sectors are zero.
fn base() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SECTORS * SECTOR).unwrap();
    for zone in ZONES {
        file.write_all_at(&contents(zone..zone + ZONE), zone * SECTOR).unwrap();
    }
    file
}

/// What sectors have: the byte of each, as it is now, and as it may be after a crash.
struct Model {
    now: Vec<u8>,
    possible: Vec<Vec<u8>>,
}

impl Model {
    fn new() -> Self {
        let is_in_zone =
            |sector: &u64| ZONES.iter().any(|zone| (*zone..zone + ZONE).contains(sector));
        let byte = |sector: u64| {
            if is_in_zone(&sector) { contents(sector..sector + 1)[0] } else { 0 }
        };
        let now: Vec<_> = (0..SECTORS).map(byte).collect();
        let possible = now.iter().map(|byte| vec![*byte]).collect();
        Self { now, possible }
    }

    fn set(&mut self, at: u64, count: u64, byte: u8) {
        for sector in at..at + count {
            let sector = usize::try_from(sector).unwrap();
            self.now[sector] = byte;
            self.possible[sector].push(byte);
        }
    }

    fn flush(&mut self) {
        for (now, possible) in self.now.iter().zip(&mut self.possible) {
            *possible = vec![*now];
        }
    }

    fn at(&self, at: u64, count: u64) -> Vec<u8> {
        let start = usize::try_from(at).unwrap();
        let bytes = &self.now[start..start + usize::try_from(count).unwrap()];
        bytes.iter().flat_map(|byte| [*byte; 512]).collect()
    }

    /// Takes over what a disk has after a crash.
    fn crashed(&mut self, image: &Image, direct: &Direct) {
        for zone in ZONES {
            let bytes = direct.read(image, zone, ZONE);
            for (sector, bytes) in (usize::try_from(zone).unwrap()..).zip(bytes.chunks(512)) {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "sector {sector} is torn");
                let possible = &mut self.possible[sector];
                assert!(possible.contains(&bytes[0]), "sector {sector}: {bytes:?}, {possible:?}");
                self.now[sector] = bytes[0];
            }
        }
        // What is between the zones was only ever discarded, and is zero in any case.
        self.flush();
    }
}

/// What a crash leaves of a private file.
fn crash(private: &File) -> File {
    let copy = tempfile::tempfile().unwrap();
    copy.set_len(private.metadata().unwrap().len()).unwrap();
    let zones = ZONES.map(|zone| (HEAD + zone * SECTOR, ZONE * SECTOR));
    for (at, length) in [(0, HEAD)].into_iter().chain(zones) {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        private.read_exact_at(&mut bytes, at).unwrap();
        copy.write_all_at(&bytes, at).unwrap();
    }
    copy
}

fn play(ops: &[Op], sync: bool) {
    let (base, direct, mut model) = (base(), Direct::new(), Model::new());
    let open = |private: &File| {
        let image = kept(&base, private);
        Some(if sync { image } else { image.without_sync() })
    };
    let mut private = tempfile::tempfile().unwrap();
    let mut current = open(&private);
    let before = read_all(&base);
    for op in ops {
        let image = current.as_ref().unwrap();
        match *op {
            Op::Write(at, count, byte) => {
                direct.write(image, at, &vec![byte; usize::try_from(count * SECTOR).unwrap()]);
                model.set(at, count, byte);
            }
            Op::Zero(at, count, unmap) => {
                let (mut start, end) = (at * SECTOR, (at + count) * SECTOR);
                while start < end {
                    start += image.zero(&(start..end), unmap).unwrap();
                }
                model.set(at, count, 0);
            }
            Op::Discard(at, count) => {
                image.discard(&(at * SECTOR..(at + count) * SECTOR)).unwrap();
                model.set(at, count, 0);
            }
            Op::Read(at, count) => assert!(direct.read(image, at, count) == model.at(at, count)),
            Op::Flush => {
                image.flush().unwrap();
                model.flush();
            }
            Op::Reopen => {
                drop(current.take());
                current = open(&private);
                model.flush();
            }
            Op::Crash => {
                let copy = crash(&private);
                current = open(&copy);
                private = copy;
                model.crashed(current.as_ref().unwrap(), &direct);
            }
            Op::Save => {
                let copy = tempfile::tempfile().unwrap();
                image.save_private(&copy).unwrap();
                current = open(&copy);
                private = copy;
                model.flush();
            }
        }
        for zone in ZONES {
            let image = current.as_ref().unwrap();
            assert!(direct.read(image, zone, ZONE) == model.at(zone, ZONE), "{op:?}");
        }
    }
    assert!(read_all(&base) == before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_disk_is_what_its_model_says(
        ops in prop::collection::vec(ops(), 1..40),
        sync in any::<bool>(),
    ) {
        play(&ops, sync);
    }
}
