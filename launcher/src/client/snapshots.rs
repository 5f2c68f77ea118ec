//! `lguest snapshot`: gives the files of a new directory to the launcher of a guest, which writes
//! them, and makes the directory a snapshot when all of it is on the disk.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use host::peer;
use serde::Deserialize;
use serde_json::json;
use wire::Name;
use wire::protocol::{ControlRequest, Fields, Verb};

use super::{PATIENCE, find, open, print, read_answer, unanswered};
use crate::snapshot::Snapshot;
use crate::snapshot::directory::NewDirectory;
use crate::snapshot::manifest::Manifest;

/// `lguest snapshot NAME DIR`.
///
/// # Errors
/// When the guest cannot be saved, or DIR cannot be made. Nothing is left of DIR then.
pub(crate) fn snapshot(name: &Name, directory: &Path, stop: bool) -> Result<()> {
    let guest = find(name)?;
    let context = || format!("snapshot {}", directory.display());
    let new = NewDirectory::create(directory).with_context(context)?;
    let fields = Fields { stop: Some(stop), ..Fields::default() };
    let opened = open(&guest, &ControlRequest::new(Verb::Snapshot, fields), Some(PATIENCE));
    let mut stream = opened.map_err(|error| unanswered(&guest, error))?;
    let wanted: Wanted = serde_json::from_value(read_answer(&guest, &mut stream)?)?;
    let files: Result<Vec<_>> = wanted.files.iter().map(|name| new.file(name)).collect();
    let files = files.with_context(context)?;
    let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    peer::send_files(stream.get_ref(), &descriptors).context("giving files to the launcher")?;
    // The launcher needs as long as the host's disk does.
    stream.get_ref().set_read_timeout(None)?;
    let saved: SavedAnswer = serde_json::from_value(read_answer(&guest, &mut stream)?)?;
    new.finish(&saved.manifest.text()).with_context(context)?;
    if stop {
        let request = ControlRequest::new(Verb::Stop, Fields::default()).line();
        let asked = stream.get_ref().write_all(request.as_bytes()).context("asking the launcher");
        asked
            .and_then(|()| read_answer(&guest, &mut stream))
            .context("the snapshot is complete, but the guest was not stopped")?;
        guest.wait_for_end()?;
    }
    print(&format!(
        "guest {name}: saved to {} ({} MiB, paused for {} ms)\n",
        directory.display(),
        blocks(&files) >> 20,
        saved.paused
    ))
}

/// The first answer: the files that the launcher wants.
#[derive(Debug, Deserialize)]
struct Wanted {
    files: Vec<String>,
}

/// The second answer.
#[derive(Debug, Deserialize)]
struct SavedAnswer {
    manifest: Manifest,
    /// Milliseconds.
    paused: u64,
}

/// The bytes that files have on the disk.
fn blocks(files: &[File]) -> u64 {
    files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

/// `lguest snapshot --show DIR`.
///
/// # Errors
/// When DIR is not a complete snapshot of this format.
pub(crate) fn show(directory: &Path, json: bool, verify: bool) -> Result<()> {
    let snapshot = Snapshot::open(directory, verify)?;
    let text = match json {
        true => json!({ "manifest": snapshot.manifest, "consoles": snapshot.state.consoles })
            .to_string(),
        false => table(&snapshot),
    };
    print(&(text + "\n"))
}

fn table(snapshot: &Snapshot) -> String {
    let manifest = &snapshot.manifest;
    let mut lines = vec![
        format!("guest      {}", manifest.name),
        format!("saved      {} s ago", manifest.age().as_secs()),
        format!("lguest     {} (format {})", manifest.lguest, manifest.format),
        format!("host       Linux {}", manifest.host_kernel),
        format!("memory     {} MiB", manifest.memory >> 20),
        format!("CPUs       {}", manifest.cpus),
    ];
    for (number, disk) in manifest.disks.iter().enumerate() {
        lines.push(format!("disk {number}     {}", disk.path.display()));
    }
    for (number, card) in manifest.cards.iter().enumerate() {
        let mac = card.mac.map(|byte| format!("{byte:02x}")).join(":");
        lines.push(format!("card {number}     {mac}"));
    }
    for (number, console) in snapshot.state.consoles.iter().enumerate() {
        let output = &console.output;
        let unread = output.end.saturating_sub(output.read);
        let (input, lost) = (console.input, output.lost);
        lines.push(format!(
            "console {number}  {unread} bytes of output not read, {lost} lost; {input} bytes of \
             input not read"
        ));
    }
    lines.push(String::from("options"));
    lines.extend(manifest.options.lines().map(|line| format!("  {line}")));
    // A snapshot may come from somebody else, and its text goes to a terminal.
    let plain = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    lines.join("\n").chars().map(plain).collect()
}
