//! The host's end of the guest's network cards (`--tunnet`): a [`tap::Tap`] for
//! each, opened before the guest is built and closed when the launcher ends.
//! The kernel then removes those that lguest made. Guests come and go with
//! their reboots; the taps stay. The card itself is in [`devices::net`].

use std::sync::Arc;

use anyhow::{Context, Result};

mod address;
pub mod card;
mod reattach;
#[expect(unsafe_code, reason = "all FFI of the taps lives here")]
mod sys;
pub mod tap;
mod watch;

use card::{TapBackend, Tunnet};
use tap::Tap;

/// Open the taps of these cards. After an error, no tap is left.
///
/// # Errors
/// When a tap cannot be opened. The text names the card, the cause and advice.
pub fn open(cards: &[Tunnet]) -> Result<Vec<Arc<Tap>>> {
    let open = |card| open_one(card).with_context(|| format!("--tunnet {}", name(card)));
    cards.iter().map(open).collect()
}

/// Start a thread that watches the interfaces of these taps.
///
/// # Errors
/// When the host has no netlink socket or thread to spare.
pub fn follow(taps: &[Arc<Tap>]) -> Result<()> {
    if taps.is_empty() {
        return Ok(());
    }
    watch::start(taps.to_vec()).context("watching network interfaces (netlink)")
}

fn open_one(card: &Tunnet) -> Result<Arc<Tap>> {
    let mac = card.mac.map_or_else(random_mac, Ok)?;
    if let TapBackend::Address(network) = card.tap {
        address::check_free(network)?;
    }
    if let TapBackend::Bridge(bridge) = &card.tap {
        address::check_there(bridge)?;
    }
    let tap = match &card.tap {
        TapBackend::Tap(name) => Tap::attach(name, card.queues, mac)?,
        TapBackend::Address(_) | TapBackend::Bridge(_) => Tap::make(card.queues, mac)?,
    };
    match &card.tap {
        TapBackend::Address(network) => address::give(&tap.name(), *network)?,
        TapBackend::Bridge(bridge) => address::join(&tap.name(), bridge)?,
        TapBackend::Tap(name) if !address::is_up(name)? => {
            log::warn!("{name} is down: as root, run: ip link set {name} up");
        }
        TapBackend::Tap(_) => {}
    }
    log::info!("network card: {} on {}", format_mac(mac), tap.name());
    Ok(Arc::new(tap))
}

/// The name of a card in the form of the option's value.
fn name(card: &Tunnet) -> String {
    match &card.tap {
        TapBackend::Address(network) => network.address.to_string(),
        TapBackend::Bridge(name) => format!("bridge:{name}"),
        TapBackend::Tap(name) => format!("tap:{name}"),
    }
}

/// A random MAC address: locally administered, of one card.
fn random_mac() -> Result<[u8; 6]> {
    let mut mac = [0; 6];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut mac).context("/dev/urandom")?;
    let [first, rest @ ..] = mac;
    let [b, c, d, e, f] = rest;
    Ok([first & 0xfc | 0x02, b, c, d, e, f])
}

fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
