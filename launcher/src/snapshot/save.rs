//! Saves a running guest into files that a client has opened. The guest is paused meanwhile, its
//! consoles' readers wait, and nobody types. A snapshot that fails leaves the guest as it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use host::disk::{Disk, DiskAccess, DiskIdentity};
use host::peer;
use nix::sys::utsname::uname;
use serde::Serialize;

use super::manifest::{self, CardIdentity, FORMAT, FileEntry, Manifest};
use super::{MEMORY, STATE, console_file, disk_file};
use crate::config::Config;
use crate::guest::{Guest, GuestState, Host};

/// The files of a snapshot that is being made, by name.
#[derive(Debug)]
pub(crate) struct SnapshotFiles(BTreeMap<String, File>);

impl SnapshotFiles {
    /// Files with these names, in the same order. None if there are fewer or more.
    pub(crate) fn new(names: &[String], opened: Vec<File>) -> Option<Self> {
        let is_complete = names.len() == opened.len();
        is_complete.then(|| Self(names.iter().cloned().zip(opened).collect()))
    }

    fn file(&self, name: &str) -> Result<&File> {
        self.0.get(name).with_context(|| format!("no file {name}"))
    }

    /// Write a file, and wait until it is on the disk.
    fn write(&self, name: &str, parts: &[&[u8]]) -> Result<FileEntry> {
        let mut file = self.file(name)?;
        let (mut sum, mut length) = (crc32fast::Hasher::new(), 0_u64);
        for part in parts {
            file.write_all(part).with_context(|| format!("writing {name}"))?;
            sum.update(part);
            length = length.saturating_add(part.len() as u64);
        }
        file.sync_all().with_context(|| format!("writing {name}"))?;
        Ok(FileEntry { length, crc32: Some(sum.finalize()) })
    }
}

/// What a snapshot says about the launch of its guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaunchIdentity<'a> {
    pub(crate) config: &'a Config,
    /// The guest's name.
    pub(crate) name: &'a str,
    /// The directory in which the command line was given.
    pub(crate) here: &'a Path,
}

/// A snapshot that a client asks for.
#[derive(Debug)]
pub(crate) struct SaveRequest {
    pub(crate) files: SnapshotFiles,
    /// Leave the guest paused, and its consoles held: the caller ends it, or calls [`release`].
    pub(crate) stop: bool,
    /// The client that has asked for the snapshot, and will finish it. None if the launch itself
    /// does.
    pub(crate) client: Option<UnixStream>,
}

impl SaveRequest {
    /// Whether nobody is left who would finish the snapshot.
    fn is_abandoned(&self) -> bool {
        self.client.as_ref().is_some_and(peer::has_left)
    }
}

/// A snapshot that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Saved {
    pub(crate) manifest: Manifest,
    /// Milliseconds for which the guest was paused.
    pub(crate) paused: u64,
    /// The guest was paused before.
    #[serde(skip)]
    pub(crate) was_paused: bool,
}

/// Save the guest.
///
/// # Errors
/// The reason, as one line. The guest runs again, unless it was paused before.
pub(crate) fn save(
    guest: &Guest,
    host: &Host,
    launch: LaunchIdentity<'_>,
    request: &SaveRequest,
    patience: Duration,
) -> Result<Saved> {
    let LaunchIdentity { config, name, here } = launch;
    // A launch saves its guest before it sends the command.
    ensure!(
        config.exec.command.is_none() || request.client.is_none(),
        "a guest that runs a command (--exec) cannot be saved yet"
    );
    let options = config.source.options.as_deref();
    let options = options.context("a word of its command line is not UTF-8")?;
    ensure!(
        here.to_str().is_some(),
        "the name of the directory that it was launched in is not UTF-8"
    );
    ensure!(!is_held(host), "another snapshot of it is being made");
    let begun = Instant::now();
    let was_paused = host.paused.load(Ordering::SeqCst);
    guest.pause(patience).map_err(|why| anyhow!(why))?;
    hold(host, true);
    // A command that begins from now on waits until the input is not held.
    let written = check_idle(host).and_then(|()| write(guest, host, request));
    if !request.stop || written.is_err() {
        let resumed = release(guest, host, was_paused, patience);
        resumed.map_err(|why| match &written {
            Ok(_) => anyhow!(why),
            Err(error) => anyhow!("{error:#}; {why}"),
        })?;
    }
    let (disks, files) = written?;
    let manifest = Manifest {
        format: FORMAT,
        lguest: env!("LGUEST_VERSION").into(),
        host_kernel: uname().map(|it| it.release().to_string_lossy().into()).unwrap_or_default(),
        saved: manifest::now(),
        name: name.into(),
        options: options.into(),
        directory: here.into(),
        memory: config.memory,
        cpus: config.cpus,
        disks,
        cards: cards(host),
        consoles: host.consoles.len(),
        warm: None,
        files,
    };
    let paused = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Saved { manifest, paused, was_paused })
}

