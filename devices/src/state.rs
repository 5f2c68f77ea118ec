//! What a snapshot has of a device: plain values, which [`crate::pci::PciBus::state`] takes
//! while the guest is paused, and [`crate::pci::PciBus::restore`] sets on a fresh device. Each
//! part of a device has its own type, in a file `state.rs` beside it. A state may come from a
//! damaged or forged file, so each number is checked against the device before it is used.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why the state of a device cannot be taken or restored: one line, with the device's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateError(String);

impl StateError {
    /// An error with this text.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        // A text may quote a forged file, and goes to a terminal.
        let shown = |it: char| if it.is_control() { char::REPLACEMENT_CHARACTER } else { it };
        Self(text.as_ref().chars().map(shown).collect())
    }

    /// The error with a name before its text: "blk0: ...".
    #[must_use]
    pub(crate) fn of(self, name: &str) -> Self {
        Self(format!("{name}: {}", self.0))
    }
}

/// Returns an error with `text` unless `holds`.
pub(crate) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), StateError> {
    if holds { Ok(()) } else { Err(StateError::new(text())) }
}

/// Returns a device's or a service's own state as the value that goes through its trait.
///
/// # Errors
/// When the state has a map whose keys are not texts.
pub fn to_value(state: impl Serialize) -> Result<Value, StateError> {
    serde_json::to_value(state).map_err(|error| StateError::new(error.to_string()))
}

/// Returns a device's or a service's own state from a value that [`to_value`] made.
///
/// # Errors
/// When the value is not such a state; the text names the field.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, StateError> {
    T::deserialize(value).map_err(|error| StateError::new(error.to_string()))
}

/// Checks the state of a device or a service that keeps nothing.
///
/// # Errors
/// When the state is not null.
pub fn expect_nothing(value: &Value) -> Result<(), StateError> {
    ensure(value.is_null(), || "the state has values of another kind of device".to_string())
}

/// Bytes that a state has as text: two hexadecimal digits for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexBytes(pub Vec<u8>);

impl From<HexBytes> for String {
    fn from(bytes: HexBytes) -> Self {
        bytes.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for HexBytes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits =
            text.chars().map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok()));
        let digits = digits.collect::<Option<Vec<u8>>>().filter(|it| it.len().is_multiple_of(2));
        let digits = digits.ok_or("bytes are pairs of hexadecimal digits")?;
        let byte = |pair: &[u8]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        Ok(Self(digits.chunks(2).map(byte).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hexadecimal_digits() {
        let bytes = HexBytes(vec![0, 1, 0x7f, 0x80, 0xff]);
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text, "\"00017f80ff\"");
        assert_eq!(serde_json::from_str::<HexBytes>(&text).unwrap(), bytes);
        assert_eq!(serde_json::from_str::<HexBytes>("\"aAFf\"").unwrap().0, [0xaa, 0xff]);
        assert_eq!(serde_json::from_str::<HexBytes>("\"\"").unwrap().0, [0; 0]);
    }

    #[test]
    fn other_texts_are_not_bytes() {
        for text in ["0", "000", "0g", "+1", " 1", "0x12", "ää", "\u{ff11}\u{ff11}"] {
            let error = HexBytes::try_from(text.to_string()).unwrap_err();
            assert_eq!(error, "bytes are pairs of hexadecimal digits", "{text}");
        }
    }

    #[test]
    fn an_error_names_the_device_and_the_field() {
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sample {
            printed: u32,
        }
        let value = to_value(Sample { printed: 7 }).unwrap();
        assert_eq!(from_value::<Sample>(&value).unwrap().printed, 7);
        let error = from_value::<Sample>(&serde_json::json!({ "painted": 7 })).unwrap_err();
        let error = error.of("con0").to_string();
        assert!(error.starts_with("con0: ") && error.contains("painted"), "{error}");
        let error = from_value::<Sample>(&serde_json::json!({ "\u{1b}[2J\n": 7 })).unwrap_err();
        assert!(!error.to_string().contains(char::is_control), "{error}");
        assert!(expect_nothing(&value).is_err() && expect_nothing(&Value::Null).is_ok());
    }
}
