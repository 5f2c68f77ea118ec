//! `--warm DIR`: a snapshot of a guest that waits for its first command. The first run makes it, and
//! later runs continue from it. It belongs to the files and options that the guest was booted with:
//! when one of them has changed, it is made anew.

use std::fs::{self, File};
use std::io;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use devices::block::FileStamp;
use host::disk::{BlockConfig, PrivatePart};
use host::net::card::Tunnet;
use serde::{Deserialize, Serialize};

use super::directory::NewDirectory;
use super::manifest::Manifest;
use super::opened::{self, OpenDirectory};
use super::save::{Saved, SnapshotFiles};
use super::{GuestOrigin, Snapshot, disk_file};
use crate::config::Config;
use crate::config::read;
use crate::guest::{self, kernel};
use crate::help;

/// What a snapshot of `--warm` belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WarmKey {
    /// The options that describe the guest, as a file for `--config`.
    options: String,
    /// The kernel command line.
    kernel_words: String,
    /// The files that the guest was booted with.
    sources: Vec<WarmSource>,
}

/// A file that the guest was booted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WarmSource {
    /// What the file is to the guest, for messages.
    what: String,
    path: PathBuf,
    stamp: FileStamp,
}

/// The snapshot that a run is going to make.
#[derive(Debug)]
pub(crate) struct NewWarm {
    directory: NewDirectory,
    path: PathBuf,
    /// What the snapshot will belong to: the files as they are before the guest boots.
    key: WarmKey,
}

/// Decide where the guest of this configuration comes from. Changes the configuration where the
/// guest of the snapshot was given something: the MAC addresses of its cards, and the private parts
/// of its disks.
///
/// # Errors
/// When DIR cannot be made, or is something else.
pub(crate) fn open(config: &mut Config, directory: &Path) -> Result<GuestOrigin> {
    let name = || format!("--warm {}", directory.display());
    check_disks(config).with_context(name)?;
    let why = match opened::warm(directory).with_context(name)? {
        None => None,
        Some(found) => match found.and_then(|found| usable(found, config)) {
            Ok(snapshot) => {
                adapt(config, &snapshot);
                return Ok(GuestOrigin::Restore(Box::new(snapshot)));
            }
            Err(why) => Some(format!("{why:#}")),
        },
    };
    let made = NewDirectory::replacing(directory);
    let Some(new) = made.with_context(name)? else {
        log::info!("{}: another run is making it", name());
        return Ok(GuestOrigin::Boot);
    };
    if let Some(why) = why {
        host::messages::say(&format!("{}: made anew: {why}", name()));
    }
    let key = WarmKey::new(config).with_context(name)?;
    Ok(GuestOrigin::BootAndSave(NewWarm { directory: new, path: directory.into(), key }))
}

/// Check that the disks are as they were when the guest was saved, in every later run.
fn check_disks(config: &Config) -> Result<()> {
    let changes = |disk: &&BlockConfig| match &disk.cow {
        Some(PrivatePart::Temporary) => false,
        Some(PrivatePart::Kept(_)) => true,
        None => !disk.read_only,
    };
    if let Some(disk) = config.block.iter().find(changes) {
        bail!(
            "what the guest writes to {} is kept, and its snapshot would be of no use afterwards: \
             use the disk with \",ro\" or \",cow\"",
            disk.path.display()
        );
    }
    Ok(())
}

/// The snapshot, if a run of this configuration can continue from it. The error says what has
/// changed.
fn usable((directory, manifest): (OpenDirectory, Manifest), config: &Config) -> Result<Snapshot> {
    let key = manifest.warm.as_ref().context("it was not made by --warm")?;
    let now = options(config)?;
    if key.options != now {
        bail!("the guest has other options: {}", difference(&key.options, &now));
    }
    ensure!(
        key.kernel_words == kernel::command_line(config)?,
        "the guest has another kernel command line"
    );
    let named = named_sources(config)?;
    for (what, path) in &named {
        let is_known = |source: &&WarmSource| (&source.what, &source.path) == (what, path);
        ensure!(key.sources.iter().any(|it| is_known(&it)), "{what} is {} now", path.display());
    }
    for WarmSource { what, path, stamp } in &key.sources {
        let metadata = fs::metadata(path).with_context(|| format!("{what}: {}", path.display()))?;
        let now = FileStamp::new(&metadata, metadata.len());
        if let Some(difference) = stamp.difference(&now) {
            bail!("{what} ({}) has another {difference}", path.display());
        }
    }
    let snapshot = Snapshot::read(&directory, manifest, false)?;
    guest::check_cpus(config, &snapshot.state.machine)?;
    Ok(Snapshot { directory: Some(directory), ..snapshot })
}

/// The first lines in which two lists of options differ.
fn difference(saved: &str, now: &str) -> String {
    let missing = |from: &str, other: &str| {
        from.lines().find(|line| !other.lines().any(|it| it == *line)).map(str::to_string)
    };
    match (missing(now, saved), missing(saved, now)) {
        (Some(new), _) => new,
        (None, Some(old)) => format!("no {old}"),
        (None, None) => "in another order".into(),
    }
}

