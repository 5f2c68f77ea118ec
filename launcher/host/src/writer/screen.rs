//! Tracks the settings that the guest's programs make on the user's terminal by escape
//! sequences: the alternate screen, a hidden cursor, mouse reports, colours, keyboard
//! modes. A guest that ends amid `vi` never undoes them, so the launcher does, for
//! exactly those that were made. [`super::WriterThread`] passes the bytes that the terminal really
//! got, and undoes the settings at the end.

use std::fmt::{self, Write};
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;

use vte::{Params, Parser, Perform};

mod keyboard;

#[cfg(test)]
mod tests;

use crate::terminal::{QuestionFinder, Terminal};
use keyboard::KeyboardModes;

/// DEC private modes that outlive a program, and whether a terminal begins with
/// them (xterm's "Control Sequences", DECSET). Those of the alternate screen are
/// [`ALTERNATE`].
const MODES: [(u16, bool); 19] = [
    (HOLDING, false),
    (1, false),    // application cursor keys
    (5, false),    // reverse video
    (6, false),    // cursor positions count from the margins
    (7, true),     // lines wrap
    (9, false),    // mouse reports, oldest kind
    (25, true),    // visible cursor
    (1000, false), // mouse reports
    (1002, false),
    (1003, false),
    (1004, false), // focus reports
    (1005, false),
    (1006, false),
    (1015, false),
    (1016, false),
    (2004, false), // bracketed paste
    (2031, false), // reports of dark and light colours
    (2048, false), // reports of the window's size
    (9001, false), // keys as Windows has them
];

/// The mode of synchronized output, in which the terminal shows nothing more. It is undone first,
/// because the other sequences would wait for it.
const HOLDING: u16 = 2026;

/// DEC private modes that switch to the alternate screen; the last one keeps the cursor's
/// place as well.
const ALTERNATE: [u16; 3] = [47, 1047, 1049];

/// The modes of [`MODES`] that a soft reset resets as well.
const SOFT: [u16; 3] = [1, 6, 25];

/// The settings of a terminal that differ from its first state.
#[derive(Default)]
pub struct Screen {
    /// Finds questions, if keys come from the same terminal.
    finder: Option<QuestionFinder>,
    parser: Parser,
    set: Settings,
}

/// The settings that the guest's programs have made.
#[derive(Debug, Default)]
struct Settings {
    /// A bit for each of [`MODES`] that differs from the terminal's first state.
    modes: u32,
    /// The mode that switched to the alternate screen.
    alternate: Option<u16>,
    /// The keyboard modes of the main screen and of the alternate one.
    keyboards: [KeyboardModes; 2],
    /// Whether xterm's modifyOtherKeys is set.
    other_keys: bool,
    keypad: bool,
    /// Whether printed characters shift the rest of the line (IRM).
    insert: bool,
    /// Whether the cursor has another shape.
    cursor: bool,
    colours: bool,
    /// Whether lines scroll in a part of the screen only (DECSTBM).
    margins: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("set", &self.set).finish_non_exhaustive()
    }
}

impl Screen {
    /// The screen of this file. `None` if the file is not a terminal. Keys come from `keys`.
    pub fn of(file: BorrowedFd<'_>, keys: Option<&Terminal>) -> Option<Self> {
        let finder = keys.and_then(|terminal| terminal.question_finder(file));
        file.is_terminal().then(|| Self { finder, ..Self::default() })
    }

    /// Track the settings in bytes that the terminal gets.
    pub fn watch(&mut self, bytes: &[u8]) {
        self.finder.iter_mut().for_each(|finder| finder.watch(bytes));
        self.parser.advance(&mut self.set, bytes);
    }

    /// The sequences that undo all settings. They count as undone from now on.
    pub fn undo(&mut self) -> Vec<u8> {
        self.parser = Parser::new();
        std::mem::take(&mut self.set).undo().into_bytes()
    }
}

