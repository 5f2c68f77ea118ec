//! Parses the keys that a terminal reports, in all encodings that terminals have today: a
//! control byte; Kitty's keyboard protocol (`ESC[99;5u`), also with alternate key codes and
//! kinds of event; xterm's modifyOtherKeys (`ESC[27;5;99~`). The guest gets the bytes
//! unchanged.

const ESCAPE: u8 = 0x1b;

/// The length in bytes of the longest sequence of a key. A longer one is other input.
const LONGEST: usize = 64;

/// The meaning of some bytes of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The key of this control byte was pressed.
    Press(u8),
    /// The key of this control byte is still held down, or was released.
    Held(u8),
    /// A modifier was pressed or released: shift, caps lock and the like.
    Modifier,
    /// Any other input.
    Other,
}

/// Splits input into keys, also if reads split a sequence.
#[derive(Debug, Default)]
pub(crate) struct KeyParser {
    /// The beginning of what may become a key's sequence.
    sequence: Vec<u8>,
}

impl KeyParser {
    /// Parse more input. `key` gets each key with all of its bytes, in their order.
    pub(crate) fn read(&mut self, bytes: &[u8], mut key: impl FnMut(Key, &[u8])) {
        for &byte in bytes {
            self.next(byte, &mut key);
        }
    }

    /// The bytes of a sequence that is not complete.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.sequence
    }

    fn next(&mut self, byte: u8, key: &mut impl FnMut(Key, &[u8])) {
        match (self.sequence.as_slice(), byte) {
            ([], ESCAPE) | ([ESCAPE], b'[') | ([ESCAPE, b'[', ..], b'0'..=b'9' | b';' | b':') => {
                self.sequence.push(byte);
                if self.sequence.len() > LONGEST {
                    key(Key::Other, &self.sequence);
                    self.sequence.clear();
                }
            }
            ([], _) => key(of_byte(byte), &[byte]),
            // A control byte within a sequence is a key of its own.
            (_, 0..0x20) => {
                key(Key::Other, &self.sequence);
                self.sequence.clear();
                self.next(byte, key);
            }
            _ => {
                self.sequence.push(byte);
                key(of_sequence(&self.sequence), &self.sequence);
                self.sequence.clear();
            }
        }
    }
}

fn of_byte(byte: u8) -> Key {
    if byte < 0x20 || byte == 0x7f { Key::Press(byte) } else { Key::Other }
}

fn of_sequence(sequence: &[u8]) -> Key {
    match sequence {
        [ESCAPE, b'[', parameters @ .., b'u'] => {
            of_kitty(&numbers(parameters)).unwrap_or(Key::Other)
        }
        [ESCAPE, b'[', parameters @ .., b'~'] => {
            of_xterm(&numbers(parameters)).unwrap_or(Key::Other)
        }
        _ => Key::Other,
    }
}

/// The parameters of a sequence, each with its parts. A part that is left out is 0.
fn numbers(parameters: &[u8]) -> Vec<Vec<u32>> {
    let number = |digits: &[u8]| {
        let digits = digits.iter().map(|digit| u32::from(digit.saturating_sub(b'0')));
        digits.fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(digit))
    };
    let parts = |parameter: &[u8]| parameter.split(|byte| *byte == b':').map(number).collect();
    parameters.split(|byte| *byte == b';').map(parts).collect()
}

/// The key of a sequence of Kitty's protocol: `KEY[:SHIFTED[:BASE]] ; MODIFIERS[:EVENT] ; TEXT`
/// (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>).
fn of_kitty(numbers: &[Vec<u32>]) -> Option<Key> {
    let part = |parameter: usize, index: usize| {
        numbers.get(parameter).and_then(|parts| parts.get(index)).copied().unwrap_or(0)
    };
    let code = part(0, 0);
    // Modifiers and locks have keys of their own.
    if matches!(code, 57358..=57360 | 57441..=57454) {
        return Some(Key::Modifier);
    }
    let modifiers = Modifiers::of(part(1, 0));
    // In a layout without Latin letters, the key at the same place counts.
    let code = if code > 0x7f && part(0, 2) != 0 { part(0, 2) } else { code };
    // With shift, the shifted key counts, which may be missing.
    let code = if modifiers.shift { part(0, 1) } else { code };
    let byte = modifiers.control_byte(code)?;
    Some(if matches!(part(1, 1), 0 | 1) { Key::Press(byte) } else { Key::Held(byte) })
}

/// The key of a sequence `27 ; MODIFIERS ; KEY` (xterm's "Control Sequences", modifyOtherKeys).
fn of_xterm(numbers: &[Vec<u32>]) -> Option<Key> {
    let [first, modifiers, code] = numbers else { return None };
    let ([27], [modifiers], [code]) = (&first[..], &modifiers[..], &code[..]) else { return None };
    Modifiers::of(*modifiers).control_byte(*code).map(Key::Press)
}

/// The modifiers that were held down with a key.
struct Modifiers {
    shift: bool,
    control: bool,
    others: bool,
}

