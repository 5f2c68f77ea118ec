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
    const IOPERM: u32 = 173;
    let mut code = system_call(IOPERM, &[port.into(), 1, 1]);
    code.extend(write_port(port, byte));
    code.extend(system_call(EXIT, &[0]));
    elf(PROGRAM_ADDRESS, &code)
}

/// A program for Linux that zeroes a part of the file that is open as its descriptor 3. With
/// `unmap`, the host may punch a hole for that.
#[must_use]
pub fn zero_program(offset: u32, length: u32, unmap: bool) -> Vec<u8> {
    const FALLOCATE: u32 = 285;
    const KEEP_SIZE: u32 = 1;
    let mode = KEEP_SIZE | if unmap { 2 } else { 16 };
    let mut code = system_call(FALLOCATE, &[3, mode, offset, length]);
    code.extend(system_call(EXIT, &[0]));
    elf(PROGRAM_ADDRESS, &code)
}

/// A program for Linux that starts another kernel by kexec_file_load(2) and reboot(2). The kernel
/// is open as descriptor 3, the initial file system as descriptor 4.
#[must_use]
pub fn kexec_program(command_line: &str) -> Vec<u8> {
    const KEXEC_FILE_LOAD: u32 = 320;
    const REBOOT: u32 = 169;
    const MAGIC: [u32; 3] = [0xfee1_dead, 0x2812_1969, 0x4558_4543];
    let length = u32::try_from(command_line.len() + 1).unwrap_or(0);
    let program = |text: u32| {
        let load = system_call(KEXEC_FILE_LOAD, &[3, 4, length, text, 0]);
        [load, system_call(REBOOT, &MAGIC), system_call(EXIT, &[0])].concat()
    };
    // The text is behind the code. The length of the code does not depend on the addresses in it.
    let start = u64::from(HEADER + PROGRAM_HEADER) + PROGRAM_ADDRESS;
    let text = u32::try_from(start).unwrap_or(0) + u32::try_from(program(0).len()).unwrap_or(0);
    elf(PROGRAM_ADDRESS, &[&program(text)[..], command_line.as_bytes(), &[0]].concat())
}

const EXIT: u32 = 60;

/// The code of a system call with up to five arguments. If the call fails, the program exits with
/// the error's number as its status.
fn system_call(number: u32, arguments: &[u32]) -> Vec<u8> {
    // mov edi, esi, edx, r10d, r8d: NUMBER
    const REGISTERS: [&[u8]; 5] = [&[0xbf], &[0xbe], &[0xba], &[0x41, 0xba], &[0x41, 0xb8]];
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    for (register, argument) in REGISTERS.iter().zip(arguments) {
        code.extend(*register);
        code.extend(argument.to_le_bytes());
    }
    // syscall; test eax, eax; jns 1f; neg eax; mov edi, eax; mov eax, EXIT; syscall; 1:
    code.extend([0x0f, 0x05, 0x85, 0xc0, 0x79, 11, 0xf7, 0xd8, 0x89, 0xc7, 0xb8]);
    code.extend(EXIT.to_le_bytes());
    code.extend([0x0f, 0x05]);
    code
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
