//! Answers of a terminal that come after the guest that asked has ended. They must not become input
//! of the shell.

use std::io::Read;

use tests::files::Scratch;
use tests::{End, Running, Tmux, until};

use super::probe;

/// The byte that begins a command to the probe.
const COMMAND: u8 = 0x1e;

/// Questions for the cursor's position and the terminal's type.
const QUESTIONS: &str = "\x1b[6n\x1b[c";

/// The answers to [`QUESTIONS`].
const ANSWERS: &str = "\x1b[3;1R\x1b[?1;2c";

/// Starts a guest that asks these questions and ends before an answer comes.
fn asked(questions: &str) -> Running {
    let mut running = probe("console").on_terminal();
    running.expect("hello 100x30");
    running.send(questions);
    // The guest echoes the question.
    running.expect(questions);
    running.send([COMMAND, b'p']);
    until_the_guest_has_ended(&running);
    running
}

/// Waits until the guest has ended. From then on its launcher reads only answers.
fn until_the_guest_has_ended(running: &Running) {
    until("the guest has ended", || {
        let threads = running.process().threads();
        let is_left = |name: &str| threads.iter().any(|thread| thread == name);
        (!is_left("vcpu0") && !is_left("control")).then_some(())
    });
}

/// Returns what the next program would read from the terminal.
fn left(running: &Running) -> String {
    running.pty().make_raw();
    let length = usize::try_from(running.pty().unread()).unwrap();
    let mut left = vec![0; length];
    std::fs::File::from(running.pty().slave()).read_exact(&mut left).unwrap();
    String::from_utf8(left).unwrap()
}

#[test]
fn late_answers_are_dropped() {
    for (questions, answers) in [
        (QUESTIONS, ANSWERS),
        ("\x1b[?2026$p\x1b[>0q", "\x1b[?2026;2$y\x1bP>|kitty(0.42)\x1b\\"),
        ("\x1b]11;?\x1b\\", "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\"),
        // A question that this terminal does not know, before one that all terminals know.
        ("\x1b[?u\x1b[c", "\x1b[?62;22c"),
    ] {
        let mut running = asked(questions);
        running.send(answers);
        assert_eq!(running.wait(), End::Status(0));
        running.assert_terminal_restored();
        assert_eq!(left(&running), "", "{questions:?}");
    }
}

#[test]
fn keys_typed_after_the_answers_go_to_the_shell() {
    let mut running = asked(QUESTIONS);
    running.send(format!("{ANSWERS}ls"));
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(left(&running), "ls");
}

#[test]
fn a_terminal_that_does_not_answer_delays_the_end_only_briefly() {
    let mut running = asked(QUESTIONS);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_terminal_restored();
}

#[test]
fn answers_that_the_guest_has_read_are_not_waited_for() {
    let mut running = probe("console").on_terminal();
    running.expect("hello 100x30");
    running.send(QUESTIONS);
    running.expect(QUESTIONS);
    running.send(ANSWERS);
    running.expect(ANSWERS);
    running.send([COMMAND, b'p']);
    until_the_guest_has_ended(&running);
    running.send("ls");
    assert_eq!(running.wait(), End::Status(0));
}

/// tmux is a terminal that answers by itself.
#[test]
fn a_shell_in_tmux_gets_no_answers_as_input() {
    let scratch = Scratch::new();
    let launch = probe("console").shell_line();
    let command = format!("{launch}; echo ENDED; cat -v");
    let tmux = Tmux::new(scratch.path(), &command);
    tmux.expect(0, "hello 100x30");
    let keys: Vec<String> = [QUESTIONS.as_bytes(), &[COMMAND, b'p']]
        .concat()
        .iter()
        .map(|key| format!("{key:02x}"))
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    tmux.keys(0, &[&["-H"], &keys[..]].concat());
    tmux.expect(0, "ENDED");
    tmux.keys(0, &["done", "Enter"]);
    let screen = tmux.expect(0, "done\ndone");
    assert!(!screen.contains("^["), "{screen}");
}
