//! What the guest's programs have set on the user's terminal by escape
//! sequences: the alternate screen, a hidden cursor, mouse reports, colours. A
//! guest that ends amid `vi` never takes it back, so the launcher does, for
//! exactly what was set. Fed by [`super::Body`] with what the terminal really
//! got; asked for the way back at the end ([`super::Writer::finish`]).

/// DEC private modes that outlive a program, and whether a terminal begins with
/// them (xterm's "Control Sequences", DECSET).
const MODES: [(u16, bool); 16] = [
    (1, false),    // application cursor keys
    (7, true),     // lines wrap
    (9, false),    // mouse reports, oldest kind
    (25, true),    // visible cursor
    (47, false),   // alternate screen
    (1000, false), // mouse reports
    (1002, false),
    (1003, false),
    (1004, false), // focus reports
    (1005, false),
    (1006, false),
    (1015, false),
    (1016, false),
    (1047, false), // alternate screen
    (1049, false), // alternate screen, with the cursor's place
    (2004, false), // bracketed paste
];

/// More parameters than any sequence that we look at has.
const MOST_PARAMETERS: usize = 16;

const ESCAPE: u8 = 0x1b;

/// The terminal, as far as it is not as it was.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    parser: Parser,
    /// A bit for each of [`MODES`] that is not as a terminal begins.
    modes: u16,
    keypad: bool,
    colours: bool,
    /// Lines scroll in a part of the screen only.
    margins: bool,
}

#[derive(Debug, Default)]
enum Parser {
    #[default]
    Text,
    Escape,
    /// After `ESC [`: the leading `?` or `!`, and the numbers so far.
    Control {
        mark: u8,
        numbers: Vec<u16>,
    },
}

impl Screen {
    /// The terminal gets these bytes.
    pub(crate) fn watch(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.parser = match std::mem::take(&mut self.parser) {
                Parser::Text | Parser::Escape if *byte == ESCAPE => Parser::Escape,
                Parser::Text => Parser::Text,
                Parser::Escape => self.escape(*byte),
                Parser::Control { mark, numbers } => self.control(mark, numbers, *byte),
            };
        }
    }

    /// What takes everything back; nothing if nothing was set.
    pub(crate) fn undo(&mut self) -> Vec<u8> {
        let mut text = String::new();
        for (index, (mode, initial)) in MODES.iter().enumerate() {
            if self.modes & 1 << index != 0 {
                text += &format!("\x1b[?{mode}{}", if *initial { 'h' } else { 'l' });
            }
        }
        for (set, sequence) in [
            (self.keypad, "\x1b>"),
            (self.colours, "\x1b[0m"),
            // Resetting the margins sends the cursor home: keep its place.
            (self.margins, "\x1b7\x1b[r\x1b8"),
        ] {
            text += if set { sequence } else { "" };
        }
        *self = Self::default();
        text.into_bytes()
    }

    fn escape(&mut self, byte: u8) -> Parser {
        match byte {
            b'[' => return Parser::Control { mark: 0, numbers: vec![0] },
            b'=' => self.keypad = true,
            b'>' => self.keypad = false,
            b'c' => *self = Self::default(), // full reset
            _ => {}
        }
        Parser::Text
    }

    fn control(&mut self, mark: u8, mut numbers: Vec<u16>, byte: u8) -> Parser {
        match byte {
            ESCAPE => return Parser::Escape,
            b'?' | b'!' | b'>' | b'=' => return Parser::Control { mark: byte, numbers },
            b';' if numbers.len() < MOST_PARAMETERS => numbers.push(0),
            b'0'..=b'9' => {
                if let Some(number) = numbers.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            // Other parameters and intermediates; and controls, which a
            // terminal obeys amid a sequence.
            0x00..=0x3f => {}
            last => {
                self.sequence(mark, &numbers, last);
                return Parser::Text;
            }
        }
        Parser::Control { mark, numbers }
    }

    fn sequence(&mut self, mark: u8, numbers: &[u16], last: u8) {
        match (mark, last) {
            (b'?', b'h' | b'l') => self.set_modes(numbers, last == b'h'),
            (b'!', b'p') => *self = Self::default(), // soft reset
            (0, b'm') => self.colours = numbers.last() != Some(&0),
            (0, b'r') => self.margins = numbers != [0],
            _ => {}
        }
    }

    fn set_modes(&mut self, numbers: &[u16], set: bool) {
        let known = MODES.iter().enumerate().filter(|(_, (mode, _))| numbers.contains(mode));
        for (index, (_, initial)) in known {
            self.modes &= !(1 << index);
            self.modes |= u16::from(set != *initial) << index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo_of(bytes: &[u8]) -> String {
        let mut screen = Screen::default();
        screen.watch(bytes);
        String::from_utf8(screen.undo()).unwrap()
    }

    #[test]
    fn text_and_what_was_taken_back_leave_nothing() {
        assert_eq!(undo_of(b"plain\r\n\x1b[2J\x1b[1;1H"), "");
        assert_eq!(undo_of(b"\x1b[?1049h\x1b[?25l vi \x1b[?25h\x1b[?1049l\x1b[1mbold\x1b[m"), "");
    }

    #[test]
    fn what_was_set_is_taken_back() {
        let vi = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[1;31mred";
        assert_eq!(undo_of(vi), "\x1b[?1l\x1b[?25h\x1b[?1049l\x1b>\x1b[0m");
        assert_eq!(
            undo_of(b"\x1b[?1000;1006h\x1b[2;20r"),
            "\x1b[?1000l\x1b[?1006l\x1b7\x1b[r\x1b8"
        );
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut screen = Screen::default();
        for byte in b"\x1b[?2004h" {
            screen.watch(&[*byte]);
        }
        assert_eq!(screen.undo(), b"\x1b[?2004l");
        assert_eq!(screen.undo(), b"");
    }

    #[test]
    fn a_reset_of_the_terminal_is_one() {
        assert_eq!(undo_of(b"\x1b[?1049h\x1b[5m\x1bc"), "");
        assert_eq!(undo_of(b"\x1b[?25l\x1b[!p"), "");
    }

    #[test]
    fn nonsense_is_survived() {
        assert_eq!(
            undo_of(b"\x1b[?99999999999999;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;h\x1b\x1b[\xff"),
            ""
        );
    }
}
