//! The network device (virtio 1.2, 5.1): frames go by one readv(2) or writev(2)
//! between guest memory and a tap, or whatever else keeps frames apart and puts
//! the header of 5.1.6 before each. The launcher opens it; what else it can do
//! for us is an [`Interface`]. Each queue pair has a descriptor of its own.
//!
//! From here to the queues: `receive`, `transmit`, `control`; and `drain`, before them.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::VIRTIO_NET_S_LINK_UP;
use vmm_sys_util::eventfd::EventFd;

use crate::device::{Device, QueueSpec, Service};
use crate::error::{GuestError, ServeError};
use crate::number::{low_u16, u16_constant};
use crate::request::Request;
use crate::sys;

mod control;
mod drain;
pub mod features;
mod receive;
mod transmit;

use control::NetControl;
use features::{CTRL_VQ, MQ, MRG_RXBUF, MTU};
use receive::NetReceive;
use transmit::NetTransmit;

/// Bytes of the header before each frame (struct virtio_net_hdr, 5.1.6).
pub const HEADER: u32 = 12;

/// The largest frame with its header: an IP packet of 64 KiB, which offloads
/// make of many, an Ethernet header and a VLAN tag.
const LARGEST: u32 = HEADER + 65536 + 18;

/// Entries of a receive queue: frames of 64 KiB take 43 of Linux' buffers.
const RX_SIZE: u16 = 512;
const TX_SIZE: u16 = 256;
const CONTROL_SIZE: u16 = 64;

/// A bit of `status` in struct virtio_net_config.
const LINK_UP: u16 = u16_constant(VIRTIO_NET_S_LINK_UP);

/// What the device asks of the interface behind its queues.
pub trait Interface: Send + Sync {
    /// The guest takes frames that need these features (some of
    /// [`Net::offloads`]), and no others.
    ///
    /// # Errors
    /// Of the host. An interface that is gone is not an error: it may come back.
    fn set_offloads(&self, accepted: u64) -> io::Result<()>;

    /// Frames for the guest are spread over so many queue pairs, the first ones.
    ///
    /// # Errors
    /// As above.
    fn set_pairs(&self, pairs: u16) -> io::Result<()>;
}

/// The state of the interface, as its watcher has set it.
#[derive(Debug)]
pub struct Link {
    up: AtomicBool,
    /// For each pair: written when an interface that was gone has come back.
    back: Vec<EventFd>,
}

impl Link {
    /// Of an interface with so many queue pairs.
    ///
    /// # Errors
    /// When the host has no eventfds to give.
    pub fn new(pairs: usize) -> io::Result<Self> {
        let back = (0..pairs).map(|_| EventFd::new(libc::EFD_CLOEXEC)).collect::<Result<_, _>>()?;
        Ok(Self { up: AtomicBool::new(false), back })
    }

    /// What the driver is told from now on; whether that is news.
    pub fn set(&self, up: bool) -> bool {
        self.up.swap(up, Ordering::AcqRel) != up
    }

    /// The interface had been deleted, and its descriptors work again.
    pub fn came_back(&self) {
        for event in &self.back {
            let _ = event.write(1);
        }
    }

    /// Sleep until the interface may have come back, or a signal comes.
    fn wait(&self, pair: usize) -> io::Result<()> {
        match self.back.get(pair) {
            Some(event) => sys::wait(event).map(drop),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// `status` of struct virtio_net_config.
    fn status(&self) -> u16 {
        let up = self.up.load(Ordering::Acquire);
        if up { LINK_UP } else { 0 }
    }
}

/// A network card.
pub struct Net {
    /// One for each queue pair. Each read and each write is one frame, and
    /// blocks until there is one.
    pub pairs: Vec<File>,
    /// What these lead to.
    pub interface: Arc<dyn Interface>,
    /// Its state.
    pub link: Arc<Link>,
    /// The guest's address.
    pub mac: [u8; 6],
    /// The largest packet; stays the same as long as this device (5.1.4.1).
    pub mtu: u16,
    /// What the interface can do, as [`features::OFFLOADS`].
    pub offloads: u64,
}

/// What a queue is for (5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Receive(usize),
    Transmit(usize),
    Control,
    /// None, with the features that the driver has accepted.
    Nothing,
}

impl Net {
    fn max_pairs(&self) -> u16 {
        // A PCI device has fewer queues than 2^16, see `VirtioPci::new`.
        low_u16(self.pairs.len() as u64)
    }

