//! A trace's file is JSON at any time, has a bound, and has the events in their order.

use std::fs;

use devices::trace::EventKind;
use serde_json::Value;

use super::*;
use crate::testing::until;

const KINDS: &[EventKind] =
    &[EventKind::new("port in", ["port", "bytes"]), EventKind::new("kick", ["", ""])];

fn read(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn small_file(limit: u64) -> (tempfile::NamedTempFile, TraceFile) {
    let named = tempfile::NamedTempFile::new().unwrap();
    fs::write(named.path(), "what was there before").unwrap();
    let file = TraceFile::new(file::open(named.path()).unwrap(), limit).unwrap();
    (named, file)
}

#[test]
fn the_file_is_whole_after_each_piece() {
    let (named, mut file) = small_file(1000);
    assert_eq!(read(named.path()), [] as [Value; 0]);
    for count in 1..=4 {
        file.append("{\"a\":1}\n{\"b\":\"c\\nd\"}\n").unwrap();
        file.append("").unwrap();
        assert_eq!(read(named.path()).len(), 2 * count);
    }
    assert_eq!(read(named.path())[7]["b"], "c\nd");
}

#[test]
fn events_beyond_the_limit_are_left_out_and_counted() {
    let (named, mut file) = small_file(40);
    file.append("{\"name\":1}\n").unwrap();
    assert!(matches!(file.append(&"{\"name\":2}\n".repeat(3)), Err(AppendError::Limit)));
    // The fault is reported once, and later lines are not put behind a hole.
    file.append("{}\n").unwrap();
    assert_eq!((read(named.path()).len(), file.left_out()), (1, 4));
    assert!(fs::metadata(named.path()).unwrap().len() <= 40);
}

#[test]
fn a_file_that_cannot_be_written_at_any_offset_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        (pipe.as_path(), "can be written anywhere in it"),
        (scratch.path(), "Is a directory"),
        (&scratch.path().join("none/trace"), "No such file or directory"),
    ] {
        let error = format!("{:#}", Opened::new(path).unwrap_err());
        assert!(error.starts_with("--trace ") && error.contains(why), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    // The file is unchanged before the trace starts.
    let file = scratch.path().join("file");
    fs::write(&file, "kept").unwrap();
    drop(Opened::new(&file).unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}

#[test]
fn events_are_in_the_file_while_the_guest_runs() {
    let named = tempfile::NamedTempFile::new().unwrap();
    let rings = Arc::new(TraceRings::default());
    let early = rings.add("vcpu0", KINDS);
    let trace = Opened::new(named.path()).unwrap().start(Arc::clone(&rings)).unwrap();
    early.begin_thread();
    early.slice(0, 1_234_567, [0xcfc, 4]);
    until("the event is in the file", || read(named.path()).len() == 3);
    let late = rings.add("con0-tx", KINDS);
    late.begin_thread();
    late.instant(1, [0, 0]);
    drop(trace);
    let lines = read(named.path());
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["process_name", "thread_name", "port in", "thread_name", "kick"]);
    let pid = Value::from(std::process::id());
    assert!(lines.iter().all(|line| line["pid"] == pid));
    let slice = &lines[2];
    assert_eq!((&slice["ph"], &slice["ts"]), (&"X".into(), &1234.567.into()));
    assert_eq!(slice["args"], serde_json::json!({ "port": "0xcfc", "bytes": 4 }));
    assert_eq!((&lines[4]["ph"], &lines[4]["s"]), (&"i".into(), &"t".into()));
    assert!(lines[4].get("args").is_none());
    // One thread has had both rings.
    assert_eq!(lines[2]["tid"], lines[4]["tid"]);
    assert_eq!(lines[3]["args"]["name"], "con0-tx");
}

#[test]
fn lost_events_are_reported_at_their_place() {
    let rings = TraceRings::default();
    let ring = rings.add("blk0-q0", KINDS);
    ring.begin_thread();
    for _ in 0..ROOM + 9 {
        ring.instant(1, [0, 0]);
    }
    let mut format = Formatter::default();
    let before = format.events(&ring).lines().count();
    ring.instant(1, [0, 0]);
    let after = format.events(&ring);
    let first: Value = serde_json::from_str(after.lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["args"]["events"]), (&"lost".into(), &10.into()));
    assert_eq!((before, after.lines().count(), format.lost()), (ROOM, 2, 10));
}
