//! A vCPU: the thread that sits in KVM_RUN. It comes back for configuration
//! accesses only (PCI, ports); notifications and interrupts go past it. It ends
//! when asked to, or with the guest.

pub(crate) mod observer;
mod stand;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use devices::kick;
use devices::queue_thread::panic_message;
use devices::threads;
use host::exit::Exit;
use kvm_bindings::{KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{Killable, SIGRTMIN};

use crate::crash::{self, Cause};
use crate::ending::Ending;
use crate::memory::Memory;
use crate::ports::Ports;
use crate::sys;
use observer::VcpuObserver;
pub(crate) use stand::Stand;

/// What all vCPUs of a machine share.
pub(crate) struct Board {
    pub(crate) ports: Ports,
    pub(crate) memory: Memory,
    pub(crate) exit: Arc<Exit<Ending>>,
    /// Whether the vCPUs are to be paused; it outlives a guest's reboots.
    pub(crate) paused: Arc<AtomicBool>,
    /// What a triple fault means to this guest, see [`crash::triple_fault`].
    pub(crate) triple_fault_resets: bool,
}

/// A running vCPU. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Vcpu {
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

/// What a vCPU's thread is told, and what it tells.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    /// It is out of KVM_RUN, because the machine is paused. Sequentially
    /// consistent, like `paused`: a thread that sets `paused` and then reads true
    /// here will not see the guest run.
    still: AtomicBool,
    /// Where it does.
    stand: Mutex<Option<Stand>>,
}

impl Vcpu {
    /// Let it run.
    pub(crate) fn start(
        id: u8,
        mut fd: VcpuFd,
        board: Arc<Board>,
        observer: Arc<VcpuObserver>,
    ) -> Result<Self> {
        let exit = Arc::clone(&board.exit);
        Self::spawn(id, exit, move |told| run(&mut fd, &board, &observer, told))
    }

    /// A thread of this number that does this; a panic there is the guest's end.
    fn spawn(
        id: u8,
        exit: Arc<Exit<Ending>>,
        body: impl FnOnce(&Told) + Send + 'static,
    ) -> Result<Self> {
        kick::install();
        let told = Arc::new(Told::default());
        let ours = Arc::clone(&told);
        let body = move || {
            kick::accept();
            let ran = panic::catch_unwind(AssertUnwindSafe(|| body(&ours)));
            if let Err(panic) = ran {
                let why = format!("vcpu{id}: {}", panic_message(panic.as_ref()));
                exit.end(Ending::Failed(why));
            }
        };
        let thread = threads::start(format!("vcpu{id}"), body);
        Ok(Self { told, thread: Some(thread.with_context(|| format!("starting vCPU {id}"))?) })
    }

    /// Its thread's name: "vcpu0".
    pub(crate) fn name(&self) -> String {
        let name = self.thread.as_ref().and_then(|thread| thread.thread().name());
        name.unwrap_or_default().to_string()
    }

    /// Tell it to stop.
    pub(crate) fn tell(&self) {
        self.told.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Wake a paused vCPU, so that it looks at its orders again.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether the vCPU is paused, or has ended; if not, it is kicked out of
    /// KVM_RUN. Ask again then: a kick can come too early.
    pub(crate) fn is_still(&self) -> bool {
        let Some(thread) = &self.thread else { return true };
        if self.told.still.load(Ordering::SeqCst) || thread.is_finished() {
            return true;
        }
        // Fails only for a thread that has just ended.
        let _ = thread.kill(SIGRTMIN());
        false
    }

    /// What the vCPU was doing, while it is paused.
    pub(crate) fn stand(&self) -> Option<Stand> {
        *self.told.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether, having been told, it has by `until`.
    pub(crate) fn stops(&self, until: Instant) -> bool {
        self.thread.as_ref().is_none_or(|thread| kick::stops(thread, Some(until)))
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            let _ = kick::join(thread); // Its panic has been reported.
        }
    }
}

fn run(fd: &mut VcpuFd, board: &Board, observer: &VcpuObserver, told: &Told) {
    observer.begin_thread();
    while !told.stop.load(Ordering::Acquire) {
        if board.paused.load(Ordering::SeqCst) {
            stand_still(fd, board, told);
            continue;
        }
        let ran = fd.run();
        let seen = observer.exited(&ran);
        let cause = match ran {
            Ok(VcpuExit::InternalError) => Err(Cause::InternalError(sys::internal_error(fd))),
            Ok(exit) => serve(exit, board),
            Err(error) if error.errno() == libc::EINTR => {
                // A kick; or the launcher was stopped and goes on. The guest's watchdogs
                // are not to take that for a CPU that hung: fails if it has no such clock.
                let _ = fd.kvmclock_ctrl();
                Ok(())
            }
            // A CPU that waits to be started.
            Err(error) if error.errno() == libc::EAGAIN => Ok(()),
            Err(error) => Err(Cause::Refused(error.into())),
        };
        observer.served(&seen);
        if let Err(cause) = cause {
            let ending = match cause {
                Cause::TripleFault => {
                    crash::triple_fault(fd, &board.memory, board.triple_fault_resets)
                }
                cause => crash::report(fd, &board.memory, &cause),
            };
            return board.exit.end(ending);
        }
    }
}

/// Until the machine goes on, or this is to stop.
fn stand_still(fd: &VcpuFd, board: &Board, told: &Told) {
    let set = |stand| *told.stand.lock().unwrap_or_else(PoisonError::into_inner) = stand;
    set(Stand::of(fd));
    told.still.store(true, Ordering::SeqCst);
    while board.paused.load(Ordering::SeqCst) && !told.stop.load(Ordering::Acquire) {
        thread::park();
    }
    told.still.store(false, Ordering::SeqCst);
    set(None);
    // As above: time that passed without the guest is not its fault.
    let _ = fd.kvmclock_ctrl();
}

/// One exit. Most are an access to a register that somebody has to answer.
fn serve(exit: VcpuExit<'_>, board: &Board) -> Result<(), Cause> {
    let ports = &board.ports;
    match exit {
        VcpuExit::IoIn(port, data) => ports.read(port, data),
        VcpuExit::IoOut(port, data) => ports.write(port, data),
        VcpuExit::MmioRead(address, data) => ports.pci.read_memory(address, data),
        VcpuExit::MmioWrite(address, data) => ports.pci.write_memory(address, data),
        VcpuExit::Shutdown => return Err(Cause::TripleFault),
        VcpuExit::FailEntry(reason, _cpu) => return Err(Cause::FailedEntry(reason)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => board.exit.end(Ending::PoweredOff),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => {
            board.exit.end(Ending::Reset("a KVM system event"));
        }
        VcpuExit::Intr | VcpuExit::Hlt => {}
        other => return Err(Cause::Unknown(format!("{other:?}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
