//! The frames of an attached console, or of a command, in both directions: a byte for the kind, the length of the
//! payload (32 bits, little-endian), and the payload.

use std::io::{self, ErrorKind, Read, Write};

/// The longest payload that is accepted, in bytes. lguest sends at most 64 KiB.
const LONGEST: usize = 1 << 20;

/// The size in bytes of the kind and the length.
const HEADER: usize = 5;

/// The exit status of a client whose guest has ended.
pub const ENDED: u8 = 0;

/// A message on the connection of an attached client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleFrame {
    /// Output of the guest, to the client, or typed input, to the guest.
    Data(Vec<u8>),
    /// The number of bytes that were lost before the next frame, to the client.
    Dropped(u64),
    /// What a command wrote to its stderr, to the client.
    Stderr(Vec<u8>),
    /// The end of a command's input, to the guest.
    InputEnd,
    /// The size of the window, rows and columns, to the guest.
    Size(u16, u16),
    /// The last frame, to the client: the client's exit status, and the reason.
    End(u8, String),
}

/// The two encodings of a connection to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Frames, for `lguest console`.
    Frames,
    /// Plain bytes, as printed and typed, for a terminal or socat. Notices are lines between
    /// them.
    Plain,
}

impl Wire {
    /// Send a frame to the client.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn say(self, frame: &ConsoleFrame, mut stream: impl Write) -> io::Result<()> {
        match (self, frame) {
            (Self::Frames, frame) => frame.write_to(stream),
            (Self::Plain, ConsoleFrame::Data(bytes)) => stream.write_all(bytes),
            (Self::Plain, ConsoleFrame::Dropped(count)) => {
                // One write: the client sees the whole line, or nothing of it.
                let line = format!("\r\n[lguest: {count} bytes are lost]\r\n");
                stream.write_all(line.as_bytes())
            }
            // The end of the bytes says that the guest has ended.
            (Self::Plain, ConsoleFrame::End(0, _) | ConsoleFrame::Size(..)) => Ok(()),
            // A console has one output, and its input has no end.
            (Self::Plain, ConsoleFrame::Stderr(_) | ConsoleFrame::InputEnd) => Ok(()),
            (Self::Plain, ConsoleFrame::End(_, why)) => write!(stream, "\r\n[lguest: {why}]\r\n"),
        }
    }

    /// Receive the client's next frame. `None` if the client has left.
    ///
    /// # Errors
    /// When the connection fails, or the client sends a malformed frame (`InvalidData`).
    pub fn hear(self, mut stream: impl Read) -> io::Result<Option<ConsoleFrame>> {
        if self == Self::Frames {
            return ConsoleFrame::read_from(stream);
        }
        let mut keys = vec![0; 1 << 12];
        let count = stream.read(&mut keys)?;
        keys.truncate(count);
        Ok((count > 0).then_some(ConsoleFrame::Data(keys)))
    }
}

impl ConsoleFrame {
    /// Write the frame with one call.
    ///
    /// # Errors
    /// When the connection fails, or the payload has 4 GiB or more.
    pub fn write_to(&self, mut stream: impl Write) -> io::Result<()> {
        let mut bytes = vec![0; HEADER];
        let kind = match self {
            Self::Data(data) => {
                bytes.extend(data);
                b'd'
            }
            Self::Dropped(count) => {
                bytes.extend(count.to_le_bytes());
                b'l'
            }
            Self::Stderr(data) => {
                bytes.extend(data);
                b'r'
            }
            Self::InputEnd => b'i',
            Self::Size(rows, columns) => {
                bytes.extend(rows.to_le_bytes().iter().chain(&columns.to_le_bytes()));
                b's'
            }
            Self::End(status, why) => {
                bytes.push(*status);
                bytes.extend(why.as_bytes());
                b'e'
            }
        };
        let length = u32::try_from(bytes.len() - HEADER).map_err(io::Error::other)?;
        let header = [&[kind], length.to_le_bytes().as_slice()].concat();
        bytes.splice(..HEADER, header);
        // One write, so that frames of several threads do not mix.
        stream.write_all(&bytes)
    }

    /// Read the next frame. `None` at the end of the connection.
    ///
    /// # Errors
    /// When the connection fails or ends within a frame, or the frame is malformed (`InvalidData`).
    pub fn read_from(mut stream: impl Read) -> io::Result<Option<Self>> {
        let invalid = |what| io::Error::new(ErrorKind::InvalidData, what);
        let mut header = [0; HEADER];
        let mut filled = 0;
        while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match stream.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let [kind, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        if length > LONGEST {
            return Err(invalid("a frame that is too long"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        match (kind, payload.as_slice()) {
            (b'd', _) => Ok(Some(Self::Data(payload))),
            (b'r', _) => Ok(Some(Self::Stderr(payload))),
            (b'i', []) => Ok(Some(Self::InputEnd)),
            (b'l', bytes) => match bytes.try_into() {
                Ok(bytes) => Ok(Some(Self::Dropped(u64::from_le_bytes(bytes)))),
                Err(_) => Err(invalid("a count of another length")),
            },
            (b's', &[a, b, c, d]) => {
                Ok(Some(Self::Size(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))))
            }
            (b'e', [status, why @ ..]) => {
                Ok(Some(Self::End(*status, String::from_utf8_lossy(why).into_owned())))
            }
            _ => Err(invalid("a frame of no known kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frames = [
            ConsoleFrame::Data(b"some bytes\xff".to_vec()),
            ConsoleFrame::Data(Vec::new()),
            ConsoleFrame::Stderr(b"error".to_vec()),
            ConsoleFrame::InputEnd,
            ConsoleFrame::Dropped(u64::MAX),
            ConsoleFrame::Size(30, 100),
            ConsoleFrame::End(4, "why \u{20ac}".into()),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write_to(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        for frame in frames {
            assert_eq!(ConsoleFrame::read_from(&mut rest).unwrap(), Some(frame));
        }
        assert_eq!(ConsoleFrame::read_from(&mut rest).unwrap(), None);
    }

    #[test]
    fn a_malformed_frame_is_refused() {
        let header = |kind: u8, length: u32| [&[kind], length.to_le_bytes().as_slice()].concat();
        for bytes in [
            header(b'd', 1 << 30),
            [header(b'd', (1 << 20) + 1), vec![0; (1 << 20) + 1]].concat(),
            header(b'?', 0),
            [header(b's', 3), vec![0; 3]].concat(),
            [header(b'l', 4), vec![0; 4]].concat(),
            header(b'e', 0),
            [header(b'i', 1), vec![0]].concat(),
            header(b'd', 5),
            vec![b'd', 0],
        ] {
            let start = bytes.get(..9).unwrap_or(&bytes);
            assert!(ConsoleFrame::read_from(bytes.as_slice()).is_err(), "{start:?}...");
        }
    }
}
