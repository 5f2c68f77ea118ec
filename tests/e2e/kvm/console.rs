//! The console, with a driver that makes no assumptions: interrupts, threads, sizes, all 256 bytes.

use tests::{End, Running, until};

use super::probe;

/// The byte that begins a command to the probe.
const COMMAND: u8 = 0x1e;

fn command(running: &mut Running, letter: u8) {
    running.send([COMMAND, letter]);
}

fn on_terminal() -> Running {
    let mut running = probe("console").argument("event_idx").on_terminal();
    running.expect("hello 100x30");
    running
}

#[test]
fn each_queue_has_a_thread_and_there_are_no_others() {
    let mut running = on_terminal();
    let mut threads = running.process().threads();
    threads.retain(|name| !name.starts_with("kvm-")); // the host kernel's own
    threads.sort();
    assert_eq!(threads, ["con0-rx", "con0-tx", "control", "lguest", "stdin", "stdout", "vcpu0"]);
    command(&mut running, b'p');
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn all_bytes_pass_both_ways() {
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != COMMAND).cycle().take(1 << 20).collect();
    let mut running = probe("console").piped();
    running.expect("hello 80x24\n");
    let before = running.output().len();
    running.send_beside(bytes.clone());
    tests::until("all bytes come back", || {
        (running.output().len() >= before + bytes.len()).then_some(())
    });
    assert!(running.output().bytes()[before..] == bytes, "other bytes came back");
    running.send([COMMAND, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn a_change_of_the_window_interrupts_the_guest() {
    let mut running = on_terminal();
    command(&mut running, b'w');
    running.pty().resize(41, 133);
    running.expect("133x41");
    command(&mut running, b'p');
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn a_device_that_is_reset_serves_again() {
    let mut running = on_terminal();
    for round in 0..10 {
        command(&mut running, b'z');
        // The guest may lose what is in its buffers at a reset.
        running.expect("reset done");
        let text = format!("again {round};");
        running.send(&text);
        running.expect(&text);
    }
    command(&mut running, b'p');
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn a_flood_arrives_whole() {
    let mut running = probe("console").piped();
    running.expect("hello 80x24\n");
    running.send([&[COMMAND][..], b"f 1024\n"].concat());
    running.send([COMMAND, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    // The pipe may still contain the last output.
    until("the end of stdout is read", || running.output().has_ended().then_some(()));
    assert!(running.output().len() > 1 << 20, "{} bytes", running.output().len());
}

#[test]
fn lguest_undoes_the_terminal_modes_that_the_guest_has_set() {
    for (set, undone) in SCREENS {
        let mut running = on_terminal();
        running.send(set);
        // The guest echoes the sequence.
        running.expect(set);
        command(&mut running, b'p');
        assert_eq!(running.wait(), End::Status(0));
        running.expect(undone);
    }
}

/// What a guest's program sets, and what the launcher prints to undo it.
const SCREENS: &[(&str, &str)] = &[
    ("\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"),
    // Keyboard modes: Kitty's, pushed or set, and xterm's.
    ("\x1b[>1u\x1b[>5u", "\x1b[<2u"),
    ("\x1b[=5u", "\x1b[=0u"),
    ("\x1b[>4;2m", "\x1b[>4m"),
    // Kitty's keyboard modes belong to one screen.
    ("\x1b[>1u\x1b[?1049h\x1b[=5u", "\x1b[=0u\x1b[?1049l\x1b[<1u"),
    // The shape of the cursor.
    ("\x1b[4 q", "\x1b[0 q"),
    // Synchronized output, reports of colours and of the size.
    ("\x1b[?2026h\x1b[?2031h\x1b[?2048h", "\x1b[?2026l\x1b[?2031l\x1b[?2048l"),
];
