//! Neither a traced launch nor an untraced one makes additional system calls: a console's line
//! takes the same calls in both.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::files::Scratch;
use tests::{Running, Strace, until};

use super::super::probe;
use super::{hello, traced};

/// The number of lines that are compared.
const LINES: usize = 20;

const QUEUES: [&str; 2] = ["con0-rx", "con0-tx"];

/// Returns the system calls of each of these threads for one key and its echo.
fn calls_of_lines(running: &mut Running) -> BTreeMap<&'static str, BTreeMap<String, usize>> {
    let process = running.process();
    running.send("a");
    running.expect("a");
    let awake = |name: &str| process.thread(name).is_none_or(|it| !it.sleeps());
    until("the queue threads sleep", || (!QUEUES.into_iter().any(awake)).then_some(()));
    let scratch = Scratch::new();
    let strace = Strace::attach(process, scratch.path(), &["trace=!futex,ioctl"]);
    for _ in 0..LINES {
        let before = requests(running);
        running.send(";");
        until("the key is echoed and the queue threads sleep again", || {
            // A request is counted before its thread sleeps again.
            let done = requests(running) == before.map(|count| count + 1);
            let asleep = |name: &str| process.thread(name).is_some_and(|it| it.sleeps());
            (done && QUEUES.into_iter().all(asleep)).then_some(())
        });
    }
    let seen = strace.detach_all();
    let names = QUEUES.into_iter().chain(["vcpu0"]);
    let of = |name: &'static str| {
        let id = process.thread(name).unwrap().id;
        let mut counts = BTreeMap::new();
        for call in seen.get(&id).into_iter().flatten() {
            // Ignore calls that were on their way, and calls that strace itself causes.
            let name = call.split('(').next().unwrap_or_default();
            let (begun, own) = (!call.starts_with("<..."), name.starts_with(['+', '-']));
            if begun && !own && name != "restart_syscall" {
                *counts.entry(name.to_string()).or_insert(0) += 1;
            }
        }
        (name, counts)
    };
    names.map(of).collect()
}

/// Returns the number of requests that each queue has served.
fn requests(running: &Running) -> [u64; 2] {
    let said = running.lguest(&["stats", "one", "--json"]).well();
    let stats: Value = serde_json::from_str(&said).unwrap();
    [0, 1].map(|queue| stats["queues"][queue]["requests"].as_u64().unwrap())
}

#[test]
fn tracing_adds_no_system_call_to_a_line() {
    let scratch = Scratch::new();
    let launch = probe("console").option("--name=one");
    let mut plain = launch.on_terminal();
    hello(&mut plain);
    let without = calls_of_lines(&mut plain);
    // A doorbell and an interrupt for output; the input and an interrupt for input. The thread
    // begins the call in which it sleeps once more.
    let calls = |pairs: [(&str, usize); 2]| {
        pairs.map(|(name, count)| (name.to_string(), count)).into_iter().collect::<BTreeMap<_, _>>()
    };
    assert_eq!(without["con0-tx"], calls([("read", LINES + 1), ("write", LINES)]));
    assert_eq!(without["con0-rx"], calls([("readv", LINES + 1), ("write", LINES)]));
    assert_eq!(without["vcpu0"], BTreeMap::new(), "the vCPU has something to do");
    drop(plain);

    let mut traced = traced(&launch, &scratch).0.on_terminal();
    hello(&mut traced);
    assert_eq!(calls_of_lines(&mut traced), without);
}
