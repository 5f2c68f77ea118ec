//! The ioctls on taps and interfaces, with their unsafe blocks. All functions here are safe
//! to call.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use devices::number::u16_constant;
use libc::{Ioctl, c_int, c_uint};

/// The ioctl that adds an interface to a bridge (linux/sockios.h). The crate libc lacks it.
const SIOCBRADDIF: Ioctl = 0x89a2;

/// The kernel's struct ifreq (netdevice(7)): the name of an interface, and the value of a request
/// or an answer, in the host's byte order.
#[repr(C, align(8))]
pub(super) struct Ifreq {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

const _: () = assert!(size_of::<Ifreq>() == size_of::<libc::ifreq>());

impl Ifreq {
    /// The flag of an interface that is up (IFF_UP).
    pub(super) const UP: i16 = 1;

    fn new(name: &str, value: &[u8]) -> Self {
        let mut ifreq = Self { name: [0; libc::IFNAMSIZ], value: [0; 24] };
        // The last byte stays 0, to end the name.
        for (to, from) in ifreq.name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
            *to = from;
        }
        for (to, from) in ifreq.value.iter_mut().zip(value) {
            *to = *from;
        }
        ifreq
    }

    fn call(mut self, fd: BorrowedFd<'_>, request: IfreqCall) -> io::Result<Self> {
        // SAFETY: each `IfreqCall` reads and writes a struct ifreq and nothing
        // else; `self` has its size and outlives the call.
        let done = unsafe { libc::ioctl(fd.as_raw_fd(), request.number(), &raw mut self) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(self) }
    }

    fn name(&self) -> String {
        let name: Vec<u8> = self.name.iter().copied().take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&name).into_owned()
    }

    fn word(&self) -> i16 {
        let [low, high, ..] = self.value;
        i16::from_ne_bytes([low, high])
    }

    fn number(&self) -> i32 {
        let [a, b, c, d, ..] = self.value;
        i32::from_ne_bytes([a, b, c, d])
    }
}

/// The ioctls that take a struct ifreq.
#[derive(Debug, Clone, Copy)]
enum IfreqCall {
    Attach,
    Attached,
    Queue,
    SetAddress,
    SetNetmask,
    Flags,
    SetFlags,
    Mtu,
    SetMtu,
    AddToBridge,
}

impl IfreqCall {
    fn number(self) -> Ioctl {
        match self {
            Self::Attach => libc::TUNSETIFF,
            Self::Attached => libc::TUNGETIFF,
            Self::Queue => libc::TUNSETQUEUE,
            Self::SetAddress => libc::SIOCSIFADDR,
            Self::SetNetmask => libc::SIOCSIFNETMASK,
            Self::Flags => libc::SIOCGIFFLAGS,
            Self::SetFlags => libc::SIOCSIFFLAGS,
            Self::Mtu => libc::SIOCGIFMTU,
            Self::SetMtu => libc::SIOCSIFMTU,
            Self::AddToBridge => SIOCBRADDIF,
        }
    }
}

fn flag_word(flags: c_int) -> [u8; 2] {
    let [low, high, ..] = flags.to_ne_bytes();
    [low, high]
}

/// Attach a descriptor of /dev/net/tun to the tap of this name, with the
/// virtio header before each frame. Returns the full name.
pub(super) fn attach(fd: BorrowedFd<'_>, name: &str, multi_queue: bool) -> io::Result<String> {
    let queues = if multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues;
    Ok(Ifreq::new(name, &flag_word(flags)).call(fd, IfreqCall::Attach)?.name())
}

/// Whether a descriptor of /dev/net/tun is attached to an interface.
pub(super) fn is_attached(fd: BorrowedFd<'_>) -> bool {
    Ifreq::new("", &[]).call(fd, IfreqCall::Attached).is_ok()
}

/// Set whether the tap passes frames to this one of its descriptors.
pub(super) fn set_queue(fd: BorrowedFd<'_>, used: bool) -> io::Result<()> {
    let flags = if used { libc::IFF_ATTACH_QUEUE } else { libc::IFF_DETACH_QUEUE };
    Ifreq::new("", &flag_word(flags)).call(fd, IfreqCall::Queue).map(drop)
}

/// Set the size in bytes of the header before each frame.
pub(super) fn set_header(fd: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    // SAFETY: the call reads an int, which outlives it.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const bytes) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Set the offloads that the reader of frames supports (TUN_F_*).
pub(super) fn set_offload(fd: BorrowedFd<'_>, flags: c_uint) -> io::Result<()> {
    // SAFETY: the call takes a number and no pointer.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, u64::from(flags)) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The bytes of a struct sockaddr_in without a port.
fn sockaddr(address: Ipv4Addr) -> Vec<u8> {
    const FAMILY: u16 = u16_constant(libc::AF_INET.cast_unsigned());
    [&FAMILY.to_ne_bytes()[..], &[0; 2], &address.octets()].concat()
}

pub(super) fn set_address(fd: BorrowedFd<'_>, name: &str, address: Ipv4Addr) -> io::Result<()> {
    Ifreq::new(name, &sockaddr(address)).call(fd, IfreqCall::SetAddress).map(drop)
}

pub(super) fn set_netmask(fd: BorrowedFd<'_>, name: &str, mask: Ipv4Addr) -> io::Result<()> {
    Ifreq::new(name, &sockaddr(mask)).call(fd, IfreqCall::SetNetmask).map(drop)
}

pub(super) fn flags(fd: BorrowedFd<'_>, name: &str) -> io::Result<i16> {
    Ok(Ifreq::new(name, &[]).call(fd, IfreqCall::Flags)?.word())
}

pub(super) fn set_flags(fd: BorrowedFd<'_>, name: &str, flags: i16) -> io::Result<()> {
    Ifreq::new(name, &flags.to_ne_bytes()).call(fd, IfreqCall::SetFlags).map(drop)
}

pub(super) fn mtu(fd: BorrowedFd<'_>, name: &str) -> io::Result<i32> {
    Ok(Ifreq::new(name, &[]).call(fd, IfreqCall::Mtu)?.number())
}

pub(super) fn set_mtu(fd: BorrowedFd<'_>, name: &str, mtu: i32) -> io::Result<()> {
    Ifreq::new(name, &mtu.to_ne_bytes()).call(fd, IfreqCall::SetMtu).map(drop)
}

pub(super) fn add_to_bridge(fd: BorrowedFd<'_>, bridge: &str, index: i32) -> io::Result<()> {
    Ifreq::new(bridge, &index.to_ne_bytes()).call(fd, IfreqCall::AddToBridge).map(drop)
}
