//! Asks DHCP servers for an address on several cards, until one answers ([`super::dhcp`] has the
//! messages). It uses UDP broadcasts in both directions. These need no address on the card, and no
//! packet sockets in the kernel.

use std::fs;
use std::io;
use std::iter;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::dhcp::{self, Identity, Kind, Lease};
use crate::sys;

/// How long to wait for the answer to each request, in seconds. A bridge may take half a minute
/// until it forwards on a new port.
const WAITS: [u64; 8] = [1, 1, 2, 4, 8, 8, 8, 8];

/// How often to request the same offer before asking for another one.
const REQUESTS: usize = 4;

const SERVER_PORT: u16 = 67;

/// The longest answer: an Ethernet frame.
const LONGEST: usize = 1500;

/// A DHCP client on one card.
#[derive(Debug)]
pub(super) struct Client<'a> {
    card: &'a str,
    socket: UdpSocket,
    identity: Identity,
    started: Instant,
}

impl<'a> Client<'a> {
    /// Creates a client on this card, which has to be up.
    ///
    /// # Errors
    /// The socket cannot be opened, for example because this is not an Ethernet card.
    pub(super) fn new(card: &'a str) -> io::Result<Self> {
        let mac = fs::read_to_string(format!("/sys/class/net/{card}/address"))?;
        let mac = parse_mac(mac.trim()).ok_or(io::ErrorKind::Unsupported)?;
        let socket = sys::dhcp_socket(card)?;
        let identity = Identity { mac, number: sys::random()? };
        Ok(Self { card, socket, identity, started: Instant::now() })
    }

    fn seconds(&self) -> u16 {
        u16::try_from(self.started.elapsed().as_secs()).unwrap_or(u16::MAX)
    }

    /// Sends a message. Errors are ignored: a card whose cable is pulled cannot send now, but may
    /// later.
    fn send(&self, message: &[u8]) {
        let _ = self.socket.send_to(message, (Ipv4Addr::BROADCAST, SERVER_PORT));
    }

    /// Returns the next answer to this client that has already arrived, if there is one.
    fn receive(&self) -> Option<(Kind, Lease)> {
        let mut bytes = [0; LONGEST];
        loop {
            let length = self.socket.recv(&mut bytes).ok()?;
            let datagram = bytes.get(..length).unwrap_or_default();
            if let Some(answer) = dhcp::answer(datagram, self.identity) {
                return Some(answer);
            }
        }
    }

    /// Requests an offer, and returns the server's answer.
    fn take(&self, offer: &Lease) -> io::Result<Option<Lease>> {
        for wait in WAITS.iter().take(REQUESTS) {
            self.send(&dhcp::request(self.identity, self.seconds(), offer));
            let answer = first(std::slice::from_ref(self), Duration::from_secs(*wait), |kind| {
                kind != Kind::Offer
            })?;
            match answer {
                Some((_, Kind::Ack, lease)) => return Ok(Some(lease)),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }
}

/// Returns the lease from the first server that answers, and its card. `None` if no server answers.
///
/// # Errors
/// The kernel refuses to poll.
pub(super) fn lease<'a>(clients: &mut [Client<'a>]) -> io::Result<Option<(&'a str, Lease)>> {
    for wait in WAITS {
        for client in &*clients {
            client.send(&dhcp::discover(client.identity, client.seconds()));
        }
        let offer = first(clients, Duration::from_secs(wait), |kind| kind == Kind::Offer)?;
        let Some((client, _, offer)) = offer else { continue };
        if let Some(lease) = client.take(&offer)? {
            return Ok(Some((client.card, lease)));
        }
    }
    Ok(None)
}

/// Waits for the first answer of a wanted kind, to any of these clients.
fn first<'b, 'a>(
    clients: &'b [Client<'a>],
    patience: Duration,
    wanted: impl Fn(Kind) -> bool,
) -> io::Result<Option<(&'b Client<'a>, Kind, Lease)>> {
    let until = Instant::now() + patience;
    loop {
        for client in clients {
            let mut answers = iter::from_fn(|| client.receive());
            if let Some((kind, lease)) = answers.find(|(kind, _)| wanted(*kind)) {
                return Ok(Some((client, kind, lease)));
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let sockets = clients.iter().map(|it| PollFd::new(it.socket.as_fd(), PollFlags::POLLIN));
        let mut sockets: Vec<_> = sockets.collect();
        // Rounded up, so that this does not poll again for less than a millisecond.
        let left = u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
        match poll(&mut sockets, PollTimeout::from(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_cards() {
        assert_eq!(parse_mac("02:00:00:01:02:fe"), Some([2, 0, 0, 1, 2, 0xfe]));
        assert_eq!(parse_mac("02:00:00:01:02"), None);
        assert_eq!(parse_mac(""), None);
    }
}
