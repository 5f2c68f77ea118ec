//! What is seen of a vCPU: its returns from KVM_RUN, by kind, counted and, if there is a
//! lane for it, noted with the time until it runs again. One thread writes it, as with
//! [`devices::stats`].

use std::sync::Arc;

use devices::stats::Count;
use devices::trace::{EventKind, TraceRing};
use kvm_ioctls::VcpuExit;

/// The events in a vCPU's lane, in the order of the constants below.
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

/// How often a vCPU came back from the guest, and what for.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct VcpuStats {
    /// `in`.
    port_in: Count,
    /// `out`.
    port_out: Count,
    /// An access to a device's registers in memory.
    mmio: Count,
    /// The guest has nothing to do, or a signal came: the vCPU is to stop, or to pause.
    interrupted: Count,
    /// Everything else.
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
    lane: Option<Arc<TraceRing>>,
}

/// An exit that is being served.
#[derive(Debug)]
pub(super) struct ObservedExit {
    word: u8,
    begin: Option<u64>,
    numbers: [u64; 2],
}

impl VcpuObserver {
    /// One that also traces, if there is a lane with [`EVENT_KINDS`].
    pub fn new(lane: Option<Arc<TraceRing>>) -> Self {
        Self { stats: VcpuStats::default(), lane }
    }

    /// The calling thread is the vCPU's from now on.
    pub(super) fn begin_thread(&self) {
        if let Some(lane) = &self.lane {
            lane.begin_thread();
        }
    }

    /// KVM_RUN has returned with this.
    pub(super) fn exited(&self, ran: &Result<VcpuExit<'_>, kvm_ioctls::Error>) -> ObservedExit {
        let begin = self.lane.as_ref().map(|_| TraceRing::now());
        let stats = &self.stats;
        let numbers = |what: u64, data: &[u8]| [what, data.len() as u64];
        let (word, count, numbers) = match ran {
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
        ObservedExit { word, begin, numbers }
    }

    /// It has been served: the vCPU runs again.
    pub(super) fn served(&self, exit: &ObservedExit) {
        if let (Some(lane), Some(begin)) = (&self.lane, exit.begin) {
            lane.slice(exit.word, begin, exit.numbers);
        }
    }
}
