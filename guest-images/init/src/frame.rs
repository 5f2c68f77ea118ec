//! The frames between the launcher and the init, in both directions over one raw console. A frame
//! is a kind (one byte), the command that it belongs to (two bytes), a length (four bytes), and
//! that many bytes. Numbers are little-endian. Frames of the init itself have [`INIT`] for their
//! command.
//!
//! The launcher first hears [`FromGuest::Hello`], then [`FromGuest::Ready`]: the init has set up
//! the guest, and knows nothing of any command. A snapshot that is made now can start any command.
//! The launcher then starts commands, at once or later, one or several: it sends what the command
//! needs ([`ToCommand::Archive`]), the order in pieces, and [`ToCommand::Start`].
//!
//! Neither end waits for the other in a write. For each command, a window for each direction limits
//! the bytes that are on their way, and the receiver reports the bytes that it has passed on
//! ([`FromCommand::Taken`], [`ToCommand::Written`]). This is necessary because Linux' hvc driver
//! spins with a lock held while the host does not take its output.

use std::fmt;

/// The window for output: how many bytes of a command the guest may send that the host has not
/// written yet.
pub const OUTPUT_WINDOW: u32 = 256 << 10;

/// The window for input: how many bytes the host may send that the command has not taken yet.
pub const INPUT_WINDOW: u32 = 64 << 10;

/// The longest frame to the guest, header included. The host's pipes take a frame of this size
/// (PIPE_BUF) either completely or not at all.
pub const MOST_TO_GUEST: usize = 4096;

/// The most bytes that a frame carries, in either direction.
pub const MOST: usize = 16 << 10;

/// The size of a header: a kind, a command and a length.
pub const HEADER: usize = 7;

/// The version of the frames, which [`FromGuest::Hello`] carries.
pub const VERSION: u8 = 2;

/// The number of a command. The launcher chooses it.
pub type CommandId = u16;

/// The number that no command has.
pub const INIT: CommandId = CommandId::MAX;

/// A frame from the init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromGuest {
    /// The first frame. The console is raw, and the init uses this version.
    Hello(u8),
    /// The guest is set up, and the init waits for commands.
    Ready,
    /// The init cannot do its work, for this reason. The last frame.
    Failed(String),
    /// A frame of a command.
    Command(CommandId, FromCommand),
}

/// A frame from the init about one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromCommand {
    /// The command wrote this to its stdout, or its terminal.
    Stdout(Vec<u8>),
    /// The command wrote this to its stderr.
    Stderr(Vec<u8>),
    /// The command has taken this many more bytes of its input, or will never take them.
    Taken(u32),
    /// The command has ended, and all that it wrote has been sent. Its last frame.
    Ended(u8),
    /// The command cannot be started, for this reason. Its last frame.
    NotStarted(String),
}

/// A frame from the launcher, which it sends when the init is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest {
    /// The guest continues from a snapshot, of which there may be others.
    Restored {
        /// The time, in seconds since 1970.
        seconds: u64,
        /// The nanoseconds of the time.
        nanoseconds: u32,
        /// Random bytes that no other guest has.
        seed: [u8; SEED],
    },
    /// A frame for a command.
    Command(CommandId, ToCommand),
}

/// The number of random bytes for a guest that continues from a snapshot.
pub const SEED: usize = 32;

/// A frame from the launcher to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToCommand {
    /// A piece of a cpio archive, which the init unpacks. The archive ends with its trailer.
    Archive(Vec<u8>),
    /// A piece of the command's order ([`crate::order::CommandOrder`]).
    Order(Vec<u8>),
    /// The order is complete: start the command.
    Start,
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
    /// The reader of the command's output has left: the command gets SIGHUP, and the init discards
    /// what it still writes.
    HangUp,
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
        // The shortest lengths of all kinds.
        let is_known = [0, 1, 4, RESTORED_LENGTH].iter().any(|length| F::fits(kind, *length));
        if is_known { Self::Length(kind, length) } else { Self::Kind(kind) }
    }
}

/// The frames of one direction.
pub trait Frame: Sized {
    /// Whether a frame of this kind can have this length.
    fn fits(kind: u8, length: usize) -> bool;

    /// Decodes the frame of this kind with these bytes. Their number must fit the kind.
    fn decode(kind: u8, command: CommandId, bytes: &[u8]) -> Option<Self>;
}

const HELLO: u8 = 0x01;
const READY: u8 = 0x02;
const FAILED: u8 = 0x03;
const STDOUT: u8 = 0x04;
const STDERR: u8 = 0x05;
const TAKEN: u8 = 0x06;
const ENDED: u8 = 0x07;
const NOT_STARTED: u8 = 0x08;
const RESTORED: u8 = 0x11;
const ARCHIVE: u8 = 0x12;
const ORDER: u8 = 0x13;
const START: u8 = 0x14;
const STDIN: u8 = 0x15;
const STDIN_END: u8 = 0x16;
const WINDOW: u8 = 0x17;
const WRITTEN: u8 = 0x18;
const HANG_UP: u8 = 0x19;

/// The bytes of [`ToGuest::Restored`]: seconds (8), nanoseconds (4) and the seed.
const RESTORED_LENGTH: usize = 12 + SEED;

