//! The virtual machine as KVM has it: guest memory, interrupt controllers,
//! vCPUs, and the two short cuts that make the launcher quick: doorbells
//! (ioeventfd) wake a queue thread without an exit, and MSI-X vectors (irqfd)
//! interrupt the guest without a vCPU thread. Every reboot of the guest makes a
//! new one.

mod host_kvm;
mod legacy;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, ensure};
use devices::interrupt::MsiMessage;
use devices::mutex::lock;
use devices::number::low_u32;
use devices::observer::Observer;
use kvm_bindings::{
    KVM_CAP_PMU_CAPABILITY, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC,
    KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_PMU_CAP_DISABLE, KvmIrqRouting,
    kvm_enable_cap, kvm_irq_routing_entry, kvm_irq_routing_irqchip, kvm_irq_routing_msi,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::acpi::SCI_GSI;
use crate::cpuid::Features;
use crate::end::{MachineEnd, MachineOwner};
use crate::memory::Ram;
use crate::vcpu::{KvmVcpu, VcpuFormat};
pub use host_kvm::{CAPABILITIES, advice, check_cpus, open_kvm};
pub use state::VmState;

/// The page of KVM's identity map. KVM needs it, and the pages of [`TSS`], on Intel CPUs without
/// unrestricted guest mode. No guest has RAM or devices there: above the I/O APIC, below the reset
/// vector.
const IDENTITY_MAP: u64 = 0xfffb_c000;
/// The address of KVM's three pages for a task state segment, see [`IDENTITY_MAP`].
const TSS: usize = 0xfffb_d000;

/// The number of inputs of the I/O APIC. The lines of MSI-X vectors are numbered after them.
const IO_APIC_PINS: u32 = 24;
/// The number of inputs of each of the two 8259.
const PIC_PINS: u32 = 8;

/// A virtual machine of KVM.
pub struct Vm {
    fd: Arc<VmFd>,
    owner: Arc<dyn MachineOwner>,
    routes: Mutex<BTreeMap<u32, MsiMessage>>,
    lines: AtomicU32,
    /// The number of lines that KVM can route.
    most_lines: u32,
    vcpu_format: Arc<VcpuFormat>,
    /// KVM can move the guest's clock on by the time that has passed since it was read.
    moves_clock: bool,
}

impl Vm {
    /// A machine with this memory, without CPUs and devices. A later failure ends the machine, and
    /// `owner` is notified.
    ///
    /// # Errors
    /// When KVM refuses a part of it.
    pub fn new(
        kvm: &Kvm,
        ram: &Ram,
        features: Features,
        owner: Arc<dyn MachineOwner>,
    ) -> Result<Self> {
        let fd = kvm.create_vm().context("creating a virtual machine")?;
        ram.give_to(&fd)?;
        fd.set_identity_map_address(IDENTITY_MAP).context("setting KVM's identity map")?;
        fd.set_tss_address(TSS).context("setting KVM's TSS")?;
        fd.create_irq_chip().context("creating the interrupt controllers")?;
        legacy::mask_pics(&fd)?;
        legacy::create_timer(&fd)?;
        if !features.pmu {
            leave_out_counters(kvm, &fd)?;
        }
        let vm = Self {
            fd: Arc::new(fd),
            owner,
            routes: Mutex::new(BTreeMap::new()),
            lines: AtomicU32::new(IO_APIC_PINS),
            // The table has the inputs of the 8259 as well.
            most_lines: kvm
                .check_extension_int(Cap::IrqRouting)
                .max(0)
                .cast_unsigned()
                .saturating_sub(2 * PIC_PINS),
            vcpu_format: Arc::new(VcpuFormat::of(kvm)?),
            moves_clock: state::moves_clock(kvm),
        };
        Ok(vm)
    }

    /// Create the vCPU of this number. Numbers count from 0.
    ///
    /// # Errors
    /// When KVM refuses it.
    pub fn create_vcpu(&self, id: u8) -> Result<KvmVcpu> {
        let fd = self.fd.create_vcpu(id.into());
        let fd = fd.with_context(|| format!("creating vCPU {id}"))?;
        Ok(KvmVcpu::new(id, fd, Arc::clone(&self.vcpu_format)))
    }

    /// Raise an edge-triggered interrupt, by an input of the interrupt controllers. When this
    /// returns, the interrupt is in their state. (An irqfd would leave it to a thread of the
    /// kernel's for a while, where a snapshot does not find it.)
    pub fn pulse(&self, gsi: u32) {
        for level in [true, false] {
            // Fails only for an input that does not exist.
            let _ = self.fd.set_irq_line(gsi, level);
        }
    }

    /// Set the level of the SCI, power management's interrupt.
    pub fn set_sci(&self, level: bool) {
        // Fails only for an input that does not exist.
        let _ = self.fd.set_irq_line(SCI_GSI.into(), level);
    }

    /// Check that KVM can route the interrupts of all devices: a driver would wait for ever for an
    /// interrupt without a route.
    ///
    /// # Errors
    /// When KVM has fewer routes.
    pub fn check_lines(&self) -> Result<()> {
        let (lines, most) = (self.lines.load(Ordering::Relaxed), self.most_lines);
        ensure!(
            lines <= most,
            "more interrupts than the {most} that this host's KVM routes: give the guest fewer \
             devices, or disks and cards with fewer queues"
        );
        Ok(())
    }

    /// Give KVM the routes of all lines. KVM takes only the whole table.
    fn set_routes(&self, routes: &BTreeMap<u32, MsiMessage>) -> Result<()> {
        // The routes of the inputs are those that KVM starts with.
        let pins = (0..IO_APIC_PINS).map(|pin| input(pin, KVM_IRQCHIP_IOAPIC, pin));
        let master = (0..PIC_PINS).map(|pin| input(pin, KVM_IRQCHIP_PIC_MASTER, pin));
        let slave = (0..PIC_PINS).map(|pin| input(PIC_PINS + pin, KVM_IRQCHIP_PIC_SLAVE, pin));
        let pins = pins.chain(master).chain(slave);
        let entries: Vec<_> =
            pins.chain(routes.iter().map(|(line, message)| msi(*line, *message))).collect();
        let table = KvmIrqRouting::from_entries(&entries);
        let table = table.map_err(|_| anyhow!("more interrupts than KVM can route"))?;
        Ok(self.fd.set_gsi_routing(&table)?)
    }
}

impl devices::interrupt::Machine for Vm {
    fn new_line(&self) -> u32 {
        self.lines.fetch_add(1, Ordering::Relaxed)
    }

    fn connect(&self, line: u32, event: &EventFd, message: MsiMessage) -> io::Result<()> {
        let mut routes = lock(&self.routes);
        let before = routes.insert(line, message);
        if before != Some(message) {
            let done = self.set_routes(&routes);
            if let Err(error) = done {
                routes.remove(&line);
                return Err(io::Error::other(error));
            }
        }
        Ok(self.fd.register_irqfd(event, line)?)
    }

    fn disconnect(&self, line: u32, event: &EventFd) {
        // Fails only for a line that is not connected.
        let _ = self.fd.unregister_irqfd(event, line);
    }

    fn wire(&self, address: u64, doorbell: &EventFd) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        Ok(self.fd.register_ioevent(doorbell, &address, NoDatamatch)?)
    }

    fn unwire(&self, address: u64, doorbell: &EventFd) {
        // Fails only for a doorbell that is not wired.
        let _ = self.fd.unregister_ioevent(doorbell, &IoEventAddress::Mmio(address), NoDatamatch);
    }

    fn observer(&self, thread: &str) -> Arc<Observer> {
        self.owner.observer(thread)
    }

    fn failed(&self, thread: &str, why: &str) {
        self.owner.ended(MachineEnd::Failed(format!("{thread}: {why}")));
    }
}

/// Have KVM emulate no performance counters, if KVM has a switch for them: Linux 5.18 or later.
/// (The guest's CPUID announces no counters in any case.)
fn leave_out_counters(kvm: &Kvm, fd: &VmFd) -> Result<()> {
    let offered = kvm.check_extension_raw(KVM_CAP_PMU_CAPABILITY.into());
    if offered.max(0).cast_unsigned() & KVM_PMU_CAP_DISABLE == 0 {
        return Ok(());
    }
    let args = [KVM_PMU_CAP_DISABLE.into(), 0, 0, 0];
    let capability = kvm_enable_cap { cap: KVM_CAP_PMU_CAPABILITY, args, ..Default::default() };
    fd.enable_cap(&capability).context("leaving out performance counters")
}

fn input(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let irqchip = kvm_irq_routing_irqchip { irqchip, pin };
    let mut entry =
        kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_IRQCHIP, ..Default::default() };
    entry.u.irqchip = irqchip;
    entry
}

fn msi(line: u32, message: MsiMessage) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: low_u32(message.address),
        address_hi: low_u32(message.address >> 32),
        data: message.data,
        ..Default::default()
    };
    let mut entry =
        kvm_irq_routing_entry { gsi: line, type_: KVM_IRQ_ROUTING_MSI, ..Default::default() };
    entry.u.msi = msi;
    entry
}
