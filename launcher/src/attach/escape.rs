//! The key that leaves a console, at the client: pressed once it leaves, pressed
//! twice it is for the guest.

use std::time::Duration;

/// How long it is waited for the second time.
const PATIENCE: Duration = Duration::from_millis(300);

/// The key, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escape(Option<u8>);

impl Escape {
    /// From `--escape`: "^X", or "none".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            b"none" => Ok(Self(None)),
            [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(Self(Some(key & 0x1f))),
            _ => Err("an escape key is ^ and one of @, A to Z, [, \\, ], ^ and _; or none".into()),
        }
    }

    /// As it is told to the user.
    pub(super) fn name(self) -> Option<String> {
        self.0.map(|key| format!("^{}", char::from(key | 0x40)))
    }
}

/// What was typed, with the key taken out.
#[derive(Debug)]
pub(super) struct Keys {
    escape: Escape,
    pressed: bool,
}

/// What becomes of some keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// These are for the guest.
    Keys(Vec<u8>),
    /// These are, and then it depends on what is typed within this time.
    Wait(Vec<u8>, Duration),
    /// These are, and the user wants to leave.
    Leave(Vec<u8>),
}

impl Keys {
    pub(super) fn new(escape: Escape) -> Self {
        Self { escape, pressed: false }
    }

    /// Some more keys; none at all if the time is over.
    pub(super) fn typed(&mut self, keys: &[u8]) -> Typed {
        let mut guest = Vec::with_capacity(keys.len());
        if keys.is_empty() && self.pressed {
            return Typed::Leave(guest);
        }
        for &key in keys {
            match (self.pressed, Some(key) == self.escape.0) {
                (false, true) => self.pressed = true,
                (true, false) => return Typed::Leave(guest),
                _ => {
                    guest.push(key);
                    self.pressed = false;
                }
            }
        }
        if self.pressed { Typed::Wait(guest, PATIENCE) } else { Typed::Keys(guest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in telnet and virsh.
    fn usual() -> Escape {
        Escape(Some(0x1d))
    }

    fn keys() -> Keys {
        Keys::new(usual())
    }

    #[test]
    fn once_leaves_when_the_time_is_over_or_another_key_comes() {
        let mut slow = keys();
        assert_eq!(slow.typed(b"ab\x1d"), Typed::Wait(b"ab".to_vec(), PATIENCE));
        assert_eq!(slow.typed(b""), Typed::Leave(Vec::new()));
        assert_eq!(keys().typed(b"a\x1dq"), Typed::Leave(b"a".to_vec()));
    }

    #[test]
    fn twice_is_one_for_the_guest() {
        assert_eq!(keys().typed(b"a\x1d\x1db"), Typed::Keys(b"a\x1db".to_vec()));
        let mut slow = keys();
        assert_eq!(slow.typed(b"\x1d"), Typed::Wait(Vec::new(), PATIENCE));
        assert_eq!(slow.typed(b"\x1d"), Typed::Keys(b"\x1d".to_vec()));
        assert_eq!(slow.typed(b"c"), Typed::Keys(b"c".to_vec()));
    }

    #[test]
    fn without_one_all_keys_are_the_guests() {
        let mut keys = Keys::new(Escape::parse("none").unwrap());
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(keys.typed(&all), Typed::Keys(all));
    }

    #[test]
    fn keys_have_names() {
        assert_eq!(Escape::parse("^]"), Ok(usual()));
        assert_eq!(Escape::parse("^a"), Escape::parse("^A"));
        assert_eq!(Escape::parse("^a").unwrap().name(), Some("^A".into()));
        for wrong in ["", "^", "a", "^1", "^]]"] {
            assert!(Escape::parse(wrong).is_err(), "{wrong}");
        }
    }
}
