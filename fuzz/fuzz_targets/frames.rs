//! What the init of a guest that runs a command says to the launcher (--exec), in pieces of
//! any length: the parser returns the same frames as for all of it at once, and the frames encode
//! to the same bytes again.

#![no_main]

use lguest_init::frame::{Broken, FromGuest, Parser};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let piece = input.int_in_range(1..=64)?;
    let bytes = said(input)?;
    let (whole, broken) = frames(&bytes, bytes.len().max(1));
    assert_eq!(frames(&bytes, piece), (whole.clone(), broken.clone()));
    let again: Vec<u8> = whole.iter().flat_map(FromGuest::encode).collect();
    assert_eq!(frames(&again, piece), (whole, Ok(())));
    Ok(())
}

/// Frames as they should be, and others; cut off anywhere.
fn said(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !input.is_empty() {
        let kind = input.int_in_range(0..=8)?;
        let length = input.int_in_range(0..=8)?;
        match input.int_in_range(0..=15)? {
            0 => bytes.extend(input.bytes(length.min(input.len()))?),
            1 => bytes.extend([&[kind][..], &input.arbitrary::<[u8; 4]>()?].concat()),
            _ => {
                let payload = input.bytes(length.min(input.len()))?;
                bytes.extend([&[kind, payload.len() as u8, 0, 0, 0], payload].concat());
            }
        }
    }
    Ok(bytes)
}

fn frames(bytes: &[u8], piece: usize) -> (Vec<FromGuest>, std::result::Result<(), Broken>) {
    let (mut parser, mut frames) = (Parser::default(), Vec::new());
    let mut push = |bytes| parser.push(bytes, |frame| frames.push(frame));
    let ended = bytes.chunks(piece).try_for_each(&mut push);
    (frames, ended)
}
