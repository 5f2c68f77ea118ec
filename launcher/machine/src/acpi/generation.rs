//! The generation of the guest ("Virtual Machine Generation ID", Microsoft): a random number in
//! memory. If it changes, the guest was restored from a snapshot, and is perhaps one of several
//! copies. Linux then reseeds its random number generator (drivers/virt/vmgenid.c).

use acpi_tables::aml::{Device, Name, Package, Path};
use anyhow::{Context, Result};
use vm_memory::{Bytes, GuestAddress};

use super::bytes;
use crate::memory::{ACPI, Memory};

/// The length of the number in bytes.
const LENGTH: usize = 16;

/// The address of the number, at the end of the area for ACPI tables.
pub(super) const PLACE: u64 = ACPI.end - LENGTH as u64;
const _: () = assert!(PLACE.is_multiple_of(8), "the specification wants it aligned");

/// The path of the device.
pub(super) const PATH: &str = "\\_SB_.VGEN";

/// The device, which has the number's address in a package of its lower and upper half.
pub(super) fn device() -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), &"VMGENCTR");
    let compatible = Name::new(Path::new("_CID"), &"VM_Gen_Counter");
    let description = Name::new(Path::new("_DDN"), &"VM_Gen_Counter");
    let [lower, upper] = [PLACE & 0xffff_ffff, PLACE >> 32];
    let address = Package::new(vec![&lower, &upper]);
    let address = Name::new(Path::new("ADDR"), &address);
    bytes(&Device::new(Path::new(PATH), vec![&id, &compatible, &description, &address]))
}

/// Write a new generation. The guest looks at it when it gets [`super::GENERATION_GSI`].
///
/// # Errors
/// When the guest has no memory there, or the host has no random numbers.
pub fn new_generation(memory: &Memory) -> Result<()> {
    let mut generation = [0; LENGTH];
    getrandom::fill(&mut generation).context("choosing a generation")?;
    memory.write_slice(&generation, GuestAddress(PLACE)).context("writing the generation")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::{Hardware, write};
    use crate::memory::Ram;

    #[test]
    fn every_boot_and_every_copy_has_a_generation_of_its_own() {
        let ram = Ram::new(32 << 20).unwrap();
        let read = || ram.memory().read_obj::<u128>(GuestAddress(PLACE)).unwrap();
        let mut seen = vec![0];
        for _ in 0..3 {
            write(&Hardware { cpus: 1, com1: false }, ram.memory()).unwrap();
            seen.push(read());
            new_generation(ram.memory()).unwrap();
            seen.push(read());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }
}
