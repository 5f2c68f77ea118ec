//! A launcher that lacks files, memory or KVM reports that in one line, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::files::Scratch;
use tests::{
    End, Launch, Network, Pty, Running, environment, is_root, program, skip, with_own_mounts,
};

use super::probe;

/// More descriptors than a launcher with these devices needs.
const PLENTY: u32 = 200;

/// Starts the launch in a shell that has set this limit.
fn limited(launch: &Launch, limit: &str, scratch: &Scratch) -> Running {
    let line = format!("ulimit {limit}; exec {}", launch.shell_line());
    program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100))
}

#[test]
fn too_few_file_descriptors_end_lguest_with_one_line() {
    let (network, scratch) = (Network::new(), Scratch::new());
    let disk = scratch.file("disk", [0; 4096]);
    // The guest uses and resets its console, so that the devices open everything.
    let mut launch =
        probe("resets=2").option("--rng").option(&format!("--block={}", disk.display()));
    if network.is_some() {
        launch = launch.option("--tunnet=192.168.77.1");
    }
    let mut enough = None;
    // The shell has three descriptors, and needs a few more.
    for files in 12..PLENTY {
        let mut running = limited(&launch, &format!("-n {files}"), &scratch);
        let end = running.wait();
        running.assert_terminal_restored();
        running.assert_nothing_left();
        if end == End::Status(0) {
            enough = Some(files);
            break;
        }
        let said = running.stderr();
        assert_eq!(end, End::Status(1), "{files} files: {said}");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("lguest: "), "{files} files: {said}");
        assert!(lines[0].contains("Too many open files"), "{files} files: {said}");
    }
    let enough = enough.expect("some number of files is enough");
    assert!(enough > 20, "{enough} files would be few: what was limited?");
    assert_eq!(fs::read(&disk).unwrap(), [0; 4096]);
}

#[test]
fn memory_that_the_host_refuses_is_named() {
    let scratch = Scratch::new();
    let mut running = limited(&probe("poweroff").memory("4G"), "-v 1000000", &scratch);
    let words = "reserving 4096 MiB of guest memory: the address space of this process is limited \
                 to 976 MiB: raise that (ulimit -v unlimited";
    assert_eq!(running.wait_refused(words), End::Status(1));
    running.assert_nothing_left();
}

/// The limit is just enough for the guest, but the launcher's own memory counts as well.
#[test]
fn memory_for_the_launcher_itself_is_counted() {
    let scratch = Scratch::new();
    let mut running = limited(&probe("poweroff").memory("512"), "-v 545000", &scratch);
    let words = "reserving 512 MiB of guest memory: the address space of this process is limited";
    assert_eq!(running.wait_refused(words), End::Status(1));
    running.assert_nothing_left();
}

#[test]
fn without_kvm_lguest_says_what_to_do() {
    let scratch = Scratch::new();
    let line = format!("mount -t tmpfs none /dev && exec {}", probe("poweroff").shell_line());
    let Some(words) = with_own_mounts(&line) else { return };
    let mut running = program(&words, scratch.path(), Pty::new(30, 100));
    assert_eq!(running.wait_refused("/dev/kvm: No such file"), End::Status(1));
    assert!(running.stderr().contains("load the module"), "{}", running.stderr());
    running.assert_nothing_left();
}

#[test]
fn without_access_to_kvm_lguest_says_what_to_do() {
    let for_all = fs::metadata("/dev/kvm").unwrap().permissions().mode() & 0o006 != 0;
    if for_all {
        return skip("everybody may use /dev/kvm here");
    }
    if !is_root("being another user") {
        return;
    }
    let scratch = Scratch::new();
    let launcher = scratch.launcher_for_all();
    let kernel = scratch.file("probe", fs::read(environment::probe()).unwrap());
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &launcher];
    let words = [&user[..], &["64", kernel.to_str().unwrap(), "mode=poweroff"]].concat();
    let mut running = program(&words, scratch.path(), Pty::new(30, 100));
    assert_eq!(running.wait_refused("/dev/kvm: Permission denied"), End::Status(1));
    assert!(running.stderr().contains("group kvm"), "{}", running.stderr());
}
