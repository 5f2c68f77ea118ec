//! Opens a snapshot, and checks it before anything is started from it. Any number of guests may
//! use one directory at once: nothing in it is written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use host::disk::{Disk, DiskAccess};
use machine::memory;

use super::manifest::{FileEntry, Manifest};
use super::{MANIFEST, MEMORY, STATE, console_file, disk_file, files};
use crate::console::SavedConsole;
use crate::guest::GuestState;

/// The largest manifest and the largest state, in bytes: a machine has at most 64 CPUs and 248
/// devices.
const LARGEST_TEXT: u64 = 64 << 20;

/// A snapshot whose files have been checked, except for the contents of guest memory.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) state: GuestState,
    /// The consoles, hvc0 first.
    pub(crate) consoles: Vec<SavedConsole>,
    pub(crate) memory: File,
    /// The directory, if the private parts of disks are opened through it later.
    pub(super) directory: Option<OpenDirectory>,
}

/// A directory that is open: all of its files belong to one snapshot, even if another directory gets
/// its name meanwhile.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    file: File,
    /// The name, for messages.
    path: PathBuf,
}

impl OpenDirectory {
    fn new(path: &Path) -> Result<Self> {
        let name = || format!("snapshot file {}", path.join(MANIFEST).display());
        Ok(Self { file: File::open(path).with_context(name)?, path: path.into() })
    }

    /// A path of a file of the directory, which is valid as long as the directory is open.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.file.as_raw_fd()))
    }
}

/// Read the manifest of a snapshot.
fn manifest(directory: &OpenDirectory) -> Result<Manifest> {
    let open = || -> Result<Manifest> {
        let file = open_file(directory, MANIFEST).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("it does not exist: this is not a snapshot, or not a complete one")
            }
            _ => error.into(),
        })?;
        Manifest::parse(&read(file, LARGEST_TEXT)?)
    };
    let manifest = open().with_context(|| describe(directory, MANIFEST))?;
    let checked = check(&manifest);
    checked.with_context(|| describe(directory, MANIFEST))?;
    Ok(manifest)
}

/// Check what a manifest says about its own files.
fn check(manifest: &Manifest) -> Result<()> {
    memory::check_size(manifest.memory)?;
    ensure!(manifest.consoles <= devices::pci::MOST, "it is damaged: too many consoles");
    let names = files(manifest.consoles, &manifest.disks);
    ensure!(
        manifest.files.len() == names.len()
            && names.iter().all(|name| manifest.files.contains_key(name)),
        "it is damaged: it does not name the files of {} consoles",
        manifest.consoles
    );
    let memory = manifest.files.get(MEMORY).map(|entry| entry.length);
    ensure!(memory == Some(manifest.memory), "it is damaged: the length of {MEMORY}");
    Ok(())
}

/// The manifest in a directory that `--warm` may make anew. None if the directory does not exist.
/// The inner error says why a snapshot cannot be used.
///
/// # Errors
/// When the directory is not a snapshot.
pub(super) fn warm(directory: &Path) -> Result<Option<Result<(OpenDirectory, Manifest)>>> {
    if fs::symlink_metadata(directory).is_err() {
        return Ok(None);
    }
    ensure!(
        super::directory::is_replaceable(directory)?,
        "it exists, and --warm has not made it: name a directory that does not exist yet"
    );
    let opened = OpenDirectory::new(directory);
    let opened = opened.and_then(|opened| {
        let manifest = manifest(&opened)?;
        Ok((opened, manifest))
    });
    Ok(Some(opened))
}

impl Snapshot {
    /// Open a snapshot. With `verify`, the contents of guest memory are checked as well, which
    /// reads all of it.
    ///
    /// # Errors
    /// The file that is missing, truncated or damaged.
    pub(crate) fn open(directory: &Path, verify: bool) -> Result<Self> {
        let directory = OpenDirectory::new(directory)?;
        let manifest = manifest(&directory)?;
        Self::read(&directory, manifest, verify)
    }

    /// Open the files of a snapshot with this manifest.
    pub(super) fn read(
        directory: &OpenDirectory,
        manifest: Manifest,
        verify: bool,
    ) -> Result<Self> {
        let memory = open_checked(directory, MEMORY, &manifest.files)?;
        if verify {
            verify_memory(&memory, &manifest).with_context(|| describe(directory, MEMORY))?;
        }
        let state = read_checked(directory, STATE, &manifest.files)?;
        let state: GuestState = serde_json::from_slice(&state)
            .map_err(|error| anyhow!("it is damaged: {error}"))
            .with_context(|| describe(directory, STATE))?;
        let context = || describe(directory, STATE);
        check_state(&manifest, &state).with_context(context)?;
        let mut consoles = Vec::new();
        for (number, console) in state.consoles.iter().enumerate() {
            let name = console_file(number);
            let bytes = read_checked(directory, &name, &manifest.files)?;
            let saved = SavedConsole::new(console.clone(), bytes);
            consoles.push(saved.with_context(|| describe(directory, &name))?);
        }
        for number in 0..manifest.disks.len() {
            let name = disk_file(number);
            if manifest.files.contains_key(&name) {
                open_checked(directory, &name, &manifest.files)?;
            }
        }
        Ok(Self { manifest, state, consoles, memory, directory: None })
    }

    /// Check that the guest has as many consoles as the saved one.
    ///
    /// # Errors
    /// Both numbers.
    pub(crate) fn check_consoles(&self, consoles: usize) -> Result<()> {
        let saved = self.manifest.consoles;
        ensure!(saved == consoles, "the snapshot has {saved} consoles, and its options {consoles}");
        Ok(())
    }

