//! Resets of the machine and of its device, many times: nothing is left over.

use tests::{End, Process, Running, until};

use super::probe;

/// So many rounds show a leak of one descriptor or thread.
const ROUNDS: usize = 200;

fn reboot(running: &mut Running) {
    running.send([0x1e, b'r']);
    running.expect("hello 100x30");
}

/// Descriptors and threads; a thread that is on its way out is given its moment.
fn held(process: Process) -> (usize, usize) {
    (process.descriptors().len(), process.threads().len())
}

#[test]
fn two_hundred_reboots_in_one_process_leave_nothing() {
    let mut running = probe("console").on_terminal();
    running.expect("hello 100x30");
    reboot(&mut running);
    let process = running.process();
    let (before, memory, started) =
        (held(process), process.memory_beyond_guest(), process.start_time());
    for _ in 0..ROUNDS {
        reboot(&mut running);
        assert!(running.pty().snapshot().is_raw());
    }
    until("descriptors and threads are as before", || (held(process) == before).then_some(()));
    assert_eq!(process.start_time(), started);
    let grown = process.memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more than before");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn a_storm_of_device_resets_ends() {
    let mut running = probe("resets=300").piped();
    assert_eq!(running.wait(), End::Status(0));
}
