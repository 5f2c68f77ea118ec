//! Splits accesses of 1 to 8 bytes for the registers of [`super::VirtioPci`], which have at
//! most 4 bytes.

use std::ops::Range;

/// Returns the offset of `at` in `part`. None if it lies outside.
pub(super) fn within(part: &Range<u64>, at: u64) -> Option<u64> {
    part.contains(&at).then(|| at - part.start)
}

/// Splits an access of 8 bytes into two of 4 (4.1.3.1). Smaller ones stay as they are.
pub(super) fn each_dword(at: u64, length: usize, mut access: impl FnMut(u64, Range<usize>)) {
    if length <= 4 {
        return access(at, 0..length);
    }
    for (at, start) in (at..).step_by(4).zip((0..length).step_by(4)) {
        access(at, start..length.min(start + 4));
    }
}

/// Copies as much of `from` as `to` has room for.
pub(super) fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Returns up to four bytes as a little-endian number.
pub(super) fn number(bytes: &[u8]) -> u32 {
    let mut all = [0; 4];
    copy(&mut all, bytes);
    u32::from_le_bytes(all)
}
