//! Accesses of 1 to 8 bytes, taken apart for the registers of
//! [`super::VirtioPci`], which are 4 bytes wide at most.

use std::ops::Range;

/// The offset of `at` in `part`, if it is there.
pub(super) fn within(part: &Range<u64>, at: u64) -> Option<u64> {
    part.contains(&at).then(|| at - part.start)
}

/// An access of 8 bytes is two of 4 (4.1.3.1); smaller ones stay as they are.
pub(super) fn each_dword(at: u64, length: usize, mut access: impl FnMut(u64, Range<usize>)) {
    if length <= 4 {
        return access(at, 0..length);
    }
    for (at, start) in (at..).step_by(4).zip((0..length).step_by(4)) {
        access(at, start..length.min(start + 4));
    }
}

/// As much of `from` as there is room for.
pub(super) fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Up to four bytes as a little-endian number.
pub(super) fn number(bytes: &[u8]) -> u32 {
    let mut all = [0; 4];
    copy(&mut all, bytes);
    u32::from_le_bytes(all)
}
