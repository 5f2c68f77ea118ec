//! A disk that is saved, and continued by another device on the same image.

use super::*;
use crate::testing::machine::until;
use crate::testing::ring::Desc;

const MIB: usize = 1 << 20;

/// A write of 24 MiB, all of them from the same buffer, is put back and done again.
#[test]
fn a_request_in_the_middle_is_completed_by_the_new_device() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(25 << 20).unwrap();
    let mut guest = guest(image(&file));
    let whole = vec![b'x'; MIB];
    let mut interrupted = 0;
    for round in 0_u16..200 {
        let ring = &mut guest.rings[0];
        let buffer: Desc = ring.buffer(FromGuest(&whole));
        let mut chain = vec![buffer; 24];
        chain.insert(0, ring.buffer(FromGuest(&header(OUT, 1))));
        chain.push(ring.buffer(ToGuest(1)));
        let head = ring.offer_chain(&chain);
        file.set_len(0).unwrap();
        file.set_len(25 << 20).unwrap();
        guest.notify(0);

        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 50));
        let state = guest.save();
        interrupted += u32::from(guest.rings[0].used_index() == round);
        let memory = guest.memory.clone();
        guest = guest.restored_in(memory, &state, disk(image(&file))).unwrap();
        assert_eq!(guest.device.state().unwrap(), state);
        guest.resume();

        until("the answer", || guest.rings[0].used_index() != round);
        assert_eq!(guest.rings[0].take_used().map(|used| used.id), Some(head.into()));
        assert_eq!(guest.bytes(0, head).pop(), Some(OK));
        let bytes = read_all(&file);
        assert!(bytes[..512] == [0; 512] && bytes[512 + 24 * MIB..].iter().all(|b| *b == 0));
        assert!(bytes[512..512 + 24 * MIB].chunks(MIB).all(|part| part == whole), "{round}");
        if interrupted > 5 {
            break;
        }
    }
    assert!(interrupted > 0, "no request was interrupted");
}

#[test]
fn every_queue_continues() {
    let file = file(8);
    let several = || Block { queues: 4, ..disk(image(&file)) };
    let mut guest = FakeGuest::new(several());
    guest.pause();
    let mut heads = Vec::new();
    for queue in 0..4 {
        let sector = u64::try_from(queue).unwrap();
        for _ in 0..queue {
            let parts = [FromGuest(&header(IN, sector)[..]), ToGuest(512), ToGuest(1)];
            heads.push((queue, sector, guest.offer(queue, &parts)));
        }
    }

    let state = guest.save();
    let mut restored = guest.restored(&state, several()).unwrap();
    restored.resume();

    for (queue, sector, head) in heads {
        let used = restored.wait_used(queue);
        assert_eq!((used.id, used.len), (head.into(), 513));
        assert_eq!(restored.bytes(queue, head)[..512], contents(sector..sector + 1));
    }
    assert!((0..4).all(|queue| restored.rings[queue].take_used().is_none()));
}

#[test]
fn another_disk_is_refused() {
    let eight = file(8);
    let mut guest = guest(image(&eight));
    let state = guest.save();
    let refusal = |block: Block| guest.restored(&state, block).err().unwrap().to_string();

    assert!(guest.restored(&state, disk(image(&eight))).is_ok());
    assert_eq!(
        refusal(disk(image(&file(9)))),
        "fake0: capacity of its configuration (from byte 0 on) was 0800000000000000 in \
         hexadecimal, and is 0900000000000000 here"
    );
    let error = refusal(disk(image(&eight).read_only()));
    assert_eq!(
        error,
        "fake0: its driver uses feature bit 13, which the device does not offer here"
    );
}

/// A driver may not have accepted what a read-only disk lacks.
#[test]
fn a_disk_stays_writable_or_read_only() {
    let file = file(8);
    let modes = [|image: Image| image, |image: Image| image.read_only()];
    for (saved, mode) in [("writable", modes[0]), ("read-only", modes[1])] {
        let mut guest = FakeGuest::found(disk(mode(image(&file))));
        guest.without = 1 << 5 | 1 << 13 | 1 << 14;
        guest.start();
        let state = guest.save();
        for (here, mode) in [("writable", modes[0]), ("read-only", modes[1])] {
            let restored = guest.restored(&state, disk(mode(image(&file))));
            let error = restored.err().map(|error| error.to_string());
            let why = format!("fake0: the disk was {saved}, and is {here} here");
            assert_eq!(error, Some(why).filter(|_| saved != here));
        }
    }
}