impl Modifiers {
    /// Decode the modifiers from their number: 1 more than the sum of shift 1, alt 2, control 4,
    /// super 8, hyper 16 and meta 32. Caps lock (64) and num lock (128) are not held down.
    fn of(number: u32) -> Self {
        let bits = number.saturating_sub(1);
        Self {
            shift: bits & 1 != 0,
            control: bits & 4 != 0,
            others: bits & !(1 | 4 | 64 | 128) != 0,
        }
    }

    /// The byte that this key sends with control in a terminal without such sequences. With shift,
    /// a letter is another key, so `None`.
    fn control_byte(&self, code: u32) -> Option<u8> {
        let code = u8::try_from(code).ok()?;
        if !self.control || self.others || self.shift && code.is_ascii_alphabetic() {
            return None;
        }
        match code {
            b'a'..=b'z' | b'@'..=b'_' => Some(code & 0x1f),
            b' ' | b'2' => Some(0),
            // ESC to US.
            b'3'..=b'7' => Some(code - b'3' + 0x1b),
            b'~' => Some(0x1e),
            b'/' => Some(0x1f),
            b'8' | b'?' => Some(0x7f),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of these bytes: in one read, and byte by byte.
    fn keys(bytes: &[u8]) -> Vec<(Key, Vec<u8>)> {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        KeyParser::default().read(bytes, |key, bytes| whole.push((key, bytes.to_vec())));
        let mut keyboard = KeyParser::default();
        for byte in bytes {
            keyboard.read(&[*byte], |key, bytes| parts.push((key, bytes.to_vec())));
        }
        assert_eq!(whole, parts);
        let mut all: Vec<u8> = whole.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        all.extend(keyboard.unfinished());
        assert_eq!(all, bytes, "not all of it comes out");
        whole
    }

    fn key(text: &str) -> Key {
        let keys = keys(text.as_bytes());
        assert_eq!(keys.len(), 1, "{text:?}");
        keys[0].0
    }

    #[test]
    fn ctrl_c_has_many_encodings() {
        for text in [
            "\x03",
            "\x1b[99;5u",
            "\x1b[99;5:1u",
            "\x1b[99:67;5u",
            "\x1b[99:67:99;5:1u",
            "\x1b[99;5;99u",
            "\x1b[99;69u",
            "\x1b[99;133u",
            "\x1b[99;197u",
            "\x1b[1089::99;5u",
            "\x1b[27;5;99~",
            "\x1b[27;5;67~",
        ] {
            assert_eq!(key(text), Key::Press(3), "{text:?}");
        }
        for text in ["\x1b[99;5:2u", "\x1b[99;5:3u", "\x1b[1089::99;69:3u"] {
            assert_eq!(key(text), Key::Held(3), "{text:?}");
        }
    }

    #[test]
    fn other_keys_with_control_are_their_bytes() {
        for (text, byte) in [
            ("\x1b[93;5u", 0x1d),
            ("\x1b[53;5u", 0x1d),
            ("\x1b[27;5;93~", 0x1d),
            ("\x1b[97;5u", 1),
            ("\x1b[92;5u", 0x1c),
            ("\x1b[32;5u", 0),
            ("\x1b[45:95;6u", 0x1f),
            ("\x1b[27;6;95~", 0x1f),
            ("\x1b[54:94;6u", 0x1e),
            ("\x1b[91;5u", 0x1b),
        ] {
            assert_eq!(key(text), Key::Press(byte), "{text:?}");
        }
    }

    #[test]
    fn modifiers_are_not_keys() {
        for text in ["\x1b[57442;5u", "\x1b[57442;1:3u", "\x1b[57358u", "\x1b[57447;2u"] {
            assert_eq!(key(text), Key::Modifier, "{text:?}");
        }
    }

    #[test]
    fn any_other_sequence_is_other_input() {
        for text in [
            "x",
            "\x1b[99u",
            "\x1b[99;1u",
            "\x1b[99;6u",
            "\x1b[99:67;6u",
            "\x1b[93;6u",
            "\x1b[99;7u",
            "\x1b[99;13u",
            "\x1b[100;5:4x",
            "\x1b[27;6;67~",
            "\x1b[27;5;99;1~",
            "\x1b[99;5~",
            "\x1b[99;5R",
            "\x1b[3;5~",
            "\x1b[A",
            "\x1b[1;5C",
            "\x1bx",
            "\x1b[99999999999999999999;5u",
        ] {
            assert_eq!(key(text), Key::Other, "{text:?}");
        }
    }

    #[test]
    fn a_control_byte_within_a_sequence_is_a_key() {
        let (other, press) = (Key::Other, Key::Press(3));
        assert_eq!(keys(b"\x1b\x03"), [(other, b"\x1b".to_vec()), (press, b"\x03".to_vec())]);
        assert_eq!(keys(b"\x1b[9\x03"), [(other, b"\x1b[9".to_vec()), (press, b"\x03".to_vec())]);
        let twice = keys(b"\x1b\x1b[99;5u");
        assert_eq!(twice, [(other, b"\x1b".to_vec()), (press, b"\x1b[99;5u".to_vec())]);
    }

    #[test]
    fn a_sequence_that_never_ends_is_passed_on() {
        assert!(keys(&[b"\x1b[".as_slice(), &[b'1'; 1000]].concat()).len() > 900);
        let all: Vec<u8> = (0..=255).cycle().take(4096).collect();
        keys(&all);
    }
}
