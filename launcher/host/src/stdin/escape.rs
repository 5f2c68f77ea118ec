//! The escape key of `lguest console`: pressed once, the client detaches; pressed twice, the guest
//! gets the key. A terminal in one of today's keyboard modes sends the key as an
//! escape sequence ([`super::keyboard`]), perhaps in parts.

use std::time::Duration;

use super::keyboard::{Key, KeyParser};

/// How long the client waits for the second press.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long the guest waits for the beginning of a sequence that may become the key: too
/// short for a user to notice after the key Escape.
const PART: Duration = Duration::from_millis(50);

const ESCAPE: u8 = 0x1b;

/// The escape key. Empty with `--escape none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape(Option<u8>);

impl Escape {
    /// Parse the value of `--escape`: "^X", or "none".
    ///
    /// # Errors
    /// A line with the valid values, if the text is not one of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"none" => Ok(Self(None)),
            [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(Self(Some(key & 0x1f))),
            _ => Err("an escape key is ^ and one of @, A to Z, [, \\, ], ^ and _; or none".into()),
        }
    }

    /// The name of the key, such as "^X". `None` if there is no escape key.
    pub fn name(self) -> Option<String> {
        self.0.map(|key| format!("^{}", char::from(key | 0x40)))
    }
}

/// Takes the escape key out of typed input.
#[derive(Debug)]
pub struct Keys {
    escape: Escape,
    keyboard: KeyParser,
    /// The number of bytes of the unfinished sequence that the guest already has.
    handed_on: usize,
    pressed: bool,
}

/// The result of typing some keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// The bytes for the guest.
    Keys(Vec<u8>),
    /// The bytes for the guest. The next step depends on the keys within this time.
    Wait(Vec<u8>, Duration),
    /// The bytes for the guest, after which the user detaches.
    Leave(Vec<u8>),
}

impl Keys {
    /// The state before the first key.
    #[must_use]
    pub fn new(escape: Escape) -> Self {
        Self { escape, keyboard: KeyParser::default(), handed_on: 0, pressed: false }
    }

    /// Take some more keys; none at all if the time of [`Typed::Wait`] is over.
    pub fn typed(&mut self, keys: &[u8]) -> Typed {
        if keys.is_empty() {
            return if self.pressed { Typed::Leave(Vec::new()) } else { Typed::Keys(self.held()) };
        }
        let mut guest = Vec::with_capacity(keys.len());
        let mut keyboard = std::mem::take(&mut self.keyboard);
        let mut leaves = false;
        self.take_apart(&mut keyboard, keys, |this, key, bytes| {
            if !leaves {
                leaves = this.next(key, bytes, &mut guest);
            }
        });
        self.keyboard = keyboard;
        if leaves {
            Typed::Leave(guest)
        } else if self.pressed {
            Typed::Wait(guest, PATIENCE)
        } else if self.keyboard.unfinished().len() > self.handed_on {
            Typed::Wait(guest, PART)
        } else {
            Typed::Keys(guest)
        }
    }

    /// Call `each` for each key. Every sequence begins with the byte of `^[`, so that `^[` needs no
    /// parsing of sequences.
    fn take_apart(
        &mut self,
        keyboard: &mut KeyParser,
        keys: &[u8],
        mut each: impl FnMut(&mut Self, Key, &[u8]),
    ) {
        if matches!(self.escape.0, None | Some(ESCAPE)) {
            keys.iter().for_each(|key| each(self, Key::Press(*key), &[*key]));
        } else {
            keyboard.read(keys, |key, bytes| each(self, key, bytes));
        }
    }

    /// Take the next key. Returns whether the user detaches with it.
    fn next(&mut self, key: Key, bytes: &[u8], guest: &mut Vec<u8>) -> bool {
        let rest = bytes.get(std::mem::take(&mut self.handed_on)..).unwrap_or_default();
        // If the guest has the beginning of a key, it gets the end as well.
        let has_begun = rest.len() < bytes.len();
        match key {
            Key::Press(byte) if Some(byte) == self.escape.0 => {
                if self.pressed || has_begun {
                    guest.extend_from_slice(rest);
                }
                self.pressed = !self.pressed;
            }
            // A release goes where the press went.
            Key::Held(byte) if Some(byte) == self.escape.0 && self.pressed && !has_begun => {}
            Key::Press(_) | Key::Other if self.pressed => return true,
            _ => guest.extend_from_slice(rest),
        }
        false
    }

