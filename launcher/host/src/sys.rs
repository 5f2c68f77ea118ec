//! Every unsafe block of this crate outside of [`crate::terminal`]. What is exported is safe to call.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `owner`'s descriptor, for as long as `owner` is borrowed.
pub(crate) fn borrow_fd<T>(owner: &T, fd: RawFd) -> BorrowedFd<'_> {
    let _ = owner;
    // SAFETY: every caller passes a descriptor that `owner` keeps open, and the
    // result cannot outlive the borrow of `owner`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// A descriptor of the process of this number, which is readable when that has ended.
///
/// # Errors
/// `ESRCH` if there is no such process.
pub(crate) fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers, and answers with a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the call above made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The size from which a buffer on the heap is a mapping of its own, in bytes.
const LARGE_BUFFER: libc::c_int = 256 << 10;

/// Have large buffers on the heap returned to the host when they are freed. By itself glibc keeps
/// freed memory for later, up to megabytes for each thread that had it: a client that reads a
/// console's buffer would cost them until the launcher ends.
pub fn return_large_buffers() {
    // SAFETY: sets a parameter of the heap; it is valid at any time. Fails only for other values.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BUFFER) };
}

/// What direct I/O on a file wants addresses, offsets and lengths to be multiples
/// of; 0 if it does not support direct I/O. None if the kernel does not report
/// it.
pub(crate) fn direct_alignment(file: &File) -> io::Result<Option<u32>> {
    // SAFETY: plain numbers, for which all zeroes are a valid value.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let (flags, wanted) = (libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN);
    // SAFETY: the path is an empty string, `status` has the type that is written.
    let done =
        unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, wanted, &raw mut status) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let told = status.stx_mask & libc::STATX_DIOALIGN != 0;
    let (memory, offset) = (status.stx_dio_mem_align, status.stx_dio_offset_align);
    Ok(told.then_some(if offset == 0 { 0 } else { memory.max(offset) }))
}

/// The least that a block device reads or writes.
pub(crate) fn logical_block_size(device: &File) -> io::Result<u32> {
    let mut size: libc::c_int = 0;
    // SAFETY: the request writes an int, and `size` outlives the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::BLKSSZGET, &raw mut size) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(size).map_err(io::Error::other)
}

/// An ioctl by this system call number, without an argument. For tests: it changes nothing.
#[cfg(test)]
pub(crate) fn raw_ioctl(number: i64, file: &File, request: u64) -> nix::Result<()> {
    // SAFETY: the requests that tests make are not known to the file, or refused.
    let done = unsafe { libc::syscall(number, file.as_raw_fd(), request, 0) };
    nix::errno::Errno::result(done).map(drop)
}
