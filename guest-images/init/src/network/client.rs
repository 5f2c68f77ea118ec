//! Asks DHCP servers for an address, by each of several cards until one is answered
//! ([`super::dhcp`] has the messages). Broadcasts over UDP in both directions: for these a card
//! needs no address, and a kernel no packet sockets.

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

/// How long each question waits for its answer, in seconds: a bridge may take half a minute until
/// a new port forwards.
const WAITS: [u64; 8] = [1, 1, 2, 4, 8, 8, 8, 8];

/// So often an offer is taken before another one is asked for.
const REQUESTS: usize = 4;

const SERVER_PORT: u16 = 67;

/// No answer is longer: Ethernet's frames are not.
const LONGEST: usize = 1500;

/// A card that asks.
#[derive(Debug)]
pub(super) struct Client<'a> {
    card: &'a str,
    socket: UdpSocket,
    identity: Identity,
    started: Instant,
}

impl<'a> Client<'a> {
    /// On this card, which has to be up.
    ///
    /// # Errors
    /// When it is not an Ethernet card, say.
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

    /// A card whose cable is pulled sends nothing, and may send later.
    fn send(&self, message: &[u8]) {
        let _ = self.socket.send_to(message, (Ipv4Addr::BROADCAST, SERVER_PORT));
    }

    /// The next answer to this client, if there is one already.
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

    /// Take an offer: what the server says to that.
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

/// What the first server gives that answers, and on which card; None if none does.
///
/// # Errors
/// When the kernel does not let us wait.
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

/// The first answer of a kind that is wanted, to any of these clients.
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
        // Rounded up, so that it is not asked again for less than a millisecond.
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
