//! All unsafe blocks of this crate. The functions are safe to call.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;
use vmm_sys_util::eventfd::EventFd;

/// A part of a guest buffer, in the form that readv(2) and writev(2) take. It never becomes
/// a Rust reference, because the guest may change the bytes at any time: they are only
/// copied, or passed to the kernel by address.
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

    /// Drops the first `count` bytes (at most all of them).
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

    /// Returns the first `length` bytes (at most all of them) as another segment.
    pub(crate) fn head(&self, length: usize) -> Self {
        let mut head = Self { iovec: self.iovec, memory: PhantomData };
        head.truncate(length);
        head
    }

    /// Removes the last byte, and returns it as another segment. None if the segment is
    /// empty.
    pub(crate) fn split_last(&mut self) -> Option<Self> {
        let rest = self.iovec.iov_len.checked_sub(1)?;
        let mut last = Self { iovec: self.iovec, memory: PhantomData };
        last.advance(rest);
        self.truncate(rest);
        Some(last)
    }

    /// Drops all but the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.iovec.iov_len = self.iovec.iov_len.min(length);
    }

    /// Returns the segment's guest memory, for volatile copies.
    pub(crate) fn slice(&self) -> VolatileSlice<'m, ()> {
        // SAFETY: base and length come from a VolatileSlice<'m> and have only
        // been narrowed since, so the range is valid for 'm.
        unsafe { VolatileSlice::new(self.iovec.iov_base.cast(), self.iovec.iov_len) }
    }
}

/// The most segments that the kernel takes in one call.
const IOV_MAX: usize = libc::UIO_MAXIOV.unsigned_abs() as usize;

/// The most segments of a datagram: `receive` needs one more.
pub(crate) const MOST_SEGMENTS: usize = IOV_MAX - 1;

fn iovec_count(segments: &[Segment<'_>]) -> libc::c_int {
    let most = libc::UIO_MAXIOV;
    libc::c_int::try_from(segments.len()).map_or(most, |count| count.min(most))
}

fn result(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Calls readv(2), which writes to guest memory.
pub(crate) fn readv(fd: BorrowedFd<'_>, segments: &mut [Segment<'_>]) -> io::Result<usize> {
    let count = iovec_count(segments);
    // SAFETY: `Segment` is a transparent iovec; each covers guest memory that
    // outlives the borrow and that no Rust reference points into.
    result(unsafe { libc::readv(fd.as_raw_fd(), segments.as_ptr().cast(), count) })
}

/// Reads a datagram with readv(2) into the segments from `first` on. None if it did not
/// fit: the kernel does not say so, so the call gets one byte more than the guest's room.
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

/// Calls writev(2), which reads guest memory.
pub(crate) fn writev(fd: BorrowedFd<'_>, segments: &[Segment<'_>]) -> io::Result<usize> {
    let count = iovec_count(segments);
    // SAFETY: as for readv; the kernel copes with bytes that change meanwhile.
    result(unsafe { libc::writev(fd.as_raw_fd(), segments.as_ptr().cast(), count) })
}

fn file_offset(at: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Calls preadv(2) at byte `at` of a file, which writes to guest memory.
pub(crate) fn preadv(
    fd: BorrowedFd<'_>,
    segments: &mut [Segment<'_>],
    at: u64,
) -> io::Result<usize> {
    let (count, at) = (iovec_count(segments), file_offset(at)?);
    // SAFETY: as for readv.
    result(unsafe { libc::preadv(fd.as_raw_fd(), segments.as_ptr().cast(), count, at) })
}

/// Calls pwritev(2) at byte `at` of a file, which reads guest memory.
pub(crate) fn pwritev(fd: BorrowedFd<'_>, segments: &[Segment<'_>], at: u64) -> io::Result<usize> {
    let (count, at) = (iovec_count(segments), file_offset(at)?);
    // SAFETY: as for writev.
    result(unsafe { libc::pwritev(fd.as_raw_fd(), segments.as_ptr().cast(), count, at) })
}

/// Calls fdatasync(2). Returns if a signal interrupts it, unlike `File::sync_data`.
pub(crate) fn fdatasync(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no memory.
    succeeded(unsafe { libc::fdatasync(fd.as_raw_fd()) })
}

/// Calls fallocate(2) on a part of a file.
pub(crate) fn fallocate(fd: BorrowedFd<'_>, mode: i32, range: &Range<u64>) -> io::Result<()> {
    let (at, length) = (file_offset(range.start)?, file_offset(range.end - range.start)?);
    // SAFETY: takes no memory.
    succeeded(unsafe { libc::fallocate(fd.as_raw_fd(), mode, at, length) })
}

/// Finds the first byte of data from `at` on (lseek, SEEK_DATA). None if there is only a
/// hole. This moves the position of the file, which nothing in this crate uses.
pub(crate) fn seek_data(fd: BorrowedFd<'_>, at: u64) -> io::Result<Option<u64>> {
    match seek(fd, at, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        found => found.map(Some),
    }
}

/// Finds the first byte of a hole from `at` on (lseek, SEEK_HOLE): the end of the file, if
/// there is no other. This moves the position of the file, which nothing in this crate uses.
pub(crate) fn seek_hole(fd: BorrowedFd<'_>, at: u64) -> io::Result<u64> {
    seek(fd, at, libc::SEEK_HOLE)
}

fn seek(fd: BorrowedFd<'_>, at: u64, what: libc::c_int) -> io::Result<u64> {
    let at = file_offset(at)?;
    // SAFETY: takes no memory.
    let found = unsafe { libc::lseek(fd.as_raw_fd(), at, what) };
    u64::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// Copies a part of a file to another in the kernel (copy_file_range(2)). Returns how many
/// bytes.
pub(crate) fn copy_file_range(
    from: BorrowedFd<'_>,
    from_at: u64,
    to: BorrowedFd<'_>,
    to_at: u64,
    length: u64,
) -> io::Result<u64> {
    let (mut from_at, mut to_at) = (file_offset(from_at)?, file_offset(to_at)?);
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let (from_at, to_at) = (&raw mut from_at, &raw mut to_at);
    // More than this in one call is refused.
    let length = crate::number::index(length.min(1 << 30));
    // SAFETY: the call reads and writes the two offsets, which outlive it.
    let count = unsafe { libc::copy_file_range(from, from_at, to, to_at, length, 0) };
    result(count).map(|count| count as u64)
}

/// Discards a part of a block device (BLKDISCARD).
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

/// Waits for an eventfd, and returns its count, which becomes 0. Returns if a signal
/// interrupts it, unlike `EventFd::read`.
pub(crate) fn wait(event: &EventFd) -> io::Result<u64> {
    let mut count = 0_u64;
    let to = (&raw mut count).cast();
    // SAFETY: `count` has room for the 8 bytes and outlives the call.
    result(unsafe { libc::read(event.as_raw_fd(), to, size_of::<u64>()) })?;
    Ok(count)
}

/// Waits until one of `fds` can be read, for at most `milliseconds` (-1: no limit).
/// Returns which of them can be read.
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

/// Borrows the descriptor of an eventfd.
pub(crate) fn fd_of(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: an EventFd keeps its descriptor open, and the result borrows it.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// The current time in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call. It cannot fail: every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The kernel's ID of the calling thread.
pub(crate) fn thread_id() -> u64 {
    // SAFETY: takes no arguments and touches no memory.
    let id = unsafe { libc::gettid() };
    id.unsigned_abs().into()
}

/// Sleeps until a signal arrives.
pub(crate) fn pause() {
    // SAFETY: takes no arguments and touches no memory.
    unsafe { libc::pause() };
}
