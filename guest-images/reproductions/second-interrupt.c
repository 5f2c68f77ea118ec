// Checks whether QEMU's emulated SVM delivers an interrupt twice (README.md, "Two CPUs").
//
//   gcc -O1 -o target/second-interrupt guest-images/reproductions/second-interrupt.c
//   guest-images/nested-host run -- target/second-interrupt 60
//
// A guest of one virtual CPU, in 64-bit mode, has its local APIC's timer interrupt it. The handler runs with
// interrupts off, for several milliseconds, so a processor never interrupts it. The handler looks at the flags that
// the interrupt found: if interrupts were off, the guest stops. The program prints where, and ends with status 1.
// With status 0 nothing happened in so many seconds.

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

// Where things are in the guest's memory.
enum { TABLES = 0x1000, GDT = 0x4000, IDT = 0x5000, CODE = 0x8000, STACK = 0x20000, SIZE = 0x200000 };
enum { VECTOR = 0x40, COUNT_PORT = 0x14 };

// Each WRMSR is to a register of the x2APIC. POPF makes the emulator look for interrupts, which is when it errs.
extern const char code[], handler[], code_end[];
__asm__(".section .rodata\n"
	"code:    mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr\n"   // APIC on
	"         mov $0x83e, %ecx; mov $0xb, %eax; wrmsr\n"                     // timer: divide by 1
	"         mov $0x832, %ecx; mov $0x20040, %eax; wrmsr\n"                 // periodic, VECTOR
	"         mov $0x838, %ecx; mov $20000000, %eax; wrmsr\n"                // 20 ms
	"         sti\n"
	"0:       jmp 0b\n"
	"handler: testl $0x200, 16(%rsp); jz 2f\n"                               // IF of what was interrupted
	"         mov $20000, %ecx\n"
	"1:       pushf; popf; dec %ecx; jnz 1b\n"
	"         out %al, $0x14\n"
	"         mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n"     // end of interrupt
	"         iretq\n"
	"2:       out %al, $0x13\n"
	"code_end:.previous\n");

static int check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(2);
	}
	return (int)result;
}

// The first 2 MiB are mapped to themselves.
static void make_tables(uint8_t *memory)
{
	uint64_t *table = (uint64_t *)(memory + TABLES), *gdt = (uint64_t *)(memory + GDT), *idt = (uint64_t *)(memory + IDT);

	table[0] = (TABLES + 0x1000) | 3;
	table[512] = (TABLES + 0x2000) | 3;
	table[1024] = 0x83;
	gdt[1] = 0x00af9b000000ffff;
	memcpy(memory + CODE, code, code_end - code);
	// An exception has no gate, so it ends in a shutdown.
	idt[2 * VECTOR] = (uint64_t)0x8e00 << 32 | 8 << 16 | (CODE + (handler - code));
}

static void start_in_64_bit_mode(int cpu)
{
	struct kvm_segment segment = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	struct kvm_regs regs = {.rip = CODE, .rsp = STACK, .rflags = 2};
	struct kvm_sregs sregs;

	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = segment;
	segment = (struct kvm_segment){.limit = 0xffffffff, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment;
	sregs.gdt = (struct kvm_dtable){.base = GDT, .limit = 15};
	sregs.idt = (struct kvm_dtable){.base = IDT, .limit = 16 * (VECTOR + 1) - 1};
	sregs.cr0 = 0x80000033, sregs.cr3 = TABLES, sregs.cr4 = 0x20, sregs.efer = 0x500;
	sregs.apic_base |= 0xc00;
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

int main(int argc, char **argv)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[100];
	} cpuid = {.head.nent = 100};
	int kvm = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	uint8_t *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {.memory_size = SIZE, .userspace_addr = (uint64_t)memory};

	check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	check(ioctl(vm, KVM_CREATE_IRQCHIP), "KVM_CREATE_IRQCHIP");
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	check(ioctl(cpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	make_tables(memory);
	start_in_64_bit_mode(cpu);
	struct kvm_run *run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);

	int seconds = argc > 1 ? atoi(argv[1]) : 60, interrupts = 0;
	time_t end = time(NULL) + seconds;
	while (time(NULL) < end) {
		check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != COUNT_PORT)
			break;
		interrupts++;
	}
	if (run->exit_reason == KVM_EXIT_IO && run->io.port == COUNT_PORT) {
		printf("%d interrupts, each of them once\n", interrupts);
		return 0;
	}
	struct kvm_regs regs;
	check(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	uint64_t *frame = (uint64_t *)(memory + (regs.rsp & (SIZE - 8)));
	printf("exit %d, port %#x, after %d interrupts: an interrupt at rip %#lx with the flags %#lx\n", run->exit_reason,
	       run->exit_reason == KVM_EXIT_IO ? run->io.port : 0, interrupts, frame[0], frame[2]);
	return 1;
}
