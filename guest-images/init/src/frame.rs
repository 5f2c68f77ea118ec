//! The frames between the launcher and the init, in both directions over one raw console. A frame
//! is a kind (one byte), a length (four bytes, little-endian), and that many bytes.
//!
//! Neither end waits for the other in a write. A window for each direction limits the bytes that
//! are on their way, and the receiver reports the bytes that it has passed on
//! ([`FromGuest::Taken`], [`ToGuest::Written`]). This is necessary because Linux' hvc driver spins
//! with a lock held while the host does not take its output.

use std::fmt;

/// The window for output: how many bytes the guest may send that the host has not written yet.
pub const OUTPUT_WINDOW: u32 = 256 << 10;

/// The window for input: how many bytes the host may send that the command has not taken yet.
pub const INPUT_WINDOW: u32 = 64 << 10;

/// The longest frame to the guest, header included. The host's pipes take a frame of this size
/// (PIPE_BUF) either completely or not at all.
pub const MOST_TO_GUEST: usize = 4096;

/// The most bytes that a frame carries, in either direction.
pub const MOST: usize = 16 << 10;

/// The size of a header: a kind and a length.
pub const HEADER: usize = 5;

/// The version of the frames, which [`FromGuest::Ready`] carries.
pub const VERSION: u8 = 1;

/// A frame from the init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromGuest {
    /// The first frame. The console is raw, and the init uses this version.
    Ready(u8),
    /// The command wrote this to its stdout, or its terminal.
    Stdout(Vec<u8>),
    /// The command wrote this to its stderr.
    Stderr(Vec<u8>),
    /// The command has taken this many more bytes of its input, or will never take them.
    Taken(u32),
    /// The command has ended, and all that it wrote has been sent. The last frame.
    Ended(u8),
    /// The init cannot do its work, for this reason. The last frame.
    Failed(String),
}

/// A frame from the launcher, which it sends when the init is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest {
    /// More input for the command.
    Stdin(Vec<u8>),
    /// The end of the input.
    StdinEnd,
    /// The window of the command's terminal has this size.
    Window {
        /// The width, in characters.
        columns: u16,
        /// The height, in lines.
        rows: u16,
    },
    /// The host has written this many more bytes of the command's output, or has discarded them.
    Written(u32),
}

/// The received bytes are not a valid frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The kind is unknown.
    Kind(u8),
    /// A frame of this kind cannot have this length.
    Length(u8, u32),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "a frame of an unknown kind, {kind:#04x}"),
            Self::Length(kind, length) => {
                write!(f, "a frame of kind {kind:#04x} with {length} bytes")
            }
        }
    }
}

impl std::error::Error for Broken {}

impl Broken {
    /// Returns what is wrong with a header.
    fn of<F: Frame>(kind: u8, length: u32) -> Self {
        // 0, 1 and 4 bytes are the shortest lengths of the kinds.
        let is_known = [0, 1, 4].iter().any(|length| F::fits(kind, *length));
        if is_known { Self::Length(kind, length) } else { Self::Kind(kind) }
    }
}

/// The frames of one direction.
pub trait Frame: Sized {
    /// Whether a frame of this kind can have this length.
    fn fits(kind: u8, length: usize) -> bool;

    /// Decodes the frame of this kind with these bytes. Their number must fit the kind.
    fn decode(kind: u8, bytes: &[u8]) -> Option<Self>;
}

const READY: u8 = 0x01;
const STDOUT: u8 = 0x02;
const STDERR: u8 = 0x03;
const TAKEN: u8 = 0x04;
const ENDED: u8 = 0x05;
const FAILED: u8 = 0x06;
const STDIN: u8 = 0x11;
const STDIN_END: u8 = 0x12;
const WINDOW: u8 = 0x13;
const WRITTEN: u8 = 0x14;

impl Frame for FromGuest {
    fn fits(kind: u8, length: usize) -> bool {
        match kind {
            READY | ENDED => length == 1,
            STDOUT | STDERR | FAILED => length <= MOST,
            TAKEN => length == 4,
            _ => false,
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            READY => Self::Ready(*bytes.first()?),
            STDOUT => Self::Stdout(bytes.to_vec()),
            STDERR => Self::Stderr(bytes.to_vec()),
            TAKEN => Self::Taken(u32::from_le_bytes(bytes.try_into().ok()?)),
            ENDED => Self::Ended(*bytes.first()?),
            FAILED => Self::Failed(String::from_utf8_lossy(bytes).into_owned()),
            _ => return None,
        })
    }
}

impl Frame for ToGuest {
    fn fits(kind: u8, length: usize) -> bool {
        match kind {
            STDIN => length <= MOST,
            STDIN_END => length == 0,
            WINDOW | WRITTEN => length == 4,
            _ => false,
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            STDIN => Self::Stdin(bytes.to_vec()),
            STDIN_END => Self::StdinEnd,
            WINDOW => {
                let (columns, rows) = bytes.split_at_checked(2)?;
                let number = |bytes: &[u8]| Some(u16::from_le_bytes(bytes.try_into().ok()?));
                Self::Window { columns: number(columns)?, rows: number(rows)? }
            }
            WRITTEN => Self::Written(u32::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }
}

impl FromGuest {
    /// Encodes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready(version) => encode(READY, &[*version]),
            Self::Stdout(bytes) => encode(STDOUT, bytes),
            Self::Stderr(bytes) => encode(STDERR, bytes),
            Self::Taken(count) => encode(TAKEN, &count.to_le_bytes()),
            Self::Ended(status) => encode(ENDED, &[*status]),
            Self::Failed(why) => encode(FAILED, why.as_bytes()),
        }
    }
}

impl ToGuest {
    /// Encodes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Stdin(bytes) => encode(STDIN, bytes),
            Self::StdinEnd => encode(STDIN_END, &[]),
            Self::Window { columns, rows } => {
                encode(WINDOW, &[columns.to_le_bytes(), rows.to_le_bytes()].concat())
            }
            Self::Written(count) => encode(WRITTEN, &count.to_le_bytes()),
        }
    }
}

/// Encodes a frame. Bytes beyond the longest frame are left out; no sender has more.
fn encode(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..MOST).unwrap_or(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    [&[kind][..], &length.to_le_bytes(), bytes].concat()
}

/// Splits a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of a frame that is not complete yet.
    bytes: Vec<u8>,
}

impl Parser {
    /// Adds bytes, and passes each frame that is complete to `take`. Frames before a broken one
    /// have been passed on.
    ///
    /// # Errors
    /// The bytes are not a valid frame. The rest is ignored, and the parser must not be used any
    /// more.
    pub fn push<F: Frame>(&mut self, bytes: &[u8], mut take: impl FnMut(F)) -> Result<(), Broken> {
        self.bytes.extend_from_slice(bytes);
        let mut rest = self.bytes.as_slice();
        while let Some((&[kind, a, b, c, d], after)) = rest.split_first_chunk::<HEADER>() {
            let length = u32::from_le_bytes([a, b, c, d]);
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            if !F::fits(kind, size) {
                return Err(Broken::of::<F>(kind, length));
            }
            let Some((payload, after)) = after.split_at_checked(size) else { break };
            take(F::decode(kind, payload).ok_or(Broken::Length(kind, length))?);
            rest = after;
        }
        let kept = rest.len();
        let done = self.bytes.len().saturating_sub(kept);
        self.bytes.drain(..done);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
