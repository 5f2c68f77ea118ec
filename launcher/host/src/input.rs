//! The input of a console: a pipe of the kernel, from the thread
//! that types ([`crate::stdin`]) to the console's receive queue, which reads it
//! straight into guest memory. Unread input survives the guest's reboots.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use devices::mutex::{lock, wait};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, write};

/// The capacity of the pipe in bytes: the input that the guest may leave unread. Hosts may grant
/// less: Linux has 64 MiB for all pipes of a user without privilege (pipe-user-pages-soft), in all
/// processes, and two pages for each further pipe. The pipes of the largest number of consoles fit
/// into that.
const CAPACITY: i32 = 1 << 18;

/// The pipe to which unread input is copied, and from which lguest reads the copy. The process has
/// one, made before the first input pipe: no input pipe is larger, and the host may grant less to a
/// pipe that is made later.
static MIRROR: OnceLock<Mutex<Mirror>> = OnceLock::new();

/// An empty pipe, for copies of unread input.
#[derive(Debug)]
struct Mirror {
    reader: File,
    writer: OwnedFd,
}

impl Mirror {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // A smaller pipe is enough.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { reader: File::from(reader), writer })
    }

    /// The mirror of this process, which the first call creates.
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
pub struct InputPipe {
    guest_end: OwnedFd,
    /// The writing end, which stays open: the guest's console does not end when nobody types.
    our_end: OwnedFd,
    /// The writing end for threads that must not wait: a file description of its own,
    /// which is non-blocking.
    sender: OwnedFd,
    typing: Mutex<Typing>,
    released: Condvar,
}

/// What typists do.
#[derive(Debug, Default)]
struct Typing {
    /// The unread input is being saved: typists wait.
    held: bool,
    /// The guest has been saved and does not read any more.
    ended: bool,
    /// The bytes that a typist has in hand, because the pipe is full.
    in_hand: Vec<u8>,
}

