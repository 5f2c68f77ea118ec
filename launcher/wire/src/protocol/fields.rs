//! The fields of requests.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All fields that a request may have. Each verb has some of them (docs/control.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fields {
    /// The console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleId>,
    /// The side of the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Bytes to type, or a command, as base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How the client attaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AttachMode>,
    /// The height of the window in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// The width of the window in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<u16>,
    /// The type of the command's terminal (TERM). Without it, the command has no terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// The time in milliseconds that the guest has to power off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// Whether the guest ends when it is saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<bool>,
}

/// How a client names one of a guest's consoles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", untagged)]
pub enum ConsoleId {
    /// The number of the console: N of hvcN.
    Number(usize),
    /// The console's `name=` on the command line.
    Name(String),
}

impl TryFrom<Value> for ConsoleId {
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

impl FromStr for ConsoleId {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Number))
    }
}

impl fmt::Display for ConsoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How a client attaches to a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// Read and type. Refused if another client types.
    Write,
    /// Read and type. Another client that types is detached.
    Force,
    /// Read, and do not type.
    Watch,
    /// Read from the beginning of the buffer, without consuming it, and do not type.
    Follow,
}

/// A side of a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Typed input that the guest has not read.
    Input,
    /// Output that no client has read.
    Output,
}
