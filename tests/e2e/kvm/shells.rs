//! lguest under an interactive shell with its jobs, under script, and under tmux. Each must find
//! its terminal as it was.

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Launch, Process, Pty, Running, Tmux, program, until};

use super::probe;

/// The byte that begins a command to the probe.
const COMMAND: char = '\x1e';

const PROMPT: &str = "user$ ";

/// Starts an interactive shell on a terminal, and waits until it is ready.
fn shell(scratch: &Scratch) -> Running {
    let settings = scratch
        .file("settings", format!("PS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\n"));
    let words = ["bash", "--rcfile", settings.to_str().unwrap(), "-i"];
    // An interactive bash prompts on stderr; the test reads that as well.
    let together = ["sh", "-c", "exec \"$@\" 2>&1", "sh"];
    let words: Vec<_> = together.iter().chain(&words).copied().collect();
    let mut shell = program(&words, scratch.path(), Pty::new(30, 100));
    shell.expect(PROMPT);
    shell
}

fn run(shell: &mut Running, command: &str) -> String {
    shell.send(format!("{command}\r"));
    shell.expect("\n");
    shell.expect(PROMPT)
}

/// Returns what stty prints about the terminal while a command runs. A launcher would run with
/// these modes.
fn modes(shell: &mut Running) -> String {
    run(shell, "stty -g")
}

fn console() -> Launch {
    probe("console")
}

/// Returns the launcher that this shell has started.
fn launcher(shell: &Running) -> Process {
    until("the launcher runs", || {
        shell.family().into_iter().find(|process| process.thread("vcpu0").is_some())
    })
}

fn power_off(shell: &mut Running) {
    shell.send(format!("{COMMAND}p"));
    shell.expect(PROMPT);
}

#[test]
fn a_launcher_in_the_background_leaves_the_terminal_alone() {
    let scratch = Scratch::new();
    let mut shell = shell(&scratch);
    let before = modes(&mut shell);
    run(&mut shell, &format!("{} &", console().shell_line()));
    shell.expect("hello 100x30");
    // The launcher was not stopped, and did not take the terminal.
    assert!(run(&mut shell, "jobs").contains("Running"));
    assert_eq!(modes(&mut shell), before);
    assert_eq!(run(&mut shell, "echo alive").trim_end(), "alive");

    shell.send("fg\r");
    until("the guest has the terminal", || shell.pty().snapshot().is_raw().then_some(()));
    shell.send("to the guest;");
    shell.expect("to the guest;");
    power_off(&mut shell);
    assert_eq!(run(&mut shell, "echo $?").trim_end(), "0");
    assert_eq!(modes(&mut shell), before);
}

#[test]
fn a_stopped_job_restores_the_terminal_and_makes_it_raw_again() {
    let scratch = Scratch::new();
    let mut shell = shell(&scratch);
    let before = modes(&mut shell);
    shell.send(format!("{}\r", console().shell_line()));
    shell.expect("hello 100x30");
    for signal in [Signal::SIGTSTP, Signal::SIGSTOP] {
        until("the guest has the terminal", || shell.pty().snapshot().is_raw().then_some(()));
        launcher(&shell).signal(signal);
        shell.expect("Stopped");
        shell.expect(PROMPT);
        assert_eq!(modes(&mut shell), before, "{signal}");

        shell.send("fg\r");
        until("the guest has the terminal", || shell.pty().snapshot().is_raw().then_some(()));
        shell.send("again;");
        shell.expect("again;");
    }
    power_off(&mut shell);
    assert_eq!(modes(&mut shell), before);
}

#[test]
fn every_ending_restores_the_terminal_for_the_shell() {
    let scratch = Scratch::new();
    let mut shell = shell(&scratch);
    let before = modes(&mut shell);
    let ways = [("poweroff", None, 0), ("crash=triple", None, 102), ("panic", None, 101)]
        .into_iter()
        .chain(
            [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGKILL, 137)]
                .map(|(signal, status)| ("console", Some(signal), status)),
        );
    for (mode, signal, status) in ways {
        shell.send(format!("{}\r", probe(mode).shell_line()));
        if let Some(signal) = signal {
            shell.expect("hello 100x30");
            launcher(&shell).signal(signal);
        }
        shell.expect(PROMPT);
        assert_eq!(run(&mut shell, "echo $?").trim_end(), status.to_string(), "{mode}");
        assert_eq!(modes(&mut shell), before, "{mode} {signal:?}");
        // The shell edits its line as before: two keys, one of them erased.
        assert!(run(&mut shell, "echo edix\x7fted").contains("edited"));
    }
}

#[test]
fn script_gets_the_status_and_a_restored_terminal() {
    let scratch = Scratch::new();
    for (mode, keys, status) in [
        ("poweroff", "", 0),
        ("status=7", "", 7),
        ("console", "\x1ep", 0),
        ("crash=triple", "", 102),
    ] {
        let line = format!("{} 2>&1", probe(mode).shell_line());
        let words = ["script", "-qec", &line, "typescript"];
        let mut script = program(&words, scratch.path(), Pty::new(30, 100));
        if !keys.is_empty() {
            script.expect("hello 100x30");
            script.send(keys);
        }
        assert_eq!(script.wait(), End::Status(status), "{mode}: {}", script.text());
        script.assert_terminal_restored();
        script.assert_nothing_left();
    }
}

#[test]
fn a_tmux_window_is_followed_and_restored() {
    let scratch = Scratch::new();
    let tmux = Tmux::new(scratch.path(), "env PS1='user$ ' sh");
    tmux.expect(0, "user$");
    tmux.keys(0, &["stty -g > before", "Enter"]);
    tmux.run(&["send-keys", "-l", &console().shell_line()]);
    tmux.keys(0, &["Enter"]);
    tmux.expect(0, "hello 100x30");
    tmux.keys(0, &["-l", "\x1ew"]);
    tmux.run(&["resize-window", "-x", "133", "-y", "40"]);
    tmux.expect(0, "133x40");
    tmux.keys(0, &["C-c", "to the guest"]);
    tmux.expect(0, "to the guest");
    tmux.keys(0, &["-l", "\x1ep"]);
    until("the shell is back", || {
        let command = tmux.run(&["display-message", "-p", "#{pane_current_command}"]);
        (command.trim_end() == "sh").then_some(())
    });
    tmux.keys(0, &["clear; echo status $?; stty -g | cmp - before && echo 'as ''before'", "Enter"]);
    tmux.expect(0, "as before");
    tmux.expect(0, "status 0");
}
