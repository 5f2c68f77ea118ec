//! Files that a test creates: a temporary directory, and initial file systems.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::environment;
use crate::wait::OrFail;

/// A temporary directory. Dropping the value removes it.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Creates an empty directory.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self(TempDir::with_prefix("lguest-test-").or_fail("making a directory"))
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Creates a file with these contents in the directory, and returns its path.
    #[must_use]
    #[track_caller]
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, contents).or_fail("writing a file");
        path
    }

    /// Copies the launcher into the directory so that every user can run it, and returns the path
    /// of the copy. Every user can also read the files beside it.
    #[must_use]
    #[track_caller]
    pub fn launcher_for_all(&self) -> String {
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(), all).or_fail("opening a directory to all");
        let launcher = self.path().join("lguest");
        fs::copy(environment::launcher(), &launcher).or_fail("copying the launcher");
        launcher.to_str().or_fail("naming the copy").to_string()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the sorted paths in a directory; none if the directory does not exist.
#[must_use]
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// An initial file system with these programs and nothing else: a cpio archive
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
#[must_use]
#[track_caller]
pub fn initrd(programs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (number, (name, contents)) in (1..).zip(programs) {
        let mode = 0o100_755;
        entry(&mut archive, number, mode, name, contents).or_fail("writing an archive");
    }
    entry(&mut archive, 0, 0, "TRAILER!!!", &[]).or_fail("writing an archive");
    archive
}

fn entry(
    archive: &mut Vec<u8>,
    inode: u32,
    mode: u32,
    name: &str,
    contents: &[u8],
) -> io::Result<()> {
    write!(archive, "070701")?;
    let (size, name_size) = (contents.len(), name.len() + 1);
    for field in [inode as usize, mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
        write!(archive, "{field:08x}")?;
    }
    archive.write_all(name.as_bytes())?;
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.write_all(contents)?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}

/// Returns an initial file system whose program /job runs the script `job` on the console, and then
/// powers the guest off. The kernel needs the argument rdinit=/job.
#[must_use]
#[track_caller]
pub fn job(job: &str) -> Vec<u8> {
    let script = format!(
        "#!/bin/busybox sh
        export PATH=/bin
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs dev /dev
        mount -t tmpfs tmpfs /tmp
        modprobe -a virtio_pci virtio_console
        until [ -e /sys/bus/virtio/drivers/virtio_console/virtio0 ]; do sleep 0.1; done
        exec <> /dev/hvc0 >&0 2>&1
        {job}
        poweroff -f\n"
    );
    initrd(&[("job", script.as_bytes())])
}

/// Opens /dev/full, which refuses all writes.
#[must_use]
#[track_caller]
pub fn full() -> File {
    File::options().write(true).open("/dev/full").or_fail("opening /dev/full")
}
