//! The machine of a guest: its memory, and impossible sizes.

use tests::{End, Launch, environment};

use super::probe;

/// Returns the memory map that the probe prints. It touches the first and the last page of each
/// range.
fn map_of(memory: &str) -> String {
    let mut running = probe("memory").memory(memory).option("--earlycon").piped();
    assert_eq!(running.wait(), End::Status(0), "{}", running.text());
    running.text()
}

#[test]
fn the_memory_map_ends_at_the_size_of_the_memory() {
    for memory in ["64", "3071", "3072", "3073", "4G", "6G"] {
        assert!(map_of(memory).contains("0x"), "{memory}");
    }
}

#[test]
fn memory_beyond_the_hole_is_above_4_gib() {
    assert!(!map_of("3G").contains("0x100000000"));
    assert!(map_of("4G").contains("0x100000000"), "{}", map_of("4G"));
}

#[test]
fn every_cpu_count_starts() {
    for cpus in ["1", "2", "64"] {
        let mut running = probe("poweroff").option("--cpus").option(cpus).piped();
        assert_eq!(running.wait(), End::Status(0), "{cpus}");
    }
}

#[test]
fn a_guest_that_cannot_start_is_one_line_and_leaves_the_terminal_alone() {
    let cut = std::fs::read(environment::probe()).unwrap();
    let scratch = tests::files::Scratch::new();
    let cases = [
        (scratch.file("empty", b""), "64"),
        (scratch.file("cut", &cut[..cut.len() / 2]), "64"),
        (scratch.file("text", b"#!/bin/sh\necho not a kernel\n"), "64"),
        (scratch.path().to_path_buf(), "64"),
    ];
    for (kernel, memory) in cases {
        let mut running = Launch::kernel(&kernel).memory(memory).on_terminal();
        assert_eq!(running.wait(), End::Status(1), "{}", kernel.display());
        let words = running.stderr();
        assert_eq!(words.trim_end().lines().count(), 1, "{words}");
        assert!(words.contains(kernel.to_str().unwrap()), "{words}");
        running.assert_terminal_restored();
        running.assert_nothing_left();
    }
}

#[test]
fn an_initrd_larger_than_memory_is_refused() {
    let scratch = tests::files::Scratch::new();
    let large = scratch.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
    let mut running = probe("poweroff").initrd(&large).piped();
    assert_eq!(running.wait(), End::Status(1));
    let words = running.stderr();
    assert!(words.contains("initrd") && words.trim_end().lines().count() == 1, "{words}");
}

#[test]
fn a_command_line_that_is_too_long_is_refused() {
    let mut running = probe("poweroff").argument(&"x".repeat(5000)).piped();
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains("command line"), "{}", running.stderr());
}
