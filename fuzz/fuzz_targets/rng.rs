//! The queue of an entropy device, whose source never ends.

#![no_main]

use std::fs::File;

use devices::rng::Rng;
use fuzz::Guest;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let device = Rng::new(File::open("/dev/zero").expect("/dev/zero"));
    let mut guest = Guest::new(input, 64)?;
    let accepted = fuzz::accepted(input, &device)?;
    guest.play(input, (&device, 0, accepted), |_| ())
}
