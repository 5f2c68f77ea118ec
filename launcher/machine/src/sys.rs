//! Every unsafe block of this crate. All functions here are safe to call.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{Xsave, kvm_reinject_control, kvm_userspace_memory_region};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::mmap::{MmapRegion, MmapRegionBuilder};

/// The size of a huge page on x86 in bytes. The mapping is aligned to it, so that the guest's
/// 2 MiB pages meet the host's.
const HUGE_PAGE: usize = 2 << 20;

/// Address space in bytes that the launcher needs beside guest memory: stacks, buffers, the heap.
/// Without this reserve, an allocation fails somewhere, and the process aborts.
const LAUNCHER: usize = 32 << 20;

/// Private memory between two inaccessible guard areas: anonymous, or with the contents of a file.
/// The mapping lasts as long as the process, so that pointers into it stay valid.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: usize,
    /// Pages that nobody has written have the contents of a file.
    has_file: AtomicBool,
}

// SAFETY: the mapping is plain memory that belongs to no thread; all access to
// its bytes goes through vm-memory's volatile accessors.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserve `size` bytes, aligned to a huge page.
    ///
    /// # Errors
    /// When the host does not grant the mapping, or the remaining address space is too small for
    /// the launcher itself.
    pub(crate) fn reserve(size: usize) -> io::Result<Self> {
        let whole = size.checked_add(3 * HUGE_PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let more = whole.checked_add(LAUNCHER).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let area = unsafe { libc::mmap(ptr::null_mut(), more, libc::PROT_NONE, flags, -1, 0) };
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the end of the mapping made above, to which no pointer exists yet.
        let done = unsafe { libc::munmap(area.wrapping_byte_add(whole), LAUNCHER) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // A guard of at least one huge page stays on either side.
        let skip = HUGE_PAGE + area.align_offset(HUGE_PAGE);
        let start = area.wrapping_byte_add(skip);
        // SAFETY: start..start + size lies inside the area mapped above.
        let done = unsafe { libc::mprotect(start, size, libc::PROT_READ | libc::PROT_WRITE) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { start, size, has_file: AtomicBool::new(false) };
        mapping.advise();
        Ok(mapping)
    }

    /// Advise the kernel to use huge pages, and to leave the mapping out of core dumps.
    fn advise(&self) {
        for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTDUMP] {
            // Both are hints: a kernel without them costs speed or disk space, nothing else.
            // SAFETY: the range is ours and mapped; neither hint changes contents.
            let _ = unsafe { libc::madvise(self.start.as_ptr().cast(), self.size, advice) };
        }
    }

    /// Give the whole mapping the contents of a file, of which it is a private copy. The file has
    /// to be as long as the mapping, and to stay so: an access beyond its end is a SIGBUS.
    ///
    /// # Errors
    /// When the host refuses the mapping.
    pub(crate) fn map_file(&self, file: &File) -> io::Result<()> {
        self.map_again(libc::MAP_PRIVATE | libc::MAP_NORESERVE, file.as_raw_fd())?;
        self.has_file.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether pages that nobody has written have the contents of a file.
    pub(crate) fn has_file(&self) -> bool {
        self.has_file.load(Ordering::Relaxed)
    }

    /// Replace the contents of the whole mapping.
    fn map_again(&self, flags: libc::c_int, fd: libc::c_int) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let start = self.start.as_ptr().cast();
        // SAFETY: the range is the mapping's own, and stays mapped, readable and writable. No code
        // holds references to it (vm-memory hands out volatile accessors only).
        let area = unsafe { libc::mmap(start, self.size, access, flags | libc::MAP_FIXED, fd, 0) };
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.advise();
        Ok(())
    }

    /// A part of the mapping as a region of vm-memory. Offset and length are in bytes.
    pub(crate) fn region(&self, offset: usize, length: usize) -> io::Result<MmapRegion<()>> {
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let start = self.start.as_ptr().wrapping_add(offset);
        let builder = MmapRegionBuilder::new_with_bitmap(length, ())
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: the range was checked to lie inside the mapping, which is
        // page-aligned, readable, writable and never unmapped.
        let builder = unsafe { builder.with_raw_mmap_pointer(start) };
        builder.build().map_err(io::Error::other)
    }

    /// Drop every page of the mapping. The pages read as zeroes afterwards.
    ///
    /// # Errors
    /// When the host refuses.
    pub(crate) fn empty(&self) -> io::Result<()> {
        if self.has_file.load(Ordering::Relaxed) {
            // Dropped pages would have the file's contents again.
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            self.map_again(flags, -1)?;
            self.has_file.store(false, Ordering::Relaxed);
            return Ok(());
        }
        // SAFETY: private anonymous memory of ours that no code holds references
        // to (vm-memory hands out volatile accessors only).
        let done =
            unsafe { libc::madvise(self.start.as_ptr().cast(), self.size, libc::MADV_DONTNEED) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Give guest memory to a virtual machine.
pub(crate) fn set_memory_region(
    vm: &VmFd,
    region: kvm_userspace_memory_region,
) -> Result<(), kvm_ioctls::Error> {
    // SAFETY: the caller's region is part of a `Mapping`, which is never
    // unmapped, so KVM's use of it cannot outlive it.
    unsafe { vm.set_user_memory_region(region) }
}

/// KVM's ioctl that sets whether its PIT makes up for ticks: `_IO(KVMIO, 0x71)`.
const KVM_REINJECT_CONTROL: libc::c_ulong = 0xae71;

/// Have KVM's PIT drop the ticks that the guest did not take in time.
pub(crate) fn lose_late_ticks(vm: &VmFd) -> io::Result<()> {
    let control = kvm_reinject_control::default();
    // SAFETY: the request reads such a struct, which outlives the call.
    let done = unsafe { libc::ioctl(vm.as_raw_fd(), KVM_REINJECT_CONTROL, &raw const control) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The size in bytes of a vCPU's extended state, which only [`XsaveSize::of`] makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct XsaveSize(usize);

/// The bytes of the struct that every KVM has for the extended state.
const XSAVE: usize = 4096;

impl XsaveSize {
    /// The size on this host (KVM_CAP_XSAVE2).
    pub(crate) fn of(kvm: &Kvm) -> Self {
        let size = usize::try_from(kvm.check_extension_int(Cap::Xsave2)).unwrap_or(0);
        // KVM's interface counts the part beyond the struct in 32-bit words.
        Self(size.next_multiple_of(4).max(XSAVE))
    }

    /// The number of bytes.
    pub(crate) fn bytes(self) -> usize {
        self.0
    }

    /// A buffer of this size.
    fn buffer(self) -> Result<Xsave, kvm_ioctls::Error> {
        Xsave::new((self.0 - XSAVE) / 4).map_err(|_| kvm_ioctls::Error::new(libc::ENOMEM))
    }

    /// Read a vCPU's extended state.
    ///
    /// # Errors
    /// When KVM refuses.
    pub(crate) fn get(self, vcpu: &VcpuFd) -> Result<Vec<u8>, kvm_ioctls::Error> {
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // Older kernels have this call alone.
        if self.0 == XSAVE {
            return vcpu.get_xsave().map(|xsave| bytes(&xsave.region));
        }
        let mut xsave = self.buffer()?;
        // SAFETY: the buffer has the size that KVM reports for this process.
        unsafe { vcpu.get_xsave2(&mut xsave) }?;
        let region = &xsave.as_fam_struct_ref().xsave.region;
        Ok(bytes(&[region, xsave.as_slice()].concat()))
    }

    /// Set a vCPU's extended state.
    ///
    /// # Errors
    /// When it does not have this size, or KVM refuses it.
    pub(crate) fn set(self, vcpu: &VcpuFd, bytes: &[u8]) -> Result<(), kvm_ioctls::Error> {
        let (words, rest) = bytes.as_chunks::<4>();
        if bytes.len() != self.0 || !rest.is_empty() {
            return Err(kvm_ioctls::Error::new(libc::EINVAL));
        }
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let mut xsave = self.buffer()?;
        // SAFETY: the length of the buffer stays as it is.
        let area = unsafe { xsave.as_mut_fam_struct() };
        for (to, word) in area.xsave.region.iter_mut().zip(&mut words) {
            *to = word;
        }
        for (to, word) in xsave.as_mut_slice().iter_mut().zip(words) {
            *to = word;
        }
        // SAFETY: the buffer has the size that KVM reports for this process.
        unsafe { vcpu.set_xsave2(&xsave) }
    }
}

/// The number of KVM's error after KVM_EXIT_INTERNAL_ERROR (`suberror`).
pub fn internal_error(vcpu: &mut VcpuFd) -> u32 {
    // SAFETY: a union of plain numbers, all of whose bit patterns are valid.
    unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror }
}
