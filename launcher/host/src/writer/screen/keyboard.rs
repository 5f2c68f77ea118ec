//! The modes of Kitty's keyboard protocol that the guest's programs have set on one screen of
//! the terminal: a terminal keeps a stack of them for each
//! (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>). For [`super::Screen`].

use std::fmt::Write;

/// What is not as it was.
#[derive(Debug, Default)]
pub(super) struct KeyboardModes {
    /// So many sets of modes were pushed.
    pushed: u16,
    /// The modes below those, which are taken to have been 0.
    modes: u16,
}

impl KeyboardModes {
    /// `ESC [ > MODES u` pushes, `ESC [ < COUNT u` pops, `ESC [ = MODES ; HOW u` changes.
    pub(super) fn sequence(&mut self, mark: u8, numbers: &[u16]) {
        let first = numbers.first().copied().unwrap_or(0);
        match (mark, numbers.get(1)) {
            (b'>', _) => self.pushed = self.pushed.saturating_add(1),
            (b'<', _) => {
                let popped = first.max(1);
                // Below them all is nothing: all modes are off then.
                if popped > self.pushed {
                    self.modes = 0;
                }
                self.pushed = self.pushed.saturating_sub(popped);
            }
            // Gone with the set that was pushed last.
            _ if self.pushed > 0 => {}
            (_, Some(2)) => self.modes |= first,
            (_, Some(3)) => self.modes &= !first,
            _ => self.modes = first,
        }
    }

    /// What takes it back.
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
