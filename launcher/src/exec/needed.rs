//! Finds the modules that a guest needs for its devices and for its root disk.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::boot::cmdline;

use super::modules::ModuleRequest;
use crate::config::Config;

/// The file systems that a root disk may have: the module, and the place and the value of the magic
/// number on the disk (each in the file system's own header, include/uapi/linux/magic.h).
const FILE_SYSTEMS: [(&str, u64, &[u8]); 6] = [
    ("ext4", 0x438, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 0x400, b"\xe2\xe1\xf5\xe0"),
    ("vfat", 0x52, b"FAT32"),
];

/// Modules that vfat asks for when it is mounted, by the kernel's configuration.
const VFAT: [&str; 4] = ["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"];

/// All needed modules, the console's first: every later error can be reported then.
pub(crate) fn requests(config: &Config) -> Vec<ModuleRequest> {
    let needed = |name: &str| ModuleRequest::Needed(name.into());
    let wanted = |name: &str| ModuleRequest::Wanted(name.into());
    let mut requests = vec![needed("virtio_pci"), needed("virtio_console")];
    // Until Linux 5.12, the module pvpanic has what pvpanic_mmio has since.
    requests.extend(["pvpanic_mmio", "pvpanic"].map(wanted));
    if !config.block.is_empty() {
        requests.push(needed("virtio_blk"));
    }
    if !config.tunnet.is_empty() {
        requests.push(needed("virtio_net"));
    }
    if config.rng.is_some() {
        requests.push(needed("virtio_rng"));
    }
    for kind in file_systems(config) {
        requests.push(wanted(&kind));
        if kind == "vfat" {
            requests.extend(VFAT.map(wanted));
        }
    }
    requests
}

/// The request of `--load`: a file or a name.
pub(crate) fn parse_load(request: &OsStr) -> ModuleRequest {
    let bytes = request.as_bytes();
    let is_file = bytes.contains(&b'/')
        || [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| bytes.ends_with(end.as_bytes()));
    match is_file {
        true => ModuleRequest::File(request.into()),
        false => ModuleRequest::Needed(request.to_string_lossy().into_owned()),
    }
}

/// The file systems that the root disk may have: those that the user names, or the one that the
/// disk has.
fn file_systems(config: &Config) -> Vec<String> {
    let value = |name| cmdline::value_of(name, &config.arguments);
    let Some(device) = value("root") else { return Vec::new() };
    if let Some(kinds) = value("rootfstype") {
        return kinds.split(',').map(str::to_string).collect();
    }
    let disk = device.strip_prefix("/dev/vd").and_then(disk_number);
    let disk = disk.and_then(|number| config.block.get(number));
    match disk.and_then(|disk| file_system_on(&disk.path)) {
        Some(kind) => vec![kind.into()],
        None => FILE_SYSTEMS.iter().map(|(kind, ..)| (*kind).into()).collect(),
    }
}

/// The number of a disk: "a" is 0, "aa" is 26. A name with a digit is a partition, whose file
/// system is not examined.
fn disk_number(letters: &str) -> Option<usize> {
    let number = letters.bytes().try_fold(0_usize, |number, letter| {
        let digit = usize::from(letter.checked_sub(b'a').filter(|digit| *digit < 26)?);
        number.checked_mul(26)?.checked_add(digit)?.checked_add(1)
    });
    number?.checked_sub(1)
}

fn file_system_on(disk: &Path) -> Option<&'static str> {
    let disk = File::open(disk).ok()?;
    let is = |at: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        disk.read_exact_at(&mut bytes, at).is_ok() && bytes == magic
    };
    FILE_SYSTEMS.iter().find(|&&(_, at, magic)| is(at, magic)).map(|(kind, ..)| *kind)
}

/// Whether there is a root disk, with its own shell.
pub(crate) fn has_root(arguments: &[OsString]) -> bool {
    cmdline::value_of("root", arguments).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the requested modules; those of optional ones have a question mark.
    fn requests(words: &[&str]) -> Vec<String> {
        let config = Config::of(&[&["--exec", "true"], words].concat());
        let name = |request| match request {
            ModuleRequest::Needed(name) => name,
            ModuleRequest::Wanted(name) => format!("{name}?"),
            ModuleRequest::File(path) => path.display().to_string(),
        };
        super::requests(&config).into_iter().map(name).collect()
    }

    const ALWAYS: [&str; 4] = ["virtio_pci", "virtio_console", "pvpanic_mmio?", "pvpanic?"];

    fn with(more: &[&'static str]) -> Vec<&'static str> {
        [&ALWAYS[..], more].concat()
    }

    #[test]
    fn devices_need_their_drivers() {
        assert_eq!(requests(&[]), ALWAYS);
        let all = requests(&["--block", "/none", "--rng", "--tunnet", "tap:x"]);
        assert_eq!(all, with(&["virtio_blk", "virtio_net", "virtio_rng"]));
    }

    #[test]
    fn a_root_disk_needs_its_file_system() {
        let directory = tempfile::TempDir::new().unwrap();
        let disk = |name: &str, at: u64, magic: &[u8]| {
            let path = directory.path().join(name);
            File::create(&path).unwrap().write_all_at(magic, at).unwrap();
            path.to_str().unwrap().to_string()
        };
        let of = |disk: &str, more: &[&str]| {
            let words = ["--block", "/dev/null", "--block", disk, "root=/dev/vdb"];
            requests(&[&words[..], more].concat()).split_off(5)
        };
        for (kind, at, magic) in FILE_SYSTEMS {
            let found = of(&disk(kind, at, magic), &[]);
            assert_eq!(found[0], format!("{kind}?"));
            assert_eq!(found.len(), if kind == "vfat" { 5 } else { 1 });
        }
        let unknown = disk("unknown", 0, b"x");
        assert_eq!(of(&unknown, &[]).len(), FILE_SYSTEMS.len() + VFAT.len());
        assert_eq!(of(&unknown, &["rootfstype=f2fs"]), ["f2fs?"]);
    }

    #[test]
    fn the_letters_of_a_disk_are_its_number() {
        assert_eq!(disk_number("a"), Some(0));
        assert_eq!(disk_number("z"), Some(25));
        assert_eq!(disk_number("aa"), Some(26));
        assert_eq!(disk_number("a1"), None);
        assert_eq!(disk_number(""), None);
    }

    #[test]
    fn load_takes_a_name_or_a_file() {
        assert_eq!(parse_load("loop".as_ref()), ModuleRequest::Needed("loop".into()));
        assert_eq!(parse_load("./loop".as_ref()), ModuleRequest::File("./loop".into()));
        assert_eq!(parse_load("loop.ko.zst".as_ref()), ModuleRequest::File("loop.ko.zst".into()));
    }
}
