//! Both queues of a console. Input never ends, and output goes nowhere.

#![no_main]

use std::fs::File;
use std::io;
use std::sync::Arc;

use devices::console::{Console, WindowSize};
use fuzz::Guest;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let device = Console {
        input: File::open("/dev/zero").expect("/dev/zero"),
        output: io::sink,
        size: Arc::new(WindowSize::default()),
    };
    let mut guest = Guest::new(input, 64)?;
    let accepted = fuzz::accepted(input, &device)?;
    let queue = input.int_in_range(0..=1)?;
    guest.play(input, (&device, queue, accepted), |_| ())
}
