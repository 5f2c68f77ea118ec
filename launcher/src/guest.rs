//! A guest, from its set-up to its end: [`crate::launch`] builds it completely, starts it, and
//! takes it apart by dropping it. A guest that reboots is built anew, in the same memory and on the
//! same terminal.

pub(crate) mod kernel;
mod pause;
mod state;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use devices::console::Console as ConsoleDevice;
use devices::observer::Observer;
use devices::pci::{self, PciBus};
use devices::rng::Rng;
use devices::status::DeviceStatus;
use devices::virtio_pci::VirtioPci;
use host::disk::Disk;
use host::exit::Exit;
use host::net::tap::Tap;
use host::output::LossyWriter;
use kvm_ioctls::Kvm;
use machine::acpi;
use machine::boot;
use machine::cpuid::Cpus;
use machine::end::{MachineEnd, MachineOwner};
use machine::firmware;
use machine::memory::{Memory, PCI_WINDOW, Ram};
use machine::ports::{Com1, Ports};
use machine::power::Power;
use machine::rtc::Clock;
use machine::vcpu::observer::VcpuObserver;
use machine::vcpu::{KvmVcpu, Vcpu, VcpuContext};
use machine::vm::{self, Vm};
use vm_memory::{Address, GuestMemoryBackend};

use crate::config::Config;
use crate::console::GuestConsole;
use crate::ending::Ending;
use crate::observers::Observers;
pub(crate) use state::{GuestState, MachineState};

/// What guests are built from. It outlives the guest's reboots.
pub(crate) struct Host {
    pub(crate) kvm: Kvm,
    pub(crate) ram: Ram,
    /// Kernel and initial file systems.
    pub(crate) files: boot::BootFiles,
    pub(crate) exit: Arc<Exit<Ending>>,
    /// The consoles, hvc0 first.
    pub(crate) consoles: Vec<Arc<GuestConsole>>,
    pub(crate) disks: Vec<Disk>,
    /// The source of the rng device, if the guest has one.
    pub(crate) random: Option<File>,
    /// The taps of the network cards.
    pub(crate) taps: Vec<Arc<Tap>>,
    /// Whether the vCPUs have to pause.
    pub(crate) paused: Arc<AtomicBool>,
    /// The observers of the guest's queues and vCPUs.
    pub(crate) observers: Arc<Observers>,
}

/// What the threads of a machine need from the launcher.
struct GuestOwner {
    exit: Arc<Exit<Ending>>,
    observers: Arc<Observers>,
}

impl GuestOwner {
    fn of(host: &Host) -> Self {
        Self { exit: Arc::clone(&host.exit), observers: Arc::clone(&host.observers) }
    }
}

impl MachineOwner for GuestOwner {
    fn ended(&self, end: MachineEnd) {
        self.exit.end(end.into());
    }

    fn observer(&self, thread: &str) -> Arc<Observer> {
        self.observers.queue(thread)
    }
}

/// A guest. Dropping it stops its threads, vCPUs first.
pub(crate) struct Guest {
    waiting: Vec<(KvmVcpu, Arc<VcpuObserver>)>,
    running: Vec<Vcpu>,
    context: Arc<VcpuContext>,
    vm: Arc<Vm>,
}

impl Guest {
    /// Build the guest completely, with its kernel in memory. No vCPU runs yet.
    pub(crate) fn build(config: &Config, host: &Host) -> Result<Self> {
        let (mut guest, cpus) = Self::assemble(config, host)?;
        let memory = host.ram.memory();
        for (id, (vcpu, _)) in (0..).zip(&mut guest.waiting) {
            vcpu.set_cpuid(&cpus.cpuid(id)?)?;
            boot::start::set_msrs(vcpu.fd())?;
        }
        let com1 = guest.context.ports.com1.is_some();
        acpi::write(&acpi::Hardware { cpus: config.cpus, com1 }, memory)?;
        firmware::write(memory)?;
        let entry = boot::load(&kernel::request(config, &host.files), memory)?;
        if let Some((first, _)) = guest.waiting.first() {
            boot::start::set_up(first.fd(), &entry, memory)?;
        }
        Ok(guest)
    }

    /// Build a guest that continues from a snapshot, over the memory that belongs to it. No vCPU
    /// runs yet.
    ///
    /// # Errors
    /// When the state does not fit this host, or this configuration.
    pub(crate) fn restored(config: &Config, host: &Host, state: &MachineState) -> Result<Self> {
        let (mut guest, cpus) = Self::assemble(config, host)?;
        check_saved_cpus(&cpus, state)?;
        guest.restore(state).context("the snapshot's state")?;
        // Two guests that continue from one snapshot must not have the same random numbers.
        acpi::new_generation(host.ram.memory())?;
        guest.vm.pulse(acpi::GENERATION_GSI);
        Ok(guest)
    }

