//! Claims on names, one after the other and all at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use host::testing::skip::is_root;
use tempfile::TempDir;

use super::*;

/// A directory for guests, of a path that is longer than a socket's may be.
struct Place {
    _temporary: TempDir,
    path: PathBuf,
}

impl Place {
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

    fn guests(&self) -> Vec<Found> {
        guests_in(&self.directory()).unwrap()
    }

    fn refusal(&self, name: &str) -> String {
        format!("{:#}", self.claim(name).unwrap_err())
    }

    /// What a launcher that was killed leaves.
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
fn a_claim_makes_what_nobody_else_can_use_and_takes_it_back() {
    let place = Place::new();
    let (claim, listener) = place.claim("one").unwrap();
    let guest = place.path.join("one");
    assert_eq!(mode(guest.clone()), 0o700);
    assert_eq!([mode(guest.join(LOCK)), mode(guest.join(CONTROL))], [0o600; 2]);
    let pid = std::process::id().to_string();
    assert_eq!(fs::read_to_string(guest.join(LOCK)).unwrap(), format!("{pid}\n"));

    let found = place.guests();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), &found[0].pid), ("one", &pid));
    found[0].connect().unwrap();
    listener.accept().unwrap();
    drop(claim);
    assert!(place.is_empty());
}

#[test]
fn a_name_that_is_taken_is_refused_with_its_owner() {
    let place = Place::new();
    let first = place.claim("one").unwrap();
    let told = place.refusal("one");
    let expected = format!("guest one is running already (pid {}): ", std::process::id());
    assert!(told.starts_with(&expected) && told.lines().count() == 1, "{told}");
    place.claim("two").unwrap();
    assert_eq!(place.guests().len(), 1, "the first is unharmed");
    drop(first);
    place.claim("one").unwrap();
}

#[test]
fn what_a_killed_launcher_left_is_claimed_or_cleaned() {
    let place = Place::new();
    place.abandon("one");
    place.abandon("two");
    // One that was killed while it made or removed its own.
    fs::create_dir(place.path.join("three")).unwrap();
    let claim = place.claim("one").unwrap();
    assert_eq!(place.guests().len(), 1);
    drop(claim);
    assert!(place.is_empty());
}

#[test]
fn what_others_may_write_to_is_refused_and_left_alone() {
    let place = Place::new();
    place.abandon("one");
    let guest = place.path.join("one");
    for mode in [0o770, 0o707] {
        fs::set_permissions(&guest, Permissions::from_mode(mode)).unwrap();
        assert!(place.refusal("one").contains("others may write"), "{}", place.refusal("one"));
    }
    fs::set_permissions(&guest, Permissions::from_mode(0o700)).unwrap();
    symlink("one", place.path.join("link")).unwrap();
    assert!(place.refusal("link").contains("not a directory"), "{}", place.refusal("link"));
    fs::write(place.path.join("file"), "").unwrap();
    assert!(place.refusal("file").contains("not a directory"), "{}", place.refusal("file"));
}

#[test]
fn what_belongs_to_others_is_refused_and_left_alone() {
    if !is_root("a directory of another user's") {
        return;
    }
    let place = Place::new();
    place.abandon("one");
    let guest = place.path.join("one");
    chown(&guest, Some(65534), None).unwrap();
    assert!(place.refusal("one").contains("belongs to user 65534"));
    assert_eq!(place.guests().len(), 0);
    assert!(guest.join(LOCK).exists());
    chown(&place.path, Some(65534), None).unwrap();
    assert!(Directory::at(&place.path).is_err());
}

#[test]
fn of_many_that_start_at_once_exactly_one_has_the_name() {
    const MANY: usize = 6;
    let place = Place::new();
    for round in 0..100 {
        if round % 2 == 0 {
            place.abandon("one");
        }
        let barrier = Barrier::new(MANY + 1);
        let claims: Vec<_> = thread::scope(|scope| {
            let claim = || {
                barrier.wait();
                place.claim("one")
            };
            let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(claim)).collect();
            // And somebody looks, and cleans.
            barrier.wait();
            place.guests();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        let pid = format!("(pid {})", std::process::id());
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert!(error.to_string().contains(&pid), "{error:#}");
        }
        assert_eq!(place.guests().len(), 1);
        drop(won);
        assert!(place.is_empty());
    }
}

#[test]
fn claims_that_come_and_go_at_once_leave_nothing() {
    let place = Place::new();
    let come_and_go = || {
        for (claim, _listener) in (0..200).filter_map(|_| place.claim("one").ok()) {
            let found = place.guests();
            assert!(found.iter().any(|guest| guest.name == *claim.name()), "{found:?}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(come_and_go);
        }
    });
    assert!(place.is_empty());
}