    /// The control queue comes after the pairs that the driver knows of.
    fn role(&self, queue: usize, accepted: u64) -> Role {
        let pairs = if accepted & MQ == 0 { 1 } else { self.pairs.len() };
        match queue {
            queue if queue == 2 * pairs && accepted & CTRL_VQ != 0 => Role::Control,
            queue if queue >= 2 * pairs => Role::Nothing,
            queue if queue.is_multiple_of(2) => Role::Receive(queue / 2),
            queue => Role::Transmit(queue / 2),
        }
    }

    fn pair(&self, pair: usize) -> io::Result<File> {
        self.pairs.get(pair).ok_or(io::ErrorKind::NotFound)?.try_clone()
    }
}

impl Device for Net {
    fn id(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn queues(&self) -> Vec<QueueSpec> {
        if self.pairs.len() == 1 {
            return vec![QueueSpec::new("rx", RX_SIZE), QueueSpec::new("tx", TX_SIZE)];
        }
        let pair = |number: usize| {
            let rx = QueueSpec::new(format!("rx{number}"), RX_SIZE);
            [rx, QueueSpec::new(format!("tx{number}"), TX_SIZE)]
        };
        let mut queues: Vec<_> = (0..self.pairs.len()).flat_map(pair).collect();
        queues.push(QueueSpec::new("ctl", CONTROL_SIZE));
        queues
    }

    fn features(&self) -> u64 {
        let several = if self.pairs.len() > 1 { MQ | CTRL_VQ } else { 0 };
        // 5.1.4.1: an IPv4 host takes packets of 68 bytes, and less is not a valid MTU.
        let mtu = if self.mtu >= 68 { MTU } else { 0 };
        features::offered(self.offloads) | several | mtu
    }

    /// struct virtio_net_config (5.1.4).
    fn config(&self) -> Vec<u8> {
        let mut config = self.mac.to_vec();
        for field in [self.link.status(), self.max_pairs(), self.mtu] {
            config.extend(field.to_le_bytes());
        }
        config
    }

    /// Frames that came before are not this driver's: another one, with other features,
    /// may have been there for them (5.1.6.4), or none.
    fn begin(&self, accepted: u64) -> io::Result<()> {
        self.interface.set_offloads(features::usable(accepted & self.offloads))?;
        // 5.1.5: one pair until the driver says that it uses more.
        self.interface.set_pairs(1)?;
        self.pairs.iter().for_each(drain::drain);
        Ok(())
    }

    fn service(&self, queue: usize, accepted: u64) -> io::Result<Box<dyn Service>> {
        Ok(match self.role(queue, accepted) {
            Role::Receive(pair) => Box::new(NetReceive {
                tap: self.pair(pair)?,
                link: Arc::clone(&self.link),
                pair,
                merges: accepted & MRG_RXBUF != 0,
                checksums: accepted & features::GUEST_CSUM != 0,
            }),
            Role::Transmit(pair) => Box::new(NetTransmit::new(self.pair(pair)?)),
            Role::Control => {
                Box::new(NetControl::new(Arc::clone(&self.interface), self.max_pairs()))
            }
            Role::Nothing => Box::new(Nothing),
        })
    }
}

/// A queue that a driver enables without having accepted what it is for.
struct Nothing;

impl Service for Nothing {
    fn serve(&mut self, _request: &mut Request<'_>) -> Result<(), ServeError> {
        Err(GuestError::NoSuchQueue.into())
    }
}

#[cfg(test)]
mod tests;