    /// The machine with all of its devices, and without anything in its memory.
    fn assemble(config: &Config, host: &Host) -> Result<(Self, Cpus)> {
        let memory = host.ram.memory();
        let features = config.cpu.unwrap_or_default();
        let owner: Arc<dyn MachineOwner> = Arc::new(GuestOwner::of(host));
        let vm = Arc::new(Vm::new(&host.kvm, &host.ram, features, Arc::clone(&owner))?);
        let cpus = Cpus::new(&host.kvm, config.cpus, features)?;
        let end = memory.last_addr().raw_value();
        ensure!(
            end < cpus.address_limit(),
            "{} MiB of memory: this host's CPUs address {} MiB, the hole below 4 GiB included",
            config.memory >> 20,
            cpus.address_limit() >> 20
        );
        let vcpus = (0..config.cpus).map(|id| vm.create_vcpu(id));
        let vcpus: Vec<_> = vcpus.collect::<Result<_>>()?;

        let mut pci = PciBus::new(u32::try_from(PCI_WINDOW.start)?);
        add_consoles(&mut pci, &vm, host)?;
        add_disks(&mut pci, &vm, host)?;
        add_cards(&mut pci, &vm, host)?;
        add_rng(&mut pci, &vm, host)?;

        let com1 = config.earlycon.then(|| com1(config, &vm, host));
        let (power, clock) = power_and_clock(&vm);
        let context = VcpuContext {
            ports: Ports { pci, owner: Arc::clone(&owner), com1, power, clock },
            memory: memory.clone(),
            owner,
            paused: Arc::clone(&host.paused),
            triple_fault_resets: announces_triple_fault(config),
        };
        let observed = |(id, vcpu)| (vcpu, host.observers.vcpu(id));
        let waiting = (0..).zip(vcpus).map(observed).collect();
        let (running, context) = (Vec::new(), Arc::new(context));
        Ok((Self { waiting, running, vm, context }, cpus))
    }

    /// Start the vCPUs, and the queues of a restored guest.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.context.ports.pci.resume().context("starting a queue thread")?;
        self.context.ports.clock.hold(false);
        for (vcpu, observer) in self.waiting.drain(..) {
            self.running.push(Vcpu::start(vcpu, Arc::clone(&self.context), observer)?);
        }
        Ok(())
    }

    /// Press the guest's power button. A paused guest sees it when it is resumed.
    pub(crate) fn press_power_button(&self) {
        self.vm.pulse(acpi::POWER_BUTTON_GSI);
    }

    /// Stop the threads, vCPUs first, for `patience` at most. Returns the names of the threads that
    /// have not ended by then, because the host holds them in system calls that no signal ends. The
    /// call may be repeated.
    pub(crate) fn stop(&mut self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        for vcpu in &self.running {
            vcpu.request_stop();
        }
        self.running.retain(|vcpu| !vcpu.stops_by(until));
        if !self.running.is_empty() {
            // A vCPU that has not stopped may have a device's lock, so the devices cannot be reset
            // yet.
            return self.running.iter().map(Vcpu::name).collect();
        }
        self.context.ports.pci.reset(patience)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        while !self.stop(Duration::from_secs(1)).is_empty() {}
    }
}

/// Check that a guest of this configuration can continue on this host from a state.
///
/// # Errors
/// The first difference of its CPUs.
pub(crate) fn check_cpus(config: &Config, state: &MachineState) -> Result<()> {
    let cpus = Cpus::new(&vm::open_kvm()?, config.cpus, config.cpu.unwrap_or_default())?;
    check_saved_cpus(&cpus, state)
}

fn check_saved_cpus(cpus: &Cpus, state: &MachineState) -> Result<()> {
    (0..).zip(&state.vcpus).try_for_each(|(id, vcpu)| {
        cpus.check(id, vcpu.cpuid()).context("the snapshot cannot continue on this host")
    })
}

/// Power management, and the clock whose alarm wakes the guest through it.
fn power_and_clock(vm: &Arc<Vm>) -> (Arc<Power>, Clock) {
    let machine = Arc::clone(vm);
    let power = Arc::new(Power::new(Box::new(move |level| machine.set_sci(level))));
    let (machine, alarmed) = (Arc::clone(vm), Arc::clone(&power));
    let interrupt = move || machine.pulse(acpi::RTC_GSI);
    let clock = Clock::new(Box::new(interrupt), Box::new(move || alarmed.alarm()));
    (power, clock)
}

