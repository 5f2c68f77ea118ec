//! A flush is answered when the data are stable, and not before.

use std::fs;

use tests::Strace;

use super::*;

/// Returns the position in the list where a call begins, or continues after another thread's call.
pub(super) fn position(calls: &[String], begins: &str, from: usize) -> usize {
    let found = calls.iter().skip(from).position(|call| call.starts_with(begins));
    from + found.unwrap_or_else(|| panic!("no {begins} from {from} on in {calls:#?}"))
}

const WRITE: &str = "dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2> /dev/null";

#[test]
fn a_flush_waits_for_fdatasync_and_returns_its_result() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 16 * MIB);
    let mut guest = boot(&disk, "");
    guest.run(WRITE);
    let process = guest.process();
    let thread = process.thread("blk0-q0").unwrap().id;
    let calls = "trace=pwritev,fdatasync,write";

    let strace = Strace::attach(process, scratch.path(), &[calls]);
    guest.run(WRITE);
    let seen = strace.detach(thread);
    // write(2) is the interrupt that announces the answer to the driver.
    let written = position(&seen, "pwritev(", 0);
    let synced = position(&seen, "fdatasync(", written + 1);
    assert!(
        seen.iter().any(|call| call.contains("fdatasync") && call.ends_with("= 0")),
        "{seen:#?}"
    );
    position(&seen, "write(", synced + 1);

    let strace =
        Strace::attach(process, scratch.path(), &[calls, "inject=fdatasync:delay_exit=4000000"]);
    let time = "date +%s";
    let took = guest.run(&format!("a=$({time}); {WRITE}; b=$({time}); echo $((b - a))"));
    strace.detach(thread);
    // The guest's clock counts whole seconds.
    assert!(took.parse::<u32>().unwrap() >= 3, "{took} s");

    let strace = Strace::attach(process, scratch.path(), &[calls, "inject=fdatasync:error=EIO"]);
    guest.run(&format!("! {WRITE}"));
    strace.detach(thread);
    guest.expect_stderr("flushing: Input/output error");
    // Earlier writes may be lost, so no flush can succeed.
    guest.run(&format!("! {WRITE}"));
    assert_eq!(guest.power_off(), End::Status(0));
}

#[test]
fn without_sync_there_is_no_fdatasync() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 16 * MIB);
    let mut guest = boot(&disk, ",sync=off");
    let thread = guest.process().thread("blk0-q0").unwrap().id;

    let strace = Strace::attach(
        guest.process(),
        scratch.path(),
        &["trace=pwritev,fdatasync,fsync,sync_file_range"],
    );
    guest.run(WRITE);
    let seen = strace.detach(thread);

    position(&seen, "pwritev(", 0);
    assert!(!seen.iter().any(|call| call.contains("sync")), "{seen:#?}");
    assert_eq!(
        guest.run("cat /sys/block/vda/cache_type /sys/block/vda/queue/write_cache"),
        "write back\nwrite back"
    );
}

/// A signal may come at any time, and is not an error of the disk.
#[test]
fn interrupted_disk_calls_are_repeated() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 16 * MIB);
    let mut guest = boot(&disk, "");
    let thread = guest.process().thread("blk0-q0").unwrap().id;

    let calls = "preadv,pwritev,fdatasync,fallocate";
    let (trace, inject) =
        (format!("trace={calls}"), format!("inject={calls}:error=EINTR:when=1+2"));
    let strace = Strace::attach(guest.process(), scratch.path(), &[&trace, &inject]);
    guest.run("yes again | dd of=/dev/vda bs=1M count=8 iflag=fullblock conv=fsync 2> /dev/null");
    guest.run("echo 3 > /proc/sys/vm/drop_caches; yes again | head -c 8388608 | cmp -n 8388608 - /dev/vda");
    guest.run("blkdiscard -o 0 -l 4194304 /dev/vda");
    let seen = strace.detach(thread);

    for call in ["preadv(", "pwritev(", "fdatasync(", "fallocate("] {
        let interrupted = |seen: &&String| seen.starts_with(call) && seen.contains("EINTR");
        assert!(
            seen.iter().any(|seen| interrupted(&seen)),
            "{call} was not interrupted: {seen:#?}"
        );
    }
    assert!(
        fs::read(&disk).unwrap()[4 << 20..8 << 20]
            == "again\n".repeat(2 << 20).as_bytes()[4 << 20..8 << 20]
    );
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}
