// The part that runs in kernel mode. It is as short as possible, because some hosts emulate it
// instruction by instruction (a host without hardware virtualization takes about 2 us for each, and
// knows only the common ones). All tables are prebuilt. The guest enters user mode at once, and leaves
// it only for interrupts, faults, and the few functions that `kernel_call` is given.

    .set KERNEL_CODE, 0x10
    .set KERNEL_DATA, 0x18
    .set USER_DATA, 0x20 | 3
    .set USER_CODE, 0x28 | 3
    .set TASK, 0x30
    .set SECOND_TASK, 0x40

    .set FLAGS_USER, 0x202          // interrupts on
    .set FLAGS_FAULT, 0x002         // interrupts off
    .set FLAG_INTERRUPT, 0x200

// --- The entry: 64-bit mode, CPL 0, interrupts off, rsi = zero page ---------
// (Documentation/arch/x86/boot.rst, "64-bit boot protocol")

    .text
    .globl start
start:
    lea rsp, [rip + kernel_stack_end]
    lgdt [rip + gdt_register]
    lidt [rip + idt_register]
    lea rax, [rip + pml4]
    mov cr3, rax
    mov eax, KERNEL_DATA
    mov ss, eax
    mov eax, TASK
    ltr ax

    mov rax, cr0
    and rax, ~(1 << 2)              // no emulation of the FPU:
    or rax, 1 << 1                  // the compiler uses SSE freely
    mov cr0, rax
    mov rax, cr4
    or rax, (1 << 9) | (1 << 10)    // OSFXSR, OSXMMEXCPT
    mov cr4, rax

    mov rdi, rsi
    push USER_DATA
    lea rax, [rip + user_stack_end - 8] // as after a call: 8 off a multiple of 16
    push rax
    push FLAGS_USER
    push USER_CODE
    lea rax, [rip + {main}]
    push rax
    iretq

// --- The second CPU: real mode, at the page that it was sent to (second.rs) ---
// (SDM 3A, 9.4.4.) The first CPU copies this code there; all addresses are absolute.

    .code16
    .balign 8
second_start:
    jmp 2f
    .balign 8
    .word gdt_end - gdt - 1
    .long gdt
2:  lgdtd [{second_page} + 8]
    mov eax, (1 << 5) | (1 << 9) | (1 << 10)    // PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, 0xc0000080             // EFER
    mov eax, 1 << 8                 // LME
    xor edx, edx
    wrmsr
    mov eax, 0x80000013             // PG, ET, MP, PE
    mov cr0, eax
    .byte 0x66, 0xea                // a far jump with an offset of 32 bits
    .long second_in_long_mode
    .word KERNEL_CODE
    .code64

// copy_second_start(): runs in user mode, with the calling convention of C.
    .globl copy_second_start
copy_second_start:
    lea rsi, [rip + second_start]
    mov edi, {second_page}
    mov ecx, 128                    // all of it, and something behind
    rep movsb
    ret

second_in_long_mode:
    mov eax, KERNEL_DATA
    mov ss, eax
    lea rsp, [rip + second_kernel_stack_end]
    lidt [rip + idt_register]
    mov eax, SECOND_TASK
    ltr ax
    push USER_DATA
    lea rax, [rip + second_user_stack_end - 8]
    push rax
    push FLAGS_FAULT                // it is never interrupted
    push USER_CODE
    lea rax, [rip + {second_main}]
    push rax
    iretq

// --- Interrupts and exceptions: 16 bytes each, at an address that the --------
// --- descriptors below can be computed from --------------------------------

    .section .vectors, "ax"
    .globl vectors
vectors:
    // Exceptions without an error code: 0 takes its place.
    .irp number, 0, 1, 2, 3, 4, 5
    .balign 16
    push 0
    push \number
    jmp fault
    .endr

    .balign 16
    jmp invalid_opcode              // 6

    .balign 16
    push 0
    push 7
    jmp fault

    .balign 16
    push 8                          // double fault: error code
    jmp fault

    .balign 16
    push 0
    push 9
    jmp fault

    // Exceptions with an error code: invalid TSS, segment not present, stack, general protection, page.
    .irp number, 10, 11, 12, 13, 14
    .balign 16
    push \number
    jmp fault
    .endr

    .irp number, 15, 16
    .balign 16
    push 0
    push \number
    jmp fault
    .endr

    .balign 16
    push 17                         // alignment check: error code
    jmp fault

    // Up to 31: exceptions that Intel and AMD may add. If one has an error code, its report is shifted
    // by one field, which is noticeable enough. Up to 47: interrupts that the guest has not requested.
    .irp number, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    .balign 16
    push 0
    push \number
    jmp fault
    .endr
    .irp number, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47
    .balign 16
    push 0
    push \number
    jmp fault
    .endr

    // The vectors that drivers use (interrupts.rs).
    .irp number, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63
    .balign 16
    inc qword ptr [{counts} + 8 * \number]
    jmp end_of_interrupt
    .endr

    .text
end_of_interrupt:
    inc qword ptr [{total}]
    push rax
    mov eax, 0xfee000b0             // the local APIC's EOI register (SDM 3A, 11.8.5)
    mov dword ptr [rax], 0
    pop rax
    iretq

// --- From user mode into kernel mode and back --------------------------------

// kernel_call(function, argument): `ud2` is the only entry to kernel mode that every host supports.
    .globl kernel_call
kernel_call:
    mov rax, rdi
    mov rdi, rsi
kernel_call_instruction:
    ud2
    ret

