//! A private file that cannot grow.

use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;
use crate::block::cow::Cow;
use crate::block::file::HostFile;

/// Set in a process of its own, to which the limit applies.
const LIMITED: &str = "LGUEST_TEST_LIMITED";

/// Runs a test of this program in a process of its own, in which SIGXFSZ is ignored.
fn in_own_process(test: &str) {
    let script = "trap '' XFSZ; exec \"$0\" --exact \"$1\"";
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    let command = command.args(["-c", script]).arg(program).arg(test).env(LIMITED, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

/// Files of this process have at most this length from now on.
fn limit(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes, hard).unwrap();
}

#[test]
fn a_write_that_finds_no_room_is_an_error_of_that_request_alone() {
    let name =
        "block::tests::cow::full::a_write_that_finds_no_room_is_an_error_of_that_request_alone";
    if std::env::var_os(LIMITED).is_none() {
        return in_own_process(name);
    }
    let (file, private) = (file(64), tempfile::tempfile().unwrap());
    let parts = [
        PrivateFile::temporary(tempfile::tempfile().unwrap(), stamp(&file)).unwrap(),
        PrivateFile::kept(private.try_clone().unwrap(), stamp(&file)).unwrap(),
    ];
    for (part, first_sector) in parts.into_iter().zip([0, 8192]) {
        let mut guest = guest(with(&file, part));
        assert_eq!(give(&mut guest, OUT, 1, &[1; 512]), OK);
        // In the middle of a sector.
        limit(first_sector + 10 * 512 + 100);
        for _ in 0..2 {
            assert_eq!(give(&mut guest, OUT, 8, &[2; 2048]), IO_ERROR);
        }
        assert_eq!(give(&mut guest, OUT, 40, &[2; 512]), IO_ERROR);
        assert_eq!(read(&mut guest, 8, 1024).data, [2; 1024]);
        assert!(read(&mut guest, 10, 54 * 512).data == contents(10..64), "no part of a sector");
        assert_eq!(give(&mut guest, OUT, 2, &[3; 512]), OK);
        assert_eq!(give(&mut guest, FLUSH, 0, b""), OK);
        assert_eq!(read(&mut guest, 2, 512).data, [3; 512]);
        assert!(guest.machine.failures().is_empty());
        limit(libc::RLIM_INFINITY);
        assert_eq!(give(&mut guest, OUT, 8, &[4; 2048]), OK);
        assert_eq!(read(&mut guest, 8, 2048).data, [4; 2048]);
    }
    assert_eq!(log::lines("cow.img: private part: writing: File too large").len(), 2);
    assert_eq!(Direct::new().read(&kept(&file, &private), 8, 4), [4; 2048]);
}

#[test]
fn a_part_of_the_map_that_could_not_be_written_is_written_by_the_next_flush() {
    let name = "block::tests::cow::full::\
                a_part_of_the_map_that_could_not_be_written_is_written_by_the_next_flush";
    if std::env::var_os(LIMITED).is_none() {
        return in_own_process(name);
    }
    let (file, private) = (file(64), tempfile::tempfile().unwrap());
    let part = PrivateFile::kept(private.try_clone().unwrap(), stamp(&file)).unwrap();
    let cow = Cow::new(HostFile::new(file.try_clone().unwrap()).unwrap(), part).unwrap();
    cow.discard(&(0..512)).unwrap();
    limit(4096);
    assert_eq!(cow.flush(true).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    limit(libc::RLIM_INFINITY);
    cow.flush(true).unwrap();
    assert_eq!(Direct::new().read(&kept(&file, &private), 0, 1), [0; 512]);
}

/// The blocks of the map are allocated by the write, so that the flush finds room for them.
#[test]
fn a_write_takes_the_room_of_its_map() {
    let base = file(1 << 15);
    base.set_len(64 << 20).unwrap();
    let private = tempfile::tempfile().unwrap();
    let (image, direct) = (kept(&base, &private), Direct::new());
    let at_first = allocated(&private);
    direct.write(&image, 40 << 11, &[1; 4096]);
    private.sync_all().unwrap();
    let written = allocated(&private);
    assert_eq!(written - at_first, 8192, "the data and a page of the map");
    image.flush().unwrap();
    assert_eq!(allocated(&private), written);
}
