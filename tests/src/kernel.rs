//! Kernels and programs of a few instructions, for guests that do one thing.

/// Where a kernel of ours is loaded.
const KERNEL_ADDRESS: u64 = 16 << 20;
/// Where a program of ours is loaded.
const PROGRAM_ADDRESS: u64 = 4 << 20;

const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// A kernel that hangs, with interrupts off, at full speed: `cli; jmp .`
#[must_use]
pub fn spinning() -> Vec<u8> {
    elf(KERNEL_ADDRESS, &[0xfa, 0xeb, 0xfe])
}

/// A kernel that hangs, with interrupts off, asleep: `cli; 1: hlt; jmp 1b`
#[must_use]
pub fn halted() -> Vec<u8> {
    elf(KERNEL_ADDRESS, &[0xfa, 0xf4, 0xeb, 0xfd])
}

/// A program for Linux that writes a byte to a port.
#[must_use]
pub fn port_program(port: u16, byte: u8) -> Vec<u8> {
    const IOPERM: u8 = 173;
    const EXIT: u8 = 60;
    let [low, high] = port.to_le_bytes();
    // ioperm(port, 1, 1); out; exit(0)
    let mut code = vec![0xb8, IOPERM, 0, 0, 0, 0xbf, low, high, 0, 0];
    code.extend([0xbe, 1, 0, 0, 0, 0xba, 1, 0, 0, 0, 0x0f, 0x05]);
    code.extend(write_port(port, byte));
    code.extend([0xb8, EXIT, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    elf(PROGRAM_ADDRESS, &code)
}

/// `mov dx, PORT; mov al, BYTE; out dx, al`
fn write_port(port: u16, byte: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x66, 0xba, low, high, 0xb0, byte, 0xee]
}

/// An ELF file of one segment that starts at its first instruction.
fn elf(address: u64, code: &[u8]) -> Vec<u8> {
    let offset = HEADER + PROGRAM_HEADER;
    let entry = address + u64::from(offset);
    let size = u64::from(offset) + code.len() as u64;
    let mut file = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let mut half = |value: u16| value.to_le_bytes().to_vec();
    let (executable, x86_64) = (half(2), half(62));
    let rest = [HEADER, PROGRAM_HEADER, 1, 0, 0, 0].map(&mut half).concat();
    file.extend([executable, x86_64, 1u32.to_le_bytes().to_vec()].concat());
    file.extend([entry, u64::from(HEADER), 0].map(u64::to_le_bytes).concat());
    file.extend(0u32.to_le_bytes());
    file.extend(rest);
    // One segment, the whole file: readable, executable, loaded.
    file.extend([1u32, 5].map(u32::to_le_bytes).concat());
    let alignment = 4096;
    file.extend([0, address, address, size, size, alignment].map(u64::to_le_bytes).concat());
    file.extend(code);
    file
}
