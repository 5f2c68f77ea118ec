//! lz4's legacy frame, the one that Linux packs kernels in: a magic number, and
//! then blocks, each after its length, until the file ends. lz4_flex unpacks
//! one block.
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md#legacy-frame>

use std::io::{self, BufRead, Read};

use devices::number::index;

/// The magic number before the first block. In joined files, it is also before other blocks.
const MAGIC: usize = 0x184c_2102;

/// The unpacked size in bytes of each block but the last.
const BLOCK: usize = 8 << 20;

/// The length in bytes of the longest packed block (lz4's LZ4_COMPRESSBOUND).
const PACKED_BLOCK: usize = BLOCK + BLOCK / 255 + 16;

/// A reader of the unpacked bytes of a legacy frame.
pub(super) struct LegacyDecoder<R> {
    packed: R,
    /// The block that is being read, packed and unpacked.
    input: Vec<u8>,
    output: Vec<u8>,
    /// The number of bytes in `output` that are filled.
    filled: usize,
    /// The number of bytes in `output` that were read.
    taken: usize,
}

impl<R: BufRead> LegacyDecoder<R> {
    pub(super) fn new(packed: R) -> Self {
        let (input, output) = (Vec::new(), Vec::new());
        Self { packed, input, output, filled: 0, taken: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.packed
    }

    /// Unpack the next block. Returns false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        self.output.resize(BLOCK, 0);
        let mut length = self.block_length()?;
        while length == Some(MAGIC) {
            length = self.block_length()?;
        }
        let Some(length) = length else { return Ok(false) };
        // An impossible length, or one without a block, is what the kernel's
        // build appended: the unpacked size, the last four bytes.
        let last_bytes = self.packed.fill_buf()?.is_empty();
        if last_bytes || length == 0 {
            return Ok(false);
        }
        if length > PACKED_BLOCK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "corrupt lz4 block length"));
        }
        self.input.resize(length, 0);
        self.packed.read_exact(&mut self.input)?;
        self.filled = lz4_flex::block::decompress_into(&self.input, &mut self.output)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        self.taken = 0;
        Ok(true)
    }

    /// Read the length of the next block. `None` at the end of the file.
    fn block_length(&mut self) -> io::Result<Option<usize>> {
        let mut bytes = [0; 4];
        let mut filled = 0;
        while let Some(missing @ [_, ..]) = bytes.get_mut(filled..) {
            match self.packed.read(missing)? {
                0 => return Ok(None),
                count => filled += count,
            }
        }
        Ok(Some(index(u32::from_le_bytes(bytes))))
    }
}

impl<R: BufRead> Read for LegacyDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.filled {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let ready = self.output.get(self.taken..self.filled).unwrap_or_default();
        let count = io::Read::read(&mut &*ready, buffer)?;
        self.taken += count;
        Ok(count)
    }
}
