//! Copy-on-write disks with a file system of Linux on them.

use nix::sys::signal::Signal;
use tests::{Pty, Running, Strace, program, with_own_mounts};

use super::flush::position;
use super::*;

/// The bytes of a file, for comparing it with a later state.
fn sum(path: &Path) -> String {
    host("sha256sum", &[path.to_str().unwrap()])
}

#[test]
fn two_guests_have_their_own_file_systems_on_one_file() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 256 * MIB, &[("hello", "from the host\n")]);
    let before = sum(&disk);
    let mut guests = [boot(&disk, ",cow"), boot(&disk, ",cow")];
    for (number, guest) in guests.iter_mut().enumerate() {
        guest.run("mount -t ext4 /dev/vda /mnt");
        assert_eq!(guest.run("cat /mnt/hello"), "from the host");
        guest.run(&format!(
            "yes {number} | head -c 20000000 > /mnt/own; echo {number} > /mnt/hello"
        ));
        guest.run("sync; echo 3 > /proc/sys/vm/drop_caches");
    }
    for (number, guest) in guests.iter_mut().enumerate() {
        assert_eq!(guest.run("cat /mnt/hello"), number.to_string());
        guest.run(&format!("yes {number} | head -c 20000000 | cmp - /mnt/own"));
        guest.run("umount /mnt");
    }
    for mut guest in guests {
        assert_eq!(guest.power_off(), End::Status(0));
        assert_eq!(guest.stderr(), "");
    }
    assert_eq!(sum(&disk), before);
}

#[test]
fn a_kept_private_part_has_the_file_system_of_the_last_launch() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 256 * MIB, &[("hello", "from the host\n")]);
    let (before, private) = (sum(&disk), scratch.path().join("private"));
    let options = format!(",cow={}", private.display());
    for round in 0..3 {
        let mut guest = boot(&disk, &options);
        guest.run("mount -t ext4 /dev/vda /mnt");
        let files = (0..round).map(|number| format!("/mnt/{number}"));
        for file in files {
            guest.run(&format!("seq 200000 | cmp - {file}"));
        }
        guest.run(&format!("seq 200000 > /mnt/{round}; sync"));
        // One of them is killed, the others power off.
        if round == 1 {
            guest.process().signal(Signal::SIGKILL);
            continue;
        }
        assert_eq!(guest.power_off(), End::Status(0));
    }
    let mut guest = boot(&disk, &options);
    guest.run("mount -t ext4 /dev/vda /mnt");
    let full = allocated(&private);
    guest.run("rm /mnt/0 /mnt/1 /mnt/2; sync; fstrim /mnt");
    assert!(allocated(&private) < full, "{} of {full}", allocated(&private));
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(sum(&disk), before);
}

/// Returns the numbers after this word in the output, in order. The last line may be incomplete.
fn numbers(running: &Running, word: &str) -> Vec<u32> {
    let text = running.text();
    let mark = format!("{word} ");
    let words = text.split(&mark).skip(1);
    words.filter_map(|rest| rest.split_once('.')?.0.parse().ok()).collect()
}

/// Kills launchers in the middle of writes: what the guest had synchronized is there.
#[test]
fn synced_data_in_a_private_part_survive_a_kill() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 128 * MIB, &[]);
    let (before, private) = (sum(&disk), scratch.path().join("private"));
    let options = format!(",cow={}", private.display());
    let mut safe = 0;
    for round in 1..=3_u32 {
        let script = format!(
            "modprobe -a virtio_blk ext4
            mount -t ext4 /dev/vda /mnt || exit
            echo found $(cat /mnt/log || echo 0).
            n={round}000000
            while :; do
                n=$((n + 1))
                echo $n | dd of=/mnt/log conv=notrunc,fsync || exit
                echo safe $n.
            done 2> /dev/null"
        );
        let launch = Launch::job(&script, &scratch);
        let mut running = with_disk(launch, &disk, &options).piped();
        running.expect(&format!("safe {}.", round * 1_000_000 + 3 + round));
        running.process().signal(Signal::SIGKILL);
        assert_eq!(running.wait(), End::Killed(9));
        tests::until("the end of the output is read", || {
            running.output().has_ended().then_some(())
        });
        let found = numbers(&running, "found");
        assert!(found[0] >= safe, "{found:?}, {safe} was safe");
        safe = *numbers(&running, "safe").last().unwrap();
    }
    assert_eq!(sum(&disk), before);
}

