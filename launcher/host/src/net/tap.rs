//! A tap: an Ethernet interface of the host whose other end is a descriptor,
//! one for each queue pair of the card. [`super::watch`] reports changes of the
//! interface to it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use anyhow::{Context, Result, anyhow};
use devices::mutex::lock;
use devices::net::features::{
    GUEST_CSUM, GUEST_ECN, GUEST_TSO4, GUEST_TSO6, GUEST_UFO, GUEST_USO4, GUEST_USO6, OFFLOADS,
};
use devices::net::{HEADER, Interface, Link, Net};
use devices::number::low_u8;
use devices::status::DeviceStatus;
use libc::{
    TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_UFO, TUN_F_USO4, TUN_F_USO6, c_uint,
};

use super::{address, sys};

/// The name of taps that lguest makes. The kernel puts the first free number into it.
const OURS: &str = "lg%d";

/// Advice for a user without the privilege to make a tap.
const PRIVILEGE: &str = "run as root, or have root make a tap for you (ip tuntap add tap0 mode tap \
    user $USER; ip link set tap0 up) and use --tunnet tap:tap0";

/// A tap: an Ethernet interface of the host, with a descriptor for each queue pair of the card.
pub struct Tap {
    pub(super) queues: Vec<File>,
    /// Whether the tap was made for several queues, even if lguest uses one.
    pub(super) multi_queue: bool,
    mac: [u8; 6],
    /// The offloads that the tap supports, as bits of [`OFFLOADS`].
    offloads: u64,
    pub(super) link: Arc<Link>,
    state: Mutex<State>,
}

/// The state of a tap that changes while guests run.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) name: String,
    /// The index of the interface. `None` if the interface is gone.
    pub(super) index: Option<u32>,
    /// The bits of [`OFFLOADS`] that the guest has accepted.
    pub(super) offloads: u64,
    /// The number of queue pairs in use.
    pub(super) pairs: u16,
    /// The device of the present guest.
    pub(super) device: Weak<DeviceStatus>,
}

