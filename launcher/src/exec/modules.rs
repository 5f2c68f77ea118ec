//! The modules of a kernel, as `make modules_install` or a package has put them into a
//! directory (`--modules`), and those that are needed of them: with what they need
//! themselves, in the order in which a kernel takes them. What a module says of itself is in
//! [`super::module`].

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::module::Module;

/// How the name of a module's file ends if the file is packed, or not. A package's list
/// (modules.order) has the names of before it was packed, and a list of depmod's may be older.
const PACKINGS: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A module of this name, or that it is built in.
    Needed(String),
    /// A module of this name, if there is one.
    Wanted(String),
    /// This file.
    File(PathBuf),
}

/// One that is to be loaded.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) module: Module,
    /// It does not matter if the kernel refuses it.
    pub(crate) optional: bool,
}

/// A directory of modules; or none, in which there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    directory: Option<PathBuf>,
    /// Where each module is below the directory: as the list has it, but for what tells how
    /// its file is packed ([`PACKINGS`]).
    paths: HashMap<String, PathBuf>,
    built_in: HashSet<String>,
    /// By what else they are asked for.
    aliases: HashMap<String, Vec<String>>,
}

impl Modules {
    /// Look through a directory, such as /lib/modules/6.1.0, or one that has lib/modules/6.1.0
    /// or usr/lib/modules/6.1.0 in it for this release, as unpacked packages do.
    ///
    /// # Errors
    /// When there are no modules in it.
    pub(crate) fn open(given: &Path, release: Option<&str>) -> Result<Self> {
        let name = || format!("--modules {}", given.display());
        let below = |top: &str| release.map(|release| given.join(top).join(release));
        let candidates =
            [Some(given.to_path_buf()), below("lib/modules"), below("usr/lib/modules")];
        ensure!(given.is_dir(), "{}: no such directory", name());
        let found = candidates.into_iter().flatten().find_map(|directory| {
            // The second is there before the first, which depmod makes.
            let lists = ["modules.dep", "modules.order"].map(|list| directory.join(list));
            let lists = lists.map(|list| fs::read_to_string(list).ok());
            let list = lists.into_iter().flatten().find(|list| !list.trim().is_empty())?;
            Some((directory, list))
        });
        let (directory, list) = found.with_context(|| {
            let of = release.map(|it| format!(" of Linux {it}")).unwrap_or_default();
            format!(
                "{}: there are no modules{of} in it: give /lib/modules/RELEASE, \
                 or where `make modules_install` or a package has put it",
                name()
            )
        })?;
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
        let paths = list.lines().filter_map(|line| line.split(':').next());
        let built_in = read("modules.builtin");
        let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
        for line in read("modules.alias").lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(module)) =
                (words.next(), words.next(), words.next())
            {
                aliases.entry(plain(alias)).or_default().push(plain(module));
            }
        }
        Ok(Self {
            paths: paths.map(|path| (stem(path), plain_file(path).into())).collect(),
            built_in: built_in.lines().map(stem).collect(),
            aliases,
            directory: Some(directory),
        })
    }

    /// What is to be loaded for these wishes, each after what it needs.
    ///
    /// # Errors
    /// When something is not there, or no module.
    pub(crate) fn choose(&self, wishes: &[Wish]) -> Result<Vec<Chosen>> {
        // What the user brings along stands for what the directory has.
        let mut choice = Choice { modules: self, brought: HashMap::new(), chosen: Vec::new() };
        for wish in wishes {
            if let Wish::File(path) = wish {
                let module = Module::read(path)?;
                choice.brought.insert(plain(&module.name), path.clone());
            }
        }
        for wish in wishes {
            match wish {
                Wish::Needed(name) => choice.add(name, false, "lguest")?,
                Wish::Wanted(name) => choice.add_wanted(name)?,
                Wish::File(path) => {
                    let name = Module::read(path)?.name;
                    choice.add(&name, false, "lguest")?;
                }
            }
        }
        Ok(choice.chosen)
    }

    /// Nothing is known of what is built in if there is no list of it.
    fn knows(&self) -> bool {
        !self.built_in.is_empty()
    }

    /// The file of this module, if the directory has it.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.directory.as_deref()?.join(self.paths.get(name)?).into_os_string();
        let packed = PACKINGS.iter().map(|packing| {
            let mut path = path.clone();
            path.push(packing);
            PathBuf::from(path)
        });
        packed.into_iter().find(|path| path.is_file())
    }

    /// The modules that are asked for by this other name. Their list (modules.alias) is
    /// depmod's; where it was never run, the modules say it themselves. Only ciphers and
    /// checksums are asked for in this way (`softdep`), and their modules have names that begin
    /// like theirs, crc32c_intel for crc32c: to read all modules takes a slow machine a minute.
    fn by_alias(&self, alias: &str) -> Vec<String> {
        if !self.aliases.is_empty() {
            return self.aliases.get(alias).cloned().unwrap_or_default();
        }
        // blake2b for blake2b_256, sha for sha256, crc32c for crypto-crc32c.
        let family = alias.strip_prefix("crypto_").unwrap_or(alias);
        let family = family.split('_').next().unwrap_or(family);
        let family = family.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let names = self.paths.iter().filter(|(name, path)| {
            name.starts_with(family) && path.iter().any(|part| part == "crypto")
        });
        let names = names.map(|(name, _)| name);
        let has_alias = |name: &&String| {
            let module = self.file(name).and_then(|file| Module::read(&file).ok());
            module.is_some_and(|it| it.aliases.iter().any(|its| plain(its) == alias))
        };
        let mut names: Vec<_> = names.filter(has_alias).cloned().collect();
        names.sort();
        names
    }
}

