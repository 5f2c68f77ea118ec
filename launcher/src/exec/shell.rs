//! A shell for guests that bring none: the host's busybox, if it has a static one.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::PT_INTERP;
use object::read::elf::{ElfFile64, ProgramHeader};

use super::archive::Archive;

const DIRECTORIES: [&str; 10] =
    ["/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/etc", "/root", "/mnt", "/var", "/var/log"];

/// Links to directories that the init makes.
const LINKS: [(&str, &str); 3] =
    [("/var/run", "/run"), ("/var/lock", "/run/lock"), ("/var/tmp", "/tmp")];

/// The files in which programs look names up.
const FILES: [(&str, &str); 3] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\n"),
    ("/etc/hosts", "127.0.0.1 localhost guest\n::1 localhost\n"),
];

/// Add the shell, and a link for each of its programs. Returns the host's file.
///
/// # Errors
/// When the host has no such shell.
pub(crate) fn add(archive: &mut Archive<impl std::io::Write>) -> Result<PathBuf> {
    let none = "--exec: there is no shell for the guest: install busybox-static on this host, or \
                give an --initrd or a root disk that has /bin/sh";
    let (path, bytes) = find(env::var_os("PATH").as_deref()).context(none)?;
    let asked = Command::new(&path).arg("--list-full").output();
    let asked = asked.with_context(|| format!("running {}", path.display()))?;
    let list = String::from_utf8_lossy(&asked.stdout).into_owned();
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    for (path, target) in LINKS {
        archive.link(path, target)?;
    }
    for (path, text) in FILES {
        archive.file(path, text.as_bytes())?;
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
    Ok(path)
}

/// Directories that are searched after PATH, which may lack them, or not be set (`env -i`).
const USUAL: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The first static busybox in PATH, or in the usual directories.
fn find(path: Option<&OsStr>) -> Option<(PathBuf, Vec<u8>)> {
    let directories = path.into_iter().flat_map(env::split_paths);
    let mut directories = directories.chain(USUAL.map(PathBuf::from));
    directories.find_map(|directory| {
        let program = directory.join("busybox");
        let bytes = fs::read(&program).ok()?;
        is_static(&bytes).then_some((program, bytes))
    })
}

/// Whether this is a 64-bit ELF program without a loader.
fn is_static(bytes: &[u8]) -> bool {
    ElfFile64::<Endianness>::parse(bytes).is_ok_and(|elf| {
        let headers = elf.elf_program_headers();
        !headers.iter().any(|header| header.p_type(elf.endian()) == PT_INTERP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty environment (`env -i`), and a PATH without busybox.
    #[test]
    fn busybox_is_found_without_path() {
        assert!(find(None).is_some());
        assert!(find(Some("/nonexistent".as_ref())).is_some());
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert!(is_static(crate::exec::INIT));
        assert!(!is_static(&fs::read("/proc/self/exe").unwrap()));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(&crate::exec::INIT[..0x40]));
    }
}
