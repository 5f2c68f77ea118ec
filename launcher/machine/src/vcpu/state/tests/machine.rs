//! A machine with one vCPU, COM1 and a program, which can be saved and restored.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use devices::pci::PciBus;
use vm_memory::{Bytes, GuestAddress};

use super::program::{self, COUNTER, TICKS, Timer};
use super::*;
use crate::acpi::{COM1_GSI, RTC_GSI};
use crate::cpuid::{Cpus, Features};
use crate::end::testing::Ended;
use crate::memory::Ram;
use crate::ports::{Com1, Ports, PortsState};
use crate::power::Power;
use crate::rtc::Clock;
use crate::testing::skip;
use crate::vcpu::{Vcpu, VcpuContext};
use crate::vm::{Vm, VmState, open_kvm};

const MEMORY: u64 = 4 << 20;

/// A condition that is false for so long never becomes true.
const LONG: Duration = Duration::from_secs(60);

/// This host's KVM. Without it, the test is skipped.
#[track_caller]
pub(super) fn kvm() -> Option<Kvm> {
    open_kvm().map_err(|error| skip(&format!("{error:#}"))).ok()
}

/// The state of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) vcpu: VcpuState,
    pub(super) vm: VmState,
    pub(super) ports: PortsState,
}

impl Saved {
    /// What kvm-clock showed, in nanoseconds.
    pub(super) fn clock(&self) -> u64 {
        serde_json::to_value(&self.vm).unwrap()["clock"]["guest"].as_u64().unwrap()
    }
}

pub(super) struct Machine {
    vcpus: Vec<Vcpu>,
    pub(super) vm: Arc<Vm>,
    context: Arc<VcpuContext>,
    owner: Arc<Ended>,
    pub(super) ram: Ram,
}

impl Machine {
    /// Start the program.
    pub(super) fn start(kvm: &Kvm, timer: Timer) -> Self {
        let mut machine = Self::new(kvm, Ram::new(MEMORY).unwrap());
        let mut vcpu = machine.vm.create_vcpu(0).unwrap();
        let cpus = Cpus::new(kvm, 1, Features::default()).unwrap();
        vcpu.set_cpuid(&cpus.cpuid(0).unwrap()).unwrap();
        program::write(machine.ram.memory(), timer);
        program::set_registers(vcpu.fd(), timer);
        machine.run(vcpu);
        machine
    }

    /// Restore a machine, and let it run.
    pub(super) fn restored(kvm: &Kvm, saved: &Saved, file: &File) -> Self {
        let machine = Self::restored_paused(kvm, saved, file).unwrap();
        machine.context.ports.clock.hold(false);
        machine.context.paused.store(false, Ordering::SeqCst);
        machine.vcpu().wake();
        machine
    }

    /// Restore a machine, which is paused.
    pub(super) fn restored_paused(kvm: &Kvm, saved: &Saved, file: &File) -> Result<Self> {
        let mut machine = Self::new(kvm, Ram::restored(MEMORY, file)?);
        machine.context.paused.store(true, Ordering::SeqCst);
        let mut vcpu = machine.vm.create_vcpu(0)?;
        vcpu.restore(&saved.vcpu)?;
        machine.vm.restore(&saved.vm)?;
        machine.context.ports.restore(&saved.ports)?;
        machine.run(vcpu);
        Ok(machine)
    }

    fn new(kvm: &Kvm, ram: Ram) -> Self {
        let owner = Arc::new(Ended::default());
        let vm = Arc::new(Vm::new(kvm, &ram, Features::default(), owner.clone()).unwrap());
        let machine = || Arc::clone(&vm);
        let (sci, com1, rtc) = (machine(), machine(), machine());
        let com1 = Com1::new(Box::new(move || com1.pulse(COM1_GSI)), Box::new(io::sink()));
        let ports = Ports {
            pci: PciBus::new(0xc000_0000),
            owner: owner.clone(),
            com1: Some(com1),
            power: Arc::new(Power::new(Box::new(move |level| sci.set_sci(level)))),
            clock: Clock::new(Box::new(move || rtc.pulse(RTC_GSI)), Box::new(|| {})),
        };
        let context = VcpuContext {
            ports,
            memory: ram.memory().clone(),
            owner: owner.clone(),
            paused: Arc::new(AtomicBool::new(false)),
            triple_fault_resets: false,
        };
        Self { vcpus: Vec::new(), vm, context: Arc::new(context), owner, ram }
    }

    fn run(&mut self, vcpu: KvmVcpu) {
        self.vcpus.push(Vcpu::start(vcpu, Arc::clone(&self.context), Arc::default()).unwrap());
    }

    pub(super) fn vcpu(&self) -> &Vcpu {
        &self.vcpus[0]
    }

    /// Read a number from guest memory.
    pub(super) fn read(&self, address: u64) -> u64 {
        self.ram.memory().read_obj(GuestAddress(address)).unwrap()
    }

    /// Wait until the guest has counted on, and its timer has interrupted it.
    #[track_caller]
    pub(super) fn wait_until_it_continues(&self, before: (u64, u64)) {
        let start = Instant::now();
        while self.read(COUNTER) <= before.0 || self.read(TICKS) <= before.1 {
            let now = (self.read(COUNTER), self.read(TICKS));
            assert!(start.elapsed() < LONG, "it hangs: {before:?}, now {now:?}: {:?}", {
                self.pause();
                (self.vcpu().paused_at(), self.owner.take())
            });
            self.assert_no_end();
            thread::yield_now();
        }
        self.assert_no_end();
    }

    #[track_caller]
    fn assert_no_end(&self) {
        let end = self.owner.take();
        assert!(end.is_none(), "{end:?}");
    }

    /// Pause the vCPU.
    #[track_caller]
    pub(super) fn pause(&self) {
        self.context.paused.store(true, Ordering::SeqCst);
        let start = Instant::now();
        while !self.vcpu().is_still() {
            assert!(start.elapsed() < LONG, "it does not pause");
            // Each look is a signal. Real-time signals queue: a thread that gets them without a
            // break does nothing but take them.
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Pause the machine and save it.
    #[track_caller]
    pub(super) fn save(&self) -> (Saved, File) {
        self.pause();
        self.assert_no_end();
        self.context.ports.clock.hold(true);
        let vcpu = self.vcpu().state().unwrap();
        let (vm, ports) = (self.vm.state().unwrap(), self.context.ports.state().unwrap());
        let file = tempfile::tempfile().unwrap();
        self.ram.save(&file, &|| true).unwrap();
        (Saved { vcpu, vm, ports }, file)
    }
}
