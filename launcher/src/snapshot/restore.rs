//! The configuration of a guest that is restored: that of its first launch, with what the user has
//! chosen anew.

use std::path::{self, Path};

use anyhow::{Context, Result, anyhow, ensure};
use host::disk::{BlockConfig, DiskAccess, PrivatePart};
use host::net::card::Tunnet;

use super::{Manifest, disk_file};
use crate::config::console::{Backend, ConsoleConfig};
use crate::config::restore::{NumberedBlock, NumberedConsole, RestoreConfig};
use crate::config::{Config, read};

/// The configuration of the guest in a snapshot, with these changes.
///
/// # Errors
/// When the options of the snapshot are not valid, or a change does not fit the guest.
pub(crate) fn configuration(manifest: &Manifest, changes: &RestoreConfig) -> Result<Config> {
    // A disk's private part is read from the snapshot, wherever lguest is then.
    let snapshot = path::absolute(&changes.directory)?;
    let config = read::from_text(crate::help::definition(), &manifest.options);
    let mut config = config.map_err(|why| anyhow!("its options: {why}"))?;
    anchor(&mut config, &manifest.directory);
    for console in &mut config.console {
        // The file has the guest's output from before.
        if let Backend::File { append, .. } = &mut console.backend {
            *append = true;
        }
    }
    ensure!(
        config.memory == manifest.memory && config.cpus == manifest.cpus,
        "its manifest is damaged: its options give the guest other memory or CPUs"
    );
    config.name.clone_from(&changes.name);
    config.detach = changes.detach;
    config.verbose = changes.verbose;
    (config.username, config.chroot) = (changes.username.clone(), changes.chroot.clone());
    for NumberedConsole { number, console } in &changes.console {
        replace_console(&mut config, *number, console)?;
    }
    for NumberedBlock { number, block } in &changes.block {
        let count = config.block.len();
        let old = config.block.get_mut(*number);
        let old =
            old.with_context(|| format!("--block {number}=...: {}", there_are(count, "disk")))?;
        *old = BlockConfig { serial: old.serial.clone(), queues: old.queues, ..block.clone() };
    }
    for (number, (block, saved)) in config.block.iter_mut().zip(&manifest.disks).enumerate() {
        if saved.access == DiskAccess::Cow {
            block.cow = Some(PrivatePart::Temporary);
            block.private_from = Some(snapshot.join(disk_file(number)));
        }
    }
    if !changes.tunnet.is_empty() {
        let (given, count) = (changes.tunnet.len(), config.tunnet.len());
        ensure!(
            given == count,
            "--tunnet: given {given} times, and the guest has {count} network cards: give one for \
             each, eth0 first"
        );
        config.tunnet.clone_from(&changes.tunnet);
    }
    let cards = (config.tunnet.len(), manifest.cards.len());
    ensure!(
        cards.0 == cards.1,
        "its manifest is damaged: {} cards, and {} saved",
        cards.0,
        cards.1
    );
    for (tunnet, card) in config.tunnet.iter_mut().zip(&manifest.cards) {
        *tunnet = Tunnet { mac: Some(card.mac), queues: card.queues, tap: tunnet.tap.clone() };
    }
    Ok(config)
}

fn replace_console(config: &mut Config, number: usize, console: &ConsoleConfig) -> Result<()> {
    if config.console.is_empty() {
        config.console.push(ConsoleConfig::default());
    }
    let count = config.console.len();
    let old = config.console.get_mut(number);
    let old =
        old.with_context(|| format!("--console {number}=...: {}", there_are(count, "console")))?;
    let name = console.name.clone().or_else(|| old.name.take());
    *old = ConsoleConfig { name, ..console.clone() };
    Ok(())
}

fn there_are(count: usize, what: &str) -> String {
    match count {
        0 => format!("the guest has no {what}"),
        1 => format!("the guest has one {what}, number 0"),
        _ => format!("the guest has {what}s 0 to {}", count.saturating_sub(1)),
    }
}

/// Make the relative paths of a configuration count from `directory`.
fn anchor(config: &mut Config, directory: &Path) {
    let block = config.block.iter_mut().map(|block| &mut block.path);
    let console = config.console.iter_mut().filter_map(ConsoleConfig::path_mut);
    let paths = [&mut config.kernel].into_iter().chain(&mut config.initrd).chain(&mut config.rng);
    for path in paths.chain(block).chain(console) {
        *path = directory.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::example;
    use super::*;

    fn manifest(options: &str) -> Manifest {
        let options = format!("memory = 64\nkernel = \"vmlinuz\"\n{options}");
        Manifest { options, cards: Vec::new(), ..example() }
    }

    fn changes(words: &[&str]) -> RestoreConfig {
        RestoreConfig::of(words)
    }

    #[test]
    fn paths_count_from_the_directory_of_the_first_launch() {
        let options =
            "initrd = [\"i\", \"/abs\"]\nblock = [\"d.img,ro\"]\nconsole = [\"file=log\"]";
        let config = configuration(&manifest(options), &changes(&[])).unwrap();
        assert_eq!(config.kernel, Path::new("/somewhere/vmlinuz"));
        assert_eq!(config.initrd, [Path::new("/somewhere/i"), Path::new("/abs")]);
        assert_eq!(config.block[0].path, Path::new("/somewhere/d.img"));
        assert_eq!(config.console[0], ConsoleConfig::parsed("file=/somewhere/log,append"));
    }

    #[test]
    fn what_the_user_changes_replaces_what_was_saved() {
        let options = "name = \"old\"\ndetach = true\nblock = [\"a\", \"b,serial=S\"]";
        let config = configuration(
            &manifest(options),
            &changes(&["--name=new", "--block=1=c", "--console=0=sock"]),
        )
        .unwrap();
        assert_eq!(config.name.unwrap().as_str(), "new");
        assert!(!config.detach);
        assert_eq!(config.block[0].path, Path::new("/somewhere/a"));
        assert_eq!(config.block[1].path, Path::new("c"));
        assert_eq!(config.block[1].serial, "S");
        assert_eq!(config.console, [ConsoleConfig::parsed("sock")]);
    }

    #[test]
    fn a_change_of_what_the_guest_does_not_have_is_refused() {
        let refusal = |words: &[&str]| {
            let config = configuration(&manifest("block = [\"a\"]"), &changes(words));
            config.unwrap_err().to_string()
        };
        assert!(refusal(&["--block=1=x"]).contains("the guest has one disk, number 0"));
        assert!(refusal(&["--console=7=sock"]).contains("the guest has one console, number 0"));
        assert!(refusal(&["--tunnet=10.0.0.1"]).contains("the guest has 0 network cards"));
    }
}
