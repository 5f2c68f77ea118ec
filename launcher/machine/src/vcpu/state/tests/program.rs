//! The guest of the tests. In user mode it counts in a register, in memory and in an SSE register,
//! sends the count to COM1's loopback and reads it back, and compares all of them. COM1 has a queue,
//! so that an access that is made twice or not at all makes all later ones wrong. A difference ends
//! the guest (port 0x501). Meanwhile a timer interrupts it again and again.

use kvm_bindings::{kvm_lapic_state, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::boot::EntryPoint;
use crate::boot::start;
use crate::memory::Memory;

/// The address of the count.
pub(super) const COUNTER: u64 = 0x20_0000;
/// The address of the number of interrupts.
pub(super) const TICKS: u64 = 0x20_0008;

/// The guest's timer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// The local APIC's timer, with a deadline.
    Deadline,
    /// The local APIC's timer, with a counter.
    OneShot,
}

/// The main program, in user mode.
const USER: &[u8] = &[
    0x66, 0xba, 0xfc, 0x03, //                          mov dx, 0x3fc
    0xb0, 0x10, //                                      mov al, 0x10 (loopback)
    0xee, //                                            out dx, al
    0x66, 0xba, 0xf8, 0x03, //                          mov dx, 0x3f8
    0x48, 0xff, 0xc3, //                             1: inc rbx
    0x48, 0x89, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00, //  mov [COUNTER], rbx
    0x66, 0x48, 0x0f, 0x6e, 0xfb, //                    movq xmm7, rbx
    0x88, 0xd8, //                                      mov al, bl
    0xee, //                                            out dx, al
    0xec, //                                            in al, dx
    0x38, 0xd8, //                                      cmp al, bl
    0x75, 0x48, //                                      jne bad
    0x48, 0x89, 0x1c, 0x25, 0x00, 0x01, 0x20, 0x00, //  mov [0x200100], rbx
    0xbe, 0x00, 0x01, 0x20, 0x00, //                    mov esi, 0x200100
    0xb9, 0x08, 0x00, 0x00, 0x00, //                    mov ecx, 8
    0xf3, 0x6e, //                                      rep outsb
    0xbf, 0x00, 0x02, 0x20, 0x00, //                    mov edi, 0x200200
    0xb9, 0x08, 0x00, 0x00, 0x00, //                    mov ecx, 8
    0xec, //                                         2: in al, dx
    0xaa, //                                            stosb
    0xff, 0xc9, //                                      dec ecx
    0x75, 0xfa, //                                      jnz 2b
    0xb0, 0x02, //                                      mov al, 2
    0x48, 0x39, 0x1c, 0x25, 0x00, 0x02, 0x20, 0x00, //  cmp [0x200200], rbx
    0x75, 0x18, //                                      jne bad
    0xb0, 0x03, //                                      mov al, 3
    0x48, 0x39, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00, //  cmp [COUNTER], rbx
    0x75, 0x0c, //                                      jne bad
    0x66, 0x48, 0x0f, 0x7e, 0xf9, //                    movq rcx, xmm7
    0xb0, 0x04, //                                      mov al, 4
    0x48, 0x39, 0xd9, //                                cmp rcx, rbx
    0x74, 0xa0, //                                      je 1b
    0x66, 0xba, 0x01, 0x05, //                     bad: mov dx, 0x501
    0xee, //                                            out dx, al
    0xeb, 0xf9, //                                      jmp bad
];

/// The handler of the timer's interrupt, for [`Timer::Deadline`].
const DEADLINE: &[u8] = &[
    0x50, //                                            push rax
    0x51, //                                            push rcx
    0x52, //                                            push rdx
    0x48, 0xff, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00, //  inc qword ptr [TICKS]
    0xb8, 0xb0, 0x00, 0xe0, 0xfe, //                    mov eax, 0xfee000b0
    0xc7, 0x00, 0x00, 0x00, 0x00,
    0x00, //              mov dword ptr [rax], 0 (end of interrupt)
    0x0f, 0x31, //                                      rdtsc
    0x48, 0xc1, 0xe2, 0x20, //                          shl rdx, 32
    0x48, 0x09, 0xd0, //                                or rax, rdx
    0x48, 0x05, 0x40, 0x42, 0x0f, 0x00, //              add rax, 1000000
    0x48, 0x89, 0xc2, //                                mov rdx, rax
    0x48, 0xc1, 0xea, 0x20, //                          shr rdx, 32
    0xb9, 0xe0, 0x06, 0x00, 0x00, //                    mov ecx, 0x6e0 (IA32_TSC_DEADLINE)
    0x0f, 0x30, //                                      wrmsr
    0x5a, //                                            pop rdx
    0x59, //                                            pop rcx
    0x58, //                                            pop rax
    0x48, 0xcf, //                                      iretq
];

/// The handler of the timer's interrupt, for [`Timer::OneShot`].
const ONE_SHOT: &[u8] = &[
    0x50, //                                            push rax
    0x48, 0xff, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00, //  inc qword ptr [TICKS]
    0xb8, 0xb0, 0x00, 0xe0, 0xfe, //                    mov eax, 0xfee000b0
    0xc7, 0x00, 0x00, 0x00, 0x00,
    0x00, //              mov dword ptr [rax], 0 (end of interrupt)
    0xb8, 0x80, 0x03, 0xe0, 0xfe, //                    mov eax, 0xfee00380
    0xc7, 0x00, 0x20, 0xa1, 0x07,
    0x00, //              mov dword ptr [rax], 500000 (initial count)
    0x58, //                                            pop rax
    0x48, 0xcf, //                                      iretq
];

