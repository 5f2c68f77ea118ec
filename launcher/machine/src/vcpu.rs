//! A vCPU: the thread that runs KVM_RUN. It returns from there for configuration
//! accesses only (PCI, ports): notifications and interrupts do not pass through it. The thread ends
//! when it is asked to, or with the guest.

pub mod observer;
mod paused_at;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use devices::kick;
use devices::mutex::lock;
use devices::queue_thread::panic_message;
use devices::threads;
use kvm_bindings::{KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{Killable, SIGRTMIN};

use crate::crash::{self, Cause};
use crate::end::{MachineEnd, MachineOwner};
use crate::memory::Memory;
use crate::ports::Ports;
use crate::sys;
use observer::VcpuObserver;
pub use paused_at::PausedAt;

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
    /// [`crash::triple_fault`].
    pub triple_fault_resets: bool,
}

/// A running vCPU. Dropping it stops it.
#[derive(Debug)]
pub struct Vcpu {
    control: Arc<VcpuControl>,
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
    /// Start the vCPU's thread.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub fn start(
        id: u8,
        mut fd: VcpuFd,
        context: Arc<VcpuContext>,
        observer: Arc<VcpuObserver>,
    ) -> Result<Self> {
        let owner = Arc::clone(&context.owner);
        Self::spawn(id, owner, move |control| run(&mut fd, &context, &observer, control))
    }

    /// Start a thread for the vCPU of this number. A panic in `body` ends the machine.
    fn spawn(
        id: u8,
        owner: Arc<dyn MachineOwner>,
        body: impl FnOnce(&VcpuControl) + Send + 'static,
    ) -> Result<Self> {
        kick::install();
        let control = Arc::new(VcpuControl::default());
        let ours = Arc::clone(&control);
        let body = move || {
            kick::accept();
            let ran = panic::catch_unwind(AssertUnwindSafe(|| body(&ours)));
            if let Err(panic) = ran {
                let why = format!("vcpu{id}: {}", panic_message(panic.as_ref()));
                owner.ended(MachineEnd::Failed(why));
            }
        };
        let thread = threads::start(format!("vcpu{id}"), body);
        Ok(Self { control, thread: Some(thread.with_context(|| format!("starting vCPU {id}"))?) })
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

fn run(fd: &mut VcpuFd, context: &VcpuContext, observer: &VcpuObserver, control: &VcpuControl) {
    observer.begin_thread();
    while !control.stop.load(Ordering::Acquire) {
        if context.paused.load(Ordering::SeqCst) {
            wait_while_paused(fd, context, control);
            continue;
        }
        let ran = fd.run();
        let seen = observer.exited(&ran);
        let cause = match ran {
            Ok(VcpuExit::InternalError) => Err(Cause::InternalError(sys::internal_error(fd))),
            Ok(exit) => serve(exit, context),
            Err(error) if error.errno() == libc::EINTR => {
                // A kick, or the launcher was stopped and continued. The guest's watchdogs must
                // not take that for a CPU that hung. Fails if the guest has no such clock.
                let _ = fd.kvmclock_ctrl();
                Ok(())
            }
            // The CPU waits to be started.
            Err(error) if error.errno() == libc::EAGAIN => Ok(()),
            Err(error) => Err(Cause::Refused(error.into())),
        };
        observer.served(&seen);
        if let Err(cause) = cause {
            let end = match cause {
                Cause::TripleFault => {
                    crash::triple_fault(fd, &context.memory, context.triple_fault_resets)
                }
                cause => crash::report(fd, &context.memory, &cause),
            };
            return context.owner.ended(end);
        }
    }
}

/// Wait until the machine is resumed, or the thread has to end.
fn wait_while_paused(fd: &VcpuFd, context: &VcpuContext, control: &VcpuControl) {
    let set = |at| *lock(&control.paused_at) = at;
    set(PausedAt::of(fd));
    control.still.store(true, Ordering::SeqCst);
    while context.paused.load(Ordering::SeqCst) && !control.stop.load(Ordering::Acquire) {
        thread::park();
    }
    control.still.store(false, Ordering::SeqCst);
    set(None);
    // For the guest's watchdogs, as after a kick: time passed in which the CPU did not run.
    let _ = fd.kvmclock_ctrl();
}

/// Serve one exit. Most exits are accesses to registers.
fn serve(exit: VcpuExit<'_>, context: &VcpuContext) -> Result<(), Cause> {
    let ports = &context.ports;
    match exit {
        VcpuExit::IoIn(port, data) => ports.read(port, data),
        VcpuExit::IoOut(port, data) => ports.write(port, data),
        VcpuExit::MmioRead(address, data) => ports.pci.read_memory(address, data),
        VcpuExit::MmioWrite(address, data) => ports.pci.write_memory(address, data),
        VcpuExit::Shutdown => return Err(Cause::TripleFault),
        VcpuExit::FailEntry(reason, _cpu) => return Err(Cause::FailedEntry(reason)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => {
            context.owner.ended(MachineEnd::PoweredOff);
        }
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => {
            context.owner.ended(MachineEnd::Reset("a KVM system event"));
        }
        VcpuExit::Intr | VcpuExit::Hlt => {}
        other => return Err(Cause::Unknown(format!("{other:?}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
