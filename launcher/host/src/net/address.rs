//! The settings of a tap's interface: its address, its bridge, and whether it is up
//! (netdevice(7)).

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, socket};

use super::card::Ipv4Network;
use super::sys::{self, Ifreq};

/// The index of an interface. `None` if no interface has this name.
pub(super) fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Check that an interface has this name.
pub(super) fn check_there(name: &str) -> Result<()> {
    ensure!(
        index(name).is_some(),
        "no such interface; as root, run: ip link add {name} type bridge; ip link set {name} up"
    );
    Ok(())
}

/// Check that no other interface has this address or its network: the host could not choose
/// between the two.
pub(super) fn check_free(wanted: Ipv4Network) -> Result<()> {
    for other in getifaddrs().context("listing the host's addresses")? {
        let Some((address, mask)) = ipv4(&other) else { continue };
        let interface = &other.interface_name;
        if address == wanted.address {
            bail!("the address is taken: {interface} has it");
        }
        if mask == wanted.mask() && address & mask == wanted.first() {
            let (first, length) = (wanted.first(), wanted.length);
            bail!("the network {first}/{length} is taken: {interface} has {address} in it");
        }
    }
    Ok(())
}

fn ipv4(interface: &InterfaceAddress) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |storage: &Option<SockaddrStorage>| {
        storage.as_ref().and_then(SockaddrStorage::as_sockaddr_in).map(|address| address.ip())
    };
    Some((address(&interface.address)?, address(&interface.netmask)?))
}

/// Give an interface its address, and set it up.
pub(super) fn give(name: &str, network: Ipv4Network) -> Result<()> {
    let (socket, address) = (any_socket()?, network.address);
    sys::set_address(socket.as_fd(), name, address)
        .and_then(|()| sys::set_netmask(socket.as_fd(), name, network.mask()))
        .map_err(explain)
        .with_context(|| format!("giving {name} the address {address}/{}", network.length))?;
    set_up(&socket, name)
}

/// Make an interface a port of a bridge, with the bridge's MTU, which would
/// otherwise become that of its ports; and set it up.
pub(super) fn join(name: &str, bridge: &str) -> Result<()> {
    let socket = any_socket()?;
    let mtu = mtu(bridge).context("asking for the bridge's MTU")?;
    // Another kind of interface may have an MTU that a tap cannot have: report first that it is not
    // a bridge.
    let sized = sys::set_mtu(socket.as_fd(), name, mtu.into()).context("setting the MTU");
    let index = index(name).context("the tap has gone")?;
    sys::add_to_bridge(socket.as_fd(), bridge, index.cast_signed()).map_err(|error| {
        match (error.raw_os_error(), error.kind()) {
            (Some(libc::EOPNOTSUPP | libc::EINVAL), _) => anyhow!(
                "it is not a bridge; as root, run: ip link add br0 type bridge; ip link set br0 up, \
                 and use bridge:br0"
            ),
            (_, ErrorKind::PermissionDenied) => anyhow!("permission denied: run as root"),
            _ => anyhow!("adding {name}: {error}"),
        }
    })?;
    sized?;
    set_up(&socket, name)
}

fn set_up(socket: &OwnedFd, name: &str) -> Result<()> {
    let up = |flags: i16| flags | Ifreq::UP;
    sys::flags(socket.as_fd(), name)
        .and_then(|flags| sys::set_flags(socket.as_fd(), name, up(flags)))
        .map_err(explain)
        .with_context(|| format!("taking {name} up"))
}

/// Whether an interface is up.
pub(super) fn is_up(name: &str) -> Result<bool> {
    let flags = sys::flags(any_socket()?.as_fd(), name);
    Ok(flags.with_context(|| format!("asking for the state of {name}"))? & Ifreq::UP != 0)
}

/// The MTU of an interface in bytes, at most 65535. `None` if no interface has this name.
pub(super) fn mtu(name: &str) -> Option<u16> {
    let mtu = sys::mtu(any_socket().ok()?.as_fd(), name).ok()?;
    u16::try_from(mtu.min(u16::MAX.into())).ok()
}

/// Open a socket for calls about interfaces, which accept any kind of socket.
fn any_socket() -> Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("opening a socket")
}

fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!("permission denied: run as root"),
        _ => error.into(),
    }
}
