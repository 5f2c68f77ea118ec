//! The ACPI tables: how a stock kernel finds its CPUs, its PCI bus, and the registers for power-off
//! and reset. The fixed hardware is that of [`crate::power`]: there is no power management timer
//! and no fixed button. [`crate::ports`] answers the ports named here.

mod generation;

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, Equal, IO, If, Interrupt, Method,
    Name, Notify, Package, Path, ResourceTemplate,
};
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{self, AccessSize, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use anyhow::{Context, Result, ensure};
use devices::number::low_u32;
use vm_memory::{Bytes, GuestAddress};

use crate::memory::{ACPI, Memory, PCI_WINDOW};
use crate::ports::{ACPI_RESET, COM1, PVPANIC, RESET_VALUE};
use crate::power::{self, SLEEP_TYPE_OFF};
use crate::rtc;
pub use generation::new_generation;

const OEM: [u8; 6] = *b"LGUEST";
const OEM_TABLE: [u8; 8] = *b"LGUEST  ";
const OEM_REVISION: u32 = 1;

/// The physical address of the local APICs.
const LOCAL_APIC: u32 = 0xfee0_0000;
/// The physical address of the I/O APIC.
const IO_APIC: u32 = 0xfec0_0000;

/// The interrupt of COM1 on the I/O APIC.
pub const COM1_GSI: u32 = 4;

/// The interrupt of the power button, as the guest's Generic Event Device has it.
pub const POWER_BUTTON_GSI: u32 = 5;

/// The interrupt that says that the guest is a copy: its generation has changed. The Generic Event
/// Device has it, too.
pub const GENERATION_GSI: u32 = 6;

/// The interrupt of the real-time clock, where PCs have it.
pub const RTC_GSI: u32 = 8;

/// The interrupt of power management.
pub(crate) const SCI_GSI: u8 = 9;

/// The notification "S0 Power Button Pressed" of a control method power button (5.6.6).
const PRESSED: u8 = 0x80;

/// The notification that the generation has changed ("Virtual Machine Generation ID", Microsoft).
const GENERATION_CHANGED: u8 = 0x80;

/// The hardware that the tables describe.
pub struct Hardware {
    /// Number of CPUs.
    pub cpus: u8,
    /// Whether the machine has a serial port.
    pub com1: bool,
}

/// Write all tables to [`ACPI`]; the RSDP comes first, and the generation is at the end.
///
/// # Errors
/// When the tables do not fit into the area, the guest has no memory there, or the host has no
/// random numbers.
pub fn write(hardware: &Hardware, memory: &Memory) -> Result<()> {
    let mut area = TableArea { next: ACPI.start, memory };
    // The RSDP has a known place, but the table that it points to must be written first.
    let rsdp_at = area.reserve(u64::try_from(Rsdp::len())?);
    let facs = area.put(&bytes(&FACS::new()))?;
    let dsdt = area.put(&bytes(&dsdt(hardware)))?;
    let fadt = area.put(&bytes(&fadt(facs, dsdt)?))?;
    let madt = area.put(&bytes(&madt(hardware.cpus)))?;
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = area.put(&bytes(&xsdt))?;
    area.write(rsdp_at, &bytes(&Rsdp::new(OEM, xsdt)))?;
    new_generation(memory)
}

/// The area that the tables fill, one after another.
struct TableArea<'m> {
    next: u64,
    memory: &'m Memory,
}

