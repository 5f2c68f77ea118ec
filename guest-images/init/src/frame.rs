//! The frames between the launcher and the init, in both directions over one raw console:
//! a kind (one byte), a length (four, little-endian), and so many bytes. Neither end waits
//! for the other in a write: what may be on its way is bounded by a window in each direction,
//! and who has handed bytes on says so ([`FromGuest::Taken`], [`ToGuest::Written`]). Linux'
//! hvc driver spins, with a lock held, while the host does not take its output: so the host
//! always does.

use std::fmt;

/// So many bytes of the command's output may be on their way, not yet written by the host.
pub const OUTPUT_WINDOW: u32 = 256 << 10;

/// So many bytes of its input may be, not yet taken by the command.
pub const INPUT_WINDOW: u32 = 64 << 10;

/// Frames to the guest are no longer than this, header included: the host's pipes take each
/// of them as a whole or not at all (PIPE_BUF).
pub const MOST_TO_GUEST: usize = 4096;

/// What a frame carries at most, in either direction.
pub const MOST: usize = 16 << 10;

/// A kind and a length.
pub const HEADER: usize = 5;

/// The version that [`FromGuest::Ready`] tells.
pub const VERSION: u8 = 1;

/// What the init says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromGuest {
    /// It is there, the console is raw, and it speaks this version. The first frame.
    Ready(u8),
    /// The command wrote this to its stdout, or its terminal.
    Stdout(Vec<u8>),
    /// The command wrote this to its stderr.
    Stderr(Vec<u8>),
    /// The command has taken so many bytes more of its input, or will never.
    Taken(u32),
    /// The command has ended, and all that it wrote has been sent. The last frame.
    Ended(u8),
    /// The init cannot do its work, for this reason. The last frame.
    Failed(String),
}

/// What the launcher says, when the init is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest {
    /// The command's input goes on like this.
    Stdin(Vec<u8>),
    /// Here it ends.
    StdinEnd,
    /// The window of the command's terminal has this size.
    Window {
        /// Its width, in characters.
        columns: u16,
        /// Its height.
        rows: u16,
    },
    /// So many bytes more of the command's output have been written, or given up.
    Written(u32),
}

/// The bytes that came are not a valid frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A kind that is not known.
    Kind(u8),
    /// A frame of this kind that says to be this long.
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
    /// A header that no frame has.
    fn of<F: Frame>(kind: u8, length: u32) -> Self {
        // As long as the shortest of each kind.
        let is_known = [0, 1, 4].iter().any(|length| F::fits(kind, *length));
        if is_known { Self::Length(kind, length) } else { Self::Kind(kind) }
    }
}

/// Either direction.
pub trait Frame: Sized {
    /// Would a frame of this kind be as long as that?
    fn fits(kind: u8, length: usize) -> bool;

    /// The frame of this kind and with these bytes, whose number fits.
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
    /// The bytes that say so.
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
    /// The bytes that say so.
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

/// What goes beyond a frame's length is left out: nobody who sends has more.
fn encode(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..MOST).unwrap_or(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    [&[kind][..], &length.to_le_bytes(), bytes].concat()
}

/// Bytes as they come, and the frames in them.
#[derive(Debug, Default)]
pub struct Parser {
    /// Less than a frame, between two calls.
    bytes: Vec<u8>,
}

impl Parser {
    /// So many more have come: hand out each frame that is whole. What was before a broken
    /// one has been handed out.
    ///
    /// # Errors
    /// When they are no frames; the rest is not looked at, and nothing may follow.
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
