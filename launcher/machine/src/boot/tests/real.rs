//! The stock kernel, on machines on which the guest images were built.

use std::env;
use std::fs;
use std::path::PathBuf;

use super::*;

/// The kernels that `make guest` has put into the cache, packed and unpacked.
fn stock_kernels() -> Vec<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let Some(cache) = cache.or_else(home) else { return Vec::new() };
    let entries = fs::read_dir(cache.join("lguest")).into_iter().flatten().flatten();
    let images =
        entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"guest-"));
    let newest = images.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    let kernels = newest.map(|entry| ["vmlinuz", "vmlinux"].map(|name| entry.path().join(name)));
    kernels.into_iter().flatten().filter(|path| path.is_file()).collect()
}

#[test]
fn stock_kernels_start_at_their_elf() {
    for kernel in stock_kernels() {
        let ram = ram(256);
        let entry = load(&request(&NamedFile::new(&kernel, unwatched)), ram.memory()).unwrap();
        assert_eq!(entry.rip, 16 * MIB, "{}", kernel.display());
    }
}