impl Settings {
    /// The sequences that undo all settings; empty if no setting was made.
    fn undo(&self) -> String {
        let mut text = String::new();
        self.undo_modes(&mut text, |mode| mode == HOLDING);
        let [main, alternate] = &self.keyboards;
        // The other modes of keyboards are those of the screen that is shown.
        if let Some(mode) = self.alternate {
            alternate.undo(&mut text);
            let _ = write!(text, "\x1b[?{mode}l");
        }
        main.undo(&mut text);
        self.undo_modes(&mut text, |mode| mode != HOLDING);
        for (set, sequence) in [
            (self.other_keys, "\x1b[>4m"),
            (self.keypad, "\x1b>"),
            (self.insert, "\x1b[4l"),
            (self.cursor, "\x1b[0 q"),
            (self.colours, "\x1b[0m"),
            // Resetting the margins sends the cursor home: keep its place.
            (self.margins, "\x1b7\x1b[r\x1b8"),
        ] {
            text += if set { sequence } else { "" };
        }
        text
    }

    fn undo_modes(&self, text: &mut String, which: impl Fn(u16) -> bool) {
        let is_set = |index: usize| self.modes & 1 << index != 0;
        let modes = MODES.iter().enumerate();
        for (_, (mode, initial)) in
            modes.filter(|(index, (mode, _))| is_set(*index) && which(*mode))
        {
            let letter = if *initial { 'h' } else { 'l' };
            // Cannot fail: a String grows.
            let _ = write!(text, "\x1b[?{mode}{letter}");
        }
    }

    fn set_modes(&mut self, numbers: &[u16], set: bool) {
        if let Some(mode) = numbers.iter().find(|mode| ALTERNATE.contains(mode)) {
            self.alternate = set.then_some(*mode);
        }
        let known = MODES.iter().enumerate().filter(|(_, (mode, _))| numbers.contains(mode));
        for (index, (_, initial)) in known {
            self.modes &= !(1 << index);
            self.modes |= u32::from(set != *initial) << index;
        }
    }

    /// Track modifyOtherKeys: `ESC[>4;Nm` sets it. Without N, or without parameters, the sequence
    /// resets it.
    fn set_other_keys(&mut self, numbers: &[u16]) {
        match numbers {
            [4, value, ..] => self.other_keys = *value != 0,
            [4 | 0] => self.other_keys = false,
            _ => {}
        }
    }

    fn reset_softly(&mut self) {
        for (index, (mode, _)) in MODES.iter().enumerate() {
            if SOFT.contains(mode) {
                self.modes &= !(1 << index);
            }
        }
        (self.keypad, self.insert, self.colours, self.margins) = (false, false, false, false);
    }
}

impl Perform for Settings {
    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            (b"", b'=') => self.keypad = true,
            (b"", b'>') => self.keypad = false,
            (b"", b'c') => *self = Self::default(),
            _ => {}
        }
    }

    /// If a sequence has more parameters than vte keeps, the first ones count: a terminal may obey
    /// them.
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, last: char) {
        // Colours may have parameters of parameters, separated by colons.
        let numbers: Vec<u16> = params.iter().flatten().copied().collect();
        match (intermediates, last) {
            (b"?", 'h' | 'l') => self.set_modes(&numbers, last == 'h'),
            (b"", 'h' | 'l') if numbers.contains(&4) => self.insert = last == 'h',
            (b"!", 'p') => self.reset_softly(),
            (b" ", 'q') => self.cursor = numbers != [0],
            (b"", 'm') => self.colours = numbers.iter().any(|number| *number != 0),
            (b"", 'r') => self.margins = numbers != [0],
            (b">", 'm') => self.set_other_keys(&numbers),
            (b">", 'n') if numbers == [4] => self.other_keys = true,
            (&[mark @ (b'>' | b'<' | b'=')], 'u') => {
                let [main, alternate] = &mut self.keyboards;
                let shown = if self.alternate.is_some() { alternate } else { main };
                shown.sequence(mark, &numbers);
            }
            _ => {}
        }
    }
}
