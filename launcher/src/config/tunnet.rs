//! Parses `--tunnet`, and makes the words of the kernel command line that give the guest its
//! address. [`host::net`] opens the tap.

use std::net::{Ipv4Addr, Ipv6Addr};

use host::net::card::{Ipv4Network, TapBackend, Tunnet};

use super::Config;

/// The most queue pairs of a card.
const MOST_QUEUES: u8 = 16;

/// The longest name of an interface (IFNAMSIZ with its NUL).
const LONGEST_NAME: usize = 15;

/// Parse `IP[/LEN][:MAC]`, `bridge:NAME[:MAC]` or `tap:NAME[:MAC]`, with or without `,queues=N`.
pub(super) fn parse(text: &str) -> Result<Tunnet, String> {
    let mut parts = text.split(',');
    let place = parts.next().unwrap_or_default();
    let mut queues = 1;
    for part in parts {
        let Some(number) = part.strip_prefix("queues=") else {
            return Err(format!("{part:?} is not an option of --tunnet: it has queues=N"));
        };
        queues = match number.parse() {
            Ok(number @ 1..=MOST_QUEUES) => number,
            _ => return Err(format!("queues is a number from 1 to {MOST_QUEUES}")),
        };
    }
    let (tap, mac) = match place.split_once(':') {
        Some(("bridge", rest)) => named(rest, TapBackend::Bridge)?,
        Some(("tap", rest)) => named(rest, TapBackend::Tap)?,
        _ => addressed(place)?,
    };
    let mac = mac.map(parse_mac).transpose()?;
    Ok(Tunnet { tap, mac, queues })
}

/// The backend of a card, and the text of its MAC address.
type TapAndMac<'a> = (TapBackend, Option<&'a str>);

fn named(text: &str, kind: impl Fn(String) -> TapBackend) -> Result<TapAndMac<'_>, String> {
    let (name, mac) = head_and_mac(text);
    // The rule of the kernel (dev_valid_name).
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || matches!(name, "." | "..") {
        return Err(format!("an interface's name has 1 to {LONGEST_NAME} letters"));
    }
    if name.contains(bad) || name.contains('%') {
        return Err(format!("no interface is named {name:?}"));
    }
    Ok((kind(name.to_string()), mac))
}

fn addressed(text: &str) -> Result<TapAndMac<'_>, String> {
    let bare = text.split('/').next().unwrap_or_default();
    if bare.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() {
        return Err(
            "IPv6 addresses are not for --tunnet: give an IPv4 address, or a bridge or tap \
                    whose IPv6 addresses you set yourself"
                .into(),
        );
    }
    let (network, mac) = head_and_mac(text);
    let (address, length) = network.split_once('/').unwrap_or((network, "24"));
    let address: Ipv4Addr = address
        .parse()
        .map_err(|_| "it is IP[/LEN][:MAC], bridge:NAME[:MAC] or tap:NAME[:MAC]".to_string())?;
    let length = match length.parse() {
        Ok(length @ 8..=30) => length,
        _ => return Err("the length of a network's prefix is 8 to 30".into()),
    };
    let network = Ipv4Network { address, length };
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Err(format!("{address} cannot be the address of an interface"));
    }
    if address == network.first() || address == network.last() {
        return Err(format!("{address} is not a host's address in a network of /{length}"));
    }
    Ok((TapBackend::Address(network), mac))
}

fn head_and_mac(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(head, mac)| (head, Some(mac)))
}

/// Parse a MAC address, such as "02:00:00:12:34:56", into six bytes.
fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let wrong = || format!("{text:?} is not a MAC address: six bytes like 02:00:00:12:34:56");
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() || text.contains('+') {
        return Err(wrong());
    }
    if mac == [0; 6] {
        return Err("a card's MAC address is not zero".into());
    }
    let [first, ..] = mac;
    if first & 1 != 0 {
        return Err(format!("{text} is the address of a group (its first byte is odd)"));
    }
    Ok(mac)
}

/// The kernel parameter that gives Linux its addresses (Documentation/admin-guide/nfs/nfsroot.rst):
/// ip=CLIENT:SERVER:GATEWAY:MASK:HOSTNAME:DEVICE:AUTOCONF. The first card
/// with an address has the default route.
pub(crate) fn kernel_words(config: &Config) -> Vec<String> {
    let mut words = Vec::new();
    for (number, tunnet) in config.tunnet.iter().enumerate() {
        if let TapBackend::Address(network) = tunnet.tap {
            let (guest, mask) = (network.guest(), network.mask());
            let gateway =
                if words.is_empty() { network.address.to_string() } else { String::new() };
            words.push(format!("ip={guest}::{gateway}:{mask}::eth{number}:off"));
        }
    }
    words
}

/// The parameter that keeps Linux' driver from asking for an interrupt whenever a frame has left.
/// Each of these interrupts costs a system call, and together they are half of the guest's exits.
/// The driver wants them so that TCP does not fill the queue of a slow card. This card is fast: its
/// thread sends what it finds, and a tap takes a frame without making the sender wait. Besides,
/// with these interrupts Linux 6.1.192 may spin for ever in virtnet_poll_cleantx() when it powers
/// off or restarts while a card is at work: see tests/e2e/linux/everything.rs.
const NO_INTERRUPT_WHEN_SENT: &str = "virtio_net.napi_tx=0";

/// The parameters for Linux' driver of these cards.
pub(crate) fn driver_words(config: &Config) -> Vec<String> {
    if config.tunnet.is_empty() { Vec::new() } else { vec![NO_INTERRUPT_WHEN_SENT.into()] }
}

#[cfg(test)]
mod tests;
