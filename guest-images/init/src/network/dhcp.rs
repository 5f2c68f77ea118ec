//! The messages of DHCP (RFC 2131, options of RFC 2132): what a client sends, and how it reads an
//! answer. Anybody on the network may have sent an answer, so all of it is checked before it is
//! used.

use std::net::Ipv4Addr;

/// The size of the fixed part, up to the options' magic number.
const FIXED: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// The shortest message that BOOTP servers accept.
const SHORTEST: usize = 300;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;

/// The flag that requests an answer by broadcast, because the card has no address yet.
const BROADCAST: u8 = 0x80;

const PAD: u8 = 0;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVERS: u8 = 6;
const DOMAIN: u8 = 15;
const REQUESTED: u8 = 50;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const WANTED: u8 = 55;
const END: u8 = 255;

/// The longest name of a domain.
const LONGEST_DOMAIN: usize = 253;

/// A client's hardware address, and the transaction number of its conversation with the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) mac: [u8; 6],
    pub(super) number: u32,
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Ack,
    Nak,
}

/// The addresses that a server assigns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    mask: Option<Ipv4Addr>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) name_servers: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
    /// The server's own address.
    server: Ipv4Addr,
}

impl Lease {
    /// Returns the network's mask, or that of the address' class if the server named none.
    pub(crate) fn mask(&self) -> Ipv4Addr {
        let [first, ..] = self.address.octets();
        self.mask.unwrap_or(match first {
            0..128 => Ipv4Addr::new(255, 0, 0, 0),
            128..192 => Ipv4Addr::new(255, 255, 0, 0),
            _ => Ipv4Addr::new(255, 255, 255, 0),
        })
    }
}

/// Returns the message DHCPDISCOVER: "Is there a server?"
pub(super) fn discover(identity: Identity, seconds: u16) -> Vec<u8> {
    message(identity, seconds, 1, &[])
}

/// Returns the message DHCPREQUEST: "I take this offer."
pub(super) fn request(identity: Identity, seconds: u16, offer: &Lease) -> Vec<u8> {
    let option = |code: u8, address: Ipv4Addr| [&[code, 4][..], &address.octets()].concat();
    let options = [option(REQUESTED, offer.address), option(SERVER, offer.server)].concat();
    message(identity, seconds, 3, &options)
}

fn message(identity: Identity, seconds: u16, kind: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![REQUEST, ETHERNET, 6, 0];
    message.extend(identity.number.to_be_bytes());
    message.extend(seconds.to_be_bytes());
    message.extend([BROADCAST, 0]);
    // Four addresses: the client has none yet, and servers and relays fill in theirs.
    message.extend([0; 16]);
    message.extend(identity.mac);
    message.resize(FIXED, 0);
    message.extend(MAGIC);
    message.extend([KIND, 1, kind]);
    message.extend(options);
    message.extend([WANTED, 4, MASK, ROUTER, NAME_SERVERS, DOMAIN, END]);
    message.resize(message.len().max(SHORTEST), PAD);
    message
}

