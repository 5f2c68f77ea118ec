//! The modules of a kernel, in a directory that `make modules_install` or a package has filled
//! (`--modules`), and the choice of those that a guest needs: each after the modules that it needs
//! itself, in the order in which a kernel takes them. [`super::module`] reads a module's own
//! description.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::module::KernelModule;

/// How the name of a module's file ends, packed or not. The list of a package (modules.order) has
/// the names from before packing, and a list of depmod may be older.
const PACKINGS: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// A request to load a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModuleRequest {
    /// A module of this name must be loaded or built in.
    Needed(String),
    /// A module of this name is loaded if it exists.
    Wanted(String),
    /// The module in this file must be loaded.
    File(PathBuf),
}

/// A module that the guest loads.
#[derive(Debug)]
pub(crate) struct ChosenModule {
    /// The module's file.
    pub(crate) path: PathBuf,
    pub(crate) module: KernelModule,
    /// Whether the kernel may refuse the module.
    pub(crate) optional: bool,
}

/// A directory of modules. The default is one without any module.
#[derive(Debug, Default)]
pub(crate) struct ModuleDirectory {
    directory: Option<PathBuf>,
    /// The path of each module below the directory: as in the list, but without the ending that
    /// tells how the file is packed ([`PACKINGS`]).
    paths: HashMap<String, PathBuf>,
    built_in: HashSet<String>,
    /// Modules by the other names that the kernel asks for them by.
    aliases: HashMap<String, Vec<String>>,
}

impl ModuleDirectory {
    /// Search a directory, such as /lib/modules/6.1.0, or one that contains lib/modules/6.1.0 or
    /// usr/lib/modules/6.1.0 for this release, as unpacked packages do.
    ///
    /// # Errors
    /// When there are no modules in it.
    pub(crate) fn open(path: &Path, release: Option<&str>) -> Result<Self> {
        let name = || format!("--modules {}", path.display());
        let below = |top: &str| release.map(|release| path.join(top).join(release));
        let candidates = [Some(path.to_path_buf()), below("lib/modules"), below("usr/lib/modules")];
        ensure!(path.is_dir(), "{}: no such directory", name());
        let found = candidates.into_iter().flatten().find_map(|directory| {
            // modules.order exists before modules.dep, which depmod makes.
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

    /// The modules to load for these requests, each after those that it needs.
    ///
    /// # Errors
    /// When a module does not exist, or its file is not a module.
    pub(crate) fn choose(&self, requests: &[ModuleRequest]) -> Result<Vec<ChosenModule>> {
        // A module file of the user replaces the directory's.
        let mut choice = Selection { modules: self, brought: HashMap::new(), chosen: Vec::new() };
        for request in requests {
            if let ModuleRequest::File(path) = request {
                let module = KernelModule::read(path)?;
                choice.brought.insert(plain(&module.name), path.clone());
            }
        }
        for request in requests {
            match request {
                ModuleRequest::Needed(name) => choice.add(name, false, "lguest")?,
                ModuleRequest::Wanted(name) => choice.add_wanted(name)?,
                ModuleRequest::File(path) => {
                    let name = KernelModule::read(path)?.name;
                    choice.add(&name, false, "lguest")?;
                }
            }
        }
        Ok(choice.chosen)
    }

    /// Whether a list says which modules are built in.
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

    /// The modules with this alias. depmod's list has the aliases (modules.alias). Where depmod
    /// never ran, the modules' own descriptions are read. Only ciphers and checksums are asked for
    /// in this way (`softdep`), and their modules have names that begin like the alias,
    /// crc32c_intel for crc32c: reading all modules takes a slow machine a minute.
    fn by_alias(&self, alias: &str) -> Vec<String> {
        if !self.aliases.is_empty() {
            return self.aliases.get(alias).cloned().unwrap_or_default();
        }
        // The family is blake2b for blake2b_256, sha for sha256, crc32c for crypto-crc32c.
        let family = alias.strip_prefix("crypto_").unwrap_or(alias);
        let family = family.split('_').next().unwrap_or(family);
        let family = family.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let names = self.paths.iter().filter(|(name, path)| {
            name.starts_with(family) && path.iter().any(|part| part == "crypto")
        });
        let names = names.map(|(name, _)| name);
        let has_alias = |name: &&String| {
            let module = self.file(name).and_then(|file| KernelModule::read(&file).ok());
            module.is_some_and(|it| it.aliases.iter().any(|its| plain(its) == alias))
        };
        let mut names: Vec<_> = names.filter(has_alias).cloned().collect();
        names.sort();
        names
    }
}

/// The modules that have been chosen so far.
struct Selection<'a> {
    modules: &'a ModuleDirectory,
    brought: HashMap<String, PathBuf>,
    chosen: Vec<ChosenModule>,
}

impl Selection<'_> {
    /// Choose this module, and before it those that it needs.
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
        let module = KernelModule::read(&path)?;
        // The depth is limited: modules of a broken file may need each other in a ring.
        ensure!(needed_by.matches(" < ").count() < 32, "module {name}: needs itself");
        let needed_by = format!("{name} < {needed_by}");
        for wanted in &module.wants {
            self.add_wanted(wanted)?;
        }
        for needed in &module.needs {
            self.add(needed, optional, &needed_by)?;
        }
        self.chosen.push(ChosenModule { path, module, optional });
        Ok(())
    }

    /// Choose this module and others that do the same, if they exist.
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
            // The module may be built in.
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

/// The path without its packing: kernel/fs/ext4/ext4.ko.xz becomes kernel/fs/ext4/ext4.ko.
fn plain_file(path: &str) -> &str {
    let packed = PACKINGS.iter().filter(|packing| !packing.is_empty());
    packed.into_iter().find_map(|packing| path.strip_suffix(packing)).unwrap_or(path)
}

/// The module's name: kernel/fs/ext4/ext4.ko.xz becomes ext4.
fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split(".ko").next().unwrap_or(file))
}

/// The name with _ for -. Linux does not distinguish them.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests;
