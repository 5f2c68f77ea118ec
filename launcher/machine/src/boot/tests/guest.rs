//! The state in which the guest starts: its initrds, its memory map, its first CPU.

use kvm_bindings::kvm_sregs;

use super::*;
use crate::boot::start;

#[test]
fn initrds_are_joined_at_the_top_of_memory() {
    let start = Start::with(&elf(), &[b"first", b"second"], &[], 64);
    let (image, size) = (start.params().hdr.ramdisk_image, start.params().hdr.ramdisk_size);
    assert_eq!(u64::from(image), 64 * MIB - 4096);
    assert_eq!(size, 8 + 6);
    assert_eq!(start.bytes(u64::from(image), 14), b"first\0\0\0second");
}

#[test]
fn initrds_stay_below_what_the_kernel_can_reach() {
    let mut image = bzimage(&payload(Codec::Gzip, &elf()));
    image[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
    let start = Start::with(&image, &[&[1; 5000]], &[], 3072);
    let address = start.params().hdr.ramdisk_image;
    assert_eq!(address, 0x3800_0000 - 8192);
    assert_eq!(start.bytes(u64::from(address), 5000), [1; 5000]);
}

#[test]
fn without_an_initrd_its_address_and_size_are_zero() {
    let (image, size) = {
        let params = Start::of(&elf()).params();
        (params.hdr.ramdisk_image, params.hdr.ramdisk_size)
    };
    assert_eq!((image, size), (0, 0));
}

#[test]
fn a_kernel_or_initrd_that_does_not_fit_is_refused_with_both_sizes() {
    let initrd = vec![1; usize::try_from(20 * MIB).unwrap()];
    let start = Start::with(&elf(), &[&initrd], &[], 32);
    assert!(start.error().contains("it has 20 MiB, and 11 of the guest's 32 MiB"));
    let mut large = elf();
    large[64 + 40..64 + 48].copy_from_slice(&(100 * MIB).to_le_bytes());
    let start = Start::with(&large, &[], &[], 64);
    assert!(start.error().contains("needs 120 MiB, the guest has 64"), "{}", start.error());
}

#[test]
fn a_kernel_for_high_memory_is_refused() {
    let mut high = elf();
    high[64 + 24..64 + 32].copy_from_slice(&(4_u64 << 30).to_le_bytes());
    let start = Start::with(&high, &[], &[], 5120);
    assert!(start.error().contains("below 3 GiB"), "{}", start.error());
}

#[test]
fn a_bzimage_whose_elf_does_not_fit_is_refused_with_its_own_size() {
    let mut image = bzimage(b"unknown");
    image[0x260..0x264].copy_from_slice(&0x0800_0000_u32.to_le_bytes());
    assert!(Start::of(&image).error().contains("needs 144 MiB, the guest has 64"));
}

#[test]
fn an_empty_initrd_is_named() {
    let start = Start::with(&elf(), &[b""], &[], 64);
    assert!(start.error().starts_with("initrd /"), "{}", start.error());
    assert!(start.error().contains("it is empty"));
}

/// The guest's memory map.
fn map(mib: u64) -> Vec<(u64, u64, u32)> {
    let params = Start::with(&elf(), &[], &[], mib).params();
    let table = params.e820_table;
    let entries = table.iter().take(usize::from(params.e820_entries));
    entries.map(|entry| (entry.addr, entry.addr + entry.size, entry.r#type)).collect()
}

#[test]
fn the_memory_map_has_all_ram() {
    let low = [(0, 0xa_0000, 1), (0xa_0000, 0x10_0000, 2)];
    assert_eq!(map(64), [low[0], low[1], (MIB, 64 * MIB, 1)]);
    let expected = [low[0], low[1], (MIB, 3 << 30, 1), (4 << 30, 5 << 30, 1)];
    assert_eq!(map(4096), expected);
}

#[test]
fn the_setup_header_of_the_bzimage_reaches_the_guest() {
    let params = Start::of(&bzimage(&payload(Codec::Gzip, &elf()))).params();
    let (alignment, init_size) = (params.hdr.kernel_alignment, params.hdr.init_size);
    assert_eq!((alignment, u64::from(init_size)), (0x20_0000, 8 * MIB));
    assert_eq!({ params.hdr.type_of_loader }, 0xff);
    assert_eq!({ params.acpi_rsdp_addr }, 0xe_0000);
}

#[test]
fn a_plain_elf_gets_a_header_too() {
    let params = Start::of(&elf()).params();
    assert_eq!({ params.hdr.header }.to_le_bytes(), *b"HdrS");
    assert_eq!({ params.hdr.boot_flag }, 0xaa55);
}

/// Walk the page tables as the processor does.
fn translate(memory: &Memory, address: u64) -> u64 {
    let sregs = start::sregs(kvm_sregs::default());
    let entry = |table: u64, shift: u32| {
        let index = (address >> shift) & 511;
        let entry: u64 = memory.read_obj(GuestAddress((table & !0xfff) + index * 8)).unwrap();
        assert_eq!(entry & 1, 1, "not present");
        entry
    };
    let page = entry(entry(entry(sregs.cr3, 39), 30), 21);
    assert_ne!(page & 0x80, 0, "not a large page");
    (page & !0x1f_ffff) | (address & 0x1f_ffff)
}

#[test]
fn low_memory_is_mapped_to_itself() {
    let ram = ram(32);
    start::write_tables(ram.memory()).unwrap();
    for address in [0, 0x1234, TEXT, (1 << 30) - 1, 3 << 30, (4 << 30) - 1] {
        assert_eq!(translate(ram.memory(), address), address);
    }
}

#[test]
fn the_boot_cpu_is_in_64_bit_mode_at_the_entry() {
    let sregs = start::sregs(kvm_sregs::default());
    assert_eq!((sregs.cs.selector, sregs.cs.l, sregs.cs.db), (0x10, 1, 0));
    assert_eq!((sregs.ds.selector, sregs.ss.selector), (0x18, 0x18));
    assert_eq!(sregs.efer, 0x500);
    assert_eq!(sregs.cr0 & 0x8000_0001, 0x8000_0001);
    let regs = start::regs(&EntryPoint { rip: TEXT });
    assert_eq!((regs.rip, regs.rsi, regs.rflags), (TEXT, BOOT_PARAMS, 2));
    assert_eq!(start::fpu().fcw, 0x37f);
}
