//! What the guest is to read on a console: a pipe of the kernel, from the thread
//! that types ([`crate::stdin`]) to the console's receive queue, which reads it
//! straight into guest memory. What is unread survives the guest's reboots.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use devices::mutex::lock;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, tee};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, write};

/// What the guest may leave unread. Hosts may grant less: Linux has 64 MiB for all
/// pipes of a user without privilege (pipe-user-pages-soft), and two pages for each
/// pipe after that, in whatever process. As many consoles as a guest can have fit
/// into that.
const CAPACITY: i32 = 1 << 18;

/// What is unread is copied through this pipe, as from there it can be read. The only
/// one of the process, made before the first input: no input has more room, and the
/// host may grant none to a pipe that is made later.
static MIRROR: OnceLock<Mutex<Mirror>> = OnceLock::new();

/// An empty pipe.
#[derive(Debug)]
struct Mirror {
    reader: File,
    writer: OwnedFd,
}

impl Mirror {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // Less room is still room.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { reader: File::from(reader), writer })
    }

    /// The one that there is.
    fn shared() -> io::Result<&'static Mutex<Self>> {
        if let Some(mirror) = MIRROR.get() {
            return Ok(mirror);
        }
        let made = Self::new()?;
        Ok(MIRROR.get_or_init(|| Mutex::new(made)))
    }

    fn capacity(&self) -> nix::Result<i32> {
        fcntl(&self.writer, FcntlArg::F_GETPIPE_SZ)
    }
}

/// The input of one console.
#[derive(Debug)]
pub struct Input {
    guest_end: OwnedFd,
    /// Open for ever: that nobody types is not the end of the guest's console.
    our_end: OwnedFd,
    /// The writing end for those who do not wait: a file description of its own,
    /// which can be non-blocking.
    sender: OwnedFd,
}

impl Input {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn new() -> io::Result<Self> {
        let capacity = lock(Mirror::shared()?).capacity()?;
        let (guest_end, our_end) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused if it is more than the pipe has got, which is enough.
        let _ = fcntl(&our_end, FcntlArg::F_SETPIPE_SZ(capacity));
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let again = format!("/proc/self/fd/{}", our_end.as_raw_fd());
        let sender = open(again.as_str(), flags, Mode::empty())?;
        Ok(Self { guest_end, our_end, sender })
    }

    /// The end that the console's receive queue reads. Blocks while there is no
    /// input, and never ends.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn guest_end(&self) -> io::Result<File> {
        self.guest_end.try_clone().map(File::from)
    }

    /// Type this, as far as there is room: so many bytes.
    ///
    /// # Errors
    /// None are expected of a pipe.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match write(&self.sender, bytes) {
            Ok(written) => Ok(written),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// What [`Self::send`] writes to: ready to be written to when there is room.
    pub fn sender(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }

    /// What the guest has not read yet. It stays where it is.
    ///
    /// # Errors
    /// None are expected of pipes.
    pub fn unread(&self) -> io::Result<Vec<u8>> {
        let mut mirror = lock(Mirror::shared()?);
        let all = usize::try_from(mirror.capacity()?).map_err(io::Error::other)?;
        let copied =
            match tee(&self.guest_end, &mirror.writer, all, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(copied) => copied,
                Err(Errno::EAGAIN) => 0,
                Err(error) => return Err(error.into()),
            };
        let mut bytes = vec![0; copied];
        mirror.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The end to type into.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn our_end(&self) -> io::Result<File> {
        self.our_end.try_clone().map(File::from)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use caps::{CapSet, Capability};

    use super::*;

    #[test]
    fn what_is_unread_is_seen_and_stays() {
        let input = Input::new().unwrap();
        assert_eq!(input.unread().unwrap(), b"");
        assert_eq!(input.send(b"echo hi\n").unwrap(), 8);
        for _ in 0..2 {
            assert_eq!(input.unread().unwrap(), b"echo hi\n");
        }
        let mut read = [0; 5];
        input.guest_end().unwrap().read_exact(&mut read).unwrap();
        assert_eq!(input.unread().unwrap(), b"hi\n");
    }

    #[test]
    fn all_of_a_full_pipe_is_seen() {
        let input = Input::new().unwrap();
        let line = b"sixteen bytes..\n";
        let mut sent = 0;
        while let count @ 1.. = input.send(line).unwrap() {
            assert_eq!(count, line.len(), "half a line was sent");
            sent += count;
        }
        assert!(sent > 4095, "{sent} bytes");
        assert!(input.unread().unwrap() == line.repeat(sent / line.len()));
    }

    /// As it is for a user of many consoles.
    #[test]
    fn all_is_seen_when_the_host_grants_pipes_no_more_room() {
        let input = Input::new().unwrap();
        let thread = thread::Builder::new().spawn(move || {
            for capability in [Capability::CAP_SYS_RESOURCE, Capability::CAP_SYS_ADMIN] {
                caps::drop(None, CapSet::Effective, capability).unwrap();
            }
            // All that there is: large ones, then usual ones until those are not, either.
            let pipe = |size: i32| {
                let pipe = pipe2(OFlag::O_CLOEXEC).unwrap();
                let granted = fcntl(&pipe.1, FcntlArg::F_SETPIPE_SZ(size));
                granted.is_ok_and(|granted| granted >= size).then_some(pipe)
            };
            let of = |size| std::iter::from_fn(move || pipe(size)).take(300);
            let pipes: Vec<_> = of(1 << 20).chain(of(1 << 16)).collect();
            assert!(pipes.len() < 300, "this host has no limit that is met with 300 MiB");
            let line = b"sixteen bytes..\n".repeat(2000);
            assert_eq!(input.send(&line).unwrap(), line.len());
            assert!(input.unread().unwrap() == line);
            // One that is made now has what there is.
            let small = Input::new().unwrap();
            let sent = small.send(&line).unwrap();
            assert!(sent > 0 && small.unread().unwrap() == line[..sent]);
        });
        thread.unwrap().join().unwrap();
    }
}
