//! The state of a console's output in a snapshot. What was printed and not read is in it once:
//! while it is taken, readers take nothing.

use serde::{Deserialize, Serialize};

use super::{OutputRing, RingState};

/// The state of an output ring, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputState {
    /// The number of bytes in the ring.
    pub kept: u64,
    /// The number of bytes that were ever printed.
    pub end: u64,
    /// The position up to which clients have read.
    pub read: u64,
    /// The number of bytes that made room before any client read them, since the last report.
    pub lost: u64,
}

impl OutputRing {
    /// Stop the readers whose reading counts (true), or let them continue (false). A reader that
    /// has taken bytes finishes with them.
    pub fn hold(&self, held: bool) {
        self.0.lock().held = held;
        self.0.filled.notify_all();
    }

    /// Have the readers whose reading counts leave at once. The bytes that they have not taken are
    /// in a snapshot, so a later reader does not get them, either.
    pub fn leave_rest(&self) {
        let mut state = self.0.lock();
        let end = state.end;
        let readers = state.readers.iter_mut();
        for position in readers.filter(|position| !position.role.only_looks()) {
            // The bytes do not count as lost.
            (position.dismissed, position.at) = (true, end);
        }
        state.read = end;
        drop(state);
        self.0.filled.notify_all();
    }

    /// Whether readers are held.
    pub fn is_held(&self) -> bool {
        self.0.lock().held
    }

    /// The state of the ring, and its bytes. Readers should be held, and the guest paused.
    pub fn state(&self) -> (OutputState, Vec<u8>) {
        let state = self.0.lock();
        let RingState {
            ring,
            capacity: _,
            end,
            read,
            lost,
            readers: _,
            next_reader: _,
            readers_asleep: _,
            sinks_waiting: _,
            finished: _,
            held: _,
        } = &*state;
        let bytes: Vec<u8> = ring.iter().copied().collect();
        let kept = bytes.len() as u64;
        (OutputState { kept, end: *end, read: *read, lost: *lost }, bytes)
    }

    /// Put a saved state into a ring that nobody has used yet. If the ring is smaller than the
    /// saved one was, it keeps the newest bytes, and unread older ones count as lost.
    ///
    /// # Errors
    /// What is wrong with the state.
    pub fn restore(&self, state: &OutputState, bytes: &[u8]) -> Result<(), String> {
        let OutputState { kept, end, read, lost } = *state;
        if kept != bytes.len() as u64 || kept > end || read > end {
            return Err(format!(
                "{kept} bytes of output kept, {read} read and {end} printed, with {} bytes saved",
                bytes.len()
            ));
        }
        let mut ring = self.0.lock();
        let start = end.saturating_sub(kept);
        (ring.end, ring.read, ring.lost) = (start, read.max(start), lost);
        ring.print(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReaderRole, Taken};
    use super::*;
    use std::io::Write;
    use std::time::Instant;

    /// A ring of 16 bytes that has this state.
    fn restored(state: &OutputState, bytes: &[u8]) -> OutputRing {
        let ring = OutputRing::with_capacity(16).unwrap();
        ring.restore(state, bytes).unwrap();
        ring
    }

    #[test]
    fn a_state_has_all_bytes_and_marks() {
        let ring = OutputRing::with_capacity(16).unwrap();
        ring.sink().write_all(b"0123456789").unwrap();
        let mut reader = ring.reader(ReaderRole::Client);
        let mut chunk = Vec::new();
        assert!(reader.take(&mut chunk));
        drop(reader);
        ring.sink().write_all(b"abcdefghij").unwrap();
        let (state, bytes) = ring.state();

        let again = restored(&state, &bytes);

        assert_eq!(again.state(), (state, bytes));
        assert_eq!(again.kept(), b"456789abcdefghij");
        assert_eq!(again.peek(), (b"abcdefghij".to_vec(), 0));
        let mut reader = again.reader(ReaderRole::Client);
        assert!(reader.take(&mut chunk));
        assert_eq!(chunk, b"abcdefghij", "what was read comes again, or what was not is lost");
    }

    #[test]
    fn bytes_that_nobody_read_in_time_stay_lost() {
        let ring = OutputRing::with_capacity(16).unwrap();
        ring.sink().write_all(&[b'x'; 40]).unwrap();
        let (state, bytes) = ring.state();
        assert_eq!(restored(&state, &bytes).peek(), ring.peek());
        assert_eq!(ring.peek().1, 24);
    }

    #[test]
    fn a_smaller_ring_keeps_the_newest_bytes_and_counts_the_others() {
        let ring = OutputRing::with_capacity(4).unwrap();
        ring.restore(&OutputState { kept: 8, end: 108, read: 102, lost: 3 }, b"01234567").unwrap();
        assert_eq!(ring.peek(), (b"4567".to_vec(), 5));
    }

    #[test]
    fn a_held_reader_takes_nothing_and_loses_nothing() {
        let ring = OutputRing::with_capacity(16).unwrap();
        let mut reader = ring.reader(ReaderRole::Client);
        ring.hold(true);
        ring.sink().write_all(b"hold").unwrap();
        let mut chunk = Vec::new();
        assert_eq!(reader.take_until(&mut chunk, Some(Instant::now())), Taken::None);
        assert_eq!(ring.state().0.read, 0);
        ring.hold(false);
        assert!(reader.take(&mut chunk));
        assert_eq!(chunk, b"hold");
    }

    #[test]
    fn nobody_gets_the_bytes_that_are_in_a_snapshot() {
        let ring = OutputRing::with_capacity(16).unwrap();
        let mut reader = ring.reader(ReaderRole::Writer);
        ring.hold(true);
        ring.sink().write_all(b"saved").unwrap();
        ring.leave_rest();
        ring.finish();
        ring.hold(false);
        let mut chunk = Vec::new();
        assert!(!reader.take(&mut chunk));
        assert!(!ring.reader(ReaderRole::Client).take(&mut chunk));
        assert_eq!(ring.take_unread(reader.id()), 0, "it is said that they are lost");
    }

    #[test]
    fn a_state_that_no_ring_has_is_refused() {
        let good = OutputState { kept: 2, end: 10, read: 9, lost: 0 };
        let rows = [
            OutputState { kept: 3, ..good.clone() },
            OutputState { end: 1, read: 0, ..good.clone() },
            OutputState { read: 11, ..good.clone() },
            OutputState { kept: u64::MAX, ..good },
        ];
        for state in rows {
            let ring = OutputRing::with_capacity(16).unwrap();
            assert!(ring.restore(&state, b"ab").is_err(), "{state:?}");
            assert_eq!(ring.end(), 0);
        }
    }
}
