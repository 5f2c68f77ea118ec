//! Brings up the loopback interface and the network cards, and sets the addresses of the cards as
//! the kernel command line says (`ip=CLIENT:SERVER:GATEWAY:MASK:HOSTNAME:DEVICE:AUTOCONF`), unless
//! the kernel has done so itself. (CONFIG_IP_PNP does it before modules are loaded.)

mod client;
mod dhcp;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::Result;
use crate::kernel_words::KernelWords;
use crate::sys::Interfaces;
use client::Client;
use dhcp::Lease;

/// The file in which the kernel reports what it got by DHCP itself, name servers included.
const KERNELS_OWN: &str = "/proc/net/pnp";

const RESOLVER: &str = "/etc/resolv.conf";

/// The meaning of one `ip=`.
#[derive(Debug, PartialEq, Eq)]
enum Wish<'a> {
    /// Give this card this address.
    Card(Card<'a>),
    /// Ask a DHCP server on this card, or on any card.
    Dhcp(Option<&'a str>),
}

#[derive(Debug, PartialEq, Eq)]
struct Card<'a> {
    device: &'a str,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
}

/// Sets up the network.
pub(crate) fn set_up(words: &KernelWords) -> Result<()> {
    // A kernel without any network has no cards either.
    let Ok(interfaces) = Interfaces::open() else { return Ok(()) };
    let _ = interfaces.bring_up("lo");
    let cards = cards();
    for card in &cards {
        let _ = interfaces.bring_up(card);
    }
    for value in words.values("ip") {
        match parse(value) {
            None => Ok(()),
            Some(Wish::Card(card)) => {
                set_up_card(&interfaces, &card).map_err(|error| error.to_string())
            }
            Some(Wish::Dhcp(device)) => by_dhcp(&interfaces, device, &cards),
        }
        .map_err(|error| format!("ip={value}: {error}"))?;
    }
    Ok(())
}

/// Returns the network cards, eth0 first: the interfaces that have a device.
fn cards() -> Vec<String> {
    let interfaces = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let cards = interfaces.filter(|interface| interface.path().join("device").exists());
    let mut cards: Vec<_> = cards.filter_map(|card| card.file_name().into_string().ok()).collect();
    cards.sort_by_key(|card| (card.len(), card.clone()));
    cards
}

fn set_up_card(interfaces: &Interfaces, card: &Card<'_>) -> io::Result<()> {
    if interfaces.has_address(card.device) {
        return Ok(());
    }
    interfaces.set_address(card.device, card.address, card.mask)?;
    interfaces.bring_up(card.device)?;
    card.gateway.map_or(Ok(()), |gateway| interfaces.set_gateway(gateway))
}

fn by_dhcp(interfaces: &Interfaces, device: Option<&str>, cards: &[String]) -> Result<()> {
    let cards: Vec<_> = match device {
        Some(device) if Path::new("/sys/class/net").join(device).exists() => vec![device],
        Some(device) => return Err(format!("the guest has no network card {device} (--tunnet)")),
        None => cards.iter().map(String::as_str).collect(),
    };
    if cards.is_empty() {
        return Err("the guest has no network card (--tunnet)".into());
    }
    if cards.iter().any(|card| interfaces.has_address(card)) {
        let servers = fs::read_to_string(KERNELS_OWN).unwrap_or_default();
        let servers = servers.lines().filter_map(|line| line.strip_prefix("nameserver "));
        let servers: Vec<_> = servers.filter_map(|server| server.trim().parse().ok()).collect();
        set_resolver(&servers, None);
        return Ok(());
    }
    let mut clients = Vec::new();
    for card in &cards {
        let client = Client::new(card).map_err(|error| format!("{card}: {error}"))?;
        clients.push(client);
    }
    let asked = client::lease(&mut clients).map_err(|error| error.to_string())?;
    let Some((card, lease)) = asked else {
        let cards = cards.join(", ");
        return Err(format!("no DHCP server answers on {cards}"));
    };
    apply(interfaces, card, &lease).map_err(|error| format!("{card}: {error}"))
}

fn apply(interfaces: &Interfaces, card: &str, lease: &Lease) -> io::Result<()> {
    interfaces.set_address(card, lease.address, lease.mask())?;
    set_resolver(&lease.name_servers, lease.domain.as_deref());
    lease.gateway.map_or(Ok(()), |gateway| interfaces.set_gateway(gateway))
}

/// Writes the resolver's configuration, unless it exists. This concerns the initial file system; a
/// root disk has its own configuration.
fn set_resolver(servers: &[Ipv4Addr], domain: Option<&str>) {
    if servers.is_empty() || fs::symlink_metadata(RESOLVER).is_ok() {
        return;
    }
    let search = domain.map(|domain| format!("search {domain}\n"));
    let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
    let text: String = search.into_iter().chain(lines).collect();
    let _ = fs::create_dir_all("/etc");
    // Programs that do not resolve names work without it.
    let _ = fs::write(RESOLVER, text);
}

/// Parses a value of `ip=`. Returns `None` for other valid values, such as "off".
fn parse(value: &str) -> Option<Wish<'_>> {
    let fields: Vec<_> = value.split(':').collect();
    let field = |index: usize| fields.get(index).copied().filter(|field| !field.is_empty());
    let is_dhcp = |word: &str| matches!(word, "dhcp" | "on" | "any" | "both");
    match *fields.as_slice() {
        [word] if is_dhcp(word) => return Some(Wish::Dhcp(None)),
        // dracut has this form.
        [device, word] if is_dhcp(word) => return Some(Wish::Dhcp(Some(device))),
        _ => {}
    }
    let Some(address) = field(0) else {
        return field(6).filter(|word| is_dhcp(word)).map(|_| Wish::Dhcp(field(5)));
    };
    Some(Wish::Card(Card {
        address: address.parse().ok()?,
        gateway: field(2).and_then(|gateway| gateway.parse().ok()),
        mask: field(3)
            .and_then(|mask| mask.parse().ok())
            .unwrap_or(Ipv4Addr::new(255, 255, 255, 0)),
        device: field(5).unwrap_or("eth0"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_is_told() {
        let card = |value| match parse(value) {
            Some(Wish::Card(card)) => card,
            other => panic!("{value}: {other:?}"),
        };
        let given = card("192.168.19.2::192.168.19.1:255.255.255.252::eth1:off");
        assert_eq!(given.device, "eth1");
        assert_eq!(given.address, Ipv4Addr::new(192, 168, 19, 2));
        assert_eq!(given.mask, Ipv4Addr::new(255, 255, 255, 252));
        assert_eq!(given.gateway, Some(Ipv4Addr::new(192, 168, 19, 1)));
        assert_eq!(card("10.0.0.2").device, "eth0");
        for nothing in ["", "off", "none", ":::::eth0:off", "x"] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn who_is_to_ask() {
        for any in ["dhcp", "on", "any", "both", "::::::dhcp", "::::name::on"] {
            assert_eq!(parse(any), Some(Wish::Dhcp(None)), "{any}");
        }
        for one in [":::::eth1:dhcp", ":::255.255.255.0:name:eth1:on", "eth1:dhcp"] {
            assert_eq!(parse(one), Some(Wish::Dhcp(Some("eth1"))), "{one}");
        }
    }
}
