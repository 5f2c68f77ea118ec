//! Questions that the guest's programs ask the user's terminal: where the cursor is, what the
//! terminal is called. The terminal answers as if the user had typed. An answer that comes
//! after the guest's end would become the user's next command, so the launcher waits for it
//! and drops it. [`crate::writer`] finds the questions, the stdin thread
//! ([`crate::stdin`]) finds the answers, and [`super::Tty`] waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{lock, wait_timeout};

/// How long to wait for answers after the guest's end. An answer by ssh from the other end of the
/// world takes a third of this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The age after which a question is not expected to be answered.
const AGE: Duration = Duration::from_secs(5);

/// The largest number of open questions, more than a program asks at a time.
const MOST: usize = 64;

/// The length in bytes of the longest question or answer.
const LONGEST: usize = 256;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;

/// The kind of an answer: the byte after ESC and, of a control sequence, its last byte.
type AnswerKind = (u8, u8);

/// The questions that were asked and not answered, in this order.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: VecDeque<(AnswerKind, Instant)>,
    answers: Sequences,
    /// Whether nothing but answers is read any more.
    closing: bool,
}

impl Questions {
    /// Look for answers in bytes that were read from the terminal.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { open, answers, .. } = &mut *state;
        if open.is_empty() {
            return;
        }
        answers.read(bytes, |sequence| {
            let kind = answer(sequence);
            // Terminals answer in order: earlier questions will not be answered.
            if let Some(index) = open.iter().position(|(asked, _)| Some(*asked) == kind) {
                open.drain(..=index);
            }
        });
        if open.is_empty() {
            self.changed.notify_all();
        }
    }

    /// The number of bytes that may be read from the terminal, at most `most`. While only answers
    /// are read, the number is 1, so that the user's next keys stay in the terminal.
    pub(crate) fn room(&self, most: usize) -> usize {
        let state = self.lock();
        match (state.closing, state.open.is_empty()) {
            (false, _) => most,
            (true, false) => 1,
            (true, true) => 0,
        }
    }

    /// After the guest's end, read nothing else from now on, if answers can still come.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.open.back().is_some_and(|(_, asked)| asked.elapsed() <= AGE) {
            state.closing = true;
        }
    }

    /// After the guest's end, wait for answers, if some can still come.
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
pub(crate) struct QuestionFinder {
    questions: Arc<Questions>,
    sequences: Sequences,
}

impl QuestionFinder {
    pub(super) fn new(questions: &Arc<Questions>) -> Self {
        Self { questions: Arc::clone(questions), sequences: Sequences::default() }
    }

    /// Look for questions in bytes that are written to the terminal.
    pub(crate) fn watch(&mut self, bytes: &[u8]) {
        self.sequences.read(bytes, |sequence| {
            if let Some(kind) = question(sequence) {
                self.questions.asked(kind);
            }
        });
    }
}

/// Finds escape sequences, also if reads or writes split them.
#[derive(Debug, Default)]
struct Sequences {
    held: Vec<u8>,
}

impl Sequences {
    fn read(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for &byte in bytes {
            let in_string = matches!(self.held.as_slice(), [_, kind, ..] if begins_string(*kind));
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

/// Whether this byte after ESC begins a string: OSC, DCS, SOS, APC or PM (ECMA-48).
fn begins_string(kind: u8) -> bool {
    matches!(kind, b']' | b'P' | b'X' | b'_' | b'^')
}

/// Whether an escape sequence is complete (ECMA-48): CSI ends with a byte from `@` on, a string
/// with BEL or ST, any other sequence with the first byte after ESC that is not an intermediate
/// byte.
pub fn is_complete(sequence: &[u8]) -> bool {
    match sequence {
        [ESCAPE] => false,
        // CAN and SUB cancel any sequence (ECMA-48 8.3.6, 8.3.148).
        [.., CANCEL | SUBSTITUTE] => true,
        [ESCAPE, b'[', rest @ ..] => rest.last().is_some_and(|last| (0x40..0x7f).contains(last)),
        [ESCAPE, kind, rest @ ..] if begins_string(*kind) => {
            rest.last() == Some(&BELL) || rest.ends_with(&[ESCAPE, b'\\'])
        }
        [.., last] => !(0x20..0x30).contains(last),
        [] => true,
    }
}

/// The kind of the answer to an escape sequence. `None` if the sequence is not a question.
/// Questions (xterm's "Control Sequences"; Kitty's keyboard protocol) ask for reports of status, of
/// the terminal's kind, of colours, of settings and of the window.
pub fn question(sequence: &[u8]) -> Option<AnswerKind> {
    let kind = match sequence {
        // A cancelled sequence gets no answer.
        [.., CANCEL | SUBSTITUTE] => return None,
        [ESCAPE, b'Z'] => (b'[', b'c'),
        [ESCAPE, b'[', b'>', .., b'q'] | [ESCAPE, b'[', b'=', .., b'c'] => (b'P', 0),
        [ESCAPE, b'[', b'>', .., b'n'] | [ESCAPE, b'[', b'?', .., b'c'] => return None,
        [ESCAPE, b'[', b'6', b'n'] | [ESCAPE, b'[', b'?', b'6', b'n'] => (b'[', b'R'),
        [ESCAPE, b'[', .., last @ (b'n' | b'c' | b'x')] => (b'[', *last),
        // DECRQM. "p" alone is not a question.
        [ESCAPE, b'[', .., b'$', b'p'] => (b'[', b'y'),
        // A question for the modes of the keyboard.
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

/// The kind of an answer. `None` if the sequence is a key.
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
mod tests;