impl Frame for FromGuest {
    fn fits(kind: u8, length: usize) -> bool {
        match kind {
            READY => length == 0,
            HELLO | ENDED => length == 1,
            // A frame without output would cost memory, and no credit.
            STDOUT | STDERR => (1..=MOST).contains(&length),
            FAILED | NOT_STARTED => length <= MOST,
            TAKEN => length == 4,
            _ => false,
        }
    }

    fn decode(kind: u8, command: CommandId, bytes: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let of = match kind {
            HELLO => return Some(Self::Hello(*bytes.first()?)),
            READY => return Some(Self::Ready),
            FAILED => return Some(Self::Failed(text())),
            STDOUT => FromCommand::Stdout(bytes.to_vec()),
            STDERR => FromCommand::Stderr(bytes.to_vec()),
            TAKEN => FromCommand::Taken(u32::from_le_bytes(bytes.try_into().ok()?)),
            ENDED => FromCommand::Ended(*bytes.first()?),
            NOT_STARTED => FromCommand::NotStarted(text()),
            _ => return None,
        };
        Some(Self::Command(command, of))
    }
}

impl Frame for ToGuest {
    fn fits(kind: u8, length: usize) -> bool {
        match kind {
            ARCHIVE | ORDER | STDIN => length <= MOST,
            START | STDIN_END | HANG_UP => length == 0,
            WINDOW | WRITTEN => length == 4,
            RESTORED => length == RESTORED_LENGTH,
            _ => false,
        }
    }

    fn decode(kind: u8, command: CommandId, bytes: &[u8]) -> Option<Self> {
        let to = match kind {
            RESTORED => {
                let (seconds, rest) = bytes.split_first_chunk()?;
                let (nanoseconds, seed) = rest.split_first_chunk()?;
                return Some(Self::Restored {
                    seconds: u64::from_le_bytes(*seconds),
                    nanoseconds: u32::from_le_bytes(*nanoseconds),
                    seed: seed.try_into().ok()?,
                });
            }
            ARCHIVE => ToCommand::Archive(bytes.to_vec()),
            ORDER => ToCommand::Order(bytes.to_vec()),
            START => ToCommand::Start,
            STDIN => ToCommand::Stdin(bytes.to_vec()),
            STDIN_END => ToCommand::StdinEnd,
            WINDOW => {
                let (columns, rows) = bytes.split_at_checked(2)?;
                let number = |bytes: &[u8]| Some(u16::from_le_bytes(bytes.try_into().ok()?));
                ToCommand::Window { columns: number(columns)?, rows: number(rows)? }
            }
            WRITTEN => ToCommand::Written(u32::from_le_bytes(bytes.try_into().ok()?)),
            HANG_UP => ToCommand::HangUp,
            _ => return None,
        };
        Some(Self::Command(command, to))
    }
}

impl FromGuest {
    /// Encodes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(version) => encode(HELLO, INIT, &[*version]),
            Self::Ready => encode(READY, INIT, &[]),
            Self::Failed(why) => encode(FAILED, INIT, why.as_bytes()),
            Self::Command(command, of) => of.encode(*command),
        }
    }
}

impl FromCommand {
    fn encode(&self, command: CommandId) -> Vec<u8> {
        match self {
            Self::Stdout(bytes) => encode(STDOUT, command, bytes),
            Self::Stderr(bytes) => encode(STDERR, command, bytes),
            Self::Taken(count) => encode(TAKEN, command, &count.to_le_bytes()),
            Self::Ended(status) => encode(ENDED, command, &[*status]),
            Self::NotStarted(why) => encode(NOT_STARTED, command, why.as_bytes()),
        }
    }
}

impl ToGuest {
    /// Encodes the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Restored { seconds, nanoseconds, seed } => {
                let (seconds, nanoseconds) = (seconds.to_le_bytes(), nanoseconds.to_le_bytes());
                encode(RESTORED, INIT, &[&seconds[..], &nanoseconds, seed].concat())
            }
            Self::Command(command, to) => to.encode(*command),
        }
    }
}

impl ToCommand {
    fn encode(&self, command: CommandId) -> Vec<u8> {
        match self {
            Self::Archive(bytes) => encode(ARCHIVE, command, bytes),
            Self::Order(bytes) => encode(ORDER, command, bytes),
            Self::Start => encode(START, command, &[]),
            Self::Stdin(bytes) => encode(STDIN, command, bytes),
            Self::StdinEnd => encode(STDIN_END, command, &[]),
            Self::Window { columns, rows } => {
                encode(WINDOW, command, &[columns.to_le_bytes(), rows.to_le_bytes()].concat())
            }
            Self::Written(count) => encode(WRITTEN, command, &count.to_le_bytes()),
            Self::HangUp => encode(HANG_UP, command, &[]),
        }
    }
}

/// Encodes a frame. Bytes beyond the longest frame are left out; no sender has more.
fn encode(kind: u8, command: CommandId, bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..MOST).unwrap_or(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    [&[kind][..], &command.to_le_bytes(), &length.to_le_bytes(), bytes].concat()
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
        while let Some((&[kind, low, high, a, b, c, d], after)) = rest.split_first_chunk::<HEADER>()
        {
            let length = u32::from_le_bytes([a, b, c, d]);
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            if !F::fits(kind, size) {
                return Err(Broken::of::<F>(kind, length));
            }
            let Some((payload, after)) = after.split_at_checked(size) else { break };
            let command = CommandId::from_le_bytes([low, high]);
            take(F::decode(kind, command, payload).ok_or(Broken::Length(kind, length))?);
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
