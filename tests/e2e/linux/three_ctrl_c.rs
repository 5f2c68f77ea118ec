//! Three ^C within a second end the guest, whatever state it is in. Nothing else does, and the
//! guest gets each of them as well.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tests::files::Scratch;
use tests::{CTRL_C_WINDOW, End, Guest, Launch, Running, kernel};

const CTRL_C: u8 = 3;

/// Asserts that three ^C end the launcher as they should.
fn ends(running: &mut Running) {
    running.press_three_ctrl_c();
    assert_eq!(running.wait(), End::Status(130));
    assert!(running.stderr().contains("three ^C"), "{}", running.stderr());
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn only_three_ctrl_c_in_a_second_end_the_guest() {
    let mut guest = Guest::boot();

    // One ^C goes to the guest's program.
    guest.type_line("sh -c 'echo SLEEP\"\"ING; exec sleep 1000'");
    guest.expect("SLEEPING");
    guest.press(CTRL_C);
    guest.expect("guest# ");

    // A paste of three ^C is not three key presses; the guest gets all of it.
    guest.type_line("stty raw -echo; echo RA''W; head -c 3 | od -An -tx1; stty sane");
    guest.expect("RAW\n");
    guest.send([CTRL_C; 3]);
    guest.expect(" 03 03 03\n");
    guest.expect("guest# ");

    // Another key comes in between.
    for key in [CTRL_C, CTRL_C, b'x', CTRL_C] {
        guest.press(key);
    }
    assert_eq!(guest.run("echo alive"), "alive");

    // Slow presses: the third comes more than a second after the first. There is no event to wait
    // for.
    guest.press(CTRL_C);
    let first = Instant::now();
    guest.press(CTRL_C);
    sleep((CTRL_C_WINDOW + Duration::from_millis(1)).saturating_sub(first.elapsed()));
    guest.press(CTRL_C);
    assert_eq!(guest.run("echo alive"), "alive");
    ends(&mut guest);
}

#[test]
fn the_guest_also_gets_each_of_three_ctrl_c() {
    let mut guest = Guest::boot();
    guest.type_line("stty raw -echo; echo RA''W; head -c 2 | od -An -tx1");
    guest.expect("RAW\n");
    guest.press(CTRL_C);
    guest.press(CTRL_C);
    guest.expect(" 03 03\n");
}

#[test]
fn three_ctrl_c_end_a_guest_at_its_prompt() {
    ends(&mut Guest::boot());
}

#[test]
fn three_ctrl_c_end_a_kernel_that_panicked_early() {
    // Without a root file system and an init, nothing loads the console's driver, which is a
    // module.
    let launch = Launch::kernel(tests::environment::vmlinux()).option("--earlycon");
    let mut running = launch.on_terminal();
    running.expect("end Kernel panic");
    ends(&mut running);
}

#[test]
fn three_ctrl_c_end_a_kernel_that_spins_with_interrupts_off() {
    let scratch = Scratch::new();
    for hung in [kernel::spinning(), kernel::halted()] {
        let mut running = Launch::kernel(scratch.file("kernel", hung)).on_terminal();
        tests::until("the guest runs", || running.process().thread("vcpu0"));
        tests::until("the terminal is raw", || running.pty().snapshot().is_raw().then_some(()));
        ends(&mut running);
    }
}
