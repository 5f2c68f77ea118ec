//! Conversions between integer types. None of them has a branch for a loss that cannot happen:
//! each loses nothing, or keeps the low bits on purpose, or clamps on purpose. A caller that must
//! not lose bits has bounded the number before.

const _: () = assert!(usize::BITS == 64, "offsets in guest memory and in files have 64 bits");

/// A number as an index or a length in the launcher's memory, where both have 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits")]
pub fn index(number: impl Into<u64>) -> usize {
    number.into() as usize
}

/// A constant of the virtio headers that has 16 bits in the protocol. A larger one does not
/// compile, if the result is a constant.
#[expect(clippy::cast_possible_truncation, reason = "checked")]
pub const fn u16_constant(constant: u32) -> u16 {
    assert!(constant <= u16::MAX as u32);
    constant as u16
}

/// A constant of the virtio headers that is a byte in the protocol. A larger one does not
/// compile, if the result is a constant.
#[expect(clippy::cast_possible_truncation, reason = "checked")]
pub const fn u8_constant(constant: u32) -> u8 {
    assert!(constant <= u8::MAX as u32);
    constant as u8
}

/// The low 8 bits of a number: a register or a field of one byte.
pub fn low_u8(number: impl Into<u128>) -> u8 {
    let [byte, ..] = number.into().to_le_bytes();
    byte
}

/// The low 16 bits of a number: a register of two bytes, or a ring's index, which counts modulo
/// 2^16.
pub fn low_u16(number: impl Into<u128>) -> u16 {
    let [a, b, ..] = number.into().to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The low 32 bits of a number: a register of four bytes.
pub fn low_u32(number: impl Into<u128>) -> u32 {
    let [a, b, c, d, ..] = number.into().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The low 64 bits of a number.
pub fn low_u64(number: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = number.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A number of bytes, or the largest that 32 bits can express.
pub fn clamped_u32(number: u64) -> u32 {
    low_u32(number.min(u32::MAX.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_bits_are_kept() {
        let number = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128;
        assert_eq!(low_u8(number), 0xff);
        assert_eq!(low_u16(number), 0xeeff);
        assert_eq!(low_u32(number), 0xccdd_eeff);
        assert_eq!(low_u64(number), 0x8899_aabb_ccdd_eeff);
    }

    #[test]
    fn a_length_above_4_gib_is_clamped() {
        assert_eq!(clamped_u32(7), 7);
        assert_eq!(clamped_u32(u32::MAX.into()), u32::MAX);
        assert_eq!(clamped_u32(1 << 32), u32::MAX);
    }

    #[test]
    fn an_index_loses_nothing() {
        assert_eq!(index(u64::MAX), usize::MAX);
        assert_eq!(index(7_u16), 7);
    }
}
