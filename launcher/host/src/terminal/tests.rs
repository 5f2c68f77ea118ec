//! A launcher on terminals of all kinds, observed from outside.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};

use super::*;
use crate::testing::{Pty, Running, exists, fake, fake_in_session, in_session};

mod job_control;

/// A way for the launcher to end, and its exit status.
const ENDINGS: &[(Way, i32)] = &[
    (Way::Types("<off>"), 0),
    (Way::Types("<panic>"), 1),
    (Way::Types("<abort>"), 128 + 6),
    (Way::Types("<segv>"), 128 + 11),
    (Way::Signal(Signal::SIGTERM), 128 + 15),
    (Way::Signal(Signal::SIGINT), 128 + 2),
    (Way::Signal(Signal::SIGHUP), 128 + 1),
    (Way::Signal(Signal::SIGQUIT), 128 + 3),
    (Way::Signal(Signal::SIGSYS), 128 + 31),
    (Way::Signal(Signal::SIGXCPU), 128 + 24),
    (Way::Signal(Signal::SIGALRM), 128 + 14),
    (Way::Signal(Signal::SIGKILL), 128 + 9),
];

#[derive(Debug)]
enum Way {
    Types(&'static str),
    Signal(Signal),
}

fn ends_and_gives_back(prepare: impl Fn(&Pty)) {
    for (way, status) in ENDINGS {
        let mut pty = Pty::open();
        prepare(&pty);
        let (modes, flags) = (pty.modes(), pty.flags());
        let mut launcher = pty.start(&mut fake());
        pty.expect("ready, raw\r\n");
        assert!(pty.is_raw(), "{way:?}");
        let guard = launcher.guard();
        match way {
            Way::Types(word) => pty.type_in(word),
            Way::Signal(signal) => launcher.signal(*signal),
        }
        pty.until("it ends", |_| !launcher.is_running());
        assert_eq!(launcher.status(), *status, "{way:?}");
        // After a SIGKILL, the guard needs a moment.
        pty.until("the guard is gone", |_| !exists(guard));
        assert!(guard::same(&pty.modes(), &modes), "{way:?}: {:?}", pty.modes());
        assert_eq!(pty.flags(), flags, "{way:?}");
    }
}

#[test]
fn every_way_out_gives_a_usual_terminal_back() {
    ends_and_gives_back(|_| {});
}

#[test]
fn every_way_out_gives_an_odd_terminal_back() {
    ends_and_gives_back(|pty| {
        let mut modes = pty.modes();
        modes.c_lflag &= !libc::ECHO;
        modes.c_iflag |= libc::IUCLC | libc::IXANY;
        modes.c_cc[libc::VERASE] = b'#';
        pty.set_modes(&modes);
    });
}

#[test]
fn every_way_out_leaves_a_raw_terminal_raw() {
    ends_and_gives_back(|pty| pty.set_modes(&sys::raw(&pty.modes())));
}

#[test]
fn a_panic_prints_after_the_terminal_is_back() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw\r\n");
    // The panic is in a vCPU's thread.
    pty.type_in("<panic>");
    pty.expect("vcpu7");
    pty.expect("as told\r\n");
    pty.expect("the end: Failed(\"vcpu7: panicked: as told\")\r\n");
    assert_eq!(launcher.status(), 1);
}

#[test]
fn messages_do_not_staircase() {
    let mut pty = Pty::open();
    let _launcher = pty.start(&mut fake());
    pty.expect("ready, raw\r\n");
    pty.type_in("<log>");
    pty.expect("lguest: in one line\r\n");
}

#[test]
fn the_guard_keeps_nothing_open_but_its_pipe_and_the_terminal() {
    let mut pty = Pty::open();
    let launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    let guard = launcher.guard();
    let open = || {
        let open = fs::read_dir(format!("/proc/{guard}/fd")).unwrap();
        let open = open.flat_map(|fd| fs::read_link(fd.unwrap().path()));
        open.map(|file| file.to_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    pty.until("two are left", |_| open().len() == 2);
    assert!(open().contains(&pty.name.to_str().unwrap().to_string()));
    assert!(open().iter().any(|file| file.starts_with("pipe:")));
}

#[test]
fn the_guard_survives_signals_for_the_launcher() {
    let mut pty = Pty::open();
    let modes = pty.modes();
    let launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    let guard = launcher.guard();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        kill(guard, signal).unwrap();
    }
    launcher.signal(Signal::SIGKILL);
    pty.until("the modes are back", |pty| guard::same(&pty.modes(), &modes));
}

#[test]
fn the_guard_does_not_change_modes_that_another_program_set() {
    let mut pty = Pty::open();
    let launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    let guard = launcher.guard();
    let mut modes = pty.modes();
    modes.c_lflag |= libc::ISIG;
    pty.set_modes(&modes);
    launcher.signal(Signal::SIGKILL);
    pty.until("the guard is gone", |_| !exists(guard));
    assert!(guard::same(&pty.modes(), &modes));
}

#[test]
fn a_stopped_guard_does_not_hold_up_the_end() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    kill(launcher.guard(), Signal::SIGSTOP).unwrap();
    pty.type_in("<off>");
    assert_eq!(launcher.status(), 0);
}

#[test]
fn a_terminal_on_stdout_alone_is_not_touched() {
    let mut pty = Pty::open();
    let modes = pty.modes();
    let mut command = fake();
    command.stdin(Stdio::null()).stdout(pty.stdio()).stderr(pty.stdio());
    let launcher = Running::start(&mut command);
    pty.expect("ready\r");
    assert!(guard::same(&pty.modes(), &modes));
    assert!(!launcher.has_children());
}

#[test]
fn a_terminal_on_stdin_alone_is_raw() {
    let mut pty = Pty::open();
    let mut command = fake();
    command.stdin(pty.stdio()).stdout(Stdio::null());
    let mut launcher = Running::start(&mut command);
    pty.until("it is raw", Pty::is_raw);
    pty.type_in("<off>");
    assert_eq!(launcher.status(), 0);
    assert!(!pty.is_raw());
}

#[test]
fn a_terminal_that_is_closed_ends_the_guest() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    drop(pty);
    assert_eq!(launcher.status(), 128 + 1);
}

#[test]
fn sizes_reach_the_guest() {
    let mut pty = Pty::open();
    let resize = |pty: &Pty, columns: &str, rows: &str| {
        let mut stty = Command::new("stty");
        stty.arg("-F").arg(&pty.name).args(["cols", columns, "rows", rows]);
        assert!(stty.status().unwrap().success());
    };
    let launcher = pty.start(&mut fake_in_session());
    pty.expect("ready, raw");
    resize(&pty, "133", "40");
    pty.expect("size 133x40\r\n");
    resize(&pty, "0", "0");
    (0..50).for_each(|_| pty.pump());
    assert!(pty.seen.is_empty(), "a size of 0 was reported: {:?}", pty.seen);
    resize(&pty, "100", "30");
    pty.expect("size 100x30\r\n");
    drop(launcher);
}

#[test]
fn an_idle_launcher_does_nothing() {
    let mut pty = Pty::open();
    let launcher = pty.start(&mut fake_in_session());
    pty.expect("ready, raw");
    launcher.until_it_rests();
}
