//! Several threads on the same sectors of a kept disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::block::cow::Cow;
use crate::block::file::HostFile;

const SECTORS: u64 = 24;

/// A sector has what one of the threads wrote last, or what it had before.
#[test]
fn sectors_have_what_one_of_the_threads_wrote() {
    let (file, private) = (file(SECTORS), tempfile::tempfile().unwrap());
    let image = kept(&file, &private).without_sync();
    let allowed = |sector: u64, byte: u8| byte <= 4 || contents(sector..sector + 1)[0] == byte;
    let run = |number: u8| {
        let direct = Direct::new();
        for round in 0..300_u64 {
            let at = (round * 7 + u64::from(number)) % (SECTORS - 8);
            match round % 4 {
                0 if number == 1 => drop(image.discard(&(at * 512..(at + 3) * 512)).unwrap()),
                0 if number == 2 => image.flush().unwrap(),
                0 if number == 3 => drop(image.zero(&(at * 512..(at + 2) * 512), true).unwrap()),
                _ => direct.write(&image, at, &[number; 8 * 512]),
            }
            let bytes = direct.read(&image, at, 8);
            for (sector, bytes) in (at..).zip(bytes.chunks(512)) {
                assert!(bytes.iter().all(|byte| allowed(sector, *byte)));
            }
        }
    };
    thread::scope(|scope| (1..=4).for_each(|number| drop(scope.spawn(move || run(number)))));

    let direct = Direct::new();
    let bytes = direct.read(&image, 0, SECTORS);
    for (sector, bytes) in (0..).zip(bytes.chunks(512)) {
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "sector {sector} is torn");
        assert!(allowed(sector, bytes[0]));
    }
    drop(image);
    assert!(direct.read(&kept(&file, &private), 0, SECTORS) == bytes);
    assert!(read_all(&file) == contents(0..SECTORS));
}

/// The bit of a sector comes after the sector: there is a hole before.
#[test]
fn a_reader_sees_the_old_sector_or_the_new_one() {
    const COUNT: u64 = 20_000;
    let (file, direct) = (file(COUNT), Direct::new());
    let (image, _) = temporary(&file);
    let current = AtomicU64::new(0);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let direct = Direct::new();
            // The sector that the other thread is writing, or has just written.
            let sector = || Some(current.load(Ordering::Acquire)).filter(|it| *it != COUNT);
            while let Some(sector) = sector() {
                let bytes = direct.read(&image, sector, 1);
                assert!(bytes.iter().all(|byte| *byte != 0), "sector {sector}");
            }
        });
        for sector in 0..COUNT {
            current.store(sector, Ordering::Release);
            direct.write(&image, sector, &[7; 512]);
        }
        current.store(COUNT, Ordering::Release);
        reader.join().unwrap();
    });
    assert!(direct.read(&image, 0, 1000).iter().all(|byte| *byte == 7));
}

/// Both write the same sectors for the first time, and each flushes what it wrote.
#[test]
fn a_flush_covers_sectors_that_another_thread_marks() {
    let base = tempfile::tempfile().unwrap();
    base.set_len(2000 * 512).unwrap();
    let private = tempfile::tempfile().unwrap();
    let image = kept(&base, &private).without_sync();
    let barrier = std::sync::Barrier::new(2);
    let run = || {
        let direct = Direct::new();
        for sector in 0..2000 {
            barrier.wait();
            direct.write(&image, sector, &[7; 512]);
            image.flush().unwrap();
            let mut byte = [0];
            private.read_exact_at(&mut byte, 4096 + sector / 8).unwrap();
            assert_eq!(byte[0] >> (sector % 8) & 1, 1, "sector {sector}");
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(run))));
}

#[test]
fn several_queues_flush_and_write_at_once() {
    let (file, private) = (file(SECTORS), tempfile::tempfile().unwrap());
    let mut guest = FakeGuest::new(Block { queues: 4, ..disk(kept(&file, &private)) });
    for round in 0..50_u8 {
        for queue in 0..4 {
            let sector = u64::try_from(queue).unwrap();
            let write = [FromGuest(&header(OUT, sector)), FromGuest(&[round; 512]), ToGuest(1)];
            guest.offer(queue, &write);
            guest.offer(queue, &[FromGuest(&header(FLUSH, 0)), ToGuest(1)]);
        }
        for queue in 0..4 {
            let heads = [guest.wait_used(queue).id, guest.wait_used(queue).id];
            for head in heads {
                let head = u16::try_from(head).unwrap();
                assert_eq!(guest.bytes(queue, head), [OK]);
            }
        }
    }
    let again = Direct::new().read(&kept(&file, &private), 0, 5);
    assert!(again == [vec![49; 2048], contents(4..5)].concat());
}

/// A queue thread that waits for the flush of another can be stopped.
#[test]
fn a_flush_that_waits_for_another_is_interrupted_by_a_signal() {
    crate::kick::install();
    let base = file(8);
    let private = tempfile::tempfile().unwrap();
    let part = PrivateFile::kept(private, stamp(&base)).unwrap();
    let cow = Arc::new(Cow::new(HostFile::new(base).unwrap(), part).unwrap());
    let (stop, other) = (Arc::new(AtomicBool::new(false)), Arc::clone(&cow));
    let turn = cow.wait_turn().unwrap();
    let waiting = thread::Builder::new().name("waiting".into());
    let stopped = Arc::clone(&stop);
    let waiting = waiting.spawn(move || {
        crate::kick::accept();
        loop {
            let done = other.flush(true);
            if stopped.load(Ordering::Acquire) {
                return done.map_err(|error| error.kind());
            }
            assert!(done.is_err());
        }
    });
    stop.store(true, Ordering::Release);
    let done = crate::kick::join(waiting.unwrap()).unwrap();
    assert_eq!(done, Err(std::io::ErrorKind::Interrupted));
    drop(turn);
    cow.flush(true).unwrap();
}
