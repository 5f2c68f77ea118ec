//! The body of a vCPU's thread.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::thread;

use devices::mutex::lock;
use kvm_bindings::{KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::observer::VcpuObserver;
use super::{KvmVcpu, PausedAt, VcpuContext, VcpuControl};
use crate::crash::{self, Cause};
use crate::end::MachineEnd;
use crate::sys;

/// Why KVM_RUN returned to a vCPU that continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    /// The guest accessed a device, and the access was served. KVM has not completed it.
    Served,
    /// The vCPU is between two instructions.
    Interrupted,
}

/// Run the vCPU until the thread has to end, or the machine does. The thread holds the vCPU's lock
/// except while the machine is paused.
pub(super) fn run(
    vcpu: &Mutex<KvmVcpu>,
    context: &VcpuContext,
    observer: &VcpuObserver,
    control: &VcpuControl,
) {
    observer.begin_thread();
    let mut running = lock(vcpu);
    while !control.stop.load(Ordering::Acquire) {
        let fd = &mut running.fd;
        let pauses = context.paused.load(Ordering::SeqCst);
        let ran = if pauses {
            complete(fd, context, observer, control)
        } else {
            enter(fd, context, observer).map(drop)
        };
        if let Err(cause) = ran {
            let end = match cause {
                Cause::TripleFault => {
                    crash::triple_fault(fd, &context.memory, context.triple_fault_resets)
                }
                cause => crash::report(fd, &context.memory, &cause),
            };
            return context.owner.ended(end);
        }
        if pauses {
            wait_while_paused(running, context, control);
            running = lock(vcpu);
            // For the guest's watchdogs, as after a kick: time passed in which the CPU did not run.
            // Fails if the guest has no such clock.
            let _ = running.fd.kvmclock_ctrl();
        }
    }
}

/// Enter the guest, and serve the exit.
fn enter(fd: &mut VcpuFd, context: &VcpuContext, observer: &VcpuObserver) -> Result<Ran, Cause> {
    let ran = fd.run();
    let seen = observer.exited(&ran);
    let served = match ran {
        Ok(VcpuExit::InternalError) => Err(Cause::InternalError(sys::internal_error(fd))),
        Ok(exit) => serve(exit, context).map(|()| Ran::Served),
        Err(error) if error.errno() == libc::EINTR => {
            // A kick, or the launcher was stopped and continued. The guest's watchdogs must
            // not take that for a CPU that hung. Fails if the guest has no such clock.
            let _ = fd.kvmclock_ctrl();
            Ok(Ran::Interrupted)
        }
        // The CPU waits to be started.
        Err(error) if error.errno() == libc::EAGAIN => Ok(Ran::Interrupted),
        Err(error) => Err(Cause::Refused(error.into())),
    };
    observer.served(&seen);
    served
}

/// Have KVM complete the access that was served last: until then a value that the guest reads is
/// not in its register, and the instruction may need more accesses (`rep ins`, an access that KVM
/// splits). The guest executes nothing else.
fn complete(
    fd: &mut VcpuFd,
    context: &VcpuContext,
    observer: &VcpuObserver,
    control: &VcpuControl,
) -> Result<(), Cause> {
    fd.set_kvm_immediate_exit(1);
    let mut completed = Ok(Ran::Served);
    while matches!(completed, Ok(Ran::Served)) && !control.stop.load(Ordering::Acquire) {
        completed = enter(fd, context, observer);
    }
    fd.set_kvm_immediate_exit(0);
    completed.map(drop)
}

/// Release the vCPU, and wait until the machine is resumed or the thread has to end.
fn wait_while_paused(
    running: MutexGuard<'_, KvmVcpu>,
    context: &VcpuContext,
    control: &VcpuControl,
) {
    let set = |at| *lock(&control.paused_at) = at;
    set(PausedAt::of(&running.fd));
    drop(running);
    control.still.store(true, Ordering::SeqCst);
    while context.paused.load(Ordering::SeqCst) && !control.stop.load(Ordering::Acquire) {
        thread::park();
    }
    control.still.store(false, Ordering::SeqCst);
    set(None);
}

/// Serve one exit. Most exits are accesses to registers.
pub(super) fn serve(exit: VcpuExit<'_>, context: &VcpuContext) -> Result<(), Cause> {
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
