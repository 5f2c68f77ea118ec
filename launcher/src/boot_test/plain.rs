//! The readable text of a guest's output: without escape sequences, carriage returns and other
//! control characters. Patterns are compared with it ([`super::matcher`]), and the log shows it
//! ([`super::log`]).

use host::terminal::is_complete;

const ESCAPE: u8 = 0x1b;

/// The longest escape sequence in bytes. What is longer counts as ended.
const LONGEST: usize = 256;

/// Filters output that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// A sequence that is not complete.
    held: Vec<u8>,
}

impl Plain {
    /// The next byte, if it is readable: a newline, a tab, or a printed character.
    pub(super) fn next(&mut self, byte: u8) -> Option<u8> {
        if self.held.is_empty() {
            if byte == ESCAPE {
                self.held.push(byte);
                return None;
            }
            return Some(byte).filter(|byte| matches!(byte, b'\n' | b'\t' | 0x20..=0x7e | 0x80..));
        }
        // The end of a line also ends a sequence that a program forgot to end.
        if byte == b'\n' {
            self.held.clear();
            return Some(byte);
        }
        self.held.push(byte);
        if self.held.len() >= LONGEST || is_complete(&self.held) {
            self.held.clear();
        }
        None
    }
}

/// The readable text of `bytes`.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut plain = Plain::default();
    let bytes: Vec<u8> = bytes.iter().filter_map(|byte| plain.next(*byte)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_left_out() {
        for (printed, read) in [
            ("plain\r\n\ttext", "plain\n\ttext"),
            ("\x1b[1;31mred\x1b[m \x1b]0;title\x07\x1b(Bx\x1b7y", "red xy"),
            ("\x1bP$qm\x1b\\a\0\x07\x08b\x7fc", "abc"),
            ("\x1bXa string\x1b\\y", "y"),
            ("\x1b]0;cancelled\x18a\x1b[3\x1ab", "ab"),
            ("\x1b[1;3\nnext", "\nnext"),
            ("gr\u{fc}n \u{20ac}", "gr\u{fc}n \u{20ac}"),
        ] {
            assert_eq!(text(printed.as_bytes()), read, "{printed:?}");
        }
        assert_eq!(text(b"no \xff text"), "no \u{fffd} text");
    }

    #[test]
    fn a_sequence_without_end_does_not_hide_all_that_comes() {
        let long = [b"\x1b]0;".as_slice(), &[b'x'; 1000], b"seen"].concat();
        assert!(text(&long).ends_with("seen"));
    }
}