/// A crash of the host between any two of these calls leaves no bit of the map without its sector.
#[test]
fn the_map_of_a_private_part_is_written_after_the_data_are_stable() {
    const WRITE: &str = "dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2> /dev/null";
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 64 * MIB);
    let private = scratch.path().join("private");
    let mut guest = boot(&disk, &format!(",cow={}", private.display()));
    let process = guest.process();
    let thread = process.thread("blk0-q0").unwrap().id;
    let calls = "trace=pwritev,pwrite64,fdatasync,write";
    let is_map = |call: &String| call.starts_with("pwrite64(");

    let strace = Strace::attach(process, scratch.path(), &[calls]);
    guest.run(WRITE);
    let seen = strace.detach(thread);
    let data = position(&seen, "pwritev(", 0);
    let first = position(&seen, "fdatasync(", data + 1);
    let map = position(&seen, "pwrite64(", first + 1);
    let second = position(&seen, "fdatasync(", map + 1);
    position(&seen, "write(", second + 1);
    assert!(!seen.iter().take(first).any(is_map), "{seen:#?}");

    // The sectors are in the map already.
    let strace = Strace::attach(process, scratch.path(), &[calls]);
    guest.run(WRITE);
    let seen = strace.detach(thread);
    position(&seen, "fdatasync(", position(&seen, "pwritev(", 0) + 1);
    assert!(!seen.iter().any(is_map), "{seen:#?}");
    assert_eq!(guest.power_off(), End::Status(0));
}

/// A signal may come at any time, and is not an error of the disk.
#[test]
fn interrupted_calls_on_a_private_part_are_repeated() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![b'x'; 64 << 20]);
    let (before, private) = (sum(&disk), scratch.path().join("private"));
    let options = format!(",cow={}", private.display());
    let mut guest = boot(&disk, &options);
    let thread = guest.process().thread("blk0-q0").unwrap().id;

    let calls = "preadv,pwritev,pwrite64,fdatasync,fallocate";
    let (trace, inject) =
        (format!("trace={calls}"), format!("inject={calls}:error=EINTR:when=1+2"));
    let strace = Strace::attach(guest.process(), scratch.path(), &[&trace, &inject]);
    guest.run("yes again | dd of=/dev/vda bs=1M count=8 iflag=fullblock conv=fsync 2> /dev/null");
    guest.run("echo 3 > /proc/sys/vm/drop_caches");
    guest.run("yes again | head -c 8388608 | cmp -n 8388608 - /dev/vda");
    guest.run("blkdiscard -o 33554432 -l 4194304 /dev/vda");
    let seen = strace.detach(thread);
    for call in ["preadv(", "pwritev(", "pwrite64(", "fdatasync(", "fallocate("] {
        let interrupted = |seen: &String| seen.starts_with(call) && seen.contains("EINTR");
        assert!(seen.iter().any(interrupted), "{call} was not interrupted: {seen:#?}");
    }
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");

    let mut guest = boot(&disk, &options);
    guest.run("yes again | head -c 8388608 | cmp -n 8388608 - /dev/vda");
    guest.run("head -c 4194304 /dev/zero > /tmp/zero");
    guest.run("dd if=/dev/vda bs=1M skip=32 count=4 2> /dev/null | cmp - /tmp/zero");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(sum(&disk), before);
}

#[test]
fn a_full_file_system_is_an_error_of_the_write_alone() {
    let launch = Launch::linux().option("--block=/mnt/disk,cow");
    let script = format!(
        "mount -t tmpfs -o size=24m tmpfs /mnt && cd /mnt && truncate -s 64M disk && \
         head -c 12m /dev/zero > filler && exec {}",
        launch.shell_line()
    );
    let Some(words) = with_own_mounts(&script) else { return };
    let mut guest = Guest::of(program(&words, Path::new("/"), Pty::new(30, 100)));
    let write = |seek: u32, count: u32| {
        let place = format!("bs=1M seek={seek} count={count} conv=fsync");
        format!("dd if=/dev/urandom of=/dev/vda {place} 2> /dev/null")
    };
    guest.run(&write(0, 4));
    guest.run(&format!("! {}", write(4, 20)));
    guest.expect_stderr("disk /mnt/disk: private part: writing: No space left on device");
    guest.run("dd if=/dev/vda of=/dev/null bs=1M count=4 2> /dev/null");
    fs::remove_file(guest.process().file("root/mnt/filler")).unwrap();
    guest.run(&write(4, 8));
    assert_eq!(guest.power_off(), End::Status(0));
}
