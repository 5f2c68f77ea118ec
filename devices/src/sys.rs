//! Every unsafe block of this crate. What is exported is safe to call.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;
use vmm_sys_util::eventfd::EventFd;

/// A piece of a guest buffer, in the form that readv(2) and writev(2) take.
/// It never becomes a Rust reference: the guest may change the bytes at any
/// time, so they are only copied, or handed to the kernel by address.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Segment<'m> {
    iovec: libc::iovec,
    memory: PhantomData<&'m ()>,
}

impl<'m> Segment<'m> {
    pub(crate) fn new(slice: &VolatileSlice<'m, ()>) -> Self {
        let iov_base = slice.ptr_guard_mut().as_ptr().cast();
        Self { iovec: libc::iovec { iov_base, iov_len: slice.len() }, memory: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.iovec.iov_len
    }

    /// Leave out the first `count` bytes (at most all of them).
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.iovec.iov_len);
        self.iovec.iov_base = self.iovec.iov_base.wrapping_byte_add(count);
        self.iovec.iov_len -= count;
    }

    /// Whether address and length are multiples of `alignment`.
    pub(crate) fn is_aligned(&self, alignment: usize) -> bool {
        self.iovec.iov_base.addr().is_multiple_of(alignment)
            && self.iovec.iov_len.is_multiple_of(alignment)
    }

    /// Its first `length` bytes (at most all of them), as a segment of their own.
    pub(crate) fn head(&self, length: usize) -> Self {
        let mut head = Self { iovec: self.iovec, memory: PhantomData };
        head.truncate(length);
        head
    }

    /// Take the last byte off. None if the buffers are empty.
    pub(crate) fn split_last(&mut self) -> Option<Self> {
        let rest = self.iovec.iov_len.checked_sub(1)?;
        let mut last = Self { iovec: self.iovec, memory: PhantomData };
        last.advance(rest);
        self.truncate(rest);
        Some(last)
    }

    /// Keep the first `length` bytes only (at most all of them).
    pub(crate) fn truncate(&mut self, length: usize) {
        self.iovec.iov_len = self.iovec.iov_len.min(length);
    }

    /// The guest memory that this segment covers, for volatile copies.
    pub(crate) fn slice(&self) -> VolatileSlice<'m, ()> {
        // SAFETY: base and length come from a VolatileSlice<'m> and have only
        // been narrowed since, so the range is valid for 'm.
        unsafe { VolatileSlice::new(self.iovec.iov_base.cast(), self.iovec.iov_len) }
    }
}

/// The kernel takes no more segments in one call.
const IOV_MAX: usize = libc::UIO_MAXIOV.unsigned_abs() as usize;

/// As many go in one call that sends or receives a datagram.
pub(crate) const MOST_SEGMENTS: usize = IOV_MAX - 1;

fn iovec_count(segments: &[Segment<'_>]) -> libc::c_int {
    let most = libc::UIO_MAXIOV;
    libc::c_int::try_from(segments.len()).map_or(most, |count| count.min(most))
}

fn result(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// One readv(2) straight into guest memory.
pub(crate) fn readv(fd: BorrowedFd<'_>, segments: &mut [Segment<'_>]) -> io::Result<usize> {
    let count = iovec_count(segments);
    // SAFETY: `Segment` is a transparent iovec; each covers guest memory that
    // outlives the borrow and that no Rust reference points into.
    result(unsafe { libc::readv(fd.as_raw_fd(), segments.as_ptr().cast(), count) })
}

/// One readv(2) of a datagram into the segments from `first` on. None if it did
/// not fit: the kernel does not say so, therefore there is one byte more than
/// the guest has room for.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    segments: &mut Vec<Segment<'_>>,
    first: usize,
) -> io::Result<Option<usize>> {
    let mut spill = 0_u8;
    let iovec = libc::iovec { iov_base: (&raw mut spill).cast(), iov_len: 1 };
    let end = segments.len().min(first.saturating_add(MOST_SEGMENTS));
    segments.insert(end, Segment { iovec, memory: PhantomData });
    // `spill` is the last segment that the call is given, and outlives it.
    let result = readv(fd, segments.get_mut(first..=end).unwrap_or_default());
    segments.remove(end);
    let room: usize = segments.get(first..end).unwrap_or_default().iter().map(Segment::len).sum();
    result.map(|count| Some(count).filter(|count| *count <= room))
}

