//! Mounts the file systems of the kernel, and the root disk if the kernel command line names one.
//! The init itself stays in the initial file system; the command runs in the root directory after a
//! chroot.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lguest_init::COMPLETE;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount_at, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, sync};

use crate::Result;
use crate::kernel_log;
use crate::kernel_words::KernelWords;

/// Where the root disk is mounted.
const ROOT: &str = "/.lguest/root";

/// How often to look for the disk. The disks of loaded drivers exist at once; other drivers need a
/// moment.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(20);

/// How often to check, with pauses of [`BETWEEN`], whether the killed processes are gone.
const PATIENCE: u32 = 100;

/// Mounts what programs expect in every root file system.
pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    let nosuid = MsFlags::MS_NOSUID;
    let rest = MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    for (kind, place, flags, options) in [
        ("proc", "/proc", nosuid | rest, ""),
        ("sysfs", "/sys", nosuid | rest, ""),
        ("devtmpfs", "/dev", nosuid, ""),
        ("devpts", "/dev/pts", nosuid | MsFlags::MS_NOEXEC, "mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", nosuid | MsFlags::MS_NODEV, "mode=1777"),
        ("mqueue", "/dev/mqueue", nosuid | rest, ""),
    ] {
        let _ = fs::create_dir_all(place);
        match mount_at(Some(kind), place, Some(kind), flags, Some(options)) {
            // The kernel has already mounted it (CONFIG_DEVTMPFS_MOUNT).
            Ok(()) | Err(Errno::EBUSY) => {}
            // The kernel was built without it (CONFIG_TMPFS, CONFIG_POSIX_MQUEUE). The plain
            // directory has to do.
            Err(Errno::ENODEV) => {}
            Err(error) => return Err(format!("mounting {place}: {error}")),
        }
    }
    // Only the owner of a file here may remove it. (mqueue has this mode.)
    let _ = fs::set_permissions("/dev/shm", Permissions::from_mode(0o1777));
    // udev creates these links on other systems.
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let _ = symlink(format!("/proc/self/{target}"), format!("/dev/{name}"));
    }
    // These directories are already in memory, and keep what the user's initial file system has
    // there.
    for place in ["/run/lock", "/tmp"] {
        let _ = fs::create_dir_all(place);
        let _ = fs::set_permissions(place, Permissions::from_mode(0o1777));
    }
    let _ = fs::write("/proc/sys/kernel/hostname", "guest");
    Ok(())
}

/// Takes back what [`mount_kernel_file_systems`] has mounted, for an init that does it itself.
pub(crate) fn unmount_kernel_file_systems() {
    for place in ["/dev/mqueue", "/dev/shm", "/dev/pts", "/dev", "/sys", "/proc"] {
        let _ = umount2(place, MntFlags::MNT_DETACH);
    }
}

/// Checks that the initial file system is complete. The kernel continues if it cannot unpack all of
/// it, but the command must not run without some of its files.
pub(crate) fn check_complete() -> Result<()> {
    if Path::new(COMPLETE).exists() {
        return Ok(());
    }
    let lines = kernel_log::lines();
    let mut reasons = lines.iter().filter_map(|line| {
        let other = || line.strip_prefix("rootfs image is not initramfs (");
        let reason = line.strip_prefix("Initramfs unpacking failed: ").or_else(other)?;
        reason.split(')').next()
    });
    Err(match reasons.next() {
        Some(reason) if !reason.contains("write") && !reason.contains("memory") => {
            format!("the guest's kernel cannot unpack an --initrd ({reason}): is it complete?")
        }
        _ => "the guest's memory is too small to unpack its initial file system: give the guest \
              more memory"
            .into(),
    })
}

