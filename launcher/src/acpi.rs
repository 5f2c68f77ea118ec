//! The ACPI tables: how a stock kernel finds its CPUs, its PCI bus, and the
//! registers with which it switches itself off and starts itself again.
//! Hardware-reduced (ACPI 6.5, 4.1): none of the PC's timers, SCI or power
//! registers exist. Written into guest memory by [`crate::launch`]; the ports
//! named here are answered in [`crate::ports`].

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Method, Name, Notify,
    Package, Path, ResourceTemplate,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{self, AccessSize, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use anyhow::{Context, Result, ensure};
use vm_memory::{Bytes, GuestAddress};

use crate::memory::{ACPI, Memory, PCI_WINDOW};
use crate::ports::{ACPI_RESET, COM1, PVPANIC, RESET_VALUE, SLEEP_CONTROL, SLEEP_STATUS};

const OEM: [u8; 6] = *b"LGUEST";
const OEM_TABLE: [u8; 8] = *b"LGUEST  ";
const OEM_REVISION: u32 = 1;

/// The sleep type for S5, "soft off", that we announce and expect back.
pub(crate) const SLEEP_TYPE_OFF: u8 = 5;

const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;

/// COM1's interrupt on the I/O APIC.
pub(crate) const COM1_GSI: u32 = 4;

/// The interrupt of the power button, as the guest's Generic Event Device has it.
pub(crate) const POWER_BUTTON_GSI: u32 = 5;

/// "The button was pressed" (5.6.6, device notifications of a control method power button).
const PRESSED: u8 = 0x80;

/// What the tables describe.
pub(crate) struct Machine {
    pub(crate) cpus: u8,
    pub(crate) com1: bool,
}

/// Write all tables to [`ACPI`]; the RSDP comes first.
pub(crate) fn write(machine: &Machine, memory: &Memory) -> Result<()> {
    let mut area = Area { next: ACPI.start, memory };
    // The RSDP has a known place, but what it points to must be known first.
    let rsdp_at = area.reserve(u64::try_from(Rsdp::len())?);
    let dsdt = area.put(&bytes(&dsdt(machine)))?;
    let fadt = area.put(&bytes(&fadt(dsdt)))?;
    let madt = area.put(&bytes(&madt(machine.cpus)))?;
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = area.put(&bytes(&xsdt))?;
    area.write(rsdp_at, &bytes(&Rsdp::new(OEM, xsdt)))
}

/// Where the next table goes.
struct Area<'m> {
    next: u64,
    memory: &'m Memory,
}

impl Area<'_> {
    fn reserve(&mut self, length: u64) -> u64 {
        let at = self.next;
        self.next = (at + length).next_multiple_of(16);
        at
    }

    fn put(&mut self, table: &[u8]) -> Result<u64> {
        let at = self.reserve(u64::try_from(table.len())?);
        ensure!(self.next <= ACPI.end, "ACPI tables take more than {:#x} bytes", ACPI.end - at);
        self.write(at, table)?;
        Ok(at)
    }

    fn write(&self, at: u64, table: &[u8]) -> Result<()> {
        self.memory.write_slice(table, GuestAddress(at)).context("writing ACPI tables")
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Fixed hardware: there is none, but for sleeping and resetting (5.2.9).
fn fadt(dsdt: u64) -> impl Aml {
    /// No VGA, no CMOS clock (the guest has kvm-clock); the bits for legacy
    /// devices and the keyboard controller are left clear (5.2.9.3).
    const BOOT_ARCHITECTURE: u16 = 1 << 2 | 1 << 5;
    let register = |port: u16| {
        GAS::new(gas::AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into())
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fadt.reset_reg = register(ACPI_RESET);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = register(SLEEP_CONTROL);
    fadt.sleep_status_reg = register(SLEEP_STATUS);
    fadt.finalize()
}

/// CPUs and interrupt controllers (5.2.12).
fn madt(cpus: u8) -> impl Aml {
    let mut madt =
        MADT::new(OEM, OEM_TABLE, OEM_REVISION, LocalInterruptController::Address(LOCAL_APIC));
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, IO_APIC, 0));
    madt
}