// Addresses.
const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
/// The task segment: 104 bytes, and a bit for each port (SDM 1, 19.5.2).
const TASK: u64 = 0x2_0000;
const TASK_LIMIT: u32 = 104 + 0x2000;
const PAGE_TABLES: u64 = 0x4000;
const KERNEL_STACK: u64 = 0xa000;
const CODE: u64 = 0x1_0000;
const HANDLER: u64 = 0x1_1000;

const KERNEL_CODE: u16 = 0x10;
const USER_DATA: u16 = 0x20 | 3;
const USER_CODE: u16 = 0x28 | 3;
const TASK_SELECTOR: u16 = 0x30;

/// The vector of the timer.
const VECTOR: u64 = 0x40;

/// The RFLAGS of user mode: interrupts on, and IOPL 3. Some hosts run user mode without IOPL, so that
/// the bits of the task segment count. QEMU's software CPU does not look at them when the segment is
/// busy, as that of a restored CPU is.
const FLAGS: u64 = 2 | 1 << 9 | 3 << 12;

/// CR4: SSE.
const OSFXSR: u64 = 1 << 9 | 1 << 10;

/// Write the program and all tables.
pub(super) fn write(memory: &Memory, timer: Timer) {
    let code = |place, code: &[u8]| memory.write_slice(code, GuestAddress(place)).unwrap();
    code(CODE, USER);
    code(
        HANDLER,
        match timer {
            Timer::Deadline => DEADLINE,
            Timer::OneShot => ONE_SHOT,
        },
    );
    let put = |place, value: u64| memory.write_obj(value, GuestAddress(place)).unwrap();
    // Null, unused, kernel code, kernel data, user data, user code, task.
    let descriptors = [
        0,
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        u64::from(TASK_LIMIT) | (TASK & 0xff_ffff) << 16 | 0x8b << 40,
        0,
    ];
    for (place, descriptor) in (GDT..).step_by(8).zip(descriptors) {
        put(place, descriptor);
    }
    // An interrupt gate: its offset in three parts, the selector, the type.
    let gate = HANDLER & 0xffff | u64::from(KERNEL_CODE) << 16 | 0x8e00 << 32;
    put(IDT + VECTOR * 16, gate | (HANDLER >> 16 & 0xffff) << 48);
    // The stack of the kernel (rsp0).
    put(TASK + 4, KERNEL_STACK);
    // The offset of the ports' bits. They are 0: user mode may use all ports.
    put(TASK + 102, 104);
    // 4 MiB for the user, at their place; and the local APIC, for the kernel.
    const PAGE: u64 = 0b111;
    let [pointers, low, high] = [1, 2, 3].map(|page| PAGE_TABLES + page * 0x1000);
    put(PAGE_TABLES, pointers | PAGE);
    put(pointers, low | PAGE);
    put(pointers + 3 * 8, high | PAGE);
    put(low, PAGE | 1 << 7);
    put(low + 8, PAGE | 1 << 7 | 0x20_0000);
    put(high + (0xfee0_0000 >> 21 & 511) * 8, 0xfee0_0000 | 0b1_0011 | 1 << 7);
}

/// Set the registers for the program's start.
pub(super) fn set_registers(vcpu: &VcpuFd, timer: Timer) {
    let mut sregs = start::sregs(vcpu.get_sregs().unwrap());
    let segment = |selector, type_| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 3,
        s: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment { db: 1, ..segment(USER_DATA, 3) };
    sregs.cs = kvm_segment { l: 1, ..segment(USER_CODE, 0xb) };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: TASK,
        limit: TASK_LIMIT,
        dpl: 0,
        s: 0,
        g: 0,
        ..segment(TASK_SELECTOR, 0xb)
    };
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 8 * 8 - 1);
    (sregs.idt.base, sregs.idt.limit) = (IDT, 0xfff);
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 |= OSFXSR;
    vcpu.set_sregs(&sregs).unwrap();
    let mut regs = start::regs(&EntryPoint { rip: CODE });
    regs.rflags = FLAGS;
    vcpu.set_regs(&regs).unwrap();
    vcpu.set_fpu(&start::fpu()).unwrap();
    vcpu.set_lapic(&lapic(vcpu.get_lapic().unwrap(), timer)).unwrap();
    if let Timer::Deadline = timer {
        let deadline = super::Msr { index: 0x6e0, value: 1 };
        super::msrs::set(vcpu, &[deadline], &vcpu.get_lapic().unwrap()).unwrap();
    }
}

/// The local APIC, enabled, with its timer about to expire.
fn lapic(mut lapic: kvm_lapic_state, timer: Timer) -> kvm_lapic_state {
    let mut put = |offset: usize, value: u64| {
        for (byte, new) in lapic.regs[offset..offset + 4].iter_mut().zip(value.to_le_bytes()) {
            *byte = new.cast_signed();
        }
    };
    put(0xf0, 0x1ff);
    // Divide by 1.
    put(0x3e0, 0b1011);
    match timer {
        Timer::Deadline => put(0x320, VECTOR | 2 << 17),
        Timer::OneShot => {
            put(0x320, VECTOR);
            put(0x380, 500_000);
        }
    }
    lapic
}