impl Tap {
    /// Make a tap, which exists until the launcher ends.
    pub(super) fn make(queues: u8, mac: [u8; 6]) -> Result<Self> {
        let several = queues > 1;
        Self::open(OURS, queues, several, mac).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => anyhow!("making a tap: permission denied: {PRIVILEGE}"),
            _ => anyhow!("making a tap: {error}"),
        })
    }

    /// Attach to an existing tap. If it does not exist, the kernel would create
    /// it, without the settings that its owner wants.
    pub(super) fn attach(name: &str, queues: u8, mac: [u8; 6]) -> Result<Self> {
        let several = queues > 1;
        let kind = if several { " multi_queue" } else { "" };
        let make = format!("ip tuntap add {name} mode tap user $USER{kind}; ip link set {name} up");
        if address::index(name).is_none() {
            return Err(anyhow!("no such interface; as root, run: {make}"));
        }
        let mut tap = Self::open(name, queues, several, mac);
        if !several && tap.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidInput) {
            tap = Self::open(name, queues, true, mac);
        }
        tap.map_err(|error| match (error.kind(), error.raw_os_error()) {
            (ErrorKind::InvalidInput, _) if several => {
                anyhow!("it is not a tap for several queues; as root, run: {make}")
            }
            (ErrorKind::InvalidInput, _) => anyhow!("it is an interface, but no tap"),
            (ErrorKind::ResourceBusy, _) => anyhow!("busy: another program has it open"),
            (ErrorKind::PermissionDenied, _) => {
                anyhow!("permission denied: it was not made for you; as root, run: {make}")
            }
            _ => anyhow!("opening it: {error}"),
        })
    }

    fn open(name: &str, queues: u8, multi_queue: bool, mac: [u8; 6]) -> io::Result<Self> {
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
            file.map_err(|error| explain_tun(&error))
        };
        let first = open()?;
        let name = sys::attach(first.as_fd(), name, multi_queue)?;
        let mut files = vec![first];
        for _ in 1..queues {
            let file = open()?;
            sys::attach(file.as_fd(), &name, multi_queue)?;
            files.push(file);
        }
        let pairs = u16::from(queues);
        let index = address::index(&name);
        let state = State { name, index, offloads: 0, pairs, device: Weak::new() };
        let link = Arc::new(Link::new(usize::from(queues))?);
        let state = Mutex::new(state);
        let mut tap = Self { queues: files, multi_queue, mac, offloads: 0, link, state };
        tap.set_header()?;
        tap.offloads = tap.probe_offloads();
        tap.tell_offloads(0)?;
        Ok(tap)
    }

    /// The name of the interface.
    pub fn name(&self) -> String {
        self.state().name.clone()
    }

    /// The guest's MAC address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The number of queue pairs.
    pub fn queues(&self) -> u8 {
        low_u8(self.queues.len() as u64)
    }

    /// The card of a new guest.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn card(self: &Arc<Self>) -> Result<Net> {
        let pairs = self.queues.iter().map(File::try_clone).collect::<io::Result<_>>();
        let interface: Arc<dyn Interface> = Arc::clone(self) as _;
        Ok(Net {
            pairs: pairs.context("duplicating the descriptors of a tap")?,
            interface,
            link: Arc::clone(&self.link),
            mac: self.mac,
            mtu: address::mtu(&self.name()).unwrap_or(1500),
            offloads: self.offloads,
        })
    }

    /// Notify this device of changes to the interface from now on.
    pub fn plug(&self, device: &Arc<DeviceStatus>) {
        self.state().device = Arc::downgrade(device);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn first(&self) -> io::Result<&File> {
        self.queues.first().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Have each frame preceded by the header of virtio 1.0.
    pub(super) fn set_header(&self) -> io::Result<()> {
        sys::set_header(self.first()?.as_fd(), HEADER.cast_signed())
    }

    /// The largest set of offloads that the kernel supports. Older kernels support fewer.
    fn probe_offloads(&self) -> u64 {
        let uso = GUEST_USO4 | GUEST_USO6;
        let sets = [OFFLOADS, OFFLOADS & !uso, OFFLOADS & !(uso | GUEST_UFO), GUEST_CSUM];
        sets.into_iter().find(|set| self.tell_offloads(*set).is_ok()).unwrap_or(0)
    }

    pub(super) fn tell_offloads(&self, offloads: u64) -> io::Result<()> {
        sys::set_offload(self.first()?.as_fd(), tun_flags(offloads))
    }

    /// Whether the descriptors are still attached to an interface, in any network namespace.
    pub(super) fn is_attached(&self) -> bool {
        self.first().is_ok_and(|file| sys::is_attached(file.as_fd()))
    }

    /// Change the number of queue pairs in use from `before` to `pairs`.
    pub(super) fn switch_queues(&self, before: u16, pairs: u16) -> io::Result<()> {
        for (number, file) in (0..).zip(&self.queues) {
            if (number < before) != (number < pairs) {
                sys::set_queue(file.as_fd(), number < pairs)?;
            }
        }
        Ok(())
    }
}

impl Interface for Tap {
    fn set_offloads(&self, accepted: u64) -> io::Result<()> {
        self.state().offloads = accepted;
        self.tell_offloads(accepted).or_else(|error| self.unless_gone(error))
    }

    fn set_pairs(&self, pairs: u16) -> io::Result<()> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.pairs, pairs);
        self.switch_queues(before, pairs).or_else(|error| self.unless_gone(error))
    }
}

impl Tap {
    /// Ignore an error if the interface is gone: the setting is made when it comes back.
    fn unless_gone(&self, error: io::Error) -> io::Result<()> {
        if self.is_attached() { Err(error) } else { Ok(()) }
    }
}

/// The offloads as flags of the tap (linux/if_tun.h).
fn tun_flags(offloads: u64) -> c_uint {
    let flags = [
        (GUEST_CSUM, TUN_F_CSUM),
        (GUEST_TSO4, TUN_F_TSO4),
        (GUEST_TSO6, TUN_F_TSO6),
        (GUEST_ECN, TUN_F_TSO_ECN),
        (GUEST_UFO, TUN_F_UFO),
        (GUEST_USO4, TUN_F_USO4),
        (GUEST_USO6, TUN_F_USO6),
    ];
    let set = flags.iter().filter(|(offload, _)| offloads & offload != 0);
    set.fold(0, |all, (_, flag)| all | flag)
}

/// The error of opening /dev/net/tun, with advice.
fn explain_tun(error: &io::Error) -> io::Error {
    let what = match error.kind() {
        ErrorKind::NotFound => "no such file: as root, run: modprobe tun".to_string(),
        ErrorKind::PermissionDenied => {
            "permission denied: run as root, or as root run: chmod 666 /dev/net/tun".to_string()
        }
        _ if error.raw_os_error() == Some(libc::ENODEV) => {
            "this kernel has no tun driver: as root, run: modprobe tun".to_string()
        }
        _ => error.to_string(),
    };
    io::Error::other(format!("/dev/net/tun: {what}"))
}
