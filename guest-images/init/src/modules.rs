//! Loads the modules of the kernel that the launcher has put into the guest. They are not compressed,
//! and in the order of their dependencies.

use std::fmt;
use std::fs::File;

use lguest_init::MODULES;
use lguest_init::order::Module;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::kernel_log;
use crate::kernel_words::KernelWords;

/// The kernel refused a module.
#[derive(Debug)]
pub(crate) struct Refused {
    index: usize,
    name: String,
    why: String,
}

impl Refused {
    /// Returns the index of the module in the order.
    pub(crate) fn index(&self) -> u8 {
        u8::try_from(self.index).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why, .. } = self;
        write!(f, "the guest's kernel does not take the module {name}: {why}")
    }
}

/// Loads all modules, up to the first required module that the kernel refuses.
pub(crate) fn load(modules: &[Module], words: &KernelWords) -> Result<(), Refused> {
    for (index, module) in modules.iter().enumerate() {
        let Err(error) = insert(index, &module.name, words) else { continue };
        if !module.optional {
            let said = last_words(&module.name);
            let why = said.unwrap_or_else(|| error.to_string());
            return Err(Refused { index, name: module.name.clone(), why });
        }
    }
    Ok(())
}

fn insert(index: usize, name: &str, words: &KernelWords) -> std::io::Result<()> {
    let file = File::open(format!("{MODULES}/{index}"))?;
    let mut parameters = words.of_module(name).into_bytes();
    parameters.push(0);
    let parameters =
        std::ffi::CString::from_vec_with_nul(parameters).map_err(std::io::Error::other)?;
    match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
        // The module is already loaded, or built in.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the last line about this module in the kernel's log. It is more precise than the error
/// number.
fn last_words(name: &str) -> Option<String> {
    let start = format!("{}: ", name.replace('-', "_"));
    let lines = kernel_log::lines().into_iter().rev();
    let mut said = lines.filter_map(|line| Some(line.strip_prefix(&start)?.to_string()));
    said.find(|said| !said.contains("taint"))
}
