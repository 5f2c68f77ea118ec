//! Questions that the guest's programs ask the user's terminal: where the cursor is, what the
//! terminal is called. The terminal answers as if somebody had typed. An answer that comes
//! when the guest has ended would become the user's next command, so the launcher waits for it
//! and drops it. [`crate::writer`] knows what was asked, the stdin thread
//! ([`crate::stdin`]) what was answered, [`super::Tty`] waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{lock, wait_timeout};

/// How long to wait for answers when the guest has ended. ssh to the other end of the world
/// takes a third of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question that was not answered for so long will not be.
const AGE: Duration = Duration::from_secs(5);

/// More questions than a program asks at a time.
const MOST: usize = 64;

/// Longer than any question or answer.
const LONGEST: usize = 256;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;

/// What tells an answer from others: the byte after ESC and, of a control sequence, its last.
type AnswerKind = (u8, u8);

/// What was asked and not answered, in this order.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: VecDeque<(AnswerKind, Instant)>,
    answers: Sequences,
    /// Nothing but answers is read any more.
    closing: bool,
}

impl Questions {
    /// This was read from the terminal.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { open, answers, .. } = &mut *state;
        if open.is_empty() {
            return;
        }
        answers.read(bytes, |sequence| {
            let kind = answer(sequence);
            // Terminals answer in order: what was asked before will not be answered.
            if let Some(index) = open.iter().position(|(asked, _)| Some(*asked) == kind) {
                open.drain(..=index);
            }
        });
        if open.is_empty() {
            self.changed.notify_all();
        }
    }

    /// How much may be read, of `most`. While only answers are read, that is a byte at a time,
    /// so that the user's next keys stay where they are.
    pub(crate) fn room(&self, most: usize) -> usize {
        let state = self.lock();
        match (state.closing, state.open.is_empty()) {
            (false, _) => most,
            (true, false) => 1,
            (true, true) => 0,
        }
    }

    /// The guest has ended: if answers can still come, nothing else is read from now on.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.open.back().is_some_and(|(_, asked)| asked.elapsed() <= AGE) {
            state.closing = true;
        }
    }

    /// The guest has ended: wait for answers, if some can still come.
    pub(super) fn wait(&self) {
        self.close();
        let mut state = self.lock();
        if !state.closing {
            return;
        }
        let until = Instant::now() + PATIENCE;
        while !state.open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.open.clear();
            }
            state = wait_timeout(&self.changed, state, left);
        }
    }

    fn asked(&self, kind: AnswerKind) {
        let mut state = self.lock();
        if state.open.len() == MOST {
            state.open.pop_front();
        }
        state.open.push_back((kind, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Finds questions in what is written to the terminal.
#[derive(Debug)]
pub struct QuestionFinder {
    questions: Arc<Questions>,
    sequences: Sequences,
}

impl QuestionFinder {
    pub(super) fn new(questions: &Arc<Questions>) -> Self {
        Self { questions: Arc::clone(questions), sequences: Sequences::default() }
    }

    /// The terminal gets these bytes.
    pub(crate) fn watch(&mut self, bytes: &[u8]) {
        self.sequences.read(bytes, |sequence| {
            if let Some(kind) = question(sequence) {
                self.questions.asked(kind);
            }
        });
    }
}

/// Finds escape sequences, however they are split.
#[derive(Debug, Default)]
struct Sequences {
    held: Vec<u8>,
}

impl Sequences {
    fn read(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for &byte in bytes {
            let in_string = matches!(self.held.as_slice(), [_, b']' | b'P' | b'_' | b'^', ..]);
            if byte == ESCAPE && !in_string || self.held.len() == LONGEST {
                self.held.clear();
            }
            if byte != ESCAPE && self.held.is_empty() {
                continue;
            }
            self.held.push(byte);
            if is_complete(&self.held) {
                each(&self.held);
                self.held.clear();
            }
        }
    }
}

/// ECMA-48: CSI ends with a byte from `@` on, a string with BEL or ST, anything else
/// with the byte after ESC and those between.
pub fn is_complete(sequence: &[u8]) -> bool {
    match sequence {
        [ESCAPE] => false,
        // Both cancel any sequence (ECMA-48 8.3.6, 8.3.148).
        [.., CANCEL | SUBSTITUTE] => true,
        [ESCAPE, b'[', rest @ ..] => rest.last().is_some_and(|last| (0x40..0x7f).contains(last)),
        [ESCAPE, b']' | b'P' | b'X' | b'_' | b'^', rest @ ..] => {
            rest.last() == Some(&BELL) || rest.ends_with(&[ESCAPE, b'\\'])
        }
        [.., last] => !(0x20..0x30).contains(last),
        [] => true,
    }
}

/// What answers this, if it is a question (xterm's "Control Sequences"; Kitty's keyboard
/// protocol): reports of status, of the terminal's kind, of colours, of settings and of the
/// window.
pub fn question(sequence: &[u8]) -> Option<AnswerKind> {
    let kind = match sequence {
        [ESCAPE, b'Z'] => (b'[', b'c'),
        [ESCAPE, b'[', b'>', .., b'q'] | [ESCAPE, b'[', b'=', .., b'c'] => (b'P', 0),
        [ESCAPE, b'[', b'>', .., b'n'] | [ESCAPE, b'[', b'?', .., b'c'] => return None,
        [ESCAPE, b'[', b'6', b'n'] | [ESCAPE, b'[', b'?', b'6', b'n'] => (b'[', b'R'),
        [ESCAPE, b'[', .., last @ (b'n' | b'c' | b'x')] => (b'[', *last),
        // DECRQM; "p" alone is not a question.
        [ESCAPE, b'[', .., b'$', b'p'] => (b'[', b'y'),
        // Modes of the keyboard.
        [ESCAPE, b'[', b'?', .., last @ (b'u' | b'm')] => (b'[', *last),
        [ESCAPE, b'[', size @ .., b't'] => {
            let number: Vec<_> = size.iter().take_while(|byte| byte.is_ascii_digit()).collect();
            match number.as_slice() {
                [b'1', _] => (b'[', b't'),
                [b'2', b'0' | b'1'] => (b']', 0),
                _ => return None,
            }
        }
        [ESCAPE, b']', text @ ..] if text.contains(&b'?') => (b']', 0),
        [ESCAPE, b'P', b'$' | b'+', b'q', ..] => (b'P', 0),
        _ => return None,
    };
    Some(kind)
}

/// What this answers, if it is not a key.
fn answer(sequence: &[u8]) -> Option<AnswerKind> {
    match sequence {
        [ESCAPE, b'[', b'?' | b'>', .., last @ (b'c' | b'n' | b'u' | b'm' | b'R')]
        | [ESCAPE, b'[', b'0'..=b'9', .., last @ (b'R' | b'n' | b'x' | b't')]
        | [ESCAPE, b'[', .., b'$', last @ b'y'] => Some((b'[', *last)),
        [ESCAPE, string @ (b']' | b'P'), .., BELL | b'\\'] => Some((*string, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many questions are open when these were asked and this was read, in any parts.
    fn open(asked: &str, read: &str) -> usize {
        let count = |size: usize| {
            let questions = Arc::new(Questions::default());
            let mut asking = QuestionFinder::new(&questions);
            asked.as_bytes().chunks(size).for_each(|part| asking.watch(part));
            read.as_bytes().chunks(size).for_each(|part| questions.read(part));
            questions.lock().open.len()
        };
        assert_eq!(count(1), count(1000));
        count(1)
    }

    #[test]
    fn each_question_has_its_answer() {
        for (question, answer) in [
            ("\x1b[6n", "\x1b[3;1R"),
            ("\x1b[?6n", "\x1b[?3;1;1R"),
            ("\x1b[5n", "\x1b[0n"),
            ("\x1b[?996n", "\x1b[?997;1n"),
            ("\x1b[c", "\x1b[?1;2c"),
            ("\x1b[>c", "\x1b[>41;354;0c"),
            ("\x1b[=c", "\x1bP!|00000000\x1b\\"),
            ("\x1bZ", "\x1b[?1;2c"),
            ("\x1b[?2026$p", "\x1b[?2026;2$y"),
            ("\x1b[>0q", "\x1bP>|XTerm(379)\x1b\\"),
            ("\x1b[18t", "\x1b[8;24;80t"),
            ("\x1b[21t", "\x1b]ltitle\x1b\\"),
            ("\x1b[?u", "\x1b[?0u"),
            ("\x1b[?4m", "\x1b[>4;2m"),
            ("\x1b[x", "\x1b[2;1;1;128;128;1;0x"),
            ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
            ("\x1b]10;?\x07", "\x1b]10;rgb:0000/0000/0000\x07"),
            ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
            ("\x1bP+q436f\x1b\\", "\x1bP1+r436f=323536\x1b\\"),
        ] {
            assert_eq!(open(&format!("a{question}b"), ""), 1, "{question:?}");
            assert_eq!(open(question, &format!("x{answer}y")), 0, "{question:?}");
            assert_eq!(open(&question.repeat(2), answer), 1, "{question:?}");
        }
    }

    #[test]
    fn keys_are_not_answers() {
        for key in ["\x1b[A", "\x1b[99;5u", "\x1b[3~", "\x1b", "\x1bOP", "c", "\x1b[<0;1;1M"] {
            let questions = "\x1b[6n\x1b[c\x1b[?u\x1b]11;?\x07\x1b[>q";
            assert_eq!(open(questions, key), 5, "{key:?}");
            assert_eq!(open("\x1b[c", &format!("{key}\x1b[?1;2c")), 0, "{key:?}");
        }
    }

    #[test]
    fn what_is_passed_over_is_not_waited_for() {
        assert_eq!(open("\x1b]11;?\x07\x1b[?u\x1b[c\x1b[6n", "\x1b[?62;22c"), 1);
    }

    #[test]
    fn a_guest_that_asks_for_ever_is_not_remembered_for_ever() {
        assert_eq!(open(&"\x1b[6n".repeat(10_000), ""), MOST);
        assert_eq!(open(&["\x1b]", &"x".repeat(10_000)].concat(), ""), 0);
    }

    #[test]
    fn keys_wait_while_answers_are_awaited() {
        let questions = Arc::new(Questions::default());
        assert_eq!(questions.room(4096), 4096);
        questions.wait();
        assert_eq!(questions.room(4096), 4096);
        QuestionFinder::new(&questions).watch(b"\x1b[6n");
        let theirs = Arc::clone(&questions);
        let waiting = std::thread::Builder::new().spawn(move || theirs.wait()).unwrap();
        crate::testing::until("it waits", || questions.room(4096) == 1);
        questions.read(b"\x1b[3;1R");
        waiting.join().unwrap();
        assert_eq!(questions.room(4096), 0);
    }
}
