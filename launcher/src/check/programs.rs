//! The programs with which [`super::probe`] tries a host's KVM: a few instructions each, which a
//! kernel uses, too, in 64-bit mode at privilege level 0. The build uses no assembler; hence the
//! programs are bytes.
//!
//! Each program writes to [`DONE`] when it completes. It starts with rdi at [`SCRATCH`], rsp at
//! [`STACK`], the breakpoint exception's gate leading to [`BREAKPOINT`], and everything else 0.

/// The port to which a program writes (e6 80) when it completes.
pub(super) const DONE: u16 = 0x80;

/// The parts in guest memory, above the tables of `machine::boot::start::write_tables`.
pub(super) const GATES: u64 = 0x3_0000;
pub(super) const CODE: u64 = 0x4_0000;
pub(super) const BREAKPOINT: u64 = 0x4_1000;
pub(super) const STACK: u64 = 0x5_0000;
pub(super) const SCRATCH: u64 = 0x6_0000;

/// A program that is tried.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) code: &'static [u8],
    /// The program completes with the second write to [`DONE`]; the time since the first write
    /// counts.
    pub(super) timed: bool,
    /// The program needs the CPU's XSAVE.
    pub(super) xsave: bool,
}

/// How many instructions [`SPEED`] times.
pub(super) const TIMED_INSTRUCTIONS: u32 = 3 * 10_000;

/// Measures how long an ordinary instruction takes.
pub(super) const SPEED: Program = Program {
    name: "speed",
    code: &[
        0xe6, 0x80, //                      out 0x80, al
        0xb9, 0x10, 0x27, 0x00, 0x00, //    mov ecx, 10000
        0x89, 0xc8, //                   1: mov eax, ecx
        0xff, 0xc9, //                      dec ecx
        0x75, 0xfa, //                      jnz 1b
        0xe6, 0x80, //                      out 0x80, al
        0xf4, //                            hlt
    ],
    timed: true,
    xsave: false,
};

/// Instructions that Linux needs while it starts, and that emulators of x86 tend to lack.
pub(super) const PROBES: [Program; 5] = [
    // Linux patches its own code with breakpoints, and tests that (int3_selftest).
    Program {
        name: "int3",
        code: &[
            0xcc, //                        int3
            0xf4, //                        hlt
        ],
        timed: false,
        xsave: false,
    },
    // The allocator's fast path (this_cpu_cmpxchg_double).
    Program {
        name: "cmpxchg16b",
        code: &[
            0x48, 0x0f, 0xc7, 0x0f, //      cmpxchg16b [rdi]
            0x75, 0x02, //                  jnz 1f
            0xe6, 0x80, //                  out 0x80, al
            0xf4, //                     1: hlt
        ],
        timed: false,
        xsave: false,
    },
    // Every switch between processes; on CPUs without XSAVE these two.
    Program {
        name: "fxsave, fxrstor",
        code: &[
            0x0f, 0xae, 0x07, //            fxsave [rdi]
            0x0f, 0xae, 0x0f, //            fxrstor [rdi]
            0xe6, 0x80, //                  out 0x80, al
            0xf4, //                        hlt
        ],
        timed: false,
        xsave: false,
    },
    Program {
        name: "xsave, xrstor",
        code: &[
            0xb8, 0x07, 0x00, 0x00, 0x00, //mov eax, 7
            0x31, 0xd2, //                  xor edx, edx
            0x0f, 0xae, 0x27, //            xsave [rdi]
            0x0f, 0xae, 0x2f, //            xrstor [rdi]
            0xe6, 0x80, //                  out 0x80, al
            0xf4, //                        hlt
        ],
        timed: false,
        xsave: true,
    },
    // The way back from every interrupt.
    Program {
        name: "iretq",
        code: &[
            0x48, 0x89, 0xe0, //            mov rax, rsp
            0x6a, 0x18, //                  push 0x18 (__BOOT_DS)
            0x50, //                        push rax
            0x9c, //                        pushfq
            0x6a, 0x10, //                  push 0x10 (__BOOT_CS)
            0x48, 0x8d, 0x0d, 0x04, 0x00, 0x00, 0x00, // lea rcx, [rip + 1f]
            0x51, //                        push rcx
            0x48, 0xcf, //                  iretq
            0xf4, //                        hlt
            0xe6, 0x80, //               1: out 0x80, al
            0xf4, //                        hlt
        ],
        timed: false,
        xsave: false,
    },
];

/// The code that the breakpoint exception leads to.
pub(super) const AT_BREAKPOINT: &[u8] = &[
    0xe6, 0x80, //                          out 0x80, al
    0xf4, //                                hlt
];
