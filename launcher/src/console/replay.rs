//! Prepares buffered output for a client that attaches: it begins with a whole line and has no
//! questions to the terminal. The guest's program no longer expects their answers and would take
//! them for keys.

use host::terminal::{is_complete, question};

/// Filters a backlog that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Bytes are dropped until the next line begins.
    skipping: bool,
    /// A sequence that is not complete and may be a question.
    held: Vec<u8>,
}

/// The longest sequence that is held back, in bytes. No question is longer.
const LONGEST: usize = 256;

const ESCAPE: u8 = 0x1b;
/// ENQ: the terminal answers with its name.
const ENQUIRY: u8 = 0x05;

impl Replay {
    /// A filter for a backlog. If `cut`, the backlog has lost its beginning.
    pub(super) fn new(cut: bool) -> Self {
        Self { skipping: cut, held: Vec::new() }
    }

    /// The part of the next piece that is shown.
    pub(super) fn show(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(piece.len());
        for &byte in piece {
            if self.skipping {
                self.skipping = byte != b'\n';
                continue;
            }
            self.next(byte, &mut shown);
        }
        shown
    }

    /// The rest: a sequence whose end is still to be printed.
    pub(super) fn finish(self) -> Vec<u8> {
        self.held
    }

    fn next(&mut self, byte: u8, shown: &mut Vec<u8>) {
        if self.held.is_empty() {
            match byte {
                ESCAPE => self.held.push(byte),
                ENQUIRY => {}
                _ => shown.push(byte),
            }
            return;
        }
        self.held.push(byte);
        if self.held.len() < LONGEST && !is_complete(&self.held) {
            return;
        }
        let sequence = std::mem::take(&mut self.held);
        if question(&sequence).is_none() {
            shown.extend(sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of a backlog that comes whole, which is the same byte by byte.
    fn shown(cut: bool, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Replay::new(cut);
        let mut all = whole.show(bytes);
        all.extend(whole.finish());
        let mut pieces = Replay::new(cut);
        let mut parts: Vec<u8> = bytes.iter().flat_map(|&byte| pieces.show(&[byte])).collect();
        parts.extend(pieces.finish());
        assert_eq!(all, parts);
        all
    }

    #[test]
    fn questions_are_left_out() {
        for question in [
            "\x1b[6n",
            "\x1b[c",
            "\x1b[>c",
            "\x1b[0c",
            "\x1b[5n",
            "\x1b[?6n",
            "\x1bZ",
            "\x05",
            "\x1b]10;?\x07",
            "\x1b]11;?\x1b\\",
            "\x1bP$qm\x1b\\",
            "\x1bP+q436f\x1b\\",
            "\x1b[18t",
            "\x1b[?2026$p",
            "\x1b[>0q",
            "\x1b[x",
            "\x1b[?u",
        ] {
            assert_eq!(shown(false, format!("a{question}b").as_bytes()), b"ab", "{question:?}");
        }
    }

    #[test]
    fn all_else_is_as_it_was() {
        for text in [
            "plain\r\n",
            "\x1b[31mred\x1b[m",
            "\x1b[2J\x1b[H",
            "\x1b]0;title\x07x",
            "\x1b(B",
            "\x1b7",
            "\x1b[?1049h",
            "\x1b[1;24r",
            "\x1b[4 q",
            "\x1b[8;24;80t",
            "\x1b[!p",
            "\x1b[>4n",
            "\x1b[=5u",
            "\x1bXa string ?\x1b\\",
            "\x1b[6\x18n",
            "\x1b]11;?\x18",
            "\u{e4}\u{20ac}",
        ] {
            assert_eq!(shown(false, text.as_bytes()), text.as_bytes(), "{text:?}");
        }
        let all: Vec<u8> = (0..=255).filter(|byte| ![ESCAPE, ENQUIRY].contains(byte)).collect();
        assert_eq!(shown(false, &all), all);
    }

    #[test]
    fn what_lost_its_beginning_begins_with_a_line() {
        assert_eq!(shown(true, b"1;31mhalf a line\nwhole\n"), b"whole\n");
        assert_eq!(shown(true, b"no end"), b"");
    }

    #[test]
    fn what_is_not_finished_goes_on() {
        assert_eq!(shown(false, b"a\x1b[3"), b"a\x1b[3");
        let long = [b"\x1b]0;".as_slice(), &[b'x'; 1000]].concat();
        assert_eq!(shown(false, &long), long);
    }
}
