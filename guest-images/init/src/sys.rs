//! All of the init's FFI. Each function is safe to call.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use lguest_init::frame::SEED;
use libc::{ifreq, rtentry, sockaddr, sockaddr_in};
use nix::pty::Winsize;
use nix::sys::signal::SigSet;
use nix::sys::socket::sockopt::{BindToDevice, Broadcast, ReuseAddr};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use nix::unistd::{chdir, chroot, setsid};

nix::ioctl_none!(rndreseedcrng, b'R', 0x07);
nix::ioctl_write_ptr!(rndaddentropy, b'R', 0x03, [libc::c_int; 2]);
nix::ioctl_write_ptr_bad!(tiocsptlck, libc::TIOCSPTLCK, libc::c_int);
nix::ioctl_write_int_bad!(tiocgptpeer, libc::TIOCGPTPEER);
nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, Winsize);
nix::ioctl_write_int_bad!(tiocsctty, libc::TIOCSCTTY);
nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);
nix::ioctl_read_bad!(siocgifaddr, libc::SIOCGIFADDR, ifreq);
nix::ioctl_read_bad!(siocgifflags, libc::SIOCGIFFLAGS, ifreq);
nix::ioctl_write_ptr_bad!(siocsifaddr, libc::SIOCSIFADDR, ifreq);
nix::ioctl_write_ptr_bad!(siocsifnetmask, libc::SIOCSIFNETMASK, ifreq);
nix::ioctl_write_ptr_bad!(siocsifflags, libc::SIOCSIFFLAGS, ifreq);
nix::ioctl_write_ptr_bad!(siocaddrt, libc::SIOCADDRT, rtentry);

/// The port that ends the guest with a status.
const EXIT_PORT: u16 = 0x501;

const DHCP_CLIENT_PORT: u16 = 68;

/// Ends the guest with this status, which the launcher interprets.
///
/// # Errors
/// The kernel refuses access to the port.
pub(crate) fn end_with(status: u8) -> io::Result<()> {
    // SAFETY: ioperm takes numbers only.
    let allowed = unsafe { libc::ioperm(EXIT_PORT.into(), 1, 1) };
    if allowed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no driver uses the port, and a write to it touches no memory.
    unsafe {
        core::arch::asm!("out dx, al", in("dx") EXIT_PORT, in("al") status, options(nomem, nostack));
    }
    Ok(())
}

/// Starts a command as the leader of a session. If its stdin is a terminal, that becomes the
/// controlling terminal. If `root` is given, the command gets that root directory.
///
/// # Errors
/// One of these steps fails, or the program cannot be started.
pub(crate) fn spawn_in_session(
    command: &mut Command,
    root: Option<&Path>,
    terminal: bool,
) -> io::Result<Child> {
    let root = root.map(|root| CString::new(root.as_os_str().as_bytes())).transpose()?;
    let prepare = move || {
        SigSet::all().thread_unblock()?;
        setsid()?;
        if terminal {
            // SAFETY: descriptor 0 is open, and the argument is a number.
            unsafe { tiocsctty(0, 0) }?;
        }
        if let Some(root) = &root {
            chroot(root.as_c_str())?;
        }
        chdir(c"/")?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Opens a new terminal of the devpts of this root directory: the init's end, and the command's.
/// openpty(3) would take that of the init's own root. (Linux 4.13 and newer have TIOCGPTPEER.)
///
/// # Errors
/// There is no /dev/ptmx, or no terminal left.
pub(crate) fn open_pty(root: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut options = File::options();
    let options = options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let master = OwnedFd::from(options.open(root.join("dev/ptmx"))?);
    let unlock = 0;
    // SAFETY: the descriptor is open, and the kernel reads an int.
    unsafe { tiocsptlck(master.as_raw_fd(), &raw const unlock) }?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open, and the argument is a number.
    let slave = unsafe { tiocgptpeer(master.as_raw_fd(), flags) }?;
    // SAFETY: the kernel has just opened this descriptor, and nothing else has it.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    Ok((master, slave))
}

/// Sets the size of a terminal's window.
pub(crate) fn set_window(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the kernel reads a winsize.
    let _ = unsafe { tiocswinsz(terminal.as_raw_fd(), &raw const size) };
}

/// Returns how many bytes can be read from a pipe. `None` for a terminal, which does not report
/// this.
pub(crate) fn unread(file: &File) -> Option<usize> {
    let mut count = 0;
    // SAFETY: the descriptor is open, and the kernel writes an int.
    let asked = unsafe { fionread(file.as_raw_fd(), &raw mut count) };
    let is_terminal = std::io::IsTerminal::is_terminal(file);
    asked.ok().filter(|_| !is_terminal).and_then(|_| usize::try_from(count).ok())
}

/// Opens a socket that sends to and receives from DHCP servers on this card. The card needs no
/// address.
///
/// # Errors
/// The card does not exist, or the port is in use.
pub(crate) fn dhcp_socket(card: &str) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    // This comes before bind(2), because sockets of other cards use the same port.
    setsockopt(&socket, BindToDevice, &OsString::from(card))?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, Broadcast, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, DHCP_CLIENT_PORT))?;
    Ok(socket.into())
}