/// What has been chosen so far.
struct Choice<'a> {
    modules: &'a Modules,
    brought: HashMap<String, PathBuf>,
    chosen: Vec<Chosen>,
}

impl Choice<'_> {
    /// This one, and before it what it needs.
    fn add(&mut self, name: &str, optional: bool, needed_by: &str) -> Result<()> {
        let name = plain(name);
        if self.modules.built_in.contains(&name) {
            return Ok(());
        }
        let there = self.chosen.iter_mut().find(|it| plain(&it.module.name) == name);
        if let Some(chosen) = there {
            chosen.optional &= optional;
            return Ok(());
        }
        let Some(path) = self.path(&name) else { return self.missing(&name, needed_by) };
        let module = Module::read(&path)?;
        // As deep as modules need each other; those of a broken file may do so in a ring.
        ensure!(needed_by.matches(" < ").count() < 32, "module {name}: needs itself");
        let needed_by = format!("{name} < {needed_by}");
        for wanted in &module.wants {
            self.add_wanted(wanted)?;
        }
        for needed in &module.needs {
            self.add(needed, optional, &needed_by)?;
        }
        self.chosen.push(Chosen { module, optional });
        Ok(())
    }

    /// This one, and others that do the same; or none.
    fn add_wanted(&mut self, name: &str) -> Result<()> {
        let name = plain(name);
        if self.modules.built_in.contains(&name) {
            return Ok(());
        }
        let others = self.modules.by_alias(&name);
        for name in [name].into_iter().chain(others) {
            if self.path(&name).is_some() {
                self.add(&name, true, "lguest")?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.brought.get(name).cloned().or_else(|| self.modules.file(name))
    }

    fn missing(&self, name: &str, needed_by: &str) -> Result<()> {
        let module = needed_by.split(" < ").next().filter(|by| *by != "lguest");
        let by = module.map(|by| format!(", which {by} needs")).unwrap_or_default();
        match &self.modules.directory {
            Some(directory) if self.modules.paths.contains_key(name) => {
                let directory = directory.display();
                bail!(
                    "--modules {directory}: the file of the module {name}{by} is missing, though \
                     the list of modules has it: unpack all packages of this kernel"
                )
            }
            // It may be built in.
            Some(_) if !self.modules.knows() => Ok(()),
            Some(directory) => {
                let directory = directory.display();
                bail!(
                    "--modules {directory}: no module {name}{by}, and the kernel has none built in"
                )
            }
            None => bail!("no module {name}{by}: give the kernel's modules with --modules DIR"),
        }
    }
}

/// kernel/fs/ext4/ext4.ko.xz is kernel/fs/ext4/ext4.ko.
fn plain_file(path: &str) -> &str {
    let packed = PACKINGS.iter().filter(|packing| !packing.is_empty());
    packed.into_iter().find_map(|packing| path.strip_suffix(packing)).unwrap_or(path)
}

/// kernel/fs/ext4/ext4.ko.xz is ext4.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split(".ko").next().unwrap_or(file))
}

/// Linux takes - and _ for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests;
