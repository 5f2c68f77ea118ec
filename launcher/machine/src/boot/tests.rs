//! Shared by the boot tests: a guest's memory, and small kernels of each format.

mod files;
mod guest;
mod real;
mod words;

use std::ffi::OsString;
use std::io::Write;

use linux_loader::bootparam::{XLF_KERNEL_64, boot_params, setup_header};
use linux_loader::elf::{
    ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_EXEC, Elf64_Ehdr, Elf64_Phdr, PT_LOAD,
};
use tempfile::{NamedTempFile, TempPath};
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::file::NamedFile;
use super::layout::BOOT_PARAMS;
use super::progress::unwatched;
use super::unpack::Codec;
use super::{BootRequest, EntryPoint, KernelVerbosity, load};
use crate::memory::{Memory, Ram};

const MIB: u64 = 1 << 20;

/// The address of the small kernel's first segment.
const TEXT: u64 = 16 * MIB;
/// The address of the small kernel's second segment.
const DATA: u64 = 20 * MIB;

/// Numbers without a pattern, the same at every run (xorshift).
fn random() -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// The program of the small kernel: compressors halve it, and it still fills
/// several pieces and blocks.
fn text() -> Vec<u8> {
    let mut random = random();
    (0..100_000).flat_map(|_| (random() & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes()).collect()
}

/// An ELF kernel with two segments, of which the second has 4 KiB more memory
/// than bytes.
fn elf() -> Vec<u8> {
    let (text, data) = (text(), b"the data".to_vec());
    let header = Elf64_Ehdr {
        e_ident: [0x7f, b'E', b'L', b'F', ELFCLASS64, ELFDATA2LSB, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        e_type: ET_EXEC,
        e_machine: EM_X86_64,
        e_entry: TEXT + 64,
        e_phoff: 64,
        e_phentsize: 56,
        e_phnum: 2,
        ..Default::default()
    };
    let segment = |offset: usize, address: u64, bytes: &[u8], bss: u64| Elf64_Phdr {
        p_type: PT_LOAD,
        p_offset: offset as u64,
        p_paddr: address,
        p_filesz: bytes.len() as u64,
        p_memsz: bytes.len() as u64 + bss,
        ..Default::default()
    };
    let data_offset = 4096 + text.len();
    let mut file = header.as_slice().to_vec();
    // The file has the segments in the other order than the headers.
    file.extend(segment(data_offset, DATA, &data, 4096).as_slice());
    file.extend(segment(4096, TEXT, &text, 0).as_slice());
    file.resize(4096, 0);
    file.extend(text);
    file.extend(data);
    file
}

/// A bzImage around `payload`, as the kernel's build makes it: one more sector
/// of setup code, some code before the payload, the entry at 0x200.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let code_before = 0x400_usize;
    let mut code = vec![0x90; code_before];
    code.extend(payload);
    code.resize(code.len().next_multiple_of(16), 0xcc);
    let header = setup_header {
        setup_sects: 1,
        syssize: u32::try_from(code.len() / 16).unwrap(),
        boot_flag: 0xaa55,
        jump: 0x6aeb,
        header: u32::from_le_bytes(*b"HdrS"),
        version: 0x20f,
        loadflags: 1,
        initrd_addr_max: 0x7fff_ffff,
        kernel_alignment: 0x20_0000,
        relocatable_kernel: 1,
        xloadflags: XLF_KERNEL_64,
        cmdline_size: 2047,
        payload_offset: u32::try_from(code_before).unwrap(),
        payload_length: u32::try_from(payload.len()).unwrap(),
        pref_address: TEXT,
        init_size: u32::try_from(8 * MIB).unwrap(),
        ..Default::default()
    };
    let mut file = vec![0; 0x1f1];
    file.extend(header.as_slice());
    file.resize(1024, 0);
    file.extend(code);
    file
}

const CODECS: [Codec; 7] =
    [Codec::Gzip, Codec::Xz, Codec::Lzma, Codec::Bzip2, Codec::Lz4Legacy, Codec::Lz4, Codec::Zstd];

fn pack(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    use liblzma::stream::{LzmaOptions, Stream};
    let finished = |mut encoder: liblzma::write::XzEncoder<Vec<u8>>| {
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    match codec {
        Codec::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Xz => finished(liblzma::write::XzEncoder::new(Vec::new(), 0)),
        Codec::Lzma => {
            let options = LzmaOptions::new_preset(0).unwrap();
            let stream = Stream::new_lzma_encoder(&options).unwrap();
            finished(liblzma::write::XzEncoder::new_stream(Vec::new(), stream))
        }
        Codec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Lz4Legacy => {
            let mut packed = b"\x02\x21\x4c\x18".to_vec();
            for block in bytes.chunks(8 << 20) {
                let block = lz4_flex::block::compress(block);
                packed.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
                packed.extend(block);
            }
            packed
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

/// A payload as the kernel's build packs it: with the unpacked size behind it.
fn payload(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut packed = pack(codec, bytes);
    packed.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    packed
}

fn file(bytes: &[u8]) -> TempPath {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file.into_temp_path()
}

fn ram(mib: u64) -> Ram {
    Ram::new(mib * MIB).unwrap()
}

/// The result of loading a kernel, initrds and words, and the guest's memory afterwards.
struct Start {
    ram: Ram,
    result: Result<EntryPoint, String>,
}

/// A request for this kernel without initrds and words.
fn request(kernel: &NamedFile) -> BootRequest<'_> {
    BootRequest {
        kernel,
        initrds: &[],
        arguments: &[],
        serial: false,
        verbosity: KernelVerbosity::Quiet,
        addresses: Vec::new(),
        more: Vec::new(),
    }
}

impl Start {
    fn of(kernel: &[u8]) -> Self {
        Self::with(kernel, &[], &[], 64)
    }

    fn with(kernel: &[u8], initrds: &[&[u8]], words: &[&str], mib: u64) -> Self {
        let kernel = file(kernel);
        let initrds: Vec<TempPath> = initrds.iter().map(|bytes| file(bytes)).collect();
        let initrds: Vec<_> = initrds.iter().map(|path| NamedFile::new(path, unwatched)).collect();
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let kernel = NamedFile::new(&kernel, unwatched);
        let request = BootRequest { initrds: &initrds, arguments: &arguments, ..request(&kernel) };
        let ram = ram(mib);
        let result = load(&request, ram.memory()).map_err(|error| format!("{error:#}"));
        Self { ram, result }
    }

    fn memory(&self) -> &Memory {
        self.ram.memory()
    }

    fn entry(&self) -> u64 {
        self.result.as_ref().unwrap().rip
    }

    fn error(&self) -> &str {
        self.result.as_ref().unwrap_err()
    }

    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory().read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    fn params(&self) -> boot_params {
        self.memory().read_obj(GuestAddress(BOOT_PARAMS)).unwrap()
    }

    fn line(&self) -> String {
        let address = self.params().hdr.cmd_line_ptr;
        let bytes = self.bytes(u64::from(address), 4096);
        let length = bytes.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn has_the_small_kernel(&self) -> bool {
        self.entry() == TEXT + 64
            && self.bytes(TEXT, text().len()) == text()
            && self.bytes(DATA, 16) == b"the data\0\0\0\0\0\0\0\0"
    }
}