/// Everything that has to be found by name: the PCI bus, the power-off, the
/// panic port, the serial port.
fn dsdt(machine: &Machine) -> Raw {
    let mut table = Sdt::new(*b"DSDT", 36, 6, OEM, OEM_TABLE, OEM_REVISION);
    let off = Package::new(vec![&SLEEP_TYPE_OFF, &0_u8]);
    table.append_slice(&bytes(&Name::new(Path::new("_S5_"), &off)));

    let [first, last] =
        [PCI_WINDOW.start, PCI_WINDOW.end - 1].map(|end| u32::try_from(end).unwrap_or(0));
    let window =
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
    let pci: [&dyn Aml; 3] =
        [&AddressSpace::new_bus_number(0_u16, 0_u16), &IO::new(0xcf8, 0xcf8, 1, 8), &window];
    table.append_slice(&device("_SB_.PCI0", &EISAName::new("PNP0A03"), &pci));

    // Linux' pvpanic driver binds to this name (docs/specs/pvpanic of QEMU).
    let pvpanic: [&dyn Aml; 1] = [&IO::new(PVPANIC, PVPANIC, 1, 1)];
    table.append_slice(&device("_SB_.PEVT", &"QEMU0001", &pvpanic));

    table.append_slice(&power_button());

    if machine.com1 {
        let com1: [&dyn Aml; 2] = [
            &Interrupt::new(true, true, false, false, COM1_GSI),
            &IO::new(COM1.start, COM1.start, 1, 8),
        ];
        table.append_slice(&device("_SB_.COM1", &EISAName::new("PNP0501"), &com1));
    }
    Raw(table.as_slice().to_vec())
}

/// A power button (4.8.3.2.2.1), and what tells of it where there is no fixed hardware:
/// a Generic Event Device (5.6.9), whose one interrupt means that it was pressed.
fn power_button() -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), &EISAName::new("PNP0C0C"));
    let unique_id = Name::new(Path::new("_UID"), &0_u8);
    let button = bytes(&Device::new(Path::new("_SB_.PWRB"), vec![&id, &unique_id]));

    let id = Name::new(Path::new("_HID"), &"ACPI0013");
    let line = Interrupt::new(true, true, false, false, POWER_BUTTON_GSI);
    let resources = Name::new(Path::new("_CRS"), &ResourceTemplate::new(vec![&line]));
    let object = Path::new("\\_SB_.PWRB");
    let notify = Notify::new(&object, &PRESSED);
    let event = Method::new(Path::new("_EVT"), 1, true, vec![&notify]);
    let events = Device::new(Path::new("_SB_.GED_"), vec![&id, &unique_id, &resources, &event]);
    [button, bytes(&events)].concat()
}

/// A device: its name, what drivers know it by, and its registers.
fn device(path: &str, hardware_id: &dyn Aml, resources: &[&dyn Aml]) -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), hardware_id);
    let unique_id = Name::new(Path::new("_UID"), &0_u8);
    let resources = ResourceTemplate::new(resources.to_vec());
    let resources = Name::new(Path::new("_CRS"), &resources);
    bytes(&Device::new(Path::new(path), vec![&id, &unique_id, &resources]))
}

/// A table that is already bytes.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn every_table_sums_to_zero() {
        let machine = Machine { cpus: 64, com1: true };
        assert_eq!(sum(&bytes(&dsdt(&machine))), 0);
        assert_eq!(sum(&bytes(&madt(64))), 0);
        assert_eq!(sum(&bytes(&fadt(0xe0000))), 0);
    }

    #[test]
    fn the_largest_machine_fits_into_the_area() {
        let ram = crate::memory::Ram::new(32 << 20).unwrap();
        write(&Machine { cpus: 64, com1: true }, ram.memory()).unwrap();
        let mut signature = [0; 8];
        ram.memory().read_slice(&mut signature, GuestAddress(ACPI.start)).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
    }
}
