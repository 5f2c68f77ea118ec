//! Every unsafe block of this crate outside of [`crate::terminal`] and [`crate::net`]. All functions here are
//! safe to call.

use std::fs::File;
use std::io;
#[cfg(test)]
use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, StatxFlags, ioctl_blksszget, statx};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The descriptor `fd` of `owner`, for as long as `owner` is borrowed.
pub(crate) fn borrow_fd<T>(owner: &T, fd: RawFd) -> BorrowedFd<'_> {
    let _ = owner;
    // SAFETY: every caller passes a descriptor that `owner` keeps open, and the
    // result cannot outlive the borrow of `owner`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Open the process of this number (pidfd_open(2)). The descriptor is readable when the process has
/// ended.
///
/// # Errors
/// `ESRCH` if no process has this number, `EINVAL` if none can have it.
pub(crate) fn open_process(pid: i32) -> io::Result<OwnedFd> {
    // rustix takes no others.
    let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten().ok_or(Errno::INVAL)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The size from which a buffer on the heap is a mapping of its own, in bytes.
const LARGE_BUFFER: libc::c_int = 256 << 10;

/// Have large buffers on the heap returned to the host when they are freed. By default, glibc keeps
/// freed memory for later, up to megabytes for each thread that had it: a client that reads a
/// console's buffer would cost that memory until the launcher ends.
pub fn return_large_buffers() {
    // SAFETY: sets a parameter of the heap, which is allowed at any time. Fails only for other
    // values.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BUFFER) };
}

/// The alignment in bytes that direct I/O on a file needs for addresses, offsets and lengths; 0 if
/// the file does not support direct I/O. `None` if the kernel does not report the alignment.
///
/// # Errors
/// When statx fails.
pub(crate) fn direct_alignment(file: &File) -> io::Result<Option<u32>> {
    let wanted = StatxFlags::from_bits_retain(libc::STATX_DIOALIGN);
    let status = statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
    let is_reported = status.stx_mask & libc::STATX_DIOALIGN != 0;
    let (memory, offset) = (status.stx_dio_mem_align, status.stx_dio_offset_align);
    Ok(is_reported.then_some(if offset == 0 { 0 } else { memory.max(offset) }))
}

/// The smallest number of bytes that a block device reads or writes.
///
/// # Errors
/// When the file is not a block device.
pub(crate) fn logical_block_size(device: &File) -> io::Result<u32> {
    Ok(ioctl_blksszget(device)?)
}

/// Make an ioctl by this system call number, without an argument. For tests, whose requests change
/// nothing.
#[cfg(test)]
pub(crate) fn raw_ioctl(number: i64, file: &File, request: u64) -> nix::Result<()> {
    // SAFETY: the requests that tests make are not known to the file, or refused.
    let done = unsafe { libc::syscall(number, file.as_raw_fd(), request, 0) };
    nix::errno::Errno::result(done).map(drop)
}