    /// Check that the disks are those of the snapshot: the guest keeps a part of their contents in
    /// its memory.
    ///
    /// # Errors
    /// The disk that has changed.
    pub(crate) fn check_disks(&self, disks: &[Disk]) -> Result<()> {
        let saved = &self.manifest.disks;
        let counts = (saved.len(), disks.len());
        ensure!(
            counts.0 == counts.1,
            "the snapshot has {} disks, and its options {}",
            counts.0,
            counts.1
        );
        for (number, (saved, disk)) in saved.iter().zip(disks).enumerate() {
            let now = disk.identity().with_context(|| format!("disk {number}"))?;
            let mut unchanged = saved.check_unchanged(&now);
            if saved.access != DiskAccess::Cow && disk.has_private_sectors() {
                unchanged =
                    Err("its private part has what another guest wrote: name a new file".into());
            }
            unchanged.map_err(|why| anyhow!("disk {number} ({}): {why}", now.path.display()))?;
        }
        Ok(())
    }
}

/// Check that the state is that of the guest in the manifest.
fn check_state(manifest: &Manifest, state: &GuestState) -> Result<()> {
    let cpus = state.machine.vcpus.len();
    ensure!(cpus == usize::from(manifest.cpus), "it is damaged: the state of {cpus} CPUs");
    let consoles = state.consoles.len();
    ensure!(consoles == manifest.consoles, "it is damaged: the state of {consoles} consoles");
    Ok(())
}

/// Check the contents of guest memory.
fn verify_memory(file: &File, manifest: &Manifest) -> Result<()> {
    let wanted = manifest.files.get(MEMORY).and_then(|entry| entry.crc32);
    let sum = memory::checksum(file, manifest.memory)?;
    ensure!(wanted == Some(sum), "it is damaged: its checksum is another one");
    Ok(())
}

fn open_file(directory: &OpenDirectory, name: &str) -> io::Result<File> {
    // A named pipe would make the open wait.
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(directory.path_of(name))
}

/// Open a file whose length is as the manifest says.
fn open_checked(
    directory: &OpenDirectory,
    name: &str,
    files: &BTreeMap<String, FileEntry>,
) -> Result<File> {
    let open = || -> Result<File> {
        let file = open_file(directory, name)?;
        let status = file.metadata()?;
        let wanted = files.get(name).map_or(0, |entry| entry.length);
        ensure!(status.is_file(), "it is not a file");
        ensure!(
            status.len() == wanted,
            "it has {} bytes, and had {wanted} when it was saved",
            status.len()
        );
        Ok(file)
    };
    open().with_context(|| describe(directory, name))
}

/// Read a file whose checksum is as the manifest says.
fn read_checked(
    directory: &OpenDirectory,
    name: &str,
    files: &BTreeMap<String, FileEntry>,
) -> Result<Vec<u8>> {
    let file = open_checked(directory, name, files)?;
    let read = || -> Result<Vec<u8>> {
        let bytes = read(file, LARGEST_TEXT)?;
        let wanted = files.get(name).and_then(|entry| entry.crc32);
        ensure!(
            wanted == Some(crc32fast::hash(&bytes)),
            "it is damaged: its checksum is another one"
        );
        Ok(bytes)
    };
    read().with_context(|| describe(directory, name))
}

fn read(file: File, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "it is larger than any such file");
    Ok(bytes)
}

/// A file of the snapshot, for messages.
fn describe(directory: &OpenDirectory, name: &str) -> String {
    let path: PathBuf = directory.path.join(name);
    format!("snapshot file {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::manifest::tests::example;
    use super::*;

    /// A directory with this manifest.
    fn directory(manifest: &Manifest) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(MANIFEST), manifest.text()).unwrap();
        directory
    }

    fn refusal(directory: &Path) -> String {
        format!("{:#}", Snapshot::open(directory, false).unwrap_err())
    }

    #[test]
    fn what_is_not_a_snapshot_is_refused_by_name() {
        let empty = tempfile::tempdir().unwrap();
        assert!(refusal(empty.path()).contains("not a snapshot, or not a complete one"));
        let missing = empty.path().join("missing");
        assert!(refusal(&missing).contains("No such file or directory"));
        fs::write(empty.path().join(MANIFEST), "{").unwrap();
        assert!(refusal(empty.path()).contains("manifest.json: it is damaged"));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let rows = [
            Manifest { consoles: 2, ..example() },
            Manifest { consoles: usize::MAX, ..example() },
            Manifest { memory: 65 << 20, ..example() },
            Manifest { memory: u64::MAX, ..example() },
            Manifest { files: BTreeMap::new(), ..example() },
        ];
        for manifest in rows {
            let refusal = refusal(directory(&manifest).path());
            assert!(refusal.contains("manifest.json: "), "{refusal}");
        }
    }

    #[test]
    fn a_file_of_another_length_or_content_is_refused() {
        let mut manifest = example();
        manifest.files.get_mut(MEMORY).unwrap().length = manifest.memory;
        let state = manifest.files.get_mut(STATE).unwrap();
        (state.length, state.crc32) = (2, Some(crc32fast::hash(b"{}")));
        let directory = directory(&manifest);
        let directory = directory.path();
        assert!(refusal(directory).contains("memory: No such file"));
        let memory = File::create(directory.join(MEMORY)).unwrap();
        memory.set_len(manifest.memory - 1).unwrap();
        assert!(refusal(directory).contains("memory: it has 67108863 bytes, and had 67108864"));
        memory.set_len(manifest.memory).unwrap();
        for (text, wanted) in [("{", "has 1 bytes"), ("[]", "checksum"), ("{}", "missing field")] {
            fs::write(directory.join(STATE), text).unwrap();
            let refusal = refusal(directory);
            assert!(refusal.contains("state.json: ") && refusal.contains(wanted), "{refusal}");
        }
    }
}
