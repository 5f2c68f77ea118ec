//! A vCPU: the thread that runs KVM_RUN. It returns from there for configuration
//! accesses only (PCI, ports): notifications and interrupts do not pass through it. The thread ends
//! when it is asked to, or with the guest.

mod kvm_vcpu;
pub mod observer;
mod paused_at;
mod run;
mod state;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use devices::kick;
use devices::mutex::lock;
use devices::queue_thread::panic_message;
use devices::threads;
use vmm_sys_util::signal::{Killable, SIGRTMIN};

use crate::end::{MachineEnd, MachineOwner};
use crate::memory::Memory;
use crate::ports::Ports;
pub use kvm_vcpu::KvmVcpu;
use observer::VcpuObserver;
pub use paused_at::PausedAt;
pub use state::{VcpuFormat, VcpuState};

/// The data that all vCPUs of a machine share.
pub struct VcpuContext {
    /// The devices that answer the guest's accesses to ports and device registers.
    pub ports: Ports,
    /// Guest memory.
    pub memory: Memory,
    /// The owner, which is notified of the machine's end.
    pub owner: Arc<dyn MachineOwner>,
    /// Whether the vCPUs have to pause. The flag outlives reboots of the guest.
    pub paused: Arc<AtomicBool>,
    /// Whether the kernel command line announces triple faults as resets, see
    /// [`crate::crash::triple_fault`].
    pub triple_fault_resets: bool,
}

/// A running vCPU. Dropping it stops it.
#[derive(Debug)]
pub struct Vcpu {
    control: Arc<VcpuControl>,
    /// The vCPU. Its thread holds the lock, except while the machine is paused.
    vcpu: Arc<Mutex<KvmVcpu>>,
    /// Whether the machine has to pause.
    paused: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The flags between a vCPU's thread and the thread that stops or pauses it.
#[derive(Debug, Default)]
struct VcpuControl {
    /// The thread has to end.
    stop: AtomicBool,
    /// The thread is out of KVM_RUN, because the machine is paused. Sequentially consistent, like
    /// `paused`: a thread that sets `paused` and then reads true here will not see the guest run.
    still: AtomicBool,
    /// The place at which the vCPU was paused. `None` while it runs.
    paused_at: Mutex<Option<PausedAt>>,
}

impl Vcpu {
    /// Start the vCPU's thread. It runs the guest, unless the machine is paused.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub fn start(
        vcpu: KvmVcpu,
        context: Arc<VcpuContext>,
        observer: Arc<VcpuObserver>,
    ) -> Result<Self> {
        let (id, owner) = (vcpu.id, Arc::clone(&context.owner));
        let paused = Arc::clone(&context.paused);
        let vcpu = Arc::new(Mutex::new(vcpu));
        let (control, ours) = (Arc::<VcpuControl>::default(), Arc::clone(&vcpu));
        let flags = Arc::clone(&control);
        let thread = spawn(id, owner, move || run::run(&ours, &context, &observer, &flags))?;
        Ok(Self { control, vcpu, paused, thread: Some(thread) })
    }

    /// Read the whole state of a paused vCPU. [`Self::is_still`] has to have returned true.
    ///
    /// # Errors
    /// When the machine is not paused, the vCPU's thread has ended, or KVM refuses a part.
    pub fn state(&self) -> Result<VcpuState> {
        ensure!(self.paused.load(Ordering::SeqCst), "{} is not paused", self.name());
        let is_alive = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        ensure!(is_alive, "{} has ended", self.name());
        // After a resume and a new pause, the thread may still be on its way from the first to the
        // second. It enters no guest there.
        lock(&self.vcpu).state()
    }

    /// The name of the thread: "vcpu0".
    pub fn name(&self) -> String {
        let name = self.thread.as_ref().and_then(|thread| thread.thread().name());
        name.unwrap_or_default().to_string()
    }

    /// Ask the thread to end.
    pub fn request_stop(&self) {
        self.control.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Wake up the thread of a paused vCPU, so that it checks its flags again.
    pub fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether the vCPU is paused, or has ended. If not, it is kicked out of KVM_RUN; ask again
    /// then, because a kick can come too early.
    pub fn is_still(&self) -> bool {
        let Some(thread) = &self.thread else { return true };
        if self.control.still.load(Ordering::SeqCst) || thread.is_finished() {
            return true;
        }
        // Fails only for a thread that has just ended.
        let _ = thread.kill(SIGRTMIN());
        false
    }

    /// The place at which the vCPU was paused. `None` if it is not paused.
    pub fn paused_at(&self) -> Option<PausedAt> {
        *lock(&self.control.paused_at)
    }

    /// Whether the thread, which was asked to end, has ended by `until`.
    pub fn stops_by(&self, until: Instant) -> bool {
        self.thread.as_ref().is_none_or(|thread| kick::wait_stopped(thread, Some(until)))
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        self.request_stop();
        if let Some(thread) = self.thread.take() {
            let _ = kick::join(thread); // Its panic has been reported.
        }
    }
}

/// Start the thread of the vCPU of this number. A panic in `body` ends the machine.
fn spawn(
    id: u8,
    owner: Arc<dyn MachineOwner>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    kick::install();
    let body = move || {
        kick::accept();
        let ran = panic::catch_unwind(AssertUnwindSafe(body));
        if let Err(panic) = ran {
            let why = format!("vcpu{id}: {}", panic_message(panic.as_ref()));
            owner.ended(MachineEnd::Failed(why));
        }
    };
    let thread = threads::start(format!("vcpu{id}"), body);
    thread.with_context(|| format!("starting vCPU {id}"))
}

#[cfg(test)]
mod tests;
