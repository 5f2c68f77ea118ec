//! Brings up the loopback interface, and the cards as the kernel's command line says
//! (`ip=CLIENT:SERVER:GATEWAY:MASK:HOSTNAME:DEVICE:AUTOCONF`), where the kernel has not done
//! so itself (CONFIG_IP_PNP, which does it before modules are loaded).

use std::net::Ipv4Addr;

use crate::Result;
use crate::kernel_words::KernelWords;
use crate::sys::Interfaces;

/// One `ip=`.
#[derive(Debug, PartialEq, Eq)]
struct Card<'a> {
    device: &'a str,
    address: Ipv4Addr,
    mask: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
}

/// All of it.
pub(crate) fn set_up(words: &KernelWords) -> Result<()> {
    // A kernel without any network has no cards, either.
    let Ok(interfaces) = Interfaces::open() else { return Ok(()) };
    let _ = interfaces.bring_up("lo");
    for value in words.values("ip") {
        let Some(card) = parse(value) else { continue };
        set_up_card(&interfaces, &card).map_err(|error| format!("ip={value}: {error}"))?;
    }
    Ok(())
}

fn set_up_card(interfaces: &Interfaces, card: &Card<'_>) -> std::io::Result<()> {
    if interfaces.has_address(card.device) {
        return Ok(());
    }
    interfaces.set_address(card.device, card.address, card.mask)?;
    interfaces.bring_up(card.device)?;
    card.gateway.map_or(Ok(()), |gateway| interfaces.set_gateway(gateway))
}

/// None if it is something else that one can say there: off, dhcp.
fn parse(value: &str) -> Option<Card<'_>> {
    let fields: Vec<_> = value.split(':').collect();
    let field = |index: usize| fields.get(index).copied().filter(|field| !field.is_empty());
    Some(Card {
        address: field(0)?.parse().ok()?,
        gateway: field(2).and_then(|gateway| gateway.parse().ok()),
        mask: field(3)
            .and_then(|mask| mask.parse().ok())
            .unwrap_or(Ipv4Addr::new(255, 255, 255, 0)),
        device: field(5).unwrap_or("eth0"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_is_told() {
        let card = parse("192.168.19.2::192.168.19.1:255.255.255.252::eth1:off").unwrap();
        assert_eq!(card.device, "eth1");
        assert_eq!(card.address, Ipv4Addr::new(192, 168, 19, 2));
        assert_eq!(card.mask, Ipv4Addr::new(255, 255, 255, 252));
        assert_eq!(card.gateway, Some(Ipv4Addr::new(192, 168, 19, 1)));
        assert_eq!(parse("10.0.0.2").unwrap().device, "eth0");
        assert_eq!(parse("dhcp"), None);
        assert_eq!(parse(""), None);
    }
}
