//! A network card as the user describes it: its tap on the host, and its addresses.

use std::net::Ipv4Addr;

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnet {
    /// The tap that the card is connected to.
    pub tap: TapBackend,
    /// The MAC address of the guest. `None` for one that lguest chooses.
    pub mac: Option<[u8; 6]>,
    /// The number of queue pairs.
    pub queues: u8,
}

/// The origin of a card's tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapBackend {
    /// lguest makes the tap and gives it this address.
    Address(Ipv4Network),
    /// lguest makes the tap and attaches it to this bridge.
    Bridge(String),
    /// An existing tap of this name.
    Tap(String),
}

/// An IPv4 address of the host with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Network {
    /// The host's address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix in bits.
    pub length: u8,
}

impl Ipv4Network {
    /// The netmask.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0))
    }

    /// The address of the network itself.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.address & self.mask()
    }

    /// The broadcast address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    /// The guest's address: the one after the host's, or the one before if the host's is the last
    /// of the network.
    #[must_use]
    pub fn guest(self) -> Ipv4Addr {
        let next = Ipv4Addr::from_bits(self.address.to_bits().wrapping_add(1));
        if next == self.last() {
            Ipv4Addr::from_bits(self.address.to_bits().wrapping_sub(1))
        } else {
            next
        }
    }
}
