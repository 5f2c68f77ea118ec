//! What the host does to a disk while a guest writes to it.

use tests::{Pty, Strace, program, with_own_mounts};

use super::*;

/// Starts the launcher in a mount namespace with 24 MiB of disk space in /mnt. A file called filler
/// takes half of it.
fn on_a_small_disk(setup: &str, launch: &Launch) -> Option<Guest> {
    let script = format!(
        "mount -t tmpfs -o size=24m tmpfs /mnt && cd /mnt && {setup} && \
         head -c 12m /dev/zero > filler && exec {}",
        launch.shell_line()
    );
    let words = with_own_mounts(&script)?;
    Some(Guest::of(program(&words, Path::new("/"), Pty::new(30, 100))))
}

#[test]
fn a_full_disk_is_an_error_to_the_guest_until_there_is_room() {
    let launch = Launch::linux().option("--block=/mnt/disk").option("--block=/mnt/limited");
    // The second disk is under a limit on file sizes, in blocks of 512 bytes.
    let setup = "truncate -s 64M disk limited && ulimit -f 65536";
    let Some(mut guest) = on_a_small_disk(setup, &launch) else { return };
    let write = |disk: &str, seek: u32, count: u32| {
        let place = format!("bs=1M seek={seek} count={count} conv=fsync");
        format!("dd if=/dev/urandom of=/dev/{disk} {place} 2> /dev/null")
    };

    guest.run(&write("vda", 0, 4));
    guest.run(&format!("! {}", write("vda", 4, 20)));
    guest.expect_stderr("disk /mnt/disk: writing: No space left on device");
    guest.run("dd if=/dev/vda of=/dev/null bs=1M count=4 2> /dev/null");

    let filler = guest.process().file("root/mnt/filler");
    fs::remove_file(filler).unwrap();
    guest.run(&write("vda", 4, 8));

    // SIGXFSZ would have killed the launcher.
    guest.run(&format!("! {}", write("vdb", 40, 1)));
    guest.expect_stderr("disk /mnt/limited: writing: File too large");
    guest.run(&write("vdb", 1, 1));
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr().lines().count(), 2, "{}", guest.stderr());
}

#[test]
fn a_file_that_is_truncated_is_an_error_to_the_guest() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![b'x'; 16 << 20]);
    let mut guest = boot(&disk, "");
    File::options().write(true).open(&disk).unwrap().set_len(8 << 20).unwrap();

    let read =
        |skip: u32| format!("dd if=/dev/vda of=/dev/null bs=1M skip={skip} count=1 2> /dev/null");
    guest.run(&read(7));
    guest.run(&format!("! {}", read(8)));
    guest.run(&read(3));
    guest.run("dd if=/dev/zero of=/dev/vda bs=1M seek=12 count=4 conv=fsync 2> /dev/null");
    assert_eq!(fs::metadata(&disk).unwrap().len(), 16 << 20);
    assert_eq!(guest.power_off(), End::Status(0));
    assert!(guest.stderr().contains("the file is shorter than it was"), "{}", guest.stderr());
}

/// The host's disk breaks, and works again later.
#[test]
fn host_io_errors_are_io_errors_in_the_guest() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![b'x'; 16 << 20]);
    let mut guest = boot(&disk, "");
    // The places are far from each other, because Linux reads ahead and caches.
    let read =
        |at: u32| format!("dd if=/dev/vda of=/dev/null bs=4k skip={at} count=1 2> /dev/null");
    let write = |at: u32| {
        format!("dd if=/dev/zero of=/dev/vda bs=4k seek={at} count=1 conv=fsync 2> /dev/null")
    };
    let thread = guest.process().thread("blk0-q0").unwrap().id;

    let calls = "preadv,pwritev:error=EIO";
    let strace = Strace::attach(
        guest.process(),
        scratch.path(),
        &["trace=preadv,pwritev", &format!("inject={calls}")],
    );
    guest.run(&format!("! {}", read(512)));
    guest.expect_stderr("reading: Input/output error");
    guest.run(&format!("! {}", write(1024)));
    guest.expect_stderr("writing: Input/output error");
    let seen = strace.detach(thread);
    let injected = seen.iter().filter(|call| call.contains("EIO") && call.contains("INJECTED"));
    assert!(injected.count() >= 2, "{seen:#?}");

    guest.run(&read(2048));
    guest.run(&write(3072));
    assert_eq!(guest.power_off(), End::Status(0));
    let said = guest.stderr();
    assert_eq!(said.lines().count(), 2, "{said}");
    let bytes = fs::read(&disk).unwrap();
    let kept = |page: usize| bytes[page << 12..(page + 1) << 12].iter().all(|byte| *byte == b'x');
    assert!(kept(1024) && !kept(3072), "the block must have the data of the successful write");
}
