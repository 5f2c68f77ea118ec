//! What goes with the verbs of the protocol: all fields that there are.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What goes with a verb; which, [`super::Verb::fields`] says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    /// Which console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) console: Option<Which>,
    /// Which of its sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<Side>,
    /// Bytes, as base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// How to sit at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<u16>,
    /// How long the guest may take to switch itself off, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grace: Option<u64>,
}

/// One of a guest's consoles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", untagged)]
pub(crate) enum Which {
    /// N of hvcN.
    Number(usize),
    /// What the user calls it.
    Name(String),
}

impl TryFrom<Value> for Which {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match (number, value) {
            (Some(number), _) => Ok(Self::Number(number)),
            (None, Value::String(name)) => Ok(Self::Name(name)),
            (None, value) => Err(format!("{value} is not a console: give a number or a name")),
        }
    }
}

impl FromStr for Which {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Number))
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How to sit at a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// And type, if no other client does.
    Write,
    /// And type; another client that does has to leave.
    Force,
    /// And look on.
    Watch,
    /// And look on, from the first of what is kept, which stays unread.
    Follow,
}

/// The sides of a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// What was typed and the guest has not read.
    Input,
    /// What the guest has printed and nobody has read.
    Output,
}
