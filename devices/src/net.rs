//! The network device (virtio 1.2, 5.1). One readv(2) or writev(2) moves a frame between
//! guest memory and a tap, or another descriptor that keeps frames apart and puts the
//! header of 5.1.6 before each. Each queue pair has a descriptor, which the launcher has
//! opened. The device controls the interface behind them through an [`Interface`].
//!
//! The services are in `receive`, `transmit` and `control`; `drain` runs before them.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::VIRTIO_NET_S_LINK_UP;
use vmm_sys_util::eventfd::EventFd;

use crate::device::{ConfigField, Device, QueueSpec, Service};
use crate::error::{GuestError, ServeError};
use crate::number::{low_u16, u16_constant};
use crate::request::Request;
use crate::state::{self, StateError, ensure};
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

/// Bytes of the largest frame with its header: an IP packet of 64 KiB, which offloads
/// merge from many, an Ethernet header and a VLAN tag.
const LARGEST: u32 = HEADER + 65536 + 18;

/// Entries of a receive queue: frames of 64 KiB take 43 of Linux' buffers.
const RX_SIZE: u16 = 512;
const TX_SIZE: u16 = 256;
const CONTROL_SIZE: u16 = 64;

/// A bit of `status` in struct virtio_net_config.
const LINK_UP: u16 = u16_constant(VIRTIO_NET_S_LINK_UP);

/// The fields of struct virtio_net_config (5.1.4).
const CONFIG_FIELDS: [ConfigField; 4] = [
    ConfigField::fixed("mac", 0..6),
    ConfigField::variable("status", 6..8),
    ConfigField::fixed("max_virtqueue_pairs", 8..10),
    ConfigField::fixed("mtu", 10..12),
];

/// The interface behind the queues of a network device.
pub trait Interface: Send + Sync {
    /// Sets the offloads that the guest's driver has accepted, a part of [`Net::offloads`].
    /// The interface then sends only frames that need no others.
    ///
    /// # Errors
    /// Errors of the host. An interface that is gone is not an error: it may come back.
    fn set_offloads(&self, accepted: u64) -> io::Result<()>;

    /// Sets how many queue pairs, from the first one on, share the frames for the guest.
    ///
    /// # Errors
    /// Errors of the host. An interface that is gone is not an error: it may come back.
    fn set_pairs(&self, pairs: u16) -> io::Result<()>;
}

/// The state of the interface. A thread of the launcher sets it.
#[derive(Debug)]
pub struct Link {
    up: AtomicBool,
    /// The number of queue pairs that the driver uses, from the first one on.
    pairs: AtomicU16,
    /// An eventfd for each queue pair, written when an interface that was gone is back.
    back: Vec<EventFd>,
}

impl Link {
    /// The state of an interface with `pairs` queue pairs, which is down.
    ///
    /// # Errors
    /// When the host has no eventfds to give.
    pub fn new(pairs: usize) -> io::Result<Self> {
        let back = (0..pairs).map(|_| EventFd::new(libc::EFD_CLOEXEC)).collect::<Result<_, _>>()?;
        Ok(Self { up: AtomicBool::new(false), pairs: AtomicU16::new(1), back })
    }

    /// Sets whether the interface is up. Returns whether that is a change.
    pub fn set(&self, up: bool) -> bool {
        self.up.swap(up, Ordering::AcqRel) != up
    }

    /// Reports that an interface which had been deleted exists again.
    pub fn came_back(&self) {
        for event in &self.back {
            let _ = event.write(1);
        }
    }

    /// Sleeps until the interface may have come back, or a signal arrives.
    fn wait(&self, pair: usize) -> io::Result<()> {
        match self.back.get(pair) {
            Some(event) => sys::wait(event).map(drop),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sets how many queue pairs of `interface` share the frames for the guest.
    fn set_pairs(&self, pairs: u16, interface: &dyn Interface) -> io::Result<()> {
        interface.set_pairs(pairs)?;
        self.pairs.store(pairs, Ordering::Release);
        Ok(())
    }

    /// Returns `status` of struct virtio_net_config.
    fn status(&self) -> u16 {
        let up = self.up.load(Ordering::Acquire);
        if up { LINK_UP } else { 0 }
    }
}

/// A network card.
pub struct Net {
    /// A descriptor for each queue pair. Each read and each write is one frame. A read
    /// blocks until a frame arrives.
    pub pairs: Vec<File>,
    /// The interface behind the descriptors.
    pub interface: Arc<dyn Interface>,
    /// The state of the interface.
    pub link: Arc<Link>,
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// The MTU in bytes, which does not change while the device exists (5.1.4.1).
    pub mtu: u16,
    /// The offloads of the interface, a part of [`features::OFFLOADS`].
    pub offloads: u64,
}

/// The purpose of a queue (5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Receive(usize),
    Transmit(usize),
    Control,
    /// A queue that does not exist with the features that the driver has accepted.
    Nothing,
}

impl Net {
    fn max_pairs(&self) -> u16 {
        // A PCI device has fewer queues than 2^16, see `VirtioPci::new`.
        low_u16(self.pairs.len() as u64)
    }

    /// Returns the purpose of a queue. The control queue comes after the queue pairs that
    /// the driver knows.
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
    fn id(&self) -> u16 {
        const { u16_constant(VIRTIO_ID_NET) }
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

    /// Returns a struct virtio_net_config (5.1.4).
    fn config(&self) -> Vec<u8> {
        let mut config = self.mac.to_vec();
        for field in [self.link.status(), self.max_pairs(), self.mtu] {
            config.extend(field.to_le_bytes());
        }
        config
    }

    fn config_fields(&self) -> &'static [ConfigField] {
        &CONFIG_FIELDS
    }

    /// Sets the interface up for a new driver. Frames that arrived earlier are dropped:
    /// they were for another driver with other features (5.1.6.4).
    fn begin(&self, accepted: u64) -> io::Result<()> {
        self.interface.set_offloads(features::usable(accepted & self.offloads))?;
        // 5.1.5: one pair until the driver says that it uses more.
        self.link.set_pairs(1, self.interface.as_ref())?;
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
                let (interface, link) = (Arc::clone(&self.interface), Arc::clone(&self.link));
                Box::new(NetControl::new(interface, link, self.max_pairs()))
            }
            Role::Nothing => Box::new(Nothing),
        })
    }

    fn state(&self) -> Result<Value, StateError> {
        // The interface gets its offloads in `begin`. The rest is configuration.
        let Self { pairs: _, interface: _, link, mac: _, mtu: _, offloads: _ } = self;
        let Link { up: _, pairs, back: _ } = link.as_ref();
        state::to_value(NetState { pairs: pairs.load(Ordering::Acquire) })
    }

    fn restore(&self, state: &Value) -> Result<(), StateError> {
        let NetState { pairs } = state::from_value(state)?;
        let most = self.max_pairs();
        ensure((1..=most).contains(&pairs), || {
            format!("its driver uses {pairs} queue pairs, the device has {most}")
        })?;
        let set = self.link.set_pairs(pairs, self.interface.as_ref());
        set.map_err(|error| StateError::new(format!("setting {pairs} queue pairs: {error}")))
    }
}

/// What [`Net`] keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetState {
    /// The number of queue pairs that the driver has set.
    pairs: u16,
}

/// The service of a queue that does not exist with the accepted features.
struct Nothing;

impl Service for Nothing {
    fn serve(&mut self, _request: &mut Request<'_>) -> Result<(), ServeError> {
        Err(GuestError::NoSuchQueue.into())
    }
}

#[cfg(test)]
mod tests;
