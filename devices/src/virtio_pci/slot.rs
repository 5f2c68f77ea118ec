//! The queues of a device, whether or not its driver uses them.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::config_space::bar;
use crate::device::QueueSpec;
use crate::interrupt::Machine;
use crate::msix::ENTRY;
use crate::observer::Observer;

/// The most MSI-X vectors of a device: its table has one page of the BAR.
const MOST_VECTORS: u16 = 256;
const _: () = assert!(MOST_VECTORS as u64 * ENTRY == bar::MSIX_TABLE.end - bar::MSIX_TABLE.start);

/// One virtqueue of a device.
pub(super) struct QueueSlot {
    /// The name of the queue's thread: "blk0-q0".
    pub(super) name: String,
    pub(super) doorbell: Arc<EventFd>,
    pub(super) observer: Arc<Observer>,
}

impl QueueSlot {
    /// The slot of a queue of `device`, with the observer that the machine has for it.
    pub(super) fn new(device: &str, spec: &QueueSpec, machine: &dyn Machine) -> io::Result<Self> {
        let name = format!("{device}-{}", spec.name);
        let observer = machine.observer(&name);
        Ok(Self { name, doorbell: event(0)?, observer })
    }
}

/// The eventfds of a device's MSI-X vectors: one for the configuration, and one for each queue.
/// Returns also how many there are.
pub(super) fn vectors(queues: usize) -> io::Result<(Vec<Arc<EventFd>>, u16)> {
    let count = u16::try_from(queues).ok().and_then(|queues| queues.checked_add(1));
    let count = count.filter(|count| *count <= MOST_VECTORS);
    let count = count.ok_or_else(|| io::Error::other(format!("{queues} queues are too many")))?;
    let vectors = (0..count).map(|_| event(libc::EFD_NONBLOCK)).collect::<Result<_, _>>()?;
    Ok((vectors, count))
}

fn event(flags: libc::c_int) -> io::Result<Arc<EventFd>> {
    EventFd::new(libc::EFD_CLOEXEC | flags).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_more_queues_than_vectors_is_refused() {
        let (vectors, count) = vectors(255).unwrap();
        assert_eq!((vectors.len(), count), (256, MOST_VECTORS));
        for queues in [256, 0xffff, 0x1_0000, usize::MAX] {
            let error = super::vectors(queues).unwrap_err();
            assert_eq!(error.to_string(), format!("{queues} queues are too many"));
        }
    }
}
