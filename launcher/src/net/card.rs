//! What the user says of a network card: where it leads to on the host, and its addresses.
//! [`crate::config`] parses it.

use std::net::Ipv4Addr;

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnet {
    pub(crate) host: HostEnd,
    /// The guest's address; None for one of our choice.
    pub(crate) mac: Option<[u8; 6]>,
    /// Queue pairs.
    pub(crate) queues: u8,
}

/// What the tap is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostEnd {
    /// One of ours, with this address.
    Address(Network),
    /// One of ours, a port of this bridge.
    Bridge(String),
    /// One that somebody has made.
    Tap(String),
}

/// An address of the host and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: Ipv4Addr,
    pub(crate) length: u8,
}

impl Network {
    pub(crate) fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0))
    }

    /// The network's own address.
    pub(crate) fn first(self) -> Ipv4Addr {
        self.address & self.mask()
    }

    /// Its broadcast address.
    pub(crate) fn last(self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    /// The guest's address: the one after the host's, or before it at the end.
    pub(crate) fn guest(self) -> Ipv4Addr {
        let next = Ipv4Addr::from_bits(self.address.to_bits().wrapping_add(1));
        if next == self.last() {
            Ipv4Addr::from_bits(self.address.to_bits().wrapping_sub(1))
        } else {
            next
        }
    }
}
