//! The configuration of a guest that is restored: that of its first launch, with what the user has
//! chosen anew.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{self, Path};

use anyhow::{Context, Result, anyhow, bail, ensure};
use host::disk::{BlockConfig, DiskAccess, PrivatePart};
use host::net::card::Tunnet;

use super::{Manifest, disk_file};
use crate::config::arg_values::ArgValues;
use crate::config::console::{Backend, ConsoleConfig};
use crate::config::restore::{Numbered, RestoreConfig, anchored_block, anchored_console};
use crate::config::{Config, read};
use crate::help;

/// The configuration of the guest in a snapshot, with these changes.
///
/// # Errors
/// When the options of the snapshot are not valid, or a change does not fit the guest.
pub(crate) fn configuration(manifest: &Manifest, changes: &RestoreConfig) -> Result<Config> {
    let (here, snapshot) = (path::absolute(".")?, path::absolute(&changes.directory)?);
    let damaged = |why: String| anyhow!("its options: {why}");
    let definition = help::definition();
    let mut args = read::snapshot_options(&definition, &manifest.options).map_err(damaged)?;
    apply(&mut args, changes, &here)?;
    let mut config = read::from_options(definition, &args).map_err(damaged)?;
    config.source.directory = Some(manifest.directory.clone());
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
    for (number, (block, saved)) in config.block.iter_mut().zip(&manifest.disks).enumerate() {
        if saved.access == DiskAccess::Cow {
            block.private_from = Some(snapshot.join(disk_file(number)));
            let is_chosen = changes.block.iter().any(|change| change.number == number);
            choose_private(block, is_chosen);
        }
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

/// Choose where a restored guest writes to. A file that kept the writes of the first launch has
/// later ones by now, unless the user has chosen it again.
fn choose_private(block: &mut BlockConfig, is_chosen: bool) {
    let is_kept = matches!(block.cow, Some(PrivatePart::Kept(_)));
    if !(is_chosen && is_kept) {
        block.cow = Some(PrivatePart::Temporary);
    }
}

/// Replace options by what the user has chosen in directory `here`.
fn apply(args: &mut ArgValues, changes: &RestoreConfig, here: &Path) -> Result<()> {
    check_once("console", &changes.console)?;
    check_once("block", &changes.block)?;
    let mut consoles = values(args, "console");
    if consoles.is_empty() {
        consoles.push("stdio".into());
    }
    for Numbered { number, value } in &changes.console {
        let what = || format!("--console {number}=...: {}", there_are(consoles.len(), "console"));
        let old = consoles.get(*number).with_context(what)?;
        let new = anchored_console(value, old, here);
        consoles.splice(*number..=*number, [new]);
    }
    let mut blocks = values(args, "block");
    for Numbered { number, value } in &changes.block {
        let what = || format!("--block {number}=...: {}", there_are(blocks.len(), "disk"));
        let old = blocks.get(*number).with_context(what)?;
        let new = anchored_block(value, old, here);
        blocks.splice(*number..=*number, [new]);
    }
    if !changes.tunnet.is_empty() {
        let (given, count) = (changes.tunnet.len(), values(args, "tunnet").len());
        ensure!(
            given == count,
            "--tunnet: given {given} times, and the guest has {count} network cards: give one for \
             each, eth0 first"
        );
        let chosen = changes.tunnet.iter().map(|value| Some(value.into())).collect();
        args.set("tunnet", chosen);
    }
    args.set("console", consoles.into_iter().map(Some).collect());
    if !blocks.is_empty() {
        args.set("block", blocks.into_iter().map(Some).collect());
    }
    Ok(())
}

/// Check that each device is chosen at most once.
fn check_once(option: &str, changes: &[Numbered]) -> Result<()> {
    let mut numbers = HashSet::new();
    let twice = changes.iter().find(|change| !numbers.insert(change.number));
    twice.map_or(Ok(()), |change| bail!("--{option} {}=... is given twice", change.number))
}

fn values(args: &ArgValues, key: &str) -> Vec<OsString> {
    args.get(key).iter().flatten().cloned().collect()
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
    let paths = paths.chain(&mut config.exec.modules);
    for path in paths.chain(block).chain(console) {
        *path = directory.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use devices::block::FileStamp;
    use host::disk::DiskIdentity;

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
        assert_eq!(config.block[1].path, path::absolute("c").unwrap());
        assert_eq!(config.console, [ConsoleConfig::parsed("sock")]);
    }

    #[test]
    fn the_next_generation_has_the_same_paths_and_choices() {
        let first = manifest("block = [\"a\", \"b\"]\nconsole = [\"sock,name=n\"]");
        let first = changes_of(&first, &["--block=1=c,ro", "--console=0=file=log"]);
        let again = Manifest {
            options: first.source.options.unwrap(),
            directory: first.source.directory.unwrap(),
            ..manifest("")
        };
        let config = changes_of(&again, &[]);
        assert_eq!(config.block[0].path, Path::new("/somewhere/a"));
        assert_eq!(config.block[1].path, path::absolute("c").unwrap());
        assert!(config.block[1].read_only);
        let log = path::absolute("log").unwrap();
        let wanted = format!("file={},append,name=n", log.display());
        assert_eq!(config.console, [ConsoleConfig::parsed(&wanted)]);
    }

    #[test]
    fn what_belongs_to_the_first_launch_is_not_repeated() {
        let options = "log = \"log\"\njunit = \"x.xml\"\nexpect = [\"x\"]\ntrace = \"t\"";
        let config = changes_of(&manifest(options), &[]);
        assert!(!config.is_boot_test() && config.boot_test.log.is_none());
        assert!(config.trace.file.is_none());
    }

    #[test]
    fn a_kept_private_part_is_written_only_if_it_is_named_again() {
        let mut saved = manifest("block = [\"a,cow=kept\"]");
        let file = std::fs::metadata("/proc/self/exe").unwrap();
        let (stamp, access) = (FileStamp::new(&file, 512), DiskAccess::Cow);
        saved.disks = vec![DiskIdentity { path: "/a".into(), stamp, access }];
        let config = changes_of(&saved, &[]);
        assert_eq!(config.block[0].cow, Some(PrivatePart::Temporary));
        let from = path::absolute("DIR/disk-0").unwrap();
        assert_eq!(config.block[0].private_from, Some(from));
        let config = changes_of(&saved, &["--block=0=a,cow=/new"]);
        assert_eq!(config.block[0].cow, Some(PrivatePart::Kept("/new".into())));
    }

    fn changes_of(manifest: &Manifest, words: &[&str]) -> Config {
        configuration(manifest, &changes(words)).unwrap()
    }

    #[test]
    fn a_change_of_what_the_guest_does_not_have_is_refused() {
        let refusal = |words: &[&str]| {
            let config = configuration(&manifest("block = [\"a\"]"), &changes(words));
            config.unwrap_err().to_string()
        };
        assert!(refusal(&["--block=0=x", "--block=0=y"]).contains("--block 0=... is given twice"));
        assert!(refusal(&["--console=0=sock", "--console=0=pty"]).contains("given twice"));
        assert!(refusal(&["--block=1=x"]).contains("the guest has one disk, number 0"));
        assert!(refusal(&["--console=7=sock"]).contains("the guest has one console, number 0"));
        assert!(refusal(&["--tunnet=10.0.0.1"]).contains("the guest has 0 network cards"));
    }
}