impl TableArea<'_> {
    fn reserve(&mut self, length: u64) -> u64 {
        let at = self.next;
        // The FACS has to be aligned to 64 bytes, the others to less.
        self.next = (at + length).next_multiple_of(64);
        at
    }

    fn put(&mut self, table: &[u8]) -> Result<u64> {
        let at = self.reserve(u64::try_from(table.len())?);
        let end = generation::PLACE;
        ensure!(self.next <= end, "ACPI tables take more than {:#x} bytes", end - ACPI.start);
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

/// The FADT, which describes the fixed hardware (5.2.9).
fn fadt(facs: u64, dsdt: u64) -> Result<impl Aml> {
    /// No VGA; the bits for legacy devices, the keyboard controller and "no CMOS clock" are
    /// left clear (5.2.9.3).
    const BOOT_ARCHITECTURE: u16 = 1 << 2;
    /// Latencies that mean that the states C2 and C3 are not supported.
    const NO_C2: u16 = 101;
    const NO_C3: u16 = 1001;
    let register = |bits: u8, size: AccessSize, port: u16| {
        GAS::new(gas::AddressSpace::SystemIo, bits, 0, size, port.into())
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .firmware_ctrl_32(u32::try_from(facs)?)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.sci_int = u16::from(SCI_GSI).into();
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fadt.pm1a_evt_blk = u32::from(power::EVENTS.start).into();
    fadt.pm1_evt_len = 4;
    fadt.x_pm1a_evt_blk = register(32, AccessSize::WordAccess, power::EVENTS.start);
    fadt.pm1a_cnt_blk = u32::from(power::CONTROL.start).into();
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_cnt_blk = register(16, AccessSize::WordAccess, power::CONTROL.start);
    fadt.reset_reg = register(8, AccessSize::ByteAccess, ACPI_RESET);
    fadt.reset_value = RESET_VALUE;
    let [day, month, century] = [rtc::DAY_ALARM, rtc::MONTH_ALARM, rtc::CENTURY].map(u8::try_from);
    (fadt.day_alrm, fadt.mon_alrm, fadt.century) = (day?, month?, century?);
    Ok(fadt.finalize())
}

/// The MADT, which describes CPUs and interrupt controllers (5.2.12).
fn madt(cpus: u8) -> RawTable {
    /// The flag for a machine that has two 8259 as well.
    const PCAT_COMPAT: u32 = 1;
    /// An interrupt source override for the SCI, as ISA interrupts are edges by default: type and
    /// length; bus and source; input of the I/O APIC; level triggered, active high (5.2.12.5).
    const SCI: [u8; 10] = [2, 10, 0, SCI_GSI, SCI_GSI, 0, 0, 0, 0b1101, 0];
    let mut table = Sdt::new(*b"APIC", 36, 5, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&LOCAL_APIC.to_le_bytes());
    table.append_slice(&PCAT_COMPAT.to_le_bytes());
    for cpu in 0..cpus {
        table.append_slice(&bytes(&ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled)));
    }
    table.append_slice(&bytes(&IoApic::new(0, IO_APIC, 0)));
    table.append_slice(&SCI);
    RawTable(table.as_slice().to_vec())
}

/// The DSDT, which has all devices with a name: the PCI bus, the power-off, the
/// panic port, the clock, the serial port.
fn dsdt(hardware: &Hardware) -> RawTable {
    let mut table = Sdt::new(*b"DSDT", 36, 6, OEM, OEM_TABLE, OEM_REVISION);
    let off = Package::new(vec![&SLEEP_TYPE_OFF, &0_u8]);
    table.append_slice(&bytes(&Name::new(Path::new("_S5_"), &off)));

    let [first, last] = [PCI_WINDOW.start, PCI_WINDOW.end - 1].map(low_u32);
    let window =
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
    let pci: [&dyn Aml; 3] =
        [&AddressSpace::new_bus_number(0_u16, 0_u16), &IO::new(0xcf8, 0xcf8, 1, 8), &window];
    table.append_slice(&device("_SB_.PCI0", &EISAName::new("PNP0A03"), &pci));

    // Linux' pvpanic driver binds to this name (docs/specs/pvpanic of QEMU).
    let pvpanic: [&dyn Aml; 1] = [&IO::new(PVPANIC, PVPANIC, 1, 1)];
    table.append_slice(&device("_SB_.PEVT", &"QEMU0001", &pvpanic));

    let clock: [&dyn Aml; 2] = [
        &IO::new(rtc::PORTS.start, rtc::PORTS.start, 1, 2),
        &Interrupt::new(true, true, false, false, RTC_GSI),
    ];
    table.append_slice(&device("_SB_.RTC_", &EISAName::new("PNP0B00"), &clock));

    table.append_slice(&power_button());
    table.append_slice(&generation::device());
    table.append_slice(&events());

    if hardware.com1 {
        let com1: [&dyn Aml; 2] = [
            &Interrupt::new(true, true, false, false, COM1_GSI),
            &IO::new(COM1.start, COM1.start, 1, 8),
        ];
        table.append_slice(&device("_SB_.COM1", &EISAName::new("PNP0501"), &com1));
    }
    RawTable(table.as_slice().to_vec())
}

/// A power button (4.8.3.2.2.1).
fn power_button() -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), &EISAName::new("PNP0C0C"));
    let unique_id = Name::new(Path::new("_UID"), &0_u8);
    bytes(&Device::new(Path::new("_SB_.PWRB"), vec![&id, &unique_id]))
}

/// The device that reports what is not fixed hardware: a Generic Event Device (5.6.9). Each of its
/// interrupts means one event.
fn events() -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), &"ACPI0013");
    let unique_id = Name::new(Path::new("_UID"), &0_u8);
    let [button, generation] = [POWER_BUTTON_GSI, GENERATION_GSI];
    let lines = [button, generation].map(|gsi| Interrupt::new(true, true, false, false, gsi));
    let [first, second] = &lines;
    let resources = ResourceTemplate::new(vec![first, second]);
    let resources = Name::new(Path::new("_CRS"), &resources);

    let (pressed, changed) = (Path::new("\\_SB_.PWRB"), Path::new(generation::PATH));
    let pressed = Notify::new(&pressed, &PRESSED);
    let changed = Notify::new(&changed, &GENERATION_CHANGED);
    // The method's argument is the number of the interrupt.
    let (is_pressed, is_changed) = (Equal::new(&Arg(0), &button), Equal::new(&Arg(0), &generation));
    let pressed = If::new(&is_pressed, vec![&pressed]);
    let changed = If::new(&is_changed, vec![&changed]);
    let event = Method::new(Path::new("_EVT"), 1, true, vec![&pressed, &changed]);
    bytes(&Device::new(Path::new("_SB_.GED_"), vec![&id, &unique_id, &resources, &event]))
}

/// A device: its path, the hardware ID that drivers look for, and its resources.
fn device(path: &str, hardware_id: &dyn Aml, resources: &[&dyn Aml]) -> Vec<u8> {
    let id = Name::new(Path::new("_HID"), hardware_id);
    let unique_id = Name::new(Path::new("_UID"), &0_u8);
    let resources = ResourceTemplate::new(resources.to_vec());
    let resources = Name::new(Path::new("_CRS"), &resources);
    bytes(&Device::new(Path::new(path), vec![&id, &unique_id, &resources]))
}

/// A table that is already bytes.
struct RawTable(Vec<u8>);

impl Aml for RawTable {
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
        let machine = Hardware { cpus: 64, com1: true };
        assert_eq!(sum(&bytes(&dsdt(&machine))), 0);
        assert_eq!(sum(&bytes(&madt(64))), 0);
        assert_eq!(sum(&bytes(&fadt(0xe0000, 0xe0040).unwrap())), 0);
    }

    #[test]
    fn the_largest_machine_fits_into_the_area() {
        let ram = crate::memory::Ram::new(32 << 20).unwrap();
        write(&Hardware { cpus: 64, com1: true }, ram.memory()).unwrap();
        let mut signature = [0; 8];
        ram.memory().read_slice(&mut signature, GuestAddress(ACPI.start)).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
    }
}
