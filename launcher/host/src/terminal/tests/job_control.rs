//! The launcher as a job of an interactive shell.

use nix::sys::signal::killpg;
use nix::unistd::{Pid, tcgetpgrp};

use super::*;
use crate::testing::{COOKED, SWITCH};

/// bash on a terminal, with the fake launcher as its command `lguest`.
fn shell() -> (Pty, Running) {
    let mut pty = Pty::open();
    let mut command = in_session("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("PS1", "$((6*7))> ").env("TERM", "dumb");
    let launcher = fake();
    command.envs(launcher.get_envs().map(|(key, value)| (key, value.unwrap())));
    command.env("FAKE", launcher.get_program());
    let bash = pty.start(&mut command);
    pty.expect("42> ");
    (pty, bash)
}

#[test]
fn a_job_in_the_background_runs_without_the_terminal() {
    let (mut pty, _bash) = shell();
    pty.type_in("\"$FAKE\" &\r");
    pty.expect("ready\r");
    // The shell still has its line editing, and the launcher takes no keys.
    pty.type_in("sleep 1; jobs\r");
    pty.expect("Running");
    pty.expect("42> ");
    assert!(!pty.is_raw());
    pty.type_in("stty cols 99 rows 33; fg\r");
    pty.until("it is raw", Pty::is_raw);
    pty.expect("size 99x33\r\n");
    pty.type_in("<off>");
    pty.expect("<off>");
    pty.expect("PoweredOff\r\n");
    pty.expect("42> ");
    pty.type_in("stty -a\r");
    pty.expect(" icanon ");
    pty.expect(" echo ");
}

/// A launcher that runs a command without `--tty` reads lines.
#[test]
fn a_job_that_reads_lines_waits_for_the_foreground() {
    let (mut pty, _bash) = shell();
    let bash = foreground(&pty);
    pty.type_in(format!("{SWITCH}={COOKED} \"$FAKE\" &\r"));
    pty.expect("ready\r");
    pty.type_in("sleep 1; jobs\r");
    pty.expect("Running");
    pty.expect("42> ");
    pty.type_in("fg\r");
    pty.until("the job is in front", |pty| foreground(pty) != bash);
    pty.type_in("line\r");
    // The terminal echoes the line, and the guest does.
    pty.expect("line");
    pty.expect("line");
    pty.type_in("<off>\r");
    pty.expect("PoweredOff\r\n");
    pty.expect("42> ");
}

/// The kernel fails the reads of an orphaned group, because no shell could continue a stopped one.
#[test]
fn an_orphan_that_reads_lines_waits_for_the_foreground() {
    let mut pty = Pty::open();
    // The launcher starts when its group's last parent is gone, and another group is in front.
    let script = "set -m; (
        (until read -r _ _ _ _ group _ _ front _ < /proc/$BASHPID/stat
            [ $group != $front ]; do :; done; echo orphan $BASHPID.; exec \"$0\") <&0 &)
        exec sleep 1000";
    let mut command = in_session("bash");
    command.args(["-c", script]);
    command.arg(fake().get_program()).env(SWITCH, COOKED);
    let _session = pty.start(&mut command);
    pty.expect("orphan ");
    pty.until("its number is known", |pty| pty.seen.contains(&b'.'));
    let number = pty.seen.split(|byte| *byte == b'.').next().unwrap().to_vec();
    let orphan = Pid::from_raw(String::from_utf8(number).unwrap().parse().unwrap());
    pty.expect("in the background");
    // A signal ends the launcher: nothing else has ended it.
    kill(orphan, Signal::SIGTERM).unwrap();
    pty.expect("the end: Signal(15)");
    assert!(!pty.seen.windows(5).any(|part| part == b"error"), "gave up");
    pty.until("it is gone", |_| !exists(orphan));
}

#[test]
fn a_job_that_ends_in_the_background_leaves_the_shell_alone() {
    let (mut pty, _bash) = shell();
    pty.type_in("\"$FAKE\" &\r");
    pty.expect("ready\r");
    let modes = pty.modes();
    pty.type_in("kill $!; sleep 1\r");
    pty.expect("Signal(15)\r\n");
    pty.until("the shell reads again", |pty| guard::same(&pty.modes(), &modes));
}

#[test]
fn a_job_that_was_asked_to_stop_gives_the_terminal_back() {
    let (mut pty, _bash) = shell();
    pty.type_in("\"$FAKE\"\r");
    pty.expect("ready, raw");
    stop_and_continue(&mut pty, Signal::SIGTSTP);
}

#[test]
fn a_job_that_was_stopped_by_force_is_raw_again() {
    let (mut pty, _bash) = shell();
    pty.type_in("\"$FAKE\"\r");
    pty.expect("ready, raw");
    stop_and_continue(&mut pty, Signal::SIGSTOP);
}

#[test]
fn a_job_that_was_asked_to_stop_needs_no_shell_to_restore_the_terminal() {
    let mut pty = Pty::open();
    let modes = pty.modes();
    let mut command = in_session("bash");
    command.args(["-c", "set -m; \"$0\"; echo it stopped; sleep 60"]).arg(fake().get_program());
    command.envs(fake().get_envs().map(|(key, value)| (key, value.unwrap())));
    let _shell = pty.start(&mut command);
    pty.expect("ready, raw");
    killpg(foreground(&pty), Signal::SIGTSTP).unwrap();
    pty.expect("it stopped");
    assert!(guard::same(&pty.modes(), &modes));
}

/// The launcher detects by itself that it is in the foreground, without a key.
#[test]
fn a_job_that_comes_to_the_front_unasked_has_the_terminal_without_a_key() {
    let mut pty = Pty::open();
    let mut command = in_session("bash");
    command.args(["-c", "set -m; \"$0\"; bg; echo it runs; sleep 1; fg"]);
    command.arg(fake().get_program());
    command.envs(fake().get_envs().map(|(key, value)| (key, value.unwrap())));
    let _shell = pty.start(&mut command);
    pty.expect("ready, raw");
    killpg(foreground(&pty), Signal::SIGTSTP).unwrap();
    pty.expect("it runs");
    pty.until("it is raw", Pty::is_raw);
    pty.type_in("<off>");
    pty.expect("PoweredOff\r\n");
}

#[track_caller]
fn stop_and_continue(pty: &mut Pty, signal: Signal) {
    for _ in 0..3 {
        killpg(foreground(pty), signal).unwrap();
        pty.expect("Stopped");
        pty.expect("42> ");
        assert!(!pty.is_raw());
        pty.type_in("fg\r");
        pty.until("it is raw", Pty::is_raw);
        pty.type_in("key");
        pty.expect("key");
    }
    // Into the background, and from there to the front.
    killpg(foreground(pty), signal).unwrap();
    pty.expect("42> ");
    pty.type_in("bg\r");
    pty.expect("42> ");
    pty.type_in("sleep 1; jobs\r");
    pty.expect("Running");
    assert!(!pty.is_raw());
    pty.type_in("fg\r");
    pty.until("it is raw", Pty::is_raw);
    pty.type_in("<off>");
    pty.expect("PoweredOff\r\n");
    pty.expect("42> ");
}

#[test]
fn a_job_continued_behind_the_shell_leaves_it_alone() {
    let (mut pty, _bash) = shell();
    let modes = pty.modes();
    pty.type_in("\"$FAKE\"\r");
    pty.expect("ready, raw");
    let job = foreground(&pty);
    killpg(job, Signal::SIGSTOP).unwrap();
    pty.expect("42> ");
    pty.until("the shell reads", |pty| guard::same(&pty.modes(), &modes));
    killpg(job, Signal::SIGCONT).unwrap();
    killpg(job, Signal::SIGTERM).unwrap();
    pty.expect("Signal(15)");
    assert!(guard::same(&pty.modes(), &modes));
}

/// The foreground process group of a terminal that is not ours.
fn foreground(pty: &Pty) -> Pid {
    tcgetpgrp(pty.user()).unwrap()
}

#[test]
fn a_job_killed_in_the_foreground_leaves_line_editing_to_the_shell() {
    let (mut pty, _bash) = shell();
    let modes = pty.modes();
    pty.type_in("\"$FAKE\"\r");
    pty.expect("ready, raw");
    killpg(foreground(&pty), Signal::SIGKILL).unwrap();
    pty.expect("42> ");
    // The shell restores the terminal as well. If it is between the guard's two
    // calls when it does, it edits lines again from the next one on.
    pty.type_in("\r");
    pty.expect("42> ");
    pty.until("the shell reads again", |pty| guard::same(&pty.modes(), &modes));
}

#[test]
fn a_launcher_that_no_process_could_continue_does_not_stop() {
    let mut pty = Pty::open();
    // The launcher leads its session: no process could continue it.
    let mut launcher = pty.start(&mut fake_in_session());
    pty.expect("ready, raw");
    launcher.signal(Signal::SIGTSTP);
    pty.type_in("key");
    pty.expect("key");
    pty.type_in("<off>");
    assert_eq!(launcher.status(), 0);
}
