//! The observer of a vCPU. It counts the returns from KVM_RUN by kind. If the guest is traced, it
//! also records each of them with the time until the vCPU runs again. One thread writes the counts,
//! as with [`devices::stats`].

use std::sync::Arc;

use devices::stats::Count;
use devices::trace::{EventKind, TraceRing};
use kvm_ioctls::VcpuExit;

/// The kinds of events in a vCPU's trace ring. The constants below are indices into it.
pub const EVENT_KINDS: &[EventKind] = &[
    EventKind::new("port in", ["port", "bytes"]),
    EventKind::new("port out", ["port", "bytes"]),
    EventKind::new("mmio read", ["address", "bytes"]),
    EventKind::new("mmio write", ["address", "bytes"]),
    EventKind::new("hlt", ["", ""]),
    EventKind::new("signal", ["", ""]),
    EventKind::new("other exit", ["", ""]),
];

const PORT_IN: u8 = 0;
const PORT_OUT: u8 = 1;
const MMIO_READ: u8 = 2;
const MMIO_WRITE: u8 = 3;
const HLT: u8 = 4;
const SIGNAL: u8 = 5;
const OTHER: u8 = 6;

/// How often a vCPU returned from the guest, for each reason.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct VcpuStats {
    /// Reads of a port (`in`).
    port_in: Count,
    /// Writes to a port (`out`).
    port_out: Count,
    /// Accesses to a device's registers in memory.
    mmio: Count,
    /// Returns because the guest has nothing to do, or because of a signal: the vCPU has to stop or
    /// to pause.
    interrupted: Count,
    /// All other returns.
    other: Count,
}

impl VcpuStats {
    /// All counts, by name.
    pub fn fields(&self) -> [(&'static str, u64); 5] {
        [
            ("port_in", self.port_in.get()),
            ("port_out", self.port_out.get()),
            ("mmio", self.mmio.get()),
            ("interrupted", self.interrupted.get()),
            ("other", self.other.get()),
        ]
    }
}

/// The observer of a vCPU. It outlives the vCPU's threads.
#[derive(Debug, Default)]
pub struct VcpuObserver {
    /// Exits, counted by kind.
    pub stats: VcpuStats,
    ring: Option<Arc<TraceRing>>,
}

/// An exit that the vCPU's thread is serving.
#[derive(Debug)]
pub(super) struct ObservedExit {
    kind: u8,
    begin: Option<u64>,
    numbers: [u64; 2],
}

impl VcpuObserver {
    /// An observer. It also traces, if it gets a trace ring with [`EVENT_KINDS`].
    pub fn new(ring: Option<Arc<TraceRing>>) -> Self {
        Self { stats: VcpuStats::default(), ring }
    }

    /// Record that the calling thread runs the vCPU from now on.
    pub(super) fn begin_thread(&self) {
        if let Some(ring) = &self.ring {
            ring.begin_thread();
        }
    }

    /// Count a return from KVM_RUN.
    pub(super) fn exited(&self, ran: &Result<VcpuExit<'_>, kvm_ioctls::Error>) -> ObservedExit {
        let begin = self.ring.as_ref().map(|_| TraceRing::now());
        let stats = &self.stats;
        let numbers = |what: u64, data: &[u8]| [what, data.len() as u64];
        let (kind, count, numbers) = match ran {
            Ok(VcpuExit::IoIn(port, data)) => {
                (PORT_IN, &stats.port_in, numbers((*port).into(), data))
            }
            Ok(VcpuExit::IoOut(port, data)) => {
                (PORT_OUT, &stats.port_out, numbers((*port).into(), data))
            }
            Ok(VcpuExit::MmioRead(address, data)) => {
                (MMIO_READ, &stats.mmio, numbers(*address, data))
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                (MMIO_WRITE, &stats.mmio, numbers(*address, data))
            }
            Ok(VcpuExit::Hlt) => (HLT, &stats.interrupted, [0; 2]),
            Ok(VcpuExit::Intr) => (SIGNAL, &stats.interrupted, [0; 2]),
            Err(error) if error.errno() == libc::EINTR => (SIGNAL, &stats.interrupted, [0; 2]),
            _ => (OTHER, &stats.other, [0; 2]),
        };
        count.add(1);
        ObservedExit { kind, begin, numbers }
    }

    /// Trace an exit that was served: the vCPU runs again.
    pub(super) fn served(&self, exit: &ObservedExit) {
        if let (Some(ring), Some(begin)) = (&self.ring, exit.begin) {
            ring.slice(exit.kind, begin, exit.numbers);
        }
    }
}