/// The options that describe the guest.
fn options(config: &Config) -> Result<String> {
    let text =
        config.source.options.as_deref().context("a word of its command line is not UTF-8")?;
    read::guest_options(&help::definition(), text).map_err(|why| anyhow!(why))
}

/// The files that the options name, and lguest itself.
fn named_sources(config: &Config) -> io::Result<Vec<(String, PathBuf)>> {
    let here = match &config.source.directory {
        Some(directory) => directory.clone(),
        None => std::env::current_dir()?,
    };
    let mut named = vec![
        ("lguest".to_string(), std::env::current_exe()?),
        ("the kernel".into(), here.join(&config.kernel)),
    ];
    let initrds = config.initrd.iter().map(|path| ("an initrd".to_string(), here.join(path)));
    named.extend(initrds);
    let disks = config.block.iter().enumerate();
    named.extend(disks.map(|(number, disk)| (format!("disk {number}"), here.join(&disk.path))));
    let modules = config.exec.modules.iter();
    named.extend(modules.map(|path| ("the directory of --modules".to_string(), here.join(path))));
    Ok(named)
}

/// Give the guest what it had when it was saved.
fn adapt(config: &mut Config, snapshot: &Snapshot) {
    for (number, block) in config.block.iter_mut().enumerate() {
        if block.cow == Some(PrivatePart::Temporary) {
            let directory = snapshot.directory.as_ref();
            block.private_from = directory.map(|directory| directory.path_of(&disk_file(number)));
        }
    }
    for (tunnet, card) in config.tunnet.iter_mut().zip(&snapshot.manifest.cards) {
        *tunnet = Tunnet { mac: Some(card.mac), queues: card.queues, tap: tunnet.tap.clone() };
    }
}

impl WarmKey {
    /// What the guest of this configuration is about to be booted with.
    fn new(config: &Config) -> Result<Self> {
        let named = named_sources(config)?.into_iter();
        let sources = named.map(|(what, path)| WarmSource::new(what, path));
        Ok(Self {
            options: options(config)?,
            kernel_words: kernel::command_line(config)?,
            sources: sources.collect::<Result<_>>()?,
        })
    }
}

impl WarmSource {
    fn new(what: String, path: PathBuf) -> Result<Self> {
        let metadata = fs::metadata(&path).with_context(|| path.display().to_string())?;
        let stamp = FileStamp::new(&metadata, metadata.len());
        Ok(Self { what, path, stamp })
    }
}

impl NewWarm {
    /// Add a file that lguest has just read for the guest, besides those that the options name.
    ///
    /// # Errors
    /// When the file does not exist any more.
    pub(crate) fn add_source(&mut self, path: &Path) -> Result<()> {
        let source = WarmSource::new("a module or program".into(), path::absolute(path)?)?;
        self.key.sources.push(source);
        Ok(())
    }

    /// The files of the snapshot, with these names.
    ///
    /// # Errors
    /// When the host refuses.
    pub(crate) fn files(&self, names: &[String]) -> Result<SnapshotFiles> {
        let files: Result<Vec<File>> = names.iter().map(|name| self.directory.file(name)).collect();
        SnapshotFiles::new(names, files?).context("files of a snapshot")
    }

    /// Complete the snapshot: the guest was saved.
    ///
    /// # Errors
    /// When the host refuses. Nothing is left of it then.
    pub(crate) fn finish(self, saved: Saved) -> Result<()> {
        let manifest = Manifest { warm: Some(self.key), ..saved.manifest };
        self.directory.finish(&manifest.text())?;
        log::info!("--warm {}: made in {} ms", self.path.display(), saved.paused);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_of_options_is_named() {
        assert_eq!(difference("cpus = 1\n", "cpus = 2\n"), "cpus = 2");
        assert_eq!(difference("memory = 1\ncpus = 2\n", "memory = 1\n"), "no cpus = 2");
        assert_eq!(difference("a = 1\nb = 2\n", "b = 2\na = 1\n"), "in another order");
    }

    #[test]
    fn a_disk_that_keeps_what_is_written_is_refused() {
        let refusal = |disk: &str| {
            let config = Config::of(&["--exec=true", "--warm=d", &format!("--block={disk}")]);
            check_disks(&config).err().map(|error| error.to_string())
        };
        assert_eq!(refusal("a,ro"), None);
        assert_eq!(refusal("a,cow"), None);
        for disk in ["a", "a,cow=kept"] {
            let error = refusal(disk).unwrap();
            assert!(error.contains("what the guest writes to a is kept"), "{error}");
        }
    }

    /// Only the options that describe the guest count.
    #[test]
    fn options_of_one_run_are_not_compared() {
        let of = |more: &str| {
            let mut config = Config::of(&["--exec=true"]);
            let text = format!("memory = 64\nkernel = \"vmlinuz\"\ncpus = 2\n{more}");
            config.source.options = Some(text);
            options(&config).unwrap()
        };
        let one_run =
            "exec = \"a\"\ntty = true\nfile = [\"x\"]\nload = [\"m\"]\ntimeout = \"5s\"\n";
        assert_eq!(of(one_run), of("exec = \"b\"\nwarm = \"d\"\njunit = \"x\"\nname = \"n\"\n"));
        assert_ne!(of("rng = true\n"), of(""));
        assert_ne!(of("modules = \"m\"\n"), of(""));
    }
}