/// Mounts the root disk for commands, if the kernel command line names one, and returns where. The
/// file systems of the kernel are mounted in it as well.
pub(crate) fn mount(words: &KernelWords) -> Result<Option<&'static Path>> {
    let Some(root) = mount_disk(words)? else { return Ok(None) };
    for place in ["dev", "proc", "sys", "run", "tmp"] {
        let there = root.join(place);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        let _ = fs::create_dir(&there);
        mount_at(Some(&Path::new("/").join(place)), &there, None::<&str>, flags, None::<&str>)
            .map_err(|error| format!("the root disk's /{place}: {error}"))?;
    }
    Ok(Some(root))
}

/// Mounts the root disk if the kernel command line names one, and returns where.
pub(crate) fn mount_disk(words: &KernelWords) -> Result<Option<&'static Path>> {
    let Some(device) = words.value("root") else { return Ok(None) };
    if !device.starts_with("/dev/") {
        return Err(format!("root={device}: give a device, such as root=/dev/vda"));
    }
    if !(0..LOOKS).any(|look| {
        sleep(if look == 0 { Duration::ZERO } else { BETWEEN });
        Path::new(device).exists()
    }) {
        let there = match disks().join(", ") {
            none if none.is_empty() => "the guest has none (--block)".to_string(),
            some => format!("the guest has {some}"),
        };
        return Err(format!("root={device}: there is no such disk: {there}"));
    }
    let _ = fs::create_dir_all(ROOT);
    let access = words.last_of(&["ro", "rw"]).unwrap_or("ro");
    let flags = if access == "ro" { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let mount_as = |kind: &String| {
        mount_at(Some(device), ROOT, Some(kind.as_str()), flags, words.value("rootflags"))
    };
    let (kinds, mut refusal) = (kinds(words), Errno::EINVAL);
    let mounted = kinds.iter().any(|kind| match mount_as(kind) {
        Ok(()) => true,
        Err(error) => {
            // The other types only report that the disk has another file system.
            refusal = if refusal == Errno::EINVAL { error } else { refusal };
            false
        }
    });
    if !mounted {
        let why = not_mounted(device, refusal, &kinds.join(", "));
        return Err(format!("root={device}: {why}"));
    }
    Ok(Some(Path::new(ROOT)))
}

/// Returns the message: why this disk cannot be the root, and what to do.
fn not_mounted(device: &str, refusal: Errno, kinds: &str) -> String {
    let disk = device.strip_prefix("/dev/").unwrap_or(device);
    let is_part = |name: &String| {
        name.starts_with(disk) && Path::new(&format!("/sys/class/block/{name}/partition")).exists()
    };
    let parts: Vec<_> = disks().into_iter().filter(is_part).collect();
    match refusal {
        Errno::EACCES | Errno::EROFS => "it is a disk to be read only: leave out \"rw\"".into(),
        _ if !parts.is_empty() => {
            let parts = parts.join(", /dev/");
            format!("it is not mounted as any of {kinds}, but it has parts: /dev/{parts}")
        }
        _ => format!(
            "it is not mounted as any of {kinds} ({}): --console file=FILE keeps what the \
             kernel says of it",
            refusal.desc()
        ),
    }
}

/// Returns the names of all disks and their partitions.
fn disks() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_real = |name: &String| !["loop", "ram"].iter().any(|kind| name.starts_with(kind));
    let mut names: Vec<_> = names.filter(is_real).collect();
    names.sort();
    names
}

/// Returns the file system types to try: the one that the user names, or all that the kernel has.
fn kinds(words: &KernelWords) -> Vec<String> {
    if let Some(given) = words.value("rootfstype") {
        return given.split(',').map(str::to_string).collect();
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // File systems without a disk have "nodev" before them.
    known.lines().filter_map(|line| line.strip_prefix('\t')).map(str::to_string).collect()
}

/// Kills all remaining processes, and synchronizes the disks.
pub(crate) fn settle() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for _ in 0..PATIENCE {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::EINTR) => {}
            Err(_) => break,
            Ok(nix::sys::wait::WaitStatus::StillAlive) => sleep(BETWEEN),
            Ok(_) => {}
        }
    }
    sync();
    // This marks the file system as clean. It fails without a disk.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let _ = mount_at(None::<&str>, ROOT, None::<&str>, flags, None::<&str>);
}