invalid_opcode:
    cmp qword ptr [rsp], offset kernel_call_instruction
    jne 2f
    add qword ptr [rsp], 2          // behind the ud2
    call rax
    iretq
2:  push 0
    push 6
    jmp fault

// The functions for kernel_call. They are in assembly, because a compiler would use instructions that
// some hosts do not emulate.

// halt_unless_new(total): sleeps until an interrupt, unless one has come since the caller read the
// total. Interrupts are off on entry, and sti keeps them off until the hlt has begun, so that none is
// lost in between.
    .globl halt_unless_new
halt_unless_new:
    cmp qword ptr [{total}], rdi
    jne 2f
    sti
    hlt
    cli
2:  ret

    .globl halt_forever
halt_forever:
    cli
2:  hlt
    jmp 2b

// interrupts_off(): clears the interrupt flag in the flags that the caller gets back. The stack has our
// return address, then rip, cs, rflags.
    .globl interrupts_off
interrupts_off:
    and qword ptr [rsp + 24], ~FLAG_INTERRUPT
    ret

// load_idt_and_fault(address of limit and base): a fault that the processor cannot deliver becomes a
// triple fault.
    .globl load_idt_and_fault
load_idt_and_fault:
    lidt [rdi]
    ud2

// cannot_be_emulated(address without memory): an instruction that KVM's emulator does not have. A
// processor executes it, and then jumps to an address without instructions, where KVM tries to
// emulate.
    .globl cannot_be_emulated
cannot_be_emulated:
    cmpxchg16b [rip + scratch]
    jmp rdi

// --- Faults -------------------------------------------------------------------

// The stack has: vector, error code, rip, cs, rflags, rsp, ss. Record them, and return to user mode, to
// the function that reports them.
fault:
    cmp qword ptr [{fault_count}], 0
    jne fault_in_fault
    inc qword ptr [{fault_count}]
    pop qword ptr [{fault}]
    pop qword ptr [{fault} + 8]
    pop qword ptr [{fault} + 16]
    pop qword ptr [{fault} + 24]
    pop qword ptr [{fault} + 32]
    pop qword ptr [{fault} + 40]
    mov rax, cr2
    mov qword ptr [{fault} + 48], rax
    push USER_DATA
    lea rax, [rip + fault_stack_end - 8]
    push rax
    push FLAGS_FAULT
    push USER_CODE
    lea rax, [rip + {report_fault}]
    push rax
    iretq

// A fault during the report of a fault ends the guest.
fault_in_fault:
    mov dx, {exit_port}
    mov al, {exit_faulted}
    out dx, al
    jmp halt_forever

// --- Tables ------------------------------------------------------------------

    .section .tss, "aw"
    .globl task_state
task_state:                         // SDM 3A, 8.7
    .long 0
    .quad kernel_stack_end
    .zero 90
    .word permissions - task_state
// User mode may use every port (SDM 1, 19.5.2). IOPL would not suffice, because user mode runs without
// it on hosts without hardware virtualization.
permissions:
    .zero 65536 / 8
    .byte 0xff
task_state_end:
    .set TASK_LIMIT, 104 + 8192     // of its last byte

// The task state segment of the second CPU, without ports.
    .balign 128
    .globl second_task_state
second_task_state:
    .long 0
    .quad second_kernel_stack_end
    .zero 90
    .word 104

    .data
    .balign 16
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff        // 0x10: kernel code, the selector of Linux's boot protocol
    .quad 0x00cf93000000ffff        // 0x18: kernel data
    .quad 0x00cff3000000ffff        // 0x20: user data
    .quad 0x00affb000000ffff        // 0x28: user code
    .quad 0x0000892000000000 + TASK_LIMIT, 0    // 0x30: task state at 0x200000
    .quad 0x0000892020800000 + 103, 0           // 0x40: the second CPU's, at 0x202080
gdt_end:

    .balign 16
idt:
    .set vector_low, 0              // the vectors begin at 0x100000
    .rept 64
    .word vector_low, KERNEL_CODE
    .byte 0, 0x8e                   // interrupt gate, DPL 0
    .word 0x0010
    .long 0, 0
    .set vector_low, vector_low + 16
    .endr
idt_end:

    .balign 8
gdt_register:
    .word gdt_end - gdt - 1
    .quad gdt
    .balign 8
idt_register:
    .word idt_end - idt - 1
    .quad idt

// Page tables: the first 4 GiB are mapped to themselves with pages of 2 MiB, all present, writable, and
// accessible in user mode. paging.rs maps memory above when it is needed.
    .set TABLE, 0x7
    .set PAGE, 0x87
    .set DEVICE_PAGE, 0x9f          // not cached

    .balign 4096
    .globl pml4
pml4:
    .quad page_pointers + TABLE
    .zero 4096 - 8
page_pointers:
    .quad page_directories + TABLE
    .quad page_directories + 0x1000 + TABLE
    .quad page_directories + 0x2000 + TABLE
    .quad page_directories + 0x3000 + TABLE
    .zero 4096 - 32
page_directories:
    .set address, 0
    .rept 3 * 512
    .quad address + PAGE
    .set address, address + 0x200000
    .endr
    .rept 512
    .quad address + DEVICE_PAGE
    .set address, address + 0x200000
    .endr

    .bss
    .balign 16
scratch:
    .zero 16
    .zero 4096
kernel_stack_end:
    .zero 8192
fault_stack_end:
    .zero 4096
second_kernel_stack_end:
    .zero 16384
second_user_stack_end:
    .zero 262144
user_stack_end:
