//! The virtual machine as KVM has it: guest memory, interrupt controllers,
//! vCPUs, and the two short cuts that make the launcher quick: doorbells
//! (ioeventfd) wake a queue thread without an exit, and MSI-X vectors (irqfd)
//! interrupt the guest without a vCPU thread. It is made anew at every reboot of
//! the guest.

mod legacy;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail, ensure};
use devices::interrupt::MsiMessage;
use devices::mutex::lock;
use devices::observer::Observer;
use kvm_bindings::{
    KVM_API_VERSION, KVM_CAP_PMU_CAPABILITY, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI,
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_PMU_CAP_DISABLE,
    KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VcpuFd, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::acpi::{COM1_GSI, POWER_BUTTON_GSI, RTC_GSI, SCI_GSI};
use crate::cpuid::Features;
use crate::end::{MachineEnd, MachineOwner};
use crate::memory::Ram;

/// Pages that KVM needs on Intel CPUs without unrestricted guest mode, and
/// where no guest has RAM or devices: above the I/O APIC, below the reset vector.
const IDENTITY_MAP: u64 = 0xfffb_c000;
const TSS: usize = 0xfffb_d000;

/// Inputs of the I/O APIC; the lines of MSI-X vectors are numbered after them.
const IO_APIC_PINS: u32 = 24;
/// Inputs of each of the two 8259.
const PIC_PINS: u32 = 8;

/// What a machine is made of, with the name that `lguest check` gives it.
pub const CAPABILITIES: &[(Cap, &str)] = &[
    (Cap::Irqchip, "in-kernel interrupt controllers"),
    (Cap::Pit2, "in-kernel timer (PIT)"),
    (Cap::UserMemory, "user memory regions"),
    (Cap::SetTssAddr, "TSS address"),
    (Cap::ExtCpuid, "extended CPUID"),
    (Cap::Ioeventfd, "ioeventfd (doorbells)"),
    (Cap::Irqfd, "irqfd (interrupts)"),
    (Cap::IrqRouting, "interrupt routing"),
    (Cap::ImmediateExit, "immediate exit"),
];

/// Open /dev/kvm and see that it has what the launcher needs.
pub fn open_kvm() -> Result<Kvm> {
    let kvm = Kvm::new().map_err(|error| {
        let error = io::Error::from_raw_os_error(error.errno());
        anyhow!("/dev/kvm: {error}: {}", advice(&error))
    })?;
    let version = kvm.get_api_version();
    ensure!(
        u32::try_from(version) == Ok(KVM_API_VERSION),
        "/dev/kvm speaks API version {version}, not {KVM_API_VERSION}: update the host's kernel"
    );
    for (capability, name) in CAPABILITIES {
        ensure!(
            kvm.check_extension(*capability),
            "/dev/kvm lacks {name} ({capability:?}): update the host's kernel"
        );
    }
    Ok(kvm)
}

/// What to do when /dev/kvm does not open.
pub fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "load the module kvm_intel or kvm_amd; if that fails, switch virtualization on in \
             the firmware, or (inside a virtual machine) nested virtualization on outside"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "add yourself to group kvm (sudo usermod -aG kvm $USER) and log in again"
        }
        Some(libc::ENODEV | libc::ENXIO) => {
            "the CPU has no virtualization, or the firmware has switched it off"
        }
        Some(libc::EBUSY) => "another hypervisor is using the CPU's virtualization: stop it",
        _ => "see `lguest check`",
    }
}

/// One virtual machine.
pub struct Vm {
    fd: Arc<VmFd>,
    owner: Arc<dyn MachineOwner>,
    routes: Mutex<BTreeMap<u32, MsiMessage>>,
    lines: AtomicU32,
    /// As many lines can lead somewhere.
    most_lines: u32,
}

impl Vm {
    /// A machine with this memory, no CPUs yet and no devices. What fails in it later ends the
    /// machine, which `owner` hears.
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
            most_lines: u32::try_from(kvm.check_extension_int(Cap::IrqRouting))
                .unwrap_or(0)
                .saturating_sub(2 * PIC_PINS),
        };
        Ok(vm)
    }

    /// The next vCPU.
    pub fn create_vcpu(&self, id: u8) -> Result<VcpuFd> {
        self.fd.create_vcpu(id.into()).with_context(|| format!("creating vCPU {id}"))
    }

    /// COM1's interrupt line.
    pub fn com1_line(&self) -> Result<EventFd> {
        self.line(COM1_GSI).context("registering COM1's interrupt")
    }

    /// The power button's.
    pub fn power_button(&self) -> Result<EventFd> {
        self.line(POWER_BUTTON_GSI).context("registering the power button's interrupt")
    }

    /// The real-time clock's.
    pub fn clock_line(&self) -> Result<EventFd> {
        self.line(RTC_GSI).context("registering the clock's interrupt")
    }

    /// Set the level of power management's.
    pub fn set_sci(&self, level: bool) {
        // Fails only for a line that does not exist.
        let _ = self.fd.set_irq_line(SCI_GSI.into(), level);
    }

    /// An input of the I/O APIC: each write is an edge.
    fn line(&self, gsi: u32) -> Result<EventFd> {
        let event = EventFd::new(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)?;
        self.fd.register_irqfd(&event, gsi)?;
        Ok(event)
    }

    /// The interrupts of the devices so far must be no more than KVM has routes for: a
    /// driver that wants one that has none would wait for it for ever.
    pub fn check_lines(&self) -> Result<()> {
        let (lines, most) = (self.lines.load(Ordering::Relaxed), self.most_lines);
        ensure!(
            lines <= most,
            "more interrupts than the {most} that this host's KVM routes: give the guest fewer \
             devices, or disks and cards with fewer queues"
        );
        Ok(())
    }

    /// Have KVM know where every line leads. It takes only the whole table.
    fn set_routes(&self, routes: &BTreeMap<u32, MsiMessage>) -> Result<()> {
        // As KVM has them before this is called first.
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
        // Fails only for one that is not connected.
        let _ = self.fd.unregister_irqfd(event, line);
    }

    fn wire(&self, address: u64, doorbell: &EventFd) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        Ok(self.fd.register_ioevent(doorbell, &address, NoDatamatch)?)
    }

    fn unwire(&self, address: u64, doorbell: &EventFd) {
        // Fails only for one that is not wired.
        let _ = self.fd.unregister_ioevent(doorbell, &IoEventAddress::Mmio(address), NoDatamatch);
    }

    fn observer(&self, thread: &str) -> Arc<Observer> {
        self.owner.observer(thread)
    }

    fn failed(&self, thread: &str, why: &str) {
        self.owner.ended(MachineEnd::Failed(format!("{thread}: {why}")));
    }
}

/// Have KVM emulate no performance counters, if it can be told: Linux 5.18 or later. (The CPUID
/// that the guest gets announces none in any case.)
fn leave_out_counters(kvm: &Kvm, fd: &VmFd) -> Result<()> {
    let offered = kvm.check_extension_raw(KVM_CAP_PMU_CAPABILITY.into());
    if u32::try_from(offered).unwrap_or(0) & KVM_PMU_CAP_DISABLE == 0 {
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
    let [low, high] = [message.address & 0xffff_ffff, message.address >> 32];
    let msi = kvm_irq_routing_msi {
        address_lo: u32::try_from(low).unwrap_or(0),
        address_hi: u32::try_from(high).unwrap_or(0),
        data: message.data,
        ..Default::default()
    };
    let mut entry =
        kvm_irq_routing_entry { gsi: line, type_: KVM_IRQ_ROUTING_MSI, ..Default::default() };
    entry.u.msi = msi;
    entry
}

/// How many vCPUs this host's KVM can give to one machine.
pub fn check_cpus(kvm: &Kvm, cpus: u8) -> Result<()> {
    let most = kvm.get_max_vcpus();
    if usize::from(cpus) > most {
        bail!("{cpus} CPUs: this host's KVM gives a guest at most {most}");
    }
    Ok(())
}
