//! `--trace FILE`: what the file contains however the guest ends, and that a launch without it
//! costs nothing.

mod calls;
mod endings;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::files::Scratch;
use tests::{End, Launch, Running, is_root};

use super::probe;

/// Returns a launch with a trace, and the path of the file.
fn traced(launch: &Launch, scratch: &Scratch) -> (Launch, PathBuf) {
    let file = scratch.path().join("trace.json");
    (launch.clone().option(&format!("--trace={}", file.display())), file)
}

fn read(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:.1000}"))
}

/// Returns the events of each thread, with the thread's name in the trace.
fn by_thread(events: &[Value]) -> BTreeMap<u64, (String, Vec<Value>)> {
    let mut threads: BTreeMap<u64, (String, Vec<Value>)> = BTreeMap::new();
    for event in events {
        let tid = event["tid"].as_u64().unwrap();
        match event["name"].as_str().unwrap() {
            "process_name" => assert_eq!(event["args"]["name"], "lguest"),
            "thread_name" => {
                let name = event["args"]["name"].as_str().unwrap().to_string();
                let before = threads.insert(tid, (name, Vec::new()));
                assert!(before.is_none(), "thread {tid} has two names");
            }
            // A thread is named before its first event.
            _ => threads.get_mut(&tid).unwrap().1.push(event.clone()),
        }
    }
    threads
}

/// Returns begin and end of an event, in nanoseconds.
fn times(event: &Value) -> (u64, u64) {
    let nanoseconds = |key: &str| {
        let microseconds = event.get(key).map_or(0.0, |value| value.as_f64().unwrap());
        format!("{:.0}", microseconds * 1000.0).parse::<u64>().unwrap()
    };
    (nanoseconds("ts"), nanoseconds("ts") + nanoseconds("dur"))
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["name"].as_str().unwrap()).collect()
}

/// Asserts that events are ordered by their ends, and that each begins after the previous one
/// ended, or contains it.
fn assert_ordered_and_nested(thread: &str, events: &[Value]) {
    let mut open: Vec<(u64, u64)> = Vec::new();
    for event in events {
        let (begin, end) = times(event);
        if let Some((_, last)) = open.last() {
            assert!(*last <= end, "{thread}: {event} is out of order");
        }
        while open.last().is_some_and(|(inner, _)| *inner >= begin) {
            open.pop();
        }
        if let Some((_, last)) = open.last() {
            assert!(*last <= begin, "{thread}: {event} begins within another and ends outside");
        }
        open.push((begin, end));
    }
}

fn hello(running: &mut Running) {
    running.expect("hello");
}

/// All devices are busy, with two vCPUs, a pause and a reset.
#[test]
fn a_trace_has_the_events_of_every_thread_in_order() {
    let scratch = Scratch::new();
    let launch = probe("console").option("--name=one").option("--cpus=2").option("--rng");
    let (launch, file) = traced(&launch.argument("wait=halt"), &scratch);
    let mut running = launch.on_terminal();
    hello(&mut running);
    for _ in 0..10 {
        running.send("q");
        running.expect("q");
    }
    let process = running.process();
    let first = process.thread("con0-tx").unwrap().id;
    running.lguest(&["pause", "one"]).well();
    running.lguest(&["resume", "one"]).well();
    let second = tests::until("the queue thread is back", || process.thread("con0-tx")).id;
    running.send([0x1e, b'r']);
    hello(&mut running);
    let third = process.thread("con0-tx").unwrap().id;
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));

    let events = read(&file);
    assert!(events.iter().all(|event| event["pid"] == process.0), "the launcher's pid");
    let threads = by_thread(&events);
    for (name, events) in threads.values() {
        assert_ordered_and_nested(name, events);
    }
    let of = |id: i32| &threads[&u64::try_from(id).unwrap()];
    for id in [first, second, third] {
        assert_eq!(of(id).0, "con0-tx");
    }
    let count = |name: &str, what: &str| {
        let threads = threads.values().filter(|(thread, _)| thread == name);
        threads.flat_map(|(_, events)| names(events)).filter(|event| *event == what).count()
    };
    // "hello" twice, and ten echoes.
    assert_eq!(count("con0-tx", "request"), 12);
    // Ten keys and the two bytes of the command, which may come as one.
    assert!((11..=12).contains(&count("con0-rx", "request")));
    assert!(count("con0-tx", "kick") > 0 && count("con0-tx", "interrupt") > 0);
    assert!(count("vcpu0", "port out") > 100 && count("vcpu0", "mmio write") > 10);
    let echoes = of(first).1.iter().filter(|event| event["name"] == "request");
    let bytes: Vec<_> = echoes.map(|event| event["args"]["from_guest"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [13, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    // The device serves within the request, and interrupts after it.
    let serve = of(first).1.iter().position(|event| event["name"] == "serve").unwrap();
    assert_eq!(names(&of(first).1)[serve..][..3], ["serve", "request", "interrupt"]);
    let exit = threads.values().flat_map(|(_, events)| events).find(|it| it["name"] == "port out");
    assert_eq!(exit.unwrap()["args"], serde_json::json!({ "bytes": 4, "port": "0xcf8" }));
}

/// The trace is opened together with the other files of the command line.
#[test]
fn the_trace_is_opened_before_privileges_are_dropped() {
    if !is_root("giving up privilege") {
        return;
    }
    let scratch = Scratch::new();
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let launch = probe("poweroff").option("--username=nobody");
    let launch = launch.option(&format!("--chroot={}", empty.display()));
    let (launch, file) = traced(&launch, &scratch);
    assert_eq!(launch.piped().wait(), End::Status(0));
    let threads = by_thread(&read(&file));
    assert!(threads.values().any(|(name, events)| name == "vcpu0" && !events.is_empty()));
}

#[test]
fn a_trace_file_that_cannot_be_created_is_reported_in_one_line() {
    let scratch = Scratch::new();
    let none = scratch.path().join("none/trace");
    let directory = scratch.path().to_path_buf();
    for (path, why) in [
        (none, "No such file or directory"),
        (directory, "Is a directory"),
        ("/dev/full".into(), "No space left on device"),
    ] {
        let mut running = probe("poweroff").option(&format!("--trace={}", path.display())).piped();
        assert_eq!(running.wait(), End::Status(1));
        assert_eq!(running.stderr(), format!("lguest: --trace {}: {why}\n", path.display()));
    }
}
