//! Every ending in one table: the status is right, the terminal is restored (modes and file flags),
//! and no process and no directory is left.

use nix::sys::signal::Signal;
use tests::{End, Running, until};

use super::probe;

/// An ending.
struct Way {
    name: &'static str,
    /// The mode of the guest.
    mode: &'static str,
    /// The action of the user.
    act: fn(&mut Running),
    end: End,
}

fn nothing(_: &mut Running) {}

fn signal(running: &mut Running, signal: Signal) {
    in_raw_mode(running);
    running.process().signal(signal);
}

fn in_raw_mode(running: &mut Running) {
    until("the terminal is raw", || running.pty().snapshot().is_raw().then_some(()));
}

fn three_ctrl_c(running: &mut Running) {
    in_raw_mode(running);
    running.press_three_ctrl_c();
}

fn tell(running: &mut Running, verb: &str) {
    in_raw_mode(running);
    let name = format!("guest-{}", running.process().0);
    running.lguest(&[verb, &name]).well();
}

const WAYS: &[Way] = &[
    Way { name: "power-off", mode: "poweroff", act: nothing, end: End::Status(0) },
    Way { name: "port 0x501", mode: "status=7", act: nothing, end: End::Status(7) },
    Way { name: "panic", mode: "panic", act: nothing, end: End::Status(101) },
    Way { name: "triple fault", mode: "crash=triple", act: nothing, end: End::Status(102) },
    Way { name: "^C, idle", mode: "console", act: three_ctrl_c, end: End::Status(130) },
    Way { name: "^C, no driver", mode: "noconsole", act: three_ctrl_c, end: End::Status(130) },
    Way { name: "^C, halted", mode: "hang=halt", act: three_ctrl_c, end: End::Status(130) },
    Way { name: "^C, spinning", mode: "hang=spin", act: three_ctrl_c, end: End::Status(130) },
    Way {
        name: "stop",
        mode: "console",
        act: |running| tell(running, "stop"),
        end: End::Status(0),
    },
    Way {
        name: "kill",
        mode: "hang=spin",
        act: |running| tell(running, "kill"),
        end: End::Status(137),
    },
    Way {
        name: "SIGTERM",
        mode: "console",
        act: |running| signal(running, Signal::SIGTERM),
        end: End::Status(143),
    },
    Way {
        name: "SIGINT",
        mode: "hang=spin",
        act: |running| signal(running, Signal::SIGINT),
        end: End::Status(130),
    },
    Way {
        name: "SIGHUP",
        mode: "noconsole",
        act: |running| signal(running, Signal::SIGHUP),
        end: End::Status(129),
    },
    Way {
        name: "SIGQUIT",
        mode: "console",
        act: |running| signal(running, Signal::SIGQUIT),
        end: End::Status(131),
    },
    Way {
        name: "SIGKILL",
        mode: "console",
        act: |running| signal(running, Signal::SIGKILL),
        end: End::Killed(9),
    },
    Way {
        name: "SIGALRM",
        mode: "console",
        act: |running| signal(running, Signal::SIGALRM),
        end: End::Killed(14),
    },
];

#[test]
fn every_ending_restores_the_terminal() {
    for way in WAYS {
        eprintln!("{}", way.name);
        let mut running = probe(way.mode).on_terminal();
        (way.act)(&mut running);
        assert_eq!(running.wait(), way.end, "{}", way.name);
        running.assert_terminal_restored();
        running.assert_nothing_left();
        // A killed launcher cannot remove its directory.
        let left = usize::from(matches!(way.end, End::Killed(_)));
        assert_eq!(running.directories().len(), left, "{}", way.name);
        running.lguest(&["list"]).well();
        assert_eq!(running.directories().len(), 0, "{}", way.name);
    }
}

/// Signals that the kernel sends for faults, and their numbers. If another process sends them, they
/// end the launcher like any other signal.
const FAULTS: &[(Signal, i32)] = &[
    (Signal::SIGSEGV, 11),
    (Signal::SIGBUS, 7),
    (Signal::SIGILL, 4),
    (Signal::SIGFPE, 8),
    (Signal::SIGTRAP, 5),
    (Signal::SIGABRT, 6),
    (Signal::SIGSYS, 31),
];

#[test]
fn a_fault_signal_from_another_process_ends_lguest() {
    for (fault, number) in FAULTS {
        eprintln!("{fault}");
        let mut running = probe("console").on_terminal();
        running.expect("hello");
        signal(&mut running, *fault);
        assert_eq!(running.wait(), End::Killed(*number), "{fault}");
        running.assert_terminal_restored();
        running.assert_no_process_left();
    }
}

#[test]
fn a_terminal_that_was_raw_stays_raw() {
    let pty = tests::Pty::new(30, 100);
    pty.make_raw();
    let mut running = probe("poweroff").on(pty);
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.pty().snapshot().is_raw());
    running.assert_terminal_restored();
}