/// Returns a number that is hard to guess, or at least differs between guests. A guest may have
/// little entropy when it starts, and this does not wait for more.
///
/// # Errors
/// The kernel cannot provide a number.
pub(crate) fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Adds random bytes to the kernel's pool, counts them as entropy, and makes the kernel use them from
/// now on (random(4)). Writing to /dev/urandom would change later numbers only.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn reseed(seed: [u8; SEED]) -> io::Result<()> {
    /// struct rand_pool_info of linux/random.h.
    #[repr(C)]
    struct PoolInfo {
        /// Bits of entropy, and bytes of `seed`.
        counts: [libc::c_int; 2],
        seed: [u8; SEED],
    }
    let bytes = i32::try_from(SEED).map_err(io::Error::other)?;
    let pool = PoolInfo { counts: [bytes.saturating_mul(8), bytes], seed };
    // The guest's own init may have moved /dev away; the agent has one of its own.
    let open = |path| File::options().write(true).open(path);
    let random = open("/dev/urandom").or_else(|_| open("/.lguest/dev/urandom"))?;
    // SAFETY: the descriptor is open. The kernel reads the two counts, and as many bytes behind them
    // as the second one says; the struct has both.
    unsafe { rndaddentropy(random.as_raw_fd(), (&raw const pool).cast()) }?;
    // SAFETY: the descriptor is open, and there is no argument. Kernels before 4.17 do not know it.
    let _ = unsafe { rndreseedcrng(random.as_raw_fd()) };
    Ok(())
}

/// Configures the guest's network interfaces.
#[derive(Debug)]
pub(crate) struct Interfaces(OwnedFd);

impl Interfaces {
    /// # Errors
    /// The kernel has no IPv4.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(AddressFamily::Inet, SockType::Datagram, flags, None)?))
    }

    pub(crate) fn has_address(&self, name: &str) -> bool {
        let mut request = request(name);
        // SAFETY: the descriptor is open, and the kernel reads and writes an ifreq.
        unsafe { siocgifaddr(self.fd(), &raw mut request) }.is_ok()
    }

    pub(crate) fn set_address(&self, name: &str, at: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
        let mut request = request(name);
        request.ifr_ifru.ifru_addr = address(at);
        // SAFETY: the descriptor is open, and the kernel reads an ifreq.
        unsafe { siocsifaddr(self.fd(), &raw const request) }?;
        request.ifr_ifru.ifru_netmask = address(mask);
        // SAFETY: as above.
        unsafe { siocsifnetmask(self.fd(), &raw const request) }?;
        Ok(())
    }

    pub(crate) fn bring_up(&self, name: &str) -> io::Result<()> {
        let mut request = request(name);
        // SAFETY: the descriptor is open, and the kernel reads and writes an ifreq.
        unsafe { siocgifflags(self.fd(), &raw mut request) }?;
        let up = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
        // SAFETY: the kernel has filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | up;
        // SAFETY: the descriptor is open, and the kernel reads an ifreq.
        unsafe { siocsifflags(self.fd(), &raw const request) }?;
        Ok(())
    }

    pub(crate) fn set_gateway(&self, gateway: Ipv4Addr) -> io::Result<()> {
        // SAFETY: an rtentry may be all zeroes: numbers, and a name that is not there.
        let mut route: rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = address(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        // SAFETY: the descriptor is open, and the kernel reads an rtentry.
        unsafe { siocaddrt(self.fd(), &raw const route) }?;
        Ok(())
    }

    fn fd(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

/// Returns a request for the interface of this name.
fn request(name: &str) -> ifreq {
    // SAFETY: an ifreq may be all zeroes: an empty name, and numbers.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len().saturating_sub(1);
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = i8::from_ne_bytes([from]);
    }
    request
}

/// Returns an address in the form that the kernel takes.
fn address(ip: Ipv4Addr) -> sockaddr {
    let family = u16::try_from(libc::AF_INET).unwrap_or_default();
    let s_addr = u32::from_ne_bytes(ip.octets());
    let of = sockaddr_in {
        sin_family: family,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16 bytes of numbers, and a sockaddr stands for any address.
    unsafe { std::mem::transmute::<sockaddr_in, sockaddr>(of) }
}
