//! Datagrams from a network that is not to be trusted, to the DHCP client of the init (`ip=dhcp` with
//! `--exec`): what it takes from an answer can go into `/etc/resolv.conf` and to the kernel as it is.

#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

#[path = "../../guest-images/init/src/network/dhcp.rs"]
mod dhcp;

use dhcp::{Identity, Kind};

const IDENTITY: Identity = Identity { mac: [2, 0, 0, 1, 2, 3], number: 0x1234_5678 };

/// Offsets of the address that the server gives, and of the options.
const YOUR_ADDRESS: std::ops::Range<usize> = 16..20;
const OPTIONS: usize = 240;

fuzz_target!(|bytes: &[u8]| {
    let _ = play(&mut Unstructured::new(bytes));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    if input.ratio(1, 8)? {
        check(input.bytes(input.len())?);
        return Ok(());
    }
    // An answer to this client, up to the options. The client's own message has the same layout.
    let mut datagram = dhcp::discover(IDENTITY, input.arbitrary()?);
    datagram.truncate(OPTIONS);
    datagram[0] = 2;
    datagram[YOUR_ADDRESS].copy_from_slice(&input.arbitrary::<[u8; 4]>()?);
    // The kind of the answer and the server: a lease needs both.
    if input.ratio(7, 8)? {
        datagram.extend([53, 1, *input.choose(&[2, 5, 6])?, 54, 4, 10, 0, 0, 1]);
    }
    while !input.is_empty() {
        match input.int_in_range(0..=7)? {
            0 => datagram.extend(input.arbitrary::<[u8; 2]>()?),
            1 => datagram.push(255),
            _ => {
                let code = *input.choose(&[0, 1, 3, 6, 15, 53, 54])?;
                let length = input.int_in_range(0..=9)?.min(input.len());
                datagram.extend([code, length as u8]);
                datagram.extend(input.bytes(length)?);
            }
        }
    }
    check(&datagram);
    Ok(())
}

fn check(datagram: &[u8]) {
    let Some((kind, lease)) = dhcp::answer(datagram, IDENTITY) else { return };
    let is_hosts = |it: Ipv4Addr| {
        !(it.is_unspecified() || it.is_broadcast() || it.is_multicast() || it.is_loopback())
    };
    assert!(kind == Kind::Nak || is_hosts(lease.address));
    assert!(lease.gateway.is_none_or(is_hosts));
    assert!(lease.name_servers.len() <= 3 && lease.name_servers.iter().all(|it| is_hosts(*it)));
    let mask = lease.mask().to_bits();
    assert_eq!(mask.leading_ones() + mask.trailing_zeros(), u32::BITS);
    let is_line =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(lease.domain.as_ref().is_none_or(is_line));

    // What the client asks for then is a whole message.
    assert!(dhcp::request(IDENTITY, 0, &lease).len() >= 300);
}