    /// The unfinished beginning of a sequence, which the guest gets now, whether it is the key or
    /// not.
    fn held(&mut self) -> Vec<u8> {
        let unfinished = self.keyboard.unfinished();
        let held = unfinished.get(self.handed_on..).unwrap_or_default().to_vec();
        self.handed_on = unfinished.len();
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The escape key of telnet and virsh.
    fn usual() -> Escape {
        Escape(Some(0x1d))
    }

    fn keys() -> Keys {
        Keys::new(usual())
    }

    #[test]
    fn one_press_detaches_after_a_while_or_with_another_key() {
        let mut slow = keys();
        assert_eq!(slow.typed(b"ab\x1d"), Typed::Wait(b"ab".to_vec(), PATIENCE));
        assert_eq!(slow.typed(b""), Typed::Leave(Vec::new()));
        assert_eq!(keys().typed(b"a\x1dq"), Typed::Leave(b"a".to_vec()));
    }

    #[test]
    fn two_presses_send_one_to_the_guest() {
        assert_eq!(keys().typed(b"a\x1d\x1db"), Typed::Keys(b"a\x1db".to_vec()));
        let mut slow = keys();
        assert_eq!(slow.typed(b"\x1d"), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(slow.typed(b"\x1d"), Typed::Keys(b"\x1d".to_vec()));
        assert_eq!(slow.typed(b"c"), Typed::Keys(b"c".to_vec()));
    }

    #[test]
    fn without_an_escape_key_the_guest_gets_all_keys() {
        let mut keys = Keys::new(Escape::parse("none").unwrap());
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(keys.typed(&all), Typed::Keys(all));
    }

    #[test]
    fn escape_keys_are_parsed_and_named() {
        assert_eq!(Escape::parse("^]"), Ok(usual()));
        assert_eq!(Escape::parse("^a"), Escape::parse("^A"));
        assert_eq!(Escape::parse("^a").unwrap().name(), Some("^A".into()));
        for wrong in ["", "^", "a", "^1", "^]]"] {
            assert!(Escape::parse(wrong).is_err(), "{wrong}");
        }
    }
    #[test]
    fn every_encoding_of_the_key_detaches() {
        for text in ["\x1b[93;5u", "\x1b[93;5:1u", "\x1b[27;5;93~", "\x1b[93;69u", "\x1b[53;5u"] {
            let typed = [b"a", text.as_bytes()].concat();
            assert_eq!(keys().typed(&typed), Typed::Wait(b"a".to_vec(), PATIENCE), "{text:?}");
        }
    }

    #[test]
    fn a_sequence_in_parts_is_held_back_for_a_moment() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"a\x1b[9"), Typed::Wait(b"a".to_vec(), PART));
        assert_eq!(keys.typed(b"3;5"), Typed::Wait(Vec::new(), PART));
        assert_eq!(keys.typed(b"u"), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(keys.typed(b""), Typed::Leave(Vec::new()));
    }

    #[test]
    fn a_part_that_comes_late_leaves_the_guest_a_whole_key() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x1b[93"), Typed::Wait(Vec::new(), PART));
        assert_eq!(keys.typed(b""), Typed::Keys(b"\x1b[93".to_vec()));
        assert_eq!(keys.typed(b";5"), Typed::Wait(Vec::new(), PART));
        assert_eq!(keys.typed(b"u"), Typed::Wait(b";5u".to_vec(), PATIENCE));
        assert_eq!(keys.typed(b""), Typed::Leave(Vec::new()));
    }

    #[test]
    fn other_keys_pass_unchanged() {
        let mut keys = keys();
        for text in ["\x1b[A", "\x1b[93;6u", "\x1b[93;5:3u", "\x1bx", "\x1b[<0;1;1M"] {
            assert_eq!(keys.typed(text.as_bytes()), Typed::Keys(text.into()));
        }
        assert_eq!(keys.typed(b"\x1b"), Typed::Wait(Vec::new(), PART));
        assert_eq!(keys.typed(b""), Typed::Keys(b"\x1b".to_vec()));
        assert_eq!(keys.typed(b"x"), Typed::Keys(b"x".to_vec()));
    }

    #[test]
    fn a_release_goes_where_its_press_went() {
        let mut keys = keys();
        let (press, release) = (b"\x1b[93;5u", b"\x1b[93;5:3u");
        assert_eq!(keys.typed(press), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(keys.typed(release), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(
            keys.typed(b"\x1b[57442;1:3u"),
            Typed::Wait(b"\x1b[57442;1:3u".to_vec(), PATIENCE)
        );
        assert_eq!(keys.typed(press), Typed::Keys(press.to_vec()));
        assert_eq!(keys.typed(release), Typed::Keys(release.to_vec()));
    }

    #[test]
    fn an_escape_key_of_escape_is_any_sequence() {
        let mut keys = Keys::new(Escape::parse("^[").unwrap());
        assert_eq!(keys.typed(b"\x1b"), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(keys.typed(b"[A"), Typed::Leave(Vec::new()));
    }
}
