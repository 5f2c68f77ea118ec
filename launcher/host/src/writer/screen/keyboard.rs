//! The modes of Kitty's keyboard protocol that the guest's programs have set on one screen of
//! the terminal: a terminal keeps a stack of them for each
//! (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>). For [`super::Screen`].

use std::fmt::Write;

/// The keyboard modes of one screen that differ from its first state.
#[derive(Debug, Default)]
pub(super) struct KeyboardModes {
    /// The number of sets of modes on the stack.
    pushed: u16,
    /// The modes below the stack, which are assumed to have been 0.
    modes: u16,
}

impl KeyboardModes {
    /// Track a sequence: `ESC [ > MODES u` pushes, `ESC [ < COUNT u` pops, `ESC [ = MODES ; HOW u`
    /// changes.
    pub(super) fn sequence(&mut self, mark: u8, numbers: &[u16]) {
        let first = numbers.first().copied().unwrap_or(0);
        match (mark, numbers.get(1)) {
            (b'>', _) => self.pushed = self.pushed.saturating_add(1),
            (b'<', _) => {
                let popped = first.max(1);
                // A pop beyond the stack turns all modes off.
                if popped > self.pushed {
                    self.modes = 0;
                }
                self.pushed = self.pushed.saturating_sub(popped);
            }
            // A pop undoes changes of the set that was pushed last.
            _ if self.pushed > 0 => {}
            (_, Some(2)) => self.modes |= first,
            (_, Some(3)) => self.modes &= !first,
            _ => self.modes = first,
        }
    }

    /// Append the sequences that undo the modes to `text`.
    pub(super) fn undo(&self, text: &mut String) {
        // Cannot fail: a String grows.
        if self.pushed > 0 {
            let _ = write!(text, "\x1b[<{}u", self.pushed);
        }
        if self.modes != 0 {
            let _ = write!(text, "\x1b[=0u");
        }
    }
}