/// Check that the bus has room for all devices, before any of them is opened.
pub(crate) fn check_devices(config: &Config, consoles: usize) -> Result<()> {
    let kinds = [
        (consoles, "--console"),
        (config.block.len(), "--block"),
        (config.tunnet.len(), "--tunnet"),
        (usize::from(config.rng.is_some()), "--rng"),
    ];
    let all: usize = kinds.iter().map(|(count, _)| count).sum();
    let listed = kinds.iter().filter(|(count, _)| *count > 0);
    let listed: Vec<_> = listed.map(|(count, option)| format!("{count} {option}")).collect();
    let listed = listed.join(", ");
    ensure!(all <= pci::MOST, "{all} devices ({listed}): a guest can have {} at most", pci::MOST);
    Ok(())
}

/// Add hvc0 and later consoles.
fn add_consoles(pci: &mut PciBus, vm: &Arc<Vm>, host: &Host) -> Result<()> {
    for console in &host.consoles {
        let (sink, driven) = (console.output.sink(), console.driven());
        let device = ConsoleDevice {
            input: console.input.guest_end().context("duplicating the input pipe")?,
            output: move || {
                driven.store(true, Ordering::Relaxed);
                sink.clone()
            },
            size: Arc::clone(&console.window),
        };
        let name = format!("con{}", console.number);
        console.plug(&add(pci, vm, host.ram.memory(), &name, Box::new(device))?);
    }
    Ok(())
}

/// Add vda and later disks, in the order of the command line.
fn add_disks(pci: &mut PciBus, vm: &Arc<Vm>, host: &Host) -> Result<()> {
    for (number, disk) in host.disks.iter().enumerate() {
        add(pci, vm, host.ram.memory(), &format!("blk{number}"), Box::new(disk.device()))?;
    }
    Ok(())
}

/// Add eth0 and later cards.
fn add_cards(pci: &mut PciBus, vm: &Arc<Vm>, host: &Host) -> Result<()> {
    for (number, tap) in host.taps.iter().enumerate() {
        let card = Box::new(tap.card()?);
        tap.plug(&add(pci, vm, host.ram.memory(), &format!("net{number}"), card)?);
    }
    Ok(())
}

fn add_rng(pci: &mut PciBus, vm: &Arc<Vm>, host: &Host) -> Result<()> {
    if let Some(random) = &host.random {
        let source = random.try_clone().context("duplicating the source of random numbers")?;
        add(pci, vm, host.ram.memory(), "rng0", Box::new(Rng::new(source)))?;
    }
    Ok(())
}

/// Add a device to the bus.
fn add(
    pci: &mut PciBus,
    vm: &Arc<Vm>,
    memory: &Memory,
    name: &str,
    device: Box<dyn devices::device::Device>,
) -> Result<Arc<DeviceStatus>> {
    let base = pci.next_base().with_context(|| format!("device {name}: the PCI bus is full"))?;
    let machine = Arc::clone(vm);
    let device = VirtioPci::new(name, device, memory.clone(), machine, base)
        .with_context(|| format!("making device {name}"))?;
    vm.check_lines().with_context(|| format!("device {name}"))?;
    let status = device.status();
    pci.add(device);
    Ok(status)
}

/// The serial port. It prints on this terminal, or else on hvc0; and also on hvc0 if another reader
/// examines or logs hvc0.
fn com1(config: &Config, vm: &Arc<Vm>, host: &Host) -> Com1 {
    let first = host.consoles.first().map(Arc::as_ref);
    let stdio = host.consoles.iter().map(Arc::as_ref).find(|console| console.is_stdio());
    let followed = first.filter(|first| config.reads_console() && !first.is_stdio());
    // Without a terminal, hvc0 would be both.
    let followed = followed.filter(|_| stdio.is_some());
    let outputs = stdio.or(first).into_iter().chain(followed).map(|console| console.output.sink());
    let machine = Arc::clone(vm);
    let interrupt = move || machine.pulse(acpi::COM1_GSI);
    Com1::new(Box::new(interrupt), Box::new(LossyWriter::new(outputs.collect())))
}

/// Whether the command line lets the kernel reset by a triple fault: reboot=t, alone or after other
/// settings (Documentation/admin-guide/kernel-parameters.txt).
fn announces_triple_fault(config: &Config) -> bool {
    let words = config.arguments.iter().filter_map(|word| word.to_str());
    let settings = words.flat_map(str::split_whitespace).filter_map(|w| w.strip_prefix("reboot="));
    settings.flat_map(|list| list.split(',')).any(|setting| setting.starts_with('t'))
}
