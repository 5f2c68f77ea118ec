//! A second CPU for races: it writes the same values to the same addresses again and again, while
//! the first CPU does its work. A mode that needs it calls [`start`]; `start.s` brings it from real
//! mode to [`main`].

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::interrupts::LOCAL_APIC;
use crate::memory::Region;
use crate::start::{SECOND_PAGE, place_second_start};

/// The most writes in one turn.
const MOST: usize = 8;

/// The local APIC's interrupt command register (SDM 3A, 11.6.1), and the values that start a CPU
/// (9.4.4): INIT, then the page where it begins.
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600;
const SECOND: u32 = 1 << 24;

/// How often to check whether the CPU runs. Each check reads the APIC, which is an exit, so this is
/// some seconds.
const PATIENCE: u32 = 1_000_000;

/// How long the CPU leaves each value in place, in turns of a loop.
const PAUSE: u32 = 4;

/// The writes: address, bytes (1, 2, 4 or 8), value; and their number.
static WRITES: [[AtomicU64; 3]; MOST] = [const { [const { AtomicU64::new(0) }; 3] }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The number of turns so far, including those without writes.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// The entry point from `start.s`, in user mode, with interrupts disabled.
pub(crate) extern "C" fn main() -> ! {
    loop {
        let count = COUNT.load(Ordering::Acquire);
        for [address, bytes, value] in WRITES.iter().take(count) {
            let [address, bytes, value] =
                [address, bytes, value].map(|word| word.load(Ordering::Relaxed));
            write(address, bytes, value);
            // Without a pause, the device would see consecutive writes as one.
            (0..PAUSE).for_each(|_| spin_loop());
        }
        TURNS.fetch_add(1, Ordering::Release);
    }
}

fn write(address: u64, bytes: u64, value: u64) {
    let Some(place) = Region::again(address, bytes) else { return };
    let [a, b, c, d, ..] = value.to_le_bytes();
    match bytes {
        1 => place.write(0, a),
        2 => place.write(0, u16::from_le_bytes([a, b])),
        4 => place.write(0, u32::from_le_bytes([a, b, c, d])),
        _ => place.write(0, value),
    }
}

/// Starts the second CPU. Fails if the machine has only one.
pub(crate) fn start() {
    let Some(apic) = Region::outside(LOCAL_APIC, 4096) else {
        fail!("probe: the image lies where the local APIC is")
    };
    place_second_start();
    for order in [INIT, STARTUP | u32::try_from(SECOND_PAGE >> 12).unwrap_or(0)] {
        apic.write(COMMAND_HIGH, SECOND);
        apic.write(COMMAND_LOW, order);
    }
    let mut looks = (0..PATIENCE).map(|_| apic.read::<u32>(COMMAND_LOW));
    if !looks.any(|_| turns() > 0) {
        fail!("probe: no second CPU: --cpus 2 is needed");
    }
}

/// Makes the second CPU write these until [`stop_writing`]: address, bytes, value.
pub(crate) fn keep_writing(writes: &[(u64, u64, u64)]) {
    for (to, (address, bytes, value)) in WRITES.iter().zip(writes) {
        for (word, new) in to.iter().zip([address, bytes, value]) {
            word.store(*new, Ordering::Relaxed);
        }
    }
    COUNT.store(writes.len(), Ordering::Release);
    wait_for_turns(1);
}

/// Stops the writes. When this returns, the second CPU writes nothing any more.
pub(crate) fn stop_writing() {
    COUNT.store(0, Ordering::Release);
    wait_for_turns(2);
}

/// Returns the number of turns so far.
pub(crate) fn turns() -> u64 {
    TURNS.load(Ordering::Acquire)
}

/// Waits until the second CPU has made `count` more turns.
pub(crate) fn wait_for_turns(count: u64) {
    let before = turns();
    while turns().wrapping_sub(before) < count {
        spin_loop();
    }
}
