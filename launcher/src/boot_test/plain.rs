//! What a guest prints, as somebody would read it to you: without escape sequences,
//! carriage returns and other control characters. Used where lines are compared with
//! patterns ([`super::matcher`]) and where they are shown again ([`super::log`]).

use host::terminal::is_complete;

const ESCAPE: u8 = 0x1b;

/// Longer than any escape sequence.
const LONGEST: usize = 256;

/// Takes output in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// A sequence whose end has not come.
    held: Vec<u8>,
}

impl Plain {
    /// The next byte, if it is one to be read: a newline, a tab, or what is printed.
    pub(super) fn next(&mut self, byte: u8) -> Option<u8> {
        if self.held.is_empty() {
            if byte == ESCAPE {
                self.held.push(byte);
                return None;
            }
            return Some(byte).filter(|byte| matches!(byte, b'\n' | b'\t' | 0x20..=0x7e | 0x80..));
        }
        // A line ends, whatever a program forgot to end before.
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

/// All of this, as text.
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
