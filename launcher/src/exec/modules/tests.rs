use std::io::Read;

use tempfile::TempDir;

use super::*;
use crate::exec::module::tests::module;

/// A directory of modules of Linux 1.0, each with its description.
fn directory(modules: &[(&str, &[&str])], files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut list = String::new();
    for (name, info) in modules {
        let own = format!("name={}", name.replace('-', "_"));
        let info = [&[own.as_str(), "vermagic=1.0 SMP"], *info].concat();
        fs::write(directory.path().join(format!("{name}.ko")), module(&info)).unwrap();
        list += &format!("{name}.ko: some/thing.ko\n");
    }
    fs::write(directory.path().join("modules.dep"), list).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The names in the order of loading; those of optional modules have a question mark.
fn chosen(directory: &TempDir, requests: &[ModuleRequest]) -> Result<Vec<String>> {
    let chosen = ModuleDirectory::open(directory.path(), None)?.choose(requests)?;
    let name =
        |it: ChosenModule| format!("{}{}", it.module.name, if it.optional { "?" } else { "" });
    Ok(chosen.into_iter().map(name).collect())
}

fn needed(name: &str) -> ModuleRequest {
    ModuleRequest::Needed(name.into())
}

fn example() -> TempDir {
    directory(
        &[
            ("virtio_pci", &["depends=virtio,virtio_ring"]),
            ("virtio_ring", &["depends=virtio"]),
            ("virtio", &["depends="]),
            ("virtio-rng", &["depends=virtio,rng-core"]),
            ("ext4", &["depends=jbd2", "softdep=pre: crc32c"]),
            ("jbd2", &[]),
            ("crc32c-intel", &[]),
            ("crc32c_generic", &[]),
            ("broken", &["depends=gone"]),
            ("ring", &["depends=ring2"]),
            ("ring2", &["depends=ring"]),
        ],
        &[
            ("modules.builtin", "kernel/drivers/char/hw_random/rng-core.ko\n"),
            ("modules.alias", "# x\nalias crc32c crc32c_intel\nalias crc32c crc32c_generic\n"),
        ],
    )
}

#[test]
fn needed_modules_come_first_and_once() {
    let directory = example();
    let requests = [needed("virtio_pci"), needed("virtio_rng"), needed("rng_core")];
    let names = chosen(&directory, &requests).unwrap();
    assert_eq!(names, ["virtio", "virtio_ring", "virtio_pci", "virtio_rng"]);
}

#[test]
fn modules_with_the_same_alias_are_optional() {
    let names = chosen(&example(), &[needed("ext4")]).unwrap();
    assert_eq!(names, ["crc32c_intel?", "crc32c_generic?", "jbd2", "ext4"]);
    // One request is optional, the other is not.
    let names =
        chosen(&example(), &[ModuleRequest::Wanted("ext4".into()), needed("jbd2")]).unwrap();
    assert_eq!(names, ["crc32c_intel?", "crc32c_generic?", "jbd2", "ext4?"]);
    assert_eq!(chosen(&example(), &[ModuleRequest::Wanted("xfs".into())]).unwrap(), [""; 0]);
}

#[test]
fn a_missing_module_is_named() {
    let error = |name: &str| format!("{:#}", chosen(&example(), &[needed(name)]).unwrap_err());
    assert!(error("xfs").contains("no module xfs, and"), "{}", error("xfs"));
    assert!(error("broken").contains("no module gone, which broken needs"), "{}", error("broken"));
    assert!(error("ring").contains("needs itself"), "{}", error("ring"));
    // This directory has no list of built-in modules.
    let unknown = directory(&[("a", &[])], &[]);
    assert_eq!(chosen(&unknown, &[needed("virtio_pci"), needed("a")]).unwrap(), ["a"]);
}

#[test]
fn a_module_file_of_the_user_replaces_that_of_the_directory() {
    let directory = example();
    let mine = directory.path().join("mine.ko");
    fs::write(&mine, module(&["name=jbd2", "depends=virtio", "vermagic=1.0 x"])).unwrap();
    let names = chosen(&directory, &[needed("ext4"), ModuleRequest::File(mine.clone())]).unwrap();
    assert_eq!(names, ["crc32c_intel?", "crc32c_generic?", "virtio", "jbd2", "ext4"]);
    // Without a directory, the modules that it needs are missing.
    let error = ModuleDirectory::default().choose(&[ModuleRequest::File(mine)]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("no module virtio, which jbd2 needs: give"), "{error}");
}

#[test]
fn a_directory_may_be_above_or_without_depmod() {
    let above = TempDir::new().unwrap();
    let below = above.path().join("lib/modules/1.0");
    fs::create_dir_all(below.join("kernel")).unwrap();
    fs::write(below.join("kernel/a.ko"), module(&["name=a", "vermagic=1.0 SMP"])).unwrap();
    fs::write(below.join("modules.order"), "kernel/a.ko\n").unwrap();
    let modules = ModuleDirectory::open(above.path(), Some("1.0")).unwrap();
    assert_eq!(modules.choose(&[needed("a")]).unwrap().len(), 1);
    let error = ModuleDirectory::open(above.path(), Some("2.0")).unwrap_err().to_string();
    assert!(error.contains("no modules of Linux 2.0 in it"), "{error}");
}

/// A package without depmod's lists: its own list is from before its modules were packed, and has
/// modules of another package.
#[test]
fn packed_modules_are_found_though_the_list_does_not_say_so() {
    let pack = |bytes: &[u8], end: &str| {
        let mut packed = Vec::new();
        let mut bytes = bytes;
        match end {
            ".xz" => drop(liblzma::read::XzEncoder::new(bytes, 0).read_to_end(&mut packed)),
            ".zst" => packed = zstd::encode_all(bytes, 1).unwrap(),
            ".gz" => {
                let level = flate2::Compression::fast();
                drop(flate2::read::GzEncoder::new(bytes, level).read_to_end(&mut packed));
            }
            _ => drop(bytes.read_to_end(&mut packed)),
        }
        packed
    };
    // Older and newer kernels name a cipher or checksum differently.
    let spellings = ["softdep=pre: sum", "softdep=pre: crypto-sum"];
    for end in PACKINGS {
        for (listed, softdep) in ["", ".xz"].into_iter().zip(spellings) {
            let above = TempDir::new().unwrap();
            let below = above.path().join("usr/lib/modules/1.0");
            fs::create_dir_all(below.join("kernel/crypto")).unwrap();
            let mut list = String::from("kernel/extra.ko\n");
            for (name, info) in [("a", softdep), ("crypto/sum_x", "alias=sum")] {
                let own = format!("name={}", name.trim_start_matches("crypto/"));
                let bytes =
                    module(&[&own, "vermagic=1.0 SMP", info, "alias=sum-x", "alias=crypto-sum"]);
                fs::write(below.join(format!("kernel/{name}.ko{end}")), pack(&bytes, end)).unwrap();
                list += &format!("kernel/{name}.ko{listed}\n");
            }
            fs::write(below.join("modules.order"), list).unwrap();
            let modules = ModuleDirectory::open(above.path(), Some("1.0")).unwrap();
            let chosen = modules.choose(&[needed("a")]).unwrap();
            let names: Vec<_> = chosen.iter().map(|it| it.module.name.as_str()).collect();
            assert_eq!(names, ["sum_x", "a"], "{end} {listed}");
            let error = modules.choose(&[needed("extra")]).unwrap_err().to_string();
            assert!(error.contains("the file of the module extra is missing"), "{error}");
            assert!(modules.choose(&[ModuleRequest::Wanted("extra".into())]).unwrap().is_empty());
        }
    }
}