/// One writev(2) straight from guest memory.
pub(crate) fn writev(fd: BorrowedFd<'_>, segments: &[Segment<'_>]) -> io::Result<usize> {
    let count = iovec_count(segments);
    // SAFETY: as for readv; the kernel copes with bytes that change meanwhile.
    result(unsafe { libc::writev(fd.as_raw_fd(), segments.as_ptr().cast(), count) })
}

fn file_offset(at: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// One preadv(2) at byte `at`, straight into guest memory.
pub(crate) fn preadv(
    fd: BorrowedFd<'_>,
    segments: &mut [Segment<'_>],
    at: u64,
) -> io::Result<usize> {
    let (count, at) = (iovec_count(segments), file_offset(at)?);
    // SAFETY: as for readv.
    result(unsafe { libc::preadv(fd.as_raw_fd(), segments.as_ptr().cast(), count, at) })
}

/// One pwritev(2) at byte `at`, straight from guest memory.
pub(crate) fn pwritev(fd: BorrowedFd<'_>, segments: &[Segment<'_>], at: u64) -> io::Result<usize> {
    let (count, at) = (iovec_count(segments), file_offset(at)?);
    // SAFETY: as for writev.
    result(unsafe { libc::pwritev(fd.as_raw_fd(), segments.as_ptr().cast(), count, at) })
}

/// One fdatasync(2), which a signal may interrupt: `File::sync_data` would go on.
pub(crate) fn fdatasync(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no memory.
    succeeded(unsafe { libc::fdatasync(fd.as_raw_fd()) })
}

/// fallocate(2) on part of a file.
pub(crate) fn fallocate(fd: BorrowedFd<'_>, mode: i32, range: &Range<u64>) -> io::Result<()> {
    let (at, length) = (file_offset(range.start)?, file_offset(range.end - range.start)?);
    // SAFETY: takes no memory.
    succeeded(unsafe { libc::fallocate(fd.as_raw_fd(), mode, at, length) })
}

/// Tell a block device that it need not keep a part.
pub(crate) fn discard(device: BorrowedFd<'_>, range: &Range<u64>) -> io::Result<()> {
    /// `_IO(0x12, 119)` of linux/fs.h.
    const BLKDISCARD: libc::Ioctl = 0x1277;
    let part = [range.start, range.end - range.start];
    // SAFETY: the request reads two numbers of 64 bits, and `part` outlives the call.
    succeeded(unsafe { libc::ioctl(device.as_raw_fd(), BLKDISCARD, &raw const part) })
}

fn succeeded(done: libc::c_int) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Wait for an eventfd, and take its count. `EventFd::read` would not do: it
/// goes on when a signal interrupts it.
pub(crate) fn wait(event: &EventFd) -> io::Result<u64> {
    let mut count = 0_u64;
    let to = (&raw mut count).cast();
    // SAFETY: `count` has room for the 8 bytes and outlives the call.
    result(unsafe { libc::read(event.as_raw_fd(), to, size_of::<u64>()) })?;
    Ok(count)
}

/// Which of `fds` can be read; none after `milliseconds` (-1: no limit).
pub(crate) fn poll<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    milliseconds: i32,
) -> io::Result<[bool; N]> {
    let mut polled =
        fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: the array outlives the call, and has as many entries as is said.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(polled.map(|fd| fd.revents != 0))
}

/// The descriptor of an eventfd.
pub(crate) fn fd_of(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: an EventFd keeps its descriptor open, and the result borrows it.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call. It cannot fail: every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The id of the calling thread, as the host's kernel has it.
pub(crate) fn thread_id() -> u64 {
    // SAFETY: takes no arguments and touches no memory.
    let id = unsafe { libc::gettid() };
    id.unsigned_abs().into()
}

/// Sleep until a signal comes.
pub(crate) fn pause() {
    // SAFETY: takes no arguments and touches no memory.
    unsafe { libc::pause() };
}
