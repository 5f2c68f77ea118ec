//! Signals that other programs send.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::*;
use crate::exit::Interruption;
use crate::testing::{Running, fake, until};

/// A launcher that reads nothing, started by a shell that ignores `signals`.
fn ignoring(signals: &str) -> Running {
    let mut command = Command::new("sh");
    let launcher = fake();
    command.arg("-c").arg(format!("trap '' {signals}; exec \"$0\"")).arg(launcher.get_program());
    command.envs(launcher.get_envs().map(|(key, value)| (key, value.unwrap())));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(&mut command);
    until("it sleeps", || running.threads().contains(&"stdout".to_string()));
    running
}

#[test]
fn a_launcher_under_nohup_ignores_the_hang_up() {
    let mut launcher = ignoring("HUP INT");
    launcher.signal(Signal::SIGHUP);
    launcher.signal(Signal::SIGINT);
    // The first signal that is not ignored would end the launcher.
    launcher.signal(Signal::SIGQUIT);
    assert_eq!(launcher.status(), 128 + 3);
}

#[test]
fn a_request_to_terminate_is_obeyed_even_if_it_was_ignored() {
    let mut launcher = ignoring("TERM PIPE");
    launcher.signal(Signal::SIGTERM);
    assert_eq!(launcher.status(), 128 + 15);
}

/// The variable in whose presence the test overflows its stack.
const OVERFLOW: &str = "LGUEST_TEST_OVERFLOW";

#[test]
fn an_overflow_of_a_stack_is_reported() {
    if env::var_os(OVERFLOW).is_some() {
        sys::end_on_sent_faults().unwrap();
        println!("{}", overflow(1));
        return;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let name = "signals::tests::an_overflow_of_a_stack_is_reported";
    command.args(["--exact", name, "--nocapture"]).env(OVERFLOW, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has overflowed its stack"), "{said}");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflow(depth: u64) -> u64 {
    let used = std::hint::black_box([depth; 128]);
    overflow(depth + 1) + used.iter().sum::<u64>()
}

#[test]
fn a_sleep_ends_in_time() {
    let signals = Signals::block().unwrap();
    let exit = Exit::new().unwrap();
    let until = Instant::now() + Duration::from_millis(20);
    assert_eq!(signals.sleep(exit.as_fd(), Some(until)).unwrap(), Wake::TimedOut);
    assert!(Instant::now() >= until);
    exit.end(Interruption::CtrlC);
    assert_eq!(signals.sleep(exit.as_fd(), None).unwrap(), Wake::Ready);
    assert_eq!(signals.wait(&exit, None, None, || {}), Some(Interruption::CtrlC));
}
