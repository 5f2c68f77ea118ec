//! Readers that come, leave, stop and are absent.

use std::io::Write;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use super::*;
use crate::testing::until;

impl OutputRing {
    /// The number of bytes that the slowest reader has not taken.
    pub(crate) fn behind(&self) -> u64 {
        let state = self.0.lock();
        state.readers.iter().map(|position| state.end - position.at).max().unwrap_or(0)
    }

    /// The largest number of bytes that a reader has lost since the last report.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lock().readers.iter().map(|position| position.lost).max().unwrap_or(0)
    }

    pub(crate) fn holds_a_sink_up(&self) -> bool {
        let state = self.0.lock();
        state.room() == 0 && state.sinks_waiting == 1
    }

    pub(crate) fn has_absent_readers(&self) -> bool {
        self.0.lock().readers.iter().any(|position| position.waited >= PATIENCE)
    }
}

/// Bytes in which no short run repeats soon.
fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.to_le_bytes()[n as usize % 3]).collect()
}

fn print(output: &OutputRing, bytes: &[u8]) {
    output.sink().write_all(bytes).unwrap();
}

/// Print from another thread.
fn printing(output: &OutputRing, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut sink = output.sink();
    Builder::new().spawn(move || sink.write_all(&bytes).unwrap()).unwrap()
}

/// Take all bytes.
fn all(output: &OutputRing, reader: &mut Reader) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    let is_behind = |id| {
        let mut state = output.0.lock();
        let end = state.end;
        state.position(id).unwrap().at < end
    };
    while is_behind(reader.id()) {
        assert!(reader.take(&mut chunk));
        reader.progress();
        all.extend_from_slice(&chunk);
    }
    all
}

#[test]
fn without_a_reader_the_newest_bytes_are_kept_and_the_rest_counted() {
    let (output, printed) = (OutputRing::new().unwrap(), pattern(3 << 20));
    print(&output, &printed);
    let mut reader = output.reader(ReaderRole::Client);
    assert_eq!(reader.progress(), 2 << 20);
    assert!(all(&output, &mut reader) == printed[2 << 20..]);
    assert_eq!(reader.progress(), 0);
}

#[test]
fn the_next_client_gets_only_unread_output() {
    let output = OutputRing::new().unwrap();
    print(&output, b"first");
    let mut reader = output.reader(ReaderRole::Client);
    assert_eq!(all(&output, &mut reader), b"first");
    drop(reader);
    print(&output, b"second");
    let mut reader = output.reader(ReaderRole::Client);
    assert_eq!(all(&output, &mut reader), b"second");
    assert_eq!(output.kept(), b"firstsecond");
}

#[test]
fn two_readers_get_the_same_bytes() {
    let (output, printed) = (OutputRing::new().unwrap(), pattern(4 << 20));
    let readers =
        [output.reader(ReaderRole::Client), output.reader(ReaderRole::Client)].map(|mut reader| {
            let read = move || {
                let (mut all, mut chunk) = (Vec::new(), Vec::new());
                while reader.take(&mut chunk) {
                    reader.progress();
                    all.extend_from_slice(&chunk);
                }
                all
            };
            Builder::new().spawn(read).unwrap()
        });
    printing(&output, printed.clone()).join().unwrap();
    output.finish();
    for reader in readers {
        assert!(reader.join().unwrap() == printed);
    }
    until("both have left", || output.is_left());
}

/// The stopped reader loses bytes, the other none.
#[test]
fn a_stopped_reader_is_absent_after_a_while() {
    let (output, printed) = (OutputRing::new().unwrap(), pattern(3 << 20));
    let mut stopped = output.reader(ReaderRole::Client);
    let writing = printing(&output, printed.clone());
    until("the ring is full", || output.holds_a_sink_up());
    let mut healthy = output.reader(ReaderRole::Client);
    let mut read = Vec::new();
    until("nobody waits for it", || {
        read.extend(all(&output, &mut healthy));
        writing.is_finished()
    });
    read.extend(all(&output, &mut healthy));
    assert!(read == printed);
    assert_eq!(stopped.progress(), 2 << 20);
    assert!(all(&output, &mut stopped) == printed[2 << 20..]);
}

#[test]
fn a_reader_that_leaves_makes_room() {
    let output = OutputRing::new().unwrap();
    let reader = output.reader(ReaderRole::Client);
    let writing = printing(&output, pattern(2 << 20));
    until("the ring is full", || output.holds_a_sink_up());
    drop(reader);
    writing.join().unwrap();
}

/// The unread bytes cross the end of the ring's buffer.
#[test]
fn unread_output_can_be_peeked_and_stays() {
    let (output, printed) = (OutputRing::new().unwrap(), pattern(3 << 20));
    let (first, second) = printed.split_at(CAPACITY - 1000);
    print(&output, first);
    let mut reader = output.reader(ReaderRole::Client);
    assert!(all(&output, &mut reader) == first);
    drop(reader);
    print(&output, &second[..3000]);
    for _ in 0..2 {
        assert!(output.peek() == (second[..3000].to_vec(), 0));
    }
    print(&output, &second[3000..]);
    let (unread, lost) = output.peek();
    assert!(unread == printed[2 << 20..]);
    assert_eq!(lost, (second.len() - CAPACITY) as u64);
    assert!(output.kept() == unread);
}

/// A witness changes nothing for other readers.
#[test]
fn a_witness_leaves_all_unread_and_is_not_a_client() {
    let (output, printed) = (OutputRing::new().unwrap(), pattern(3 << 20));
    let mut witness = output.reader(ReaderRole::Witness);
    for piece in printed.chunks(1 << 19) {
        print(&output, piece);
        assert!(all(&output, &mut witness) == piece);
    }
    assert_eq!((witness.progress(), output.clients()), (0, 0));
    assert_eq!(output.unread(), (1 << 20, 2 << 20));
    let mut reader = output.reader(ReaderRole::Client);
    assert_eq!(reader.progress(), 2 << 20);
    assert!(all(&output, &mut reader) == printed[2 << 20..]);
}

/// The loss of one reader does not count as the other's.
#[test]
fn each_reader_has_its_own_loss() {
    let output = OutputRing::new().unwrap();
    let (mut reads, stands) =
        (output.reader(ReaderRole::Writer), output.reader(ReaderRole::Witness));
    print(&output, b"one");
    assert_eq!(all(&output, &mut reads), b"one");
    output.sink().write_lossy(&pattern(2 << 20));
    assert_eq!(all(&output, &mut reads).len(), 1 << 20);
    assert_eq!(output.take_unread(stands.id()), 3 + (2 << 20));
    assert_eq!(output.take_unread(reads.id()), 0);
}

#[test]
fn a_reader_can_wait_for_a_while() {
    let output = OutputRing::new().unwrap();
    let (mut reader, mut chunk) = (output.reader(ReaderRole::Witness), Vec::new());
    let soon = || Some(Instant::now() + Duration::from_millis(1));
    assert_eq!(reader.take_until(&mut chunk, soon()), Taken::None);
    print(&output, b"text");
    assert_eq!(reader.take_until(&mut chunk, soon()), Taken::Some);
    assert_eq!((chunk.as_slice(), reader.position()), (&b"text"[..], 4));
    output.finish();
    assert_eq!(reader.take_until(&mut chunk, soon()), Taken::Last);
}
