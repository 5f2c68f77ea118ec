//! bzImages made from another one (Documentation/arch/x86/boot.rst).

use crate::wait::OrFail;

const SETUP_SECTORS: usize = 0x1f1;
const CODE_SIZE: usize = 0x1f4;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;
/// The unit of the code's size in the header.
const PARAGRAPH: usize = 16;

/// Returns `image` with another payload. The old payload is overwritten, so that no test can boot
/// it by mistake.
#[must_use]
#[track_caller]
pub fn with_payload(image: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut file = image.to_vec();
    let code = code_start(image);
    let old = code + number(image, PAYLOAD_OFFSET);
    let end = old + number(image, PAYLOAD_LENGTH);
    file.get_mut(old..end).or_fail("finding the old payload").fill(0);

    file.resize(file.len().next_multiple_of(PARAGRAPH), 0);
    let start = file.len() - code;
    file.extend(payload);
    file.resize(file.len().next_multiple_of(PARAGRAPH), 0);
    let paragraphs = (file.len() - code) / PARAGRAPH;
    set_number(&mut file, CODE_SIZE, paragraphs);
    set_number(&mut file, PAYLOAD_OFFSET, start);
    set_number(&mut file, PAYLOAD_LENGTH, payload.len());
    file
}

/// Returns `image` with a header that does not say where the payload is. The image itself knows the
/// place, and can still unpack the payload.
#[must_use]
#[track_caller]
pub fn with_hidden_payload(image: &[u8]) -> Vec<u8> {
    let mut file = image.to_vec();
    // No compressor's magic number is 16 bytes into the payload.
    let offset = number(image, PAYLOAD_OFFSET) + PARAGRAPH;
    let length = number(image, PAYLOAD_LENGTH) - PARAGRAPH;
    set_number(&mut file, PAYLOAD_OFFSET, offset);
    set_number(&mut file, PAYLOAD_LENGTH, length);
    file
}

fn code_start(image: &[u8]) -> usize {
    let sectors = image.get(SETUP_SECTORS).copied().or_fail("reading a bzImage");
    (usize::from(sectors) + 1) * SECTOR
}

fn number(image: &[u8], offset: usize) -> usize {
    let bytes = image.get(offset..offset + 4).or_fail("reading a bzImage");
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn set_number(image: &mut [u8], offset: usize, number: usize) {
    let number = u32::try_from(number).or_fail("writing a bzImage's header");
    let bytes = image.get_mut(offset..offset + 4).or_fail("writing a bzImage's header");
    bytes.copy_from_slice(&number.to_le_bytes());
}