impl InputPipe {
    /// Create an empty pipe.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn new() -> io::Result<Self> {
        let capacity = lock(Mirror::shared()?).capacity()?;
        let (guest_end, our_end) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused if the host grants no more, and then the pipe's first size is enough.
        let _ = fcntl(&our_end, FcntlArg::F_SETPIPE_SZ(capacity));
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let again = format!("/proc/self/fd/{}", our_end.as_raw_fd());
        let sender = open(again.as_str(), flags, Mode::empty())?;
        let (typing, released) = (Mutex::default(), Condvar::new());
        Ok(Self { guest_end, our_end, sender, typing, released })
    }

    /// The end that the console's receive queue reads. Blocks while there is no
    /// input, and never ends.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn guest_end(&self) -> io::Result<File> {
        self.guest_end.try_clone().map(File::from)
    }

    /// Type these bytes as far as there is room. Waits only while the input is held. Returns the
    /// number of bytes typed.
    ///
    /// # Errors
    /// When the guest has been saved and does not read any more, or the write fails, which is not
    /// expected of a pipe.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let _typing = self.wait_released()?;
        self.write(bytes)
    }

    /// Type the first of these bytes, for a typist that keeps the rest and sends it later. A snapshot
    /// contains the rest. A console has one such typist. See [`Self::send`].
    ///
    /// # Errors
    /// As those of [`Self::send`].
    pub fn send_first(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut typing = self.wait_released()?;
        let sent = self.write(bytes)?;
        typing.in_hand = bytes.get(sent..).unwrap_or_default().to_vec();
        Ok(sent)
    }

    /// Type all of these bytes, and wait for room.
    ///
    /// # Errors
    /// As those of [`Self::send`].
    pub fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send_first(bytes)?;
            bytes = bytes.get(sent..).unwrap_or_default();
            if !bytes.is_empty() {
                let mut room = [PollFd::new(self.sender(), PollFlags::POLLOUT)];
                let _ = poll(&mut room, PollTimeout::NONE);
            }
        }
        Ok(())
    }

    /// Forget the rest of [`Self::send_first`]: its typist has left.
    pub fn forget_rest(&self) {
        lock(&self.typing).in_hand.clear();
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match write(&self.sender, bytes) {
            Ok(written) => Ok(written),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn wait_released(&self) -> io::Result<MutexGuard<'_, Typing>> {
        let mut typing = lock(&self.typing);
        while typing.held {
            typing = wait(&self.released, typing);
        }
        if typing.ended {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the guest has been saved"));
        }
        Ok(typing)
    }

    /// Have typists wait (true), or let them continue (false). Keys of a terminal do not wait:
    /// three ^C must always be heard.
    pub fn hold(&self, held: bool) {
        lock(&self.typing).held = held;
        self.released.notify_all();
    }

    /// End the input of a guest that has been saved. Nothing that comes now is typed.
    pub fn end(&self) {
        lock(&self.typing).ended = true;
        self.hold(false);
    }

    /// The input that a snapshot needs: what the guest has not read, and what a typist has in hand.
    ///
    /// # Errors
    /// As those of [`Self::unread`].
    pub fn state(&self) -> io::Result<Vec<u8>> {
        let typing = lock(&self.typing);
        let mut all = self.unread()?;
        all.extend(&typing.in_hand);
        Ok(all)
    }

    /// Put saved input into a pipe that nobody has used yet.
    ///
    /// # Errors
    /// When the host grants too small a pipe, or the write fails.
    pub fn restore(&self, unread: &[u8]) -> io::Result<()> {
        if let Ok(size) = i32::try_from(unread.len())
            && size > CAPACITY
        {
            // If it is refused, the pipe does not take all of it.
            let _ = fcntl(&self.our_end, FcntlArg::F_SETPIPE_SZ(size));
        }
        match self.send(unread)? {
            sent if sent == unread.len() => Ok(()),
            sent => Err(io::Error::other(format!(
                "{} bytes of typed input were saved, and this host's pipe takes {sent}",
                unread.len()
            ))),
        }
    }

    /// The descriptor to which [`Self::send`] writes. It polls as writable when there is room.
    pub fn sender(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }

    /// A copy of the input that the guest has not read yet.
    ///
    /// # Errors
    /// When the copy fails, which is not expected of pipes.
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

    /// Discard the input that the guest has not read. The guest does not read meanwhile.
    ///
    /// # Errors
    /// As those of [`Self::unread`].
    pub fn discard(&self) -> io::Result<()> {
        let mut unread = self.unread()?;
        self.guest_end()?.read_exact(&mut unread)
    }

    /// The end to type into. A write blocks while the pipe is full.
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
    use crate::testing::until;

    #[test]
    fn discarded_input_is_gone() {
        let input = InputPipe::new().unwrap();
        input.discard().unwrap();
        input.send(b"old").unwrap();
        input.discard().unwrap();
        input.send(b"new").unwrap();
        assert_eq!(input.unread().unwrap(), b"new");
    }

    #[test]
    fn unread_input_is_copied_and_stays() {
        let input = InputPipe::new().unwrap();
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
    fn nobody_types_while_the_input_is_held() {
        let input = InputPipe::new().unwrap();
        input.hold(true);
        thread::scope(|scope| {
            let typing = scope.spawn(|| input.send(b"late").unwrap());
            assert_eq!(input.unread().unwrap(), b"");
            input.hold(false);
            assert_eq!(typing.join().unwrap(), 4);
        });
        assert_eq!(input.unread().unwrap(), b"late");
    }

    #[test]
    fn saved_input_is_read_once() {
        let input = InputPipe::new().unwrap();
        input.restore(b"").unwrap();
        input.restore(&[b'x'; 20_000]).unwrap();
        assert_eq!(input.unread().unwrap(), [b'x'; 20_000]);
        let error = input.restore(&[b'x'; 4 << 20]).unwrap_err().to_string();
        assert!(error.contains("4194304 bytes of typed input were saved"), "{error}");
    }

    #[test]
    fn what_a_typist_has_in_hand_is_saved() {
        let input = InputPipe::new().unwrap();
        let all = vec![b'x'; 300_000];
        thread::scope(|scope| {
            let typing = scope.spawn(|| input.send_all(&all));
            until("the pipe is full", || {
                input.state().unwrap().len() == all.len()
                    && input.unread().unwrap().len() < all.len()
            });
            input.hold(true);
            assert_eq!(input.state().unwrap().len(), all.len());
            let again = InputPipe::new().unwrap();
            again.restore(&input.state().unwrap()).unwrap();
            let mut read = vec![0; all.len()];
            again.guest_end().unwrap().read_exact(&mut read).unwrap();
            assert!(read == all && again.unread().unwrap().is_empty());
            // The guest that was saved does not read any more.
            input.end();
            input.guest_end().unwrap().read_exact(&mut vec![0; 1 << 17]).unwrap();
            assert_eq!(typing.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        assert!(input.send(b"late").is_err());
    }

    #[test]
    fn a_full_pipe_is_copied_whole() {
        let input = InputPipe::new().unwrap();
        let line = b"sixteen bytes..\n";
        let mut sent = 0;
        while let count @ 1.. = input.send(line).unwrap() {
            assert_eq!(count, line.len(), "half a line was sent");
            sent += count;
        }
        assert!(sent > 4095, "{sent} bytes");
        assert!(input.unread().unwrap() == line.repeat(sent / line.len()));
    }

    /// A user of many consoles meets this limit.
    #[test]
    fn a_pipe_is_copied_whole_when_the_host_grants_pipes_no_more_room() {
        let input = InputPipe::new().unwrap();
        let thread = thread::Builder::new().spawn(move || {
            for capability in [Capability::CAP_SYS_RESOURCE, Capability::CAP_SYS_ADMIN] {
                caps::drop(None, CapSet::Effective, capability).unwrap();
            }
            // Take all that the host grants: large pipes, then usual ones.
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
            // A pipe that is made now has the rest.
            let small = InputPipe::new().unwrap();
            let sent = small.send(&line).unwrap();
            assert!(sent > 0 && small.unread().unwrap() == line[..sent]);
        });
        thread.unwrap().join().unwrap();
    }
}
