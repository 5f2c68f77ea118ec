//! The formats in which kernels are packed. An [`UnpackReader`] reads the unpacked
//! bytes, so that no buffer has to hold the whole kernel: [`super::elf`] moves
//! them into guest memory piece by piece, and never asks for more than the ELF
//! header describes. For this reason, a decompression bomb costs nothing here.

use std::fmt;
use std::io::{self, BufRead, Read};

use liblzma::stream::Stream;

use super::lz4::LegacyDecoder;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// The gzip format (RFC 1952).
    Gzip,
    /// The .xz format.
    Xz,
    /// The .lzma format, the one before .xz. liblzma calls it "alone".
    Lzma,
    /// The bzip2 format.
    Bzip2,
    /// The legacy frame of lz4, which `lz4 -l` and the kernel's build write.
    Lz4Legacy,
    /// The frame format of lz4.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// The bytes with which a packed file begins (Linux: lib/decompress.c).
const MAGIC: [(Codec, &[u8]); 7] = [
    (Codec::Gzip, b"\x1f\x8b\x08"),
    (Codec::Xz, b"\xfd7zXZ\0"),
    // Properties lc=3 lp=0 pb=2, and a dictionary of at least 64 KiB.
    (Codec::Lzma, b"\x5d\0\0"),
    (Codec::Bzip2, b"BZh"),
    (Codec::Lz4Legacy, b"\x02\x21\x4c\x18"),
    (Codec::Lz4, b"\x04\x22\x4d\x18"),
    (Codec::Zstd, b"\x28\xb5\x2f\xfd"),
];

/// The largest amount of memory that liblzma may use, in bytes. It reserves a dictionary of the
/// size that the file asks for. Kernels are built with 32 to 128 MiB.
const LZMA_MEMORY: u64 = 1 << 30;

impl Codec {
    /// The format of a file that begins with `head`. `None` if it is not one of these.
    pub fn of(head: &[u8]) -> Option<Self> {
        MAGIC.iter().find(|(_, magic)| head.starts_with(magic)).map(|&(codec, _)| codec)
    }

    fn magic(self) -> &'static [u8] {
        MAGIC.iter().find(|&&(codec, _)| codec == self).map_or(b"", |&(_, magic)| magic)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Gzip => "gzip",
            Codec::Xz => "xz",
            Codec::Lzma => "lzma",
            Codec::Bzip2 => "bzip2",
            Codec::Lz4Legacy | Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        })
    }
}

/// A reader of the unpacked bytes of a packed stream.
pub struct UnpackReader<R: BufRead> {
    codec: Codec,
    /// `None` after the end.
    decoder: Option<Decoder<R>>,
}

impl<R: BufRead> UnpackReader<R> {
    /// Unpack the bytes of `packed`.
    ///
    /// # Errors
    /// When they do not begin with a header of `codec`.
    pub fn new(codec: Codec, packed: R) -> io::Result<Self> {
        Ok(Self { codec, decoder: Some(Decoder::new(codec, packed)?) })
    }
}

impl<R: BufRead> Read for UnpackReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.decoder = match self.decoder.take() {
                Some(ended) => next_member(self.codec, ended)?,
                None => None,
            };
        }
        Ok(0)
    }
}

/// The decoder of the next member, if one follows. Parallel compressors (pbzip2, pigz -i, zstd's
/// pzstd) write several members one after another. Any other bytes that follow are ignored: the
/// kernel's build appends the unpacked size, in four bytes.
fn next_member<R: BufRead>(codec: Codec, ended: Decoder<R>) -> io::Result<Option<Decoder<R>>> {
    let mut packed = ended.into_inner();
    let rest = packed.fill_buf()?;
    if rest.starts_with(codec.magic()) { Decoder::new(codec, packed).map(Some) } else { Ok(None) }
}

/// The decoder of one member of a packed stream. Each decoder stops right behind its member.
enum Decoder<R: BufRead> {
    Gzip(flate2::bufread::GzDecoder<R>),
    Xz(liblzma::bufread::XzDecoder<R>),
    Bzip2(bzip2::bufread::BzDecoder<R>),
    Lz4Legacy(LegacyDecoder<R>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    fn new(codec: Codec, packed: R) -> io::Result<Self> {
        Ok(match codec {
            Codec::Gzip => Self::Gzip(flate2::bufread::GzDecoder::new(packed)),
            Codec::Xz => {
                let stream = Stream::new_stream_decoder(LZMA_MEMORY, 0)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Codec::Lzma => {
                let stream = Stream::new_lzma_decoder(LZMA_MEMORY)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Codec::Bzip2 => Self::Bzip2(bzip2::bufread::BzDecoder::new(packed)),
            Codec::Lz4Legacy => Self::Lz4Legacy(LegacyDecoder::new(packed)),
            Codec::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(packed))),
            Codec::Zstd => {
                Self::Zstd(zstd::stream::read::Decoder::with_buffer(packed)?.single_frame())
            }
        })
    }

    fn into_inner(self) -> R {
        match self {
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Xz(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Lz4Legacy(decoder) => decoder.into_inner(),
            Self::Lz4(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Lz4Legacy(decoder) => decoder.read(buffer),
            Self::Lz4(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
