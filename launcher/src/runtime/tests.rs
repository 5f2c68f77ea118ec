//! Claims on names, one after the other and all at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use host::testing::skip::is_root;
use tempfile::TempDir;

use super::*;

/// A directory for guests, whose path is longer than that of a socket may be.
struct RuntimeFixture {
    _temporary: TempDir,
    path: PathBuf,
}

impl RuntimeFixture {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        let path = temporary.path().join("x".repeat(120));
        fs::create_dir(&path).unwrap();
        Self { _temporary: temporary, path }
    }

    fn directory(&self) -> Directory {
        Directory::at(&self.path).unwrap()
    }

    fn claim(&self, name: &str) -> Result<(Claim, UnixListener)> {
        Claim::new(self.directory(), parse_name(name).unwrap())
    }

    fn guests(&self) -> Vec<RunningGuest> {
        guests_in(&self.directory()).unwrap()
    }

    fn refusal(&self, name: &str) -> String {
        format!("{:#}", self.claim(name).unwrap_err())
    }

    /// Leave what a killed launcher leaves.
    fn abandon(&self, name: &str) {
        let guest = self.path.join(name);
        fs::create_dir(&guest).unwrap();
        fs::set_permissions(&guest, Permissions::from_mode(0o700)).unwrap();
        fs::write(guest.join(LOCK), "4711\n").unwrap();
        let directory = self.directory().open(name).unwrap();
        drop(directory.listen(CONTROL).unwrap());
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.path).unwrap().next().is_none()
    }
}

fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_claim_creates_private_files_and_removes_them() {
    let fixture = RuntimeFixture::new();
    let (claim, listener) = fixture.claim("one").unwrap();
    let guest = fixture.path.join("one");
    assert_eq!(mode(guest.clone()), 0o700);
    assert_eq!([mode(guest.join(LOCK)), mode(guest.join(CONTROL))], [0o600; 2]);
    let pid = std::process::id().to_string();
    assert_eq!(fs::read_to_string(guest.join(LOCK)).unwrap(), format!("{pid}\n"));

    let found = fixture.guests();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), &found[0].pid), ("one", &pid));
    found[0].connect().unwrap();
    listener.accept().unwrap();
    drop(claim);
    assert!(fixture.is_empty());
}

#[test]
fn a_name_that_is_taken_is_refused_with_its_owner() {
    let fixture = RuntimeFixture::new();
    let first = fixture.claim("one").unwrap();
    let told = fixture.refusal("one");
    let expected = format!("guest one is running already (pid {}): ", std::process::id());
    assert!(told.starts_with(&expected) && told.lines().count() == 1, "{told}");
    fixture.claim("two").unwrap();
    assert_eq!(fixture.guests().len(), 1, "the first is unharmed");
    drop(first);
    fixture.claim("one").unwrap();
}

#[test]
fn the_directory_of_a_killed_launcher_is_claimed_or_removed() {
    let fixture = RuntimeFixture::new();
    fixture.abandon("one");
    fixture.abandon("two");
    // A launcher that was killed while it created or removed its directory.
    fs::create_dir(fixture.path.join("three")).unwrap();
    let claim = fixture.claim("one").unwrap();
    assert_eq!(fixture.guests().len(), 1);
    drop(claim);
    assert!(fixture.is_empty());
}

#[test]
fn what_others_may_write_to_is_refused_and_left_alone() {
    let fixture = RuntimeFixture::new();
    fixture.abandon("one");
    let guest = fixture.path.join("one");
    for mode in [0o770, 0o707] {
        fs::set_permissions(&guest, Permissions::from_mode(mode)).unwrap();
        assert!(fixture.refusal("one").contains("others may write"), "{}", fixture.refusal("one"));
    }
    fs::set_permissions(&guest, Permissions::from_mode(0o700)).unwrap();
    symlink("one", fixture.path.join("link")).unwrap();
    assert!(fixture.refusal("link").contains("not a directory"), "{}", fixture.refusal("link"));
    fs::write(fixture.path.join("file"), "").unwrap();
    assert!(fixture.refusal("file").contains("not a directory"), "{}", fixture.refusal("file"));
}

#[test]
fn what_belongs_to_others_is_refused_and_left_alone() {
    if !is_root("a directory of another user's") {
        return;
    }
    let fixture = RuntimeFixture::new();
    fixture.abandon("one");
    let guest = fixture.path.join("one");
    chown(&guest, Some(65534), None).unwrap();
    assert!(fixture.refusal("one").contains("belongs to user 65534"));
    assert_eq!(fixture.guests().len(), 0);
    assert!(guest.join(LOCK).exists());
    chown(&fixture.path, Some(65534), None).unwrap();
    assert!(Directory::at(&fixture.path).is_err());
}

#[test]
fn exactly_one_of_many_concurrent_claims_succeeds() {
    const MANY: usize = 6;
    let fixture = RuntimeFixture::new();
    for round in 0..100 {
        if round % 2 == 0 {
            fixture.abandon("one");
        }
        let barrier = Barrier::new(MANY + 1);
        let claims: Vec<_> = thread::scope(|scope| {
            let claim = || {
                barrier.wait();
                fixture.claim("one")
            };
            let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(claim)).collect();
            // A command lists the guests and cleans up at the same time.
            barrier.wait();
            fixture.guests();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        let pid = format!("(pid {})", std::process::id());
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert!(error.to_string().contains(&pid), "{error:#}");
        }
        assert_eq!(fixture.guests().len(), 1);
        drop(won);
        assert!(fixture.is_empty());
    }
}

#[test]
fn concurrent_claims_leave_nothing() {
    let fixture = RuntimeFixture::new();
    let come_and_go = || {
        for (claim, _listener) in (0..200).filter_map(|_| fixture.claim("one").ok()) {
            let found = fixture.guests();
            assert!(found.iter().any(|guest| guest.name == *claim.name()), "{found:?}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(come_and_go);
        }
    });
    assert!(fixture.is_empty());
}