/// Decodes a datagram, if it is an answer to this client.
pub(super) fn answer(datagram: &[u8], identity: Identity) -> Option<(Kind, Lease)> {
    let (fixed, rest) = datagram.split_at_checked(FIXED)?;
    let is_ours = fixed.starts_with(&[REPLY, ETHERNET, 6])
        && fixed.get(4..8)? == identity.number.to_be_bytes()
        && fixed.get(28..34)? == identity.mac;
    let options = Options(rest.strip_prefix(&MAGIC)?);
    if !is_ours {
        return None;
    }
    let kind = match options.find(KIND)? {
        [2] => Kind::Offer,
        [5] => Kind::Ack,
        [6] => Kind::Nak,
        _ => return None,
    };
    let domain = options.find(DOMAIN).and_then(|name| std::str::from_utf8(name).ok());
    let lease = Lease {
        address: address(fixed.get(16..20)?)?,
        mask: options.find(MASK).and_then(address).filter(|mask| is_mask(*mask)),
        gateway: options.addresses(ROUTER).next(),
        name_servers: options.addresses(NAME_SERVERS).take(3).collect(),
        domain: domain
            .map(|name| name.trim_end_matches('\0'))
            .filter(is_domain)
            .map(str::to_string),
        server: options.find(SERVER).and_then(address)?,
    };
    // A refusal contains no address.
    let is_good = kind == Kind::Nak || is_hosts(lease.address);
    is_good.then_some((kind, lease))
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn is_hosts(it: Ipv4Addr) -> bool {
    !(it.is_unspecified() || it.is_broadcast() || it.is_multicast() || it.is_loopback())
}

/// Whether the bits are ones followed by zeroes.
fn is_mask(mask: Ipv4Addr) -> bool {
    mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() == u32::BITS
}

/// Whether this can be written into a file of lines.
fn is_domain(name: &&str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_DOMAIN && name.bytes().all(is_good)
}

/// The options of a message. Each has a code, a length and a value.
struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    fn find(&self, wanted: u8) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let (&code, behind) = rest.split_first()?;
            if code == END {
                return None;
            }
            if code == PAD {
                rest = behind;
                continue;
            }
            let (&length, behind) = behind.split_first()?;
            let (value, behind) = behind.split_at_checked(length.into())?;
            if code == wanted {
                return Some(value);
            }
            rest = behind;
        }
    }

    fn addresses(&self, wanted: u8) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        let addresses = self.find(wanted).unwrap_or_default().chunks_exact(4);
        addresses.filter_map(address).filter(|it| is_hosts(*it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { mac: [2, 0, 0, 1, 2, 3], number: 0x1234_5678 };
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 77);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 1);

    /// Returns an answer of this kind, with more options.
    fn reply(kind: u8, more: &[u8]) -> Vec<u8> {
        let mut reply = discover(IDENTITY, 0);
        reply.truncate(FIXED + 4);
        reply[0] = REPLY;
        reply[16..20].copy_from_slice(&ADDRESS.octets());
        reply.extend([KIND, 1, kind, PAD, SERVER, 4, 192, 168, 30, 1]);
        reply.extend(more);
        reply.push(END);
        reply
    }

    fn lease(more: &[u8]) -> Lease {
        answer(&reply(2, more), IDENTITY).unwrap().1
    }

    #[test]
    fn what_is_asked_is_what_the_standard_says() {
        let message = discover(IDENTITY, 3);
        assert_eq!(message[..12], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 3, 0x80, 0]);
        assert_eq!(message[12..28], [0; 16]);
        assert_eq!(message[28..34], IDENTITY.mac);
        assert_eq!(message[236..243], [99, 130, 83, 99, 53, 1, 1]);
        assert_eq!(message.len(), 300);
        let message = request(IDENTITY, 3, &lease(&[]));
        assert_eq!(message[240..255], [53, 1, 3, 50, 4, 192, 168, 30, 77, 54, 4, 192, 168, 30, 1]);
    }

    #[test]
    fn what_is_given_is_read() {
        let network = [MASK, 4, 255, 255, 255, 128, ROUTER, 8, 192, 168, 30, 1, 192, 168, 30, 2];
        let names = [NAME_SERVERS, 8, 9, 9, 9, 9, 8, 8, 8, 8, DOMAIN, 4, b't', b'.', b'x', 0];
        let lease = lease(&[&network[..], &names].concat());
        assert_eq!((lease.address, lease.gateway), (ADDRESS, Some(HOST)));
        assert_eq!(lease.mask(), Ipv4Addr::new(255, 255, 255, 128));
        assert_eq!(lease.name_servers, [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(8, 8, 8, 8)]);
        assert_eq!(lease.domain.as_deref(), Some("t.x"));
        for (kind, is) in [(2, Kind::Offer), (5, Kind::Ack), (6, Kind::Nak)] {
            assert_eq!(answer(&reply(kind, &[]), IDENTITY).unwrap().0, is);
        }
    }

    #[test]
    fn what_is_wrong_is_not_taken() {
        let bare = lease(&[MASK, 4, 255, 0, 255, 0, ROUTER, 3, 1, 2, 3, DOMAIN, 3, b'a', 10, b'b']);
        assert_eq!((bare.gateway, bare.domain.clone()), (None, None));
        assert_eq!(bare.mask(), Ipv4Addr::new(255, 255, 255, 0));
        let whole = reply(2, &[]);
        for length in 0..whole.len() - 1 {
            assert_eq!(answer(&whole[..length], IDENTITY), None, "{length}");
        }
        // Answers to another card, from no server, and of a kind for servers.
        assert_eq!(answer(&whole, Identity { number: 1, ..IDENTITY }), None);
        assert_eq!(answer(&whole, Identity { mac: [2; 6], ..IDENTITY }), None);
        assert_eq!(answer(&discover(IDENTITY, 0), IDENTITY), None);
        assert_eq!(answer(&reply(3, &[]), IDENTITY), None);
        let mut nowhere = whole;
        nowhere[16..20].fill(255);
        assert_eq!(answer(&nowhere, IDENTITY), None);
    }
}
