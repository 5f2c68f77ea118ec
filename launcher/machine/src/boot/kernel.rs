//! An opened kernel file of any format: a reader of the ELF file inside, or the bzImage around
//! it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::bzimage::SetupHeader;
use super::elf::{self, ElfFile, ElfStream, Loaded};
use super::file::{self, NamedFile};
use super::image::{self, HEAD, KernelFormat};
use super::progress::{BeginReport, ReportingReader};
use super::unpack::{Codec, UnpackReader};
use crate::memory::Memory;

/// The size in bytes of the pieces in which packed files are read.
const PIECE: usize = 256 << 10;

/// The size in bytes of the largest bzImage. (Distribution kernels have 5 to 15 MiB.)
const LARGEST_BZIMAGE: u64 = 512 << 20;

/// A reader of an ELF file that is unpacked on the way.
pub(super) type PackedElf = Box<dyn Read>;

/// A file whose format is that of a kernel.
pub(super) enum Kernel {
    Elf(ElfFile),
    Packed(Codec, PackedElf),
    BzImage(File, SetupHeader, BeginReport),
}

impl Kernel {
    /// Open a kernel file.
    ///
    /// # Errors
    /// When the file cannot be opened, or is not a kernel for this machine.
    pub(super) fn open(file: &NamedFile) -> Result<Self> {
        let watch = file.watch;
        let mut file = file.open()?;
        let head = file::head(&mut file, HEAD)?;
        file.rewind().context("reading it")?;
        match image::identify(&head)? {
            KernelFormat::Elf => {
                let mut elf = ElfFile { file, watch };
                elf::check_complete(&mut elf)?;
                elf.file.rewind().context("reading it")?;
                Ok(Self::Elf(elf))
            }
            KernelFormat::BzImage(setup) => Self::bzimage(file, setup, watch),
            KernelFormat::Packed(codec) => Self::packed(file, codec, watch),
        }
    }

    fn bzimage(file: File, setup: SetupHeader, watch: BeginReport) -> Result<Self> {
        setup.check_length(file.metadata().context("reading its size")?.len())?;
        Ok(Self::BzImage(file, setup, watch))
    }

    fn packed(file: File, codec: Codec, watch: BeginReport) -> Result<Self> {
        let damaged = || format!("unpacking it ({codec}): is the file complete?");
        let length = file.metadata().context("reading its size")?.len();
        let packed = BufReader::with_capacity(PIECE, watched(file, length, watch));
        let mut bytes = UnpackReader::new(codec, packed).with_context(damaged)?;
        let head = file::head(&mut bytes, HEAD).with_context(damaged)?;
        let inside = image::identify(&head).with_context(|| format!("inside ({codec})"))?;
        let mut bytes = Cursor::new(head).chain(bytes);
        match inside {
            KernelFormat::Elf => Ok(Self::Packed(codec, Box::new(bytes))),
            KernelFormat::BzImage(setup) => {
                let mut file = memory_file().context("memory for unpacking it")?;
                let length = io::copy(&mut bytes.by_ref().take(LARGEST_BZIMAGE), &mut file)
                    .with_context(damaged)?;
                ensure!(length < LARGEST_BZIMAGE, "inside ({codec}): larger than any kernel");
                Self::bzimage(file, setup, watch)
            }
            KernelFormat::Packed(twice) => {
                bail!("packed twice, {twice} in {codec}: unpack it once")
            }
        }
    }

    /// The setup header of the bzImage. `None` if the file is not a bzImage.
    pub(super) fn setup(&self) -> Option<SetupHeader> {
        match self {
            Self::Elf(_) | Self::Packed(..) => None,
            Self::BzImage(_, setup, _) => Some(*setup),
        }
    }

    /// Put the kernel into guest memory.
    ///
    /// # Errors
    /// When the kernel does not fit, or the file is damaged.
    pub(super) fn load(self, memory: &Memory) -> Result<Loaded> {
        match self {
            Self::Elf(mut plain) => elf::load(&mut plain, memory),
            Self::Packed(codec, bytes) => load_packed(codec, bytes, memory),
            Self::BzImage(mut file, setup, watch) => load_bzimage(&mut file, &setup, watch, memory),
        }
    }
}

/// Create a file in memory, without a name.
fn memory_file() -> Result<File> {
    Ok(File::from(memfd_create(c"kernel", MFdFlags::MFD_CLOEXEC)?))
}

fn load_packed(codec: Codec, bytes: PackedElf, memory: &Memory) -> Result<Loaded> {
    let start = Instant::now();
    let mut stream = ElfStream::new(bytes, memory);
    let loaded = elf::load(&mut stream, memory)?;
    stream.finish().with_context(|| format!("unpacking it ({codec}): is the file complete?"))?;
    log::info!(
        "kernel: {} MiB unpacked ({codec}) in {} ms",
        stream.position() >> 20,
        start.elapsed().as_millis()
    );
    Ok(loaded)
}

/// Load the kernel inside a bzImage, or else the bzImage as it is.
fn load_bzimage(
    file: &mut File,
    setup: &SetupHeader,
    watch: BeginReport,
    memory: &Memory,
) -> Result<Loaded> {
    let direct = match payload(file, setup, watch) {
        Ok((Some(codec), bytes)) => load_packed(codec, bytes, memory),
        Ok((None, bytes)) => elf::load(&mut ElfStream::new(bytes, memory), memory),
        Err(error) => Err(error),
    };
    match direct {
        // If lguest cannot read or unpack the payload, the guest cannot either, and its error
        // would not be visible.
        Err(error) if !error.chain().any(|cause| cause.is::<io::Error>()) => {
            log::info!("kernel: cannot be started directly ({error:#}): the guest unpacks it");
            setup.load(file, memory)
        }
        other => other,
    }
}

fn watched<R: Read>(packed: R, length: u64, watch: BeginReport) -> ReportingReader<R> {
    ReportingReader::new(packed, watch("kernel", length))
}

/// A reader of the ELF file inside a bzImage, and the format in which it is packed.
pub(super) fn payload(
    file: &File,
    setup: &SetupHeader,
    watch: BeginReport,
) -> Result<(Option<Codec>, PackedElf)> {
    let range = setup.payload();
    let mut file = file.try_clone().context("reading it")?;
    file.seek(SeekFrom::Start(range.start)).context("reading it")?;
    let length = range.end - range.start;
    let mut packed = BufReader::with_capacity(PIECE, watched(file.take(length), length, watch));
    let head = packed.fill_buf().context("reading it")?;
    if head.starts_with(elf::MAGIC) {
        return Ok((None, Box::new(packed)));
    }
    let Some(codec) = Codec::of(head) else {
        let magic = head.get(..4).unwrap_or_default();
        bail!("its payload is packed in a way that lguest does not know, magic {magic:02x?}");
    };
    let bytes =
        UnpackReader::new(codec, packed).with_context(|| format!("unpacking it ({codec})"))?;
    Ok((Some(codec), Box::new(bytes)))
}
