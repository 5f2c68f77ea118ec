//! A shell for guests that bring none: the host's busybox, if it has a static one.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::PT_INTERP;
use object::read::elf::{ElfFile64, ProgramHeader};

use super::archive::Archive;

/// Put it into the guest, and a link for each program that it is.
///
/// # Errors
/// When there is none.
pub(crate) fn add(archive: &mut Archive<impl std::io::Write>) -> Result<()> {
    let none = "--exec: there is no shell for the guest: install busybox-static on this host, or \
                give an --initrd or a root disk that has /bin/sh";
    let (path, bytes) = find().context(none)?;
    let asked = Command::new(&path).arg("--list-full").output();
    let asked = asked.with_context(|| format!("running {}", path.display()))?;
    let list = String::from_utf8_lossy(&asked.stdout).into_owned();
    for directory in ["/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/etc", "/root"] {
        archive.directory(directory)?;
    }
    archive.program("/bin/busybox", &bytes)?;
    let known = ["bin/", "sbin/", "usr/bin/", "usr/sbin/"];
    let is_known = |applet: &&str| {
        let below = known.iter().find_map(|directory| applet.strip_prefix(directory));
        below.is_some_and(|name| !name.contains('/')) && *applet != "bin/busybox"
    };
    for applet in list.lines().filter(is_known) {
        archive.link(&format!("/{applet}"), "/bin/busybox")?;
    }
    if !list.lines().any(|applet| applet == "bin/sh") {
        archive.link("/bin/sh", "/bin/busybox")?;
    }
    Ok(())
}

/// The first static one in PATH.
fn find() -> Option<(PathBuf, Vec<u8>)> {
    let path = env::var_os("PATH")?;
    let mut programs = env::split_paths(&path).map(|directory| directory.join("busybox"));
    programs.find_map(|program| {
        let bytes = fs::read(&program).ok()?;
        is_static(&bytes).then_some((program, bytes))
    })
}

/// An ELF program of 64 bits without a loader.
fn is_static(bytes: &[u8]) -> bool {
    ElfFile64::<Endianness>::parse(bytes).is_ok_and(|elf| {
        let headers = elf.elf_program_headers();
        !headers.iter().any(|header| header.p_type(elf.endian()) == PT_INTERP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert!(is_static(crate::exec::INIT));
        assert!(!is_static(&fs::read("/proc/self/exe").unwrap()));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&crate::exec::INIT[..0x40]));
    }
}