/// Check that the guest runs no command that a snapshot would contain.
fn check_idle(host: &Host) -> Result<()> {
    let mut links = host.consoles.iter().filter_map(|console| console.init_link());
    let is_idle = links.all(|link| link.is_idle() && (link.is_ready() || !link.has_greeted()));
    ensure!(is_idle, "a guest cannot be saved while it runs a command of `lguest exec`");
    Ok(())
}

/// Let a guest and its consoles continue that was saved to be stopped.
///
/// # Errors
/// When the host has no threads for the guest's devices.
pub(crate) fn release(
    guest: &Guest,
    host: &Host,
    stay_paused: bool,
    patience: Duration,
) -> Result<(), String> {
    let resumed = if stay_paused { Ok(()) } else { guest.resume(patience) };
    hold(host, false);
    resumed
}

/// Stop the readers and typists of all consoles, or let them continue.
pub(crate) fn hold(host: &Host, held: bool) {
    for console in &host.consoles {
        console.output.hold(held);
        console.input.hold(held);
    }
}

/// Whether the guest is being saved, or was saved and is about to be stopped.
pub(crate) fn is_held(host: &Host) -> bool {
    host.consoles.first().is_some_and(|console| console.output.is_held())
}

fn cards(host: &Host) -> Vec<CardIdentity> {
    let cards = host.taps.iter();
    cards.map(|tap| CardIdentity { mac: tap.mac(), queues: tap.queues() }).collect()
}

/// Write the private part of a copy-on-write disk.
fn save_private(disk: &Disk, name: &str, file: &File) -> Result<FileEntry> {
    let copied = disk.save_private(file).and_then(|()| file.sync_all());
    copied.with_context(|| format!("writing {name}"))?;
    // Its checksum would take as long as reading the whole disk.
    Ok(FileEntry { length: file.metadata()?.len(), crc32: None })
}

/// What is written while the guest is paused.
type Written = (Vec<DiskIdentity>, BTreeMap<String, FileEntry>);

/// Write all files but the manifest.
fn write(guest: &Guest, host: &Host, request: &SaveRequest) -> Result<Written> {
    let snapshot = &request.files;
    let mut entries = BTreeMap::new();
    // After a crash of the host, the disks must still be those that the memory belongs to.
    for (number, disk) in host.disks.iter().enumerate() {
        disk.flush().with_context(|| format!("flushing disk {number}"))?;
    }
    let disks: io::Result<Vec<_>> = host.disks.iter().map(Disk::identity).collect();
    let disks = disks.context("looking at the disks")?;
    for (number, disk) in host.disks.iter().enumerate() {
        if disks.get(number).is_some_and(|identity| identity.access == DiskAccess::Cow) {
            let name = disk_file(number);
            entries.insert(name.clone(), save_private(disk, &name, snapshot.file(&name)?)?);
        }
    }
    let memory = snapshot.file(MEMORY)?;
    let goes_on = || !host.exit.is_announced() && !request.is_abandoned();
    let saved = host.ram.save(memory, &goes_on);
    ensure!(!host.exit.is_announced(), "the guest is about to end");
    ensure!(!request.is_abandoned(), "the client has left");
    let crc32 = saved.context("writing memory")?;
    memory.sync_all().context("writing memory")?;
    entries.insert(MEMORY.into(), FileEntry { length: host.ram.size(), crc32: Some(crc32) });
    let mut consoles = Vec::new();
    for console in &host.consoles {
        let (state, output, input) = console.state()?;
        let name = console_file(console.number);
        entries.insert(name.clone(), snapshot.write(&name, &[&output, &input])?);
        consoles.push(state);
    }
    let state = GuestState { machine: guest.state()?, consoles };
    let text = serde_json::to_vec(&state).context("the guest's state")?;
    entries.insert(STATE.into(), snapshot.write(STATE, &[&text])?);
    Ok((disks, entries))
}
